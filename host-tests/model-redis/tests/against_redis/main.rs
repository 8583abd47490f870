//! The model answers as a real Redis does, byte for byte.
//!
//! Both run by the machine's clock, so what depends on the time is compared with some slack.

mod cases;
mod faults;
mod pair;
mod random;
mod scripts;
mod shipped;
