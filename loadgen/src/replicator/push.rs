//! The upload side of a blob: a session at the destination that is fed from a [`Pull`] in chunks, and closed with the
//! digest. After a break the destination is asked how far it got, and the pull goes back there; a session that is gone
//! is replaced by a new one.

use http::header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, StatusCode};
use mockreg_proto::content_range::ByteRange;

use super::CopyError;
use super::manifest::Blob;
use super::pull::{Pull, PullError};
use super::retry::Retrier;
use crate::client::{Call, Client, FeedError, Location, Reason, Remote, Reply, RequestError, Slots};

/// A blob on its way to a registry.
#[derive(Debug)]
pub(crate) struct Push {
    client: Client,
    remote: Remote,
    repository: String,
    blob: Blob,
    chunk: u64,
    session: Option<Location>,
    /// Bytes the registry has, as far as is known.
    committed: u64,
    /// The most it ever had, in any session: only more than that is progress.
    high_water: u64,
    /// Whether `committed` is what the registry said last, with nothing sent since.
    settled: bool,
    /// Whether the session was asked to close: then it may be gone because it succeeded.
    closing: bool,
    retrier: Retrier,
}

/// Why an attempt ended.
#[derive(Debug)]
pub(crate) enum PushError {
    /// The upload broke; another attempt goes on from there.
    Broken(RequestError),
    /// The content is wrong; both sides must start over.
    Wrong(RequestError),
    /// It cannot be done.
    Failed(CopyError),
}

impl From<RequestError> for PushError {
    fn from(cause: RequestError) -> Self {
        Self::Broken(cause)
    }
}

impl From<PullError> for PushError {
    fn from(error: PullError) -> Self {
        match error {
            PullError::Wrong(cause) => Self::Wrong(cause),
            PullError::Failed(error) => Self::Failed(error),
        }
    }
}

impl Push {
    pub(crate) fn new(
        client: Client,
        remote: Remote,
        repository: &str,
        blob: Blob,
        chunk: u64,
        retrier: Retrier,
    ) -> Self {
        Self {
            client,
            remote,
            repository: repository.to_owned(),
            blob,
            chunk: chunk.max(1),
            session: None,
            committed: 0,
            high_water: 0,
            settled: true,
            closing: false,
            retrier,
        }
    }

    /// Waits until another attempt may be made.
    pub(crate) async fn failed(&mut self, cause: RequestError) -> Result<(), CopyError> {
        self.retrier.failed(cause).await
    }

    /// One attempt: finds out where the upload stands, sends what is missing, closes it. Two slots are in use: one
    /// for the pull.
    pub(crate) async fn attempt(&mut self, slots: &Slots, pull: &mut Pull) -> Result<(), PushError> {
        if !self.settled && self.settle(slots).await? {
            return Ok(());
        }
        if self.session.is_none() {
            self.begin(slots).await?;
        }
        pull.seek(self.committed);
        while self.committed < self.blob.size {
            let (reply, whole) = self.send_chunk(slots, pull).await?;
            self.take_answer(reply, whole).await?;
        }
        self.close(slots).await
    }

    /// Gives the session up, telling the registry so once, without waiting for its consent.
    pub(crate) async fn abandon(&mut self, slots: &Slots) {
        if let Some(session) = self.session.take() {
            let call = Call::new(&self.remote, Method::DELETE, session.as_str());
            if let Ok(reply) = self.client.send(slots, &call).await {
                reply.discard().await;
            }
        }
        self.forget();
    }

    /// The registry says that it has `committed` bytes.
    fn stands_at(&mut self, committed: u64) {
        self.committed = committed;
        self.settled = true;
        if committed > self.high_water {
            self.high_water = committed;
            self.retrier.progress();
        }
    }

    fn forget(&mut self) {
        self.session = None;
        self.committed = 0;
        self.settled = true;
        self.closing = false;
    }

