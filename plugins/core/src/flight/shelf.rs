//! Where a worker looks for answers, and puts them: its own memory first, then what all workers share.

use super::codec::{Reader, Writer};
use super::entry::{Content, Entry, Variants};
use super::tier::{Blob, Tier};
use super::voids::{Voids, after};
use crate::cache::{Millis, secondary_key};
use crate::headers::Headers;
use crate::near::Near;
use crate::slots::{ABSENT, SharedData};
use ahash::RandomState;
use std::rc::{Rc, Weak};

const EPOCH: &str = "sluice/epoch";
/// Nothing is kept for longer, whatever its terms say.
pub const LONGEST: Millis = 30 * 86_400_000;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// URI and identity; without what variants depend on.
    pub key: Vec<u8>,
    pub hash: u64,
    /// The hash of the URI alone.
    pub uri: u64,
}

/// What is there for a request.
#[derive(Debug, Clone)]
pub struct Found {
    /// Where its flight is: the hash of the whole key.
    pub hash: u64,
    /// An answer.
    pub entry: Option<Rc<Entry>>,
    /// There are answers for other requests.
    pub varies: bool,
}

/// The stores of a worker.
pub struct Shelf<S> {
    near: Near<Entry>,
    tier: Tier<S>,
    pub voids: Voids<S>,
    store: S,
    hasher: RandomState,
    epoch: u64,
    /// When that began.
    epoch_at: Millis,
    /// Nobody tells this worker what is forgotten: it has to look.
    pub untold: bool,
    /// The id and the body of what was last read from what all share. Many may be woken for it at once, and it may be too
    /// large to be kept here: they have one copy.
    last: (u64, Weak<Vec<u8>>),
}

impl<S: SharedData + Clone> Shelf<S> {
    /// `near` and `shared` bytes, and bodies of at most `max_body`. All workers have the same `secret`.
    pub fn new(store: S, near: usize, shared: usize, max_body: usize, secret: [u64; 4]) -> Self {
        let [a, b, c, d] = secret;
        // Fields and keys come on top of a body.
        let max_entry = max_body.saturating_add(64 << 10);
        let mut shelf = Self {
            near: Near::new(near),
            tier: Tier::new(store.clone(), shared, max_entry),
            voids: Voids::new(store.clone()),
            store,
            hasher: RandomState::with_seeds(a, b, c, d),
            epoch: 0,
            epoch_at: 0,
            untold: false,
            last: (0, Weak::new()),
        };
        shelf.read_epoch();
        shelf
    }

    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.hash_one(bytes)
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// When everything was last forgotten, as far as this worker has been told; 0: never.
    pub fn epoch_at(&self) -> Millis {
        self.epoch_at
    }

    /// Sees whether everything was forgotten meanwhile.
    pub fn read_epoch(&mut self) {
        let bytes = self.store.get(EPOCH).map(|(bytes, _)| bytes);
        let (epoch, at) = epoch(&bytes.unwrap_or_default());
        if epoch != self.epoch {
            self.near.clear();
            self.epoch = epoch;
            self.epoch_at = at;
        }
    }

    /// Forgets everything, in all workers.
    pub fn next_epoch(&mut self, now: Millis) {
        for _ in 0..64 {
            let (bytes, version) = self.store.get(EPOCH).unwrap_or((Vec::new(), ABSENT));
            let (old, at) = epoch(&bytes);
            let mut next = Writer::default();
            next.number(old.wrapping_add(1));
            // Never earlier than the last time, whatever the clock says.
            next.number(now.max(after(at)));
            if self.store.set(EPOCH, &next.done(), version).is_ok() {
                break;
            }
        }
        self.read_epoch();
    }

    /// What this worker has in its own memory. It may be older than what another one has stored.
    pub fn near(&mut self, name: &Name, request: &Headers) -> Found {
        if self.untold {
            self.read_epoch();
        }
        self.find(name, request, |shelf, hash, key| {
            shelf.near_entry(hash, key, name.uri)
        })
    }

    /// What there is, whoever stored it.
    pub fn far(&mut self, name: &Name, request: &Headers, now: Millis) -> Found {
        let void = self.voids.at(name.uri);
        self.find(name, request, |shelf, hash, key| {
            shelf.far_entry(hash, key, void, now)
        })
    }

    fn near_entry(&mut self, hash: u64, key: &[u8], uri: u64) -> Option<Rc<Entry>> {
        let void = match self.untold {
            true => self.voids.at(uri),
            false => self.voids.known(uri),
        };
        let entry = self.near.get(hash)?;
        let valid = entry.key == key && entry.epoch == self.epoch && entry.requested_at > void;
        valid.then_some(entry)
    }

