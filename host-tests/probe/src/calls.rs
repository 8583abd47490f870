//! One host call: made, and told as a line of the log.

use crate::abi;
use crate::program::{Context, Op, Pairs, Show};
use crate::show::{bytes, given, status};
use crate::state::with;

/// No queue, call or metric has this token.
const UNKNOWN: u32 = 4_000_000;

/// Makes the call in the callback of context `own`.
pub fn call(own: u32, op: &Op) -> String {
    match op {
        Op::GetShared(key) => {
            let (answer, cas) = abi::get_shared(key);
            let cas = with(|state| {
                state.cas.insert(key.clone(), cas);
                state.show_cas(cas)
            });
            format!("get_shared {key} -> {} cas={cas}", given(&answer))
        }
        Op::SetShared { key, value, cas } => {
            let number = cas.as_ref().map_or(0, |cas| {
                with(|state| state.cas.get(&cas.of).copied().unwrap_or_default()) + cas.plus
            });
            let value = value.bytes();
            let told = with(|state| match number {
                0 => String::new(),
                _ if state.first_cas.is_none() => " cas=some".to_owned(),
                _ => format!(" cas={}", state.show_cas(number)),
            });
            let answer = abi::set_shared(key, &value, number);
            format!(
                "set_shared {key} {}{told} -> {}",
                bytes(&value),
                status(answer)
            )
        }
        Op::RegisterQueue(name) => {
            let (answer, token) = abi::register_queue(name);
            let before = with(|state| state.queues.insert(name.clone(), token));
            let again = if before == Some(token) {
                " as before"
            } else {
                ""
            };
            format!("register_queue {name} -> {}{again}", status(answer))
        }
        Op::ResolveQueue { vm_id, name } => {
            let (answer, token) = abi::resolve_queue(vm_id, name);
            if answer == 0 {
                with(|state| state.queues.insert(name.clone(), token));
            }
            format!("resolve_queue {vm_id:?} {name} -> {}", status(answer))
        }
        Op::Enqueue { queue, value } => {
            let token = with(|state| state.queues.get(queue).copied().unwrap_or(UNKNOWN));
            let answer = abi::enqueue(token, &value.bytes());
            format!(
                "enqueue {queue} {} -> {}",
                bytes(&value.bytes()),
                status(answer)
            )
        }
        Op::Dequeue(queue) => {
            let token = with(|state| state.queues.get(queue).copied().unwrap_or(UNKNOWN));
            format!("dequeue {queue} -> {}", given(&abi::dequeue(token)))
        }
        Op::GetHeader { map, name } => {
            let answer = abi::get_header(*map as u32, name);
            format!("get_header {map:?} {name} -> {}", given(&answer))
        }
        Op::GetHeaders { map, prefix } => {
            let told = match abi::get_headers(*map as u32) {
                (0, Some(pairs)) => format!("ok {}", show_pairs(&pairs, prefix)),
                answer => given(&answer),
            };
            format!("get_headers {map:?} -> {told}")
        }
        Op::CountHeaders(map) => {
            let (answer, size) = abi::headers_size(*map as u32);
            format!("headers_size {map:?} -> {} {size}", status(answer))
        }
        Op::AddHeader { map, name, value } => {
            let value = value.bytes();
            let answer = abi::add_header(*map as u32, name, &value);
            format!(
                "add_header {map:?} {name} {} -> {}",
                bytes(&value),
                status(answer)
            )
        }
        Op::ReplaceHeader { map, name, value } => {
            let value = value.bytes();
            let answer = abi::replace_header(*map as u32, name, &value);
            format!(
                "replace_header {map:?} {name} {} -> {}",
                bytes(&value),
                status(answer)
            )
        }
        Op::RemoveHeader { map, name } => {
            let answer = abi::remove_header(*map as u32, name);
            format!("remove_header {map:?} {name} -> {}", status(answer))
        }
        Op::SetHeaders { map, pairs } => {
            let answer = abi::set_headers(*map as u32, &serialized(pairs));
            format!("set_headers {map:?} {} -> {}", pairs.len(), status(answer))
        }
        Op::GetBuffer { buffer, start, max } => {
            let answer = abi::get_buffer(*buffer as u32, *start, *max);
            format!("get_buffer {buffer:?} -> {}", given(&answer))
        }
        Op::SetBuffer {
            buffer,
            start,
            size,
            value,
        } => {
            let value = value.bytes();
            let answer = abi::set_buffer(*buffer as u32, *start, *size, &value);
            format!(
                "set_buffer {buffer:?} {} -> {}",
                bytes(&value),
                status(answer)
            )
        }
        Op::GetProperty { path, show } => {
            let answer = abi::get_property(path.join("\0").as_bytes());
            let told = match (show, &answer) {
                (Show::Number, (0, Some(value))) => match <[u8; 8]>::try_from(value.as_slice()) {
                    Ok(number) => format!("ok {}", i64::from_le_bytes(number)),
                    Err(_) => format!("ok {} bytes, no number", value.len()),
                },
                (Show::Size, (0, Some(value))) => format!("ok {} bytes", value.len()),
                _ => given(&answer),
            };
            format!("get_property {} -> {told}", path.join("."))
        }
        Op::SetProperty { path, value } => {
            let answer = abi::set_property(path.join("\0").as_bytes(), &value.bytes());
            format!("set_property {} -> {}", path.join("."), status(answer))
        }
        Op::Answer {
            status: code,
            details,
            headers,
            body,
            grpc_status,
        } => {
            let grpc = grpc_status.unwrap_or(-1);
            let answer = abi::answer(*code, details, &serialized(headers), &body.bytes(), grpc);
            format!("answer {code} -> {}", status(answer))
        }
        Op::AnswerAll(code) => {
            let streams = with(|state| state.streams.clone());
            let answer = |stream: &&u32| {
                abi::set_context(**stream) == 0 && abi::answer(*code, "", &[], b"", -1) == 0
            };
            let count = streams.iter().filter(answer).count();
            format!("answer_all {code} -> {count}")
        }
        Op::Continue(direction) => {
            let answer = abi::continue_stream(*direction as u32);
            format!("continue {direction:?} -> {}", status(answer))
        }
        Op::Close(direction) => {
            let answer = abi::close_stream(*direction as u32);
            format!("close {direction:?} -> {}", status(answer))
        }
        Op::Context(context) => {
            let id = match context {
                Context::Own => own,
                Context::Root => with(|state| state.root),
                Context::Id(id) => *id,
                Context::Stream(number) => with(|state| {
                    let place = (*number as usize).saturating_sub(1);
                    state.streams.get(place).copied().unwrap_or(UNKNOWN)
                }),
            };
            format!("context {context:?} -> {}", status(abi::set_context(id)))
        }
        Op::SetTick(period) => format!("set_tick {period} -> {}", status(abi::set_tick(*period))),
        Op::Time => {
            let (first, second) = (abi::time(), abi::time());
            let order = if second.1 >= first.1 {
                "in order"
            } else {
                "backwards"
            };
            format!("time -> {} {order}", status(first.0))
        }
        Op::Done => format!("done -> {}", status(abi::done())),
        Op::Trap => {
            abi::log("probe| trap");
            std::process::abort()
        }
        upstream => call_upstream(upstream),
    }
}

