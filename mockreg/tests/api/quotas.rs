//! Declared quotas, byte rates and vendor profiles, as clients meet them.

use std::time::{Duration, Instant};

use mockreg::policy::{
    Bandwidth, Counted, Per, Policy, Quota, QuotaHeaders, RedirectPolicy, Refusal, RefusalBody, RetryAfter,
    TokenPolicy,
};
use mockreg::{Auth, Registry, StartError};
use mockreg_proto::journal::Kind;
use mockreg_proto::units::{ByteCount, ByteRate, Span};

use crate::client::{Client, foreign, image, push_blob};

const TAG: &str = "/v2/synth/10kb/manifests/latest";

fn serving(policy: Policy) -> Registry {
    Registry::builder().policy(policy).start().unwrap()
}

fn once(on: Vec<Counted>, refusal: Refusal) -> Quota {
    Quota {
        on,
        requests: 1.try_into().unwrap(),
        window: Span(Duration::from_secs(3_600)),
        per: Per::Address,
        headers: QuotaHeaders::None,
        refusal,
    }
}

fn counted(kind: Kind, method: &str) -> Counted {
    Counted { kind, methods: vec![method.into()] }
}

#[test]
fn the_hub_counts_pulls_and_not_looks() {
    let registry = serving(Policy::like("hub").unwrap());
    let mut client = Client::of(&registry);
    let limit = Some("100;w=21600");
    for pulled in 0..100 {
        let looked = client.send("HEAD", TAG, &[], b"");
        let left = format!("{};w=21600", 100 - pulled);
        assert_eq!((looked.status, looked.header("ratelimit-remaining")), (200, Some(left.as_str())));
        let got = client.get(TAG);
        assert_eq!((got.status, got.header("ratelimit-limit")), (200, limit));
        assert_eq!(got.header("docker-ratelimit-source"), Some("127.0.0.1"));
    }
    let refused = client.get(TAG);
    assert_eq!((refused.status, refused.code().as_str()), (429, "TOOMANYREQUESTS"));
    assert_eq!(refused.header("ratelimit-remaining"), Some("0;w=21600"));
    assert_eq!(refused.header("retry-after"), None);
    // A blob is no pull, and neither is a look.
    let digest = image("10kb").layers[0].digest;
    assert_eq!(client.get(&format!("/v2/synth/10kb/blobs/{digest}")).status, 200);
    assert_eq!(client.send("HEAD", TAG, &[], b"").status, 200);
}

#[test]
fn refusals_have_every_form() {
    use RetryAfter::{Absent, Date, Garbage, Seconds, Zero};
    for (retry_after, body) in [
        (Seconds, RefusalBody::Oci),
        (Date, RefusalBody::Oci),
        (Absent, RefusalBody::Plain),
        (Zero, RefusalBody::Oci),
        (Garbage, RefusalBody::Plain),
    ] {
        let quota =
            Quota { headers: QuotaHeaders::XRatelimit, ..once(Vec::new(), Refusal { body, retry_after }) };
        let registry = serving(Policy { quotas: vec![quota], ..Policy::default() });
        let mut client = Client::of(&registry);
        assert_eq!(client.get("/v2/").header("x-ratelimit-remaining"), Some("0"));
        // Every request counts, HEAD too.
        assert_eq!(client.send("HEAD", TAG, &[], b"").status, 429);
        let refused = client.get(TAG);
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("x-ratelimit-limit"), Some("1"));
        let given = refused.header("retry-after");
        match retry_after {
            Seconds => assert!((3_500..=3_600).contains(&given.unwrap().parse::<u64>().unwrap())),
            Date => assert!(given.unwrap().ends_with(" GMT"), "{given:?}"),
            Absent => assert_eq!(given, None),
            Zero => assert_eq!(given, Some("0")),
            Garbage => assert_eq!(given, Some("soon")),
        }
        match body {
            RefusalBody::Oci => assert_eq!(refused.code(), "TOOMANYREQUESTS"),
            RefusalBody::Plain => {
                assert_eq!(refused.header("content-type"), Some("text/plain; charset=utf-8"));
                assert!(refused.text().starts_with("quota used up"), "{}", refused.text());
            }
        }
    }
}

#[test]
fn a_quota_can_hold_for_one_route_alone() {
    let quotas = vec![
        once(vec![counted(Kind::Tags, "GET")], Refusal::default()),
        once(vec![counted(Kind::Manifest, "PUT")], Refusal::default()),
    ];
    let registry = serving(Policy { quotas, allow_missing_content: true, ..Policy::default() });
    let mut client = Client::of(&registry);
    let manifest = client.get(TAG);
    let content_type = manifest.header("content-type").unwrap().to_owned();
    let headers = [("content-type", content_type.as_str())];
    let mut put = |tag: &str| {
        client.send("PUT", &format!("/v2/a/manifests/{tag}"), &headers, manifest.text().as_bytes()).status
    };
    assert_eq!([put("one"), put("two")], [201, 429]);
    for wanted in [200, 429] {
        assert_eq!(client.get("/v2/a/tags/list").status, wanted);
        assert_eq!(client.get(TAG).status, 200);
    }
}

