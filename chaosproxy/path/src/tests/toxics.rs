//! What each toxic promises, to the nanosecond and the byte.

use super::*;
use crate::{CutAction, Distribution, Parameters, exponential};

const FOREVER: Nanos = 3_600_000 * MILLISECOND;

fn latency(latency: i64, jitter: i64) -> Attributes {
    Attributes::Latency { latency, jitter, distribution: Distribution::Uniform }
}

fn rate(rate: i64) -> Attributes {
    Attributes::Bandwidth { rate, burst: 0, shared: false }
}

#[test]
fn latency_delays_data_and_not_a_bare_fin() {
    let slow = toxic("slow", latency(100, 0));
    let outcome = run(&mut chain(std::slice::from_ref(&slow)), 10, 10, FOREVER);
    assert_eq!(outcome.departures, [(ms(100), 10)]);
    assert_eq!(outcome.end, Some((ms(100), Out::FinWrite)));
    assert_eq!(run(&mut chain(&[slow]), 0, 1, FOREVER).end, Some((0, Out::FinWrite)));
}

#[test]
fn two_latencies_add() {
    let toxics = [toxic("a", latency(500, 0)), toxic("b", latency(500, 0))];
    assert_eq!(run(&mut chain(&toxics), 10, 10, FOREVER).departures, [(ms(1000), 10)]);
}

#[test]
fn latency_pipelines() {
    let mut chain = chain(&[toxic("slow", latency(100, 0))]);
    let mut outcome = Outcome::default();
    for step in 0..50 {
        chain.offer(pattern(step * 1000, 1000), ms(step));
        drain(&mut chain, ms(step), &mut outcome);
    }
    for step in 50..200 {
        drain(&mut chain, ms(step), &mut outcome);
    }
    let expected: Vec<_> = (0..50).map(|step| (ms(100 + step), 1000)).collect();
    assert_eq!(outcome.departures, expected);
}

#[test]
fn jitter_stays_in_its_bounds_and_spreads() {
    let mut seen = Vec::new();
    for ordinal in 1..200 {
        let mut chain = seeded(1, ordinal, &[toxic("slow", latency(100, 20))]);
        seen.push(run(&mut chain, 10, 10, FOREVER).departures[0].0 / MILLISECOND);
    }
    assert!(seen.iter().all(|delay| (80..120).contains(delay)), "{seen:?}");
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 25, "40 values are possible, 199 were drawn: {seen:?}");
}

#[test]
fn latency_removed_flushes_at_once() {
    let mut chain = chain(&[toxic("slow", latency(1000, 0))]);
    let mut outcome = Outcome::default();
    chain.offer(pattern(0, 100), 0);
    drain(&mut chain, ms(1), &mut outcome);
    assert!(outcome.departures.is_empty());
    chain.detach("slow", ms(2));
    drain(&mut chain, ms(2), &mut outcome);
    assert_eq!(outcome.departures, [(ms(2), 100)]);
    assert_eq!(chain.held(), 0);
    assert!(chain.is_transparent());
}

/// 480 kB at 1000 KB/s take 480 ms: the last byte leaves exactly then.
#[test]
fn bandwidth_is_exact() {
    let outcome = run(&mut chain(&[toxic("narrow", rate(1000))]), 480_000, 65536, FOREVER);
    assert_eq!(outcome.bytes, pattern(0, 480_000));
    assert_eq!(outcome.departures.last().unwrap().0, ms(480));
    assert!(outcome.departures.iter().all(|(_, size)| *size <= 1000), "pieces are at most a millisecond");
}

#[test]
fn bandwidth_leaves_the_rest_with_the_sender() {
    let mut chain = chain(&[toxic("narrow", rate(1000))]);
    let mut sent = 0;
    while let credit @ 1.. = chain.credit(0) {
        chain.offer(pattern(sent, credit.min(4096)), 0);
        sent += credit.min(4096);
        chain.poll(0);
    }
    assert!(sent <= 33 * 1024, "{sent}");
}

#[test]
fn rate_zero_stalls_until_the_toxic_changes() {
    let narrow = toxic("narrow", rate(0));
    let mut chain = chain(std::slice::from_ref(&narrow));
    chain.offer(pattern(0, 3000), 0);
    let poll = chain.poll(ms(50));
    assert_eq!((poll.out, poll.wake), (Out::Nothing, None));
    chain.update(&narrow.updated(1.0, rate(1000), ms(60)).unwrap(), ms(60));
    let mut outcome = Outcome::default();
    assert_eq!(drain(&mut chain, ms(60), &mut outcome), Some(ms(61)));
    drain(&mut chain, ms(63), &mut outcome);
    assert_eq!(outcome.bytes, pattern(0, 3000));
}

