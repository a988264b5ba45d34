//! What a registry may be told to do differently from the best one can: declared moods, each a switch with a
//! default that is *always right*. Plain data; what a switch does is in the handler of its endpoint. A fault that is
//! injected at random is another program's business.

use mockreg_proto::units::{ByteCount, ByteRate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::auth::MAX_PADDING;
use crate::vendor::Vendor;

pub use crate::auth::{PostAnswer, TokenPolicy};
pub use crate::pace::Bandwidth;
pub use crate::quota::{Counted, Per, Quota, QuotaHeaders, Refusal, RefusalBody, RetryAfter};
pub use crate::redirect::RedirectPolicy;

/// Largest manifest taken unless told otherwise: twice the 4 MiB that the specification makes every registry accept.
const MANIFEST_LIMIT: ByteCount = ByteCount(8 << 20);

/// Declared deviations and limits. The default has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Quotas on requests. Default: none.
    pub quotas: Vec<Quota>,
    /// How fast bodies move. Default: as fast as they go.
    pub bandwidth: Bandwidth,

    /// Tags can be deleted. Off: 405 UNSUPPORTED. Default: true.
    pub delete_tags: bool,
    /// Manifests can be deleted by digest. Off: 405 UNSUPPORTED. Default: true.
    pub delete_manifests: bool,
    /// Blobs can be deleted. Off: 405 UNSUPPORTED. Default: true.
    pub delete_blobs: bool,
    /// Upload sessions can be cancelled. Off: 405 UNSUPPORTED. Default: true.
    pub cancel_uploads: bool,

    /// There is a referrers API. Off: 404, and no `OCI-Subject` on a push, so clients keep lists under tags.
    /// Default: true.
    pub referrers: bool,
    /// The referrers API filters by `artifactType`. Off: the whole list without `OCI-Filters-Applied`.
    /// Default: true.
    pub referrers_filter: bool,
    /// Most referrers in one answer, at least 1; the next page is linked. Default: as many as fit 4 MiB.
    pub referrers_page: Option<usize>,

    /// `?tag=` tags a manifest that is pushed by digest. Off: ignored. Default: true.
    pub tag_parameters: bool,
    /// A manifest is given as it is, whatever `Accept` says. Default: `ignored`.
    pub accept: Accept,
    /// A list is answered with its linux/amd64 manifest where a tag is asked for by a client whose `Accept` does not
    /// name the list's type, as registries of 2017 did. Default: false.
    pub downgrade_lists: bool,
    /// Largest manifest taken; beyond: 413. Default: 8 MiB.
    pub manifest_limit: ByteCount,
    /// Docker schema 1 manifests are taken, unread, under the digest of their bytes. Default: false.
    pub schema1: bool,

    /// Several ranges in one request get a multipart answer. Off: the whole blob. Default: true.
    pub multipart_ranges: bool,

    /// `?mount=&from=` links a blob of another repository. Off: an upload is opened instead. Default: true.
    pub mount: bool,
    /// `?mount=` without `from` looks in all repositories that the client may read. Off: an upload is opened
    /// instead. Default: true.
    pub anonymous_mount: bool,
    /// `POST ?digest=` with a body stores it at once. Off: the body is ignored and an upload opened (202).
    /// Default: true.
    pub single_post: bool,
    /// Announced as `OCI-Chunk-Min-Length` when an upload is opened; not enforced, for the last chunk may be
    /// shorter and only the end tells which one that was. Default: not announced.
    pub chunk_min_length: Option<ByteCount>,
    /// An upload's Location changes with every request, and one that is not the latest gets 416, as the reference
    /// registry has it. Default: false.
    pub upload_state: bool,

    /// Most tags in one answer. Default: no limit.
    pub tags_page_max: Option<usize>,
    /// What asking for more than `tags_page_max` gets. Default: `truncate`.
    pub tags_over_max: OverMax,
    /// `n` and `last` work on a list of tags. Off: ignored, all tags are given. Default: true.
    pub tags_paging: bool,
    /// A page of tags links to the next. Default: true.
    pub tags_link: bool,
    /// What `/v2/_catalog` does. Default: `on`.
    pub catalog: Catalog,
    /// The `ns` parameter of a request comes back as `OCI-Namespace`. Default: false.
    pub echo_namespace: bool,

    /// Content is stored under the digest that was promised even if it has another one. Default: false.
    pub allow_wrong_digest: bool,
    /// A chunk may be shorter or longer than its `Content-Range`, and a descriptor may lie about the size of what is
    /// there. Default: false.
    pub allow_wrong_length: bool,
    /// A manifest may name content that the repository does not have: sparse images and indexes. Default: false.
    pub allow_missing_content: bool,
    /// A manifest may have any media type, and one that differs from its Content-Type; what is not known is not
    /// read. Default: false.
    pub allow_any_media_type: bool,

    /// How tokens are made, refused and asked for, where clients need them.
    pub tokens: TokenPolicy,
    /// How blob downloads are redirected, where there is a second listener for them.
    pub redirects: RedirectPolicy,
}

impl Policy {
    /// The policy of a vendor profile: `hub`, `ecr-like`, `gcr-like`, `quay-like`, `acr-like`, `harbor-like` or
    /// `old-2.7`. `mockreg vendor show NAME` prints what each sets and why.
    ///
    /// # Errors
    /// There is no such profile.
    pub fn like(vendor: &str) -> Result<Self, PolicyError> {
        let vendor = Vendor::named(vendor).map_err(|reason| PolicyError { key: None, reason })?;
        Ok(vendor.policy(serde_json::Map::new()).expect("the profiles are read by a test"))
    }

