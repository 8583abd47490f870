//! How a policy says that answers lie in the store.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::idempotency::seal::{self, Plain, SealingKey};
use crate::policy::redis::json::VariableName;
use crate::policy::text::Name;
use crate::policy::value::{Size, non_empty};

/// A key is found by its name for each answer that is opened, and every one more is one more that can leak.
const MAX_KEYS: usize = 8;

/// How answers lie in Redis.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "AtRest"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"compress_from\": \"1KiB\"}"
)]
pub(super) struct AtRestJson {
    /// Answers of so many bytes and more are compressed (LZ4) where that makes them smaller. Default: none.
    compress_from: Option<Size<0, { 64 << 20 }>>,
    /// Answers are encrypted (XChaCha20-Poly1305) with the first of these; answers that any of them encrypted can be
    /// read. Default: they are not encrypted.
    keys: Option<KeyList>,
    /// What becomes of answers that are not encrypted; only with `keys`. To turn encryption on without losing replays,
    /// go from `write` to `read` to `refuse`.
    plain: Option<PlainJson>,
}

#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(transparent)]
struct KeyList(
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_KEYS)))]
    #[serde(deserialize_with = "keys")]
    Vec<KeyJson>,
);

/// A key that encrypts answers.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "SealingKey"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"id\": \"2026-11\", \"env\": \"IDEMPOTENCY_KEY\"}"
)]
struct KeyJson {
    /// A name of its own, which stands in each answer that the key encrypts. Another key needs another name.
    id: Name,
    /// The environment variable that holds the key: 32 random bytes in base64. The gateway must hand it to the filter
    /// (Envoy: `vm_config.environment_variables`).
    env: VariableName,
}

/// What becomes of answers that are not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Plain"))]
#[serde(rename_all = "snake_case", expecting = "`refuse`, `read` or `write`")]
enum PlainJson {
    /// Their records are taken for damaged (500): whoever can write to Redis cannot make up an answer.
    Refuse,
    /// They are replayed; new answers are encrypted.
    Read,
    /// They are replayed, and new answers are not encrypted either: for the time until every gateway has the keys.
    Write,
}

fn keys<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyJson>, D::Error> {
    let keys: Vec<KeyJson> = non_empty(deserializer)?;
    if keys.len() > MAX_KEYS {
        return Err(serde::de::Error::custom(format_args!(
            "found {} keys, expected at most {MAX_KEYS}",
            keys.len()
        )));
    }
    Ok(keys)
}

impl AtRestJson {
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile(self) -> Result<AtRest, (String, String)> {
        let keys: Vec<(String, String)> = self.keys.map_or(Vec::new(), |keys| {
            let named = |key: KeyJson| (key.id.0, key.env.0);
            keys.0.into_iter().map(named).collect()
        });
        for (index, (id, _)) in keys.iter().enumerate() {
            if let Some(twin) = keys.iter().take(index).position(|(other, _)| other == id) {
                let problem =
                    format!("found {id:?}, the name of `keys[{twin}]`, expected a name of its own");
                return Err((format!("keys[{index}].id"), problem));
            }
        }
        if self.plain.is_some() && keys.is_empty() {
            let problem = "found a word on answers that are not encrypted, expected `keys` as well";
            return Err(("plain".to_owned(), problem.to_owned()));
        }
        Ok(AtRest {
            compress_from: self
                .compress_from
                .map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
            keys,
            plain: match self.plain {
                None | Some(PlainJson::Refuse) => Plain::Refuse,
                Some(PlainJson::Read) => Plain::Read,
                Some(PlainJson::Write) => Plain::Write,
            },
        })
    }
}

/// How answers lie in the store, without the keys themselves.
#[derive(Debug, Clone, Default)]
pub struct AtRest {
    /// Answers of so many bytes and more are compressed.
    pub compress_from: Option<usize>,
    /// Names and environment variables, the sealing one first; none: answers are not sealed.
    pub keys: Vec<(String, String)>,
    pub plain: Plain,
}

impl AtRest {
    /// With the keys, which `environment` gives.
    ///
    /// # Errors
    /// When a variable is not set, or does not hold 32 bytes in base64.
    pub fn settings(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<seal::AtRest, String> {
        let key = |(index, (id, name)): (usize, &(String, String))| {
            let at = format!("at_rest.keys[{index}].env");
            let Some(text) = environment(name) else {
                return Err(format!(
                    "{at}: found no variable {name} in the VM's environment, expected it to be set there"
                ));
            };
            let expected = format!("expected 32 bytes in base64 in the variable {name}");
            let bytes = STANDARD
                .decode(text.trim())
                .map_err(|_| format!("{at}: found no base64, {expected}"))?;
            let found = bytes.len();
            let key: [u8; 32] = bytes
                .try_into()
                .map_err(|_| format!("{at}: found {found} bytes, {expected}"))?;
            Ok(SealingKey::new(id, key))
        };
        Ok(seal::AtRest {
            compress_from: self.compress_from,
            keys: self
                .keys
                .iter()
                .enumerate()
                .map(key)
                .collect::<Result<_, _>>()?,
            plain: self.plain,
        })
    }
}
