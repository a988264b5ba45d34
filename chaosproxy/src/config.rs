//! The file of proxies (`-config`): a JSON array as Toxiproxy reads it, `[{"name":…,"listen":…,"upstream":…}]`.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::api;
use crate::proxy::ProxySpec;

/// Why a file of proxies was refused: `proxies.json:4:17: …`.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no JSON.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong.
        problem: String,
    },
    /// It is JSON, and no list of proxies.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line of the proxy, from 1.
        line: usize,
        /// Column of the proxy, from 1.
        column: usize,
        /// What is wrong, and with which proxy.
        problem: String,
    },
}

/// Reads a file of proxies.
///
/// # Errors
/// It cannot be read, is no JSON, or describes no proxies; the error names file, line and column.
pub fn read(path: &Path) -> Result<Vec<ProxySpec>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    parse(path, &std::fs::read_to_string(path).map_err(unreadable)?)
}

pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<ProxySpec>, ConfigError> {
    let entries: Vec<&serde_json::value::RawValue> = serde_json::from_str(text).map_err(|error| {
        let whole = error.to_string();
        let problem = whole.split(" at line ").next().unwrap_or(&whole).to_owned();
        ConfigError::Syntax {
            path: path.to_owned(),
            line: error.line(),
            column: error.column().max(1),
            problem,
        }
    })?;
    let mut specs: Vec<ProxySpec> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let fail = |problem: String| {
            let (line, column) = place(text, entry.get());
            ConfigError::Content { path: path.to_owned(), line, column, problem }
        };
        let value = serde_json::from_str(entry.get()).map_err(|error| fail(error.to_string()))?;
        let spec = api::proxy_spec(&value).map_err(|error| fail(format!("proxy {}: {error}", index + 1)))?;
        for (field, value) in [("name", &spec.name), ("upstream", &spec.upstream)] {
            if value.is_empty() {
                return Err(fail(format!("missing required field: {field} at proxy {}", index + 1)));
            }
        }
        if specs.iter().any(|other| other.name == spec.name) {
            return Err(fail(format!("proxy {} is there twice", spec.name)));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// Line and column, from 1, of a piece of a text.
fn place(text: &str, piece: &str) -> (usize, usize) {
    let before = &text[..(piece.as_ptr() as usize).saturating_sub(text.as_ptr() as usize).min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(Path::new("proxies.json"), text).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_a_list_of_proxies() {
        let text = r#"[
            {"name": "source", "listen": "127.0.0.1:8666", "upstream": "127.0.0.1:5000", "enabled": false},
            {"Name": "dest", "upstream": "h:1", "label": "d", "comment": null}
        ]"#;
        let specs = parse(Path::new("x"), text).unwrap();
        assert_eq!(specs.len(), 2);
        assert!(!specs[0].enabled && specs[1].enabled);
        assert_eq!(specs[1].label.as_deref(), Some("d"));
    }

    #[test]
    fn errors_name_file_line_and_column() {
        assert_eq!(
            error("[\n  {\"name\": \"a\"\n  \"upstream\": \"b\"}]"),
            "proxies.json:3:3: expected `,` or `}`"
        );
        assert!(error("").starts_with("proxies.json:1:1: EOF"), "{}", error(""));
        assert!(error("{}").starts_with("proxies.json:1:1: invalid type: map"), "{}", error("{}"));
        assert_eq!(
            error("[{\"name\":\"a\",\"upstream\":\"b\"},\n {\"name\":\"c\"}]"),
            "proxies.json:2:2: missing required field: upstream at proxy 2"
        );
        assert!(error("[{\"name\":1}]").starts_with("proxies.json:1:2: proxy 1: bad request body: json: "));
        let twice = "[{\"name\":\"a\",\"upstream\":\"b\"},{\"name\":\"a\",\"upstream\":\"b\"}]";
        assert_eq!(error(twice), "proxies.json:1:30: proxy a is there twice");
    }
}
