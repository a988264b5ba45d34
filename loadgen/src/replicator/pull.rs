//! The download side of a blob: an ordered stream of its bytes, hashed while it passes, that mends itself. After a
//! break it goes on where it was, by `Range` with `If-Range`; a registry that answers a range with the whole blob has
//! the known part skipped, one that answers with another range is not asked for ranges again.

use std::ops::ControlFlow;

use bytes::Bytes;
use http::header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE};
use http::{Method, StatusCode};
use mockreg_proto::content_range::ContentRange;
use mockreg_proto::digest::Digester;

use super::CopyError;
use super::manifest::Blob;
use super::retry::Retrier;
use crate::client::{Call, Client, Reason, Remote, Reply, RequestError, Slots};

/// A blob on its way from a registry. Calls of [`Pull::next`] return its bytes in order; they may be cancelled
/// between two frames without losing any.
#[derive(Debug)]
pub(crate) struct Pull {
    client: Client,
    remote: Remote,
    path: String,
    blob: Blob,
    verify: bool,
    /// Position of the next byte to return.
    offset: u64,
    /// A frame, or the rest of one, that has not been returned; it begins at `offset`.
    held: Bytes,
    stream: Option<Stream>,
    hash: Digester,
    /// How far the blob has been seen, and hashed. Never below `offset`.
    seen: u64,
    etag: Option<String>,
    /// The registry has shown that it cannot do ranges.
    whole_only: bool,
    retrier: Retrier,
}

/// An answer that is being read.
#[derive(Debug)]
struct Stream {
    reply: Reply,
    /// Bytes before `offset` that are still to come.
    skip: u64,
    /// Where the answer ends in the blob.
    end: u64,
}

/// Why there is no next frame.
#[derive(Debug)]
pub(crate) enum PullError {
    /// What has been returned so far is not the blob, or may not be: everything must start over. [`Pull::restart`]
    /// does, and bounds how often.
    Wrong(RequestError),
    /// The blob cannot be had.
    Failed(CopyError),
}

impl Pull {
    pub(crate) fn new(
        client: Client,
        remote: Remote,
        repository: &str,
        blob: Blob,
        verify: bool,
        retrier: Retrier,
    ) -> Self {
        Self {
            client,
            remote,
            path: format!("/v2/{repository}/blobs/{}", blob.digest),
            blob,
            verify,
            offset: 0,
            held: Bytes::new(),
            stream: None,
            hash: Digester::new(blob.digest.algorithm()),
            seen: 0,
            etag: None,
            whole_only: false,
            retrier,
        }
    }

