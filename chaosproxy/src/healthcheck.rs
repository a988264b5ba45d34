//! `chaosproxy healthcheck URL`: which URLs can be asked, and which answers are good.

use http::Uri;
use stormyard_process::health;
use thiserror::Error;

/// Why a server is not healthy.
#[derive(Debug, Error)]
pub enum HealthError {
    /// The URL is not `http://HOST:PORT[/PATH]`.
    #[error("not a URL of the form http://HOST:PORT")]
    Url,
    /// It cannot be reached, or does not answer.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It answers something else than 2xx.
    #[error("answered {0}")]
    Status(String),
}

/// Asks `url`, with the path `/healthz` where it has none, whether its server is well.
///
/// # Errors
/// It is not, or cannot be asked.
pub fn check(url: &str) -> Result<(), HealthError> {
    let uri: Uri = url.parse().map_err(|_| HealthError::Url)?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else { return Err(HealthError::Url) };
    let path = if uri.path() == "/" { "/healthz" } else { uri.path() };
    let port = uri.port_u16().unwrap_or(80);
    let line = health::status_line(&format!("{host}:{port}"), path, Ok)?;
    let status = line.split(' ').nth(1).unwrap_or_default();
    if status.len() == 3 && status.starts_with('2') {
        Ok(())
    } else {
        Err(HealthError::Status(status.to_owned()))
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
        assert!(
            matches!(check(&format!("{}/proxies/none", server.url())), Err(HealthError::Status(s)) if s == "404")
        );
        let url = server.url();
        server.stop();
        assert!(matches!(check(&url), Err(HealthError::Io(_))));
        for url in ["", "127.0.0.1:8474", "https://127.0.0.1:1", "http://"] {
            assert!(matches!(check(url), Err(HealthError::Url)), "{url}");
        }
    }
}
