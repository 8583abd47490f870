//! The rate-limit filter under schedules that are drawn from seeds.
//!
//! A seed draws a [`Case`]: gateways and workers, a policy, a load, interruptions and faults. [`run::run`] plays it in the
//! emulator, and [`check::check`] holds what came of it to what `docs/rate-limit.md` promises. [`planted`] shows that the
//! checks find bugs: it plants some and expects them to be caught.

pub mod case;
pub mod check;
pub mod faults;
pub mod load;
pub mod modules;
pub mod planted;
pub mod policy;
pub mod run;
pub mod sweep;

pub use case::Case;
