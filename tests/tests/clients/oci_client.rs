//! The Rust crate `oci-client`: uploads in chunks of 4 MiB with `Content-Range`.

use std::path::Path;

use oci_client::Reference;
use oci_client::client::{Config, ImageLayer};
use oci_client::manifest::OciImageManifest;

use crate::bed::Bed;
use crate::client::Client;
use crate::known::{Known, Pulled};
use crate::reader::{block_on, client, login};

pub(crate) struct OciClient;

/// Media types of the layers of a synthetic image.
const LAYERS: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];

fn reference(image: &str) -> Reference {
    image.parse().expect("a reference")
}

/// Puts an image's parts into a layout's folder.
fn write(folder: &Path, digest: &str, bytes: &[u8]) {
    let path = folder.join("blobs").join(digest.replace(':', "/"));
    std::fs::create_dir_all(path.parent().expect("a blob lies in a folder")).expect("room for a folder");
    std::fs::write(path, bytes).expect("room for a blob");
}

async fn push(bed: &Bed, to: &str, layers: Vec<ImageLayer>, config: Config, manifest: OciImageManifest) {
    let pushed = client(bed).push(&reference(to), &layers, config, &login(bed), Some(manifest)).await;
    pushed.expect("it pushes");
}

impl Client for OciClient {
    fn name(&self) -> &'static str {
        "oci-client"
    }

    fn programs(&self) -> Vec<&'static str> {
        Vec::new()
    }

    fn version(&self) -> String {
        // The version that Cargo.lock has is the one that is linked.
        let lock = include_str!("../../../Cargo.lock");
        let (_, entry) = lock.split_once("name = \"oci-client\"\nversion = \"").expect("it is locked");
        entry.split('"').next().expect("it has a version").to_owned()
    }

    fn pull(&self, bed: &Bed, image: &str, folder: &Path) -> Vec<Pulled> {
        block_on(async {
            let (client, reference) = (client(bed), reference(image));
            let accept = ["application/vnd.oci.image.manifest.v1+json"];
            let (manifest, digest) = client
                .pull_manifest_raw(&reference, &login(bed), &accept)
                .await
                .expect("it pulls the manifest");
            write(folder, &digest, &manifest);
            let pulled = client.pull(&reference, &login(bed), LAYERS.to_vec()).await.expect("it pulls");
            write(folder, &pulled.config.sha256_digest(), &pulled.config.data);
            for layer in &pulled.layers {
                write(folder, &layer.sha256_digest(), &layer.data);
            }
        });
        vec![Pulled::Layout(folder.to_owned())]
    }

    fn push(&self, bed: &Bed, known: &Known, _: &Path, to: &str) {
        let media_type = LAYERS[1].to_owned();
        let layers =
            known.layers.iter().map(|layer| ImageLayer::new(layer.blob.clone(), media_type.clone(), None));
        let config = Config::oci_v1(known.config.clone(), None);
        let manifest = serde_json::from_slice(&known.manifest).expect("a manifest is JSON");
        block_on(push(bed, to, layers.collect(), config, manifest));
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        block_on(async {
            let pulled =
                client(bed).pull(&reference(from), &login(bed), LAYERS.to_vec()).await.expect("it pulls");
            let manifest = pulled.manifest.expect("an image has a manifest");
            // It hands layers out as they arrive, and takes them in the manifest's order.
            let place = |layer: &ImageLayer| {
                let digest = layer.sha256_digest();
                manifest.layers.iter().position(|descriptor| descriptor.digest == digest)
            };
            let mut layers = pulled.layers;
            layers.sort_by_key(place);
            push(bed, to, layers, pulled.config, manifest).await;
        });
    }

    fn copies(&self) -> bool {
        false
    }

    /// It reads a manifest into its own form and writes it anew.
    fn keeps_manifests(&self) -> bool {
        false
    }
}
