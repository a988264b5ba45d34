//! Whose media types a manifest, its config and its layers have.

use mockreg_proto::media_type::{
    DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_LAYER_TAR, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX,
    OCI_LAYER_GZIP, OCI_LAYER_TAR, OCI_LAYER_ZSTD, OCI_MANIFEST,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PlannedLayer;
use crate::spec::{Form, LayerSpec};

/// Whose media types a manifest, its config and its layers have.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum MediaTypes {
    /// OCI image manifest and index 1.
    #[default]
    Oci,
    /// Docker image manifest and manifest list, version 2, schema 2.
    Docker,
}

impl MediaTypes {
    /// Media type of manifests.
    pub const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => OCI_MANIFEST,
            Self::Docker => DOCKER_MANIFEST,
        }
    }

    /// Media type of lists of manifests.
    pub const fn index(self) -> &'static str {
        match self {
            Self::Oci => OCI_INDEX,
            Self::Docker => DOCKER_LIST,
        }
    }

    /// Media type of configs.
    pub const fn config(self) -> &'static str {
        match self {
            Self::Oci => OCI_CONFIG,
            Self::Docker => DOCKER_CONFIG,
        }
    }

    /// Media type of a layer that the registry serves.
    pub const fn layer(self, spec: &LayerSpec) -> &'static str {
        match (self, spec.form()) {
            (Self::Oci, Form::Tar) => OCI_LAYER_TAR,
            (Self::Oci, Form::Gzip) => OCI_LAYER_GZIP,
            // Docker's schema has none of its own; what writes one there uses this. Catalogues refuse it.
            (_, Form::Zstd) => OCI_LAYER_ZSTD,
            (Self::Docker, Form::Tar) => DOCKER_LAYER_TAR,
            (Self::Docker, Form::Gzip) => DOCKER_LAYER_GZIP,
        }
    }

    /// Media type of a layer that lies elsewhere.
    const fn foreign(self, spec: &LayerSpec) -> &'static str {
        match (self, spec.form()) {
            (Self::Oci, Form::Tar) => "application/vnd.oci.image.layer.nondistributable.v1.tar",
            (Self::Oci, Form::Gzip) => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            (_, Form::Zstd) => "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
            (Self::Docker, Form::Tar) => "application/vnd.docker.image.rootfs.foreign.diff.tar",
            (Self::Docker, Form::Gzip) => "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        }
    }

    pub(super) const fn of(self, layer: &PlannedLayer) -> &'static str {
        match (self, layer) {
            (_, PlannedLayer::Made(spec)) => self.layer(spec),
            (_, PlannedLayer::Foreign(spec)) => self.foreign(spec),
            (Self::Oci, PlannedLayer::Empty) => OCI_LAYER_GZIP,
            (Self::Docker, PlannedLayer::Empty) => DOCKER_LAYER_GZIP,
        }
    }
}
