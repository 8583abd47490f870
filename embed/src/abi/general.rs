//! Logging, time, properties, and which context a filter acts on.

use std::time::Duration;

use super::{Answer, Guest, slice};
use crate::attributes;
use crate::context::Context;
use crate::effect::Effect;
use crate::headers::Map;
use crate::host::Host;
use crate::services::Level;
use crate::status::Status;

pub(super) fn log(guest: &mut Guest, level: u32, text: u32, size: u32) -> Answer {
    let level = match level {
        0 => Level::Trace,
        1 => Level::Debug,
        2 => Level::Info,
        3 => Level::Warn,
        4 => Level::Error,
        5 => Level::Critical,
        _ => return Err(Status::BadArgument.into()),
    };
    let text = guest.read_text(text, size)?;
    guest.host().log(level, &text);
    Ok(())
}

pub(super) fn log_level(guest: &mut Guest, to: u32) -> Answer {
    let level = guest.host().services.log.level();
    guest.write_u32(to, level as u32)
}

pub(super) fn now(guest: &mut Guest, to: u32) -> Answer {
    let now = guest.host().services.clock.now_nanos();
    guest.write_u64(to, now)
}

pub(super) fn tick_period(guest: &mut Guest, period: u32) -> Answer {
    let host = guest.host();
    let root = host.root_id();
    let period = Duration::from_millis(u64::from(period));
    host.effects.push(Effect::TickPeriod { root, period });
    Ok(())
}

pub(super) fn set_effective_context(guest: &mut Guest, context: u32) -> Answer {
    let host = guest.host();
    // 0 is the VM's own context, which is always there: it stands for the context that really runs.
    if context != 0 && !host.contexts.contains_key(&context) {
        return Err(Status::BadArgument.into());
    }
    host.effective = context;
    Ok(())
}

pub(super) fn done(guest: &mut Guest) -> Answer {
    let host = guest.host();
    let number = host.root_number();
    let root = host.root().filter(|root| root.pending_done);
    root.ok_or(Status::NotFound)?.pending_done = false;
    host.done.push(number);
    Ok(())
}

pub(super) fn get_status(guest: &mut Guest, code: u32, to: u32, to_size: u32) -> Answer {
    let root = guest.host().root().ok_or(Status::BadArgument)?;
    let (status, message) = root.status.clone();
    guest.write_u32(code, status)?;
    guest.give(&message, to, to_size)
}

/// Of Envoy's functions only the one that needs nothing else of Envoy's.
pub(super) fn foreign(
    guest: &mut Guest,
    name: u32,
    size: u32,
    arguments: u32,
    arguments_size: u32,
    to: u32,
    to_size: u32,
) -> Answer {
    let name = guest.read(name, size)?;
    guest.read(arguments, arguments_size)?;
    if name != b"clear_route_cache" {
        return Err(Status::NotFound.into());
    }
    let host = guest.host();
    let id = host.stream_id();
    if host.stream().is_some() {
        host.effects.push(Effect::ClearRouteCache(id));
    }
    for pointer in [to, to_size] {
        if pointer != 0 {
            guest.write_u32(pointer, 0)?;
        }
    }
    Ok(())
}

pub(super) fn get_property(
    guest: &mut Guest,
    path: u32,
    size: u32,
    to: u32,
    to_size: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let path = slice(memory, path, size)?;
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    // A group of attributes cannot be told as a whole.
    if path.is_empty() || (host.stream().is_some() && attributes::GROUPS.contains(&path)) {
        return Err(Status::SerializationFailure.into());
    }
    let value = property(host, path).ok_or(Status::NotFound)?;
    guest.give(&value, to, to_size)
}

fn property(host: &Host, path: &[u8]) -> Option<Vec<u8>> {
    let (plugin, stream) = match host.contexts.get(&host.acting())? {
        Context::Root(root) => (&root.plugin, None),
        Context::Stream(stream) => (&stream.plugin, Some(stream)),
    };
    let attributes = stream.and_then(|stream| stream.attributes.get(path));
    if let Some(value) = attributes.or_else(|| plugin.properties.get(path)) {
        return Some(value.to_vec());
    }
    match path {
        b"plugin_name" => return Some(plugin.name.clone().into_bytes()),
        b"plugin_root_id" => return Some(plugin.root_id.clone().into_bytes()),
        b"plugin_vm_id" => return Some(host.options.vm_id.clone().into_bytes()),
        _ => {}
    }
    let stream = stream?;
    let request = stream.readable(Map::RequestHeaders);
    let response = stream.readable(Map::ResponseHeaders);
    request
        .and_then(|headers| attributes::of_request(headers, path))
        .or_else(|| response.and_then(|headers| attributes::of_response(headers, path)))
        // Envoy finds what was set by the first name of the path only, or among all state of the stream.
        .or_else(|| {
            let name = path.strip_prefix(b"filter_state\0wasm.").unwrap_or(path);
            let set = stream.state.get(name);
            set.filter(|_| !name.contains(&0)).cloned()
        })
}

pub(super) fn set_property(
    guest: &mut Guest,
    path: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Answer {
    let path = guest.read(path, size)?;
    let value = guest.read(value, value_size)?;
    let stream = guest.host().stream().ok_or(Status::NotFound)?;
    stream.state.insert(path, value);
    Ok(())
}
