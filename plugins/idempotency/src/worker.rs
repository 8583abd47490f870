//! One worker's exchanges: the registry, and the host services it needs.

use crate::metrics::Metrics;
use crate::records::Records;
use proxy_wasm::types::Action;
use sluice_core::gcra::{PS_PER_S, Ps};
use sluice_core::idempotency::key_syntax;
use sluice_core::idempotency::origin::Provenance;
use sluice_core::idempotency::problem::{self, Answer, Problem};
use sluice_core::idempotency::registry::{Opening, Registry, ResponseHead, Settled, Step};
use sluice_core::idempotency::stored::Field;
use sluice_core::policy::idempotency::Idempotency;
use sluice_core::selector::Request;
use sluice_host::gathering::Gathering;
use sluice_host::message::CurrentRequest;
use sluice_host::stream::Others;
use sluice_host::wakeup::Wakeup;
use sluice_host::{clock, configuration, message, random, stream};
use std::collections::HashMap;

/// Deadlines are kept to a quarter of the time that the store has, within these bounds.
const TICK_MIN: Ps = PS_PER_S / 200;
const TICK_MAX: Ps = PS_PER_S / 10;

/// What the gateway's log says of an answer of this filter.
const DETAILS: &str = "sluice_idempotency";

/// With these a client may ask Envoy to send its request again, below this filter.
const RETRIES: [&str; 4] = [
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-hedge-on-per-try-timeout",
];

/// What a new request comes to.
pub enum Begun {
    /// It is none of this filter's business.
    Free,
    Keyed {
        action: Action,
        /// Nothing of it may be changed.
        dry_run: bool,
    },
}

pub struct Worker {
    root: u32,
    policy: Idempotency,
    registry: Registry<Records>,
    gathering: Gathering,
    metrics: Metrics,
    /// Streams that were answered here: the answer passes them as a response. Whether it has a content type.
    answered: HashMap<u32, bool>,
}

impl Worker {
    /// Loads the policy for root context `root`.
    pub fn load(root: u32, configuration: &[u8]) -> Result<Self, String> {
        let policy = Idempotency::load(configuration).map_err(|problem| problem.to_string())?;
        let settings = policy.settings(configuration::environment)?;
        clock::tick_every((settings.timeout / 4).clamp(TICK_MIN, TICK_MAX));
        let store = Records::new(&policy, &settings).ok_or("the settings are of another policy")?;
        let routes = settings.routes.iter().map(|route| route.name.as_str());
        let metrics = Metrics::define(routes, store.name());
        log::info!("idempotency: {} routes loaded", settings.routes.len());
        Ok(Self {
            root,
            gathering: Gathering::new(Wakeup::register()?),
            metrics,
            registry: Registry::new(settings, store),
            policy,
            answered: HashMap::new(),
        })
    }

    /// A request has come.
    pub fn begin(&mut self, id: u32, end: bool, now: Ps) -> Begun {
        let request = CurrentRequest::default();
        let found = self.policy.route(&request);
        let touched = !found.is_some_and(|(_, route)| route.settings.dry_run);
        // Who may forge a fence overtakes the requests that have one.
        if touched && request.first(&self.policy.fence_header).is_some() {
            message::remove_request_header(&self.policy.fence_header);
        }
        let Some((index, route)) = found else {
            return Begun::Free;
        };
        let headers = request.headers();
        let key = match key_syntax::parse(headers.all(&route.key_header), route.settings.key_mode) {
            Ok(Some(key)) => key,
            Ok(None) if !route.settings.required => return Begun::Free,
            Ok(None) => return self.refuse(id, index, Problem::KeyMissing),
            Err(_) => return self.refuse(id, index, Problem::KeyInvalid),
        };
        let mut subject = Vec::with_capacity(48);
        let scope = route
            .scope
            .extract(&request, &self.policy.client_ip, &mut subject);
        if scope.is_err() {
            return self.refuse(id, index, Problem::ClientUnknown);
        }
        let Some(token) = random::token() else {
            return self.refuse(id, index, Problem::StoreUnavailable);
        };
        if touched {
            for name in RETRIES {
                if headers.first(name).is_some() {
                    message::remove_request_header(name);
                }
            }
        }
        let opening = Opening {
            route: index,
            subject: &subject,
            key: key.as_bytes(),
            token,
            method: headers.first(":method").unwrap_or_default(),
            target: headers.first(":path").unwrap_or_default(),
            end,
        };
        let step = self.registry.request(id, &opening, now);
        Begun::Keyed {
            action: self.request_step(id, step, now),
            dry_run: !touched,
        }
    }

