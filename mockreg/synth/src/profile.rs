//! Size profiles: the published distributions of layer sizes as pure functions from a uniform draw to whole bytes,
//! the same on every machine. What they are fitted to and how far they miss it stands at each profile and, with the
//! measured deviation, in `docs/catalogues.md`. Which draw a layer gets is decided in `catalogue`.

mod normal;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A named distribution of layer sizes, in bytes of the compressed blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Docker Hub, 1.8 million layers (Zhao et al., CLUSTER 2019): log-normal with a median of 4 MB and a sigma of
    /// 2.15, between 1 kB and 5 GB. The paper gives a median below 4 MB and a 90th percentile below 63 MB.
    Hub2019,
    /// IBM Cloud registry, 41 million requests (Anwar et al., FAST 2018): log-uniform in three pieces, 65 % from
    /// 1 kB to 1 MB, 15 % to 10 MB, 20 % to 1 GB. The paper gives the two shares and no more.
    Ibm2017,
    /// The fixed mix asked for in zot's benchmark `zb`: 70 % of 1 MiB, 20 % of 10 MiB, 10 % of 100 MiB.
    Zb,
    /// Synthetic, for nothing is published: layers of models, log-uniform from 1 GB to 5 GB.
    Ai,
}

/// There is no profile of this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is not a size profile; known are hub2019, ibm2017, zb and ai")]
pub struct UnknownProfile(String);

impl Profile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hub2019, Self::Ibm2017, Self::Zb, Self::Ai];

    /// Its name in catalogues.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hub2019 => "hub2019",
            Self::Ibm2017 => "ibm2017",
            Self::Zb => "zb",
            Self::Ai => "ai",
        }
    }

    /// The size that belongs to a uniform draw: the quantile at `draw / 2^64`. It never decreases with the draw.
    pub fn quantile(self, draw: u64) -> u64 {
        let share = share(draw);
        match self {
            Self::Hub2019 => hub2019(share),
            Self::Ibm2017 => ibm2017(share),
            // In whole numbers: draws below 7/10 and 9/10 of all.
            Self::Zb if draw < TENTH * 7 => 1 << 20,
            Self::Zb if draw < TENTH * 9 => 10 << 20,
            Self::Zb => 100 << 20,
            Self::Ai => log_uniform(share, 1e9, 5e9),
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, UnknownProfile> {
        let found = Self::ALL.into_iter().find(|profile| profile.name() == text);
        found.ok_or_else(|| UnknownProfile(text.to_owned()))
    }
}

/// A tenth of all draws.
const TENTH: u64 = u64::MAX / 10;

/// A draw as a number strictly between 0 and 1: its upper 52 bits and a half, which an `f64` holds exactly.
fn share(draw: u64) -> f64 {
    ((draw >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

/// Median and sigma fit both published percentiles; the distribution is cut where the normal one has
/// [`HUB_LEAST`] and [`HUB_MOST`] of itself below.
fn hub2019(share: f64) -> u64 {
    let within = HUB_LEAST + share * (HUB_MOST - HUB_LEAST);
    let size = HUB_MEDIAN * libm::exp(HUB_SIGMA * normal::quantile(within));
    (size as u64).clamp(1_000, 5_000_000_000)
}

const HUB_MEDIAN: f64 = 4e6;
const HUB_SIGMA: f64 = 2.15;
/// Share of the log-normal below 1 kB: Φ(ln(10³ / 4·10⁶) / 2.15).
const HUB_LEAST: f64 = 5.723_008_985_929_109e-5;
/// Share below 5 GB: Φ(ln(5·10⁹ / 4·10⁶) / 2.15).
const HUB_MOST: f64 = 0.999_544_558_489_417_3;

/// One log-normal through both published shares would need a sigma of 5: one layer in six would have less than 1 kB and
/// one in seventy more than 10 GB.
fn ibm2017(share: f64) -> u64 {
    match share {
        _ if share < 0.65 => log_uniform(share / 0.65, 1e3, 1e6),
        _ if share < 0.80 => log_uniform((share - 0.65) / 0.15, 1e6, 1e7),
        _ => log_uniform((share - 0.80) / 0.20, 1e7, 1e9),
    }
}

/// `least · (most / least)^share`
fn log_uniform(share: f64, least: f64, most: f64) -> u64 {
    let size = least * libm::exp(share * libm::log(most / least));
    (size as u64).clamp(least as u64, most as u64)
}

#[cfg(test)]
mod tests;
