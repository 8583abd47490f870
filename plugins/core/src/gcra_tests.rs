//! Known answers, and the properties that make a rate limit one.

use super::*;
use proptest::prelude::*;

const S: Ps = PS_PER_S;

fn quota(limit: u64, period: Duration, burst: u64) -> Quota {
    Quota::new(limit, period, burst).unwrap()
}

/// One client of one quota, as a store would keep it.
struct Client {
    quota: Quota,
    tat: Option<Ps>,
}

impl Client {
    fn new(limit: u64, period: Duration, burst: u64) -> Self {
        Self {
            quota: quota(limit, period, burst),
            tat: None,
        }
    }

    fn ask(&mut self, now: Ps, cost: u64) -> Decision {
        let decision = self.quota.decide(self.tat, now, cost);
        if let Verdict::Allow { tat } = decision.verdict
            && cost > 0
        {
            self.tat = Some(tat);
        }
        decision
    }

    fn allows(&mut self, now: Ps, cost: u64) -> bool {
        matches!(self.ask(now, cost).verdict, Verdict::Allow { .. })
    }
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// remaining, reset in milliseconds
    Pass(u64, u128),
    /// remaining, reset, retry in milliseconds
    Limited(u64, u128, u128),
    /// remaining, reset in milliseconds
    Never(u64, u128),
}

fn answer(client: &mut Client, now_ms: u128, cost: u64) -> Answer {
    let ms = S / 1000;
    // Far from the epoch, as a real clock is.
    let decision = client.ask(1_700_000_000 * S + now_ms * ms, cost);
    let remaining = client.quota.remaining(decision.backlog);
    let reset = decision.backlog / ms;
    match decision.verdict {
        Verdict::Allow { .. } => Answer::Pass(remaining, reset),
        Verdict::Deny { retry } => Answer::Limited(remaining, reset, retry / ms),
        Verdict::Never => Answer::Never(remaining, reset),
    }
}

#[test]
fn five_a_burst_one_a_second() {
    use Answer::*;
    let mut client = Client::new(1, Duration::from_secs(1), 5);
    let table = [
        (0, 6, Never(5, 0)),
        (0, 1, Pass(4, 1000)),
        (0, 1, Pass(3, 2000)),
        (0, 1, Pass(2, 3000)),
        (0, 1, Pass(1, 4000)),
        (0, 1, Pass(0, 5000)),
        (0, 1, Limited(0, 5000, 1000)),
        (3000, 1, Pass(2, 3000)),
        (3100, 1, Pass(1, 3900)),
        (4000, 1, Pass(1, 4000)),
        (8000, 1, Pass(4, 1000)),
        (9500, 1, Pass(4, 1000)),
        (9500, 0, Pass(4, 1000)),
        (9500, 2, Pass(2, 3000)),
        (9500, 5, Limited(2, 3000, 3000)),
        (15000, 6, Never(5, 0)),
    ];
    for (row, (now, cost, expected)) in table.into_iter().enumerate() {
        assert_eq!(answer(&mut client, now, cost), expected, "row {row}");
    }
}

#[test]
fn as_redis_cell_answers() {
    use Answer::*;
    // CL.THROTTLE's max_burst is one less than the burst here.
    let mut client = Client::new(30, Duration::from_secs(60), 16);
    assert_eq!(answer(&mut client, 0, 1), Pass(15, 2000));
    let mut client = Client::new(5, Duration::from_secs(3600), 6);
    assert_eq!(answer(&mut client, 0, 1), Pass(5, 720_000));
    let mut client = Client::new(1, Duration::from_secs(2), 1);
    assert_eq!(answer(&mut client, 0, 1), Pass(0, 2000));
    assert_eq!(answer(&mut client, 0, 1), Limited(0, 2000, 2000));
    assert_eq!(answer(&mut client, 2000, 1), Pass(0, 2000));
}

#[test]
fn ten_a_second() {
    use Answer::*;
    let mut client = Client::new(10, Duration::from_secs(1), 10);
    assert_eq!(answer(&mut client, 0, 1), Pass(9, 100));
    assert_eq!(answer(&mut client, 0, 2), Pass(7, 300));
    assert_eq!(answer(&mut client, 0, 7), Pass(0, 1000));
}

#[test]
fn timelines() {
    let ms = S / 1000;
    let run = |limit, burst, cost, at: &[u128]| -> String {
        let mut client = Client::new(limit, Duration::from_secs(1), burst);
        at.iter()
            .map(|t| {
                if client.allows(t * ms, cost) {
                    'A'
                } else {
                    'D'
                }
            })
            .collect()
    };
    assert_eq!(run(2, 2, 1, &[0, 1, 2, 1002, 1003, 1004]), "AADAAD");
    assert_eq!(
        run(
            5,
            5,
            1,
            &[0, 0, 0, 0, 0, 0, 2000, 2000, 2000, 2000, 2000, 2000]
        ),
        "AAAAADAAAAAD"
    );
    assert_eq!(run(4, 4, 2, &[0, 0, 1, 1001, 1002, 1003]), "AADAAD");
}

