//! What a side lists: repositories and tags, page by page.

use std::collections::BTreeSet;

use http::header::LINK;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::remote::{Get, Remote, RemoteError};

/// Most bytes of one page.
const MAX_PAGE: usize = 32 << 20;
/// Most names of one list: some 100 MB of the longest ones that occur.
const MAX_NAMES: usize = 1_000_000;
/// Names asked for at once. A registry may give fewer.
const PAGE: usize = 1000;

#[derive(Deserialize)]
struct Repositories {
    repositories: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Remote {
    /// All repositories.
    pub(super) async fn repositories(&self) -> Result<BTreeSet<String>, RemoteError> {
        let path = format!("/v2/_catalog?n={PAGE}");
        let listed = self.listed("", path, |page: Repositories| page.repositories).await?;
        listed
            .ok_or_else(|| self.error("/v2/_catalog", "it lists no repositories; name one in both addresses"))
    }

    /// All tags of a repository; `None` if there is no such repository.
    pub(super) async fn tags(&self, repository: &str) -> Result<Option<BTreeSet<String>>, RemoteError> {
        let path = format!("/v2/{repository}/tags/list?n={PAGE}");
        self.listed(repository, path, |page: Tags| page.tags).await
    }

    /// All names of a list; `None` if there is no such list.
    async fn listed<T: DeserializeOwned>(
        &self,
        repository: &str,
        mut path: String,
        names: impl Fn(T) -> Option<Vec<String>>,
    ) -> Result<Option<BTreeSet<String>>, RemoteError> {
        let mut all = BTreeSet::new();
        loop {
            let answer = self.get(Get { path: &path, repository, accept: "application/json" }).await?;
            if answer.status == http::StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let mut links = answer.headers.get_all(LINK).iter();
            let next = links.find_map(|link| next_page(link.to_str().ok()?));
            let text = answer.whole(MAX_PAGE).await?;
            let page: T = serde_json::from_slice(&text).map_err(|error| self.error(&path, error))?;
            let before = all.len();
            all.extend(names(page).unwrap_or_default());
            if all.len() > MAX_NAMES {
                return Err(self.error(&path, format!("it lists more than {MAX_NAMES} names")));
            }
            match next {
                // A page that brings nothing new would be followed for ever.
                Some(next) if all.len() > before => path = next,
                _ => return Ok(Some(all)),
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
