//! What the fuzz targets call: bytes from nowhere in the place of a request's body, through the model of the API into a
//! server that listens nowhere, so that neither sockets nor clocks have a part in it. Only there under `--cfg fuzzing`.
//!
//! Beside not panicking, what is shown has to describe what is there: made anew from it, it shows the same.

use std::path::Path;
use std::sync::Arc;

use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};

use super::routes::Endpoint;
use super::{model, serve, uri};
use crate::clock::Clock;
use crate::config;
use crate::ledger::Ledger;
use crate::live::Ground;
use crate::proxies::Proxies;
use crate::proxy::ProxySpec;
use crate::server::{Core, DEFAULT_BUFFER_LIMIT};
use crate::timeline::Schedule;
use crate::token::Guard;

/// An empty server, and one proxy `a` with a toxic `t`, in a runtime without input and output.
fn on_a_server<F: Future<Output = ()>>(strict_compat: bool, work: impl FnOnce(Arc<Core>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("it needs nothing of the system").block_on(async {
        let core = server(strict_compat);
        core.proxies.create(&silent("a")).await.expect("there is no other");
        let toxic = br#"{"name":"t","type":"latency","attributes":{"latency":1}}"#;
        assert_eq!(ask(&core, "POST", "/proxies/a/toxics", toxic).await.0, 200);
        work(core).await;
    });
}

fn server(strict_compat: bool) -> Arc<Core> {
    let ground = Ground {
        seed: mockreg_proto::seed::Seed::root(1),
        clock: Clock::start(),
        ledger: Arc::new(Ledger::open(None).expect("no file is asked for")),
        buffer_limit: DEFAULT_BUFFER_LIMIT,
        pipes: Arc::default(),
        strict_compat,
    };
    let proxies = Arc::new(Proxies::new(ground));
    Arc::new(Core {
        timeline: Schedule::new(Arc::clone(&proxies)),
        proxies,
        guard: Guard::default(),
        proxy_metrics: false,
        runtime_metrics: false,
    })
}

/// A proxy that does not listen.
fn silent(name: &str) -> ProxySpec {
    ProxySpec { enabled: false, ..ProxySpec::new(name, "u:1") }
}

/// What the API answers, less HTTP.
async fn ask(core: &Arc<Core>, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let path = uri::segments(path).expect("a path of ours is well spelt");
    let method: Method = method.parse().expect("it is a method");
    let handler =
        Endpoint::of(&path).and_then(|endpoint| endpoint.handler(&method)).expect("there is a route");
    let response: Response<Full<_>> =
        handler.run(core, "", body).await.unwrap_or_else(|error| serve::failure(&error));
    let (status, Ok(body)) = (response.status(), response.into_body().collect().await);
    let body = body.to_bytes().to_vec();
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{}", String::from_utf8_lossy(&body));
    let is_json = body.is_empty() || serde_json::from_slice::<serde_json::Value>(&body).is_ok();
    assert!(is_json, "{}", String::from_utf8_lossy(&body));
    (status.as_u16(), body)
}

/// Creating, changing and populating proxies.
pub fn proxy(body: &[u8]) {
    let Ok(value) = model::first_value(body) else { return };
    for strict in [false, true] {
        on_a_server(strict, async |core| {
            if let Ok(spec) = model::proxy_spec(&value, strict) {
                create(&core, spec).await;
            }
            if let Ok(mut update) = model::proxy_update(&value) {
                // Other addresses are looked up, and an enabled proxy listens.
                (update.listen, update.enabled) = (None, None);
                let _may_be_no_upstream = core.proxies.update("a", &update).await;
            }
            if let Ok(mut specs) = model::proxy_specs(&value, strict) {
                specs.iter_mut().for_each(|spec| spec.enabled = false);
                let mut names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).chain(["a"]).collect();
                names.sort_unstable();
                // One that is there already is compared by its address, which is looked up.
                if names.windows(2).all(|pair| pair[0] != pair[1]) {
                    let (views, result) = core.proxies.populate(&specs).await;
                    assert!(result.is_err() || views.len() == specs.len());
                }
            }
            ask(&core, "GET", "/proxies", b"").await;
        });
    }
}

