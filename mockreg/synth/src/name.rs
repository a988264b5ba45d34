//! Images without a catalogue: `synth/5gib` is one layer of exactly 5 · 2^30 bytes, on every machine. A name is
//! `synth/SIZE` and, in any order, `-xN` (layers), `-tar`, `-gzip` or `-zstd` (form), `-c1` (compression ratio 1),
//! `-multi` (an index of two platforms).

use mockreg_proto::units::ByteCount;
use thiserror::Error;

use crate::image::{ImageSpec, MediaTypes, PlannedLayer, Platform, Referrers, TagSpec};
use crate::spec::{Content, Form, LayerId, LayerSpec, SpecError};

/// What the names of images made on demand begin with.
pub const PREFIX: &str = "synth/";

/// Layers of one image made from its name: as many as real clients pull without a special setting.
pub const MAX_LAYERS: u32 = 64;

/// Why no image is made from a name. Each text is a sentence that can go into the `detail` of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// The repository is not under `synth/`.
    #[error("only repositories under `synth/` are made on demand, not `{0}`")]
    NotSynthetic(String),
    /// The name does not begin with a size.
    #[error("`{0}` is not a size; write it like 10mb, 64mib, 5gib or plain bytes")]
    BadSize(String),
    /// A part after the size means nothing.
    #[error(
        "`-{0}` means nothing here; known are -xN (layers), -tar, -gzip, -zstd, -c1 (does not compress) and -multi \
         (two platforms)"
    )]
    UnknownOption(String),
    /// Two parts say the same thing, or the opposite.
    #[error("`-{0}` repeats or contradicts what stands before it")]
    RepeatedOption(String),
    /// The number of layers is out of range.
    #[error("an image made from its name has 1 to {MAX_LAYERS} layers, not {0}")]
    LayerCount(String),
    /// No layer of this size and form exists.
    #[error(transparent)]
    Layer(#[from] SpecError),
}

/// What the parts after the size have said so far.
#[derive(Default)]
struct Options {
    layers: Option<u32>,
    form: Option<Form>,
    content: Option<Content>,
    multi: Option<()>,
}

/// The platforms of a `-multi` image.
const MULTI: [Platform; 2] = [Platform::LinuxAmd64, Platform::LinuxArm64];

/// The image that `repository` names; where it names several, that of linux/amd64.
///
/// # Errors
/// As [`tagged`].
pub fn parse(repository: &str, seed: u64) -> Result<ImageSpec, NameError> {
    tagged(repository, seed).map(|mut tagged| tagged.images.swap_remove(0))
}

/// What `repository` names: an image, or an index of images. Every tag names the same, so the tag of the result is
/// empty.
///
/// # Errors
/// Names outside `synth/`, malformed ones, and images that cannot be made.
pub fn tagged(repository: &str, seed: u64) -> Result<TagSpec, NameError> {
    let name =
        repository.strip_prefix(PREFIX).ok_or_else(|| NameError::NotSynthetic(repository.to_owned()))?;
    let mut parts = name.split('-');
    let size = parse_size(parts.next().unwrap_or_default())?;
    let mut options = Options::default();
    parts.try_for_each(|part| options.take(part))?;

    let (form, content) = (options.form.unwrap_or_default(), options.content.unwrap_or_default());
    let image = |platform: Platform, label: &str| {
        let layer = |ordinal| {
            let id = LayerId::derive(seed, repository, label, "", ordinal);
            LayerSpec::try_new(form, content, size, id).map(PlannedLayer::Made)
        };
        Ok::<_, NameError>(ImageSpec {
            repository: repository.to_owned(),
            tag: String::new(),
            platform,
            layers: (0..options.layers.unwrap_or(1)).map(layer).collect::<Result<_, SpecError>>()?,
            media_types: MediaTypes::default(),
        })
    };
    let images = match options.multi {
        None => vec![image(Platform::default(), "")?],
        Some(()) => {
            MULTI.into_iter().map(|platform| image(platform, platform.name())).collect::<Result<_, _>>()?
        }
    };
    Ok(TagSpec { images, referrers: Referrers::default() })
}

