//! Tables that an operator publishes in Redis for all gateways: which are newer, and whether they are genuine.
//!
//! In Redis they are one hash with the fields `version`, `tables` (the policy's field, as JSON) and, if the policy has a
//! secret, `signature`: an HMAC-SHA256 of where they lie, version and tables, so that neither tables nor a version that
//! somebody else wrote count, nor those of another installation.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::sticky::MIN_SECRET;
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;
use crate::slots::{ABSENT, SharedData};

/// The largest version: Redis's scripts count in floating point.
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// Tables that are longer are refused: each worker holds them, and reads them whenever they change.
pub const MAX_TABLES_SIZE: usize = 8 << 20;

/// Replaces what is published by what is newer. `KEYS[1]` is the hash, `ARGV` version, tables and signature (empty:
/// none). Answers 1 and the version before, or 0 and the version that is as new.
pub const PUBLISH: &str = include_str!("publish.lua");

/// Answers what is published if it is newer than `ARGV[1]` and not `ARGV[2]`: version, tables and signature; else its
/// version alone, or nothing.
pub const NEWER: &str = include_str!("newer.lua");

/// What has been published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub version: u64,
    /// The policy's field `tables`, as JSON.
    pub tables: Vec<u8>,
}

/// Why something that is published does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is no hash with a version and tables.
    Malformed,
    TooLong,
    /// The signature is missing or is not one of these tables at this place.
    Signature,
}

impl Unfit {
    /// What is wrong, for the log.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Malformed => {
                "found no version and tables, expected what `sluice shard publish` writes"
            }
            Self::TooLong => "found more than 8 MiB of tables",
            Self::Signature => {
                "found a signature that is missing or does not fit, expected one by the policy's secret"
            }
        }
    }
}

/// Signs tables, and checks their signatures.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

/// The secret must not end up in a log.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(..)")
    }
}

impl Signer {
    /// For the tables at one place in Redis. None of a secret that is too short.
    #[must_use]
    pub fn new(secret: &[u8], place: &str) -> Option<Self> {
        let mut keyed = Hmac::new_from_slice(secret).ok()?;
        keyed.update(&(place.len() as u64).to_be_bytes());
        keyed.update(place.as_bytes());
        (secret.len() >= MIN_SECRET).then_some(Self(keyed))
    }

    /// The field `signature`.
    #[must_use]
    pub fn sign(&self, published: &Published) -> Vec<u8> {
        self.over(published).finalize().into_bytes().to_vec()
    }

    fn over(&self, published: &Published) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&published.version.to_be_bytes());
        mac.update(&published.tables);
        mac
    }
}

/// What Redis knew.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing has been published.
    Nothing,
    /// Nothing newer than what was asked with: its version.
    Known(u64),
    Newer(Published),
    /// Something newer, of this version where it has one, that does not count.
    Unfit(Option<u64>, Unfit),
}

/// Reads the reply of [`NEWER`].
///
/// # Errors
/// When no reply of it looks like that.
pub fn found(reply: &Reply<'_>, signer: Option<&Signer>) -> Result<Found, Trouble> {
    let Reply::Array(items) = reply else {
        return Err(Trouble::Malformed);
    };
    let version = match items.first() {
        None => return Ok(Found::Nothing),
        Some(Reply::Bulk(text)) => version(text),
        Some(_) => return Err(Trouble::Malformed),
    };
    let Some(version) = version else {
        return Ok(Found::Unfit(None, Unfit::Malformed));
    };
    let unfit = |why| Ok(Found::Unfit(Some(version), why));
    let (tables, signature) = match items.get(1..) {
        None | Some([]) => return Ok(Found::Known(version)),
        Some([Reply::Bulk(tables), signature]) => (tables, signature),
        Some(_) => return unfit(Unfit::Malformed),
    };
    if tables.len() > MAX_TABLES_SIZE {
        return unfit(Unfit::TooLong);
    }
    let published = Published {
        version,
        tables: tables.to_vec(),
    };
    let genuine = signer.is_none_or(|signer| match signature {
        Reply::Bulk(signature) => signer.over(&published).verify_slice(signature).is_ok(),
        _ => false,
    });
    if !genuine {
        return unfit(Unfit::Signature);
    }
    Ok(Found::Newer(published))
}

fn version(text: &[u8]) -> Option<u64> {
    let version = std::str::from_utf8(text).ok()?.parse().ok()?;
    (1..=MAX_VERSION).contains(&version).then_some(version)
}

/// The newest tables that any worker of this process has taken: what a worker begins with that is started later, and what
/// the others change to without asking Redis. `place` is that in Redis.
#[derive(Debug)]
pub struct Board<S> {
    store: S,
    version: String,
    tables: String,
}

/// A swap that loses this often in a row means another worker wins each time: far beyond what contention causes.
const MAX_TRIES: u32 = 64;

impl<S: SharedData> Board<S> {
    pub fn new(store: S, place: &str) -> Self {
        Self {
            store,
            version: format!("sluice/shard-tables/{place}/version"),
            tables: format!("sluice/shard-tables/{place}/tables"),
        }
    }

    /// What is newer than `version`.
    #[must_use]
    pub fn newer(&self, version: u64) -> Option<Published> {
        // A small record of its own: it is looked at all the time.
        let (there, _) = self.store.get(&self.version)?;
        if number(&there)? <= version {
            return None;
        }
        let (tables, _) = self.store.get(&self.tables)?;
        let (there, tables) = tables.split_first_chunk()?;
        let there = u64::from_be_bytes(*there);
        (there > version).then(|| Published {
            version: there,
            tables: tables.to_vec(),
        })
    }

    /// Whether any worker of this process has known what is published.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.store.get(&self.version).is_some()
    }

    /// It is known what is published.
    pub fn known(&self) {
        self.raise(&self.version, 0, &0_u64.to_be_bytes());
    }

    /// Puts tables there for the others, unless newer ones are.
    pub fn offer(&self, published: &Published) {
        let mut tables = published.version.to_be_bytes().to_vec();
        tables.extend_from_slice(&published.tables);
        // In this order: who sees the version finds these tables, or newer ones.
        self.raise(&self.tables, published.version, &tables);
        let version = published.version.to_be_bytes();
        self.raise(&self.version, published.version, &version);
    }

    fn raise(&self, key: &str, version: u64, value: &[u8]) {
        for _ in 0..MAX_TRIES {
            let (there, expected) = self.store.get(key).unwrap_or((Vec::new(), ABSENT));
            if number(&there).is_some_and(|there| there >= version)
                || self.store.set(key, value, expected).is_ok()
            {
                return;
            }
        }
    }
}

fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
#[path = "published_tests.rs"]
mod tests;
