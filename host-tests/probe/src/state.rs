//! What one VM remembers: its program, the names it gave to streams and tokens, and how often each callback came.

use crate::program::{Event, Program};
use std::cell::RefCell;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct State {
    pub program: Program,
    pub root: u32,
    /// Ids in the order of creation: the first is stream 1.
    pub streams: Vec<u32>,
    pub paths: BTreeMap<u32, String>,
    pub counts: BTreeMap<(u32, Event), u32>,
    /// The version last read of each key.
    pub cas: BTreeMap<String, u32>,
    /// The first version that was seen: others are shown as the distance to it.
    pub first_cas: Option<u32>,
    pub queues: BTreeMap<String, u32>,
    pub calls: BTreeMap<String, u32>,
    pub metrics: BTreeMap<String, u32>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Never held over a host call: the host may call back from within.
pub fn with<T>(change: impl FnOnce(&mut State) -> T) -> T {
    STATE.with(|state| change(&mut state.borrow_mut()))
}

impl State {
    /// The name of a context in the log.
    pub fn context(&self, id: u32) -> String {
        if id == self.root {
            return "root".to_owned();
        }
        match self.streams.iter().position(|stream| *stream == id) {
            Some(place) => format!("s{}", place + 1),
            None => "unknown".to_owned(),
        }
    }

    /// The name that a token was given; the same for queues, calls and streams.
    pub fn token(names: &BTreeMap<String, u32>, token: u32) -> String {
        names
            .iter()
            .find(|(_, other)| **other == token)
            .map_or_else(|| "unknown".to_owned(), |(name, _)| name.clone())
    }

    /// Versions are numbers of the whole process: only their distances can be compared.
    pub fn show_cas(&mut self, cas: u32) -> String {
        if cas == 0 {
            return "0".to_owned();
        }
        let first = *self.first_cas.get_or_insert(cas);
        match i64::from(cas) - i64::from(first) {
            0 => "A".to_owned(),
            distance => format!("A{distance:+}"),
        }
    }
}
