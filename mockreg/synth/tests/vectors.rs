//! Golden vectors: layers whose digests were computed by another program. A change here changes the format.
#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside the test functions")]

use bytes::Bytes;
use mockreg_proto::digest::hex;
use mockreg_synth::{Content, Form, Layer, LayerId, LayerSpec, Tables};
use serde_json::Value;

fn spec(vector: &Value) -> LayerSpec {
    let form: Form = serde_json::from_value(vector["form"].clone()).unwrap();
    let content = if vector["c1"] == true { Content::Incompressible } else { Content::Letters };
    let id: LayerId = vector["id"].as_str().unwrap().parse().unwrap();
    let spec = LayerSpec::try_new(form, content, vector["size"].as_u64().unwrap(), id).unwrap();
    if vector["unique"] == true { spec.unique() } else { spec }
}

fn vectors() -> Vec<Value> {
    let text = include_str!("../../../fixtures/vectors/layers-v1.json");
    let file: Value = serde_json::from_str(text).unwrap();
    file["layers"].as_array().unwrap().clone()
}

fn collect(read: impl Iterator<Item = Bytes>) -> Vec<u8> {
    read.flatten().collect()
}

#[test]
fn layers_are_those_of_the_format() {
    let tables = Tables::new();
    let mut wrong = Vec::new();
    let mut checked = 0;
    for vector in vectors() {
        let spec = spec(&vector);
        let (digests, layer) = (tables.digests(spec), Layer::new(spec));
        let ours = serde_json::json!({
            "digest": digests.digest,
            "diff_id": digests.diff_id,
            "tar_size": layer.tar_size(),
            "first": hex(&collect(layer.read(0, 24))),
            "last": hex(&collect(layer.read(spec.size() - 24, u64::MAX))),
        });
        let differs = |key: &String| ours[key] != vector[key];
        wrong.extend(
            ours.as_object()
                .unwrap()
                .keys()
                .filter(|key| differs(key))
                .map(|key| format!("{} {key}: {} is not {}", vector["repository"], ours[key], vector[key])),
        );
        checked += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(checked, 46, "vectors in the file");
}

#[test]
fn identities_are_those_of_the_format() {
    for vector in vectors() {
        let text = |key: &str| vector[key].as_str().unwrap().to_owned();
        let ordinal = vector["ordinal"].as_u64().unwrap() as u32;
        let seed = vector["seed"].as_u64().unwrap();
        let id = LayerId::derive(seed, &text("repository"), &text("platform"), &text("tag"), ordinal);
        assert_eq!(id.to_string(), text("id"), "{vector}");
    }
}
