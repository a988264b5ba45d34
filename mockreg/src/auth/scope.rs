//! Rights and how they are written: `repository:library/app:pull,push` for one repository, `registry:catalog:*` for
//! the list of them. What a request needs, what a token grants and what a challenge asks for are all lists of these.
//! Pure.

use std::fmt;

use mockreg_proto::reference::RepositoryName;
use serde::{Deserialize, Serialize};

/// Most scopes read from one token request. A client that mounts asks for two; a token for so many of the longest
/// names still fits into a request's head.
pub(crate) const MAX_SCOPES: usize = 64;

/// What may be done with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read manifests, blobs, tags and referrers.
    Pull,
    /// Upload blobs and manifests.
    Push,
    /// Delete tags, manifests, blobs and unfinished uploads.
    Delete,
}

const NAMES: [(Action, &str); 3] =
    [(Action::Pull, "pull"), (Action::Push, "push"), (Action::Delete, "delete")];

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Actions(u8);

impl Actions {
    /// Every action: `*`.
    pub(crate) const ALL: Self = Self(0b111);

    /// These actions.
    pub(crate) fn of(actions: &[Action]) -> Self {
        actions.iter().fold(Self::default(), |set, action| Self(set.0 | 1 << *action as u8))
    }

    /// Reads `pull,push`; words that are no action are left out.
    fn parse(text: &str) -> Self {
        text.split(',').fold(Self::default(), |set, word| {
            match NAMES.iter().find(|(_, name)| *name == word) {
                Some((action, _)) => Self(set.0 | Self::of(&[*action]).0),
                None if word == "*" => Self::ALL,
                None => set,
            }
        })
    }

    /// Whether all of `wanted` are in the set.
    pub(crate) fn include(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions that are in both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Display for Actions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().filter(|(action, _)| self.include(Self::of(&[*action])));
        f.write_str(&names.map(|(_, name)| *name).collect::<Vec<_>>().join(","))
    }
}

/// Rights to one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Scope {
    /// Actions on a repository, whose name is checked.
    Repository(String, Actions),
    /// Reading the list of repositories.
    Catalog,
}

impl Scope {
    /// Actions on a repository with a checked name.
    pub(crate) fn repository(name: &str, actions: &[Action]) -> Self {
        Self::Repository(name.to_owned(), Actions::of(actions))
    }

    /// Reads one scope; `None` where it names nothing that this registry has.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        // A class, as in `repository(plugin)`, changes nothing.
        match kind.split('(').next()? {
            "repository" => {
                name.parse::<RepositoryName>().ok()?;
                let actions = Actions::parse(actions);
                (!actions.is_empty()).then(|| Self::Repository(name.to_owned(), actions))
            }
            "registry" if name == "catalog" && actions == "*" => Some(Self::Catalog),
            _ => None,
        }
    }

    /// Reads scopes separated by spaces; those that name nothing are left out.
    pub(crate) fn parse_list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Self> {
        texts.into_iter().flat_map(|text| text.split(' ')).filter_map(Self::parse).take(MAX_SCOPES).collect()
    }

    /// What an anonymous client gets of it, where it may pull.
    pub(crate) fn pull_only(&self) -> Option<Self> {
        match self {
            Self::Repository(name, actions) => {
                let actions = actions.and(Actions::of(&[Action::Pull]));
                (!actions.is_empty()).then(|| Self::Repository(name.clone(), actions))
            }
            Self::Catalog => None,
        }
    }

    fn covers(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Repository(name, given), Self::Repository(other, wanted)) => {
                name == other && given.include(*wanted)
            }
            (Self::Catalog, Self::Catalog) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repository(name, actions) => write!(f, "repository:{name}:{actions}"),
            Self::Catalog => f.write_str("registry:catalog:*"),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

impl TryFrom<String> for Scope {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("no scope of this registry")
    }
}

/// Scopes as a challenge and a token answer write them.
pub(crate) fn list(scopes: &[Scope]) -> String {
    scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// What whoever sent a request may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything: nobody is asked, or the client has said who it is.
    Everything,
    /// Nobody in particular, who may pull everywhere.
    Pulls,
    /// What a token grants.
    Granted(Vec<Scope>),
}

impl Access {
    /// Whether this much is allowed.
    pub(crate) fn covers(&self, wanted: &Scope) -> bool {
        match self {
            Self::Everything => true,
            Self::Pulls => wanted.pull_only().as_ref() == Some(wanted),
            Self::Granted(scopes) => scopes.iter().any(|scope| scope.covers(wanted)),
        }
    }

    /// Whether `action` is allowed on a repository with a checked name.
    pub(crate) fn may(&self, repository: &str, action: Action) -> bool {
        self.covers(&Scope::repository(repository, &[action]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_and_written_alike() {
        for (text, wanted) in [
            ("repository:a:pull", Some("repository:a:pull")),
            ("repository:a/b/c:push,pull", Some("repository:a/b/c:pull,push")),
            ("repository:a:*", Some("repository:a:pull,push,delete")),
            ("repository:a:pull,fly", Some("repository:a:pull")),
            ("repository(plugin):a:pull", Some("repository:a:pull")),
            ("registry:catalog:*", Some("registry:catalog:*")),
            ("registry:catalog:pull", None),
            ("repository:a:fly", None),
            ("repository:A:pull", None),
            ("repository:a\"b:pull", None),
            ("repository:a", None),
            ("aws:a:pull", None),
            ("", None),
        ] {
            assert_eq!(Scope::parse(text).map(|scope| scope.to_string()).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn lists_are_separated_by_spaces_and_bounded() {
        let read = Scope::parse_list(["repository:a:pull nonsense  repository:b:push", "registry:catalog:*"]);
        assert_eq!(list(&read), "repository:a:pull repository:b:push registry:catalog:*");
        let many = "repository:a:pull ".repeat(1000);
        assert_eq!(Scope::parse_list([many.as_str()]).len(), MAX_SCOPES);
    }

    #[test]
    fn access_is_what_was_granted() {
        let granted = Access::Granted(Scope::parse_list(["repository:a:pull,push repository:b:pull"]));
        for (repository, action, wanted) in [
            ("a", Action::Pull, true),
            ("a", Action::Push, true),
            ("a", Action::Delete, false),
            ("b", Action::Push, false),
            ("c", Action::Pull, false),
        ] {
            assert_eq!(granted.may(repository, action), wanted, "{repository} {action:?}");
            assert!(Access::Everything.may(repository, action));
            assert_eq!(Access::Pulls.may(repository, action), action == Action::Pull);
        }
        assert!(!granted.covers(&Scope::Catalog) && !Access::Pulls.covers(&Scope::Catalog));
    }

    proptest::proptest! {
        #[test]
        fn no_scope_panics(text in "(repository|registry)?[:a-z,*( ]{0,30}") {
            if let Some(scope) = Scope::parse(&text) {
                proptest::prop_assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
            }
        }
    }
}