impl Options {
    fn take(&mut self, part: &str) -> Result<(), NameError> {
        match part {
            "tar" => set(&mut self.form, Form::Tar, part),
            "gzip" => set(&mut self.form, Form::Gzip, part),
            "c1" => set(&mut self.content, Content::Incompressible, part),
            "multi" => set(&mut self.multi, (), part),
            "zstd" => set(&mut self.form, Form::Zstd, part),
            _ => match part.strip_prefix('x').filter(|digits| is_number(digits)) {
                Some(digits) => set(&mut self.layers, layer_count(digits)?, part),
                None => Err(NameError::UnknownOption(part.to_owned())),
            },
        }
    }
}

fn set<T>(slot: &mut Option<T>, value: T, part: &str) -> Result<(), NameError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(NameError::RepeatedOption(part.to_owned())),
    }
}

fn layer_count(digits: &str) -> Result<u32, NameError> {
    let count = digits.parse().ok().filter(|count| (1..=MAX_LAYERS).contains(count));
    count.ok_or_else(|| NameError::LayerCount(digits.to_owned()))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit())
}

/// Repository names are lower-case, so units are too.
fn parse_size(text: &str) -> Result<u64, NameError> {
    let bad = || NameError::BadSize(text.to_owned());
    let number_ends = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_ends);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(bad());
    }
    let spelt = match unit {
        "" => "",
        "kb" => "kB",
        "mb" => "MB",
        "gb" => "GB",
        "kib" => "KiB",
        "mib" => "MiB",
        "gib" => "GiB",
        _ => return Err(bad()),
    };
    format!("{number}{spelt}").parse::<ByteCount>().map(|size| size.0).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_they_say() {
        for (name, form, content, size, layers) in [
            ("synth/553", Form::Gzip, Content::Letters, 553, 1),
            ("synth/5gib", Form::Gzip, Content::Letters, 5 << 30, 1),
            ("synth/1gib-x8", Form::Gzip, Content::Letters, 1 << 30, 8),
            ("synth/300mib-tar", Form::Tar, Content::Letters, 300 << 20, 1),
            ("synth/300mib-zstd", Form::Zstd, Content::Letters, 300 << 20, 1),
            ("synth/528-zstd-c1", Form::Zstd, Content::Incompressible, 528, 1),
            ("synth/64mib-x4-c1", Form::Gzip, Content::Incompressible, 64 << 20, 4),
            ("synth/553-gzip-c1", Form::Gzip, Content::Incompressible, 553, 1),
            ("synth/10mb", Form::Gzip, Content::Letters, 10_000_000, 1),
            ("synth/1.5gb", Form::Gzip, Content::Letters, 1_500_000_000, 1),
            ("synth/64gib-x64", Form::Gzip, Content::Letters, 64 << 30, 64),
            ("synth/1048576-c1-tar-x2", Form::Tar, Content::Incompressible, 1 << 20, 2),
        ] {
            let image = parse(name, 1).unwrap();
            assert_eq!((image.repository.as_str(), image.tag.as_str()), (name, ""));
            assert_eq!(image.layers.len(), layers, "{name}");
            for layer in image.layers.iter().filter_map(PlannedLayer::made) {
                assert_eq!((layer.form(), layer.content(), layer.size()), (form, content, size), "{name}");
            }
        }
    }

    #[test]
    fn layer_ids_depend_on_name_seed_and_ordinal_only() {
        let image = parse("synth/3mb-x8", 1).unwrap();
        let wanted: Vec<_> = (0..8).map(|n| LayerId::derive(1, "synth/3mb-x8", "", "", n)).collect();
        let ids = |image: &ImageSpec| -> Vec<LayerId> {
            image.layers.iter().filter_map(PlannedLayer::made).map(|layer| layer.id()).collect()
        };
        assert_eq!(ids(&image), wanted);
        assert_ne!(parse("synth/3mb-x8", 2).unwrap().layers, image.layers);
    }

    #[test]
    fn what_cannot_be_made_says_why() {
        for (name, reason) in [
            ("library/app", "only repositories under `synth/` are made on demand, not `library/app`"),
            ("synth/", "`` is not a size; write it like 10mb, 64mib, 5gib or plain bytes"),
            ("synth/big", "`big` is not a size; write it like 10mb, 64mib, 5gib or plain bytes"),
            ("synth/.5mb", "`.5mb` is not a size; write it like 10mb, 64mib, 5gib or plain bytes"),
            ("synth/5MB", "`5MB` is not a size; write it like 10mb, 64mib, 5gib or plain bytes"),
            ("synth/5pib", "`5pib` is not a size; write it like 10mb, 64mib, 5gib or plain bytes"),
            (
                "synth/99999999999999999999",
                "`99999999999999999999` is not a size; write it like 10mb, 64mib, 5gib or plain bytes",
            ),
            ("synth/5mb/extra", "`5mb/extra` is not a size; write it like 10mb, 64mib, 5gib or plain bytes"),
            (
                "synth/5mb-x",
                "`-x` means nothing here; known are -xN (layers), -tar, -gzip, -zstd, -c1 (does not compress) and \
                 -multi (two platforms)",
            ),
            (
                "synth/5mb--tar",
                "`-` means nothing here; known are -xN (layers), -tar, -gzip, -zstd, -c1 (does not compress) and \
                 -multi (two platforms)",
            ),
            ("synth/5mb-x0", "an image made from its name has 1 to 64 layers, not 0"),
            ("synth/5mb-x65", "an image made from its name has 1 to 64 layers, not 65"),
            ("synth/5mb-x99999999999", "an image made from its name has 1 to 64 layers, not 99999999999"),
            ("synth/5mb-tar-gzip", "`-gzip` repeats or contradicts what stands before it"),
            ("synth/5mb-x2-x2", "`-x2` repeats or contradicts what stands before it"),
            ("synth/527-zstd", "a zstd layer has at least 528 bytes, not 527"),
            ("synth/5mb-zstd-gzip", "`-gzip` repeats or contradicts what stands before it"),
            ("synth/5mb-multi-multi", "`-multi` repeats or contradicts what stands before it"),
            ("synth/552", "a gzip layer has at least 553 bytes, not 552"),
            ("synth/1000-tar", "a tar layer has at least 1536 bytes, not 1000"),
            ("synth/5mb-tar", "a tar layer is a multiple of 512 bytes, which 5000000 is not"),
            ("synth/65gib", "a layer has at most 68719476736 bytes (64GiB), not 69793218560"),
        ] {
            assert_eq!(parse(name, 1).unwrap_err().to_string(), reason, "{name}");
        }
    }

    #[test]
    fn a_multi_image_has_layers_of_its_own_for_each_platform() {
        let tagged = tagged("synth/10mb-x2-multi", 1).unwrap();
        let platforms: Vec<_> = tagged.images.iter().map(|image| image.platform.name()).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
        let id = |platform, ordinal| LayerId::derive(1, "synth/10mb-x2-multi", platform, "", ordinal);
        let wanted = [id("linux/amd64", 0), id("linux/amd64", 1), id("linux/arm64", 0), id("linux/arm64", 1)];
        let ids: Vec<_> = tagged.layers().filter_map(PlannedLayer::made).map(|layer| layer.id()).collect();
        assert_eq!(ids, wanted);
        assert_eq!(parse("synth/10mb-x2-multi", 1).unwrap(), tagged.images[0]);
    }

    proptest::proptest! {
        #[test]
        fn no_name_panics(name in "synth/[0-9a-z.x-]{0,20}", seed: u64) {
            let _ = parse(&name, seed);
        }
    }
}
