//! What a seed draws.

use super::faults::Faults;
use super::load::Load;
use super::policy::Policy;
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
        let mut mix = Rng::with_seed(seed ^ 0x1de0_0000_0000_0000);
        let rng = &mut Rng::with_seed(mix.u64(..));
        let gateways = rng.usize(1..=2);
        let workers = rng.usize(1..=2);
        let policy = Policy::draw(rng);
        let faults = Faults::draw(rng, &policy, gateways, workers);
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
