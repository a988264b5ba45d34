//! Drives a container-image replicator through a scenario of real transfers and faults, gathers the evidence and
//! judges it. A library with a thin binary: [`run`] is one run from plan to verdict, everything else its parts.

pub mod cancel;
pub mod client;
pub mod control;
pub mod evidence;
pub mod plan;
pub mod process;
pub mod replicator;
pub mod result;
pub mod scenario;
pub mod verdict;
