//! What catalogues mean: repositories by name. A plan is checked once and then
//! takes about a hundred bytes a repository and, for tags that are listed, four a tag; numbered tags and layers take
//! nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::ops::Bound;

use super::error::{CatalogueError, CatalogueReason, Failure, TagClash, TagOrigin};
use super::repository::PlannedRepository;
use super::tags::{self, TagNames};
use super::{Catalogue, Entry, MAX_IMAGES, MAX_REPOSITORIES, Repository, Tags, check};
use crate::image::TagSpec;

/// What one or several catalogues mean.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    files: Vec<File>,
    repositories: BTreeMap<String, Vec<Part>>,
}

/// A catalogue, and what is known of its entries beforehand.
#[derive(Clone, Debug)]
struct File {
    catalogue: Catalogue,
    known: Vec<Known>,
    /// Images that are planned already, numbered after the entries of the catalogue.
    given: Vec<TagSpec>,
}

/// What is worked out of an entry once.
#[derive(Clone, Debug)]
enum Known {
    /// Places of the listed tags in sorted order; empty where they are numbered.
    Listed { order: Vec<u32> },
    /// The repositories that others stand on.
    Generated { bases: Vec<u32> },
}

/// What one entry says about one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) file: u32,
    pub(super) entry: u32,
    /// Which of the generated repositories of the entry, from 0.
    pub(super) number: u32,
}

impl Plan {
    /// Plans a catalogue.
    ///
    /// # Errors
    /// Names, tags, sizes and counts that no image can have, with the repository and the key.
    pub fn new(catalogue: Catalogue) -> Result<Self, CatalogueError> {
        let mut plan = Self::default();
        let known = catalogue.repositories.iter().map(Known::of).collect();
        plan.files.push(File { catalogue, known, given: Vec::new() });
        let (mut repositories, mut images) = (0, 0);
        for index in 0..plan.files[0].catalogue.repositories.len() {
            let entry = &plan.files[0].catalogue.repositories[index];
            let name = entry.name().to_owned();
            let (style, media_types) =
                (plan.files[0].catalogue.style(entry), plan.files[0].catalogue.media_types(entry));
            let failed =
                |(key, reason)| CatalogueError { entry: index, repository: name.clone(), key, reason };
            check::entry(entry, style, media_types)
                .and_then(|()| plan.files[0].known[index].repeated(entry))
                .map_err(failed)?;
            (repositories, images) = (repositories + entry.repositories(), images + entry.most_images());
            within(entry, repositories, images).map_err(failed)?;
            plan.add(index as u32)?;
        }
        Ok(plan)
    }

    /// A plan of images that are planned already. They are not checked: what cannot be pulled is for the caller to
    /// avoid. Of two with one tag the later counts.
    pub fn given(images: Vec<TagSpec>) -> Self {
        let mut repositories: BTreeMap<String, Vec<Part>> = BTreeMap::new();
        for (entry, image) in images.iter().enumerate() {
            let part = Part { file: 0, entry: entry as u32, number: 0 };
            repositories.entry(image.images[0].repository.clone()).or_default().push(part);
        }
        let file = File { catalogue: Catalogue::default(), known: Vec::new(), given: images };
        Self { files: vec![file], repositories }
    }

    /// Both plans in one; of two images with one tag, that of `later` counts.
    #[must_use]
    pub fn followed_by(mut self, later: Self) -> Self {
        let before = self.files.len() as u32;
        self.files.extend(later.files);
        for (name, parts) in later.repositories {
            let parts = parts.into_iter().map(|part| Part { file: part.file + before, ..part });
            self.repositories.entry(name).or_default().extend(parts);
        }
        self
    }

