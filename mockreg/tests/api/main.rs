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
mod lists;
mod manifests;
mod policies;
mod program;
mod pull;
mod push;
mod ranges;
mod referrers;
mod sessions;
mod spill;
mod synthetic;
mod vanishing;
