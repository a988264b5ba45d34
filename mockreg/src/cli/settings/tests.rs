//! Settings as they are typed and written: which counts, what cannot be meant, and the example and schema of the file.

use super::*;

#[test]
fn addresses_are_numbers_or_localhost() {
    for (text, wanted) in
        [("127.0.0.1:5000", "127.0.0.1:5000"), ("[::1]:0", "[::1]:0"), ("localhost:0", "127.0.0.1:0")]
    {
        assert_eq!(text.parse::<Address>().unwrap().to_string(), wanted);
    }
    for text in ["localhost", "localhost:x", "localhost:65536", "registry:5000", "127.0.0.1", ":5000", ""] {
        assert!(text.parse::<Address>().unwrap_err().contains("127.0.0.1:5000"), "{text}");
    }
}

fn written(text: &str) -> Result<Settings, String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mockreg.yaml");
    std::fs::write(&path, text).unwrap();
    Settings::read(&path).map_err(|failure| format!("{:#}", failure.error))
}

#[test]
fn the_command_line_goes_before_the_file_and_the_file_before_a_vendor() {
    let file =
        written("vendor: hub\nseed: 7\nname: source\npolicy: {quotas: [], tags_page_max: 5}\n").unwrap();
    let typed = Settings { name: Some("dest".into()), ..Settings::default() };
    let builder = typed.over(file).builder().unwrap();
    assert_eq!((builder.name.as_str(), builder.seed), ("dest", 7));
    let policy = builder.policy;
    assert!(policy.quotas.is_empty(), "the file empties what the vendor fills");
    assert_eq!((policy.tags_page_max, policy.delete_tags), (Some(5), false));
}

#[test]
fn a_certificate_of_ones_own_needs_no_directory() {
    #[derive(clap::Parser)]
    struct Typed {
        #[command(flatten)]
        settings: Settings,
    }
    let typed = |arguments: &[&str]| {
        let arguments = [&["mockreg"], arguments].concat();
        <Typed as clap::Parser>::try_parse_from(arguments).unwrap().settings.tls_auto
    };
    assert_eq!(typed(&["--tls-auto"]), Some(None));
    assert_eq!(typed(&["--tls-auto", "--seed", "1"]), Some(None));
    assert_eq!(typed(&["--tls-auto", "tls"]), Some(Some("tls".into())));
    assert_eq!(typed(&[]), None);
}

#[test]
fn paths_are_from_the_directory_of_the_file() {
    let settings = written("spill: overflow\ncatalog: [a.yaml, /b.yaml]\n").unwrap();
    assert!(settings.spill.unwrap().ends_with("overflow"));
    assert!(settings.catalog[0].is_absolute());
    assert_eq!(settings.catalog[1], Path::new("/b.yaml"));
}

