//! `/v2/NAME/manifests/REFERENCE`: manifests are given back exactly as they came, and taken only when everything
//! they name is there, in the size they say.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, ETAG, HeaderName, LOCATION};
use http::{Response, StatusCode};
use mockreg_proto::digest::{Algorithm, Digest};
use mockreg_proto::media_type::ManifestKind;
use mockreg_proto::reference::{Reference, Tag};
use oci_spec::image::{Arch, ImageIndex, Os};

use super::conditional::not_modified;
use super::{CONTENT_DIGEST, accept, deleted, value};
use crate::body::{Body, Reply};
use crate::budget::{OverBudget, Room};
use crate::call::Call;
use crate::manifest::outline::Outline;
use crate::manifest::{Manifest, Referrer};
use crate::policy::Accept;
use crate::problem::{Fault, Problem};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// Most `tag` parameters of one push: the specification wants 10 at least.
const MAX_TAGS: usize = 64;

/// `GET` and `HEAD /v2/NAME/manifests/REFERENCE`
pub(super) async fn get(call: &Call) -> Result<Reply, Problem> {
    let reference = call.reference()?;
    let manifest = call.core.manifest(call.repository(), &reference).await?;
    let manifest = acceptable(call, &reference, manifest).await?;
    if let Some(reply) = not_modified(&call.headers, &manifest.digest) {
        return Ok(reply);
    }
    let mut reply = Response::new(Body::whole(manifest.bytes.clone()));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, manifest.headers.media_type.clone());
    headers.insert(CONTENT_DIGEST, manifest.headers.digest.clone());
    headers.insert(ETAG, manifest.headers.etag.clone());
    Ok(reply)
}

/// The manifest that the client is given, where it says in `Accept` what it can read and the policy heeds that.
async fn acceptable(
    call: &Call,
    reference: &Reference,
    mut manifest: Arc<Manifest>,
) -> Result<Arc<Manifest>, Problem> {
    let policy = &call.core.policy;
    let by_tag = matches!(reference, Reference::Tag(_));
    if policy.downgrade_lists
        && by_tag
        && !accept::names(&call.headers, manifest.media_type())
        && let Some(child) = for_usual_platform(&manifest)
        && let Some(found) = call.core.find_manifest(call.repository(), &Reference::Digest(child)).await?
    {
        manifest = found;
    }
    let fault = match policy.accept {
        Accept::Ignored => return Ok(manifest),
        Accept::NotFound => Fault::ManifestUnknown,
        Accept::NotAcceptable => Fault::NotAcceptable,
    };
    if accept::takes(&call.headers, manifest.media_type()) {
        return Ok(manifest);
    }
    let detail = format!("`{reference}` is a {}, which Accept does not name", manifest.media_type());
    Err(Problem::new(fault, detail))
}

/// The linux/amd64 manifest of a list; `None` if it is none, or has none.
fn for_usual_platform(list: &Manifest) -> Option<Digest> {
    if ManifestKind::of(list.media_type()) != Some(ManifestKind::Index) {
        return None;
    }
    let index: ImageIndex = serde_json::from_slice(&list.bytes).ok()?;
    let usual = index.manifests().iter().find(|descriptor| {
        let platform = descriptor.platform().as_ref();
        platform.is_some_and(|of| *of.os() == Os::Linux && *of.architecture() == Arch::Amd64)
    });
    usual?.digest().as_ref().parse().ok()
}

/// `DELETE /v2/NAME/manifests/REFERENCE`: a tag alone, or a manifest with all its tags.
pub(super) async fn delete(call: &Call) -> Result<Reply, Problem> {
    let reference = call.reference()?;
    let allowed = match reference {
        Reference::Tag(_) => call.core.policy.delete_tags,
        Reference::Digest(_) => call.core.policy.delete_manifests,
    };
    if !allowed {
        return Err(Problem::method("GET, HEAD, PUT"));
    }
    call.core.delete_manifest(call.repository(), &reference).await?;
    Ok(deleted())
}

/// `PUT /v2/NAME/manifests/REFERENCE`
pub(super) async fn put(call: &mut Call) -> Result<Reply, Problem> {
    let reference = call.reference()?;
    let tags = tags(call, &reference)?;
    let (bytes, mut room) = body(call).await?;
    let digest = promised(call, &reference, &bytes)?;
    let outline = Outline::read(call.header(&CONTENT_TYPE), &bytes, &call.core.policy)?;
    check_named(call, &outline).await?;
    let media_type = outline.media_type.to_str().unwrap_or_default();
    let referrer = Referrer::of(&digest, media_type, &bytes);
    let subject = referrer.as_ref().map(|referrer| referrer.subject);
    room.grow(referrer.as_ref().map_or(0, Referrer::weight)).map_err(no_room)?;
    let manifest = Manifest::pushed(digest, outline.media_type, bytes, referrer, room);
    let stored = call.core.store.put_manifest(call.repository(), manifest, &tags);
    stored.map_err(|error| Problem::new(Fault::TooManyEntries, error.to_string()))?;

    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::CREATED;
    let headers = reply.headers_mut();
    headers.insert(LOCATION, value(format!("/v2/{}/manifests/{digest}", call.repository())));
    headers.insert(CONTENT_DIGEST, value(digest.to_string()));
    if let Some(subject) = subject.filter(|_| call.core.policy.referrers) {
        headers.insert(SUBJECT, value(subject.to_string()));
    }
    if matches!(reference, Reference::Digest(_)) {
        for tag in &tags {
            headers.append(TAG, value(tag.as_str()));
        }
    }
    Ok(reply)
}

