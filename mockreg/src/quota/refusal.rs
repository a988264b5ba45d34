//! What an answer says about a quota: headers, and the refusal when it is used up.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};

use super::meter::Reading;
use super::{QuotaHeaders, RefusalBody, RetryAfter};
use crate::problem::{Fault, Problem};

impl QuotaHeaders {
    /// Adds what this style says of a reading.
    pub(super) fn add(self, reading: &Reading, source: &str, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, text: String| {
            let value = HeaderValue::try_from(text).expect("numbers and addresses are visible ASCII");
            headers.insert(HeaderName::from_static(name), value);
        };
        let window = reading.window.as_secs();
        match self {
            Self::None => {}
            Self::Hub => {
                set("ratelimit-limit", format!("{};w={window}", reading.limit));
                set("ratelimit-remaining", format!("{};w={window}", reading.remaining));
                set("docker-ratelimit-source", source.to_owned());
            }
            Self::XRatelimit => {
                set("x-ratelimit-limit", reading.limit.to_string());
                set("x-ratelimit-remaining", reading.remaining.to_string());
                set("x-ratelimit-reset", seconds(reading.until_full).to_string());
            }
        }
    }
}

/// Whole seconds, rounded up: a client that waits for so long is not too early.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

impl RetryAfter {
    fn value(self, wait: Duration) -> Option<HeaderValue> {
        match self {
            Self::Seconds => Some(HeaderValue::from(seconds(wait))),
            Self::Date => {
                let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds(wait)));
                Some(HeaderValue::try_from(date).expect("a date is visible ASCII"))
            }
            Self::Absent => None,
            Self::Zero => Some(HeaderValue::from_static("0")),
            Self::Garbage => Some(HeaderValue::from_static("soon")),
        }
    }
}

impl super::Refusal {
    /// The answer to a request that comes `wait` too early.
    pub(super) fn problem(self, reading: &Reading, wait: Duration) -> Problem {
        let detail = format!(
            "{} requests in {:?} are allowed; the next one in {:.1} s",
            reading.limit,
            reading.window,
            wait.as_secs_f64()
        );
        let mut problem = Problem::new(Fault::QuotaUsedUp, detail);
        if self.body == RefusalBody::Plain {
            problem = problem.plain();
        }
        match self.retry_after.value(wait) {
            Some(value) => problem.with(RETRY_AFTER, value),
            None => problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_has_every_form() {
        let wait = Duration::from_millis(1_500);
        let text = |form: RetryAfter| form.value(wait).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(text(RetryAfter::Seconds).unwrap(), "2");
        assert_eq!(text(RetryAfter::Zero).unwrap(), "0");
        assert_eq!(text(RetryAfter::Garbage).unwrap(), "soon");
        assert_eq!(text(RetryAfter::Absent), None);
        let date = httpdate::parse_http_date(&text(RetryAfter::Date).unwrap()).unwrap();
        let ahead = date.duration_since(SystemTime::now()).unwrap();
        assert!(ahead <= Duration::from_secs(2), "{ahead:?}");
    }

    #[test]
    fn whole_seconds_are_rounded_up() {
        for (millis, wanted) in [(0, 0), (1, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(seconds(Duration::from_millis(millis)), wanted);
        }
    }
}
