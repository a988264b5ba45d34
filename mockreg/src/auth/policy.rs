//! How the token service behaves, as data. As it comes it is always right; each switch is one way in which real
//! services differ.

use std::time::Duration;

use mockreg_proto::units::{ByteCount, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Lifetime of a token, as the reference implementation's service has it.
const LIFETIME: Duration = Duration::from_secs(300);
/// Largest token that a policy may ask for: with it, a request's head stays within what HTTP servers usually take.
pub(crate) const MAX_PADDING: u64 = 32 << 10;

/// How tokens are made, refused and asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TokenPolicy {
    /// How long a token is good for (`expires_in`). Default: 300 s. Many clients take anything below 60 s for 60 s.
    pub lifetime: Span,
    /// A token is refused after so long, whatever its `expires_in` says, as one that was revoked. Default: never.
    pub refused_after: Option<Span>,
    /// A token is refused after so many requests. Default: never.
    pub refused_after_uses: Option<u32>,
    /// Seconds by which the service's clock is ahead of the right time in `issued_at`; negative is behind. Default: 0.
    pub issued_at_skew_s: i32,
    /// The challenge names no token service. Default: it does.
    pub without_realm: bool,
    /// Tokens are at least this large, up to 32 KiB; some services put every group of a user into them.
    /// Default: no larger than they need be.
    pub padded_to: ByteCount,
    /// What a POST to the token service is answered with. Default: a token.
    pub post: PostAnswer,
    /// Every 401 offers `Negotiate` on a line of its own before what works. Default: only what works.
    pub negotiate_first: bool,
}

impl Default for TokenPolicy {
    fn default() -> Self {
        Self {
            lifetime: Span(LIFETIME),
            refused_after: None,
            refused_after_uses: None,
            issued_at_skew_s: 0,
            without_realm: false,
            padded_to: ByteCount(0),
            post: PostAnswer::Token,
            negotiate_first: false,
        }
    }
}

/// What the token service answers to a POST. Services older than the OAuth form know GET only, and say so in
/// different ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PostAnswer {
    /// A token.
    #[default]
    Token,
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 404.
    NotFound,
    /// 405.
    MethodNotAllowed,
}
