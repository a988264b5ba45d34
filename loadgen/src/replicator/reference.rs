//! Images as people name them on a command line: `http[s]://host:port/repository:tag`.

use std::fmt;
use std::str::FromStr;

use mockreg::verify::{Address, AddressError};
use mockreg_proto::reference::{RepositoryName, Tag};
use thiserror::Error;

use crate::client::Endpoint;

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
    /// It is no address at all.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// Reads what [`Address`] does, with a repository in it.
impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let address: Address = text.parse()?;
        let (repository, tag) =
            address.names().ok_or_else(|| ReferenceError::NoRepository(text.to_owned()))?;
        Ok(Self { endpoint: Endpoint::from(&address), repository: repository.clone(), tag: tag.cloned() })
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
        for text in [
            "http://127.0.0.1:5000/library/app:v1",
            "http://127.0.0.1:5000/app",
            "http://[::1]:5000/a/b/c:x",
            "https://h:1/app",
        ] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
        for text in ["127.0.0.1:5000/app:v1", "docker://127.0.0.1:5000/app:v1", "127.0.0.1:5000/app:v1/"] {
            let image: ImageReference = text.parse().unwrap();
            assert_eq!(image.to_string(), "http://127.0.0.1:5000/app:v1");
        }
    }

    #[test]
    fn nonsense_is_refused_for_what_it_is() {
        let error = |text: &str| text.parse::<ImageReference>().unwrap_err();
        assert!(matches!(error("127.0.0.1:5000"), ReferenceError::NoRepository(_)));
        for (text, says) in [
            ("http://127.0.0.1:5000/:v1", "no repository"),
            ("app/web:v1", "needs a port"),
            ("h:1/App:v1", "App"),
            ("h:1/app:v 1", "v 1"),
        ] {
            let error = error(text).to_string();
            assert!(
                error.contains(says) && error.contains("http://127.0.0.1:5000/library/app:v1"),
                "{error}"
            );
        }
    }
}
