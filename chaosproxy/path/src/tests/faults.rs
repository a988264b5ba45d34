//! Toxics that the reference does not have, and what is taken where it is followed to the letter.

use super::*;
use crate::{CutAction, Decision, Distribution, Parameters};

const FOREVER: Nanos = 3_600_000 * MILLISECOND;

fn corrupt(offset: Option<i64>, mean_bytes: Option<i64>, bits: i64) -> Attributes {
    Attributes::Corrupt { offset, mean_bytes, bits }
}

fn differing(bytes: &[u8]) -> Vec<(u64, u32)> {
    let wanted = pattern(0, bytes.len() as u64);
    let pairs = bytes.iter().zip(&wanted).enumerate();
    pairs.filter(|(_, (a, b))| a != b).map(|(n, (a, b))| (n as u64, (a ^ b).count_ones())).collect()
}

#[test]
fn corrupt_strikes_its_byte_and_no_other() {
    for (offset, bits, read) in [(0, 1, 7), (12_345, 3, 1460), (99_999, 8, 65_536)] {
        let mut chain = chain(&[toxic("flip", corrupt(Some(offset), None, bits))]);
        let outcome = run(&mut chain, 100_000, read, FOREVER);
        assert_eq!(outcome.bytes.len(), 100_000);
        assert_eq!(differing(&outcome.bytes), [(offset as u64, bits as u32)]);
        let strikes = chain.strikes();
        assert_eq!((strikes.len(), strikes[0].bytes, strikes[0].fault), (1, offset as u64, "corrupt"));
    }
}

/// n = 1000 strikes expected; gaps are exponential, so the count is Poisson: four deviations are 126.
#[test]
fn corrupt_strikes_at_its_rate_wherever_pieces_end() {
    let flip = toxic("flip", corrupt(None, Some(2000), 1));
    let of = |read| {
        let mut chain = chain(std::slice::from_ref(&flip));
        let outcome = run(&mut chain, 2_000_000, read, FOREVER);
        assert_eq!(outcome.bytes.len(), 2_000_000);
        let places: Vec<_> = differing(&outcome.bytes).iter().map(|(place, _)| *place).collect();
        assert_eq!(chain.strikes().iter().map(|strike| strike.bytes).collect::<Vec<_>>(), places);
        places
    };
    let places = of(1460);
    assert!((874..=1126).contains(&places.len()), "{}", places.len());
    assert_eq!(places, of(65_536));
    // The decisions say where, each counted from the one before.
    let gaps = (0..).map(|strikes| flip.decide_next(&identity(1, 1), strikes).unwrap());
    let mut next = 0;
    for (place, Decision { parameters, .. }) in places.iter().zip(gaps) {
        let Parameters::After(gap) = parameters else { panic!("{parameters:?}") };
        next += gap;
        assert_eq!(*place, next - 1);
    }
}

#[test]
fn a_changed_corruption_counts_from_the_change() {
    let flip = toxic("flip", corrupt(None, Some(i64::MAX), 1));
    let mut chain = chain(std::slice::from_ref(&flip));
    let mut outcome = Outcome::default();
    chain.offer(pattern(0, 5000), 0);
    drain(&mut chain, 0, &mut outcome);
    chain.update(&flip.updated(1.0, corrupt(None, Some(1), 1), 0).unwrap(), 0);
    chain.offer(pattern(5000, 1000), 1);
    drain(&mut chain, 1, &mut outcome);
    let places = differing(&outcome.bytes);
    assert!(places.len() > 300 && places[0].0 >= 5000, "{} from {:?}", places.len(), places.first());
}

#[test]
fn stall_stops_one_direction_and_holds_its_end() {
    let stalled = toxic("stall", Attributes::Stall { bytes: 700 });
    let mut chain = chain(std::slice::from_ref(&stalled));
    let outcome = run(&mut chain, 700, 300, FOREVER);
    assert_eq!((outcome.bytes, outcome.end), (pattern(0, 700).to_vec(), None));
    assert!(chain.is_stalled());
    let strikes = chain.strikes();
    assert_eq!((strikes.len(), strikes[0].bytes, strikes[0].fault), (1, 700, "stall"));
    let mut rest = Outcome::default();
    chain.detach("stall", ms(5));
    drain(&mut chain, ms(5), &mut rest);
    assert_eq!(rest.end, Some((ms(5), Out::FinWrite)), "the end went on when the toxic did");
}

#[test]
fn stall_takes_no_byte_that_it_does_not_pass() {
    let stalled = toxic("stall", Attributes::Stall { bytes: 1000 });
    let mut chain = chain(std::slice::from_ref(&stalled));
    let outcome = run(&mut chain, 10_000, 65_536, FOREVER);
    assert_eq!(outcome.bytes, pattern(0, 1000));
    assert_eq!((chain.held(), chain.credit(ms(1))), (0, 0));
    chain.update(&stalled.updated(1.0, Attributes::Stall { bytes: 1500 }, ms(1)).unwrap(), ms(1));
    assert_eq!(chain.credit(ms(1)), 500);
    let mut at_once = seeded(1, 1, &[toxic("now", Attributes::Stall { bytes: 0 })]);
    assert_eq!((at_once.poll(0).out, at_once.credit(0), at_once.strikes().len()), (Out::Nothing, 0, 1));
}

