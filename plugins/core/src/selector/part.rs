//! The parts a key is made of: how a policy writes them, and where a request has them.

use serde::Deserialize;

use super::jwt::JwtClaim;
use super::key::{LENGTH, MAX_VALUE_BYTES, Reason, append, append_address};
use super::name::HeaderName;
use super::path::{Template, is_variable_name};
use super::{ClientIp, Request, uri};
use crate::policy::value::{Short, ShortForm, Text, non_empty, text_value};

/// Where Kong says whom it has authenticated.
const CONSUMER: &str = "x-consumer-id";

/// One part of a key.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "KeyPart"))]
#[serde(
    rename_all = "snake_case",
    expecting = "a part such as \"client_ip\" or {\"header\": \"x-api-key\"}"
)]
pub enum Part {
    /// A header's value.
    Header(Short<HeaderPart>),
    /// A cookie's value, without the quotes it may stand in.
    Cookie(Short<NamedPart>),
    /// A query parameter's value, percent-decoded, with `+` as a space.
    Query(Short<NamedPart>),
    /// A variable of a path template, percent-decoded.
    Path(Short<PathPart>),
    /// The client's address, as the policy's `client_ip` finds it.
    ClientIp,
    /// A claim of a JSON Web Token: decoded, NOT verified.
    JwtClaim(Short<JwtClaim>),
    /// The consumer that Kong authenticated: the header `x-consumer-id`. Only behind one of Kong's authentication
    /// plugins, which overwrite what a client sends there. For another header use `header`.
    Consumer,
    /// A property of the gateway, such as `["request", "host"]`.
    Property(PropertyPath),
    /// A text that is the same for all: `[{"const": "all"}]` is one bucket that everyone shares.
    Const(ConstValue),
}

/// Which copy counts when a request has several. The upstream may read another copy than this filter; where the copies
/// could pick a fresh bucket for every request, refuse them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[serde(rename_all = "snake_case", expecting = "`first`, `last` or `deny`")]
pub enum Duplicates {
    /// The first copy.
    First,
    /// The last copy.
    Last,
    /// None: the key is ambiguous, and the request is refused.
    Deny,
}

impl Duplicates {
    pub(super) fn choose<T>(self, mut values: impl Iterator<Item = T>) -> Result<T, Reason> {
        let first = values.next().ok_or(Reason::Absent)?;
        match self {
            Self::First => Ok(first),
            Self::Last => Ok(values.last().unwrap_or(first)),
            Self::Deny => values.next().map_or(Ok(first), |_| Err(Reason::Ambiguous)),
        }
    }

    fn first() -> Self {
        Self::First
    }

    fn deny() -> Self {
        Self::Deny
    }
}

impl Part {
    pub(super) fn deny_copies(&mut self) {
        if let Self::Cookie(Short(part)) = self {
            part.duplicates = Duplicates::Deny;
        }
    }

    /// Whether it is the value of this header.
    pub(super) fn is_header(&self, name: &str) -> bool {
        match self {
            Self::Header(Short(part)) => part.name.as_str() == name,
            Self::Consumer => name == CONSUMER,
            _ => false,
        }
    }

