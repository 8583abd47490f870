//! The part of the limiter that asks Redis.

use super::check::Reason;
use super::draws::Draw;
use super::lease::{self, Lease};
use super::limiter::{Limiter, Tag};
use super::scripts::{self, Refund, Take, Taken};
use super::ticket::{Charged, Part, State, Ticket};
use crate::gcra::Ps;
use crate::redis::pipe::Batch;
use crate::redis::resp::Reply;
use crate::redis::trouble::Trouble;
use crate::slots::SharedData;

impl<S: SharedData + Clone> Limiter<S> {
    /// Sends the batches that are ready; `post` returns the token by which the reply will be known. The number of
    /// batches sent.
    pub fn send(
        &mut self,
        now: Ps,
        mut post: impl FnMut(&Batch<Tag>) -> Result<u32, Trouble>,
    ) -> usize {
        let mut sent = 0;
        let mut failed = Vec::new();
        loop {
            let batch = self
                .pipe
                .next_batch(now, |tag, trouble| failed.push((tag, trouble)));
            let Some(batch) = batch else { break };
            match post(&batch) {
                Ok(token) => {
                    self.counts.batch_sizes.push(batch.len());
                    self.pipe.sent(token, batch);
                    sent += 1;
                }
                Err(_) => self
                    .pipe
                    .not_sent(batch, now, |tag, trouble| failed.push((tag, trouble))),
            }
        }
        for (tag, trouble) in failed {
            self.failed(tag, trouble, now);
        }
        sent
    }