#[test]
fn a_user_has_a_quota_wherever_it_comes_from() {
    let quota = Quota { per: Per::User, ..once(vec![counted(Kind::Manifest, "GET")], Refusal::default()) };
    let auth = Auth::basic([("ann", "a"), ("bob", "b")]);
    let policy = Policy { quotas: vec![quota], ..Policy::default() };
    let registry = Registry::builder().auth(auth).policy(policy).start().unwrap();
    let ann = [("authorization", "Basic YW5uOmE=")];
    let bob = [("authorization", "Basic Ym9iOmI=")];
    let get = |headers: &[(&str, &str)]| Client::of(&registry).send("GET", TAG, headers, b"").status;
    // What is not allowed in at all does not count.
    assert_eq!([get(&[]), get(&ann), get(&ann), get(&bob)], [401, 200, 429, 200]);
}

#[test]
fn a_quota_fills_up_again_at_reset() {
    let registry =
        serving(Policy { quotas: vec![once(Vec::new(), Refusal::default())], ..Policy::default() });
    let mut client = Client::of(&registry);
    assert_eq!([client.get("/v2/").status, client.get("/v2/").status], [200, 429]);
    assert_eq!(Client::new(registry.admin_addr()).send("POST", "/reset", &[], b"").status, 204);
    assert_eq!(client.get("/v2/").status, 200);
}

#[test]
fn bodies_move_as_fast_as_they_may_both_ways() {
    // 3 MB at 10 MB/s take 0.3 s, less the burst of 64 KiB; far more would mean that pauses add up.
    let rate = Some(ByteRate(10_000_000));
    let bandwidth = Bandwidth { down: rate, up: rate, per: Per::All };
    let registry = serving(Policy { bandwidth, ..Policy::default() });
    let mut client = Client::of(&registry);
    let within = |started: Instant, what: &str| {
        let took = started.elapsed().as_secs_f64();
        assert!((0.28..1.5).contains(&took), "{what}: {took} s");
    };
    let started = Instant::now();
    let digest = push_blob(&mut client, "a", &foreign(3_000_000));
    within(started, "up");
    let started = Instant::now();
    assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).body.len(), 3_000_000);
    within(started, "down");
}

#[test]
fn every_profile_serves_and_takes_an_image() {
    for vendor in ["acr-like", "ecr-like", "gcr-like", "harbor-like", "hub", "old-2.7", "quay-like"] {
        let registry = serving(Policy::like(vendor).unwrap());
        let mut client = Client::of(&registry);
        let digest = push_blob(&mut client, "a", b"content");
        assert_eq!(client.get(&format!("/v2/a/blobs/{digest}")).body, b"content", "{vendor}");
        assert_eq!(client.get(TAG).status, 200, "{vendor}");
    }
    assert!(Policy::like("nobody").unwrap_err().to_string().contains("quay-like"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let endless = Quota { window: Span(Duration::ZERO), ..once(Vec::new(), Refusal::default()) };
    let unheard = once(vec![counted(Kind::Manifest, "FETCH")], Refusal::default());
    let standing = Bandwidth { down: Some(ByteRate(0)), ..Bandwidth::default() };
    let short = TokenPolicy { lifetime: Span(Duration::ZERO), ..TokenPolicy::default() };
    let huge = TokenPolicy { padded_to: ByteCount(1 << 20), ..TokenPolicy::default() };
    let nowhere = RedirectPolicy { base_url: Some("foo".into()), ..RedirectPolicy::default() };
    let homeless = RedirectPolicy { base_url: Some("https://cdn.test".into()), ..RedirectPolicy::default() };
    let nobody = Quota { per: Per::User, ..once(Vec::new(), Refusal::default()) };
    let nameless = Bandwidth { up: Some(ByteRate(1)), per: Per::User, ..Bandwidth::default() };
    for (policy, key) in [
        (Policy { quotas: vec![endless], ..Policy::default() }, "quotas[0].window"),
        (Policy { quotas: vec![unheard], ..Policy::default() }, "quotas[0].on[0].methods[0]"),
        (Policy { quotas: vec![nobody], ..Policy::default() }, "quotas[0].per"),
        (Policy { bandwidth: nameless, ..Policy::default() }, "bandwidth.per"),
        (Policy { redirects: homeless, ..Policy::default() }, "redirects.base_url"),
        (Policy { tags_page_max: Some(0), ..Policy::default() }, "tags_page_max"),
        (Policy { bandwidth: standing, ..Policy::default() }, "bandwidth.down"),
        (Policy { tokens: short, ..Policy::default() }, "tokens.lifetime"),
        (Policy { tokens: huge, ..Policy::default() }, "tokens.padded_to"),
        (Policy { redirects: nowhere, ..Policy::default() }, "redirects.base_url"),
    ] {
        let refused = Registry::builder().policy(policy).start();
        let Err(StartError::Policy(error)) = refused else { panic!("{key}: {refused:?}") };
        assert_eq!(error.key(), Some(key), "{error}");
        assert!(error.to_string().starts_with(&format!("`{key}` ")), "{error}");
    }
}
