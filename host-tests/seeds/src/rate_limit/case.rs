//! What a seed draws.

use crate::rate_limit::faults::Faults;
use crate::rate_limit::load::Load;
use crate::rate_limit::policy::Policy;
use fastrand::Rng;

#[derive(Debug, Clone)]
pub struct Case {
    pub seed: u64,
    pub gateways: usize,
    pub workers: usize,
    pub policy: Policy,
    pub faults: Faults,
    pub load: Load,
}

impl Case {
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        // The emulator draws from the same seed: this keeps the two apart.
        let mut mix = Rng::with_seed(seed ^ 0x5eed_0000_0000_0000);
        let rng = &mut Rng::with_seed(mix.u64(..));
        let gateways = rng.usize(1..=3);
        let workers = rng.usize(1..=4);
        let policy = Policy::draw(rng);
        let faults = Faults::draw(rng, gateways, workers);
        let load = Load::draw(rng, &policy, gateways, faults.leavers);
        Self {
            seed,
            gateways,
            workers,
            policy,
            faults,
            load,
        }
    }
}
