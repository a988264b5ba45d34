//! Whom to believe over TLS, of every command that connects somewhere.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::Failure;
use crate::authorities::Authorities;

/// Whom to believe.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// For https: certificates of authorities (PEM) to trust besides those of the system, which are in the file that
    /// SSL_CERT_FILE names or in the usual place
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// For https: take any certificate, whoever is behind it
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

impl Trust {
    /// Reads what was named.
    pub(super) fn authorities(&self) -> Result<Authorities, Failure> {
        if self.insecure {
            return Ok(Authorities::unchecked());
        }
        let Some(path) = &self.ca else { return Ok(Authorities::default()) };
        let read = || anyhow::Ok(Authorities::try_from_pem(&std::fs::read(path)?)?);
        read().with_context(|| format!("--ca {}", path.display())).map_err(Failure::usage)
    }
}
