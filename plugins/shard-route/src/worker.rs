//! One worker's routing: the policy, what is under way, and the host services it needs.

use crate::caps::{Caps, Turn};
use crate::edits;
use crate::metrics::Metrics;
use crate::writes::{Write, Writes};
use proxy_wasm::types::Action;
use sluice_core::gcra::{PS_PER_S, Ps};
use sluice_core::headers::Headers;
use sluice_core::policy::shard_route::{Found, ShardRoute};
use sluice_core::selector::Request;
use sluice_core::shard::Problem;
use sluice_core::shard::decide::{self, Head, Refusal, Role};
use sluice_host::message::{self, CurrentRequest};
use sluice_host::stream::Others;
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
    Waiting {
        sent: Sent,
        route: usize,
    },
    Sent(Sent),
    /// It has been answered here.
    Refused,
}

/// What is to be done when it is answered, or ends.
struct Sent {
    table: usize,
    shard: u16,
    /// It is counted there.
    number: Option<usize>,
    since: Ps,
    role: Option<Role>,
    write: Option<Write>,
}

pub struct Worker {
    root: u32,
    policy: ShardRoute,
    caps: Caps,
    writes: Writes,
    metrics: Metrics,
    wakeup: Wakeup,
    /// A wake-up is under way.
    waking: bool,
    kept: HashMap<u32, Kept>,
    next_round: Ps,
}

impl Worker {
    /// Loads the policy for root context `root`.
    pub fn load(root: u32, configuration: &[u8]) -> Result<Self, String> {
        let mut policy = ShardRoute::load(configuration).map_err(|problem| problem.to_string())?;
        policy.bind(configuration::environment)?;
        let waits = policy.queues() || policy.reads_bodies();
        clock::tick_every(if waits { TICK } else { ROUND });
        let caps = Caps::new(&policy, random::number());
        for table in &policy.tables {
            let shards = table.directory.hosts.len();
            log::info!(
                "shard-route: table {} has {shards} shards",
                table.directory.name
            );
        }
        Ok(Self {
            root,
            writes: Writes::new(),
            metrics: Metrics::define(&policy, &caps),
            caps,
            policy,
            wakeup: Wakeup::register()?,
            waking: false,
            kept: HashMap::new(),
            next_round: 0,
        })
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
        match self.settle(id, index, &head, &found, request.headers()) {
            Ok(true) => Begun::Kept(self.held(id)),
            Ok(false) => Begun::Done,
            Err(refusal) => {
                edits::answer(refusal);
                Begun::Refused
            }
        }
    }

    /// A piece of a body has come; `size` bytes of it are there.
    pub fn body(&mut self, id: u32, size: usize, ends: bool) -> Action {
        let Some(Kept::Body { route, seen, .. }) = self.kept.get_mut(&id) else {
            return self.held(id);
        };
        let route = *route;
        let target = self.policy.routes.get(route);
        let rule = target.and_then(|route| route.target.as_ref()?.body.as_ref());
        if rule.is_some_and(|rule| size > rule.max) {
            return self.refuse(id, route, Problem::BodyTooLarge, None);
        }
        seen.extend(message::request_body(seen.len(), size));
        if ends {
            self.body_ended(id)
        } else {
            Action::Pause
        }
    }

