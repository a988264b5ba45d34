//! Comparing what a tag names: the manifests byte for byte, then everything they name and what refers to them.

use std::collections::HashSet;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use mockreg_proto::digest::Digest;
use serde::Deserialize;

use super::remote::{Get, Remote, RemoteError};
use super::report::Side;
use super::work::{Pair, Work};

/// Most bytes of a manifest: twice what registries take.
const MAX_MANIFEST: usize = 16 << 20;
/// Indexes inside indexes, and referrers of referrers, are followed so deep.
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

/// The names of one manifest, at the source and at the destination. Only tags differ.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    pub(super) source: String,
    pub(super) destination: String,
}

impl Names {
    /// The same name on both sides.
    pub(super) fn same(name: String) -> Self {
        Self { source: name.clone(), destination: name }
    }
}

impl Work {
    /// Compares what a tag names, and what that names and is referred to by. What differs, nothing if all is equal;
    /// `None` if the destination has no such manifest.
    pub(super) async fn manifest(
        &self,
        pair: &Pair,
        tag: &Names,
    ) -> Result<Option<Vec<String>>, RemoteError> {
        let (mut details, mut met) = (Vec::new(), HashSet::new());
        let mut waiting = vec![(tag.clone(), 0)];
        while let Some((names, depth)) = waiting.pop() {
            let (here, there) = tokio::join!(
                self.served(&self.source, &pair.source, &names.source),
                self.served(&self.destination, &pair.destination, &names.destination)
            );
            self.noted(|report| report.manifests += 1);
            let below = match (here?, there?) {
                (Some(here), Some(there)) => {
                    self.both(pair, &names.source, &here, &there, &mut details).await?
                }
                (Some(_), None) if depth == 0 => return Ok(None),
                // An index may list what neither side holds.
                (None, None) if depth > 0 => Vec::new(),
                (here, _) => {
                    let side = if here.is_some() { Side::Destination } else { Side::Source };
                    details.push(format!("manifest {}: missing at the {side}", names.source));
                    Vec::new()
                }
            };
            let below: Vec<String> = below.into_iter().filter(|name| met.insert(name.clone())).collect();
            if depth < MAX_DEPTH {
                waiting.extend(below.into_iter().map(|name| (Names::same(name), depth + 1)));
            } else if !below.is_empty() {
                let note = format!("nothing further than {MAX_DEPTH} steps from a tag is compared");
                self.noted(|report| report.note(note));
            }
        }
        Ok(Some(details))
    }

    /// Compares a manifest that both sides have, and its referrers. Returns the manifests to go on with.
    async fn both(
        &self,
        pair: &Pair,
        reference: &str,
        here: &Served,
        there: &Served,
        details: &mut Vec<String>,
    ) -> Result<Vec<String>, RemoteError> {
        let asked = reference.parse::<Digest>().ok();
        let subject = asked.unwrap_or_else(|| Digest::of(&here.bytes));
        let lists = self.referrers(pair, subject).await?;
        details.extend(lists.details.iter().cloned());
        let Some(difference) = difference(reference, here, there) else {
            let mut below = self.contents(pair, reference, &here.bytes, details).await?;
            below.extend(lists.common.iter().cloned());
            return Ok(below);
        };
        details.push(difference);
        let other = Digest::of(&there.bytes);
        if asked.is_none() && other != subject {
            // The tag names another manifest there, to which others may refer.
            details.extend(self.referrers(pair, other).await?.details.iter().cloned());
        }
        Ok(Vec::new())
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
        let answer = remote.get(Get::new(&path, repository, ACCEPT)).await?;
        if answer.status == http::StatusCode::NOT_FOUND {
            answer.drained().await?;
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
