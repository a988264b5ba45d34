//! What can go wrong with a registry request: one table of code, status and message, and the JSON answer made of a
//! row and what was wrong this time. Handlers name the row and the detail; nothing else in the crate spells a code.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use mockreg_proto::error_code::{ErrorBody, ErrorCode, ErrorEntry};

use crate::body::{Body, Reply};
use crate::content::NoRoom;
use crate::images::Searching;

/// When to ask again for a digest that is still looked for: such a request waits for a while itself.
const SEARCH_PAUSE: Duration = Duration::from_secs(5);

/// A row of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    BlobUnknown,
    BodyBroken,
    BodyIdle,
    BodySize,
    CatalogDenied,
    DigestInvalid,
    DiskFull,
    FormInvalid,
    FormTooLarge,
    HeadTooLarge,
    Internal,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestTooLarge,
    ManifestUnknown,
    MethodUnsupported,
    NameInvalid,
    NameUnknown,
    NoRoute,
    NotAcceptable,
    OverBudget,
    PageInvalid,
    QuotaUsedUp,
    RangeMalformed,
    RangeUnsatisfiable,
    RequestMalformed,
    ScopeInsufficient,
    Searching,
    TagInvalid,
    TokenRefused,
    TooManyEntries,
    TooManyRanges,
    TooManyTags,
    TooManyUploads,
    Unauthorized,
    UploadDisplaced,
    UploadOutOfOrder,
    UploadUnknown,
    UriTooLong,
}

struct Row {
    fault: Fault,
    code: ErrorCode,
    status: StatusCode,
    message: &'static str,
}

const fn row(fault: Fault, code: ErrorCode, status: StatusCode, message: &'static str) -> Row {
    Row { fault, code, status, message }
}

/// Every answer that is not a success, in one place.
const TABLE: &[Row] = &[
    row(Fault::BlobUnknown, ErrorCode::BlobUnknown, StatusCode::NOT_FOUND, "blob unknown to repository"),
    row(Fault::BodyBroken, ErrorCode::SizeInvalid, StatusCode::BAD_REQUEST, "request body ended too early"),
    row(
        Fault::BodyIdle,
        ErrorCode::SizeInvalid,
        StatusCode::REQUEST_TIMEOUT,
        "request body stopped arriving",
    ),
    row(
        Fault::BodySize,
        ErrorCode::SizeInvalid,
        StatusCode::BAD_REQUEST,
        "body length differs from what was announced",
    ),
    row(
        Fault::CatalogDenied,
        ErrorCode::Unauthorized,
        StatusCode::UNAUTHORIZED,
        "the list of repositories is nobody's to read",
    ),
    row(
        Fault::DigestInvalid,
        ErrorCode::DigestInvalid,
        StatusCode::BAD_REQUEST,
        "digest malformed, or not that of the content",
    ),
    row(
        Fault::DiskFull,
        ErrorCode::SizeInvalid,
        StatusCode::INSUFFICIENT_STORAGE,
        "no room left to keep content",
    ),
    row(Fault::FormInvalid, ErrorCode::Unsupported, StatusCode::BAD_REQUEST, "form malformed"),
    row(Fault::FormTooLarge, ErrorCode::SizeInvalid, StatusCode::PAYLOAD_TOO_LARGE, "form too large"),
    row(
        Fault::HeadTooLarge,
        ErrorCode::Unsupported,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "request headers too large",
    ),
    row(Fault::Internal, ErrorCode::Unknown, StatusCode::INTERNAL_SERVER_ERROR, "the registry failed"),
    row(
        Fault::ManifestBlobUnknown,
        ErrorCode::ManifestBlobUnknown,
        StatusCode::NOT_FOUND,
        "manifest names content unknown to repository",
    ),
    row(Fault::ManifestInvalid, ErrorCode::ManifestInvalid, StatusCode::BAD_REQUEST, "manifest invalid"),
    row(Fault::ManifestTooLarge, ErrorCode::SizeInvalid, StatusCode::PAYLOAD_TOO_LARGE, "manifest too large"),
    row(
        Fault::ManifestUnknown,
        ErrorCode::ManifestUnknown,
        StatusCode::NOT_FOUND,
        "manifest unknown to repository",
    ),
    row(
        Fault::MethodUnsupported,
        ErrorCode::Unsupported,
        StatusCode::METHOD_NOT_ALLOWED,
        "method not supported here",
    ),
    row(Fault::NameInvalid, ErrorCode::NameInvalid, StatusCode::BAD_REQUEST, "repository name malformed"),
    row(Fault::NameUnknown, ErrorCode::NameUnknown, StatusCode::NOT_FOUND, "repository unknown to registry"),
    row(Fault::NoRoute, ErrorCode::Unsupported, StatusCode::NOT_FOUND, "no such route"),
    row(
        Fault::NotAcceptable,
        ErrorCode::Unsupported,
        StatusCode::NOT_ACCEPTABLE,
        "the manifest has a type that was not asked for",
    ),
    row(
        Fault::OverBudget,
        ErrorCode::SizeInvalid,
        StatusCode::PAYLOAD_TOO_LARGE,
        "content exceeds the memory budget",
    ),
    row(
        Fault::PageInvalid,
        ErrorCode::PaginationNumberInvalid,
        StatusCode::BAD_REQUEST,
        "page size malformed",
    ),
    row(Fault::QuotaUsedUp, ErrorCode::TooManyRequests, StatusCode::TOO_MANY_REQUESTS, "quota used up"),
    row(Fault::RangeMalformed, ErrorCode::RangeInvalid, StatusCode::RANGE_NOT_SATISFIABLE, "range malformed"),
    row(
        Fault::RangeUnsatisfiable,
        ErrorCode::RangeInvalid,
        StatusCode::RANGE_NOT_SATISFIABLE,
        "range outside the content",
    ),
    row(Fault::RequestMalformed, ErrorCode::Unsupported, StatusCode::BAD_REQUEST, "not a valid HTTP request"),
    row(
        Fault::ScopeInsufficient,
        ErrorCode::Unauthorized,
        StatusCode::UNAUTHORIZED,
        "token grants less than is needed",
    ),
    row(
        Fault::Searching,
        ErrorCode::Unknown,
        StatusCode::SERVICE_UNAVAILABLE,
        "the digest is still looked for in a large repository",
    ),
    row(Fault::TagInvalid, ErrorCode::TagInvalid, StatusCode::BAD_REQUEST, "tag malformed"),
    row(Fault::TokenRefused, ErrorCode::Unauthorized, StatusCode::UNAUTHORIZED, "token not accepted"),
    row(
        Fault::TooManyEntries,
        ErrorCode::SizeInvalid,
        StatusCode::PAYLOAD_TOO_LARGE,
        "the registry holds too many things",
    ),
    row(Fault::TooManyRanges, ErrorCode::RangeInvalid, StatusCode::BAD_REQUEST, "too many ranges"),
    row(Fault::TooManyTags, ErrorCode::TagInvalid, StatusCode::URI_TOO_LONG, "too many tags in one request"),
    row(
        Fault::TooManyUploads,
        ErrorCode::TooManyRequests,
        StatusCode::TOO_MANY_REQUESTS,
        "too many uploads are open",
    ),
    row(Fault::Unauthorized, ErrorCode::Unauthorized, StatusCode::UNAUTHORIZED, "authentication required"),
    row(
        Fault::UploadDisplaced,
        ErrorCode::BlobUploadInvalid,
        StatusCode::RANGE_NOT_SATISFIABLE,
        "another request took over this upload",
    ),
    row(
        Fault::UploadOutOfOrder,
        ErrorCode::RangeInvalid,
        StatusCode::RANGE_NOT_SATISFIABLE,
        "chunk does not continue the upload",
    ),
    row(
        Fault::UploadUnknown,
        ErrorCode::BlobUploadUnknown,
        StatusCode::NOT_FOUND,
        "upload unknown to repository",
    ),
    row(Fault::UriTooLong, ErrorCode::Unsupported, StatusCode::URI_TOO_LONG, "request target too long"),
];