/// The tags that a push is to set: the one in the path, or those in the parameters of a push by digest.
fn tags(call: &Call, reference: &Reference) -> Result<Vec<Tag>, Problem> {
    if let Reference::Tag(tag) = reference {
        return Ok(vec![tag.clone()]);
    }
    let given = call.query.all("tag").filter(|_| call.core.policy.tag_parameters);
    if given.count() > MAX_TAGS {
        let detail = format!("one push sets at most {MAX_TAGS} tags; set the others in another one");
        return Err(Problem::new(Fault::TooManyTags, detail));
    }
    let given = call.query.all("tag").filter(|_| call.core.policy.tag_parameters);
    let tags: Result<Vec<Tag>, _> = given.map(str::parse).collect();
    tags.map_err(|error| Problem::new(Fault::TagInvalid, error.to_string()))
}

/// The digest of a manifest in the algorithm that the reference has.
fn promised(call: &Call, reference: &Reference, bytes: &[u8]) -> Result<Digest, Problem> {
    let Reference::Digest(wanted) = reference else { return Ok(Digest::of_with(Algorithm::Sha256, bytes)) };
    let found = Digest::of_with(wanted.algorithm(), bytes);
    if found != *wanted {
        let detail = format!("the manifest's digest is {found}, not {wanted}");
        if !call.core.policy.allow_wrong_digest {
            return Err(Problem::new(Fault::DigestInvalid, detail));
        }
        tracing::warn!(repository = call.repository(), detail, "let through");
    }
    Ok(*wanted)
}

/// The whole body, up to the largest manifest that is taken, and the room for it, which is taken as it comes: many
/// clients at once are held to the budget as well.
async fn body(call: &mut Call) -> Result<(Bytes, Room), Problem> {
    let limit = call.core.policy.manifest_limit.0;
    let too_large = || Problem::new(Fault::ManifestTooLarge, format!("a manifest has at most {limit} bytes"));
    if call.announced().is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut room = Room::none(&call.core.workshop.storage.budget);
    while let Some(piece) = call.next().await? {
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(too_large());
        }
        room.grow(piece.len() as u64).map_err(no_room)?;
        bytes.extend_from_slice(&piece);
    }
    // Copied, so that no spare capacity stays behind.
    Ok((Bytes::copy_from_slice(&bytes), room))
}

fn no_room(error: OverBudget) -> Problem {
    Problem::no_room(&error.into())
}

/// Refuses a manifest that names what the repository does not have, or has in another size. Each refusal names
/// every descriptor that it is about. A policy may let either through.
async fn check_named(call: &Call, outline: &Outline) -> Result<(), Problem> {
    let (mut missing, mut differing) = (Vec::new(), Vec::new());
    let blobs = outline.blobs.iter().map(|descriptor| ("blob", descriptor));
    let manifests = outline.manifests.iter().map(|descriptor| ("manifest", descriptor));
    for (what, descriptor) in blobs.chain(manifests) {
        let (digest, declared) = (descriptor.digest(), descriptor.size());
        match stored_size(call, what, digest.as_ref()).await? {
            None => missing.push(format!("{what} {digest}")),
            Some(stored) if stored != declared => differing.push(format!(
                "{what} {digest} has {stored} bytes, and its descriptor says {declared}; declare its true size"
            )),
            Some(_) => {}
        }
    }
    let policy = &call.core.policy;
    let repository = call.repository();
    if policy.allow_missing_content && !missing.is_empty() {
        tracing::warn!(repository, ?missing, "let through");
        missing.clear();
    }
    if policy.allow_wrong_length && !differing.is_empty() {
        tracing::warn!(repository, ?differing, "let through");
        differing.clear();
    }
    match (missing.is_empty(), differing.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Problem::all(Fault::ManifestInvalid, differing)),
        (false, _) => Err(Problem::all(Fault::ManifestBlobUnknown, missing)),
    }
}

/// Bytes of what the repository has under `digest`; `None` if it has not.
async fn stored_size(call: &Call, what: &str, digest: &str) -> Result<Option<u64>, Problem> {
    let Ok(digest) = digest.parse() else { return Ok(None) };
    if what == "blob" {
        let blob = call.core.find_blob(call.repository(), &digest).await?;
        return Ok(blob.map(|blob| blob.size()));
    }
    let manifest = call.core.find_manifest(call.repository(), &Reference::Digest(digest)).await?;
    Ok(manifest.map(|manifest| manifest.bytes.len() as u64))
}
