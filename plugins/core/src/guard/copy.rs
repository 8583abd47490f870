//! One worker's copy of one guard's ids: how it is loaded, kept up to date, and when it is not to be believed.
//!
//! A look at Redis is one script: it tells which filter is there and which ids came after the last look. When there is
//! another filter it is loaded piece by piece, each piece only while it is the same filter; then all ids that came since it
//! was built are read, and only when the last of them is there, and the filter still the same, does it take the place of the
//! old one. Until then the old one serves, and goes on to learn what comes.

use std::collections::VecDeque;
use std::ops::Range;

use super::events::Why;
use super::scripts::Look;
use super::{KEPT, MAX_ADDED};
use crate::bloom::{Filter, HEADER_BYTES, Loading};
use crate::cache::Millis;
use crate::policy::coalesce::Guard;

/// Bytes of a filter in one reply.
const PIECE: usize = 128 << 10;
/// Ids in one reply: each has 4,100 bytes at most.
pub(super) const PAGE: usize = 1_000;
/// Ids in one command, and their bytes.
const MOST_ADDED: usize = 64;
const MOST_ADDED_BYTES: usize = 32 << 10;
/// Bytes of the ids that Redis has not been told of.
const MAX_UNSAVED: usize = 1 << 20;
/// What each of them costs beside its own bytes.
const OVERHEAD: usize = 32;
/// After a failure.
const RETRY: Millis = 1_000;
/// A filter that was no good is not looked at again for so long.
const REFUSED: Millis = 60_000;
/// In so long an id that another worker learnt is in Redis.
const SETTLED: Millis = 1_000;

/// What is to be asked of Redis.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Look {
        cursor: u64,
        most: usize,
    },
    Piece {
        header: Vec<u8>,
        range: Range<usize>,
    },
}

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Look {
        began: Millis,
        side: Side,
    },
    Piece,
    /// So many ids were to be added.
    Add(usize),
}

/// Whose ids a look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Current,
    Next,
    Nobody,
}

/// What an id comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Perhaps,
    Absent,
    Open(Why),
}

#[derive(Debug)]
struct Loaded {
    header: Vec<u8>,
    filter: Filter,
    /// The place of the last id that was read.
    cursor: u64,
}

/// Another filter on its way.
#[derive(Debug)]
enum Next {
    Loading {
        header: Vec<u8>,
        loading: Loading,
    },
    /// All of it is there, but not all ids that came since.
    CatchingUp(Loaded),
}

impl Next {
    fn header(&self) -> &[u8] {
        match self {
            Self::Loading { header, .. } | Self::CatchingUp(Loaded { header, .. }) => header,
        }
    }
}

#[derive(Debug)]
struct Refused {
    header: Vec<u8>,
    why: Why,
    until: Millis,
}

#[derive(Debug)]
pub(super) struct Copy {
    refresh: Millis,
    max_age: Millis,
    max_build_age: Option<Millis>,
    max_size: usize,
    current: Option<Loaded>,
    next: Option<Next>,
    /// Why there is no current one.
    why: Why,
    refused: Option<Refused>,
    /// When the last look began that succeeded.
    looked: Millis,
    next_look: Millis,
    next_step: Millis,
    reading: bool,
    /// Ids that were learnt here and may not be in Redis yet, and their bytes.
    unsaved: VecDeque<Vec<u8>>,
    unsaved_bytes: usize,
    adding: bool,
    next_add: Millis,
    /// Then ids were lost for others, if not for this worker: until a filter that was built later.
    lost: Option<Millis>,
    /// Then ids of other workers were missed: until a look that began when Redis had them.
    missed: Option<Millis>,
}

impl Copy {
    pub(super) fn new(guard: &Guard) -> Self {
        Self {
            refresh: guard.refresh,
            max_age: guard.max_age,
            max_build_age: guard.max_build_age,
            max_size: guard.max_size,
            current: None,
            next: None,
            why: Why::Unloaded,
            refused: None,
            looked: 0,
            next_look: 0,
            next_step: 0,
            reading: false,
            unsaved: VecDeque::new(),
            unsaved_bytes: 0,
            adding: false,
            next_add: 0,
            lost: None,
            missed: None,
        }
    }

    /// Why every request passes now, if it does.
    pub(super) fn open(&self, now: Millis) -> Option<Why> {
        let Some(current) = &self.current else {
            return Some(self.why);
        };
        let built_at = current.filter.built_at();
        let is_old = |most| now.saturating_sub(built_at) > most;
        if now.saturating_sub(self.looked) > self.max_age {
            Some(Why::Stale)
        } else if self.lost.is_some() || self.missed.is_some() {
            Some(Why::Lost)
        } else if self.max_build_age.is_some_and(is_old) {
            Some(Why::Old)
        } else {
            None
        }
    }