    /// Files an entry of the first catalogue under the names of its repositories.
    fn add(&mut self, entry: u32) -> Result<(), CatalogueError> {
        for number in 0..self.files[0].catalogue.repositories[entry as usize].repositories() as u32 {
            let part = Part { file: 0, entry, number };
            let name = self.name_of(part);
            if let Some(others) = self.repositories.get(&name)
                && let Some((key, reason)) = self.clash(part, others)
            {
                return Err(CatalogueError { entry: entry as usize, repository: name, key, reason });
            }
            match self.repositories.entry(name) {
                Slot::Vacant(slot) => drop(slot.insert(vec![part])),
                Slot::Occupied(mut slot) => slot.get_mut().push(part),
            }
        }
        Ok(())
    }

    /// The key of `part` that names a tag which another part of the repository has already.
    fn clash(&self, part: Part, others: &[Part]) -> Option<Failure> {
        let own = self.tag_names(part);
        let common = |other: &Part| Some((*other, own.common(&self.tag_names(*other))?));
        let (other, tag) = others.iter().find_map(common)?;
        let key = match self.origin(part) {
            TagOrigin::Listed(_) => format!("tags[{}]", own.place(&tag).unwrap_or_default()),
            TagOrigin::Numbered(_) => "tags.prefix".to_owned(),
            TagOrigin::Generated(_) => "generate.tags".to_owned(),
        };
        let (own, other) = (self.origin(part), self.origin(other));
        Some((key, CatalogueReason::ClashingTag(Box::new(TagClash { tag, own, other }))))
    }

    fn origin(&self, part: Part) -> TagOrigin {
        let entry = part.entry as usize;
        match (self.entry(part), self.tag_names(part)) {
            (Ok(Entry::Generated(_)), _) => TagOrigin::Generated(entry),
            (_, TagNames::Listed { .. }) => TagOrigin::Listed(entry),
            (_, TagNames::Numbered { .. }) => TagOrigin::Numbered(entry),
        }
    }

    /// What a part consists of: an entry of a catalogue, or an image that was given.
    pub(super) fn entry(&self, part: Part) -> Result<&Entry, &TagSpec> {
        let (file, entry) = (&self.files[part.file as usize], part.entry as usize);
        let listed = &file.catalogue.repositories;
        listed.get(entry).ok_or_else(|| &file.given[entry - listed.len()])
    }

    pub(super) fn name_of(&self, part: Part) -> String {
        match self.entry(part) {
            Ok(Entry::Listed(repository)) => repository.name.clone(),
            Ok(Entry::Generated(generated)) => generated.generate.name(part.number),
            Err(given) => given.images[0].repository.clone(),
        }
    }

    pub(super) fn bases(&self, part: Part) -> &[u32] {
        match &self.files[part.file as usize].known[part.entry as usize] {
            Known::Generated { bases } => bases,
            Known::Listed { .. } => &[],
        }
    }

    fn order(&self, part: Part) -> &[u32] {
        match &self.files[part.file as usize].known[part.entry as usize] {
            Known::Listed { order } => order,
            Known::Generated { .. } => &[],
        }
    }

    /// The catalogue that a part stands in.
    pub(super) fn catalogue(&self, part: Part) -> &Catalogue {
        &self.files[part.file as usize].catalogue
    }

    pub(super) fn seed(&self, part: Part) -> u64 {
        self.catalogue(part).seed
    }

