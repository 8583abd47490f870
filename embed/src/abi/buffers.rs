//! Reading and changing bodies, and reading configurations.

use super::{Answer, Guest, index, slice};
use crate::context::Context;
use crate::effect::{BodyEdit, Effect};
use crate::headers::Side;
use crate::host::Host;
use crate::status::Status;

/// The last buffer that the ABI has a number for.
const LAST: u32 = 8;

/// A buffer by its number. A body that is not there reads as empty, other buffers as `NotFound`, as in Envoy.
fn buffer(host: &mut Host, number: u32) -> Answer<&[u8]> {
    let bytes = match number {
        0 => host.stream().and_then(|it| it.request.body.seen()),
        1 => host.stream().and_then(|it| it.response.body.seen()),
        4 => {
            let reply = host.root().and_then(|root| root.http_reply.as_ref());
            Some(&reply.ok_or(Status::NotFound)?.body)
        }
        5 => host.root().and_then(|root| root.grpc_message.as_ref()),
        6 => Some(&host.options.vm_configuration),
        7 => match host.contexts.get(&host.acting()) {
            Some(Context::Root(root)) if root.configuring => Some(&root.plugin.configuration),
            _ => return Err(Status::NotFound.into()),
        },
        2 | 3 | LAST => None, // of TCP streams and of foreign functions, which there are none of
        _ => return Err(Status::BadArgument.into()),
    };
    Ok(bytes.map(Vec::as_slice).unwrap_or_default())
}

pub(super) fn get(
    guest: &mut Guest,
    number: u32,
    start: u32,
    length: u32,
    to: u32,
    to_size: u32,
) -> Answer {
    let bytes = buffer(guest.host(), number)?;
    let rest = bytes.get(index(start)..).unwrap_or_default();
    let part = rest.get(..index(length)).unwrap_or(rest).to_vec();
    guest.give(&part, to, to_size)
}

pub(super) fn status(guest: &mut Guest, number: u32, length: u32, flags: u32) -> Answer {
    let size = buffer(guest.host(), number)?.len();
    guest.write_u32(length, u32::try_from(size).unwrap_or(u32::MAX))?;
    guest.write_u32(flags, 0)
}

/// A body can be prepended to, appended to, or replaced as a whole; nothing else.
pub(super) fn set(
    guest: &mut Guest,
    number: u32,
    start: u32,
    length: u32,
    bytes: u32,
    size: u32,
) -> Answer {
    buffer(guest.host(), number)?;
    let (memory, host) = guest.split()?;
    let new = slice(memory, bytes, size)?.to_vec();
    let side = match number {
        0 => Some(Side::Request),
        1 => Some(Side::Response),
        _ => None,
    };
    let stream = host.stream_id();
    let body = match side {
        Some(side) => host.stream().and_then(|it| it.half(side).body.seen_mut()),
        None if number == 5 => host.root().and_then(|root| root.grpc_message.as_mut()),
        None => None,
    };
    let body = body.ok_or(Status::BadArgument)?;
    let edit = match (index(start), index(length)) {
        (0, 0) => {
            body.splice(0..0, new.iter().copied());
            BodyEdit::Prepend(new)
        }
        (0, length) if length >= body.len() => {
            body.clone_from(&new);
            BodyEdit::Replace(new)
        }
        (start, _) if start != 0 && start >= body.len() => {
            body.extend_from_slice(&new);
            BodyEdit::Append(new)
        }
        _ => return Err(Status::BadArgument.into()),
    };
    if let Some(side) = side {
        host.effects.push(Effect::EditBody { stream, side, edit });
    }
    Ok(())
}
