//! mockreg: an OCI registry that is always right. It serves synthetic images of any size without storing them, takes
//! pushes, keeps synthetic layers as recipes and everything else in a memory budget, and writes down what every
//! request asked for and really got. Where things go wrong on purpose is another program's business.
//!
//! # In a test
//!
//! A registry with an image of any size takes three lines; afterwards its journal says what the client under test
//! really did, and [`Registry::image`] what a registry really holds.
//!
//! ```
//! # use std::io::{Read, Write};
//! # struct Replicator;
//! # impl Replicator {
//! #     fn ask(&self, url: &str, request: &str, body: &[u8]) -> Vec<u8> {
//! #         let mut stream = std::net::TcpStream::connect(url.trim_start_matches("http://")).unwrap();
//! #         let length = body.len();
//! #         write!(stream, "{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").unwrap();
//! #         write!(stream, "Content-Length: {length}\r\n").unwrap();
//! #         write!(stream, "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n\r\n").unwrap();
//! #         stream.write_all(body).unwrap();
//! #         let mut answer = Vec::new();
//! #         stream.read_to_end(&mut answer).unwrap();
//! #         let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
//! #         answer.split_off(body)
//! #     }
//! #     fn copy(&self, source: &str, destination: &str, image: &mockreg::HeldImage) {
//! #         for blob in image.blobs() {
//! #             let bytes = self.ask(source, &format!("GET /v2/app/blobs/{blob}"), b"");
//! #             self.ask(destination, &format!("POST /v2/app/blobs/uploads/?digest={blob}"), &bytes);
//! #         }
//! #         let manifest = self.ask(source, "GET /v2/app/manifests/v1", b"");
//! #         self.ask(destination, "PUT /v2/app/manifests/v1", &manifest);
//! #     }
//! # }
//! # let replicator = Replicator;
//! use mockreg::Registry;
//!
//! // Two registries on free ports of 127.0.0.1; one has an image of three layers of 1 MB.
//! let source = Registry::builder().name("source").image("app", "v1", "1mb-x3").start()?;
//! let dest = Registry::builder().name("dest").start()?;
//! let image = source.image("app", "v1").expect("it was just put there");
//!
//! // The program under test; here one that does what it should.
//! replicator.copy(&source.url(), &dest.url(), &image);
//!
//! // The copy is the same: manifest, config, layers.
//! assert_eq!(dest.image("app", "v1").as_ref(), Some(&image));
//!
//! // And it was made without waste. Each of these panics with the journal's lines if it does not hold.
//! let pulls = source.journal();
//! pulls.all_complete().none_refused();
//! pulls.blobs().none_fetched_twice().no_byte_sent_twice();
//! pulls.blobs().of(&image.layers()[0]).fetched_once().every_byte_sent_once(1_000_000);
//! pulls.manifests().of("app", "v1").fetched_once();
//! pulls.tokens().none_asked_twice();
//!
//! let pushes = dest.journal();
//! pushes.uploads().all_ended().none_repeated().committed(4);
//! pushes.blobs().of(&image.layers()[0]).pushed_once();
//!
//! // What has no assertion of its own is a slice of records, and a table of counters.
//! assert!(pulls.iter().all(|record| record.attempt == 1));
//! assert_eq!(source.counters().tallied.duplicate_bytes_out, 0);
//! # Ok::<(), mockreg::StartError>(())
//! ```
//!
//! Registries that are not in this process are compared by [`verify`], and their journals read with [`Journal::of`].

mod admin;
mod assertions;
mod auth;
mod authorities;
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
mod directory;
mod exchange;
mod handlers;
mod hashing;
mod head;
mod held;
mod images;
mod inflow;
mod journal;
mod journal_file;
#[cfg(target_os = "linux")]
mod lending;
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
