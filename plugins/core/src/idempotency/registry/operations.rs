//! The registry's dealings with the store: what is under way, what comes of an answer for which nobody waits any more,
//! and what is due.

use super::chores::Effort;
use super::{Entry, Phase, Registry, UnderWay};
use crate::gcra::Ps;
use crate::idempotency::counts::Event;
use crate::idempotency::exchange::{Act, Context, Exchange};
use crate::idempotency::scope::Scope;
use crate::idempotency::store::{Acquired, Operation, Outcome, Renewed, Store};
use crate::redis::trouble::Trouble;
use std::sync::Arc;

impl<S: Store> Registry<S> {
    /// Has an exchange do something, and carries out what follows.
    pub(super) fn change(
        &mut self,
        stream: u32,
        now: Ps,
        event: impl FnOnce(&mut Exchange, &mut Context<'_>),
    ) {
        // Out of the map meanwhile: what follows may concern other exchanges.
        let Some(mut entry) = self.open.remove(&stream) else {
            return;
        };
        let mut acts = Vec::new();
        if let Phase::Open(exchange) = &mut entry.phase {
            let (held, rested) = (exchange.held(), exchange.is_resting());
            if let Some((mut cx, _)) = self.context(exchange.route, now, &mut acts) {
                event(exchange, &mut cx);
            }
            self.held = (self.held + exchange.held()).saturating_sub(held);
            self.resting = (self.resting + usize::from(exchange.is_resting()))
                .saturating_sub(usize::from(rested));
        }
        let gone = entry.gone;
        if !matches!(&entry.phase, Phase::Open(exchange) if exchange.is_done()) {
            self.open.insert(stream, entry);
        }
        if gone {
            acts.retain(|act| !matches!(act, Act::Settle(_)));
        }
        self.carry_out(stream, acts, now);
    }

    pub(super) fn carry_out(&mut self, stream: u32, acts: Vec<Act>, now: Ps) {
        for act in acts {
            match act {
                Act::Settle(settled) => self.settled.push((stream, settled)),
                Act::Start(Operation::Acquire(claim))
                    if let Some(known) = self.store.known(&claim, now) =>
                {
                    self.count(self.route_of(stream), Event::Remembered);
                    self.change(stream, now, |exchange, cx| {
                        exchange.outcome(Outcome::Acquire(known), cx)
                    });
                }
                Act::Start(operation) => {
                    let route = self.route_of(stream);
                    match self.ask(stream, route, operation, None, now) {
                        Ok(id) => {
                            if let Some(entry) = self.open.get_mut(&stream) {
                                entry.waits_for = Some(id);
                            }
                        }
                        Err((_, trouble)) => {
                            self.change(stream, now, |exchange, cx| {
                                exchange.failed(trouble, false, cx)
                            });
                        }
                    }
                }
                Act::Aside(operation) => {
                    let route = self.route_of_claim(&operation);
                    self.aside(stream, route, operation, None, now);
                }
                Act::GiveBack(claim) => {
                    let operation = Operation::Release(claim);
                    let route = self.route_of_claim(&operation);
                    self.give_back(stream, route, operation, now);
                }
                Act::Keep(commit) => {
                    let operation = Operation::Commit(commit);
                    let route = self.route_of_claim(&operation);
                    self.keep(route, operation, now);
                }
            }
        }
    }

    fn route_of(&self, stream: u32) -> usize {
        match self.open.get(&stream).map(|entry| &entry.phase) {
            Some(Phase::Open(exchange)) => exchange.route,
            Some(Phase::Reading(reading)) => reading.route,
            None => 0,
        }
    }

    fn route_of_claim(&self, operation: &Operation) -> usize {
        let name = &operation.claim().route;
        self.settings
            .routes
            .iter()
            .position(|route| route.name == *name)
            .unwrap_or(0)
    }

    fn ask(
        &mut self,
        stream: u32,
        route: usize,
        operation: Operation,
        effort: Option<Effort>,
        now: Ps,
    ) -> Result<u64, (Operation, Trouble)> {
        self.next += 1;
        let id = self.next;
        if let Err(trouble) = self
            .store
            .start(id, &operation, now + self.settings.timeout, now)
        {
            self.counts.trouble(trouble);
            return Err((operation, trouble));
        }
        self.asked.insert(
            id,
            UnderWay {
                stream,
                route,
                operation,
                effort,
                sent: false,
            },
        );
        Ok(id)
    }

    /// Asks what nobody waits for.
    pub(super) fn aside(
        &mut self,
        stream: u32,
        route: usize,
        operation: Operation,
        effort: Option<Effort>,
        now: Ps,
    ) {
        if let Err((operation, _)) = self.ask(stream, route, operation, effort, now) {
            self.not_done(route, operation, effort, now);
        }
    }

    /// The store has not done it. A renewal comes again by itself, and an exchange tries its own commit again.
    fn not_done(&mut self, route: usize, operation: Operation, effort: Option<Effort>, now: Ps) {
        let effort = match (&operation, effort) {
            (_, Some(effort)) => effort,
            (Operation::Release(_), None) => self.effort(&operation, now),
            _ => return,
        };
        self.put_off(route, operation, effort, now);
    }

    /// Takes what the store has answered.
    pub fn answered(&mut self, now: Ps) {
        for (id, outcome) in self.store.answered() {
            let Some(asked) = self.asked.remove(&id) else {
                continue;
            };
            if let Err(trouble) = &outcome {
                self.counts.trouble(*trouble);
            }
            let entry = self
                .open
                .get_mut(&asked.stream)
                .filter(|entry| entry.waits_for == Some(id));
            if let Some(entry) = entry {
                entry.waits_for = None;
                self.resume(asked, outcome, now);
            } else {
                self.unawaited(asked, outcome, now);
            }
        }
    }

    fn resume(&mut self, asked: UnderWay, outcome: Result<Outcome, Trouble>, now: Ps) {
        let scope = asked.operation.claim().scope;
        let ends = matches!(outcome, Ok(Outcome::Commit(_) | Outcome::Release(_)));
        match outcome {
            Ok(outcome) => self.change(asked.stream, now, |exchange, cx| {
                exchange.outcome(outcome, cx)
            }),
            Err(trouble) => {
                self.change(asked.stream, now, |exchange, cx| {
                    exchange.failed(trouble, true, cx)
                });
                self.not_done(asked.route, asked.operation, asked.effort, now);
            }
        }
        if ends {
            self.wake(scope, now);
        }
    }

    /// An answer for which no exchange waits: it was asked aside, or came too late.
    fn unawaited(&mut self, asked: UnderWay, outcome: Result<Outcome, Trouble>, now: Ps) {
        let (stream, route) = (asked.stream, asked.route);
        match (&asked.operation, outcome) {
            // Perhaps taken, for a request that was not sent.
            (Operation::Acquire(claim), Ok(Outcome::Acquire(Acquired::Yours { .. })))
                if !asked.sent =>
            {
                let release = Operation::Release(Arc::clone(claim));
                self.aside(stream, route, release, None, now);
            }
            (Operation::Acquire(claim), Err(_)) if !asked.sent => {
                let release = Operation::Release(Arc::clone(claim));
                self.give_back(stream, route, release, now);
            }
            (Operation::Renew(_), Ok(Outcome::Renew(renewed))) => {
                self.count(
                    route,
                    match renewed {
                        Renewed::Yes => Event::Renewed,
                        Renewed::Lost => Event::LeaseLost,
                    },
                );
                if renewed == Renewed::Lost {
                    self.change(stream, now, |exchange, _| exchange.lease_lost());
                }
            }
            (_, Ok(outcome)) => self.tried(asked, &outcome, now),
            (_, Err(_)) => self.not_done(route, asked.operation, asked.effort, now),
        }
    }

    /// Has those of this worker look that wait for the scope.
    pub(super) fn wake(&mut self, scope: Scope, now: Ps) {
        if self.resting == 0 {
            return;
        }
        let waiting = self
            .open
            .iter()
            .filter_map(|(stream, entry)| match &entry.phase {
                Phase::Open(exchange) if exchange.is_resting() && exchange.claim.scope == scope => {
                    Some(*stream)
                }
                _ => None,
            });
        for stream in waiting.collect::<Vec<_>>() {
            self.change(stream, now, Exchange::look_again);
        }
    }

    /// Does what is due: waits that are over, leases to renew, what is to be tried once more.
    pub fn tick(&mut self, now: Ps) {
        for stream in self.open.keys().copied().collect::<Vec<_>>() {
            let Some(Entry {
                phase: Phase::Open(exchange),
                waits_for,
                ..
            }) = self.open.get_mut(&stream)
            else {
                continue;
            };
            if exchange.is_overdue(now) {
                let late = waits_for.take();
                self.counts.trouble(Trouble::Timeout);
                self.change(stream, now, |exchange, cx| {
                    exchange.failed(Trouble::Timeout, true, cx)
                });
                let sent = self.open.contains_key(&stream) && !self.is_unsent(stream);
                if let Some(asked) = late.and_then(|id| self.asked.get_mut(&id)) {
                    asked.sent = sent;
                }
            } else {
                self.change(stream, now, Exchange::tick);
            }
        }
        self.do_chores(now);
    }
}
