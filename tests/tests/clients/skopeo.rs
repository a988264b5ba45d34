//! skopeo: copies between registries and folders without unpacking.

use std::path::Path;
use std::process::Command;

use e2e::program::succeed;
use serde_json::Value;

use crate::bed::Bed;
use crate::client::{Client, Keeper};
use crate::known::{Known, Pulled};

pub(crate) struct Skopeo;

/// Its options for one side of a copy (`src-`, `dest-`) or for the only side there is.
fn options(bed: &Bed, side: &str) -> Vec<String> {
    let mut options = match bed.certificates() {
        Some(folder) => vec![format!("--{side}cert-dir={}", folder.display())],
        None => vec![format!("--{side}tls-verify=false")],
    };
    options.extend(bed.joined_credentials().map(|joined| format!("--{side}creds={joined}")));
    options
}

/// Without `--preserve-digests` it packs some layers anew.
fn copy(bed: &Bed, sides: &[&str], from: &str, to: &str) {
    let options = sides.iter().flat_map(|side| options(bed, side));
    succeed(
        bed.command("skopeo").args(["copy", "--quiet", "--preserve-digests"]).args(options).args([from, to]),
    );
}

fn docker(image: &str) -> String {
    format!("docker://{image}")
}

fn layout(folder: &Path) -> String {
    format!("oci:{}:latest", folder.display())
}

impl Client for Skopeo {
    fn name(&self) -> &'static str {
        "skopeo"
    }

    fn version(&self) -> String {
        succeed(Command::new("skopeo").arg("--version")).trim().replace("skopeo version ", "")
    }

    fn pull(&self, bed: &Bed, image: &str, folder: &Path) -> Vec<Pulled> {
        copy(bed, &["src-"], &docker(image), &layout(folder));
        vec![Pulled::Layout(folder.to_owned())]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        known.write_layout(folder);
        copy(bed, &["dest-"], &layout(folder), &docker(to));
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        copy(bed, &["src-", "dest-"], &docker(from), &docker(to));
    }

    fn keeper(&self) -> Option<&dyn Keeper> {
        Some(self)
    }
}

impl Keeper for Skopeo {
    fn tags(&self, bed: &Bed, repository: &str) -> Vec<String> {
        let text =
            succeed(bed.command("skopeo").arg("list-tags").args(options(bed, "")).arg(docker(repository)));
        let listed: Value = serde_json::from_str(&text).expect("it prints JSON");
        let tags = listed["Tags"].as_array().expect("it lists tags");
        tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)).collect()
    }

    fn delete(&self, bed: &Bed, image: &str) {
        succeed(bed.command("skopeo").arg("delete").args(options(bed, "")).arg(docker(image)));
    }
}
