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
    /// Repositories that the destination has not.
    pub missing_repositories: u64,
    /// Repositories that only the destination has.
    pub extra_repositories: u64,
    /// Tags by what was found.
    pub tags: Tags,
    /// Pairs of manifests read.
    pub manifests: u64,
    /// Pairs of blobs read; one that several tags of a repository share is read once.
    pub blobs: u64,
    /// Pairs of lists of referrers read; the list of one manifest is read once.
    pub referrer_lists: u64,
    /// Bytes read, both sides together.
    pub bytes_read: u64,
    /// The differences, at most 1,000 of them.
    pub differences: Vec<Difference>,
    /// Differences beyond those listed.
    pub differences_not_listed: u64,
    /// How some of it was compared otherwise than usual, or not.
    pub notes: Vec<String>,
    /// Why the comparison ended early, where the outcome is neither `equal` nor `different`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The side that the error is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_side: Option<Side>,
}

/// One of the two that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Where the content should have come from.
    Source,
    /// Where it should be.
    Destination,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Destination => "destination",
        })
    }
}

/// The verdict of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The destination holds what the source holds.
    Equal,
    /// It does not.
    Different,
    /// There is nothing to compare: the source has no such repository, or a side lists no repositories.
    Missing,
    /// A side wants credentials, or does not let the ones it was given read.
    Refused,
    /// Nobody who is believed vouches for the certificate of a side.
    Untrusted,
    /// A side could not be read for another reason, so nobody knows.
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
            missing_repositories: 0,
            extra_repositories: 0,
            tags: Tags::default(),
            manifests: 0,
            blobs: 0,
            referrer_lists: 0,
            bytes_read: 0,
            differences: Vec::new(),
            differences_not_listed: 0,
            notes: Vec::new(),
            error: None,
            error_side: None,
        }
    }

    /// Something is compared otherwise than usual; said once.
    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A whole repository is at one side only.
    pub(super) fn repository(&mut self, name: &str, kind: DifferenceKind, details: Vec<String>) {
        match kind {
            DifferenceKind::Missing => self.missing_repositories += 1,
            DifferenceKind::Extra => self.extra_repositories += 1,
            DifferenceKind::Different => {}
        }
        self.differs(name, None, kind, details);
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
    fn differs(
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
        self.error_side = failed.map(|failed| failed.side);
        self.differences.sort_by(|a, b| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag)));
        let counts = |difference: &Difference| !(allow_extra && difference.kind == DifferenceKind::Extra);
        // Beyond those listed, only the counts tell what there was.
        let short = self.tags.missing + self.tags.different + self.missing_repositories > 0;
        let unlisted = self.differences_not_listed > 0 && (!allow_extra || short);
        self.outcome = match failed {
            Some(failed) => failed.outcome,
            None if unlisted || self.differences.iter().any(counts) => Outcome::Different,
            None => Outcome::Equal,
        };
        self
    }
}

/// Some lines for a person: the differences, the notes, then one that sums up. Why it ended early is not among them.
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
        self.notes.iter().try_for_each(|note| writeln!(f, "note       {note}"))?;
        let Tags { equal, different, missing, extra } = self.tags;
        let verdict = match self.outcome {
            Outcome::Equal => "equal",
            Outcome::Different => "different",
            Outcome::Missing => "missing",
            Outcome::Refused => "refused",
            Outcome::Untrusted => "untrusted",
            Outcome::Unreachable => "unreachable",
        };
        let (lost, more) = (self.missing_repositories, self.extra_repositories);
        let repositories = match (lost, more) {
            (0, 0) => String::new(),
            _ => format!("repositories: {lost} missing, {more} extra; "),
        };
        let read = mockreg_proto::units::ByteCount(self.bytes_read);
        write!(
            f,
            "{verdict}: {repositories}tags: {equal} equal, {different} different, {missing} missing, {extra} extra; \
             {} blobs, {} lists of referrers, {read} read",
            self.blobs, self.referrer_lists
        )
    }
}
