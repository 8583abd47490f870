//! What names an answer: the URI, as far as the policy says that its parts matter, and whose it is.
//!
//! Every part stands behind its length, so that no request can be spelled to read another's answer.

use crate::headers::Headers;
use crate::selector::uri;

/// Which parameters of a query tell answers apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Whether their order does not matter.
    pub sorted: bool,
    pub parameters: Parameters,
}

/// Which parameters count. A name that ends in `*` stands for all that begin so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Parameters {
    #[default]
    All,
    Only(Vec<String>),
    AllBut(Vec<String>),
}

/// Whose answer it is: the parts that the policy's `key` names. Empty: everybody's.
pub type Identity = Vec<u8>;

/// The key of a URI: scheme, authority and target (`:path`). Answers of all identities and variants share it.
#[must_use]
pub fn uri_key(request: &Headers, target: &[u8], query: &Query) -> Vec<u8> {
    let scheme = request
        .first(":scheme")
        .unwrap_or(b"http")
        .to_ascii_lowercase();
    let host = request.first(":authority").unwrap_or_default();
    let target = target
        .split(|byte| *byte == b'#')
        .next()
        .unwrap_or_default();
    let question = target.iter().position(|byte| *byte == b'?');
    let (path, rest) = target
        .split_at_checked(question.unwrap_or(target.len()))
        .unwrap_or((target, b""));
    let mut key = Vec::with_capacity(scheme.len() + host.len() + target.len() + 16);
    put(&mut key, &scheme);
    put(&mut key, &authority(&scheme, host));
    put(&mut key, path);
    if let Some(parameters) = rest.get(1..) {
        query.put(parameters, &mut key);
    }
    key
}

impl Query {
    fn put(&self, text: &[u8], key: &mut Vec<u8>) {
        if *self == Self::default() {
            return put(key, text);
        }
        let mut kept: Vec<&[u8]> = text
            .split(|byte| *byte == b'&')
            .filter(|parameter| !parameter.is_empty() && self.parameters.counts(parameter))
            .collect();
        if self.sorted {
            // Stable, and by name: the order of one name's values may well matter.
            kept.sort_by_key(|parameter| name(parameter));
        }
        if !kept.is_empty() {
            put(key, &kept.join(&b'&'));
        }
    }
}

impl Parameters {
    fn counts(&self, parameter: &[u8]) -> bool {
        let listed = |names: &[String]| {
            let name: Vec<u8> = uri::decoded(name(parameter), true).collect();
            names.iter().any(|other| match other.strip_suffix('*') {
                Some(start) => name.starts_with(start.as_bytes()),
                None => name == other.as_bytes(),
            })
        };
        match self {
            Self::All => true,
            Self::Only(names) => listed(names),
            Self::AllBut(names) => !listed(names),
        }
    }
}

fn name(parameter: &[u8]) -> &[u8] {
    parameter
        .split(|byte| *byte == b'=')
        .next()
        .unwrap_or_default()
}

/// Host and port in one spelling: lower case, no default port.
pub(super) fn authority(scheme: &[u8], authority: &[u8]) -> Vec<u8> {
    let lower = authority.to_ascii_lowercase();
    let port: &[u8] = if scheme.eq_ignore_ascii_case(b"https") {
        b":443"
    } else {
        b":80"
    };
    lower.strip_suffix(port).unwrap_or(&lower).to_vec()
}

fn put(key: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(part);
}
