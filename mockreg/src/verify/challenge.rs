//! `WWW-Authenticate` (RFC 9110 §11.6.1), as registries use it: one scheme in a header line, quoted parameters. Pure.

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token from a token service.
    Bearer {
        /// URL of the token service.
        realm: String,
        /// What the token service calls the registry.
        service: Option<String>,
        /// What the token has to allow.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads a header line; `None` if it asks for something else, or for nothing that can be read.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (scheme, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let value = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.clone())
        };
        Some(Self::Bearer { realm: value("realm")?, service: value("service"), scope: value("scope") })
    }
}

/// `name="value", name=value`; stops at what is neither.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
                (value.trim().to_owned(), rest)
            }
        };
        found.push((name.trim_matches([' ', ',']).to_owned(), value));
        text = rest;
    }
    found
}

/// The text up to the closing quote, with `\"` read as `"`, and what follows.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_challenges_have_a_realm() {
        let line = r#"Bearer realm="http://a:1/token",service="a \"b\"", scope="repository:x/y:pull,push""#;
        let wanted = Challenge::Bearer {
            realm: "http://a:1/token".into(),
            service: Some("a \"b\"".into()),
            scope: Some("repository:x/y:pull,push".into()),
        };
        assert_eq!(Challenge::parse(line), Some(wanted));
        assert_eq!(
            Challenge::parse("bearer REALM=x, service=y").map(|c| matches!(c, Challenge::Bearer { .. })),
            Some(true)
        );
        assert_eq!(Challenge::parse("Bearer service=y"), None);
    }

    #[test]
    fn other_schemes_are_told_apart() {
        assert_eq!(Challenge::parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("basic"), Some(Challenge::Basic));
        for line in ["Negotiate", "Digest realm=\"x\"", ""] {
            assert_eq!(Challenge::parse(line), None, "{line}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "(Bearer )?[a-z=\"\\\\, é]{0,40}") {
            let _ = Challenge::parse(&line);
        }
    }
}