/// Calls to other services, and metrics.
fn call_upstream(op: &Op) -> String {
    let token = |name: &str| with(|state| state.calls.get(name).copied().unwrap_or(UNKNOWN));
    let metric = |name: &str| with(|state| state.metrics.get(name).copied().unwrap_or(UNKNOWN));
    match op {
        Op::HttpCall {
            name,
            cluster,
            headers,
            body,
            trailers,
            timeout_ms,
        } => {
            let (headers, trailers) = (serialized(headers), serialized(trailers));
            let (answer, token) =
                abi::http_call(cluster, &headers, &body.bytes(), &trailers, *timeout_ms);
            if answer == 0 {
                with(|state| state.calls.insert(name.clone(), token));
            }
            format!("http_call {name} to {cluster} -> {}", status(answer))
        }
        Op::GrpcStream {
            name,
            cluster,
            service,
            method,
        } => {
            let (answer, token) = abi::grpc_stream(cluster, service, method, &[]);
            if answer == 0 {
                with(|state| state.calls.insert(name.clone(), token));
            }
            format!("grpc_stream {name} to {cluster} -> {}", status(answer))
        }
        Op::GrpcSend { to, message, end } => {
            let answer = abi::grpc_send(token(to), &message.bytes(), *end);
            format!(
                "grpc_send {to} {} -> {}",
                bytes(&message.bytes()),
                status(answer)
            )
        }
        Op::GrpcCancel(name) => {
            format!(
                "grpc_cancel {name} -> {}",
                status(abi::grpc_cancel(token(name)))
            )
        }
        Op::GrpcClose(name) => {
            format!(
                "grpc_close {name} -> {}",
                status(abi::grpc_close(token(name)))
            )
        }
        Op::GetStatus => {
            let (message, code) = abi::get_status();
            format!("get_status -> {code} {}", given(&message))
        }
        Op::DefineMetric { kind, name } => {
            let (answer, id) = abi::define_metric(*kind as u32, name);
            let before = with(|state| state.metrics.insert(name.clone(), id));
            let again = match before {
                Some(before) if before == id => " as before",
                Some(_) => " another",
                None => "",
            };
            format!("define_metric {kind:?} {name} -> {}{again}", status(answer))
        }
        Op::IncrementMetric { name, by } => {
            let answer = abi::increment_metric(metric(name), *by);
            format!("increment_metric {name} {by} -> {}", status(answer))
        }
        Op::RecordMetric { name, value } => {
            let answer = abi::record_metric(metric(name), *value);
            format!("record_metric {name} {value} -> {}", status(answer))
        }
        Op::GetMetric(name) => match abi::get_metric(metric(name)) {
            (0, value) => format!("get_metric {name} -> ok {value}"),
            (other, _) => format!("get_metric {name} -> {}", status(other)),
        },
        other => format!("no call of this kind: {other:?}"),
    }
}