/// A latency behind a narrow link absorbs the time spent in it (as Toxiproxy's does): 100 kB at 1000 KB/s wait
/// up to 33 ms in the queue, and still leave 100 ms after they came.
#[test]
fn latency_counts_from_the_receive_time() {
    let outcome = run(
        &mut chain(&[toxic("narrow", rate(1000)), toxic("slow", latency(100, 0))]),
        30_000,
        30_000,
        FOREVER,
    );
    assert_eq!(outcome.departures.first().unwrap().0, ms(100));
    assert_eq!(outcome.departures.last().unwrap().0, ms(100));
}

/// Eight connections at once over 8000 KB/s: 800 kB in all take 100 ms, and each has its eighth, give or take two
/// turns (8 kB each), also those whose bytes come in small pieces.
#[test]
fn a_shared_link_is_shared_fairly_and_never_exceeded() {
    let narrow = toxic("narrow", Attributes::Bandwidth { rate: 8000, burst: 0, shared: true });
    let mut chains: Vec<_> = (1..=8).map(|i| seeded(1, i, std::slice::from_ref(&narrow))).collect();
    let mut outcomes: Vec<_> = chains.iter().map(|_| Outcome::default()).collect();
    for tick in 0..1000 {
        let now = tick * MILLISECOND / 10;
        for (index, (chain, outcome)) in chains.iter_mut().zip(&mut outcomes).enumerate() {
            let read = if index % 2 == 0 { 16384 } else { 1460 };
            let mut credit = chain.credit(now);
            while credit > 0 {
                chain.offer(pattern(0, credit.min(read)), now);
                drain(chain, now, outcome);
                credit = chain.credit(now);
            }
            drain(chain, now, outcome);
        }
    }
    let bytes: Vec<_> = outcomes.iter().map(|outcome| outcome.bytes.len()).collect();
    let sum: usize = bytes.iter().sum();
    assert!((792_000..=800_000).contains(&sum), "{sum} of 800,000");
    assert!(bytes.iter().all(|share| (84_000..=116_000).contains(share)), "{bytes:?}");
}

#[test]
fn timeout_discards_and_closes_when_data_ceases() {
    let mut chain = chain(&[toxic("dead", Attributes::Timeout { timeout: 50 })]);
    let mut outcome = Outcome::default();
    chain.offer(pattern(0, 100), ms(30));
    assert_eq!(drain(&mut chain, ms(30), &mut outcome), Some(ms(80)));
    drain(&mut chain, ms(80), &mut outcome);
    assert!(outcome.bytes.is_empty());
    assert!(matches!(outcome.end, Some((_, Out::CloseBoth(_)))), "{outcome:?}");
}

#[test]
fn timeout_zero_closes_with_its_source_or_its_removal() {
    let dead = toxic("dead", Attributes::Timeout { timeout: 0 });
    let ended = run(&mut chain(std::slice::from_ref(&dead)), 100, 10, FOREVER);
    assert!(matches!(ended.end, Some((0, Out::CloseBoth(_)))));
    let mut removed = chain(&[dead]);
    removed.detach("dead", ms(1));
    assert!(matches!(removed.poll(ms(1)).out, Out::CloseBoth(strike) if &*strike.toxic == "dead"));
}

#[test]
fn reset_peer_waits_for_data_and_drops_it() {
    let mut chain = chain(&[toxic("rst", Attributes::ResetPeer { timeout: 100 })]);
    assert_eq!(chain.poll(ms(500)).wake, None);
    chain.offer(pattern(0, 10), ms(500));
    let mut outcome = Outcome::default();
    assert_eq!(drain(&mut chain, ms(500), &mut outcome), Some(ms(600)));
    drain(&mut chain, ms(600), &mut outcome);
    assert!(outcome.bytes.is_empty());
    assert!(matches!(outcome.end, Some((_, Out::ResetBoth(Some(_))))), "{outcome:?}");
}

#[test]
fn slow_close_holds_only_the_end() {
    let outcome = run(&mut chain(&[toxic("slow", Attributes::SlowClose { delay: 70 })]), 100, 10, FOREVER);
    assert!(outcome.departures.iter().all(|(at, _)| *at == 0));
    assert_eq!(outcome.end, Some((ms(70), Out::FinWrite)));
}

/// As the reference's own test: 480 kB in pieces of 1024 ± 512 are 240 to 720 pieces (a read is 32 KiB).
#[test]
fn slicer_cuts_into_pieces() {
    let slicer = Attributes::Slicer { average_size: 1024, size_variation: 512, delay: 10 };
    let outcome = run(&mut chain(&[toxic("thin", slicer)]), 480_000, 32768, FOREVER);
    assert_eq!(outcome.bytes, pattern(0, 480_000));
    assert!((240..=720).contains(&outcome.departures.len()), "{}", outcome.departures.len());
    assert!(outcome.departures.iter().all(|(_, size)| *size <= 1536));
    let gaps = outcome.departures.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert_eq!(gaps.min(), Some(10_000), "ten microseconds between pieces");
}

