//! The proxy over real sockets of loopback: what it does to bytes, what its API says, what its program does.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod admin;
mod api;
mod datagrams;
mod faults;
mod forwarding;
mod harness;
mod introduction;
mod outages;
mod ports;
mod program;
mod records;
mod selection;
mod splice;
mod strict;
mod timeline;
mod toxics;
mod unix;
