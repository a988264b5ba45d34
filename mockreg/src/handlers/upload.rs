//! `/v2/NAME/blobs/uploads/`: opening, filling, asking, ending and cancelling uploads.
//!
//! What has arrived of a request that broke stays in the session, as the reference registry has it: the client asks
//! how far it came (`GET`) and goes on from there. A wrong digest ends the session, for its bytes are of no use.

use http::header::{CONTENT_RANGE, HeaderName, HeaderValue, LOCATION, RANGE};
use http::{Response, StatusCode};
use mockreg_proto::content_range::{ByteRange, RangeError};
use mockreg_proto::digest::{Algorithm, Digest};

use super::{CONTENT_DIGEST, UPLOAD_ID, value};
use crate::auth::Action;
use crate::body::{Body, Reply};
use crate::call::{Call, parse_digest};
use crate::content::{Content, NoRoom};
use crate::problem::{Fault, Problem};
use crate::sink::{Finished, Sink};
use crate::upload::{Claim, Displaced, MAX_SESSIONS, Session};

const CHUNK_MIN_LENGTH: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// The parameter of an upload's address that changes with every answer, as the reference registry calls it.
const STATE: &str = "_state";

/// `POST /v2/NAME/blobs/uploads/`: a session, a blob at once (`?digest=`), or one from another repository
/// (`?mount=`).
pub(super) async fn open(call: &mut Call) -> Result<Reply, Problem> {
    if let Some(algorithm) = call.query.first("digest-algorithm") {
        let known = algorithm.parse::<Algorithm>();
        known.map_err(|error| Problem::new(Fault::DigestInvalid, error.to_string()))?;
    }
    if call.query.first("digest").is_some() {
        if call.core.policy.single_post {
            return at_once(call).await;
        }
        call.drain().await;
    }
    if let Some(reply) = mount(call).await? {
        return Ok(reply);
    }
    let session = call.core.uploads.open(call.repository()).ok_or_else(|| {
        Problem::new(Fault::TooManyUploads, format!("{MAX_SESSIONS} uploads are open; end some or wait"))
    })?;
    let mut reply = with_place(StatusCode::ACCEPTED, call, &session, 0);
    if let Some(least) = call.core.policy.chunk_min_length {
        reply.headers_mut().insert(CHUNK_MIN_LENGTH, HeaderValue::from(least.0));
    }
    Ok(reply)
}

/// `POST ?digest=` with the whole blob.
async fn at_once(call: &mut Call) -> Result<Reply, Problem> {
    let digest = call.digest_parameter()?;
    let mut sink = Sink::new();
    while let Some(piece) = call.next().await? {
        let core = call.core.clone();
        sink.append(&piece, &core.workshop).await.map_err(no_room)?;
    }
    let finished = sink.finish(&call.core.workshop).await.map_err(no_room)?;
    store(call, finished, digest).await
}

/// `POST ?mount=`: a link to a blob that `from`, or any repository, has. `None` if there is none: the client uploads
/// it then.
async fn mount(call: &Call) -> Result<Option<Reply>, Problem> {
    let Some(given) = call.query.first("mount") else { return Ok(None) };
    let digest = parse_digest(given)?;
    let policy = &call.core.policy;
    let found = match call.query.first("from") {
        // What is still looked for is uploaded.
        Some(from) if policy.mount && readable(call, from) => {
            call.core.find_blob(from, &digest).await.ok().flatten()
        }
        None if policy.anonymous_mount => call.core.find_blob_anywhere(&digest, |name| readable(call, name)),
        Some(_) | None => None,
    };
    let Some(content) = found else { return Ok(None) };
    let stored = call.core.store.put_blob(call.repository(), digest, content);
    stored.map_err(|error| Problem::new(Fault::TooManyEntries, error.to_string()))?;
    Ok(Some(created(call.repository(), &digest)))
}

/// Whether the client may read a repository that it wants a blob of.
fn readable(call: &Call, repository: &str) -> bool {
    call.access.may(repository, Action::Pull)
}

/// `PATCH`: the next bytes, as a stream or as a chunk with its place.
pub(super) async fn patch(call: &mut Call) -> Result<Reply, Problem> {
    let session = session(call)?;
    let mut claim = claim(call, &session).await?;
    append(call, &session, &mut claim).await?;
    Ok(with_place(StatusCode::ACCEPTED, call, &session, claim.sink.len()))
}

/// `PUT ?digest=`: the last bytes, if any, and the end.
pub(super) async fn put(call: &mut Call) -> Result<Reply, Problem> {
    let session = session(call)?;
    let digest = call.digest_parameter()?;
    let mut claim = claim(call, &session).await?;
    append(call, &session, &mut claim).await?;
    let core = call.core.clone();
    let finished = claim.sink.finish(&core.workshop).await;
    // Whatever comes of it, the session's bytes are used up.
    core.uploads.close(&session);
    store(call, finished.map_err(no_room)?, digest).await
}

/// `GET`: how far the upload has come.
pub(super) fn status(call: &Call) -> Result<Reply, Problem> {
    let session = session(call)?;
    Ok(with_place(StatusCode::NO_CONTENT, call, &session, session.len()))
}

/// `DELETE`: the upload is given up.
pub(super) fn cancel(call: &Call) -> Result<Reply, Problem> {
    if !call.core.policy.cancel_uploads {
        return Err(Problem::method("GET, PATCH, PUT"));
    }
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

async fn claim<'a>(call: &Call, session: &'a Session) -> Result<Claim<'a>, Problem> {
    let claim = session.claim().await.map_err(|Displaced| displaced(call, session))?;
    let len = claim.sink.len();
    if call.core.policy.upload_state && call.query.first(STATE) != Some(len.to_string().as_str()) {
        let detail = "this is not the Location of the last answer";
        return Err(placed(call, session, len, Fault::UploadOutOfOrder, detail));
    }
    Ok(claim)
}