    fn refuse(&mut self, id: u32, route: usize, problem: Problem) -> Begun {
        let Step::Now(Settled::Answer(answer)) = self.registry.key_refused(route, problem) else {
            return Begun::Free;
        };
        self.answer(id, &answer);
        Begun::Keyed {
            action: Action::Pause,
            dry_run: false,
        }
    }

    pub fn request_body(&mut self, id: u32, piece: &[u8], end: bool, now: Ps) -> Action {
        let step = self.registry.request_body(id, piece, end, now);
        self.request_step(id, step, now)
    }

    pub fn request_trailers(&mut self, id: u32, now: Ps) -> Action {
        let step = self.registry.request_trailers(id, now);
        self.request_step(id, step, now)
    }

    fn request_step(&mut self, id: u32, step: Step, now: Ps) -> Action {
        let action = match step {
            _ if self.answered.contains_key(&id) => Action::Pause,
            Step::Hold => Action::Pause,
            Step::Now(Settled::Answer(answer)) => {
                self.answer(id, &answer);
                Action::Pause
            }
            Step::Now(Settled::Proceed(fields)) if !set_request_fields(&fields) => {
                self.registry.not_sent(id, now);
                self.answer(id, &Answer::problem(Problem::NotSent));
                Action::Pause
            }
            Step::Pass | Step::Now(_) => Action::Continue,
        };
        self.gather();
        action
    }

    /// The head of a response has come, to be read from the running stream.
    pub fn response_head(&mut self, id: u32, dry_run: bool, end: bool, now: Ps) -> Action {
        if let Some(typed) = self.answered.get(&id) {
            // Envoy gives each body a type.
            if !typed {
                message::remove_response_header("content-type");
            }
            return Action::Continue;
        }
        let headers = message::response_headers();
        let details = message::bytes(&["response", "code_details"]);
        let head = ResponseHead {
            status: status(headers.first(":status")),
            headers: &headers,
            provenance: Provenance {
                flags: message::number(&["response", "flags"]).unwrap_or_default(),
                details: &details,
                attempts: message::number(&["upstream", "request_attempt_count"]),
            },
            end,
        };
        // Only this filter says what these say.
        for name in [problem::REPLAYED, problem::STATUS] {
            if !dry_run && headers.first(name).is_some() {
                message::remove_response_header(name);
            }
        }
        let step = self.registry.response_head(id, &head, now);
        self.response_step(id, step)
    }

    pub fn response_body(&mut self, id: u32, piece: &[u8], end: bool, now: Ps) -> Action {
        let step = self.registry.response_body(id, piece, end, now);
        self.response_step(id, step)
    }

    pub fn response_trailers(&mut self, id: u32, now: Ps) -> Action {
        let step = self.registry.response_trailers(id, now);
        self.response_step(id, step)
    }

    fn response_step(&mut self, id: u32, step: Step) -> Action {
        let action = match step {
            Step::Hold => Action::Pause,
            Step::Now(Settled::Answer(answer)) => {
                self.answer(id, &answer);
                Action::Pause
            }
            Step::Now(Settled::Abort) => {
                stream::reset_response();
                Action::Pause
            }
            Step::Now(Settled::Deliver(fields)) => {
                set_response_fields(&fields);
                Action::Continue
            }
            Step::Pass | Step::Now(Settled::Proceed(_)) => Action::Continue,
        };
        self.gather();
        action
    }

    /// Answers the stream whose context is in effect.
    fn answer(&mut self, id: u32, answer: &Answer) {
        let typed = answer
            .fields
            .iter()
            .any(|(name, _)| name == b"content-type");
        self.answered.insert(id, typed);
        message::answer_bytes(answer.status, DETAILS, &answer.fields, &answer.body);
    }

