//! The part of an exchange that the response passes through: whose answer it is, what is kept of it, and how it is stored.

use super::{Act, Context, Exchange, Hold, Settled, State};
use crate::headers::Headers;
use crate::idempotency::counts::Event;
use crate::idempotency::origin::{Origin, Provenance};
use crate::idempotency::problem::{self, Problem, field};
use crate::idempotency::settings::{OnCommitError, OnTimeout};
use crate::idempotency::store::{self, Commit, Kind, Operation};
use crate::idempotency::stored::{Field, Stored, kept};
use bytes::Bytes;
use std::sync::Arc;

/// The head of a response.
#[derive(Debug, Clone, Copy)]
pub struct ResponseHead<'a> {
    pub status: u16,
    pub headers: &'a Headers,
    pub provenance: Provenance<'a>,
    /// No body and no trailers follow.
    pub end: bool,
}

impl Exchange {
    /// The head of the response to the request that was sent.
    pub fn response_head(&mut self, head: &ResponseHead<'_>, cx: &mut Context<'_>) {
        match self.state {
            State::Running => {}
            // A second head is the gateway's own answer in place of the one that was held, which never ends now.
            State::Collecting { .. } => {
                if let State::Collecting { stored, event, .. } =
                    std::mem::replace(&mut self.state, State::Done)
                {
                    self.commit_status(&stored, event, cx);
                }
                return self.replaced(cx);
            }
            State::Committing { .. } => return self.replaced(cx),
            State::Acquiring | State::Resting { .. } | State::Releasing | State::Done => {
                return self.end();
            }
        }
        let origin = head.provenance.origin();
        let is_stored = match origin {
            Origin::Upstream => true,
            Origin::TimedOut => cx.route.on_timeout == OnTimeout::Store,
            Origin::NeverSent | Origin::Route | Origin::Gateway => false,
        };
        if !is_stored {
            return self.gateway_answered(origin, cx);
        }
        let ranges = &cx.route.statuses;
        if !ranges
            .iter()
            .any(|(from, to)| (*from..=*to).contains(&head.status))
        {
            cx.counts.add(Event::NotStored);
            cx.acts
                .push(Act::Aside(Operation::Release(Arc::clone(&self.claim))));
            return self.end();
        }
        self.holding = self.hold == Hold::All || (self.hold == Hold::LastPiece && head.end);
        let event = cx.route.outbox.as_ref().map(|outbox| store::Event {
            status: head.status,
            headers: named(head.headers, &outbox.headers),
            trim: outbox.trim,
        });
        let fields = kept(head.headers.iter(), &cx.route.headers);
        let stored = Stored {
            status: head.status,
            fields,
            body: Bytes::new(),
        };
        self.to_come = announced(head.headers);
        let most = cx.route.max_response_body as u64;
        let oversized =
            is_endless(head.headers) || self.to_come.is_some_and(|length| length > most);
        if oversized && !head.end {
            self.commit_status(&stored, event, cx);
        } else if head.end {
            self.commit(Kind::Answer, &stored, event, cx);
        } else {
            self.state = State::Collecting {
                stored,
                body: Vec::new(),
                event,
            };
        }
    }

    /// The client gets the gateway's answer in place of the one that is being stored.
    fn replaced(&mut self, cx: &mut Context<'_>) {
        self.holding = false;
        if self.hold != Hold::Nothing {
            cx.settle(Settled::Deliver(vec![field(problem::STATUS, b"unknown")]));
        }
    }

    fn gateway_answered(&mut self, origin: Origin, cx: &mut Context<'_>) {
        if origin == Origin::Route {
            // It is what every request to this route gets, so it goes on as it is.
            cx.counts.add(Event::NotSent);
            cx.acts
                .push(Act::Aside(Operation::Release(Arc::clone(&self.claim))));
            return self.end();
        }
        if origin != Origin::NeverSent {
            cx.counts.add(Event::LeftUnknown);
            if self.hold != Hold::Nothing {
                cx.settle(Settled::Deliver(vec![field(problem::STATUS, b"unknown")]));
            }
            return self.end();
        }
        cx.counts.add(Event::NotSent);
        let release = Operation::Release(Arc::clone(&self.claim));
        if self.hold == Hold::All {
            // Held until the key is free, or a client that tries again at once would find it taken.
            self.holding = true;
            self.renew_at = None;
            self.state = State::Releasing;
            self.start(release, cx);
        } else {
            cx.acts.push(Act::Aside(release));
            match self.hold {
                Hold::Nothing => self.end(),
                Hold::All | Hold::LastPiece => self.refuse(Problem::NotSent, cx),
            }
        }
    }

    /// A piece of the response's body; each byte comes once.
    pub fn response_body(&mut self, piece: &[u8], end: bool, cx: &mut Context<'_>) {
        // A client that was told the length takes these bytes for the end.
        let last = end || self.is_whole_with(piece);
        self.holding |= last && self.hold == Hold::LastPiece && self.is_recording();
        self.collect(piece, end, cx);
        self.let_go(piece, end, cx);
    }

