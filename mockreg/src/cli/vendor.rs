//! `mockreg vendor`

use std::io::{self, Write as _};

use clap::{Args, Subcommand};

use super::Failure;
use crate::vendor::Vendor;

/// Say how well-known registries differ from the specification, and what `serve --vendor` makes of it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mockreg vendor list
  mockreg vendor show hub
      The switches, why they are set, and where that can be read.

The `set` keys of a profile are those of `policy` in the file that `serve --config` takes, so what a profile does can \
be taken over in part.")]
pub(super) struct VendorCommand {
    #[command(subcommand)]
    command: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Name the profiles
    List,
    /// Print one profile
    Show {
        /// Its name
        name: String,
    },
}

impl VendorCommand {
    /// Prints what was asked for.
    pub(super) fn run(&self) -> Result<(), Failure> {
        let text = match &self.command {
            What::List => {
                Vendor::all().map(|vendor| format!("{:<12} {}\n", vendor.name, vendor.summary())).collect()
            }
            What::Show { name } => {
                Vendor::named(name).map_err(|reason| Failure::usage(anyhow::anyhow!(reason)))?.text.to_owned()
            }
        };
        io::stdout().write_all(text.as_bytes()).map_err(Failure::environment)
    }
}
