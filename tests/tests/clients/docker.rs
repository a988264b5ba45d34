//! docker, with a daemon that the tests start for themselves and that touches nothing outside its own folder: no
//! bridge, no firewall rules, another socket than the system's.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use e2e::program::{command, run, succeed, succeed_with_bytes};
use tempfile::TempDir;

use crate::bed::Bed;
use crate::client::Client;
use crate::known::{Known, Pulled};

/// How long the daemon may take to start or stop; half a second is usual.
const PATIENCE: Duration = Duration::from_secs(30);
/// First version that unpacks zstd layers.
const ZSTD: u32 = 23;

/// docker; the daemon starts with the first trial that needs it.
pub(crate) struct Docker {
    daemon: LazyLock<Daemon>,
}

struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Docker {
    pub(crate) fn new() -> Self {
        Self { daemon: LazyLock::new(Daemon::start) }
    }

    fn command(&self, bed: &Bed) -> Command {
        let mut command = bed.command("docker");
        command.env("DOCKER_HOST", self.daemon.socket());
        command
    }

    /// Removes what earlier trials have left: it would not be fetched again.
    fn clear(&self, bed: &Bed) {
        for (list, remove) in [(["ps", "-aq"], ["rm", "-f"]), (["images", "-aq"], ["rmi", "-f"])] {
            let ids = succeed(self.command(bed).args(list));
            if !ids.trim().is_empty() {
                succeed(self.command(bed).args(remove).args(ids.split_whitespace()));
            }
        }
    }

    fn push_as(&self, bed: &Bed, image: &str, to: &str) {
        succeed(self.command(bed).args(["tag", image, to]));
        succeed(self.command(bed).args(["push", "--quiet", to]));
    }
}

impl Client for Docker {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn programs(&self) -> Vec<&'static str> {
        vec!["docker", "dockerd", "tar"]
    }

    fn has_store(&self) -> bool {
        true
    }

    fn version(&self) -> String {
        let version = |program, text: String| {
            let text = text.split("version ").nth(1).map(str::to_owned);
            let version =
                text.as_deref().and_then(|text| text.split([',', '+', ' ']).next()).map(str::to_owned);
            version.unwrap_or_else(|| panic!("{program} tells no version"))
        };
        let client = version("docker", succeed(command("docker").arg("--version")));
        format!("{client} with daemon {}", version("dockerd", succeed(command("dockerd").arg("--version"))))
    }

    fn pull(&self, bed: &Bed, image: &str, _: &Path) -> Vec<Pulled> {
        self.clear(bed);
        succeed(self.command(bed).args(["pull", "--quiet", image]));
        // A container that never runs: its command is a name.
        let container = succeed(self.command(bed).args(["create", image, "nothing"]));
        vec![Pulled::Tar(succeed_with_bytes(self.command(bed).args(["export", container.trim()])))]
    }

    fn push(&self, bed: &Bed, known: &Known, folder: &Path, to: &str) {
        self.clear(bed);
        succeed(self.command(bed).arg("load").arg("--quiet").arg("--input").arg(known.write_archive(folder)));
        self.push_as(bed, "known:latest", to);
    }

    fn copy(&self, bed: &Bed, from: &str, to: &str) {
        self.clear(bed);
        succeed(self.command(bed).args(["pull", "--quiet", from]));
        self.push_as(bed, from, to);
    }

    fn unpacks_zstd(&self) -> bool {
        let version = self.version();
        let daemon =
            version.split(' ').next_back().and_then(|version| version.split('.').next()?.parse().ok());
        daemon.is_some_and(|major: u32| major >= ZSTD)
    }
}

impl Daemon {
    fn start() -> Self {
        let folder =
            tempfile::Builder::new().prefix("stormyard-docker-").tempdir().expect("room for a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("daemon.json"), "{}").expect("room for a file");
        let log = std::fs::File::create(path("log")).expect("room for a file");
        let mut dockerd = command("dockerd");
        for (option, name) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "docker.pid"),
        ] {
            dockerd.arg(option).arg(path(name));
        }
        dockerd.args(["--bridge=none", "--iptables=false", "--ip-forward=false", "--host"]);
        dockerd.arg(format!("unix://{}", path("docker.sock").display()));
        dockerd.stdout(Stdio::null()).stderr(log);
        let child = dockerd.spawn().expect("dockerd starts");
        let mut daemon = Self { child, folder };
        daemon.wait();
        daemon
    }

    fn socket(&self) -> String {
        format!("unix://{}", self.folder.path().join("docker.sock").display())
    }

    fn wait(&mut self) {
        let begun = Instant::now();
        while !run(command("docker").arg("version").env("DOCKER_HOST", self.socket())).status.success() {
            let ended = self.child.try_wait().expect("the daemon is our child");
            let log = || std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "dockerd does not answer:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A kill would leave its containerd and its mounts behind.
        let _ = run(Command::new("kill").arg(self.child.id().to_string()));
        let begun = Instant::now();
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if begun.elapsed() > PATIENCE {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = run(Command::new("umount").arg(self.folder.path().join("data/overlay2")));
    }
}
