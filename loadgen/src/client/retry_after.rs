//! `Retry-After` (RFC 9110 §10.2.3): a number of seconds or an HTTP date.

use std::time::{Duration, SystemTime};

/// How long to wait from `now`; zero for a date that has passed, `None` for anything that is neither form. Absurd
/// values are returned as they are: bounding them is the retry policy's business.
pub fn parse(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than a u64 holds is still a number of seconds, and still absurd.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the RFC's own example.
    fn example() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    #[test]
    fn every_form_is_read() {
        let ago = |seconds| example() - Duration::from_secs(seconds);
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (value, now, wanted) in [
            ("0", example(), Some(0)),
            ("120", example(), Some(120)),
            (" 7 ", example(), Some(7)),
            ("31536000000", example(), Some(31_536_000_000)),
            ("99999999999999999999999", example(), Some(u64::MAX)),
            (date, ago(90), Some(90)),
            (date, example(), Some(0)),
            (date, example() + Duration::from_secs(5), Some(0)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", ago(3), Some(3)),
            ("Sun Nov  6 08:49:37 1994", ago(3), Some(3)),
            ("", example(), None),
            ("soon", example(), None),
            ("-5", example(), None),
            ("1.5", example(), None),
            ("10s", example(), None),
        ] {
            assert_eq!(parse(value, now), wanted.map(Duration::from_secs), "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_value_panics(value in ".{0,40}") {
            let _ = parse(&value, example());
        }
    }
}
