//! Files that people write (catalogues, scenarios, timelines): YAML or JSON into a struct, and errors that name
//! file, line, column, what is wrong and the nearest thing that would be right.

mod keys;

use serde::de::DeserializeOwned;
use serde_saphyr::Error;
use thiserror::Error;

use self::keys::Keys;

/// Why a document could not be read: `catalogue.yaml:7:5: unknown key `layer`; did you mean `layers`?`
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name}{}: {message}", place(*.line, *.column))]
pub struct DocumentError {
    /// Name of the file, or what stands for it (`request body`).
    pub name: String,
    /// Line from 1; `None` where the parser has none.
    pub line: Option<u64>,
    /// Column from 1; `None` where the parser has none.
    pub column: Option<u64>,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Reads one document. `name` is what errors call it.
///
/// # Errors
/// Anything that is not exactly a `T`: bad syntax, unknown or doubled keys, missing keys, values out of range.
pub fn read<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, DocumentError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let location = error.location().filter(|at| at.line() > 0);
        let mut place = location.as_ref().map(|at| (at.line(), at.column()));
        let message = match explain(error) {
            Explained::NamesKey(message) => message,
            Explained::Value(message) => {
                let keys = place.map(|(line, column)| (Keys::of(text), line, column));
                let path = keys.as_ref().and_then(|(keys, line, column)| keys.path_at(*line, *column));
                path.map_or_else(|| message.clone(), |path| with_key(&message, path))
            }
            // The parser gives the place of the key where a value was read and is refused by its type.
            Explained::Refused(message) => {
                let keys = Keys::of(text);
                let at = |(line, column)| keys.named_at(line, column).or_else(|| keys.path_at(line, column));
                match place.and_then(at) {
                    Some(path) => {
                        place = keys.place_of(path);
                        with_key(&message, path)
                    }
                    None => message,
                }
            }
        };
        DocumentError {
            name: name.to_owned(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message,
        }
    })
}

