//! Which header fields a replay repeats, and lists of header names in general.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::idempotency::settings::HeaderFilter;
use crate::idempotency::stored;
use crate::policy::text::FieldName;

/// Which header fields of the first answer a replay repeats. Those that belong to one connection, one client or one
/// moment (`set-cookie`, `date`, `connection` and their like) are never repeated.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "ReplayHeaders"))]
#[serde(
    rename_all = "snake_case",
    expecting = "{\"allow\": [...]} or {\"deny\": [...]}"
)]
pub(super) enum ReplayHeadersJson {
    /// These and no others.
    Allow(FieldNames),
    /// All but these.
    Deny(FieldNames),
}

impl ReplayHeadersJson {
    /// # Errors
    /// The field at fault, and what is wrong.
    pub(super) fn compile(self) -> Result<HeaderFilter, (String, String)> {
        match self {
            Self::Deny(names) => Ok(HeaderFilter::Deny(names.into_strings())),
            Self::Allow(names) => {
                let names = names.into_strings();
                let never = names
                    .iter()
                    .position(|name| stored::is_never_kept(name.as_bytes()));
                match never.and_then(|index| names.get(index).map(|name| (index, name))) {
                    None => Ok(HeaderFilter::Allow(names)),
                    Some((index, name)) => Err((
                        format!("allow[{index}]"),
                        format!(
                            "found {name:?}, expected a header that can be replayed: this one belongs to one connection, client or moment"
                        ),
                    )),
                }
            }
        }
    }
}

/// Names of header fields, each once.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(serde::Serialize))]
pub(super) struct FieldNames(Vec<FieldName>);

impl FieldNames {
    pub(super) fn into_strings(self) -> Vec<String> {
        self.0.into_iter().map(|name| name.0).collect()
    }
}

impl<'de> Deserialize<'de> for FieldNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: Vec<FieldName> = crate::policy::value::non_empty(deserializer)?;
        for (index, name) in names.iter().enumerate() {
            if names.iter().take(index).any(|other| other == name) {
                return Err(D::Error::custom(format_args!(
                    "found {:?} twice, expected each header once",
                    name.0
                )));
            }
        }
        Ok(Self(names))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for FieldNames {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FieldNames".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let name = generator.subschema_for::<FieldName>();
        schemars::json_schema!({ "type": "array", "items": name, "minItems": 1 })
    }
}
