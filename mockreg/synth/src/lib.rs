//! Synthetic layers: real archives of any size with true digests, never stored. An image is planned from a name
//! or a catalogue in kilobytes; its bytes are made as they are read. Pure: no clock, socket, file or entropy.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod catalogue;
pub mod image;
pub mod name;
mod spec;

pub use self::spec::{Content, Form, LayerId, LayerIdError, LayerSpec, MAX_LAYER, SpecError};
