//! The `Authorization` header of a request: at most one, of bounded length. What it says is read by `mockreg_proto`.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use mockreg_proto::authorization::Authorization;

/// Longest header that is read: twice the largest token a policy makes.
const MAX_AUTHORIZATION: usize = 64 << 10;

/// Reads the header of a request.
pub(crate) fn of(headers: &HeaderMap) -> Authorization {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    match (given.next(), given.next()) {
        (None, _) => Authorization::Nobody,
        (Some(_), Some(_)) => Authorization::Malformed("there are several Authorization headers"),
        (Some(header), None) if header.len() > MAX_AUTHORIZATION => {
            Authorization::Malformed("the Authorization header is longer than 64 KiB")
        }
        (Some(header), None) => match header.to_str() {
            Ok(text) => Authorization::parse(text),
            Err(_) => Authorization::Malformed("the Authorization header is not ASCII"),
        },
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_header_of_bounded_length_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(of(&headers), Authorization::Nobody);
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert_eq!(of(&headers), Authorization::Bearer("a".into()));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        assert!(matches!(of(&headers), Authorization::Malformed(_)));
        let long = format!("Bearer {}", "x".repeat(MAX_AUTHORIZATION));
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&long).unwrap());
        assert!(matches!(of(&headers), Authorization::Malformed(_)));
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(b"Basic \xff").unwrap());
        assert!(matches!(of(&headers), Authorization::Malformed(_)));
    }
}