/// 100 kB at 1000 KB/s with a burst of 30 kB: 30 kB at once, the last byte at 70 ms, never more than rate and burst.
#[test]
fn a_burst_runs_ahead_of_the_rate() {
    for shared in [false, true] {
        let narrow = toxic("narrow", Attributes::Bandwidth { rate: 1000, burst: 30_000, shared });
        let outcome = run(&mut chain(&[narrow]), 100_000, 65_536, FOREVER);
        assert_eq!(outcome.bytes, pattern(0, 100_000));
        let mut sent = 0;
        for (at, size) in &outcome.departures {
            sent += *size as u64;
            assert!(sent <= 30_000 + at / 1000, "{sent} bytes at {at} ns");
        }
        let at_once =
            outcome.departures.iter().filter(|(at, _)| *at == 0).map(|(_, size)| size).sum::<usize>();
        assert_eq!((at_once, outcome.departures.last().unwrap().0), (30_000, ms(70)), "shared: {shared}");
    }
}

/// Ten milliseconds of rest fill ten kilobytes of the bucket, and no rest more than all of it.
#[test]
fn a_burst_comes_back_with_rest() {
    for (rest, wanted) in [(10, 10_000), (1000, 30_000)] {
        let burst = Attributes::Bandwidth { rate: 1000, burst: 30_000, shared: false };
        let mut chain = chain(&[toxic("narrow", burst)]);
        let mut outcome = Outcome::default();
        chain.offer(pattern(0, 30_000), 0);
        drain(&mut chain, 0, &mut outcome);
        let before = outcome.bytes.len();
        assert_eq!(before, 30_000);
        chain.offer(pattern(30_000, 32_000), ms(rest));
        drain(&mut chain, ms(rest), &mut outcome);
        assert_eq!(outcome.bytes.len() - before, wanted, "after {rest} ms");
    }
}

fn lenient(attributes: Attributes) -> Toxic {
    Toxic::lenient("x", Stream::Downstream, 1.0, attributes).unwrap()
}

#[test]
fn what_the_reference_survives_is_taken_where_it_is_followed() {
    let uniform = Distribution::Uniform;
    for (attributes, wanted) in [
        (Attributes::Latency { latency: -5, jitter: 0, distribution: uniform.clone() }, Out::FinWrite),
        (Attributes::Latency { latency: 0, jitter: -5, distribution: uniform }, Out::FinWrite),
        (Attributes::SlowClose { delay: -5 }, Out::FinWrite),
        (Attributes::Slicer { average_size: 5, size_variation: 9, delay: -1 }, Out::FinWrite),
        (Attributes::Slicer { average_size: 5, size_variation: i64::MAX, delay: 0 }, Out::FinWrite),
        (Attributes::Slicer { average_size: 5, size_variation: -4, delay: 0 }, Out::FinWrite),
        (Attributes::PacketLoss { loss_rate: -1.0, correlation: 0.0 }, Out::FinWrite),
    ] {
        assert!(Toxic::try_new("x", Stream::Downstream, 1.0, attributes.clone()).is_err(), "{attributes:?}");
        let outcome = run(&mut chain(&[lenient(attributes.clone())]), 1000, 100, FOREVER);
        assert_eq!(outcome.bytes, pattern(0, 1000), "{attributes:?}");
        assert_eq!(outcome.end, Some((0, wanted)), "{attributes:?}");
    }
    let closes = run(&mut chain(&[lenient(Attributes::LimitData { bytes: -5 })]), 10, 10, FOREVER);
    assert!(closes.bytes.is_empty() && matches!(closes.end, Some((0, Out::CloseBoth(_)))), "{closes:?}");
    let resets = run(&mut chain(&[lenient(Attributes::ResetPeer { timeout: -5 })]), 10, 10, FOREVER);
    assert!(matches!(resets.end, Some((0, Out::ResetBoth(_)))), "{resets:?}");
    // As zero: no end of its own.
    let mut silent = chain(&[lenient(Attributes::Timeout { timeout: -5 })]);
    silent.offer(pattern(0, 10), 0);
    assert_eq!(silent.poll(FOREVER).out, Out::Nothing);
}

/// As in the reference, a negative latency takes from the delays behind it.
#[test]
fn a_negative_latency_makes_the_next_one_shorter() {
    let latency = |name: &str, latency| {
        let attributes = Attributes::Latency { latency, jitter: 0, distribution: Distribution::Uniform };
        Toxic::lenient(name, Stream::Downstream, 1.0, attributes).unwrap()
    };
    let mut chain = chain(&[latency("early", -30), latency("late", 100)]);
    chain.offer(pattern(0, 1), ms(50));
    assert_eq!(chain.poll(ms(50)).wake, Some(ms(120)));
}

