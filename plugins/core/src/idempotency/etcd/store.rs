//! The records of one worker: operations wait, become requests, and are answered by what etcd says.

use super::leases::{self, Leases};
use super::operation::{self, Clock};
use super::reply::{self, Refusal, Reply};
use super::request::{self, Login, Request};
use crate::gcra::Ps;
use crate::idempotency::scripts::Keys;
use crate::idempotency::settings::{Etcd, Settings};
use crate::idempotency::store::{Operation, Outcome, Store};
use crate::redis::breaker::Breaker;
use crate::redis::pipe::{GRACE, HOST_TIME};
use crate::redis::trouble::Trouble;
use std::time::Duration;

/// Operations that may wait, as a multiple of those that may be on their way.
const WAITING: usize = 64;

/// How often an operation is sent again that was certainly not carried out: for want of a lease, a login, a record.
const REPEATS: u8 = 3;

/// What [`Store::start`] takes goes out by [`EtcdStore::send`], and what comes back is given to [`EtcdStore::replied`].
pub struct EtcdStore {
    keys: Keys,
    timeout: Ps,
    in_flight: usize,
    session: Session,
    leases: Leases,
    pub breaker: Breaker,
    /// In the order in which they are to be sent.
    waiting: Vec<Entry>,
    sent: Vec<Sent>,
    clock: Clock,
    answered: Vec<(u64, Result<Outcome, Trouble>)>,
}

/// Where etcd wants to know who asks.
struct Session {
    login: Option<Login>,
    token: Option<String>,
    under_way: bool,
}

struct Entry {
    id: u64,
    operation: Operation,
    deadline: Ps,
    /// A commit whose record is not there.
    restores: bool,
    repeats: u8,
}

/// A callout on its way.
struct Sent {
    token: u32,
    deadline: Ps,
    errand: Errand,
}

enum Errand {
    Operation { entry: Entry, lease: Option<String> },
    Lease { retention: Duration, at: Ps },
    Login,
}

impl EtcdStore {
    #[must_use]
    pub fn new(settings: &Settings, etcd: &Etcd) -> Self {
        Self {
            keys: settings.keys(),
            timeout: settings.timeout,
            in_flight: etcd.in_flight.max(1),
            session: Session {
                login: etcd.login.clone(),
                token: None,
                under_way: false,
            },
            leases: Leases::default(),
            breaker: Breaker::new(settings.breaker),
            waiting: Vec::new(),
            sent: Vec::new(),
            clock: Clock::default(),
            answered: Vec::new(),
        }
    }

