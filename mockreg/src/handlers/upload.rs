//! `/v2/NAME/blobs/uploads/`: opening, filling, asking, ending and cancelling uploads.
//!
//! What has arrived of a request that broke stays in the session, as the reference registry has it: the client asks
//! how far it came (`GET`) and goes on from there. A wrong digest ends the session, for its bytes are of no use.

use http::header::{CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE};
use http::{Response, StatusCode};
use mockreg_proto::content_range::ByteRange;
use mockreg_proto::digest::Digest;

use super::{CONTENT_DIGEST, UPLOAD_ID, value};
use crate::body::{Body, Reply};
use crate::call::{Call, parse_digest};
use crate::content::OverBudget;
use crate::problem::{Fault, Problem};
use crate::sink::{Finished, Sink};
use crate::upload::{Claim, Displaced, MAX_SESSIONS, Session};

/// `POST /v2/NAME/blobs/uploads/`: a session, a blob at once (`?digest=`), or one from another repository
/// (`?mount=`).
pub(super) async fn open(call: &mut Call) -> Result<Reply, Problem> {
    if call.query.first("digest").is_some() {
        return at_once(call).await;
    }
    if let Some(reply) = mount(call).await? {
        return Ok(reply);
    }
    let session = call.core.uploads.open(call.repository()).ok_or_else(|| {
        Problem::new(Fault::TooManyUploads, format!("{MAX_SESSIONS} uploads are open; end some or wait"))
    })?;
    Ok(with_place(StatusCode::ACCEPTED, &session, 0))
}

/// `POST ?digest=` with the whole blob.
async fn at_once(call: &mut Call) -> Result<Reply, Problem> {
    let digest = call.digest_parameter()?;
    let mut sink = Sink::new();
    while let Some(piece) = call.next().await? {
        let core = call.core.clone();
        sink.append(&piece, &core.workshop).await.map_err(over_budget)?;
    }
    let finished = sink.finish(&call.core.workshop).await.map_err(over_budget)?;
    store(call, finished, digest)
}

/// `POST ?mount=`: a link to a blob that `from`, or any repository, has. `None` if there is none: the client uploads
/// it then.
async fn mount(call: &Call) -> Result<Option<Reply>, Problem> {
    let Some(given) = call.query.first("mount") else { return Ok(None) };
    let digest = parse_digest(given)?;
    let found = match call.query.first("from") {
        Some(from) => call.core.find_blob(from, &digest).await,
        None => call.core.store.blob_anywhere(&digest),
    };
    let Some(content) = found else { return Ok(None) };
    let stored = call.core.store.put_blob(call.repository(), digest, content);
    stored.map_err(|error| Problem::new(Fault::TooManyEntries, error.to_string()))?;
    Ok(Some(created(call.repository(), &digest)))
}

/// `PATCH`: the next bytes, as a stream or as a chunk with its place.
pub(super) async fn patch(call: &mut Call) -> Result<Reply, Problem> {
    let session = session(call)?;
    let mut claim = claim(&session).await?;
    append(call, &session, &mut claim).await?;
    Ok(with_place(StatusCode::ACCEPTED, &session, claim.sink.len()))
}

/// `PUT ?digest=`: the last bytes, if any, and the end.
pub(super) async fn put(call: &mut Call) -> Result<Reply, Problem> {
    let session = session(call)?;
    let digest = call.digest_parameter()?;
    let mut claim = claim(&session).await?;
    append(call, &session, &mut claim).await?;
    let core = call.core.clone();
    let finished = claim.sink.finish(&core.workshop).await;
    // Whatever comes of it, the session's bytes are used up.
    core.uploads.close(&session);
    store(call, finished.map_err(over_budget)?, digest)
}

/// `GET`: how far the upload has come.
pub(super) fn status(call: &Call) -> Result<Reply, Problem> {
    let session = session(call)?;
    Ok(with_place(StatusCode::NO_CONTENT, &session, session.len()))
}

/// `DELETE`: the upload is given up.
pub(super) fn cancel(call: &Call) -> Result<Reply, Problem> {
    call.core.uploads.close(&*session(call)?);
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    Ok(reply)
}

fn session(call: &Call) -> Result<std::sync::Arc<Session>, Problem> {
    let id = &call.target.reference;
    call.core.uploads.find(call.repository(), id).ok_or_else(|| {
        Problem::new(Fault::UploadUnknown, format!("`{}` has no upload `{id}` open", call.repository()))
    })
}

async fn claim(session: &Session) -> Result<Claim<'_>, Problem> {
    session.claim().await.map_err(|Displaced| displaced(session))
}

