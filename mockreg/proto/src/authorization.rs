//! Reading an `Authorization` header: nothing, a name and a password, or a token (RFC 7617, RFC 6750).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Some clients leave the padding away.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who a client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// Nobody: no header, or one with neither name nor password, as some clients send who have none.
    Nobody,
    /// A name and a password.
    Basic(String, String),
    /// A token.
    Bearer(String),
    /// Something that cannot be read, and why.
    Malformed(&'static str),
}

impl Authorization {
    /// Reads the text of one header.
    pub fn parse(text: &str) -> Self {
        let (scheme, credentials) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let credentials = credentials.trim();
        if scheme.eq_ignore_ascii_case("basic") {
            Self::basic(credentials)
                .unwrap_or(Self::Malformed("Basic credentials are base64 of NAME:PASSWORD"))
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Self::Bearer(credentials.to_owned())
        } else {
            Self::Malformed("the scheme is neither Basic nor Bearer")
        }
    }

    fn basic(credentials: &str) -> Option<Self> {
        let text = String::from_utf8(BASE64.decode(credentials).ok()?).ok()?;
        let (name, password) = text.split_once(':')?;
        if name.is_empty() && password.is_empty() {
            return Some(Self::Nobody);
        }
        Some(Self::Basic(name.to_owned(), password.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_leniently_and_never_wrongly() {
        let basic = |name: &str, password: &str| Authorization::Basic(name.into(), password.into());
        for (text, wanted) in [
            ("Basic YTpi", basic("a", "b")),
            ("basic  YTpi ", basic("a", "b")),
            ("Basic YTpiOmM=", basic("a", "b:c")),
            ("Basic YTpiOmM", basic("a", "b:c")),
            ("Basic Og==", Authorization::Nobody),
            ("Bearer abc.def", Authorization::Bearer("abc.def".into())),
            ("BEARER", Authorization::Bearer(String::new())),
        ] {
            assert_eq!(Authorization::parse(text), wanted, "{text}");
        }
        for text in ["", "Basic", "Basic YQ==", "Basic ???", "Basic /w==", "Negotiate abc", "YTpi"] {
            assert!(matches!(Authorization::parse(text), Authorization::Malformed(_)), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_panics(text in "(Basic|Bearer)? ?\\PC{0,40}") {
            let _ = Authorization::parse(&text);
        }
    }
}
