//! `/token`: the token service, on the registry's own port. GET with Basic credentials, as the distribution project
//! specifies it, or the OAuth form by POST, with a password or a refresh token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use mockreg_proto::journal::Kind;
use mockreg_proto::query::Query;
use serde::Serialize;

use super::base::json;
use crate::auth::{Authorization, PostAnswer, Purpose, Scope, authorization_of, list};
use crate::body::Reply;
use crate::call::Call;
use crate::problem::{Fault, Problem};

/// Largest form that is read: the most scopes that count, with the longest names, all escaped.
const MAX_FORM: usize = 64 << 10;

/// What a client gets. Old clients read `token`, new ones `access_token`.
#[derive(Serialize)]
struct Answer {
    token: String,
    access_token: String,
    scope: String,
    expires_in: u64,
    issued_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

/// Who asks for what.
struct Wanted {
    user: Option<String>,
    scopes: Vec<Scope>,
    refresh: bool,
}

/// `GET` and `POST /token`
pub(super) async fn get(call: &mut Call) -> Result<Reply, Problem> {
    if !call.core.auth.gives_tokens() {
        call.exchange.about(Kind::Other, "", "");
        return Err(Problem::new(Fault::NoRoute, "this registry gives no tokens"));
    }
    let wanted = if call.method == Method::POST { posted(call).await? } else { queried(call).await? };
    Ok(answer(call, wanted))
}

/// What the parameters ask for. This is where the journal learns what the request is about.
fn asked(call: &mut Call, parameters: &Query) -> Vec<Scope> {
    let texts: Vec<&str> = parameters.all("scope").collect();
    call.exchange.about(Kind::Token, "", &texts.join(" "));
    Scope::parse_list(texts)
}

async fn queried(call: &mut Call) -> Result<Wanted, Problem> {
    let query = std::mem::take(&mut call.query);
    let scopes = asked(call, &query);
    let user = call.core.auth.identify(authorization_of(&call.headers)).await?;
    let refresh =
        query.first("offline_token") == Some("true") || query.first("access_type") == Some("offline");
    Ok(Wanted { user, scopes, refresh })
}

async fn posted(call: &mut Call) -> Result<Wanted, Problem> {
    if let Some(problem) = refused(call.core.auth.tokens.post) {
        call.exchange.about(Kind::Token, "", "");
        return Err(problem);
    }
    let form = match form(call).await {
        Ok(form) => form,
        Err(problem) => {
            call.exchange.about(Kind::Token, "", "");
            return Err(problem);
        }
    };
    let scopes = asked(call, &form);
    let missing = |name| Problem::new(Fault::FormInvalid, format!("the form has no `{name}`"));
    let field = |name: &'static str| form.first(name).ok_or_else(|| missing(name));
    let auth = &call.core.auth;
    let (user, refresh) = match field("grant_type")? {
        "password" => {
            let (name, password) = (field("username")?.to_owned(), field("password")?.to_owned());
            let user = auth.identify(Authorization::Basic(name, password)).await?;
            (user, form.first("access_type") == Some("offline"))
        }
        "refresh_token" => (Some(auth.refreshed(field("refresh_token")?)?), true),
        other => {
            let detail = format!("`grant_type` is `{other}`, not `password` or `refresh_token`");
            return Err(Problem::new(Fault::FormInvalid, detail));
        }
    };
    Ok(Wanted { user, scopes, refresh })
}

async fn form(call: &mut Call) -> Result<Query, Problem> {
    let mut form = Vec::new();
    while let Some(piece) = call.next().await? {
        if form.len() + piece.len() > MAX_FORM {
            return Err(Problem::new(Fault::FormTooLarge, format!("more than {MAX_FORM} bytes")));
        }
        form.extend_from_slice(&piece);
    }
    Ok(Query::parse(Some(&String::from_utf8_lossy(&form))))
}

/// What a service that knows no POST says.
fn refused(post: PostAnswer) -> Option<Problem> {
    let detail = "this token service answers GET only";
    match post {
        PostAnswer::Token => None,
        PostAnswer::BadRequest => Some(Problem::new(Fault::FormInvalid, detail)),
        PostAnswer::Unauthorized => Some(Problem::new(Fault::Unauthorized, detail)),
        PostAnswer::NotFound => Some(Problem::new(Fault::NoRoute, detail)),
        PostAnswer::MethodNotAllowed => Some(Problem::method("GET")),
    }
}

fn answer(call: &Call, wanted: Wanted) -> Reply {
    let (auth, user) = (&call.core.auth, wanted.user.as_deref());
    let scopes = match user {
        Some(_) => wanted.scopes,
        None => wanted.scopes.iter().filter_map(Scope::pull_only).collect(),
    };
    let (now, policy) = (auth.mint.now(), &auth.tokens);
    let scope = list(&scopes);
    let token = auth.mint.make(Purpose::Access, user.unwrap_or_default(), scopes, policy, now);
    let refresh = |user| auth.mint.make(Purpose::Refresh, user, Vec::new(), policy, now);
    let answer = Answer {
        access_token: token.clone(),
        token,
        scope,
        expires_in: policy.lifetime.0.as_secs(),
        issued_at: issued_at(policy.issued_at_skew_s),
        refresh_token: user.filter(|_| wanted.refresh).map(refresh),
    };
    call.core.telemetry.metrics.tokens.inc();
    let mut reply = json(&answer, None);
    *reply.status_mut() = StatusCode::OK;
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// The time by the service's clock, which may be wrong on purpose.
fn issued_at(skew_s: i32) -> String {
    let skew = Duration::from_secs(skew_s.unsigned_abs().into());
    let now = SystemTime::now();
    let shown = if skew_s < 0 { now.checked_sub(skew) } else { now.checked_add(skew) };
    // The formatter knows no time before 1970.
    humantime::format_rfc3339_seconds(shown.map_or(UNIX_EPOCH, |shown| shown.max(UNIX_EPOCH))).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_whatever_the_skew() {
        for skew in [0, 3600, -3600, i32::MAX, i32::MIN] {
            let text = issued_at(skew);
            let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "0000-00-00T00:00:00Z", "{skew}: {text}");
        }
        assert_eq!(issued_at(i32::MIN), "1970-01-01T00:00:00Z");
    }
}
