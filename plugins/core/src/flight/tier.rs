//! Answers in the gateway's shared data, for every worker: a number of places that is fixed, because shared data never
//! gives a key back.
//!
//! There are classes of places by size, each with a share of the bytes, and in each class sets of up to eight places. A
//! hash picks the set. An index for each set says what is in its places; the blobs have keys of their own. A new blob
//! takes the place of the same key, else an empty one, else that of a blob whose time is over, else of the oldest. So the
//! tier never holds more than its bytes, by construction.
//!
//! Writers claim a place in the index by compare-and-swap and then write the blob. A reader takes a blob only if it says
//! that it is the one that the index names: whoever comes in between finds nothing, never another's answer.

use crate::cache::Millis;
use crate::slots::{ABSENT, SharedData};

/// Bytes of a place in each class; the last class is as large as the largest entry.
const CLASSES: [usize; 3] = [4 << 10, 32 << 10, 256 << 10];
/// Of a hundred bytes, how many a class gets, the last one the rest.
const SHARES: [usize; 3] = [30, 30, 25];
const WAYS: usize = 8;
/// What a place costs beside its blob: keys, index, the host's bookkeeping.
const OVERHEAD: usize = 256;
const WORD: usize = 8;
const SLOT: usize = 4 * WORD;
/// Hash and name, before the content.
const HEAD: usize = 2 * WORD;
/// Others change a set each time: far beyond what contention causes.
const MAX_TRIES: u32 = 32;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Slot {
    hash: u64,
    /// Names this very blob. 0: the place is empty.
    id: u64,
    stored: Millis,
    keep_until: Millis,
}

struct Class {
    /// Of a blob with its head.
    size: usize,
    sets: u64,
    ways: usize,
}

/// What is to be stored.
#[derive(Debug, Clone, Copy)]
pub struct Blob<'a> {
    pub hash: u64,
    /// Not 0.
    pub id: u64,
    pub content: &'a [u8],
    pub stored: Millis,
    /// From then on it is of no use.
    pub keep_until: Millis,
}

/// The tier; one for each worker, all over the same shared data.
pub struct Tier<S> {
    store: S,
    classes: Vec<Class>,
}

impl<S: SharedData> Tier<S> {
    /// At most `bytes` for all, with blobs of at most `max_entry` bytes. Where a class gets less than one place there is
    /// none of it.
    pub fn new(store: S, bytes: usize, max_entry: usize) -> Self {
        let largest = max_entry.saturating_add(HEAD);
        let mut left = bytes;
        let mut classes = Vec::new();
        for (size, share) in CLASSES.into_iter().zip(SHARES) {
            if size < largest {
                let mine = bytes / 100 * share;
                left = left.saturating_sub(mine);
                classes.extend(Class::of(size, mine));
            }
        }
        classes.extend(Class::of(largest, left));
        Self { store, classes }
    }

    /// The bytes of the largest content that can be stored.
    pub fn max_content(&self) -> usize {
        let sizes = self.classes.iter().map(|class| class.size - HEAD);
        sizes.max().unwrap_or_default()
    }

