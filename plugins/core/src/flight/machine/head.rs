//! The head of an answer comes.

use super::reply::Reply;
use super::trip::{Capture, Metered, Trip};
use super::{Ask, Bypassed, Event, HeadStep, Machine, Stream};
use crate::cache::{
    Forward, Freshened, Head, Millis, Outcome, Share, Verdict, freshen, invalidated_by, is_failure,
    judge,
};
use crate::flight::bus::Posts;
use crate::flight::entry::Entry;
use crate::flight::message::Message;
use crate::flight::table::End;
use crate::headers::Headers;
use crate::slots::SharedData;
use std::rc::Rc;

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// The head of the response of stream `id`. `ends`: there is no body.
    pub fn response_head(
        &mut self,
        id: u32,
        headers: &Headers,
        ends: bool,
        now: Millis,
    ) -> HeadStep {
        match self.streams.remove(&id) {
            None => HeadStep::Pass(None),
            Some(Stream::Bypass(why)) => {
                let detail = match why {
                    Bypassed::By(why) => why.name(),
                    Bypassed::Key => "key",
                };
                HeadStep::Pass(self.forwarded(Forward::Bypass, false, Some(detail)))
            }
            Some(Stream::Unsafe(request)) => {
                let status = Head::from_gateway(headers).map_or(0, |head| head.status);
                self.invalidate(&request, &invalidated_by(&request, status, headers), now);
                HeadStep::Pass(self.forwarded(Forward::Method, false, None))
            }
            // Answered by somebody else while it waited: a timeout of the gateway.
            Some(Stream::Waiting(waiting)) => {
                self.no_longer_waits(id, waiting.hash);
                HeadStep::Pass(None)
            }
            Some(Stream::Asking(token)) => {
                self.no_longer_asks(token, now);
                HeadStep::Pass(None)
            }
            Some(Stream::Trip(ask, mut trip)) => {
                let Some(head) = Head::from_gateway(headers) else {
                    self.finish(&mut trip, End::Failed, now);
                    return HeadStep::Pass(None);
                };
                let step = self.trip_head(&ask, &mut trip, &head, now);
                if trip.capture.is_some() && !ends {
                    self.streams.insert(id, Stream::Trip(ask, trip));
                } else {
                    self.complete(&ask, &mut trip, now);
                }
                step
            }
        }
    }

    fn forwarded(&self, reason: Forward, stored: bool, detail: Option<&str>) -> Option<String> {
        let outcome = Outcome::Forward {
            reason,
            status: None,
            stored,
            collapsed: false,
        };
        self.cache_status(outcome, None, detail)
    }

    /// What was asked of these targets is void from now on.
    pub(super) fn invalidate(&mut self, request: &Headers, targets: &[Vec<u8>], now: Millis) {
        for target in targets {
            for uri in self.settings.policy.uri_keys(request, target) {
                let hash = self.shelf.hash(&uri);
                self.count(Event::Invalidated);
                if let Some(at) = self.shelf.voids.raise(hash, now) {
                    let message = Message::Forget { hash, at };
                    self.bus.tell_others(&message.encode(), now);
                } else {
                    self.forget_all(now);
                }
            }
        }
    }

    pub(super) fn forget_all(&mut self, now: Millis) {
        self.shelf.next_epoch(now);
        self.bus.tell_others(&Message::ForgetAll.encode(), now);
    }

    /// The head of what a trip brings. Afterwards the trip captures the body, or its flight has ended.
    pub(super) fn trip_head(
        &mut self,
        ask: &Ask,
        trip: &mut Trip,
        head: &Head,
        now: Millis,
    ) -> HeadStep {
        let Some(route) = self.route(ask) else {
            return HeadStep::Pass(None);
        };
        if head.status == 304
            && let Some(stale) = trip.stale.clone()
        {
            return HeadStep::Replace(self.revalidated(ask, trip, &stale, head, now));
        }
        let most = route.flight.max_body;
        let verdict = judge(&ask.lookup, head, &route.rule, trip.requested_at, now);
        match verdict {
            Verdict::Refuse(reason) if !reason.lasts() => {
                self.finish(trip, End::Failed, now);
                // What was forgotten meanwhile stands in for nothing.
                let kept = trip.epoch == self.shelf.epoch();
                let stale = trip.stale.as_deref().filter(|_| kept);
                if is_failure(head.status)
                    && let Some(reply) = self.on_error(ask, stale, Some(head), now)
                {
                    return HeadStep::Replace(reply);
                }
                HeadStep::Pass(self.forwarded(trip.why, false, Some(reason.name())))
            }
            // It says what is wrong with this request, and nothing of what is stored.
            Verdict::Refuse(reason) if trip.stale.is_some() && blames_request(head.status) => {
                self.finish(trip, End::Failed, now);
                HeadStep::Pass(self.forwarded(trip.why, false, Some(reason.name())))
            }
            Verdict::Refuse(reason) => {
                let end = self.unshared(ask, now);
                self.finish(trip, end, now);
                // What the origin says now is not what is stored.
                if let Some(stale) = &trip.stale {
                    self.shelf.remove(trip.hash, stale.id);
                }
                HeadStep::Pass(self.forwarded(trip.why, false, Some(reason.name())))
            }
            Verdict::Share(share) => {
                self.capture(ask, trip, share, head, most, now);
                HeadStep::Pass(self.forwarded(trip.why, trip.capture.is_some(), None))
            }
            Verdict::Keep(share, reason) => {
                // Where it may be served stale, those who wait get it so.
                if share.terms.stale_while_revalidate == 0 {
                    let end = self.unshared(ask, now);
                    self.finish(trip, end, now);
                }
                self.capture(ask, trip, share, head, most, now);
                let stored = trip.capture.is_some();
                HeadStep::Pass(self.forwarded(trip.why, stored, Some(reason.name())))
            }
        }
    }

    /// Copies the body from here on, unless it is too long anyway.
    fn capture(
        &mut self,
        ask: &Ask,
        trip: &mut Trip,
        share: Share,
        head: &Head,
        most: usize,
        now: Millis,
    ) {
        let length = head.fields.first("content-length").and_then(|length| {
            let length = std::str::from_utf8(length).ok()?;
            length.parse::<usize>().ok()
        });
        if length.is_some_and(|length| length > most) {
            let end = self.unshared(ask, now);
            return self.finish(trip, end, now);
        }
        self.fits_fleet(ask, trip, length.unwrap_or_default(), now);
        // What HEAD gets is no answer to GET.
        if !ask.lookup.head || trip.flight.is_some() {
            trip.capture = Some(Capture {
                share,
                fields: head.fields.clone(),
                // Not for what the head says: the body may never come, and only what has come is counted.
                body: Vec::new(),
                metered: Metered::new(&self.copying),
                took: now.saturating_sub(trip.requested_at),
            });
        }
    }

    /// The origin says that what is stored is still good.
    fn revalidated(
        &mut self,
        ask: &Ask,
        trip: &mut Trip,
        stale: &Rc<Entry>,
        head: &Head,
        now: Millis,
    ) -> Reply {
        let (Some(answer), Some(route)) = (stale.answer(), self.route(ask)) else {
            return Reply::plain(500);
        };
        let freshened = freshen(
            &ask.lookup,
            &answer.head,
            head,
            &route.rule,
            trip.requested_at,
            now,
        );
        let outcome = Outcome::Forward {
            reason: trip.why,
            status: Some(304),
            stored: true,
            collapsed: false,
        };
        let (client_head, verdict) = match freshened {
            Freshened::Updated { head, verdict } => (head, verdict),
            Freshened::Mismatch => {
                // There is nothing else to give this client.
                self.shelf.remove(trip.hash, stale.id);
                self.finish(trip, End::Failed, now);
                let age = answer.terms.age(now) / 1_000;
                return self.stored_reply(ask, answer, age, outcome, now);
            }
        };
        let (share, shared) = match verdict {
            Verdict::Share(share) => (Some(share), true),
            Verdict::Keep(share, _) => {
                let shared = share.terms.stale_while_revalidate > 0;
                (Some(share), shared)
            }
            Verdict::Refuse(_) => (None, false),
        };
        let terms = share.as_ref().map(|share| share.terms);
        let age = terms.map_or(0, |terms| terms.age(now) / 1_000);
        let status = self.cache_status(outcome, terms.map(|terms| terms.ttl(now)), None);
        let reply = self.reply(ask, &client_head, answer, age, status);
        if !shared {
            let end = self.unshared(ask, now);
            self.finish(trip, end, now);
        }
        match share {
            Some(share) => {
                let body = Rc::clone(&answer.body);
                let took = now.saturating_sub(trip.requested_at);
                self.store(ask, trip, share, body, took, now);
            }
            None => self.shelf.remove(trip.hash, stale.id),
        }
        reply
    }

    /// A stale answer in place of a failure.
    pub(super) fn on_error(
        &mut self,
        ask: &Ask,
        stale: Option<&Entry>,
        failure: Option<&Head>,
        now: Millis,
    ) -> Option<Reply> {
        let answer = stale?.answer()?;
        let age = answer.terms.on_error(&ask.lookup, now)?;
        self.count(Event::Stale);
        let outcome = Outcome::Forward {
            reason: Forward::Stale,
            status: failure.map(|head| head.status),
            stored: false,
            collapsed: failure.is_none(),
        };
        Some(self.stored_reply(ask, answer, age, outcome, now))
    }
}

/// Statuses of a request that another one for the same thing need not get. The others of 4xx speak of the thing, or of who may
/// have it.
fn blames_request(status: u16) -> bool {
    matches!(status, 400 | 405..=409 | 411..=431)
}
