//! How a side is let in: what a 401 asks for, from the credentials that were given or without any.

use std::sync::Arc;

use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{StatusCode, Uri};
use serde::Deserialize;

use super::address::{Address, Credentials};
use super::answer::Answer;
use super::challenge::Challenge;
use super::remote::{Get, Remote, RemoteError};

/// Most bytes of a token's answer; clients of registries read no more.
const MAX_TOKEN: usize = 1 << 20;

/// What a token service answers, as far as it is needed.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Remote {
    /// Does what a 401 asks for, so that the next request is let in. `tried` says whether something was accepted
    /// before: a token that ran out is replaced, a password that was refused once is wrong.
    pub(super) async fn authorize(
        &self,
        get: Get<'_>,
        answer: Answer<'_>,
        tried: bool,
    ) -> Result<(), RemoteError> {
        let challenges: Vec<Challenge> = answer
            .headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|line| Challenge::parse(line.to_str().ok()?))
            .collect();
        let authorization = match challenges.first() {
            Some(Challenge::Basic) if !tried && let Some(credentials) = &self.credentials => {
                credentials.basic()
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let token = self.token(realm, service.as_deref(), scope.as_deref()).await?;
                format!("Bearer {token}")
            }
            _ => return Err(answer.refused().await),
        };
        let value = HeaderValue::try_from(&authorization).map_err(|error| self.error(get.path, error))?;
        let before = self
            .accepted
            .lock()
            .expect("no holder of the list panics")
            .insert(get.repository.to_owned(), value.clone());
        // The service gives the same again, and the registry refuses it.
        if before.as_ref() == Some(&value) { Err(answer.refused().await) } else { Ok(()) }
    }

    /// A token from a token service: of the credentials, or anonymous.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, RemoteError> {
        let refused = |reason: String| self.error("", format!("token service {realm}: {reason}"));
        let relative = realm.starts_with('/').then(|| format!("{}{realm}", self.address.origin()));
        let uri: Uri =
            relative.as_deref().unwrap_or(realm).parse().map_err(|error| refused(format!("{error}")))?;
        let address = Address::of_uri(&uri).map_err(refused)?;
        let mut path = uri.path().to_owned();
        let given = uri.query().map(str::to_owned);
        let parameter = |name: &str, value: Option<&str>| {
            value.map(|value| format!("{name}={}", mockreg_proto::query::encode(value)))
        };
        let query = given.into_iter().chain(parameter("service", service)).chain(parameter("scope", scope));
        path = format!("{path}?{}", query.collect::<Vec<_>>().join("&"));
        let basic = self.credentials.as_ref().map(Credentials::basic);
        let basic =
            basic.map(HeaderValue::try_from).transpose().map_err(|error| refused(error.to_string()))?;
        let answer = self.ask(&Arc::new(address), &path, "application/json", basic).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.refused().await);
        }
        let text = answer.whole(MAX_TOKEN).await?;
        let token: Token = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        token.access_token.or(token.token).ok_or_else(|| refused("its answer holds no token".into()))
    }
}
