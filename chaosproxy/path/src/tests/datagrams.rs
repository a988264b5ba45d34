//! Chains of datagrams: a sender that numbers them, in simulated time.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{CutAction, Distribution, Hit, Parameters, Strike};

const MICRO: Nanos = 1_000;

fn toxic(name: &str, attributes: Attributes) -> Toxic {
    Toxic::for_datagrams(name, Stream::Upstream, 1.0, attributes).unwrap()
}

fn loss(loss_rate: f64, correlation: f64) -> Attributes {
    Attributes::PacketLoss { loss_rate, correlation }
}

fn duplicate(rate: f64) -> Attributes {
    Attributes::Duplicate { rate, correlation: 0.0 }
}

fn latency(latency: i64, jitter: i64, distribution: Distribution) -> Attributes {
    Attributes::Latency { latency, jitter, distribution }
}

fn bandwidth(rate: i64) -> Attributes {
    Attributes::Bandwidth { rate, burst: 0, shared: false }
}

/// The n-th datagram, from 1: its number, and letters that depend on it.
fn letter(number: u64, size: usize) -> Bytes {
    let rest = (0..size.saturating_sub(8)).map(|at| (number as usize * 31 + at) as u8);
    number.to_be_bytes().into_iter().chain(rest).collect()
}

/// A sender's run through a chain.
struct Run {
    chain: Chain,
    now: Nanos,
    sent: u64,
    wake: Option<Nanos>,
    /// (time, number, size) of each that left.
    left: Vec<(Nanos, u64, usize)>,
    hits: Vec<Hit>,
    strikes: Vec<Strike>,
    overflowed: u64,
    limit: u64,
    end: Option<Out>,
}

impl Run {
    fn new(ordinal: u64, limit: u64, toxics: &[(&str, Attributes)]) -> Self {
        let mut chain = Chain::of_datagrams(identity(1, ordinal), limit);
        toxics.iter().for_each(|(name, attributes)| chain.attach(&toxic(name, attributes.clone()), 0));
        Self {
            chain,
            now: 0,
            sent: 0,
            wake: None,
            left: Vec::new(),
            hits: Vec::new(),
            strikes: Vec::new(),
            overflowed: 0,
            limit,
            end: None,
        }
    }

    /// Sends so many of one size, one each `every`.
    fn send(&mut self, count: u64, size: usize, every: Nanos) -> &mut Self {
        for _ in 0..count {
            self.sent += 1;
            self.chain.offer(letter(self.sent, size), self.now);
            self.settle();
            self.wait(self.now + every);
        }
        self
    }

    fn wait(&mut self, until: Nanos) {
        while let Some(wake) = self.wake.filter(|wake| *wake <= until) {
            assert!(wake > self.now, "a wake-up in the past would spin");
            self.now = wake;
            self.settle();
        }
        self.now = until;
        self.settle();
    }

    /// Until nothing waits for time to pass.
    fn finish(&mut self) -> &mut Self {
        while let Some(wake) = self.wake {
            self.wait(wake);
        }
        self
    }

