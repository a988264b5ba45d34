//! The file of proxies (`-config`): a JSON array as Toxiproxy reads it, `[{"name":…,"listen":…,"upstream":…}]`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use mockreg_proto::units::ByteCount;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::api;
use crate::proxy::ProxySpec;

/// Bytes of a file of proxies or of a timeline: a hundred thousand proxies. A device that never ends, or the wrong
/// file, is refused in a moment instead of filling the memory.
pub const LONGEST: u64 = 16 << 20;

/// Why a file of proxies was refused: `proxies.json:4:17: …`.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
        /// Line of the value, or of the proxy where something is missing, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
        /// What is wrong, and with which proxy.
        problem: String,
    },
}

/// Reads a file of proxies; with `strict`, of which only the first JSON value counts and the last proxy of each name, and
/// toxics are not looked at, as in Toxiproxy.
///
/// # Errors
/// It cannot be read, is no JSON, or describes no proxies; the error names file, line and column.
pub fn read(path: &Path, strict: bool) -> Result<Vec<ProxySpec>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    parse(path, &text(path).map_err(unreadable)?, strict)
}

/// The text of a file that somebody wrote for the program, which may be a pipe as well.
///
/// # Errors
/// It cannot be read, is longer than [`LONGEST`], or is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        let problem = format!("more than {} in it, which is no file of this kind", ByteCount(LONGEST));
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, problem));
    }
    Ok(text)
}

pub(crate) fn parse(path: &Path, text: &str, strict: bool) -> Result<Vec<ProxySpec>, ConfigError> {
    let list = if strict { first_value(text) } else { text };
    let entries: Vec<&RawValue> = serde_json::from_str(list).map_err(|error| ConfigError::Syntax {
        path: path.to_owned(),
        line: error.line(),
        column: error.column().max(1),
        problem: without_place(&error),
    })?;
    let mut specs: Vec<ProxySpec> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let fail = |piece: &str, problem: String| {
            let (line, column) = place(text, piece);
            ConfigError::Content { path: path.to_owned(), line, column, problem }
        };
        let spec = read_proxy(entry.get(), strict)
            .map_err(|(piece, problem)| fail(piece, format!("proxy {}: {problem}", index + 1)))?;
        for (field, value) in [("name", &spec.name), ("upstream", &spec.upstream)] {
            if value.is_empty() {
                let problem = format!("missing required field: {field} at proxy {}", index + 1);
                return Err(fail(entry.get(), problem));
            }
        }
        if strict {
            specs.retain(|other| other.name != spec.name);
        } else if specs.iter().any(|other| other.name == spec.name) {
            return Err(fail(entry.get(), format!("proxy {} is there twice", spec.name)));
        }
        specs.push(spec);
    }
    Ok(specs)
}

/// One proxy of the file, or what is wrong and the piece of the text that is: the first value that is refused by
/// itself, or all of it.
fn read_proxy(entry: &str, strict: bool) -> Result<ProxySpec, (&str, String)> {
    let read = |text: &str| {
        let value = serde_json::from_str(text).map_err(|error| without_place(&error))?;
        api::proxy_spec(&value, strict).map_err(|error| error.problem().to_owned())
    };
    let whole = match read(entry) {
        Ok(spec) => return Ok(spec),
        Err(problem) => problem,
    };
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(entry).unwrap_or_default();
    let refused = fields.iter().filter_map(|(name, value)| {
        let mut alone = BTreeMap::from([(name, value)]);
        if name == "toxics" {
            // Which ones there are depends on what the proxy carries.
            alone.extend(fields.iter().filter(|(name, _)| ["listen", "upstream"].contains(&name.as_str())));
        }
        let alone = serde_json::to_string(&alone).ok()?;
        Some((value.get(), read(&alone).err()?))
    });
    Err(refused.min_by_key(|(value, _)| value.as_ptr() as usize).unwrap_or((entry, whole)))
}

/// The text of the first value; all of it, where that is none.
fn first_value(text: &str) -> &str {
    let first = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().next();
    first.and_then(Result::ok).map_or(text, RawValue::get)
}

/// What is wrong with a text; where is told apart from it, and of the whole file.
fn without_place(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    whole.split(" at line ").next().unwrap_or(&whole).to_owned()
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
        parse(Path::new("proxies.json"), text, false).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_a_list_of_proxies() {
        let text = r#"[
            {"name": "source", "listen": "127.0.0.1:8666", "upstream": "127.0.0.1:5000", "enabled": false},
            {"Name": "dest", "upstream": "h:1", "label": "d", "comment": null}
        ]"#;
        let specs = parse(Path::new("x"), text, false).unwrap();
        assert_eq!(specs.len(), 2);
        assert!(!specs[0].enabled && specs[1].enabled);
        assert_eq!(specs[1].label.as_deref(), Some("d"));
    }

    #[test]
    fn strictly_the_first_value_and_the_last_of_a_name_count() {
        let text = r#"[{"name":"a","upstream":"b"},{"name":"a","upstream":"c","toxics":7}] and more"#;
        let specs = parse(Path::new("x"), text, true).unwrap();
        assert_eq!(specs, [ProxySpec::new("a", "c")]);
        let one = error(text);
        assert_eq!(one, "proxies.json:1:70: trailing characters");
    }

    #[test]
    fn a_proxy_has_its_toxics_from_the_file() {
        let text = r#"[{"upstream":"udp://h:1","name":"a","toxics":[{"type":"packet_loss"}],"listen":"udp://:0"},
            {"name":"b","upstream":"h:1","toxics":[{"type":"latency"},
            {"type":"packet_loss"}]}]"#;
        assert!(error(text).starts_with("proxies.json:2:51: proxy 2: toxic 2: "), "{}", error(text));
        let good = text.replace(",\n            {\"type\":\"packet_loss\"}", "");
        let specs = parse(Path::new("x"), &good, false).unwrap();
        let kinds = specs.iter().flat_map(|spec| &spec.toxics).map(|toxic| toxic.attributes.kind());
        assert_eq!(kinds.collect::<Vec<_>>(), ["packet_loss", "latency"]);
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
        assert_eq!(
            error("[{\"name\":\"a\",\n\"upstream\":\"b\",\n  \"seed\": -1, \"enabled\": 1}]"),
            "proxies.json:3:11: proxy 1: json: cannot unmarshal number -1 into Go struct field Proxy.seed of type uint64"
        );
        assert_eq!(
            error("[{\"over_limit\": \"wait\"}]"),
            "proxies.json:1:17: proxy 1: over_limit must be refuse or hold, not wait"
        );
        assert_eq!(
            error("[{\"name\": \"a\",\n \"seed\": 1e999}]"),
            "proxies.json:2:10: proxy 1: number out of range"
        );
        assert!(
            error("[1]")
                .starts_with("proxies.json:1:2: proxy 1: json: cannot unmarshal number into Go value")
        );
        let twice = "[{\"name\":\"a\",\"upstream\":\"b\"},{\"name\":\"a\",\"upstream\":\"b\"}]";
        assert_eq!(error(twice), "proxies.json:1:30: proxy a is there twice");
    }
}
