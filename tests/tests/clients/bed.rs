//! Where a client meets mockreg: two registries behind one kind of login and one kind of connection, and a home folder
//! with what the clients need to know about them. Nothing of the person who runs the tests is read or changed.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use e2e::program::find;
use e2e::server::Server;
use serde_json::json;
use tempfile::TempDir;

/// The user that the registries know.
pub(crate) const USER: &str = "alice";
/// Her password.
pub(crate) const PASSWORD: &str = "opensesame";
/// The line of her in an htpasswd file; bcrypt of the password above, at a cost that leaves the time to the clients.
const HTPASSWD: &str = "alice:$2b$05$stormyardstormyardstoeichIZpksvr9/h0m96R4s47waMxYmePC\n";
/// Seconds after which a command is killed: a client that waits for ever fails one trial and not the run.
const PATIENCE: &str = "120";

/// What the registries ask of a client before they answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    None,
    Basic,
    Bearer,
}

/// How a client reaches a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) login: Login,
    pub(crate) tls: bool,
}

/// Two registries with the same access, and a home folder for the clients.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) access: Access,
    source: Server,
    dest: Server,
    home: TempDir,
}

impl Login {
    /// As `--auth` spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic => "basic",
            Self::Bearer => "bearer",
        }
    }
}

impl Access {
    /// Every combination.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let logins = [Login::None, Login::Basic, Login::Bearer];
        logins.into_iter().flat_map(|login| [false, true].map(|tls| Self { login, tls }))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.login.name(), if self.tls { "tls" } else { "plain" })
    }
}

impl Bed {
    /// Starts both registries and furnishes the home folder.
    ///
    /// # Panics
    /// Something cannot be started or written.
    pub(crate) fn new(access: Access) -> Self {
        let home =
            tempfile::Builder::new().prefix("stormyard-clients-").tempdir().expect("room for a folder");
        let path =
            |name: &str| home.path().join(name).to_str().expect("scratch folders are UTF-8").to_owned();
        let mut arguments = Vec::new();
        if access.login != Login::None {
            arguments.extend(["--auth".to_owned(), access.login.name().to_owned()]);
            std::fs::write(path("htpasswd"), HTPASSWD).expect("a line fits");
            arguments.extend(["--htpasswd".to_owned(), path("htpasswd")]);
        }
        if access.tls {
            arguments.extend(["--tls-auto".to_owned(), path("tls")]);
        }
        let server = |name: &str| {
            let named: Vec<&str> = arguments.iter().map(String::as_str).chain(["--name", name]).collect();
            Server::mockreg(&named)
        };
        let (source, dest) = (server("source"), server("dest"));
        let bed = Self { access, source, dest, home };
        bed.furnish();
        bed
    }

    /// `HOST:PORT/NAME` at the registry that has synthetic images.
    pub(crate) fn source(&self, image: &str) -> String {
        format!("{}/{image}", self.source.registry())
    }

    /// `HOST:PORT/NAME` at the registry that begins empty.
    pub(crate) fn dest(&self, image: &str) -> String {
        format!("{}/{image}", self.dest.registry())
    }

    /// Both registries, `HOST:PORT`.
    pub(crate) fn hosts(&self) -> [String; 2] {
        [self.source.registry(), self.dest.registry()]
    }

    /// Name and password, where the registries want them.
    pub(crate) fn credentials(&self) -> Option<(&'static str, &'static str)> {
        (self.access.login != Login::None).then_some((USER, PASSWORD))
    }

    /// `NAME:PASSWORD`, where the registries want them.
    pub(crate) fn joined_credentials(&self) -> Option<String> {
        self.credentials().map(|(user, password)| format!("{user}:{password}"))
    }

    /// The certificate of the CA that signed both registries' own, under TLS.
    pub(crate) fn ca(&self) -> Option<PathBuf> {
        self.access.tls.then(|| self.home.path().join("tls/ca.pem"))
    }

    /// A folder that holds `ca.crt` and nothing else, as clients of the containers family and docker read it.
    pub(crate) fn certificates(&self) -> Option<PathBuf> {
        self.access.tls.then(|| self.home.path().join("certs"))
    }

    /// An installed program that finds in its environment this home folder, these credentials and this CA, and is
    /// killed when it takes too long.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg(find(program).unwrap_or_else(|| panic!("{program} is not installed")));
        let home = self.home.path();
        command.env("HOME", home).env("DOCKER_CONFIG", home.join("docker"));
        command.env("CONTAINERS_STORAGE_CONF", home.join("storage.conf"));
        command.env("CONTAINERS_CONF", home.join("containers.conf"));
        command.env("XDG_RUNTIME_DIR", home.join("runtime"));
        command.env("TMPDIR", home.join("tmp"));
        if let Some(ca) = self.ca() {
            command.env("SSL_CERT_FILE", ca);
        }
        command
    }

    fn furnish(&self) {
        let home = self.home.path();
        for folder in ["docker", "runtime", "tmp"] {
            std::fs::create_dir_all(home.join(folder)).expect("room for a folder");
        }
        let put = |name: &str, text: String| std::fs::write(home.join(name), text).expect("room for a file");
        put("docker/config.json", self.docker_config());
        let at = home.display();
        put(
            "storage.conf",
            format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{at}/graph\"\nrunroot = \"{at}/run\"\n"),
        );
        put(
            "containers.conf",
            format!(
                "[engine]\nstatic_dir = \"{at}/libpod\"\ntmp_dir = \"{at}/libpod-tmp\"\n\
                 volume_path = \"{at}/volumes\"\nevents_logger = \"none\"\ncgroup_manager = \"cgroupfs\"\n\
                 [network]\nnetwork_config_dir = \"{at}/net\"\n"
            ),
        );
        if let (Some(ca), Some(folder)) = (self.ca(), self.certificates()) {
            std::fs::create_dir(&folder).expect("room for a folder");
            std::fs::copy(ca, folder.join("ca.crt")).expect("mockreg has written its CA");
        }
    }

    /// What `docker login` writes.
    fn docker_config(&self) -> String {
        use base64::Engine as _;
        let Some(joined) = self.joined_credentials() else { return "{}".to_owned() };
        let encoded = base64::engine::general_purpose::STANDARD.encode(joined);
        let [source, dest] = self.hosts();
        json!({"auths": {source: {"auth": &encoded}, dest: {"auth": &encoded}}}).to_string()
    }
}
