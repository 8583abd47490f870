//! What clients send: herds on few keys, with and without what tells clients apart, some that change something, some that
//! leave.

use super::policy::Policy;
use super::sent::Sent;
use fastrand::Rng;
use sluice_emulator::Client;
use std::time::Duration;

/// When the load begins: all workers have seen by then how far the gateway's clock is off.
const BEGIN: Duration = Duration::from_millis(110);
/// When the load ends at the latest.
const END: Duration = Duration::from_secs(6);
/// How much is sent at most, and where there are many keys.
const REQUESTS: (usize, usize) = (50, 120);

/// How many of those who wait would fill the VM's stack.
const CROWD: u64 = 400;

#[derive(Debug, Clone)]
pub struct Load {
    pub sent: Vec<Sent>,
}

impl Load {
    #[must_use]
    pub fn draw(rng: &mut Rng, policy: &Policy, keys: usize, wide: bool, leavers: bool) -> Self {
        let mut sent: Vec<Sent> = Vec::new();
        let mut at = BEGIN;
        let most = rng.usize(4..=if wide { REQUESTS.1 } else { REQUESTS.0 });
        // Some loads are plain, so that herds are large; in others every request is another.
        let odd = [0, 20, 5][rng.usize(..3)];
        while sent.len() < most && at < END {
            let mut usual = Sent::plain(rng, keys);
            let pace = [1, 20, 300, 3_000, 20_000, 200_000][rng.usize(..6)];
            for _ in 0..rng.usize(1..=12) {
                at += Duration::from_nanos(rng.u64(..=pace * 1000));
                if wide {
                    usual.key = rng.usize(..keys);
                }
                let mut one = usual.clone();
                one.at = at;
                if odd > 0 && rng.u8(..odd) == 0 {
                    one.vary(rng);
                }
                if odd > 0 && rng.u8(..20) == 0 {
                    one.change(rng);
                }
                if leavers && rng.u8(..4) == 0 {
                    let patience = match rng.u8(..3) {
                        0 => rng.u64(..1_000_000),
                        1 => rng.u64(..60_000),
                        _ => rng.u64(..6_000),
                    };
                    one.client = Client::LeavesAfter(Duration::from_micros(patience));
                }
                sent.push(one);
            }
            at += gap(rng, policy);
        }
        Self { sent }
    }

    /// More than the gateway could let go at once: that would be too deep for the VM's stack.
    pub fn crowd(&mut self, rng: &mut Rng, keys: usize) {
        let one = Sent::plain(rng, keys);
        let begin = self.end() + Duration::from_millis(rng.u64(1..3_000));
        let crowd = (0..CROWD).map(|number| Sent {
            at: begin + Duration::from_nanos(100 * number),
            ..one.clone()
        });
        self.sent.extend(crowd);
    }

    #[must_use]
    pub fn end(&self) -> Duration {
        self.sent.last().map_or(Duration::ZERO, |last| last.at)
    }
}

/// So long that an answer is there, that a lease has ended, or that an answer has.
fn gap(rng: &mut Rng, policy: &Policy) -> Duration {
    let most = match rng.u8(..6) {
        0..=1 => 8_000,
        2..=3 => 100_000,
        4 => policy.lease_ms * 1_500,
        _ => 1_500_000,
    };
    Duration::from_micros(rng.u64(..=most))
}
