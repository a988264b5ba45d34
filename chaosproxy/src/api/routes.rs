//! The routes: a table of paths and methods, and one handler each. Each change that is made is logged, names as texts
//! in quotes, so that none can pass for a line of its own.

use std::sync::Arc;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::error::ApiError;
use super::model::{self, Fields, ProxyJson, ToxicJson};
use super::uri;
use crate::live::Entry;
use crate::metrics;
use crate::outage::{Manner, OutageKind};
use crate::proxy::{ProxyError, ProxyView};
use crate::server::Core;
use crate::timeline::Timeline;

type Answer = Result<Response<Full<Bytes>>, ApiError>;

/// A path that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Proxies,
    Proxy(String),
    Toxics(String),
    Toxic(String, String),
    Populate,
    Reset,
    Version,
    Metrics,
    Health,
    Counters,
    Ledger,
    Connections,
    Outages,
    Outage(String),
    Timeline,
    TimelineStart,
}

/// What is done on an endpoint with a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Handler {
    endpoint: Endpoint,
    verb: Verb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Show,
    /// Create, or change where it is a thing that has a name.
    Post,
    Put,
    Delete,
}

impl Endpoint {
    /// The endpoint of a path. Each name is one decoded segment; there is no tolerance for a trailing slash.
    pub(super) fn of(path: &[String]) -> Option<Self> {
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        Some(match segments.as_slice() {
            ["proxies"] => Self::Proxies,
            ["proxies", proxy] if !proxy.is_empty() => Self::Proxy((*proxy).to_owned()),
            ["proxies", proxy, "toxics"] => Self::Toxics((*proxy).to_owned()),
            ["proxies", proxy, "toxics", toxic] if !toxic.is_empty() => {
                Self::Toxic((*proxy).to_owned(), (*toxic).to_owned())
            }
            ["populate"] => Self::Populate,
            ["reset"] => Self::Reset,
            ["version"] => Self::Version,
            ["metrics"] => Self::Metrics,
            ["healthz"] => Self::Health,
            ["counters"] => Self::Counters,
            ["ledger"] => Self::Ledger,
            ["connections"] => Self::Connections,
            ["outages"] => Self::Outages,
            ["outages", id] if !id.is_empty() => Self::Outage((*id).to_owned()),
            ["timeline"] => Self::Timeline,
            ["timeline", "start"] => Self::TimelineStart,
            _ => return None,
        })
    }

    /// What a method does here; `None` where it is not allowed.
    pub(super) fn handler(self, method: &Method) -> Option<Handler> {
        use Endpoint as E;
        let is_shown = !matches!(self, E::Populate | E::Reset | E::TimelineStart);
        let verb = match (&self, method.as_str()) {
            // As in the reference, every method reads the metrics.
            _ if self == E::Metrics || is_shown && method == Method::GET => Verb::Show,
            (E::Proxies | E::Toxics(_) | E::Populate | E::Reset | E::Outages | E::TimelineStart, "POST")
            | (E::Proxy(_) | E::Toxic(..), "POST" | "PATCH") => Verb::Post,
            (E::Timeline, "PUT") => Verb::Put,
            (E::Proxy(_) | E::Toxic(..) | E::Outage(_) | E::Timeline, "DELETE") => Verb::Delete,
            _ => return None,
        };
        Some(Handler { endpoint: self, verb })
    }
}

impl Handler {
    /// Whether the answer may be as big as the ledger.
    pub(super) fn has_big_answer(&self) -> bool {
        self.endpoint == Endpoint::Ledger
    }

    pub(super) async fn run(&self, core: &Arc<Core>, query: &str, body: &[u8]) -> Answer {
        use Endpoint as E;
        match (&self.endpoint, self.verb) {
            (E::Proxies, Verb::Show) => Ok(list_proxies(core, &core.proxies.views().await)),
            (E::Proxies, _) => create_proxy(core, body).await,
            (E::Proxy(name), Verb::Show) => {
                Ok(proxy(core, StatusCode::OK, &core.proxies.get(name).await?.view().await))
            }
            (E::Proxy(name), Verb::Delete) => {
                core.proxies.remove(name).await?;
                tracing::info!(proxy = name, "proxy deleted");
                Ok(empty())
            }
            (E::Proxy(name), _) => update_proxy(core, name, body).await,
            (E::Toxics(name), Verb::Show) => {
                Ok(list_toxics(core, &core.proxies.get(name).await?.view().await))
            }
            (E::Toxics(name), _) => create_toxic(core, name, body).await,
            (E::Toxic(name, toxic), Verb::Show) => show_toxic(core, name, toxic).await,
            (E::Toxic(name, toxic), Verb::Delete) => {
                core.proxies.get(name).await?.remove_toxic(toxic).await?;
                tracing::info!(proxy = name, toxic, "toxic removed");
                Ok(empty())
            }
            (E::Toxic(name, toxic), _) => update_toxic(core, name, toxic, body).await,
            (E::Populate, _) => populate(core, body).await,
            (E::Reset, _) => {
                core.proxies.reset().await?;
                tracing::info!("all proxies reset");
                Ok(empty())
            }
            (E::Version, _) => Ok(version()),
            (E::Metrics, _) => Ok(metrics(core).await),
            (E::Health, _) => Ok(json(core, StatusCode::OK, &serde_json::json!({"status": "ok"}))),
            (E::Counters, _) => Ok(counters(core).await),
            (E::Ledger, _) => ledger(core, query),
            (E::Connections, _) => Ok(connections(core).await),
            (E::Outages, Verb::Show) => {
                Ok(json(core, StatusCode::OK, &serde_json::json!({"outages": core.proxies.outages.all()})))
            }
            (E::Outages, _) => begin_outage(core, body).await,
            (E::Outage(id), Verb::Show) => show_outage(core, id),
            (E::Outage(id), _) => end_outage(core, id).await,
            (E::Timeline, Verb::Put) => put_timeline(core, body).await,
            (E::Timeline, Verb::Delete) => {
                core.timeline.clear().await;
                tracing::info!("timeline deleted");
                Ok(empty())
            }
            (E::Timeline, _) => Ok(json(core, StatusCode::OK, &core.timeline.view())),
            (E::TimelineStart, _) => {
                core.timeline.start()?;
                tracing::info!("timeline started");
                Ok(json(core, StatusCode::OK, &core.timeline.view()))
            }
        }
    }
}

