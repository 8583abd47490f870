//! One thread runs at a time: the one that holds the baton. It works off the schedule and makes the calls into the VMs on
//! its own stack. Where a call is to be interrupted, its thread hands the baton to another one, which goes on with the
//! schedule, and waits until that schedule says to resume the call. So threads change only where a call is interrupted,
//! and what runs next is always the schedule's choice, never the operating system's.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Nothing that holds the baton works this long without handing it on: a wait this long is a deadlock.
const WATCHDOG: Duration = Duration::from_secs(60);

/// What a thread that waits is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// Work off the schedule.
    Work,
    /// Go on with the interrupted call.
    Resume,
    /// The schedule is worked off (to the thread that asked for it), or the crew is dismissed (to the others).
    Finished,
    /// Another thread has panicked.
    Failed,
}

/// Where one thread waits.
#[derive(Default)]
pub(crate) struct Seat {
    signal: Mutex<Option<Signal>>,
    changed: Condvar,
}

impl Seat {
    fn tell(&self, signal: Signal) {
        *lock(&self.signal) = Some(signal);
        self.changed.notify_one();
    }

    /// Waits for a signal, for as long as it takes where no `watchdog` says otherwise.
    fn wait(&self, watchdog: Option<Duration>) -> Signal {
        let mut signal = lock(&self.signal);
        loop {
            if let Some(signal) = signal.take() {
                return signal;
            }
            signal = match watchdog {
                None => self
                    .changed
                    .wait(signal)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(limit) => {
                    let woken = self.changed.wait_timeout(signal, limit);
                    let (signal, result) = woken.unwrap_or_else(PoisonError::into_inner);
                    assert!(
                        !result.timed_out() || signal.is_some(),
                        "the emulator is stuck: no thread has handed on the baton for {limit:?}"
                    );
                    signal
                }
            };
        }
    }
}

/// What the holder of the baton does next.
pub(crate) enum Next {
    /// The interrupted call of this seat goes on.
    Resume(Arc<Seat>),
    /// The schedule is worked off as far as was asked.
    Finished,
}

/// The schedule.
pub(crate) trait Work: Send + Sync + 'static {
    /// Works it off until a call is to be resumed, or the end.
    fn work(&self) -> Next;
}

#[derive(Default)]
struct Crew {
    /// Threads that wait for work.
    idle: Vec<Arc<Seat>>,
    /// Threads whose call is interrupted.
    interrupted: Vec<Arc<Seat>>,
    threads: Vec<JoinHandle<()>>,
    /// The thread that asked for the schedule to be worked off.
    owner: Option<Arc<Seat>>,
    failure: Option<String>,
}

#[derive(Clone, Default)]
pub(crate) struct Baton {
    crew: Arc<Mutex<Crew>>,
}

thread_local! {
    /// This thread's seat.
    static SEAT: RefCell<Option<Arc<Seat>>> = const { RefCell::new(None) };
}

fn seat() -> Arc<Seat> {
    SEAT.with_borrow_mut(|seat| Arc::clone(seat.get_or_insert_default()))
}

impl Baton {
    /// Has the schedule worked off, by this thread first.
    ///
    /// # Panics
    /// When any thread of the crew has panicked.
    pub fn run(&self, work: &dyn Work) {
        let own = seat();
        lock(&self.crew).owner = Some(Arc::clone(&own));
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(&own, work, true)));
        lock(&self.crew).owner = None;
        if let Err(panic) = worked {
            self.fail(message(&*panic));
            resume_unwind(panic);
        }
    }

    /// Works and waits in turns until the schedule is worked off.
    fn work(&self, own: &Arc<Seat>, work: &dyn Work, is_owner: bool) {
        loop {
            match work.work() {
                Next::Resume(other) => {
                    let mut crew = lock(&self.crew);
                    crew.interrupted.retain(|seat| !Arc::ptr_eq(seat, &other));
                    crew.idle.push(Arc::clone(own));
                    drop(crew);
                    other.tell(Signal::Resume);
                }
                Next::Finished if is_owner => return,
                Next::Finished => {
                    let mut crew = lock(&self.crew);
                    crew.idle.push(Arc::clone(own));
                    let owner = crew.owner.clone();
                    if let Some(owner) = &owner {
                        crew.idle.retain(|seat| !Arc::ptr_eq(seat, owner));
                    }
                    drop(crew);
                    if let Some(owner) = owner {
                        owner.tell(Signal::Finished);
                    }
                }
            }
            match own.wait(is_owner.then_some(WATCHDOG)) {
                Signal::Work => {}
                Signal::Failed => panic!("{}", self.failure()),
                Signal::Finished | Signal::Resume => return,
            }
        }
    }

    /// Interrupts the call that this thread is in. `entered` puts the resumption into the schedule.
    pub fn interrupt(&self, work: Arc<dyn Work>, enter: impl FnOnce(Arc<Seat>)) {
        let own = seat();
        enter(Arc::clone(&own));
        let mut crew = lock(&self.crew);
        crew.interrupted.push(Arc::clone(&own));
        if let Some(other) = crew.idle.pop() {
            other.tell(Signal::Work);
        } else {
            let thread = self.recruit(work);
            crew.threads.push(thread);
        }
        drop(crew);
        match own.wait(Some(WATCHDOG)) {
            Signal::Resume => {}
            Signal::Failed => panic!("{}", self.failure()),
            signal => panic!("an interrupted call was told {signal:?}"),
        }
    }

    /// A new thread that begins by working.
    fn recruit(&self, work: Arc<dyn Work>) -> JoinHandle<()> {
        let baton = self.clone();
        std::thread::spawn(move || {
            let own = seat();
            let worked = catch_unwind(AssertUnwindSafe(|| baton.work(&own, &*work, false)));
            if let Err(panic) = worked {
                baton.fail(message(&*panic));
            }
        })
    }

    /// Tells every thread that waits. The first failure is the one that is reported.
    fn fail(&self, failure: String) {
        let mut crew = lock(&self.crew);
        crew.failure.get_or_insert(failure);
        let mut waiting = std::mem::take(&mut crew.idle);
        waiting.append(&mut crew.interrupted);
        drop(crew);
        for seat in waiting {
            seat.tell(Signal::Failed);
        }
    }

    fn failure(&self) -> String {
        lock(&self.crew).failure.clone().unwrap_or_default()
    }

    /// Ends the crew's threads and waits for them.
    pub fn dismiss(&self) {
        let mut crew = lock(&self.crew);
        let idle = std::mem::take(&mut crew.idle);
        let interrupted = std::mem::take(&mut crew.interrupted);
        let threads = std::mem::take(&mut crew.threads);
        crew.failure.get_or_insert_with(|| "the world ended".into());
        drop(crew);
        for seat in idle {
            seat.tell(Signal::Finished);
        }
        for seat in interrupted {
            seat.tell(Signal::Failed);
        }
        for thread in threads {
            // A panic of its own has been reported by `fail`.
            let _ = thread.join();
        }
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a thread of the emulator panicked")
        .to_owned()
}

/// Locks; a thread that panicked while it held the lock has been reported already.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
