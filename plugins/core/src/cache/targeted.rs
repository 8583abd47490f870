//! Targeted cache control (RFC 9213): fields such as CDN-Cache-Control that speak to some caches only, and to these in
//! place of Cache-Control and Expires. They are Structured Fields, so they are read strictly or not at all.

use std::convert::Infallible;

use sfv::visitor::{
    DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ParameterVisitor,
};
use sfv::{BareItemFromInput, KeyRef, Parser};

use super::directives::{MOST_SECONDS, Response, Seconds, is_token};
use crate::headers::Headers;

/// What the first valid one of the named fields says. `None` when none is valid, or says anything that is known.
pub(super) fn directives(fields: &Headers, names: &[String]) -> Option<Response> {
    names.iter().find_map(|name| {
        let mut lines = fields.all(name);
        let mut value = lines.next()?.to_vec();
        for line in lines {
            value.extend_from_slice(b", ");
            value.extend_from_slice(line);
        }
        let mut found = Found::default();
        Parser::new(value.as_slice())
            .parse_dictionary_with_visitor(&mut found)
            .ok()?;
        (found.response != Response::default()).then_some(found.response)
    })
}

#[derive(Default)]
struct Found {
    response: Response,
}

impl<'de> DictionaryVisitor<'de> for Found {
    type Error = Infallible;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Infallible> {
        let all = &mut self.response;
        Ok(match key.as_str() {
            "no-store" => Some(Entry::Flag(&mut all.no_store)),
            "public" => Some(Entry::Flag(&mut all.public)),
            "must-revalidate" => Some(Entry::Flag(&mut all.must_revalidate)),
            "must-understand" => Some(Entry::Flag(&mut all.must_understand)),
            "proxy-revalidate" => Some(Entry::Flag(&mut all.proxy_revalidate)),
            "no-cache" => Some(Entry::Limited(&mut all.no_cache, &mut all.excluded)),
            "private" => Some(Entry::Limited(&mut all.private, &mut all.excluded)),
            "max-age" => Some(Entry::Seconds(&mut all.max_age)),
            "s-maxage" => Some(Entry::Seconds(&mut all.s_maxage)),
            "stale-while-revalidate" => Some(Entry::Seconds(&mut all.stale_while_revalidate)),
            "stale-if-error" => Some(Entry::Seconds(&mut all.stale_if_error)),
            _ => None,
        })
    }
}

/// Where a directive's value goes, if it is of the right type.
enum Entry<'r> {
    Flag(&'r mut bool),
    Seconds(&'r mut Seconds),
    Limited(&'r mut bool, &'r mut Vec<Vec<u8>>),
}

impl<'de> ItemVisitor<'de> for Entry<'_> {
    type Error = Infallible;

    fn bare_item(
        self,
        item: BareItemFromInput<'de>,
    ) -> Result<impl ParameterVisitor<'de>, Infallible> {
        match (self, item) {
            (Self::Flag(flag), BareItemFromInput::Boolean(value)) => *flag = value,
            (Self::Limited(flag, _), BareItemFromInput::Boolean(value)) => *flag = value,
            (Self::Limited(flag, excluded), BareItemFromInput::String(names)) => {
                *flag |= !exclude(names.as_str(), excluded);
            }
            (Self::Limited(flag, excluded), BareItemFromInput::Token(name)) => {
                *flag |= !exclude(name.as_str(), excluded);
            }
            (Self::Seconds(seconds), BareItemFromInput::Integer(value)) => {
                *seconds = u64::try_from(i64::from(value)).map_or(Seconds::Invalid, |value| {
                    Seconds::Value(value.min(MOST_SECONDS))
                });
            }
            // A value of another type is ignored (RFC 9213, 2.1), but not one that may forbid.
            (Self::Limited(flag, _), _) => *flag = true,
            _ => {}
        }
        Ok(Ignored)
    }
}

impl<'de> EntryVisitor<'de> for Entry<'_> {
    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, Infallible> {
        if let Self::Limited(flag, _) = self {
            *flag = true;
        }
        Ok(Ignored)
    }
}

/// `false` when no name is there, and so nothing is limited.
fn exclude(names: &str, excluded: &mut Vec<Vec<u8>>) -> bool {
    let names: Vec<Vec<u8>> = names
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase().into_bytes())
        .filter(|name| !name.is_empty())
        .collect();
    let limited = !names.is_empty() && names.iter().flatten().copied().all(is_token);
    if limited {
        excluded.extend(names);
    }
    limited
}
