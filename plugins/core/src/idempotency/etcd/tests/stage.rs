//! Stores over one etcd, and the way between them.

use super::super::{EtcdStore, Login, Request};
use super::model::{Answer, Model, reply};
use crate::gcra::{PS_PER_S, Ps};
use crate::idempotency::redlock::testing::suite::Stage;
use crate::idempotency::registry::testing;
use crate::idempotency::settings::{Etcd, Settings, Store as StoreSettings};
use crate::idempotency::store::{Operation, Outcome, Store};
use crate::redis::trouble::Trouble;
use std::time::Duration;

const START: Ps = 1_790_000_000 * PS_PER_S;
pub const TIMEOUT: Ps = testing::TIMEOUT;
pub const IN_FLIGHT: usize = 4;

pub type Answers = Vec<Result<Outcome, Trouble>>;

pub struct EtcdStage {
    pub model: Model,
    pub stores: Vec<EtcdStore>,
    pub now: Ps,
    /// How far each store's clock is off.
    pub skew: Vec<i64>,
    next: u64,
}

pub fn settings(login: Option<Login>) -> Settings {
    let mut settings = testing::settings(testing::route());
    settings.store = StoreSettings::Etcd(Etcd {
        login,
        in_flight: IN_FLIGHT,
    });
    settings
}

pub fn store(settings: &Settings) -> EtcdStore {
    match &settings.store {
        StoreSettings::Etcd(etcd) => EtcdStore::new(settings, etcd),
        StoreSettings::Redis(redis) => panic!("{redis:?}"),
    }
}

impl EtcdStage {
    pub fn new() -> Self {
        Self::with(&settings(None), 1)
    }

    pub fn with(settings: &Settings, stores: usize) -> Self {
        Self {
            model: Model::default(),
            stores: (0..stores).map(|_| store(settings)).collect(),
            now: PS_PER_S,
            skew: vec![0; stores],
            next: 0,
        }
    }

    /// Begins an operation of the store `by`.
    pub fn start(&mut self, by: usize, operation: &Operation) -> Result<(), Trouble> {
        self.next += 1;
        self.stores[by].start(self.next, operation, self.now + TIMEOUT, self.now)
    }

    /// What the store sends now, with their tokens.
    pub fn send(&mut self, by: usize) -> Vec<(u32, Request)> {
        let mut sent = Vec::new();
        let next = &mut self.next;
        let clock = (START + self.now).saturating_add_signed(i128::from(self.skew[by]) * 1_000_000);
        self.stores[by].send(self.now, clock, |request| {
            *next += 1;
            sent.push((*next as u32, request.clone()));
            Ok(*next as u32)
        });
        sent
    }

    /// One request reaches etcd, and what that says the store.
    pub fn deliver(&mut self, by: usize, (token, request): &(u32, Request)) {
        let answer = self.model.answer(request, self.now);
        self.hear(by, *token, Ok(&answer));
    }

    pub fn hear(&mut self, by: usize, token: u32, answer: Result<&Answer, Trouble>) {
        let now = self.now;
        self.stores[by].replied(token, answer.map(reply), now);
    }

    /// Carries on until nothing is sent any more. What was answered.
    pub fn settle(&mut self, by: usize) -> Answers {
        loop {
            let sent = self.send(by);
            if sent.is_empty() {
                return self.answered(by);
            }
            sent.iter().for_each(|request| self.deliver(by, request));
        }
    }

    pub fn answered(&mut self, by: usize) -> Answers {
        let answered = self.stores[by].answered();
        answered.into_iter().map(|(_, outcome)| outcome).collect()
    }

    pub fn ask_by(&mut self, by: usize, operation: &Operation) -> Result<Outcome, Trouble> {
        self.start(by, operation)?;
        let mut answers = self.settle(by);
        assert_eq!(answers.len(), 1, "answered once");
        answers.remove(0)
    }
}

impl Stage for EtcdStage {
    fn ask(&mut self, operation: &Operation) -> Result<Outcome, Trouble> {
        self.ask_by(0, operation)
    }

    fn advance(&mut self, time: Duration) {
        self.now += time.as_nanos() * 1_000;
    }
}
