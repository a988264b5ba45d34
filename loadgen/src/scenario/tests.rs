use std::time::Duration;

use mockreg_proto::units::ByteCount;

use super::*;

fn resolved(name: &str, wishes: &Wishes) -> Result<Scenario, ScenarioError> {
    resolve(load(name).unwrap(), wishes)
}

fn with(parameters: &[(&str, &str)]) -> Wishes {
    let parameters = parameters.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Wishes { parameters, ..Wishes::default() }
}

#[test]
fn every_builtin_scenario_resolves_at_every_scale() {
    for (name, _) in BUILTIN {
        let file = load(name).unwrap();
        assert_eq!(file.name, *name);
        for scale in file.scales.keys().cloned().chain(["full".to_owned()]) {
            resolve(file.clone(), &Wishes { scale: Some(scale), ..Wishes::default() }).unwrap();
        }
    }
}

/// The values of Freightliner's load framework for the scenario of that name.
#[test]
fn network_resilience_keeps_the_published_values() {
    let file = resolved("network_resilience", &Wishes { scale: Some("full".into()), ..Wishes::default() })
        .unwrap()
        .file;
    assert_eq!(file.duration.0, Duration::from_secs(3600));
    assert_eq!((file.workers, file.corpus.images), (25, 200));
    assert_eq!((file.corpus.size.min.0, file.corpus.size.max.0), (50_000_000, 2_500_000_000));
    assert_eq!(file.network.rtt.unwrap().0, Duration::from_millis(100));
    assert_eq!(file.network.bandwidth.unwrap().0, 120_000_000);
    let at: Vec<u64> = file.timeline.iter().map(|e| e.at.unwrap().0.as_secs() / 60).collect();
    assert_eq!(at, [10, 25, 45]);
    assert_eq!(file.criteria[&Metric::ThroughputMbS], Bound::AtLeast(70.0));
    assert_eq!(file.criteria[&Metric::MemoryMb], Bound::AtMost(800.0));
}

/// ci: bytes 0.04, count 0.25: 2..100 MB, 50 images, mean_bytes 160 MB, events after 400, 1,000 and 1,600 MB.
#[test]
fn scale_factors_apply_to_replaced_values_too() {
    let scenario = resolved("network_resilience", &Wishes::default()).unwrap();
    assert_eq!(scenario.scale, "ci");
    let file = scenario.file;
    assert_eq!(
        (file.corpus.size.min.0, file.corpus.size.max.0, file.corpus.images),
        (2_000_000, 100_000_000, 50)
    );
    assert_eq!(file.network.toxics[0].attributes["mean_bytes"], 160_000_000);
    let after: Vec<u64> = file.timeline.iter().map(|e| e.after_bytes.unwrap().0 / 1_000_000).collect();
    assert_eq!(after, [400, 1000, 1600]);
    assert!(!file.repeat);
    assert_eq!(file.criteria.len(), 1);
}

#[test]
fn shrinking_a_timed_scenario_needs_the_time_scaled_too() {
    let factors = Factors { bytes: Some(0.1), ..Factors::default() };
    let full = Wishes { scale: Some("full".into()), factors, ..Wishes::default() };
    assert!(matches!(resolved("network_resilience", &full), Err(ScenarioError::TimeNotScaled(_))));
    let timed = Wishes { factors: Factors { time: Some(0.1), ..factors }, ..full };
    assert_eq!(resolved("network_resilience", &timed).unwrap().file.timeline[0].at.unwrap().0.as_secs(), 60);
}

#[test]
fn parameters_set_any_key_and_unknown_ones_are_errors() {
    let file =
        resolved("smoke", &with(&[("workers", "3"), ("network.rtt", "20ms"), ("corpus.size.max", "50MB")]))
            .unwrap()
            .file;
    assert_eq!((file.workers, file.corpus.size.max.0), (3, 50_000_000));
    assert_eq!(file.network.rtt.unwrap().0, Duration::from_millis(20));
    let error = resolved("smoke", &with(&[("network.rtr", "20ms")])).unwrap_err().to_string();
    assert!(error.contains("--param network.rtr=20ms") && error.contains("rtr"), "{error}");
    let error = resolved("smoke", &with(&[("workers.x", "1")])).unwrap_err().to_string();
    assert!(error.contains("has no keys"), "{error}");
}

