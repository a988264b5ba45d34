//! Manifests: fetched and verified, looked for, committed, and read as far as a copy needs.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{Method, StatusCode};
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::{
    DOCKER_LIST, DOCKER_MANIFEST, ManifestKind, OCI_INDEX, OCI_MANIFEST, essence, is_foreign_layer,
};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::CopyError;
use super::retry::Retrier;
use crate::client::{Call, Client, Reason, Remote, RequestError};

/// A manifest as it came: the exact bytes are what its digest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The document.
    pub bytes: Bytes,
    /// Its media type, without parameters.
    pub media_type: String,
    /// SHA-256 of the document.
    pub digest: Digest,
}

/// A configuration or a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob {
    /// What names it.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// What a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Configuration and layers, each digest once, without layers that live elsewhere by design.
    Image(Vec<Blob>),
    /// Manifests, each digest once.
    Index(Vec<Digest>),
}

impl Manifest {
    /// What it refers to.
    ///
    /// # Errors
    /// In words, why it cannot be copied: no JSON, another kind of document, a digest other than SHA-256.
    pub fn contents(&self) -> Result<Contents, String> {
        let unreadable = |error| format!("not a readable {}: {error}", self.media_type);
        match ManifestKind::of(&self.media_type) {
            Some(ManifestKind::Image) => {
                let image = ImageManifest::from_reader(self.bytes.as_ref()).map_err(unreadable)?;
                let layers = image.layers().iter().filter(|layer| !lives_elsewhere(layer));
                let blobs: Result<BTreeSet<Blob>, String> =
                    std::iter::once(image.config()).chain(layers).map(blob).collect();
                Ok(Contents::Image(blobs?.into_iter().collect()))
            }
            Some(ManifestKind::Index) => {
                let index = ImageIndex::from_reader(self.bytes.as_ref()).map_err(unreadable)?;
                let children: Result<BTreeSet<Digest>, String> =
                    index.manifests().iter().map(|child| Ok(blob(child)?.digest)).collect();
                Ok(Contents::Index(children?.into_iter().collect()))
            }
            Some(ManifestKind::Schema1) => {
                Err("a Docker schema 1 manifest, whose digest is not that of its bytes, cannot be copied"
                    .into())
            }
            None => Err(format!("`{}` is the media type of no image", self.media_type)),
        }
    }
}

fn lives_elsewhere(layer: &Descriptor) -> bool {
    is_foreign_layer(layer.media_type().as_ref())
}

fn blob(descriptor: &Descriptor) -> Result<Blob, String> {
    let digest = descriptor.digest().to_string().parse().map_err(|error| format!("{error}"))?;
    Ok(Blob { digest, size: descriptor.size() })
}

/// Fetches a manifest by tag or digest, with retries.
pub(crate) async fn fetch(
    client: &Client,
    remote: &Remote,
    repository: &str,
    reference: &str,
    retrier: &mut Retrier,
) -> Result<Manifest, CopyError> {
    loop {
        match fetch_once(client, remote, repository, reference).await {
            Ok(manifest) => return Ok(manifest),
            Err(cause) => retrier.failed(cause).await?,
        }
    }
}

async fn fetch_once(
    client: &Client,
    remote: &Remote,
    repository: &str,
    reference: &str,
) -> Result<Manifest, RequestError> {
    let call =
        Call::new(remote, Method::GET, path(repository, reference)).header(ACCEPT, &ACCEPTED.join(", "));
    let reply = client.request(&call).await?;
    if reply.status != StatusCode::OK {
        return Err(reply.into_error().await);
    }
    let said = reply.header(CONTENT_TYPE).map(|value| essence(value).to_owned());
    let promised = [reply.header(DOCKER_CONTENT_DIGEST), Some(reference)];
    let promised: Vec<Digest> = promised.into_iter().flatten().filter_map(|text| text.parse().ok()).collect();
    let bytes = reply.bytes(MANIFEST_LIMIT).await?;
    for promise in &promised {
        let found = Digest::of_with(promise.algorithm(), &bytes);
        if found != *promise {
            let message = format!("the manifest's bytes are {found}, not {promise}");
            return Err(RequestError::wrong(Reason::DigestMismatch, message));
        }
    }
    // What was asked for stands last, and a tag has the digest that its registry says.
    let digest = promised.last().copied().unwrap_or_else(|| Digest::of(&bytes));
    Ok(Manifest { media_type: media_type(said, &bytes), bytes, digest })
}

/// The media type a registry gave, or where that names no manifest, the one inside the document.
fn media_type(said: Option<String>, bytes: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: String,
    }
    let known = said.clone().filter(|said| ManifestKind::of(said).is_some());
    let inside = || serde_json::from_slice(bytes).ok().map(|typed: Typed| typed.media_type);
    known.or_else(inside).or(said).unwrap_or_default()
}

