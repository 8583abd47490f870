//! Who the client is when proxies stand in front: X-Forwarded-For, read from its right end.
//!
//! The left end of the list is whatever the client wrote. Only the entries that one's own proxies appended are
//! evidence, and those stand at the right. [`ClientIp`] says how many they are, or whose addresses they carry.
//!
//! | What this filter sees | `trusted_hops: 1` | `trusted_hops: 2` | `trusted_cidrs: ["10.0.0.0/8"]` |
//! |---|---|---|---|
//! | peer 198.51.100.7, no list | 198.51.100.7 | 198.51.100.7 | 198.51.100.7 |
//! | peer 10.0.0.9, `203.0.113.5` | 203.0.113.5 | 203.0.113.5 | 203.0.113.5 |
//! | peer 10.0.0.9, `1.1.1.1, 203.0.113.5, 10.0.0.8` | 10.0.0.8 | 203.0.113.5 | 203.0.113.5 |
//! | peer 198.51.100.7, `1.1.1.1` (forged) | 1.1.1.1 | 1.1.1.1 | 198.51.100.7 |
//! | peer 10.0.0.9, `1.1.1.1, oops, 10.0.0.8` | 10.0.0.8 | 10.0.0.8 | 10.0.0.8 |
//!
//! The fourth row is why `trusted_hops` is only for gateways that cannot be reached past their proxies.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde::Deserialize;

use super::Request;
use crate::policy::value::{Int, Text, non_empty, text_value};

/// How to find the client's address, and how much of it counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ClientIpJson")]
pub struct ClientIp {
    trust: Trust,
    ipv4_prefix: u8,
    ipv6_prefix: u8,
}

#[derive(Debug, Clone)]
enum Trust {
    /// Only the connection itself.
    Peer,
    /// The last this many entries of the list.
    Hops(usize),
    /// Entries and peers with these addresses.
    Networks(Vec<IpNet>),
}

impl Default for ClientIp {
    fn default() -> Self {
        Self {
            trust: Trust::Peer,
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        }
    }
}

/// How to find the client's address. With neither `trusted_hops` nor `trusted_cidrs` it is the address that connected
/// to the gateway.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema, serde::Serialize))]
#[cfg_attr(feature = "schema", schemars(rename = "ClientIp"))]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "an object such as {\"trusted_hops\": 1}"
)]
struct ClientIpJson {
    /// How many entries at the right end of X-Forwarded-For were written by proxies you run, as this filter sees the
    /// list. The client is the leftmost of them: the Nth from the right. Envoy with `use_remote_address: true` counts,
    /// because it appends its peer before filters run; Kong does not. Envoy's `xff_num_trusted_hops` is one less. Use
    /// it only where clients cannot reach the gateway past those proxies.
    trusted_hops: Option<Int<1, 32>>,
    /// Addresses of the proxies you run. If the peer is one of them, X-Forwarded-For is walked from the right, and the
    /// first address that is none of them is the client.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    #[serde(deserialize_with = "some_networks")]
    trusted_cidrs: Option<Vec<Network>>,
    /// How many leading bits of an IPv4 address make one client.
    ipv4_prefix: Int<1, 32>,
    /// How many leading bits of an IPv6 address make one client. A subscriber usually owns a /64 or more, so with more
    /// bits one client can have as many identities as it likes.
    ipv6_prefix: Int<1, 128>,
}

impl Default for ClientIpJson {
    fn default() -> Self {
        Self {
            trusted_hops: None,
            trusted_cidrs: None,
            ipv4_prefix: Int(32),
            ipv6_prefix: Int(64),
        }
    }
}

fn some_networks<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Network>>, D::Error> {
    non_empty(deserializer).map(Some)
}

impl TryFrom<ClientIpJson> for ClientIp {
    type Error = &'static str;

    fn try_from(json: ClientIpJson) -> Result<Self, Self::Error> {
        let trust = match (json.trusted_hops, json.trusted_cidrs) {
            (None, None) => Trust::Peer,
            (Some(hops), None) => Trust::Hops(hops.get()),
            (None, Some(networks)) => Trust::Networks(networks.into_iter().map(|n| n.0).collect()),
            (Some(_), Some(_)) => {
                return Err("found both `trusted_hops` and `trusted_cidrs`, expected at most one");
            }
        };
        Ok(Self {
            trust,
            ipv4_prefix: json.ipv4_prefix.get(),
            ipv6_prefix: json.ipv6_prefix.get(),
        })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ClientIp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        ClientIpJson::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        ClientIpJson::json_schema(generator)
    }
}

