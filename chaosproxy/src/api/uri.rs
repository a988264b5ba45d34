//! Names in a request's address: segments of its path, and the one parameter a query may have.

use super::error::ApiError;

/// The decoded segments of a path; `None` where it cannot be decoded.
pub(super) fn segments(path: &str) -> Option<Vec<String>> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(decoded).collect()
}

/// The path without empty segments and those of dots, escaped; `None` where it has none. An empty segment at the end
/// is a trailing slash, and stays.
pub(super) fn cleaned(segments: &[String]) -> Option<String> {
    let (last, before) = segments.split_last()?;
    let is_clean = |segment: &String| !matches!(segment.as_str(), "" | "." | "..");
    if before.iter().all(is_clean) && (last.is_empty() || is_clean(last)) {
        return None;
    }
    let mut clean: Vec<&str> = Vec::new();
    for segment in segments {
        match segment.as_str() {
            "" | "." => {}
            ".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    let slash = if last.is_empty() && !clean.is_empty() { "/" } else { "" };
    Some(format!("/{}{slash}", clean.iter().map(|name| escaped(name)).collect::<Vec<_>>().join("/")))
}

/// A name as a segment of a path.
pub(crate) fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:@!$'()*+,;=".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

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
    fn a_path_is_cleaned_as_the_reference_does_it() {
        for (path, clean) in [
            ("/proxies", None),
            ("/proxies/", None),
            ("/", None),
            ("//proxies", Some("/proxies")),
            ("//", Some("/")),
            ("/proxies/../version", Some("/version")),
            ("/a/./b//c/", Some("/a/b/c/")),
            ("/../..", Some("/")),
            ("/%2e/a%2Fb%20c", Some("/a%2Fb%20c")),
        ] {
            assert_eq!(cleaned(&segments(path).unwrap()).as_deref(), clean, "{path}");
        }
        assert_eq!(segments("/%zz"), None);
    }

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
