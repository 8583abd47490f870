//! What happens, and when: a queue of entries by virtual time. Entries of the same nanosecond come in the order of a
//! number that is drawn from the seed, so that no order is favoured.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One entry. Its key is its place in the queue.
#[derive(Debug)]
pub(crate) struct Entry<E> {
    pub key: Key,
    pub event: E,
}

/// Virtual time in nanoseconds, the drawn number, and the order of entering, which tells apart what else is equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub at: u64,
    draw: u64,
    sequence: u64,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

pub(crate) struct Schedule<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    sequence: u64,
}

impl<E> Schedule<E> {
    pub fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            sequence: 0,
        }
    }

    pub fn enter(&mut self, at: u64, draw: u64, event: E) {
        self.sequence += 1;
        let sequence = self.sequence;
        let key = Key { at, draw, sequence };
        self.heap.push(Reverse(Entry { key, event }));
    }

    /// Puts an entry back where it was.
    pub fn put_back(&mut self, entry: Entry<E>) {
        self.heap.push(Reverse(entry));
    }

    /// When the next entry is due.
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.key.at)
    }

    pub fn pop(&mut self) -> Option<Entry<E>> {
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
