//! From what a catalogue asks of a layer to the layer: its size, drawn where it is not given, and its identity.

use mockreg_proto::seed::Seed;

use super::error::{CatalogueReason, Failure};
use super::size::Size;
use super::{LayerEntry, LayerObject, Layers, MAX_LAYERS};
use crate::image::PlannedLayer;
use crate::spec::{Content, Form, LayerId, LayerSpec, SpecError};

/// How layers are made, but for their size and identity.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) form: Form,
    pub(super) content: Content,
}

/// What a catalogue asks of one layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) size: Size,
    pub(super) unique: bool,
    pub(super) foreign: bool,
    pub(super) empty: bool,
}

/// Which layer it is: whose identity it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) seed: u64,
    pub(super) repository: &'a str,
    /// Empty for images of one platform.
    pub(super) platform: &'a str,
    /// Empty for layers that several tags share.
    pub(super) tag: &'a str,
    pub(super) ordinal: u32,
}

impl Ask {
    pub(super) const fn of(size: Size) -> Self {
        Self { size, unique: false, foreign: false, empty: false }
    }

    /// Whether there is such a layer of `size` bytes.
    pub(super) fn check(self, size: u64, style: Style) -> Result<(), SpecError> {
        if self.empty {
            return Ok(());
        }
        let size = if let Size::Fixed(_) = self.size { size } else { fit(size, style.form) };
        LayerSpec::try_new(style.form, style.content, size, LayerId::from_bytes([0; 16])).map(|_| ())
    }

    /// The layer at a place.
    pub(super) fn plan(self, style: Style, place: Place<'_>) -> PlannedLayer {
        if self.empty {
            return PlannedLayer::Empty;
        }
        let spec = place.layer(style, self.size(style, place));
        let spec = if self.unique { spec.unique() } else { spec };
        if self.foreign { PlannedLayer::Foreign(spec) } else { PlannedLayer::Made(spec) }
    }

    /// The size at a place: as given, or drawn.
    pub(super) fn size(self, style: Style, place: Place<'_>) -> u64 {
        match self.size {
            Size::Fixed(size) => size.0,
            drawn => fit(drawn.at(place.draw()), style.form),
        }
    }
}

impl Place<'_> {
    fn draw(self) -> u64 {
        let Self { seed, repository, platform, tag, ordinal } = self;
        Seed::root(seed).child(["layer size", repository, platform, tag, &ordinal.to_string()]).draw()
    }

    /// The layer of `size` bytes here.
    pub(super) fn layer(self, style: Style, size: u64) -> LayerSpec {
        let Self { seed, repository, platform, tag, ordinal } = self;
        let id = LayerId::derive(seed, repository, platform, tag, ordinal);
        LayerSpec::try_new(style.form, style.content, size, id)
            .expect("catalogues are checked before they are planned")
    }
}

/// A drawn size as near as the form can make it: never less than its least, whole blocks for a tar.
pub(super) fn fit(size: u64, form: Form) -> u64 {
    let whole = if form == Form::Tar { size / TAR_BLOCK * TAR_BLOCK } else { size };
    match LayerSpec::try_new(form, Content::default(), whole, LayerId::from_bytes([0; 16])) {
        Err(SpecError::TooSmall { least, .. }) => least,
        _ => whole,
    }
}

/// A tar consists of blocks of so many bytes.
const TAR_BLOCK: u64 = 512;

impl Layers {
    /// What is asked of each layer, the base first.
    pub(super) fn asks(&self) -> Result<Vec<Ask>, Failure> {
        let (count, key) = match self {
            Self::Listed(layers) => (layers.len(), "layers"),
            Self::Alike(alike) => (alike.count as usize, "layers.count"),
        };
        match count {
            0 => Err((key.to_owned(), CatalogueReason::Empty)),
            1..=MAX_LAYERS => match self {
                Self::Listed(layers) => layers
                    .iter()
                    .enumerate()
                    .map(|(at, layer)| layer.ask().map_err(|reason| (self.key(at), reason)))
                    .collect(),
                Self::Alike(alike) => Ok(vec![Ask { unique: alike.unique, ..Ask::of(alike.size) }; count]),
            },
            _ => Err((key.to_owned(), CatalogueReason::TooManyLayers(count))),
        }
    }

    /// The key that holds the size of a layer.
    pub(super) fn key(&self, ordinal: usize) -> String {
        match self {
            Self::Listed(_) => format!("layers[{ordinal}]"),
            Self::Alike(_) => "layers.size".to_owned(),
        }
    }
}

impl LayerEntry {
    fn ask(&self) -> Result<Ask, CatalogueReason> {
        match *self {
            Self::Size(size) => Ok(Ask::of(size.into())),
            Self::Object(LayerObject { empty: true, size: None, foreign: false, unique: false }) => {
                Ok(Ask { empty: true, ..Ask::of(Size::Fixed(mockreg_proto::units::ByteCount(0))) })
            }
            Self::Object(LayerObject { empty: true, .. }) => Err(CatalogueReason::NotEmpty),
            Self::Object(LayerObject { size: None, .. }) => Err(CatalogueReason::NoSize),
            Self::Object(LayerObject { size: Some(size), unique, foreign, .. }) => {
                Ok(Ask { size, unique, foreign, empty: false })
            }
        }
    }
}
