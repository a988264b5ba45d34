//! The error codes of the distribution specification (and of Docker's registry before it), and the JSON body that
//! carries them: `{"errors":[{"code":…,"message":…,"detail":…}]}`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A code a client can act on. Spelt in capitals, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// No such blob in the repository.
    BlobUnknown,
    /// The upload cannot go on as asked.
    BlobUploadInvalid,
    /// No such upload session.
    BlobUploadUnknown,
    /// A digest is malformed, or the content has another one.
    DigestInvalid,
    /// A manifest names blobs or manifests that the repository does not have.
    ManifestBlobUnknown,
    /// A manifest that is not one.
    ManifestInvalid,
    /// No such manifest in the repository.
    ManifestUnknown,
    /// A malformed repository name.
    NameInvalid,
    /// No such repository.
    NameUnknown,
    /// A page size that is no number.
    PaginationNumberInvalid,
    /// A range that cannot be served, or a chunk that does not continue the upload.
    RangeInvalid,
    /// More or fewer bytes than announced, or more than the registry keeps.
    SizeInvalid,
    /// A malformed tag.
    TagInvalid,
    /// Authentication is missing.
    Unauthorized,
    /// Authenticated, but not allowed.
    Denied,
    /// Not a thing this registry does.
    Unsupported,
    /// Slow down.
    #[serde(rename = "TOOMANYREQUESTS")]
    TooManyRequests,
    /// Anything else, also a code this program does not know.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// The code as it stands in the body.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Self::RangeInvalid => "RANGE_INVALID",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::TagInvalid => "TAG_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The body of a failed request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One or more errors.
    pub errors: Vec<ErrorEntry>,
}

/// One error of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorEntry {
    /// What to act on.
    pub code: ErrorCode,
    /// What the code means, for people.
    #[serde(default)]
    pub message: String,
    /// What was wrong this time, for people. Foreign registries put any JSON here; this reads texts only.
    #[serde(default, deserialize_with = "text_or_nothing")]
    pub detail: String,
}

/// A text, or the empty one where the detail is an object, a list or null.
fn text_or_nothing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Detail {
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Option::<Detail>::deserialize(deserializer)? {
        Some(Detail::Text(text)) => text,
        Some(Detail::Other(_)) | None => String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_spelt_alike_in_text_and_json() {
        for code in
            [ErrorCode::BlobUnknown, ErrorCode::TooManyRequests, ErrorCode::NameInvalid, ErrorCode::Denied]
        {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }

    #[test]
    fn foreign_bodies_are_read() {
        let body: ErrorBody = serde_json::from_str(
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"m","detail":{"Tag":"v1"}},{"code":"HOUSE_RULE"}]}"#,
        )
        .unwrap();
        assert_eq!(body.errors[0].code, ErrorCode::ManifestUnknown);
        assert_eq!(body.errors[0].detail, "");
        assert_eq!(body.errors[1].code, ErrorCode::Unknown);
    }

    #[test]
    fn own_bodies_round_trip() {
        let entry =
            ErrorEntry { code: ErrorCode::SizeInvalid, message: "m".into(), detail: "too large".into() };
        let body = ErrorBody { errors: vec![entry] };
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(serde_json::from_str::<ErrorBody>(&text).unwrap(), body);
    }
}