    /// Whether something could be sent now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.waiting.is_empty() && self.sent.len() < self.in_flight
    }

    /// Sends what is ready; `post` returns the token by which the reply will be known. `clock` is the gateway's, as
    /// picoseconds since 1970. How many requests were sent.
    pub fn send(
        &mut self,
        now: Ps,
        clock: Ps,
        mut post: impl FnMut(&Request) -> Result<u32, Trouble>,
    ) -> usize {
        self.clock = Clock::new(clock, now);
        let mut count = 0;
        while self.sent.len() < self.in_flight {
            let Some((errand, request)) = self.next(now) else {
                break;
            };
            match post(&request) {
                Ok(token) => {
                    count += 1;
                    self.sent.push(Sent {
                        token,
                        deadline: request.deadline,
                        errand,
                    });
                }
                Err(_) => self.failed(errand, Trouble::Connect, now),
            }
        }
        count
    }

    /// The next request, if there is one to send.
    fn next(&mut self, now: Ps) -> Option<(Errand, Request)> {
        self.give_up(Trouble::Timeout, &|entry| entry.deadline <= now);
        if let (Some(login), None) = (&self.session.login, &self.session.token) {
            if self.session.under_way || self.waiting.is_empty() {
                return None;
            }
            let body = login.body();
            self.session.under_way = true;
            return Some((
                Errand::Login,
                self.request(request::AUTHENTICATE, body, now + self.timeout),
            ));
        }
        // A lease that is wanted ahead goes first; one that an operation lacks is known after these were looked at.
        if let Some(lease) = self.next_lease(now) {
            return Some(lease);
        }
        if let Some(operation) = self.next_operation(now) {
            return Some(operation);
        }
        self.next_lease(now)
    }

    fn next_lease(&mut self, now: Ps) -> Option<(Errand, Request)> {
        let retention = self.leases.ask()?;
        let body = request::grant(leases::seconds(retention));
        let errand = Errand::Lease { retention, at: now };
        Some((
            errand,
            self.request(request::GRANT, body, now + self.timeout),
        ))
    }

    fn next_operation(&mut self, now: Ps) -> Option<(Errand, Request)> {
        for index in 0..self.waiting.len() {
            let operation = &self.waiting.get(index)?.operation;
            let lease = match operation {
                Operation::Release(_) => None,
                Operation::Acquire(_) | Operation::Renew(_) | Operation::Commit(_) => {
                    let retention = operation.claim().retention;
                    match self.leases.take(retention, now) {
                        Some(lease) => Some(lease.to_owned()),
                        None => continue,
                    }
                }
            };
            let entry = self.waiting.remove(index);
            let key = self.keys.record(&entry.operation.claim().scope);
            let body = operation::transaction(
                &entry.operation,
                entry.restores,
                (&key, lease.as_deref().unwrap_or_default()),
                (self.clock, now),
            );
            let request = self.request(request::TXN, body, entry.deadline);
            return Some((Errand::Operation { entry, lease }, request));
        }
        None
    }

    fn request(&self, path: &'static str, body: Vec<u8>, deadline: Ps) -> Request {
        let token = self.session.token.clone();
        Request {
            path,
            authorization: token.filter(|_| path != request::AUTHENTICATE),
            body,
            deadline,
        }
    }

    /// Callouts that the gateway should have ended long ago: to be given up, or their places would be taken for ever.
    #[must_use]
    pub fn overdue(&self, now: Ps) -> Vec<u32> {
        let late = |sent: &&Sent| now > sent.deadline + GRACE;
        self.sent
            .iter()
            .filter(late)
            .map(|sent| sent.token)
            .collect()
    }

    /// Callout `token` has come to its end. One of an unknown token is ignored.
    pub fn replied(&mut self, token: u32, reply: Result<Reply<'_>, Trouble>, now: Ps) {
        let Some(index) = self.sent.iter().position(|sent| sent.token == token) else {
            return;
        };
        let Sent {
            deadline, errand, ..
        } = self.sent.swap_remove(index);
        let reply = reply.map_err(|trouble| match trouble {
            // The gateway resets a call that has a response begun when its time is up, and does not say why.
            Trouble::Reset if now + HOST_TIME >= deadline => Trouble::Timeout,
            trouble => trouble,
        });
        let reply = match reply {
            Ok(reply) => reply,
            Err(trouble) => return self.failed(errand, trouble, now),
        };
        match errand {
            Errand::Login => match reply::token(reply) {
                Ok(token) => {
                    self.breaker.succeeded();
                    self.session.under_way = false;
                    self.session.token = Some(token);
                }
                Err(refusal) => self.failed(Errand::Login, trouble(refusal), now),
            },
            Errand::Lease { retention, at } => match reply::granted(reply) {
                Ok((id, seconds)) => {
                    self.breaker.succeeded();
                    let seconds = seconds.min(leases::seconds(retention));
                    self.leases.granted(retention, id, seconds, at);
                }
                Err(Refusal::NoLogin) if self.session.login.is_some() => {
                    self.session.token = None;
                    self.leases.refused(retention, now);
                }
                Err(refusal) => self.failed(errand, trouble(refusal), now),
            },
            Errand::Operation { entry, lease } => self.answer(entry, lease, reply, now),
        }
    }

    fn answer(&mut self, mut entry: Entry, lease: Option<String>, reply: Reply<'_>, now: Ps) {
        let again = entry.repeats < REPEATS;
        match reply::txn(reply) {
            Ok(said) => {
                self.breaker.succeeded();
                let (asked, clock) = (&entry.operation, (self.clock, now));
                match operation::outcome(asked, entry.restores, said, clock) {
                    Ok(Some(outcome)) => self.answered.push((entry.id, Ok(outcome))),
                    Ok(None) => {
                        entry.restores = true;
                        self.waiting.insert(0, entry);
                    }
                    Err(trouble) => self.answered.push((entry.id, Err(trouble))),
                }
            }
            Err(Refusal::NoLease) if again => {
                self.leases.forget(lease.as_deref().unwrap_or_default());
                entry.repeats += 1;
                self.waiting.insert(0, entry);
            }
            Err(Refusal::NoLogin) if again && self.session.login.is_some() => {
                self.session.token = None;
                entry.repeats += 1;
                self.waiting.insert(0, entry);
            }
            Err(refusal) => {
                let errand = Errand::Operation { entry, lease };
                self.failed(errand, trouble(refusal), now);
            }
        }
    }

    /// What was sent, or was to be, has come to nothing.
    fn failed(&mut self, errand: Errand, trouble: Trouble, now: Ps) {
        self.breaker.failed(now);
        match errand {
            Errand::Operation { entry, .. } => self.answered.push((entry.id, Err(trouble))),
            Errand::Lease { retention, .. } => {
                if self.leases.refused(retention, now) {
                    self.give_up(trouble, &|entry| {
                        entry.operation.claim().retention == retention
                            && !matches!(entry.operation, Operation::Release(_))
                    });
                }
            }
            Errand::Login => {
                self.session.under_way = false;
                self.give_up(trouble, &|_| true);
            }
        }
    }

    /// Answers those that wait for what does not come.
    fn give_up(&mut self, trouble: Trouble, whose: &dyn Fn(&Entry) -> bool) {
        let Self {
            waiting, answered, ..
        } = self;
        waiting.retain(|entry| {
            let over = whose(entry);
            if over {
                answered.push((entry.id, Err(trouble)));
            }
            !over
        });
    }
}

impl Store for EtcdStore {
    fn start(
        &mut self,
        id: u64,
        operation: &Operation,
        deadline: Ps,
        now: Ps,
    ) -> Result<(), Trouble> {
        if self.waiting.len() >= self.in_flight.saturating_mul(WAITING) {
            return Err(Trouble::Overloaded);
        }
        if operation.asks_the_breaker() && !self.breaker.admits(now) {
            return Err(Trouble::BreakerOpen);
        }
        self.waiting.push(Entry {
            id,
            operation: operation.clone(),
            deadline,
            restores: false,
            repeats: 0,
        });
        Ok(())
    }

    fn answered(&mut self) -> Vec<(u64, Result<Outcome, Trouble>)> {
        std::mem::take(&mut self.answered)
    }
}

fn trouble(refusal: Refusal) -> Trouble {
    match refusal {
        Refusal::Trouble(trouble) => trouble,
        Refusal::NoLogin => Trouble::Auth,
        Refusal::NoLease => Trouble::Error,
    }
}
