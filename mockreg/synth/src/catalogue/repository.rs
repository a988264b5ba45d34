//! One repository of a plan: its tags in order, and each image when it is asked for.

use mockreg_proto::seed::Seed;

use super::layers::{Ask, Place, Style, fit};
use super::plan::{GENERATED_TAG, Part, Plan};
use super::tags::TagNames;
use super::{Entry, Generate};
use crate::image::{ImageSpec, MediaTypes, PlannedLayer, Platform, Referrers, TagSpec};

/// A repository of a plan.
#[derive(Clone, Copy, Debug)]
pub struct PlannedRepository<'a> {
    pub(super) plan: &'a Plan,
    pub(super) name: &'a str,
    pub(super) parts: &'a [Part],
}

/// What an entry says about a repository, with all that it takes to plan an image.
struct Source<'a> {
    repository: &'a str,
    seed: u64,
    style: Style,
    media_types: MediaTypes,
    platforms: &'a [Platform],
    referrers: Referrers,
    tags: TagNames<'a>,
    recipe: Recipe<'a>,
}

enum Recipe<'a> {
    Listed { asks: Vec<Ask>, shared: usize },
    Generated { entry: &'a Generate, bases: &'a [u32], number: u32 },
}

impl<'a> PlannedRepository<'a> {
    /// Its name.
    pub const fn name(&self) -> &'a str {
        self.name
    }

    fn source(&self, part: Part) -> Result<Source<'a>, &'a TagSpec> {
        let plan = self.plan;
        let catalogue = plan.catalogue(part);
        let entry = plan.entry(part)?;
        let (platforms, referrers, recipe) = match entry {
            Entry::Listed(listed) => {
                let asks = listed.layers.asks().expect("catalogues are checked before they are planned");
                let shared = listed.shared_layers.map_or(asks.len() - 1, |shared| shared as usize);
                (&listed.platforms, listed.referrers, Recipe::Listed { asks, shared })
            }
            Entry::Generated(generated) => {
                let entry = &generated.generate;
                let recipe = Recipe::Generated { entry, bases: plan.bases(part), number: part.number };
                (&entry.platforms, entry.referrers, recipe)
            }
        };
        Ok(Source {
            repository: self.name,
            seed: catalogue.seed,
            style: catalogue.style(entry),
            media_types: catalogue.media_types(entry),
            platforms,
            referrers,
            tags: plan.tag_names(part),
            recipe,
        })
    }

    /// Whether anything refers to any of its images.
    pub fn has_referrers(&self) -> bool {
        self.parts.iter().any(|part| match self.plan.entry(*part) {
            Ok(Entry::Listed(listed)) => !listed.referrers.is_none(),
            Ok(Entry::Generated(generated)) => !generated.generate.referrers.is_none(),
            Err(given) => !given.referrers.is_none(),
        })
    }

    /// How many images there are, shadowed ones of earlier catalogues included.
    pub fn len(&self) -> u32 {
        self.parts.iter().map(|part| self.plan.tag_names(*part).len()).sum()
    }

    /// Whether there is no image: never so for a repository of a plan.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The image that a tag names, as a number from 0.
    pub fn find(&self, tag: &str) -> Option<u32> {
        let mut end = self.len();
        // From the last part: a later catalogue counts.
        self.parts.iter().rev().find_map(|part| {
            let names = self.plan.tag_names(*part);
            end -= names.len();
            names.place(tag).map(|place| end + place)
        })
    }

    /// The image of a number.
    ///
    /// # Panics
    /// If there is none.
    pub fn image(&self, number: u32) -> TagSpec {
        let mut place = number;
        for part in self.parts {
            let count = self.plan.tag_names(*part).len();
            if place < count {
                return self.source(*part).map_or_else(TagSpec::clone, |source| source.image(place));
            }
            place -= count;
        }
        panic!("`{}` has no image of number {number}", self.name)
    }

    /// All images with their numbers, but those of which a later catalogue has another.
    pub fn numbered_images(self) -> impl Iterator<Item = (u32, TagSpec)> + 'a {
        let mut start = 0;
        let starts: Vec<(u32, Part)> = self
            .parts
            .iter()
            .map(|part| {
                let own = start;
                start += self.plan.tag_names(*part).len();
                (own, *part)
            })
            .collect();
        let several = starts.len() > 1;
        starts.into_iter().flat_map(move |(start, part)| {
            let (source, names) = (self.source(part), self.plan.tag_names(part));
            let counts = move |place: u32| !several || self.find(&names.name(place)) == Some(start + place);
            (0..names.len()).filter(move |place| counts(*place)).map(move |place| {
                let image =
                    source.as_ref().map_or_else(|given| TagSpec::clone(given), |source| source.image(place));
                (start + place, image)
            })
        })
    }

    /// All images.
    pub fn images(self) -> impl Iterator<Item = TagSpec> + 'a {
        self.numbered_images().map(|(_, image)| image)
    }

    /// Its tags after `last`, or all, in byte order, made as they are taken.
    pub fn tags_after(self, last: Option<&str>) -> impl Iterator<Item = String> + 'a {
        let names = |part: &Part| self.plan.tag_names(*part).sorted_after(last).peekable();
        let mut parts: Vec<_> = self.parts.iter().map(names).collect();
        std::iter::from_fn(move || {
            let least = parts.iter_mut().filter_map(|names| names.peek().cloned()).min()?;
            for names in &mut parts {
                // A tag of several catalogues stands once.
                names.next_if(|name| *name == least);
            }
            Some(least.into_owned())
        })
    }
}