    /// What is too long to be stored need not be held either, once the gateway could not hold it any longer.
    fn let_go(&mut self, piece: &[u8], end: bool, cx: &mut Context<'_>) {
        if !self.holding || self.hold != Hold::All {
            return;
        }
        self.buffered = self.buffered.saturating_add(piece.len());
        // The next piece is in the gateway's buffer before it is shown.
        let most = if end { cx.buffer } else { cx.buffer / 2 };
        if let State::Committing { commit, .. } = &self.state
            && commit.kind == Kind::Tombstone
            && self.buffered >= most
        {
            self.holding = false;
            cx.settle(Settled::Deliver(Vec::new()));
        }
    }

    fn collect(&mut self, piece: &[u8], end: bool, cx: &mut Context<'_>) {
        let State::Collecting { body, .. } = &mut self.state else {
            return;
        };
        let length = body.len().saturating_add(piece.len());
        let fits = length <= cx.route.max_response_body && piece.len() <= cx.room;
        if fits {
            body.extend_from_slice(piece);
        }
        if (end || !fits)
            && let State::Collecting {
                mut stored,
                body,
                event,
            } = std::mem::replace(&mut self.state, State::Done)
        {
            if fits {
                stored.body = body.into();
                self.commit(Kind::Answer, &stored, event, cx);
            } else {
                self.commit_status(&stored, event, cx);
            }
        }
    }

    /// The response ends with trailers. A replay has none, so it would not be the whole answer.
    pub fn response_trailers(&mut self, cx: &mut Context<'_>) {
        self.holding |= self.hold == Hold::LastPiece && self.is_recording();
        if matches!(self.state, State::Collecting { .. })
            && let State::Collecting { stored, event, .. } =
                std::mem::replace(&mut self.state, State::Done)
        {
            self.commit_status(&stored, event, cx);
        }
    }

    fn is_whole_with(&mut self, piece: &[u8]) -> bool {
        let Some(left) = &mut self.to_come else {
            return false;
        };
        *left = left.saturating_sub(piece.len() as u64);
        *left == 0 && !piece.is_empty()
    }

    fn is_recording(&self) -> bool {
        matches!(
            self.state,
            State::Collecting { .. } | State::Committing { .. }
        )
    }

    fn commit_status(
        &mut self,
        stored: &Stored,
        event: Option<store::Event>,
        cx: &mut Context<'_>,
    ) {
        cx.counts.add(Event::Oversized);
        let status = Stored {
            status: stored.status,
            fields: Vec::new(),
            body: Bytes::new(),
        };
        self.commit(Kind::Tombstone, &status, event, cx);
    }

    fn commit(
        &mut self,
        kind: Kind,
        stored: &Stored,
        event: Option<store::Event>,
        cx: &mut Context<'_>,
    ) {
        let bytes = cx
            .at_rest
            .seal(stored, kind, cx.keys, &self.claim, self.fence);
        let commit = Arc::new(Commit {
            claim: Arc::clone(&self.claim),
            fence: self.fence,
            kind,
            bytes: bytes.into(),
            event,
        });
        self.start(Operation::Commit(Arc::clone(&commit)), cx);
        self.renew_at = None;
        self.state = State::Committing {
            commit,
            tries: 1,
            again: None,
        };
    }

    pub(super) fn committed(&mut self, event: Event, cx: &mut Context<'_>) {
        cx.counts.add(event);
        if self.holding {
            cx.settle(Settled::Deliver(Vec::new()));
        }
        self.end();
    }

    pub(super) fn not_recorded(&mut self, cx: &mut Context<'_>) {
        cx.counts.add(Event::NotRecorded);
        let deliver = cx.route.on_commit_error == OnCommitError::Deliver || self.unprotected;
        match self.hold {
            // `holding` is gone when the client is.
            Hold::All if self.holding && deliver => {
                cx.settle(Settled::Deliver(vec![field(
                    problem::STATUS,
                    b"unrecorded",
                )]));
            }
            Hold::All if self.holding => return self.refuse(Problem::NotRecorded, cx),
            Hold::LastPiece if !deliver => cx.settle(Settled::Abort),
            Hold::LastPiece if self.holding => cx.settle(Settled::Deliver(Vec::new())),
            Hold::All | Hold::LastPiece | Hold::Nothing => {}
        }
        self.end();
    }
}

/// Whether the response is one that goes on for as long as the client listens.
fn is_endless(headers: &Headers) -> bool {
    headers.all("content-type").any(|value| {
        let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// The length that the response announces.
fn announced(headers: &Headers) -> Option<u64> {
    std::str::from_utf8(headers.first("content-length")?)
        .ok()?
        .parse()
        .ok()
}

fn named(headers: &Headers, names: &[String]) -> Vec<Field> {
    let named = |name: &String| {
        headers
            .all(name)
            .map(|value| field(name, value))
            .collect::<Vec<_>>()
    };
    names.iter().flat_map(named).collect()
}
