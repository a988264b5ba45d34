//! oras: whole images by `cp`, single files as artifacts by `push` and `pull`.

use std::path::Path;

use e2e::program::{command, succeed};

use crate::bed::Bed;
use crate::client::{Client, Keeper};
use crate::known::{Known, Pulled};

pub(crate) struct Oras;

/// Its options for one side of a copy (`from-`, `to-`) or for the only side there is.
fn options(bed: &Bed, side: &str) -> Vec<String> {
    let mut options = match bed.ca() {
        Some(ca) => vec![format!("--{side}plain-http=false"), format!("--{side}ca-file={}", ca.display())],
        None => vec![format!("--{side}plain-http")],
    };
    options.extend(bed.credentials().into_iter().flat_map(|(user, password)| {
        [format!("--{side}username={user}"), format!("--{side}password={password}")]
    }));
    options
}

fn layout(folder: &Path) -> String {
    format!("{}:latest", folder.display())
}

/// One file out and in again, under a repository beside `to`.
fn round_trip(bed: &Bed, folder: &Path, to: &str) {
    let artifact = to.replacen(":v1", "-file:v1", 1);
    let (there, back) = (folder.join("there"), folder.join("back"));
    std::fs::create_dir_all(&there).expect("room for a folder");
    let text = b"a file that oras pushes, byte for byte\n".repeat(1000);
    std::fs::write(there.join("file.txt"), &text).expect("room for a file");
    let mut push = bed.command("oras");
    push.current_dir(&there).arg("push").args(options(bed, ""));
    succeed(push.args([&artifact, "file.txt:text/plain"]));
    succeed(bed.command("oras").arg("pull").args(options(bed, "")).arg("--output").arg(&back).arg(&artifact));
    assert_eq!(std::fs::read(back.join("file.txt")).expect("oras has pulled it"), text);
}

impl Client for Oras {
    fn name(&self) -> &'static str {
        "oras"
    }

    fn version(&self) -> String {
        let text = succeed(command("oras").arg("version"));
        let version = text.split_whitespace().nth(1).expect("it tells its version");
        version.split('+').next().unwrap_or(version).to_owned()
    }

    fn pull(&self, bed: &Bed, image: &str, folder: &Path) -> Vec<Pulled> {
        let mut cp = bed.command("oras");
        succeed(cp.arg("cp").args(options(bed, "from-")).args([image, "--to-oci-layout", &layout(folder)]));
        vec![Pulled::Layout(folder.to_owned())]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        known.write_layout(folder);
        let mut cp = bed.command("oras");
        succeed(cp.arg("cp").args(options(bed, "to-")).args(["--from-oci-layout", &layout(folder), to]));
        round_trip(bed, folder, to);
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        let mut cp = bed.command("oras");
        succeed(cp.arg("cp").args(options(bed, "from-")).args(options(bed, "to-")).args([from, to]));
    }

    fn keeper(&self) -> Option<&dyn Keeper> {
        Some(self)
    }
}

impl Keeper for Oras {
    fn tags(&self, bed: &Bed, repository: &str) -> Vec<String> {
        let text = succeed(bed.command("oras").args(["repo", "tags"]).args(options(bed, "")).arg(repository));
        text.lines().map(str::to_owned).collect()
    }

    fn delete(&self, bed: &Bed, image: &str) {
        let delete = ["manifest", "delete", "--force"];
        succeed(bed.command("oras").args(delete).args(options(bed, "")).arg(image));
    }
}
