//! Which images of a plan are asked for how often. Each entry of a catalogue has a law of its own over its images;
//! entries are asked for in proportion to how many images they have.

use mockreg_proto::seed::{Seed, below};

use super::plan::Part;
use super::{Entry, Plan};
use crate::popularity::{Popularity, Zipf};

/// How often each image of a plan is asked for.
#[derive(Debug)]
pub struct Pulls<'a> {
    plan: &'a Plan,
    entries: Vec<EntryPulls>,
    /// Images of all entries.
    images: u64,
}

#[derive(Debug)]
struct EntryPulls {
    part: Part,
    /// Images of the entries before.
    start: u64,
    law: Popularity,
    /// Images of the entry's repositories before each.
    starts: Vec<u64>,
}

/// An image, and how often it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Pull {
    /// Its repository.
    pub repository: String,
    /// Its tag.
    pub tag: String,
    /// Its share, of 1, of all that is asked for.
    pub weight: f64,
}

impl Plan {
    /// How often each image is asked for. Takes a moment for a hundred thousand generated repositories: how many tags
    /// each has is drawn.
    pub fn pulls(&self) -> Pulls<'_> {
        let mut images = 0;
        let entries = self.entries().map(|(part, repositories)| {
            let start = images;
            let mut inside = 0;
            let starts = (0..repositories as u32).map(|number| {
                let own = inside;
                inside += u64::from(self.tag_names(Part { number, ..part }).len());
                own
            });
            let starts = starts.collect();
            images += inside;
            EntryPulls { part, start, law: self.law(part, inside), starts }
        });
        let entries = entries.collect();
        Pulls { plan: self, entries, images }
    }

    fn law(&self, part: Part, images: u64) -> Popularity {
        let zipf = match self.entry(part) {
            Ok(Entry::Listed(_)) | Err(_) => Zipf::new(images, 0.0),
            Ok(Entry::Generated(generated)) => generated.generate.zipf(images),
        };
        let seed = Seed::root(self.seed(part));
        Popularity::new(zipf, &seed.child(["popularity", &part.entry.to_string()]))
    }
}

impl Pulls<'_> {
    /// How many images there are.
    pub const fn images(&self) -> u64 {
        self.images
    }

    /// The image that two uniform draws ask for: one for the entry, one for the image in
    /// it. `None` where there is none.
    pub fn draw(&self, draws: [u64; 2]) -> Option<Pull> {
        let number = below(draws[0], self.images);
        let entry = self.entries.iter().rfind(|entry| entry.start <= number)?;
        Some(self.pull(entry, entry.law.zipf().rank(draws[1])))
    }

    /// The images that are asked for most, the first `count` of them.
    pub fn top(&self, count: usize) -> Vec<Pull> {
        let mut top: Vec<Pull> = Vec::new();
        for entry in &self.entries {
            let ranks = entry.law.zipf().len().min(count as u64);
            top.extend((0..ranks).map(|rank| self.pull(entry, rank)));
        }
        top.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        top.truncate(count);
        top
    }

    /// The share, of 1, that the most popular hundredth of each entry's images take together.
    pub fn share_of_top_hundredth(&self) -> f64 {
        let share = |entry: &EntryPulls| {
            let zipf = entry.law.zipf();
            zipf.share((zipf.len() / 100).max(1)) * self.part_of(entry)
        };
        // The sum of no numbers is -0.
        self.entries.iter().map(share).fold(0.0, |sum, share| sum + share)
    }

    /// The exponents of the entries' laws, in the order of the catalogue.
    pub fn exponents(&self) -> impl Iterator<Item = f64> {
        self.entries.iter().map(|entry| entry.law.zipf().exponent())
    }

    /// The share of all requests that ask for an entry.
    fn part_of(&self, entry: &EntryPulls) -> f64 {
        entry.law.zipf().len() as f64 / self.images as f64
    }

    fn pull(&self, entry: &EntryPulls, rank: u64) -> Pull {
        let image = entry.law.of_rank(rank);
        let number = entry.starts.partition_point(|start| *start <= image) - 1;
        let part = Part { number: number as u32, ..entry.part };
        let tags = self.plan.tag_names(part);
        Pull {
            repository: self.plan.name_of(part),
            tag: tags.name((image - entry.starts[number]) as u32).into_owned(),
            weight: entry.law.zipf().weight(rank) * self.part_of(entry),
        }
    }
}