#[test]
fn a_cost_above_the_burst_never_passes() {
    let quota = quota(5, Duration::from_secs(1), 5);
    for cost in [15, 7, 6] {
        assert_eq!(quota.decide(None, S, cost).verdict, Verdict::Never);
    }
    assert!(matches!(
        quota.decide(None, S, 5).verdict,
        Verdict::Allow { .. }
    ));
}

#[test]
fn a_limit_of_zero_denies_all_even_a_peek() {
    let quota = quota(0, Duration::from_secs(1), 5);
    assert_eq!(quota.decide(None, S, 1).verdict, Verdict::Never);
    assert_eq!(quota.decide(None, S, 0).verdict, Verdict::Never);
    assert_eq!(quota.remaining(0), 0);
    assert_eq!(quota.until_next(0), None);
}

#[test]
fn rates_that_cannot_be_kept_are_refused() {
    let second = Duration::from_secs(1);
    assert_eq!(Quota::new(900_000_000, second, 1), Err(QuotaError::TooFast));
    assert!(Quota::new(1_000_000_000, second, 1).is_ok());
    assert_eq!(
        Quota::new(1, Duration::from_secs(366 * 86_400), 101),
        Err(QuotaError::TooSlow)
    );
}

/// Takes every token as it comes back, `step` by `step`, and says how many that were after the burst.
fn taken_in(quota: Quota, time: Ps, step: Ps) -> u64 {
    let mut client = Client { quota, tat: None };
    let mut now = 1_700_000_000 * S;
    assert!(client.allows(now, quota.burst()));
    let end = now + time;
    let mut taken = 0;
    while now < end {
        now += step;
        let tokens = quota.remaining(client.ask(now, 0).backlog);
        assert!(client.allows(now, tokens));
        taken += tokens;
    }
    taken
}

#[test]
fn a_day_at_a_million_a_second_and_years_at_one_a_year_keep_their_rate() {
    let day = 86_400 * S;
    for (limit, per_day) in [
        (1_000_000, 86_400_000_000),
        (600_000, 51_840_000_000),
        (7, 604_800),
    ] {
        let taken = taken_in(quota(limit, Duration::from_secs(1), 2 * limit), day, S);
        assert!(
            taken.abs_diff(per_day) * 10_000 <= per_day,
            "{limit}/s: {taken}"
        );
    }
    let yearly = quota(1, Duration::from_secs(365 * 86_400), 1);
    assert_eq!(taken_in(yearly, 364 * day, day), 0);
    assert_eq!(taken_in(yearly, 3_650 * day, day), 10);
}

fn any_quota() -> impl Strategy<Value = Quota> {
    (1u64..2_000_000, 1u64..100_000_000_000, 1u64..1_000)
        .prop_filter_map("a rate that can be kept", |(limit, period_us, burst)| {
            Quota::new(limit, Duration::from_micros(period_us), burst).ok()
        })
}

