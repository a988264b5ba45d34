//! The tags of a repository, page by page.

use http::header::LINK;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::CopyError;
use super::retry::Retrier;
use crate::client::{Call, Client, Location, Reason, Remote, RequestError};

/// All tags, in the registry's order, with retries.
pub(crate) async fn list(
    client: &Client,
    remote: &Remote,
    repository: &str,
    retrier: &mut Retrier,
) -> Result<Vec<String>, CopyError> {
    let mut tags = Vec::new();
    let mut next = Some(format!("/v2/{repository}/tags/list?n={PAGE}"));
    while let Some(path) = next.take() {
        let (page, further) = match page(client, remote, &path).await {
            Ok(page) => page,
            Err(cause) => {
                retrier.failed(cause).await?;
                next = Some(path);
                continue;
            }
        };
        tags.extend(page);
        if tags.len() > TAG_LIMIT {
            return Err(retrier.refuse(RequestError::Protocol(format!("more than {TAG_LIMIT} tags"))));
        }
        next = further;
    }
    Ok(tags)
}

/// One page, and where the next one is.
async fn page(
    client: &Client,
    remote: &Remote,
    path: &str,
) -> Result<(Vec<String>, Option<String>), RequestError> {
    #[derive(Deserialize)]
    struct Page {
        // Some registries say null where there is none.
        tags: Option<Vec<String>>,
    }
    let reply = client.request(&Call::new(remote, Method::GET, path)).await?;
    if reply.status != StatusCode::OK {
        return Err(reply.into_error().await);
    }
    let resolve = |target: &str| Location::resolve(&remote.endpoint, path, target);
    let further = reply.header(LINK).and_then(next_target).map(resolve).transpose();
    let further = further.map_err(|error| RequestError::Protocol(error.to_string()))?;
    let body = reply.bytes(PAGE_LIMIT).await?;
    let page: Page = serde_json::from_slice(&body)
        .map_err(|error| RequestError::wrong(Reason::Transport, format!("the list of tags: {error}")))?;
    Ok((page.tags.unwrap_or_default(), further.map(|location| location.as_str().to_owned())))
}

/// The target of `<target>; rel="next"`.
fn next_target(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
    parameters.split(';').any(is_next).then_some(target)
}

/// What common registries allow as a page.
const PAGE: usize = 1000;
/// A page of the longest tags is below 150 kB; registries that ignore `n` send everything at once.
const PAGE_LIMIT: usize = 16 << 20;
/// More tags than any repository that is copied whole, and an end for a list that goes in circles.
const TAG_LIMIT: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_next_link_is_followed() {
        assert_eq!(
            next_target(r#"</v2/a/tags/list?n=2&last=b>; rel="next""#),
            Some("/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next_target("<x>;rel=next"), Some("x"));
        for link in ["", "<x>", r#"<x>; rel="prev""#, "x; rel=next"] {
            assert_eq!(next_target(link), None, "{link}");
        }
    }
}
