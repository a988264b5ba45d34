//! `/catalog`: what the registry offers without a push, given back and replaced.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use mockreg_proto::{document, units};
use mockreg_synth::catalogue::{self, Catalogue, Plan};
use serde_json::Value;
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
    /// Several documents. Of two images with one tag the later counts, and each has a seed and defaults of its own: no
    /// single document says the same.
    Several,
    /// Images planned by a program, which no document says.
    Planned,
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
            (Self::One(_) | Self::Several, Some(_)) => Self::Several,
            (Self::Planned, _) | (_, None) => Self::Planned,
        }
    }
}

const SEVERAL: &str = "the registry was started with several catalogues, each with a seed and defaults of its own, \
                       and no single document says the same; `mockreg describe` with the same files shows what \
                       they hold, and PUT /catalog puts one in the place of all";
const PLANNED: &str = "the images were planned by the program that started the registry, and no document says the \
                       same; GET /v2/_catalog on the registry port lists their repositories, and PUT /catalog \
                       replaces them";

/// `GET /catalog`: as JSON, however it was written.
pub(super) async fn read(State(core): State<Arc<Core>>) -> Response {
    match core.document.given() {
        Given::None => json(&Catalogue::default()),
        Given::Several => refused(StatusCode::CONFLICT, SEVERAL),
        Given::Planned => refused(StatusCode::CONFLICT, PLANNED),
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
        let reason = format!(
            "{MAX_READERS} catalogues are being read, and no more at once; nothing has changed, try again"
        );
        return refused(StatusCode::CONFLICT, &reason);
    };
    let body =
        match <Whole<MAX_CATALOGUE> as axum::extract::FromRequest<_>>::from_request(request, &core).await {
            Ok(Whole(body)) => body,
            Err(refusal) => return refusal,
        };
    match tokio::task::spawn_blocking(move || planned(&body)).await {
        Ok(Ok((text, plan))) => {
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

/// A catalogue's text and what it means. What is no catalogue is told from one whose images cannot be made.
fn planned(body: &Bytes) -> Result<(Bytes, Plan), (StatusCode, String)> {
    let malformed = |reason: String| (StatusCode::BAD_REQUEST, reason);
    let given = std::str::from_utf8(body).map_err(|error| malformed(format!("{BODY}: {error}")))?;
    let text = match document::read::<Catalogue>(BODY, given) {
        Ok(_) => body.clone(),
        Err(error) => {
            let plain = integers(given).filter(|text| document::read::<Catalogue>(BODY, text).is_ok());
            plain.map(Bytes::from).ok_or_else(|| malformed(error.to_string()))?
        }
    };
    catalogue::read(BODY, &String::from_utf8_lossy(&text))
        .map(|plan| (text, plan))
        .map_err(|error| (StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

/// JSON in which every whole number is written without a point, if it was not so before: JSON Schema takes `5.0` for
/// an integer, and programs whose only numbers are floats write integers like that.
fn integers(text: &str) -> Option<String> {
    fn plain(value: &mut Value) {
        match value {
            Value::Number(number) if number.is_f64() => {
                if let Some(whole) = number.as_f64().and_then(units::whole) {
                    *value = whole.into();
                }
            }
            Value::Array(values) => values.iter_mut().for_each(plain),
            Value::Object(keys) => keys.values_mut().for_each(plain),
            _ => {}
        }
    }
    let given: Value = serde_json::from_str(text).ok()?;
    let mut written = given.clone();
    plain(&mut written);
    (written != given).then(|| escaped(&written.to_string()))
}

/// JSON with everything but ASCII as escapes: YAML, which reads it next, has no control characters of its own.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() && character != '\x7f' {
            text.push(character);
        } else {
            let units = character
                .encode_utf16(&mut [0; 2])
                .iter()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect::<String>();
            text.push_str(&units);
        }
    }
    text
}

fn failed(error: &tokio::task::JoinError) -> Response {
    tracing::error!(%error, "a catalogue was not read");
    refused(StatusCode::INTERNAL_SERVER_ERROR, "the catalogue was not read; the log says why")
}
