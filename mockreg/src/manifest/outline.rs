//! What a pushed manifest says it is and names, read from its bytes. Whether the repository has what it names is the
//! handler's business.

use http::header::HeaderValue;
use mockreg_proto::media_type::{self, ManifestKind};
use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};
use serde::Deserialize;

use crate::policy::Policy;
use crate::problem::{Fault, Problem};

/// What a manifest says about itself.
#[derive(Debug)]
pub(crate) struct Outline {
    /// Exactly as it is to be given back.
    pub(crate) media_type: HeaderValue,
    /// Blobs that the repository must have.
    pub(crate) blobs: Vec<Descriptor>,
    /// Manifests that the repository must have.
    pub(crate) manifests: Vec<Descriptor>,
}

/// What decides how the rest is read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sketch {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl Outline {
    /// Reads a manifest. Its type is that of the header, else its own `mediaType`, else what it looks like.
    ///
    /// # Errors
    /// It is not what it says, or nothing that `policy` takes.
    pub(crate) fn read(header: Option<&str>, bytes: &[u8], policy: &Policy) -> Result<Self, Problem> {
        let sketch = match serde_json::from_slice(bytes) {
            Ok(sketch) => sketch,
            Err(_) if policy.allow_any_media_type => Sketch::default(),
            Err(error) => return Err(invalid(format!("not a JSON manifest: {error}"))),
        };
        let media_type = sketch.media_type(header, policy)?;
        let opaque = || Self { media_type: media_type.1.clone(), blobs: Vec::new(), manifests: Vec::new() };
        let kind = match ManifestKind::of(&media_type.0) {
            Some(ManifestKind::Schema1) if policy.schema1 => return Ok(opaque()),
            Some(ManifestKind::Schema1) => {
                return Err(invalid("Docker schema 1 is not taken; push the image as schema 2 or OCI"));
            }
            Some(kind) => kind,
            None if policy.allow_any_media_type => {
                tracing::warn!(media_type = media_type.0, "a manifest of no known type was let through");
                return Ok(opaque());
            }
            None => {
                return Err(invalid(format!("`{}` is not the type of a manifest or index", media_type.0)));
            }
        };
        if sketch.schema_version != Some(2) {
            return Err(invalid("schemaVersion must be 2"));
        }
        let (blobs, manifests) = children(kind, &media_type.0, bytes)?;
        Ok(Self { media_type: media_type.1, blobs, manifests })
    }
}

impl Sketch {
    fn media_type(&self, header: Option<&str>, policy: &Policy) -> Result<(String, HeaderValue), Problem> {
        let given = header.map(str::trim).filter(|given| !given.is_empty());
        let text = match (given, self.media_type.as_deref()) {
            (Some(given), Some(own)) if media_type::essence(given) != own => {
                if !policy.allow_any_media_type {
                    return Err(invalid(format!(
                        "the Content-Type is `{given}`, but the manifest says `{own}`"
                    )));
                }
                tracing::warn!(given, own, "a manifest was let through under another type than its own");
                given
            }
            (Some(given), _) => given,
            (None, Some(own)) => own,
            (None, None) if self.manifests.is_some() => media_type::OCI_INDEX,
            (None, None) if self.config.is_some() && self.layers.is_some() => media_type::OCI_MANIFEST,
            (None, None) if policy.allow_any_media_type => media_type::OCTET_STREAM,
            (None, None) => {
                return Err(invalid("neither the Content-Type nor the manifest says what it is"));
            }
        };
        let value = HeaderValue::from_str(text);
        let value = value.map_err(|_| invalid("the mediaType has characters that no header can hold"))?;
        Ok((text.to_owned(), value))
    }
}

type Children = (Vec<Descriptor>, Vec<Descriptor>);

/// The blobs and manifests that a manifest names. Its subject is not among them: it is only referred to.
fn children(kind: ManifestKind, media_type: &str, bytes: &[u8]) -> Result<Children, Problem> {
    let malformed = |error: serde_json::Error| invalid(format!("not a {media_type}: {error}"));
    if kind == ManifestKind::Index {
        let index: ImageIndex = serde_json::from_slice(bytes).map_err(malformed)?;
        return Ok((Vec::new(), index.manifests().clone()));
    }
    let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(malformed)?;
    let local = manifest.layers().iter().filter(|layer| !is_foreign(layer)).cloned();
    Ok((std::iter::once(manifest.config().clone()).chain(local).collect(), Vec::new()))
}

/// Whether a layer lives elsewhere by design, so that nobody has to push it.
fn is_foreign(layer: &Descriptor) -> bool {
    media_type::is_foreign_layer(layer.media_type().as_ref())
        || layer.urls().as_ref().is_some_and(|urls| !urls.is_empty())
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Fault::ManifestInvalid, detail)
}
