//! Requests that depend on what the client has already (RFC 9110 §13). An entity tag here is the quoted digest, so
//! it never changes and weak and strong comparison are the same.

use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, IF_RANGE};
use http::{HeaderMap, Response, StatusCode};
use mockreg_proto::digest::Digest;

use super::{CONTENT_DIGEST, value};
use crate::body::{Body, Reply};

/// The entity tag of content.
pub(super) fn etag(digest: &Digest) -> HeaderValue {
    value(format!("\"{digest}\""))
}

/// The digest in an entity tag; clients of registries also send it bare.
fn names(tag: &str, digest: &Digest) -> bool {
    tag.trim().trim_start_matches("W/").trim_matches('"') == digest.to_string()
}

/// The 304 answer, where the client says it has the content.
pub(super) fn not_modified(headers: &HeaderMap, digest: &Digest) -> Option<Reply> {
    let given = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = given.flat_map(|list| list.split(','));
    let matches = tags.any(|tag| tag.trim() == "*" || names(tag, digest));
    matches.then(|| {
        let mut reply = Response::new(Body::empty());
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        reply.headers_mut().insert(ETAG, etag(digest));
        reply.headers_mut().insert(CONTENT_DIGEST, value(digest.to_string()));
        reply
    })
}

/// Whether a range may be served: `If-Range` is absent or names this content. A date never does, for content here
/// has none; the answer is then the whole.
pub(super) fn range_applies(headers: &HeaderMap, digest: &Digest) -> bool {
    let Some(given) = headers.get(IF_RANGE) else { return true };
    given.to_str().is_ok_and(|tag| !tag.trim().starts_with("W/") && names(tag, digest))
}
