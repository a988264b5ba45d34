//! Names and passwords: given in a program, or read from an htpasswd file with bcrypt hashes. bcrypt is slow on
//! purpose, so it runs once for each password that is tried, off the threads that serve.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, MutexGuard};

use bcrypt::HashParts;
use ring::hmac;
use ring::rand::SystemRandom;
use thiserror::Error;
use tokio::sync::Semaphore;

/// Most bcrypt runs at once; each burns a processor for a tenth of a second or more.
const MAX_RUNS: usize = 2;
/// Passwords whose check is remembered, right and wrong ones. When there are more, all are forgotten: it costs one
/// more run each.
const MAX_REMEMBERED: usize = 4096;
/// Highest bcrypt cost: each step doubles the time, and this one takes seconds already.
const MAX_COST: u32 = 16;

/// Who may log in. Either passwords as they are, or bcrypt hashes.
#[derive(Clone, Debug, Default)]
pub struct Users(HashMap<String, Secret>);

#[derive(Clone)]
enum Secret {
    Plain(String),
    Bcrypt(String),
}

impl fmt::Debug for Secret {
    /// Passwords stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Why an htpasswd file is not used.
#[derive(Debug, Error)]
pub enum HtpasswdError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The path asked for.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line is not `NAME:HASH` with a bcrypt hash.
    #[error("{path}:{line}: {reason}; `htpasswd -nbB NAME PASSWORD` prints a line as it should be")]
    Line {
        /// The path asked for.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The file names nobody, so nobody could log in.
    #[error("{path} names no user; `htpasswd -nbB NAME PASSWORD` prints a line for one")]
    Empty {
        /// The path asked for.
        path: PathBuf,
    },
}

impl<N: Into<String>, P: Into<String>, const COUNT: usize> From<[(N, P); COUNT]> for Users {
    fn from(users: [(N, P); COUNT]) -> Self {
        Self::new(users)
    }
}

impl Users {
    /// Names with passwords as they are.
    pub fn new<N: Into<String>, P: Into<String>>(users: impl IntoIterator<Item = (N, P)>) -> Self {
        let plain = |(name, password): (N, P)| (name.into(), Secret::Plain(password.into()));
        Self(users.into_iter().map(plain).collect())
    }

    /// Reads an htpasswd file: a line `NAME:HASH` for each user, with a bcrypt hash; empty lines and those that begin
    /// with `#` mean nothing.
    ///
    /// # Errors
    /// The file cannot be read, a line is malformed, its hash is not bcrypt, or there is no user in it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, HtpasswdError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|source| HtpasswdError::Unreadable { path: path.to_owned(), source })?;
        let mut users = HashMap::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !is_blank(line)) {
            let (name, hash) = htpasswd_line(line).map_err(|reason| HtpasswdError::Line {
                path: path.to_owned(),
                line: at + 1,
                reason,
            })?;
            users.insert(name, Secret::Bcrypt(hash));
        }
        if users.is_empty() {
            return Err(HtpasswdError::Empty { path: path.to_owned() });
        }
        Ok(Self(users))
    }

    fn is_right(&self, name: &str, password: &str) -> bool {
        match self.0.get(name) {
            Some(Secret::Plain(wanted)) => wanted == password,
            Some(Secret::Bcrypt(hash)) => bcrypt::verify(password, hash).unwrap_or(false),
            None => false,
        }
    }
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

fn htpasswd_line(line: &str) -> Result<(String, String), String> {
    let (name, hash) = line.trim_end().split_once(':').ok_or("a line is NAME:HASH")?;
    if name.is_empty() {
        return Err("the name is empty".into());
    }
    let parts = HashParts::from_str(hash).map_err(|_| format!("the hash of `{name}` is not bcrypt"))?;
    if parts.get_cost() > MAX_COST {
        return Err(format!("the hash of `{name}` has cost {}, above {MAX_COST}", parts.get_cost()));
    }
    Ok((name.to_owned(), hash.to_owned()))
}

