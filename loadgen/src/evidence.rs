//! What the bytes on the wire show: journals of the registries, counters of the proxy, the replica read back. Never
//! what the replicator says of itself.

mod finding;
pub mod journal;
mod read_back;
pub mod replica;
pub mod sample;