/// What came together is halved, and both halves alike: each 32 KiB are 32 pieces of 1024, and each 33 KiB, which are
/// too long by a little, 64 of 528.
#[test]
fn slicer_halves_both_halves() {
    let slicer = |size| Attributes::Slicer { average_size: size, size_variation: 0, delay: 10 };
    let sizes = |size, read| {
        let outcome = run(&mut chain(&[toxic("thin", slicer(size))]), 2 * read, read, FOREVER);
        assert_eq!(outcome.bytes, pattern(0, 2 * read));
        outcome.departures.into_iter().map(|(_, size)| size).collect::<Vec<_>>()
    };
    assert_eq!(sizes(1024, 32768), [1024; 64]);
    assert_eq!(sizes(1024, 33 * 1024), [528; 128]);
}

#[test]
fn limit_data_counts_exactly() {
    for (limit, total) in [(0, 100), (1, 100), (99, 100), (100, 100), (101, 100)] {
        let outcome =
            run(&mut chain(&[toxic("limit", Attributes::LimitData { bytes: limit })]), total, 7, FOREVER);
        let passed = total.min(limit as u64);
        assert_eq!(outcome.bytes, pattern(0, passed), "limit {limit}");
        let closed = matches!(outcome.end, Some((_, Out::CloseBoth(_))));
        assert_eq!(closed, limit <= 100, "limit {limit}: {:?}", outcome.end);
    }
}