    pub(super) fn check(&self, id: &[u8], now: Millis) -> Verdict {
        match (self.open(now), &self.current) {
            (None, Some(current)) if current.filter.may_hold(id) => Verdict::Perhaps,
            (None, _) => Verdict::Absent,
            (Some(why), _) => Verdict::Open(why),
        }
    }

    /// An id that exists.
    pub(super) fn insert(&mut self, id: &[u8]) {
        if let Some(current) = &mut self.current {
            current.filter.insert(id);
        }
        if let Some(Next::CatchingUp(next)) = &mut self.next {
            next.filter.insert(id);
        }
    }

    /// The same, which Redis is to be told of.
    pub(super) fn learn(&mut self, id: Vec<u8>, now: Millis) {
        self.insert(&id);
        if self.unsaved_bytes + id.len() + OVERHEAD > MAX_UNSAVED {
            return self.lose(now);
        }
        self.unsaved_bytes += id.len() + OVERHEAD;
        self.unsaved.push_back(id);
    }

    /// Ids came that not everybody could be told of.
    pub(super) fn lose(&mut self, now: Millis) {
        self.lost = Some(now);
    }

    /// Ids that other workers learnt came and went unseen.
    pub(super) fn miss(&mut self, now: Millis) {
        self.missed = Some(now);
    }

    /// The next thing to ask Redis for, if it is time. Its reply, or its failure, is to be told before the next.
    pub(super) fn read(&mut self, now: Millis) -> Option<(Read, Asked)> {
        if self.reading {
            return None;
        }
        let next = match (&self.current, &self.next) {
            _ if now >= self.next_look => {
                let side = match self.current {
                    Some(_) => Side::Current,
                    None => Side::Nobody,
                };
                let cursor = self.current.as_ref().map(|current| current.cursor);
                Some(look(side, cursor, now))
            }
            (_, Some(_)) if now < self.next_step => None,
            (_, Some(Next::Loading { header, loading })) => loading.next(PIECE).map(|range| {
                let header = header.clone();
                (Read::Piece { header, range }, Asked::Piece)
            }),
            (_, Some(Next::CatchingUp(next))) => Some(look(Side::Next, Some(next.cursor), now)),
            (_, None) => None,
        };
        self.reading = next.is_some();
        next
    }

    /// The ids that Redis is to be told of, if it is time. The outcome is to be told before the next.
    pub(super) fn add(&mut self, now: Millis) -> Option<(impl Iterator<Item = &[u8]>, Asked)> {
        if self.adding || self.unsaved.is_empty() || now < self.next_add {
            return None;
        }
        let mut room = MOST_ADDED_BYTES;
        let fitting = self.unsaved.iter().take(MOST_ADDED).take_while(|id| {
            let fits = room.checked_sub(id.len());
            room = fits.unwrap_or_default();
            fits.is_some()
        });
        let count = fitting.count();
        self.adding = true;
        let ids = self.unsaved.iter().take(count).map(Vec::as_slice);
        Some((ids, Asked::Add(count)))
    }

    /// Nothing came back.
    pub(super) fn failed(&mut self, asked: Asked, now: Millis) {
        match asked {
            Asked::Look { side, .. } => {
                self.reading = false;
                let at = now.saturating_add(RETRY.min(self.refresh));
                match side {
                    Side::Next => self.next_step = at,
                    Side::Current | Side::Nobody => self.next_look = at,
                }
            }
            Asked::Piece => {
                self.reading = false;
                self.next_step = now.saturating_add(RETRY);
            }
            Asked::Add(_) => {
                self.adding = false;
                self.next_add = now.saturating_add(RETRY);
            }
        }
    }

    /// Redis was told of so many ids, if there was `room` for them.
    pub(super) fn added(&mut self, count: usize, room: bool, now: Millis) {
        self.adding = false;
        for id in self.unsaved.drain(..count.min(self.unsaved.len())) {
            self.unsaved_bytes = self.unsaved_bytes.saturating_sub(id.len() + OVERHEAD);
        }
        if !room {
            self.lose(now);
        }
    }

