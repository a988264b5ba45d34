//! The scenarios that come with the program; their files are manuals of the format.

/// Name and text of each built-in scenario.
pub const BUILTIN: &[(&str, &str)] = &[
    ("network_resilience", include_str!("../../../fixtures/scenarios/network_resilience.yaml")),
    ("smoke", include_str!("../../../fixtures/scenarios/smoke.yaml")),
];

/// The text of a built-in scenario.
pub fn builtin(name: &str) -> Option<&'static str> {
    BUILTIN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}
