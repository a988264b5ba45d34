//! A manifest as the registry holds it: exactly its bytes, the headers it is answered with, and its entry in the list
//! of its subject's referrers. Whether a pushed one is acceptable is decided in `manifest::outline`.

pub(crate) mod outline;

use bytes::Bytes;
use http::header::HeaderValue;
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::budget::Room;

/// A manifest, exactly as it was pushed or made.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    /// The headers of every answer are made once: some clients ask for manifests and little else.
    pub(crate) headers: ManifestHeaders,
    /// Where it refers to another manifest.
    pub(crate) referrer: Option<Referrer>,
    /// Absent for what the registry made itself.
    _room: Option<Room>,
}

/// What a manifest is answered with.
#[derive(Clone, Debug)]
pub(crate) struct ManifestHeaders {
    pub(crate) media_type: HeaderValue,
    pub(crate) digest: HeaderValue,
    pub(crate) etag: HeaderValue,
}

/// How a manifest stands in the list of those that refer to its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Referrer {
    pub(crate) subject: Digest,
    pub(crate) listing: Listing,
}

/// An entry of a list of referrers: a descriptor in JSON, and what the list can be filtered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listing {
    pub(crate) artifact_type: Option<Box<str>>,
    pub(crate) descriptor: Box<str>,
}

impl Manifest {
    /// A manifest that the registry made itself.
    pub(crate) fn made(digest: Digest, media_type: &'static str, bytes: Bytes) -> Self {
        let referrer = Referrer::of(&digest, media_type, &bytes);
        Self::new(digest, HeaderValue::from_static(media_type), bytes, referrer, None)
    }

    /// One that was pushed, with the room it takes.
    pub(crate) fn pushed(
        digest: Digest,
        media_type: HeaderValue,
        bytes: Bytes,
        referrer: Option<Referrer>,
        room: Room,
    ) -> Self {
        Self::new(digest, media_type, bytes, referrer, Some(room))
    }

    fn new(
        digest: Digest,
        media_type: HeaderValue,
        bytes: Bytes,
        referrer: Option<Referrer>,
        room: Option<Room>,
    ) -> Self {
        let value = |text: String| HeaderValue::from_str(&text).expect("a digest is visible ASCII");
        let headers = ManifestHeaders {
            media_type,
            digest: value(digest.to_string()),
            etag: value(format!("\"{digest}\"")),
        };
        Self { digest, bytes, headers, referrer, _room: room }
    }

    /// Its media type, as it is answered with.
    pub(crate) fn media_type(&self) -> &str {
        self.headers.media_type.to_str().unwrap_or_default()
    }
}

/// What decides how a manifest is listed under its subject.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    subject: Option<Subject>,
    artifact_type: Option<String>,
    config: Option<Config>,
    annotations: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Subject {
    digest: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: Option<String>,
}

/// A descriptor in a list of referrers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: &'a Digest,
    size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<&'a Map<String, Value>>,
}

impl Referrer {
    /// The entry of a manifest with a subject; `None` for any other, and where it cannot be read.
    pub(crate) fn of(digest: &Digest, media_type: &str, bytes: &[u8]) -> Option<Self> {
        let referring: Referring = serde_json::from_slice(bytes).ok()?;
        let subject = referring.subject?.digest.parse().ok()?;
        // An image says what it is by its configuration, an index does not say it at all.
        let config_type = || referring.config.and_then(|config| config.media_type);
        let artifact_type = referring
            .artifact_type
            .filter(|given| !given.is_empty())
            .or_else(config_type)
            .map(String::into_boxed_str);
        let descriptor = serde_json::to_string(&Descriptor {
            media_type: media_type::essence(media_type),
            digest,
            size: bytes.len(),
            artifact_type: artifact_type.as_deref(),
            annotations: referring.annotations.as_ref(),
        });
        let descriptor = descriptor.expect("texts and JSON values always serialise").into_boxed_str();
        Some(Self { subject, listing: Listing { artifact_type, descriptor } })
    }

    /// Bytes it takes beside the manifest's own.
    pub(crate) fn weight(&self) -> u64 {
        self.listing.descriptor.len() as u64
    }
}

/// The tag under which clients keep the list of referrers where a registry has none: the algorithm, at most 32
/// characters of it, a dash, and at most 64 digits.
pub(crate) fn fallback_tag(subject: &Digest) -> String {
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm(), &hex[..64])
}

/// The entries of an index that lists referrers.
pub(crate) fn listed(index: &[u8]) -> Vec<(Digest, Listing)> {
    #[derive(Deserialize)]
    struct Index {
        #[serde(default)]
        manifests: Vec<Value>,
    }
    let index: Result<Index, _> = serde_json::from_slice(index);
    let descriptors = index.map(|index| index.manifests).unwrap_or_default();
    let entry = |descriptor: Value| {
        let text = |key: &str| descriptor.get(key).and_then(Value::as_str);
        let digest = text("digest")?.parse().ok()?;
        let artifact_type = text("artifactType").map(Box::from);
        Some((digest, Listing { artifact_type, descriptor: descriptor.to_string().into_boxed_str() }))
    };
    descriptors.into_iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn referrer(text: &str) -> Option<(String, Option<String>, Value)> {
        let referrer = Referrer::of(&Digest::of(b"self"), "x/y; charset=utf-8", text.as_bytes())?;
        let descriptor = serde_json::from_str(&referrer.listing.descriptor).unwrap();
        Some((referrer.subject.to_string(), referrer.listing.artifact_type.map(Into::into), descriptor))
    }

    #[test]
    fn the_artifact_type_is_its_own_else_that_of_the_config() {
        let subject = Digest::of(b"subject");
        let with = |rest: &str| format!(r#"{{"subject":{{"digest":"{subject}"}}{rest}}}"#);
        for (rest, artifact_type) in [
            (r#","artifactType":"a/b","config":{"mediaType":"c/d"}"#, Some("a/b")),
            (r#","artifactType":"","config":{"mediaType":"c/d"}"#, Some("c/d")),
            (r#","config":{"mediaType":"c/d"}"#, Some("c/d")),
            ("", None),
        ] {
            let (of, found, descriptor) = referrer(&with(rest)).unwrap();
            assert_eq!((of, found.as_deref()), (subject.to_string(), artifact_type), "{rest}");
            assert_eq!(descriptor["artifactType"].as_str(), artifact_type);
            assert_eq!(descriptor["mediaType"], "x/y");
            assert_eq!(descriptor["size"], with(rest).len());
            assert_eq!(descriptor.get("annotations"), None);
        }
        let (.., descriptor) = referrer(&with(r#","annotations":{"k":"v"}"#)).unwrap();
        assert_eq!(descriptor["annotations"]["k"], "v");
    }

    #[test]
    fn what_has_no_subject_refers_to_nothing() {
        for text in ["{}", "", "[]", r#"{"subject":{"digest":"sha256:0"}}"#, r#"{"subject":null}"#] {
            assert_eq!(referrer(text), None, "{text}");
        }
    }
}
