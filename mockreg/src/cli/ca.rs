//! `mockreg ca`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use super::Failure;
use crate::tls::{Authority, default_directory};

/// Prints the certificate of the registry's own authority, which clients have to trust. Makes the authority if there is
/// none yet.
#[derive(Debug, Args)]
#[command(after_help = "\
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