/// Appends the body to the session.
async fn append(call: &mut Call, session: &Session, claim: &mut Claim<'_>) -> Result<(), Problem> {
    let mut left = expected(call, session, claim.sink.len())?;
    let core = call.core.clone();
    loop {
        let piece = tokio::select! {
            biased;
            () = claim.displaced() => return Err(displaced(session)),
            piece = call.next() => piece?,
        };
        let Some(mut piece) = piece else { break };
        let room = left.unwrap_or(u64::MAX);
        let excess = piece.len() as u64 > room;
        piece.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        left = left.map(|left| left - piece.len() as u64);
        let appended = claim.sink.append(&piece, &core.workshop).await;
        call.exchange.checked(claim.sink.check());
        claim.publish();
        if let Err(error) = appended {
            core.uploads.close(session);
            return Err(over_budget(error));
        }
        if excess {
            return Err(placed(
                session,
                claim.sink.len(),
                Fault::BodySize,
                "the body is longer than its Content-Range",
            ));
        }
    }
    match left {
        Some(1..) => Err(placed(
            session,
            claim.sink.len(),
            Fault::BodySize,
            "the body is shorter than its Content-Range",
        )),
        _ => Ok(()),
    }
}

/// How many bytes the request's `Content-Range` announces, if it has one.
///
/// # Errors
/// It is malformed, or does not begin where the session ends. The session stays as it is.
fn expected(call: &mut Call, session: &Session, len: u64) -> Result<Option<u64>, Problem> {
    let Some(header) = call.headers.get(CONTENT_RANGE) else { return Ok(None) };
    let refused = |detail: String| placed(session, len, Fault::UploadOutOfOrder, detail);
    let range: ByteRange = header
        .to_str()
        .map_err(|error| error.to_string())
        .and_then(|text| {
            text.parse().map_err(|error: mockreg_proto::content_range::RangeError| error.to_string())
        })
        .map_err(refused)?;
    call.exchange.ranged(Some(range));
    if range.first != len {
        return Err(refused(format!("the chunk begins at {}, but the upload has {len} bytes", range.first)));
    }
    match call.announced() {
        Some(length) if length != range.len() => Err(refused(format!(
            "the Content-Range has {} bytes, but the Content-Length is {length}",
            range.len()
        ))),
        _ => Ok(Some(range.len())),
    }
}

/// Stores a finished upload, if its digest is the one that was promised and there was room for it.
fn store(call: &mut Call, finished: Finished, wanted: Digest) -> Result<Reply, Problem> {
    call.exchange.checked(finished.check);
    if finished.digest != wanted {
        let detail = format!("the content's digest is {}, not {wanted}", finished.digest);
        return Err(Problem::new(Fault::DigestInvalid, detail));
    }
    let content = finished.content.map_err(over_budget)?;
    let stored = call.core.store.put_blob(call.repository(), wanted, content);
    stored.map_err(|error| Problem::new(Fault::TooManyEntries, error.to_string()))?;
    Ok(created(call.repository(), &wanted))
}

fn created(repository: &str, digest: &Digest) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::CREATED;
    reply.headers_mut().insert(LOCATION, value(format!("/v2/{repository}/blobs/{digest}")));
    reply.headers_mut().insert(CONTENT_DIGEST, value(digest.to_string()));
    reply
}

/// What tells a client where it is: the session's address, its id, and how far it has come.
fn place(session: &Session, len: u64) -> [(HeaderName, HeaderValue); 3] {
    let location = format!("/v2/{}/blobs/uploads/{}", session.repository, session.id);
    // There is no way to say "nothing": docker refuses a range that ends before it begins.
    let range = format!("0-{}", len.saturating_sub(1));
    [(LOCATION, value(location)), (RANGE, value(range)), (UPLOAD_ID, value(&session.id))]
}

fn with_place(status: StatusCode, session: &Session, len: u64) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply.headers_mut().extend(place(session, len));
    reply
}

fn placed(session: &Session, len: u64, fault: Fault, detail: impl Into<String>) -> Problem {
    let headers = place(session, len);
    headers.into_iter().fold(Problem::new(fault, detail), |problem, (name, value)| problem.with(name, value))
}

fn displaced(session: &Session) -> Problem {
    placed(
        session,
        session.len(),
        Fault::UploadDisplaced,
        "another request took this upload over, or ended it",
    )
}

fn over_budget(error: OverBudget) -> Problem {
    Problem::new(Fault::OverBudget, error.to_string())
}
