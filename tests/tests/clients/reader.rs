//! Reading an image back from a registry, with the crate `oci-client`: it verifies digests by itself; what is compared
//! here is what is inside.

use std::collections::BTreeMap;

use mockreg_proto::digest::Digest;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::Value;

use crate::bed::Bed;
use crate::tarball;

/// Manifests of images, as all clients here push them.
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];

/// An image as it lies in a registry.
#[derive(Debug)]
pub(crate) struct Read {
    /// Digest of the manifest.
    pub(crate) digest: String,
    /// Every regular file of its layers.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// A client that has the bed's CA.
pub(crate) fn client(bed: &Bed) -> Client {
    // The only provider in this build; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = bed.ca().map(|path| std::fs::read(path).expect("mockreg has written its CA"));
    let certificate = |data| Certificate { encoding: CertificateEncoding::Pem, data };
    Client::new(ClientConfig {
        protocol: if bed.access.tls { ClientProtocol::Https } else { ClientProtocol::Http },
        tls_certs_only: ca.map(certificate).into_iter().collect(),
        ..ClientConfig::default()
    })
}

/// The bed's credentials.
pub(crate) fn login(bed: &Bed) -> RegistryAuth {
    match bed.credentials() {
        Some((user, password)) => RegistryAuth::Basic(user.into(), password.into()),
        None => RegistryAuth::Anonymous,
    }
}

/// Runs one conversation with a registry.
pub(crate) fn block_on<T>(conversation: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(conversation)
}

/// Reads an image whole and holds its config to its layers: the tar inside each has the diff_id that stands there.
///
/// # Panics
/// It is not there, not whole, or does not hold together.
pub(crate) fn read(bed: &Bed, image: &str) -> Read {
    let reference: Reference = image.parse().expect("a reference");
    block_on(async {
        let client = client(bed);
        let (manifest, digest) = client
            .pull_manifest_raw(&reference, &login(bed), &MANIFESTS)
            .await
            .expect("the manifest is there");
        let manifest: Value = serde_json::from_slice(&manifest).expect("a manifest is JSON");
        let config = blob(&client, &reference, &manifest["config"]).await;
        let config: Value = serde_json::from_slice(&config).expect("a config is JSON");
        let mut files = BTreeMap::new();
        let mut diff_ids = Vec::new();
        for layer in manifest["layers"].as_array().expect("an image has layers") {
            let tar = unpack(layer["mediaType"].as_str(), blob(&client, &reference, layer).await);
            diff_ids.push(Value::from(Digest::of(&tar).to_string()));
            files.extend(tarball::files(&tar));
        }
        assert_eq!(config["rootfs"]["diff_ids"], Value::from(diff_ids), "{image}");
        Read { digest, files }
    })
}

/// Whether the registry still has a manifest under this name.
pub(crate) fn exists(bed: &Bed, image: &str) -> bool {
    let reference: Reference = image.parse().expect("a reference");
    match block_on(client(bed).fetch_manifest_digest(&reference, &login(bed))) {
        Ok(_) => true,
        Err(error) => {
            let text = format!("{error:?}");
            assert!(
                text.contains("404") || text.contains("NotFound") || text.contains("ManifestUnknown"),
                "{text}"
            );
            false
        }
    }
}

/// Whether the registry shows an image to somebody without a login.
pub(crate) fn opens_to_strangers(bed: &Bed) -> bool {
    let reference: Reference = bed.source("synth/600kb:v1").parse().expect("a reference");
    let client = client(bed);
    match block_on(client.pull_manifest_raw(&reference, &RegistryAuth::Anonymous, &MANIFESTS)) {
        Ok(_) => true,
        Err(
            OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_),
        ) => false,
        Err(error) => panic!("{error:?}"),
    }
}

async fn blob(client: &Client, reference: &Reference, descriptor: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    let digest = descriptor["digest"].as_str().expect("a descriptor has a digest");
    client.pull_blob(reference, digest, &mut bytes).await.unwrap_or_else(|error| panic!("{digest}: {error}"));
    bytes
}

/// The tar in a layer.
fn unpack(media_type: Option<&str>, blob: Vec<u8>) -> Vec<u8> {
    use std::io::Read as _;
    let mut tar = Vec::new();
    match media_type {
        Some(kind) if kind.ends_with("gzip") => {
            flate2::read::MultiGzDecoder::new(&blob[..]).read_to_end(&mut tar).expect("a gzip layer is gzip");
        }
        Some(kind) if kind.ends_with("zstd") => {
            zstd::stream::copy_decode(&blob[..], &mut tar).expect("a zstd layer is zstd");
        }
        _ => return blob,
    }
    tar
}
