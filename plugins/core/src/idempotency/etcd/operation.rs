//! What an operation is as a transaction, and what the transaction's end means for it.

use super::record::{self, Record, What};
use super::reply::{Found, Said};
use super::request::{self, Key};
use crate::gcra::{PS_PER_US, Ps};
use crate::idempotency::store::{
    Acquired, Claim, Committed, Operation, Outcome, Released, Renewed,
};
use crate::redis::trouble::Trouble;
use std::time::Duration;

/// The gateway's clock: how far, in microseconds since 1970, it is before that of the decisions.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock(i128);

impl Clock {
    /// `clock` is the gateway's, as picoseconds since 1970, at the decisions' `now`.
    pub(super) fn new(clock: Ps, now: Ps) -> Self {
        Self(micros(clock) - micros(now))
    }

    /// Microseconds since 1970.
    fn at(self, then: Ps) -> u64 {
        u64::try_from(micros(then) + self.0).unwrap_or_default()
    }
}

fn micros(time: Ps) -> i128 {
    i128::try_from(time / PS_PER_US).unwrap_or(i128::MAX)
}

/// The transaction on the record `key`. `lease` is what it will hang on. `restores`: a commit whose record is not there.
pub(super) fn transaction(
    operation: &Operation,
    restores: bool,
    (key, lease): (&[u8], &str),
    (clock, now): (Clock, Ps),
) -> Vec<u8> {
    let claim = operation.claim();
    let key = Key::new(key);
    let (from, to) = record::in_flight(&claim.token);
    let mine = key.is_between(&from, &to);
    let started = clock.at(claim.at);
    let flight = || {
        let ends = clock.at(now + claim.lease.as_nanos() * 1_000);
        key.put(&record::flight(claim, started, ends), lease)
    };
    match operation {
        Operation::Acquire(_) => request::txn(&key.is_absent(), &flight(), &key.read()),
        Operation::Renew(_) => request::txn(&mine, &flight(), ""),
        Operation::Release(_) => request::txn(&mine, &key.delete(), &key.look()),
        Operation::Commit(commit) => {
            let compare = if restores { key.is_absent() } else { mine };
            let value = record::done(commit, started, clock.at(now));
            request::txn(&compare, &key.put(&value, lease), &key.read())
        }
    }
}

/// What a transaction means for its operation; none: a commit whose record is not there, to be restored.
pub(super) fn outcome(
    operation: &Operation,
    restores: bool,
    said: Said,
    (clock, now): (Clock, Ps),
) -> Result<Option<Outcome>, Trouble> {
    let claim = operation.claim();
    let outcome = match (operation, said) {
        (Operation::Acquire(_), Said::Done { revision }) => {
            Outcome::Acquire(Acquired::Yours { fence: revision })
        }
        (Operation::Acquire(_), Said::Found(Some(found))) => {
            Outcome::Acquire(acquired(claim, &found, clock.at(now)))
        }
        // It was there when it was compared, and is not when it is read.
        (Operation::Acquire(_), Said::Found(None)) => return Err(Trouble::Malformed),
        (Operation::Renew(_), Said::Done { .. }) => Outcome::Renew(Renewed::Yes),
        (Operation::Renew(_), Said::Found(_)) => Outcome::Renew(Renewed::Lost),
        (Operation::Commit(_), Said::Done { .. }) if restores => {
            Outcome::Commit(Committed::Restored)
        }
        (Operation::Commit(_), Said::Done { .. }) => Outcome::Commit(Committed::Yes),
        (Operation::Commit(_), Said::Found(None)) if restores => return Err(Trouble::Malformed),
        (Operation::Commit(_), Said::Found(None)) => return Ok(None),
        (Operation::Commit(_), Said::Found(Some(found))) => {
            let mine = claim.token.hex();
            Outcome::Commit(match Record::read(&found.value).map(|record| record.what) {
                Some(What::Done { by, .. }) if by.as_ref() == Some(&mine) => Committed::Yes,
                _ => Committed::Superseded,
            })
        }
        (Operation::Release(_), Said::Done { .. }) => Outcome::Release(Released::Yes),
        (Operation::Release(_), Said::Found(None)) => Outcome::Release(Released::Absent),
        (Operation::Release(_), Said::Found(Some(_))) => Outcome::Release(Released::Lost),
    };
    Ok(Some(outcome))
}

fn acquired(claim: &Claim, found: &Found, clock: u64) -> Acquired {
    let Some(record) = Record::read(&found.value) else {
        return Acquired::Corrupt;
    };
    if record.fingerprint != claim.fingerprint.hex() {
        return Acquired::Mismatch;
    }
    match record.what {
        What::Done { kind, bytes, .. } => Acquired::Completed {
            kind,
            bytes: bytes.into(),
        },
        What::Flight { token, .. } if token == claim.token.hex() => Acquired::Yours {
            fence: found.created,
        },
        What::Flight { ends, .. } if clock < ends => Acquired::InFlight {
            left: Duration::from_millis((ends - clock).div_ceil(1_000)),
        },
        What::Flight { .. } => Acquired::Unknown,
    }
}
