//! The first line a server prints: one JSON object that says it is ready and where it listens.

use serde::{Deserialize, Serialize};

/// `{"event":"ready","service":…,"version":…,<role>:<url>…}`. Scripts read the first line on standard output
/// (or the file given by `--port-file`) instead of guessing when a server is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyLine {
    /// Always `ready`.
    pub event: String,
    /// Program name: `mockreg`, `chaosproxy` or `loadgen`.
    pub service: String,
    /// Version of the program.
    pub version: String,
    /// mockreg: base URL of the registry.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub registry: Option<String>,
    /// mockreg: base URL of the admin port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub admin: Option<String>,
    /// mockreg: base URL of the listener that downloads of blobs are redirected to, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub downloads: Option<String>,
    /// chaosproxy: base URL of the API.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub api: Option<String>,
    /// loadgen: base URL of metrics and dashboard.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub metrics: Option<String>,
}

impl ReadyLine {
    /// A ready line without addresses; set the ones the service has.
    pub fn new(service: &str, version: &str) -> Self {
        Self {
            event: "ready".into(),
            service: service.into(),
            version: version.into(),
            registry: None,
            admin: None,
            downloads: None,
            api: None,
            metrics: None,
        }
    }
}
