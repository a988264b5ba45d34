//! `--table-cache`, of every command that computes digests and of the file of settings.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Failure;
use crate::cache::CacheDir;
use crate::directory;

/// Directory in which checkpoints and digests of layers are kept, so that the next run finds them.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(super) struct TableCache {
    /// Keep checkpoints and digests of layers in this directory, so that the next run finds them [default: stormyard
    /// in $XDG_CACHE_HOME or ~/.cache]
    #[arg(long = "table-cache", value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
}

impl TableCache {
    /// Opens it. What is then written there may fail; a path that leads nowhere is a slip.
    pub(super) fn open(&self) -> Result<CacheDir, Failure> {
        if let Some(directory) = &self.directory {
            let usable = directory::check(directory);
            let named = || format!("--table-cache {} cannot be used", directory.display());
            usable.with_context(named).map_err(Failure::environment)?;
        }
        Ok(CacheDir::open(self.directory.clone()))
    }
}
