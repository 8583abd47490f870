//! Keeping entries from expiring together: jitter, and early refreshes (XFetch).

use super::Millis;

/// A lifetime shortened by chance: uniform over the last `percent` of it, never longer than it was. `random` is any
/// 64-bit number.
#[must_use]
pub fn jittered(lifetime: Millis, percent: u8, random: u64) -> Millis {
    let most = u128::from(lifetime) * u128::from(percent.min(100)) / 100;
    let cut = ((most + 1) * u128::from(random)) >> 64;
    lifetime - u64::try_from(cut).unwrap_or(lifetime)
}

/// Whether to refresh an answer now that is still fresh (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic
/// Cache Stampede Prevention, 2015): `now - beta * delta * ln(U) >= expiry`, where `delta` is how long the last fetch
/// took. `t` before the expiry it is so with probability `e^(-t / (beta * delta))`. `random` is any 64-bit number.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "53 bits are plenty")]
pub fn refresh_early(
    now: Millis,
    delta: Millis,
    beta: f64,
    expires_at: Millis,
    random: u64,
) -> bool {
    // In (0, 1]: the logarithm of 0 would be infinite.
    let uniform = ((random >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let left = expires_at.saturating_sub(now) as f64;
    -beta * delta as f64 * uniform.ln() >= left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Numbers that look random and are the same each time (SplitMix64).
    fn numbers(count: u64) -> impl Iterator<Item = u64> {
        (1..=count).map(|index| {
            let mut z = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    #[test]
    fn lifetimes_are_uniform_over_the_part_that_chance_may_cut_off() {
        const DRAWS: u64 = 100_000;
        let mut tenths = [0_u64; 10];
        let mut sum = 0;
        for random in numbers(DRAWS) {
            let lifetime = jittered(60_000, 10, random);
            assert!((54_000..=60_000).contains(&lifetime), "{lifetime}");
            tenths[usize::try_from((lifetime - 54_000) * 10 / 6_001).unwrap()] += 1;
            sum += lifetime;
        }
        // Each tenth of the range gets a tenth: within 5 standard deviations, which are 95 here.
        for count in tenths {
            assert!(count.abs_diff(DRAWS / 10) < 475, "{tenths:?}");
        }
        assert!((sum / DRAWS).abs_diff(57_000) < 30, "{}", sum / DRAWS);
        assert_eq!(jittered(60_000, 10, 0), 60_000);
        assert_eq!(jittered(60_000, 10, u64::MAX), 54_000);
        assert_eq!(jittered(60_000, 0, u64::MAX), 60_000);
    }

    /// How many of the draws refresh `t` before the expiry, out of `draws`.
    fn refreshes(t: Millis, delta: Millis, beta: f64, draws: u64) -> u64 {
        let early = numbers(draws).filter(|random| refresh_early(0, delta, beta, t, *random));
        early.count() as u64
    }

    #[test]
    fn early_refreshes_are_as_likely_as_the_formula_says() {
        const DRAWS: u64 = 100_000;
        // e^(-t / (beta * delta)); at t = delta and beta 1 that is 36.8%.
        for (t, delta, beta, percent) in [
            (200, 200, 1.0, 36.788),
            (100, 200, 1.0, 60.653),
            (400, 200, 1.0, 13.534),
            (1_000, 200, 1.0, 0.674),
            (200, 200, 2.0, 60.653),
            (200, 200, 0.5, 13.534),
        ] {
            let found = refreshes(t, delta, beta, DRAWS) as f64 / DRAWS as f64 * 100.0;
            assert!((found - percent).abs() < 0.8, "{t} {delta} {beta}: {found}");
        }
    }

    #[test]
    fn what_has_expired_is_always_refreshed_and_what_costs_nothing_never_early() {
        for random in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(refresh_early(10, 200, 1.0, 10, random));
            assert!(refresh_early(11, 200, 1.0, 10, random));
            assert!(!refresh_early(9, 0, 1.0, 10, random));
            assert!(!refresh_early(9, 200, 0.0, 10, random));
        }
    }

    /// At 1000 requests a second and 200 ms for a fetch, 200 requests would fetch at each expiry. With XFetch it is
    /// those that draw an early refresh before the first one's answer is there: 2.7 at beta 1, 1.6 at beta 2.
    #[test]
    fn a_herd_shrinks_to_a_few_early_refreshes() {
        for (beta, expected) in [(1.0, 2.7), (2.0, 1.6)] {
            const EXPIRIES: u64 = 2_000;
            let mut random = numbers(EXPIRIES * 6_000);
            let mut fetches = 0;
            for _ in 0..EXPIRIES {
                let mut answer_at = None;
                for now in 0.. {
                    if answer_at.is_some_and(|at| now >= at) {
                        break;
                    }
                    let Some(draw) = random.next() else {
                        panic!("more draws are needed");
                    };
                    if refresh_early(now, 200, beta, 5_000, draw) {
                        fetches += 1;
                        answer_at.get_or_insert(now + 200);
                    }
                }
            }
            let mean = f64::from(fetches) / EXPIRIES as f64;
            assert!((mean - expected).abs() < 0.15, "beta {beta}: {mean}");
        }
    }

    proptest! {
        #[test]
        fn chance_never_lengthens_a_lifetime(lifetime: u64, percent: u8, random: u64) {
            prop_assert!(jittered(lifetime, percent, random) <= lifetime);
        }
    }
}
