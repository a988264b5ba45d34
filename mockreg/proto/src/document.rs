//! Files that people write (catalogues, scenarios, timelines): YAML or JSON into a struct, and errors that name
//! file, line, column, what is wrong and the nearest thing that would be right.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::{Error, Location, Spanned};
use thiserror::Error;

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
        DocumentError {
            name: name.to_owned(),
            line: location.as_ref().map(Location::line),
            column: location.as_ref().map(Location::column),
            message: explain(error),
        }
    })
}

/// Line and column, both from 1, of item `index` in the list under the top-level key `list`: for what is wrong
/// with a document that could be read. `None` where there is no such item.
pub fn place_of_item(text: &str, list: &str, index: usize) -> Option<(u64, u64)> {
    let items =
        serde_saphyr::with_deserializer_from_str(text, |de| PlacesUnder(list).deserialize(de)).ok()?;
    let at = items.get(index)?.referenced;
    (at.line() > 0).then(|| (at.line(), at.column()))
}

/// Reads the items of one list of a mapping for their places alone.
struct PlacesUnder<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for PlacesUnder<'_> {
    type Value = Vec<Spanned<IgnoredAny>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for PlacesUnder<'_> {
    type Value = Vec<Spanned<IgnoredAny>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a mapping with the list `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == self.0 {
                items = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(items)
    }
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

fn explain(error: &Error) -> String {
    let unknown = |what: &str, given: &str, expected: &[&'static str]| {
        let hint = match nearest(given, expected.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", expected.join(", ")),
        };
        format!("unknown {what} `{given}`; {hint}")
    };
    match error {
        Error::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
        Error::SerdeUnknownVariant { variant, expected, .. } => unknown("value", variant, expected),
        Error::SerdeMissingField { field, .. } => format!("missing key `{field}`"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("key `{key}` stands twice"),
        other => {
            // The parser's own text repeats the place, which stands before the message already.
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.split(" at line ").next().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    }
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
    fn items_of_a_list_are_found() {
        let yaml = "a: 1\nitems:\n  - x: 1\n\n  - {x: 2}\n";
        assert_eq!(place_of_item(yaml, "items", 1), Some((5, 5)));
        assert_eq!(place_of_item(yaml, "items", 2), None);
        assert_eq!(place_of_item(r#"{"items": ["x", "y"]}"#, "items", 1), Some((1, 17)));
        assert_eq!(place_of_item("items: [", "items", 0), None);
        assert_eq!(place_of_item("[1]", "items", 0), None);
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
    }
}
