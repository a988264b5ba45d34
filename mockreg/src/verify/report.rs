//! What a verification found: for a program as JSON, for a person as text, and as an exit code.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::remote::RemoteError;

/// Differences listed; more are only counted.
const MAX_LISTED: usize = 1_000;
/// Details listed of one difference.
const MAX_DETAILS: usize = 20;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The verdict.
    pub outcome: Outcome,
    /// Where the content should have come from.
    pub source: String,
    /// Where it should be.
    pub destination: String,
    /// Pairs of repositories compared.
    pub repositories: u64,
    /// Tags by what was found.
    pub tags: Tags,
    /// Pairs of manifests read.
    pub manifests: u64,
    /// Pairs of blobs read; one that several tags of a repository share is read once.
    pub blobs: u64,
    /// Bytes read, both sides together.
    pub bytes_read: u64,
    /// The differences, at most 1,000 of them.
    pub differences: Vec<Difference>,
    /// Differences beyond those listed.
    pub differences_not_listed: u64,
    /// Why the comparison ended early, where the outcome is `unreachable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The verdict of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The destination holds what the source holds.
    Equal,
    /// It does not.
    Different,
    /// A side could not be read, so nobody knows.
    Unreachable,
}

/// Tags by what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tags {
    /// Both sides serve the same bytes.
    pub equal: u64,
    /// Something under the tag differs.
    pub different: u64,
    /// The destination has no such tag.
    pub missing: u64,
    /// Only the destination has the tag.
    pub extra: u64,
}

/// A tag, or a whole repository, that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// The repository, by its name at the source.
    pub repository: String,
    /// The tag; none where it is about the whole repository.
    pub tag: Option<String>,
    /// How it differs.
    pub kind: DifferenceKind,
    /// What is different, at most 20 things.
    pub details: Vec<String>,
}

/// How a tag or repository differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// Not at the destination.
    Missing,
    /// Other bytes at the destination, or other than its digests promise.
    Different,
    /// Not at the source.
    Extra,
}

impl Report {
    pub(super) fn new(source: &Address, destination: &Address) -> Self {
        Self {
            outcome: Outcome::Unreachable,
            source: source.to_string(),
            destination: destination.to_string(),
            repositories: 0,
            tags: Tags::default(),
            manifests: 0,
            blobs: 0,
            bytes_read: 0,
            differences: Vec::new(),
            differences_not_listed: 0,
            error: None,
        }
    }

    /// A tag differs.
    pub(super) fn tag(&mut self, repository: &str, tag: &str, kind: DifferenceKind, details: Vec<String>) {
        *match kind {
            DifferenceKind::Missing => &mut self.tags.missing,
            DifferenceKind::Different => &mut self.tags.different,
            DifferenceKind::Extra => &mut self.tags.extra,
        } += 1;
        self.differs(repository, Some(tag), kind, details);
    }

    /// A tag or repository differs.
    pub(super) fn differs(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        kind: DifferenceKind,
        mut details: Vec<String>,
    ) {
        if self.differences.len() >= MAX_LISTED {
            self.differences_not_listed += 1;
            return;
        }
        details.truncate(MAX_DETAILS);
        let (repository, tag) = (repository.to_owned(), tag.map(str::to_owned));
        self.differences.push(Difference { repository, tag, kind, details });
    }

    /// The verdict, once everything that could be read has been.
    pub(super) fn concluded(mut self, bytes: u64, failed: Option<&RemoteError>, allow_extra: bool) -> Self {
        self.bytes_read = bytes;
        self.error = failed.map(ToString::to_string);
        self.differences.sort_by(|a, b| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag)));
        let counts = |difference: &Difference| !(allow_extra && difference.kind == DifferenceKind::Extra);
        // Beyond those listed, only the tags tell what there was.
        let unlisted =
            self.differences_not_listed > 0 && (!allow_extra || self.tags.missing + self.tags.different > 0);
        self.outcome = match failed {
            Some(_) => Outcome::Unreachable,
            None if unlisted || self.differences.iter().any(counts) => Outcome::Different,
            None => Outcome::Equal,
        };
        self
    }
}

/// Some lines for a person: the differences, then one that sums up.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for difference in &self.differences {
            let kind = match difference.kind {
                DifferenceKind::Missing => "missing",
                DifferenceKind::Different => "different",
                DifferenceKind::Extra => "extra",
            };
            let tag = difference.tag.as_ref().map_or_else(String::new, |tag| format!(":{tag}"));
            writeln!(f, "{kind:<9}  {}{tag}", difference.repository)?;
            for detail in &difference.details {
                writeln!(f, "           {detail}")?;
            }
        }
        if self.differences_not_listed > 0 {
            writeln!(f, "… and {} more", self.differences_not_listed)?;
        }
        let Tags { equal, different, missing, extra } = self.tags;
        let verdict = match self.outcome {
            Outcome::Equal => "equal",
            Outcome::Different => "different",
            Outcome::Unreachable => "unreachable",
        };
        let read = mockreg_proto::units::ByteCount(self.bytes_read);
        write!(
            f,
            "{verdict}: {equal} tags equal, {different} different, {missing} missing, {extra} extra; {} blobs, {read} read",
            self.blobs
        )?;
        self.error.iter().try_for_each(|error| write!(f, "\n{error}"))
    }
}