    /// The tags that one part of a repository has.
    pub(super) fn tag_names(&self, part: Part) -> TagNames<'_> {
        match self.entry(part) {
            Ok(Entry::Listed(Repository { tags: Tags::Listed(names), .. })) => {
                TagNames::Listed { names, order: self.order(part) }
            }
            Ok(Entry::Listed(Repository { tags: Tags::Numbered(range), .. })) => {
                TagNames::Numbered { prefix: &range.prefix, count: range.count }
            }
            Ok(Entry::Generated(generated)) => {
                let count = generated.generate.tags_of(self.seed(part), part.number);
                TagNames::Numbered { prefix: GENERATED_TAG, count }
            }
            Err(given) => TagNames::Listed { names: std::slice::from_ref(&given.images[0].tag), order: &[0] },
        }
    }

    /// All parts of the plan, entry by entry.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Part, u64)> {
        self.files.iter().enumerate().flat_map(|(index, file)| {
            let listed = file.catalogue.repositories.iter().map(Entry::repositories);
            let counts = listed.chain(file.given.iter().map(|_| 1)).enumerate();
            counts.map(move |(entry, repositories)| {
                (Part { file: index as u32, entry: entry as u32, number: 0 }, repositories)
            })
        })
    }

    /// The catalogues, the first one first.
    pub fn catalogues(&self) -> impl Iterator<Item = &Catalogue> {
        self.files.iter().map(|file| &file.catalogue)
    }

    /// Whether there are images that stand in no catalogue.
    pub fn has_given(&self) -> bool {
        self.files.iter().any(|file| !file.given.is_empty())
    }

    /// Whether there is no repository.
    pub fn is_empty(&self) -> bool {
        self.repositories.is_empty()
    }

    /// How many repositories there are.
    pub fn len(&self) -> usize {
        self.repositories.len()
    }

    /// All repositories, sorted by name.
    pub fn repositories(&self) -> impl Iterator<Item = PlannedRepository<'_>> {
        self.repositories_after(None)
    }

    /// The repositories with a name after `last`, or all, sorted by name.
    pub fn repositories_after(&self, last: Option<&str>) -> impl Iterator<Item = PlannedRepository<'_>> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let found = self.repositories.range::<str, _>((from, Bound::Unbounded));
        found.map(|(name, parts)| PlannedRepository { plan: self, name, parts })
    }

    /// The repository of a name.
    pub fn repository(&self, name: &str) -> Option<PlannedRepository<'_>> {
        let (name, parts) = self.repositories.get_key_value(name)?;
        Some(PlannedRepository { plan: self, name, parts })
    }

    /// Every image, sorted by repository, in the order of the catalogue and of each entry's tags.
    pub fn images(&self) -> impl Iterator<Item = TagSpec> {
        self.repositories().flat_map(PlannedRepository::images)
    }
}

/// What the tags of generated repositories begin with.
pub(super) const GENERATED_TAG: &str = "v";

/// Whether a catalogue still holds so many repositories and images, `entry` the last of them.
fn within(entry: &Entry, repositories: u64, images: u64) -> Result<(), Failure> {
    let key = |listed: &str, generated: &str| match entry {
        Entry::Listed(_) => listed.to_owned(),
        Entry::Generated(_) => generated.to_owned(),
    };
    if repositories > MAX_REPOSITORIES {
        return Err((key("name", "generate.count"), CatalogueReason::TooManyRepositories));
    }
    if images > MAX_IMAGES {
        let listed = if let Entry::Listed(Repository { tags: Tags::Numbered(_), .. }) = entry {
            "tags.count"
        } else {
            "tags"
        };
        return Err((key(listed, "generate.tags"), CatalogueReason::TooManyImages));
    }
    Ok(())
}

impl Known {
    fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Listed(Repository { tags: Tags::Listed(names), .. }) => {
                Self::Listed { order: tags::order(names) }
            }
            Entry::Listed(_) => Self::Listed { order: Vec::new() },
            // Bounded before the entry is checked.
            Entry::Generated(generated) if u64::from(generated.generate.count) > MAX_REPOSITORIES => {
                Self::Generated { bases: Vec::new() }
            }
            Entry::Generated(generated) => Self::Generated { bases: generated.generate.bases() },
        }
    }

    /// Refuses a tag that an entry lists twice: it stands beside itself in sorted order.
    fn repeated(&self, entry: &Entry) -> Result<(), Failure> {
        let (Entry::Listed(Repository { tags: Tags::Listed(names), .. }), Self::Listed { order }) =
            (entry, self)
        else {
            return Ok(());
        };
        let twice = order.windows(2).find(|pair| names[pair[0] as usize] == names[pair[1] as usize]);
        match twice {
            Some(pair) => {
                let reason = CatalogueReason::RepeatedTag(names[pair[1] as usize].clone());
                Err((format!("tags[{}]", pair[1]), reason))
            }
            None => Ok(()),
        }
    }
}