#[test]
fn what_crashes_the_reference_is_refused_even_so() {
    for attributes in [
        Attributes::Bandwidth { rate: -1, burst: 0, shared: false },
        Attributes::Slicer { average_size: 0, size_variation: 5, delay: 0 },
        Attributes::Slicer { average_size: 5, size_variation: -5, delay: 0 },
    ] {
        assert!(Toxic::lenient("x", Stream::Downstream, 1.0, attributes.clone()).is_err(), "{attributes:?}");
    }
}

/// n = 2000 pieces at 0.25, and 0.75 behind a lost one: in the long run half are lost (p = 0.25 + 0.5 p), in runs.
#[test]
fn packet_loss_deletes_pieces_and_not_the_end() {
    let loss = |loss_rate, correlation| {
        let mut chain = chain(&[lenient(Attributes::PacketLoss { loss_rate, correlation })]);
        let outcome = run(&mut chain, 200_000, 100, FOREVER);
        assert_eq!(outcome.end, Some((0, Out::FinWrite)));
        assert!(
            outcome.departures.iter().all(|(_, size)| *size == 100),
            "whole pieces pass, or none of them"
        );
        assert_eq!(outcome.departures.len() + chain.strikes().len(), 2000);
        outcome.departures.len()
    };
    assert_eq!((loss(0.0, 1.0), loss(1.0, 0.0)), (2000, 0));
    // Four deviations of independent losses are 77; runs of losses double the variance or so.
    assert!((1423..=1577).contains(&loss(0.25, 0.0)));
    assert!((850..=1150).contains(&loss(0.25, 0.5)));
}

#[test]
fn a_toxic_rolled_again_decides_anew_and_repeatably() {
    let slow = Attributes::Latency { latency: 10, jitter: 0, distribution: Distribution::Uniform };
    let toxic = Toxic::try_new("slow", Stream::Downstream, 0.5, slow).unwrap();
    let hits = |toxic: &Toxic| (0..200).map(|n| toxic.hits(&identity(1, n))).collect::<Vec<_>>();
    let again = toxic.rolled_again();
    assert_ne!(hits(&toxic), hits(&again));
    assert_eq!(hits(&again), hits(&toxic.rolled_again()));
    let updated = again.updated(0.5, again.attributes().clone(), 0).unwrap();
    assert_eq!(hits(&again), hits(&updated), "a change alone draws nothing anew");
    assert_eq!(again.decide(&identity(1, 1)).unwrap().fires, again.hits(&identity(1, 1)));
}

#[test]
fn impossible_attributes_name_the_field_and_the_remedy() {
    use Distribution as D;
    let latency = |latency, jitter, distribution| Attributes::Latency { latency, jitter, distribution };
    let cut = |offset, mean_bytes| Attributes::Cut { offset, mean_bytes, action: CutAction::Reset };
    for (attributes, wanted) in [
        (latency(0, 5, D::Pareto), "attribute latency of a latency toxic must be at least 1"),
        (latency(0, 5, D::Lognormal), "attribute latency of a latency toxic must be at least 1"),
        (latency(5, -5, D::Normal), "attribute jitter of a latency toxic must not be negative"),
        (Attributes::Bandwidth { rate: 1, burst: -1, shared: false }, "attribute burst of a bandwidth toxic"),
        (Attributes::Stall { bytes: -1 }, "attribute bytes of a stall toxic must not be negative"),
        (cut(None, None), "attribute offset of a cut toxic is missing: give offset"),
        (cut(Some(1), Some(1)), "attribute mean_bytes of a cut toxic is there beside offset: give one"),
        (cut(Some(-1), None), "attribute offset of a cut toxic must not be negative"),
        (cut(None, Some(0)), "attribute mean_bytes of a cut toxic must be at least 1"),
        (corrupt(None, None, 1), "attribute offset of a corrupt toxic is missing: give offset"),
        (corrupt(Some(1), Some(1), 1), "attribute mean_bytes of a corrupt toxic is there beside offset"),
        (corrupt(Some(-1), None, 1), "attribute offset of a corrupt toxic must not be negative"),
        (corrupt(None, Some(0), 1), "attribute mean_bytes of a corrupt toxic must be at least 1"),
        (corrupt(Some(1), None, 9), "attribute bits of a corrupt toxic must be between 1 and 8"),
        (
            Attributes::PacketLoss { loss_rate: 0.1, correlation: 0.0 },
            "attribute type of a packet_loss toxic is for datagrams",
        ),
    ] {
        for result in [true, false].map(|followed| match followed {
            true => Toxic::lenient("x", Stream::Upstream, 1.0, attributes.clone()),
            false => Toxic::try_new("x", Stream::Upstream, 1.0, attributes.clone()),
        }) {
            match result {
                Err(error) => assert!(error.to_string().starts_with(wanted), "{error}"),
                Ok(_) => assert_eq!(attributes.kind(), "packet_loss", "the reference has no such attribute"),
            }
        }
    }
}
