//! What catalogues mean, what is refused, and that the fixtures say the same.
use super::*;

const MANUAL: &str = include_str!("../../../../fixtures/catalogues/small.yaml");
const SCHEMA: &str = include_str!("../../../../fixtures/schemas/catalogue.json");

fn images(text: &str) -> Vec<ImageSpec> {
    read("c.yaml", text).unwrap().1
}

fn error(text: &str) -> String {
    read("c.yaml", text).unwrap_err().to_string()
}

/// A catalogue of one repository with these keys.
fn one(keys: &str) -> String {
    format!("schema_version: 1\nrepositories:\n  - {{{keys}}}\n")
}

#[test]
fn the_manual_is_a_catalogue() {
    let images = images(MANUAL);
    let named: BTreeSet<_> = images.iter().map(|image| image.repository.as_str()).collect();
    assert_eq!(
        named.into_iter().collect::<Vec<_>>(),
        ["library/app", "library/legacy", "team/base", "team/noise"]
    );
    let legacy = images.iter().find(|image| image.repository == "library/legacy").unwrap();
    assert_eq!(legacy.media_types, MediaTypes::Docker);
    assert_eq!(legacy.layers[0].form(), Form::Tar);
}

#[test]
fn the_checked_in_schema_is_the_code_s() {
    let ours = serde_json::to_value(schemars::schema_for!(Catalogue)).unwrap();
    let theirs: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(ours, theirs, "write it anew: cargo run -p mockreg-synth --example fixtures -- schema");
}

#[test]
fn leading_layers_are_shared_and_the_last_is_not() {
    let images = images(&one("name: library/app, tags: [v1, v2], layers: [4MB, 60MB, {size: 300MB}]"));
    let ids = |image: &ImageSpec| image.layers.iter().map(LayerSpec::id).collect::<Vec<_>>();
    let (first, second) = (ids(&images[0]), ids(&images[1]));
    assert_eq!(first[..2], second[..2]);
    assert_ne!(first[2], second[2]);
    assert_eq!(first[0], LayerId::derive(1, "library/app", "", "", 0));
    assert_eq!(second[2], LayerId::derive(1, "library/app", "", "v2", 2));
    assert_eq!(images[0].layers[2].size(), 300_000_000);
}

#[test]
fn shared_layers_may_be_none_or_all() {
    let shared = |count: u32| {
        let images =
            images(&one(&format!("name: a, tags: [x, y], layers: [1MB, 1MB], shared_layers: {count}")));
        images[0].layers.iter().filter(|layer| images[1].layers.contains(layer)).count()
    };
    assert_eq!([shared(0), shared(1), shared(2)], [0, 1, 2]);
}

#[test]
fn tags_and_layers_can_be_counted() {
    let images = images(&one("name: a, tags: {prefix: v, count: 40}, layers: {count: 8, size: 50MB}"));
    assert_eq!(images.len(), 40);
    assert_eq!((images[0].tag.as_str(), images[39].tag.as_str()), ("v1", "v40"));
    assert!(images.iter().all(|image| image.layers.len() == 8));
    assert_eq!(images[7].layers[7].size(), 50_000_000);
}

#[test]
fn an_entry_overrides_the_defaults() {
    let text = "{schema_version: 1, seed: 42, defaults: {format: tar, media_types: docker}, repositories: [
        {name: a, tags: [x], layers: [1MiB]},
        {name: b, tags: [x], layers: [1MiB], format: gzip, content: incompressible, media_types: oci}]}";
    let images = images(text);
    let told = |image: &ImageSpec| (image.layers[0].form(), image.layers[0].content(), image.media_types);
    assert_eq!(told(&images[0]), (Form::Tar, Content::Letters, MediaTypes::Docker));
    assert_eq!(told(&images[1]), (Form::Gzip, Content::Incompressible, MediaTypes::Oci));
    assert_eq!(images[0].layers[0].id(), LayerId::derive(42, "a", "", "x", 0));
}

