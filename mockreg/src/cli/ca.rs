//! `mockreg ca`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::Failure;
use crate::tls::{Authority, default_directory};

/// Print the certificate of the registry's own authority, which clients have to trust.
#[derive(Debug, Args)]
#[command(after_help = "\
The authority is made the first time, and kept: a key and a certificate in the directory, of whose path the last part \
is made where it is missing. `serve --tls-auto` takes it from there, so that clients trust it once.

Examples:
  mockreg ca --dir tls > /etc/docker/certs.d/localhost:5000/ca.crt
      For docker, podman, buildah and skopeo (the latter three also look into ~/.config/containers/certs.d).
  mockreg ca > mockreg.pem && SSL_CERT_FILE=mockreg.pem crane ls localhost:5000/synth/5gib
      For crane, oras and whatever else is written in Go. curl takes --cacert mockreg.pem.")]
pub(super) struct Ca {
    /// Where the authority lives; the same as for `serve --tls-auto` [default: ~/.local/share/stormyard/tls]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Ca {
    /// Prints it.
    pub(super) fn run(self) -> Result<(), Failure> {
        let directory = self.dir.or_else(default_directory).ok_or_else(no_home)?;
        let authority = Authority::open(&directory).map_err(Failure::environment)?;
        print!("{}", authority.certificate());
        Ok(())
    }
}

/// There is no directory to take unless one is named.
pub(super) fn no_home() -> Failure {
    Failure::usage(anyhow!("neither XDG_DATA_HOME nor HOME is set; name the directory of the authority"))
}
