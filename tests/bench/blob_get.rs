//! One blob, one stream: mockreg against docker-registry and nginx, all serving the same bytes (theirs from memory).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::measure::{Candidate, interleave, memory_folder, size};
use e2e::program::{find, succeed};
use e2e::server::Server;
use e2e::{binary, transfer};

fn main() {
    let missing: Vec<&str> =
        ["docker-registry", "nginx", "curl"].into_iter().filter(|name| find(name).is_none()).collect();
    if !missing.is_empty() {
        println!("blob_get: not measured, {} missing", missing.join(", "));
        return;
    }
    let (image, bytes) = size(("synth/1gib", 1u64 << 30), ("synth/256mib", 256 << 20));
    let folder =
        tempfile::Builder::new().prefix("stormyard-").tempdir_in(memory_folder()).expect("room in memory");
    let mockreg = Server::mockreg(&[]);
    let registry = DockerRegistry::start(folder.path());
    succeed(Command::new(binary::path("loadgen")).args([
        "copy",
        &format!("{}/{image}:v1", mockreg.registry()),
        &format!("{}/{image}:v1", registry.address),
    ]));
    let path = blob_path(&mockreg.registry(), image);
    let nginx = Nginx::start(folder.path(), &format!("http://{}{path}", mockreg.registry()));
    let timed = |address: &str, path: &str| {
        let start = Instant::now();
        assert_eq!(transfer::download(address, path), bytes);
        start.elapsed().as_secs_f64()
    };
    let candidates = vec![
        Candidate::new("mockreg", || timed(&mockreg.registry(), &path)),
        Candidate::new("docker-registry", || timed(&registry.address, &path)),
        Candidate::new("nginx sendfile", || timed(&nginx.address, "/blob")),
    ];
    let what = format!("GET of the layer of {image}, one stream, loopback, HTTP/1.1");
    interleave(size(9, 3), candidates).report("blob_get", &what, "GB/s", bytes as f64 / 1e9);
}

/// Path of the only layer of an image.
fn blob_path(registry: &str, image: &str) -> String {
    let (status, manifest) = transfer::request("GET", registry, &format!("/v2/{image}/manifests/v1"));
    assert_eq!(status, 200);
    let manifest: serde_json::Value = serde_json::from_str(&manifest).expect("a manifest is JSON");
    format!("/v2/{image}/blobs/{}", manifest["layers"][0]["digest"].as_str().expect("a layer has a digest"))
}

struct DockerRegistry {
    child: Child,
    address: String,
}

impl DockerRegistry {
    fn start(folder: &Path) -> Self {
        let address = free_address();
        let config = folder.join("registry.yml");
        let storage = folder.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"{address}\"}}\n",
            storage.display()
        );
        std::fs::write(&config, text).expect("room in memory");
        let mut command = Command::new(find("docker-registry").expect("looked for before"));
        command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("docker-registry starts");
        wait_for(&address);
        Self { child, address }
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Nginx {
    child: Child,
    address: String,
}

impl Nginx {
    fn start(folder: &Path, blob: &str) -> Self {
        succeed(Command::new("curl").args(["-sf", "-o"]).arg(folder.join("blob")).arg(blob));
        let address = free_address();
        let root = folder.display();
        let text = format!(
            "worker_processes 2; daemon off; pid {root}/nginx.pid; error_log {root}/error.log; events {{}}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; server {{ listen {address}; root {root}; }} }}\n"
        );
        std::fs::write(folder.join("nginx.conf"), text).expect("room in memory");
        // Its workers may run as another user.
        succeed(Command::new("chmod").arg("755").arg(folder));
        let mut command = Command::new(find("nginx").expect("looked for before"));
        command.arg("-c").arg(folder.join("nginx.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("nginx starts");
        wait_for(&address);
        Self { child, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master passes TERM on to the workers; a kill would leave them behind.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    listener.local_addr().expect("a bound socket has an address").to_string()
}

fn wait_for(address: &str) {
    let start = Instant::now();
    while std::net::TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "nothing listens at {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
