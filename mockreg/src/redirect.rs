//! Blobs from a second listener, as registries in front of an object store have it: the registry answers with a signed
//! URL that is good for a while, and whoever comes with it needs no other right. This makes and checks the URLs;
//! `handlers::download` answers with and to them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use mockreg_proto::units::Span;
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::random_key;
use mockreg_proto::query::Query;

/// How long a URL is good: long enough to begin a download that waits its turn behind others.
const LIFETIME: Duration = Duration::from_secs(60);
/// URLs remembered as used, where each is good once. When there are more, the oldest count as used whether they were
/// or not.
const MAX_USED: usize = 100_000;

/// How blob downloads are redirected, and what the second listener takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RedirectPolicy {
    /// How long a URL is good for a download to begin. Default: 60 s.
    pub lifetime: Span,
    /// A URL is good for one request. Default: for any number.
    pub one_use: bool,
    /// HEAD is redirected too. Default: GET only.
    pub heads: bool,
    /// A download may carry an `Authorization` header. Default: it is refused, as object stores do that find two ways
    /// to say who asks.
    pub takes_authorization: bool,
    /// What the URLs begin with (`https://cdn.test:5443`), where the second listener is behind a proxy. Default: scheme
    /// and host of the request, with the port of the second listener.
    pub base_url: Option<String>,
}

impl Default for RedirectPolicy {
    fn default() -> Self {
        Self {
            lifetime: Span(LIFETIME),
            one_use: false,
            heads: false,
            takes_authorization: false,
            base_url: None,
        }
    }
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// It was not made here, or changed since.
    Signature,
    /// Its time is over.
    Expired,
    /// It was good once.
    Used,
}

/// Makes URLs and knows them again.
pub(crate) struct Redirector {
    pub(crate) policy: RedirectPolicy,
    /// The port of the second listener.
    pub(crate) port: u16,
    key: hmac::Key,
    started: Instant,
    next: AtomicU64,
    used: Mutex<Used>,
}

impl fmt::Debug for Redirector {
    /// The key stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redirector").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl Redirector {
    /// A redirector to a listener on `port`, with a key of its own.
    pub(crate) fn new(policy: RedirectPolicy, port: u16) -> Self {
        Self {
            policy,
            port,
            key: random_key(),
            started: Instant::now(),
            next: AtomicU64::new(1),
            used: Mutex::default(),
        }
    }

    /// The age of the redirector.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The parameters of a URL for a blob, made when the redirector is `now` old.
    pub(crate) fn parameters(&self, repository: &str, digest: &str, now: Duration) -> String {
        let expires = (now + self.policy.lifetime.0).as_millis() as u64;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let signature = hmac::sign(&self.key, signed(repository, digest, expires, id).as_bytes());
        format!("expires_ms={expires}&id={id}&signature={}", BASE64.encode(signature))
    }

    /// Whether these are the parameters of a URL for this blob that is still good when the redirector is `now` old.
    /// Counts as one use of it.
    ///
    /// # Errors
    /// They are not.
    pub(crate) fn admit(
        &self,
        repository: &str,
        digest: &str,
        query: &Query,
        now: Duration,
    ) -> Result<(), Denied> {
        let number = |name| query.first(name)?.parse::<u64>().ok();
        let given = || Some((number("expires_ms")?, number("id")?, query.first("signature")?));
        let (expires, id, signature) = given().ok_or(Denied::Signature)?;
        let signature = BASE64.decode(signature).map_err(|_| Denied::Signature)?;
        hmac::verify(&self.key, signed(repository, digest, expires, id).as_bytes(), &signature)
            .map_err(|_| Denied::Signature)?;
        if now.as_millis() as u64 >= expires {
            return Err(Denied::Expired);
        }
        let mut used = self.used.lock().expect("no holder of the list panics");
        if self.policy.one_use && !used.take(id, MAX_USED) { Err(Denied::Used) } else { Ok(()) }
    }
}

/// What a signature is about.
fn signed(repository: &str, digest: &str, expires: u64, id: u64) -> String {
    // Names and digests have no line breaks, so no two URLs sign the same text.
    format!("{repository}\n{digest}\n{expires}\n{id}")
}

/// Numbers of URLs that were used.
#[derive(Debug, Default)]
struct Used {
    ids: BTreeSet<u64>,
    /// All below count as used.
    floor: u64,
}

impl Used {
    /// Whether `id` was free until now.
    fn take(&mut self, id: u64, bound: usize) -> bool {
        let free = id >= self.floor && self.ids.insert(id);
        if self.ids.len() > bound
            && let Some(oldest) = self.ids.pop_first()
        {
            self.floor = oldest + 1;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10);

    fn made(redirector: &Redirector) -> String {
        redirector.parameters("a", "sha256:0", NOW)
    }

    fn admit(redirector: &Redirector, repository: &str, text: &str, seconds: u64) -> Result<(), Denied> {
        let now = NOW + Duration::from_secs(seconds);
        redirector.admit(repository, "sha256:0", &Query::parse(Some(text)), now)
    }

    #[test]
    fn a_url_is_good_for_its_blob_and_time() {
        let redirector = Redirector::new(RedirectPolicy::default(), 1);
        let url = made(&redirector);
        assert_eq!(admit(&redirector, "a", &url, 0), Ok(()));
        assert_eq!(admit(&redirector, "a", &url, 59), Ok(()));
        assert_eq!(admit(&redirector, "a", &url, 60), Err(Denied::Expired));
        assert_eq!(admit(&redirector, "b", &url, 0), Err(Denied::Signature));
        let other = Redirector::new(RedirectPolicy::default(), 1);
        assert_eq!(admit(&other, "a", &url, 0), Err(Denied::Signature));
        for forged in ["", "id=1", &url.replace("id=1", "id=2"), &url.replace("expires_ms=", "expires_ms=9")]
        {
            assert_eq!(admit(&redirector, "a", forged, 0), Err(Denied::Signature), "{forged}");
        }
    }

    #[test]
    fn a_url_for_one_use_is_used_up() {
        let policy = RedirectPolicy { one_use: true, ..RedirectPolicy::default() };
        let redirector = Redirector::new(policy, 1);
        let (first, second) = (made(&redirector), made(&redirector));
        assert_eq!(admit(&redirector, "a", &second, 0), Ok(()));
        assert_eq!(admit(&redirector, "a", &first, 0), Ok(()));
        assert_eq!(admit(&redirector, "a", &first, 0), Err(Denied::Used));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_nothing_is_used_twice() {
        let mut used = Used::default();
        for id in 1..=10 {
            assert!(used.take(id, 4));
            assert!(used.ids.len() <= 4);
        }
        assert!((1..=10).all(|id| !used.take(id, 4)));
    }
}
