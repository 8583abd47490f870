//! The data: databases of keys with an expiry, seen at the caller's time, and what was there before the last writes.

use std::collections::{BTreeMap, VecDeque};

use crate::reply::Failure;
use crate::value::{Bytes, Kind, Value};

/// How many databases SELECT knows.
pub(crate) const DATABASES: u32 = 16;

/// A key's value and when it goes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub value: Value,
    /// Milliseconds since the epoch; gone after, not at, that time.
    pub expires: Option<i64>,
    /// Grows with each write to the key: see [`Store::revision`].
    revision: u64,
}

/// One key before a write.
type Before = (u32, Bytes, Option<Entry>);

/// What the writes replaced, newest last, each element what one command, script or transaction did. A replica gets
/// them whole or not at all.
#[derive(Debug, Default)]
struct History {
    units: VecDeque<Vec<Before>>,
    current: Vec<Before>,
    bound: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    databases: BTreeMap<u32, BTreeMap<Bytes, Entry>>,
    now: u64,
    /// The second of the last sweep.
    swept: u64,
    revision: u64,
    /// Keys that a write took away and none brought back, and its revision.
    gone: BTreeMap<(u32, Bytes), u64>,
    history: Option<History>,
}

impl Store {
    /// `history` is how many writes can be undone; 0 remembers none.
    pub(crate) fn new(history: usize) -> Self {
        Self {
            history: (history > 0).then(|| History {
                bound: history,
                ..History::default()
            }),
            ..Self::default()
        }
    }

    /// Once a second, what is past its time goes; in between, a key does when it is asked for.
    pub(crate) fn set_now(&mut self, micros: u64) {
        self.now = micros;
        let second = micros / 1_000_000;
        if second != self.swept {
            self.swept = second;
            self.sweep();
        }
    }

    pub(crate) fn now_micros(&self) -> u64 {
        self.now
    }

    pub(crate) fn now_millis(&self) -> i64 {
        i64::try_from(self.now / 1000).unwrap_or(i64::MAX)
    }

    /// Looks a key up; one that is past its time goes now.
    pub(crate) fn get(&mut self, db: u32, key: &[u8]) -> Option<&Entry> {
        let now = self.now_millis();
        let keys = self.databases.get_mut(&db)?;
        if keys.get(key).is_some_and(|entry| expired(entry, now)) {
            // Not a write: where this is undone, the key is past its time as well.
            keys.remove(key);
        }
        keys.get(key)
    }

    /// As [`Store::get`], but leaves what is past its time where it is.
    pub(crate) fn find(&self, db: u32, key: &[u8]) -> Option<&Entry> {
        let entry = self.databases.get(&db)?.get(key)?;
        (!expired(entry, self.now_millis())).then_some(entry)
    }

    /// What WATCH compares: another number after each write to the key, also when it came and went in between.
    pub(crate) fn revision(&mut self, db: u32, key: &[u8]) -> u64 {
        if let Some(entry) = self.get(db, key) {
            return entry.revision;
        }
        let gone = self.gone.get(&(db, key.to_vec()));
        gone.copied().unwrap_or_default()
    }

    /// # Errors
    /// WRONGTYPE when the key holds another kind.
    pub(crate) fn read<K: Kind>(&mut self, db: u32, key: &[u8]) -> Result<Option<&K>, Failure> {
        match self.get(db, key) {
            None => Ok(None),
            Some(entry) => K::of(&entry.value)
                .map(Some)
                .ok_or_else(Failure::wrong_type),
        }
    }

    /// Puts a value in place of what is there.
    pub(crate) fn put(&mut self, db: u32, key: &[u8], value: Value, expires: Option<i64>) {
        if self.history.is_some() {
            let before = self.get(db, key).cloned();
            self.remember(db, key, before);
        }
        self.revision += 1;
        let entry = Entry {
            value,
            expires,
            revision: self.revision,
        };
        self.gone.remove(&(db, key.to_vec()));
        let keys = self.databases.entry(db).or_default();
        keys.insert(key.to_vec(), entry);
    }

    pub(crate) fn remove(&mut self, db: u32, key: &[u8]) -> Option<Entry> {
        self.get(db, key)?;
        let entry = self.databases.get_mut(&db)?.remove(key)?;
        self.revision += 1;
        self.gone.insert((db, key.to_vec()), self.revision);
        self.remember(db, key, Some(entry.clone()));
        Some(entry)
    }