impl DocumentError {
    /// What is wrong with a document that could be read: the place is that of the value under `path`, a key like
    /// `repositories[2].layers[0]`, or of the nearest value around it, and the message names the key.
    pub fn at_key(name: &str, text: &str, path: &str, message: &str) -> Self {
        let place = place_of_key(text, path);
        Self {
            name: name.to_owned(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message: with_key(message, path),
        }
    }
}

/// Line and column, both from 1, of the value under a key like `repositories[2].layers[0]`, or else of the nearest
/// value around it: for what is wrong with a document that could be read. `None` where there is nothing of the kind.
pub fn place_of_key(text: &str, path: &str) -> Option<(u64, u64)> {
    Keys::of(text).place_of(path)
}

/// The message with the key it is about, unless it says so itself.
fn with_key(message: &str, path: &str) -> String {
    let leaf = path.rsplit('.').next().unwrap_or(path);
    if [format!("`{leaf}`"), format!("`{leaf}:"), format!(".{leaf}`")].iter().any(|own| message.contains(own))
    {
        return message.to_owned();
    }
    format!("{message} (key `{path}`)")
}

/// The one of `known` that is closest to `given`, if any is close enough to be a slip of the finger.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler 0.75 keeps transpositions, missing and doubled letters, and drops unrelated words.
    const CLOSE_ENOUGH: f64 = 0.75;
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(given, candidate), candidate))
        .filter(|(score, _)| *score >= CLOSE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// What is wrong, in words.
enum Explained {
    /// The words name the key.
    NamesKey(String),
    /// The words are about a value alone.
    Value(String),
    /// The same, of a value that its type refused after it was read.
    Refused(String),
}

fn explain(error: &Error) -> Explained {
    use Explained::{NamesKey, Refused, Value};
    let unknown = |what: &str, given: &str, expected: &[&'static str]| {
        let hint = match nearest(given, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", expected.join(", ")),
        };
        format!("unknown {what} `{given}`; {hint}")
    };
    match error {
        Error::SerdeUnknownField { field, expected, .. } => NamesKey(unknown("key", field, expected)),
        Error::SerdeUnknownVariant { variant, expected, .. } => Value(unknown("value", variant, expected)),
        Error::SerdeMissingField { field, .. } => NamesKey(format!("missing key `{field}`")),
        Error::DuplicateMappingKey { key: Some(key), .. } => NamesKey(format!("key `{key}` stands twice")),
        Error::InvalidScalar { ty, .. } if is_unsigned(ty) => {
            Value(format!("not a whole number; write one from 0 to {}", largest(ty)))
        }
        Error::SerdeInvalidValue { expected, .. } if nonzero(expected).is_some() => {
            let most = largest(nonzero(expected).unwrap_or_default());
            Refused(format!("not a whole number above 0; write one from 1 to {most}"))
        }
        other => {
            // The parser's own text repeats the place, which stands before the message already.
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            let bare = first.split(" at line ").next().unwrap_or_default().trim_start_matches("error: ");
            Value(bare.to_owned())
        }
    }
}

/// The type that serde calls `a nonzero u16`.
fn nonzero(expected: &str) -> Option<&str> {
    expected.strip_prefix("a nonzero ").filter(|ty| is_unsigned(ty))
}

/// Whether the parser's name of a type is that of an unsigned integer: `u8` to `u128`.
fn is_unsigned(ty: &str) -> bool {
    ty.strip_prefix('u').is_some_and(|bits| bits.parse::<u32>().is_ok())
}

fn largest(ty: &str) -> u128 {
    let bits = ty.trim_start_matches('u').parse().unwrap_or(u128::BITS);
    u128::MAX >> u128::BITS.saturating_sub(bits).min(u128::BITS - 1)
}

fn place(line: Option<u64>, column: Option<u64>) -> String {
    [line, column].into_iter().flatten().map(|n| format!(":{n}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        name: String,
        #[serde(default)]
        size: crate::units::ByteCount,
    }

    fn error(text: &str) -> String {
        read::<Example>("file.yaml", text).unwrap_err().to_string()
    }

    #[test]
    fn yaml_and_json_read_alike() {
        let wanted = Example { name: "a".into(), size: crate::units::ByteCount(64 << 20) };
        assert_eq!(read::<Example>("x", "name: a\nsize: 64MiB").as_ref(), Ok(&wanted));
        assert_eq!(read::<Example>("x", r#"{"name":"a","size":67108864}"#).as_ref(), Ok(&wanted));
    }

    #[test]
    fn errors_name_file_line_key_and_remedy() {
        assert_eq!(error("name: a\nsiez: 5"), "file.yaml:2:1: unknown key `siez`; did you mean `size`?");
        assert!(
            error("name: a\nsize: 5 parsecs").starts_with("file.yaml:2:7: "),
            "{}",
            error("name: a\nsize: 5 parsecs")
        );
        assert!(error("name: a\nsize: 5 parsecs").contains("write it like 64MiB"));
        assert!(error("size: 5").contains("missing key `name`"));
        assert!(error("name: a\nname: b").contains("`name` stands twice"));
        assert!(error("name: [").starts_with("file.yaml:"));
        assert!(error("name: a\nsize: 5 parsecs").ends_with("(key `size`)"));
        assert!(
            error("name: a\nsize: 5 parsecs\nname: [").starts_with("file.yaml:2:7: "),
            "no key, yet a place"
        );
    }

    #[test]
    fn numbers_out_of_range_name_the_range() {
        #[derive(Debug, serde::Deserialize)]
        struct Numbers {
            #[expect(dead_code, reason = "read for its error")]
            list: Vec<u8>,
            #[serde(default)]
            #[expect(dead_code, reason = "read for its error")]
            count: Option<std::num::NonZeroU16>,
        }
        for value in ["-1", "256", "many", "1.5"] {
            let error = read::<Numbers>("x", &format!("list: [1, {value}]")).unwrap_err().to_string();
            assert_eq!(error, "x:1:11: not a whole number; write one from 0 to 255 (key `list[1]`)");
        }
        for (text, place) in [("list: []\ncount: 0", "2:8"), ("{list: [], count: 0}", "1:19")] {
            let error = read::<Numbers>("x", text).unwrap_err().to_string();
            let wanted = "not a whole number above 0; write one from 1 to 65535 (key `count`)";
            assert_eq!(error, format!("x:{place}: {wanted}"));
        }
        assert_eq!((largest("u64"), largest("u128")), (u128::from(u64::MAX), u128::MAX));
    }
}
