//! Which requests a rule is for.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

use super::name::{HeaderName, Pattern, is_token};
use super::path::{PathMatch, Template};
use super::{Request, uri};
use crate::policy::value::{Text, True, non_empty, text_value};

/// Conditions that must all hold. One without conditions matches every request.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Match"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object with conditions such as {\"methods\": [\"GET\"]}"
)]
pub struct Matcher {
    /// The request has one of these methods, such as `["GET", "HEAD"]`. Methods are upper case and compared as they
    /// are.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    methods: Vec<Method>,
    /// The path, without query, is of this kind.
    path: Option<PathMatch>,
    /// All of these conditions on headers hold.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    headers: Vec<HeaderCondition>,
    /// At least one of these matches.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    any: Vec<Matcher>,
    /// This does not match.
    #[serde(deserialize_with = "not_empty")]
    not: Option<Box<Matcher>>,
}

impl Matcher {
    /// Whether the request meets every condition.
    #[must_use]
    pub fn matches(&self, request: &impl Request) -> bool {
        if self.is_empty() {
            return true;
        }
        // Many say nothing of it, and are asked at every request.
        let path = if self.speaks_of_paths() {
            uri::normalized(uri::raw_path(request.headers()))
        } else {
            Cow::default()
        };
        self.matches_with(request, &path)
    }

    /// The template that the whole match requires of the path, for keys that name one of its variables.
    #[must_use]
    pub fn template(&self) -> Option<&Template> {
        match &self.path {
            Some(PathMatch::Template(template)) => Some(template),
            _ => None,
        }
    }

    /// Narrows a match that says nothing of methods, at no depth, to these.
    pub(crate) fn default_methods(&mut self, methods: &[&str]) {
        if !self.speaks_of_methods() {
            self.methods = methods
                .iter()
                .map(|name| Method((*name).to_owned()))
                .collect();
        }
    }

    fn speaks_of_methods(&self) -> bool {
        !self.methods.is_empty()
            || self.any.iter().any(Self::speaks_of_methods)
            || self.not.as_deref().is_some_and(Self::speaks_of_methods)
    }

    fn speaks_of_paths(&self) -> bool {
        self.path.is_some()
            || self.any.iter().any(Self::speaks_of_paths)
            || self.not.as_deref().is_some_and(Self::speaks_of_paths)
    }

    fn is_empty(&self) -> bool {
        self.methods.is_empty()
            && self.path.is_none()
            && self.headers.is_empty()
            && self.any.is_empty()
            && self.not.is_none()
    }

    fn matches_with(&self, request: &impl Request, path: &[u8]) -> bool {
        (self.methods.is_empty()
            || request
                .headers()
                .first(":method")
                .is_some_and(|method| self.methods.iter().any(|m| m.0.as_bytes() == method)))
            && self.path.as_ref().is_none_or(|kind| kind.matches(path))
            && self
                .headers
                .iter()
                .all(|condition| condition.holds(request))
            && (self.any.is_empty() || self.any.iter().any(|m| m.matches_with(request, path)))
            && self
                .not
                .as_ref()
                .is_none_or(|m| !m.matches_with(request, path))
    }
}

/// `"not": {}` would match nothing: a slip, not a wish.
fn not_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<Matcher>>, D::Error> {
    let matcher = Matcher::deserialize(deserializer)?;
    if matcher.is_empty() {
        return Err(serde::de::Error::custom(
            "found an empty match, which every request meets, expected at least one condition",
        ));
    }
    Ok(Some(Box::new(matcher)))
}

/// A request method.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Method(String);

impl Text for Method {
    const PATTERN: &'static str = "^[A-Z0-9!#$%&'*+.^_`|~-]+$";

    fn expected() -> String {
        "a method in upper case such as \"GET\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let valid = |byte: u8| is_token(byte) && !byte.is_ascii_lowercase();
        if text.is_empty() || !text.bytes().all(valid) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(Method);

/// A condition on one header. When a request has several headers of the name, it holds if it holds for one of them,
/// so that a client cannot hide a value behind another.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "HeaderConditionJson")]
pub struct HeaderCondition {
    name: HeaderName,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Absent,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Pattern),
}

/// A header's name and exactly one test of its value. Values are compared as they are, case included.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "HeaderCondition"))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"name\": \"x-plan\", \"exact\": \"free\"}"
)]
struct HeaderConditionJson {
    /// The header's name, in any case.
    name: HeaderName,
    /// `true`: the request has the header.
    present: Option<True>,
    /// `true`: the request does not have the header.
    absent: Option<True>,
    /// The whole value.
    exact: Option<String>,
    /// How the value begins.
    prefix: Option<String>,
    /// How the value ends.
    suffix: Option<String>,
    /// What stands somewhere in the value.
    contains: Option<String>,
    /// A regular expression for the whole value.
    regex: Option<Pattern>,
}

impl TryFrom<HeaderConditionJson> for HeaderCondition {
    type Error = String;

    fn try_from(json: HeaderConditionJson) -> Result<Self, String> {
        let mut tests: Vec<Test> = [
            json.present.map(|True| Test::Present),
            json.absent.map(|True| Test::Absent),
            json.exact.map(Test::Exact),
            json.prefix.map(Test::Prefix),
            json.suffix.map(Test::Suffix),
            json.contains.map(Test::Contains),
            json.regex.map(Test::Regex),
        ]
        .into_iter()
        .flatten()
        .collect();
        match (tests.pop(), tests.len()) {
            (Some(test), 0) => Ok(Self {
                name: json.name,
                test,
            }),
            (_, others) => Err(format!(
                "found {}, expected exactly one of `present`, `absent`, `exact`, `prefix`, `suffix`, `contains` or \
                 `regex`",
                if others == 0 {
                    "no test".to_owned()
                } else {
                    format!("{} tests", others + 1)
                }
            )),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for HeaderCondition {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        HeaderConditionJson::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        HeaderConditionJson::json_schema(generator)
    }
}

impl HeaderCondition {
    fn holds(&self, request: &impl Request) -> bool {
        let mut values = request.headers().all(self.name.as_str());
        match &self.test {
            Test::Present => values.next().is_some(),
            Test::Absent => values.next().is_none(),
            Test::Exact(text) => values.any(|value| value == text.as_bytes()),
            Test::Prefix(text) => values.any(|value| value.starts_with(text.as_bytes())),
            Test::Suffix(text) => values.any(|value| value.ends_with(text.as_bytes())),
            Test::Contains(text) => values.any(|value| contains(value, text.as_bytes())),
            Test::Regex(pattern) => values.any(|value| pattern.matches(value)),
        }
    }
}

fn contains(value: &[u8], part: &[u8]) -> bool {
    part.is_empty() || value.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