/// A failed request: the row, what was wrong this time, and headers that help the client to recover.
#[derive(Debug)]
pub(crate) struct Problem {
    fault: Fault,
    details: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    plain: bool,
}

impl Problem {
    /// The row with one thing that was wrong.
    pub(crate) fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault, details: vec![detail.into()], headers: Vec::new(), plain: false }
    }

    /// The row with everything that was wrong, one entry of the body each.
    pub(crate) fn all(fault: Fault, details: Vec<String>) -> Self {
        Self { fault, details, headers: Vec::new(), plain: false }
    }

    /// What a method gets where others are served.
    pub(crate) fn method(allow: &'static str) -> Self {
        Self::new(Fault::MethodUnsupported, format!("this route answers {allow}"))
            .with(ALLOW, HeaderValue::from_static(allow))
    }

    /// Content for which there is no room, in memory or on disk.
    pub(crate) fn no_room(error: &NoRoom) -> Self {
        let fault = match error {
            NoRoom::Memory(_) => Fault::OverBudget,
            NoRoom::Disk(_) => {
                tracing::warn!(%error, "pushed content cannot be spilled");
                Fault::DiskFull
            }
        };
        Self::new(fault, error.to_string())
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Makes the answer a line of text, as gateways in front of registries send them.
    pub(crate) fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// The row.
    pub(crate) fn fault(&self) -> Fault {
        self.fault
    }

    fn row(&self) -> &'static Row {
        TABLE.iter().find(|row| row.fault == self.fault).expect("every fault has a row, see the test")
    }

    /// The body of the answer: JSON, unless it is to be plain.
    pub(crate) fn into_text(self) -> Vec<u8> {
        let row = self.row();
        if self.plain {
            return format!("{}: {}\n", row.message, self.details.join("; ")).into_bytes();
        }
        let entry = |detail| ErrorEntry { code: row.code, message: row.message.to_owned(), detail };
        let body = ErrorBody { errors: self.details.into_iter().map(entry).collect() };
        serde_json::to_vec(&body).expect("texts always serialise")
    }

    /// The answer. The server leaves its body out where the method asks for none.
    pub(crate) fn into_reply(mut self) -> Reply {
        let (status, headers) = (self.row().status, std::mem::take(&mut self.headers));
        let content_type = if self.plain { "text/plain; charset=utf-8" } else { "application/json" };
        let mut reply = Response::new(Body::whole(Bytes::from(self.into_text())));
        *reply.status_mut() = status;
        // Docker reads the code only where the type is exactly this.
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in headers {
            reply.headers_mut().append(name, value);
        }
        reply
    }
}

impl From<Searching> for Problem {
    fn from(searching: Searching) -> Self {
        Self::new(Fault::Searching, searching.to_string())
            .with(RETRY_AFTER, HeaderValue::from(SEARCH_PAUSE.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_exactly_one_row_in_order() {
        let order: Vec<usize> = TABLE.iter().map(|row| row.fault as usize).collect();
        assert_eq!(order, (0..TABLE.len()).collect::<Vec<_>>());
        assert_eq!(TABLE.len(), Fault::UriTooLong as usize + 1);
    }

    #[test]
    fn every_status_is_an_error() {
        assert!(TABLE.iter().all(|row| row.status.is_client_error()
            || matches!(row.fault, Fault::Internal | Fault::DiskFull | Fault::Searching)));
    }
}
