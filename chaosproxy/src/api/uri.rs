//! Names in a request's address: segments of its path, and the one parameter a query may have.

use super::error::ApiError;

/// A piece of an address without its percent signs; `None` where it is not UTF-8 or badly escaped.
pub(super) fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The value of a query's only parameter; `None` where the query is empty.
///
/// # Errors
/// Any other parameter, the same one twice, or a value that is badly escaped: an answer to another question than
/// the one that was asked would be taken for the right one.
pub(super) fn only_parameter(query: &str, name: &str) -> Result<Option<String>, ApiError> {
    let mut value = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
        if key != name || value.is_some() {
            return Err(ApiError::bad_request(format!("the query may be {name}=VALUE, once; it is {query}")));
        }
        // In a query a plus sign is a space.
        let text = decoded(&text.replace('+', " "));
        value = Some(text.ok_or_else(|| ApiError::bad_request(format!("{name} is badly escaped")))?);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_one_known_parameter_or_none() {
        let read = |query| only_parameter(query, "proxy").map_err(|error| error.to_string());
        for (query, value) in [
            ("", None),
            ("&", None),
            ("proxy=source-1", Some("source-1")),
            ("proxy=a%20b%2F%C3%BC", Some("a b/ü")),
            ("proxy=a+b%2B", Some("a b+")),
            ("proxy=a=b", Some("a=b")),
            ("proxy", Some("")),
        ] {
            assert_eq!(read(query), Ok(value.map(str::to_owned)), "{query}");
        }
        for query in ["proxi=a", "proxy=a&proxy=b", "proxy=a&since=1", "proxy=%zz", "proxy=%ff"] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