    /// The next bytes, at least one and at most `limit`. Must not be called at the end. The last byte is not returned
    /// before the whole blob has been verified.
    pub(crate) async fn next(&mut self, slots: &Slots, limit: u64) -> Result<Bytes, PullError> {
        while self.held.is_empty() {
            match self.advance(slots).await {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(wrong)) => {
                    self.stream = None;
                    return Err(PullError::Wrong(wrong));
                }
                Err(cause) => {
                    self.stream = None;
                    self.retrier.failed(cause).await.map_err(PullError::Failed)?;
                }
            }
        }
        let count = usize::try_from(limit).unwrap_or(usize::MAX).min(self.held.len());
        self.offset += count as u64;
        Ok(self.held.split_to(count))
    }

    /// Goes back, or nowhere, to return the bytes from `offset` on. What was seen is not hashed again, unless it all
    /// comes again.
    pub(crate) fn seek(&mut self, offset: u64) {
        if offset == self.offset {
            return;
        }
        self.stream = None;
        self.held = Bytes::new();
        self.offset = offset;
        if offset == 0 {
            self.hash = Digester::new(self.blob.digest.algorithm());
            self.seen = 0;
        }
    }

    /// Starts over after wrong content, when the policy allows.
    pub(crate) async fn restart(&mut self, cause: RequestError) -> Result<(), CopyError> {
        self.stream = None;
        self.held = Bytes::new();
        self.offset = 0;
        self.hash = Digester::new(self.blob.digest.algorithm());
        self.seen = 0;
        self.etag = None;
        self.retrier.failed(cause).await
    }

    /// Reads on by one frame, opening a stream where there is none. Breaks on wrong content.
    async fn advance(&mut self, slots: &Slots) -> Result<ControlFlow<RequestError>, RequestError> {
        let Some(stream) = &mut self.stream else { return self.open(slots).await };
        let Some(mut frame) = stream.reply.frame().await? else {
            let end = stream.end;
            self.stream = None;
            // A registry may answer with less than was asked for, as long as it says so.
            let honest = self.offset == end && end < self.blob.size;
            let missing = RequestError::wrong(Reason::Eof, "the body ended before the blob did");
            return if honest { Ok(ControlFlow::Continue(())) } else { Err(missing) };
        };
        let skipped = stream.skip.min(frame.len() as u64);
        stream.skip -= skipped;
        frame = frame.split_off(skipped as usize);
        if self.offset + frame.len() as u64 > self.blob.size {
            let message = format!("the body is longer than the {} bytes of the blob", self.blob.size);
            return Err(RequestError::wrong(Reason::BadLength, message));
        }
        Ok(self.take(frame))
    }

    /// Keeps a frame that begins at `offset`, and hashes what of it is new.
    fn take(&mut self, frame: Bytes) -> ControlFlow<RequestError> {
        let end = self.offset + frame.len() as u64;
        if end > self.seen {
            let known = (self.seen - self.offset) as usize;
            if self.verify {
                self.hash.update(&frame[known..]);
            }
            self.seen = end;
            self.retrier.progress();
            if self.verify && end == self.blob.size {
                self.check()?;
            }
        }
        self.held = frame;
        ControlFlow::Continue(())
    }

    fn check(&self) -> ControlFlow<RequestError> {
        let found = self.hash.clone().finalize();
        if found == self.blob.digest {
            return ControlFlow::Continue(());
        }
        let message = format!("the blob's bytes are {found}, not {}", self.blob.digest);
        ControlFlow::Break(RequestError::wrong(Reason::DigestMismatch, message))
    }

    async fn open(&mut self, slots: &Slots) -> Result<ControlFlow<RequestError>, RequestError> {
        let ranged = self.offset > 0 && !self.whole_only;
        let mut call = Call::new(&self.remote, Method::GET, self.path.as_str());
        if ranged {
            call = call.header(RANGE, &format!("bytes={}-", self.offset));
            if let Some(etag) = &self.etag {
                call = call.header(IF_RANGE, etag);
            }
        }
        let reply = self.client.send(slots, &call).await?;
        match reply.status {
            StatusCode::PARTIAL_CONTENT if ranged => self.open_part(reply),
            StatusCode::OK => self.open_whole(reply),
            StatusCode::RANGE_NOT_SATISFIABLE if ranged => {
                // It has less than was seen already, or cannot read the header; the whole blob will show.
                self.whole_only = true;
                Err(reply.into_error().await)
            }
            _ => Err(reply.into_error().await),
        }
    }

    fn open_part(&mut self, reply: Reply) -> Result<ControlFlow<RequestError>, RequestError> {
        let said = reply.header(CONTENT_RANGE).unwrap_or("no Content-Range");
        let end = part_end(said, self.offset, self.blob.size);
        let unusable = match end {
            None => Some((Reason::BadRange, format!("asked for bytes {}-, got `{said}`", self.offset))),
            Some(_) if self.has_changed(&reply) => Some((Reason::Changed, "another ETag than before".into())),
            Some(_) => None,
        };
        if let Some((reason, message)) = unusable {
            self.whole_only = true;
            return Err(RequestError::wrong(reason, message));
        }
        let end = end.unwrap_or(self.blob.size);
        self.stream = Some(Stream { reply, skip: 0, end });
        Ok(ControlFlow::Continue(()))
    }

    fn open_whole(&mut self, reply: Reply) -> Result<ControlFlow<RequestError>, RequestError> {
        if let Some(length) = reply.content_length().filter(|length| *length != self.blob.size) {
            let message = format!("the registry's blob has {length} bytes, not {}", self.blob.size);
            return Err(RequestError::wrong(Reason::BadLength, message));
        }
        if self.offset > 0 && self.has_changed(&reply) {
            let message = "the blob has another ETag than the part of it that was read";
            return Ok(ControlFlow::Break(RequestError::wrong(Reason::Changed, message)));
        }
        // A weak ETag promises nothing about bytes, and If-Range must not hold one (RFC 9110 §13.1.5).
        self.etag = reply.header(ETAG).filter(|etag| !etag.starts_with("W/")).map(Into::into);
        self.stream = Some(Stream { reply, skip: self.offset, end: self.blob.size });
        Ok(ControlFlow::Continue(()))
    }

    fn has_changed(&self, reply: &Reply) -> bool {
        matches!((&self.etag, reply.header(ETAG)), (Some(before), Some(now)) if before != now)
    }
}

/// Where a part that must begin at `offset` of a blob of `size` bytes ends; `None` where it is another part.
fn part_end(content_range: &str, offset: u64, size: u64) -> Option<u64> {
    let ContentRange { range: Some(range), size: said } = content_range.parse().ok()? else { return None };
    let fits = range.first == offset && range.last < size && said.is_none_or(|said| said == size);
    fits.then_some(range.last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_that_was_asked_for_will_do() {
        for (content_range, end) in [
            ("bytes 100-199/200", Some(200)),
            ("bytes 100-149/200", Some(150)),
            ("bytes 100-199/*", Some(200)),
            ("bytes 0-199/200", None),
            ("bytes 101-199/200", None),
            ("bytes 100-200/201", None),
            ("bytes 100-199/300", None),
            ("bytes 100-200/*", None),
            ("bytes */200", None),
            ("100-199", None),
            ("no Content-Range", None),
        ] {
            assert_eq!(part_end(content_range, 100, 200), end, "{content_range}");
        }
    }
}
