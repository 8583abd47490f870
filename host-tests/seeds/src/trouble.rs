//! How an origin fails by chance.

use fastrand::Rng;
use sluice_emulator::{OriginRequest, OriginTrouble};

/// Probabilities of what an origin does to a request.
#[derive(Debug, Clone, Default)]
pub struct Trouble {
    pub refused: f64,
    pub no_host: f64,
    pub reset_before: f64,
    pub reset_during: f64,
    pub silent: f64,
}

/// Each in half of the cases.
pub fn often(rng: &mut Rng) -> f64 {
    match rng.u8(..2) {
        0 => rng.f64() * 0.3,
        _ => 0.0,
    }
}

impl Trouble {
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            refused: often(rng),
            no_host: often(rng),
            reset_before: often(rng),
            reset_during: often(rng),
            silent: often(rng) / 2.0,
        }
    }

    /// Whether it fails at all.
    #[must_use]
    pub fn fails(&self) -> bool {
        let Self {
            refused,
            no_host,
            reset_before,
            reset_during,
            silent,
        } = self;
        refused + no_host + reset_before + reset_during + silent > 0.0
    }

    /// Whether there is a connection; the exchanges that get none are noted.
    ///
    /// # Errors
    /// When there is none.
    pub fn connect(
        &self,
        rng: &mut Rng,
        request: &OriginRequest,
        refused: &mut Vec<usize>,
    ) -> Result<(), OriginTrouble> {
        let trouble = if rng.f64() < self.refused {
            OriginTrouble::Refused
        } else if rng.f64() < self.no_host {
            OriginTrouble::NoHost
        } else {
            return Ok(());
        };
        refused.push(request.exchange);
        Err(trouble)
    }

    /// What becomes of an answer with so many pieces.
    pub fn answer(&self, rng: &mut Rng, pieces: usize) -> Option<OriginTrouble> {
        if rng.f64() < self.reset_before {
            Some(OriginTrouble::ResetBefore)
        } else if rng.f64() < self.reset_during {
            Some(OriginTrouble::ResetAfter(rng.usize(..=pieces)))
        } else if rng.f64() < self.silent {
            Some(OriginTrouble::Silent)
        } else {
            None
        }
    }
}
