//! Timelines: by time, by bytes and by connections, outages and toxics, and what is refused.

use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::harness::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

#[test]
fn events_happen_at_their_bytes() {
    let (server, proxy) = proxied(source(3_000_000));
    let api = server.api_addr();
    let events = json!({"events": [
        {"proxy": "source", "after_bytes": 10_000_000, "for_ms": 100, "outage": "down"},
        {"proxy": "source", "after_bytes": 20_000_000, "for_ms": 100, "outage": "black_hole"},
        {"proxy": "source", "after_bytes": 25_000_000, "outage": "reset_all"},
    ]});
    // Forwarded before the start: does not count.
    read_all(&mut connect(proxy.listen_addr()), PATIENCE);
    let put = http(api, "PUT", "/timeline", &[], &events.to_string());
    assert_eq!((put.status, &put.json()["state"]), (200, &json!("idle")));
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    let forwarded = || proxy.counts().bytes_downstream - 3_000_000;
    let mut down_at = None;
    while http(api, "GET", "/timeline", &[], "").json()["state"] == "running" {
        match TcpStream::connect(proxy.listen_addr()) {
            Ok(mut client) => drop(read_all(&mut client, PATIENCE)),
            Err(_) => down_at = down_at.or(Some(forwarded())),
        }
    }
    let at = down_at.expect("the port was seen closed");
    assert!((10_000_000..13_000_000).contains(&at), "{at}");
    let view = http(api, "GET", "/timeline", &[], "").json();
    assert_eq!(view["state"], "finished");
    for (index, what) in ["outage:down", "outage:black_hole", "outage:reset_all"].into_iter().enumerate() {
        let event = &view["events"][index];
        assert_eq!(
            (&event["index"], &event["what"], &event["state"]),
            (&index.into(), &what.into(), &"done".into())
        );
        let (started, ended) = (event["started_ms"].as_u64().unwrap(), event["ended_ms"].as_u64().unwrap());
        assert!(index == 2 || ended - started >= 99, "{event}");
    }
    assert_eq!(view["events"][0]["planned"], json!({"after_bytes": 10_000_000}));
    assert_eq!(view["events"][0]["for_ms"], 100);
}

/// Connections before the start of the timeline count, as they do in the ledger.
#[test]
fn events_happen_at_their_connections() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let events = json!({"events": [
        {"proxy": "source", "after_connections": 2, "outage": "reset_all"},
        {"proxy": "source", "after_connections": 4, "outage": "reset_all"},
        {"proxy": "source", "after_connections": 5, "for_ms": 600_000, "outage": "black_hole"},
    ]});
    let states = || {
        let view = http(api, "GET", "/timeline", &[], "").json();
        view["events"].as_array().unwrap().iter().map(|event| event["state"].clone()).collect::<Vec<_>>()
    };
    let mut clients: Vec<_> = (0..2).map(|_| connect(proxy.listen_addr())).collect();
    for client in &mut clients {
        ping(client, b"before");
    }
    assert_eq!(http(api, "PUT", "/timeline", &[], &events.to_string()).status, 200);
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    for mut client in clients {
        assert_eq!(read_all(&mut client, PATIENCE).1, End::Reset, "the second has come already");
    }
    let mut third = connect(proxy.listen_addr());
    ping(&mut third, b"nothing yet");
    eventually("that is noted", || states()[0] == "done");
    assert_eq!(states(), ["done", "pending", "pending"]);
    let mut fourth = connect(proxy.listen_addr());
    for client in [&mut third, &mut fourth] {
        assert_eq!(read_all(client, PATIENCE).1, End::Reset, "the one that it waits for, too");
    }
    eventually("it is noted", || states() == ["done", "done", "pending"]);
    let _fifth = connect(proxy.listen_addr());
    eventually("the fifth begins it", || states() == ["done", "done", "active"]);
    let view = http(api, "GET", "/timeline", &[], "").json();
    assert_eq!(view["events"][1]["planned"], json!({"after_connections": 4}));
}

