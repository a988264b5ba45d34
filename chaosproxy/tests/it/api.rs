//! The API as tables: method, path, body → status, body. Texts are those of the reference program.

use std::net::SocketAddr;

use chaosproxy::{ProxySpec, Server, Toxic};

use crate::harness::*;

struct Case {
    method: &'static str,
    path: &'static str,
    body: String,
    status: u16,
    answer: String,
}

fn case(
    method: &'static str,
    path: &'static str,
    body: impl Into<String>,
    status: u16,
    answer: impl Into<String>,
) -> Case {
    Case { method, path, body: body.into(), status, answer: answer.into() }
}

/// Runs all of them in order on one server, then reports every mismatch. Every answer but an empty one ends with a
/// newline, also where the case leaves it out.
fn check(api: SocketAddr, cases: &[Case]) {
    let mut mismatches = Vec::new();
    for Case { method, path, body, status, answer } in cases {
        let got = http(api, method, path, &[], body);
        let newline = if answer.is_empty() || answer.ends_with('\n') { "" } else { "\n" };
        let answer = &format!("{answer}{newline}");
        if (got.status, &got.body) != (*status, answer) {
            let got = (got.status, got.body);
            mismatches
                .push(format!("{method} {path} {body}\n  wanted {status} {answer:?}\n  got    {got:?}"));
        }
    }
    assert!(mismatches.is_empty(), "{}", mismatches.join("\n"));
}

fn error(status: u16, text: &str) -> String {
    format!("{{\"error\":{},\"status\":{status}}}\n", serde_json::to_string(text).unwrap())
}

fn populate_error(text: &str) -> String {
    format!("{{\"error\":{},\"status\":400,\"proxies\":null}}\n", serde_json::to_string(text).unwrap())
}

/// An address nobody else has while the test runs, in a form with a host name and one without.
fn port() -> (String, String) {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (address.to_string(), format!("localhost:{}", address.port()))
}

