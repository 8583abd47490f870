//! One worker's routing: the policy, what is under way, and the host services it needs.

mod bodies;
mod plan;
mod tables;
mod turns;

use crate::caps::Caps;
use crate::edits;
use crate::metrics::Metrics;
use crate::newer::Newer;
use crate::writes::{Write, Writes};
use plan::{Asked, Plan};
use proxy_wasm::types::Action;
use sluice_core::gcra::{PS_PER_S, Ps};
use sluice_core::headers::Headers;
use sluice_core::policy::shard_route::{Found, ShardRoute};
use sluice_core::selector::Request;
use sluice_core::shard::Problem;
use sluice_core::shard::decide::{self, Head, Refusal};
use sluice_core::shard::seats::{MAX_SEATS, Seats};
use sluice_host::message::{self, CurrentRequest};
use sluice_host::wakeup::Wakeup;
use sluice_host::{clock, configuration, random};
use std::collections::HashMap;

/// Where requests wait, their deadlines are kept to this.
const TICK: Ps = PS_PER_S / 50;
/// Leases are renewed and counts handed over this often.
const ROUND: Ps = PS_PER_S / 2;

/// What a new request comes to.
pub enum Begun {
    /// It goes on, and nothing is kept of it.
    Done,
    /// It has been answered, and nothing is kept of it.
    Refused,
    /// The worker keeps something of it until it ends.
    Kept(Action),
}

/// A stream of which something is kept.
enum Kept {
    /// Its key is in its body, which is not all there.
    Body {
        route: usize,
        head: Head,
        headers: Headers,
        seen: Vec<u8>,
        until: Ps,
    },
    /// It waits for its turn at a shard.
    Waiting(Box<Waiting>),
    Sent(Sent),
    /// It has been answered here.
    Refused,
}

/// What is to be done when it is answered, or ends.
struct Sent {
    /// The shard's, whatever the tables are by then.
    seat: usize,
    /// It is counted there, since then.
    counted: Option<Ps>,
    write: Option<Write>,
}

/// What is known of a request whose turn has not come: enough to decide about it again, if the tables change before.
struct Waiting {
    asked: Asked,
    headers: Headers,
    /// Whose queue it is in.
    seat: usize,
    /// A refusal is told when those are looked at that wait.
    plan: Result<Plan, Refusal>,
}

pub struct Worker {
    root: u32,
    policy: ShardRoute,
    seats: Seats,
    /// None where tables stay as they are.
    newer: Option<Newer>,
    caps: Caps,
    writes: Writes,
    metrics: Metrics,
    wakeup: Wakeup,
    /// A wake-up is under way.
    waking: bool,
    /// More of those may be there whose time has come than were let go.
    kept_back: bool,
    kept: HashMap<u32, Kept>,
    next_round: Ps,
}

impl Worker {
    /// Loads the policy for root context `root`.
    pub fn load(root: u32, configuration: &[u8]) -> Result<Self, String> {
        let mut policy = ShardRoute::load(configuration).map_err(|problem| problem.to_string())?;
        policy.bind(configuration::environment)?;
        let newer = policy.refresh.as_ref();
        let newer = newer.map(|source| Newer::new(configuration, source));
        for table in &policy.tables {
            let shards = table.directory.hosts.len();
            log::info!(
                "shard-route: table {} has {shards} shards",
                table.directory.name
            );
        }
        let mut worker = Self {
            root,
            seats: Seats::default(),
            newer: newer.transpose()?,
            writes: Writes::new(),
            metrics: Metrics::define(&policy),
            caps: Caps::new(random::number()),
            policy: policy.clone(),
            wakeup: Wakeup::register()?,
            waking: false,
            kept_back: false,
            kept: HashMap::new(),
            next_round: 0,
        };
        if !worker.take(policy) {
            return Err(format!(
                "tables: expected at most {MAX_SEATS} shards in all"
            ));
        }
        worker.look_at_others();
        Ok(worker)
    }

