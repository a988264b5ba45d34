//! One line of a request journal: who asked for what, which attempt, how many bytes really moved, how it ended.
//! Retries, resumes, duplicate bytes and connection reuse are computed from these lines.

use serde::{Deserialize, Serialize};

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    Other,
}

/// Which check an upload's bytes went through before they were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// Compared with the synthetic stream, byte for byte.
    Compare,
    /// Hashed with SHA-256.
    Hash,
}

/// One request, written when it has ended. A gap in `seq` means lines were lost to the ring's bound.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Tag, digest or upload id, empty where there is none.
    pub reference: String,
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
