//! Percent-encoding in request targets, and the query parameters of the registry's routes. Parameters that nobody
//! asked for are ignored, as the specification wants.

/// Query parameters in the order given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a request target after `?`.
    pub fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(key, value)| (decode(&key.replace('+', " ")), decode(&value.replace('+', " "))))
                .collect(),
        )
    }

    /// The first value of `key`.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value of `key`, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// `text` with `%41` read as `A`. What is no valid escape stays as it is, and what is no UTF-8 becomes U+FFFD:
/// either is then refused by the grammar of whatever it stands for.
pub fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten().and_then(hex_byte);
        out.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(nibble(digits[0])? << 4 | nibble(digits[1])?).ok()
}

/// `text` fit for a query value: everything but letters, digits and `-._~:/` escaped.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_the_first_counts() {
        let query = Query::parse(Some("digest=sha256%3Aab&n=5&n=6&flag&&x=a+b%"));
        assert_eq!(query.first("digest"), Some("sha256:ab"));
        assert_eq!(query.first("n"), Some("5"));
        assert!(query.all("n").eq(["5", "6"]));
        assert_eq!(query.first("flag"), Some(""));
        assert_eq!(query.first("x"), Some("a b%"));
        assert_eq!(query.first("y"), None);
        assert_eq!(Query::parse(None), Query::default());
    }

    proptest::proptest! {
        #[test]
        fn what_is_encoded_decodes(text in "\\PC{0,20}") {
            proptest::prop_assert_eq!(decode(&encode(&text)), text);
        }

        #[test]
        fn no_escape_panics(text in "[%a-f0-9é]{0,12}") {
            let _ = decode(&text);
        }
    }
}
