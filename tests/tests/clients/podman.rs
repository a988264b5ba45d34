//! podman and buildah: they unpack what they pull, and pack anew what they push. They take the same commands, but for
//! one: how an image's folder is had.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::program::succeed;

use crate::bed::Bed;
use crate::client::Client;
use crate::known::{Known, Pulled};

/// podman mounts images.
pub(crate) const PODMAN: Podman = Podman {
    program: "podman",
    mount: |bed, id| succeed(bed.command("podman").args(["image", "mount", id])),
};

/// buildah mounts containers.
pub(crate) const BUILDAH: Podman = Podman {
    program: "buildah",
    mount: |bed, id| {
        let container = succeed(bed.command("buildah").args(["from", "--pull-never", id]));
        succeed(bed.command("buildah").args(["mount", container.trim()]))
    },
};

/// One of the two.
pub(crate) struct Podman {
    program: &'static str,
    /// Makes a folder of an image in the store and prints its path.
    mount: fn(&Bed, &str) -> String,
}

impl Podman {
    fn command(&self, bed: &Bed) -> Command {
        bed.command(self.program)
    }

    /// Empties the store: what an earlier trial has pulled would not be fetched again.
    fn clear(&self, bed: &Bed) {
        succeed(self.command(bed).args(["rm", "--all"]));
        succeed(self.command(bed).args(["rmi", "--all", "--force"]));
    }

    /// Pulls an image and returns its id.
    fn fetch(&self, bed: &Bed, image: &str) -> String {
        self.clear(bed);
        let pulled = succeed(self.command(bed).args(["pull", "--quiet"]).args(options(bed)).arg(image));
        pulled.trim().to_owned()
    }

    fn push_id(&self, bed: &Bed, id: &str, to: &str) {
        let to = format!("docker://{to}");
        succeed(self.command(bed).args(["push", "--quiet"]).args(options(bed)).args([id, &to]));
    }
}

fn options(bed: &Bed) -> Vec<String> {
    let mut options = match bed.certificates() {
        Some(folder) => vec![format!("--cert-dir={}", folder.display())],
        None => vec!["--tls-verify=false".to_owned()],
    };
    options.extend(bed.joined_credentials().map(|joined| format!("--creds={joined}")));
    options
}

impl Client for Podman {
    fn name(&self) -> &'static str {
        self.program
    }

    fn has_store(&self) -> bool {
        true
    }

    fn version(&self) -> String {
        let text = succeed(Command::new(self.program).arg("--version"));
        text.split_whitespace().nth(2).expect("it tells its version").to_owned()
    }

    fn pull(&self, bed: &Bed, image: &str, _: &Path) -> Vec<Pulled> {
        let id = self.fetch(bed, image);
        vec![Pulled::Folder(PathBuf::from((self.mount)(bed, &id).trim()))]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        known.write_layout(folder);
        let id = self.fetch(bed, &format!("oci:{}:latest", folder.display()));
        self.push_id(bed, &id, to);
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        let id = self.fetch(bed, from);
        self.push_id(bed, &id, to);
    }

    fn unpacks_zstd(&self) -> bool {
        true
    }
}
