//! What has been decided about one connection, and its lines in the ledger.
//!
//! Toxics decide when the connection is accepted, also where an outage turns it away a moment later: so a connection
//! has the same lines in every run with the same seed, whatever happens to it.

use std::sync::Arc;

use chaosproxy_path::Strike;

use crate::ledger::{LineId, Observed};
use crate::live::{Entry, Live};

/// Decisions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    /// The toxic, and which version of it.
    toxic: (u64, u64),
    rule: Arc<str>,
    id: LineId,
}

impl Decisions {
    /// Writes down what these toxics decide, as far as that has not been done.
    pub(crate) fn follow(&mut self, live: &Live, ordinal: u64, toxics: &[Entry]) {
        let identity = live.identity(ordinal);
        for Entry { id, revision, toxic, .. } in toxics {
            if self.lines.iter().any(|line| line.toxic == (*id, *revision)) {
                continue;
            }
            let Some(decision) = toxic.decide(&identity) else { continue };
            let attempt = self.lines.iter().filter(|line| line.rule == decision.rule).count() as u32 + 1;
            let rule = Arc::clone(&decision.rule);
            let line = live.ground.ledger.decide(live.whose(ordinal), attempt, decision);
            self.lines.push(Line { toxic: (*id, *revision), rule, id: line });
        }
    }

    /// Writes down that a toxic struck.
    pub(crate) fn observe(&self, live: &Live, strike: &Strike) {
        let observed = Observed { t_ms: live.ground.clock.now_ms(), bytes: strike.bytes };
        if let Some(line) = self.lines.iter().rev().find(|line| line.rule == strike.toxic) {
            live.ground.ledger.observe(line.id, observed);
        }
    }

    /// The connection has ended.
    pub(crate) fn settle(&self, live: &Live) {
        live.ground.ledger.settle(self.lines.iter().map(|line| line.id));
    }
}
