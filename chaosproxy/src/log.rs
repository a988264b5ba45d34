//! Logs of the program: where they go, and how much is said, by Toxiproxy's `LOG_LEVEL`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Where logs go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// For people.
    StandardError,
    /// JSON, a line each, as Toxiproxy has it.
    StandardOutput,
}

/// Starts logging, once in a process. A `LOG_LEVEL` that is none is told, and information is logged.
pub fn start(destination: Destination) {
    let wanted = std::env::var("LOG_LEVEL").unwrap_or_default();
    let filter = filter(&wanted);
    let is_unknown = filter.is_none();
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match destination {
        Destination::StandardError => {
            log.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr).init();
        }
        Destination::StandardOutput => log.json().with_writer(std::io::stdout).init(),
    }
    if is_unknown {
        tracing::error!(LOG_LEVEL = %wanted, "unknown level; known are trace, debug, info, warn, error, off");
    }
}

/// What a level lets through, by the names of Toxiproxy's, of which two have no fellow here, or as directives of
/// `tracing`, such as `chaosproxy=debug`; `None` where it is neither.
fn filter(level: &str) -> Option<EnvFilter> {
    let directives = match level.to_lowercase().as_str() {
        "" => "info",
        "fatal" | "panic" => "error",
        "disabled" | "off" => "off",
        name @ ("trace" | "debug" | "info" | "warn" | "error") => return Some(EnvFilter::new(name)),
        _ if level.contains('=') => level,
        _ => return None,
    };
    EnvFilter::try_new(directives).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_toxiproxy() {
        for (level, shown) in [
            ("", "info"),
            ("TRACE", "trace"),
            ("warn", "warn"),
            ("fatal", "error"),
            ("panic", "error"),
            ("disabled", "off"),
            ("chaosproxy=debug", "chaosproxy=debug"),
        ] {
            assert_eq!(filter(level).unwrap().to_string(), shown, "{level}");
        }
        for level in ["loud", "info,", "=", "chaosproxy=loud"] {
            assert!(filter(level).is_none(), "{level}");
        }
    }
}
