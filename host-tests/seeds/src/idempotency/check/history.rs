//! A run as the checks see it: what each client was told, and what the origin carried out.

use crate::idempotency::load::{Scope, Sent};
use crate::idempotency::policy::{EXECUTION_HEADER, FENCE_HEADER, Policy};
use crate::idempotency::run::Run;
use sluice_emulator::{Ended, Exchange, OriginReply, OriginTrouble};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It did not wait for it.
    Left,
    /// Its connection was broken off.
    Broken,
    /// The origin's answer of this number, as an answer to this request.
    First(usize),
    /// The same, as a replay.
    Replay(usize),
    /// The gateway's own answer, as a replay.
    ReplayedTimeout,
    /// A problem, by the last part of its type.
    Problem(String),
    /// An answer of the gateway's own.
    Gateway(u16),
}

/// A client's request.
pub struct Request<'a> {
    pub place: usize,
    pub sent: &'a Sent,
    pub exchange: &'a Exchange,
    /// None where the filter has nothing to do with it.
    pub scope: Option<Scope>,
    pub verdict: Verdict,
    /// When its client knew it.
    pub told: Duration,
}

/// A request with a key that came to the origin.
pub struct Execution<'a> {
    /// Whose it was.
    pub place: usize,
    pub scope: Scope,
    pub at: Duration,
    pub fence: Option<u64>,
    /// What the origin answered, and as the how manieth: nothing where the request did not come whole.
    pub reply: Option<(usize, &'a OriginReply)>,
}

pub struct History<'a> {
    pub run: &'a Run,
    pub policy: &'a Policy,
    pub requests: Vec<Request<'a>>,
    /// In the order in which they came.
    pub executions: Vec<Execution<'a>>,
}

impl<'a> History<'a> {
    #[must_use]
    pub fn of(run: &'a Run) -> Self {
        let policy = &run.case.policy;
        let requests: Vec<Request<'_>> = run
            .exchanges
            .iter()
            .zip(&run.case.load.sent)
            .enumerate()
            .map(|(place, (exchange, sent))| Request {
                place,
                sent,
                exchange,
                scope: sent.scope(),
                verdict: verdict(exchange),
                told: told(policy, exchange),
            })
            .collect();
        let replies: BTreeMap<usize, (usize, &OriginReply)> = run
            .answered
            .iter()
            .enumerate()
            .map(|(number, answered)| (answered.exchange, (number, &answered.reply)))
            .collect();
        let executions = run.origin.iter().filter_map(|seen| {
            Some(Execution {
                place: seen.exchange,
                scope: requests[seen.exchange].scope.clone()?,
                at: seen.at,
                fence: seen.header(FENCE_HEADER).and_then(|text| text.parse().ok()),
                reply: replies.get(&seen.exchange).copied(),
            })
        });
        Self {
            executions: executions.collect(),
            run,
            policy,
            requests,
        }
    }

    /// The execution of an exchange.
    #[must_use]
    pub fn execution(&self, place: usize) -> Option<&Execution<'a>> {
        let mut executions = self.executions.iter();
        executions.find(|execution| execution.place == place)
    }

    /// The execution that the origin answered as this one.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Option<&Execution<'a>> {
        let mut executions = self.executions.iter();
        executions.find(|execution| execution.reply.is_some_and(|(own, _)| own == number))
    }

    /// Whether the gateway of a request went down, or one of its VMs.
    #[must_use]
    pub fn was_killed(&self, request: &Request<'_>) -> bool {
        self.run.case.faults.kills(request.sent.gateway)
    }

    /// Before this, the record of what was carried out at `at` cannot have ended by itself.
    #[must_use]
    pub fn kept_until(&self, at: Duration, until: Duration) -> Duration {
        let policy = self.policy;
        // It was made before the request was sent.
        let slack = Duration::from_millis(policy.question_ms() + 60);
        let from = at.saturating_sub(slack);
        let ahead = self.run.case.faults.ahead(from, until);
        (from + Duration::from_millis(policy.retention_ms)).saturating_sub(ahead)
    }

    /// Whether the gateway may have been told by the origin that nothing was done: then the key is free again.
    #[must_use]
    pub fn may_be_freed(&self, execution: &Execution<'_>) -> bool {
        execution.reply.is_some_and(|(_, reply)| {
            let came = !matches!(
                reply.trouble,
                Some(OriginTrouble::ResetBefore | OriginTrouble::Silent)
            );
            came && !self.policy.stores(reply.status)
        })
    }
}

fn verdict(exchange: &Exchange) -> Verdict {
    let answer = match (&exchange.answer, exchange.ended) {
        (_, Ended::Aborted) => return Verdict::Left,
        (Some(answer), Ended::Answered) => answer,
        _ => return Verdict::Broken,
    };
    let replayed = answer.header("idempotency-replayed").as_deref() == Some("true");
    let number = answer.header(EXECUTION_HEADER);
    if let Some(number) = number.and_then(|text| text.parse().ok()) {
        return if replayed {
            Verdict::Replay(number)
        } else {
            Verdict::First(number)
        };
    }
    if replayed {
        return Verdict::ReplayedTimeout;
    }
    let json: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let kind = json.as_ref().and_then(|json| json["type"].as_str());
    match kind.and_then(|kind| kind.strip_prefix("urn:sluice:problem:idempotency-")) {
        Some(name) => Verdict::Problem(name.to_owned()),
        None => Verdict::Gateway(answer.status),
    }
}

/// When a client has what the filter promises something for: the head, or where only the end is held, the end.
fn told(policy: &Policy, exchange: &Exchange) -> Duration {
    match &exchange.answer {
        Some(answer) if policy.before_headers => answer.at,
        _ => exchange.ended_at,
    }
}
