//! `/catalog`: what the registry offers without a push, given back and replaced.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use mockreg_proto::document;
use mockreg_synth::catalogue::{self, Catalogue, Plan};
use tokio::sync::Semaphore;

use super::body::Whole;
use super::{json, refused};
use crate::core::Core;

/// Largest body of `PUT /catalog`: some 100,000 images, listed one by one.
pub(super) const MAX_CATALOGUE: usize = 16 << 20;
/// What errors call the document.
const BODY: &str = "request body";
/// Catalogues read at once. Each may take its bound, and the plan some times that.
const MAX_READERS: usize = 4;

/// The catalogue as it was given, kept as text: smaller than what it means.
#[derive(Debug)]
pub(crate) struct Document {
    given: Mutex<Given>,
    readers: Semaphore,
}

#[derive(Clone, Debug)]
pub(crate) enum Given {
    /// Nothing: an empty catalogue.
    None,
    /// One document.
    One(Bytes),
    /// Several documents, or images planned by a program: no single document says the same.
    Several,
}

impl Document {
    /// What the registry was started with.
    pub(crate) fn new(given: Given) -> Self {
        Self { given: Mutex::new(given), readers: Semaphore::new(MAX_READERS) }
    }

    fn replace(&self, text: Bytes) {
        *self.given.lock().expect("no holder of the text panics") = Given::One(text);
    }

    fn given(&self) -> Given {
        self.given.lock().expect("no holder of the text panics").clone()
    }
}

impl Given {
    /// One more document.
    pub(crate) fn and(self, text: Option<Bytes>) -> Self {
        match (self, text) {
            (Self::None, Some(text)) => Self::One(text),
            _ => Self::Several,
        }
    }
}

/// `GET /catalog`: as JSON, however it was written.
pub(super) async fn read(State(core): State<Arc<Core>>) -> Response {
    match core.document.given() {
        Given::None => json(&Catalogue::default()),
        Given::Several => refused(
            StatusCode::CONFLICT,
            "the catalogue was put together from several documents or by a program; no single document says the same",
        ),
        Given::One(text) => match tokio::task::spawn_blocking(move || normal(&text)).await {
            Ok(catalogue) => json(&catalogue),
            Err(error) => failed(&error),
        },
    }
}

fn normal(text: &[u8]) -> Catalogue {
    let text = std::str::from_utf8(text).expect("it was read as text before");
    document::read(BODY, text).expect("it was read as a catalogue before")
}

/// `PUT /catalog`: replaces all that the catalogue offered; pushed content stays.
pub(super) async fn replace(State(core): State<Arc<Core>>, request: axum::extract::Request) -> Response {
    let Ok(_permit) = core.document.readers.try_acquire() else {
        return refused(StatusCode::CONFLICT, "other catalogues are being read; try again in a moment");
    };
    let body =
        match <Whole<MAX_CATALOGUE> as axum::extract::FromRequest<_>>::from_request(request, &core).await {
            Ok(Whole(body)) => body,
            Err(refusal) => return refusal,
        };
    let text = body.clone();
    match tokio::task::spawn_blocking(move || planned(&body)).await {
        Ok(Ok(plan)) => {
            core.replace_catalogue(plan);
            core.document.replace(text);
            let core = Arc::clone(&core);
            tokio::spawn(async move { core.images.prepare().await });
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(Err((status, reason))) => refused(status, &reason),
        Err(error) => failed(&error),
    }
}

/// What a catalogue means. What is no catalogue is told from one whose images
/// cannot be made.
fn planned(body: &[u8]) -> Result<Plan, (StatusCode, String)> {
    let text = std::str::from_utf8(body)
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("request body: {error}")))?;
    catalogue::read(BODY, text).map_err(|error| {
        let is_catalogue = document::read::<Catalogue>(BODY, text).is_ok();
        let status = if is_catalogue { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_REQUEST };
        (status, error.to_string())
    })
}

fn failed(error: &tokio::task::JoinError) -> Response {
    tracing::error!(%error, "a catalogue was not read");
    refused(StatusCode::INTERNAL_SERVER_ERROR, "the catalogue was not read; the log says why")
}