/// Flows are accepted by their first datagram.
#[test]
fn events_happen_at_their_flows() {
    let server = chaosproxy::Server::builder().start().unwrap();
    let spec = chaosproxy::ProxySpec {
        listen: "udp://127.0.0.1:0".to_owned(),
        ..chaosproxy::ProxySpec::new("source", "udp://127.0.0.1:9")
    };
    let proxy = server.create(spec).unwrap();
    let event = chaosproxy::TimelineEvent {
        proxy: "source".to_owned(),
        after_connections: Some(2),
        outage: Some("reset_all".to_owned()),
        ..Default::default()
    };
    server.put_timeline(chaosproxy::Timeline { events: vec![event] }).unwrap();
    server.start_timeline().unwrap();
    let client = || {
        let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"x", proxy.listen_addr()).unwrap();
    };
    client();
    eventually("it has come", || proxy.counts().accepted == 1);
    assert_eq!(server.timeline().events[0].state, chaosproxy::EventState::Pending);
    client();
    eventually("the second begins it", || server.timeline().state == chaosproxy::TimelineState::Finished);
    assert_eq!(server.timeline().events[0].planned, chaosproxy::Planned::AfterConnections(2));
}

#[test]
fn a_toxic_comes_and_goes_by_time() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let events = json!({"events": [
        {"proxy": "source", "at_ms": 50, "for_ms": 500,
         "toxic": {"type": "latency", "name": "slow", "attributes": {"latency": 100}}},
    ]});
    assert_eq!(http(api, "PUT", "/timeline", &[], &events.to_string()).status, 200);
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 409, "it is running");
    let mut client = connect(proxy.listen_addr());
    eventually("it comes", || ping(&mut client, b"x") > ms(90));
    let view = http(api, "GET", "/timeline", &[], "").json();
    assert_eq!((&view["state"], &view["events"][0]["state"]), (&json!("running"), &json!("active")));
    assert_eq!(view["events"][0]["what"], "toxic:slow");
    eventually("it goes", || ping(&mut client, b"x") < ms(50));
    eventually("it is finished", || server.timeline().state == chaosproxy::TimelineState::Finished);
}

#[test]
fn deleting_a_timeline_ends_what_it_had_in_force() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let events = json!({"events": [
        {"proxy": "source", "at_ms": 0, "for_ms": 600_000, "outage": "down"},
        {"proxy": "source", "at_ms": 600_000, "for_ms": 1, "outage": "silent"},
    ]});
    assert_eq!(http(api, "PUT", "/timeline", &[], &events.to_string()).status, 200);
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    eventually("it is down", || TcpStream::connect(proxy.listen_addr()).is_err());
    assert_eq!(http(api, "DELETE", "/timeline", &[], "").status, 204);
    ping(&mut connect(proxy.listen_addr()), b"up again");
    let view = http(api, "GET", "/timeline", &[], "").json();
    assert_eq!(view, json!({"state": "idle", "events": []}));
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 409, "there is none");
}

#[test]
fn a_running_timeline_is_not_replaced_and_a_finished_one_is() {
    let (server, proxy) = proxied(echo());
    let api = server.api_addr();
    let put = |event: serde_json::Value| {
        let answer = http(api, "PUT", "/timeline", &[], &json!({"events": [event]}).to_string());
        (answer.status, answer.body)
    };
    let long = json!({"proxy": "source", "at_ms": 0, "for_ms": 600_000, "outage": "down"});
    let short = json!({"proxy": "source", "at_ms": 0, "outage": "reset_all"});
    assert_eq!(put(short.clone()).0, 200);
    assert_eq!(put(long).0, 200, "it was idle");
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    eventually("it is down", || TcpStream::connect(proxy.listen_addr()).is_err());
    let busy = "{\"error\":\"a timeline is running; DELETE /timeline first\",\"status\":409}\n";
    assert_eq!(put(short.clone()), (409, busy.to_owned()));
    assert!(TcpStream::connect(proxy.listen_addr()).is_err(), "it goes on");
    assert_eq!(server.timeline().events[0].what, "outage:down");
    server.clear_timeline();
    assert_eq!(put(short.clone()).0, 200);
    for _ in 0..2 {
        assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
        eventually("it is finished", || server.timeline().state == chaosproxy::TimelineState::Finished);
        assert_eq!(put(short.clone()).0, 200);
        assert_eq!(server.timeline().state, chaosproxy::TimelineState::Idle);
    }
}

