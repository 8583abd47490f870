//! What a worker keeps in its own memory: the entries used last, up to a number of bytes.

use lru::LruCache;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

/// What an entry costs beside its own bytes: the list, the table, allocations.
const OVERHEAD: usize = 256;

/// Entries by the hash of their key, of which each says how many bytes it has.
pub struct Near<T> {
    entries: LruCache<u64, (Rc<T>, usize), BuildHasherDefault<Same>>,
    bytes: usize,
    max_bytes: usize,
}

impl<T> Near<T> {
    #[must_use]
    pub fn new(max_bytes: usize) -> Self {
        Self {
            entries: LruCache::unbounded_with_hasher(BuildHasherDefault::default()),
            bytes: 0,
            max_bytes,
        }
    }

    /// The entry, which is now the last one to go.
    pub fn get(&mut self, hash: u64) -> Option<Rc<T>> {
        self.entries.get(&hash).map(|(entry, _)| Rc::clone(entry))
    }

    /// Keeps an entry of `size` bytes in the place of the one that the hash has; others that were not used for long go.
    pub fn put(&mut self, hash: u64, entry: Rc<T>, size: usize) {
        self.remove(hash);
        if !self.fits(size) {
            return;
        }
        let size = size + OVERHEAD;
        self.entries.put(hash, (entry, size));
        self.bytes += size;
        while self.bytes > self.max_bytes
            && let Some((_, (_, size))) = self.entries.pop_lru()
        {
            self.bytes -= size;
        }
    }

    /// Whether there can be room for an entry of `size` bytes.
    #[must_use]
    pub fn fits(&self, size: usize) -> bool {
        size.saturating_add(OVERHEAD) <= self.max_bytes
    }

    pub fn remove(&mut self, hash: u64) {
        if let Some((_, size)) = self.entries.pop(&hash) {
            self.bytes -= size;
        }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The bytes of all entries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Keys are hashes already.
#[derive(Default)]
pub struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let mut near = Near::new(3 * (OVERHEAD + 100));
        for hash in 0..3 {
            near.put(hash, Rc::new(hash), 100);
        }
        assert_eq!(near.get(0).as_deref(), Some(&0));
        near.put(3, Rc::new(3), 100);
        assert!(near.get(1).is_none());
        assert!([0, 2, 3].iter().all(|hash| near.get(*hash).is_some()));
    }

    #[test]
    fn an_entry_larger_than_all_is_not_kept_and_nothing_goes_for_it() {
        let mut near = Near::new(1000);
        near.put(1, Rc::new(()), 10);
        near.put(2, Rc::new(()), 10_000);
        assert!(near.get(1).is_some() && near.get(2).is_none());
        near.put(1, Rc::new(()), 10_000);
        assert!(near.get(1).is_none(), "the old one is not the answer");
        assert_eq!((near.bytes(), near.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn bytes_are_counted_and_bounded(
            steps in prop::collection::vec((0u64..20, 0usize..3000, any::<bool>()), 1..300),
        ) {
            let mut near = Near::new(8000);
            for (hash, size, remove) in steps {
                if remove {
                    near.remove(hash);
                } else {
                    near.put(hash, Rc::new(size), size);
                }
                let held: usize = near.entries.iter().map(|(_, (entry, _))| **entry + OVERHEAD).sum();
                prop_assert_eq!(near.bytes(), held);
                prop_assert!(held <= 8000);
            }
        }
    }
}
