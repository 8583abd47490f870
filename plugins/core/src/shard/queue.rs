//! Requests of one worker that wait for a turn at a shard, in the order they came.

use std::collections::VecDeque;

use crate::gcra::Ps;

/// Those who wait, for each shard by number.
#[derive(Debug, Default)]
pub struct Queue {
    shards: Vec<VecDeque<Waiting>>,
    waiting: usize,
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    /// Who came later has a higher one.
    number: u64,
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
        let number = self.last + 1;
        let Some(queue) = self.at(shard).filter(|queue| queue.len() < most) else {
            return false;
        };
        queue.push_back(Waiting {
            number,
            stream,
            until,
        });
        self.last = number;
        self.waiting += 1;
        true
    }

    fn at(&mut self, shard: usize) -> Option<&mut VecDeque<Waiting>> {
        if self.shards.len() <= shard {
            self.shards.resize_with(shard + 1, VecDeque::new);
        }
        self.shards.get_mut(shard)
    }

    /// Asks of everybody who waits, in the order they came, for which shard it is now; the time of those is over of whom
    /// `place` knows none.
    pub fn arrange(&mut self, mut place: impl FnMut(usize, u32) -> Option<usize>) {
        let shards = self.shards.iter_mut().enumerate();
        let all = shards.flat_map(|(shard, queue)| queue.drain(..).map(move |one| (shard, one)));
        let mut all: Vec<(usize, Waiting)> = all.collect();
        all.sort_unstable_by_key(|(_, waiting)| waiting.number);
        for (shard, mut waiting) in all {
            let to = place(shard, waiting.stream);
            if to.is_none() {
                waiting.until = 0;
            }
            if let Some(queue) = self.at(to.unwrap_or(shard)) {
                queue.push_back(waiting);
            }
        }
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

    #[test]
    fn who_is_sent_elsewhere_keeps_the_order_and_the_time() {
        let mut queue = Queue::default();
        for (shard, stream, until) in [(0, 1, 90), (1, 2, 40), (0, 3, 90), (1, 4, 90)] {
            queue.push(shard, stream, until, 9);
        }
        let mut asked = Vec::new();
        queue.arrange(|shard, stream| {
            asked.push((shard, stream));
            (stream != 3).then_some(7)
        });
        assert_eq!(asked, [(0, 1), (1, 2), (0, 3), (1, 4)]);
        assert!(queue.has(7) && !queue.has(1));
        assert_eq!(queue.pump(0, 9, |_, _| false), [(3, false)]);
        assert_eq!(
            queue.pump(40, 9, |_, stream| stream == 1),
            [(1, true), (2, false)]
        );
        assert!(queue.forget(7, 4) && queue.is_empty());
    }
}