/// The digest of a manifest that is there; `None` if it is not, or the registry does not say its digest.
pub(crate) async fn look(
    client: &Client,
    remote: &Remote,
    repository: &str,
    reference: &str,
    retrier: &mut Retrier,
) -> Result<Option<Digest>, CopyError> {
    let call =
        Call::new(remote, Method::HEAD, path(repository, reference)).header(ACCEPT, &ACCEPTED.join(", "));
    loop {
        let cause = match client.request(&call).await {
            Ok(reply) if reply.status == StatusCode::OK => {
                return Ok(reply.header(DOCKER_CONTENT_DIGEST).and_then(|text| text.parse().ok()));
            }
            Ok(reply) if reply.status == StatusCode::NOT_FOUND => return Ok(None),
            Ok(reply) => reply.into_error().await,
            Err(cause) => cause,
        };
        retrier.failed(cause).await?;
    }
}

/// How committing a manifest ended.
#[derive(Debug)]
pub(crate) enum Put {
    /// It is there.
    Committed,
    /// The registry misses blobs, or manifests, that the manifest names.
    BlobsMissing(RequestError),
}

/// Commits a manifest under a tag or its digest, with retries: doing it twice is doing it once.
pub(crate) async fn put(
    client: &Client,
    remote: &Remote,
    repository: &str,
    reference: &str,
    manifest: &Manifest,
    retrier: &mut Retrier,
) -> Result<Put, CopyError> {
    let call = Call::new(remote, Method::PUT, path(repository, reference))
        .header(CONTENT_TYPE, &manifest.media_type)
        .body(manifest.bytes.clone());
    loop {
        let cause = match client.request(&call).await {
            Ok(reply) if reply.status.is_success() => {
                reply.discard().await;
                return Ok(Put::Committed);
            }
            Ok(reply) => reply.into_error().await,
            Err(cause) => cause,
        };
        if cause.has_code("MANIFEST_BLOB_UNKNOWN") || cause.has_code("BLOB_UNKNOWN") {
            return Ok(Put::BlobsMissing(cause));
        }
        retrier.failed(cause).await?;
    }
}

fn path(repository: &str, reference: &str) -> String {
    format!("/v2/{repository}/manifests/{reference}")
}

/// Not among the standard header names.
const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// What a registry may answer with; without these, old ones convert to schema 1.
const ACCEPTED: [&str; 4] = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST];
/// The distribution specification asks registries for at least 4 MiB, and none examined takes more than 8.
const MANIFEST_LIMIT: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(media_type: &str, text: &str) -> Manifest {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        Manifest { digest: Digest::of(&bytes), bytes, media_type: media_type.into() }
    }

    fn descriptor(media_type: &str, content: &str) -> String {
        format!(
            r#"{{"mediaType":"{media_type}","size":{},"digest":"{}"}}"#,
            content.len(),
            Digest::of(content.as_bytes())
        )
    }

    fn image(layers: &[String]) -> String {
        let config = descriptor("application/vnd.oci.image.config.v1+json", "config");
        format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","))
    }

    #[test]
    fn an_image_is_its_configuration_and_layers_each_once() {
        let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", "layer");
        let foreign = descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "elsewhere");
        for media_type in [OCI_MANIFEST, DOCKER_MANIFEST] {
            let contents =
                manifest(media_type, &image(&[layer.clone(), layer.clone(), foreign.clone()])).contents();
            let Ok(Contents::Image(blobs)) = contents else { panic!("{contents:?}") };
            let mut wanted = [("config", 6), ("layer", 5)]
                .map(|(content, size)| Blob { digest: Digest::of(content.as_bytes()), size });
            wanted.sort();
            assert_eq!(blobs, wanted);
        }
    }

    #[test]
    fn an_index_is_its_manifests() {
        let child = descriptor(OCI_MANIFEST, "child");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{child},{child}]}}"#);
        assert_eq!(manifest(OCI_INDEX, &text).contents(), Ok(Contents::Index(vec![Digest::of(b"child")])));
    }

    #[test]
    fn what_cannot_be_copied_says_why() {
        for (media_type, text, wanted) in [
            (OCI_MANIFEST, "{", "not a readable"),
            (OCI_MANIFEST, r#"{"schemaVersion":2}"#, "not a readable"),
            ("application/vnd.docker.distribution.manifest.v1+prettyjws", "{}", "schema 1"),
            ("text/html", "<html>", "`text/html` is the media type of no image"),
        ] {
            let error = manifest(media_type, text).contents().unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        let unknown = image(&[]).replace("sha256", "sha384");
        assert!(manifest(OCI_MANIFEST, &unknown).contents().is_err());
    }

    #[test]
    fn the_type_inside_serves_where_the_header_does_not() {
        let inside = br#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#;
        let typed = |said: Option<&str>, bytes: &[u8]| media_type(said.map(Into::into), bytes);
        assert_eq!(typed(Some(OCI_MANIFEST), inside), OCI_MANIFEST);
        assert_eq!(typed(Some("application/json"), inside), OCI_INDEX);
        assert_eq!(typed(None, inside), OCI_INDEX);
        assert_eq!(typed(Some("application/json"), b"{}"), "application/json");
        assert_eq!(typed(None, b"<html>"), "");
    }
}
