//! Comparing what a reference names: the manifests byte for byte, then everything they name.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use mockreg_proto::digest::Digest;
use serde::Deserialize;

use super::remote::{Get, Remote, RemoteError};
use super::{Pair, Work};

/// Most bytes of a manifest: twice what registries take.
const MAX_MANIFEST: usize = 16 << 20;
/// Indexes inside indexes are followed so deep.
const MAX_DEPTH: usize = 4;
/// All types of manifests there are, the old one included, so that a registry never answers with another than it has.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v1+prettyjws, */*";

/// A manifest as one side serves it.
struct Served {
    media_type: String,
    bytes: Bytes,
}

/// The keys of a manifest or index that name content.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Outline {
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
    blobs: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    urls: Vec<String>,
}

impl Work {
    /// Compares what `reference` names. What differs, nothing if all is equal; `None` if the destination has no such
    /// manifest.
    pub(super) async fn manifest(
        &self,
        pair: &Pair,
        reference: &str,
    ) -> Result<Option<Vec<String>>, RemoteError> {
        let mut details = Vec::new();
        let mut waiting = vec![(reference.to_owned(), 0)];
        while let Some((reference, depth)) = waiting.pop() {
            let (here, there) = tokio::join!(
                self.served(&self.source, &pair.source, &reference),
                self.served(&self.destination, &pair.destination, &reference)
            );
            self.noted(|report| report.manifests += 1);
            match (here?, there?) {
                (Some(here), Some(there)) => match difference(&reference, &here, &there) {
                    Some(difference) => details.push(difference),
                    None => {
                        let children = self.contents(pair, &reference, &here.bytes, &mut details).await?;
                        waiting.extend(
                            children
                                .into_iter()
                                .filter(|_| depth < MAX_DEPTH)
                                .map(|child| (child, depth + 1)),
                        );
                    }
                },
                // An index may list what neither side holds.
                (None, None) if depth > 0 => {}
                (Some(_), None) if depth == 0 => return Ok(None),
                (Some(_), None) => details.push(format!("manifest {reference}: missing at the destination")),
                (None, _) => details.push(format!("manifest {reference}: missing at the source")),
            }
        }
        Ok(Some(details))
    }

    /// Compares the blobs that a manifest names, and returns the manifests it names.
    async fn contents(
        &self,
        pair: &Pair,
        reference: &str,
        bytes: &[u8],
        details: &mut Vec<String>,
    ) -> Result<Vec<String>, RemoteError> {
        let outline: Outline = match serde_json::from_slice(bytes) {
            Ok(outline) => outline,
            Err(error) => {
                details
                    .push(format!("manifest {reference}: the same on both sides, but not readable: {error}"));
                return Ok(Vec::new());
            }
        };
        let own = outline.config.iter().chain(&outline.layers).chain(&outline.blobs);
        for descriptor in own.filter(|descriptor| descriptor.urls.is_empty()) {
            match descriptor.digest.parse::<Digest>() {
                Ok(digest) => details.extend(self.blob(pair, digest).await?),
                Err(error) => details.push(format!("manifest {reference}: {error}")),
            }
        }
        let children = outline.manifests.into_iter().filter(|descriptor| descriptor.urls.is_empty());
        Ok(children.map(|descriptor| descriptor.digest).collect())
    }

    async fn served(
        &self,
        remote: &Remote,
        repository: &str,
        reference: &str,
    ) -> Result<Option<Served>, RemoteError> {
        let path = format!("/v2/{repository}/manifests/{reference}");
        let mut answer = remote.get(Get { path: &path, repository, accept: ACCEPT }).await?;
        if answer.status == http::StatusCode::NOT_FOUND {
            // Read, so that the connection serves again.
            while answer.next().await?.is_some() {}
            return Ok(None);
        }
        let media_type =
            answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = media_type.to_owned();
        let bytes = answer.whole(MAX_MANIFEST).await?;
        self.told(|progress| progress.bytes += bytes.len() as u64);
        Ok(Some(Served { media_type, bytes }))
    }
}

/// How two manifests differ, from each other or from the digest they were asked by.
fn difference(reference: &str, here: &Served, there: &Served) -> Option<String> {
    if here.bytes != there.bytes {
        let (here, there) = (Digest::of(&here.bytes), Digest::of(&there.bytes));
        return Some(format!("manifest {reference}: {here} at the source, {there} at the destination"));
    }
    if here.media_type != there.media_type {
        let (here, there) = (&here.media_type, &there.media_type);
        return Some(format!(
            "manifest {reference}: type `{here}` at the source, `{there}` at the destination"
        ));
    }
    let wanted: Digest = reference.parse().ok()?;
    let found = Digest::of_with(wanted.algorithm(), &here.bytes);
    (found != wanted).then(|| format!("manifest {reference}: both sides serve {found} under this digest"))
}
