//! Who is let in, and when: a proxy's limit of connections, and the delay before a new one is dialled.
//!
//! With a limit, the connections that are there are served in the order in which they were accepted, the first so many
//! of them; the others are reset, or wait until one of those has gone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::live::{ConnectionState, Kill, Orders, Visit};

/// Connections that wait for their turn at one proxy: as many as the kernel queues for it. Beyond, they are reset.
const WAITING: u64 = 1024;

/// What becomes of connections beyond the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// They are reset at once.
    #[default]
    Refuse,
    /// They are accepted and wait, unanswered, until one of those before them has gone.
    Hold,
}

impl OverLimit {
    /// By its name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Refuse, Self::Hold].into_iter().find(|over| over.name() == name)
    }

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Hold => "hold",
        }
    }
}

/// A proxy's terms for new connections. They hold for those accepted from then on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Milliseconds before a new connection is dialled; 0 is none.
    pub accept_delay_ms: u64,
    /// Connections served at once; `None`: any number.
    pub max_connections: Option<u64>,
    /// What becomes of those beyond.
    pub over_limit: OverLimit,
    /// Milliseconds without a datagram after which a flow ends; `None`: [`DEFAULT_IDLE_MS`]. Of proxies of datagrams
    /// only.
    pub idle_timeout_ms: Option<u64>,
}

/// Milliseconds without a datagram after which a flow ends, where nothing else is asked for.
pub const DEFAULT_IDLE_MS: u64 = 60_000;

impl Admission {
    /// How long a flow of datagrams lasts without one.
    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.unwrap_or(DEFAULT_IDLE_MS))
    }
}

/// What was made of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    Yes,
    /// To be reset: there are too many.
    No,
}

/// Lets a connection in by the terms of the orders it came under; a wait ends with newer orders that kill it.
pub(crate) async fn admit(visit: &mut Visit, orders: &mut Orders) -> Result<Admitted, Kill> {
    let terms = orders.admission;
    if let Some(max) = terms.max_connections
        && !visit.live.is_among_first(visit.record.ordinal, max)
    {
        let holds = terms.over_limit == OverLimit::Hold;
        let has_place = visit.live.is_among_first(visit.record.ordinal, max.saturating_add(WAITING));
        if !holds || !has_place {
            visit.live.counters.fault("max_connections:refuse");
            return Ok(Admitted::No);
        }
        visit.live.counters.fault("max_connections:hold");
        hold(visit, |visit| {
            let (live, ordinal) = (visit.live.clone(), visit.record.ordinal);
            async move { live.until_among_first(ordinal, max).await }
        })
        .await?;
    }
    if terms.accept_delay_ms > 0 {
        visit.live.counters.fault("accept_delay");
        hold(visit, |_| tokio::time::sleep(Duration::from_millis(terms.accept_delay_ms))).await?;
    }
    // Time may have passed: what is in force now counts.
    *orders = visit.consult()?;
    Ok(Admitted::Yes)
}

async fn hold<F: Future<Output = ()>>(visit: &mut Visit, wait: impl FnOnce(&Visit) -> F) -> Result<(), Kill> {
    visit.record.set_state(ConnectionState::Held);
    let wait = wait(visit);
    tokio::select! {
        () = wait => {}
        kill = visit.killed() => return Err(kill),
    }
    visit.record.set_state(ConnectionState::Dialing);
    Ok(())
}
