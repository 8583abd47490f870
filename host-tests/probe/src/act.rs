//! What happens in a callback: the rule that applies is found, its calls are made, and all is logged.

use crate::abi;
use crate::calls;
use crate::program::{Buffer, Event, Map, Return, Rule};
use crate::state::{State, with};

/// What a callback came with, as far as the log and the guards need it.
#[derive(Default)]
pub struct Came {
    text: String,
    end: Option<bool>,
    of: Option<String>,
    configuration: u32,
}

impl Came {
    pub fn configuration(size: u32) -> Self {
        Self {
            configuration: size,
            ..Self::default()
        }
    }

    pub fn headers(end: bool) -> Self {
        Self {
            text: format!(" end={end}"),
            end: Some(end),
            ..Self::default()
        }
    }

    pub fn body(size: u32, end: bool) -> Self {
        Self {
            text: format!(" size={size} end={end}"),
            end: Some(end),
            ..Self::default()
        }
    }

    pub fn trailers(count: u32) -> Self {
        Self {
            text: format!(" count={count}"),
            ..Self::default()
        }
    }

    pub fn queue(token: u32) -> Self {
        Self::named(with(|state| State::token(&state.queues, token)), "")
    }

    pub fn reply(token: u32, headers: u32, body: u32, trailers: u32) -> Self {
        let name = with(|state| State::token(&state.calls, token));
        // How many headers come with a reply is the upstream's and the gateway's business; none is another matter.
        let headers = if headers == 0 { "none" } else { "some" };
        Self::named(
            name,
            &format!(" headers={headers} body={body} trailers={trailers}"),
        )
    }

    pub fn grpc(token: u32, text: &str) -> Self {
        Self::named(with(|state| State::token(&state.calls, token)), text)
    }

    fn named(name: String, text: &str) -> Self {
        Self {
            text: format!(" {name}{text}"),
            of: Some(name),
            ..Self::default()
        }
    }
}

/// What a rule said, as the callbacks return it.
pub struct Said(Return);

impl Said {
    pub fn action(&self) -> u32 {
        u32::from(self.0 == Return::Pause)
    }

    pub fn truth(&self) -> u32 {
        u32::from(self.0 != Return::False)
    }

    #[allow(clippy::unused_self)]
    pub fn nothing(&self) {}
}

pub fn created(id: u32, root: u32) {
    with(|state| {
        if root == 0 {
            state.root = id;
        } else {
            state.streams.push(id);
        }
    });
}

pub fn on(id: u32, event: Event, came: &Came) -> Said {
    let buffer = match event {
        Event::VmStart => Some(Buffer::VmConfiguration),
        Event::Configure => Some(Buffer::PluginConfiguration),
        _ => None,
    };
    if let Some(buffer) = buffer
        && !load(buffer, came.configuration)
    {
        return Said(Return::False);
    }
    if event == Event::RequestHeaders
        && let (0, Some(path)) = abi::get_header(Map::RequestHeaders as u32, ":path")
    {
        let path = String::from_utf8_lossy(&path).into_owned();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        with(|state| state.paths.insert(id, path));
    }
    let (rule, who) = with(|state| (applies(state, id, event, came), state.context(id)));
    let Some(rule) = rule else {
        return Said(Return::Continue);
    };
    let what = format!("{who} {}", name(event));
    let log = |text: String| {
        if !rule.quiet {
            abi::log(&format!("probe| {what}{text}"));
        }
    };
    log(came.text.clone());
    for op in &rule.ops {
        log(format!(": {}", calls::call(id, op)));
    }
    Said(rule.answer)
}

/// Reads the program; a mistake in it is logged.
fn load(buffer: Buffer, size: u32) -> bool {
    let (_, text) = abi::get_buffer(buffer as u32, 0, size);
    match serde_json::from_slice(&text.unwrap_or_default()) {
        Ok(program) => {
            with(|state| state.program = program);
            true
        }
        Err(error) => {
            abi::log(&format!("probe| the program has a mistake: {error}"));
            false
        }
    }
}

fn applies(state: &mut State, id: u32, event: Event, came: &Came) -> Option<Rule> {
    let count = state.counts.entry((id, event)).or_default();
    *count += 1;
    let path = state.paths.get(&id);
    let number = state.streams.iter().position(|stream| *stream == id);
    let rules = state.program.get(&event)?;
    let holds = |rule: &&Rule| {
        let guard = &rule.guard;
        guard
            .path
            .as_ref()
            .is_none_or(|wanted| path == Some(wanted))
            && guard
                .stream
                .is_none_or(|wanted| number.is_some_and(|number| number + 1 == wanted as usize))
            && guard.nth.is_none_or(|wanted| *count == wanted)
            && guard.end.is_none_or(|wanted| came.end == Some(wanted))
            && (guard.of.is_none() || guard.of == came.of)
    };
    rules.iter().find(holds).cloned()
}

/// As it is in the program.
fn name(event: Event) -> &'static str {
    match event {
        Event::VmStart => "vm_start",
        Event::Configure => "configure",
        Event::RequestHeaders => "request_headers",
        Event::RequestBody => "request_body",
        Event::RequestTrailers => "request_trailers",
        Event::ResponseHeaders => "response_headers",
        Event::ResponseBody => "response_body",
        Event::ResponseTrailers => "response_trailers",
        Event::Tick => "tick",
        Event::QueueReady => "queue_ready",
        Event::HttpCallResponse => "http_call_response",
        Event::GrpcInitialMetadata => "grpc_initial_metadata",
        Event::GrpcReceive => "grpc_receive",
        Event::GrpcTrailingMetadata => "grpc_trailing_metadata",
        Event::GrpcClose => "grpc_close",
        Event::Done => "done",
        Event::Log => "log",
        Event::Delete => "delete",
    }
}
