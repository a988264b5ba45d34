//! Bodies of admin requests: whole, up to a bound of the route, within a time.

use std::sync::Arc;

use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::refused;
use crate::core::Core;

/// A body of at most `MAX` bytes.
pub(super) struct Whole<const MAX: usize>(pub(super) Bytes);

impl<const MAX: usize> FromRequest<Arc<Core>> for Whole<MAX> {
    type Rejection = Response;

    /// The time for all of it is that which a registry client has between two bytes: who administers sits close by.
    async fn from_request(request: Request, core: &Arc<Core>) -> Result<Self, Response> {
        let body = Limited::new(request.into_body(), MAX).collect();
        match tokio::time::timeout(core.limits.body_idle, body).await {
            Ok(Ok(body)) => Ok(Self(body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let reason = format!("request body: larger than {MAX} bytes");
                Err(refused(StatusCode::PAYLOAD_TOO_LARGE, &reason))
            }
            Ok(Err(error)) => Err(refused(StatusCode::BAD_REQUEST, &format!("request body: {error}"))),
            Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "request body: it took too long")),
        }
    }
}
