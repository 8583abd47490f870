//! Where a request goes, and sending it there.

use super::{Kept, Sent, Waiting, Worker};
use crate::caps::Turn;
use crate::edits;
use crate::writes::Write;
use sluice_core::gcra::Ps;
use sluice_core::headers::Headers;
use sluice_core::policy::shard_route::Found;
use sluice_core::shard::Problem;
use sluice_core::shard::decide::{self, Decision, Head, Refusal};
use sluice_host::{clock, message, random};

/// What a request says of where it is to go.
pub(super) struct Asked {
    pub route: usize,
    pub head: Head,
    pub found: Found,
}

/// Where it goes by the tables in force.
pub(super) struct Plan {
    pub seat: usize,
    decision: Decision,
    write: Option<Write>,
}

impl Worker {
    /// Decides about the running stream, and sets its headers unless it has to wait. True when something of it is kept.
    pub(super) fn settle(
        &mut self,
        id: u32,
        asked: Asked,
        headers: &Headers,
    ) -> Result<bool, Refusal> {
        self.metrics.found(asked.route, &asked.found);
        let plan = self.plan(&asked, headers)?;
        let seat = plan.seat;
        match self.caps.enter(seat, id, clock::now) {
            Turn::Free => self.send(id, &asked, plan, None),
            Turn::In(since) => self
                .send(id, &asked, plan, Some(since))
                .inspect_err(|_| self.caps.leave(seat, since)),
            Turn::Waits => {
                let waiting = Waiting {
                    asked,
                    headers: headers.clone(),
                    seat,
                    plan: Ok(plan),
                };
                self.kept.insert(id, Kept::Waiting(Box::new(waiting)));
                Ok(true)
            }
            Turn::Busy(retry_after) => {
                let problem = Problem::Busy;
                self.metrics.refused(asked.route, problem, Some(seat));
                Err(Refusal {
                    problem,
                    retry_after,
                })
            }
        }
    }

    /// Where it goes by the tables in force.
    pub(super) fn plan(&mut self, asked: &Asked, headers: &Headers) -> Result<Plan, Refusal> {
        let Self {
            policy,
            seats,
            writes,
            metrics,
            ..
        } = self;
        let Asked { route, head, found } = asked;
        let Some((target, rules)) = policy.routes.get(*route).and_then(|route| {
            let target = route.target.as_ref()?;
            Some((target, policy.tables.get(target.table)?))
        }) else {
            let problem = Problem::ShardUnknown;
            metrics.refused(*route, problem, None);
            return Err(Refusal::soon(problem));
        };
        let directory = &rules.directory;
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
                Found::Key(key) => seats.of(target.table, directory.locate(key).shard),
                _ => None,
            };
            metrics.refused(*route, refusal.problem, place);
        })?;
        let seat = seats
            .seat(target.table, decision.place.shard)
            .inspect_err(|refusal| metrics.refused(*route, refusal.problem, None))?;
        let write = match found {
            Found::Key(key) if !head.read && !rules.remember.is_empty() => Some(Write {
                rules: rules.remember.clone(),
                table: directory.name.clone(),
                key: key.clone(),
            }),
            _ => None,
        };
        Ok(Plan {
            seat,
            decision,
            write,
        })
    }

    /// Sets what the plan says in the stream whose context is in effect; it is counted at the shard since `counted`. True
    /// when something of it is kept.
    pub(super) fn send(
        &mut self,
        id: u32,
        asked: &Asked,
        plan: Plan,
        counted: Option<Ps>,
    ) -> Result<bool, Refusal> {
        let target = self.policy.routes.get(asked.route);
        let target = target.and_then(|route| route.target.as_ref());
        let rules = target.and_then(|target| self.policy.tables.get(target.table));
        let set = rules.is_some_and(|rules| {
            edits::set_all(&self.policy, &rules.directory, &plan.decision, &asked.head)
        });
        if !set {
            let problem = Problem::NotRouted;
            self.metrics.refused(asked.route, problem, None);
            return Err(Refusal::soon(problem));
        }
        let sent = Sent {
            seat: plan.seat,
            counted,
            write: plan.write,
        };
        self.metrics.routed(plan.seat, plan.decision.role);
        self.routed();
        let keeps = sent.counted.is_some() || sent.write.is_some();
        if keeps {
            self.kept.insert(id, Kept::Sent(sent));
        }
        Ok(keeps)
    }

    /// The headers of the running stream are as they are to be.
    pub(super) fn routed(&self) {
        if self.policy.clear_route_cache {
            message::clear_route_cache();
        }
    }

    /// Decides again about those who wait, by the tables that are in force now.
    pub(super) fn plan_anew(&mut self) {
        if !self.caps.is_waited_for() {
            return;
        }
        let mut queue = self.caps.take_queue();
        queue.arrange(|_, id| {
            let Some(Kept::Waiting(mut waiting)) = self.kept.remove(&id) else {
                return None;
            };
            if waiting.plan.is_ok() {
                waiting.plan = self.plan(&waiting.asked, &waiting.headers);
            }
            let seat = waiting.plan.as_ref().ok().map(|plan| plan.seat);
            waiting.seat = seat.unwrap_or(waiting.seat);
            self.kept.insert(id, Kept::Waiting(waiting));
            seat
        });
        self.caps.put_back(queue);
        self.wake();
    }
}
