//! What a filter can read of a stream by `proxy_get_property`, beside its headers.

use crate::core::{Core, EPOCH};
use crate::event::WorkerId;
use crate::stream::{self, Stream};
use sluice_embed::{Attributes, Headers};

/// Where the origin is.
const UPSTREAM: (&str, i64) = ("127.0.0.1:8080", 8080);

impl Core {
    /// The attributes of a new stream.
    pub fn attributes(&self, worker: WorkerId, x: usize, headers: &Headers) -> Attributes {
        let mut state = self.state();
        let source = state.exchanges[x].request.source.clone();
        let now = state.now;
        let gateway = state.gateway(worker);
        let port = source
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let mut attributes = Attributes::default()
            .text(&["source", "address"], &source)
            .number(&["source", "port"], port.unwrap_or(0))
            .text(&["destination", "address"], "127.0.0.1:10000")
            .number(&["destination", "port"], 10_000)
            .number(&["connection", "id"], i64::try_from(x).unwrap_or(0))
            .flag(&["connection", "mtls"], false)
            .text(&["request", "protocol"], "HTTP/1.1")
            .number(&["request", "time"], signed(EPOCH.saturating_add(now)))
            .number(&["request", "total_size"], size(headers.byte_size()))
            .number(
                &["request", "size"],
                number_in(headers, "content-length").unwrap_or(0),
            )
            .text(&["plugin_name"], &gateway.plugin.name)
            .text(&["plugin_root_id"], &gateway.plugin.root_id)
            .text(&["plugin_vm_id"], &gateway.vm.vm_id);
        attributes.extend(gateway.attributes.clone());
        attributes
    }
}

impl Stream {
    /// Once there is a response.
    pub fn response_attributes(&self) -> Attributes {
        let mut attributes = Attributes::default()
            .number(&["response", "flags"], self.flags)
            .text(&["response", "code_details"], &self.details);
        if self.upstream_responded {
            let (address, port) = UPSTREAM;
            attributes = attributes
                .text(&["upstream", "address"], address)
                .number(&["upstream", "port"], port);
        }
        match number_in(&self.response_headers, ":status") {
            Some(status) => attributes.number(&["response", "code"], status),
            None => attributes,
        }
    }

    /// Once it has ended.
    pub fn last_attributes(&self, now: u64) -> Attributes {
        let status = number_in(&self.response_headers, ":status");
        let grpc = number_in(&self.response_headers, "grpc-status").or_else(|| {
            let status = status.and_then(|status| u32::try_from(status).ok())?;
            Some(i64::from(stream::grpc_status(status)))
        });
        let length = number_in(&self.request_headers, "content-length");
        let mut attributes = self
            .response_attributes()
            .number(&["request", "size"], length.unwrap_or(size(self.received)))
            .number(
                &["request", "duration"],
                signed(now.saturating_sub(self.opened_at)),
            )
            .number(&["response", "size"], size(self.sent));
        if let Some(grpc) = grpc {
            attributes = attributes.number(&["response", "grpc_status"], grpc);
        }
        attributes
    }
}

fn number_in(headers: &Headers, name: &str) -> Option<i64> {
    std::str::from_utf8(headers.get(name)?).ok()?.parse().ok()
}

fn size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn signed(nanos: u64) -> i64 {
    i64::try_from(nanos).unwrap_or(i64::MAX)
}
