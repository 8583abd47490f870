//! Sets of response statuses as a policy writes them: `[200, "4xx", "500-503"]`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};

/// One item of a list of statuses: a status, a class, or a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) struct Statuses {
    pub(in crate::policy) first: u16,
    pub(in crate::policy) last: u16,
}

/// 1xx never reaches a filter; what is above 599 is no status.
const BOUNDS: std::ops::RangeInclusive<u16> = 200..=599;

impl Statuses {
    fn parse(text: &str) -> Option<Self> {
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse::<u16>().ok().filter(|_| class.len() == 1)?;
            return Self::between(class * 100, class * 100 + 99);
        }
        let (first, last) = text.split_once('-')?;
        if first.len() != 3 || last.len() != 3 {
            return None;
        }
        Self::between(first.parse().ok()?, last.parse().ok()?)
    }

    fn between(first: u16, last: u16) -> Option<Self> {
        let valid = first <= last && BOUNDS.contains(&first) && BOUNDS.contains(&last);
        valid.then_some(Self { first, last })
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StatusesVisitor;

        impl Visitor<'_> for StatusesVisitor {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a status from 200 to 599, a class such as \"4xx\", or a range such as \"500-503\"",
                )
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Statuses, E> {
                u16::try_from(number)
                    .ok()
                    .and_then(|status| Statuses::between(status, status))
                    .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Statuses, E> {
                Statuses::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(StatusesVisitor)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Statuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A status, a class, or a range with both ends included.",
            "anyOf": [
                { "type": "integer", "minimum": BOUNDS.start(), "maximum": BOUNDS.end() },
                { "type": "string", "pattern": "^([2-5]xx|[2-5][0-9]{2}-[2-5][0-9]{2})$" }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_and_ranges_are_read_as_people_write_them() {
        for (text, expected) in [
            ("2xx", Some((200, 299))),
            ("5xx", Some((500, 599))),
            ("400-404", Some((400, 404))),
            ("200-599", Some((200, 599))),
            ("204-204", Some((204, 204))),
            ("1xx", None),
            ("6xx", None),
            ("2XX", None),
            ("+2xx", None),
            ("xx", None),
            ("20x", None),
            ("404", None),
            ("404-400", None),
            ("100-299", None),
            ("500-600", None),
            ("+50-503", None),
            ("500-", None),
            ("500 - 503", None),
            ("", None),
        ] {
            let found = Statuses::parse(text).map(|found| (found.first, found.last));
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
