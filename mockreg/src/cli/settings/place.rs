//! Where a setting stands that something is wrong with: whoever finds out, when the file is read or when the registry
//! does not start, names the key, and this looks up its line. What was typed stands nowhere.

use std::path::PathBuf;

use mockreg_proto::document::{self, DocumentError};

use super::{Failure, Settings};
use crate::config::StartError;
use crate::tls::TlsError;

/// A file of settings as it is written: what is wrong with a setting names its place there.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

impl Settings {
    /// A failure that is due to a setting, with the place where the setting stands in the file: that of the first of
    /// `keys` that was read from it. What was typed needs no place.
    pub(in crate::cli) fn at(&self, keys: &[&str], failure: Failure) -> Failure {
        let Some(file) = &self.file else { return failure };
        let is_typed = |key: &str| self.typed.contains(&key.split(['.', '[']).next().unwrap_or(key));
        let is_read = |key: &&&str| !is_typed(key) && document::place_of_key(&file.text, key).is_some();
        let Some(key) = keys.iter().find(is_read) else { return failure };
        let message = format!("{:#}", failure.error);
        Failure { error: DocumentError::at_key(&file.name, &file.text, key, &message).into(), ..failure }
    }

    /// A setting that cannot be meant.
    pub(super) fn wrong(&self, keys: &[&str], error: impl Into<anyhow::Error>) -> Failure {
        self.at(keys, Failure::usage(error))
    }

    /// A registry that did not start, as `explain` has it, with the place of the setting that it is due to.
    pub(in crate::cli) fn placed(
        &self,
        error: StartError,
        explain: impl Fn(StartError) -> Failure,
    ) -> Failure {
        let policy = match &error {
            StartError::Policy(error) => format!("policy.{}", error.key().unwrap_or_default()),
            _ => String::new(),
        };
        let is_key = |path: &PathBuf| self.tls_key.as_ref() == Some(path);
        let keys: &[&str] = match &error {
            StartError::Listen { port: "registry", .. } => &["listen"],
            StartError::Listen { port: "admin", .. } => &["admin"],
            StartError::Listen { .. } => &["redirect_blobs"],
            StartError::JournalFile { .. } => &["journal"],
            StartError::Spill { .. } => &["spill"],
            StartError::Tls(TlsError::File { path, .. } | TlsError::Pem { path, .. }) if is_key(path) => {
                &["tls_key"]
            }
            StartError::Tls(_) => &["tls_auto", "tls_cert"],
            StartError::Policy(_) if policy == "policy.redirects.base_url" => &["redirect_url", &policy],
            StartError::Policy(_) => &[&policy],
            _ => &[],
        };
        self.at(keys, explain(error))
    }
}
