//! What a catalogue holds in numbers. No digest is needed for it: layers are told apart by their identities.

use std::collections::HashSet;
use std::fmt::Write as _;

use mockreg_synth::catalogue::{Plan, Pull};
use mockreg_synth::image::{PlannedLayer, TagSpec};
use mockreg_synth::{LayerId, LayerSpec};
use serde::Serialize;

use super::sizes::{Column, Percentiles, Sizes, short};

/// Images named as the most popular.
const TOP: usize = 5;
/// An image whose new bytes are fewer than one in so many is one of little news.
const FEW: u64 = 20;

/// Adds up what a catalogue holds, image by image.
#[derive(Debug, Default)]
pub(super) struct Counting {
    images: u64,
    platform_images: u64,
    artifacts: u64,
    layers: u64,
    foreign_layers: u64,
    layer_sizes: Sizes,
    image_sizes: Sizes,
    /// Layers met before. Sixteen bytes each and some room.
    seen: HashSet<(LayerId, u64)>,
    little_news: u64,
}

/// What a catalogue holds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    repositories: u64,
    /// Tags; each is an image or an index.
    images: u64,
    /// Images of one platform.
    platform_images: u64,
    /// Artifacts that refer to images.
    artifacts: u64,
    /// Layers of all images, shared ones counted in each.
    layers: u64,
    unique_layers: u64,
    /// Layers that lie elsewhere; their bytes are in no sum.
    foreign_layers: u64,
    /// Layer bytes of all images, shared ones counted in each.
    total_bytes: u64,
    unique_bytes: u64,
    /// Share of the images of which less than 5 % of the bytes are in no image before them.
    images_with_few_new_bytes: f64,
    unique_layer_sizes: Percentiles,
    image_sizes: Percentiles,
    unique_layer_histogram: Vec<Column>,
    popularity: Popularity,
}

#[derive(Debug, Serialize)]
struct Popularity {
    /// Exponents of the entries' Zipf laws, in the order of the catalogue; 0 where all images are alike.
    exponents: Vec<f64>,
    /// Share of all pulls that the most popular hundredth of each entry's images take.
    top_hundredth: f64,
    most_popular: Vec<Popular>,
}

#[derive(Debug, Serialize)]
struct Popular {
    repository: String,
    tag: String,
    share: f64,
}

impl From<Pull> for Popular {
    fn from(pull: Pull) -> Self {
        Self { repository: pull.repository, tag: pull.tag, share: pull.weight }
    }
}

impl Counting {
    /// Counts what a tag names.
    pub(super) fn add(&mut self, tag: &TagSpec) {
        self.images += 1;
        self.platform_images += tag.images.len() as u64;
        self.artifacts += tag.referrers.count();
        let (mut size, mut new) = (0, 0);
        for layer in tag.layers() {
            self.layers += 1;
            match layer {
                PlannedLayer::Made(spec) => {
                    size += spec.size();
                    new += self.news(spec);
                }
                PlannedLayer::Foreign(_) => self.foreign_layers += 1,
                PlannedLayer::Empty => size += layer.size(),
            }
        }
        self.image_sizes.add(size);
        self.little_news += u64::from(new * FEW < size);
    }

    /// Images counted so far.
    pub(super) const fn images(&self) -> u64 {
        self.images
    }

    /// The bytes of a layer that was not met before.
    fn news(&mut self, spec: &LayerSpec) -> u64 {
        if !self.seen.insert((spec.id(), spec.size())) {
            return 0;
        }
        self.layer_sizes.add(spec.size());
        spec.size()
    }

    /// The result.
    pub(super) fn finish(self, plan: &Plan) -> Summary {
        let pulls = plan.pulls();
        Summary {
            repositories: plan.len() as u64,
            images: self.images,
            platform_images: self.platform_images,
            artifacts: self.artifacts,
            layers: self.layers,
            unique_layers: self.seen.len() as u64,
            foreign_layers: self.foreign_layers,
            total_bytes: self.image_sizes.sum(),
            unique_bytes: self.layer_sizes.sum(),
            images_with_few_new_bytes: self.little_news as f64 / self.images.max(1) as f64,
            unique_layer_sizes: self.layer_sizes.percentiles(),
            image_sizes: self.image_sizes.percentiles(),
            unique_layer_histogram: self.layer_sizes.histogram(),
            popularity: Popularity {
                exponents: pulls.exponents().collect(),
                top_hundredth: pulls.share_of_top_hundredth(),
                most_popular: pulls.top(TOP).into_iter().map(Popular::from).collect(),
            },
        }
    }
}

impl Summary {
    /// Layer bytes of all images, shared ones counted in each.
    pub(super) const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| writeln!(text, "{line}").expect("a string takes everything");
        line(format!("repositories   {}", self.repositories));
        line(format!("images         {}{}", self.images, self.kinds()));
        line(format!("layers         {}, {} of them unique", self.layers, self.unique_layers));
        line(format!(
            "bytes          {} ({} bytes), {} ({} bytes) of them unique",
            short(self.total_bytes),
            self.total_bytes,
            short(self.unique_bytes),
            self.unique_bytes
        ));
        line(format!(
            "sharing        {:.1} % of the images bring less than 5 % new bytes",
            self.images_with_few_new_bytes * 100.0
        ));
        line(format!("unique layers  {}", self.unique_layer_sizes.text()));
        line(format!("images         {}", self.image_sizes.text()));
        let all = self.unique_layers.max(1);
        self.unique_layer_histogram.iter().for_each(|column| line(column.text(all)));
        let popularity = &self.popularity;
        line(format!(
            "popularity     the top 1 % take {:.1} % of the pulls; Zipf exponents {}",
            popularity.top_hundredth * 100.0,
            exponents(&popularity.exponents)
        ));
        for popular in &popularity.most_popular {
            line(format!("{:>12.3} %  {}:{}", popular.share * 100.0, popular.repository, popular.tag));
        }
        text
    }

    fn kinds(&self) -> String {
        let mut kinds = Vec::new();
        if self.platform_images > self.images {
            kinds.push(format!("{} of one platform", self.platform_images));
        }
        if self.artifacts > 0 {
            kinds.push(format!("{} artifacts that refer to them", self.artifacts));
        }
        if self.foreign_layers > 0 {
            kinds.push(format!("{} layers that lie elsewhere", self.foreign_layers));
        }
        if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) }
    }
}

/// The first few, since a catalogue that lists its repositories has as many entries.
fn exponents(all: &[f64]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = all.iter().take(SHOWN).map(|exponent| format!("{exponent:.3}")).collect();
    let more = if all.len() > SHOWN { ", …" } else { "" };
    shown.join(", ") + more
}
