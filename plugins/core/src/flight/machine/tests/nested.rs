//! Workers that come in between: in the middle of what one worker does, between two of its looks at shared data, another
//! does something whole, and a third in the middle of that.

use super::*;
use crate::slots::{Mismatch, SharedData, Version};
use std::cell::Cell;

const WORKERS: usize = 4;
const KEYS: usize = 2;
const DEEPEST: usize = 3;

type Worker = Machine<Interrupted, Queues>;

/// Shared data at which others may come in between.
#[derive(Clone)]
struct Interrupted {
    data: FakeShared,
    nest: Rc<Nest>,
}

impl SharedData for Interrupted {
    fn get(&self, key: &str) -> Option<(Vec<u8>, Version)> {
        self.nest.interrupt();
        self.data.get(key)
    }

    fn set(&self, key: &str, value: &[u8], expected: Version) -> Result<(), Mismatch> {
        self.nest.interrupt();
        self.data.set(key, value, expected)
    }

    fn put(&self, key: &str, value: &[u8]) {
        self.nest.interrupt();
        self.data.put(key, value);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waits,
    Upstream,
    Done,
}

/// All of them, each thing by itself: any may be in use when another comes.
#[derive(Default)]
struct Nest {
    workers: RefCell<Vec<Rc<RefCell<Worker>>>>,
    queues: Queues,
    clients: RefCell<Vec<(usize, usize, State)>>,
    random: Cell<u64>,
    depth: Cell<usize>,
    asked: RefCell<[usize; KEYS]>,
    interrupts: Cell<usize>,
    /// No new clients come.
    closing: Cell<bool>,
}

impl Nest {
    fn below(&self, most: usize) -> usize {
        let seed = self.random.get();
        self.random.set(seed.wrapping_add(1));
        (numbers(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))() % most as u64) as usize
    }

    fn interrupt(&self) {
        let depth = self.depth.get();
        if depth == 0 || depth >= DEEPEST || self.below(3) != 0 {
            return;
        }
        self.interrupts.set(self.interrupts.get() + 1);
        self.act();
    }

    /// One worker that is not in the middle of something does something.
    fn act(&self) {
        let number = self.below(WORKERS);
        let worker = Rc::clone(&self.workers.borrow()[number]);
        let Ok(mut worker) = worker.try_borrow_mut() else {
            return;
        };
        self.depth.set(self.depth.get() + 1);
        match self.below(3) {
            0 if !self.closing.get() => self.arrive(number, &mut worker),
            1 => self.answer(number, &mut worker),
            _ => self.deliver(number, &mut worker),
        }
        self.depth.set(self.depth.get() - 1);
    }

    fn arrive(&self, number: usize, worker: &mut Worker) {
        let key = self.below(KEYS);
        let id = {
            let mut clients = self.clients.borrow_mut();
            clients.push((number, key, State::Done));
            clients.len() - 1
        };
        let path = format!("/{key}");
        let request = Fake::new(&[
            (":method", "GET"),
            (":authority", "shop"),
            (":path", path.as_str()),
        ]);
        let state = match worker.request(id as u32, &request, true, START) {
            Step::Pass | Step::Send(_) => {
                self.asked.borrow_mut()[key] += 1;
                State::Upstream
            }
            Step::Hold => State::Waits,
            Step::Answer(reply) => self.right(key, &reply),
        };
        self.clients.borrow_mut()[id].2 = state;
    }

    fn right(&self, key: usize, reply: &Reply) -> State {
        assert_eq!(*reply.body, key.to_string().into_bytes());
        State::Done
    }

    fn answer(&self, number: usize, worker: &mut Worker) {
        let found = {
            let clients = self.clients.borrow();
            clients
                .iter()
                .position(|(at, _, state)| *at == number && *state == State::Upstream)
        };
        let Some(id) = found else {
            return;
        };
        self.clients.borrow_mut()[id].2 = State::Done;
        let key = self.clients.borrow()[id].1;
        let head = Headers::from_pairs(FRESH);
        let _ = worker.response_head(id as u32, &head, false, START);
        worker.response_body(id as u32, key.to_string().as_bytes(), true, START);
    }

    fn deliver(&self, number: usize, worker: &mut Worker) {
        let message = {
            let mut queues = self.queues.0.borrow_mut();
            let queue = queues.get_mut(&(number as u32));
            queue.and_then(VecDeque::pop_front)
        };
        let Some(message) = message else {
            return;
        };
        worker.message(&message, START);
        for (id, release) in worker.take_released() {
            let (_, key, state) = self.clients.borrow()[id as usize];
            assert_eq!(state, State::Waits);
            let state = match release {
                Release::Answer(reply) => self.right(key, &reply),
                Release::Send(_) => {
                    self.asked.borrow_mut()[key] += 1;
                    State::Upstream
                }
            };
            self.clients.borrow_mut()[id as usize].2 = state;
        }
    }

    fn is_over(&self) -> bool {
        let done = |(_, _, state): &(usize, usize, State)| *state == State::Done;
        self.clients.borrow().iter().all(done)
            && self.queues.0.borrow().values().all(VecDeque::is_empty)
    }
}

fn run(seed: u64) -> Rc<Nest> {
    let nest = Rc::new(Nest::default());
    nest.random.set(seed << 20);
    let store = Interrupted {
        data: FakeShared::default(),
        nest: Rc::clone(&nest),
    };
    for number in 0..WORKERS {
        let settings = Settings::new(
            policy(r#""early_refresh": 0"#),
            None,
            [1, 2, 3, 4],
            b"policy",
        );
        let random = Box::new(numbers(seed ^ (number as u64) << 40));
        let token = number as u32;
        let queues = nest.queues.clone();
        let worker = Machine::new(settings, store.clone(), queues, token, random, START);
        nest.workers
            .borrow_mut()
            .push(Rc::new(RefCell::new(worker)));
    }
    for _ in 0..60 {
        nest.act();
    }
    nest.closing.set(true);
    for _ in 0..10_000 {
        if nest.is_over() {
            break;
        }
        nest.act();
    }
    nest
}

#[test]
fn no_interleaving_costs_a_second_request_or_leaves_somebody_waiting() {
    let mut interrupts = 0;
    for seed in 0..3_000 {
        let nest = run(seed);
        assert!(nest.is_over(), "seed {seed}: {:?}", nest.clients.borrow());
        let asked = *nest.asked.borrow();
        assert!(
            asked.iter().all(|asked| *asked <= 1),
            "seed {seed}: {asked:?}"
        );
        for worker in nest.workers.borrow().iter() {
            let worker = worker.borrow();
            assert_eq!((worker.waiting(), worker.streams()), (0, 0), "seed {seed}");
        }
        interrupts += nest.interrupts.get();
        // Workers and what they interrupt hold each other.
        nest.workers.borrow_mut().clear();
    }
    assert!(interrupts > 10_000, "{interrupts}");
}
