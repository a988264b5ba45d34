//! Metrics of the real server beside ours: names, kinds, labels and, once a connection has ended, the bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use chaosproxy::Server;
use e2e::peers::Toxiproxy;
use serde_json::Value;

use crate::reference::{PATIENCE, http};

/// Families of Go's runtime and of the process that a script may look for, and that mean something here.
const RUNTIME: [&str; 6] = [
    "go_build_info",
    "go_goroutines",
    "go_info",
    "go_threads",
    "process_open_fds",
    "process_resident_memory_bytes",
];

pub(crate) fn compare() {
    let real = Toxiproxy::start(&["-proxy-metrics", "-runtime-metrics"]);
    let builder = Server::builder().proxy_metrics(true).runtime_metrics(true);
    let ours = builder.strict_compat(true).start().unwrap();
    let traffic = |api| {
        let text = after_a_transfer(api);
        let lines = text.lines().filter(|line| line.starts_with("toxiproxy_")).map(str::to_owned);
        (lines.collect::<BTreeSet<_>>(), kinds(&text))
    };
    let ((real_lines, real_kinds), (our_lines, our_kinds)) = (traffic(real.api), traffic(ours.api_addr()));
    assert_eq!(our_lines, real_lines);
    assert_eq!(real_lines.len(), 4, "{real_lines:?}");
    for family in
        real_kinds.keys().filter(|name| name.starts_with("toxiproxy_")).map(String::as_str).chain(RUNTIME)
    {
        assert_eq!(our_kinds.get(family), real_kinds.get(family), "{family}");
    }
    without_flags();
}

/// Ours has metrics in any case, but where it is strict.
fn without_flags() {
    let plain = Server::builder().start().unwrap();
    let reply = http(plain.api_addr(), "GET", "/metrics", &[], "");
    assert_eq!(reply.status, 200);
    let kinds = kinds(&reply.text);
    assert!(kinds.contains_key("chaosproxy_build_info") && !kinds.contains_key("go_info"), "{kinds:?}");
    let strict = Server::builder().strict_compat(true).start().unwrap();
    for api in [strict.api_addr(), Toxiproxy::start(&[]).api] {
        let reply = http(api, "GET", "/metrics", &[], "");
        assert_eq!((reply.status, reply.text.as_str()), (404, "404 page not found\n"));
    }
}

/// Kinds of metrics by the names of their families.
fn kinds(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    lines.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// Metrics after 1000 bytes one way and 3000 the other, with ports by what they are.
fn after_a_transfer(api: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1000];
        stream.read_exact(&mut request).unwrap();
        stream.write_all(&[7; 3000]).unwrap();
        let _until_the_end = stream.read(&mut request);
    });
    let body = format!(r#"{{"name":"p","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#);
    let shown: Value = serde_json::from_str(&http(api, "POST", "/proxies", &[], &body).text).unwrap();
    let listen = shown["listen"].as_str().unwrap();
    let mut client = TcpStream::connect(listen).unwrap();
    client.write_all(&[7; 1000]).unwrap();
    client.read_exact(&mut [0; 3000]).unwrap();
    drop(client);
    server.join().unwrap();
    let start = Instant::now();
    loop {
        // The real server counts when a direction has ended, which takes it a moment.
        let text = http(api, "GET", "/metrics", &[], "").text;
        let text = text.replace(listen, "LISTEN").replace(&upstream.to_string(), "UPSTREAM");
        let counted = text.lines().filter(|line| line.starts_with("toxiproxy_") && line.ends_with("000"));
        if counted.count() == 4 || start.elapsed() > PATIENCE {
            return text;
        }
        thread::sleep(Duration::from_millis(10));
    }
}
