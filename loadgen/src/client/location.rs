//! Where to go on: the `Location` of an upload's answer or the `Link` of a list, relative or absolute, with or without
//! a query.

use http::Uri;
use http::uri::PathAndQuery;
use mockreg_proto::digest::Digest;
use thiserror::Error;

use super::endpoint::Endpoint;

/// A path and query at the registry that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location(String);

/// Why a `Location` cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LocationError {
    /// It is no URL and no path.
    #[error("`{0}` is no location that can be followed")]
    Malformed(String),
    /// It points to another registry. Nobody follows it there: behind a proxy, that would go past the proxy unnoticed.
    #[error(
        "the way on is `{0}`, at another registry than the one asked; a registry must derive its locations from the \
         request's Host"
    )]
    Elsewhere(String),
}

impl Location {
    /// Resolves `location` against the path of the request it answers (RFC 3986 §5, as far as registries go:
    /// absolute URLs, absolute paths, relative paths and bare queries).
    ///
    /// # Errors
    /// What is malformed, and what leads to another registry.
    pub fn resolve(registry: &Endpoint, request_path: &str, location: &str) -> Result<Self, LocationError> {
        let malformed = || LocationError::Malformed(location.to_owned());
        let path = match location.find("://") {
            // A `://` inside a query is no scheme.
            Some(at) if location[..at].bytes().all(|b| b.is_ascii_alphanumeric()) => {
                let uri: Uri = location.parse().map_err(|_| malformed())?;
                let authority = uri.authority().ok_or_else(malformed)?.as_str();
                let there: Result<Endpoint, _> = format!("{}://{authority}", &location[..at]).parse();
                if there.as_ref() != Ok(registry) {
                    return Err(LocationError::Elsewhere(location.to_owned()));
                }
                uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned()
            }
            _ => absolute(request_path, location).ok_or_else(malformed)?,
        };
        let checked: PathAndQuery = path.parse().map_err(|_| malformed())?;
        Ok(Self(checked.as_str().to_owned()))
    }

    /// Where to go on.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where to end the upload: `digest=` added to whatever query is there, which holds state of the registry.
    pub fn closing(&self, digest: &Digest) -> String {
        let separator = match self.0.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{separator}digest={digest}", self.0)
    }
}

fn absolute(request_path: &str, location: &str) -> Option<String> {
    if location.is_empty() || location.starts_with("//") {
        return None;
    }
    if location.starts_with('/') {
        return Some(location.to_owned());
    }
    let base = request_path.split('?').next().unwrap_or_default();
    if location.starts_with('?') {
        return Some(format!("{base}{location}"));
    }
    let directory = &base[..=base.rfind('/')?];
    Some(format!("{directory}{location}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(location: &str) -> Result<Location, LocationError> {
        let registry = "http://127.0.0.1:5000".parse().unwrap();
        Location::resolve(&registry, "/v2/a/b/blobs/uploads/?x=1", location)
    }

    #[test]
    fn every_form_resolves() {
        for (location, wanted) in [
            ("/v2/a/b/blobs/uploads/17", "/v2/a/b/blobs/uploads/17"),
            ("/v2/a/b/blobs/uploads/17?_state=x%3D", "/v2/a/b/blobs/uploads/17?_state=x%3D"),
            ("http://127.0.0.1:5000/up/17?s=1", "/up/17?s=1"),
            ("17", "/v2/a/b/blobs/uploads/17"),
            ("17?to=http://x/", "/v2/a/b/blobs/uploads/17?to=http://x/"),
            ("?s=2", "/v2/a/b/blobs/uploads/?s=2"),
        ] {
            assert_eq!(resolve(location).unwrap().as_str(), wanted, "{location}");
        }
    }

    #[test]
    fn other_registries_and_nonsense_are_refused() {
        for location in [
            "http://other:5000/x",
            "http://127.0.0.1/x",
            "https://127.0.0.1:5000/x",
            "http://127.0.0.1:5001/x",
        ] {
            assert!(matches!(resolve(location), Err(LocationError::Elsewhere(_))), "{location}");
        }
        for location in ["", "//evil/x", "/a b", "http://"] {
            assert!(matches!(resolve(location), Err(LocationError::Malformed(_))), "{location}");
        }
    }

    #[test]
    fn a_registry_under_tls_leads_to_itself_under_tls_only() {
        let registry = "https://a.test".parse().unwrap();
        let resolve = |location: &str| Location::resolve(&registry, "/v2/", location);
        assert_eq!(resolve("https://a.test:443/x").unwrap().as_str(), "/x");
        for location in ["http://a.test:443/x", "https://a.test:5000/x", "ftp://a.test:443/x"] {
            assert!(matches!(resolve(location), Err(LocationError::Elsewhere(_))), "{location}");
        }
    }

    #[test]
    fn the_digest_joins_the_query() {
        let digest = Digest::of(b"");
        for (location, wanted) in
            [("/u", "/u?"), ("/u?", "/u?"), ("/u?s=1", "/u?s=1&"), ("/u?s=1&", "/u?s=1&")]
        {
            assert_eq!(resolve(location).unwrap().closing(&digest), format!("{wanted}digest={digest}"));
        }
    }

    proptest::proptest! {
        #[test]
        fn what_resolves_is_a_path(location in "[a-z0-9/?=&:%.]{0,40}") {
            if let Ok(resolved) = resolve(&location) {
                proptest::prop_assert!(resolved.as_str().starts_with('/'), "{:?}", resolved);
                proptest::prop_assert!(resolved.closing(&Digest::of(b"")).parse::<PathAndQuery>().is_ok());
            }
        }
    }
}