    pub(crate) fn set_expiry(&mut self, db: u32, key: &[u8], expires: Option<i64>) {
        if let Some(before) = self.get(db, key).cloned() {
            self.put(db, key, before.value, expires);
        }
    }

    /// Changes a value where it is, a new one when the key is missing; a collection left empty goes. `change` says
    /// whether it changed anything, and must not have when it fails.
    pub(crate) fn edit<K: Kind, R>(
        &mut self,
        db: u32,
        key: &[u8],
        change: impl FnOnce(&mut K) -> Result<(bool, R), Failure>,
    ) -> Result<R, Failure> {
        if self.get(db, key).is_none() {
            let mut value = K::default();
            let (changed, result) = change(&mut value)?;
            if changed && !value.vanishes() {
                self.put(db, key, value.into_value(), None);
            }
            return Ok(result);
        }
        let remembers = self.history.is_some();
        let missing = || Failure::new("ERR no such key");
        let keys = self.databases.get_mut(&db).ok_or_else(missing)?;
        let entry = keys.get_mut(key).ok_or_else(missing)?;
        if K::of(&entry.value).is_none() {
            return Err(Failure::wrong_type());
        }
        let before = remembers.then(|| entry.clone());
        let value = K::of_mut(&mut entry.value).ok_or_else(Failure::wrong_type)?;
        let (changed, result) = change(value)?;
        if changed {
            self.revision += 1;
            let vanishes = value.vanishes();
            entry.revision = self.revision;
            if vanishes {
                keys.remove(key);
                self.gone.insert((db, key.to_vec()), self.revision);
            }
            self.remember(db, key, before);
        }
        Ok(result)
    }

    /// The keys of a database that are not past their time.
    pub(crate) fn live(&self, db: u32) -> impl Iterator<Item = (&Bytes, &Entry)> {
        let now = self.now_millis();
        let keys = self.databases.get(&db).into_iter().flatten();
        keys.filter(move |(_, entry)| !expired(entry, now))
    }

    pub(crate) fn clear(&mut self, db: u32) {
        let keys: Vec<Bytes> = self.live(db).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.remove(db, &key);
        }
    }

    /// About the bytes that all data takes.
    pub(crate) fn memory(&self) -> usize {
        const KEY: usize = 64;
        let all = (0..DATABASES).flat_map(|db| self.live(db));
        all.map(|(key, entry)| KEY + key.len() + entry.value.size())
            .sum()
    }

    fn sweep(&mut self) {
        let now = self.now_millis();
        for keys in self.databases.values_mut() {
            keys.retain(|_, entry| !expired(entry, now));
        }
    }

    /// Ends what a replica gets in one piece.
    pub(crate) fn commit(&mut self) {
        if let Some(history) = &mut self.history
            && !history.current.is_empty()
        {
            let unit = std::mem::take(&mut history.current);
            history.units.push_back(unit);
            if history.units.len() > history.bound {
                history.units.pop_front();
            }
        }
    }

    /// How many writes can be undone.
    pub(crate) fn undoable(&self) -> usize {
        self.history
            .as_ref()
            .map_or(0, |history| history.units.len())
    }

    /// Whatever was written is written for good.
    pub(crate) fn settle(&mut self) {
        if let Some(history) = &mut self.history {
            history.units.clear();
        }
    }

    /// Puts back what was there before the last `count` writes; says how many it could.
    pub(crate) fn undo(&mut self, count: usize) -> usize {
        let mut undone = 0;
        while undone < count
            && let Some(history) = &mut self.history
            && let Some(unit) = history.units.pop_back()
        {
            for (db, key, before) in unit.into_iter().rev() {
                self.revision += 1;
                let keys = self.databases.entry(db).or_default();
                match before {
                    Some(entry) => keys.insert(key, entry),
                    None => keys.remove(&key),
                };
            }
            undone += 1;
        }
        undone
    }

    fn remember(&mut self, db: u32, key: &[u8], before: Option<Entry>) {
        if let Some(history) = &mut self.history {
            history.current.push((db, key.to_vec(), before));
        }
    }
}

fn expired(entry: &Entry, now: i64) -> bool {
    entry.expires.is_some_and(|at| now > at)
}
