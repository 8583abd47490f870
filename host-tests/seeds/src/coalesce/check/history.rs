//! A run as the checks see it: what each client got, and what the origin was asked.

use crate::coalesce::nature::Nature;
use crate::coalesce::origin::{ANSWER_HEADER, CONFIRMED_HEADER, Entry, key, text};
use crate::coalesce::policy::Policy;
use crate::coalesce::run::Run;
use crate::coalesce::sent::Sent;
use sluice_emulator::{Answer, Ended, Exchange};
use std::time::Duration;

/// What workers may add to what networks take: calls that stand still, messages from worker to worker.
pub const SLACK: Duration = Duration::from_millis(10);

/// A client's request.
pub struct Request<'a> {
    pub place: usize,
    pub sent: &'a Sent,
    pub exchange: &'a Exchange,
    /// Its path as the policy compares it.
    pub uri: String,
    pub got: Got<'a>,
    /// The place in the origin's book of what it asked there itself.
    pub asked: Option<usize>,
}

/// What a client got.
pub enum Got<'a> {
    /// It left, or its connection was broken off.
    Nothing,
    /// The origin's answer of this number, which a later one may have confirmed.
    Number {
        number: usize,
        confirmed: Option<usize>,
        answer: &'a Answer,
    },
    /// An answer of the gateway's own.
    Gateway(&'a Answer),
}

/// A request that came to the origin.
pub struct Asked<'a> {
    pub number: usize,
    pub entry: &'a Entry,
    /// The gateway that asked.
    pub gateway: usize,
    pub nature: &'a Nature,
    /// A call without a client takes up to so long to come back.
    back: Duration,
    /// Its client's request; none where there is no client.
    pub request: Option<&'a Sent>,
    pub exchange: Option<&'a Exchange>,
    pub method: String,
    /// The path, as the policy compares it.
    pub uri: String,
}

impl Asked<'_> {
    /// When the head of the answer was sent.
    #[must_use]
    pub fn answered(&self) -> Duration {
        self.entry.at + self.entry.reply.after
    }

    /// When the gateway had the whole answer: nothing where it never had.
    #[must_use]
    pub fn whole(&self) -> Option<Duration> {
        match self.exchange {
            Some(exchange) => (exchange.ended == Ended::Answered
                && self.entry.reply.trouble.is_none())
            .then_some(exchange.ended_at),
            None => {
                let there = self.entry.reply.trouble.is_none();
                there.then(|| self.answered() + self.back)
            }
        }
    }
}

pub struct History<'a> {
    pub run: &'a Run,
    pub policy: &'a Policy,
    pub requests: Vec<Request<'a>>,
    /// In the order in which they came.
    pub asked: Vec<Asked<'a>>,
}

impl<'a> History<'a> {
    #[must_use]
    pub fn of(run: &'a Run) -> Self {
        let policy = &run.case.policy;
        let requests = run.exchanges.iter().zip(&run.sent).enumerate();
        let requests = requests.map(|(place, (exchange, sent))| Request {
            place,
            sent,
            exchange,
            uri: sent.uri(policy),
            got: got(exchange),
            asked: run
                .book
                .iter()
                .position(|entry| entry.exchange == Some(place)),
        });
        let asked = run.book.iter().enumerate().filter_map(|(number, entry)| {
            let path = text(&entry.request, ":path");
            Some(Asked {
                number,
                gateway: entry.gateway,
                back: Duration::from_micros(500 + run.case.faults.call_us),
                entry,
                nature: run.case.natures.get(key(&path)?)?,
                request: entry.exchange.map(|place| &run.sent[place]),
                exchange: entry.exchange.map(|place| &run.exchanges[place]),
                method: text(&entry.request, ":method"),
                uri: match path.strip_suffix("?utm=1") {
                    Some(rest) if policy.drops => rest.to_owned(),
                    _ => path,
                },
            })
        });
        Self {
            run,
            policy,
            requests: requests.collect(),
            asked: asked.collect(),
        }
    }

