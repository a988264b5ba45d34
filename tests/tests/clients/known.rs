//! Images whose every byte is known beforehand, from `mockreg_synth`: what a client has pulled is compared with them,
//! and they are written out in the two forms that clients push from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use e2e::program::succeed;
use mockreg_proto::digest::Digest;
use mockreg_synth::{Layer, Tables, name};
use serde_json::json;

use crate::tarball;

/// A synthetic image and what is in it.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) manifest: Bytes,
    pub(crate) manifest_digest: Digest,
    pub(crate) manifest_media_type: &'static str,
    pub(crate) config: Bytes,
    pub(crate) config_digest: Digest,
    pub(crate) layers: Vec<KnownLayer>,
    /// Every regular file, by path. The layers of an image lie in folders of their own, so none hides another's.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// A layer, packed and unpacked.
#[derive(Debug)]
pub(crate) struct KnownLayer {
    pub(crate) digest: Digest,
    pub(crate) blob: Bytes,
    tar: Vec<u8>,
}

/// What a client has pulled.
#[derive(Debug)]
pub(crate) enum Pulled {
    /// An OCI image layout.
    Layout(PathBuf),
    /// The files themselves.
    Folder(PathBuf),
    /// A tar of the files.
    Tar(Vec<u8>),
}

impl Known {
    /// The image that a mockreg serves under this name.
    ///
    /// # Panics
    /// There is no such image.
    pub(crate) fn of(name: &str) -> Self {
        let image = name::parse(name, 1).expect("a name that can be made").build(&Tables::shared());
        let layers: Vec<KnownLayer> = image
            .layers
            .iter()
            .map(|layer| {
                let made =
                    Layer::new(layer.plan.made().expect("images made from their names have no other layers"));
                let blob = made.read(0, made.size()).flatten().collect();
                let tar = made.read_tar(0, made.tar_size()).flatten().collect();
                KnownLayer { digest: layer.digest, blob, tar }
            })
            .collect();
        let files = layers.iter().flat_map(|layer| tarball::files(&layer.tar)).collect();
        Self {
            manifest: image.manifest,
            manifest_digest: image.manifest_digest,
            manifest_media_type: image.manifest_media_type,
            config: image.config,
            config_digest: image.config_digest,
            layers,
            files,
        }
    }

    /// Blobs and manifest by digest.
    fn blobs(&self) -> Vec<(Digest, &[u8])> {
        let layers = self.layers.iter().map(|layer| (layer.digest, &layer.blob[..]));
        layers
            .chain([(self.config_digest, &self.config[..]), (self.manifest_digest, &self.manifest[..])])
            .collect()
    }

    /// Writes an OCI image layout with the tag `latest`.
    ///
    /// # Panics
    /// The folder cannot be written to.
    pub(crate) fn write_layout(&self, folder: &Path) {
        std::fs::create_dir_all(folder.join("blobs/sha256")).expect("room for a layout");
        for (digest, bytes) in self.blobs() {
            std::fs::write(blob_path(folder, digest), bytes).expect("room for a blob");
        }
        let index = json!({"schemaVersion": 2, "manifests": [{
            "mediaType": self.manifest_media_type,
            "digest": self.manifest_digest.to_string(),
            "size": self.manifest.len(),
            "annotations": {"org.opencontainers.image.ref.name": "latest"},
        }]});
        std::fs::write(folder.join("index.json"), index.to_string()).expect("room for an index");
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
            .expect("room for a line");
    }

    /// Writes what `docker load` reads, with the name `known:latest`; returns the archive.
    ///
    /// # Panics
    /// The folder cannot be written to, or tar fails.
    pub(crate) fn write_archive(&self, folder: &Path) -> PathBuf {
        let parts = folder.join("parts");
        std::fs::create_dir_all(&parts).expect("room for an archive");
        let names: Vec<String> = (0..self.layers.len()).map(|n| format!("{n}.tar")).collect();
        for (name, layer) in names.iter().zip(&self.layers) {
            std::fs::write(parts.join(name), &layer.tar).expect("room for a layer");
        }
        std::fs::write(parts.join("config.json"), &self.config).expect("room for a config");
        let manifest = json!([{"Config": "config.json", "RepoTags": ["known:latest"], "Layers": names}]);
        std::fs::write(parts.join("manifest.json"), manifest.to_string()).expect("room for a manifest");
        let archive = folder.join("known.tar");
        succeed(Command::new("tar").arg("-C").arg(&parts).arg("-cf").arg(&archive).arg("."));
        archive
    }

    /// Compares what was pulled with what is known, all of it.
    ///
    /// # Panics
    /// Something is missing or different.
    pub(crate) fn check(&self, pulled: &Pulled) {
        let wrong: Vec<String> = match pulled {
            Pulled::Layout(folder) => {
                let differs = |(digest, bytes): &(Digest, &[u8])| {
                    std::fs::read(blob_path(folder, *digest)).ok().as_deref() != Some(*bytes)
                };
                self.blobs().into_iter().filter(differs).map(|(digest, _)| digest.to_string()).collect()
            }
            Pulled::Folder(folder) => self.wrong_files(|path| std::fs::read(folder.join(path)).ok()),
            Pulled::Tar(tar) => {
                let mut files = tarball::files(tar);
                self.wrong_files(|path| files.remove(path))
            }
        };
        assert!(wrong.is_empty(), "missing or different: {wrong:?}");
    }

    fn wrong_files(&self, mut read: impl FnMut(&str) -> Option<Vec<u8>>) -> Vec<String> {
        let wrong = self.files.iter().filter(|(path, bytes)| read(path).as_ref() != Some(bytes));
        wrong.map(|(path, _)| path.clone()).collect()
    }
}

/// Where a blob lies in an OCI image layout.
fn blob_path(folder: &Path, digest: Digest) -> PathBuf {
    folder.join("blobs").join(digest.to_string().replace(':', "/"))
}
