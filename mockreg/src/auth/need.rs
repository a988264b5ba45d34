//! What a request needs to be allowed, as a list of scopes; none for requests that anyone with a name may send. Pure.

use http::Method;
use mockreg_proto::query::Query;
use mockreg_proto::reference::RepositoryName;

use super::scope::{Action, Scope};
use crate::route::{Endpoint, Target};

/// What a request needs. The repository's name is checked already.
pub(crate) fn needs(target: &Target, method: &Method, query: &Query, push_deletes: bool) -> Vec<Scope> {
    let actions: &[Action] = match (target.endpoint, method.as_str()) {
        (Endpoint::Base | Endpoint::Token, _) => return Vec::new(),
        (Endpoint::Catalog, _) => return vec![Scope::Catalog],
        (_, "GET" | "HEAD") => &[Action::Pull],
        (_, "DELETE") if !push_deletes => &[Action::Delete],
        // Whoever pushes looks first at what is there.
        _ => &[Action::Pull, Action::Push],
    };
    let mut needs = vec![Scope::repository(&target.repository, actions)];
    if target.endpoint == Endpoint::Uploads
        && query.first("mount").is_some()
        && let Some(from) = query.first("from")
        // What is no name has no blob either, which the handler finds out.
        && from.parse::<RepositoryName>().is_ok()
        && from != target.repository
    {
        needs.push(Scope::repository(from, &[Action::Pull]));
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::scope::list;

    #[test]
    fn each_endpoint_needs_what_it_touches() {
        for (method, target, wanted) in [
            ("GET", "/v2/", ""),
            ("GET", "/token?scope=x", ""),
            ("GET", "/v2/_catalog", "registry:catalog:*"),
            ("GET", "/v2/a/tags/list", "repository:a:pull"),
            ("HEAD", "/v2/a/b/manifests/v1", "repository:a/b:pull"),
            ("PUT", "/v2/a/manifests/v1", "repository:a:pull,push"),
            ("DELETE", "/v2/a/manifests/v1", "repository:a:delete"),
            ("GET", "/v2/a/blobs/sha256:0", "repository:a:pull"),
            ("DELETE", "/v2/a/blobs/sha256:0", "repository:a:delete"),
            ("POST", "/v2/a/blobs/uploads/", "repository:a:pull,push"),
            ("GET", "/v2/a/blobs/uploads/7", "repository:a:pull"),
            ("DELETE", "/v2/a/blobs/uploads/7", "repository:a:delete"),
            (
                "POST",
                "/v2/a/blobs/uploads/?mount=sha256:0&from=b",
                "repository:a:pull,push repository:b:pull",
            ),
            ("POST", "/v2/a/blobs/uploads/?mount=sha256:0&from=a", "repository:a:pull,push"),
            ("POST", "/v2/a/blobs/uploads/?mount=sha256:0&from=%22", "repository:a:pull,push"),
            ("POST", "/v2/a/blobs/uploads/?mount=sha256:0", "repository:a:pull,push"),
        ] {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let method = method.parse().unwrap();
            let needed = |push_deletes| {
                list(&needs(&Target::of(path).unwrap(), &method, &Query::parse(Some(query)), push_deletes))
            };
            assert_eq!(needed(false), wanted, "{method} {target}");
            assert_eq!(needed(true), wanted.replace("delete", "pull,push"), "{method} {target}");
        }
    }
}