    fn settle(&mut self) {
        loop {
            let poll = self.chain.poll(self.now);
            self.wake = poll.wake;
            self.hits.append(&mut self.chain.hits());
            self.strikes.append(&mut self.chain.strikes());
            self.overflowed += self.chain.overflowed();
            assert!(self.chain.held() <= self.limit, "{} bytes held", self.chain.held());
            match poll.out {
                Out::Nothing => break,
                Out::Deliver(bytes) => {
                    let number = u64::from_be_bytes(bytes[..8].try_into().unwrap());
                    assert_eq!(bytes, letter(number, bytes.len()), "it is whole");
                    self.left.push((self.now, number, bytes.len()));
                }
                end => self.end = Some(end),
            }
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.left.iter().map(|(_, number, _)| *number).collect()
    }

    fn struck(&self) -> Vec<u64> {
        let number = |hit: &Hit| match hit.decision.parameters {
            Parameters::Datagram(number) => number,
            other => panic!("{other:?}"),
        };
        self.hits.iter().map(number).collect()
    }
}

/// Six standard deviations of a count of n at probability p.
fn six_sigma(n: u64, p: f64) -> f64 {
    6.0 * (n as f64 * p * (1.0 - p)).sqrt()
}

fn is_near(count: u64, n: u64, p: f64) -> bool {
    (count as f64 - n as f64 * p).abs() <= six_sigma(n, p)
}

/// n = 20,000 for each: a wrong alarm in a thousand million.
#[test]
fn so_many_are_lost_as_the_rate_says() {
    for rate in [0.001, 0.1, 0.5, 0.99] {
        let mut run = Run::new(1, MIB, &[("loss", loss(rate, 0.0))]);
        run.send(20_000, 16, 0);
        let lost = 20_000 - run.left.len() as u64;
        assert!(is_near(lost, 20_000, rate), "{lost} at {rate}");
        assert_eq!(run.hits.len() as u64, lost, "each loss is told");
        let both: Vec<u64> = run.struck().into_iter().chain(run.numbers()).collect();
        assert_eq!(both.len(), 20_000);
    }
    for (rate, wanted) in [(0.0, 20_000), (1.0, 0)] {
        let mut run = Run::new(1, MIB, &[("loss", loss(rate, 0.0))]);
        assert_eq!(run.send(20_000, 16, 0).left.len(), wanted);
    }
}

/// With correlation c each run of losses goes on with probability r(1-c)+c: at r = 0.1 and c = 0.8 that is 0.82, so runs
/// have 5.56 on average. The count's deviation is sqrt((1+c)/(1-c)) = 3 times that of independent ones.
#[test]
fn correlated_losses_come_in_runs_and_are_no_more() {
    let mut run = Run::new(1, MIB, &[("loss", loss(0.1, 0.8))]);
    run.send(100_000, 16, 0);
    let lost = run.struck();
    let difference = (lost.len() as f64 - 10_000.0).abs();
    assert!(difference <= 3.0 * six_sigma(100_000, 0.1), "{}", lost.len());
    let runs = 1 + lost.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
    let mean = lost.len() as f64 / runs as f64;
    assert!((5.0..6.2).contains(&mean), "{mean}");
}

#[test]
fn copies_are_equal_and_right_behind() {
    let mut run = Run::new(1, MIB, &[("twice", duplicate(0.25))]);
    run.send(20_000, 100, 0);
    let copies = run.left.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    assert!(is_near(copies, 20_000, 0.25), "{copies}");
    assert_eq!(run.left.len() as u64, 20_000 + copies);
    assert_eq!(run.hits.len() as u64, copies);
    assert!(run.numbers().is_sorted());
}

/// A copy is lost or not whatever becomes of its original: of both, a quarter of the pairs stays whole at one half.
#[test]
fn copies_have_a_fate_of_their_own() {
    let mut run = Run::new(1, MIB, &[("twice", duplicate(1.0)), ("loss", loss(0.5, 0.0))]);
    run.send(20_000, 16, 0);
    let mut arrived: BTreeMap<u64, u64> = BTreeMap::new();
    run.numbers().into_iter().for_each(|number| *arrived.entry(number).or_default() += 1);
    let pairs = arrived.values().filter(|count| **count == 2).count() as u64;
    assert!(is_near(pairs, 20_000, 0.25), "{pairs}");
}

/// As netem: with a gap of 5 and rate 1 each fifth goes at once, and so overtakes the four before it.
#[test]
fn each_gapth_datagram_overtakes_those_that_wait() {
    let reorder = Attributes::Reorder { rate: 1.0, correlation: 0.0, gap: 5, delay: 10 };
    let mut run = Run::new(1, MIB, &[("reorder", reorder)]);
    run.send(10, 16, MILLISECOND).finish();
    assert_eq!(run.numbers(), [5, 10, 1, 2, 3, 4, 6, 7, 8, 9]);
    assert_eq!(run.left[0].0, ms(4));
    assert_eq!(run.left[2].0, ms(10));
    assert_eq!(run.struck(), [5, 10]);
}

#[test]
fn as_many_overtake_as_the_rate_says() {
    let reorder = Attributes::Reorder { rate: 0.2, correlation: 0.0, gap: 1, delay: 3 };
    let mut run = Run::new(1, MIB, &[("reorder", reorder)]);
    run.send(20_000, 16, 100 * MICRO).finish();
    assert_eq!(run.left.len(), 20_000);
    assert!(is_near(run.hits.len() as u64, 20_000, 0.2), "{}", run.hits.len());
    assert!(!run.numbers().is_sorted());
}

/// Each has a delay of its own within the bounds, and a shorter one overtakes.
#[test]
fn jitter_reorders_and_stays_within_its_bounds() {
    let mut run = Run::new(1, MIB, &[("slow", latency(50, 20, Distribution::Uniform))]);
    run.send(2_000, 16, MILLISECOND).finish();
    let delays: Vec<Nanos> = run.left.iter().map(|(at, number, _)| at - ms(number - 1)).collect();
    assert!(delays.iter().all(|delay| (ms(30)..ms(70)).contains(delay)), "{delays:?}");
    let mean = delays.iter().sum::<Nanos>() / 2_000;
    // Uniform over 40 ms: 11.5 ms of deviation, 0.26 of the mean of 2,000; six of them. Whole ms, so half a ms below.
    assert!((ms(49) - 1_100_000..ms(51)).contains(&mean), "{mean}");
    assert!(!run.numbers().is_sorted());
}

/// 1,000 of 1,000 bytes at 1 MB/s are a second, wherever they come from; the queue holds 200 ms of it.
#[test]
fn a_link_keeps_its_rate_and_drops_what_its_queue_does_not_take() {
    let mut run = Run::new(1, 8 * MIB, &[("link", bandwidth(1000))]);
    run.send(1_000, 1000, 0).finish();
    let drops = run.strikes.len();
    assert_eq!(run.left.len() + drops, 1_000);
    assert_eq!(run.left.len(), 200, "the queue");
    assert!(run.strikes.iter().all(|strike| strike.fault == "bandwidth:drop"));
    assert_eq!(run.left.last().unwrap().0, ms(200));
    assert!(run.numbers().is_sorted());
    let mut slower = Run::new(1, 8 * MIB, &[("link", bandwidth(1000))]);
    slower.send(1_000, 1000, MILLISECOND).finish();
    assert_eq!((slower.left.len(), slower.strikes.len()), (1_000, 0));
    assert_eq!(slower.left.last().unwrap().0, ms(1_000));
}

#[test]
fn a_link_of_rate_zero_holds_and_goes_on() {
    let mut run = Run::new(1, 8 * MIB, &[("link", bandwidth(0))]);
    run.send(10, 1000, 0);
    assert_eq!((run.left.len(), run.wake), (0, None));
    run.chain.update(&toxic("link", bandwidth(1000)), run.now);
    run.settle();
    run.finish();
    assert_eq!(run.numbers(), (1..=10).collect::<Vec<_>>());
    assert_eq!(run.left[9].0, ms(10));
}

/// Two flows that both have more than they may send get half of the link each.
#[test]
fn a_shared_link_is_shared() {
    let shared = toxic("link", Attributes::Bandwidth { rate: 1000, burst: 0, shared: true });
    let mut runs = [Run::new(1, MIB, &[]), Run::new(2, MIB, &[])];
    runs.iter_mut().for_each(|run| run.chain.attach(&shared, 0));
    for _ in 0..100 {
        runs.iter_mut().for_each(|run| {
            run.send(1, 1000, 0);
        });
    }
    while let Some(wake) = runs.iter().filter_map(|run| run.wake).min() {
        runs.iter_mut().for_each(|run| run.wait(wake));
    }
    let ends = runs.each_ref().map(|run| (run.left.len() + run.strikes.len(), run.left.last().unwrap().0));
    let delivered: usize = runs.iter().map(|run| run.left.len()).sum();
    assert_eq!(ends.map(|(all, _)| all), [100, 100]);
    assert_eq!(ends.iter().map(|(_, at)| *at).max(), Some(ms(delivered as u64)));
    assert!(ends[0].1.abs_diff(ends[1].1) <= ms(1), "{ends:?}");
}

#[test]
fn a_limit_ends_the_flow_with_the_first_that_does_not_fit() {
    for (attributes, fault) in [
        (Attributes::LimitData { bytes: 250 }, "limit_data"),
        (Attributes::Cut { offset: None, mean_bytes: Some(1_000), action: CutAction::Close }, "cut:close"),
        (Attributes::Cut { offset: Some(250), mean_bytes: None, action: CutAction::Close }, "cut:close"),
    ] {
        let is_certain = !matches!(attributes, Attributes::Cut { offset: None, .. });
        // Behind a delay, those before the end still arrive.
        let mut run =
            Run::new(1, MIB, &[("cap", attributes), ("slow", latency(5, 0, Distribution::Uniform))]);
        run.send(100, 100, 0).finish();
        match run.end {
            Some(Out::CloseBoth(ref strike)) => {
                assert_eq!((strike.fault, strike.bytes), (fault, run.left.len() as u64 * 100));
            }
            ref other => panic!("{other:?}"),
        }
        assert!(run.left.len() < 100);
        if is_certain {
            assert_eq!(run.left.len(), 2);
        }
    }
    let stall = Attributes::Cut { offset: None, mean_bytes: Some(1), action: CutAction::Stall };
    let mut run = Run::new(1, MIB, &[("cut", stall)]);
    run.send(2, 100, 0);
    assert!(matches!(run.end, Some(Out::StallBoth(_))), "{:?}", run.end);
}

#[test]
fn a_stall_lets_vanish_what_comes_until_it_is_raised() {
    let stall = |bytes| Attributes::Stall { bytes };
    let mut run = Run::new(1, MIB, &[("stall", stall(250))]);
    run.send(3, 100, 0);
    // Small enough to fit, and too late.
    run.send(1, 10, 0);
    assert_eq!(run.numbers(), [1, 2]);
    assert_eq!(run.strikes.len(), 2);
    run.chain.update(&toxic("stall", stall(1000)), run.now);
    run.send(1, 100, 0);
    assert_eq!(run.numbers(), [1, 2, 5]);
}

#[test]
fn a_timeout_lets_all_vanish_and_ends_a_flow_that_rests() {
    let mut run = Run::new(1, MIB, &[("void", Attributes::Timeout { timeout: 100 })]);
    run.send(50, 100, ms(10));
    assert_eq!((run.left.len(), run.strikes.len(), &run.end), (0, 50, &None));
    run.finish();
    assert_eq!(run.now, ms(590));
    assert!(matches!(&run.end, Some(Out::CloseBoth(strike)) if strike.fault == "timeout:close"));
    let mut run = Run::new(1, MIB, &[("void", Attributes::Timeout { timeout: 0 })]);
    run.send(2, 100, 0);
    run.chain.detach("void", run.now);
    run.send(1, 100, 0);
    assert_eq!((run.numbers(), &run.end), (vec![3], &None));
}

#[test]
fn empty_and_largest_datagrams_pass() {
    let mut chain = Chain::of_datagrams(identity(1, 1), MIB);
    chain.attach(&toxic("slow", latency(1, 0, Distribution::Uniform)), 0);
    for size in [0, 65_507, 0] {
        chain.offer(Bytes::from(vec![7; size]), 0);
        assert_eq!(chain.poll(0).out, Out::Nothing);
    }
    for size in [0, 65_507, 0] {
        assert_eq!(chain.poll(ms(1)).out, Out::Deliver(Bytes::from(vec![7; size])));
    }
    assert_eq!((chain.poll(ms(1)).out, chain.held()), (Out::Nothing, 0));
}

/// Changing these changes every recorded run: a breaking change.
#[test]
fn decisions_are_frozen() {
    let mut run = Run::new(7, MIB, &[("loss", loss(0.1, 0.0))]);
    assert_eq!(run.send(60, 16, 0).struck(), FROZEN_LOSSES);
    let mut run = Run::new(7, MIB, &[("slow", latency(20, 5, Distribution::Normal))]);
    let delays: Vec<_> =
        run.send(4, 16, 0).finish().left.iter().map(|(at, number, _)| (*number, *at)).collect();
    assert_eq!(delays, FROZEN_DELAYS);
}

const FROZEN_LOSSES: [u64; 5] = [3, 9, 22, 23, 57];
const FROZEN_DELAYS: [(u64, Nanos); 4] = [(2, 16_150_622), (3, 21_065_337), (4, 21_355_268), (1, 26_739_025)];

#[test]
fn what_needs_a_stream_is_refused_and_what_needs_datagrams_too() {
    let make = |attributes| Toxic::for_datagrams("t", Stream::Upstream, 1.0, attributes);
    for (attributes, attribute) in [
        (Attributes::Slicer { average_size: 1, size_variation: 0, delay: 0 }, "type"),
        (Attributes::SlowClose { delay: 1 }, "type"),
        (Attributes::ResetPeer { timeout: 0 }, "type"),
        (Attributes::Cut { offset: None, mean_bytes: Some(1), action: CutAction::Reset }, "action"),
        (loss(1.5, 0.0), "loss_rate"),
        (loss(0.5, f64::NAN), "correlation"),
        (duplicate(-0.1), "rate"),
        (Attributes::Reorder { rate: 0.5, correlation: 0.0, gap: 0, delay: 1 }, "gap"),
        (Attributes::Reorder { rate: 0.5, correlation: 0.0, gap: 1, delay: 0 }, "delay"),
        (latency(-1, 0, Distribution::Uniform), "latency"),
    ] {
        assert_eq!(make(attributes.clone()).unwrap_err().attribute, attribute, "{attributes:?}");
    }
    for attributes in [loss(0.1, 0.0), duplicate(0.1)] {
        let error = Toxic::try_new("t", Stream::Upstream, 1.0, attributes).unwrap_err();
        assert_eq!(error.problem, "is for datagrams, not for byte streams");
    }
}

fn distribution() -> impl Strategy<Value = Distribution> {
    use Distribution as D;
    prop_oneof![Just(D::Uniform), Just(D::Normal), Just(D::Pareto), Just(D::Lognormal)]
}

/// Toxics that lose nothing; those that keep the order, too, if wanted.
fn lossless(in_order: bool) -> impl Strategy<Value = Attributes> {
    prop_oneof![
        (1..40i64, 0..20i64, distribution()).prop_map(move |(delay, jitter, distribution)| {
            latency(delay, if in_order { 0 } else { jitter }, distribution)
        }),
        (1..5i64, 1..50i64, 0.0..1.0f64).prop_map(move |(gap, delay, rate)| {
            let rate = if in_order { 0.0 } else { rate };
            Attributes::Reorder { rate, correlation: 0.0, gap, delay }
        }),
        (0.0..1.0f64).prop_map(duplicate),
        Just(bandwidth(10_000_000)),
        Just(Attributes::Noop),
        Just(Attributes::Cut { offset: None, mean_bytes: Some(i64::MAX), action: CutAction::Close }),
        Just(Attributes::LimitData { bytes: i64::MAX }),
        Just(Attributes::Stall { bytes: i64::MAX }),
        Just(Attributes::Corrupt { offset: Some(i64::MAX), mean_bytes: None, bits: 1 }),
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Send(u64, usize),
    Wait(Nanos),
    Attach(u8, Attributes),
    Detach(usize),
    Update(usize, Attributes),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (1..20u64, 8..3000usize).prop_map(|(count, size)| Event::Send(count, size)),
        3 => (0..20_000_000u64).prop_map(Event::Wait),
        1 => (0..4u8, lossless(false)).prop_map(|(n, a)| Event::Attach(n, a)),
        1 => (0..4usize).prop_map(Event::Detach),
        1 => (0..4usize, lossless(false)).prop_map(|(n, a)| Event::Update(n, a)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever changes meanwhile: each datagram leaves whole, once or as often as it was copied, or is counted as
    /// dropped because too much was held, and that is never more than may be.
    #[test]
    fn live_changes_lose_no_datagram_and_bounds_hold(
        events in vec(event(), 1..60),
        limit in prop_oneof![Just(64 * MIB), 3_000..200_000u64],
    ) {
        let mut run = Run::new(1, limit, &[]);
        let mut live: Vec<Toxic> = Vec::new();
        for event in events {
            match event {
                Event::Send(count, size) => { run.send(count, size, 0); }
                Event::Wait(time) => run.wait(run.now + time),
                Event::Attach(n, attributes) => {
                    let new = toxic(&format!("t{n}"), attributes);
                    if live.iter().all(|old| old.name() != new.name()) {
                        run.chain.attach(&new, run.now);
                        live.push(new);
                    }
                }
                Event::Detach(n) if n < live.len() => run.chain.detach(live.remove(n).name(), run.now),
                Event::Update(n, attributes) if n < live.len() => {
                    live[n] = live[n].updated(1.0, attributes, run.now).unwrap();
                    run.chain.update(&live[n], run.now);
                }
                _ => {}
            }
            run.settle();
        }
        run.finish();
        let copies = run.hits.iter().filter(|hit| hit.decision.action == "duplicate").count() as u64;
        prop_assert_eq!(run.left.len() as u64 + run.overflowed, run.sent + copies);
        prop_assert_eq!(run.chain.held(), 0);
        if run.overflowed == 0 {
            let mut numbers = run.numbers();
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers, (1..=run.sent).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_order_stays_where_nothing_changes_it(
        attributes in vec(lossless(true), 0..4),
        sizes in vec((8..2000usize, 0..3_000_000u64), 1..60),
    ) {
        let names = ["a", "b", "c", "d"];
        let toxics: Vec<_> = names.into_iter().zip(attributes).collect();
        let mut run = Run::new(1, 64 * MIB, &toxics);
        for (size, every) in sizes {
            run.send(1, size, every);
        }
        run.finish();
        prop_assert!(run.numbers().is_sorted(), "{:?}", run.numbers());
        prop_assert!(run.left.is_sorted_by_key(|(at, ..)| *at));
    }

    /// A decision is about the datagram: neither its time nor what other toxics did to others matters.
    #[test]
    fn decisions_depend_on_the_number_alone(
        ordinal in 0..1000u64,
        before in vec(lossless(true), 0..3),
        every in 0..5_000_000u64,
    ) {
        let mut alone = Run::new(ordinal, 64 * MIB, &[("loss", loss(0.3, 0.0))]);
        alone.send(100, 50, 0);
        let names = ["a", "b", "c"];
        let mut toxics: Vec<_> = names.into_iter().zip(before).collect();
        toxics.push(("loss", loss(0.3, 0.0)));
        let mut among = Run::new(ordinal, 64 * MIB, &toxics);
        among.send(100, 50, every).finish();
        let of = |run: &Run| -> Vec<_> {
            let lost = run.hits.iter().filter(|hit| hit.decision.action == "packet_loss");
            lost.map(|hit| (hit.decision.draw, hit.decision.parameters)).collect()
        };
        // Copies made before it have draws of their own.
        let copies = among.hits.iter().any(|hit| hit.decision.action == "duplicate");
        let (alone, among) = (of(&alone), of(&among));
        prop_assert!(copies || alone == among);
        prop_assert!(alone.iter().all(|hit| among.contains(hit)));
    }
}
