//! Tokens: signed, self-contained (JWT with HS256, RFC 7519), so that the service keeps nothing for each. The key is
//! made at the start and leaves with the process; so do all tokens.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::hmac;
use serde::{Deserialize, Serialize};

use super::policy::{MAX_PADDING, TokenPolicy};
use super::scope::Scope;
use super::users::random_key;

/// The name of the service in challenges and tokens.
pub(crate) const SERVICE: &str = "mockreg";
/// `{"alg":"HS256","typ":"JWT"}`
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
/// Tokens whose uses are counted, where a policy bounds them. When there are more, the counts begin anew.
const MAX_COUNTED: usize = 100_000;

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Purpose {
    /// Requests to the registry.
    Access,
    /// Getting further tokens without a password.
    Refresh,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    /// The user; empty for nobody in particular.
    pub(crate) sub: String,
    iat: u64,
    nbf: u64,
    /// Absent from a refresh token, which does not expire: so the distribution project's token specification has it
    /// (`offline_token`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<u64>,
    jti: u64,
    purpose: Purpose,
    /// Milliseconds from the start of the service. Ages are measured with a clock that nobody sets.
    issued_ms: u64,
    pub(crate) access: Vec<Scope>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    padding: String,
}

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not made here, or not for this purpose.
    Foreign,
    /// Older than its lifetime.
    Expired,
    /// The policy ended it before its time.
    Revoked,
}

impl Refusal {
    /// For people.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Foreign => "the token is not one of this registry",
            Self::Expired => "the token has expired",
            Self::Revoked => "the token has been revoked",
        }
    }
}

/// Makes tokens and reads them.
#[derive(Debug)]
pub(crate) struct Mint {
    key: hmac::Key,
    started: Instant,
    next: AtomicU64,
    uses: Mutex<HashMap<u64, u32>>,
}

impl Mint {
    /// A mint with a key of its own.
    pub(crate) fn new() -> Self {
        Self { key: random_key(), started: Instant::now(), next: AtomicU64::new(1), uses: Mutex::default() }
    }

    /// The age of the service.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A token, made when the service is `now` old.
    pub(crate) fn make(
        &self,
        purpose: Purpose,
        user: &str,
        access: Vec<Scope>,
        policy: &TokenPolicy,
        now: Duration,
    ) -> String {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut claims = Claims {
            iss: SERVICE.into(),
            aud: SERVICE.into(),
            sub: user.into(),
            iat: seconds,
            nbf: seconds,
            exp: (purpose == Purpose::Access).then(|| seconds.saturating_add(policy.lifetime.0.as_secs())),
            jti: self.next.fetch_add(1, Ordering::Relaxed),
            purpose,
            issued_ms: now.as_millis() as u64,
            access,
            padding: String::new(),
        };
        let token = self.sign(&claims);
        let wanted = policy.padded_to.0.min(MAX_PADDING) as usize;
        if token.len() >= wanted || purpose == Purpose::Refresh {
            return token;
        }
        // Four characters of base64 for three bytes.
        claims.padding = "x".repeat((wanted - token.len()).div_ceil(4) * 3);
        self.sign(&claims)
    }

    fn sign(&self, claims: &Claims) -> String {
        let claims = serde_json::to_vec(claims).expect("texts and numbers always serialise");
        let signed = format!("{HEADER}.{}", BASE64.encode(claims));
        let signature = hmac::sign(&self.key, signed.as_bytes());
        format!("{signed}.{}", BASE64.encode(signature))
    }

    /// What `token` says, if it was made here for `purpose` and is still good when the service is `now` old. Counts as
    /// one use of it.
    ///
    /// # Errors
    /// It is not such a token.
    pub(crate) fn read(
        &self,
        purpose: Purpose,
        token: &str,
        policy: &TokenPolicy,
        now: Duration,
    ) -> Result<Claims, Refusal> {
        let claims = self.verified(token).filter(|claims| claims.purpose == purpose);
        let claims = claims.ok_or(Refusal::Foreign)?;
        if purpose == Purpose::Refresh {
            return Ok(claims);
        }
        let age = now.saturating_sub(Duration::from_millis(claims.issued_ms));
        if age >= policy.lifetime.0 {
            return Err(Refusal::Expired);
        }
        let too_old = policy.refused_after.is_some_and(|most| age >= most.0);
        let used_up = policy.refused_after_uses.is_some_and(|most| self.used(claims.jti) > most);
        if too_old || used_up { Err(Refusal::Revoked) } else { Ok(claims) }
    }

    fn verified(&self, token: &str) -> Option<Claims> {
        let (signed, signature) = token.rsplit_once('.')?;
        hmac::verify(&self.key, signed.as_bytes(), &BASE64.decode(signature).ok()?).ok()?;
        let (_, claims) = signed.split_once('.')?;
        serde_json::from_slice(&BASE64.decode(claims).ok()?).ok()
    }

