//! `chaosproxy healthcheck URL`: one small HTTP request, for containers that have nothing else to make it with.

use std::time::Duration;

use http::Uri;
use thiserror::Error;

use crate::ask::{AskError, Server};

/// How long each read may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a server is not healthy.
#[derive(Debug, Error)]
pub enum HealthError {
    /// It cannot be asked, or does not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It answers something else than 2xx.
    #[error("answered {0}")]
    Status(u16),
}

/// Asks `url`, with the path `/healthz` where it has none, whether its server is well.
///
/// # Errors
/// It is not, or cannot be asked.
pub fn check(url: &str) -> Result<(), HealthError> {
    let uri: Uri = url.parse().map_err(|_| AskError::Url)?;
    let path = if uri.path() == "/" { "/healthz" } else { uri.path() };
    match Server::of(&uri, PATIENCE)?.ask("GET", path, "")?.status {
        200..300 => Ok(()),
        status => Err(HealthError::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_server_is_healthy_and_others_are_not() {
        let server = crate::Server::builder().start().unwrap();
        check(&server.url()).unwrap();
        check(&format!("{}/version", server.url())).unwrap();
        assert!(matches!(check(&format!("{}/proxies/none", server.url())), Err(HealthError::Status(404))));
        let url = server.url();
        server.stop();
        assert!(matches!(check(&url), Err(HealthError::Ask(AskError::Dial { .. }))));
        for url in ["", "127.0.0.1:8474", "https://127.0.0.1:1", "http://"] {
            assert!(matches!(check(url), Err(HealthError::Ask(AskError::Url))), "{url}");
        }
    }
}
