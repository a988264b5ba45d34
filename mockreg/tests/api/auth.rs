//! Who may do what, in each mode: passwords, tokens, what is refused and how the refusal says what is needed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mockreg::policy::{Policy, PostAnswer, TokenPolicy};
use mockreg::{Auth, Registry};
use mockreg_proto::units::{ByteCount, Span};
use serde_json::Value;

use crate::client::{Answer, Case, Client, check, foreign, image, push_blob_as, wait_for};

const USERS: [(&str, &str); 1] = [("ann", "secret")];

fn start(auth: Auth) -> Registry {
    Registry::builder().name("test").auth(auth).start().unwrap()
}

/// Bearer, with tokens that are not as they should be.
fn start_with(tokens: TokenPolicy) -> Registry {
    let policy = Policy { tokens, ..Policy::default() };
    Registry::builder().name("test").auth(Auth::bearer(USERS)).policy(policy).start().unwrap()
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
}

/// Asks the token service and returns its whole answer.
fn ask(client: &mut Client, query: &str, credentials: Option<&str>) -> Answer {
    let headers: Vec<_> = credentials.iter().map(|credentials| ("Authorization", *credentials)).collect();
    client.send("GET", &format!("/token?{query}"), &headers, b"")
}

/// The `Authorization` header for a scope.
fn bearer(client: &mut Client, scope: &str) -> String {
    let answer = ask(client, &format!("service=mockreg&scope={scope}"), Some(&basic("ann", "secret")));
    assert_eq!(answer.status, 200, "{answer:?}");
    format!("Bearer {}", answer.json()["token"].as_str().unwrap())
}

fn authorized(client: &mut Client, method: &str, path: &str, authorization: &str, body: &[u8]) -> Answer {
    client.send(method, path, &[("Authorization", authorization)], body)
}

#[test]
fn basic_asks_every_request_for_a_password() {
    let registry = start(Auth::basic(USERS));
    let challenge = "Basic realm=\"mockreg\"";
    let refused = |name, method, path: &str| {
        Case::new(name, method, path, 401).code("UNAUTHORIZED").has("www-authenticate", challenge)
    };
    let manifest = "/v2/synth/10kb/manifests/v1";
    let digest = image("10kb").layers[0].digest;
    let blob = format!("/v2/synth/10kb/blobs/{digest}");
    let right = basic("ann", "secret");
    check(
        &registry,
        &[
            refused("nobody", "GET", "/v2/"),
            refused("nobody, without a slash", "GET", "/v2"),
            refused("nobody's HEAD", "HEAD", manifest),
            refused("nobody's blob", "GET", &blob),
            refused("nobody's push", "POST", "/v2/a/blobs/uploads/").body("not read"),
            refused("another password", "GET", "/v2/")
                .header("Authorization", basic("ann", "Secret"))
                .says("another password"),
            refused("another name", "GET", "/v2/").header("Authorization", basic("eve", "secret")),
            refused("empty credentials", "GET", manifest).header("Authorization", "Basic Og=="),
            refused("no base64", "GET", "/v2/").header("Authorization", "Basic %%%").says("base64"),
            refused("no colon", "GET", "/v2/").header("Authorization", "Basic YW5u").says("base64"),
            refused("no scheme", "GET", "/v2/").header("Authorization", right.replace("Basic ", "")),
            refused("a token", "GET", "/v2/").header("Authorization", "Bearer x").says("not tokens"),
            refused("a long header", "GET", "/v2/")
                .header("Authorization", format!("Basic {}", "A".repeat(100_000)))
                .says("64 KiB"),
            Case::new("the base", "GET", "/v2/", 200)
                .header("Authorization", &right)
                .lacks("www-authenticate"),
            Case::new("a manifest", "GET", manifest, 200).header("Authorization", &right),
            Case::new("a blob", "GET", &blob, 200).header("Authorization", &right),
            Case::new("the catalogue", "GET", "/v2/_catalog", 200).header("Authorization", &right),
            Case::new("a push", "POST", "/v2/a/blobs/uploads/", 202).header("Authorization", &right),
            Case::new("no token service", "GET", "/token", 404).code("UNSUPPORTED"),
            Case::new("a bad name before anything", "GET", "/v2/A/tags/list", 400).code("NAME_INVALID"),
        ],
    );
}

