//! `/v2/NAME/referrers/DIGEST`: the manifests that refer to another one, as an index. There is always one, if only an
//! empty one: the subject, and the repository, may be yet to come.

use std::ops::Bound;

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use mockreg_proto::digest::Digest;
use mockreg_proto::media_type::OCI_INDEX;
use mockreg_proto::query::encode;

use super::value;
use crate::body::{Body, Reply};
use crate::call::Call;
use crate::manifest::Listing;
use crate::problem::{Fault, Problem};

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
/// Most bytes of entries in one answer: clients take an index of 4 MiB, from the specification, and no larger one.
const MAX_BYTES: usize = (4 << 20) - (1 << 10);

/// `GET /v2/NAME/referrers/DIGEST`
pub(super) async fn list(call: &Call) -> Result<Reply, Problem> {
    let policy = &call.core.policy;
    if !policy.referrers {
        return Err(Problem::new(Fault::NoRoute, "this registry has no referrers API"));
    }
    let subject = call.digest()?;
    let types = |_: &()| call.query.all("artifactType").filter(|given| !given.is_empty());
    let filtered = policy.referrers_filter && types(&()).next().is_some();
    let wanted = |listing: &Listing| {
        !filtered || types(&()).any(|given| listing.artifact_type.as_deref() == Some(given))
    };
    let listed = call.core.referrers(call.repository(), &subject).await?;
    let after = last(call)?.map_or(Bound::Unbounded, Bound::Excluded);
    let entries = listed.range((after, Bound::Unbounded)).filter(|(_, listing)| wanted(listing));
    let (body, next) = page(entries, policy.referrers_page.unwrap_or(usize::MAX).max(1));
    let mut reply = Response::new(Body::whole(body));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCI_INDEX));
    if filtered {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(last) = next {
        let filters: String = types(&()).map(|given| format!("artifactType={}&", encode(given))).collect();
        let path = format!("/v2/{}/referrers/{subject}", call.repository());
        headers.insert(LINK, value(format!("<{path}?{filters}last={last}>; rel=\"next\"")));
    }
    Ok(reply)
}

/// Where the page before ended, from a link that was given out.
fn last(call: &Call) -> Result<Option<Digest>, Problem> {
    let given = call.query.first("last").map(str::parse).transpose();
    given.map_err(|error| Problem::new(Fault::PageInvalid, format!("`last` is a digest: {error}")))
}

/// The index of the first entries, and the digest of the last of them if there are more.
fn page<'a>(
    entries: impl Iterator<Item = (&'a Digest, &'a Listing)>,
    most: usize,
) -> (Bytes, Option<Digest>) {
    let mut entries = entries.peekable();
    let mut text = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":["#);
    let (mut count, mut last) = (0, None);
    while let Some((digest, listing)) =
        entries.next_if(|(_, next)| count == 0 || text.len() + next.descriptor.len() <= MAX_BYTES)
    {
        if count > 0 {
            text.push(',');
        }
        text.push_str(&listing.descriptor);
        (count, last) = (count + 1, Some(*digest));
        if count == most {
            break;
        }
    }
    text.push_str("]}");
    (Bytes::from(text), last.filter(|_| entries.peek().is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_number_or_its_bytes_but_has_one() {
        let listing = |len: usize| Listing { artifact_type: None, descriptor: "x".repeat(len).into() };
        let page_of = |lengths: &[usize], most: usize| {
            let entries: Vec<_> =
                lengths.iter().map(|len| (Digest::of(&len.to_be_bytes()), listing(*len))).collect();
            let (body, next) = page(entries.iter().map(|(digest, listing)| (digest, listing)), most);
            let next = next.map(|last| entries.iter().position(|(digest, _)| *digest == last).unwrap());
            (body.iter().filter(|byte| **byte == b'x').count(), next)
        };
        // The media type itself has no x.
        let none = page_of(&[], 9).0;
        assert_eq!(page_of(&[1, 2, 3], 2), (none + 3, Some(1)));
        assert_eq!(page_of(&[1, 2, 3], 3), (none + 6, None));
        assert_eq!(page_of(&[5 << 20, 1], 9), (none + (5 << 20), Some(0)));
        assert_eq!(page_of(&[1, 4 << 20], 9), (none + 1, Some(0)));
    }
}
