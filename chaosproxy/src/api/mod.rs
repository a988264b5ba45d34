//! The HTTP API: Toxiproxy's routes with its bodies, codes and quirks, and beside them outages, timeline, ledger,
//! connections, counters and metrics.

mod body;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod model;
mod routes;
mod serve;
mod uri;

pub(crate) use model::{proxy_spec, set_attribute, toxic as toxic_of};
pub(crate) use routes::Endpoint;
pub(crate) use serve::serve;
pub(crate) use uri::escaped;
