//! crane, of go-containerregistry.

use std::path::Path;

use e2e::program::{command, succeed, succeed_with_bytes};

use crate::bed::Bed;
use crate::client::{Client, Keeper};
use crate::known::{Known, Pulled};

pub(crate) struct Crane;

impl Client for Crane {
    fn name(&self) -> &'static str {
        "crane"
    }

    fn version(&self) -> String {
        succeed(command("crane").arg("version")).trim().trim_start_matches('v').to_owned()
    }

    /// Both ways it has: into a layout, and unpacked and flattened into one tar.
    fn pull(&self, bed: &Bed, image: &str, folder: &Path) -> Vec<Pulled> {
        succeed(bed.command("crane").args(["pull", "--format=oci", image]).arg(folder));
        let tar = succeed_with_bytes(bed.command("crane").args(["export", image, "-"]));
        vec![Pulled::Layout(folder.to_owned()), Pulled::Tar(tar)]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        known.write_layout(folder);
        succeed(bed.command("crane").arg("push").arg(folder).arg(to));
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        succeed(bed.command("crane").args(["copy", from, to]));
    }

    fn unpacks(&self) -> bool {
        true
    }

    fn unpacks_zstd(&self) -> bool {
        true
    }

    fn keeper(&self) -> Option<&dyn Keeper> {
        Some(self)
    }
}

impl Keeper for Crane {
    fn tags(&self, bed: &Bed, repository: &str) -> Vec<String> {
        let text = succeed(bed.command("crane").args(["ls", repository]));
        text.lines().map(str::to_owned).collect()
    }

    fn delete(&self, bed: &Bed, image: &str) {
        succeed(bed.command("crane").args(["delete", image]));
    }
}
