//! What a run will do, decided before it starts: the images, their sizes and layers, all drawn from the seed in
//! integers, so that the same scenario and seed give the same plan hash on every machine.

use mockreg_proto::digest::Digest;
use mockreg_proto::seed::{self, Seed};
use mockreg_proto::units::ByteCount;
use mockreg_synth::catalogue::{Catalogue, Entry, LayerEntry, Layers, Repository, Tags};
use serde::Serialize;

use crate::scenario::{Corpus, Scenario};

/// The operations of a run and their hash.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// SHA-256 over seed, effective scenario and operations. The run's id is not part of it.
    pub plan_hash: Digest,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// In the order in which they start.
    pub operations: Vec<Operation>,
}

/// One image tag to copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Position in the plan, from 0.
    pub index: u32,
    /// Repository at the source; at the destination it stands under the run's prefix.
    pub repository: String,
    /// Tag.
    pub tag: String,
    /// Compressed bytes of each layer.
    pub layers: Vec<u64>,
}

impl Plan {
    /// Draws the plan of a scenario.
    pub fn draw(scenario: &Scenario, seed: u64) -> Self {
        let corpus = &scenario.file.corpus;
        let root = Seed::root(seed).child(["corpus"]);
        let operations: Vec<Operation> =
            (0..corpus.images).map(|index| operation(corpus, &root, index)).collect();
        let plan_hash = hash(scenario, seed, &operations);
        Self { plan_hash, seed, operations }
    }

    /// The catalogue that makes a mockreg hold the plan's images.
    pub fn catalogue(&self) -> Catalogue {
        let entry = |operation: &Operation| Repository {
            name: operation.repository.clone(),
            tags: Tags::Listed(vec![operation.tag.clone()]),
            layers: Layers::Listed(
                operation.layers.iter().map(|size| LayerEntry::Size(ByteCount(*size))).collect(),
            ),
            shared_layers: Some(0),
            ..Repository::default()
        };
        Catalogue {
            seed: self.seed,
            repositories: self.operations.iter().map(entry).map(Entry::from).collect(),
            ..Catalogue::default()
        }
    }

    /// Compressed layer bytes of all operations.
    pub fn bytes(&self) -> u64 {
        self.operations.iter().map(Operation::bytes).sum()
    }
}

impl Operation {
    /// Compressed layer bytes.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().sum()
    }
}

fn operation(corpus: &Corpus, root: &Seed, index: u32) -> Operation {
    let draw = |label: &str, bound: u64| seed::below(root.child([label, &index.to_string()]).draw(), bound);
    let (min, max) = (corpus.size.min.0, corpus.size.max.0);
    let size = min + draw("size", max - min + 1);
    let (fewest, most) = (*corpus.layers.0.start(), *corpus.layers.0.end());
    let count = fewest + draw("layers", u64::from(most - fewest + 1)) as u32;
    let weights: Vec<u64> = (0..count)
        .map(|layer| 1 + seed::below(root.child(["weight", &format!("{index} {layer}")]).draw(), 1000))
        .collect();
    Operation {
        index,
        repository: format!("load/app-{:04}", index / corpus.tags_per_repository),
        tag: format!("v{}", index % corpus.tags_per_repository + 1),
        layers: split(size, &weights),
    }
}

/// Splits `size` in proportion to `weights`; every part has at least [`LEAST_LAYER`] bytes, the last one takes
/// what rounding leaves.
fn split(size: u64, weights: &[u64]) -> Vec<u64> {
    let parts = weights.len() as u64;
    let spare = size - parts * LEAST_LAYER;
    let total: u64 = weights.iter().sum();
    let share = |weight: u64| (u128::from(spare) * u128::from(weight) / u128::from(total)) as u64;
    let mut layers: Vec<u64> = weights.iter().map(|weight| LEAST_LAYER + share(*weight)).collect();
    let rest = size - layers.iter().sum::<u64>();
    *layers.last_mut().expect("a scenario has at least one layer an image") += rest;
    layers
}

fn hash(scenario: &Scenario, seed: u64, operations: &[Operation]) -> Digest {
    let canonical = serde_json::to_vec(&(PLAN_VERSION, seed, scenario, operations));
    Digest::of(&canonical.expect("plans have text keys and finite numbers"))
}

/// Changes with the meaning of a plan, so that results of different meanings are never compared.
const PLAN_VERSION: &str = "stormyard plan v1";
/// The least gzip layer of the synthetic format, bytes.
const LEAST_LAYER: u64 = 553;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Wishes, load, resolve};

    fn plan(name: &str, seed: u64) -> Plan {
        Plan::draw(&resolve(load(name).unwrap(), &Wishes::default()).unwrap(), seed)
    }

    #[test]
    fn same_seed_same_plan_and_another_seed_another() {
        let hash = |seed| plan("network_resilience", seed).plan_hash;
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }

    /// 50 images uniform in 2..100 MB: mean 51 MB, so 2.55 GB with a standard deviation of
    /// 98 / sqrt(12) * sqrt(50) = 200 MB; the default seed lies inside three of them.
    #[test]
    fn the_default_run_moves_at_least_two_gigabytes() {
        let plan = plan("network_resilience", 1);
        assert_eq!(plan.operations.len(), 50);
        assert!((2_000_000_000..3_150_000_000).contains(&plan.bytes()), "{}", plan.bytes());
    }

    #[test]
    fn five_tags_share_a_repository() {
        let plan = plan("network_resilience", 1);
        assert_eq!(
            (plan.operations[4].repository.as_str(), plan.operations[4].tag.as_str()),
            ("load/app-0000", "v5")
        );
        assert_eq!(plan.operations[5].repository, "load/app-0001");
    }

    proptest::proptest! {
        #[test]
        fn layers_add_up_to_the_size(
            extra in 0u64..5_000_000_000,
            weights in proptest::collection::vec(1u64..=1000, 1..64),
        ) {
            let size = weights.len() as u64 * LEAST_LAYER + extra;
            let layers = split(size, &weights);
            proptest::prop_assert_eq!(layers.iter().sum::<u64>(), size);
            proptest::prop_assert!(layers.iter().all(|layer| *layer >= LEAST_LAYER));
        }
    }
}
