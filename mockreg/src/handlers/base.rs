//! `/v2/`, which says what this is, and `/v2/_catalog`, the list of repositories.

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue, LINK, WWW_AUTHENTICATE};
use mockreg_proto::digest::Digest;
use serde::Serialize;

use super::page::{Paging, Window};
use super::value;
use crate::body::{Body, Reply};
use crate::call::Call;
use crate::policy::Catalog;
use crate::problem::{Fault, Problem};

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
    match call.core.policy.catalog {
        Catalog::On => {
            let window = Window::of(&call.query, &Paging::PLAIN)?;
            let page = window.page(call.core.repositories_after(window.last, window.fetch()));
            let link = page.link("/v2/_catalog");
            Ok(json(&Repositories { repositories: page.names }, link))
        }
        Catalog::Off => Err(Problem::new(Fault::NoRoute, "this registry does not list its repositories")),
        Catalog::Unauthorized => {
            let denied = Problem::new(Fault::CatalogDenied, "no credentials help here");
            Err(denied.with(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"catalog\"")))
        }
        Catalog::Unsorted => {
            let mut repositories = call.core.repositories_after(None, usize::MAX);
            // An order that is none, and yet the same in every run.
            repositories.sort_by_cached_key(|name| Digest::of(name.as_bytes()));
            Ok(json(&Repositories { repositories }, None))
        }
    }
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
