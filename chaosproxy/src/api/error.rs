//! Errors of the API: `{"error":…,"status":…}` with a newline, and sent as text, because Toxiproxy's are.

use http::StatusCode;
use serde::Serialize;
use thiserror::Error;

use crate::proxy::ProxyError;
use crate::timeline::TimelineError;

/// What the reference says first of a body that is not what it expects.
const BAD_BODY: &str = "bad request body: ";

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Error)]
#[error("{error}")]
pub(crate) struct ApiError {
    pub(crate) error: String,
    #[serde(serialize_with = "code")]
    pub(crate) status: StatusCode,
}

fn code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { error: error.into(), status }
    }

    /// The body is not what is expected.
    pub(crate) fn bad_body(problem: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("{BAD_BODY}{problem}"))
    }

    /// What is wrong, told where there is no body: of a file, of an event.
    pub(crate) fn problem(&self) -> &str {
        self.error.strip_prefix(BAD_BODY).unwrap_or(&self.error)
    }

    pub(crate) fn bad_request(problem: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, problem)
    }
}

impl From<ProxyError> for ApiError {
    fn from(error: ProxyError) -> Self {
        let status = match &error {
            ProxyError::NotFound | ProxyError::ToxicNotFound | ProxyError::OutageNotFound => {
                StatusCode::NOT_FOUND
            }
            ProxyError::Exists | ProxyError::ToxicExists => StatusCode::CONFLICT,
            ProxyError::Outage(_)
            | ProxyError::MissingField(_)
            | ProxyError::Name(_)
            | ProxyError::Ports(_)
            | ProxyError::Protocols(_)
            | ProxyError::Unsuited(_)
            | ProxyError::ToxicType(_) => StatusCode::BAD_REQUEST,
            ProxyError::Attributes(error) => return Self::bad_body(error),
            ProxyError::Listen(_) | ProxyError::Address(_) => StatusCode::INTERNAL_SERVER_ERROR,
            ProxyError::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

impl From<TimelineError> for ApiError {
    fn from(error: TimelineError) -> Self {
        let status = match error {
            TimelineError::Event { .. } | TimelineError::TooMany(_) => StatusCode::BAD_REQUEST,
            TimelineError::Missing | TimelineError::Running | TimelineError::Busy => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}