#[test]
fn events_that_cannot_be_are_refused() {
    let (server, _proxy) = proxied(echo());
    let refuse = |event: serde_json::Value, part: &str| {
        let body = json!({"events": [{"proxy": "source", "at_ms": 0, "for_ms": 1, "outage": "down"}, event]});
        let answer = http(server.api_addr(), "PUT", "/timeline", &[], &body.to_string());
        assert_eq!(answer.status, 400, "{event}");
        assert!(answer.body.contains(part), "{part} is not in {}", answer.body);
    };
    refuse(
        json!({"proxy": "none", "at_ms": 0, "for_ms": 1, "outage": "down"}),
        "events[1]: there is no proxy none",
    );
    refuse(
        json!({"proxy": "source", "for_ms": 1, "outage": "down"}),
        "events[1]: needs one of at_ms, after_bytes and after_connections",
    );
    for [one, other] in
        [["at_ms", "after_bytes"], ["at_ms", "after_connections"], ["after_bytes", "after_connections"]]
    {
        refuse(
            json!({"proxy": "source", one: 1, other: 1, "for_ms": 1, "outage": "down"}),
            "events[1]: has two of at_ms, after_bytes and after_connections",
        );
    }
    refuse(
        json!({"proxy": "source", "after_conections": 1, "for_ms": 1, "outage": "down"}),
        "did you mean `after_connections`?",
    );
    refuse(
        json!({"proxy": "source", "after_connections": 1.5, "for_ms": 1, "outage": "down"}),
        "events[1].after_connections",
    );
    refuse(json!({"proxy": "source", "at_ms": 0, "for_ms": 1}), "one of outage, toxic and ramp");
    refuse(
        json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "outage": "down", "toxic": {"type": "noop"}}),
        "events[1]: has two of outage, toxic and ramp",
    );
    refuse(json!({"proxy": "source", "at_ms": 0, "outage": "down"}), "needs for_ms");
    refuse(
        json!({"proxy": "source", "at_ms": 0, "for_ms": 0, "outage": "down"}),
        "for_ms must be at least 1",
    );
    refuse(
        json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "outage": "down", "share": 0.5}),
        "share is of a partial outage, not of down",
    );
    refuse(
        json!({"proxy": "source", "at_ms": 0, "for_ms": 1,
               "toxic": {"type": "latency", "attributes": {"latency": -5}}}),
        "events[1]: attribute latency of a latency toxic",
    );
    refuse(
        json!({"proxy": "source", "at_ms": 0, "for_ms": 1,
               "toxic": {"type": "latency", "attributes": {"latency": "long"}}}),
        "events[1]: json: cannot unmarshal string into Go struct field",
    );
    refuse(json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "outage": "flap"}), "a flap needs period_ms");
    refuse(json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "outage": "dawn"}), "unknown outage kind dawn");
    refuse(
        json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "outage": "partial", "share": 2}),
        "share must be",
    );
    refuse(json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "toxic": {"type": "x"}}), "invalid toxic type");
    refuse(
        json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "duty": 0.1, "toxic": {"type": "noop"}}),
        "duty and seeded_phase are of outages",
    );
    refuse(json!({"proxy": "source", "at_ms": 0, "for_ms": 1, "outagge": "down"}), "did you mean `outage`?");
    refuse(json!({"proxy": "source", "at_ms": -1, "for_ms": 1, "outage": "down"}), "request body:1:");
    assert_eq!(server.timeline().events.len(), 0, "nothing was put");
}

