//! Where each key of a document stands, and its value: from a place to the key (the parser knows a place, a person
//! looks for a key), and from a key to its place (what is wrong with a document that could be read). Read only when
//! something is wrong.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Every value of a document with the path of its key (`repositories[0].layers[1]`), in the order of the text. The
/// parser's own bounds on nodes and depth hold here too.
pub(super) struct Keys(Vec<Key>);

struct Key {
    path: String,
    /// Line and column of the value.
    value: (u64, u64),
    /// Those of the key itself; an item of a list has none.
    name: Option<(u64, u64)>,
}

impl Keys {
    /// Reads the keys; none where the text is no YAML.
    pub(super) fn of(text: &str) -> Self {
        let mut keys = Self(Vec::new());
        if let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(text) {
            keys.add("", None, root);
        }
        keys
    }

    fn add(&mut self, path: &str, name: Option<(u64, u64)>, node: Spanned<Node>) {
        let at = node.referenced;
        if at.line() > 0 && !path.is_empty() {
            self.0.push(Key { path: path.to_owned(), value: (at.line(), at.column()), name });
        }
        match node.value {
            Node::Scalar => {}
            Node::List(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    self.add(&format!("{path}[{index}]"), None, item);
                }
            }
            Node::Mapping(entries) => {
                let dot = if path.is_empty() { "" } else { "." };
                for (key, value) in entries {
                    let name = (key.referenced.line(), key.referenced.column());
                    self.add(&format!("{path}{dot}{}", key.value), Some(name), value);
                }
            }
        }
    }

    /// The path of the value that begins at a place; of several, the innermost.
    pub(super) fn path_at(&self, line: u64, column: u64) -> Option<&str> {
        self.0.iter().rfind(|key| key.value == (line, column)).map(|key| key.path.as_str())
    }

    /// The path of the key that itself begins at a place.
    pub(super) fn named_at(&self, line: u64, column: u64) -> Option<&str> {
        self.0.iter().find(|key| key.name == Some((line, column))).map(|key| key.path.as_str())
    }

    /// Line and column of the value under `path`, or else of the nearest value around it.
    pub(super) fn place_of(&self, path: &str) -> Option<(u64, u64)> {
        let mut path = path;
        loop {
            if let Some(key) = self.0.iter().find(|key| key.path == path) {
                return Some(key.value);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// A value, as far as keys go.
enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Mapping(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "a: 1\nitems:\n  - x: 1\n\n  - {x: 2, list: [5, true, ~, 1.5]}\n";

    #[test]
    fn keys_have_places() {
        let keys = Keys::of(YAML);
        for (path, place) in [
            ("a", Some((1, 4))),
            ("items[0].x", Some((3, 8))),
            ("items[1]", Some((5, 5))),
            ("items[1].x", Some((5, 9))),
            ("items[1].list[1]", Some((5, 22))),
            // Nothing there: what is around it.
            ("items[1].list[9]", keys.place_of("items[1].list")),
            ("items[1].none", Some((5, 5))),
            ("b", None),
        ] {
            assert_eq!(keys.place_of(path), place, "{path}");
        }
        assert_eq!(Keys::of(r#"{"items": ["x", "y"]}"#).place_of("items[1]"), Some((1, 17)));
        assert_eq!(Keys::of("items: [").place_of("items"), None);
        assert_eq!(Keys::of("[1]").place_of("[0]"), Some((1, 2)));
    }

    #[test]
    fn places_have_keys() {
        let keys = Keys::of(YAML);
        assert_eq!(keys.path_at(1, 4), Some("a"));
        assert_eq!(keys.path_at(5, 5), Some("items[1]"));
        assert_eq!(keys.path_at(5, 19), Some("items[1].list[0]"));
        assert_eq!(keys.path_at(5, 6), None);
        assert_eq!((keys.named_at(1, 1), keys.named_at(5, 12)), (Some("a"), Some("items[1].list")));
        assert_eq!((keys.named_at(1, 4), keys.named_at(3, 5)), (None, Some("items[0].x")));
    }
}
