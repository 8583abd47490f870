//! Resuming, closing and answering streams.

use super::{Answer, Guest, slice};
use crate::effect::{Effect, LocalReply};
use crate::headers::{Headers, Side};
use crate::pairs;
use crate::status::Status;

pub(super) fn resume(guest: &mut Guest, kind: u32) -> Answer {
    let host = guest.host();
    let id = host.stream_id();
    let effect = match kind {
        0 => Effect::ResumeRequest(id),
        1 => Effect::ResumeResponse(id),
        2 => return Ok(()), // of a TCP stream, which there is none of
        3 => return Err(Status::Unimplemented.into()),
        _ => return Err(Status::BadArgument.into()),
    };
    if let Some(stream) = host.stream() {
        stream.resumed();
        host.effects.push(effect);
    }
    Ok(())
}

pub(super) fn close(guest: &mut Guest, kind: u32) -> Answer {
    let host = guest.host();
    let side = match kind {
        0 => Side::Request,
        1 => Side::Response,
        2 | 3 => return Ok(()),
        _ => return Err(Status::BadArgument.into()),
    };
    let stream = host.stream_id();
    if host.stream().is_some() {
        host.effects.push(Effect::CloseStream { stream, side });
    }
    Ok(())
}

#[allow(clippy::too_many_arguments)] // the ABI's
pub(super) fn local_response(
    guest: &mut Guest,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc_status: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let details = slice(memory, details, details_size)?;
    let body = slice(memory, body, body_size)?;
    let headers = slice(memory, headers, headers_size)?;
    // The status of the running callback counts for nothing now, whichever stream is answered.
    host.stop = true;
    let stream = host.stream_id();
    if host.stream().is_some() {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
        let details = details.iter().map(|it| if blank(it) { b'_' } else { *it });
        let mut reply = LocalReply {
            stream,
            status,
            details: details.collect(),
            headers: Headers::new(),
            body: body.to_vec(),
            grpc_status: (grpc_status <= 16).then_some(grpc_status),
        };
        for (name, value) in pairs::read(headers) {
            reply.headers.add(name, value);
        }
        host.effects.push(Effect::LocalReply(reply));
    }
    Ok(())
}
