//! The limiter against a model Redis: what passes, what is charged, and what happens when Redis does not answer.

use super::super::model_redis::ModelRedis;
use super::super::settings::OnError;
use super::*;
use crate::gcra::{PS_PER_S, PS_PER_US, Quota};
use crate::redis::breaker;
use crate::redis::pipe::{Framing, Limits, Login};
use crate::slots::tests::FakeShared;
use std::time::Duration;

mod sparing;
mod together;
mod trouble;

const START: Ps = 1_700_000_000 * PS_PER_S;
const MS: Ps = PS_PER_S / 1_000;

fn redis(on_error: OnError) -> Redis {
    Redis {
        key_prefix: "t".into(),
        login: Login::default(),
        timeout: 50 * MS,
        hash_slots: false,
        on_error,
        limits: Limits {
            max_commands: 100,
            max_bytes: 100_000,
            in_flight: 2,
            framing: Framing::Whole,
        },
        breaker: breaker::Settings {
            failures: 3,
            open_for: PS_PER_S,
        },
    }
}

/// One gateway: some workers over one store.
struct Gateway {
    workers: Vec<Limiter<FakeShared>>,
    next_id: u32,
    token: u32,
}

impl Gateway {
    fn new(workers: usize, rules: &[(Mode, bool)], redis: Redis) -> Self {
        let store = FakeShared::default();
        let rules: Vec<Rule> = rules
            .iter()
            .enumerate()
            .map(|(index, (mode, shadow))| Rule {
                name: format!("l{index}"),
                mode: *mode,
                shadow: *shadow,
            })
            .collect();
        let settings = Settings {
            buckets: 64,
            ways: 4,
            overflow_allows: false,
            redis: Some(redis),
        };
        Self {
            workers: (0..workers)
                .map(|_| Limiter::new(store.clone(), settings.clone(), rules.clone()))
                .collect(),
            next_id: 0,
            token: 0,
        }
    }

    fn begin(&mut self, worker: usize, checks: Vec<Check>, now: Ps) -> (u32, Option<Verdict>) {
        self.next_id += 1;
        (
            self.next_id,
            self.workers[worker].begin(self.next_id, checks, now),
        )
    }

    /// Sends what is ready of `worker` and returns the callouts.
    fn send(&mut self, worker: usize, now: Ps) -> Vec<(u32, Vec<u8>)> {
        let mut callouts = Vec::new();
        let token = &mut self.token;
        self.workers[worker].send(now, |batch| {
            assert!(batch.deadline > now && batch.deadline <= now + 50 * MS);
            *token += 1;
            callouts.push((*token, batch.body.clone()));
            Ok(*token)
        });
        callouts
    }

    /// Lets Redis answer everything until nobody waits.
    fn run(&mut self, worker: usize, redis: &mut ModelRedis, now: Ps) -> Vec<(u32, Verdict)> {
        loop {
            let callouts = self.send(worker, now);
            if callouts.is_empty() {
                return self.workers[worker].settled();
            }
            for (token, body) in callouts {
                let reply = redis.run(&body, now);
                self.workers[worker].replied(token, Ok(&reply), now);
            }
        }
    }

    /// One request through to its verdict.
    fn ask(
        &mut self,
        worker: usize,
        redis: &mut ModelRedis,
        checks: Vec<Check>,
        now: Ps,
    ) -> Verdict {
        let (id, verdict) = self.begin(worker, checks, now);
        let settled = self.run(worker, redis, now);
        verdict.unwrap_or_else(|| {
            settled
                .into_iter()
                .find_map(|(settled, verdict)| (settled == id).then_some(verdict))
                .expect("a verdict")
        })
    }
}

fn check(rule: usize, limit: u64, cost: u64) -> Check {
    let period = Duration::from_secs(1);
    let quota = Quota::new(limit, period, limit).unwrap();
    Check {
        rule,
        hash: 1000 + rule as u64,
        subject: b"alice".to_vec(),
        ruling: Ruling::Metered(Allowance {
            lease: limit / 5,
            ..Allowance::new(quota, limit, period)
        }),
        cost,
    }
}

fn is_admitted(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Admitted { .. })
}

fn denied_by(verdict: &Verdict) -> (usize, Reason) {
    match verdict {
        Verdict::Denied { rule, reason, .. } => (*rule, *reason),
        Verdict::Admitted { .. } => panic!("admitted"),
    }
}

const LOCAL: (Mode, bool) = (Mode::Local, false);
const STRICT: (Mode, bool) = (Mode::Strict, false);
const LEASED: (Mode, bool) = (Mode::Leased, false);
