//! The exchanges of one worker: what happens to a stream goes in, what is to be done with it comes out, and the store is
//! asked in between.

mod chores;
mod operations;

use super::counts::{Counts, Event, RouteCounts};
use super::exchange::{Act, Context, Exchange, Hold};
pub use super::exchange::{ResponseHead, Settled};
use super::fingerprint::Hasher;
use super::problem::{Answer, Problem};
use super::scope::{Scope, Token};
use super::scripts::Keys;
use super::settings::{CommitOrder, Route, Settings};
use super::store::{Claim, Operation, Store};
use crate::gcra::Ps;
use crate::release;
use chores::{Chore, Effort};
use std::collections::BTreeMap;

/// Bytes of a stored answer besides its body.
const HEAD: usize = 64 << 10;

/// What a stream does now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Goes on.
    Pass,
    /// Waits for what [`Registry::settled`] says of it.
    Hold,
    Now(Settled),
}

/// A request with a key.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// Index into [`Settings::routes`].
    pub route: usize,
    /// What tells clients apart.
    pub subject: &'a [u8],
    pub key: &'a [u8],
    /// Random; no two requests may have the same.
    pub token: [u8; 16],
    pub method: &'a [u8],
    /// `:path`
    pub target: &'a [u8],
    /// No body follows.
    pub end: bool,
}

/// The open exchanges of one worker, over the store `S`.
pub struct Registry<S> {
    settings: Settings,
    /// Of the records in the store.
    keys: Keys,
    store: S,
    open: BTreeMap<u32, Entry>,
    /// Operations under way.
    asked: BTreeMap<u64, UnderWay>,
    /// Operations to be tried once more.
    chores: Vec<Chore>,
    settled: Vec<(u32, Settled)>,
    next: u64,
    /// Bytes of the answers of open exchanges.
    held: usize,
    /// Bytes of answers that are stored late.
    late: usize,
    resting: usize,
    pub counts: Counts,
}

struct Entry {
    phase: Phase,
    /// The operation that the exchange waits for.
    waits_for: Option<u64>,
    /// The stream has ended.
    gone: bool,
}

enum Phase {
    /// The request's body arrives.
    Reading(Reading),
    Open(Exchange),
}

struct Reading {
    route: usize,
    scope: Scope,
    key: Vec<u8>,
    token: Token,
    hasher: Hasher,
}

struct UnderWay {
    stream: u32,
    route: usize,
    operation: Operation,
    /// Of what is tried again when nobody waits for it.
    effort: Option<Effort>,
    /// The request went on without waiting for it: it must not be undone.
    sent: bool,
}

impl<S: Store> Registry<S> {
    #[must_use]
    pub fn new(settings: Settings, store: S) -> Self {
        Self {
            counts: Counts::new(settings.routes.len()),
            keys: settings.keys(),
            settings,
            store,
            open: BTreeMap::new(),
            asked: BTreeMap::new(),
            chores: Vec::new(),
            settled: Vec::new(),
            next: 0,
            held: 0,
            late: 0,
            resting: 0,
        }
    }

