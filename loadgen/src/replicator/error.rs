//! Why an image could not be copied, with everything needed to find out more: which registry, repository, tag,
//! digest and step, and the last cause.

use std::fmt;
use std::sync::Arc;

use mockreg_proto::digest::Digest;
use thiserror::Error;

use crate::client::{RequestError, Side};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Listing the tags of a repository.
    ListTags,
    /// Looking for a manifest.
    HeadManifest,
    /// Fetching a manifest.
    GetManifest,
    /// Committing a manifest.
    PutManifest,
    /// Looking for a blob.
    HeadBlob,
    /// Downloading a blob.
    PullBlob,
    /// Uploading a blob.
    PushBlob,
}

impl Step {
    /// Whether it moves a blob.
    pub const fn is_transfer(self) -> bool {
        matches!(self, Self::PullBlob | Self::PushBlob)
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::ListTags => "list tags",
            Self::HeadManifest => "look for manifest",
            Self::GetManifest => "get manifest",
            Self::PutManifest => "put manifest",
            Self::HeadBlob => "look for blob",
            Self::PullBlob => "pull blob",
            Self::PushBlob => "push blob",
        }
    }
}

/// What an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which registry.
    pub side: Side,
    /// Repository there.
    pub repository: String,
    /// Tag of the image on whose behalf it happened; empty where there is none.
    pub tag: String,
    /// Digest of the blob or manifest, where it is known. Boxed, for errors are handed on by value.
    pub digest: Option<Box<Digest>>,
    /// What was being done.
    pub step: Step,
}

impl Subject {
    /// What tells this request from others, for seeded decisions: everything but the tag of a blob's image, since
    /// several images share a blob and any of them may be the one that fetches it.
    pub(crate) fn identity(&self) -> String {
        let what = self.digest.as_ref().map_or_else(|| self.tag.clone(), ToString::to_string);
        format!("{} {} {what} {}", self.side, self.repository, self.step.as_str())
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.side, self.repository)?;
        if !self.tag.is_empty() {
            write!(f, ":{}", self.tag)?;
        }
        write!(f, ": {}", self.step.as_str())?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, " {digest}"))
    }
}

/// Why an image could not be copied. Cheap to clone: several images may wait for one blob.
#[derive(Clone, Debug, Error)]
pub enum CopyError {
    /// It was told to stop.
    #[error("cancelled")]
    Cancelled,
    /// A registry refused, or broke the protocol, in a way that another attempt would not mend.
    #[error("{subject}")]
    Refused {
        /// What was refused.
        subject: Subject,
        /// In what way.
        #[source]
        cause: Arc<RequestError>,
    },
    /// All attempts failed.
    #[error("{subject}: given up after {attempts} attempts")]
    GaveUp {
        /// What failed.
        subject: Subject,
        /// How often.
        attempts: u32,
        /// The last time, in this way.
        #[source]
        cause: Arc<RequestError>,
    },
    /// A manifest is not what this program can copy.
    #[error("{subject}: {problem}")]
    Manifest {
        /// Which one.
        subject: Subject,
        /// Why not.
        problem: String,
    },
}

impl CopyError {
    /// Whether the copy was told to stop, rather than failed.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// What it is about; `None` for a cancelled copy.
    pub const fn subject(&self) -> Option<&Subject> {
        match self {
            Self::Cancelled => None,
            Self::Refused { subject, .. } | Self::GaveUp { subject, .. } | Self::Manifest { subject, .. } => {
                Some(subject)
            }
        }
    }

    /// The last failed request, where one is the cause.
    pub fn cause(&self) -> Option<&RequestError> {
        match self {
            Self::Refused { cause, .. } | Self::GaveUp { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_everything_that_helps() {
        let subject = Subject {
            side: Side::Dest,
            repository: "team/app".into(),
            tag: "v1".into(),
            digest: Some(Box::new(Digest::of(b""))),
            step: Step::PushBlob,
        };
        let cause = Arc::new(RequestError::Protocol("no Location".into()));
        let error = CopyError::GaveUp { subject, attempts: 3, cause };
        let wanted = format!("dest team/app:v1: push blob {}: given up after 3 attempts", Digest::of(b""));
        assert_eq!(error.to_string(), wanted);
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no Location");
        assert!(!error.is_cancelled() && CopyError::Cancelled.is_cancelled());
    }

    #[test]
    fn a_shared_blob_has_one_identity() {
        let subject = |tag: &str| Subject {
            side: Side::Source,
            repository: "a".into(),
            tag: tag.into(),
            digest: Some(Box::new(Digest::of(b"x"))),
            step: Step::PullBlob,
        };
        assert_eq!(subject("v1").identity(), subject("v2").identity());
    }
}
