//! Conditions on the path, and variables in it.
//!
//! Paths are compared in the normal form of RFC 3986, 6.2.2 (see [`uri`](super::uri)), without query or fragment. Dot
//! segments and double slashes are left to the gateway (Envoy: `normalize_path`, `merge_slashes`), which must rewrite
//! the path for the upstream as well.

use serde::Deserialize;

use super::name::Pattern;
use super::uri;
use crate::policy::value::{Text, text_value};

/// A condition on the path.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    rename_all = "snake_case",
    expecting = "a path such as {\"prefix\": \"/api\"}"
)]
pub enum PathMatch {
    /// The whole path: `/health`.
    Exact(LiteralPath),
    /// The path and all below it: `/api` matches `/api` and `/api/x`, not `/apix`. With a slash at its end, what
    /// follows the slash is free: `/api/` matches `/api/` and `/api/x`, not `/api`.
    Prefix(LiteralPath),
    /// Segment by segment: `/users/{id}`.
    Template(Template),
    /// A regular expression for the whole path, whose bytes outside ASCII are percent-encoded in upper case
    /// (`/caf%C3%A9`).
    Regex(Pattern),
}

impl PathMatch {
    /// Whether a path, in normal form, meets the condition.
    #[must_use]
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(literal) => literal.0 == path,
            Self::Prefix(literal) => path.strip_prefix(literal.0.as_slice()).is_some_and(|rest| {
                literal.0.ends_with(b"/") || rest.is_empty() || rest.starts_with(b"/")
            }),
            Self::Template(template) => template.matches(path),
            Self::Regex(pattern) => pattern.matches(path),
        }
    }
}

/// A path as it stands, in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiteralPath(Vec<u8>);

impl Text for LiteralPath {
    const PATTERN: &'static str = "^/[^?#]*$";

    fn expected() -> String {
        "a path such as \"/api\", without query".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') || text.contains(['?', '#']) {
            return Err(Self::expected());
        }
        Ok(Self(uri::normalized(text.as_bytes()).into_owned()))
    }
}
text_value!(LiteralPath);

/// A path with variables: `/users/{id}/orders/*`. `{name}` and `*` stand for one segment that is not empty; a last
/// `**` stands for any number of segments, none included. A slash at the end counts: `/users/{id}` does not match
/// `/users/7/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    segments: Vec<Segment>,
    /// Ends in `**`.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(Vec<u8>),
    Any,
    Variable(String),
}

impl Template {
    /// Whether a path in normal form has the template's shape.
    #[must_use]
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        self.walk(path, |_, _| ())
    }

    /// The segment that stands where the template has `{name}`, still percent-encoded, if the path has the template's
    /// shape.
    #[must_use]
    pub(super) fn variable<'a>(&self, path: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let mut found = None;
        let matches = self.walk(path, |variable, segment| {
            if variable == name {
                found = Some(segment);
            }
        });
        found.filter(|_| matches)
    }

    /// Whether the template has a variable of that name.
    #[must_use]
    pub fn has_variable(&self, name: &str) -> bool {
        self.variables().any(|variable| variable == name)
    }

    /// The names of the variables, in order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Variable(name) => Some(name.as_str()),
            Segment::Literal(_) | Segment::Any => None,
        })
    }

    fn walk<'a>(&self, path: &'a [u8], mut variable: impl FnMut(&str, &'a [u8])) -> bool {
        let Some(rest) = path.strip_prefix(b"/") else {
            return false;
        };
        let mut actual = rest.split(|byte| *byte == b'/');
        for segment in &self.segments {
            let Some(actual) = actual.next() else {
                return false;
            };
            match segment {
                Segment::Literal(literal) if literal == actual => {}
                Segment::Any if !actual.is_empty() => {}
                Segment::Variable(name) if !actual.is_empty() => variable(name, actual),
                _ => return false,
            }
        }
        self.open || actual.next().is_none()
    }
}

impl Text for Template {
    const PATTERN: &'static str = r"^(/(\{[A-Za-z_][A-Za-z0-9_]*\}|\*|[^/{}*?#]+))*(/(\*\*)?)?$";

    fn expected() -> String {
        "a path template such as \"/users/{id}\" or \"/files/{owner}/**\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let because = |reason: &str| format!("{}: {reason}", Self::expected());
        let path = text
            .strip_prefix('/')
            .ok_or_else(|| because("it starts with a slash"))?;
        if text.contains(['?', '#']) {
            return Err(because("it has no query"));
        }
        let (path, open) = match path.strip_suffix("**") {
            Some("") => {
                return Ok(Self {
                    segments: Vec::new(),
                    open: true,
                });
            }
            Some(before) => (
                before
                    .strip_suffix('/')
                    .ok_or_else(|| because("`**` is a segment of its own"))?,
                true,
            ),
            None => (path, false),
        };
        let last = path.split('/').count() - 1;
        let mut template = Self {
            segments: Vec::new(),
            open,
        };
        for (index, segment) in path.split('/').enumerate() {
            let segment = if segment == "*" {
                Segment::Any
            } else if let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                if !is_variable_name(name) {
                    return Err(because("a variable's name is letters, digits and `_`"));
                }
                if template.has_variable(name) {
                    return Err(because(&format!("`{{{name}}}` stands in it twice")));
                }
                Segment::Variable(name.to_owned())
            } else if segment.contains(['{', '}', '*']) {
                return Err(because(
                    "`{name}`, `*` and a last `**` are segments of their own",
                ));
            } else if segment.is_empty() && (open || index != last) {
                return Err(because("no segment is empty"));
            } else {
                Segment::Literal(uri::normalized(segment.as_bytes()).into_owned())
            };
            template.segments.push(segment);
        }
        Ok(template)
    }
}
text_value!(Template);

pub(super) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
