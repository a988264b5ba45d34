//! mockreg: an OCI registry that is always right. It serves synthetic images of any size without storing them, takes
//! pushes, keeps synthetic layers as recipes and everything else in a memory budget, and writes down what every
//! request asked for and really got. Where things go wrong on purpose is another program's business.
//!
//! ```no_run
//! let registry = mockreg::Registry::builder().name("source").start()?;
//! println!("pull {}/synth/5gib", registry.registry_addr());
//! # Ok::<(), mockreg::StartError>(())
//! ```

mod admin;
mod assertions;
mod auth;
mod body;
mod budget;
mod cache;
mod call;
pub mod cli;
mod config;
mod connection;
mod content;
mod core;
mod counters;
mod coverage;
mod delivery;
mod exchange;
mod handlers;
mod hashing;
mod held;
mod images;
mod inflow;
mod journal;
mod journal_file;
mod manifest;
mod metrics;
mod pace;
pub mod policy;
mod problem;
mod quota;
mod redirect;
mod refusal;
mod route;
mod server;
mod sink;
mod socket;
mod spill;
mod store;
mod tally;
mod tls;
mod upload;
mod vendor;
pub mod verify;

pub use assertions::{Blob, Blobs, Journal, Manifest, Manifests, Tokens, Uploads};
pub use auth::{Auth, HtpasswdError, Users};
pub use config::{Builder, StartError};
pub use counters::Counters;
pub use held::HeldImage;
pub use journal::Extent;
pub use metrics::{Levels, Totals};
pub use server::Registry;
pub use tally::Tallied;
pub use tls::{Tls, TlsError};

use mockreg_proto::query;
