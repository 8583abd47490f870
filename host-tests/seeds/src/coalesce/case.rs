//! What a seed draws.

use super::faults::Faults;
use super::fleet::Fleet;
use super::load::Load;
use super::nature::Nature;
use super::policy::Policy;
use fastrand::Rng;

#[derive(Debug, Clone)]
pub struct Case {
    pub seed: u64,
    /// More than one: they share flights by Redis.
    pub gateways: usize,
    /// Of each gateway.
    pub workers: usize,
    /// More answers than there is room for.
    pub wide: bool,
    pub policy: Policy,
    /// What the origin says of each key.
    pub natures: Vec<Nature>,
    pub faults: Faults,
    pub load: Load,
}

/// How many keys there are: few, so that requests meet.
const KEYS: usize = 4;
/// And where there are more than there is room for.
const WIDE: usize = 64;

impl Case {
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        // The emulator draws from the same seed: this keeps the two apart.
        let mut mix = Rng::with_seed(seed ^ 0xc0a1_e5ce_0000_0000);
        let rng = &mut Rng::with_seed(mix.u64(..));
        // Only for those of more than one gateway.
        let fleets = &mut Rng::with_seed(mix.u64(..));
        let fleet = fleets.u8(..5) == 0;
        let crowd = rng.u8(..40) == 0 && !fleet;
        let (gateways, workers) = match (fleet, crowd) {
            (true, _) => (fleets.usize(2..=3), fleets.usize(1..=3)),
            (_, true) => (1, 1),
            _ => (1, rng.usize(1..=4)),
        };
        let wide = !crowd && rng.u8(..12) == 0;
        let mut policy = Policy::draw(rng, wide);
        policy.fleet = fleet.then(|| Fleet::draw(fleets, policy.max_body));
        let keys = if wide { WIDE } else { rng.usize(1..=KEYS) };
        let natures = (0..keys)
            .map(|_| Nature::draw(rng, policy.max_body))
            .collect();
        let mut faults = Faults::draw(rng, &policy, workers);
        let mut load = Load::draw(rng, &policy, keys, wide, faults.leavers);
        if crowd {
            // Interruptions of each of them would add up to more than any check allows for.
            faults.interruption = 0.0;
            load.crowd(rng, keys);
        }
        if let Some(fleet) = &policy.fleet {
            let refreshes = policy.refresh_ms.is_some();
            faults.spread(fleets, gateways, fleet, refreshes);
            for sent in &mut load.sent {
                sent.gateway = fleets.usize(..gateways);
            }
        }
        Self {
            seed,
            gateways,
            workers,
            wide,
            policy,
            natures,
            faults,
            load,
        }
    }

    /// Whether a worker's VM, or the whole process, of any gateway goes down.
    #[must_use]
    pub fn crashes(&self) -> bool {
        (0..self.gateways).any(|gateway| self.faults.crashes(gateway))
    }

    /// Whether Redis does all that it is asked, at once; true as well where there is none.
    #[must_use]
    pub fn redis_is_well(&self) -> bool {
        let fleet = self.policy.fleet.as_ref();
        fleet.is_none_or(|fleet| !self.faults.redis_fails(fleet.stream))
    }
}