#[test]
fn proxies_are_created_read_updated_and_deleted() {
    let server = Server::builder().start().unwrap();
    let ((a, a_by_name), (b, _)) = (port(), port());
    let shown = |listen: &str, upstream: &str, enabled: bool| {
        format!(
            r#"{{"name":"m","listen":"{listen}","upstream":"{upstream}","enabled":{enabled},"toxics":[]}}"#
        )
    };
    check(
        server.api_addr(),
        &[
            case("GET", "/proxies", "", 200, "{}"),
            case("POST", "/proxies", "", 400, error(400, "bad request body: EOF")),
            case("POST", "/proxies", "{}", 400, error(400, "missing required field: name")),
            case("POST", "/proxies", r#"{"name":"m"}"#, 400, error(400, "missing required field: upstream")),
            case(
                "POST",
                "/proxies",
                format!(
                    r#"{{"NAME":"m","listen":"{a_by_name}","upstream":"u:1","toxics":null,"x":[]}} trailing"#
                ),
                201,
                shown(&a, "u:1", true),
            ),
            case(
                "POST",
                "/proxies",
                r#"{"name":"m","upstream":"u:1"}"#,
                409,
                error(409, "proxy already exists"),
            ),
            case(
                "POST",
                "/proxies",
                format!(r#"{{"name":"n","listen":"{a}","upstream":"u:1"}}"#),
                500,
                error(500, &format!("listen tcp {a}: bind: address already in use")),
            ),
            case(
                "POST",
                "/proxies",
                r#"{"name":"n","listen":"local373","upstream":"u:1"}"#,
                500,
                error(500, "listen tcp: address local373: missing port in address"),
            ),
            case("GET", "/proxies", "", 200, format!(r#"{{"m":{}}}"#, shown(&a, "u:1", true))),
            case("GET", "/proxies/m", "", 200, shown(&a, "u:1", true)),
            case("GET", "/proxies/x", "", 404, error(404, "proxy not found")),
            case("POST", "/proxies/x", "{}", 404, error(404, "proxy not found")),
            case(
                "POST",
                "/proxies/m",
                format!(r#"{{"listen":"{a_by_name}","name":"other"}}"#),
                200,
                shown(&a, "u:1", true),
            ),
            case("PATCH", "/proxies/m", r#"{"upstream":"u:2"}"#, 200, shown(&a, "u:2", true)),
            case("POST", "/proxies/m", format!(r#"{{"listen":"{b}"}}"#), 200, shown(&b, "u:2", true)),
            case("POST", "/proxies/m", r#"{"enabled":false}"#, 200, shown(&b, "u:2", false)),
            case("POST", "/proxies/m", r#"{"enabled":null}"#, 200, shown(&b, "u:2", false)),
            case("POST", "/proxies/m", r#"{"enabled":true}"#, 200, shown(&b, "u:2", true)),
            case(
                "POST",
                "/proxies/m",
                r#"{"enabled":"yes"}"#,
                400,
                error(
                    400,
                    "bad request body: json: cannot unmarshal string into Go struct field Proxy.enabled of type bool",
                ),
            ),
            case(
                "POST",
                "/proxies/m",
                "[]",
                400,
                error(
                    400,
                    "bad request body: json: cannot unmarshal array into Go value of type toxiproxy.Proxy",
                ),
            ),
            case("DELETE", "/proxies/m", "", 204, ""),
            case("DELETE", "/proxies/m", "", 404, error(404, "proxy not found")),
            case(
                "POST",
                "/proxies",
                format!(r#"{{"name":"m","listen":"{a_by_name}","upstream":"u:1","enabled":false}}"#),
                201,
                shown(&a_by_name, "u:1", false),
            ),
        ],
    );
}

#[test]
fn malformed_json_is_refused_and_nothing_happens() {
    let server = Server::builder().start().unwrap();
    for path in ["/proxies", "/populate", "/outages"] {
        for body in ["{", "nonsense", "\"", "\u{0}", "{\"name\":}", "{\"name\":\"a\",}"] {
            let answer = http(server.api_addr(), "POST", path, &[], body);
            assert_eq!(answer.status, 400, "{path} {body}");
            assert!(answer.body.starts_with(r#"{"error":"bad request body: "#), "{}", answer.body);
        }
    }
    assert_eq!(http(server.api_addr(), "GET", "/proxies", &[], "").body, "{}\n");
}

#[test]
fn toxics_are_created_read_updated_and_deleted() {
    let (server, _proxy) = proxied(echo());
    let base = "/proxies/source/toxics";
    let slow = |latency: i64, jitter: i64, toxicity: &str| {
        format!(
            r#"{{"attributes":{{"latency":{latency},"jitter":{jitter}}},"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":{toxicity}}}"#
        )
    };
    let up = r#"{"attributes":{"rate":5,"shared":true},"name":"narrow","type":"bandwidth","stream":"UPSTREAM","toxicity":1}"#;
    let integer =
        |text: &str| error(400, &format!("bad request body: json: cannot unmarshal {text} of type int64"));
    let negative = |attribute: &str| {
        let of = format!("attribute {attribute} of a latency toxic");
        error(400, &format!("bad request body: {of} must not be negative"))
    };
    check(
        server.api_addr(),
        &[
            case("GET", base, "", 200, "[]"),
            case("POST", base, "", 400, error(400, "bad request body: EOF")),
            case(
                "POST",
                base,
                r#"{"type":"latency","stream":""}"#,
                400,
                error(400, "stream was invalid, can be either upstream or downstream"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"latency","stream":"sideways"}"#,
                400,
                error(400, "stream was invalid, can be either upstream or downstream"),
            ),
            case("POST", base, r#"{"type":"x"}"#, 400, error(400, "invalid toxic type")),
            case("POST", base, "{}", 400, error(400, "invalid toxic type")),
            case(
                "POST",
                base,
                r#"{"type":"latency","attributes":{"latency":100.5}}"#,
                400,
                integer("number 100.5 into Go struct field LatencyToxic.attributes.latency"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"latency","attributes":{"latency":"100"}}"#,
                400,
                integer("string into Go struct field LatencyToxic.attributes.latency"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"bandwidth","attributes":{"rate":-1}}"#,
                400,
                error(400, "bad request body: attribute rate of a bandwidth toxic must not be negative"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"latency","attributes":{"jitter":5,"latency":-1}}"#,
                400,
                negative("latency"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"latency","attributes":{"latency":5,"jitter":-1}}"#,
                400,
                negative("jitter"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"slicer"}"#,
                400,
                error(400, "bad request body: attribute average_size of a slicer toxic must be at least 1"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"cut","attributes":{"offset":5,"mean_bytes":5}}"#,
                400,
                error(
                    400,
                    "bad request body: attribute mean_bytes of a cut toxic is there beside offset: give one of them",
                ),
            ),
            case(
                "POST",
                base,
                r#"{"type":"cut","attributes":{"mean_bytes":5,"action":"snip"}}"#,
                400,
                error(400, "bad request body: action must be reset, stall or close, not snip"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"latency","toxicity":0.2,"attributes":{"Latency":100,"jitter":null,"other":{}}}"#,
                200,
                slow(100, 0, "0.2"),
            ),
            case(
                "POST",
                base,
                r#"{"type":"latency","attributes":{"latency":"bad"}}"#,
                409,
                error(409, "toxic already exists"),
            ),
            case(
                "POST",
                base,
                r#"{"name":"narrow","type":"bandwidth","stream":"UPSTREAM","attributes":{"rate":5,"shared":true}}"#,
                200,
                up,
            ),
            case("GET", base, "", 200, format!("[{up},{}]", slow(100, 0, "0.2"))),
            case("GET", "/proxies/source/toxics/latency_downstream", "", 200, slow(100, 0, "0.2")),
            case("GET", "/proxies/source/toxics/none", "", 404, error(404, "toxic not found")),
            case("GET", "/proxies/none/toxics", "", 404, error(404, "proxy not found")),
            case(
                "PATCH",
                "/proxies/source/toxics/latency_downstream",
                r#"{"stream":"upstream","attributes":{"jitter":7}}"#,
                200,
                slow(100, 7, "0.2"),
            ),
            case(
                "POST",
                "/proxies/source/toxics/latency_downstream",
                r#"{"toxicity":1.0,"attributes":null}"#,
                200,
                slow(100, 7, "1"),
            ),
            case(
                "POST",
                "/proxies/source/toxics/latency_downstream",
                r#"{"attributes":{"latency":1,"jitter":"x"}}"#,
                400,
                integer("string into Go struct field LatencyToxic.attributes.jitter"),
            ),
            case(
                "POST",
                "/proxies/source/toxics/latency_downstream",
                r#"{"attributes":{"latency":1,"jitter":-1}}"#,
                400,
                negative("jitter"),
            ),
            case("GET", "/proxies/source/toxics/latency_downstream", "", 200, slow(100, 7, "1")),
            case("DELETE", "/proxies/source/toxics/latency_downstream", "", 204, ""),
            case(
                "DELETE",
                "/proxies/source/toxics/latency_downstream",
                "",
                404,
                error(404, "toxic not found"),
            ),
        ],
    );
    let refused = http(server.api_addr(), "POST", base, &[], r#"{"type":"packet_loss"}"#);
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("corruption"), "{}", refused.body);
}

#[test]
fn a_direction_is_matched_in_any_case_and_shown_as_given() {
    let (server, _proxy) = proxied(echo());
    let base = "/proxies/source/toxics";
    let shown = |name: &str, stream: &str| {
        format!(r#"{{"attributes":{{}},"name":"{name}","type":"noop","stream":"{stream}","toxicity":1}}"#)
    };
    let (up, down) = (shown("noop_UpStream", "UpStream"), shown("d", "Downstream"));
    check(
        server.api_addr(),
        &[
            case("POST", base, r#"{"type":"noop","name":"d","stream":"Downstream"}"#, 200, &*down),
            case("POST", base, r#"{"type":"noop","stream":"UpStream"}"#, 200, &*up),
            case("POST", "/proxies/source/toxics/noop_UpStream", r#"{"stream":"upstream"}"#, 200, &*up),
            case("GET", "/proxies/source/toxics/noop_UpStream", "", 200, &*up),
            case("GET", base, "", 200, format!("[{up},{down}]")),
        ],
    );
}

#[test]
fn every_kind_of_toxic_has_its_attributes() {
    let (server, _proxy) = proxied(echo());
    for (kind, given, shown) in [
        ("noop", "{}", "{}"),
        ("latency", "{}", r#"{"latency":0,"jitter":0}"#),
        ("bandwidth", "{}", r#"{"rate":0}"#),
        ("slow_close", r#"{"delay":5}"#, r#"{"delay":5}"#),
        ("timeout", r#"{"timeout":5}"#, r#"{"timeout":5}"#),
        ("reset_peer", r#"{"timeout":5}"#, r#"{"timeout":5}"#),
        (
            "slicer",
            r#"{"average_size":9,"size_variation":3,"delay":2}"#,
            r#"{"average_size":9,"size_variation":3,"delay":2}"#,
        ),
        ("limit_data", r#"{"bytes":5}"#, r#"{"bytes":5}"#),
        (
            "cut",
            r#"{"mean_bytes":4000000000,"action":"stall"}"#,
            r#"{"mean_bytes":4000000000,"action":"stall"}"#,
        ),
        ("cut", r#"{"offset":0}"#, r#"{"offset":0,"action":"reset"}"#),
    ] {
        let body = format!(r#"{{"type":"{kind}","attributes":{given}}}"#);
        let answer = http(server.api_addr(), "POST", "/proxies/source/toxics", &[], &body);
        assert_eq!(answer.status, 200, "{kind}: {}", answer.body);
        assert_eq!(answer.json()["attributes"].to_string(), shown, "{kind}");
        assert_eq!(answer.json()["name"], format!("{kind}_downstream"));
        let path = format!("/proxies/source/toxics/{kind}_downstream");
        assert_eq!(http(server.api_addr(), "DELETE", &path, &[], "").status, 204);
    }
}

#[test]
fn populate_replaces_what_differs_and_reset_heals() {
    let server = Server::builder().start().unwrap();
    let ((a, _), (b, _)) = (port(), port());
    let api = server.api_addr();
    let entry = |name: &str, listen: &str, toxics: &str| {
        format!(
            r#"{{"name":"{name}","listen":"{listen}","upstream":"u:1","enabled":true,"toxics":[{toxics}]}}"#
        )
    };
    let list = |first: &str, second: &str| {
        format!(
            r#"[{{"name":"a","listen":"{first}","upstream":"u:1"}},{{"name":"b","listen":"{second}","upstream":"u:1"}}]"#
        )
    };
    let toxic =
        r#"{"attributes":{"timeout":0},"name":"t","type":"timeout","stream":"downstream","toxicity":1}"#;
    check(
        api,
        &[
            case(
                "POST",
                "/populate",
                r#"[{"name":"a","upstream":"u:1"},{"upstream":"u:1"}]"#,
                400,
                populate_error("missing required field: name at proxy 2"),
            ),
            case(
                "POST",
                "/populate",
                r#"[{"name":"a"}]"#,
                400,
                populate_error("missing required field: upstream at proxy 1"),
            ),
            case("POST", "/populate", "", 400, populate_error("bad request body: EOF")),
            case("GET", "/proxies", "", 200, "{}"),
            case(
                "POST",
                "/populate",
                list(&a, &b),
                201,
                format!(r#"{{"proxies":[{},{}]}}"#, entry("a", &a, ""), entry("b", &b, "")),
            ),
            case("POST", "/proxies/a/toxics", r#"{"name":"t","type":"timeout"}"#, 200, toxic),
            case(
                "POST",
                "/populate",
                list(&a, &b),
                201,
                format!(r#"{{"proxies":[{},{}]}}"#, entry("a", &a, toxic), entry("b", &b, "")),
            ),
            case(
                "POST",
                "/populate",
                list(&a, "nonsense"),
                500,
                format!(
                    r#"{{"error":"address nonsense: missing port in address","status":500,"proxies":[{}]}}"#,
                    entry("a", &a, toxic)
                ),
            ),
            case(
                "POST",
                "/proxies/a",
                r#"{"enabled":false}"#,
                200,
                entry("a", &a, toxic).replace("true", "false"),
            ),
            case("POST", "/reset", "", 204, ""),
            case("GET", "/proxies/a", "", 200, entry("a", &a, "")),
        ],
    );
}

#[test]
fn a_proxy_is_created_with_its_toxics_or_not_at_all() {
    let server = Server::builder().start().unwrap();
    let (api, upstream) = (server.api_addr(), echo());
    let body = |name: &str, toxics: &str| {
        format!(r#"{{"name":"{name}","listen":"127.0.0.1:0","upstream":"{upstream}","toxics":{toxics}}}"#)
    };
    let latency = r#"{"type":"latency","stream":"upstream","attributes":{"latency":100}}"#;
    for (toxics, status, problem) in [
        (
            "7",
            400,
            "bad request body: json: cannot unmarshal number into Go struct field Proxy.toxics of type",
        ),
        ("[{}]", 400, "bad request body: toxic 1: invalid toxic type"),
        (
            r#"[{"type":"noop"},{"type":"slicer","attributes":{"delay":-1}}]"#,
            400,
            "bad request body: toxic 2: ",
        ),
        (r#"[{"type":"noop"},{"type":"noop"}]"#, 409, "toxic already exists"),
        (
            r#"[{"name":"..","type":"noop"}]"#,
            400,
            "bad request body: toxic 1: no request can reach what is called ..",
        ),
    ] {
        for (path, body) in
            [("/proxies", body("a", toxics)), ("/populate", format!("[{}]", body("a", toxics)))]
        {
            let answer = http(api, "POST", path, &[], &body);
            let told = answer.json()["error"].as_str().unwrap().replace(".Proxy.toxics", "Proxy.toxics");
            assert!(answer.status == status && told.starts_with(problem), "{path} {body}: {answer:?}");
            assert_eq!(http(api, "GET", "/proxies", &[], "").body, "{}\n");
        }
    }
    let created = http(api, "POST", "/proxies", &[], &body("a", &format!("[{latency}]")));
    assert_eq!((created.status, &created.json()["toxics"][0]["name"]), (201, &"latency_upstream".into()));
    let listed = format!("[{}]", body("b", &format!("[{latency}]")));
    let populated = http(api, "POST", "/populate", &[], &listed);
    assert_eq!(populated.status, 201, "{populated:?}");
    for name in ["a", "b"] {
        let proxy = server.proxy(name).unwrap();
        let took = ping(&mut connect(proxy.listen_addr()), b"the first connection is late");
        assert!(took >= std::time::Duration::from_millis(100), "{name}: {took:?}");
    }
    // A description that cannot be leaves the proxy on that it would have replaced.
    let elsewhere =
        body("a", r#"[{"name":".","type":"noop"}]"#).replace(&upstream.to_string(), "127.0.0.1:1");
    assert_eq!(http(api, "POST", "/populate", &[], &format!("[{elsewhere}]")).status, 400);
    assert_eq!(http(api, "GET", "/proxies/a", &[], "").json()["enabled"], true);
    // What is shown describes the same proxy: it stays, toxics and all.
    let shown = http(api, "GET", "/proxies/a", &[], "").body;
    let again = http(api, "POST", "/populate", &[], &format!("[{shown}]")).json();
    assert_eq!(again["proxies"][0].to_string(), shown.trim_end());
    let spec = ProxySpec::new("c", upstream.to_string()).toxic(Toxic::stall(0).upstream());
    let stalled = server.create(spec).unwrap();
    let mut client = connect(stalled.listen_addr());
    std::io::Write::write_all(&mut client, b"never").unwrap();
    assert_eq!(read_all(&mut client, std::time::Duration::from_millis(100)).1, End::Silence);
}

#[test]
fn label_and_seed_are_shown_where_they_were_given() {
    let server = Server::builder().seed(9).start().unwrap();
    let shown = |more: &str| {
        format!(r#"{{"name":"m","listen":"","upstream":"u:1","enabled":false,"toxics":[]{more}}}"#)
    };
    let given = |more: &str| format!(r#"{{"name":"m","upstream":"u:1","enabled":false{more}}}"#);
    let given_in_list = |more: &str| format!("[{}]", given(more));
    let listed = |more: &str| format!(r#"{{"proxies":[{}]}}"#, shown(more));
    let no_seed = |text: &str| {
        error(
            400,
            &format!(
                "bad request body: json: cannot unmarshal {text} into Go struct field Proxy.seed of type uint64"
            ),
        )
    };
    check(
        server.api_addr(),
        &[
            case("POST", "/proxies", given(r#","seed":-1"#), 400, no_seed("number -1")),
            case("POST", "/proxies", given(r#","seed":"7""#), 400, no_seed("string")),
            case(
                "POST",
                "/proxies",
                given(r#","label":"source","seed":18446744073709551615"#),
                201,
                shown(r#","label":"source","seed":18446744073709551615"#),
            ),
            case(
                "POST",
                "/populate",
                given_in_list(""),
                201,
                listed(r#","label":"source","seed":18446744073709551615"#),
            ),
            case("POST", "/populate", given_in_list(r#","seed":0"#), 201, listed(r#","seed":0"#)),
            case("DELETE", "/proxies/m", "", 204, ""),
            case("POST", "/proxies", given(r#","label":"m","seed":null"#), 201, shown("")),
        ],
    );
}

#[test]
fn headers_and_foreign_requests_are_as_the_reference_has_them() {
    let server = Server::builder().start().unwrap();
    let api = server.api_addr();
    let version = http(api, "GET", "/version", &[], "");
    assert_eq!((version.status, version.body.as_str()), (200, "{\"version\": \"git\"}\n"));
    assert_eq!(version.header("content-type"), Some("application/json;charset=utf-8"));
    assert!(version.header("x-toxiproxy-request-id").is_some_and(|id| id.len() == 20));
    let missing = http(api, "GET", "/proxies/x", &[], "");
    assert_eq!(missing.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(missing.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(http(api, "GET", "/proxies", &[], "").header("content-type"), Some("application/json"));
    let browser = http(api, "GET", "/proxies", &["User-Agent: Mozilla/5.0"], "");
    assert_eq!((browser.status, browser.body.as_str()), (403, "User agent not allowed\n"));
    for path in ["/", "/proxies/", "/nothing", "/proxies/a/b"] {
        let unknown = http(api, "GET", path, &["User-Agent: Mozilla/5.0"], "");
        assert_eq!((unknown.status, unknown.body.as_str()), (404, "404 page not found\n"), "{path}");
        assert_eq!(unknown.header("x-toxiproxy-request-id"), None);
    }
    for (method, path) in [
        ("HEAD", "/proxies"),
        ("DELETE", "/proxies"),
        ("PUT", "/reset"),
        ("GET", "/populate"),
        ("POST", "/timeline"),
    ] {
        let refused = http(api, method, path, &[], "");
        assert_eq!((refused.status, refused.body.as_str()), (405, ""), "{method} {path}");
    }
}

#[test]
fn a_name_is_one_decoded_segment() {
    let server = Server::builder().start().unwrap();
    let api = server.api_addr();
    assert_eq!(http(api, "POST", "/proxies", &[], r#"{"name":"a b/ü","upstream":"u:1"}"#).status, 201);
    assert_eq!(http(api, "GET", "/proxies/a%20b%2F%C3%BC", &[], "").status, 200);
    assert_eq!(http(api, "GET", "/proxies/a%20b/%C3%BC", &[], "").status, 404);
}

#[test]
fn nothing_is_called_by_a_name_that_no_path_reaches() {
    for (is_strict, statuses) in [(false, [400, 400]), (true, [201, 200])] {
        let server = Server::builder().strict_compat(is_strict).start().unwrap();
        let post = |path: &str, body: &str| http(server.api_addr(), "POST", path, &[], body).status;
        let proxy = |name: &str| format!(r#"{{"name":"{name}","listen":"127.0.0.1:0","upstream":"u:1"}}"#);
        assert_eq!(post("/proxies", &proxy("p")), 201);
        let toxic = r#"{"name":".","type":"noop"}"#;
        assert_eq!([post("/proxies", &proxy("..")), post("/proxies/p/toxics", toxic)], statuses);
    }
}

#[test]
fn outages_are_begun_shown_and_ended() {
    let (server, _proxy) = proxied(echo());
    let api = server.api_addr();
    let begin = |body: &str| http(api, "POST", "/outages", &[], body);
    for (body, status, text) in [
        ("{}", 400, "missing required field: proxy"),
        (r#"{"proxy":"source"}"#, 400, "missing required field: kind"),
        (
            r#"{"proxy":"source","kind":"down","for":500}"#,
            400,
            "bad request body: unknown key `for`; did you mean `for_ms`?",
        ),
        (
            r#"{"proxy":"source","kind":"down","duration_ms":null}"#,
            400,
            "bad request body: unknown key `duration_ms`; known are proxy, kind, for_ms, share, \
             period_ms, duty, seeded_phase",
        ),
        (r#"{"proxy":"none","kind":"down"}"#, 404, "proxy not found"),
        (
            r#"{"proxy":"source","kind":"flap"}"#,
            400,
            "a flap needs period_ms, from one time down to the next",
        ),
        (r#"{"proxy":"source","kind":"partial","share":0}"#, 400, "share must be above 0 and at most 1"),
        (
            r#"{"proxy":"source","kind":"down","for_ms":0}"#,
            400,
            "for_ms must be at least 1: nothing lasts no time; without it the outage lasts until it is ended",
        ),
    ] {
        let answer = begin(body);
        assert_eq!((answer.status, answer.body), (status, error(status, text)), "{body}");
    }
    assert_eq!(http(api, "GET", "/outages", &[], "").json()["outages"], serde_json::json!([]));
    let begun = begin(r#"{"proxy":"source","Kind":"partial","share":0.25,"for_ms":60000}"#);
    assert_eq!(begun.status, 201);
    let outage = begun.json();
    assert_eq!(outage["state"], "active");
    assert_eq!((&outage["id"], &outage["share"]), (&1.into(), &0.25.into()));
    assert_eq!(http(api, "GET", "/outages", &[], "").json()["outages"][0], outage);
    assert_eq!(http(api, "DELETE", "/outages/1", &[], "").status, 204);
    assert_eq!(http(api, "GET", "/outages/1", &[], "").json()["state"], "ended");
    assert_eq!(http(api, "DELETE", "/outages/1", &[], "").body, error(404, "outage not found"));
    assert_eq!(http(api, "DELETE", "/outages/x", &[], "").body, error(404, "outage not found"));
}

#[test]
fn a_body_beyond_the_limit_is_refused() {
    let server = Server::builder().start().unwrap();
    let answer = http(server.api_addr(), "POST", "/proxies", &[], &" ".repeat((4 << 20) + 1));
    assert_eq!(answer.status, 413);
}
