//! Directories that people name: made where they are missing, but not on a path that is not there, which is more
//! often a slip than a wish.

use std::fs;
use std::io;
use std::path::Path;

use thiserror::Error;

/// There is nothing to make a directory in.
#[derive(Debug, Error)]
#[error(
    "there is no directory {parent} to make it in; look for a slip in the path, or make that one (mkdir -p {parent})"
)]
struct NoParent {
    parent: String,
}

/// Makes sure that `directory` is there. Of its path, only the last part is made.
///
/// # Errors
/// Its parent is missing, or the system refuses.
pub(crate) fn ensure(directory: &Path) -> io::Result<()> {
    check(directory)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        made => made,
    }
}

/// Whether `directory` is there, or at least the directory to make it in.
///
/// # Errors
/// Neither is.
pub(crate) fn check(directory: &Path) -> io::Result<()> {
    let parent = match directory.parent() {
        // Of `/`, and of a path of one part.
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    if parent.is_dir() {
        return Ok(());
    }
    let parent = parent.display().to_string();
    Err(io::Error::new(io::ErrorKind::NotFound, NoParent { parent }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_path_is_made_and_no_other() {
        let root = tempfile::tempdir().unwrap();
        let one = root.path().join("one");
        (0..2).for_each(|_| ensure(&one).unwrap());
        assert!(one.is_dir());
        let deep = root.path().join("two/three");
        let error = ensure(&deep).unwrap_err().to_string();
        assert!(error.contains("mkdir -p") && error.contains("two"), "{error}");
        assert!(!root.path().join("two").exists());
        check(Path::new("relative")).unwrap();
        check(Path::new("/")).unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(ensure(&file).is_err() && ensure(&file.join("below")).is_err());
    }
}
