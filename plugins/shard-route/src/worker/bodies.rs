//! Requests whose key is in their body: they are held until it is there.

use super::plan::Asked;
use super::{Kept, Worker};
use crate::edits;
use proxy_wasm::types::Action;
use sluice_core::gcra::Ps;
use sluice_core::policy::shard_route::Found;
use sluice_core::shard::Problem;
use sluice_host::message;
use sluice_host::stream::Others;

impl Worker {
    /// A piece of a body has come; `size` bytes of it are there.
    pub fn body(&mut self, id: u32, size: usize, ends: bool) -> Action {
        let Some(Kept::Body { route, seen, .. }) = self.kept.get_mut(&id) else {
            return self.held(id);
        };
        let route = *route;
        let target = self.policy.routes.get(route);
        let rule = target.and_then(|route| route.target.as_ref()?.body.as_ref());
        if rule.is_some_and(|rule| size > rule.max) {
            return self.refuse(id, route, Problem::BodyTooLarge);
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
        let asked = Asked { route, head, found };
        match self.settle(id, asked, &headers) {
            Ok(_) => self.held(id),
            Err(refusal) => {
                edits::answer(refusal);
                self.kept.insert(id, Kept::Refused);
                Action::Pause
            }
        }
    }

    /// Refuses those whose body did not come in time, at most `most`. How many they were.
    pub(super) fn late_bodies(&mut self, now: Ps, most: usize) -> usize {
        if !self.policy.reads_bodies() {
            return 0;
        }
        let late = self.kept.iter().filter_map(|(id, kept)| match kept {
            Kept::Body { route, until, .. } if *until <= now => Some((*id, *route)),
            _ => None,
        });
        let late: Vec<(u32, usize)> = late.take(most).collect();
        let count = late.len();
        if count == 0 {
            return 0;
        }
        let others = Others::of(self.root);
        for (id, route) in late {
            others.act(id, || self.refuse(id, route, Problem::BodyLate));
        }
        count
    }
}
