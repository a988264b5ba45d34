//! Comparing lists of referrers: the manifests that refer to another one, signatures and the like. A list is that of
//! the referrers API, page by page; a registry without that API keeps it under a tag made from the subject's digest
//! (distribution specification 1.1, "Referrers tag schema"), which is read in its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use mockreg_proto::digest::{Algorithm, Digest};
use mockreg_proto::media_type::OCI_INDEX;
use serde::Deserialize;

use super::remote::{Get, Remote, RemoteError};
use super::report::Side;
use super::work::{Pair, Work, remembered};

/// A list, by digest.
type List = BTreeMap<String, Referrer>;

/// What a list says of a manifest, beside its digest.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    digest: String,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Referrer>>,
}

/// What comes of comparing two lists.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// How they differ.
    pub(super) details: Vec<String>,
    /// Digests that both have; what they name is still to be compared.
    pub(super) common: Vec<String>,
}

impl Work {
    /// Compares the lists of referrers of a manifest, once for each pair of repositories.
    pub(super) async fn referrers(&self, pair: &Pair, subject: Digest) -> Result<Arc<Compared>, RemoteError> {
        let cell = remembered(&self.subjects, (pair.clone(), subject));
        let compared = cell.get_or_try_init(async || self.lists(pair, subject).await.map(Arc::new)).await;
        compared.map(Arc::clone)
    }

    async fn lists(&self, pair: &Pair, subject: Digest) -> Result<Compared, RemoteError> {
        let (here, there) = tokio::join!(
            self.source.referrers(&pair.source, subject),
            self.destination.referrers(&pair.destination, subject)
        );
        self.noted(|report| report.referrer_lists += 1);
        let (mut here, mut there) = (here?, there?);
        if self.has_substitutes() {
            // Whoever keeps a list under a tag decides what it says of a manifest.
            here.values_mut().chain(there.values_mut()).for_each(Referrer::forget_words);
        }
        Ok(compared(&subject, &here, &there, self.plan.allow_extra))
    }

    /// Whether a side, as far as is known, keeps lists of referrers under tags.
    fn has_substitutes(&self) -> bool {
        [&self.source, &self.destination].iter().any(|side| side.lists_referrers.get() == Some(&false))
    }

    /// Whether tags that are lists of referrers are compared as such, and not as tags: where a side has them in place
    /// of an API, the other need not. Asks both sides and notes which of them it is.
    pub(super) async fn reads_lists_from_tags(&self, pair: &Pair) -> Result<bool, RemoteError> {
        let (here, there) = tokio::join!(
            self.source.lists_referrers(&pair.source),
            self.destination.lists_referrers(&pair.destination)
        );
        let (here, there) = (here?, there?);
        for (side, lists) in [(Side::Source, here), (Side::Destination, there)] {
            if !lists {
                self.noted(|report| {
                    report.note(format!(
                        "the {side} has no referrers API; its lists of referrers are read from the tags that stand \
                         for them (sha256-…), and on neither side do such tags count as tags"
                    ));
                });
            }
        }
        Ok(!here || !there)
    }
}

impl Remote {
    /// Whether there is a referrers API: with one, every digest has a list, if only an empty one.
    async fn lists_referrers(&self, repository: &str) -> Result<bool, RemoteError> {
        let ask = async || {
            let path = format!("/v2/{repository}/referrers/{}", Digest::of(b""));
            let answer = self.get(Get { optional: true, ..Get::new(&path, repository, OCI_INDEX) }).await?;
            let lists = answer.status.is_success();
            answer.drained().await?;
            Ok(lists)
        };
        self.lists_referrers.get_or_try_init(ask).await.copied()
    }

    async fn referrers(&self, repository: &str, subject: Digest) -> Result<List, RemoteError> {
        let path = if self.lists_referrers(repository).await? {
            format!("/v2/{repository}/referrers/{subject}")
        } else {
            format!("/v2/{repository}/manifests/{}", substitute(&subject))
        };
        let answer = self.get(Get::new(&path, repository, OCI_INDEX)).await?;
        let mut list = List::new();
        if answer.status == StatusCode::NOT_FOUND {
            answer.drained().await?;
            return Ok(list);
        }
        self.pages(repository, path, answer, |page: Index| {
            let entries = page.manifests.unwrap_or_default();
            list.extend(entries.into_iter().map(|entry| (entry.digest.clone(), entry.tidied())));
            list.len()
        })
        .await?;
        Ok(list)
    }
}