#[test]
fn senseless_values_name_their_key() {
    for (key, value, part) in [
        ("workers", "0", "`workers`"),
        ("corpus.images", "0", "`corpus.images`"),
        ("corpus.size.min", "1GB", "`corpus.size`"),
        ("corpus.size.min", "100", "`corpus.size.min`"),
        ("corpus.layers", "\"5..3\"", "3..15"),
        ("replicator.retries.base", "1h", "`replicator.retries`"),
        ("network.bandwidth", "5", "`network.bandwidth`"),
        ("schema_version", "2", "`schema_version`"),
        ("duration", "0s", "`duration`"),
        ("network.toxics", r#"[{"name":"a","type":"latencyy"}]"#, "did you mean `latency`?"),
        (
            "network.toxics",
            r#"[{"name":"a","type":"latency","attributes":{"latencyy":5}}]"#,
            "did you mean `latency`?",
        ),
        ("network.toxics", r#"[{"name":"a","type":"cut","stream":"upsteam"}]"#, "did you mean `upstream`?"),
        ("criteria.failure_rate", "\"< 1\"", "no bound"),
    ] {
        let error = resolved("smoke", &with(&[(key, value)])).unwrap_err().to_string();
        assert!(error.contains(part), "{key}={value}: {error}");
    }
}

#[test]
fn events_need_one_trigger_and_one_action() {
    let mut file = load("network_resilience").unwrap();
    file.scales.clear();
    file.timeline[0].after_bytes = Some(ByteCount(1));
    let error = resolve(file.clone(), &Wishes::default()).unwrap_err().to_string();
    assert!(error.contains("timeline[0]") && error.contains("exactly one of `at`"), "{error}");
    file.timeline[0].after_bytes = None;
    file.timeline[0].outage = None;
    assert!(resolve(file, &Wishes::default()).unwrap_err().to_string().contains("`outage` and `toxic`"));
}

#[test]
fn unknown_names_and_scales_say_what_there_is() {
    let error = load("network_resilence").unwrap_err().to_string();
    assert!(error.contains("did you mean `network_resilience`?"), "{error}");
    let error = resolved("smoke", &Wishes { scale: Some("huge".into()), ..Wishes::default() })
        .unwrap_err()
        .to_string();
    assert!(error.contains("ci, small, full"), "{error}");
}

#[test]
fn a_file_error_names_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mine.yaml");
    std::fs::write(&path, "schema_version: 1\nname: x\nduration: 5m\nworker: 3\n").unwrap();
    let error = load(path.to_str().unwrap()).unwrap_err().to_string();
    assert!(error.contains("mine.yaml:4:1") && error.contains("did you mean `workers`?"), "{error}");
}

#[test]
fn freightliners_short_form_replaces_a_builtins_values() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("short.yaml");
    let text = "scenarios:\n  network_resilience: {duration: 5m, concurrent_workers: 7, expected_throughput: 50, \
                memory_limit_mb: 300}\n  smoke: {}\n";
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    assert!(load(path).unwrap_err().to_string().contains("#NAME"));
    let file = load(&format!("{path}#network_resilience")).unwrap();
    assert_eq!((file.workers, file.duration.0.as_secs()), (7, 300));
    assert_eq!(file.criteria[&Metric::MemoryMb], Bound::AtMost(300.0));
    assert!(load(&format!("{path}#other")).unwrap_err().to_string().contains("has no `other`"));
}

#[test]
fn the_checked_in_schema_is_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/schemas/scenario.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(ScenarioFile)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(path, &schema).unwrap();
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert!(checked_in == schema, "{path} is out of date; run the test with UPDATE_SCHEMAS=1");
}
