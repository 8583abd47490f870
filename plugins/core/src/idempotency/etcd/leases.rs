//! The etcd leases that records hang on, so that they end by themselves.
//!
//! A lease of its own for each record would be one more round trip for each request. So records of one retention share a
//! lease that was granted for longer, as long as what is left of it is no less than the retention; the next one is granted
//! ahead. A record may thus stay longer than its retention, by an eighth of it or an hour at most, and never shorter.
//!
//! etcd counts a lease's time without any clock that could be set, and from the start again when another of its members
//! takes the lead.

use crate::gcra::{PS_PER_S, Ps};
use std::time::Duration;

/// etcd ends all that hangs on a lease in one step.
const WRITES: u32 = 4_096;

/// How much longer a lease is than the retention, as a part of that, and in seconds.
const SHARE: u64 = 8;
const SLACK: (u64, u64) = (1, 3_600);

/// For each retention: as many as a policy has routes, at most.
#[derive(Debug, Default)]
pub(super) struct Leases(Vec<(Duration, Pair)>);

#[derive(Debug, Default)]
struct Pair {
    current: Option<Lease>,
    next: Option<Lease>,
    asked: Asked,
}

/// Whether a lease is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Not,
    Wanted,
    UnderWay,
}

#[derive(Debug)]
struct Lease {
    id: String,
    /// Until when what is left of it is enough.
    until: Ps,
    /// From when on the next one is to be granted.
    half: Ps,
    writes: u32,
}

impl Lease {
    fn is_good(&self, now: Ps) -> bool {
        self.writes < WRITES && now <= self.until
    }
}

/// How many seconds to ask for.
pub(super) fn seconds(retention: Duration) -> u64 {
    let whole = retention.as_secs() + u64::from(retention.subsec_nanos() > 0);
    let (least, most) = SLACK;
    whole.saturating_add((whole / SHARE).clamp(least, most))
}

impl Leases {
    /// A lease for one write of a record; none when one has to be granted first.
    pub(super) fn take(&mut self, retention: Duration, now: Ps) -> Option<&str> {
        let pair = self.of(retention)?;
        if !pair
            .current
            .as_ref()
            .is_some_and(|lease| lease.is_good(now))
        {
            pair.current = pair.next.take().filter(|lease| lease.is_good(now));
        }
        let late = pair
            .current
            .as_ref()
            .is_none_or(|lease| lease.half <= now || lease.writes >= WRITES / 2);
        if late && pair.next.is_none() && pair.asked == Asked::Not {
            pair.asked = Asked::Wanted;
        }
        let lease = pair.current.as_mut()?;
        lease.writes += 1;
        Some(&lease.id)
    }

    fn of(&mut self, retention: Duration) -> Option<&mut Pair> {
        let known = self.0.iter().position(|(known, _)| *known == retention);
        let place = known.unwrap_or(self.0.len());
        if known.is_none() {
            self.0.push((retention, Pair::default()));
        }
        self.0.get_mut(place).map(|(_, pair)| pair)
    }

    /// Whose next lease is to be asked for now.
    pub(super) fn ask(&mut self) -> Option<Duration> {
        let mut pairs = self.0.iter_mut();
        let (retention, pair) = pairs.find(|(_, pair)| pair.asked == Asked::Wanted)?;
        pair.asked = Asked::UnderWay;
        Some(*retention)
    }

    /// What was asked for at `sent` is there.
    pub(super) fn granted(&mut self, retention: Duration, id: String, seconds: u64, sent: Ps) {
        let Some(pair) = self.of(retention) else {
            return;
        };
        pair.asked = Asked::Not;
        let spare = (Ps::from(seconds) * PS_PER_S).saturating_sub(retention.as_nanos() * 1_000);
        pair.next = Some(Lease {
            id,
            until: sent + spare,
            half: sent + spare / 2,
            writes: 0,
        });
    }

    /// What was asked for is not there. True: nothing of this retention can be written.
    pub(super) fn refused(&mut self, retention: Duration, now: Ps) -> bool {
        let Some(pair) = self.of(retention) else {
            return true;
        };
        pair.asked = Asked::Not;
        let mut all = [&pair.current, &pair.next].into_iter().flatten();
        !all.any(|lease| lease.is_good(now))
    }

    /// etcd does not know the lease (any more).
    pub(super) fn forget(&mut self, id: &str) {
        for (_, pair) in &mut self.0 {
            for place in [&mut pair.current, &mut pair.next] {
                if place.as_ref().is_some_and(|lease| lease.id == id) {
                    *place = None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const HOUR: Ps = 3_600 * PS_PER_S;

    #[test]
    fn a_lease_is_longer_than_the_retention() {
        for (retention, expected) in [
            (Duration::from_secs(1), 2),
            (Duration::from_millis(1_500), 3),
            (Duration::from_secs(80), 90),
            (DAY, 86_400 + 3_600),
        ] {
            assert_eq!(seconds(retention), expected, "{retention:?}");
        }
    }

    #[test]
    fn what_is_left_of_a_lease_in_use_is_never_less_than_the_retention() {
        let mut leases = Leases::default();
        assert_eq!(leases.take(DAY, 0), None);
        assert_eq!(leases.ask(), Some(DAY));
        assert_eq!(leases.ask(), None, "once");
        leases.granted(DAY, "1".into(), seconds(DAY), 0);
        assert_eq!(leases.take(DAY, HOUR / 4), Some("1"));
        assert_eq!(leases.ask(), None);
        assert_eq!(leases.take(DAY, HOUR / 2), Some("1"));
        assert_eq!(leases.ask(), Some(DAY), "ahead, from its half on");
        assert_eq!(leases.take(DAY, HOUR), Some("1"));
        leases.granted(DAY, "2".into(), seconds(DAY), HOUR);
        assert_eq!(leases.take(DAY, HOUR + 1), Some("2"));
        assert_eq!(
            leases.take(DAY, 3 * HOUR),
            None,
            "and none that has waited too long"
        );
    }

    #[test]
    fn no_more_hangs_on_a_lease_than_etcd_ends_at_once() {
        let mut leases = Leases::default();
        leases.granted(DAY, "1".into(), seconds(DAY), 0);
        for write in 0..WRITES {
            assert_eq!(leases.take(DAY, 0), Some("1"));
            assert_eq!(leases.ask().is_some(), write == WRITES / 2, "{write}");
        }
        assert_eq!(leases.take(DAY, 0), None);
        leases.granted(DAY, "2".into(), seconds(DAY), 0);
        assert_eq!(leases.take(DAY, 0), Some("2"));
    }

    #[test]
    fn one_that_etcd_has_forgotten_is_replaced() {
        let mut leases = Leases::default();
        leases.granted(DAY, "1".into(), seconds(DAY), 0);
        assert_eq!(leases.take(DAY, 0), Some("1"));
        leases.forget("1");
        assert_eq!(leases.take(DAY, 0), None);
        assert_eq!(leases.ask(), Some(DAY));
        assert!(leases.refused(DAY, 0), "nothing can be written");
        assert_eq!(leases.take(DAY, 0), None);
        assert_eq!(leases.ask(), Some(DAY), "and it is asked for again");
    }
}
