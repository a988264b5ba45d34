//! Whom to believe over TLS, of every command that connects somewhere; `loadgen` has the same options.

use std::io;
use std::path::PathBuf;

use clap::Args;
use thiserror::Error;

use crate::authorities::{Authorities, CertificateError};

/// Whom to believe.
#[derive(Debug, Args)]
pub struct Trust {
    /// For https: certificates of authorities (PEM) to trust besides those of the system, which are where SSL_CERT_FILE
    /// and SSL_CERT_DIR say or in the usual place
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// For https: take any certificate, whoever is behind it
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
}

/// What `--ca` names is no list of certificates.
#[derive(Debug, Error)]
#[error("--ca {}", path.display())]
pub struct TrustError {
    path: PathBuf,
    source: Unusable,
}

#[derive(Debug, Error)]
#[error(transparent)]
enum Unusable {
    Unreadable(#[from] io::Error),
    NoCertificates(#[from] CertificateError),
}

impl Trust {
    /// Reads what was named.
    ///
    /// # Errors
    /// The file cannot be read, or holds no certificates.
    pub fn authorities(&self) -> Result<Authorities, TrustError> {
        if self.insecure {
            return Ok(Authorities::unchecked());
        }
        let Some(path) = &self.ca else { return Ok(Authorities::default()) };
        let read = || Ok(Authorities::try_from_pem(&std::fs::read(path)?)?);
        read().map_err(|source| TrustError { path: path.clone(), source })
    }
}