    /// The stream has ended.
    pub fn ended(&mut self, id: u32, now: Ps) {
        self.answered.remove(&id);
        self.registry.stream_ended(id, now);
        self.gather();
    }

    /// Has the gathered commands sent soon.
    fn gather(&mut self) {
        if let Some(gathered) = self.registry.store().ready() {
            self.gathering.call(gathered);
        }
    }

    /// A wake-up has come.
    pub fn woken(&mut self, queue: u32, now: Ps) {
        let gathered = self.registry.store().gathered();
        if self.gathering.woken(queue, gathered) {
            self.send(now);
        }
        self.release(now);
    }

    /// A callout has come to its end.
    pub fn replied(&mut self, token: u32, headers: usize, body: usize, now: Ps) {
        self.registry.store().replied(token, headers, body, now);
        self.answered(now);
    }

    /// A message of a stream to Redis has come.
    pub fn message(&mut self, token: u32, size: usize, now: Ps) {
        self.registry.store().message(token, size, now);
        self.answered(now);
    }

    /// A stream to Redis has ended.
    pub fn closed(&mut self, token: u32, status: u32, now: Ps) {
        self.registry.store().closed(token, status, now);
        self.answered(now);
    }

    /// Goes on with what has been answered.
    fn answered(&mut self, now: Ps) {
        self.registry.answered(now);
        self.go_on(now);
    }

    fn go_on(&mut self, now: Ps) {
        self.release(now);
        // Those that go on make room for others, which may be here in a moment.
        self.gather();
    }

    pub fn tick(&mut self, now: Ps) {
        self.gathering.ticked();
        self.registry.store().tick(now);
        self.registry.answered(now);
        self.registry.tick(now);
        self.send(now);
        self.go_on(now);
        self.publish();
    }

    /// Sends what can be sent.
    fn send(&mut self, now: Ps) {
        self.registry.store().send(&mut self.metrics, now);
        self.registry.answered(now);
    }

    /// Lets streams go on of which it is known how, once in a callback: some of them, and has itself woken for the others.
    fn release(&mut self, now: Ps) {
        let settled = self.registry.settled();
        if settled.is_empty() {
            return;
        }
        let others = Others::of(self.root);
        for (id, settled) in settled {
            match settled {
                Settled::Proceed(fields) => match others.act(id, || set_request_fields(&fields)) {
                    Some(true) if others.resume_request(id) => {}
                    Some(_) => {
                        self.registry.not_sent(id, now);
                        others.act(id, || self.answer(id, &Answer::problem(Problem::NotSent)));
                    }
                    None => self.registry.not_sent(id, now),
                },
                Settled::Answer(answer) => {
                    others.act(id, || self.answer(id, &answer));
                }
                Settled::Deliver(fields) => {
                    others.act(id, || set_response_fields(&fields));
                    others.resume_response(id);
                }
                Settled::Abort => {
                    others.reset_response(id);
                }
            }
        }
        drop(others);
        if self.registry.has_settled() {
            let gathered = self.registry.store().gathered();
            self.gathering.call(gathered);
        }
    }

    fn publish(&mut self) {
        let (open, breaker) = (
            self.registry.open(),
            self.registry.store().breaker_is_open(),
        );
        self.metrics
            .publish(&mut self.registry.counts, open, breaker);
    }

    /// The plugin is going: hands over the last counts.
    pub fn close(&mut self) {
        self.metrics.publish(&mut self.registry.counts, 0, false);
    }
}

fn set_request_fields(fields: &[Field]) -> bool {
    fields
        .iter()
        .all(|(name, value)| message::set_request_header(name, value))
}

/// Where the head of the response has gone on there is nothing to set them in.
fn set_response_fields(fields: &[Field]) {
    for (name, value) in fields {
        message::set_response_header(name, value);
    }
}

fn status(value: Option<&[u8]>) -> u16 {
    value
        .and_then(|value| std::str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or_default()
}
