//! The same scenario on more than one host, and everything that can be observed compared.
//!
//! A scenario is a file of `host-tests/fidelity/scenarios`: what the gateway runs, what its origin does, what clients do
//! step by step, and all that is observed on a real Envoy ([`scenario`], [`observed`]). A [`Runner`] is a host.

pub mod client;
pub mod envoy;
pub mod observed;
pub mod origin;
pub mod pace;
pub mod scenario;

use observed::Observed;
use scenario::Scenario;

/// A host that scenarios run on.
pub trait Runner: Sync {
    fn name(&self) -> &'static str;

    /// Everything observed, normalised.
    ///
    /// # Panics
    /// When a step cannot be taken: a condition that never holds, a request that never ends.
    fn run(&self, scenario: &Scenario) -> Observed;
}