    fn used(&self, jti: u64) -> u32 {
        let mut uses = self.uses.lock().expect("no holder of the counts panics");
        if uses.len() >= MAX_COUNTED && !uses.contains_key(&jti) {
            uses.clear();
        }
        let count = uses.entry(jti).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use mockreg_proto::units::{ByteCount, Span};

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn access() -> Vec<Scope> {
        Scope::parse_list(["repository:a:pull,push"])
    }

    fn after(seconds: u64) -> Duration {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_is_good_for_its_lifetime_and_purpose() {
        let (mint, policy) = (Mint::new(), TokenPolicy::default());
        let token = mint.make(Purpose::Access, "ann", access(), &policy, NOW);
        let read = |purpose, token: &str, now| mint.read(purpose, token, &policy, now);
        let claims = read(Purpose::Access, &token, after(299)).unwrap();
        assert_eq!((claims.sub.as_str(), claims.access), ("ann", access()));
        assert_eq!(read(Purpose::Access, &token, after(300)), Err(Refusal::Expired));
        assert_eq!(read(Purpose::Refresh, &token, NOW), Err(Refusal::Foreign));
        let refresh = mint.make(Purpose::Refresh, "ann", Vec::new(), &policy, NOW);
        assert_eq!(read(Purpose::Access, &refresh, NOW), Err(Refusal::Foreign));
        assert_eq!(read(Purpose::Refresh, &refresh, after(100_000)).unwrap().sub, "ann");
        assert_eq!(Mint::new().read(Purpose::Access, &token, &policy, NOW), Err(Refusal::Foreign));
    }

    #[test]
    fn a_token_is_a_jwt() {
        let token = Mint::new().make(Purpose::Access, "ann", access(), &TokenPolicy::default(), NOW);
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(BASE64.decode(parts[0]).unwrap(), br#"{"alg":"HS256","typ":"JWT"}"#);
        let claims: serde_json::Value = serde_json::from_slice(&BASE64.decode(parts[1]).unwrap()).unwrap();
        assert_eq!(claims["access"][0], "repository:a:pull,push");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 300);
    }

    #[test]
    fn a_refresh_token_does_not_expire_and_does_not_say_so() {
        let policy = TokenPolicy { lifetime: Span(Duration::from_secs(1)), ..TokenPolicy::default() };
        let mint = Mint::new();
        let token = mint.make(Purpose::Refresh, "ann", Vec::new(), &policy, NOW);
        let claims = token.split('.').nth(1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&BASE64.decode(claims).unwrap()).unwrap();
        assert_eq!((claims.get("exp"), &claims["purpose"]), (None, &"refresh".into()));
        assert!(mint.read(Purpose::Refresh, &token, &policy, after(1_000_000)).is_ok());
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let (mint, policy) = (Mint::new(), TokenPolicy::default());
        let token = mint.make(Purpose::Access, "ann", access(), &policy, NOW);
        for at in 0..token.len() {
            let mut forged = token.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            assert_eq!(mint.read(Purpose::Access, &forged, &policy, NOW), Err(Refusal::Foreign), "{at}");
        }
        for nonsense in ["", ".", "..", "a.b.c", &token[..token.len() - 1]] {
            assert_eq!(mint.read(Purpose::Access, nonsense, &policy, NOW), Err(Refusal::Foreign));
        }
    }

    #[test]
    fn policies_revoke_by_age_and_by_uses() {
        let mint = Mint::new();
        let policy =
            TokenPolicy { refused_after: Some(Span(Duration::from_secs(5))), ..TokenPolicy::default() };
        let token = mint.make(Purpose::Access, "ann", access(), &policy, NOW);
        assert!(mint.read(Purpose::Access, &token, &policy, after(4)).is_ok());
        assert_eq!(mint.read(Purpose::Access, &token, &policy, after(5)), Err(Refusal::Revoked));
        let policy = TokenPolicy { refused_after_uses: Some(2), ..TokenPolicy::default() };
        let read = || mint.read(Purpose::Access, &token, &policy, NOW).map(|_| ());
        assert_eq!([read(), read(), read()], [Ok(()), Ok(()), Err(Refusal::Revoked)]);
    }

    #[test]
    fn padding_makes_a_token_as_large_as_wanted_up_to_its_bound() {
        let mint = Mint::new();
        for (padded_to, wanted) in [(8 << 10, 8 << 10), (1 << 30, MAX_PADDING)] {
            let policy = TokenPolicy { padded_to: ByteCount(padded_to), ..TokenPolicy::default() };
            let token = mint.make(Purpose::Access, "ann", access(), &policy, NOW);
            assert!((wanted..wanted + 64).contains(&(token.len() as u64)), "{}", token.len());
            assert!(mint.read(Purpose::Access, &token, &policy, NOW).is_ok());
        }
    }
}
