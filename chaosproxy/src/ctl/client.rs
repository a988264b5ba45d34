//! The client of the API behind `ctl`. Errors read as those of Toxiproxy's own client.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::api::escaped;
use crate::ask::{self, AskError, Reply, Server};
use crate::token::Token;

/// The reference gives up on an answer after 25 s; whoever waits longer hears nothing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy as a server shows it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Proxy {
    pub(crate) name: String,
    pub(crate) listen: String,
    pub(crate) upstream: String,
    pub(crate) enabled: bool,
    pub(crate) toxics: Vec<Toxic>,
}

/// A toxic as a server shows it, and as it is created.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Toxic {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) stream: String,
    pub(super) toxicity: f32,
    pub(super) attributes: BTreeMap<String, Value>,
    /// The connections it is for, by condition; none: all.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub(super) only: BTreeMap<String, Vec<Value>>,
}

/// A change of a toxic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Change {
    pub(super) toxicity: f32,
    pub(super) attributes: BTreeMap<String, Value>,
}

/// Why a call failed.
#[derive(Debug, Error)]
pub(super) enum CallError {
    /// The server refuses.
    #[error("{call}: HTTP {status}: {error}")]
    Refused { call: &'static str, status: u16, error: String },
    /// There is none.
    #[error("{verb} \"{url}\": {source}")]
    Ask { verb: &'static str, url: String, source: AskError },
    /// What it says makes no sense.
    #[error("{0}")]
    Body(#[from] serde_json::Error),
    /// The proxy, which is looked at first, cannot be had.
    #[error("failed to retrieve proxy with name `{proxy}`: {source}")]
    Proxy { proxy: String, source: Box<Self> },
    /// What was asked of a toxic failed.
    #[error("{what}: {source}")]
    Toxic { what: String, source: Box<Self> },
}

#[derive(Debug)]
pub(super) struct Client {
    base: String,
    token: Option<Token>,
}

impl Client {
    /// A client of the server at `host`, `unix:PATH` or an address with or without `http://`, which is shown `token`.
    pub(super) fn new(host: &str, token: Option<Token>) -> Self {
        Self { base: ask::url(host).into_owned(), token }
    }

    pub(super) fn proxies(&self) -> Result<BTreeMap<String, Proxy>, CallError> {
        Ok(serde_json::from_slice(&self.call("Proxies", "GET", "/proxies", "", 200)?.body)?)
    }

    pub(super) fn proxy(&self, name: &str) -> Result<Proxy, CallError> {
        Ok(serde_json::from_slice(&self.call("Proxy", "GET", &proxy_path(name), "", 200)?.body)?)
    }

    pub(super) fn create(&self, name: &str, listen: &str, upstream: &str) -> Result<(), CallError> {
        let body = serde_json::json!({"name": name, "listen": listen, "upstream": upstream, "enabled": true});
        self.call("Create", "POST", "/proxies", &body.to_string(), 201).map(drop)
    }

    pub(super) fn enable(&self, name: &str, enabled: bool) -> Result<Proxy, CallError> {
        let body = serde_json::json!({"enabled": enabled}).to_string();
        Ok(serde_json::from_slice(&self.call("Save", "POST", &proxy_path(name), &body, 200)?.body)?)
    }

    pub(super) fn delete(&self, name: &str) -> Result<(), CallError> {
        self.call("Delete", "DELETE", &proxy_path(name), "", 204).map(drop)
    }

    pub(super) fn add(&self, proxy: &str, toxic: &Toxic) -> Result<Toxic, CallError> {
        self.require(proxy)?;
        let path = format!("{}/toxics", proxy_path(proxy));
        let added = self.call("AddToxic", "POST", &path, &serde_json::to_string(toxic)?, 200);
        let failed = |source: CallError| source.about(format_args!("failed to add toxic to proxy {proxy}"));
        Ok(serde_json::from_slice(&added.map_err(failed)?.body)?)
    }

    pub(super) fn update(&self, proxy: &str, toxic: &str, change: &Change) -> Result<Toxic, CallError> {
        self.require(proxy)?;
        let body = serde_json::to_string(change)?;
        let updated = self.call("UpdateToxic", "POST", &toxic_path(proxy, toxic), &body, 200);
        let what = format_args!("failed to update toxic '{toxic}' of proxy '{proxy}'");
        Ok(serde_json::from_slice(&updated.map_err(|source| source.about(what))?.body)?)
    }

    pub(super) fn remove(&self, proxy: &str, toxic: &str) -> Result<(), CallError> {
        self.require(proxy)?;
        let removed = self.call("RemoveToxic", "DELETE", &toxic_path(proxy, toxic), "", 204);
        let what = format_args!("failed to remove toxic '{toxic}' from proxy '{proxy}'");
        removed.map(drop).map_err(|source| source.about(what))
    }

    /// The reference looks whether the proxy is there, and says so apart.
    fn require(&self, proxy: &str) -> Result<(), CallError> {
        let missing = |source| CallError::Proxy { proxy: proxy.to_owned(), source: Box::new(source) };
        self.proxy(proxy).map(drop).map_err(missing)
    }

    fn call(
        &self,
        call: &'static str,
        method: &'static str,
        path: &str,
        body: &str,
        expected: u16,
    ) -> Result<Reply, CallError> {
        let url = format!("{}{path}", self.base);
        let reply = self.ask(method, path, body).map_err(|source| CallError::Ask {
            verb: spelt(method),
            url,
            source,
        })?;
        if reply.status == expected {
            return Ok(reply);
        }
        #[derive(Deserialize)]
        struct Told {
            error: String,
            status: u16,
        }
        Err(match serde_json::from_slice(&reply.body) {
            Ok(Told { error, status }) => CallError::Refused { call, status, error },
            Err(_) => {
                let error = format!("Unexpected response code, expected {expected}");
                CallError::Refused { call, status: reply.status, error }
            }
        })
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Result<Reply, AskError> {
        let server = Server::of(&self.base, self.token.clone(), PATIENCE)?;
        server.ask(method, &format!("{}{path}", server.path()), body)
    }
}

impl CallError {
    fn about(self, what: std::fmt::Arguments<'_>) -> Self {
        Self::Toxic { what: what.to_string(), source: Box::new(self) }
    }
}

/// As Go spells methods in errors.
fn spelt(method: &str) -> &'static str {
    match method {
        "POST" => "Post",
        "DELETE" => "Delete",
        _ => "Get",
    }
}

fn proxy_path(name: &str) -> String {
    format!("/proxies/{}", escaped(name))
}

fn toxic_path(proxy: &str, toxic: &str) -> String {
    format!("{}/toxics/{}", proxy_path(proxy), escaped(toxic))
}
