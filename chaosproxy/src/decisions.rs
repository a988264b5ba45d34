//! What has been decided about one connection, and its lines in the ledger.
//!
//! Toxics decide when the connection is accepted, also where an outage turns it away a moment later: so a connection
//! has the same lines in every run with the same seed, whatever happens to it.

use std::sync::Arc;

use chaosproxy_path::{Strike, Toxic};

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
    /// The toxic itself, which decides anew after each strike where it strikes more than once.
    source: Toxic,
    strikes: u64,
    /// Lines written so far.
    attempts: u32,
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
            let rule = Arc::clone(&decision.rule);
            let earlier = self.lines.iter().filter(|line| line.rule == rule).map(|line| line.attempts);
            let attempt = earlier.sum::<u32>() + 1;
            let line = live.ground.ledger.decide(live.whose(ordinal), attempt, decision);
            let (toxic, source) = ((*id, *revision), toxic.clone());
            self.lines.push(Line { toxic, rule, id: line, source, strikes: 0, attempts: 1 });
        }
    }

    /// Writes down that a toxic struck, and what it decides next.
    pub(crate) fn observe(&mut self, live: &Live, ordinal: u64, strike: &Strike) {
        let observed = Observed { t_ms: live.ground.clock.now_ms(), bytes: strike.bytes };
        let earlier: u32 =
            self.lines.iter().filter(|line| line.rule == strike.toxic).map(|l| l.attempts).sum();
        let Some(line) = self.lines.iter_mut().rev().find(|line| line.rule == strike.toxic) else { return };
        let ledger = &live.ground.ledger;
        ledger.observe(line.id, observed);
        line.strikes += 1;
        let Some(next) = line.source.decide_next(&live.identity(ordinal), line.strikes) else { return };
        ledger.settle([line.id]);
        line.id = ledger.decide(live.whose(ordinal), earlier + 1, next);
        line.attempts += 1;
    }

    /// The connection has ended.
    pub(crate) fn settle(&self, live: &Live) {
        live.ground.ledger.settle(self.lines.iter().map(|line| line.id));
    }
}