/// The ABI's form of a header map: the count, the sizes, then names and values, each ended by a zero byte.
fn serialized(pairs: &Pairs) -> Vec<u8> {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = u32::try_from(pairs.len())
        .unwrap_or(u32::MAX)
        .to_le_bytes()
        .to_vec();
    for (name, value) in pairs {
        out.extend(size(name.as_bytes()));
        out.extend(size(&value.bytes()));
    }
    for (name, value) in pairs {
        out.extend(name.as_bytes());
        out.push(0);
        out.extend(value.bytes());
        out.push(0);
    }
    out
}

/// The pairs of a serialized map whose names start with `prefix`.
fn show_pairs(map: &[u8], prefix: &str) -> String {
    let number = |at: usize| -> Option<usize> {
        let bytes = map.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let mut at = 4 + 8 * number(0).unwrap_or_default();
    let mut shown = Vec::new();
    for place in 0..number(0).unwrap_or_default() {
        let (Some(name), Some(value)) = (number(4 + 8 * place), number(8 + 8 * place)) else {
            break;
        };
        let text = map.get(at..at + name).unwrap_or_default();
        let content = map
            .get(at + name + 1..at + name + 1 + value)
            .unwrap_or_default();
        if text.starts_with(prefix.as_bytes()) {
            shown.push(format!(
                "{}: {}",
                String::from_utf8_lossy(text),
                bytes(content)
            ));
        }
        at += name + value + 2;
    }
    format!("[{}]", shown.join(", "))
}
