//! How the replicator works.

use std::time::Duration;

use super::backoff::RetryPolicy;
use crate::scenario::ReplicatorSettings;

/// Settings of a [`super::Replicator`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicatorConfig {
    /// Images of one repository copied at once; used by whoever schedules images, [`super::copy_command`] here.
    pub tags_in_parallel: usize,
    /// Connections to both registries together; at least 2.
    pub max_connections: usize,
    /// Most bytes of one upload request; at least 1.
    pub chunk: u64,
    /// No byte for so long: the attempt is broken and retried.
    pub idle_timeout: Duration,
    /// When to try again, and when to stop.
    pub retries: RetryPolicy,
    /// Whether downloads are hashed here, or only by the destination.
    pub verify: Verify,
    /// Seed of the back-off's jitter.
    pub seed: u64,
}

/// Who verifies what is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Every blob is hashed on its way, and the destination hashes it again.
    #[default]
    Sha256,
    /// Only the destination does.
    None,
}

impl ReplicatorConfig {
    /// The settings of a scenario.
    pub fn of(settings: &ReplicatorSettings, seed: u64) -> Self {
        let retries = &settings.retries;
        Self {
            tags_in_parallel: settings.tags_in_parallel,
            max_connections: settings.max_connections,
            chunk: settings.chunk.0,
            idle_timeout: settings.idle_timeout.0,
            retries: RetryPolicy {
                attempts: retries.attempts,
                base: retries.base.0,
                cap: retries.cap.0,
                give_up: retries.give_up.0,
            },
            verify: Verify::Sha256,
            seed,
        }
    }
}

impl Default for ReplicatorConfig {
    fn default() -> Self {
        Self {
            tags_in_parallel: 5,
            max_connections: 200,
            chunk: 50_000_000,
            idle_timeout: Duration::from_secs(30),
            retries: RetryPolicy::default(),
            verify: Verify::default(),
            seed: 1,
        }
    }
}
