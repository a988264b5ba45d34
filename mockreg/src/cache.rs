//! What is dear to compute and the same in every run, kept in files: digests and checkpoints of layers. A file that
//! is missing, damaged or of another version of the format is as good as none, since everything in it can be
//! computed again; so nothing here ever fails, it is only slower. What the files hold is their owners' business.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use mockreg_proto::digest::Digest;
use mockreg_synth::Archive;

/// Version of the layers' format that the files belong to; a part of their names, so that programs of two versions
/// share a directory.
const FORMAT: &str = "v1";
/// Larger files are not ours: the digests of the largest catalogue take 50 MB.
const MAX_FILE: u64 = 256 << 20;
/// A file begins with the digest of the rest and a line feed.
const CHECKSUM: usize = "sha256:".len() + 64 + 1;

/// A directory of results, or nowhere to keep them.
#[derive(Clone, Debug, Default)]
pub(crate) struct CacheDir {
    directory: Option<PathBuf>,
}

impl CacheDir {
    /// Keeps nothing and knows nothing.
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// The directory given; else `stormyard` in the user's cache directory (`$XDG_CACHE_HOME`, `$HOME/.cache`); else
    /// nothing is kept. The directory is created when something is written.
    pub(crate) fn open(given: Option<PathBuf>) -> Self {
        static SAID: Once = Once::new();
        let directory = given.or_else(|| user_cache(|name| std::env::var_os(name).map(PathBuf::from)));
        if directory.is_none() {
            SAID.call_once(|| {
                tracing::info!(
                    "no cache: neither --table-cache nor XDG_CACHE_HOME nor HOME names a directory"
                );
            });
        }
        Self { directory }
    }

    /// Whether there is a directory.
    pub(crate) fn keeps(&self) -> bool {
        self.directory.is_some()
    }

    /// What was last written under `name`, if it is whole.
    pub(crate) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let path = self.path(name)?;
        match read_whole(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a cache file cannot be used and will be written anew");
                None
            }
        }
    }

    /// Writes `bytes` under `name`, all at once: readers and a crash find the old content or the new.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let Some(path) = self.path(name) else { return };
        if let Err(error) = write_whole(&path, bytes) {
            tracing::warn!(path = %path.display(), %error, "a cache file cannot be written; going on without");
        }
    }

    /// `name` is one of ours: letters, digits, `-` and `_`.
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(format!("{name}.{FORMAT}")))
    }
}

impl Archive for CacheDir {
    fn load(&self, name: &str) -> Option<Vec<u8>> {
        self.read(name)
    }

    fn store(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
    }
}

/// Where a user's programs keep what they can compute again (XDG base directory specification 0.8): relative paths
/// in the variable count as none.
fn user_cache(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("stormyard"))
}

fn read_whole(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let file = File::open(path)?;
    if file.metadata()?.len() > MAX_FILE {
        return Err(damaged("it is larger than any of ours"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    if bytes.len() < CHECKSUM {
        return Err(damaged("it is cut short"));
    }
    let content = bytes.split_off(CHECKSUM);
    match bytes == checksum(&content) {
        true => Ok(Some(content)),
        false => Err(damaged("its content is not what its checksum says")),
    }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    // A name of its own for each write, so that two processes or threads never write into one file.
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_extension(format!("{}-{number}.tmp", process::id()));
    let written = File::create_new(&unfinished).and_then(|mut file| {
        file.write_all(&checksum(bytes))?;
        file.write_all(bytes)
    });
    let done = written.and_then(|()| fs::rename(&unfinished, path));
    if done.is_err() {
        // Whatever went wrong is told; what is left over is only in the way.
        let _ = fs::remove_file(&unfinished);
    }
    done
}

fn checksum(content: &[u8]) -> Vec<u8> {
    format!("{}\n", Digest::of(content)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, CacheDir) {
        let directory = tempfile::tempdir().unwrap();
        let cache = CacheDir::open(Some(directory.path().join("deep/down")));
        (directory, cache)
    }

    #[test]
    fn what_is_written_is_read_again_and_replaced() {
        let (_directory, cache) = cache();
        assert_eq!(cache.read("a"), None);
        cache.write("a", b"one");
        cache.write("b", b"");
        assert_eq!((cache.read("a"), cache.read("b")), (Some(b"one".to_vec()), Some(Vec::new())));
        cache.write("a", b"two");
        assert_eq!(cache.read("a").unwrap(), b"two");
        let files = fs::read_dir(cache.directory.unwrap()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a.v1", "b.v1"], "nothing unfinished stays behind");
    }

    #[test]
    fn a_damaged_file_is_none_and_is_written_anew() {
        let (_directory, cache) = cache();
        cache.write("a", &[7; 1000]);
        let path = cache.path("a").unwrap();
        let whole = fs::read(&path).unwrap();
        for at in [0, 10, CHECKSUM - 1, CHECKSUM, whole.len() - 1] {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            fs::write(&path, &wrong).unwrap();
            assert_eq!(cache.read("a"), None, "byte {at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(cache.read("a"), None, "cut at {at}");
        }
        fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
        assert_eq!(cache.read("a"), None);
        cache.write("a", b"new");
        assert_eq!(cache.read("a").unwrap(), b"new");
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_no_failure() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cache = CacheDir::open(Some(file.path().join("below a file")));
        cache.write("a", b"one");
        assert_eq!(cache.read("a"), None);
        let none = CacheDir::none();
        none.write("a", b"one");
        assert_eq!(none.read("a"), None);
    }

    #[test]
    fn the_users_cache_is_where_the_convention_says() {
        let at = |xdg: Option<&str>, home: Option<&str>| {
            let found = user_cache(|name| if name == "HOME" { home } else { xdg }.map(PathBuf::from));
            found.map(|path| path.to_str().unwrap().to_owned())
        };
        assert_eq!(at(Some("/x"), Some("/h")).unwrap(), "/x/stormyard");
        assert_eq!(at(None, Some("/h")).unwrap(), "/h/.cache/stormyard");
        assert_eq!(at(Some("relative"), Some("/h")).unwrap(), "/h/.cache/stormyard");
        assert_eq!(at(Some(""), None), None);
    }

    /// Whoever reads while others write finds one of the contents, whole.
    #[test]
    fn many_writers_never_mix() {
        let (_directory, cache) = cache();
        cache.write("a", &[0; 50_000]);
        std::thread::scope(|scope| {
            for writer in 1..4u8 {
                let cache = &cache;
                scope.spawn(move || (0..40).for_each(|_| cache.write("a", &[writer; 50_000])));
            }
            for _ in 0..100 {
                let found = cache.read("a").expect("there is always a whole file");
                assert!(found.len() == 50_000 && found.iter().all(|byte| *byte == found[0]));
            }
        });
    }
}