    /// Appends this part's value in a request.
    pub(super) fn append(
        &self,
        request: &impl Request,
        client_ip: &ClientIp,
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        // Asked for by the parts that need them: the map is the dearest thing to ask a gateway for.
        let headers = || request.headers();
        match self {
            Self::Header(Short(part)) if part.duplicates == Duplicates::First => {
                let value = request.first(part.name.as_str()).ok_or(Reason::Absent)?;
                append_cased(out, &value, part.lowercase)
            }
            Self::Header(Short(part)) => {
                let value = part.duplicates.choose(headers().all(part.name.as_str()))?;
                append_cased(out, value, part.lowercase)
            }
            Self::Cookie(Short(part)) => {
                let copies = uri::cookies(headers())
                    .filter_map(|(name, value)| (name == part.name.0.as_bytes()).then_some(value));
                let value = part.duplicates.choose(copies)?;
                append_cased(out, value, part.lowercase)
            }
            Self::Query(Short(part)) => {
                let copies = uri::parameters(headers()).filter_map(|(name, value)| {
                    uri::decoded(name, true)
                        .eq(part.name.0.bytes())
                        .then_some(value)
                });
                let value = part.duplicates.choose(copies)?;
                append_cased(out, &decoded(value, true), part.lowercase)
            }
            Self::Path(Short(part)) => {
                let path = uri::normalized(uri::raw_path(headers()));
                let template = part.template.as_ref().ok_or(Reason::Absent)?;
                let value = template.variable(&path, &part.variable.0);
                append(out, &decoded(value.ok_or(Reason::Absent)?, false))
            }
            Self::ClientIp => {
                append_address(out, client_ip.resolve(request).ok_or(Reason::Absent)?)
            }
            Self::JwtClaim(Short(claim)) => append(out, claim.value(request)?.as_bytes()),
            Self::Consumer => {
                let value = Duplicates::Deny.choose(headers().all(CONSUMER))?;
                append(out, value)
            }
            Self::Property(PropertyPath(path)) => {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let value = request.property(&path).ok_or(Reason::Absent)?;
                append(out, &value)
            }
            Self::Const(ConstValue(value)) => append(out, value.as_bytes()),
        }
    }

    /// Appends a value of this part as a policy writes it, for an exception to the rule.
    pub(super) fn append_written(
        &self,
        value: &str,
        client_ip: &ClientIp,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let appended = match self {
            Self::ClientIp => {
                let address = value
                    .parse()
                    .map_err(|_| format!("found {value:?}, expected an IP address"))?;
                append_address(out, client_ip.masked(address))
            }
            Self::Const(ConstValue(constant)) if constant != value => {
                return Err(format!(
                    "found {value:?}, expected {constant:?}, as the part is constant"
                ));
            }
            Self::Header(Short(part)) => append_cased(out, value.as_bytes(), part.lowercase),
            Self::Cookie(Short(part)) | Self::Query(Short(part)) => {
                append_cased(out, value.as_bytes(), part.lowercase)
            }
            _ => append(out, value.as_bytes()),
        };
        appended.map_err(|reason| {
            let found = match reason {
                Reason::TooLong => format!("{} bytes", value.len()),
                Reason::Absent | Reason::Ambiguous => "an empty text".to_owned(),
            };
            format!("found {found}, expected 1 to {MAX_VALUE_BYTES} bytes")
        })
    }

    /// Takes the template from the match beside the key, unless the part has its own.
    pub(super) fn bind(&mut self, beside: Option<&Template>) -> Result<(), String> {
        let Self::Path(Short(part)) = self else {
            return Ok(());
        };
        part.template
            .get_or_insert_with(|| beside.cloned().unwrap_or_default());
        part.check()
    }

    /// Takes this template in place of any other.
    pub(super) fn bind_anew(&mut self, template: &Template) -> Result<(), String> {
        let Self::Path(Short(part)) = self else {
            return Ok(());
        };
        part.template = Some(template.clone());
        part.check()
    }
}

impl PathPart {
    /// The template must have the variable.
    fn check(&self) -> Result<(), String> {
        let (name, template) = (&self.variable.0, self.template.as_ref());
        let Some(template) = template.filter(|template| !template.has_variable(name)) else {
            return Ok(());
        };
        let known: Vec<&str> = template.variables().collect();
        Err(match known.as_slice() {
            [] => format!(
                "found variable `{name}` without a template, expected a template with {{{name}}} here or in \
                 `match.path.template`"
            ),
            _ => format!(
                "found variable `{name}`, expected one that the template has: `{}`",
                known.join("`, `")
            ),
        })
    }
}

