//! The token that guards the API: read from a file by the server and by its clients, and compared so that the time
//! which that takes does not tell how much of a guess was right.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use http::HeaderValue;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// Bytes of a token: more than any scheme makes, and less than a request's head may be long.
const LONGEST: usize = 4096;
/// The variable that names the file for clients that are not told by a flag.
const VARIABLE: &str = "CHAOSPROXY_TOKEN_FILE";

/// A secret that whoever changes the server has to know.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The secret stays out of logs.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Why a file has no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It cannot be read. Create it, or let the program read it.
    #[error("cannot read the token file {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What it holds is no token. Write one line of printable ASCII without spaces into it.
    #[error("token file {}: {problem}; write a token into it, for example by `openssl rand -hex 32`", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Token {
    /// The token in a file: all of it but white space around it.
    ///
    /// # Errors
    /// The file cannot be read, is empty, or holds something else than one word of printable ASCII of at most 4,096
    /// bytes.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        // One byte more than white space around the longest could be taken for.
        let most = 2 * LONGEST as u64;
        std::fs::File::open(path)
            .and_then(|file| file.take(most).read_to_end(&mut bytes))
            .map_err(unreadable)?;
        let content = |problem| TokenError::Content { path: path.to_owned(), problem };
        match bytes.trim_ascii() {
            [] => Err(content("it is empty")),
            token if token.len() > LONGEST => Err(content("it is longer than 4096 bytes")),
            token if !token.iter().all(u8::is_ascii_graphic) => {
                Err(content("it holds more than one word of printable ASCII"))
            }
            token => Ok(Self(String::from_utf8_lossy(token).into_owned())),
        }
    }

    /// What a client sends: the one in `file`, or in the file that `CHAOSPROXY_TOKEN_FILE` names, or none.
    ///
    /// # Errors
    /// There is such a file, and no token in it.
    pub fn of_client(file: Option<&Path>) -> Result<Option<Self>, TokenError> {
        let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        file.map(Path::to_owned).or(named).map(|path| Self::read(&path)).transpose()
    }

    /// The value of the header `Authorization` that carries it.
    pub fn authorization(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether the value of an `Authorization` header carries it.
    fn is_in(&self, authorization: &HeaderValue) -> bool {
        let Some((scheme, given)) = authorization.as_bytes().split_at_checked("Bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.trim_ascii().ct_eq(self.0.as_bytes()))
    }
}

/// Who asks for the token at the API's door; nobody, where there is none.
#[derive(Debug, Default)]
pub(crate) struct Guard(RwLock<Option<Token>>);

impl Guard {
    pub(crate) fn new(token: Option<Token>) -> Self {
        Self(RwLock::new(token))
    }

    /// From now on this one is asked for.
    pub(crate) fn change(&self, token: Token) {
        // A token is replaced whole.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    pub(crate) fn admits(&self, authorization: Option<&HeaderValue>) -> bool {
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        token.as_ref().is_none_or(|token| authorization.is_some_and(|given| token.is_in(given)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Token, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let name = file.path().display().to_string();
        Token::read(file.path()).map_err(|error| error.to_string().replace(&name, "F"))
    }

    #[test]
    fn a_token_is_a_word_in_a_file() {
        assert_eq!(read(b" secret\n").unwrap().authorization(), "Bearer secret");
        assert!(read(&[b'x'; LONGEST]).is_ok());
        for (text, problem) in [
            (&b""[..], "it is empty"),
            (b" \n\t", "it is empty"),
            (b"two words", "it holds more than one word of printable ASCII"),
            (b"gr\xc3\xbcn", "it holds more than one word of printable ASCII"),
            (&[b'x'; LONGEST + 1], "it is longer than 4096 bytes"),
            (&[b'x'; 9 * LONGEST], "it is longer than 4096 bytes"),
        ] {
            let remedy = "write a token into it, for example by `openssl rand -hex 32`";
            assert_eq!(read(text).unwrap_err(), format!("token file F: {problem}; {remedy}"));
        }
        let missing = Token::read(Path::new("/nonexistent/token")).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read the token file /nonexistent/token");
    }

    #[test]
    fn only_the_token_is_admitted() {
        let guard = Guard::default();
        assert!(guard.admits(None), "there is none to be asked for");
        guard.change(read(b"secret").unwrap());
        for (given, is_admitted) in [
            ("Bearer secret", true),
            ("bearer secret", true),
            ("BEARER  secret ", true),
            ("Bearer secre", false),
            ("Bearer secrets", false),
            ("Bearer Secret", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Basic secret", false),
            ("secret", false),
            ("", false),
        ] {
            assert_eq!(guard.admits(Some(&HeaderValue::from_static(given))), is_admitted, "{given}");
        }
        assert!(!guard.admits(None));
        guard.change(read(b"other").unwrap());
        assert!(!guard.admits(Some(&HeaderValue::from_static("Bearer secret"))));
    }

    #[test]
    fn it_does_not_show_in_logs() {
        assert_eq!(format!("{:?}", Guard::new(read(b"secret").ok())).matches("secret").count(), 0);
    }
}
