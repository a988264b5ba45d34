//! Manifests on 50 kept-alive connections: mockreg with one thread against nginx with one worker and the same bytes as
//! a static file. wrk asks, from one thread.

use std::time::Duration;

use e2e::measure::{Candidate, interleave, size};
use e2e::peers::Nginx;
use e2e::program::{command, succeed};
use e2e::server::Server;
use e2e::transfer;

use crate::{folder, save};

/// The unit of the amount: seconds are for so many requests.
const REQUESTS: f64 = 1000.0;

pub(crate) fn run() {
    let folder = folder();
    let mockreg = Server::mockreg(&["--threads", "1"]);
    let path = "/v2/synth/5mb-x8/manifests/v1";
    let manifest = transfer::fetch(&mockreg.registry(), path);
    save(folder.path(), "manifest", &manifest);
    let nginx = Nginx::start(folder.path(), 1);
    let lasting = size(Duration::from_secs(2), Duration::from_secs(1));
    let (ours, theirs) =
        (format!("http://{}{path}", mockreg.registry()), format!("http://{}/manifest", nginx.address));
    let candidates = vec![
        Candidate::new("mockreg --threads 1", || seconds(&ours, lasting)),
        Candidate::new("nginx, one worker", || seconds(&theirs, lasting)),
    ];
    let what = format!("GET of a manifest of {} bytes, 50 kept-alive connections, wrk", manifest.len());
    interleave(size(21, 2), candidates).report("registry/manifest", &what, "krequests/s", REQUESTS / 1000.0);
}

/// Seconds for [`REQUESTS`] requests.
fn seconds(url: &str, lasting: Duration) -> f64 {
    let duration = format!("{}s", lasting.as_secs());
    let said =
        succeed(command("wrk").args(["--threads", "1", "--connections", "50", "--duration", &duration, url]));
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:")?.trim().parse::<f64>().ok());
    REQUESTS / rate.unwrap_or_else(|| panic!("no rate in {said}"))
}
