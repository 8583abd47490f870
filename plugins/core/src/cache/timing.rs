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
