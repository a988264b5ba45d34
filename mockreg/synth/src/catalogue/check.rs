//! What no entry of a catalogue may ask for. After these checks every image of it can be made, so planning one later
//! cannot fail.

use mockreg_proto::reference::{RepositoryName, Tag};

use super::error::{CatalogueReason, DEFAULTS, Failure};
use super::layers::{Ask, Style};
use super::size::{Counts, Size};
use super::{Entry, Generate, MAX_IMAGES, MAX_LAYERS, Repository, Tags};
use crate::image::{MAX_REFERRERS, MediaTypes, Platform, Referrers};
use crate::name;
use crate::popularity::MAX_EXPONENT;
use crate::spec::Form;

/// Checks one entry by itself; `style` is what its layers are made with.
pub(super) fn entry(entry: &Entry, style: Style, media_types: MediaTypes) -> Result<(), Failure> {
    form(entry, style.form, media_types)?;
    match entry {
        Entry::Listed(repository) => listed(repository, style),
        Entry::Generated(generated) => generate(&generated.generate, style),
    }
}

fn fail<T>(key: impl Into<String>, reason: CatalogueReason) -> Result<T, Failure> {
    Err((key.into(), reason))
}

fn listed(entry: &Repository, style: Style) -> Result<(), Failure> {
    repository_name(&entry.name, "name")?;
    tags(&entry.tags)?;
    let asks = entry.layers.asks()?;
    for (ordinal, ask) in asks.iter().enumerate() {
        layer(*ask, style, entry.layers.key(ordinal))?;
    }
    if let Some(shared) = entry.shared_layers
        && shared as usize > asks.len()
    {
        return fail("shared_layers", CatalogueReason::TooManyShared { shared, layers: asks.len() });
    }
    platforms(&entry.platforms, "platforms")?;
    referrers(&entry.referrers, "referrers")
}

fn generate(entry: &Generate, style: Style) -> Result<(), Failure> {
    if entry.count == 0 {
        return fail("generate.count", CatalogueReason::Empty);
    }
    // They differ in digits only, and are of one length.
    repository_name(&entry.name(0), "generate.prefix")?;
    counts(entry.tags, MAX_IMAGES as usize, "generate.tags", |_| CatalogueReason::TooManyImages)?;
    counts(entry.layers, MAX_LAYERS, "generate.layers", CatalogueReason::TooManyLayers)?;
    layer(Ask::of(entry.size), style, "generate.size".into())?;
    if !(0.0..=1.0).contains(&entry.shared_base) {
        return fail("generate.shared_base", CatalogueReason::BadShare(entry.shared_base.to_string()));
    }
    if entry.shared_base > 0.0 && entry.layers.most < 2 {
        return fail("generate.layers", CatalogueReason::NoRoomForBase);
    }
    if let Some(law) = entry.popularity
        && !(0.0..=MAX_EXPONENT).contains(&law.zipf)
    {
        return fail("generate.popularity.zipf", CatalogueReason::BadExponent(law.zipf.to_string()));
    }
    platforms(&entry.platforms, "generate.platforms")?;
    referrers(&entry.referrers, "generate.referrers")
}

fn repository_name(text: &str, key: &str) -> Result<(), Failure> {
    match text {
        _ if text.parse::<RepositoryName>().is_err() => fail(key, CatalogueReason::BadName),
        _ if text.starts_with(name::PREFIX) => fail(key, CatalogueReason::ReservedName),
        _ => Ok(()),
    }
}

fn tags(tags: &Tags) -> Result<(), Failure> {
    let bad = |tag: &str| tag.parse::<Tag>().is_err();
    match tags {
        Tags::Listed(names) if names.is_empty() => fail("tags", CatalogueReason::Empty),
        Tags::Listed(names) => match names.iter().position(|tag| bad(tag)) {
            Some(at) => fail(format!("tags[{at}]"), CatalogueReason::BadTag(names[at].clone())),
            None => Ok(()),
        },
        Tags::Numbered(range) if range.count == 0 => fail("tags.count", CatalogueReason::Empty),
        // The first one is the shortest and the last one the longest.
        Tags::Numbered(range) => match [1, range.count].map(|n| format!("{}{n}", range.prefix)) {
            [first, _] if bad(&first) => fail("tags[0]", CatalogueReason::BadTag(first)),
            [_, last] if bad(&last) => fail("tags.prefix", CatalogueReason::BadTag(last)),
            _ => Ok(()),
        },
    }
}

fn counts(
    counts: Counts,
    limit: usize,
    key: &str,
    too_many: impl Fn(usize) -> CatalogueReason,
) -> Result<(), Failure> {
    match counts {
        Counts { least: 0, .. } => fail(key, CatalogueReason::Empty),
        Counts { most, .. } if most as usize > limit => fail(key, too_many(most as usize)),
        _ => Ok(()),
    }
}

/// Docker has no word for zstd.
fn form(entry: &Entry, form: Form, media_types: MediaTypes) -> Result<(), Failure> {
    if (form, media_types) != (Form::Zstd, MediaTypes::Docker) {
        return Ok(());
    }
    let key = match entry {
        Entry::Listed(listed) if listed.format.is_some() => "format".to_owned(),
        Entry::Generated(generated) if generated.generate.format.is_some() => "generate.format".to_owned(),
        _ => format!("{DEFAULTS}format"),
    };
    fail(key, CatalogueReason::NoMediaType)
}

/// A layer of every size that may be drawn.
fn layer(ask: Ask, style: Style, key: String) -> Result<(), Failure> {
    let sizes = match ask.size {
        Size::Fixed(size) => [size.0; 2],
        Size::Range(least, most) => [least.0, most.0],
        Size::Profile(profile) => [profile.quantile(0), profile.quantile(u64::MAX)],
    };
    match sizes.into_iter().try_for_each(|size| ask.check(size, style)) {
        Ok(()) => Ok(()),
        Err(error) => fail(key, error.into()),
    }
}

fn platforms(platforms: &[Platform], key: &str) -> Result<(), Failure> {
    let repeated = (1..platforms.len()).find(|at| platforms[..*at].contains(&platforms[*at]));
    match repeated {
        Some(at) => {
            let reason = CatalogueReason::RepeatedPlatform(platforms[at].to_string());
            fail(format!("{key}[{at}]"), reason)
        }
        None => Ok(()),
    }
}

fn referrers(referrers: &Referrers, key: &str) -> Result<(), Failure> {
    for (kind, count) in [("signature", referrers.signature), ("sbom", referrers.sbom)] {
        if count > MAX_REFERRERS {
            return fail(format!("{key}.{kind}"), CatalogueReason::TooManyReferrers(count));
        }
    }
    Ok(())
}