    /// Whether [`Limiter::send`] has something to send.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.pipe.is_ready()
    }

    /// AUTH and SELECT, for a connection that stays: the bytes, and how many replies they will have.
    #[must_use]
    pub fn login(&self) -> (&[u8], usize) {
        self.pipe.login()
    }

    /// How many commands wait to be sent.
    #[must_use]
    pub fn gathered(&self) -> usize {
        self.pipe.gathered()
    }

    /// Callout `token` has come to its end.
    pub fn replied(&mut self, token: u32, body: Result<&[u8], Trouble>, now: Ps) {
        let mut outcomes = Vec::new();
        self.pipe.replied(token, body, now, |tag, reply| {
            outcomes.push((tag, reply.and_then(|reply| read(tag, &reply))));
        });
        for (tag, outcome) in outcomes {
            match outcome {
                Ok(taken) => self.answered(tag, &taken, now),
                Err(trouble) => self.failed(tag, trouble, now),
            }
        }
    }

    pub(super) fn key(&self, part: &Part) -> Vec<u8> {
        let name = self
            .rule(part.check.rule)
            .map_or("", |rule| rule.name.as_str());
        scripts::key(
            &self.redis.key_prefix,
            &scripts::digest(&part.check.subject),
            name,
        )
    }

    /// Asks Redis for every open part.
    pub(super) fn ask(&mut self, id: u32, ticket: &mut Ticket, now: Ps) {
        self.ask_for_leases(id, ticket, now);
        let mut left: u64 = open_parts(ticket, |part| self.terms(part).is_none());
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let group = self.same_node(ticket, first, left);
            left &= !group;
            let items: Vec<Take> = parts_of(ticket, group)
                .filter_map(|part| {
                    Some(Take {
                        key: self.key(part),
                        quota: part.allowance()?.quota,
                        need: part.check.cost,
                        want: part.check.cost,
                        shadow: part.shadow,
                    })
                })
                .collect();
            let tag = Tag::Take {
                ticket: id,
                parts: group,
            };
            if let Err(trouble) = self
                .pipe
                .push(scripts::take(&items), tag, ticket.deadline, now)
            {
                self.decide_without(ticket, group, trouble, now);
            }
        }
    }

    /// Which of the parts in `among` can share a script call with part `first`.
    fn same_node(&self, ticket: &Ticket, first: usize, among: u64) -> u64 {
        if !self.redis.hash_slots {
            return among;
        }
        let subject = ticket.parts.get(first).map(|part| &part.check.subject);
        among & open_parts(ticket, |part| Some(&part.check.subject) == subject)
    }

    fn ask_for_leases(&mut self, id: u32, ticket: &mut Ticket, now: Ps) {
        let deadline = ticket.deadline;
        for part in &mut ticket.parts {
            if part.is_open()
                && self.terms(part).is_some()
                && let Err(trouble) = self.draw(id, part, part.check.cost, deadline, now)
            {
                self.without_redis(part, trouble, now);
            }
        }
    }

    /// Has request `id` wait for a lease: for one under way, or for a new one that holds at least `needs` tokens if
    /// Redis has them.
    fn draw(
        &mut self,
        id: u32,
        part: &Part,
        needs: u64,
        deadline: Ps,
        now: Ps,
    ) -> Result<(), Trouble> {
        let hash = part.check.hash;
        if self.draws.join(hash, id) {
            return Ok(());
        }
        let Some(terms) = self.terms(part) else {
            return Ok(());
        };
        let growth = self.tables.lease(hash, &terms).next_growth(now, &terms);
        let need = part.check.cost;
        let take = Take {
            key: self.key(part),
            quota: terms.lent,
            need,
            want: lease::wanted(needs.max(need), growth, &terms),
            shadow: false,
        };
        let want = take.want;
        let command = scripts::take(&[take]);
        self.pipe.push(command, Tag::Draw { hash }, deadline, now)?;
        let draw = Draw {
            waiting: vec![id],
            asked: now,
            need,
            want,
            growth,
            terms,
        };
        self.draws.by_hash.insert(hash, draw);
        Ok(())
    }

    pub(super) fn refund_in_redis(&mut self, items: Vec<Refund>, now: Ps) {
        // One call each: the records may live on different nodes.
        for item in items {
            let command = scripts::refund(&[item]);
            let deadline = now + self.redis.timeout;
            if let Err(trouble) = self.pipe.push(command, Tag::Refund, deadline, now) {
                self.counts.trouble(trouble);
            }
        }
    }

    fn answered(&mut self, tag: Tag, taken: &[Taken], now: Ps) {
        match tag {
            Tag::Refund => {}
            Tag::Take { ticket: id, parts } => {
                let Some(mut ticket) = self.tickets.remove(&id) else {
                    return;
                };
                for (part, taken) in parts_of_mut(&mut ticket, parts).zip(taken) {
                    part.state = self.state(part, *taken, now);
                }
                self.go_on(id, ticket, now);
            }
            Tag::Draw { hash } => {
                if let Some(taken) = taken.first() {
                    self.drawn(hash, *taken, now);
                }
            }
        }
    }

    fn state(&mut self, part: &Part, taken: Taken, now: Ps) -> State {
        let backlog = Some(taken.backlog);
        if let Some(retry) = taken.retry {
            let check = &part.check;
            self.denied
                .insert(check.hash, check.cost, now, retry, taken.backlog);
            return State::Denied {
                reason: Reason::Exceeded { retry },
                backlog,
            };
        }
        let charged = if taken.granted > 0 {
            Charged::Redis { at: taken.at }
        } else {
            Charged::Nothing
        };
        State::Passed { backlog, charged }
    }

    /// A lease has come, or a denial in its place. The requests that wait for it are served in order; those it does
    /// not reach ask again.
    fn drawn(&mut self, hash: u64, taken: Taken, now: Ps) {
        let Some(draw) = self.draws.by_hash.remove(&hash) else {
            return;
        };
        let terms = draw.terms;
        let taken = Taken {
            // Counted from the full burst, of which Redis lends only a part.
            backlog: taken.backlog + terms.lifetime,
            // No lease is drawn before the pause is over.
            retry: taken.retry.map(|retry| retry.max(terms.pause())),
            ..taken
        };
        let ends = Lease::drawn(draw.asked, 0, &terms).ends;
        let mut hand = taken.granted;
        let mut served = Vec::new();
        let mut hungry = Vec::new();
        for id in draw.waiting {
            let Some(mut ticket) = self.tickets.remove(&id) else {
                continue;
            };
            if let Some(part) = open_part(&mut ticket, hash) {
                let cost = part.check.cost;
                if taken.retry.is_some() && cost >= draw.need {
                    part.state = self.state(part, taken, now);
                } else if cost <= hand {
                    hand -= cost;
                    part.state = State::Passed {
                        backlog: Some(taken.backlog),
                        charged: Charged::Lease { ends },
                    };
                } else {
                    hungry.push((id, cost));
                }
            }
            served.push((id, ticket));
        }
        let behind = terms.quota().remaining(taken.backlog);
        let lease = Lease {
            growth: draw.growth,
            short: taken.granted < draw.want,
            behind: u32::try_from(behind).unwrap_or(u32::MAX),
            ..Lease::drawn(draw.asked, hand, &terms)
        };
        self.tables.deposit(hash, &terms, lease, now);
        // Only now: a request that another limit has denied gives its tokens back to this lease.
        for (id, ticket) in served {
            self.go_on(id, ticket, now);
        }
        let needs = hungry.iter().map(|(_, cost)| cost).sum();
        for (id, _) in hungry {
            self.draw_again(id, hash, needs, now);
        }
    }

    fn draw_again(&mut self, id: u32, hash: u64, needs: u64, now: Ps) {
        let Some(mut ticket) = self.tickets.remove(&id) else {
            return;
        };
        let deadline = ticket.deadline;
        if let Some(part) = open_part(&mut ticket, hash)
            && let Err(trouble) = self.draw(id, part, needs, deadline, now)
        {
            self.without_redis(part, trouble, now);
        }
        self.go_on(id, ticket, now);
    }

    fn failed(&mut self, tag: Tag, trouble: Trouble, now: Ps) {
        match tag {
            Tag::Refund => self.counts.trouble(trouble),
            Tag::Take { ticket: id, parts } => {
                if let Some(mut ticket) = self.tickets.remove(&id) {
                    self.decide_without(&mut ticket, parts, trouble, now);
                    self.go_on(id, ticket, now);
                }
            }
            Tag::Draw { hash } => {
                let Some(draw) = self.draws.by_hash.remove(&hash) else {
                    return;
                };
                for id in draw.waiting {
                    let Some(mut ticket) = self.tickets.remove(&id) else {
                        continue;
                    };
                    let parts = open_parts(&ticket, |part| part.check.hash == hash);
                    self.decide_without(&mut ticket, parts, trouble, now);
                    self.go_on(id, ticket, now);
                }
            }
        }
    }

    fn decide_without(&mut self, ticket: &mut Ticket, parts: u64, trouble: Trouble, now: Ps) {
        for part in parts_of_mut(ticket, parts) {
            self.without_redis(part, trouble, now);
        }
    }

    /// Settles a request whose last part is decided; keeps one that waits for more.
    fn go_on(&mut self, id: u32, mut ticket: Ticket, now: Ps) {
        if ticket.is_decided() {
            let verdict = self.settle(&mut ticket, now);
            self.settled.push((id, verdict));
        } else {
            self.tickets.insert(id, ticket);
        }
    }
}

