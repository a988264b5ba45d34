//! Which endpoint a request is for. Paths are read from the right, so that a repository may have segments called
//! `blobs`, `manifests`, `tags` or `uploads`. What an endpoint does is in `handlers`.

use http::Method;
use mockreg_proto::journal::Kind;

use mockreg_proto::query;

/// An endpoint of the distribution specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags,
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest,
    /// `/v2/NAME/referrers/DIGEST`
    Referrers,
    /// `/v2/NAME/blobs/DIGEST`
    Blob,
    /// `/v2/NAME/blobs/uploads/`
    Uploads,
    /// `/v2/NAME/blobs/uploads/ID`
    Upload,
    /// `/token`
    Token,
}

struct Route {
    /// The last segments; `*` stands for any one.
    tail: &'static [&'static str],
    /// Whether a repository name stands before them.
    named: bool,
    endpoint: Endpoint,
    kind: Kind,
    methods: &'static [Method],
    allow: &'static str,
}

const READ: &[Method] = &[Method::GET, Method::HEAD];

/// The first row whose tail fits wins; an upload session is told from a blob by standing before it.
const ROUTES: &[Route] = &[
    Route {
        tail: &[],
        named: false,
        endpoint: Endpoint::Base,
        kind: Kind::Base,
        methods: READ,
        allow: "GET, HEAD",
    },
    Route {
        tail: &[""],
        named: false,
        endpoint: Endpoint::Base,
        kind: Kind::Base,
        methods: READ,
        allow: "GET, HEAD",
    },
    Route {
        tail: &["_catalog"],
        named: false,
        endpoint: Endpoint::Catalog,
        kind: Kind::Catalog,
        methods: READ,
        allow: "GET, HEAD",
    },
    Route {
        tail: &["tags", "list"],
        named: true,
        endpoint: Endpoint::Tags,
        kind: Kind::Tags,
        methods: READ,
        allow: "GET, HEAD",
    },
    Route {
        tail: &["manifests", "*"],
        named: true,
        endpoint: Endpoint::Manifest,
        kind: Kind::Manifest,
        methods: &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
        allow: "GET, HEAD, PUT, DELETE",
    },
    Route {
        tail: &["referrers", "*"],
        named: true,
        endpoint: Endpoint::Referrers,
        kind: Kind::Referrers,
        methods: READ,
        allow: "GET, HEAD",
    },
    Route {
        tail: &["blobs", "uploads", ""],
        named: true,
        endpoint: Endpoint::Uploads,
        kind: Kind::Upload,
        methods: &[Method::POST],
        allow: "POST",
    },
    Route {
        tail: &["blobs", "uploads"],
        named: true,
        endpoint: Endpoint::Uploads,
        kind: Kind::Upload,
        methods: &[Method::POST],
        allow: "POST",
    },
    Route {
        tail: &["blobs", "uploads", "*"],
        named: true,
        endpoint: Endpoint::Upload,
        kind: Kind::Upload,
        methods: &[Method::GET, Method::PATCH, Method::PUT, Method::DELETE],
        allow: "GET, PATCH, PUT, DELETE",
    },
    Route {
        tail: &["blobs", "*"],
        named: true,
        endpoint: Endpoint::Blob,
        kind: Kind::Blob,
        methods: &[Method::GET, Method::HEAD, Method::DELETE],
        allow: "GET, HEAD, DELETE",
    },
];

/// The token service stands beside the specification's routes.
const TOKEN: Route = Route {
    tail: &[],
    named: false,
    endpoint: Endpoint::Token,
    kind: Kind::Token,
    methods: &[Method::GET, Method::POST],
    allow: "GET, POST",
};

/// What a request is for. Name and reference are as given, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) kind: Kind,
    /// Repository name, empty where the route has none.
    pub(crate) repository: String,
    /// Tag, digest or upload id, empty where the route has none.
    pub(crate) reference: String,
    methods: &'static [Method],
    /// The methods of the route, as an `Allow` header has them.
    pub(crate) allow: &'static str,
}

