//! The media types of images, as OCI and Docker spell them, and what kind of document each one is.

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer: plain tar.
pub const OCI_LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer: tar in gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer: tar in zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer: plain tar.
pub const DOCKER_LAYER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer: tar in gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// What a blob is served as: a registry does not know more about it.
pub const OCTET_STREAM: &str = "application/octet-stream";

const DOCKER_SCHEMA1: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

/// What a manifest's media type says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestKind {
    /// One image: a configuration and layers.
    Image,
    /// A list of manifests.
    Index,
    /// Docker schema 1: its digests are not those of its bytes, and no current builder makes it.
    Schema1,
}

impl ManifestKind {
    /// The kind of `media_type`, whose parameters (`; charset=…`) are ignored; `None` if it is no manifest.
    pub fn of(media_type: &str) -> Option<Self> {
        match essence(media_type) {
            OCI_MANIFEST | DOCKER_MANIFEST => Some(Self::Image),
            OCI_INDEX | DOCKER_LIST => Some(Self::Index),
            other => DOCKER_SCHEMA1.contains(&other).then_some(Self::Schema1),
        }
    }
}

/// `media_type` without parameters and surrounding space.
pub fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// Whether a layer of this type lives elsewhere by design (foreign or non-distributable), so that a registry must
/// accept manifests that name it without holding it.
pub fn is_foreign_layer(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence.starts_with("application/vnd.oci.image.layer.nondistributable.v1.")
        || essence.starts_with("application/vnd.docker.image.rootfs.foreign.diff.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_told_from_other_types() {
        for (media_type, kind) in [
            (OCI_MANIFEST, Some(ManifestKind::Image)),
            (DOCKER_MANIFEST, Some(ManifestKind::Image)),
            (OCI_INDEX, Some(ManifestKind::Index)),
            (DOCKER_LIST, Some(ManifestKind::Index)),
            (DOCKER_SCHEMA1[1], Some(ManifestKind::Schema1)),
            (" application/vnd.oci.image.index.v1+json ; charset=utf-8", Some(ManifestKind::Index)),
            ("application/json", None),
            (OCI_CONFIG, None),
            ("", None),
        ] {
            assert_eq!(ManifestKind::of(media_type), kind, "{media_type}");
        }
    }

    #[test]
    fn foreign_layers_are_known_by_their_types() {
        assert!(is_foreign_layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"));
        assert!(is_foreign_layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
        assert!(!is_foreign_layer(OCI_LAYER_GZIP));
        assert!(!is_foreign_layer(DOCKER_LAYER_GZIP));
    }
}
