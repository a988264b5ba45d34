//! The registry as clients meet it: over real sockets, on ports of its own, in a process of its own where it is the
//! program that is tested.

#![allow(clippy::unwrap_used, reason = "what cannot be unwrapped here has failed the test")]

mod admin;
mod auth;
mod bad_input;
mod catalogue;
mod client;
mod deletes;
mod digests;
mod http2;
mod http2_client;
mod idle;
mod lists;
mod manifests;
mod policies;
mod program;
mod pull;
mod push;
mod quotas;
mod ranges;
mod redirects;
mod referrers;
mod sessions;
mod spill;
mod synthetic;
mod tls;
mod vanishing;
mod verify;
