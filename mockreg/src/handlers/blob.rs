//! `/v2/NAME/blobs/DIGEST`: whole, one range, or several as multipart/byteranges (RFC 9110 §14).

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, RANGE};
use http::{Method, Response, StatusCode};
use mockreg_proto::content_range::{ByteRange, ContentRange, RangeError, RangeRequest};
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::OCTET_STREAM;

use super::conditional::{etag, not_modified, range_applies};
use super::{CONTENT_DIGEST, deleted, value};
use crate::body::{Body, Reply};
use crate::call::Call;
use crate::content::Content;
use crate::problem::{Fault, Problem};

/// What part of a blob is to be sent.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    One(ByteRange),
    Several(Vec<ByteRange>),
}

/// `GET` and `HEAD /v2/NAME/blobs/DIGEST`
pub(super) async fn get(call: &mut Call) -> Result<Reply, Problem> {
    let digest = call.digest()?;
    let content = call.core.blob(call.repository(), &digest).await?;
    if let Some(reply) = not_modified(&call.headers, &digest) {
        return Ok(reply);
    }
    let part = match call.header(&RANGE) {
        Some(header) if call.method == Method::GET && range_applies(&call.headers, &digest) => {
            let request = RangeRequest::parse(header);
            let bounds = request
                .as_ref()
                .and_then(|request| request.as_ref().ok()?.resolve(content.size()).first().copied());
            let part = match part(request, content.size())? {
                Part::Several(_) if !call.core.policy.multipart_ranges => Part::Whole,
                part => part,
            };
            call.exchange.ranged(bounds);
            part
        }
        _ => Part::Whole,
    };
    let mut reply = send(&content, &digest, part);
    let headers = reply.headers_mut();
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CONTENT_DIGEST, value(digest.to_string()));
    headers.insert(ETAG, etag(&digest));
    // Content never changes under its digest.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=31536000, immutable"));
    Ok(reply)
}

/// `DELETE /v2/NAME/blobs/DIGEST`: the repository's link; other repositories keep theirs.
pub(super) async fn delete(call: &Call) -> Result<Reply, Problem> {
    if !call.core.policy.delete_blobs {
        return Err(Problem::method("GET, HEAD"));
    }
    call.core.delete_blob(call.repository(), &call.digest()?).await?;
    Ok(deleted())
}

/// What a `Range` header asks for of `size` bytes.
fn part(request: Option<Result<RangeRequest, RangeError>>, size: u64) -> Result<Part, Problem> {
    let outside = |problem: Problem| {
        let whole = ContentRange { range: None, size: Some(size) };
        problem.with(CONTENT_RANGE, value(whole.to_string()))
    };
    let ranges = match request {
        None => return Ok(Part::Whole),
        Some(Ok(request)) => request.resolve(size),
        Some(Err(error @ RangeError::TooMany(_))) => {
            return Err(Problem::new(Fault::TooManyRanges, error.to_string()));
        }
        Some(Err(error)) => return Err(outside(Problem::new(Fault::RangeMalformed, error.to_string()))),
    };
    match ranges.as_slice() {
        [] => Err(outside(Problem::new(Fault::RangeUnsatisfiable, format!("the blob has {size} bytes")))),
        [one] => Ok(Part::One(*one)),
        // Ranges that overlap so much ask for more than there is; the whole is shorter.
        several if several.iter().map(|range| u128::from(range.len())).sum::<u128>() > u128::from(size) => {
            Ok(Part::Whole)
        }
        _ => Ok(Part::Several(ranges)),
    }
}

fn send(content: &Content, digest: &Digest, part: Part) -> Reply {
    let size = content.size();
    let (status, content_type, content_range, body) = match part {
        Part::Whole => (StatusCode::OK, value(OCTET_STREAM), None, Body::pieces(size, content.read(0, size))),
        Part::One(range) => (
            StatusCode::PARTIAL_CONTENT,
            value(OCTET_STREAM),
            Some(ContentRange { range: Some(range), size: Some(size) }),
            Body::pieces(range.len(), content.read(range.first, range.len())),
        ),
        Part::Several(ranges) => {
            // Letters, digits and `-` only, as containers/image wants; content does not hold its own digest.
            let boundary = format!("part-{}", &digest.hex()[..32]);
            let content_type = value(format!("multipart/byteranges; boundary={boundary}"));
            (StatusCode::PARTIAL_CONTENT, content_type, None, multipart(content, ranges, &boundary))
        }
    };
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    if let Some(range) = content_range {
        reply.headers_mut().insert(CONTENT_RANGE, value(range.to_string()));
    }
    reply
}

/// Several ranges, each under a head of its own (RFC 9110 §14.6).
fn multipart(content: &Content, ranges: Vec<ByteRange>, boundary: &str) -> Body {
    let size = content.size();
    let heads: Vec<Bytes> = ranges
        .iter()
        .map(|range| {
            let range = ContentRange { range: Some(*range), size: Some(size) };
            let head =
                format!("\r\n--{boundary}\r\nContent-Type: {OCTET_STREAM}\r\nContent-Range: {range}\r\n\r\n");
            Bytes::from(head)
        })
        .collect();
    let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let framing = heads.iter().map(Bytes::len).sum::<usize>() + end.len();
    let total = framing as u64 + ranges.iter().map(ByteRange::len).sum::<u64>();
    let content = content.clone();
    let parts = heads.into_iter().zip(ranges);
    let pieces = parts
        .flat_map(move |(head, range)| std::iter::once(head).chain(content.read(range.first, range.len())));
    Body::pieces(total, pieces.chain(std::iter::once(end)))
}