#[test]
fn what_is_misspelt_is_named_with_its_place() {
    for (text, wanted) in [
        ("listen: nowhere\n", "mockreg.yaml:1:9"),
        ("threads: 0\n", "mockreg.yaml:1:10: "),
        ("threads: 0\n", "(key `threads`)"),
        ("sed: 1\n", "seed"),
        ("seed: 1\npolicy:\n  delete_tag: false\n", "delete_tags"),
        ("auth: basicc\n", "mockreg.yaml:1:7: unknown value `basicc`; did you mean `basic`? (key `auth`)"),
        ("policy: {quotas: [{requests: 0, window: 1s}]}\n", "mockreg.yaml:1:30: "),
        ("policy: {quotas: [{requests: 0, window: 1s}]}\n", "(key `policy.quotas[0].requests`)"),
        ("policy:\n  chunk_min_length: 5 parsecs\n", "or plain bytes (key `policy.chunk_min_length`)"),
    ] {
        let error = written(text).unwrap_err();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let sizes = written("policy: {chunk_min_length: 5MiB, manifest_limit: 4MiB}\n").unwrap().policy;
    assert_eq!(
        (sizes.chunk_min_length, sizes.manifest_limit),
        (Some(ByteCount(5 << 20)), ByteCount(4 << 20))
    );
}

/// What starting with a file says, which must be an error: the file is read, the registry set up and started.
fn refused(text: &str, typed: Settings) -> String {
    let settings = typed.over(written(text).unwrap());
    let any_port: Address = "127.0.0.1:0".parse().unwrap();
    let settings = Settings { listen: Some(any_port), admin: Some(any_port), ..settings };
    let started = |builder: Builder| builder.start().map_err(|error| settings.placed(error, Failure::usage));
    let failure = settings.builder().and_then(started);
    format!("{:#}", failure.expect_err(text).error)
}

#[test]
fn what_cannot_be_meant_is_named_with_its_place() {
    for (text, wanted) in [
        ("seed: 1\nvendor: hup\n", &["mockreg.yaml:2:9: ", "harbor-like, hub", "(key `vendor`)"][..]),
        (
            "policy:\n  quotas:\n    - {requests: 1, window: 0s}\n",
            &["mockreg.yaml:3:29: ", "`quotas[0].window` is above 0"],
        ),
        (
            "policy: {quotas: [{requests: 1, window: 1s, per: user}]}\n",
            &["mockreg.yaml:1:50: ", "`quotas[0].per` is `user`", "--auth"],
        ),
        ("auth: bearer\n", &["mockreg.yaml:1:7: `auth` needs", "htpasswd -nbB"]),
        ("\nanonymous_pull: true\n", &["mockreg.yaml:2:17: ", "`auth` asks nobody"]),
        (
            "auth: basic\nhtpasswd: no-such\n",
            &["mockreg.yaml:2:11: ", "no-such cannot be read", "(key `htpasswd`)"],
        ),
        (
            "catalog:\n  - no-such.yaml\n",
            &["mockreg.yaml:2:5: ", "no-such.yaml cannot be read", "(key `catalog[0]`)"],
        ),
        (
            "redirect_url: https://cdn.test\n",
            &["mockreg.yaml:1:15: ", "--redirect-blobs", "`redirect_blobs`"],
        ),
        (
            "policy: {redirects: {base_url: 'https://cdn.test'}}\n",
            &["mockreg.yaml:1:32: ", "`redirects.base_url`"],
        ),
        ("tls_name: [x.test]\n", &["mockreg.yaml:1:11: ", "`tls_auto`"]),
        ("seed: 1\ntls_key: x.pem\n", &["mockreg.yaml:2:10: ", "`tls_cert` and `tls_key`"]),
        ("table_cache: /dev/null/x\n", &["mockreg.yaml:1:14: ", "(key `table_cache`)"]),
        ("spill: /dev/null/x\n", &["mockreg.yaml:1:8: ", "(key `spill`)"]),
        ("journal: /dev/null/x\n", &["mockreg.yaml:1:10: ", "(key `journal`)"]),
    ] {
        let error = refused(text, Settings::default());
        for wanted in wanted {
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
    // What was typed has no place in the file, though the file has the key.
    let typed = Settings { vendor: Some("hup".into()), ..Settings::default() };
    assert!(refused("vendor: hub\n", typed).starts_with("there is no vendor profile"));
}

/// The example with every line that is commented out put in: `# key: value`, wherever it stands.
fn in_full(example: &str) -> String {
    let line = |line: &str| {
        let start = line.len() - line.trim_start().len();
        let key = line[start..].strip_prefix("# ").unwrap_or_default();
        let name = key.split(':').next().unwrap_or_default();
        let is_key = key.contains(": ") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if is_key { format!("{}{key}\n", &line[..start]) } else { format!("{line}\n") }
    };
    example.lines().map(line).collect()
}

/// A value with the keys of both.
fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            for (key, value) in other {
                let before = one.remove(&key).unwrap_or_default();
                one.insert(key, merged(before, value));
            }
            Value::Object(one)
        }
        (Value::Array(one), Value::Array(other)) => Value::Array([one, other].concat()),
        (Value::Null, value) | (value, _) => value,
    }
}

/// The keys of a schema that are nowhere in `value`, which stands under `path`.
fn missing(schema: &Value, root: &Value, value: &Value, path: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).expect("a reference leads somewhere");
        return missing(target, root, value, path);
    }
    let mut lacking = Vec::new();
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        lacking.extend(missing(choice, root, value, path));
    }
    if let Some(items) = value.as_array() {
        // Each key in one of them at least.
        let all = items.iter().cloned().fold(Value::Null, merged);
        lacking.extend(missing(&schema["items"], root, &all, &format!("{path}[]")));
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match value.get(key) {
            Some(value) => lacking.extend(missing(schema, root, value, &path)),
            None => lacking.push(path),
        }
    }
    lacking
}

#[test]
fn the_example_shows_every_key() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let text = in_full(&std::fs::read_to_string(fixtures.join("mockreg.yaml")).unwrap());
    document::read::<Settings>("mockreg.yaml in full", &text).unwrap();
    let value: Value = document::read("mockreg.yaml in full", &text).unwrap();
    let schema = schemars::schema_for!(Settings).to_value();
    assert_eq!(missing(&schema, &schema, &value, ""), [""; 0]);
    // A key that is left out is noticed, deep down too.
    let without = text.replace("retry_after", "retry_later");
    let value: Value = document::read("without", &without).unwrap();
    assert_eq!(missing(&schema, &schema, &value, ""), [".policy.quotas[].refusal.retry_after"]);
}

#[test]
fn the_example_is_read_and_the_schema_is_the_code() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let example = Settings::read(&fixtures.join("mockreg.yaml")).map_err(|failure| failure.error).unwrap();
    assert_eq!(example.policy.quotas.len(), 2);
    let path = fixtures.join("schemas/mockreg.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(Settings)).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(checked_in == schema, "{path:?} is out of date; run the test with UPDATE_SCHEMAS=1");
}
