//! What a registry has counted, in one piece: the answer of `GET /counters`. Where the figures come from is `metrics`,
//! `tally`, `store` and `journal`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::journal::Extent;
use crate::metrics::{Levels, Totals};
use crate::tally::Tallied;

/// Figures of one registry, counted since its start or the last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Sums.
    #[serde(flatten)]
    pub totals: Totals,
    /// What is held at this moment.
    #[serde(flatten)]
    pub levels: Levels,
    /// What tells a thrifty client from a wasteful one.
    #[serde(flatten)]
    pub tallied: Tallied,
    /// Connections open now.
    pub open_connections: u64,
    /// How far the journal has come.
    pub journal: Extent,
}
