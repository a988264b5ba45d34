//! `/v2/`, which says what this is, and `/v2/_catalog`, the list of repositories.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue, LINK};
use serde::Serialize;

use super::page::Page;
use super::value;
use crate::body::{Body, Reply};
use crate::call::Call;
use crate::problem::Problem;

#[derive(Serialize)]
struct Repositories {
    repositories: Vec<String>,
}

/// `GET /v2/`
pub(super) fn version() -> Reply {
    json(&serde_json::Map::new(), None)
}

/// `GET /v2/_catalog`
pub(super) fn catalog(call: &Call) -> Result<Reply, Problem> {
    let page = Page::of(call.core.repositories(), &call.query)?;
    let link = page.link("/v2/_catalog");
    Ok(json(&Repositories { repositories: page.names }, link))
}

/// A JSON answer, with a link to the next page where there is one.
pub(super) fn json(body: &impl Serialize, link: Option<String>) -> Reply {
    let text = serde_json::to_vec(body).expect("names always serialise");
    let mut reply = Response::new(Body::whole(Bytes::from(text)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(link) = link {
        reply.headers_mut().insert(LINK, value(link));
    }
    reply
}