    /// False when it is too large, or others kept changing the set.
    pub fn put(&self, blob: &Blob, now: Millis) -> bool {
        let size = blob.content.len() + HEAD;
        let Some(index) = self.classes.iter().position(|class| size <= class.size) else {
            return false;
        };
        let slot = Slot {
            hash: blob.hash,
            id: blob.id,
            stored: blob.stored,
            keep_until: blob.keep_until,
        };
        let claimed = self.change(index, blob.hash, |slots| {
            let way = victim(slots, blob.hash, now)?;
            *slots.get_mut(way)? = slot;
            Some(way)
        });
        let Some(way) = claimed else {
            return false;
        };
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&blob.hash.to_le_bytes());
        bytes.extend_from_slice(&blob.id.to_le_bytes());
        bytes.extend_from_slice(blob.content);
        self.store.put(&self.place(index, blob.hash, way), &bytes);
        // An older one of another size would only waste its place.
        for other in (0..self.classes.len()).filter(|other| *other != index) {
            self.clear(other, |slot| slot.hash == blob.hash, blob.hash);
        }
        true
    }

    /// The newest content of a hash whose time is not over. The caller compares the whole key.
    pub fn get(&self, hash: u64, now: Millis) -> Option<Vec<u8>> {
        let (index, way, slot) = (0..self.classes.len())
            .filter_map(|index| {
                let slots = self.slots(index, hash)?;
                let way = slots.iter().position(|slot| slot.is(hash, now))?;
                Some((index, way, *slots.get(way)?))
            })
            .max_by_key(|(_, _, slot)| slot.stored)?;
        let (mut bytes, _) = self.store.get(&self.place(index, hash, way))?;
        let head = bytes.first_chunk::<HEAD>()?;
        let (theirs, id) = head.split_first_chunk::<WORD>()?;
        if *theirs != hash.to_le_bytes() || *id != slot.id.to_le_bytes() {
            return None;
        }
        bytes.drain(..HEAD);
        Some(bytes)
    }

    /// Forgets what is stored under a hash; only the blob `id`, if one is named.
    pub fn remove(&self, hash: u64, id: Option<u64>) {
        for index in 0..self.classes.len() {
            let this = |slot: &Slot| slot.hash == hash && id.is_none_or(|id| slot.id == id);
            self.clear(index, this, hash);
        }
    }

    fn clear(&self, index: usize, which: impl Fn(&Slot) -> bool, hash: u64) {
        self.change(index, hash, |slots| {
            let slot = slots.iter_mut().find(|slot| slot.id != 0 && which(slot))?;
            *slot = Slot::default();
            Some(())
        });
    }

    /// Changes the set of a hash in one class; `change` says none to leave it.
    fn change<T>(
        &self,
        index: usize,
        hash: u64,
        change: impl Fn(&mut [Slot]) -> Option<T>,
    ) -> Option<T> {
        let class = self.classes.get(index)?;
        let key = class.key(hash);
        for _ in 0..MAX_TRIES {
            let (bytes, version) = self.store.get(&key).unwrap_or((Vec::new(), ABSENT));
            let mut slots = decode(&bytes, class.ways);
            let done = change(&mut slots)?;
            if self.store.set(&key, &encode(&slots), version).is_ok() {
                return Some(done);
            }
        }
        None
    }

    fn slots(&self, index: usize, hash: u64) -> Option<Vec<Slot>> {
        let class = self.classes.get(index)?;
        let (bytes, _) = self.store.get(&class.key(hash))?;
        Some(decode(&bytes, class.ways))
    }

    fn place(&self, index: usize, hash: u64, way: usize) -> String {
        let key = self.classes.get(index).map(|class| class.key(hash));
        format!("{}/{way}", key.unwrap_or_default())
    }
}

impl Class {
    fn of(size: usize, bytes: usize) -> Option<Self> {
        let places = bytes / (size + OVERHEAD);
        let ways = places.min(WAYS);
        (ways > 0).then(|| Self {
            size,
            sets: (places / ways) as u64,
            ways,
        })
    }

    /// The shape is part of the key, so that a changed configuration starts afresh instead of misreading old places.
    fn key(&self, hash: u64) -> String {
        let Self { size, sets, ways } = self;
        format!("sluice/tier/{size}x{sets}x{ways}/{:x}", hash % sets)
    }
}

impl Slot {
    fn is(&self, hash: u64, now: Millis) -> bool {
        self.id != 0 && self.hash == hash && self.keep_until > now
    }
}

/// Which place a new blob takes.
fn victim(slots: &[Slot], hash: u64, now: Millis) -> Option<usize> {
    slots
        .iter()
        .enumerate()
        .min_by_key(|(_, slot)| {
            if slot.id != 0 && slot.hash == hash {
                (0, 0)
            } else if slot.id == 0 || slot.keep_until <= now {
                (1, 0)
            } else {
                (2, slot.stored)
            }
        })
        .map(|(way, _)| way)
}

fn decode(bytes: &[u8], ways: usize) -> Vec<Slot> {
    let mut slots: Vec<Slot> = bytes
        .chunks_exact(SLOT)
        .map(|slot| {
            let mut words = slot.chunks_exact(WORD).map(|word| {
                let word = word.first_chunk().copied().unwrap_or_default();
                u64::from_le_bytes(word)
            });
            let mut next = || words.next().unwrap_or_default();
            Slot {
                hash: next(),
                id: next(),
                stored: next(),
                keep_until: next(),
            }
        })
        .collect();
    slots.resize(ways, Slot::default());
    slots
}

fn encode(slots: &[Slot]) -> Vec<u8> {
    let words = slots
        .iter()
        .flat_map(|slot| [slot.hash, slot.id, slot.stored, slot.keep_until]);
    words.flat_map(u64::to_le_bytes).collect()
}

#[cfg(test)]
#[path = "tier_tests.rs"]
mod tests;
