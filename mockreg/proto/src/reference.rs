//! Names as registries spell them: repositories, tags, and references that are either a tag or a digest.
//! What is parsed here is well formed; whether it exists is the registry's business.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::digest::{Digest, DigestError};

/// Longest repository name: the distribution specification advises 255 characters for host and name together,
/// and every client examined keeps to it.
pub const MAX_NAME: usize = 255;
/// Longest tag, from the specification.
pub const MAX_TAG: usize = 128;

/// A repository name, one or more path segments: `library/app`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

/// A tag: `latest`, `v1.2.3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// What names a manifest inside a repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// By a name that can move.
    Tag(Tag),
    /// By its content.
    Digest(Digest),
}

/// Why a text is no repository name, tag or reference.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The repository name breaks the specification's grammar.
    #[error(
        "`{0}` is not a repository name: lower-case letters and digits in segments separated by `/`, with single \
         `.`, one or two `_`, or `-` between them"
    )]
    Repository(String),
    /// The repository name is longer than [`MAX_NAME`].
    #[error("a repository name has at most {MAX_NAME} characters, not {0}")]
    TooLong(usize),
    /// The tag breaks the specification's grammar.
    #[error(
        "`{0}` is not a tag: up to {MAX_TAG} letters, digits, `_`, `.` and `-`, the first a letter, digit or `_`"
    )]
    Tag(String),
    /// There is a `:` or `@`, so a digest is meant, but it is malformed.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

/// Whether `segment` is `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_segment(segment: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let separator = |run: &[u8]| matches!(run, b"." | b"_" | b"__") || run.iter().all(|b| *b == b'-');
    let bytes = segment.as_bytes();
    let ends_well = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends_well && bytes.split(alphanumeric).all(separator)
}

impl RepositoryName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_NAME {
            return Err(NameError::TooLong(text.len()));
        }
        if !text.split('/').all(is_segment) {
            return Err(NameError::Repository(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let bytes = text.as_bytes();
        let fits = bytes.first().copied().is_some_and(word)
            && bytes.len() <= MAX_TAG
            && bytes.iter().all(|b| word(*b) || matches!(b, b'.' | b'-'));
        fits.then(|| Self(text.to_owned())).ok_or_else(|| NameError::Tag(text.to_owned()))
    }
}

impl FromStr for Reference {
    type Err = NameError;

    /// A tag cannot hold a `:`, so whatever has one is meant as a digest.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for name in ["a", "a/b", "library/app", "a.b_c__d---e/0", "blobs/manifests/tags/uploads"] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
        for name in
            ["", "/", "a/", "/a", "a//b", "A", "a..b", "a___b", "a._b", "-a", "a-", "a b", "ä", "a/../b"]
        {
            assert!(matches!(name.parse::<RepositoryName>(), Err(NameError::Repository(_))), "{name}");
        }
        assert_eq!("a".repeat(256).parse::<RepositoryName>(), Err(NameError::TooLong(256)));
        assert!("a".repeat(255).parse::<RepositoryName>().is_ok());
    }

    #[test]
    fn tags_follow_the_grammar() {
        for tag in ["latest", "v1.2-rc_3", "_", "0", "A".repeat(128).as_str()] {
            assert_eq!(tag.parse::<Tag>().unwrap().as_str(), tag);
        }
        for tag in ["", ".a", "-a", "a/b", "a b", "a+b", "A".repeat(129).as_str()] {
            assert!(tag.parse::<Tag>().is_err(), "{tag}");
        }
    }

    #[test]
    fn a_colon_makes_a_digest() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string().parse(), Ok(Reference::Digest(digest)));
        assert!(matches!("v1".parse(), Ok(Reference::Tag(_))));
        assert!(matches!("sha256:baddigeststring".parse::<Reference>(), Err(NameError::Digest(_))));
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_to_itself_or_an_error(text in "[a-c./_A:-]{0,12}") {
            if let Ok(name) = text.parse::<RepositoryName>() {
                proptest::prop_assert_eq!(name.as_str(), &text);
                proptest::prop_assert!(!text.contains("//") && !text.contains(".."));
            }
            if let Ok(reference) = text.parse::<Reference>() {
                proptest::prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
