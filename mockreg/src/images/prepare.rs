//! Digests computed ahead, so that the first client of a catalogue does not wait for them. In the background and in
//! small steps, and only as many as are remembered: the rest of a larger catalogue is computed as it is asked for.

use std::sync::Arc;

use mockreg_synth::catalogue::Plan;
use mockreg_synth::image::{PlannedLayer, TagSpec};
use mockreg_synth::{LayerSpec, Tables};
use tokio::task::JoinError;

use super::kept::KeptDigests;
use crate::cache::CacheDir;

/// Layers computed ahead. A millisecond and a half each, and below what [`Tables`] remember.
const AHEAD: usize = 20_000;
/// Layers of one step: about as long as a processor takes for them, a registry takes to stop.
const STEP: usize = 128;

/// The work, as far as it has come.
#[derive(Debug)]
struct Progress {
    kept: KeptDigests,
    /// The last repository done.
    after: Option<String>,
    layers: usize,
    end: bool,
}

/// Computes the digests of a plan's layers, the first [`AHEAD`] of them. `wanted` is asked between steps.
pub(super) async fn prepare(
    plan: Arc<Plan>,
    tables: Arc<Tables>,
    cache: CacheDir,
    wanted: impl Fn() -> bool,
) -> Result<(), JoinError> {
    let read = Arc::clone(&plan);
    let kept = tokio::task::spawn_blocking(move || KeptDigests::of(&read, &cache)).await?;
    let mut progress = Progress { kept, after: None, layers: 0, end: false };
    while !progress.end && wanted() {
        let (plan, tables) = (Arc::clone(&plan), Arc::clone(&tables));
        progress = tokio::task::spawn_blocking(move || progress.step(&plan, &tables)).await?;
    }
    if progress.layers >= AHEAD {
        tracing::info!(
            layers = AHEAD,
            "a large catalogue: the digests of further layers are computed when asked for"
        );
    }
    tokio::task::spawn_blocking(move || progress.kept.keep()).await
}

impl Progress {
    fn step(mut self, plan: &Plan, tables: &Tables) -> Self {
        let mut layers: Vec<LayerSpec> = Vec::new();
        self.end = true;
        let after = self.after.take();
        for repository in plan.repositories_after(after.as_deref()) {
            let left = AHEAD - self.layers;
            let layers_of =
                |image: TagSpec| image.layers().filter_map(PlannedLayer::spec).collect::<Vec<_>>();
            let images = repository.images().flat_map(layers_of);
            let own: Vec<LayerSpec> = images.take(left).collect();
            self.layers += own.len();
            layers.extend(own);
            self.after = Some(repository.name().to_owned());
            if layers.len() >= STEP || self.layers >= AHEAD {
                self.end = self.layers >= AHEAD;
                break;
            }
        }
        layers.sort_unstable();
        layers.dedup();
        if !self.kept.teach(tables, &layers) {
            tables.prepare(&layers);
            self.kept.learn(tables, &layers);
        }
        self
    }
}
