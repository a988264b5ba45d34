//! `/v2/NAME/manifests/REFERENCE`: manifests are given back exactly as they came, and taken only when everything
//! they name is there, in the size they say.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{Response, StatusCode};
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::{self, ManifestKind};
use mockreg_proto::reference::Reference;
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;

use super::conditional::{etag, not_modified};
use super::{CONTENT_DIGEST, value};
use crate::body::{Body, Reply};
use crate::call::Call;
use crate::problem::{Fault, Problem};
use crate::store::Manifest;

/// Largest manifest taken: twice the 4 MiB that the specification makes every registry accept.
const MAX_MANIFEST: usize = 8 << 20;

/// `GET` and `HEAD /v2/NAME/manifests/REFERENCE`
pub(super) async fn get(call: &Call) -> Result<Reply, Problem> {
    let reference = call.reference()?;
    let manifest = call.core.manifest(call.repository(), &reference).await?;
    if let Some(reply) = not_modified(&call.headers, &manifest.digest) {
        return Ok(reply);
    }
    let mut reply = Response::new(Body::whole(manifest.bytes.clone()));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, value(&manifest.media_type));
    headers.insert(CONTENT_DIGEST, value(manifest.digest.to_string()));
    headers.insert(ETAG, etag(&manifest.digest));
    Ok(reply)
}

/// `PUT /v2/NAME/manifests/REFERENCE`
pub(super) async fn put(call: &mut Call) -> Result<Reply, Problem> {
    let reference = call.reference()?;
    let bytes = body(call).await?;
    let digest = Digest::of(&bytes);
    if let Reference::Digest(wanted) = &reference
        && *wanted != digest
    {
        let detail = format!("the manifest's digest is {digest}, not {wanted}");
        return Err(Problem::new(Fault::DigestInvalid, detail));
    }
    let parsed = Parsed::read(call.header(&CONTENT_TYPE), &bytes)?;
    check_named(call, &parsed).await?;
    let room = call.core.workshop.budget.reserve(bytes.len() as u64);
    let room = room.map_err(|error| Problem::new(Fault::OverBudget, error.to_string()))?;
    let manifest = Manifest { digest, media_type: parsed.media_type, bytes, _room: Some(room) };
    call.core
        .store
        .put_manifest(call.repository(), &reference, manifest)
        .map_err(|error| Problem::new(Fault::TooManyEntries, error.to_string()))?;
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::CREATED;
    let location = format!("/v2/{}/manifests/{digest}", call.repository());
    reply.headers_mut().insert(LOCATION, value(location));
    reply.headers_mut().insert(CONTENT_DIGEST, value(digest.to_string()));
    Ok(reply)
}

/// The whole body, up to [`MAX_MANIFEST`].
async fn body(call: &mut Call) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Fault::ManifestTooLarge, format!("a manifest has at most {MAX_MANIFEST} bytes"));
    if call.announced().is_some_and(|length| length > MAX_MANIFEST as u64) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(piece) = call.next().await? {
        if bytes.len() + piece.len() > MAX_MANIFEST {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    // Copied, so that no spare capacity stays behind.
    Ok(Bytes::copy_from_slice(&bytes))
}

/// What a manifest names.
struct Parsed {
    /// Exactly as it is to be given back.
    media_type: String,
    blobs: Vec<Descriptor>,
    manifests: Vec<Descriptor>,
}

/// What decides how the rest is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Fault::ManifestInvalid, detail)
}

impl Parsed {
    /// Reads a manifest. Its type is the header's, else its own `mediaType`, else what it looks like.
    fn read(header: Option<&str>, bytes: &[u8]) -> Result<Self, Problem> {
        let outline: Outline = serde_json::from_slice(bytes)
            .map_err(|error| invalid(format!("not a JSON manifest: {error}")))?;
        let media_type = Self::media_type(header, &outline)?;
        let kind = ManifestKind::of(&media_type)
            .ok_or_else(|| invalid(format!("`{media_type}` is not the type of a manifest or index")))?;
        if kind != ManifestKind::Schema1 && outline.schema_version != Some(2) {
            return Err(invalid("schemaVersion must be 2"));
        }
        let malformed = |error: serde_json::Error| invalid(format!("not a {media_type}: {error}"));
        let (blobs, manifests) = match kind {
            ManifestKind::Schema1 => {
                return Err(invalid("Docker schema 1 is not taken; push the image as schema 2 or OCI"));
            }
            ManifestKind::Image => {
                let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(malformed)?;
                let local = manifest.layers().iter().filter(|layer| !is_foreign(layer)).cloned();
                (std::iter::once(manifest.config().clone()).chain(local).collect(), Vec::new())
            }
            ManifestKind::Index => {
                let index: ImageIndex = serde_json::from_slice(bytes).map_err(malformed)?;
                (Vec::new(), index.manifests().clone())
            }
        };
        Ok(Self { media_type, blobs, manifests })
    }

    fn media_type(header: Option<&str>, outline: &Outline) -> Result<String, Problem> {
        let given = header.map(str::trim).filter(|given| !given.is_empty());
        let own = outline.media_type.as_deref();
        match (given, own) {
            (Some(given), Some(own)) if media_type::essence(given) != own => {
                Err(invalid(format!("the Content-Type is `{given}`, but the manifest says `{own}`")))
            }
            (Some(given), _) => Ok(given.to_owned()),
            (None, Some(own)) => Ok(own.to_owned()),
            (None, None) if outline.manifests.is_some() => Ok(media_type::OCI_INDEX.to_owned()),
            (None, None) if outline.config.is_some() && outline.layers.is_some() => {
                Ok(media_type::OCI_MANIFEST.to_owned())
            }
            (None, None) => Err(invalid("neither the Content-Type nor the manifest says what it is")),
        }
    }
}

/// Whether a layer lives elsewhere by design, so that nobody has to push it.
fn is_foreign(layer: &Descriptor) -> bool {
    media_type::is_foreign_layer(layer.media_type().as_ref())
        || layer.urls().as_ref().is_some_and(|urls| !urls.is_empty())
}

/// Refuses a manifest that names what the repository does not have, or has in another size. Each refusal names
/// every descriptor that it is about.
async fn check_named(call: &Call, parsed: &Parsed) -> Result<(), Problem> {
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    let blobs = parsed.blobs.iter().map(|descriptor| ("blob", descriptor));
    let manifests = parsed.manifests.iter().map(|descriptor| ("manifest", descriptor));
    for (what, descriptor) in blobs.chain(manifests) {
        let (digest, declared) = (descriptor.digest(), descriptor.size());
        match stored_size(call, what, digest.as_ref()).await {
            None => missing.push(format!("{what} {digest}")),
            Some(stored) if stored != declared => differing.push(format!(
                "{what} {digest} has {stored} bytes, and its descriptor says {declared}; declare its true size"
            )),
            Some(_) => {}
        }
    }
    match (missing.is_empty(), differing.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Problem::all(Fault::ManifestInvalid, differing)),
        (false, _) => Err(Problem::all(Fault::ManifestBlobUnknown, missing)),
    }
}

/// Bytes of what the repository has under `digest`; `None` if it has not.
async fn stored_size(call: &Call, what: &str, digest: &str) -> Option<u64> {
    let digest = digest.parse().ok()?;
    if what == "blob" {
        return call.core.find_blob(call.repository(), &digest).await.map(|blob| blob.size());
    }
    let reference = Reference::Digest(digest);
    let manifest = call.core.find_manifest(call.repository(), &reference).await?;
    Some(manifest.bytes.len() as u64)
}
