//! Synthetic layers: real archives of any size with true digests, never stored. An image is planned from a name
//! or a catalogue in kilobytes; its bytes are made as they are read. Pure: no clock, socket, file or entropy.
//!
//! A [`LayerSpec`] says what a layer is, a [`Layer`] reads it, [`Tables`] know its digests, and a [`Comparison`]
//! recognises it when somebody sends it. `image` puts layers under a manifest.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod catalogue;
mod checkpoint;
mod comparison;
mod entry;
mod gzip;
pub mod image;
mod keystream;
mod layer;
pub mod name;
pub mod pool;
pub mod popularity;
pub mod profile;
mod read;
pub mod records;
mod remembered;
mod sha256;
pub mod shipped;
mod spec;
mod stream;
mod tables;
mod tar;
mod zstd;

pub use self::comparison::{Arrival, Comparison, Verdict};
pub use self::layer::Layer;
pub use self::read::Read;
pub use self::sha256::Hasher;
pub use self::spec::{Content, Form, LayerId, LayerIdError, LayerSpec, MAX_LAYER, SpecError};
pub use self::tables::{Archive, LayerDigests, Tables};