/// Creates a proxy, and another one elsewhere from what is shown of it: both show the same.
async fn create(core: &Arc<Core>, spec: ProxySpec) {
    let spec = ProxySpec { enabled: false, ..spec };
    let Ok(proxy) = core.proxies.create(&spec).await else { return };
    let show = async |core: &Core, proxy: &crate::proxy::Proxy| {
        model::text_of(&model::ProxyJson { view: &proxy.view().await, strict: core.is_strict() })
    };
    let shown = show(core, &proxy).await;
    let value = model::first_value(shown.as_bytes()).expect("what is shown is JSON");
    let again = model::proxy_spec(&value, core.is_strict()).expect("what is shown is a proxy");
    let other = server(core.is_strict());
    let again = other.proxies.create(&again).await.expect("it is as good as the first");
    assert_eq!(show(&other, &again).await, shown);
}

/// Creating and changing toxics.
pub fn toxic(body: &[u8]) {
    for strict in [false, true] {
        on_a_server(strict, async |core| {
            core.proxies.create(&silent("b")).await.expect("there is no other");
            let (status, shown) = ask(&core, "POST", "/proxies/a/toxics", body).await;
            if status == 200 {
                let (status, again) = ask(&core, "POST", "/proxies/b/toxics", &shown).await;
                assert_eq!(
                    (status, String::from_utf8_lossy(&again)),
                    (200, String::from_utf8_lossy(&shown)),
                    "strict: {strict}"
                );
            }
            ask(&core, "POST", "/proxies/a/toxics/t", body).await;
            ask(&core, "GET", "/proxies/a/toxics", b"").await;
        });
    }
}

/// Beginning an outage, which is then there and can be ended.
pub fn outage(body: &[u8]) {
    on_a_server(false, async |core| {
        let (status, shown) = ask(&core, "POST", "/outages", body).await;
        if status == 201 {
            let shown: serde_json::Value = serde_json::from_slice(&shown).expect("an answer is JSON");
            let path = format!("/outages/{}", shown["id"]);
            assert_eq!(ask(&core, "GET", &path, b"").await.0, 200);
            ask(&core, "DELETE", &path, b"").await;
        }
    });
}

/// A timeline, which is shown, starts and is cleared.
pub fn timeline(body: &[u8]) {
    on_a_server(false, async |core| {
        if ask(&core, "PUT", "/timeline", body).await.0 == 200 {
            assert_eq!(ask(&core, "GET", "/timeline", b"").await.0, 200);
            ask(&core, "POST", "/timeline/start", b"").await;
            assert_eq!(ask(&core, "DELETE", "/timeline", b"").await.0, 204);
        }
    });
}

/// A file of proxies: each has what it needs, and an error names a place in the file.
pub fn configuration(text: &str) {
    for strict in [false, true] {
        match config::parse(Path::new("fuzz"), text, strict) {
            Ok(specs) => assert!(specs.iter().all(|spec| !spec.name.is_empty() && !spec.upstream.is_empty())),
            Err(error) => assert!(error.to_string().starts_with("fuzz:")),
        }
    }
}

/// A request's path and query: what is cleaned is clean, and what is escaped comes back.
pub fn path(text: &str) {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let _any = uri::only_parameter(query, "proxy");
    let Some(segments) = uri::segments(path) else { return };
    if let Some(clean) = uri::cleaned(&segments) {
        let clean = uri::segments(&clean).expect("what is escaped can be decoded");
        assert_eq!(uri::cleaned(&clean), None);
    }
    for segment in segments {
        assert_eq!(uri::decoded(&uri::escaped(&segment)).as_deref(), Some(segment.as_str()));
    }
}