    /// Opens a session.
    async fn begin(&mut self, slots: &Slots) -> Result<(), PushError> {
        let path = format!("/v2/{}/blobs/uploads/", self.repository);
        let reply = self.client.send(slots, &Call::new(&self.remote, Method::POST, path.as_str())).await?;
        if !reply.status.is_success() {
            return Err(reply.into_error().await.into());
        }
        let location = self.location(&path, &reply)?;
        self.forget();
        self.session = Some(location.ok_or_else(|| protocol("an upload was opened without a Location"))?);
        reply.discard().await;
        Ok(())
    }

    /// Asks how far the session got. True if the blob turns out to be there already.
    async fn settle(&mut self, slots: &Slots) -> Result<bool, PushError> {
        let Some(session) = &self.session else { return Ok(false) };
        let path = session.as_str().to_owned();
        let reply = self.client.send(slots, &Call::new(&self.remote, Method::GET, path.as_str())).await?;
        if reply.status.is_success() {
            match committed(reply.header(RANGE), self.blob.size) {
                Some(committed) => {
                    self.session = self.location(&path, &reply)?.or(self.session.take());
                    self.stands_at(committed);
                }
                None => self.forget(),
            }
            reply.discard().await;
            return Ok(false);
        }
        let cause = reply.into_error().await;
        if !is_session_lost(&cause) {
            return Err(cause.into());
        }
        if self.closing && blob_exists(&self.client, &self.remote, &self.repository, self.blob, slots).await?
        {
            return Ok(true);
        }
        self.client.traffic().retried(Reason::SessionLost);
        self.forget();
        Ok(false)
    }

    /// Streams the next chunk. The answer, and whether it came after the whole chunk.
    async fn send_chunk(&mut self, slots: &Slots, pull: &mut Pull) -> Result<(Reply, bool), PushError> {
        let length = self.chunk.min(self.blob.size - self.committed);
        let range = ByteRange { first: self.committed, last: self.committed + length - 1 };
        let session = self.session.as_ref().ok_or_else(|| protocol("no session to send a chunk to"))?;
        let call = Call::new(&self.remote, Method::PATCH, session.as_str())
            .header(CONTENT_TYPE, mockreg_proto::media_type::OCTET_STREAM)
            .header(CONTENT_RANGE, &range.to_string());
        let mut upload = self.client.upload(slots, &call, length).await?;
        self.settled = false;
        let mut left = length;
        while left > 0 {
            let frame = tokio::select! {
                biased;
                ended = upload.ended() => return early(ended),
                frame = pull.next(slots, left) => frame?,
            };
            left -= frame.len() as u64;
            if let Err(ended) = upload.feed(frame).await {
                return early(ended);
            }
        }
        Ok((upload.finish().await?, true))
    }

    /// What the answer to a chunk says about where the upload stands.
    async fn take_answer(&mut self, reply: Reply, whole: bool) -> Result<(), PushError> {
        let path = self.session.as_ref().map_or("/", Location::as_str).to_owned();
        let expected = (self.committed + self.chunk).min(self.blob.size);
        let said = reply.header(RANGE).and_then(|range| committed(Some(range), self.blob.size));
        let accepted = reply.status.is_success();
        if (accepted && whole) || reply.status == StatusCode::RANGE_NOT_SATISFIABLE {
            self.session = self.location(&path, &reply)?.or(self.session.take());
            // A success without a Range is a success; a refusal without one says nothing about where to go on.
            if let Some(known) = said.or((accepted && whole).then_some(expected)) {
                self.stands_at(known);
            }
        }
        if !accepted {
            let cause = reply.into_error().await;
            if is_session_lost(&cause) {
                self.forget();
                return Err(RequestError::wrong(Reason::SessionLost, cause.to_string()).into());
            }
            return Err(cause.into());
        }
        reply.discard().await;
        if whole && self.committed == expected {
            return Ok(());
        }
        let message =
            format!("the registry has {} bytes after bytes up to {expected} were sent", self.committed);
        Err(RequestError::wrong(Reason::ShortCommit, message).into())
    }

