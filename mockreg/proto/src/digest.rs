//! Content digests: `sha256:<64 hex>` or `sha512:<128 hex>` as images spell them, 32 or 64 bytes inside, and the
//! running hash that makes one of bytes which arrive in pieces.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256, Sha512};
use thiserror::Error;

/// A registered digest algorithm of the image specification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, what everybody uses.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// A SHA-256 or SHA-512 digest. Displays and serialises as `sha256:<64 lower-case hex digits>` or
/// `sha512:<128 lower-case hex digits>`. Digests of one content in two algorithms are different digests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(Hash);

/// Ordered as the text is: by algorithm, then by digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Hash {
    Sha256([u8; 32]),
    Sha512([u8; 64]),
}

/// A hash under way, in either algorithm.
#[derive(Clone, Debug)]
pub struct Digester(Running);

#[derive(Clone, Debug)]
enum Running {
    Sha256(Sha256),
    Sha512(Sha512),
}

/// Why a text is not a digest this program can work with.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DigestError {
    /// There is no `algorithm:` before the hex digits.
    #[error("a digest is `algorithm:hex`, but there is no `:` in `{0}`")]
    NoAlgorithm(String),
    /// The algorithm is well formed but not one this program computes.
    #[error("digest algorithm `{0}` is not supported; use sha256 or sha512")]
    UnsupportedAlgorithm(String),
    /// The part after the algorithm is not the right number of lower-case hex digits.
    #[error("a {algorithm} digest has {digits} lower-case hex digits, not `{given}`", digits = algorithm.digits())]
    BadHex {
        /// What the digits are of.
        algorithm: Algorithm,
        /// What was given for them.
        given: String,
    },
}

impl Algorithm {
    /// The name in a digest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Hex digits of a digest.
    pub const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::of_with(Algorithm::Sha256, bytes)
    }

    /// The digest of `bytes` in `algorithm`.
    pub fn of_with(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut digester = Digester::new(algorithm);
        digester.update(bytes);
        digester.finalize()
    }

    /// Wraps a finished SHA-256.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Hash::Sha256(bytes))
    }

    /// What it was made with.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Hash::Sha256(_) => Algorithm::Sha256,
            Hash::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The 32 or 64 bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Hash::Sha256(bytes) => bytes,
            Hash::Sha512(bytes) => bytes,
        }
    }

    /// The 64 or 128 hex digits without the algorithm.
    pub fn hex(&self) -> String {
        hex(self.as_bytes())
    }
}

impl Digester {
    /// The hash of nothing so far.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => Running::Sha256(Sha256::new()),
            Algorithm::Sha512 => Running::Sha512(Sha512::new()),
        })
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Running::Sha256(hash) => hash.update(bytes),
            Running::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all bytes taken in.
    pub fn finalize(self) -> Digest {
        Digest(match self.0 {
            Running::Sha256(hash) => Hash::Sha256(hash.finalize().into()),
            Running::Sha512(hash) => Hash::Sha512(hash.finalize().into()),
        })
    }
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

/// The bytes of an even number of lower-case hex digits; `None` for anything else.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |c: u8| match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        _ => None,
    };
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let known = [Self::Sha256, Self::Sha512].into_iter().find(|known| known.as_str() == text);
        known.ok_or_else(|| DigestError::UnsupportedAlgorithm(text.to_owned()))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) =
            text.split_once(':').ok_or_else(|| DigestError::NoAlgorithm(text.to_owned()))?;
        let algorithm: Algorithm = algorithm.parse()?;
        let bytes = unhex(digits);
        let hash = bytes.and_then(|bytes| match algorithm {
            Algorithm::Sha256 => bytes.try_into().ok().map(Hash::Sha256),
            Algorithm::Sha512 => bytes.try_into().ok().map(Hash::Sha512),
        });
        hash.map(Self).ok_or_else(|| DigestError::BadHex { algorithm, given: digits.to_owned() })
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the empty message.
    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    /// FIPS 180-4, the empty message.
    const EMPTY_512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
        47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";

    #[test]
    fn empty_message_has_the_published_digests() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of_with(Algorithm::Sha512, b"").to_string(), EMPTY_512);
    }

    #[test]
    fn text_round_trips() {
        for text in [EMPTY, EMPTY_512] {
            assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn algorithms_make_different_digests() {
        let [short, long] = [EMPTY, EMPTY_512].map(|text| text.parse::<Digest>().unwrap());
        assert!(short < long && short.as_bytes().len() == 32 && long.as_bytes().len() == 64);
        assert_eq!([short.algorithm(), long.algorithm()], [Algorithm::Sha256, Algorithm::Sha512]);
    }

    #[test]
    fn pieces_make_the_digest_of_the_whole() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut digester = Digester::new(algorithm);
            [b"one".as_slice(), b"", b"two"].into_iter().for_each(|piece| digester.update(piece));
            assert_eq!(digester.finalize(), Digest::of_with(algorithm, b"onetwo"));
        }
    }

    #[test]
    fn malformed_digests_say_what_is_wrong() {
        let error = |text: &str| text.parse::<Digest>().unwrap_err();
        assert!(matches!(error("e3b0"), DigestError::NoAlgorithm(_)));
        assert!(matches!(error("md5:e3b0"), DigestError::UnsupportedAlgorithm(_)));
        assert!(matches!(error("sha256:e3b0"), DigestError::BadHex { .. }));
        assert!(matches!(error(&EMPTY.to_uppercase().replace("SHA", "sha")), DigestError::BadHex { .. }));
        let short = error(&EMPTY.replace("256", "512"));
        assert!(short.to_string().starts_with("a sha512 digest has 128"), "{short}");
        assert!(matches!(error(&EMPTY_512.replace("512", "256")), DigestError::BadHex { .. }));
    }
}
