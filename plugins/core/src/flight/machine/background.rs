//! Fetching without a client, by a call of the root context.

use super::trip::Trip;
use super::{Ask, Event, Machine};
use crate::cache::{Head, Millis};
use crate::flight::bus::Posts;
use crate::flight::table::End;
use crate::headers::Headers;
use crate::slots::SharedData;

/// A call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// To be given back with the reply.
    pub tag: u64,
    pub cluster: String,
    pub fields: Vec<(String, String)>,
    pub timeout: Millis,
}

/// One that is under way.
pub(super) struct Fetch {
    ask: Box<Ask>,
    trip: Box<Trip>,
}

/// Fields that are about the client's connection, that the gateway sets anew, or that ask for less than all.
const NOT_SENT: [&[u8]; 9] = [
    b"connection",
    b"content-length",
    b"transfer-encoding",
    b"te",
    b"upgrade",
    b"keep-alive",
    b"if-none-match",
    b"if-modified-since",
    b"range",
];

impl<S: SharedData + Clone, P: Posts> Machine<S, P> {
    /// Whether the request can be made without its client. The gateway takes only text for the fields of a call, and one
    /// that is left out might be one that the answer depends on.
    pub(super) fn can_fetch(&self, ask: &Ask) -> bool {
        self.route(ask).is_some_and(|route| route.refresh.is_some())
            && ask.request.iter().all(|(name, value)| {
                std::str::from_utf8(name).is_ok() && std::str::from_utf8(value).is_ok()
            })
    }

    /// Has the root context make the call of a trip.
    pub(super) fn fetch(&mut self, ask: &Ask, trip: Box<Trip>) {
        let Some(refresh) = self.route(ask).and_then(|route| route.refresh.clone()) else {
            return;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut fields: Vec<(String, String)> = ask
            .request
            .iter()
            .filter(|(name, _)| !NOT_SENT.contains(name) && !name.starts_with(b"x-envoy-"))
            .map(|(name, value)| match name {
                b":method" => (text(name), "GET".to_owned()),
                _ => (text(name), text(value)),
            })
            .collect();
        let set = trip.changes(ask).into_iter();
        fields.extend(set.filter_map(|(name, value)| Some((name.to_owned(), text(&value?)))));
        let tag = (self.random)();
        self.count(Event::Background);
        let ask = Box::new(ask.clone());
        self.fetches.insert(tag, Fetch { ask, trip });
        self.calls.push(Call {
            tag,
            cluster: refresh.cluster,
            fields,
            timeout: refresh.timeout,
        });
        self.wake_root();
    }

    /// A call has come to its end: with a head and a whole body, or with nothing.
    pub fn fetched(&mut self, tag: u64, reply: Option<(Headers, Vec<u8>)>, now: Millis) {
        let Some(Fetch { ask, mut trip }) = self.fetches.remove(&tag) else {
            return;
        };
        let reply = reply.and_then(|(headers, body)| Some((Head::from_gateway(&headers)?, body)));
        let Some((head, body)) = reply else {
            return self.finish(&mut trip, End::Failed, now);
        };
        let _ = self.trip_head(&ask, &mut trip, &head, now);
        let most = self.route(&ask).map_or(0, |route| route.flight.max_body);
        match &mut trip.capture {
            Some(capture) if body.len() <= most => {
                capture.body = body;
                self.complete(&ask, &mut trip, now);
            }
            Some(_) => {
                let end = self.unshared(&ask, now);
                self.finish(&mut trip, end, now);
            }
            None => {}
        }
    }

    pub(super) fn renew_fetches(&mut self, now: Millis) {
        let mut fetches = std::mem::take(&mut self.fetches);
        for Fetch { ask, trip } in fetches.values_mut() {
            self.renew(ask, trip, now);
        }
        self.fetches = fetches;
    }
}
