//! What is asked of a client, whichever it is.

use std::path::Path;

use crate::bed::Bed;
use crate::known::{Known, Pulled};

/// A client program, or a library.
pub(crate) trait Client: Send + Sync {
    /// Its name, which is its program's too.
    fn name(&self) -> &'static str;

    /// Programs it takes.
    fn programs(&self) -> Vec<&'static str> {
        vec![self.name()]
    }

    /// Whether images go through a store of its own, where it unpacks what it pulls, which takes root here, and packs
    /// anew what it pushes.
    fn has_store(&self) -> bool {
        false
    }

    /// Its version, as the table in docs/clients.md has it.
    fn version(&self) -> String;

    /// Pulls an image; whatever it keeps in a folder goes into `folder`.
    fn pull(&self, bed: &Bed, image: &str, folder: &Path) -> Vec<Pulled>;

    /// Pushes the known image to `to`, from wherever it has to be first.
    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str);

    /// Brings an image from one registry to another; where it has no command for that, by pulling and pushing.
    fn copy(&self, bed: &Bed, from: &str, to: &str);

    /// Whether it has a command of its own for that.
    fn copies(&self) -> bool {
        !self.has_store()
    }

    /// Whether a manifest that it has pushed is the one it was given, byte for byte.
    fn keeps_manifests(&self) -> bool {
        !self.has_store()
    }

    /// Whether it unpacks layers.
    fn unpacks(&self) -> bool {
        self.has_store()
    }

    /// Whether it unpacks layers in zstd.
    fn unpacks_zstd(&self) -> bool {
        false
    }

    /// The client as one that lists and deletes tags, if it can.
    fn keeper(&self) -> Option<&dyn Keeper> {
        None
    }
}

/// A client that lists tags and deletes images.
pub(crate) trait Keeper {
    /// Tags of a repository.
    fn tags(&self, bed: &Bed, repository: &str) -> Vec<String>;

    /// Deletes a tag, or the image it names.
    fn delete(&self, bed: &Bed, image: &str);
}
