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
mod delivery;
mod exchange;
mod handlers;
mod images;
mod journal;
mod journal_file;
mod manifest;
mod metrics;
pub mod policy;
mod problem;
mod query;
mod refusal;
mod route;
mod server;
mod sink;
mod socket;
mod spill;
mod store;
mod upload;

pub use auth::{Auth, HtpasswdError, PostAnswer, TokenPolicy, Users};
pub use config::{Builder, StartError};
pub use server::Registry;
