//! Which clients have just written a key, so that what they read next is what they wrote: a record for each key, or a
//! cookie that says so and cannot be forged.
//!
//! A cookie holds the time at which it ends and a MAC (HMAC-SHA256, its first 16 bytes) of the table, the key and that
//! time: of another key, or for longer, it is worth nothing. Its name ends in a hash of table and key, so that a client
//! that writes several keys has a cookie for each.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::gcra::{PS_PER_S, Ps};
use crate::headers::Headers;
use crate::ring::hash::xxh64;
use crate::selector::cookies;

const MAC: usize = 16;
const PS_PER_MS: Ps = PS_PER_S / 1_000;

/// Makes and checks cookies.
#[derive(Clone)]
pub struct Cookies {
    name: String,
    keyed: Hmac<Sha256>,
}

/// The secret must not end up in a log.
impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cookies({:?})", self.name)
    }
}

/// A secret shorter than this many bytes could be guessed.
pub const MIN_SECRET: usize = 16;

impl Cookies {
    /// None of a secret that is too short.
    #[must_use]
    pub fn new(name: &str, secret: &[u8]) -> Option<Self> {
        let keyed = Hmac::new_from_slice(secret).ok()?;
        (secret.len() >= MIN_SECRET).then(|| Self {
            name: name.to_owned(),
            keyed,
        })
    }

    /// The value of a Set-Cookie field that has reads of the key go to the primary from `now` on for `window`.
    #[must_use]
    pub fn issue(&self, table: &str, key: &[u8], now: Ps, window: Ps) -> String {
        let ends = u64::try_from((now + window) / PS_PER_MS).unwrap_or(u64::MAX);
        let mac = self.mac(table, key, ends).finalize().into_bytes();
        let mut value = ends.to_be_bytes().to_vec();
        value.extend(mac.iter().take(MAC));
        // At least as long as the window: what counts is the time inside.
        let seconds = window.div_ceil(PS_PER_S);
        let (name, value) = (self.name(table, key), URL_SAFE_NO_PAD.encode(value));
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax")
    }

    /// Whether the request has a cookie of the key that has not ended, and that lasts no longer than `window` from now:
    /// none that was issued does.
    #[must_use]
    pub fn holds(&self, headers: &Headers, table: &str, key: &[u8], now: Ps, window: Ps) -> bool {
        let mut named = None;
        cookies(headers)
            .filter(|(name, _)| name.starts_with(self.name.as_bytes()))
            .filter(|(name, _)| {
                *name
                    == named
                        .get_or_insert_with(|| self.name(table, key))
                        .as_bytes()
            })
            .any(|(_, value)| self.is_good(value, table, key, now, window))
    }

    fn is_good(&self, value: &[u8], table: &str, key: &[u8], now: Ps, window: Ps) -> bool {
        let Ok(value) = URL_SAFE_NO_PAD.decode(value) else {
            return false;
        };
        let Some((ends, mac)) = value.split_first_chunk() else {
            return false;
        };
        let ends = u64::from_be_bytes(*ends);
        let now = now / PS_PER_MS;
        mac.len() == MAC
            && self
                .mac(table, key, ends)
                .verify_truncated_left(mac)
                .is_ok()
            && (now..=now + window / PS_PER_MS + SKEW_MS).contains(&Ps::from(ends))
    }

    fn mac(&self, table: &str, key: &[u8], ends: u64) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(&(table.len() as u64).to_be_bytes());
        mac.update(table.as_bytes());
        mac.update(&ends.to_be_bytes());
        mac.update(key);
        mac
    }

    fn name(&self, table: &str, key: &[u8]) -> String {
        format!("{}-{:08x}", self.name, record(0, table, key) as u32)
    }
}

/// Clocks of gateways may differ by so much.
const SKEW_MS: Ps = 10_000;

/// The number under which the records of all keys keep the one of this key. Clients choose keys: `secret` keeps them from
/// finding many that share a bucket.
#[must_use]
pub fn record(secret: u64, table: &str, key: &[u8]) -> u64 {
    xxh64(key, xxh64(table.as_bytes(), secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Ps = 1_700_000_000 * PS_PER_S;
    const WINDOW: Ps = 5 * PS_PER_S;

    fn cookies() -> Cookies {
        Cookies::new("primary", b"0123456789abcdef").unwrap()
    }

    fn sent(set_cookie: &str) -> Headers {
        let pair = set_cookie.split(';').next().unwrap();
        Headers::from_pairs(&[("cookie", format!("a=b; {pair}; c=d"))])
    }

    #[test]
    fn a_cookie_holds_for_its_key_and_its_time() {
        let issued = cookies().issue("users", b"7", NOW, WINDOW);
        assert!(
            issued.ends_with("; Path=/; Max-Age=5; HttpOnly; SameSite=Lax"),
            "{issued}"
        );
        let headers = sent(&issued);
        let holds = |table, key: &[u8], now| cookies().holds(&headers, table, key, now, WINDOW);
        assert!(holds("users", b"7", NOW));
        assert!(holds("users", b"7", NOW + WINDOW));
        assert!(!holds("users", b"7", NOW + WINDOW + PS_PER_S / 1_000));
        assert!(!holds("users", b"8", NOW));
        assert!(!holds("orders", b"7", NOW));
        assert!(!cookies().holds(&Headers::default(), "users", b"7", NOW, WINDOW));
    }

    #[test]
    fn a_cookie_that_was_changed_is_worth_nothing() {
        let issued = cookies().issue("users", b"7", NOW, WINDOW);
        let (name, rest) = issued.split_once('=').unwrap();
        let value = URL_SAFE_NO_PAD
            .decode(rest.split(';').next().unwrap())
            .unwrap();
        for bit in 0..value.len() * 8 {
            let mut forged = value.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let headers = sent(&format!("{name}={}", URL_SAFE_NO_PAD.encode(forged)));
            assert!(
                !cookies().holds(&headers, "users", b"7", NOW, WINDOW),
                "bit {bit}"
            );
        }
        let short = sent(&format!("{name}={}", URL_SAFE_NO_PAD.encode(&value[..12])));
        assert!(!cookies().holds(&short, "users", b"7", NOW, WINDOW));
        let other = Cookies::new("primary", b"fedcba9876543210").unwrap();
        assert!(!other.holds(&sent(&issued), "users", b"7", NOW, WINDOW));
    }

    #[test]
    fn the_cookie_of_another_key_under_this_ones_name_is_worth_nothing() {
        let (seven, eight) = (
            cookies().issue("users", b"7", NOW, WINDOW),
            cookies().issue("users", b"8", NOW, WINDOW),
        );
        let (name, _) = seven.split_once('=').unwrap();
        let (_, value) = eight.split_once('=').unwrap();
        let headers = sent(&format!("{name}={value}"));
        assert!(!cookies().holds(&headers, "users", b"7", NOW, WINDOW));
    }

    #[test]
    fn a_secret_that_could_be_guessed_is_refused() {
        assert!(Cookies::new("primary", b"0123456789abcde").is_none());
    }
}
