//! The digests of a catalogue's layers in the cache directory: one file for each set of catalogues, read before digests
//! are computed and written when some were.

use std::collections::BTreeMap;

use mockreg_proto::digest::Digest;
use mockreg_synth::catalogue::Plan;
use mockreg_synth::records;
use mockreg_synth::{LayerDigests, LayerSpec, Tables};

use crate::cache::CacheDir;

/// Layers of one file: 95 bytes each there, and some 250 in memory.
const MOST: usize = 60_000;

/// What is known of the layers of some catalogues.
#[derive(Debug)]
pub(crate) struct KeptDigests {
    cache: CacheDir,
    name: String,
    known: BTreeMap<LayerSpec, LayerDigests>,
    /// Whether there is more than the file has.
    grown: bool,
}

impl KeptDigests {
    /// Reads what is kept of a plan's layers.
    pub(crate) fn of(plan: &Plan, cache: &CacheDir) -> Self {
        let mut text = Vec::new();
        for catalogue in plan.catalogues() {
            serde_json::to_writer(&mut text, catalogue).expect("a catalogue always serialises");
        }
        let name = format!("digests-{}", &Digest::of(&text).hex()[..32]);
        let records = cache.read(&name).and_then(|bytes| records::decode(&bytes)).unwrap_or_default();
        Self { cache: cache.clone(), name, known: records.into_iter().collect(), grown: false }
    }

    /// Makes `tables` know the digests of these layers, as far as they are kept, and tells whether that is all.
    pub(crate) fn teach(&self, tables: &Tables, layers: &[LayerSpec]) -> bool {
        let known = layers.iter().filter_map(|spec| Some((spec, self.known.get(spec)?)));
        let taught = known.map(|(spec, digests)| tables.remember(*spec, digests)).count();
        taught == layers.len()
    }

    /// Takes over from `tables` what it knows of these layers by now.
    pub(crate) fn learn(&mut self, tables: &Tables, layers: &[LayerSpec]) {
        for spec in layers {
            if self.known.len() < MOST && !self.known.contains_key(spec) {
                self.known.insert(*spec, tables.digests(*spec));
                self.grown = true;
            }
        }
    }

    /// Writes what is new.
    pub(crate) fn keep(self) {
        if self.grown && self.cache.keeps() {
            let records: Vec<_> = self.known.into_iter().collect();
            self.cache.write(&self.name, &records::encode(&records));
        }
    }
}
