//! From a request to its answer: the target, the handler of its endpoint, and the headers that every answer has.

mod accept;
mod base;
mod blob;
mod conditional;
mod download;
mod manifest;
mod page;
mod referrers;
mod tag;
mod token;
mod upload;

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use mockreg_proto::reference::RepositoryName;

use crate::body::{Body, Reply};
use crate::call::{Call, Door, Entrance};
use crate::core::Core;
use crate::exchange::Exchange;
use crate::head;
use crate::inflow::Inflow;
use crate::problem::{Fault, Problem};
use crate::route::{Endpoint, Target};

pub(crate) const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
pub(crate) const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Answers one request. The exchange comes back with the answer, to be followed until it is delivered.
pub(crate) async fn answer(
    core: Arc<Core>,
    request: Request<Inflow>,
    mut exchange: Exchange,
    entrance: Entrance,
) -> (Reply, Exchange) {
    let method = request.method().clone();
    let wrong = head::check(&request).err();
    match (entrance.door, wrong) {
        (Door::Registry, None) => {}
        (Door::Registry, Some(detail)) => {
            let reply = Problem::new(Fault::RequestMalformed, detail).into_reply();
            return finish(reply, &method, exchange);
        }
        (Door::Downloads, None) => {
            return Box::pin(download(core, request, exchange, entrance)).await;
        }
        (Door::Downloads, Some(detail)) => return complete(download::malformed(detail), &method, exchange),
    }
    let Some(target) = Target::of(request.uri().path()) else {
        let detail = format!("there is nothing at {}", request.uri().path());
        let reply = Problem::new(Fault::NoRoute, detail).into_reply();
        return finish(reply, &method, exchange);
    };
    // What a token is asked for stands in the query or in the body.
    if target.endpoint != Endpoint::Token {
        exchange.about(target.kind, &target.repository, &target.reference);
    }
    let mut call = Call::new(core, request, target, exchange, entrance);
    let mut reply = match dispatch(&mut call).await {
        Ok(reply) => reply,
        Err(problem) => {
            tracing::debug!(path = call.target.repository, fault = ?problem.fault(), "refused");
            Box::pin(call.drain()).await;
            problem.into_reply()
        }
    };
    reply.headers_mut().extend(std::mem::take(&mut call.notes));
    if let Some(pace) = call.core.paces.down(&call.client) {
        reply.body_mut().slow_down(pace);
    }
    if call.core.policy.echo_namespace
        && let Some(given) = call.query.first("ns").and_then(|given| HeaderValue::from_str(given).ok())
    {
        reply.headers_mut().insert(NAMESPACE, given);
    }
    finish(reply, &method, call.exchange)
}

/// Answers one request to the second listener.
async fn download(
    core: Arc<Core>,
    request: Request<Inflow>,
    mut exchange: Exchange,
    entrance: Entrance,
) -> (Reply, Exchange) {
    let method = request.method().clone();
    let Some(target) = Target::of(request.uri().path()) else {
        return complete(download::nothing(), &method, exchange);
    };
    exchange.about(target.kind, &target.repository, &target.reference);
    let mut call = Call::new(core, request, target, exchange, entrance);
    let reply = download::get(&mut call).await;
    if !reply.status().is_success() {
        call.drain().await;
    }
    complete(reply, &method, call.exchange)
}

/// One handler for each endpoint and method. All but the most frequent one are boxed: every request's future would be
/// as large as the largest, and moving it is a tenth of what a manifest costs.
async fn dispatch(call: &mut Call) -> Result<Reply, Problem> {
    if !call.target.answers(&call.method) {
        return Err(Problem::method(call.target.allow));
    }
    if !call.target.repository.is_empty() {
        let name = call.target.repository.parse::<RepositoryName>();
        name.map_err(|error| Problem::new(Fault::NameInvalid, error.to_string()))?;
    }
    let sender = call.core.auth.check(call).await?;
    call.sent_by(sender);
    call.core.meters.admit(call.target.kind, &call.method, &call.client, &mut call.notes)?;
    call.slow_down(call.core.paces.up(&call.client));
    match (call.target.endpoint, call.method.as_str()) {
        (Endpoint::Token, _) => Box::pin(token::get(call)).await,
        (Endpoint::Base, _) => Ok(base::version()),
        (Endpoint::Catalog, _) => base::catalog(call),
        (Endpoint::Tags, _) => Box::pin(tag::list(call)).await,
        (Endpoint::Manifest, "PUT") => Box::pin(manifest::put(call)).await,
        (Endpoint::Manifest, "DELETE") => Box::pin(manifest::delete(call)).await,
        (Endpoint::Manifest, _) => manifest::get(call).await,
        (Endpoint::Referrers, _) => Box::pin(referrers::list(call)).await,
        (Endpoint::Blob, "DELETE") => Box::pin(blob::delete(call)).await,
        (Endpoint::Blob, _) if download::is_elsewhere(call) => Box::pin(download::redirect(call)).await,
        (Endpoint::Blob, _) => Box::pin(blob::get(call)).await,
        (Endpoint::Uploads, _) => Box::pin(upload::open(call)).await,
        (Endpoint::Upload, "PATCH") => Box::pin(upload::patch(call)).await,
        (Endpoint::Upload, "PUT") => Box::pin(upload::put(call)).await,
        (Endpoint::Upload, "DELETE") => upload::cancel(call),
        (Endpoint::Upload, _) => upload::status(call),
    }
}

/// The answer to a deletion, which is done when it is sent.
fn deleted() -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::ACCEPTED;
    reply
}

/// What every answer of the registry has.
fn finish(mut reply: Reply, method: &Method, exchange: Exchange) -> (Reply, Exchange) {
    reply.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    complete(reply, method, exchange)
}

/// What every answer has. HEAD gets the headers of GET, the length among them, and no body.
fn complete(mut reply: Reply, method: &Method, mut exchange: Exchange) -> (Reply, Exchange) {
    let bare = matches!(reply.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bare {
        let length = HeaderValue::from(reply.body().len());
        reply.headers_mut().insert(CONTENT_LENGTH, length);
    }
    if *method == Method::HEAD {
        *reply.body_mut() = Body::empty();
    }
    note_effect(&reply, method, &mut exchange);
    exchange.answered(reply.status());
    (reply, exchange)
}

/// What an answer says it did, for the journal: 201 with a digest stored it, 202 to a POST opened an upload.
fn note_effect(reply: &Reply, method: &Method, exchange: &mut Exchange) {
    let header = |name: &HeaderName| reply.headers().get(name).and_then(|value| value.to_str().ok());
    match reply.status() {
        StatusCode::CREATED => {
            if let Some(digest) = header(&CONTENT_DIGEST).and_then(|digest| digest.parse().ok()) {
                exchange.stored(digest);
            }
        }
        StatusCode::ACCEPTED if *method == Method::POST => {
            if let Some(id) = header(&UPLOAD_ID) {
                exchange.opened(id);
            }
        }
        _ => {}
    }
}

/// A header value from text that this crate made or checked: names, digests, ids, numbers.
fn value(text: impl AsRef<str>) -> HeaderValue {
    HeaderValue::from_str(text.as_ref()).expect("checked names and digests are visible ASCII")
}
