//! What the API says at one moment.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::TopError;
use crate::ask::Server;
use crate::counters::ProxyCounts;
use crate::ctl::Proxy;
use crate::live::ConnectionView;
use crate::outage::Outage;

/// Proxies, counts and connections, and when they were asked for.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) proxies: BTreeMap<String, Proxy>,
    pub(super) counts: BTreeMap<String, ProxyCounts>,
    pub(super) connections: Vec<ConnectionView>,
    pub(super) outages: Vec<Outage>,
}

#[derive(Deserialize)]
struct Counters {
    proxies: BTreeMap<String, ProxyCounts>,
}

#[derive(Deserialize)]
struct Connections {
    connections: Vec<ConnectionView>,
}

#[derive(Deserialize)]
struct Outages {
    outages: Vec<Outage>,
}

impl Reading {
    /// Asks the server for everything.
    pub(super) fn take(server: &Server) -> Result<Self, TopError> {
        let proxies = get(server, "/proxies")?;
        let Outages { outages } = get(server, "/outages")?;
        let Connections { connections } = get(server, "/connections")?;
        let Counters { proxies: counts } = get(server, "/counters")?;
        Ok(Self { at: Instant::now(), proxies, counts, connections, outages })
    }
}

fn get<T: DeserializeOwned>(server: &Server, path: &'static str) -> Result<T, TopError> {
    let reply = server.ask("GET", path, "")?;
    if reply.status == 401 {
        return Err(TopError::Token(format!("GET {path}: status 401")));
    }
    if reply.status != 200 {
        return Err(TopError::Answer { path, reason: format!("status {}", reply.status) });
    }
    serde_json::from_slice(&reply.body).map_err(|error| TopError::Answer { path, reason: error.to_string() })
}
