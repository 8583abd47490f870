//! Which requests, and whose: the vocabulary of conditions ([`Matcher`]) and keys ([`Key`]) that every filter shares.
//!
//! Everything here reads what a client sent, so everything is bytes, nothing is trusted to be text, and nothing that a
//! client can vary without meaning (percent-encoding, quotes round a cookie, a second copy of a header) may give it a
//! second identity.

mod client_ip;
mod jwt;
mod key;
mod matcher;
mod name;
mod part;
mod path;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod uri;

pub use client_ip::ClientIp;
pub use jwt::JwtClaim;
pub(crate) use key::subject;
pub use key::{Key, MAX_KEY_PARTS, MAX_VALUE_BYTES, Missing, Reason};
pub use matcher::{HeaderCondition, Matcher};
pub use name::{HeaderName, Pattern};
pub use part::{Duplicates, Part};
pub use path::{PathMatch, Template};
pub(crate) use uri::cookies;

use crate::headers::Headers;
use std::borrow::Cow;

/// What a filter knows of a request.
pub trait Request {
    /// The request's header map.
    fn headers(&self) -> &Headers;

    /// The first value of one header. A host that can tell it without the whole map does.
    fn first(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.headers().first(name).map(Cow::Borrowed)
    }

    /// A property of the gateway such as `["source", "address"]`. A host call: asked only when a selector needs it.
    fn property(&self, path: &[&str]) -> Option<Vec<u8>>;
}
