//! Reading and changing header maps.

use super::{Answer, Guest, slice};
use crate::context::{Context, Stream};
use crate::effect::{Effect, HeaderEdit};
use crate::headers::{Headers, Map};
use crate::host::Host;
use crate::pairs;
use crate::status::Status;

/// A map by its number: of the stream, or of what the root context just received.
enum Which {
    Stream(Map),
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    CallHeaders,
    CallTrailers,
}

fn which(map: u32) -> Answer<Which> {
    Ok(match map {
        0 => Which::Stream(Map::RequestHeaders),
        1 => Which::Stream(Map::RequestTrailers),
        2 => Which::Stream(Map::ResponseHeaders),
        3 => Which::Stream(Map::ResponseTrailers),
        4 => Which::GrpcInitialMetadata,
        5 => Which::GrpcTrailingMetadata,
        6 => Which::CallHeaders,
        7 => Which::CallTrailers,
        _ => return Err(Status::BadArgument.into()),
    })
}

fn readable(host: &mut Host, map: Which) -> Option<&Headers> {
    if let Which::Stream(map) = map {
        return host.stream()?.readable(map);
    }
    let root = host.root()?;
    match map {
        Which::GrpcInitialMetadata => root.grpc_initial_metadata.as_ref(),
        Which::GrpcTrailingMetadata => root.grpc_trailing_metadata.as_ref(),
        Which::CallHeaders => root.http_reply.as_ref().map(|reply| &reply.headers),
        Which::CallTrailers => root.http_reply.as_ref()?.trailers.as_ref(),
        Which::Stream(_) => None,
    }
}

/// All pairs; none when the map is not there.
pub(super) fn pairs(guest: &mut Guest, map: u32, to: u32, to_size: u32) -> Answer {
    let map = which(map)?;
    let headers = readable(guest.host(), map).filter(|headers| !headers.is_empty());
    let bytes = headers.map(|headers| pairs::write(headers.iter().collect::<Vec<_>>().into_iter()));
    guest.give(&bytes.unwrap_or_default(), to, to_size)
}

pub(super) fn get(
    guest: &mut Guest,
    map: u32,
    name: u32,
    size: u32,
    to: u32,
    to_size: u32,
) -> Answer {
    let map = which(map)?;
    let (memory, host) = guest.split()?;
    let name = slice(memory, name, size)?;
    let logging = host.stream().is_some_and(|stream| stream.logging);
    let missing = if logging {
        Status::NotFound
    } else {
        Status::BadArgument
    };
    let headers = readable(host, map).ok_or(missing)?;
    let value = headers.get(name).ok_or(Status::NotFound)?.to_vec();
    guest.give(&value, to, to_size)
}

pub(super) fn size(guest: &mut Guest, map: u32, to: u32) -> Answer {
    let size = change(guest.host(), map, |headers| (headers.byte_size(), None))?;
    guest.write_u32(to, u32::try_from(size).unwrap_or(u32::MAX))
}

pub(super) fn set_pairs(guest: &mut Guest, map: u32, pairs: u32, size: u32) -> Answer {
    which(map)?;
    let (memory, host) = guest.split()?;
    let pairs = pairs::read(slice(memory, pairs, size)?);
    let new: Headers = pairs.into_iter().collect();
    change(host, map, |headers| {
        headers.clone_from(&new);
        ((), Some(HeaderEdit::Set(new)))
    })
}

pub(super) fn add(
    guest: &mut Guest,
    map: u32,
    name: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Answer {
    which(map)?;
    let (name, value) = pair(guest, (name, size), (value, value_size))?;
    change(guest.host(), map, |headers| {
        headers.add(&name, &value);
        ((), Some(HeaderEdit::Add { name, value }))
    })
}

pub(super) fn replace(
    guest: &mut Guest,
    map: u32,
    name: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Answer {
    which(map)?;
    let (name, value) = pair(guest, (name, size), (value, value_size))?;
    change(guest.host(), map, |headers| {
        headers.replace(&name, &value);
        ((), Some(HeaderEdit::Replace { name, value }))
    })
}

fn pair(guest: &mut Guest, name: (u32, u32), value: (u32, u32)) -> Answer<(Vec<u8>, Vec<u8>)> {
    let name = guest.read(name.0, name.1)?;
    Ok((name.to_ascii_lowercase(), guest.read(value.0, value.1)?))
}

pub(super) fn remove(guest: &mut Guest, map: u32, name: u32, size: u32) -> Answer {
    which(map)?;
    let (memory, host) = guest.split()?;
    let name = slice(memory, name, size)?.to_ascii_lowercase();
    change(host, map, |headers| {
        headers.remove(&name);
        ((), Some(HeaderEdit::Remove { name }))
    })
}

/// Works on a map of the stream, and lists the edit, if it is one. What a root context received cannot be changed.
fn change<R>(
    host: &mut Host,
    map: u32,
    work: impl FnOnce(&mut Headers) -> (R, Option<HeaderEdit>),
) -> Answer<R> {
    let Which::Stream(map) = which(map)? else {
        return Err(Status::BadArgument.into());
    };
    let stream = host.stream_id();
    let Some(Context::Stream(context)) = host.contexts.get_mut(&stream.number()) else {
        return Err(Status::BadArgument.into());
    };
    let (headers, made) = Stream::writable(context, map).ok_or(Status::BadArgument)?;
    let (result, edit) = work(headers);
    if made {
        host.effects.push(Effect::AddTrailers { stream, map });
    }
    if let Some(edit) = edit {
        host.effects.push(Effect::EditHeaders { stream, map, edit });
        let clear = Effect::ClearRouteCache(stream);
        if map == Map::RequestHeaders && !host.effects.contains(&clear) {
            host.effects.push(clear);
        }
    }
    Ok(result)
}
