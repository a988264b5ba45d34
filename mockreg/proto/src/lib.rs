//! The words that registry, proxy and load generator share: digests, references, media types, sizes,
//! seeds, and the records they write for each other. Pure: no clock, socket, file or entropy.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod digest;
pub mod document;
pub mod journal;
pub mod ready_line;
pub mod seed;
pub mod units;
