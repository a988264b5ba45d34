//! What catalogues mean, what is refused, and that the fixtures say the same.
use std::collections::{BTreeMap, BTreeSet};

use mockreg_proto::reference::{RepositoryName, Tag};

use super::*;
use crate::image::{ImageSpec, PlannedLayer, TagSpec};
use crate::spec::{LayerId, LayerSpec};

const MANUAL: &str = include_str!("../../../../fixtures/catalogues/small.yaml");
const SCHEMA: &str = include_str!("../../../../fixtures/schemas/catalogue.json");

/// All images of a catalogue whose tags are of one platform each.
fn images(text: &str) -> Vec<ImageSpec> {
    tagged(text).into_iter().flat_map(|tag| tag.images).collect()
}

fn tagged(text: &str) -> Vec<TagSpec> {
    read("c.yaml", text).unwrap().images().collect()
}

fn made(image: &ImageSpec) -> Vec<LayerSpec> {
    image.layers.iter().filter_map(PlannedLayer::made).collect()
}

fn error(text: &str) -> String {
    read("c.yaml", text).unwrap_err().to_string()
}

/// A catalogue of one repository with these keys.
fn one(keys: &str) -> String {
    format!("schema_version: 1\nrepositories:\n  - {{{keys}}}\n")
}

/// Every kind of entry.
const EVERYTHING: &str = "
schema_version: 1
repositories:
  - {name: a, tags: [x], layers: [1MB, hub2019, {size: 2kB, foreign: true}, {empty: true}, {size: 3kB, unique: true}],
     platforms: [linux/arm64]}
  - {name: b, tags: {prefix: v, count: 2}, layers: {count: 2, size: 1kB..2kB}, referrers: {signature: 1, sbom: 2}}
  - generate: {prefix: c, count: 20, tags: 1..5, layers: 3..12, size: zb, shared_base: 0.75, popularity: {zipf: 0.9},
               platforms: [linux/amd64, linux/arm64], referrers: {sbom: 1}, media_types: docker, format: tar}
";

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
    assert_eq!(made(legacy)[0].form(), Form::Tar);
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
    let ids = |image: &ImageSpec| made(image).iter().map(LayerSpec::id).collect::<Vec<_>>();
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
    let told = |image: &ImageSpec| (made(image)[0].form(), made(image)[0].content(), image.media_types);
    assert_eq!(told(&images[0]), (Form::Tar, Content::Letters, MediaTypes::Docker));
    assert_eq!(told(&images[1]), (Form::Gzip, Content::Incompressible, MediaTypes::Oci));
    assert_eq!(made(&images[0])[0].id(), LayerId::derive(42, "a", "", "x", 0));
}

#[test]
fn entries_may_share_a_name_if_their_tags_differ() {
    let entry = |tag: &str| format!("  - {{name: a, tags: [{tag}], layers: [1MB]}}\n");
    let text = |tags: [&str; 2]| format!("schema_version: 1\nrepositories:\n{}", tags.map(entry).concat());
    assert_eq!(images(&text(["x", "y"])).len(), 2);
    assert_eq!(
        error(&text(["x", "x"])),
        "c.yaml:4:22: repository `a`, key `tags[0]`: tag `x` is listed by `repositories[1]`, and is listed by \
         `repositories[0]` too"
    );
}

#[test]
fn a_clash_of_tags_names_both_entries() {
    let generated = "  - {generate: {prefix: t, count: 2, tags: 1..3, layers: 1, size: 1MB}}\n";
    let listed = "  - {name: t/2, tags: [x, v1], layers: [1MB]}\n";
    let numbered = "  - {name: t/2, tags: {prefix: v, count: 2}, layers: [1MB]}\n";
    for (entries, wanted) in [
        (
            [listed, generated],
            "c.yaml:4:44: repository `t/2`, key `generate.tags`: tag `v1` is generated by `repositories[1]`, and is \
             listed by `repositories[0]` too",
        ),
        (
            [generated, listed],
            "c.yaml:4:27: repository `t/2`, key `tags[1]`: tag `v1` is listed by `repositories[1]`, and is generated \
             by `repositories[0]` too",
        ),
        (
            [generated, numbered],
            "c.yaml:4:32: repository `t/2`, key `tags.prefix`: tag `v1` is numbered by `repositories[1]`, and is \
             generated by `repositories[0]` too",
        ),
    ] {
        assert_eq!(error(&format!("schema_version: 1\nrepositories:\n{}", entries.concat())), wanted);
    }
}