#[test]
fn entries_may_share_a_name_if_their_tags_differ() {
    let entry = |tag: &str| format!("  - {{name: a, tags: [{tag}], layers: [1MB]}}\n");
    let text = |tags: [&str; 2]| format!("schema_version: 1\nrepositories:\n{}", tags.map(entry).concat());
    assert_eq!(images(&text(["x", "y"])).len(), 2);
    assert_eq!(
        error(&text(["x", "x"])),
        "c.yaml:4:22: repository `a`, key `tags[0]`: tag `x` stands twice in this repository"
    );
}

/// Programs send catalogues as JSON; what they write must read back as what they meant.
#[test]
fn a_catalogue_survives_json() {
    let (catalogue, images) = read("c.yaml", MANUAL).unwrap();
    let json = serde_json::to_string(&catalogue).unwrap();
    let (again, images_again) = read("request body", &json).unwrap();
    assert_eq!((again, images_again), (catalogue.clone(), images));
    assert_eq!(serde_json::from_str::<Catalogue>(&json).unwrap(), catalogue);
}

#[test]
fn wrong_keys_and_values_are_located() {
    for (text, wanted) in [
        ("repositories: []".to_owned(), "missing key `schema_version`"),
        ("schema_version: 2\nrepositories: []".to_owned(), "c.yaml:1:17: `schema_version` must be 1, not 2"),
        ("schema_version: 1\nrepos: []".to_owned(), "c.yaml:2:1: unknown key `repos`; did you mean"),
        (one("name: a, tags: [x], layer: [1MB]"), "unknown key `layer`; did you mean `layers`?"),
        (one("name: a, tags: [x], layers: [1 parsec]"), "c.yaml:3:35: `1 parsec` is not a size"),
        (one("name: a, tags: x, layers: [1MB]"), "tags like [v1, v2] or {prefix: v, count: 40}"),
        (one("name: a, tags: [x], layers: 5"), "layers like [4MB, 60MB] or {count: 8, size: 50MB}"),
        (one("name: a, tags: [x], layers: [[5]]"), "a layer like 60MB or {size: 60MB}"),
        (one("name: a, tags: {prefix: v, cuont: 2}, layers: [1MB]"), "did you mean `count`?"),
        (one("name: a, tags: [x], layers: [1MB], format: tgz"), "unknown value `tgz`"),
        (one("generate: {prefix: team, count: 200}"), "not supported yet"),
        (one("name: a, platforms: [linux/amd64, linux/arm64]"), "not supported yet"),
        (
            one("name: a, tags: [x], layers: [{size: 1MB, unique: true}]"),
            "`unique: true` is not supported yet",
        ),
        (
            one("name: a, tags: [x], layers: {count: 8, size: hub2019}"),
            "size distribution `hub2019` is not supported yet",
        ),
    ] {
        let got = error(&text);
        assert!(got.contains(wanted) && got.starts_with("c.yaml:"), "{text}\n{got}\n{wanted}");
    }
}

