//! What VMs share: data, queues, metrics.

use super::{Answer, Guest, slice};
use crate::host::Metrics;
use crate::services::{MetricKind, NoSuchQueue, Receiver};
use crate::status::Status;

pub(super) fn get(
    guest: &mut Guest,
    key: u32,
    size: u32,
    to: u32,
    to_size: u32,
    cas: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let found = host.services.shared.get(slice(memory, key, size)?);
    let (value, version) = found.ok_or(Status::NotFound)?;
    guest.give(&value, to, to_size)?;
    guest.write_u32(cas, version)
}

pub(super) fn set(
    guest: &mut Guest,
    key: u32,
    size: u32,
    value: u32,
    value_size: u32,
    cas: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let key = slice(memory, key, size)?;
    let value = slice(memory, value, value_size)?;
    let written = host.services.shared.set(key, value, cas);
    Ok(written.map_err(|_| Status::CasMismatch)?)
}

pub(super) fn register_queue(guest: &mut Guest, name: u32, size: u32, to: u32) -> Answer {
    let (memory, host) = guest.split()?;
    let name = slice(memory, name, size)?;
    let receiver = Receiver {
        vm: host.options.number,
        root: host.root_number(),
    };
    let queues = &host.services.queues;
    let token = queues.register(&host.options.vm_id, name, receiver);
    guest.write_u32(to, token)
}

pub(super) fn resolve_queue(
    guest: &mut Guest,
    vm: u32,
    vm_size: u32,
    name: u32,
    size: u32,
    to: u32,
) -> Answer {
    let (memory, host) = guest.split()?;
    let vm = String::from_utf8_lossy(slice(memory, vm, vm_size)?);
    let name = slice(memory, name, size)?;
    let vm = if vm.is_empty() {
        &host.options.vm_id
    } else {
        &*vm
    };
    let token = host.services.queues.resolve(vm, name);
    let token = token.ok_or(Status::NotFound)?;
    guest.write_u32(to, token)
}

impl From<NoSuchQueue> for super::Stop {
    fn from(_: NoSuchQueue) -> Self {
        Status::NotFound.into()
    }
}

pub(super) fn enqueue(guest: &mut Guest, token: u32, value: u32, size: u32) -> Answer {
    let (memory, host) = guest.split()?;
    let value = slice(memory, value, size)?;
    Ok(host.services.queues.enqueue(token, value)?)
}

pub(super) fn dequeue(guest: &mut Guest, token: u32, to: u32, to_size: u32) -> Answer {
    let entry = guest.host().services.queues.dequeue(token)?;
    guest.give(&entry.ok_or(Status::Empty)?, to, to_size)
}

pub(super) fn define_metric(guest: &mut Guest, kind: u32, name: u32, size: u32, to: u32) -> Answer {
    let name = guest.read_text(name, size)?;
    let kind = match kind {
        0 => MetricKind::Counter,
        1 => MetricKind::Gauge,
        2 => MetricKind::Histogram,
        _ => return Err(Status::BadArgument.into()),
    };
    let host = guest.host();
    let gateways = host.services.metrics.define(kind, &name);
    let id = host.metrics.define(kind, gateways);
    guest.write_u32(to, id)
}

/// A counter only grows; a gauge goes both ways; a histogram has nothing to increment.
pub(super) fn increment_metric(guest: &mut Guest, id: u32, by: i64) -> Answer {
    let host = guest.host();
    let kind = Metrics::kind(id).filter(|kind| *kind != MetricKind::Histogram);
    let kind = kind.ok_or(Status::BadArgument)?;
    let gateways = host.metrics.find(id).ok_or(Status::NotFound)?;
    if kind == MetricKind::Counter && by <= 0 {
        return Err(Status::BadArgument.into());
    }
    host.services.metrics.increment(gateways, by);
    Ok(())
}

pub(super) fn record_metric(guest: &mut Guest, id: u32, value: u64) -> Answer {
    let host = guest.host();
    let gateways = host.metrics.find(id).ok_or(Status::NotFound)?;
    host.services.metrics.record(gateways, value);
    Ok(())
}

pub(super) fn get_metric(guest: &mut Guest, id: u32, to: u32) -> Answer {
    let host = guest.host();
    let kind = Metrics::kind(id).filter(|kind| *kind != MetricKind::Histogram);
    kind.ok_or(Status::BadArgument)?;
    let gateways = host.metrics.find(id).ok_or(Status::NotFound)?;
    let value = host.services.metrics.get(gateways);
    guest.write_u64(to, value)
}