/// Programs send catalogues as JSON; what they write must read back as what they meant.
#[test]
fn a_catalogue_survives_json() {
    for text in [MANUAL, EVERYTHING] {
        let plan = read("c.yaml", text).unwrap();
        let catalogue = plan.catalogues().next().unwrap();
        let json = serde_json::to_string(catalogue).unwrap();
        let again = read("request body", &json).unwrap();
        assert_eq!(again.catalogues().next().unwrap(), catalogue);
        assert!(again.images().eq(plan.images()));
        assert_eq!(&serde_json::from_str::<Catalogue>(&json).unwrap(), catalogue);
    }
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
        (one("generate: {prefix: team, count: 200, layers: 3}"), "missing key `size`"),
        (one("generate: {prefix: t, count: 2, layers: 3, sise: 5MB}"), "did you mean `size`?"),
        (one("generate: {prefix: t, count: 2, layers: 3, size: 5MB}, name: a"), "unknown key `name`"),
        (one("generate: {prefix: t, count: 2, layers: 5..3, size: 5MB}"), "lesser count first"),
        (one("generate: {prefix: t, count: 2, layers: 3, size: 5MB..}"), "is not a size"),
        (one("name: a, platforms: [linux/mips]"), "`linux/mips` is not a platform; known are linux/amd64"),
        (one("name: a, tags: [x], layers: [1MB], referrers: {signatures: 1}"), "did you mean `signature`?"),
        (
            one("name: a, tags: [x], layers: {count: 8, size: hub2020}"),
            "`hub2020` is not a size profile; known are hub2019",
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
            "name: a, tags: {prefix: v, count: 5000001}, layers: [1MB, 1MB]",
            "key `tags.count`: a catalogue has at most 5000000 images",
        ),
        ("name: a, tags: [x], layers: [{foreign: true}]", "key `layers[0]`: a layer has a `size`"),
        ("name: a, tags: [x], layers: [{empty: true, size: 1MB}]", "key `layers[0]`: the empty layer is"),
        (
            "name: a, tags: [x], layers: [1MB], platforms: [linux/386, linux/386]",
            "key `platforms[1]`: platform `linux/386` stands twice",
        ),
        (
            "name: a, tags: [x], layers: [1MB], referrers: {sbom: 101}",
            "key `referrers.sbom`: at most 100 artifacts",
        ),
        ("name: a, tags: [x], layers: [1MB..65GiB]", "key `layers[0]`: a layer has at most"),
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
        (
            format!("schema_version: 1\nseed: -1\n{entry}4MB\n"),
            "c.yaml:2:7: not a whole number; write one from 0",
        ),
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
            "schema_version: 1\nrepositories:\n- name: a\n  tags:\n    prefix: '-'\n    count: 2\n  \
             layers: [1MB]"
                .into(),
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

/// A catalogue of one generated entry with these keys.
fn generated(keys: &str) -> String {
    one(&format!("generate: {{{keys}}}"))
}

#[test]
fn impossible_generated_entries_name_prefix_and_key() {
    for (keys, wanted) in [
        ("prefix: t, count: 0, layers: 1, size: 1MB", "repository `t`, key `generate.count`: there must be"),
        (
            "prefix: T, count: 1, layers: 1, size: 1MB",
            "repository `T`, key `generate.prefix`: a repository name",
        ),
        ("prefix: synth, count: 1, layers: 1, size: 1MB", "key `generate.prefix`: images under `synth/`"),
        ("prefix: t, count: 1, layers: 0..3, size: 1MB", "key `generate.layers`: there must be at least one"),
        ("prefix: t, count: 1, layers: 1..128, size: 1MB", "key `generate.layers`: an image has at most 127"),
        ("prefix: t, count: 1, layers: 1, size: 5", "key `generate.size`: a gzip layer has at least 553"),
        ("prefix: t, count: 1, tags: 0, layers: 1, size: 1MB", "key `generate.tags`: there must be"),
        (
            "prefix: t, count: 2, tags: 1..4000000, layers: 1, size: 1MB",
            "key `generate.tags`: a catalogue has",
        ),
        (
            "prefix: t, count: 200001, layers: 1, size: 1MB",
            "key `generate.count`: a catalogue has at most 200000",
        ),
        ("prefix: t, count: 4000000000, layers: 2, size: 1MB, shared_base: 1", "key `generate.count`"),
        (
            "prefix: t, count: 2, layers: 1, size: 1MB, shared_base: 0.5",
            "key `generate.layers`: an image that",
        ),
        (
            "prefix: t, count: 2, layers: 2, size: 1MB, shared_base: 1.5",
            "key `generate.shared_base`: a share is",
        ),
        (
            "prefix: t, count: 2, layers: 2, size: 1MB, popularity: {zipf: 11}",
            "key `generate.popularity.zipf`",
        ),
    ] {
        let got = error(&generated(keys));
        assert!(got.contains(wanted) && got.starts_with("c.yaml:3:"), "{keys}\n{got}");
    }
    let twice = format!(
        "{}  - {{generate: {{prefix: t, count: 3, layers: 1, size: 1MB}}}}\n",
        generated("prefix: t, count: 5, layers: 1, size: 1MB")
    );
    assert!(
        error(&twice).contains("repository `t/1`, key `generate.tags`: tag `v1` is generated by"),
        "{}",
        error(&twice)
    );
}

#[test]
fn generated_repositories_stay_within_their_counts() {
    let plan =
        read("c.yaml", &generated("prefix: team, count: 200, tags: 1..5, layers: 3..12, size: hub2019"))
            .unwrap();
    let names: Vec<_> = plan.repositories().map(|repository| repository.name()).collect();
    assert_eq!((names.len(), names[0], names[199]), (200, "team/001", "team/200"));
    let mut seen = (BTreeSet::new(), BTreeSet::new());
    for repository in plan.repositories() {
        let images: Vec<_> = repository.images().collect();
        seen.0.insert(images.len());
        seen.1.extend(images.iter().map(|image| image.images[0].layers.len()));
        assert_eq!(images[0].images[0].tag, "v1");
    }
    assert_eq!(seen.0.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(seen.1.into_iter().collect::<Vec<_>>(), (3..=12).collect::<Vec<_>>());
}

/// What an entry makes is part of what a seed means: the layers of two of its images, for ever.
#[test]
fn generated_images_are_frozen() {
    let text =
        generated("prefix: team, count: 200, tags: 1..5, layers: 3..5, size: 1MB..98MB, shared_base: 0.75");
    let plan = read("c.yaml", &text).unwrap();
    let told = |name: &str| {
        let image = plan.repository(name).unwrap().image(0);
        let layer = |layer: &PlannedLayer| {
            format!("{} {}", &layer.spec().unwrap().id().to_string()[..8], layer.size())
        };
        image.layers().map(layer).collect::<Vec<_>>()
    };
    assert_eq!(told("team/001"), FROZEN_THICK);
    assert_eq!(told("team/004"), FROZEN_THIN);
}

const FROZEN_THICK: [&str; 3] = ["5b8afef5 19206571", "06d13233 82141019", "f2b6f72a 84120620"];
const FROZEN_THIN: [&str; 4] =
    ["9200a2b7 37324763", "a81df040 16006925", "a00825a2 87022451", "3e0f71a5 7017706"];

/// The share of images that bring less than 5 % new bytes is the one asked for, counted over the repositories to one.
#[test]
fn shared_bases_leave_the_share_of_new_bytes_small() {
    for (share, size) in [(0.75, "hub2019"), (0.2, "1MB..98MB"), (1.0, "zb"), (0.0, "hub2019")] {
        let keys = format!("prefix: t, count: 400, layers: 3..12, size: {size}, shared_base: {share}");
        let plan = read("c.yaml", &generated(&keys)).unwrap();
        let images: Vec<ImageSpec> = plan.images().flat_map(|tag| tag.images).collect();
        let mut owners: BTreeMap<LayerSpec, u32> = BTreeMap::new();
        images.iter().flat_map(made).for_each(|layer| *owners.entry(layer).or_default() += 1);
        // New is what no other image has.
        let thin = images.iter().filter(|image| {
            let layers = made(image);
            let own: u64 = layers.iter().filter(|layer| owners[layer] == 1).map(LayerSpec::size).sum();
            own * 20 < layers.iter().map(LayerSpec::size).sum()
        });
        let (thin, wanted) = (thin.count() as f64, share * 400.0);
        // A base whose layers are all taken over by others has nothing of its own either: there are 64 at most.
        assert!(thin >= wanted - 1.0 && thin <= wanted + 64.0, "{share} {size}: {thin}");
    }
}

#[test]
fn sizes_are_drawn_from_the_profile_for_each_layer() {
    let plan = read("c.yaml", &one("name: a, tags: {prefix: v, count: 2000}, layers: {count: 2, size: zb}"))
        .unwrap();
    let images: Vec<_> = plan.images().collect();
    let last: Vec<u64> = images.iter().map(|tag| tag.images[0].layers[1].size()).collect();
    // n = 2000 at 0.7: four standard deviations are 82.
    let small = last.iter().filter(|size| **size == 1 << 20).count();
    assert!((1318..=1482).contains(&small), "{small}");
    let first: BTreeSet<u64> = images.iter().map(|tag| tag.images[0].layers[0].size()).collect();
    assert_eq!(first.len(), 1, "a shared layer has one size");
}

#[test]
fn unique_layers_are_of_a_stream_of_their_own() {
    let images = images(&one("name: a, tags: [x], layers: [1MB, {size: 1MB, unique: true}]"));
    assert_eq!(made(&images[0]).iter().map(LayerSpec::is_unique).collect::<Vec<_>>(), [false, true]);
    let alike = &tagged(&one("name: a, tags: [x], layers: {count: 2, size: 1MB, unique: true}"))[0];
    assert!(made(&alike.images[0]).iter().all(LayerSpec::is_unique));
}

#[test]
fn drawn_sizes_fit_their_form() {
    let text = one("name: a, tags: {prefix: v, count: 50}, layers: [1..4000], format: tar");
    for layer in tagged(&text).iter().flat_map(|tag| made(&tag.images[0])) {
        assert!(
            layer.size().is_multiple_of(512) && (1536..=4000).contains(&layer.size()),
            "{}",
            layer.size()
        );
    }
}

#[test]
fn several_platforms_have_layers_of_their_own() {
    let text = one("name: a, tags: [x, y], layers: [1MB, 2MB], platforms: [linux/amd64, linux/arm/v7]");
    let tags = tagged(&text);
    assert_eq!(tags.len(), 2);
    let id = |image: usize, ordinal: usize| made(&tags[0].images[image])[ordinal].id();
    assert_eq!(id(1, 0), LayerId::derive(1, "a", "linux/arm/v7", "", 0));
    assert_eq!(id(0, 1), LayerId::derive(1, "a", "linux/amd64", "x", 1));
    // A single platform is no index, and its layers are those of an image that says nothing.
    let single = tagged(&one("name: a, tags: [x], layers: [1MB], platforms: [linux/arm64]"));
    assert_eq!(single[0].images.len(), 1);
    assert_eq!(made(&single[0].images[0])[0].id(), LayerId::derive(1, "a", "", "x", 0));
}

#[test]
fn later_catalogues_count() {
    let plan = |keys: &str| read("c.yaml", &one(keys)).unwrap();
    let both = plan("name: a, tags: [x, y], layers: [1MB]")
        .followed_by(plan("name: a, tags: [y, z], layers: [2MB]"));
    let repository = both.repository("a").unwrap();
    assert_eq!(repository.tags_after(None).collect::<Vec<_>>(), ["x", "y", "z"]);
    assert_eq!(repository.tags_after(Some("x")).collect::<Vec<_>>(), ["y", "z"]);
    let size = |tag: &str| repository.image(repository.find(tag).unwrap()).size();
    assert_eq!(["x", "y", "z"].map(size), [1_000_000, 2_000_000, 2_000_000]);
    assert_eq!(repository.images().count(), 3);
    assert_eq!(repository.find("w"), None);
}

#[test]
fn given_images_stand_beside_catalogues() {
    let given = images(&one("name: b, tags: [x], layers: [3MB]")).into_iter().map(TagSpec::from).collect();
    let plan =
        read("c.yaml", &one("name: b, tags: [x, y], layers: [1MB]")).unwrap().followed_by(Plan::given(given));
    let repository = plan.repository("b").unwrap();
    assert_eq!(repository.images().map(|tag| tag.size()).collect::<Vec<_>>(), [1_000_000, 3_000_000]);
    assert_eq!(repository.image(repository.find("x").unwrap()).size(), 3_000_000);
    assert!(!repository.has_referrers());
    assert_eq!(plan.pulls().images(), 3);
}

#[test]
fn an_image_is_found_by_its_tag() {
    for tag in read("c.yaml", EVERYTHING).unwrap().repositories().flat_map(|repository| {
        repository
            .numbered_images()
            .map(move |(number, tag)| {
                assert_eq!(repository.find(&tag.images[0].tag), Some(number));
                assert_eq!(repository.image(number), tag);
                tag
            })
            .collect::<Vec<_>>()
    }) {
        assert!(!tag.images.is_empty());
    }
}

#[test]
fn pulls_follow_the_laws_of_the_entries() {
    let text = "schema_version: 1\nrepositories:\n  - {name: a, tags: {prefix: v, count: 100}, layers: [1MB]}\n  \
                - {generate: {prefix: t, count: 300, tags: 1..5, layers: 1, size: 1MB}}\n";
    let plan = read("c.yaml", text).unwrap();
    let pulls = plan.pulls();
    let all = plan.images().count() as u64;
    assert_eq!(pulls.images(), all);
    let everything: f64 = pulls.top(all as usize).iter().map(|pull| pull.weight).sum();
    assert!((everything - 1.0).abs() < 1e-9, "{everything}");
    // Listed images share evenly; the top hundredth of the others takes half of what falls to them.
    let listed = 100.0 / all as f64;
    let wanted = listed / 100.0 + (1.0 - listed) / 2.0;
    assert!((pulls.share_of_top_hundredth() - wanted).abs() < 1e-3);
    let top = &pulls.top(1)[0];
    assert!(
        top.repository.starts_with("t/")
            && plan.repository(&top.repository).unwrap().find(&top.tag).is_some()
    );
    assert_eq!(pulls.draw([u64::MAX, 0]).unwrap(), *top);
    assert_eq!(pulls.draw([0, u64::MAX / 2]).unwrap().repository, "a");
    assert!(Plan::default().pulls().draw([0, 0]).is_none());
}

/// Planning is what a start waits for: a catalogue of a million images is a few kilobytes, whatever its tags.
#[test]
fn a_million_numbered_tags_are_planned_without_being_written_out() {
    let plan =
        read("c.yaml", &one("name: a, tags: {prefix: v, count: 5000000}, layers: [1MB, 2MB]")).unwrap();
    let repository = plan.repository("a").unwrap();
    assert_eq!(repository.tags_after(Some("v4999999")).take(2).collect::<Vec<_>>(), ["v5", "v50"]);
    assert_eq!(repository.find("v5000000"), Some(4_999_999));
}

/// 12,000 layers uniform in 1..98 MB: 594 GB with a standard deviation of 97 / sqrt(12) * sqrt(12000) MB = 3.1 GB.
#[test]
fn the_high_volume_corpus_is_as_large_as_it_says() {
    let plan = read("c.yaml", include_str!("../../../../fixtures/catalogues/high-volume.yaml")).unwrap();
    let images: Vec<TagSpec> = plan.images().collect();
    let layers = images.iter().flat_map(TagSpec::layers).count();
    assert_eq!((plan.len(), images.len(), layers), (1200, 1200, 12_000));
    let size: u64 = images.iter().map(TagSpec::size).sum();
    assert!((592_000_000_000..596_000_000_000).contains(&size), "{size}");
}

#[test]
fn the_other_fixtures_are_catalogues() {
    let ten = read("c.yaml", include_str!("../../../../fixtures/catalogues/ten-terabytes.yaml")).unwrap();
    let size: u64 = ten.images().map(|tag| tag.size()).sum();
    assert!(size > 10_000_000_000_000, "{size}");
    let many = read("c.yaml", include_str!("../../../../fixtures/catalogues/many-tags.yaml")).unwrap();
    assert_eq!(many.repository("team/builds").unwrap().len(), 300_000);
}