#[test]
fn impossible_images_name_repository_and_key() {
    let many = vec!["1MB"; 128].join(", ");
    for (keys, wanted) in [
        ("name: A, tags: [x], layers: [1MB]", "repository `A`, key `name`: a repository name has"),
        ("name: a//b, tags: [x], layers: [1MB]", "key `name`: a repository name has"),
        ("name: a.-b, tags: [x], layers: [1MB]", "key `name`: a repository name has"),
        ("name: synth/a, tags: [x], layers: [1MB]", "key `name`: images under `synth/` are made from"),
        ("name: a, tags: [], layers: [1MB]", "key `tags`: there must be at least one"),
        ("name: a, tags: [x, -y], layers: [1MB]", "key `tags[1]`: `-y` is not a tag"),
        ("name: a, tags: [x, x], layers: [1MB]", "key `tags[1]`: tag `x` stands twice"),
        ("name: a, tags: {prefix: v, count: 0}, layers: [1MB]", "key `tags.count`: there must be at least"),
        (
            "name: a, tags: {prefix: v, count: 250001}, layers: [1MB, 1MB]",
            "key `tags.count`: the images of a catalogue have at most",
        ),
        ("name: a, tags: [x], layers: []", "key `layers`: there must be at least one"),
        (&format!("name: a, tags: [x], layers: [{many}]"), "key `layers`: an image has at most 127 layers"),
        ("name: a, tags: [x], layers: {count: 4000000000, size: 1MB}", "key `layers.count`: an image has"),
        ("name: a, tags: [x], layers: [1MB, 100]", "key `layers[1]`: a gzip layer has at least 553 bytes"),
        ("name: a, tags: [x], layers: {count: 2, size: 65GiB}", "key `layers.size`: a layer has at most"),
        (
            "name: a, tags: [x], layers: [1MB], format: zstd, media_types: docker",
            "key `format`: Docker's media types have none for zstd",
        ),
        ("name: a, tags: [x], layers: [1MB], format: tar", "multiple of 512"),
        (
            "name: a, tags: [x], layers: [1MB], shared_layers: 2",
            "key `shared_layers`: 2 layers cannot be shared",
        ),
    ] {
        let got = error(&one(keys));
        assert!(got.contains(wanted) && got.starts_with("c.yaml:3:"), "{keys}\n{got}");
        assert!(got.contains(": repository `"), "{got}");
    }
}

#[test]
fn errors_stand_at_the_key_that_is_wrong() {
    let entry = "repositories:\n  - name: a\n    tags: [x]\n    layers:\n      - 1MB\n      - ";
    for (text, wanted) in [
        (format!("schema_version: 1\n{entry}4B\n"), "c.yaml:7:9: repository `a`, key `layers[1]`: a gzip"),
        (format!("schema_version: 1\n{entry}4XB\n"), "c.yaml:7:9: `4XB` is not a size"),
        (format!("schema_version: 1\n{entry}4XB\n"), "(key `repositories[0].layers[1]`)"),
        (format!("schema_version: 1\nseed: -1\n{entry}4MB\n"), "c.yaml:2:7: not a whole number; write one from 0"),
        (format!("schema_version: 1\nseed: -1\n{entry}4MB\n"), "(key `seed`)"),
        (
            format!("schema_version: 1\ndefaults:\n  format: zstd\n  media_types: docker\n{entry}4MB\n"),
            "c.yaml:3:11: repository `a`, key `defaults.format`: Docker",
        ),
        (
            format!("schema_version: 1\n{entry}4MB\n    format: zstd\n    media_types: docker\n"),
            "c.yaml:8:13: repository `a`, key `format`: Docker",
        ),
        (
            "schema_version: 1\nrepositories:\n- name: a\n  tags:\n    prefix: '-'\n    count: 2\n  layers: [1MB]".into(),
            "c.yaml:5:5: repository `a`, key `tags[0]`: `-1` is not a tag",
        ),
    ] {
        let got = error(&text);
        assert!(got.contains(wanted), "{text}\n{got}\n{wanted}");
    }
}

#[test]
fn names_and_tags_follow_the_specification() {
    let is_repository = |name: &str| name.parse::<RepositoryName>().is_ok();
    let is_tag = |tag: &str| tag.parse::<Tag>().is_ok();
    for good in ["a", "library/app", "a.b/c_d/e__f/g--h-i", "0/1"] {
        assert!(is_repository(good), "{good}");
    }
    for bad in ["", "/a", "a/", "a___b", "a..b", "-a", "a_", "a b", "ä", &"a".repeat(256)] {
        assert!(!is_repository(bad), "{bad}");
    }
    assert!(is_tag("_x.Y-1") && is_tag(&"t".repeat(128)));
    assert!(!is_tag("") && !is_tag(".x") && !is_tag("a/b") && !is_tag(&"t".repeat(129)));
}