proptest! {
    /// Window by window: between any two admitted requests, no more than B + w/T tokens.
    #[test]
    fn no_window_admits_more_than_the_burst_and_its_refill(
        quota in any_quota(),
        steps in prop::collection::vec((0u64..3_000, 0u64..5), 1..120),
    ) {
        let mut client = Client { quota, tat: None };
        let mut now = 1_700_000_000 * S;
        let mut admitted: Vec<(Ps, u64)> = Vec::new();
        for (gap, cost) in steps {
            // Gaps in thousandths of an interval: around the rate, where mistakes show.
            now += quota.interval() * Ps::from(gap) / 1_000;
            if client.allows(now, cost) {
                admitted.push((now, cost));
            }
        }
        for (first, (start, _)) in admitted.iter().enumerate() {
            let mut tokens = 0;
            for (end, cost) in &admitted[first..] {
                tokens += Ps::from(*cost);
                let window = end - start;
                prop_assert!(tokens * quota.interval() <= quota.tolerance() + window);
            }
        }
    }

    #[test]
    fn a_denial_and_a_cost_of_zero_change_nothing(
        quota in any_quota(),
        tat in 0u128..4_000_000_000 * PS_PER_S,
        cost in 0u64..2_000,
    ) {
        let now = 1_700_000_000 * S;
        let before = quota.decide(Some(tat), now, 0);
        let decision = quota.decide(Some(tat), now, cost);
        match decision.verdict {
            Verdict::Allow { tat: new } if cost == 0 => prop_assert_eq!(new, now + before.backlog),
            Verdict::Allow { tat: new } => prop_assert!(new > now + before.backlog),
            _ => prop_assert_eq!(decision.backlog, before.backlog),
        }
    }

    #[test]
    fn a_clock_that_jumps_back_never_denies_longer_than_the_tolerance(
        quota in any_quota(),
        back in 0u128..1_000_000_000 * PS_PER_S,
        cost in 1u64..1_000,
    ) {
        let now = 1_700_000_000 * S;
        let mut client = Client { quota, tat: None };
        while client.allows(now, 1) {}
        match quota.decide(client.tat, now - back, cost).verdict {
            Verdict::Deny { retry } => prop_assert!(retry <= quota.tolerance()),
            Verdict::Never => prop_assert!(cost > quota.burst()),
            Verdict::Allow { .. } => prop_assert!(false, "an empty bucket gave tokens"),
        }
    }

    #[test]
    fn a_shorter_limit_takes_effect_at_once(old in any_quota(), new in any_quota(), cost in 1u64..1_000) {
        let now = 1_700_000_000 * S;
        let mut client = Client { quota: old, tat: None };
        while client.allows(now, 1) {}
        if let Verdict::Deny { retry } = new.decide(client.tat, now, cost).verdict {
            prop_assert!(retry <= new.tolerance());
        }
    }

    #[test]
    fn what_is_refunded_can_be_taken_again(quota in any_quota(), cost in 1u64..1_000) {
        let now = 1_700_000_000 * S;
        if let Verdict::Allow { tat } = quota.decide(None, now, cost).verdict {
            prop_assert_eq!(quota.refund(tat, now, now, cost), now);
        }
    }

    #[test]
    fn refunds_never_make_room_for_more_than_the_window_law(
        burst in 1u64..6,
        steps in prop::collection::vec((0u64..1_500, prop::option::of(0u64..1_500)), 1..60),
    ) {
        let quota = Quota::new(1, Duration::from_secs(1), burst).unwrap();
        let millisecond = S / 1_000;
        let mut events: Vec<(Ps, bool, usize)> = Vec::new();
        let mut at = 1_700_000_000 * S;
        for (index, (pause, back)) in steps.iter().enumerate() {
            at += Ps::from(*pause) * millisecond;
            events.push((at, false, index));
            if let Some(later) = back {
                events.push((at + Ps::from(*later) * millisecond, true, index));
            }
        }
        events.sort();
        let mut tat = None;
        let mut charged = vec![None; steps.len()];
        let mut kept = Vec::new();
        for (now, is_refund, index) in events {
            if is_refund {
                if let (Some(old), Some(charged)) = (tat.filter(|tat| *tat > now), charged[index]) {
                    tat = Some(quota.refund(old, charged, now, 1));
                }
            } else if let Verdict::Allow { tat: new } = quota.decide(tat, now, 1).verdict {
                tat = Some(new);
                charged[index] = Some(now);
                if steps[index].1.is_none() {
                    kept.push(now);
                }
            }
        }
        for (first, start) in kept.iter().enumerate() {
            for (last, end) in kept.iter().enumerate().skip(first) {
                let admitted = (last - first + 1) as Ps;
                let most = Ps::from(burst) + (end - start) / quota.interval();
                prop_assert!(admitted <= most, "{admitted} from {start} to {end}");
            }
        }
    }

    #[test]
    fn a_denied_request_passes_after_retry_and_not_before(
        quota in any_quota(),
        ahead in 0u64..1_000_000,
        cost in 1u64..1_000,
    ) {
        let now = 1_700_000_000 * S;
        let tat = now + quota.tolerance() * Ps::from(ahead) / 1_000_000;
        if let Verdict::Deny { retry } = quota.decide(Some(tat), now, cost).verdict {
            let later = quota.decide(Some(tat), now + retry, cost).verdict;
            prop_assert!(matches!(later, Verdict::Allow { .. }), "{:?}", later);
            let earlier = quota.decide(Some(tat), now + retry - 1, cost).verdict;
            prop_assert!(matches!(earlier, Verdict::Deny { .. }), "{:?}", earlier);
        }
    }

    #[test]
    fn the_next_token_comes_when_it_is_said_to(quota in any_quota(), ahead in 0u64..1_000_000) {
        let backlog = quota.tolerance() * Ps::from(ahead) / 1_000_000;
        if let Some(wait) = quota.until_next(backlog) {
            let later = backlog.saturating_sub(wait);
            prop_assert_eq!(quota.remaining(later), quota.remaining(backlog) + 1);
        } else {
            prop_assert_eq!(quota.remaining(backlog), quota.burst());
        }
    }
}
