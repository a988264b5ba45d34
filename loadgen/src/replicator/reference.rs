//! Images as people name them on a command line: `http://host:port/repository:tag`.

use std::fmt;
use std::str::FromStr;

use mockreg_proto::reference::{NameError, RepositoryName, Tag};
use thiserror::Error;

use crate::client::{Endpoint, EndpointError};

/// A repository at a registry, and perhaps one tag of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// The registry.
    pub endpoint: Endpoint,
    /// The repository.
    pub repository: RepositoryName,
    /// The tag; `None` where all are meant.
    pub tag: Option<Tag>,
}

/// Why a text names no image.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// There is no repository.
    #[error("`{0}` names no repository; write it like http://127.0.0.1:5000/library/app:v1")]
    NoRepository(String),
    /// The part before the first `/` is no registry.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The repository or the tag is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let scheme_end = text.find("://").map_or(0, |at| at + 3);
        let slash = text[scheme_end..].find('/').map(|at| scheme_end + at);
        let slash = slash.ok_or_else(|| ReferenceError::NoRepository(text.to_owned()))?;
        let (endpoint, name) = (&text[..slash], &text[slash + 1..]);
        let (repository, tag) = match name.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.parse()?)),
            None => (name, None),
        };
        if repository.is_empty() {
            return Err(ReferenceError::NoRepository(text.to_owned()));
        }
        Ok(Self { endpoint: endpoint.parse()?, repository: repository.parse()?, tag })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.endpoint, self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_read_as_people_write_them() {
        for text in
            ["http://127.0.0.1:5000/library/app:v1", "http://127.0.0.1:5000/app", "http://[::1]:5000/a/b/c:x"]
        {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
        let bare: ImageReference = "127.0.0.1:5000/app:v1".parse().unwrap();
        assert_eq!(bare.to_string(), "http://127.0.0.1:5000/app:v1");
    }

    #[test]
    fn nonsense_is_refused_for_what_it_is() {
        let error = |text: &str| text.parse::<ImageReference>().unwrap_err();
        assert!(matches!(error("127.0.0.1:5000"), ReferenceError::NoRepository(_)));
        assert!(matches!(error("http://127.0.0.1:5000/:v1"), ReferenceError::NoRepository(_)));
        assert!(matches!(error("app/web:v1"), ReferenceError::Endpoint(_)));
        assert!(matches!(error("https://h:1/app"), ReferenceError::Endpoint(EndpointError::Tls(_))));
        assert!(matches!(error("h:1/App:v1"), ReferenceError::Name(NameError::Repository(_))));
        assert!(matches!(error("h:1/app:v 1"), ReferenceError::Name(NameError::Tag(_))));
    }
}
