//! Vendor profiles: how well-known registries differ from the specification, as lists of policy switches, each with a
//! reason and a source that anybody can read. What is not listed is not imitated. The files are beside the program's
//! source in `vendors/` and part of it.

use mockreg_proto::document;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::policy::Policy;

/// The profiles' names and files, sorted.
const PROFILES: &[(&str, &str)] = &[
    ("acr-like", include_str!("../vendors/acr-like.yaml")),
    ("ecr-like", include_str!("../vendors/ecr-like.yaml")),
    ("gcr-like", include_str!("../vendors/gcr-like.yaml")),
    ("harbor-like", include_str!("../vendors/harbor-like.yaml")),
    ("hub", include_str!("../vendors/hub.yaml")),
    ("old-2.7", include_str!("../vendors/old-2.7.yaml")),
    ("quay-like", include_str!("../vendors/quay-like.yaml")),
];

/// A profile.
#[derive(Clone, Debug)]
pub(crate) struct Vendor {
    pub(crate) name: &'static str,
    /// The file, comments and all.
    pub(crate) text: &'static str,
    profile: Profile,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    /// What registry it is like, in a few words.
    summary: String,
    switches: Vec<Switches>,
}

/// Switches that belong together. Reason and source are for people, who read the file; a test wants them there.
#[allow(dead_code, reason = "see above")]
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switches {
    /// Keys of a policy.
    set: Map<String, Value>,
    /// What the registry does.
    because: String,
    /// Where that can be read: a URL.
    source: String,
}

impl Vendor {
    /// All profiles, sorted by name.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        PROFILES.iter().map(|&(name, text)| {
            let profile = document::read(name, text).expect("the profiles are read by a test");
            Self { name, text, profile }
        })
    }

    /// The profile called `name`.
    ///
    /// # Errors
    /// There is none; the text names those there are.
    pub(crate) fn named(name: &str) -> Result<Self, String> {
        Self::all().find(|vendor| vendor.name == name).ok_or_else(|| {
            let names: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
            format!("there is no vendor profile `{name}`; there are {}", names.join(", "))
        })
    }

    /// What it is like, in a few words.
    pub(crate) fn summary(&self) -> &str {
        &self.profile.summary
    }

    /// Its policy, with `overrides` put over its keys.
    ///
    /// # Errors
    /// The overrides are no part of a policy.
    pub(crate) fn policy(&self, overrides: Map<String, Value>) -> Result<Policy, serde_json::Error> {
        let mut keys: Map<String, Value> =
            self.profile.switches.iter().flat_map(|switches| switches.set.clone()).collect();
        keys.extend(overrides);
        serde_json::from_value(Value::Object(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_of_every_profile_changes_something_and_has_a_source() {
        let usual = serde_json::to_value(Policy::default()).unwrap();
        for vendor in Vendor::all() {
            let policy = serde_json::to_value(vendor.policy(Map::new()).unwrap()).unwrap();
            assert!(!vendor.summary().is_empty(), "{}", vendor.name);
            for switches in &vendor.profile.switches {
                for key in switches.set.keys() {
                    assert_ne!(policy[key], usual[key], "{} sets {key} to what it is", vendor.name);
                }
                assert!(switches.source.starts_with("https://"), "{}: {}", vendor.name, switches.source);
                assert!(switches.because.ends_with(['.', ')']), "{}: {}", vendor.name, switches.because);
            }
        }
    }

    #[test]
    fn profiles_are_found_by_name_and_can_be_overridden() {
        let names: Vec<_> = PROFILES.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted());
        let hub = Vendor::named("hub").unwrap();
        assert_eq!(hub.policy(Map::new()).unwrap().quotas[0].requests.get(), 100);
        let without: Map<_, _> = [("quotas".to_owned(), Value::Array(Vec::new()))].into_iter().collect();
        let policy = hub.policy(without).unwrap();
        assert!(policy.quotas.is_empty() && !policy.delete_tags);
        assert!(Vendor::named("hup").unwrap_err().contains("harbor-like, hub"));
    }
}
