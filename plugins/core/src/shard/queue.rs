//! Requests of one worker that wait for a turn at a shard, in the order they came.

use std::collections::VecDeque;

use crate::gcra::Ps;

/// Those who wait, for each shard by number.
#[derive(Debug, Default)]
pub struct Queue {
    shards: Vec<VecDeque<Waiting>>,
    waiting: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    stream: u32,
    until: Ps,
}

impl Queue {
    /// Whether anybody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether anybody waits for this shard: who comes now goes behind.
    #[must_use]
    pub fn has(&self, shard: usize) -> bool {
        self.shards
            .get(shard)
            .is_some_and(|queue| !queue.is_empty())
    }

    /// Puts a stream at the end, if fewer than `most` wait for the shard.
    pub fn push(&mut self, shard: usize, stream: u32, until: Ps, most: usize) -> bool {
        if self.shards.len() <= shard {
            self.shards.resize_with(shard + 1, VecDeque::new);
        }
        let Some(queue) = self
            .shards
            .get_mut(shard)
            .filter(|queue| queue.len() < most)
        else {
            return false;
        };
        queue.push_back(Waiting { stream, until });
        self.waiting += 1;
        true
    }

    /// The stream has gone. True when it waited.
    pub fn forget(&mut self, shard: usize, stream: u32) -> bool {
        let Some(queue) = self.shards.get_mut(shard) else {
            return false;
        };
        let Some(place) = queue.iter().position(|waiting| waiting.stream == stream) else {
            return false;
        };
        queue.remove(place);
        self.waiting -= 1;
        true
    }

    /// Takes out those whose time has come, at most `most`: those at the front for as long as `enter` lets them in (true),
    /// and those who waited too long (false). The rest stay where they are and are let in nowhere.
    pub fn pump(
        &mut self,
        now: Ps,
        most: usize,
        mut enter: impl FnMut(usize, u32) -> bool,
    ) -> Vec<(u32, bool)> {
        let mut out = Vec::new();
        for (shard, queue) in self.shards.iter_mut().enumerate() {
            while let Some(first) = queue.front().filter(|_| out.len() < most) {
                let late = first.until <= now;
                if !late && !enter(shard, first.stream) {
                    break;
                }
                out.push((first.stream, !late));
                queue.pop_front();
            }
            // Their times differ where routes differ: one behind the front may be late.
            queue.retain(|waiting| {
                let late = waiting.until <= now && out.len() < most;
                if late {
                    out.push((waiting.stream, false));
                }
                !late
            });
        }
        self.waiting -= out.len();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_come_first_served_until_the_shard_is_full() {
        let mut queue = Queue::default();
        for stream in 1..=3 {
            assert!(queue.push(2, stream, 100, 3));
        }
        assert!(!queue.push(2, 4, 100, 3));
        assert!(queue.has(2) && !queue.has(1));
        let mut room = 2;
        let out = queue.pump(0, 9, |shard, _| {
            assert_eq!(shard, 2);
            room -= 1;
            room >= 0
        });
        assert_eq!(out, [(1, true), (2, true)]);
        assert!(queue.forget(2, 3) && !queue.forget(2, 3));
        assert!(queue.is_empty());
    }

    #[test]
    fn who_waited_too_long_is_told_so_wherever_he_stands() {
        let mut queue = Queue::default();
        for (stream, until) in [(1, 10), (2, 30), (3, 20)] {
            queue.push(0, stream, until, 9);
        }
        assert_eq!(queue.pump(20, 9, |_, _| false), [(1, false), (3, false)]);
        assert!(queue.has(0));
        assert_eq!(queue.pump(29, 9, |_, _| true), [(2, true)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn no_more_than_so_many_are_taken_out_and_nobody_else_is_let_in() {
        let mut queue = Queue::default();
        for (stream, until) in [(1, 10), (2, 90), (3, 10), (4, 90), (5, 10)] {
            queue.push(stream as usize % 2, stream, until, 9);
        }
        let mut entered = Vec::new();
        let mut pump = |most| {
            queue.pump(20, most, |_, stream| {
                entered.push(stream);
                true
            })
        };
        assert_eq!(pump(0), []);
        assert_eq!(pump(3), [(2, true), (4, true), (1, false)]);
        assert_eq!(pump(3), [(3, false), (5, false)]);
        assert_eq!(entered, [2, 4]);
        assert!(queue.is_empty());
    }
}