fn log_proxy(view: &ProxyView, done: &str) {
    let ProxyView { name, listen, upstream, enabled, .. } = view;
    tracing::info!(proxy = name, listen, upstream, enabled, "proxy {done}");
}

async fn create_proxy(core: &Core, body: &[u8]) -> Answer {
    let spec = model::proxy_spec(&model::first_value(body)?, core.is_strict())?;
    let view = core.proxies.create(&spec).await?.view().await;
    log_proxy(&view, "created");
    Ok(proxy(core, StatusCode::CREATED, &view))
}

async fn update_proxy(core: &Core, name: &str, body: &[u8]) -> Answer {
    core.proxies.get(name).await?;
    let update = model::proxy_update(&model::first_value(body)?)?;
    let view = core.proxies.update(name, &update).await?;
    log_proxy(&view, "updated");
    Ok(proxy(core, StatusCode::OK, &view))
}

async fn create_toxic(core: &Core, name: &str, body: &[u8]) -> Answer {
    let proxy = core.proxies.get(name).await?;
    let value = model::first_value(body)?;
    let mut toxic = model::toxic_head(&value, proxy.protocol(), core.is_strict())?;
    if proxy.has_toxic(&toxic.name()).await {
        return Err(ProxyError::ToxicExists.into());
    }
    model::create_attributes(&value, &mut toxic.attributes)?;
    let entry = proxy.add_toxic(&toxic).await?;
    tracing::info!(proxy = name, toxic = %model::text_of(&ToxicJson(&entry)), "toxic added");
    Ok(json(core, StatusCode::OK, &ToxicJson(&entry)))
}

async fn show_toxic(core: &Core, name: &str, toxic: &str) -> Answer {
    let view = core.proxies.get(name).await?.view().await;
    let found = view.toxics.iter().find(|entry| **entry.toxic.name() == *toxic);
    Ok(json(core, StatusCode::OK, &ToxicJson(found.ok_or(ProxyError::ToxicNotFound)?)))
}

async fn update_toxic(core: &Core, name: &str, toxic: &str, body: &[u8]) -> Answer {
    let proxy = core.proxies.get(name).await?;
    let mut refused = Ok(());
    let change = |known: &Entry, attributes: &mut _, toxicity: &mut _| {
        let value = model::first_value(body)?;
        model::keeps_selection(&value, &known.only)?;
        refused = model::merge_toxic(&value, attributes, toxicity);
        // The reference keeps what was good of a change that it refuses; here it is all or nothing.
        if core.is_strict() { Ok(()) } else { refused.clone() }
    };
    let entry = proxy.update_toxic::<ApiError>(toxic, change).await?;
    tracing::info!(proxy = name, toxic = %model::text_of(&ToxicJson(&entry)), "toxic updated");
    refused?;
    Ok(json(core, StatusCode::OK, &ToxicJson(&entry)))
}

async fn populate(core: &Core, body: &[u8]) -> Answer {
    /// Errors are part of an answer of the usual type here, and no proxies are `null`.
    #[derive(Serialize)]
    struct Populated<'a> {
        #[serde(flatten)]
        error: Option<&'a ApiError>,
        proxies: Option<Vec<ProxyJson<'a>>>,
    }
    let specs = model::first_value(body).and_then(|value| model::proxy_specs(&value, core.is_strict()));
    let (views, error) = match specs {
        Ok(specs) => {
            let (views, result) = core.proxies.populate(&specs).await;
            (views, result.err().map(ApiError::from))
        }
        Err(error) => (Vec::new(), Some(error)),
    };
    if !views.is_empty() {
        let names: Vec<_> = views.iter().map(|view| &view.name).collect();
        tracing::info!(proxies = ?names, error = error.as_ref().map(ApiError::problem), "proxies populated");
    }
    let status = error.as_ref().map_or(StatusCode::CREATED, |error| error.status);
    let proxies = views.iter().map(|view| shown(core, view)).collect();
    let proxies = Some(proxies).filter(|proxies: &Vec<_>| !proxies.is_empty());
    Ok(json(core, status, &Populated { error: error.as_ref(), proxies }))
}