    /// A look has come back. True: another filter has become the current one, and wants to know what other workers learnt.
    pub(super) fn looked(
        &mut self,
        found: &Look<'_>,
        began: Millis,
        side: Side,
        now: Millis,
    ) -> bool {
        self.reading = false;
        let gap = began.saturating_sub(self.looked);
        self.looked = began;
        if found.added >= MAX_ADDED {
            self.lose(now);
        }
        let complete = self.take(found, side);
        let at = match complete {
            true => now.saturating_add(self.refresh),
            false => now,
        };
        match side {
            Side::Next => self.next_step = now,
            Side::Current | Side::Nobody => self.next_look = at,
        }
        let settled = self.missed.is_some_and(|at| began >= at + SETTLED);
        if settled && complete && side == Side::Current {
            self.missed = None;
        }
        if found.header.is_empty() {
            self.without(Why::Missing);
            self.refused = None;
            return false;
        }
        let is = |header: Option<&[u8]>| header == Some(found.header);
        if is(self
            .current
            .as_ref()
            .map(|current| current.header.as_slice()))
        {
            self.next = None;
        } else if is(self.next.as_ref().map(Next::header)) {
            if complete && side == Side::Next {
                return self.promote();
            }
        } else {
            // What a build takes in is not kept beside it for ever.
            if gap > KEPT / 2 {
                self.without(Why::Unloaded);
            }
            self.begin(found, now);
        }
        false
    }

    /// Takes the ids of a look; true: there are no more.
    fn take(&mut self, found: &Look<'_>, side: Side) -> bool {
        let loaded = match (side, &mut self.current, &mut self.next) {
            (Side::Current, Some(loaded), _) => loaded,
            (Side::Next, _, Some(Next::CatchingUp(loaded))) => loaded,
            _ => return true,
        };
        if found.last < loaded.cursor {
            // The ids beside the filter are others than they were.
            loaded.cursor = 0;
            return found.last == 0;
        }
        for id in &found.ids {
            loaded.filter.insert(id);
        }
        loaded.cursor = loaded.cursor.max(found.cursor);
        found.ids.len() < PAGE
    }

    fn without(&mut self, why: Why) {
        self.current = None;
        self.next = None;
        self.why = why;
    }

    fn refuse(&mut self, header: Vec<u8>, why: Why, now: Millis) {
        self.without(why);
        let until = now.saturating_add(REFUSED);
        self.refused = Some(Refused { header, why, until });
    }

    /// Begins to load the filter that was found.
    fn begin(&mut self, found: &Look<'_>, now: Millis) {
        let header = found.header.to_vec();
        if let Some(refused) = &self.refused
            && refused.header == header
            && now < refused.until
        {
            let why = refused.why;
            return self.without(why);
        }
        let mut loading = Loading::default();
        let length = match loading.push(&header) {
            Ok(()) => loading.length(),
            Err(_) => None,
        };
        let Some(length) = length.filter(|length| *length as u64 == found.length) else {
            return self.refuse(header, Why::Corrupt, now);
        };
        // Both filters at once are what a worker may need.
        if length > self.max_size.saturating_add(HEADER_BYTES) || !loading.reserve() {
            return self.refuse(header, Why::TooLarge, now);
        }
        self.next = Some(Next::Loading { header, loading });
        self.next_step = now;
    }

    /// A piece has come back; none: it is of another filter by now.
    pub(super) fn piece(&mut self, bytes: Option<&[u8]>, now: Millis) {
        self.reading = false;
        let Some(Next::Loading {
            header,
            mut loading,
        }) = self.next.take()
        else {
            return;
        };
        self.next_step = now;
        let Some(bytes) = bytes else {
            self.next_look = now;
            return;
        };
        if loading.push(bytes).is_err() {
            return self.refuse(header, Why::Corrupt, now);
        }
        if loading.next(PIECE).is_some() {
            self.next = Some(Next::Loading { header, loading });
            return;
        }
        match loading.finish() {
            Ok(filter) => {
                let cursor = 0;
                self.next = Some(Next::CatchingUp(Loaded {
                    header,
                    filter,
                    cursor,
                }));
            }
            Err(_) => self.refuse(header, Why::Corrupt, now),
        }
    }

    /// The next filter becomes the current one.
    fn promote(&mut self) -> bool {
        let Some(Next::CatchingUp(mut next)) = self.next.take() else {
            return false;
        };
        for id in &self.unsaved {
            next.filter.insert(id);
        }
        if self.lost.is_some_and(|at| next.filter.built_at() >= at) {
            self.lost = None;
        }
        self.refused = None;
        self.current = Some(next);
        true
    }
}

fn look(side: Side, cursor: Option<u64>, began: Millis) -> (Read, Asked) {
    let most = if cursor.is_some() { PAGE } else { 0 };
    let cursor = cursor.unwrap_or(0);
    (Read::Look { cursor, most }, Asked::Look { began, side })
}
