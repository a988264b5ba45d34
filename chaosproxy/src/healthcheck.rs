//! `chaosproxy healthcheck URL`: which URLs can be asked, and which answers are good.

use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::ask::{AskError, Server};
use crate::token::Token;

/// A server that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why a server is not healthy.
#[derive(Debug, Error)]
pub enum HealthError {
    /// It is neither `HOST:PORT`, `http://HOST:PORT[/PATH]` nor `unix:PATH`.
    #[error("not an address of the form HOST:PORT, http://HOST:PORT or unix:PATH")]
    Url,
    /// It cannot be reached, or does not answer.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It answers something else than 2xx.
    #[error("answered {0}")]
    Status(u16),
}

impl From<AskError> for HealthError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Url => Self::Url,
            AskError::Io(error) => Self::Io(error),
            other => Self::Io(io::Error::other(other.to_string())),
        }
    }
}

/// Asks `url`, with the path `/healthz` where it has none, whether its server is well, and shows it `token`.
///
/// # Errors
/// It is not, or cannot be asked.
pub fn check(url: &str, token: Option<Token>) -> Result<(), HealthError> {
    let server = Server::of(url, token, PATIENCE)?;
    let path = if server.path().is_empty() { "/healthz" } else { server.path() };
    match server.ask("GET", path, "")?.status {
        200..=299 => Ok(()),
        status => Err(HealthError::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_server_is_healthy_and_others_are_not() {
        let server = crate::Server::builder().start().unwrap();
        check(&server.url(), None).unwrap();
        check(&format!("{}/version", server.url()), None).unwrap();
        let missing = check(&format!("{}/proxies/none", server.url()), None);
        assert!(matches!(missing, Err(HealthError::Status(404))));
        let url = server.url();
        check(url.trim_start_matches("http://"), None).unwrap();
        server.stop();
        assert!(matches!(check(&url, None), Err(HealthError::Io(_))));
        assert!(matches!(check("unix:/nonexistent/api.sock", None), Err(HealthError::Io(_))));
        for url in ["", "https://127.0.0.1:1", "http://", "unix:"] {
            assert!(matches!(check(url, None), Err(HealthError::Url)), "{url}");
        }
    }
}