/// Appends the body to the session.
async fn append(call: &mut Call, session: &Session, claim: &mut Claim<'_>) -> Result<(), Problem> {
    let mut left = expected(call, session, claim.sink.len())?;
    let core = call.core.clone();
    loop {
        let piece = tokio::select! {
            biased;
            () = claim.displaced() => return Err(displaced(call, session)),
            piece = call.next() => piece?,
        };
        let Some(mut piece) = piece else { break };
        let room = left.filter(|_| !core.policy.allow_wrong_length).unwrap_or(u64::MAX);
        let excess = piece.len() as u64 > room;
        piece.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        left = left.map(|left| left.saturating_sub(piece.len() as u64));
        let appended = claim.sink.append(&piece, &core.workshop).await;
        call.exchange.checked(claim.sink.check());
        claim.publish();
        if let Err(error) = appended {
            core.uploads.close(session);
            return Err(no_room(error));
        }
        if excess {
            return Err(placed(
                call,
                session,
                claim.sink.len(),
                Fault::BodySize,
                "the body is longer than its Content-Range",
            ));
        }
    }
    match left {
        Some(missing @ 1..) if core.policy.allow_wrong_length => {
            tracing::warn!(repository = session.repository, missing, "a short chunk was let through");
            Ok(())
        }
        Some(1..) => Err(placed(
            call,
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
    let text = header.to_str().unwrap_or_default();
    let range: Result<ByteRange, String> = text.parse().map_err(|error: RangeError| error.to_string());
    call.exchange.ranged(range.as_ref().ok().copied());
    let lenient = call.core.policy.allow_wrong_length;
    range
        .and_then(|range| match call.announced() {
            _ if range.first != len => {
                Err(format!("the chunk begins at {}, but the upload has {len} bytes", range.first))
            }
            Some(length) if length != range.len() && !lenient => Err(format!(
                "the Content-Range has {} bytes, but the Content-Length is {length}",
                range.len()
            )),
            _ => Ok(Some(range.len())),
        })
        .map_err(|detail| placed(call, session, len, Fault::UploadOutOfOrder, detail))
}

/// Stores a finished upload, if its digest is the one that was promised and there was room for it.
async fn store(call: &mut Call, finished: Finished, wanted: Digest) -> Result<Reply, Problem> {
    call.exchange.checked(finished.check);
    let found = match wanted.algorithm() {
        Algorithm::Sha256 => finished.digest,
        // Who promises another one says so at the end only, so everything is read once more.
        other => digest(finished.content.clone().map_err(no_room)?, other).await?,
    };
    if found != wanted {
        let detail = format!("the content's digest is {found}, not {wanted}");
        if !call.core.policy.allow_wrong_digest {
            return Err(Problem::new(Fault::DigestInvalid, detail));
        }
        tracing::warn!(repository = call.repository(), detail, "let through");
    }
    let content = finished.content.map_err(no_room)?;
    let stored = call.core.store.put_blob(call.repository(), wanted, content);
    stored.map_err(|error| Problem::new(Fault::TooManyEntries, error.to_string()))?;
    Ok(created(call.repository(), &wanted))
}

/// The digest of content in another algorithm than the usual one.
async fn digest(content: Content, algorithm: Algorithm) -> Result<Digest, Problem> {
    let hashing = tokio::task::spawn_blocking(move || content.digest(algorithm));
    let digest = hashing.await.expect("hashing does not panic");
    digest.ok_or_else(|| Problem::new(Fault::Internal, "spilled content cannot be read again"))
}

fn created(repository: &str, digest: &Digest) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = StatusCode::CREATED;
    reply.headers_mut().insert(LOCATION, value(format!("/v2/{repository}/blobs/{digest}")));
    reply.headers_mut().insert(CONTENT_DIGEST, value(digest.to_string()));
    reply
}

/// What tells a client where it is: the session's address, its id, and how far it has come.
fn place(call: &Call, session: &Session, len: u64) -> [(HeaderName, HeaderValue); 3] {
    let mut location = format!("/v2/{}/blobs/uploads/{}", session.repository, session.id);
    if call.core.policy.upload_state {
        location += &format!("?{STATE}={len}");
    }
    // There is no way to say "nothing": docker refuses a range that ends before it begins.
    let range = format!("0-{}", len.saturating_sub(1));
    [(LOCATION, value(location)), (RANGE, value(range)), (UPLOAD_ID, value(&session.id))]
}

fn with_place(status: StatusCode, call: &Call, session: &Session, len: u64) -> Reply {
    let mut reply = Response::new(Body::empty());
    *reply.status_mut() = status;
    reply.headers_mut().extend(place(call, session, len));
    reply
}

fn placed(call: &Call, session: &Session, len: u64, fault: Fault, detail: impl Into<String>) -> Problem {
    let headers = place(call, session, len);
    headers.into_iter().fold(Problem::new(fault, detail), |problem, (name, value)| problem.with(name, value))
}

fn displaced(call: &Call, session: &Session) -> Problem {
    let detail = "another request took this upload over, or ended it";
    placed(call, session, session.len(), Fault::UploadDisplaced, detail)
}

#[allow(clippy::needless_pass_by_value, reason = "of the shape that `map_err` wants")]
fn no_room(error: NoRoom) -> Problem {
    Problem::no_room(&error)
}
