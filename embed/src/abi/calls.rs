//! HTTP and gRPC calls. All belong to the root context, whichever context makes them.
#![allow(clippy::too_many_arguments)] // the ABI's

use std::time::Duration;

use super::{Answer, Guest, slice};
use crate::effect::{Effect, GrpcCall, GrpcMessage, GrpcStream, HttpCall};
use crate::headers::Headers;
use crate::host::{CallKind, Calls};
use crate::pairs;
use crate::services::CallRefused;
use crate::status::Status;

pub(super) fn http(
    guest: &mut Guest,
    upstream: u32,
    upstream_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    to: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let mut call = HttpCall {
        upstream: slice(memory, upstream, upstream_size)?.to_vec(),
        headers: map(memory, headers, headers_size)?,
        body: slice(memory, body, body_size)?.to_vec(),
        trailers: map(memory, trailers, trailers_size)?,
        timeout: (timeout != 0).then(|| Duration::from_millis(u64::from(timeout))),
    };
    let root = host.root_id();
    // The place for the token is tried first, so that no call is made whose token cannot be told.
    guest.write_u32(to, 0)?;
    let pseudo = [":path", ":method", ":authority"];
    if timeout > i32::MAX.unsigned_abs() || pseudo.iter().any(|it| call.headers.get(it).is_none()) {
        return Err(Status::BadArgument.into());
    }
    if !call.body.is_empty() {
        call.headers
            .replace("content-length", call.body.len().to_string());
    }
    let host = guest.host();
    let token = host.calls.draw(CallKind::Http);
    let accepted = host.services.upstreams.http_call(token, &call);
    accepted.map_err(|refused| match refused {
        CallRefused::UnknownCluster => Status::BadArgument,
        CallRefused::Failed => Status::InternalFailure,
    })?;
    host.calls.began(token, root.number());
    host.effects.push(Effect::HttpCall { token, root, call });
    guest.write_u32(to, token)
}

pub(super) fn grpc(
    guest: &mut Guest,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    message: u32,
    message_size: u32,
    timeout: u32,
    to: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let call = GrpcCall {
        open: target(
            memory,
            [
                (upstream, upstream_size),
                (service, service_size),
                (method, method_size),
            ],
            (metadata, metadata_size),
        )?,
        message: slice(memory, message, message_size)?.to_vec(),
        timeout: Duration::from_millis(u64::from(timeout)),
    };
    let token = host.calls.draw(CallKind::Grpc);
    let accepted = host.services.upstreams.grpc_call(token, &call);
    accepted.map_err(grpc_refused)?;
    let root = host.root_id();
    host.calls.began(token, root.number());
    host.effects.push(Effect::GrpcCall { token, root, call });
    guest.write_u32(to, token)
}

pub(super) fn grpc_stream(
    guest: &mut Guest,
    upstream: u32,
    upstream_size: u32,
    service: u32,
    service_size: u32,
    method: u32,
    method_size: u32,
    metadata: u32,
    metadata_size: u32,
    to: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let open = target(
        memory,
        [
            (upstream, upstream_size),
            (service, service_size),
            (method, method_size),
        ],
        (metadata, metadata_size),
    )?;
    let token = host.calls.draw(CallKind::GrpcStream);
    let accepted = host.services.upstreams.grpc_stream(token, &open);
    accepted.map_err(grpc_refused)?;
    let root = host.root_id();
    host.calls.began(token, root.number());
    host.effects.push(Effect::GrpcStream { token, root, open });
    guest.write_u32(to, token)
}

/// Where a gRPC stream or call goes: its upstream, service and method, and the initial metadata.
fn target(memory: &[u8], names: [(u32, u32); 3], metadata: (u32, u32)) -> Answer<GrpcStream> {
    let [upstream, service, method] = names;
    let name = |(pointer, size)| slice(memory, pointer, size).map(<[u8]>::to_vec);
    Ok(GrpcStream {
        upstream: name(upstream)?,
        service: name(service)?,
        method: name(method)?,
        initial_metadata: map(memory, metadata.0, metadata.1)?,
    })
}

fn grpc_refused(refused: CallRefused) -> Status {
    match refused {
        CallRefused::UnknownCluster => Status::ParseFailure,
        CallRefused::Failed => Status::InternalFailure,
    }
}

fn map(memory: &[u8], pointer: u32, size: u32) -> Answer<Headers> {
    let pairs = pairs::read(slice(memory, pointer, size)?);
    Ok(pairs.into_iter().collect())
}

pub(super) fn grpc_send(
    guest: &mut Guest,
    token: u32,
    message: u32,
    size: u32,
    end: u32,
) -> Answer {
    let bytes = guest.read(message, size)?;
    if Calls::kind(token) != Some(CallKind::GrpcStream) {
        return Err(Status::BadArgument.into());
    }
    let host = guest.host();
    if !host.calls.open.contains_key(&token) {
        return Err(Status::NotFound.into());
    }
    let message = GrpcMessage {
        bytes,
        end_of_stream: end != 0,
    };
    host.effects.push(Effect::GrpcSend { token, message });
    Ok(())
}

pub(super) fn grpc_close(guest: &mut Guest, token: u32) -> Answer {
    let open = &mut guest.host().calls.open;
    let kind = grpc_kind(token)?;
    let call = open.get_mut(&token).ok_or(Status::NotFound)?;
    call.local_closed = true;
    // A stream stays until the other side closes it too; a unary call is simply given up.
    if kind == CallKind::Grpc || call.remote_closed {
        open.remove(&token);
    }
    guest.host().effects.push(Effect::GrpcClose { token });
    Ok(())
}

pub(super) fn grpc_cancel(guest: &mut Guest, token: u32) -> Answer {
    grpc_kind(token)?;
    let host = guest.host();
    host.calls.open.remove(&token).ok_or(Status::NotFound)?;
    host.effects.push(Effect::GrpcCancel { token });
    Ok(())
}

fn grpc_kind(token: u32) -> Answer<CallKind> {
    let kind = Calls::kind(token).filter(|kind| *kind != CallKind::Http);
    Ok(kind.ok_or(Status::BadArgument)?)
}
