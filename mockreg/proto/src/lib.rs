//! The words that registry, proxy and load generator share: digests, references, media types, sizes,
//! seeds, and the records they write for each other. Pure: no clock, socket, file or entropy.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod authorization;
pub mod content_range;
pub mod digest;
pub mod document;
pub mod error_code;
pub mod journal;
pub mod media_type;
pub mod query;
pub mod ready_line;
pub mod reference;
pub mod seed;
pub mod units;