#[cfg(feature = "schema")]
impl serde::Serialize for ClientIp {
    /// Only the default is ever written: for the schema.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ClientIpJson::default().serialize(serializer)
    }
}

impl ClientIp {
    /// The client's address, cut to the prefix length; an IPv4-mapped address is IPv4. `None` when the gateway knows
    /// no peer and no trusted entry says more.
    ///
    /// The walk stops at an entry that is no address, and keeps the last address before it.
    #[must_use]
    pub fn resolve(&self, request: &impl Request) -> Option<IpAddr> {
        let address = match &self.trust {
            Trust::Peer => peer(request),
            Trust::Hops(hops) => {
                let lines = forwarded_for(request);
                from_the_right(&lines)
                    .take(*hops)
                    .map_while(parse_address)
                    .last()
                    .or_else(|| peer(request))
            }
            Trust::Networks(networks) => {
                let trusted = |address: &IpAddr| networks.iter().any(|n| n.contains(address));
                let peer = peer(request)?;
                let lines = forwarded_for(request);
                let mut client = peer;
                let mut entries = from_the_right(&lines).map_while(parse_address);
                while trusted(&client)
                    && let Some(next) = entries.next()
                {
                    client = next;
                }
                Some(client)
            }
        };
        address.map(|address| self.masked(address))
    }

    /// Cuts an address to the prefix length.
    #[must_use]
    pub fn masked(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let host_bits = 32_u32.saturating_sub(self.ipv4_prefix.into());
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                Ipv4Addr::from_bits(v4.to_bits() & mask).into()
            }
            IpAddr::V6(v6) => {
                let host_bits = 128_u32.saturating_sub(self.ipv6_prefix.into());
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                Ipv6Addr::from_bits(v6.to_bits() & mask).into()
            }
        }
    }
}

fn peer(request: &impl Request) -> Option<IpAddr> {
    parse_address(&request.property(&["source", "address"])?)
}

/// The lines of the list; several headers are one list (RFC 9110, 5.3).
fn forwarded_for<R: Request>(request: &R) -> Vec<&[u8]> {
    request.headers().all("x-forwarded-for").collect()
}

/// The list's entries, last first. Empty ones are none (RFC 9110, 5.6.1).
fn from_the_right<'a>(lines: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    lines
        .iter()
        .rev()
        .flat_map(|line| line.rsplit(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|entry| !entry.is_empty())
}

/// Reads `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`, with or without a zone.
fn parse_address(entry: impl AsRef<[u8]>) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry.as_ref()).ok()?;
    let address: IpAddr = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (inside, port) = bracketed.split_once(']')?;
            if !port.is_empty() {
                port.strip_prefix(':')?.parse::<u16>().ok()?;
            }
            without_zone(inside).parse::<Ipv6Addr>().ok()?.into()
        }
        None => match text.parse::<SocketAddr>() {
            Ok(with_port) => with_port.ip(),
            Err(_) => without_zone(text).parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

fn without_zone(text: &str) -> &str {
    text.split_once('%').map_or(text, |(address, _)| address)
}

/// A network, or a single address.
#[derive(Debug, Clone)]
struct Network(IpNet);

impl Text for Network {
    const PATTERN: &'static str = "^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$";

    fn expected() -> String {
        "a network such as \"10.0.0.0/8\" or \"2001:db8::/32\", or an address".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        let network = match text.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => IpNet::from(text.parse::<IpAddr>().map_err(|_| Self::expected())?),
        };
        if network.addr() != network.network() {
            // A typing mistake in the address or the length: either changes who is trusted.
            return Err(format!("a network such as \"{}\"", network.trunc()));
        }
        match (network.addr().to_canonical(), network.prefix_len()) {
            (v4 @ IpAddr::V4(_), bits) if network.addr().is_ipv6() => bits
                .checked_sub(96)
                .and_then(|bits| IpNet::new(v4, bits).ok())
                .map(Self)
                .ok_or_else(Self::expected),
            _ => Ok(Self(network)),
        }
    }
}
text_value!(Network);

#[cfg(feature = "schema")]
impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[cfg(test)]
#[path = "client_ip_tests.rs"]
mod tests;
