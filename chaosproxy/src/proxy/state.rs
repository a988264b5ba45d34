//! What a proxy is at one moment: addresses, door, toxics, outages in force.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chaosproxy_path::Protocol;

use super::door::Door;
use super::spec::{ProxyError, ProxySpec};
use crate::admission::Admission;
use crate::listen::{self, AddressError};
use crate::live::{Entry, Orders};
use crate::outage::{DEFAULT_SHARE, OutageKind};
use crate::protocol;

/// Different shares of partial outages that a proxy decides about: each is a ledger line for every connection.
const SHARES: usize = 16;

/// An outage in force at one proxy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Force {
    pub(crate) kind: OutageKind,
    pub(crate) share: Option<f64>,
}

/// All that can change about a proxy.
#[derive(Debug)]
pub(super) struct State {
    /// What it carries, for good.
    pub(super) protocol: Protocol,
    /// With the protocol, as the API shows it.
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) enabled: bool,
    pub(super) door: Door,
    pub(super) toxics: Vec<Entry>,
    pub(super) next_id: u64,
    pub(super) outages: BTreeMap<u64, Force>,
    pub(super) announced: Vec<f64>,
    pub(super) admission: Admission,
}

impl State {
    pub(super) fn new(spec: &ProxySpec, protocol: Protocol) -> Self {
        Self {
            protocol,
            listen: spec.listen.clone(),
            upstream: spec.upstream.clone(),
            enabled: false,
            door: Door::Closed,
            toxics: Vec::new(),
            next_id: 1,
            outages: BTreeMap::new(),
            announced: Vec::new(),
            admission: spec.admission,
        }
    }

    /// Place of a toxic in the order of addition.
    ///
    /// # Errors
    /// There is none of that name.
    pub(super) fn position(&self, toxic: &str) -> Result<usize, ProxyError> {
        self.toxics.iter().position(|entry| **entry.toxic.name() == *toxic).ok_or(ProxyError::ToxicNotFound)
    }

    /// Whether an address is the one it has already, also by another name.
    ///
    /// # Errors
    /// It is no address.
    pub(super) async fn listens_on(&self, listen: &str, bare: IpAddr) -> Result<bool, AddressError> {
        if listen == self.listen {
            return Ok(true);
        }
        let new = listen::resolve(self.bare(listen), bare).await?;
        let current = listen::resolve(self.bare(&self.listen), bare).await;
        Ok(current.is_ok_and(|current| new.port() != 0 && listen::is_same(current, new)))
    }

    /// An address without the protocol.
    pub(super) fn bare<'a>(&self, address: &'a str) -> &'a str {
        match self.protocol {
            Protocol::Tcp => address,
            Protocol::Udp => protocol::split(address).1,
        }
    }

    /// Has connections decide about a partial outage of this share from now on.
    pub(super) fn announce(&mut self, share: f64) {
        if !self.announced.contains(&share) {
            if self.announced.len() == SHARES {
                self.announced.remove(0);
            }
            self.announced.push(share);
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.outages.values().any(|force| force.kind.is_down())
    }

    /// Writes all of it into orders.
    pub(super) fn write(&self, orders: &mut Orders) {
        let any = |kind| self.outages.values().any(|force| force.kind == kind);
        orders.toxics = self.toxics.clone().into();
        orders.admission = self.admission;
        orders.black_hole = any(OutageKind::BlackHole);
        orders.silent = any(OutageKind::Silent);
        let partial = self.outages.values().filter(|force| force.kind == OutageKind::Partial);
        orders.partial = partial.map(|force| force.share.unwrap_or(DEFAULT_SHARE)).reduce(f64::max);
        orders.announced = self.announced.as_slice().into();
    }
}
