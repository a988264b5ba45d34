//! The programs that ours are measured against. Beside mockreg, each with its files in one folder, which measurements
//! put into memory: docker-registry with its file system storage, nginx that serves the folder itself. Beside
//! chaosproxy: HAProxy that passes TCP on, and Toxiproxy.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::program::{command, run, succeed};

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);

/// A docker-registry; killed when it is dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    child: Child,
    /// `host:port`.
    pub address: String,
}

/// An nginx; stopped when it is dropped.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    /// `host:port` of plain HTTP/1.1.
    pub address: String,
}

/// An HAProxy with one thread that passes connections on; killed when it is dropped.
#[derive(Debug)]
pub struct HaProxy {
    child: Child,
    /// `host:port` where it listens.
    pub address: String,
}

/// A Toxiproxy without proxies; killed when it is dropped.
#[derive(Debug)]
pub struct Toxiproxy {
    child: Child,
    /// Where its API listens.
    pub api: SocketAddr,
}

impl DockerRegistry {
    /// Starts one that keeps everything in `folder`, without a log of requests.
    ///
    /// # Panics
    /// It does not start, or the folder has no room.
    pub fn start(folder: &Path) -> Self {
        let address = free_address();
        let config = folder.join("registry.yml");
        let storage = folder.join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\nhttp: {{addr: \"{address}\"}}\n",
            storage.display()
        );
        std::fs::write(&config, text).expect("room in the folder");
        let mut registry = command("docker-registry");
        registry.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = registry.spawn().expect("docker-registry starts");
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

impl Nginx {
    /// Starts one that serves the files of `folder` by sendfile, without a log of requests.
    ///
    /// # Panics
    /// It does not start, or the folder has no room.
    pub fn start(folder: &Path, workers: u32) -> Self {
        let address = free_address();
        let root = folder.display();
        // Open files are kept, connections are never closed for their age: nothing but serving is measured.
        let text = format!(
            "worker_processes {workers}; daemon off; pid {root}/nginx.pid; error_log {root}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;\n\
             open_file_cache max=100; default_type application/octet-stream;\n\
             server {{ listen {address}; root {root}; }} }}\n"
        );
        let config = folder.join(format!("nginx-{}.conf", address.replace(':', "-")));
        std::fs::write(&config, text).expect("room in the folder");
        // Its workers may run as another user.
        succeed(Command::new("chmod").arg("755").arg(folder));
        let mut nginx = command("nginx");
        nginx.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = nginx.spawn().expect("nginx starts");
        wait_for(&address);
        Self { child, address }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master passes TERM on to the workers; a kill would leave them behind.
        let _ = run(Command::new("kill").arg(self.child.id().to_string()));
        let _ = self.child.wait();
    }
}

impl HaProxy {
    /// Starts one in front of `upstream`, with its configuration in `folder`; `global` and `defaults` are lines added
    /// to these sections.
    ///
    /// # Panics
    /// It does not start, or the folder has no room.
    pub fn start(folder: &Path, upstream: &str, global: &str, defaults: &str) -> Self {
        let listen = |address: &str| format!(" bind {address}\n server upstream {upstream}\n");
        Self::listening(folder, listen, global, defaults)
    }

    /// The same with lines of its own for what listens on the address it is given.
    ///
    /// # Panics
    /// It does not start, or the folder has no room.
    pub fn listening(
        folder: &Path,
        listen: impl FnOnce(&str) -> String,
        global: &str,
        defaults: &str,
    ) -> Self {
        let address = free_address();
        let listen = listen(&address);
        // One connection needs one pipe.
        let text = format!(
            "global\n nbthread 1\n maxpipes 100\n{global}\ndefaults\n mode tcp\n timeout connect 5s\n \
             timeout client 1h\n timeout server 1h\n{defaults}\nlisten bench\n{listen}"
        );
        let config = folder.join(format!("haproxy-{}.cfg", address.replace(':', "-")));
        std::fs::write(&config, text).expect("room in the folder");
        let mut haproxy = command("haproxy");
        haproxy.args(["-db", "-q", "-f"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = haproxy.spawn().expect("haproxy starts");
        wait_for(&address);
        Self { child, address }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Toxiproxy {
    /// Starts one with further flags.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(flags: &[&str]) -> Self {
        let api = free_port().local_addr().expect("a bound socket has an address");
        let (host, port) = (api.ip().to_string(), api.port().to_string());
        let mut toxiproxy = command("toxiproxy-server");
        toxiproxy.args(["-host", &host, "-port", &port]).args(flags);
        let child = toxiproxy.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("toxiproxy-server starts");
        wait_for(&api.to_string());
        Self { child, api }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Toxiproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    free_port().local_addr().expect("a bound socket has an address").to_string()
}

/// A port of loopback that stays free when it is given back: from below those that the system hands out by itself, and
/// each one once in a run.
///
/// # Panics
/// Thousands of ports are taken.
pub fn free_port() -> TcpListener {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    // Runs beside this one begin elsewhere.
    let start = std::process::id().wrapping_mul(97);
    let candidates = (0..COUNT).map(|_| FIRST + start.wrapping_add(NEXT.fetch_add(1, Relaxed)) % COUNT);
    let mut free = candidates.filter_map(|port| TcpListener::bind(format!("127.0.0.1:{port}")).ok());
    free.next().expect("one of thousands of ports is free")
}

fn wait_for(address: &str) {
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(start.elapsed() < PATIENCE, "nothing listens at {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