#[test]
fn anonymous_clients_pull_where_they_may_and_nothing_else() {
    let registry = start(Auth::basic(USERS).anonymous_pull(true));
    let manifest = "/v2/synth/10kb/manifests/v1";
    check(
        &registry,
        &[
            Case::new("a pull", "GET", manifest, 200),
            Case::new("empty credentials", "GET", manifest, 200).header("Authorization", "Basic Og=="),
            Case::new("the base tells how to log in", "GET", "/v2/", 401).code("UNAUTHORIZED"),
            Case::new("a push", "POST", "/v2/a/blobs/uploads/", 401).code("UNAUTHORIZED"),
            Case::new("the catalogue", "GET", "/v2/_catalog", 401).code("UNAUTHORIZED"),
            Case::new("a wrong password is no anonymity", "GET", manifest, 401)
                .header("Authorization", basic("ann", "x"))
                .code("UNAUTHORIZED"),
        ],
    );
}

#[test]
fn bearer_challenges_name_service_and_scope() {
    let registry = start(Auth::bearer(USERS));
    let realm = format!("Bearer realm=\"{}/token\",service=\"mockreg\"", registry.url());
    let refused = |name, method, path: &str, scope: &str| {
        let scope = if scope.is_empty() { String::new() } else { format!(",scope=\"{scope}\"") };
        Case::new(name, method, path, 401)
            .code("UNAUTHORIZED")
            .has("www-authenticate", format!("{realm}{scope}"))
    };
    let digest = image("10kb").layers[0].digest;
    let mount = format!("/v2/a/blobs/uploads/?mount={digest}&from=b/c");
    check(
        &registry,
        &[
            refused("the base", "GET", "/v2/", ""),
            refused("the catalogue", "GET", "/v2/_catalog", "registry:catalog:*"),
            refused("a pull", "GET", "/v2/a/b/manifests/v1", "repository:a/b:pull"),
            refused("a HEAD", "HEAD", "/v2/a/b/manifests/v1", "repository:a/b:pull"),
            refused("a push", "PUT", "/v2/a/manifests/v1", "repository:a:pull,push").body("{}"),
            refused("giving up an upload", "DELETE", "/v2/a/blobs/uploads/7", "repository:a:delete"),
            refused("a mount", "POST", &mount, "repository:a:pull,push repository:b/c:pull"),
            refused("a mount from no name", "POST", &mount.replace("b/c", "%22"), "repository:a:pull,push"),
            refused("a password", "GET", "/v2/", "").header("Authorization", basic("ann", "secret")),
            Case::new("behind a proxy that ends TLS", "GET", "/v2/", 401)
                .header("X-Forwarded-Proto", "https")
                .has("www-authenticate", realm.replace("http:", "https:")),
            Case::new("a scheme that is none", "GET", "/v2/", 401)
                .header("X-Forwarded-Proto", "gopher\"")
                .has("www-authenticate", &realm),
        ],
    );
    for (host, wanted) in [("reg.test:7777", "http://reg.test:7777"), ("a~b", registry.url().as_str())] {
        let mut client = Client::of(&registry);
        client.raw(format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        let answer = client.answer(false);
        let given = answer.header("www-authenticate").unwrap();
        assert_eq!(given, format!("Bearer realm=\"{wanted}/token\",service=\"mockreg\""));
    }
}

#[test]
fn a_token_opens_what_it_grants_and_nothing_else() {
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    let pull = bearer(&mut client, "repository:synth/10kb:pull");
    let path = "/v2/synth/10kb/manifests/v1";
    assert_eq!(authorized(&mut client, "GET", path, &pull, b"").status, 200);
    assert_eq!(authorized(&mut client, "GET", "/v2/", &pull, b"").status, 200);
    for (method, path, scope) in [
        ("GET", "/v2/synth/20kb/manifests/v1", "repository:synth/20kb:pull"),
        ("POST", "/v2/synth/10kb/blobs/uploads/", "repository:synth/10kb:pull,push"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
    ] {
        let answer = authorized(&mut client, method, path, &pull, b"");
        assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHORIZED"));
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(
            challenge.ends_with(&format!("scope=\"{scope}\",error=\"insufficient_scope\"")),
            "{challenge}"
        );
    }
    for token in ["Bearer", "Bearer x", "Bearer a.b.c", &pull[..pull.len() - 1], &format!("{pull}x")] {
        let answer = authorized(&mut client, "GET", path, token, b"");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.ends_with("error=\"invalid_token\""), "{challenge}");
    }
    let other = start(Auth::bearer(USERS));
    let foreign = authorized(&mut Client::of(&other), "GET", path, &pull, b"");
    assert_eq!(foreign.status, 401, "a token of another registry is no token here");
}

#[test]
fn a_mount_needs_both_repositories() {
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    let push = bearer(&mut client, "repository:b:pull,push");
    let digest = push_blob_as(&mut client, "b", &foreign(1000), &[("Authorization", &push)]);
    let path = format!("/v2/a/blobs/uploads/?mount={digest}&from=b");
    let one = bearer(&mut client, "repository:a:pull,push");
    assert_eq!(authorized(&mut client, "POST", &path, &one, b"").status, 401);
    for both in [
        "repository:a:pull,push&scope=repository:b:pull",
        "repository:a:push,pull%20repository:b:pull",
        "repository:a:pull,push+repository:b:pull",
    ] {
        let both = bearer(&mut client, both);
        let answer = authorized(&mut client, "POST", &path, &both, b"");
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

#[test]
fn a_mount_from_anywhere_looks_only_where_the_client_may_read() {
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    let pusher = bearer(&mut client, "repository:a:pull,push");
    let digest = push_blob_as(&mut client, "a", b"blob", &[("Authorization", &pusher)]);
    let path = format!("/v2/b/blobs/uploads/?mount={digest}");
    for (scope, status) in [
        ("repository:b:pull,push", 202),
        ("repository:b:pull,push&scope=repository:a:push", 202),
        ("repository:b:pull,push&scope=repository:a:pull", 201),
    ] {
        let token = bearer(&mut client, scope);
        assert_eq!(authorized(&mut client, "POST", &path, &token, b"").status, status, "{scope}");
    }
}

#[test]
fn deleting_is_a_right_of_its_own_unless_pushing_implies_it() {
    for (implied, status) in [(false, 401), (true, 204)] {
        let registry = start(Auth::bearer(USERS).push_deletes(implied));
        let mut client = Client::of(&registry);
        let push = bearer(&mut client, "repository:a:pull,push");
        let opened = authorized(&mut client, "POST", "/v2/a/blobs/uploads/", &push, b"");
        let location = opened.header("location").unwrap();
        assert_eq!(authorized(&mut client, "DELETE", location, &push, b"").status, status);
    }
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    let all = bearer(&mut client, "repository:a:*");
    let opened = authorized(&mut client, "POST", "/v2/a/blobs/uploads/", &all, b"");
    assert_eq!(authorized(&mut client, "DELETE", opened.header("location").unwrap(), &all, b"").status, 204);
}

#[test]
fn the_token_service_answers_get_as_specified() {
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    let right = basic("ann", "secret");
    let answer = ask(
        &mut client,
        "account=ann&client_id=test&service=elsewhere&scope=repository:a:pull,fly&scope=nonsense&offline_token=true",
        Some(&right),
    );
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let body = answer.json();
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!((&body["expires_in"], &body["scope"]), (&300.into(), &"repository:a:pull".into()));
    assert!(body["refresh_token"].is_string());
    let issued = body["issued_at"].as_str().unwrap();
    assert!(issued.len() == 20 && issued.starts_with("20") && issued.ends_with('Z'), "{issued}");
    // A login asks for nothing in particular, or for something that this registry does not have.
    for query in ["", "service=x", "scope=", "scope=repository:A:pull", "account=ann&scope=aws"] {
        let answer = ask(&mut client, query, Some(&right));
        let body = answer.json();
        assert_eq!((answer.status, &body["scope"]), (200, &"".into()), "{query}");
        assert!(body.get("refresh_token").is_none());
        let token = format!("Bearer {}", body["token"].as_str().unwrap());
        assert_eq!(authorized(&mut client, "GET", "/v2/", &token, b"").status, 200);
    }
    for credentials in [None, Some("Basic Og=="), Some("Bearer x"), Some("Basic %"), Some(&basic("ann", "x"))]
    {
        let answer = ask(&mut client, "scope=repository:a:pull", credentials);
        assert_eq!((answer.status, answer.code().as_str()), (401, "UNAUTHORIZED"), "{credentials:?}");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"mockreg\""));
    }
    assert_eq!(client.send("PUT", "/token", &[], b"").header("allow"), Some("GET, POST"));
}

#[test]
fn anonymous_tokens_pull_only() {
    let registry = start(Auth::bearer(USERS).anonymous_pull(true));
    let mut client = Client::of(&registry);
    for credentials in [None, Some("Basic Og==")] {
        let query = "scope=repository:synth/10kb:pull,push&scope=registry:catalog:*&offline_token=true";
        let body = ask(&mut client, query, credentials).json();
        assert_eq!(body["scope"], "repository:synth/10kb:pull");
        assert!(body.get("refresh_token").is_none(), "nobody in particular has no refresh token");
        let token = format!("Bearer {}", body["token"].as_str().unwrap());
        let path = "/v2/synth/10kb/manifests/v1";
        assert_eq!(authorized(&mut client, "GET", path, &token, b"").status, 200);
        let answer = authorized(&mut client, "PUT", path, &token, b"{}");
        assert!(answer.header("www-authenticate").unwrap().ends_with("error=\"insufficient_scope\""));
    }
    assert_eq!(client.get("/v2/synth/10kb/manifests/v1").status, 401, "a token is needed all the same");
}

fn post(client: &mut Client, form: &str) -> Answer {
    client.send("POST", "/token", &[("Content-Type", "application/x-www-form-urlencoded")], form.as_bytes())
}

#[test]
fn the_token_service_takes_forms_and_refresh_tokens() {
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    let scope = "service=mockreg&client_id=test&scope=repository%3Aa%3Apull%2Cpush+repository:b:pull";
    let login = format!("grant_type=password&username=ann&password=secret&access_type=offline&{scope}");
    let answer = post(&mut client, &login);
    let body = answer.json();
    assert_eq!((answer.status, &body["expires_in"]), (200, &300.into()), "{answer:?}");
    assert_eq!(body["scope"], "repository:a:pull,push repository:b:pull");
    let refresh = body["refresh_token"].as_str().unwrap();
    let once_more = post(&mut client, &format!("grant_type=refresh_token&refresh_token={refresh}&{scope}"));
    let again: Value = once_more.json();
    assert!(again["refresh_token"].is_string());
    let token = format!("Bearer {}", again["access_token"].as_str().unwrap());
    assert_eq!(authorized(&mut client, "POST", "/v2/a/blobs/uploads/", &token, b"").status, 202);
    let access = again["access_token"].as_str().unwrap();
    for (form, status, code) in [
        ("grant_type=password&username=ann&password=x".to_owned(), 401, "UNAUTHORIZED"),
        (format!("grant_type=refresh_token&refresh_token={access}"), 401, "UNAUTHORIZED"),
        ("grant_type=refresh_token&refresh_token=x.y.z".to_owned(), 401, "UNAUTHORIZED"),
        ("grant_type=refresh_token".to_owned(), 400, "UNSUPPORTED"),
        ("grant_type=password&username=ann".to_owned(), 400, "UNSUPPORTED"),
        ("grant_type=barter".to_owned(), 400, "UNSUPPORTED"),
        (String::new(), 400, "UNSUPPORTED"),
        ("x".repeat(100_000), 413, "SIZE_INVALID"),
    ] {
        let answer = post(&mut client, &form);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    }
    // The journal calls each of them what it is, also the one that was too large to be read.
    let kinds =
        registry.journal().into_iter().filter(|line| line.method == "POST" && line.repository.is_empty());
    assert!(kinds.map(|line| line.kind).all(|kind| kind == mockreg_proto::journal::Kind::Token));
    let refused = authorized(&mut client, "GET", "/v2/", &format!("Bearer {refresh}"), b"");
    assert_eq!(refused.status, 401, "a refresh token opens nothing by itself");
}

#[test]
fn token_requests_are_counted_and_in_the_journal() {
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    let scope = "repository:a:pull";
    (0..2).for_each(|_| drop(bearer(&mut client, scope)));
    post(&mut client, "grant_type=password&username=ann&password=secret&scope=repository:a:pull");
    ask(&mut client, "scope=repository:a:pull", None);
    let lines = registry.journal();
    let seen: Vec<_> = lines
        .iter()
        .map(|line| (line.method.as_str(), line.reference.as_str(), line.attempt, line.status))
        .collect();
    let wanted =
        [("GET", scope, 1, 200), ("GET", scope, 2, 200), ("POST", scope, 1, 200), ("GET", scope, 3, 401)];
    assert_eq!(seen, wanted);
    assert!(lines.iter().all(|line| serde_json::to_value(line).unwrap()["kind"] == "token"));
    assert_eq!(Client::new(registry.admin_addr()).get("/counters").json()["tokens"], 3);
    let metrics = Client::new(registry.admin_addr()).get("/metrics").text();
    assert!(metrics.contains("mockreg_tokens_total 3\n") && metrics.contains(r#"kind="token""#), "{metrics}");
}

#[test]
fn tokens_expire_and_a_new_one_helps() {
    // Long enough for a busy machine to use the token once before it is over.
    let lifetime = Duration::from_secs(2);
    let policy = TokenPolicy { lifetime: Span(lifetime), ..TokenPolicy::default() };
    let registry = start_with(policy);
    let mut client = Client::of(&registry);
    let scope = "repository:synth/10kb:pull";
    let path = "/v2/synth/10kb/manifests/v1";
    let token = bearer(&mut client, scope);
    assert_eq!(authorized(&mut client, "GET", path, &token, b"").status, 200);
    std::thread::sleep(lifetime);
    let answer = authorized(&mut client, "GET", path, &token, b"");
    assert_eq!((answer.status, answer.details().as_str()), (401, "the token has expired"));
    assert!(answer.header("www-authenticate").unwrap().ends_with("error=\"invalid_token\""));
    let token = bearer(&mut client, scope);
    assert_eq!(authorized(&mut client, "GET", path, &token, b"").status, 200);
}

#[test]
fn a_token_policy_revokes_after_some_uses() {
    let policy = TokenPolicy { refused_after_uses: Some(2), ..TokenPolicy::default() };
    let registry = start_with(policy);
    let mut client = Client::of(&registry);
    let token = bearer(&mut client, "repository:synth/10kb:pull");
    let statuses: Vec<u16> = (0..4)
        .map(|_| authorized(&mut client, "GET", "/v2/synth/10kb/manifests/v1", &token, b"").status)
        .collect();
    assert_eq!(statuses, [200, 200, 401, 401]);
}

#[test]
fn a_token_policy_revokes_after_some_time() {
    let policy =
        TokenPolicy { refused_after: Some(Span(Duration::from_millis(1))), ..TokenPolicy::default() };
    let registry = start_with(policy);
    let mut client = Client::of(&registry);
    let token = bearer(&mut client, "repository:synth/10kb:pull");
    std::thread::sleep(Duration::from_millis(5));
    let answer = authorized(&mut client, "GET", "/v2/synth/10kb/manifests/v1", &token, b"");
    assert_eq!(answer.details(), "the token has been revoked");
}

#[test]
fn token_policies_change_what_they_say() {
    let registry = start_with(TokenPolicy {
        issued_at_skew_s: -86_400 * 365 * 10,
        without_realm: true,
        padded_to: ByteCount(8 << 10),
        negotiate_first: true,
        ..TokenPolicy::default()
    });
    let mut client = Client::of(&registry);
    let answer = client.get("/v2/");
    let challenges: Vec<&str> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(challenges, ["Negotiate", "Bearer service=\"mockreg\""]);
    let body = ask(&mut client, "scope=repository:a:pull", Some(&basic("ann", "secret"))).json();
    assert!(body["issued_at"].as_str().unwrap() < "2020", "{body}");
    let token = body["token"].as_str().unwrap();
    assert!((8192..8300).contains(&token.len()), "{}", token.len());
    assert_eq!(authorized(&mut client, "GET", "/v2/", &format!("Bearer {token}"), b"").status, 200);
}

#[test]
fn a_token_service_that_knows_no_post_says_so_in_its_way() {
    for (answer, status, allow) in [
        (PostAnswer::BadRequest, 400, None),
        (PostAnswer::Unauthorized, 401, None),
        (PostAnswer::NotFound, 404, None),
        (PostAnswer::MethodNotAllowed, 405, Some("GET")),
    ] {
        let policy = TokenPolicy { post: answer, ..TokenPolicy::default() };
        let registry = start_with(policy);
        let mut client = Client::of(&registry);
        let refused = post(&mut client, "grant_type=password&username=ann&password=secret");
        assert_eq!((refused.status, refused.header("allow")), (status, allow));
        bearer(&mut client, "repository:a:pull");
    }
}

#[test]
fn a_body_sent_before_a_refusal_does_not_spoil_the_connection() {
    let registry = start(Auth::bearer(USERS));
    let mut client = Client::of(&registry);
    for _ in 0..2 {
        let refused = client.send("PUT", "/v2/a/blobs/uploads/7?digest=x", &[], &foreign(200_000));
        assert_eq!(refused.code(), "UNAUTHORIZED");
    }
    // A client that asks first is told at once, with nothing sent.
    client.head("POST", "/v2/a/blobs/uploads/", &[("Expect", "100-continue"), ("Content-Length", "1000")]);
    assert_eq!(client.answer(false).status, 401);
    assert_eq!(registry.journal().iter().filter(|line| line.conn == 1).count(), 3);
}

#[test]
fn a_wrong_password_tried_often_is_checked_once_and_holds_nobody_up() {
    // The hash has a cost at which forty checks take longer than this test may.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users");
    let hash = bcrypt::hash("secret", 8).unwrap();
    std::fs::write(&file, format!("ann:{hash}\n")).unwrap();
    let registry = start(Auth::basic(mockreg::Users::read(&file).unwrap()));
    let mut client = Client::of(&registry);
    for password in ["secret", "wrong"] {
        for _ in 0..20 {
            let answer = authorized(&mut client, "GET", "/v2/", &basic("ann", password), b"");
            assert_eq!(answer.status, if password == "secret" { 200 } else { 401 });
        }
    }
    let record = wait_for(&registry, |record| record.req == 40);
    assert_eq!(record.status, 401);
    let slow = registry.journal().iter().filter(|record| record.total_ms >= 20).count();
    assert!(slow <= 10, "{slow} of 40 requests waited for bcrypt, not 2");
}
