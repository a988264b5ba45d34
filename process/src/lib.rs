//! What the three programs need alike of the machine that they run on: how much memory and time a process takes, and
//! whether a server is well. It reads clocks, sockets and `/proc`, which is why it is apart from the vocabulary in
//! `mockreg-proto`; it knows nothing of registries and proxies.

pub mod health;
mod usage;

pub use usage::{cpu_time, peak_resident_bytes, resident_bytes, threads, virtual_bytes};
