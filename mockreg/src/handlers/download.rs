//! Blobs by way of the second listener: the redirect to it, and what it answers itself. It speaks as object stores do,
//! with errors in XML, for it is not the registry that clients talk to there.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};

use super::{blob, value};
use crate::body::{Body, Reply};
use crate::call::Call;
use crate::problem::Problem;
use crate::redirect::Denied;
use crate::route::Endpoint;

/// Whether a request for a blob is answered with a redirect.
pub(super) fn is_elsewhere(call: &Call) -> bool {
    let redirects = call.core.redirects.as_ref();
    redirects.is_some_and(|redirects| {
        call.method == Method::GET || call.method == Method::HEAD && redirects.policy.heads
    })
}

/// `GET /v2/NAME/blobs/DIGEST` where the bytes are elsewhere.
pub(super) async fn redirect(call: &Call) -> Result<Reply, Problem> {
    let redirects = call.core.redirects.as_ref().expect("asked for by `is_elsewhere`");
    let digest = call.digest()?;
    call.core.blob(call.repository(), &digest).await?;
    let base = match &redirects.policy.base_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => call.origin_at(redirects.port),
    };
    let (repository, digest) = (call.repository(), digest.to_string());
    let parameters = redirects.parameters(repository, &digest, redirects.now());
    let location = format!("{base}/v2/{repository}/blobs/{digest}?{parameters}");
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    reply.headers_mut().insert(LOCATION, value(location));
    Ok(reply)
}

/// A request to the second listener.
pub(super) async fn get(call: &mut Call) -> Reply {
    if let Some(refusal) = refused(call) {
        return refusal;
    }
    match blob::get(call).await {
        Ok(reply) => reply,
        Err(problem) => {
            let reply = problem.into_reply();
            let message = format!("the registry says {}", reply.status());
            let mut answer = error(reply.status(), "InvalidRequest", &message);
            // What a range could have been, for one that could not be.
            let (mut head, body) = reply.into_parts();
            drop(body);
            head.headers.remove(CONTENT_TYPE);
            answer.headers_mut().extend(head.headers);
            answer
        }
    }
}

/// The answer to a path that is no blob's.
pub(super) fn nothing() -> Reply {
    error(StatusCode::NOT_FOUND, "NoSuchKey", "The specified key does not exist.")
}

/// The answer to what is no valid request.
pub(super) fn malformed(detail: &str) -> Reply {
    error(StatusCode::BAD_REQUEST, "InvalidRequest", detail)
}

fn refused(call: &Call) -> Option<Reply> {
    let redirects = call.core.redirects.as_ref()?;
    if call.target.endpoint != Endpoint::Blob {
        return Some(nothing());
    }
    if !matches!(call.method, Method::GET | Method::HEAD) {
        let message = "The specified method is not allowed against this resource.";
        return Some(error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
    }
    if call.headers.contains_key(AUTHORIZATION) && !redirects.policy.takes_authorization {
        let message = "Only one auth mechanism allowed; this URL is signed, so send no Authorization header.";
        return Some(error(StatusCode::BAD_REQUEST, "InvalidArgument", message));
    }
    let admitted = redirects.admit(call.repository(), &call.target.reference, &call.query, redirects.now());
    let (code, message) = match admitted.err()? {
        Denied::Signature => ("SignatureDoesNotMatch", "The signature does not match the URL."),
        Denied::Expired => ("AccessDenied", "Request has expired"),
        Denied::Used => ("AccessDenied", "The URL was good for one request."),
    };
    Some(error(StatusCode::FORBIDDEN, code, message))
}

/// An error as object stores write it. `message` is text of this crate, with nothing in it to be escaped.
fn error(status: StatusCode, code: &str, message: &str) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let mut reply = Response::new(Body::whole(Bytes::from(text)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    reply
}
