//! Everything random of a run, drawn from its seed. The schedule, the faults and the workload each have a stream of
//! numbers of their own: a fault that is left out leaves the order of the rest as it was.

use crate::plan::Span;
use fastrand::Rng;

pub(crate) struct Draws {
    pub schedule: Rng,
    pub faults: Rng,
    pub workload: Rng,
}

impl Draws {
    pub fn new(seed: u64) -> Self {
        Self {
            schedule: stream(seed, 1),
            faults: stream(seed, 2),
            workload: stream(seed, 3),
        }
    }

    /// A length of time in nanoseconds.
    pub fn span(&mut self, span: Span) -> u64 {
        within(&mut self.schedule, span)
    }

    /// Whether a fault of this probability strikes. One that cannot strike draws nothing.
    pub fn strikes(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.faults.f64() < probability
    }

    pub fn fault_span(&mut self, span: Span) -> u64 {
        within(&mut self.faults, span)
    }
}

fn within(rng: &mut Rng, span: Span) -> u64 {
    let (least, most) = span.nanos();
    if least >= most {
        least
    } else {
        rng.u64(least..=most)
    }
}

/// Stream `number` of a seed. The multiplier (2^64 divided by the golden ratio) keeps neighbouring seeds apart.
pub(crate) fn stream(seed: u64, number: u64) -> Rng {
    let mut mix = Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Rng::with_seed(mix.u64(..))
}
