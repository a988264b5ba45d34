//! regctl, of regclient. It deletes a tag alone where the registry can, and never the image behind it.

use std::path::Path;
use std::process::Command;

use e2e::program::{command, succeed, succeed_with_bytes};
use serde_json::Value;

use crate::bed::Bed;
use crate::client::{Client, Keeper};
use crate::known::{Known, Pulled};

pub(crate) struct Regctl;

fn regctl(bed: &Bed) -> Command {
    let mut command = bed.command("regctl");
    for host in bed.hosts() {
        let tls = if bed.access.tls { "enabled" } else { "disabled" };
        let login = bed.credentials().map(|(user, password)| format!(",user={user},pass={password}"));
        command.arg("--host").arg(format!("reg={host},tls={tls}{}", login.unwrap_or_default()));
    }
    command
}

fn copy(bed: &Bed, from: &str, to: &str) {
    succeed(regctl(bed).args(["image", "copy", from, to]));
}

fn layout(folder: &Path) -> String {
    format!("ocidir://{}:latest", folder.display())
}

impl Client for Regctl {
    fn name(&self) -> &'static str {
        "regctl"
    }

    fn version(&self) -> String {
        let text = succeed(command("regctl").args(["version", "--format", "{{jsonPretty .}}"]));
        let told: Value = serde_json::from_str(&text).expect("it prints JSON");
        let version = told["vcsTag"].as_str().expect("it tells its version");
        version.trim_start_matches('v').to_owned()
    }

    fn pull(&self, bed: &Bed, image: &str, folder: &Path) -> Vec<Pulled> {
        copy(bed, image, &layout(folder));
        vec![Pulled::Layout(folder.to_owned())]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        known.write_layout(folder);
        copy(bed, &layout(folder), to);
        // And one file out of the middle of it, which it finds by unpacking.
        let (path, bytes) = known.files.iter().next().expect("an image has files");
        assert_eq!(&succeed_with_bytes(regctl(bed).args(["image", "get-file", to, path])), bytes);
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        copy(bed, from, to);
    }

    fn keeper(&self) -> Option<&dyn Keeper> {
        Some(self)
    }
}

impl Keeper for Regctl {
    fn tags(&self, bed: &Bed, repository: &str) -> Vec<String> {
        let text = succeed(regctl(bed).args(["tag", "ls", repository]));
        text.lines().map(str::to_owned).collect()
    }

    fn delete(&self, bed: &Bed, image: &str) {
        succeed(regctl(bed).args(["tag", "delete", image]));
    }
}
