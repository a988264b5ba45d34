//! One line of a request journal: who asked for what, which attempt, how many bytes really moved, how it ended.
//! Retries, resumes, duplicate bytes and connection reuse are computed from these lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a request was about.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `/v2/`
    Base,
    /// A manifest by tag or digest.
    Manifest,
    /// A blob by digest.
    Blob,
    /// An upload session.
    Upload,
    /// A list of tags.
    Tags,
    /// The list of repositories.
    Catalog,
    /// The token service.
    Token,
    /// A list of the manifests that refer to another.
    Referrers,
    /// Anything else.
    #[default]
    Other,
}

/// Which check an upload's bytes went through before they were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Compared with the synthetic stream, byte for byte.
    Compare,
    /// Hashed with SHA-256.
    Hash,
}

/// A line of a journal as it is read over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Entry {
    /// Lines stood here that are there no more: the ring's bound pushed them out, or somebody cleared them.
    Gap {
        /// Which.
        gap: Gap,
    },
    /// A request.
    Record(Box<Record>),
}

/// Lines that a journal has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Number of the last line before the gap.
    pub after: u64,
    /// Lines that are missing.
    pub missing: u64,
}

/// One request, written when it has ended. A gap in `seq` means lines were lost; see [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Consecutive number of the line, from 1.
    pub seq: u64,
    /// Milliseconds from the start of the server to the request's arrival.
    pub t_ms: u64,
    /// The run that was announced by the last reset, if any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub run_id: Option<String>,
    /// Label of this server: `source`, `dest`.
    pub side: String,
    /// Ordinal of the connection, from 1.
    pub conn: u64,
    /// Ordinal of the request on its connection, from 1.
    pub req: u64,
    /// HTTP method.
    pub method: String,
    /// What the request was about.
    pub kind: Kind,
    /// Repository, empty where there is none.
    pub repository: String,
    /// Tag, digest or upload id, empty where there is none. The request that opens an upload has the id it got.
    pub reference: String,
    /// Digest of the blob or manifest that the request put into the repository, if it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schemars(with = "Option<String>")]
    pub stored: Option<Digest>,
    /// First and last byte asked for (GET) or announced (`Content-Range` of an upload).
    pub range: Option<[u64; 2]>,
    /// Which request of this identity (method, kind, repository, reference) it is, from 1.
    pub attempt: u32,
    /// HTTP status of the answer; 0 where none was sent.
    pub status: u16,
    /// Body bytes received.
    pub bytes_in: u64,
    /// Body bytes handed to the socket.
    pub bytes_out: u64,
    /// Milliseconds from arrival to the answer's head.
    pub first_byte_ms: u64,
    /// Milliseconds from arrival to the end.
    pub total_ms: u64,
    /// Which check an upload went through, where it was one.
    pub check: Option<Check>,
    /// `complete`, `client_closed`, `fault:RULE` or `error:KIND`.
    pub end: String,
}

/// What one line means.
impl Record {
    /// Whether the client got, or the registry took, everything.
    pub fn is_complete(&self) -> bool {
        self.end == "complete"
    }

    /// Whether it was answered with success, to the end.
    pub fn is_served(&self) -> bool {
        self.is_complete() && (200..300).contains(&self.status)
    }

    /// Whether it moves content that a client needs once. A HEAD is a question that may well be asked again.
    pub fn is_fetch(&self) -> bool {
        matches!((self.kind, self.method.as_str()), (Kind::Blob, "GET") | (Kind::Manifest, "GET" | "PUT"))
    }

    /// Whether it asks an upload session how far it has come, as a client does after a break.
    pub fn asks_a_session(&self) -> bool {
        self.kind == Kind::Upload && self.method == "GET"
    }

    /// Whether it takes up a transfer where it broke: a download past the first byte, an upload that was asked where
    /// it stands and knew.
    pub fn is_resumed(&self) -> bool {
        match (self.kind, self.method.as_str()) {
            (Kind::Blob, "GET") => self.range.is_some_and(|[first, _]| first > 0),
            (Kind::Upload, "GET") => self.status == 204,
            _ => false,
        }
    }

    /// Whether it opened an upload session.
    pub fn begins_session(&self) -> bool {
        self.kind == Kind::Upload && self.method == "POST" && self.status == 202
    }

    /// Whether it ended an upload with a stored blob, or mounted one.
    pub fn commits_blob(&self) -> bool {
        self.kind == Kind::Upload && matches!(self.method.as_str(), "PUT" | "POST") && self.status == 201
    }

    /// Whether it linked a blob that another repository has: no byte was checked, for none came.
    pub fn is_mount(&self) -> bool {
        self.commits_blob() && self.method == "POST" && self.check.is_none()
    }

    /// Which bytes of its blob a download sent, first and one past the last. `None` for anything else, for nothing
    /// sent, and for several ranges in one answer, which stand between heads of their own.
    pub fn sent_bytes(&self) -> Option<(u64, u64)> {
        let is_download = self.kind == Kind::Blob && self.method == "GET" && self.bytes_out > 0;
        match (self.status, self.range) {
            (200, _) if is_download => Some((0, self.bytes_out)),
            (206, Some([first, last]))
                if is_download && self.bytes_out <= last.saturating_sub(first).saturating_add(1) =>
            {
                Some((first, first.saturating_add(self.bytes_out)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn download(status: u16, range: Option<[u64; 2]>, bytes_out: u64) -> Record {
        let line = serde_json::json!({
            "seq": 1, "t_ms": 0, "side": "s", "conn": 1, "req": 1, "method": "GET", "kind": "blob", "repository": "a",
            "reference": "x", "range": range, "attempt": 1, "status": status, "bytes_in": 0, "bytes_out": bytes_out,
            "first_byte_ms": 0, "total_ms": 0, "check": null, "end": "complete",
        });
        serde_json::from_value(line).unwrap()
    }

    #[test]
    fn the_bytes_of_a_download_are_known_unless_it_has_several_parts() {
        assert_eq!(download(200, None, 10).sent_bytes(), Some((0, 10)));
        assert_eq!(download(206, Some([5, 9]), 3).sent_bytes(), Some((5, 8)));
        assert_eq!(download(206, Some([5, 9]), 300).sent_bytes(), None, "several parts");
        assert_eq!(download(404, None, 30).sent_bytes(), None);
        assert_eq!(download(200, None, 0).sent_bytes(), None);
    }
}
