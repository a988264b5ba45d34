//! Generated repositories: how many tags and layers each has, which of them stand on a base image of another, and how
//! large their layers are. Every answer is a function of the seed and the repository's name; nothing is kept but the
//! few repositories that serve as bases.

use mockreg_proto::seed::{Seed, below};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::size::{Counts, Size};
use crate::image::{MediaTypes, Platform, Referrers};
use crate::popularity::Zipf;
use crate::spec::{Content, Form};

/// An entry that is generated: `{generate: {prefix: team, count: 200, layers: 3..12, size: hub2019}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generated {
    /// What is generated.
    pub generate: Generate,
}

/// Repositories that the seed fills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// What their names begin with: `team` gives `team/001` to `team/200`.
    pub prefix: String,
    /// How many repositories.
    pub count: u32,
    /// Tags of each, `v1` and so on: a number or a range. Default: 1.
    #[serde(default = "one")]
    pub tags: Counts,
    /// Layers of each image: a number or a range.
    pub layers: Counts,
    /// Size of each layer: a number of bytes, a range or a profile.
    pub size: Size,
    /// Share of the repositories, from 0 to 1, whose images are the layers of another repository and one small layer
    /// of their own: less than 5 % of the image's bytes. Default: 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub shared_base: f64,
    /// How often the images are asked for. Default: a Zipf law whose top 1 % takes half of all pulls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub popularity: Option<PopularityLaw>,
    /// As for a listed repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    /// As for a listed repository.
    #[serde(default, skip_serializing_if = "Referrers::is_none")]
    pub referrers: Referrers,
    /// As in `defaults`, for this entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Form>,
    /// As in `defaults`, for this entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// As in `defaults`, for this entry alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_types: Option<MediaTypes>,
}

/// How often the images of an entry are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PopularityLaw {
    /// Exponent of a Zipf law over the images, from 0 (all alike) to 10.
    pub zipf: f64,
}

fn one() -> Counts {
    Counts::always(1)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

/// Repositories that others stand on, at most: as on a real registry, a few bases carry most images.
const MAX_BASES: usize = 64;
/// A repository's own layer has at most this part of its base: 1 / 21 of the whole, which is below 5 %.
const OWN_PART: u64 = 20;
/// Shares are compared in millionths.
const MILLION: u64 = 1_000_000;

/// A repository of an entry.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    /// Its layers.
    pub(super) layers: u32,
    /// The repository whose leading layers it has, for all but its last.
    pub(super) base: Option<u32>,
}

impl Generate {
    /// The law of popularity over `images`.
    pub(super) fn zipf(&self, images: u64) -> Zipf {
        match self.popularity {
            Some(law) => Zipf::new(images, law.zipf),
            None => Zipf::fitted(images),
        }
    }

    /// The name of a repository, from 0. Numbers are of one length, so names sort as they are counted.
    pub(super) fn name(&self, number: u32) -> String {
        let width = self.count.to_string().len();
        format!("{}/{:0width$}", self.prefix, number + 1)
    }

    /// Whether a repository stands on another one: an even spread, exact to one over all.
    fn is_thin(&self, number: u32) -> bool {
        let share = (self.shared_base * MILLION as f64) as u64;
        let thin_before = |number: u64| number * share / MILLION;
        // Somebody has to be the base.
        number > 0 && thin_before(u64::from(number) + 1) > thin_before(u64::from(number))
    }

    /// The repositories that others stand on.
    pub(super) fn bases(&self) -> Vec<u32> {
        if self.shared_base == 0.0 {
            return Vec::new();
        }
        (0..self.count).filter(|number| !self.is_thin(*number)).take(MAX_BASES).collect()
    }

    /// How many tags a repository has, from 0.
    pub(super) fn tags_of(&self, seed: u64, number: u32) -> u32 {
        if self.tags.least == self.tags.most {
            return self.tags.least;
        }
        let own = Seed::root(seed).child(["generated repository", &self.name(number)]);
        self.tags.at(own.child(["tags"]).draw())
    }

    /// What a repository has, from 0.
    pub(super) fn draw(&self, seed: &Seed, number: u32, bases: &[u32]) -> Drawn {
        let own = seed.child(["generated repository", &self.name(number)]);
        let draw = |what: &str| own.child([what]).draw();
        let layers = self.layers.at(draw("layers"));
        if !self.is_thin(number) {
            return Drawn { layers, base: None };
        }
        let base = bases[below(draw("base"), bases.len() as u64) as usize];
        // Its leading layers are the base's, all but one its own: no more than there are, and one at least.
        let most = self.draw(seed, base, bases).layers + 1;
        Drawn { layers: layers.min(most).max(2), base: Some(base) }
    }

    /// The size of the one layer that a repository adds to `base` bytes of another's.
    pub(super) fn own_size(drawn: u64, base: u64) -> u64 {
        drawn.min(base / OWN_PART)
    }
}
