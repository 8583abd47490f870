//! What etcd is asked: JSON for its gateway. Keys and values are base64 there, and numbers of 64 bits are text.

use crate::gcra::Ps;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

pub(super) const TXN: &str = "/v3/kv/txn";
pub(super) const GRANT: &str = "/v3/lease/grant";
pub(super) const AUTHENTICATE: &str = "/v3/auth/authenticate";

/// A POST to etcd.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: &'static str,
    /// The header `authorization`.
    pub authorization: Option<String>,
    pub body: Vec<u8>,
    /// The instant by which the reply is wanted.
    pub deadline: Ps,
}

/// Whom etcd knows.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub name: String,
    pub password: String,
}

/// Credentials must not end up in a log.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Login {
    pub(super) fn body(&self) -> Vec<u8> {
        let (name, password) = (quoted(&self.name), quoted(&self.password));
        format!(r#"{{"name":{name},"password":{password}}}"#).into_bytes()
    }
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(char));
            }
            _ => out.push(char),
        }
    }
    out.push('"');
    out
}

/// A lease of so many seconds, whose number etcd chooses.
pub(super) fn grant(seconds: u64) -> Vec<u8> {
    format!(r#"{{"TTL":"{seconds}"}}"#).into_bytes()
}

/// One key, for all parts of a transaction.
pub(super) struct Key(String);

impl Key {
    pub(super) fn new(name: &[u8]) -> Self {
        Self(STANDARD.encode(name))
    }

    /// It is not there.
    pub(super) fn is_absent(&self) -> String {
        let key = &self.0;
        format!(r#"{{"target":"CREATE","result":"EQUAL","key":"{key}","create_revision":"0"}}"#)
    }

    /// Its value is greater than `from` and less than `to`.
    pub(super) fn is_between(&self, from: &str, to: &str) -> String {
        let one = |result: &str, value: &str| {
            let (key, value) = (&self.0, STANDARD.encode(value));
            format!(r#"{{"target":"VALUE","result":"{result}","key":"{key}","value":"{value}"}}"#)
        };
        format!("{},{}", one("GREATER", from), one("LESS", to))
    }

    /// Writes it, to end with the lease.
    pub(super) fn put(&self, value: &[u8], lease: &str) -> String {
        let (key, value) = (&self.0, STANDARD.encode(value));
        format!(r#"{{"request_put":{{"key":"{key}","value":"{value}","lease":"{lease}"}}}}"#)
    }

    pub(super) fn read(&self) -> String {
        format!(r#"{{"request_range":{{"key":"{}"}}}}"#, self.0)
    }

    /// Reads whether it is there.
    pub(super) fn look(&self) -> String {
        format!(
            r#"{{"request_range":{{"key":"{}","keys_only":true}}}}"#,
            self.0
        )
    }

    pub(super) fn delete(&self) -> String {
        format!(r#"{{"request_delete_range":{{"key":"{}"}}}}"#, self.0)
    }
}

/// If all comparisons hold, one thing is done, else the other.
pub(super) fn txn(compare: &str, success: &str, failure: &str) -> Vec<u8> {
    format!(r#"{{"compare":[{compare}],"success":[{success}],"failure":[{failure}]}}"#).into_bytes()
}
