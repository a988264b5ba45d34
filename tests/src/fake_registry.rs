//! What the stub server says when no rule speaks for it: a registry in memory with the few routes that a replicator
//! uses. It is a foil for faults, not a registry to test against: that one is mockreg.

use std::collections::BTreeMap;

use bytes::Bytes;
use mockreg_proto::content_range::{ByteRange, RangeRequest};
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_TAR, OCI_MANIFEST};

use crate::stub::{Answer, Request};

/// Repositories and their content.
#[derive(Clone, Debug, Default)]
pub struct FakeRegistry {
    blobs: BTreeMap<(String, Digest), Bytes>,
    /// By tag and by digest.
    manifests: BTreeMap<(String, String), (String, Bytes)>,
    uploads: BTreeMap<u64, Vec<u8>>,
    next_upload: u64,
    /// Whether locations are absolute URLs.
    pub absolute_locations: bool,
}

impl FakeRegistry {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an image of these layers and a configuration of its own. The digest of its manifest.
    pub fn add_image(&mut self, repository: &str, tag: &str, layers: &[Bytes]) -> Digest {
        let config = Bytes::from(format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"tag":"{tag}"}}}}}}"#
        ));
        let layers: Vec<String> =
            layers.iter().map(|layer| self.add_blob(repository, OCI_LAYER_TAR, layer.clone())).collect();
        let config = self.add_blob(repository, OCI_CONFIG, config);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        );
        self.add_manifest(repository, tag, OCI_MANIFEST, &manifest.into())
    }

    /// Adds an index of manifests that are there. The digest of the index.
    pub fn add_index(&mut self, repository: &str, tag: &str, children: &[Digest]) -> Digest {
        let entry = |child: &Digest| {
            let size = self.manifest(repository, &child.to_string()).map_or(0, |bytes| bytes.len());
            format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{child}","size":{size}}}"#)
        };
        let entries: Vec<String> = children.iter().map(entry).collect();
        let index =
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{}]}}"#, entries.join(","));
        self.add_manifest(repository, tag, OCI_INDEX, &index.into())
    }

    /// Adds a blob. Its descriptor.
    pub fn add_blob(&mut self, repository: &str, media_type: &str, content: Bytes) -> String {
        let digest = Digest::of(&content);
        let descriptor =
            format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}}}"#, content.len());
        self.blobs.insert((repository.to_owned(), digest), content);
        descriptor
    }

    /// Adds a manifest under a tag and its digest.
    pub fn add_manifest(&mut self, repository: &str, tag: &str, media_type: &str, bytes: &Bytes) -> Digest {
        let digest = Digest::of(bytes);
        for reference in [tag.to_owned(), digest.to_string()] {
            let entry = (media_type.to_owned(), bytes.clone());
            self.manifests.insert((repository.to_owned(), reference), entry);
        }
        digest
    }

    /// A manifest by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Bytes> {
        let key = (repository.to_owned(), reference.to_owned());
        self.manifests.get(&key).map(|(_, bytes)| bytes.clone())
    }

    /// A blob.
    pub fn blob(&self, repository: &str, digest: Digest) -> Option<Bytes> {
        self.blobs.get(&(repository.to_owned(), digest)).cloned()
    }

    /// The blobs of a repository, by digest.
    pub fn digests(&self, repository: &str) -> Vec<Digest> {
        self.blobs.keys().filter(|(name, _)| name == repository).map(|(_, digest)| *digest).collect()
    }

    /// Keeps other bytes under a digest than those it names.
    pub fn falsify_blob(&mut self, repository: &str, digest: Digest, content: Bytes) {
        self.blobs.insert((repository.to_owned(), digest), content);
    }

    /// Removes a blob.
    pub fn remove_blob(&mut self, repository: &str, digest: Digest) {
        self.blobs.remove(&(repository.to_owned(), digest));
    }

    /// Removes a manifest under one of its names.
    pub fn remove_manifest(&mut self, repository: &str, reference: &str) {
        self.manifests.remove(&(repository.to_owned(), reference.to_owned()));
    }

    /// Upload sessions that have not been closed.
    pub fn open_sessions(&self) -> usize {
        self.uploads.len()
    }

    pub(crate) fn lose_session(&mut self, path: &str) {
        let id = path.rsplit('/').next().and_then(|id| id.parse().ok());
        id.and_then(|id: u64| self.uploads.remove(&id));
    }

    pub(crate) fn lose_blobs(&mut self) {
        self.blobs.clear();
    }

    /// Answers a request whose body may be shorter than announced: then only what came counts.
    pub(crate) fn respond(&mut self, request: &Request) -> Answer {
        let Some(path) = request.path.strip_prefix("/v2/") else { return Answer::error(404, "UNSUPPORTED") };
        if let Some((repository, session)) = path.split_once("/blobs/uploads/") {
            return self.upload(repository, session, request);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            return self.serve_blob(repository, digest, request);
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            return match request.method.as_str() {
                "PUT" => self.put_manifest(repository, reference, request),
                _ => self.serve_manifest(repository, reference),
            };
        }
        match path.strip_suffix("/tags/list") {
            Some(repository) => self.tags(repository),
            None => Answer::error(404, "UNSUPPORTED"),
        }
    }

    fn tags(&self, repository: &str) -> Answer {
        let tags = self.manifests.keys().filter(|(name, tag)| name == repository && !tag.contains(':'));
        let tags: Vec<String> = tags.map(|(_, tag)| format!("{tag:?}")).collect();
        Answer::new(200).body(format!(r#"{{"name":"{repository}","tags":[{}]}}"#, tags.join(",")))
    }

    fn serve_manifest(&self, repository: &str, reference: &str) -> Answer {
        match self.manifests.get(&(repository.to_owned(), reference.to_owned())) {
            Some((media_type, bytes)) => Answer::new(200)
                .header("content-type", media_type.as_str())
                .header("docker-content-digest", Digest::of(bytes).to_string())
                .body(bytes.clone()),
            None => Answer::error(404, "MANIFEST_UNKNOWN"),
        }
    }

    fn put_manifest(&mut self, repository: &str, reference: &str, request: &Request) -> Answer {
        let text = String::from_utf8_lossy(&request.body);
        let named = text.split('"').filter_map(|piece| piece.parse::<Digest>().ok());
        let missing = named.into_iter().find(|digest| {
            self.blob(repository, *digest).is_none()
                && self.manifest(repository, &digest.to_string()).is_none()
        });
        if missing.is_some() {
            return Answer::error(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let media_type = request.header("content-type").unwrap_or_default().to_owned();
        self.add_manifest(repository, reference, &media_type, &request.body.clone().into());
        Answer::new(201)
    }

    fn serve_blob(&self, repository: &str, digest: &str, request: &Request) -> Answer {
        let content = digest.parse().ok().and_then(|digest| self.blob(repository, digest));
        let Some(content) = content else { return Answer::error(404, "BLOB_UNKNOWN") };
        let size = content.len() as u64;
        let etag = format!("\"{digest}\"");
        let answer = Answer::new(200).header("etag", etag.as_str()).header("accept-ranges", "bytes");
        let fresh = request.header("if-range").is_none_or(|wanted| wanted == etag);
        let range = request.header("range").filter(|_| fresh && request.method == "GET");
        let Some(Ok(wanted)) = range.and_then(RangeRequest::parse) else { return answer.body(content) };
        match wanted.resolve(size).first() {
            Some(range) => Answer { status: 206, ..answer }
                .header("content-range", format!("bytes {range}/{size}"))
                .body(content.slice(range.first as usize..=range.last as usize)),
            None => Answer::error(416, "SIZE_INVALID").header("content-range", format!("bytes */{size}")),
        }
    }

    fn upload(&mut self, repository: &str, session: &str, request: &Request) -> Answer {
        if request.method == "POST" {
            self.next_upload += 1;
            self.uploads.insert(self.next_upload, Vec::new());
            return self.standing(202, repository, self.next_upload, request);
        }
        let id: u64 = session.parse().unwrap_or(0);
        let Some(held) = self.uploads.get_mut(&id) else { return Answer::error(404, "BLOB_UPLOAD_UNKNOWN") };
        match request.method.as_str() {
            "PATCH" => {
                let range: Option<ByteRange> =
                    request.header("content-range").and_then(|text| text.parse().ok());
                if range.is_some_and(|range| range.first != held.len() as u64) {
                    return self.standing(416, repository, id, request);
                }
                held.extend_from_slice(&request.body);
                self.standing(202, repository, id, request)
            }
            "GET" => self.standing(204, repository, id, request),
            "DELETE" => {
                self.uploads.remove(&id);
                Answer::new(204)
            }
            _ => self.close(repository, id, request),
        }
    }

    fn close(&mut self, repository: &str, id: u64, request: &Request) -> Answer {
        let digest = request.query.rsplit_once("digest=").and_then(|(_, text)| text.parse().ok());
        let held = self.uploads.remove(&id).unwrap_or_default();
        match digest {
            Some(digest) if Digest::of(&held) == digest => {
                self.blobs.insert((repository.to_owned(), digest), held.into());
                Answer::new(201)
            }
            _ => Answer::error(400, "DIGEST_INVALID"),
        }
    }

    /// Where a session stands: its location and how much it has.
    fn standing(&self, status: u16, repository: &str, id: u64, request: &Request) -> Answer {
        let held = self.uploads.get(&id).map_or(0, Vec::len);
        let host = request.header("host").unwrap_or_default();
        let base = if self.absolute_locations { format!("http://{host}") } else { String::new() };
        Answer::new(status)
            .header("location", format!("{base}/v2/{repository}/blobs/uploads/{id}?_state=s"))
            .header("range", format!("0-{}", held.saturating_sub(1)))
    }
}