/// Reads a reply as what `tag` asked for.
fn read(tag: Tag, reply: &Reply<'_>) -> Result<Vec<Taken>, Trouble> {
    match tag {
        Tag::Take { parts, .. } => scripts::taken(reply, parts.count_ones() as usize),
        Tag::Draw { .. } => scripts::taken(reply, 1),
        Tag::Refund => match reply {
            Reply::Integer(_) => Ok(Vec::new()),
            _ => Err(Trouble::Malformed),
        },
    }
}

/// The open parts that `wanted` picks, a bit for each. Policies have 64 limits at most.
fn open_parts(ticket: &Ticket, wanted: impl Fn(&Part) -> bool) -> u64 {
    ticket
        .parts
        .iter()
        .take(64)
        .enumerate()
        .filter(|(_, part)| part.is_open() && wanted(part))
        .fold(0, |bits, (index, _)| bits | 1 << index)
}

fn open_part(ticket: &mut Ticket, hash: u64) -> Option<&mut Part> {
    ticket
        .parts
        .iter_mut()
        .find(|part| part.check.hash == hash && part.is_open())
}

fn parts_of(ticket: &Ticket, bits: u64) -> impl Iterator<Item = &Part> {
    let chosen = move |(index, _): &(usize, &Part)| bits & (1 << index) != 0;
    ticket
        .parts
        .iter()
        .take(64)
        .enumerate()
        .filter(chosen)
        .map(|(_, part)| part)
}

fn parts_of_mut(ticket: &mut Ticket, bits: u64) -> impl Iterator<Item = &mut Part> {
    let chosen = move |(index, _): &(usize, &mut Part)| bits & (1 << index) != 0;
    ticket
        .parts
        .iter_mut()
        .take(64)
        .enumerate()
        .filter(chosen)
        .map(|(_, part)| part)
}