impl Referrer {
    /// Without what is written but says nothing.
    fn tidied(mut self) -> Self {
        self.artifact_type = self.artifact_type.filter(|kind| !kind.is_empty());
        self.annotations = self.annotations.filter(|annotations| !annotations.is_empty());
        self
    }

    /// Without what others than the registry may have written.
    fn forget_words(&mut self) {
        (self.artifact_type, self.annotations) = (None, None);
    }

    fn named(&self) -> String {
        let kind = self.artifact_type.as_ref().unwrap_or(&self.media_type);
        format!("referrer {} ({kind})", self.digest)
    }
}

fn compared(subject: &Digest, here: &List, there: &List, allow_extra: bool) -> Compared {
    let mut compared = Compared::default();
    for (digest, entry) in here {
        match there.get(digest) {
            Some(other) => {
                compared.common.push(digest.clone());
                if entry != other {
                    let named = entry.named();
                    compared
                        .details
                        .push(format!("{named} of {subject}: listed with other words on either side"));
                }
            }
            None => {
                compared
                    .details
                    .push(format!("{} of {subject}: not listed at the destination", entry.named()));
            }
        }
    }
    let extra = there.iter().filter(|(digest, _)| !allow_extra && !here.contains_key(*digest));
    let extra =
        extra.map(|(_, entry)| format!("{} of {subject}: listed at the destination only", entry.named()));
    compared.details.extend(extra);
    compared
}

/// Digits of a digest in the tag that stands for a list: longer ones are cut, since a tag has 128 characters at most.
const DIGITS: usize = 64;

/// The tag that stands for a list of referrers where there is no API for them.
fn substitute(subject: &Digest) -> String {
    format!("{}-{}", subject.algorithm(), &subject.hex()[..DIGITS])
}

/// Whether a tag is one that stands for a list of referrers.
pub(super) fn is_substitute(tag: &str) -> bool {
    let Some((algorithm, hex)) = tag.split_once('-') else { return false };
    let digits = hex.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    digits && hex.len() == DIGITS && algorithm.parse::<Algorithm>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_digests_stand_for_lists() {
        let subject = Digest::of(b"x");
        assert!(is_substitute(&substitute(&subject)));
        assert!(is_substitute(&substitute(&Digest::of_with(Algorithm::Sha512, b"x"))));
        for tag in [
            "v1".to_owned(),
            "sha256-abc".to_owned(),
            format!("{}.sig", substitute(&subject)),
            substitute(&subject).to_uppercase(),
            substitute(&subject).replace("sha256", "md5"),
        ] {
            assert!(!is_substitute(&tag), "{tag}");
        }
    }

    #[test]
    fn lists_are_sets_of_what_they_say() {
        let list = |text: &str| -> List {
            let index: Index = serde_json::from_str(text).unwrap();
            index.manifests.unwrap().into_iter().map(|entry| (entry.digest.clone(), entry.tidied())).collect()
        };
        let here = list(
            r#"{"manifests": [
            {"digest": "a", "mediaType": "m", "size": 1, "artifactType": "s", "annotations": {"k": "v"}},
            {"digest": "b", "mediaType": "m", "size": 2, "artifactType": "", "annotations": null}]}"#,
        );
        let there = list(
            r#"{"manifests": [
            {"digest": "b", "mediaType": "m", "size": 2, "annotations": {}},
            {"digest": "a", "mediaType": "m", "size": 1, "artifactType": "s"},
            {"digest": "c", "mediaType": "m", "size": 3}]}"#,
        );
        let subject = Digest::of(b"");
        let found = compared(&subject, &here, &there, false);
        assert_eq!(found.common, ["a", "b"]);
        let [words, extra] = found.details.as_slice() else { panic!("{found:?}") };
        assert!(words.starts_with("referrer a (s) of sha256:") && words.contains("other words"), "{words}");
        assert!(extra.starts_with("referrer c (m)") && extra.ends_with("destination only"), "{extra}");
        assert_eq!(compared(&subject, &here, &there, true).details.len(), 1);
        let back = compared(&subject, &there, &here, true);
        assert!(
            back.details.iter().any(|detail| detail.ends_with("not listed at the destination")),
            "{back:?}"
        );
    }
}