    /// What cannot be meant of a registry in these circumstances, with its key.
    pub(crate) fn check(&self, circumstances: Circumstances) -> Result<(), PolicyError> {
        for (index, quota) in self.quotas.iter().enumerate() {
            quota.check().map_err(|(key, reason)| wrong(format!("quotas[{index}].{key}"), reason))?;
            if quota.per == Per::User && !circumstances.has_users {
                return Err(wrong(format!("quotas[{index}].per"), NO_USERS));
            }
        }
        let paced = self.bandwidth.down.or(self.bandwidth.up).is_some();
        let (tokens, base_url) = (&self.tokens, self.redirects.base_url.as_deref());
        let checks = [
            ("tags_page_max", self.tags_page_max == Some(0), "is above 0: a list of no tags is no list"),
            ("referrers_page", self.referrers_page == Some(0), "is above 0"),
            ("bandwidth.down", self.bandwidth.down == Some(ByteRate(0)), "is above 0, for example 20MB/s"),
            ("bandwidth.up", self.bandwidth.up == Some(ByteRate(0)), "is above 0, for example 20MB/s"),
            ("bandwidth.per", paced && self.bandwidth.per == Per::User && !circumstances.has_users, NO_USERS),
            ("tokens.lifetime", tokens.lifetime.0.is_zero(), "is above 0, for example 300s"),
            ("tokens.padded_to", tokens.padded_to.0 > MAX_PADDING, "is at most 32KiB"),
            (
                "redirects.base_url",
                base_url.is_some_and(|url| !is_origin(url)),
                "(--redirect-url) is like https://cdn.test:5443",
            ),
            (
                "redirects.base_url",
                base_url.is_some() && !circumstances.has_downloads,
                "(--redirect-url) is what redirects lead to, and there are none; add `redirect_blobs` \
                 (--redirect-blobs 127.0.0.1:5443), the listener they are for",
            ),
        ];
        match checks.into_iter().find(|(_, is_wrong, _)| *is_wrong) {
            Some((key, _, reason)) => Err(wrong(key, reason)),
            None => Ok(()),
        }
    }
}

/// What a policy may rely on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// Clients say who they are.
    pub(crate) has_users: bool,
    /// There is a second listener for downloads.
    pub(crate) has_downloads: bool,
}

const NO_USERS: &str = "is `user`, but nobody says who they are; count by `address`, or ask for names (`auth`, --auth \
                        basic or bearer)";

fn wrong(key: impl Into<String>, reason: impl Into<String>) -> PolicyError {
    PolicyError { key: Some(key.into()), reason: reason.into() }
}

/// Whether a text is scheme and host, and perhaps a path.
fn is_origin(text: &str) -> bool {
    text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    })
}

/// Why a policy cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{reason}", key.as_ref().map(|key| format!("`{key}` ")).unwrap_or_default())]
pub struct PolicyError {
    key: Option<String>,
    reason: String,
}

impl PolicyError {
    /// The key that is wrong: `quotas[1].window`. `None` where there is no policy of that name.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }
}

/// What a request for a manifest gets whose `Accept` does not name the manifest's type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accept {
    /// The manifest.
    #[default]
    Ignored,
    /// 404 MANIFEST_UNKNOWN.
    NotFound,
    /// 406 UNSUPPORTED.
    NotAcceptable,
}

/// What a page larger than the most allowed gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverMax {
    /// As much as is allowed, and a link to the rest.
    #[default]
    Truncate,
    /// 400 PAGINATION_NUMBER_INVALID.
    Refuse,
}

/// What the list of repositories does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Catalog {
    /// It lists repositories, sorted, in pages.
    #[default]
    On,
    /// 404: there is none.
    Off,
    /// 401: nobody may read it.
    Unauthorized,
    /// It lists all repositories in an order of its own, whatever page was asked for.
    Unsorted,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            quotas: Vec::new(),
            bandwidth: Bandwidth::default(),
            delete_tags: true,
            delete_manifests: true,
            delete_blobs: true,
            cancel_uploads: true,
            referrers: true,
            referrers_filter: true,
            referrers_page: None,
            tag_parameters: true,
            accept: Accept::Ignored,
            downgrade_lists: false,
            manifest_limit: MANIFEST_LIMIT,
            schema1: false,
            multipart_ranges: true,
            mount: true,
            anonymous_mount: true,
            single_post: true,
            chunk_min_length: None,
            upload_state: false,
            tags_page_max: None,
            tags_over_max: OverMax::Truncate,
            tags_paging: true,
            tags_link: true,
            catalog: Catalog::On,
            echo_namespace: false,
            allow_wrong_digest: false,
            allow_wrong_length: false,
            allow_missing_content: false,
            allow_any_media_type: false,
            tokens: TokenPolicy::default(),
            redirects: RedirectPolicy::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_only_what_differs_and_misspellings_are_errors() {
        let read = |text: &str| mockreg_proto::document::read::<Policy>("test", text);
        assert_eq!(read("{}").unwrap(), Policy::default());
        let strict = read("accept: not_acceptable\ntags_page_max: 1000\ntags_over_max: refuse\n").unwrap();
        let wanted = Policy {
            accept: Accept::NotAcceptable,
            tags_page_max: Some(1000),
            tags_over_max: OverMax::Refuse,
            ..Policy::default()
        };
        assert_eq!(strict, wanted);
        assert!(read("delete_tag: false").unwrap_err().to_string().contains("delete_tags"));
    }
}