    fn far_entry(&mut self, hash: u64, key: &[u8], void: Millis, now: Millis) -> Option<Rc<Entry>> {
        let mut entry = Entry::decode(&self.tier.get(hash, now)?)?;
        let valid = entry.key == key && entry.epoch == self.epoch && entry.requested_at > void;
        if !valid {
            return None;
        }
        if let Content::Answer(answer) = &mut entry.content {
            let (id, body) = &self.last;
            match body.upgrade().filter(|_| *id == entry.id) {
                Some(body) => answer.body = body,
                None => self.last = (entry.id, Rc::downgrade(&answer.body)),
            }
        }
        let entry = Rc::new(entry);
        self.near.put(hash, Rc::clone(&entry), entry.size());
        Some(entry)
    }

    fn find(
        &mut self,
        name: &Name,
        request: &Headers,
        mut get: impl FnMut(&mut Self, u64, &[u8]) -> Option<Rc<Entry>>,
    ) -> Found {
        let entry = get(self, name.hash, &name.key);
        let variants = entry.as_ref().and_then(|entry| match &entry.content {
            Content::Variants(variants) => Some(variants),
            Content::Answer(_) => None,
        });
        match variants {
            None => Found {
                hash: name.hash,
                entry,
                varies: false,
            },
            Some(variants) => {
                let key = variant_key(name, variants, request);
                let hash = self.hash(&key);
                let entry = get(self, hash, &key);
                Found {
                    hash,
                    entry: entry.filter(|entry| entry.answer().is_some()),
                    varies: true,
                }
            }
        }
    }

    /// Stores an answer for all workers. `entry` has no key yet: it is that of the name, with what `vary` says of the
    /// request. `fresh` is a random number. False when there is no room for such an answer.
    pub fn put(&mut self, put: Put, now: Millis) -> bool {
        let Put {
            name,
            request,
            vary,
            mut entry,
            max_variants,
            fresh,
        } = put;
        let hash = if vary.is_empty() {
            entry.key.clone_from(&name.key);
            name.hash
        } else {
            let mut variants = self.variants(name, &vary, fresh, now);
            entry.key = variant_key(name, &variants, request);
            let hash = self.hash(&entry.key);
            let is_new = !variants.known.contains(&hash);
            if is_new {
                if variants.known.len() >= max_variants.max(1) {
                    let oldest = variants.known.remove(0);
                    self.tier.remove(oldest, None);
                    self.near.remove(oldest);
                }
                variants.known.push(hash);
                let record = Entry {
                    key: name.key.clone(),
                    content: Content::Variants(variants),
                    ..entry
                };
                if !self.store(name.hash, record, now.saturating_add(LONGEST), now) {
                    return false;
                }
            }
            hash
        };
        let keep_until = entry.answer().map_or(0, |answer| answer.terms.keep_until());
        self.store(hash, entry, keep_until, now)
    }

    /// The variants of a name, if they depend on the same fields; else new ones.
    fn variants(&mut self, name: &Name, vary: &[String], fresh: u64, now: Millis) -> Variants {
        let void = self.voids.at(name.uri);
        let entry = self.far_entry(name.hash, &name.key, void, now);
        let known = entry.and_then(|entry| match &entry.content {
            Content::Variants(variants) if variants.names == vary => Some(variants.clone()),
            _ => None,
        });
        known.unwrap_or_else(|| Variants {
            generation: fresh,
            names: vary.to_vec(),
            known: Vec::new(),
        })
    }

    fn store(&mut self, hash: u64, entry: Entry, keep_until: Millis, now: Millis) -> bool {
        let content = entry.encode();
        let blob = Blob {
            hash,
            id: entry.id,
            content: &content,
            stored: now,
            keep_until: keep_until.min(now.saturating_add(LONGEST)),
        };
        let stored = self.tier.put(&blob, now);
        if stored {
            let size = entry.size();
            self.near.put(hash, Rc::new(entry), size);
        } else {
            self.near.remove(hash);
        }
        stored
    }

    /// Forgets one entry.
    pub fn remove(&mut self, hash: u64, id: u64) {
        self.tier.remove(hash, Some(id));
        self.near.remove(hash);
    }

    /// The bytes in this worker's own memory.
    pub fn near_bytes(&self) -> usize {
        self.near.bytes()
    }
}

/// An answer to be stored.
pub struct Put<'a> {
    pub name: &'a Name,
    pub request: &'a Headers,
    /// The fields of the request that the answer depends on.
    pub vary: Vec<String>,
    pub entry: Entry,
    pub max_variants: usize,
    pub fresh: u64,
}

/// The number of an epoch, and when it began.
fn epoch(bytes: &[u8]) -> (u64, Millis) {
    let mut from = Reader(bytes);
    let mut next = || from.number().unwrap_or_default();
    (next(), next())
}

/// The name's key stands before its length, so no name with a variant is another name.
fn variant_key(name: &Name, variants: &Variants, request: &Headers) -> Vec<u8> {
    let mut key = name.key.clone();
    key.extend_from_slice(&variants.generation.to_le_bytes());
    key.extend_from_slice(&secondary_key(&variants.names, request));
    key.extend_from_slice(&(name.key.len() as u64).to_le_bytes());
    key
}