impl Source<'_> {
    fn image(&self, place: u32) -> TagSpec {
        let tag = self.tags.name(place);
        let platforms = if self.platforms.is_empty() { &[Platform::LinuxAmd64] } else { self.platforms };
        let image = |platform: &Platform| ImageSpec {
            repository: self.repository.to_owned(),
            tag: tag.clone().into_owned(),
            platform: *platform,
            layers: self.layers(&tag, if platforms.len() > 1 { platform.name() } else { "" }),
            media_types: self.media_types,
        };
        TagSpec { images: platforms.iter().map(image).collect(), referrers: self.referrers }
    }

    fn layers(&self, tag: &str, platform: &str) -> Vec<PlannedLayer> {
        let (seed, repository) = (self.seed, self.repository);
        match &self.recipe {
            Recipe::Listed { asks, shared } => asks
                .iter()
                .enumerate()
                .map(|(ordinal, ask)| {
                    let tag = if ordinal < *shared { "" } else { tag };
                    let ordinal = ordinal as u32;
                    ask.plan(self.style, Place { seed, repository, platform, tag, ordinal })
                })
                .collect(),
            Recipe::Generated { entry, bases, number } => self.drawn(entry, bases, *number, tag, platform),
        }
    }

    fn drawn(
        &self,
        entry: &Generate,
        bases: &[u32],
        number: u32,
        tag: &str,
        platform: &str,
    ) -> Vec<PlannedLayer> {
        let root = Seed::root(self.seed);
        let drawn = entry.draw(&root, number, bases);
        let ask = Ask::of(entry.size);
        let place =
            |tag, ordinal| Place { seed: self.seed, repository: self.repository, platform, tag, ordinal };
        let last = drawn.layers - 1;
        let Some(base) = drawn.base else {
            // All but the last are common to all tags.
            let layer = |ordinal| ask.plan(self.style, place(if ordinal < last { "" } else { tag }, ordinal));
            return (0..drawn.layers).map(layer).collect();
        };
        let name = entry.name(base);
        let base =
            Source { repository: &name, recipe: Recipe::Generated { entry, bases, number: base }, ..*self };
        let mut layers = base.layers(&format!("{GENERATED_TAG}1"), platform);
        layers.truncate(last as usize);
        let below: u64 = layers.iter().map(PlannedLayer::size).sum();
        let own = place(tag, last);
        let size = fit(Generate::own_size(ask.size(self.style, own), below), self.style.form);
        layers.push(PlannedLayer::Made(own.layer(self.style, size)));
        layers
    }
}
