//! What holds for every chain and every sequence of events.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{CutAction, Distribution};

#[derive(Clone, Debug)]
enum Event {
    Offer(u64),
    Wait(Nanos),
    Attach(u8, Attributes, bool),
    Detach(usize),
    Update(usize, Attributes, bool),
    /// The reader takes nothing, or something again.
    Block(bool),
}

/// Toxics that keep every byte.
fn lossless() -> impl Strategy<Value = Attributes> {
    prop_oneof![
        (1..40i64, 0..20i64, distribution()).prop_map(|(latency, jitter, distribution)| {
            Attributes::Latency { latency, jitter, distribution }
        }),
        (1..100_000i64, 0..100_000i64, any::<bool>())
            .prop_map(|(rate, burst, shared)| Attributes::Bandwidth { rate, burst, shared }),
        (0..100i64).prop_map(|delay| Attributes::SlowClose { delay }),
        (1..2000i64, 0..100i64).prop_map(|(size, delay)| Attributes::Slicer {
            average_size: size,
            size_variation: size / 2,
            delay
        }),
        Just(Attributes::Noop),
        Just(Attributes::Cut { offset: None, mean_bytes: Some(i64::MAX), action: CutAction::Reset }),
        Just(Attributes::LimitData { bytes: i64::MAX }),
        Just(Attributes::Stall { bytes: i64::MAX }),
        Just(Attributes::Corrupt { offset: Some(i64::MAX), mean_bytes: None, bits: 1 }),
    ]
}

fn distribution() -> impl Strategy<Value = Distribution> {
    use Distribution as D;
    prop_oneof![Just(D::Uniform), Just(D::Normal), Just(D::Pareto), Just(D::Lognormal)]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..70_000u64).prop_map(Event::Offer),
        4 => (0..20_000_000u64).prop_map(Event::Wait),
        1 => (0..4u8, lossless(), any::<bool>()).prop_map(|(n, a, all)| Event::Attach(n, a, all)),
        1 => (0..4usize).prop_map(Event::Detach),
        1 => (0..4usize, lossless(), any::<bool>()).prop_map(|(n, a, all)| Event::Update(n, a, all)),
        1 => any::<bool>().prop_map(Event::Block),
    ]
}

struct Run {
    chain: Chain,
    live: Vec<Toxic>,
    limit: u64,
    now: Nanos,
    sent: u64,
    blocked: bool,
    outcome: Outcome,
}

impl Run {
    fn new(limit: u64) -> Self {
        let chain = Chain::new(Identity::new(Seed::root(1), "p", 1), limit);
        Self { chain, live: Vec::new(), limit, now: 0, sent: 0, blocked: false, outcome: Outcome::default() }
    }

    fn apply(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::Offer(len) => self.offer(*len),
            Event::Wait(time) => self.wait(now + time),
            Event::Attach(n, attributes, all) => {
                let name = format!("t{n}");
                if !self.live.iter().any(|toxic| **toxic.name() == *name) {
                    let toxicity = if *all { 1.0 } else { 0.5 };
                    let toxic = Toxic::try_new(name, Stream::Upstream, toxicity, attributes.clone()).unwrap();
                    self.chain.attach(&toxic, now);
                    self.live.push(toxic);
                }
            }
            Event::Detach(n) if *n < self.live.len() => self.chain.detach(self.live.remove(*n).name(), now),
            Event::Update(n, attributes, all) if *n < self.live.len() => {
                let toxicity = if *all { 1.0 } else { 0.5 };
                let new = self.live[*n].updated(toxicity, attributes.clone(), now).unwrap();
                self.chain.update(&new, now);
                self.live[*n] = new;
            }
            Event::Block(blocked) => self.blocked = *blocked,
            _ => {}
        }
        self.settle();
    }

    fn offer(&mut self, len: u64) {
        let len = len.min(self.chain.credit(self.now));
        self.chain.offer(pattern(self.sent, len), self.now);
        self.sent += len;
    }

    /// Follows the wake-ups up to `until`, as a driver does.
    fn wait(&mut self, until: Nanos) {
        while let Some(wake) = self.settle().filter(|wake| *wake < until) {
            self.now = wake.max(self.now);
        }
        self.now = until;
    }

    fn settle(&mut self) -> Option<Nanos> {
        let wake = if self.blocked { None } else { drain(&mut self.chain, self.now, &mut self.outcome) };
        let in_flight = self.sent - self.outcome.bytes.len() as u64;
        assert!(in_flight <= self.limit, "{in_flight} bytes held");
        assert!(self.chain.held() >= in_flight, "every byte in flight is accounted for");
        wake
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn live_changes_lose_no_byte(events in vec(event(), 1..80), limit in 2_000u64..3_000_000) {
        let mut run = Run::new(limit);
        for event in &events {
            run.apply(event);
        }
        run.blocked = false;
        run.chain.offer_end(End::Fin, run.now);
        // The slowest is 70 kB in pieces of a byte, 100 µs apart, or at 1 KB/s through every toxic.
        run.wait(run.now + 3_600_000 * MILLISECOND);
        prop_assert!(run.outcome.bytes == pattern(0, run.sent), "{} of {}", run.outcome.bytes.len(), run.sent);
        prop_assert!(matches!(run.outcome.end, Some((_, Out::FinWrite))), "{:?}", run.outcome.end);
        prop_assert_eq!(run.chain.held(), 0);
        prop_assert!(run.outcome.departures.is_sorted_by_key(|(at, _)| *at));
    }

    #[test]
    fn a_cut_strikes_at_its_byte_whatever_else_is_there(
        before in vec(lossless(), 0..3),
        behind in vec(lossless(), 0..3),
        mean in 1..200_000i64,
        offset in proptest::option::of(0..120_000i64),
        ordinal in 0..1_000_000u64,
        read in 1..70_000u64,
    ) {
        let mean_bytes = if offset.is_some() { None } else { Some(mean) };
        let cut = toxic("cut", Attributes::Cut { offset, mean_bytes, action: CutAction::Reset });
        let named = |prefix: &str, list: &[Attributes]| -> Vec<Toxic> {
            list.iter().enumerate().map(|(i, a)| toxic(&format!("{prefix}{i}"), a.clone())).collect()
        };
        let mut toxics = named("a", &before);
        toxics.push(cut);
        toxics.extend(named("b", &behind));
        let outcome = run(&mut seeded(1, ordinal, &toxics), 100_000, read, u64::MAX);
        match outcome.end {
            Some((_, Out::ResetBoth(Some(strike)))) => {
                prop_assert!(strike.bytes <= 100_000);
                prop_assert!(offset.is_none_or(|offset| strike.bytes == offset as u64));
                prop_assert!(outcome.bytes == pattern(0, strike.bytes));
            }
            Some((_, Out::FinWrite)) => {
                prop_assert!(offset.is_none_or(|offset| offset > 100_000));
                prop_assert!(outcome.bytes == pattern(0, 100_000));
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
