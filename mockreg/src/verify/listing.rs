//! What a side lists, page by page: repositories, tags, and whatever else comes in pages.

use std::collections::BTreeSet;

use http::StatusCode;
use http::header::LINK;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use super::remote::{Get, Remote, RemoteError};

/// Most bytes of one page.
const MAX_PAGE: usize = 32 << 20;
/// Most entries of one list: some 100 MB of the longest names that occur.
const MAX_ENTRIES: usize = 1_000_000;
/// Names asked for at once. A registry may give fewer.
const PAGE: usize = 1000;
const JSON: &str = "application/json";

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Names {
    tags: Option<Vec<String>>,
}

/// The tags of a repository.
pub(super) enum Tags {
    Listed(BTreeSet<String>),
    /// There is no such repository, in the registry's words. `named` says whether those are the specification's.
    NoRepository {
        why: String,
        named: bool,
    },
}

impl Remote {
    /// All repositories.
    pub(super) async fn repositories(&self) -> Result<BTreeSet<String>, RemoteError> {
        let path = format!("/v2/_catalog?n={PAGE}");
        let answer = self.get(Get { optional: true, ..Get::new(&path, "", JSON) }).await?;
        if !answer.status.is_success() {
            let why = answer.refusal().await.text;
            return Err(self.absent(format!("it lists no repositories ({why}); name one in both addresses")));
        }
        let mut all = BTreeSet::new();
        self.pages("", path, answer, |page: Repositories| {
            all.extend(page.repositories.unwrap_or_default());
            all.len()
        })
        .await?;
        Ok(all)
    }

    /// All tags of a repository.
    pub(super) async fn tags(&self, repository: &str) -> Result<Tags, RemoteError> {
        let path = format!("/v2/{repository}/tags/list?n={PAGE}");
        let answer = self.get(Get::new(&path, repository, JSON)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            let refusal = answer.refusal().await;
            let named = refusal.code.as_deref() == Some("NAME_UNKNOWN");
            return Ok(Tags::NoRepository { why: refusal.text, named });
        }
        let mut all = BTreeSet::new();
        self.pages(repository, path, answer, |page: Names| {
            all.extend(page.tags.unwrap_or_default());
            all.len()
        })
        .await?;
        Ok(Tags::Listed(all))
    }

    /// Hands every page of a list to `take`, which says how many different entries it has by now. `answer` is that to
    /// the first, at `path`.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        repository: &str,
        mut path: String,
        mut answer: Answer<'_>,
        mut take: impl FnMut(T) -> usize,
    ) -> Result<(), RemoteError> {
        let mut before = 0;
        loop {
            let next = answer.headers.get_all(LINK).iter().find_map(|link| next_page(link.to_str().ok()?));
            let text = answer.whole(MAX_PAGE).await?;
            let page = serde_json::from_slice(&text).map_err(|error| self.error(&path, error))?;
            let entries = take(page);
            if entries > MAX_ENTRIES {
                return Err(self.error(&path, format!("it lists more than {MAX_ENTRIES} entries")));
            }
            match next {
                // A page that brings nothing new would be followed for ever.
                Some(next) if entries > before => (path, before) = (next, entries),
                _ => return Ok(()),
            }
            answer = self.get(Get::new(&path, repository, JSON)).await?;
            if !answer.status.is_success() {
                return Err(answer.refused().await);
            }
        }
    }
}

/// Path and query of `<…>; rel="next"` (RFC 8288). The host stays: a list does not move between its pages.
fn next_page(link: &str) -> Option<String> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    if !parameters.replace([' ', '"'], "").split(';').any(|parameter| parameter == "rel=next") {
        return None;
    }
    let uri: http::Uri = target.parse().ok()?;
    uri.path_and_query().map(|path| path.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_a_path() {
        assert_eq!(
            next_page(r#"</v2/a/tags/list?n=2&last=x>; rel="next""#).as_deref(),
            Some("/v2/a/tags/list?n=2&last=x")
        );
        assert_eq!(
            next_page("<http://h:1/v2/_catalog?last=b>;rel=next").as_deref(),
            Some("/v2/_catalog?last=b")
        );
        assert_eq!(next_page(r#"</v2/x>; rel="prev""#), None);
        assert_eq!(next_page("/v2/x"), None);
    }
}
