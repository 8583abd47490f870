//! What happened, line by line. Two runs of one seed have the same trace, to the byte.

use std::fmt::Write;

#[derive(Default)]
pub(crate) struct Trace {
    text: String,
}

impl Trace {
    /// Adds a line: the virtual time in microseconds, and what happened.
    pub fn line(&mut self, now: u64, what: std::fmt::Arguments<'_>) {
        let (micros, rest) = (now / 1000, now % 1000);
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{micros:>9}.{rest:03} {what}");
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// A fingerprint of the trace so far: 64-bit FNV-1a, which is the same on every machine.
    pub fn hash(&self) -> u64 {
        self.text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}
