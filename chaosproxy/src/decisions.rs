//! What has been decided about one connection, and its lines in the ledger.
//!
//! Toxics decide when the connection is accepted, also where an outage turns it away a moment later: so a connection
//! has the same lines in every run with the same seed, whatever happens to it.

use std::sync::Arc;

use chaosproxy_path::{Hit, Stream, Strike, Toxic};

use crate::ledger::{LineId, Observed};
use crate::live::{Entry, Live};

/// Decisions of one connection.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    lines: Vec<Line>,
    /// Lines about single datagrams, by the toxic that struck them.
    hits: Vec<(Arc<str>, u32)>,
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
            let attempt = self.attempts(&rule) + 1;
            let line = live.ground.ledger.decide(live.whose(ordinal), attempt, decision);
            let (toxic, source) = ((*id, *revision), toxic.clone());
            self.lines.push(Line { toxic, rule, id: line, source, strikes: 0, attempts: 1 });
        }
    }

    /// Writes down that a toxic struck, and what it decides next.
    pub(crate) fn observe(&mut self, live: &Live, ordinal: u64, strike: &Strike) {
        let observed = Observed { t_ms: live.ground.clock.now_ms(), bytes: strike.bytes };
        let earlier = self.attempts(&strike.toxic);
        let Some(line) = self.lines.iter_mut().rev().find(|line| line.rule == strike.toxic) else { return };
        let ledger = &live.ground.ledger;
        ledger.observe(line.id, observed);
        line.strikes += 1;
        let Some(next) = line.source.decide_next(&live.identity(ordinal), line.strikes) else { return };
        ledger.settle([line.id]);
        line.id = ledger.decide(live.whose(ordinal), earlier + 1, next);
        line.attempts += 1;
    }

    /// Writes down that the last so many bytes of a direction never arrived, of those that were handed on before a
    /// strike.
    pub(crate) fn lose(&self, live: &Live, strike: &Strike, stream: Stream, bytes: u64) {
        let line = self.lines.iter().rev().find(|line| line.rule == strike.toxic);
        if let Some(line) = line.filter(|line| line.source.stream() == stream) {
            live.ground.ledger.lose(line.id, bytes);
        }
    }

    /// Writes down that a toxic struck a datagram, and why.
    pub(crate) fn hit(&mut self, live: &Live, ordinal: u64, hit: Hit) {
        let Hit { decision, bytes } = hit;
        let attempt = self.attempts(&decision.rule) + 1;
        match self.hits.iter_mut().find(|(rule, _)| *rule == decision.rule) {
            Some((_, count)) => *count += 1,
            None => self.hits.push((Arc::clone(&decision.rule), 1)),
        }
        let ledger = &live.ground.ledger;
        let line = ledger.decide(live.whose(ordinal), attempt, decision);
        ledger.observe(line, Observed { t_ms: live.ground.clock.now_ms(), bytes });
        ledger.settle([line]);
    }

    /// Lines that a toxic has so far.
    fn attempts(&self, rule: &Arc<str>) -> u32 {
        let lines = self.lines.iter().filter(|line| line.rule == *rule).map(|line| line.attempts);
        let hits = self.hits.iter().filter(|(name, _)| name == rule).map(|(_, count)| *count);
        lines.chain(hits).sum()
    }

    /// The connection has ended.
    pub(crate) fn settle(&self, live: &Live) {
        live.ground.ledger.settle(self.lines.iter().map(|line| line.id));
    }
}
