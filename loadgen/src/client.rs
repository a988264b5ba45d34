//! The HTTP/1.1 client of the replicator: a bounded pool of kept-alive connections, in clear text or under TLS, to the
//! registries of both sides, every byte and request counted, every wait bounded by the idle timeout. It retries nothing
//! but a request that met a connection which had gone stale in the pool; what else is worth another attempt, and when,
//! is the replicator's business.

mod activity;
mod body;
mod connection;
mod endpoint;
mod error;
mod location;
mod pool;
mod reply;
mod request;
mod retry_after;
mod traffic;
mod upload;

pub use endpoint::{Endpoint, EndpointError};
pub use error::{Reason, RequestError};
pub use location::{Location, LocationError};
pub use pool::{Client, ClientConfig, Slots};
pub use reply::Reply;
pub use request::{Call, Remote, Side};
pub use retry_after::parse as parse_retry_after;
pub use traffic::{SideTotals, Traffic, TrafficTotals};
pub use upload::{FeedError, Upload};