    /// A request has come.
    pub fn begin(&mut self, id: u32, ends: bool) -> Begun {
        let request = CurrentRequest::default();
        // Who may write these chooses a shard. In one pass: it is made for every request.
        let names = self.policy.headers.names();
        let mut written = [false; 4];
        for (field, _) in request.headers().iter() {
            let own = names.iter().zip(&mut written);
            own.filter(|(name, _)| name.as_bytes() == field)
                .for_each(|(_, written)| *written = true);
        }
        for (name, _) in names.iter().zip(written).filter(|(_, written)| *written) {
            message::remove_request_header(name);
        }
        let Some((index, route)) = self.policy.route(&request) else {
            return Begun::Done;
        };
        let head = Head::of(route, &request);
        let Some(target) = &route.target else {
            let zone = head.zone.as_deref();
            edits::set(zone.map(|zone| (self.policy.headers.zone.as_str(), zone)));
            self.routed();
            return Begun::Done;
        };
        if let Some(newer) = &mut self.newer {
            newer.needed();
        }
        if self.is_waiting() {
            let problem = Problem::TablesUnknown;
            self.metrics.refused(index, problem, None);
            edits::answer(Refusal::soon(problem));
            return Begun::Refused;
        }
        let found = target.find(&request, &self.policy.client_ip, ends);
        if found == Found::InBody {
            let wait = target.body.as_ref().map_or(0, |body| body.wait);
            let body = Kept::Body {
                route: index,
                head,
                headers: request.into_headers(),
                seen: Vec::new(),
                until: clock::now() + wait,
            };
            self.kept.insert(id, body);
            return Begun::Kept(Action::Pause);
        }
        let asked = Asked {
            route: index,
            head,
            found,
        };
        match self.settle(id, asked, request.headers()) {
            Ok(true) => Begun::Kept(self.held(id)),
            Ok(false) => Begun::Done,
            Err(refusal) => {
                edits::answer(refusal);
                Begun::Refused
            }
        }
    }

    /// Whether what belongs to a request may go on.
    fn held(&self, id: u32) -> Action {
        match self.kept.get(&id) {
            None | Some(Kept::Sent(_)) => Action::Continue,
            Some(_) => Action::Pause,
        }
    }

    /// Refuses the stream whose context is in effect, of which something was kept.
    fn refuse(&mut self, id: u32, route: usize, problem: Problem) -> Action {
        self.metrics.refused(route, problem, None);
        self.kept.insert(id, Kept::Refused);
        edits::answer(Refusal::soon(problem));
        Action::Pause
    }

    /// The response of the running stream has begun.
    pub fn answered(&mut self, id: u32) {
        let Self {
            kept,
            caps,
            writes,
            metrics,
            ..
        } = self;
        let Some(Kept::Sent(sent)) = kept.get_mut(&id) else {
            return;
        };
        if sent.counted.is_none() && sent.write.is_none() {
            return;
        }
        let now = clock::now();
        if let Some(since) = sent.counted {
            caps.answered(sent.seat, now.saturating_sub(since));
        }
        // What may have been carried out is told again when the stream ends, for the window is as long as it is after that.
        sent.write = sent.write.take().filter(|write| {
            let may_have = edits::status().is_none_or(decide::may_have_written);
            let remembered = may_have && writes.happened(write, now, true);
            if may_have && !remembered {
                metrics.unremembered();
            }
            remembered
        });
    }

    /// The stream has ended.
    pub fn ended(&mut self, id: u32, now: Ps) {
        match self.kept.remove(&id) {
            Some(Kept::Sent(sent)) => {
                if sent.counted.is_some() {
                    self.caps.leave(sent.seat, now);
                    self.wake();
                }
                // It may have been carried out, if nothing else has been heard of it.
                if let Some(write) = sent.write
                    && !self.writes.happened(&write, now, false)
                {
                    self.metrics.unremembered();
                }
            }
            Some(Kept::Waiting(waiting)) => self.caps.forget(waiting.seat, id),
            Some(Kept::Body { .. } | Kept::Refused) | None => {}
        }
    }

    pub fn tick(&mut self, now: Ps) {
        self.waking = false;
        self.release(now, true);
        self.news(|newer| newer.tick(now));
        // A clock that was set back would keep the next round away.
        if now >= self.next_round || self.next_round > now + ROUND {
            self.next_round = now + ROUND;
            self.caps.tick(now);
            self.look_at_others();
            if let Some(newer) = &mut self.newer {
                self.metrics.newer(newer.version(), newer.take_counts());
            }
            self.metrics.publish(&self.caps);
        }
    }

    /// The plugin is going.
    pub fn close(&mut self, now: Ps) {
        self.kept.clear();
        self.caps.close(now);
        self.metrics.publish(&self.caps);
    }
}
