//! Artifacts that refer to an image: signatures in the shape that cosign stores, and bills of materials in SPDX 2.3.
//! Their payloads are real documents about the image they name; the bytes of the signature itself come from a hash,
//! not from a key, so nobody can verify them.

use bytes::Bytes;
use mockreg_proto::digest::{Digest, hex};
use mockreg_proto::media_type::OCI_MANIFEST;
use mockreg_proto::seed::Seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::document::{Annotations, Descriptor, EPOCH, Manifest, to_json};
use super::{Blob, Image, Stored};

/// How many artifacts of each kind refer to every tag of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Referrers {
    /// Signatures, in the shape that cosign stores; at most 100.
    #[serde(skip_serializing_if = "is_zero")]
    pub signature: u32,
    /// Bills of materials, in SPDX 2.3; at most 100.
    #[serde(skip_serializing_if = "is_zero")]
    pub sbom: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Most artifacts of one kind: above it a list of referrers would need pages of its own for no gain.
pub const MAX_REFERRERS: u32 = 100;

/// An artifact: a manifest with a `subject`, and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The manifest.
    pub manifest: Stored,
    /// What kind of artifact it is.
    pub artifact_type: &'static str,
    /// The annotations of the manifest, which a list of referrers repeats.
    pub annotations: Vec<(&'static str, String)>,
    /// The empty config and the payload.
    pub blobs: Vec<Blob>,
}

/// The kinds of artifact.
#[derive(Clone, Copy)]
enum Kind {
    Signature,
    Sbom,
}

impl Referrers {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Artifacts of all kinds.
    pub fn count(&self) -> u64 {
        u64::from(self.signature) + u64::from(self.sbom)
    }

    /// Makes the artifacts that refer to `subject`, which a tag of `repository` names.
    pub(super) fn build(&self, repository: &str, subject: &Stored, images: &[Image]) -> Vec<Artifact> {
        let signatures = (1..=self.signature).map(|number| (Kind::Signature, number));
        let sboms = (1..=self.sbom).map(|number| (Kind::Sbom, number));
        signatures
            .chain(sboms)
            .map(|(kind, number)| kind.build(number, repository, subject, images))
            .collect()
    }
}

impl Kind {
    const fn artifact_type(self) -> &'static str {
        match self {
            Self::Signature => "application/vnd.dev.cosign.artifact.sig.v1+json",
            Self::Sbom => "application/spdx+json",
        }
    }

    const fn payload_type(self) -> &'static str {
        match self {
            Self::Signature => "application/vnd.dev.cosign.simplesigning.v1+json",
            Self::Sbom => "application/spdx+json",
        }
    }

    fn build(self, number: u32, repository: &str, subject: &Stored, images: &[Image]) -> Artifact {
        let payload = match self {
            Self::Signature => signature(repository, subject, number),
            Self::Sbom => sbom(repository, subject, images, number),
        };
        let (config, payload) = (Blob::of(EMPTY_CONFIG.into()), Blob::of(payload));
        let mut layer = Descriptor::of(self.payload_type(), payload.digest, payload.bytes.len() as u64);
        if matches!(self, Self::Signature) {
            layer.annotations = Some(Annotations::from([(SIGNATURE, mark(&payload))]));
        }
        let annotations = Annotations::from([(CREATED, EPOCH.to_owned()), (NUMBER, number.to_string())]);
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            artifact_type: Some(self.artifact_type()),
            config: Descriptor::of(EMPTY_TYPE, config.digest, EMPTY_CONFIG.len() as u64),
            layers: vec![layer],
            subject: Some(Descriptor::of(subject.media_type, subject.digest, subject.bytes.len() as u64)),
            annotations: Some(annotations.clone()),
        };
        Artifact {
            manifest: Stored::of(OCI_MANIFEST, to_json(&manifest)),
            artifact_type: self.artifact_type(),
            annotations: annotations.into_iter().collect(),
            blobs: vec![config, payload],
        }
    }
}

/// OCI image specification 1.1, `manifest.md`, "Guidance for an Empty Descriptor".
const EMPTY_CONFIG: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const CREATED: &str = "org.opencontainers.image.created";
const NUMBER: &str = "dev.stormyard.artifact.number";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// What stands where a signature would: as long as one by ECDSA, in digits that are base64 as well. It is a hash.
fn mark(payload: &Blob) -> String {
    let hash = |part: &str| hex(&Seed::root(1).child(["signature", part, &payload.digest.to_string()]).key());
    hash("one") + &hash("two")[..32]
}

/// Simple signing, as `containers/image` defines it and cosign uses it.
fn signature(repository: &str, subject: &Stored, number: u32) -> Bytes {
    to_json(&json!({
        "critical": {
            "identity": {"docker-reference": repository},
            "image": {"docker-manifest-digest": subject.digest},
            "type": "cosign container image signature",
        },
        "optional": {"number": number},
    }))
}

/// SPDX 2.3, JSON: the image as a package that contains each layer as a package.
fn sbom(repository: &str, subject: &Stored, images: &[Image], number: u32) -> Bytes {
    let package = |id: &str, name: &str, digest: &Digest| {
        json!({
            "SPDXID": format!("SPDXRef-{id}"),
            "name": name,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "checksums": [{"algorithm": "SHA256", "checksumValue": digest.hex()}],
        })
    };
    let relation = |from: &str, kind: &str, to: &str| {
        json!({
            "spdxElementId": format!("SPDXRef-{from}"),
            "relationshipType": kind,
            "relatedSpdxElement": format!("SPDXRef-{to}"),
        })
    };
    let mut packages = vec![package("image", repository, &subject.digest)];
    let mut relations = vec![relation("DOCUMENT", "DESCRIBES", "image")];
    for (index, layer) in images.iter().flat_map(|image| &image.layers).enumerate() {
        let id = format!("layer-{index}");
        packages.push(package(&id, &layer.record(), &layer.digest));
        relations.push(relation("image", "CONTAINS", &id));
    }
    to_json(&json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": repository,
        "documentNamespace": format!("https://stormyard.example/spdx/{}/{number}", subject.digest.hex()),
        "creationInfo": {"created": EPOCH, "creators": ["Tool: stormyard"]},
        "packages": packages,
        "relationships": relations,
    }))
}
