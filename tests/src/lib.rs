//! Harness of the end-to-end tests: our programs as processes, other people's programs where they are installed.
//! A test that needs a program says so; where it is missing the test shows as ignored, and with `CI=true` a program
//! that CI installs fails instead.

pub mod binary;
pub mod conformance;
pub mod fake_registry;
pub mod measure;
pub mod memory;
pub mod peers;
pub mod processor;
pub mod program;
pub mod server;
pub mod stub;
pub mod transfer;
