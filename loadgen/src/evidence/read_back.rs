//! One piece of a blob, read from a registry by `Range`.

use bytes::Bytes;
use http::header::{CONTENT_RANGE, RANGE};
use http::{Method, StatusCode};
use mockreg_proto::content_range::{ByteRange, ContentRange};

use crate::client::{Call, Client, Reason, Remote, RequestError};
use crate::replicator::{Blob, CopyError, Retrier};

/// What a registry answers to a request for a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// The piece.
    Bytes(Bytes),
    /// It cannot do ranges.
    Unsupported,
}

/// Reads bytes `range` of `blob`, with retries.
pub(super) async fn fetch_piece(
    client: &Client,
    remote: &Remote,
    repository: &str,
    blob: Blob,
    range: ByteRange,
    mut retrier: Retrier,
) -> Result<Piece, CopyError> {
    let path = format!("/v2/{repository}/blobs/{}", blob.digest);
    let call = Call::new(remote, Method::GET, path).header(RANGE, &format!("bytes={range}"));
    loop {
        match fetch_once(client, &call, blob, range).await {
            Ok(piece) => return Ok(piece),
            Err(cause) => retrier.failed(cause).await?,
        }
    }
}

async fn fetch_once(
    client: &Client,
    call: &Call<'_>,
    blob: Blob,
    range: ByteRange,
) -> Result<Piece, RequestError> {
    let reply = client.request(call).await?;
    match reply.status {
        StatusCode::PARTIAL_CONTENT => {}
        StatusCode::OK => return Ok(Piece::Unsupported),
        _ => return Err(reply.into_error().await),
    }
    let said: Option<ContentRange> = reply.header(CONTENT_RANGE).and_then(|text| text.parse().ok());
    let wanted = ContentRange { range: Some(range), size: Some(blob.size) };
    if said != Some(wanted) {
        let said = said.map_or_else(|| "no Content-Range".to_owned(), |said| said.to_string());
        return Err(RequestError::wrong(Reason::BadLength, format!("asked for `{wanted}`, got `{said}`")));
    }
    let bytes = reply.bytes(usize::try_from(range.len()).unwrap_or(usize::MAX)).await?;
    if bytes.len() as u64 != range.len() {
        return Err(RequestError::wrong(Reason::BadLength, format!("{} bytes of {range}", bytes.len())));
    }
    Ok(Piece::Bytes(bytes))
}
