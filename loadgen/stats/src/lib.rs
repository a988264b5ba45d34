//! What can be said from samples: latency histograms that merge, the interval around an observed share, and how
//! many samples a claim needs. Pure: no clock, no file, no entropy.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod latency;
pub mod proportion;
pub mod sample_size;

pub use latency::{Latency, LatencySummary};