/// Who may log in, and which tries are known already.
#[derive(Debug)]
pub(crate) struct Verifier {
    users: Arc<Users>,
    /// Tries are remembered by a keyed hash, so that no password stays in memory.
    key: hmac::Key,
    remembered: Mutex<HashMap<Vec<u8>, bool>>,
    runs: Semaphore,
}

impl Verifier {
    /// Nothing is remembered yet.
    pub(crate) fn new(users: Users) -> Self {
        Self {
            users: Arc::new(users),
            key: random_key(),
            remembered: Mutex::default(),
            runs: Semaphore::new(MAX_RUNS),
        }
    }

    /// Whether this is the password of `name`.
    pub(crate) async fn is_right(&self, name: &str, password: &str) -> bool {
        // A name has no colon, so the two cannot be taken for others.
        let given = hmac::sign(&self.key, format!("{name}:{password}").as_bytes()).as_ref().to_vec();
        if let Some(right) = self.remember().get(&given) {
            return *right;
        }
        let _turn = self.runs.acquire().await.expect("nobody closes the semaphore");
        // Another request may have brought the same password meanwhile.
        if let Some(right) = self.remember().get(&given) {
            return *right;
        }
        let (users, name, password) = (Arc::clone(&self.users), name.to_owned(), password.to_owned());
        let run = tokio::task::spawn_blocking(move || users.is_right(&name, &password));
        let Ok(right) = run.await else { return false };
        let mut remembered = self.remember();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(given, right);
        right
    }

    fn remember(&self) -> MutexGuard<'_, HashMap<Vec<u8>, bool>> {
        self.remembered.lock().expect("no holder of the tries panics")
    }
}

/// A key that nobody else has, for HMAC-SHA256.
pub(crate) fn random_key() -> hmac::Key {
    hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("the system gives random bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Users, HtpasswdError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("users");
        std::fs::write(&path, text).unwrap();
        Users::read(path)
    }

    #[test]
    fn a_file_of_bcrypt_lines_is_read() {
        // Cost 4 is the least there is. `htpasswd` writes `2y`, this library `2b`: the same algorithm.
        let hash = bcrypt::hash("secret", 4).unwrap();
        let other = hash.replacen("2b", "2y", 1);
        let users = read(&format!("# people\n\nann:{hash}\r\nbob:{other}\n")).unwrap();
        assert!(users.is_right("ann", "secret") && users.is_right("bob", "secret"));
        assert!(!users.is_right("ann", "Secret") && !users.is_right("eve", "secret"));
    }

    #[test]
    fn errors_name_file_and_line() {
        let heavy = bcrypt::hash("secret", 4).unwrap().replacen("$04$", "$20$", 1);
        for (text, says) in [
            ("ann", "users:1: a line is NAME:HASH"),
            ("# people\nann:$apr1$x$y", "users:2: the hash of `ann` is not bcrypt"),
            ("\n\n:x", "users:3: the name is empty"),
            (&format!("ann:{heavy}"), "cost 20"),
            ("# nobody\n", "names no user"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("htpasswd -nbB"), "{error}");
        }
        assert!(Users::read("/nowhere/users").unwrap_err().to_string().contains("/nowhere/users"));
    }

    #[tokio::test]
    async fn each_try_is_checked_once_and_remembered_within_bounds() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let verifier = Verifier::new(read(&format!("ann:{hash}")).unwrap());
        for _ in 0..3 {
            assert!(verifier.is_right("ann", "secret").await);
            assert!(!verifier.is_right("ann", "wrong").await);
        }
        assert_eq!(verifier.remember().len(), 2);
        for attempt in 0..MAX_REMEMBERED {
            assert!(!verifier.is_right("nobody", &attempt.to_string()).await);
        }
        assert!(verifier.remember().len() <= MAX_REMEMBERED);
        assert!(verifier.is_right("ann", "secret").await);
    }

    #[test]
    fn passwords_stay_out_of_debug_output() {
        assert!(!format!("{:?}", Users::from([("ann", "secret")])).contains("secret"));
    }
}