async fn begin_outage(core: &Core, body: &[u8]) -> Answer {
    let value = model::first_value(body)?;
    let fields = Fields::of(&value, "Outage", "Outage")?;
    fields.only(&["proxy", "kind", "for_ms", "share", "period_ms", "duty", "seeded_phase"])?;
    let name = fields.string("proxy")?.ok_or_else(|| ProxyError::MissingField("proxy".into()))?;
    let kind = fields.string("kind")?.ok_or_else(|| ProxyError::MissingField("kind".into()))?;
    let kind = OutageKind::parse(&kind).map_err(ApiError::bad_request)?;
    let manner = Manner {
        share: fields.float("share")?,
        period_ms: fields.whole("period_ms")?,
        duty: fields.float("duty")?,
        seeded_phase: fields.boolean("seeded_phase")?,
    };
    let manner = manner.of(kind).map_err(ApiError::bad_request)?;
    let for_ms = fields.whole("for_ms")?;
    if for_ms == Some(0) && !kind.is_instant() {
        let problem =
            "for_ms must be at least 1: nothing lasts no time; without it the outage lasts until it is ended";
        return Err(ApiError::bad_request(problem));
    }
    let proxy = core.proxies.get(&name).await?;
    Ok(json(core, StatusCode::CREATED, &core.proxies.outages.begin(proxy, kind, manner, for_ms).await))
}

fn show_outage(core: &Core, id: &str) -> Answer {
    let outage = id.parse().ok().and_then(|id| core.proxies.outages.get(id));
    Ok(json(core, StatusCode::OK, &outage.ok_or(ProxyError::OutageNotFound)?))
}

async fn end_outage(core: &Core, id: &str) -> Answer {
    let id = id.parse().map_err(|_| ProxyError::OutageNotFound)?;
    core.proxies.outages.end(id).await?;
    Ok(empty())
}

async fn put_timeline(core: &Core, body: &[u8]) -> Answer {
    let text = std::str::from_utf8(body).map_err(ApiError::bad_body)?;
    let timeline: Timeline = mockreg_proto::document::read("request body", text)
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    core.timeline.put(&timeline).await?;
    tracing::info!(events = timeline.events.len(), "timeline put");
    Ok(json(core, StatusCode::OK, &core.timeline.view()))
}

async fn counters(core: &Core) -> Response<Full<Bytes>> {
    let (lines, dropped) = core.proxies.ground.ledger.counts();
    let counters = serde_json::json!({
        "proxies": core.proxies.counts().await,
        "ledger": {"lines": lines, "dropped": dropped},
    });
    json(core, StatusCode::OK, &counters)
}

async fn connections(core: &Core) -> Response<Full<Bytes>> {
    json(core, StatusCode::OK, &serde_json::json!({"connections": core.proxies.connections().await}))
}

/// All lines, or those of the proxies called as `?proxy=NAME` says; one that is gone is asked for like any other.
fn ledger(core: &Core, query: &str) -> Answer {
    let ledger = &core.proxies.ground.ledger;
    let lines = match uri::only_parameter(query, "proxy")? {
        Some(proxy) => ledger.lines_of(&proxy),
        None => ledger.lines(),
    };
    let text: String = lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("a ledger line has string keys only") + "\n")
        .collect();
    Ok(typed(StatusCode::OK, "application/x-ndjson", text))
}

async fn metrics(core: &Core) -> Response<Full<Bytes>> {
    typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::expose(core).await)
}

/// The reference says `git` for every build that is not a release, and clients read it as the newest; the space
/// and the newline are its own.
fn version() -> Response<Full<Bytes>> {
    typed(StatusCode::OK, "application/json;charset=utf-8", "{\"version\": \"git\"}\n")
}

fn list_proxies(core: &Core, views: &[ProxyView]) -> Response<Full<Bytes>> {
    struct ByName<'a>(Vec<ProxyJson<'a>>);
    impl Serialize for ByName<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|proxy| (&proxy.view.name, proxy)))
        }
    }
    json(core, StatusCode::OK, &ByName(views.iter().map(|view| shown(core, view)).collect()))
}

fn list_toxics(core: &Core, view: &ProxyView) -> Response<Full<Bytes>> {
    json(core, StatusCode::OK, &view.toxics.iter().map(ToxicJson).collect::<Vec<_>>())
}

fn proxy(core: &Core, status: StatusCode, view: &ProxyView) -> Response<Full<Bytes>> {
    json(core, status, &shown(core, view))
}

fn shown<'a>(core: &Core, view: &'a ProxyView) -> ProxyJson<'a> {
    ProxyJson { view, strict: core.is_strict() }
}

fn json(core: &Core, status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    // The newline is ours, for those who read it on a terminal; to a reader of JSON it is nothing.
    let newline = if core.is_strict() { "" } else { "\n" };
    typed(status, "application/json", model::text_of(value) + newline)
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn empty() -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