    /// Reads of a URI that came to the origin.
    pub fn reads<'b>(&'b self, uri: &'b str) -> impl Iterator<Item = &'b Asked<'a>> {
        let of = move |asked: &&Asked<'_>| {
            asked.uri == uri && matches!(asked.method.as_str(), "GET" | "HEAD")
        };
        self.asked.iter().filter(of)
    }

    /// Whether on the way to the origin of this URI, before this time, anything failed or anybody left.
    #[must_use]
    pub fn disturbed(&self, uri: &str, until: Duration) -> bool {
        self.refused(uri, until)
            || self.reads(uri).any(|asked| {
                let lost = asked
                    .exchange
                    .is_some_and(|exchange| exchange.ended != Ended::Answered);
                let failed = asked.entry.reply.trouble.is_some() || asked.entry.reply.status >= 500;
                asked.entry.at <= until && (lost || failed || self.is_too_late(asked))
            })
    }

    /// Whether the origin gave no connection for this URI, before this time.
    #[must_use]
    pub fn refused(&self, uri: &str, until: Duration) -> bool {
        self.run.refused.iter().any(|place| {
            let request = &self.requests[*place];
            request.uri == uri && request.exchange.sent <= until
        })
    }

    /// Whether the gateway may have given up on an answer.
    #[must_use]
    pub fn is_too_late(&self, asked: &Asked<'_>) -> bool {
        let most = match (asked.exchange, self.policy.refresh_ms) {
            (None, Some(timeout)) => timeout,
            _ => self.policy.upstream_timeout_ms,
        };
        let took = asked.entry.reply.after + 6 * self.run.case.faults.latency();
        took >= Duration::from_millis(most)
    }

    /// When what a gateway has stored of a URI was forgotten: from then to then somebody may have seen it so.
    pub fn voids<'b>(
        &'b self,
        gateway: usize,
        uri: &'b str,
    ) -> impl Iterator<Item = (Duration, Duration)> + 'b {
        let purges = self.requests.iter().filter(move |request| {
            request.sent.gateway == gateway
                && request.sent.is_purge()
                && (request.sent.method == "PURGE-ALL" || request.uri == uri)
        });
        let purges = purges.map(|request| (request.exchange.sent, request.exchange.ended_at));
        let changes = self.asked.iter().filter(move |asked| {
            let location = asked.entry.reply.headers.get("location");
            // Of one whose client has left before, or whose answer got lost, nobody hears.
            let heard = asked
                .exchange
                .is_some_and(|exchange| (200..400).contains(&exchange.status()));
            asked.gateway == gateway
                && asked.request.is_some_and(Sent::is_unsafe)
                && heard
                && (asked.uri == uri || location == Some(uri.as_bytes()))
        });
        let changes = changes.map(|asked| {
            let ended = asked.exchange.map_or(Duration::MAX, |x| x.ended_at);
            (asked.answered(), ended)
        });
        purges.chain(changes)
    }

    /// The same, whichever gateway it was.
    pub fn all_voids<'b>(
        &'b self,
        uri: &'b str,
    ) -> impl Iterator<Item = (Duration, Duration)> + 'b {
        (0..self.run.case.gateways).flat_map(move |gateway| self.voids(gateway, uri))
    }
}

fn got(exchange: &Exchange) -> Got<'_> {
    let answer = match (&exchange.answer, exchange.ended) {
        (Some(answer), Ended::Answered) => answer,
        _ => return Got::Nothing,
    };
    let number = |name: &str| answer.header(name).and_then(|text| text.parse().ok());
    match (number(ANSWER_HEADER), number(CONFIRMED_HEADER)) {
        (Some(number), confirmed) => Got::Number {
            number,
            confirmed,
            answer,
        },
        // The origin's own 304, to a client that has the answer.
        (None, Some(number)) => Got::Number {
            number,
            confirmed: None,
            answer,
        },
        (None, None) => Got::Gateway(answer),
    }
}
