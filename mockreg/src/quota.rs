//! Declared quotas: how many requests of which kind a client may make in a window, and what it is told about that.
//! The data is what configurations and vendor profiles are made of; [`Meters`] counts. A quota is the registry's own
//! business and repeatable from what was asked; an answer of 429 that nobody asked for is the proxy's.

mod clients;
mod meter;
mod refusal;

use std::num::NonZeroU32;

use http::Method;
use mockreg_proto::journal::Kind;
use mockreg_proto::units::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::clients::{Client, Clients};
pub(crate) use self::meter::Meters;

/// A quota on requests: a bucket of `requests` that fills up again evenly over `window` (the generic cell rate
/// algorithm, ITU-T I.371). Over one window it admits what a sliding window would; it gives back one request at a
/// time instead of all that are as old as the window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Requests that are counted; absent: all of them.
    #[serde(default)]
    pub on: Vec<Counted>,
    /// How many a client may make at once, and in each window.
    pub requests: NonZeroU32,
    /// The window: `6h`, `1m`, `1s`; above 0.
    pub window: Span,
    /// Who shares the bucket. Default: everybody at one address.
    #[serde(default)]
    pub per: Per,
    /// What answers say about it.
    #[serde(default)]
    pub headers: QuotaHeaders,
    /// What a client gets that has used it up.
    #[serde(default)]
    pub refusal: Refusal,
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// As the journal names it: `manifest`, `blob`, `upload`, `tags`, `catalog`, …
    pub kind: Kind,
    /// `GET`, `PUT`, …; absent: every method.
    #[serde(default)]
    pub methods: Vec<String>,
}

/// Who shares a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Everybody at one IP address.
    #[default]
    Address,
    /// One user, wherever it comes from; without a user, one address.
    User,
    /// Everybody.
    All,
}

/// What answers say about a quota, refusals and admissions alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaHeaders {
    /// Nothing.
    #[default]
    None,
    /// As Docker Hub: `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600`, `docker-ratelimit-source`.
    /// They stand on HEAD as well, which costs nothing.
    Hub,
    /// `x-ratelimit-limit`, `x-ratelimit-remaining`, `x-ratelimit-reset` (seconds until the bucket is full).
    XRatelimit,
}

/// What a client gets that has used up a quota: 429 and this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Refusal {
    /// The form of the body. Default: `oci`.
    pub body: RefusalBody,
    /// The form of `Retry-After`. Default: `seconds`.
    pub retry_after: RetryAfter,
}

/// The body of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalBody {
    /// JSON with the code TOOMANYREQUESTS.
    #[default]
    Oci,
    /// A line of text, as gateways in front of registries send it.
    Plain,
}

/// The forms of `Retry-After` (RFC 9110 §10.2.3) that clients meet, correct and not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// Seconds until the next request would be admitted, rounded up.
    #[default]
    Seconds,
    /// The same as a date.
    Date,
    /// No header.
    Absent,
    /// `0`, which invites a client to try at once.
    Zero,
    /// `soon`, which is neither a number nor a date.
    Garbage,
}

impl Quota {
    /// The key that is wrong, and what is wrong with it.
    pub(crate) fn check(&self) -> Result<(), (String, String)> {
        if self.window.0.is_zero() {
            return Err(("window".to_owned(), "is above 0, for example 6h or 1s".to_owned()));
        }
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
        for (at, counted) in self.on.iter().enumerate() {
            let is_known = |name: &String| known.iter().any(|known| known.eq_ignore_ascii_case(name));
            if let Some(place) = counted.methods.iter().position(|name| !is_known(name)) {
                let reason = format!("is `{}`; there are {}", counted.methods[place], known.join(", "));
                return Err((format!("on[{at}].methods[{place}]"), reason));
            }
        }
        Ok(())
    }

    /// Whether a request is counted.
    fn counts(&self, kind: Kind, method: &Method) -> bool {
        self.on.is_empty() || self.on.iter().any(|counted| counted.fits(kind, method))
    }

    /// Whether its answer speaks of the quota though it is not counted: that of HEAD where GET is counted.
    fn mentions(&self, kind: Kind, method: &Method) -> bool {
        *method == Method::HEAD && self.counts(kind, &Method::GET)
    }
}

impl Counted {
    fn fits(&self, kind: Kind, method: &Method) -> bool {
        let named = |name: &String| name.eq_ignore_ascii_case(method.as_str());
        self.kind == kind && (self.methods.is_empty() || self.methods.iter().any(named))
    }
}