impl Target {
    /// The target of a path; `None` where no route fits.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path == "/token" {
            return TOKEN.fit("");
        }
        let rest = path.strip_prefix("/v2")?;
        ROUTES.iter().find_map(|route| route.fit(rest))
    }

    /// Whether the route has this method.
    pub(crate) fn answers(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }
}

impl Route {
    /// `rest` is what stands after `/v2`: nothing, or segments each after its slash.
    fn fit(&self, rest: &str) -> Option<Target> {
        let (mut before, mut reference) = (rest, "");
        for wanted in self.tail.iter().rev() {
            let (left, given) = before.rsplit_once('/')?;
            match *wanted {
                "*" => reference = given,
                wanted if wanted == given => {}
                _ => return None,
            }
            before = left;
        }
        let repository = match before.strip_prefix('/') {
            Some(name) if self.named => name,
            None if !self.named && before.is_empty() => "",
            _ => return None,
        };
        Some(Target {
            endpoint: self.endpoint,
            kind: self.kind,
            repository: query::decode(repository),
            reference: query::decode(reference),
            methods: self.methods,
            allow: self.allow,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<(Endpoint, String, String)> {
        Target::of(path).map(|target| (target.endpoint, target.repository, target.reference))
    }

    #[test]
    fn paths_are_read_from_the_right() {
        for (path, endpoint, repository, reference) in [
            ("/v2", Endpoint::Base, "", ""),
            ("/v2/", Endpoint::Base, "", ""),
            ("/token", Endpoint::Token, "", ""),
            ("/v2/_catalog", Endpoint::Catalog, "", ""),
            ("/v2/a/tags/list", Endpoint::Tags, "a", ""),
            ("/v2/a/b/c/manifests/v1", Endpoint::Manifest, "a/b/c", "v1"),
            ("/v2/a/manifests/sha256%3aab", Endpoint::Manifest, "a", "sha256:ab"),
            ("/v2/a/referrers/sha256:ab", Endpoint::Referrers, "a", "sha256:ab"),
            ("/v2/a/blobs/sha256:ab", Endpoint::Blob, "a", "sha256:ab"),
            ("/v2/a/blobs/uploads/", Endpoint::Uploads, "a", ""),
            ("/v2/a/blobs/uploads", Endpoint::Uploads, "a", ""),
            ("/v2/a/blobs/uploads/77", Endpoint::Upload, "a", "77"),
            (
                "/v2/blobs/manifests/tags/uploads/manifests/v1",
                Endpoint::Manifest,
                "blobs/manifests/tags/uploads",
                "v1",
            ),
            ("/v2/manifests/manifests/manifests", Endpoint::Manifest, "manifests", "manifests"),
            ("/v2/a/blobs/uploads/tags/list", Endpoint::Tags, "a/blobs/uploads", ""),
            ("/v2/a/blobs/uploads/blobs/sha256:ab", Endpoint::Blob, "a/blobs/uploads", "sha256:ab"),
            ("/v2/a/blobs/uploads/blobs/uploads/7", Endpoint::Upload, "a/blobs/uploads", "7"),
        ] {
            assert_eq!(target(path), Some((endpoint, repository.into(), reference.into())), "{path}");
        }
    }

    #[test]
    fn what_fits_nothing_has_no_target() {
        for path in [
            "/",
            "/token/",
            "/v2/token",
            "/v1/",
            "/v2x",
            "/v2/a",
            "/v2/tags/list",
            "/v2/manifests/v1",
            "/v2/blobs/uploads/",
            "/v2//",
        ] {
            assert_eq!(target(path), None, "{path}");
        }
    }

    #[test]
    fn allow_says_what_the_route_answers() {
        for route in ROUTES.iter().chain([&TOKEN]) {
            let names: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
            assert_eq!(route.allow, names.join(", "));
        }
    }
}