    /// A body is all there.
    pub fn body_ended(&mut self, id: u32) -> Action {
        let Some(Kept::Body { .. }) = self.kept.get(&id) else {
            return self.held(id);
        };
        let Some(Kept::Body {
            route,
            head,
            headers,
            seen,
            ..
        }) = self.kept.remove(&id)
        else {
            return Action::Continue;
        };
        let target = self.policy.routes.get(route);
        let target = target.and_then(|route| route.target.as_ref());
        let found = target.map_or(Found::Missing, |target| target.find_in(&seen));
        match self.settle(id, route, &head, &found, &headers) {
            Ok(_) => self.held(id),
            Err(refusal) => {
                edits::answer(refusal);
                self.kept.insert(id, Kept::Refused);
                Action::Pause
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

    /// Decides about the running stream, and sets its headers. True when something of it is kept.
    fn settle(
        &mut self,
        id: u32,
        index: usize,
        head: &Head,
        found: &Found,
        headers: &Headers,
    ) -> Result<bool, Refusal> {
        let Self {
            policy,
            caps,
            writes,
            metrics,
            kept,
            ..
        } = self;
        let Some((target, rules)) = policy.routes.get(index).and_then(|route| {
            let target = route.target.as_ref()?;
            Some((target, policy.tables.get(target.table)?))
        }) else {
            return Ok(false);
        };
        let directory = &rules.directory;
        metrics.found(index, found);
        let decided = decide::decide(
            target,
            directory,
            head,
            found,
            |rule, key| writes.holds(rule, headers, &directory.name, key, clock::now()),
            random::number,
        );
        let decision = decided.inspect_err(|refusal| {
            let place = match found {
                Found::Key(key) => Some((target.table, directory.locate(key).shard)),
                _ => None,
            };
            metrics.refused(index, refusal.problem, place);
        })?;
        let shard = decision.place.shard;
        let write = match (found, decide::sticks(target, head)) {
            (Found::Key(key), Some(rule)) => Some(Write {
                rule: rule.clone(),
                table: directory.name.clone(),
                key: key.clone(),
            }),
            _ => None,
        };
        let number = caps.number(target.table, shard);
        let since = number.map_or(0, |_| clock::now());
        let turn = caps.enter(number, id, since);
        let mut sent = Sent {
            table: target.table,
            shard,
            number: None,
            since,
            role: decision.role,
            write,
        };
        if let Turn::Busy(retry_after) = turn {
            let problem = Problem::Busy;
            metrics.refused(index, problem, Some((target.table, shard)));
            return Err(Refusal {
                problem,
                retry_after,
            });
        }
        if !edits::set_all(policy, directory, &decision, head) {
            match turn {
                Turn::In(number) => caps.leave(number, since),
                Turn::Waits(number) => caps.forget(number, id),
                Turn::Free | Turn::Busy(_) => {}
            }
            let problem = Problem::NotRouted;
            metrics.refused(index, problem, None);
            return Err(Refusal {
                problem,
                retry_after: 1,
            });
        }
        if !matches!(turn, Turn::Waits(_)) {
            metrics.routed(target.table, shard, decision.role);
        }
        let keeps = match turn {
            Turn::Waits(number) => {
                sent.number = Some(number);
                kept.insert(id, Kept::Waiting { sent, route: index });
                true
            }
            Turn::In(number) => {
                sent.number = Some(number);
                kept.insert(id, Kept::Sent(sent));
                true
            }
            Turn::Free if sent.write.is_some() => {
                kept.insert(id, Kept::Sent(sent));
                true
            }
            Turn::Free | Turn::Busy(_) => false,
        };
        self.routed();
        Ok(keeps)
    }

    /// The headers of the running stream are as they are to be.
    fn routed(&self) {
        if self.policy.clear_route_cache {
            message::clear_route_cache();
        }
    }

    /// Refuses the stream whose context is in effect, of which something was kept.
    fn refuse(
        &mut self,
        id: u32,
        route: usize,
        problem: Problem,
        shard: Option<(usize, u16)>,
    ) -> Action {
        self.metrics.refused(route, problem, shard);
        self.kept.insert(id, Kept::Refused);
        edits::answer(Refusal {
            problem,
            retry_after: 1,
        });
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
        if sent.number.is_none() && sent.write.is_none() {
            return;
        }
        let now = clock::now();
        if let Some(number) = sent.number {
            caps.answered(number, now.saturating_sub(sent.since));
        }
        if let Some(write) = sent.write.take() {
            let may_have = edits::status().is_none_or(decide::may_have_written);
            if may_have && !writes.happened(&write, now, true) {
                metrics.unremembered();
            }
        }
    }

    /// The stream has ended.
    pub fn ended(&mut self, id: u32, now: Ps) {
        match self.kept.remove(&id) {
            Some(Kept::Sent(sent)) => {
                if let Some(number) = sent.number {
                    self.caps.leave(number, now);
                    self.wake();
                }
                // Not answered, as far as is known here: it may have been carried out.
                if let Some(write) = sent.write
                    && !self.writes.happened(&write, now, false)
                {
                    self.metrics.unremembered();
                }
            }
            Some(Kept::Waiting { sent, .. }) => {
                if let Some(number) = sent.number {
                    self.caps.forget(number, id);
                }
            }
            Some(Kept::Body { .. } | Kept::Refused) | None => {}
        }
    }

    /// Has those looked at that wait, when the running events are done: from here no other stream may go on.
    fn wake(&mut self) {
        if self.caps.is_waited_for() && !self.waking {
            self.waking = self.wakeup.call();
        }
    }

    /// A wake-up has come.
    pub fn woken(&mut self, queue: u32, now: Ps) {
        if self.wakeup.taken(queue) {
            self.waking = false;
            self.turns(now);
        }
    }

    /// Lets those go on whose turn it is, and refuses those who waited too long.
    fn turns(&mut self, now: Ps) {
        let turns = self.caps.turns(now);
        if turns.is_empty() {
            return;
        }
        let others = Others::of(self.root);
        for (id, turn) in turns {
            let Some(Kept::Waiting { mut sent, route }) = self.kept.remove(&id) else {
                continue;
            };
            if turn {
                sent.since = now;
                self.metrics.routed(sent.table, sent.shard, sent.role);
                let number = sent.number;
                self.kept.insert(id, Kept::Sent(sent));
                // One that is gone by now ends of its own: its deletion gives the place back.
                if !others.resume_request(id) && self.kept.remove(&id).is_some() {
                    number
                        .into_iter()
                        .for_each(|number| self.caps.leave(number, now));
                }
                continue;
            }
            let problem = Problem::Waited;
            self.metrics
                .refused(route, problem, Some((sent.table, sent.shard)));
            let retry_after = sent
                .number
                .map_or(1, |number| self.caps.retry_after(number));
            self.kept.insert(id, Kept::Refused);
            others.act(id, || {
                edits::answer(Refusal {
                    problem,
                    retry_after,
                });
            });
        }
    }

    pub fn tick(&mut self, now: Ps) {
        self.waking = false;
        self.turns(now);
        self.late_bodies(now);
        // A clock that was set back would keep the next round away.
        if now >= self.next_round || self.next_round > now + ROUND {
            self.next_round = now + ROUND;
            self.caps.tick(now);
            self.metrics.publish(&self.caps);
        }
    }

    fn late_bodies(&mut self, now: Ps) {
        if !self.policy.reads_bodies() {
            return;
        }
        let late = self.kept.iter().filter_map(|(id, kept)| match kept {
            Kept::Body { route, until, .. } if *until <= now => Some((*id, *route)),
            _ => None,
        });
        let late: Vec<(u32, usize)> = late.collect();
        if late.is_empty() {
            return;
        }
        let others = Others::of(self.root);
        for (id, route) in late {
            others.act(id, || self.refuse(id, route, Problem::BodyLate, None));
        }
    }

    /// The plugin is going.
    pub fn close(&mut self, now: Ps) {
        self.kept.clear();
        self.caps.close(now);
        self.metrics.publish(&self.caps);
    }
}