#[test]
fn a_ramp_that_its_toxic_cannot_follow_is_refused_where_that_is_known() {
    let (server, proxy) = proxied(echo());
    let put = |events: serde_json::Value| {
        let answer = http(server.api_addr(), "PUT", "/timeline", &[], &json!({"events": events}).to_string());
        (answer.status, answer.body)
    };
    let ramp = |attribute: &str, to: f64| {
        json!({"proxy": "source", "at_ms": 0, "for_ms": 10,
               "ramp": {"toxic": "slow", "attribute": attribute, "from": 0.0, "to": to}})
    };
    let come = |kind: &str| json!({"proxy": "source", "at_ms": 0, "for_ms": 10, "toxic": {"type": kind, "name": "slow"}});
    assert_eq!(put(json!([ramp("rate", 1.0)])).0, 200, "what comes until then is not known");
    let (status, said) = put(json!([ramp("rate", 1.0), come("latency")]));
    assert!(status == 400 && said.contains("events[0]: a latency toxic has no number rate"), "{said}");
    assert_eq!(put(json!([ramp("rate", 1.0), come("bandwidth")])).0, 200);
    proxy.add(chaosproxy::Toxic::latency(ms(1), ms(0)).named("slow")).unwrap();
    for (attribute, to, part) in [
        ("rate", 1.0, "events[0]: a latency toxic has no number rate to be moved"),
        ("latency", -1.0, "events[0]: attribute latency of a latency toxic"),
    ] {
        let (status, said) = put(json!([ramp(attribute, to)]));
        assert!(status == 400 && said.contains(part), "{status} {said}");
    }
    assert_eq!(put(json!([ramp("latency", 3.0), ramp("toxicity", 1.0)])).0, 200);
    // A toxic that will be replaced by one that can follow.
    assert_eq!(put(json!([ramp("rate", 1.0), come("bandwidth")])).0, 200);
}

#[test]
fn an_event_that_could_not_happen_has_failed_and_says_why() {
    let (server, _proxy) = proxied(echo());
    let events = json!({"events": [
        {"proxy": "source", "at_ms": 0, "for_ms": 1,
         "ramp": {"toxic": "none", "attribute": "latency", "from": 0, "to": 1}},
        {"proxy": "source", "at_ms": 0, "outage": "reset_all"},
    ]});
    let api = server.api_addr();
    assert_eq!(http(api, "PUT", "/timeline", &[], &events.to_string()).status, 200);
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    eventually("it is finished", || server.timeline().state == chaosproxy::TimelineState::Finished);
    let view = http(api, "GET", "/timeline", &[], "").json();
    let (failed, done) = (&view["events"][0], &view["events"][1]);
    assert_eq!((&failed["state"], &failed["error"]), (&json!("failed"), &json!("toxic not found")));
    assert_eq!((&done["state"], &done["error"]), (&json!("done"), &json!(null)));
}

#[test]
fn an_outage_of_a_timeline_shows_how_long_it_lasts() {
    let (server, _proxy) = proxied(echo());
    let events = json!({"events": [{"proxy": "source", "at_ms": 0, "for_ms": 600_000, "outage": "silent"}]});
    let api = server.api_addr();
    assert_eq!(http(api, "PUT", "/timeline", &[], &events.to_string()).status, 200);
    assert_eq!(http(api, "POST", "/timeline/start", &[], "").status, 200);
    let outages = || http(api, "GET", "/outages", &[], "").json()["outages"].clone();
    eventually("it has begun", || outages()[0]["state"] == "active");
    assert_eq!(outages()[0]["for_ms"], 600_000);
    assert_eq!(http(api, "DELETE", "/timeline", &[], "").status, 204);
    assert_eq!(outages()[0]["state"], "ended");
}