/// Appends a value, in lower case if asked for.
fn append_cased(out: &mut Vec<u8>, value: &[u8], lowercase: bool) -> Result<(), Reason> {
    let start = out.len();
    append(out, value)?;
    if lowercase && let Some(appended) = out.get_mut(start + LENGTH..) {
        appended.make_ascii_lowercase();
    }
    Ok(())
}

/// One byte more than may be, to tell; never the whole of what a client sends.
fn decoded(value: &[u8], plus_is_space: bool) -> Vec<u8> {
    uri::decoded(value, plus_is_space)
        .take(MAX_VALUE_BYTES + 1)
        .collect()
}

/// A header, with how to read it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"name\": \"x-api-key\"}"
)]
pub struct HeaderPart {
    /// The header's name, in any case.
    name: HeaderName,
    /// Which copy counts. Several copies of a header are refused unless this says otherwise.
    #[serde(default = "Duplicates::deny")]
    duplicates: Duplicates,
    /// Whether the value is taken in lower case (ASCII).
    #[serde(default)]
    lowercase: bool,
}

impl ShortForm for HeaderPart {
    const PATTERN: &'static str = HeaderName::PATTERN;
    const EXPECTED: &'static str =
        "a header name such as \"x-api-key\", or an object such as {\"name\": \"x-api-key\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self {
            name: HeaderName::parse(text)?,
            duplicates: Duplicates::Deny,
            lowercase: false,
        })
    }
}

/// A cookie or query parameter, with how to read it.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"name\": \"session\"}"
)]
pub struct NamedPart {
    /// Its name, case included.
    name: Name,
    /// Which copy counts. Browsers do send a cookie twice (for two paths), most specific first, and most servers read
    /// the first copy: so does this, unless it is told otherwise.
    #[serde(default = "Duplicates::first")]
    duplicates: Duplicates,
    /// Whether the value is taken in lower case (ASCII).
    #[serde(default)]
    lowercase: bool,
}

impl ShortForm for NamedPart {
    const PATTERN: &'static str = Name::PATTERN;
    const EXPECTED: &'static str =
        "a name such as \"session\", or an object such as {\"name\": \"session\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self {
            name: Name::parse(text)?,
            duplicates: Duplicates::First,
            lowercase: false,
        })
    }
}

/// The name of a cookie or a query parameter.
#[derive(Debug, Clone)]
struct Name(String);

impl Text for Name {
    const PATTERN: &'static str = ".";

    fn expected() -> String {
        "a name such as \"session\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(Name);

/// A variable of a path template.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    deny_unknown_fields,
    expecting = "an object such as {\"variable\": \"id\"}"
)]
pub struct PathPart {
    /// The template; without it, the one in the `match` beside this key.
    template: Option<Template>,
    /// The variable's name.
    variable: Variable,
}

impl ShortForm for PathPart {
    const PATTERN: &'static str = Variable::PATTERN;
    const EXPECTED: &'static str = "a variable such as \"id\", or an object such as {\"template\": \"/users/{id}/**\", \
                                    \"variable\": \"id\"}";

    fn from_text(text: &str) -> Result<Self, String> {
        Ok(Self {
            template: None,
            variable: Variable::parse(text)?,
        })
    }
}

/// The name of a variable.
#[derive(Debug, Clone)]
struct Variable(String);

impl Text for Variable {
    const PATTERN: &'static str = "^[A-Za-z_][A-Za-z0-9_]*$";

    fn expected() -> String {
        "a template variable's name such as \"id\"".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if !is_variable_name(text) {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(Variable);

/// The path of a gateway property.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct PropertyPath(
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "non_empty")]
    Vec<String>,
);

/// A constant part's value.
#[derive(Debug, Clone)]
pub struct ConstValue(String);

impl Text for ConstValue {
    const PATTERN: &'static str = ".";

    fn expected() -> String {
        format!("a text of 1 to {MAX_VALUE_BYTES} bytes")
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_VALUE_BYTES {
            return Err(Self::expected());
        }
        Ok(Self(text.to_owned()))
    }
}
text_value!(ConstValue);