    pub fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Exchanges that are open, those included that only store their answer any more.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Bytes of answers that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held + self.late
    }

    /// What has become of streams that were held, of as many as may be told in one callback. See
    /// [`Registry::has_settled`].
    pub fn settled(&mut self) -> Vec<(u32, Settled)> {
        release::some(&mut self.settled)
    }

    /// Whether there are streams to be told.
    #[must_use]
    pub fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// A request with a key has come.
    pub fn request(&mut self, stream: u32, opening: &Opening<'_>, now: Ps) -> Step {
        let Some(route) = self.settings.routes.get(opening.route) else {
            return Step::Pass;
        };
        // A stream of this number that has ended and only stores its answer would lose it.
        if self.open.len() >= self.settings.max_open.max(1) || self.open.contains_key(&stream) {
            return self.refuse(opening.route, Event::Overloaded, Problem::Overloaded);
        }
        let reading = Reading {
            route: opening.route,
            scope: Scope::new(opening.subject, &route.name, opening.key),
            key: opening.key.to_vec(),
            token: Token::new(opening.token),
            hasher: Hasher::new(opening.method, opening.target),
        };
        if opening.end || self.settings.commit_order == CommitOrder::BeforeEnd {
            return self.begin(stream, reading, now);
        }
        self.insert(stream, Phase::Reading(reading));
        Step::Hold
    }

    /// A request has come whose key is missing, cannot be read, or belongs to nobody, or cannot be asked for: `problem`
    /// says which.
    pub fn key_refused(&mut self, route: usize, problem: Problem) -> Step {
        let event = match problem {
            Problem::KeyMissing => Event::KeyMissing,
            Problem::ClientUnknown => Event::ClientUnknown,
            Problem::StoreUnavailable => Event::StoreUnavailable,
            _ => Event::KeyInvalid,
        };
        self.refuse(route, event, problem)
    }

    /// A piece of the request's body; each byte comes once.
    pub fn request_body(&mut self, stream: u32, piece: &[u8], end: bool, now: Ps) -> Step {
        let Some(Entry {
            phase: Phase::Reading(reading),
            ..
        }) = self.open.get_mut(&stream)
        else {
            return self.holds_request(stream);
        };
        reading.hasher.body(piece);
        let (route, length) = (reading.route, reading.hasher.length());
        let most = self
            .settings
            .routes
            .get(route)
            .map_or(0, |route| route.max_request_body);
        if length > most as u64 {
            self.open.remove(&stream);
            return self.refuse(route, Event::BodyTooLarge, Problem::BodyTooLarge);
        }
        if !end {
            return Step::Hold;
        }
        match self.open.remove(&stream) {
            Some(Entry {
                phase: Phase::Reading(reading),
                ..
            }) => self.begin(stream, reading, now),
            _ => Step::Pass,
        }
    }

    /// The request ends with trailers.
    pub fn request_trailers(&mut self, stream: u32, now: Ps) -> Step {
        self.request_body(stream, b"", true, now)
    }

    fn holds_request(&self, stream: u32) -> Step {
        match self.open.get(&stream) {
            Some(Entry {
                phase: Phase::Open(exchange),
                gone: false,
                ..
            }) if !exchange.is_sent() => Step::Hold,
            _ => Step::Pass,
        }
    }

    fn refuse(&mut self, route: usize, event: Event, problem: Problem) -> Step {
        if let Some(counts) = self.counts.routes.get_mut(route) {
            counts.add(event);
        }
        if self
            .settings
            .routes
            .get(route)
            .is_some_and(|route| route.dry_run)
        {
            return Step::Pass;
        }
        Step::Now(Settled::Answer(Answer::problem(problem)))
    }

    fn insert(&mut self, stream: u32, phase: Phase) {
        self.open.insert(
            stream,
            Entry {
                phase,
                waits_for: None,
                gone: false,
            },
        );
    }

    /// The fingerprint is known.
    fn begin(&mut self, stream: u32, reading: Reading, now: Ps) -> Step {
        let Reading {
            route: index,
            scope,
            key,
            token,
            hasher,
        } = reading;
        let mut acts = Vec::new();
        let hold = self.hold(index);
        let Some((mut cx, route)) = self.context(index, now, &mut acts) else {
            return Step::Pass;
        };
        let claim = Claim {
            scope,
            token,
            fingerprint: hasher.finish(),
            lease: route.lease,
            retention: route.retention,
            route: route.name.clone(),
            key,
            max_answer: route.max_response_body.saturating_add(HEAD),
            at: now,
        };
        let exchange = Exchange::begin(index, claim, hold, &mut cx);
        self.insert(stream, Phase::Open(exchange));
        self.carry_out(stream, acts, now);
        self.step(stream)
    }

    fn hold(&self, route: usize) -> Hold {
        match self.settings.commit_order {
            _ if self
                .settings
                .routes
                .get(route)
                .is_some_and(|route| route.dry_run) =>
            {
                Hold::Nothing
            }
            CommitOrder::BeforeHeaders => Hold::All,
            CommitOrder::BeforeEnd => Hold::LastPiece,
        }
    }

    fn context<'a>(
        &'a mut self,
        route: usize,
        now: Ps,
        acts: &'a mut Vec<Act>,
    ) -> Option<(Context<'a>, &'a Route)> {
        let Self {
            settings,
            counts,
            held,
            late,
            keys,
            ..
        } = self;
        let of_route: &mut RouteCounts = counts.routes.get_mut(route)?;
        let route = settings.routes.get(route)?;
        let context = Context {
            route,
            timeout: settings.timeout,
            fence_header: settings.fence_header.as_deref(),
            at_rest: &settings.at_rest,
            keys,
            buffer: settings.gateway_buffer,
            room: settings.max_held.saturating_sub(*held + *late),
            now,
            counts: of_route,
            acts,
        };
        Some((context, route))
    }

    /// The head of a response has come.
    pub fn response_head(&mut self, stream: u32, head: &ResponseHead<'_>, now: Ps) -> Step {
        if self.is_unsent(stream) {
            // The gateway answers by itself what it was still holding.
            self.stream_ended(stream, now);
            return Step::Pass;
        }
        self.change(stream, now, |exchange, cx| exchange.response_head(head, cx));
        self.step(stream)
    }

    /// A piece of the response's body; each byte comes once.
    pub fn response_body(&mut self, stream: u32, piece: &[u8], end: bool, now: Ps) -> Step {
        self.change(stream, now, |exchange, cx| {
            exchange.response_body(piece, end, cx)
        });
        self.step(stream)
    }

    /// The response ends with trailers.
    pub fn response_trailers(&mut self, stream: u32, now: Ps) -> Step {
        self.change(stream, now, Exchange::response_trailers);
        self.step(stream)
    }

    /// The stream is over, whichever way. What has been decided of it and not taken is dropped.
    pub fn stream_ended(&mut self, stream: u32, now: Ps) {
        if let Some(entry) = self.open.get_mut(&stream) {
            entry.gone = true;
            if matches!(entry.phase, Phase::Reading(_)) {
                self.open.remove(&stream);
            }
        }
        let proceeds = |(settled, what): &(u32, Settled)| {
            *settled == stream && matches!(what, Settled::Proceed(_))
        };
        if self.settled.iter().any(proceeds) {
            self.not_sent(stream, now);
        }
        self.change(stream, now, Exchange::stream_ended);
        self.settled.retain(|(settled, _)| *settled != stream);
    }

    /// The request was to proceed, but the gateway did not let it: nothing was sent.
    pub fn not_sent(&mut self, stream: u32, now: Ps) {
        self.change(stream, now, Exchange::not_sent);
    }

    fn is_unsent(&self, stream: u32) -> bool {
        match self.open.get(&stream).map(|entry| &entry.phase) {
            Some(Phase::Reading(_)) => true,
            Some(Phase::Open(exchange)) => !exchange.is_sent(),
            None => false,
        }
    }

    fn step(&mut self, stream: u32) -> Step {
        if let Some(index) = self
            .settled
            .iter()
            .rposition(|(settled, _)| *settled == stream)
        {
            return Step::Now(self.settled.remove(index).1);
        }
        match self.open.get(&stream) {
            Some(Entry {
                phase: Phase::Open(exchange),
                ..
            }) if exchange.holds() => Step::Hold,
            _ => Step::Pass,
        }
    }
}

#[cfg(test)]
pub(super) use tests::policy as testing;
#[cfg(test)]
mod tests;