    /// Closes the session with the digest.
    async fn close(&mut self, slots: &Slots) -> Result<(), PushError> {
        let session = self.session.as_ref().ok_or_else(|| protocol("no session to close"))?;
        let call = Call::new(&self.remote, Method::PUT, session.closing(&self.blob.digest));
        self.closing = true;
        self.settled = false;
        let reply = self.client.send(slots, &call).await?;
        if reply.status.is_success() {
            reply.discard().await;
            return Ok(());
        }
        let cause = reply.into_error().await;
        if cause.has_code("DIGEST_INVALID") {
            let message = format!("the destination received other bytes than it should have: {cause}");
            return Err(PushError::Wrong(RequestError::wrong(Reason::DigestMismatch, message)));
        }
        if is_session_lost(&cause) {
            if blob_exists(&self.client, &self.remote, &self.repository, self.blob, slots).await? {
                return Ok(());
            }
            self.forget();
            return Err(RequestError::wrong(Reason::SessionLost, cause.to_string()).into());
        }
        Err(cause.into())
    }

    fn location(&self, path: &str, reply: &Reply) -> Result<Option<Location>, RequestError> {
        let resolve = |location: &str| Location::resolve(&self.remote.endpoint, path, location);
        reply
            .header(LOCATION)
            .map(resolve)
            .transpose()
            .map_err(|error| RequestError::Protocol(error.to_string()))
    }
}

/// Whether a blob is at a registry with the right size. One attempt.
pub(crate) async fn blob_exists(
    client: &Client,
    remote: &Remote,
    repository: &str,
    blob: Blob,
    slots: &Slots,
) -> Result<bool, RequestError> {
    let path = format!("/v2/{repository}/blobs/{}", blob.digest);
    let reply = client.send(slots, &Call::new(remote, Method::HEAD, path)).await?;
    match reply.status {
        StatusCode::OK => Ok(reply.content_length().is_none_or(|length| length == blob.size)),
        StatusCode::NOT_FOUND => Ok(false),
        _ => Err(reply.into_error().await),
    }
}

fn early(ended: FeedError) -> Result<(Reply, bool), PushError> {
    match ended {
        FeedError::Answered(reply) => Ok((*reply, false)),
        FeedError::Broken(cause) => Err(cause.into()),
    }
}

/// Bytes a session of a blob of `size` bytes has, by its `Range: 0-<last>`; `None` where that cannot be, and where it
/// may be none or one: `0-0` is said of both.
fn committed(range: Option<&str>, size: u64) -> Option<u64> {
    let range: ByteRange = range?.parse().ok()?;
    let count = range.last.checked_add(1)?;
    let clear = count > 1 || size == 1;
    (range.first == 0 && count <= size && clear).then_some(count)
}

/// 404 and 410, and what some registries say with 400 of a session they no longer know.
fn is_session_lost(cause: &RequestError) -> bool {
    let gone = matches!(cause.status(), Some(StatusCode::NOT_FOUND | StatusCode::GONE));
    gone || cause.has_code("BLOB_UPLOAD_UNKNOWN") || cause.has_code("BLOB_UPLOAD_INVALID")
}

fn protocol(message: &str) -> RequestError {
    RequestError::Protocol(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stands_where_its_range_says() {
        for (range, size, wanted) in [
            (Some("0-99"), 200, Some(100)),
            (Some("0-199"), 200, Some(200)),
            (Some("0-200"), 200, None),
            (Some("0-0"), 200, None),
            (Some("5-99"), 200, None),
            (Some("99"), 200, None),
            (Some("bytes=0-99"), 200, None),
            (Some("0-18446744073709551615"), 200, None),
            (None, 200, None),
        ] {
            assert_eq!(committed(range, size), wanted, "{range:?}");
        }
    }
}
