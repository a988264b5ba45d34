//! What a proxy is at one moment: addresses, door, toxics, outages in force.

use std::collections::BTreeMap;

use chaosproxy_path::Protocol;

use super::door::Door;
use super::spec::{ProxyError, ProxySpec};
use crate::address::{Address, Dialect};
use crate::admission::Admission;
use crate::introduction::Introduction;
use crate::listen::AddressError;
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
    pub(super) listen: String,
    pub(super) upstream: String,
    pub(super) enabled: bool,
    /// One for each port; none while it is disabled.
    pub(super) doors: Vec<Door>,
    pub(super) toxics: Vec<Entry>,
    pub(super) next_id: u64,
    pub(super) outages: BTreeMap<u64, Force>,
    pub(super) announced: Vec<f64>,
    pub(super) admission: Admission,
    pub(super) introduction: Introduction,
}

impl State {
    pub(super) fn new(spec: &ProxySpec, protocol: Protocol) -> Self {
        Self {
            listen: match spec.listen.as_str() {
                "" => protocol::joined(protocol, ""),
                given => given.to_owned(),
            },
            upstream: spec.upstream.clone(),
            enabled: false,
            doors: Vec::new(),
            toxics: Vec::new(),
            next_id: 1,
            outages: BTreeMap::new(),
            announced: Vec::new(),
            admission: spec.admission,
            introduction: spec.introduction,
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
    pub(super) async fn listens_on(&self, listen: &str, dialect: Dialect) -> Result<bool, AddressError> {
        if listen == self.listen {
            return Ok(true);
        }
        let new = Address::resolve_all(listen, dialect).await?;
        let Ok(current) = Address::resolve_all(&self.listen, dialect).await else { return Ok(false) };
        Ok(current.len() == new.len() && current.iter().zip(&new).all(|(current, new)| current.is_same(new)))
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
        orders.introduction = self.introduction;
        orders.black_hole = any(OutageKind::BlackHole);
        orders.silent = any(OutageKind::Silent);
        let partial = self.outages.values().filter(|force| force.kind == OutageKind::Partial);
        orders.partial = partial.map(|force| force.share.unwrap_or(DEFAULT_SHARE)).reduce(f64::max);
        orders.announced = self.announced.as_slice().into();
    }
}