#[test]
fn cut_strikes_exactly_at_its_byte() {
    for (action, ordinal) in [CutAction::Reset, CutAction::Stall, CutAction::Close]
        .into_iter()
        .flat_map(|a| (1..40).map(move |i| (a, i)))
    {
        let cut = toxic("cut", Attributes::Cut { offset: None, mean_bytes: Some(20_000), action });
        let mut chain = seeded(3, ordinal, std::slice::from_ref(&cut));
        let decision = cut.decide(&identity(3, ordinal)).unwrap();
        let Parameters::After(after) = decision.parameters else { panic!("{decision:?}") };
        assert_eq!(after, exponential(decision.draw, 20_000));
        let outcome = run(&mut chain, 50_000, 1460, FOREVER);
        assert_eq!(outcome.bytes, pattern(0, after.min(50_000)), "connection {ordinal}");
        let struck = match (action, outcome.end.unwrap().1) {
            (CutAction::Reset, Out::ResetBoth(Some(strike)))
            | (CutAction::Stall, Out::StallBoth(strike))
            | (CutAction::Close, Out::CloseBoth(strike)) => Some(strike.bytes),
            (_, Out::FinWrite) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(struck, (after <= 50_000).then_some(after), "connection {ordinal}");
    }
}

/// Wherever pieces end, whoever the connection is; a place behind the end is never reached.
#[test]
fn a_cut_at_an_offset_strikes_every_connection_there() {
    for (offset, ordinal, action) in [0, 1, 1459, 1460, 1461, 49_999, 50_000, 50_001, i64::MAX]
        .into_iter()
        .flat_map(|offset| (1..4).map(move |ordinal| (offset, ordinal)))
        .flat_map(|(offset, i)| {
            [CutAction::Reset, CutAction::Stall, CutAction::Close].map(|action| (offset, i, action))
        })
    {
        let place = format!("{action:?} at {offset} of connection {ordinal}");
        let cut = toxic("cut", Attributes::Cut { offset: Some(offset), mean_bytes: None, action });
        let decision = cut.decide(&identity(3, ordinal)).unwrap();
        assert_eq!(decision.parameters, Parameters::Offset(offset as u64), "{place}");
        assert_eq!((decision.fires, decision.action), (true, action.name()), "{place}");
        let outcome = run(&mut seeded(3, ordinal, &[cut]), 50_000, 1460, FOREVER);
        assert_eq!(outcome.bytes, pattern(0, 50_000.min(offset as u64)), "{place}");
        let struck = match (action, outcome.end.unwrap().1) {
            (CutAction::Reset, Out::ResetBoth(Some(strike)))
            | (CutAction::Stall, Out::StallBoth(strike))
            | (CutAction::Close, Out::CloseBoth(strike)) => Some(strike.bytes as i64),
            (_, Out::FinWrite) => None,
            other => panic!("{place}: {other:?}"),
        };
        assert_eq!(struck, (offset <= 50_000).then_some(offset), "{place}");
    }
}

/// To one that is still to come it moves; where the new one has gone by it strikes at once.
#[test]
fn a_cut_whose_offset_is_changed_strikes_at_the_new_one() {
    for (changed, passes) in [(6000, 6000), (2000, 5000)] {
        let cut = |offset| {
            let attributes =
                Attributes::Cut { offset: Some(offset), mean_bytes: None, action: CutAction::Reset };
            toxic("cut", attributes)
        };
        let mut chain = chain(&[cut(100_000)]);
        chain.offer(pattern(0, 5000), 0);
        assert_eq!(chain.poll(0).out, Out::Deliver(pattern(0, 5000)));
        chain.update(&cut(changed), 0);
        if changed > 5000 {
            chain.poll(0);
            chain.offer(pattern(5000, 5000), 0);
            assert_eq!(chain.poll(0).out, Out::Deliver(pattern(5000, changed as u64 - 5000)));
        }
        let Out::ResetBoth(Some(strike)) = chain.poll(0).out else { panic!("no reset at {changed}") };
        assert_eq!(strike.bytes, passes);
    }
}

/// What was before the cut arrives before it, also through the delay behind it.
#[test]
fn a_cut_travels_behind_the_bytes_before_it() {
    let cut =
        toxic("cut", Attributes::Cut { offset: None, mean_bytes: Some(1000), action: CutAction::Reset });
    let outcome = run(&mut chain(&[cut, toxic("slow", latency(100, 0))]), 1_000_000, 1460, FOREVER);
    let Some((at, Out::ResetBoth(Some(strike)))) = outcome.end else { panic!("{:?}", outcome.end) };
    assert_eq!(at, ms(100));
    assert_eq!(outcome.bytes, pattern(0, strike.bytes));
}

#[test]
fn toxicity_is_decided_once_for_a_connection() {
    let hit = |ordinal, toxicity| {
        let toxic = Toxic::try_new("slow", Stream::Downstream, toxicity, latency(10, 0)).unwrap();
        run(&mut seeded(1, ordinal, &[toxic]), 1, 1, FOREVER).departures[0].0 > 0
    };
    // n = 1000 at 0.3: four standard deviations are 58.
    let count = (0..1000).filter(|ordinal| hit(*ordinal, 0.3)).count();
    assert!((242..=358).contains(&count), "{count}");
    assert!(
        (0..1000).all(|ordinal| !hit(ordinal, 0.3) || hit(ordinal, 0.6)),
        "raising it only adds connections"
    );
    assert!((0..100).all(|ordinal| !hit(ordinal, 0.0) && hit(ordinal, 1.0)));
}

#[test]
fn an_inactive_timeout_does_nothing_when_removed() {
    let dead = Toxic::try_new("dead", Stream::Downstream, 0.0, Attributes::Timeout { timeout: 0 }).unwrap();
    let mut chain = chain(&[dead]);
    chain.detach("dead", 0);
    assert_eq!(chain.poll(0).out, Out::Nothing);
}

/// A reader that stops: what is in flight stays, nothing more is let in than was delivered lately, plus 256 KiB.
#[test]
fn latency_admits_what_is_delivered_once_the_reader_is_slow() {
    let mut chain = chain(&[toxic("slow", latency(50, 0))]);
    let mut peak = 0;
    for tick in 0..2000 {
        let now = ms(tick);
        // 100 kB are offered every millisecond and read every ten: 10 MB/s out of 100.
        if tick >= 50 && tick % 10 == 0 {
            chain.poll(now);
        }
        let credit = chain.credit(now).min(100_000);
        chain.offer(pattern(0, credit), now);
        if tick > 700 {
            peak = peak.max(chain.held());
        }
    }
    // 1.15 · 10 MB/s · 50 ms + 256 KiB and one piece of 100 kB are 0.94 MB; without the rule it is 128 MiB.
    assert!((500_000..1_000_000).contains(&peak), "{peak}");
}

#[test]
fn attributes_that_make_no_sense_are_refused() {
    for attributes in [
        rate(-1),
        Attributes::Slicer { average_size: 0, size_variation: 0, delay: 0 },
        Attributes::Slicer { average_size: 5, size_variation: 6, delay: 0 },
        Attributes::Timeout { timeout: -1 },
        Attributes::LimitData { bytes: -1 },
        Attributes::Cut { offset: None, mean_bytes: Some(0), action: CutAction::Reset },
    ] {
        let error = Toxic::try_new("x", Stream::Upstream, 1.0, attributes.clone()).unwrap_err();
        assert!(error.to_string().contains(attributes.kind()), "{error}");
    }
}

/// The same seed decides the same for every connection, another seed something else.
#[test]
fn decisions_follow_the_seed() {
    let decide = |seed| {
        let cut = toxic(
            "cut",
            Attributes::Cut { offset: None, mean_bytes: Some(4_000_000_000), action: CutAction::Reset },
        );
        (1..100).map(|i| cut.decide(&identity(seed, i)).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(decide(1), decide(1));
    assert!(decide(1).iter().zip(&decide(2)).all(|(a, b)| a.draw != b.draw && a.parameters != b.parameters));
}
