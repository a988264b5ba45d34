//! What a registry can be told, and how one is started from it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mockreg_synth::catalogue::{Catalogue, CatalogueError, Plan};
use mockreg_synth::image::{ImageSpec, TagSpec};
use mockreg_synth::name::{self, NameError};
use thiserror::Error;

use crate::admin::Given;
use crate::auth::Auth;
use crate::cache::CacheDir;
use crate::policy::{Circumstances, Policy, PolicyError};
use crate::server::Registry;
use crate::tls::{Tls, TlsError};
use crate::upload::SESSION_IDLE;

/// How long a connection may take to send the head of a request, or stay idle between two.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request body may send nothing: an outage that a client survives is shorter.
const BODY_IDLE: Duration = Duration::from_secs(120);
/// Bytes of pushed content kept in memory, unless told otherwise.
pub(crate) const MEMORY_BUDGET: u64 = 256 << 20;

/// Bounds on what clients may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) header_timeout: Duration,
    pub(crate) body_idle: Duration,
}

/// A registry that is not yet started. Every setting has a default.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) name: String,
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    catalogue_error: Option<BadImages>,
    pub(crate) given: Given,
    pub(crate) memory_budget: u64,
    pub(crate) on_demand: bool,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) threads: Option<usize>,
    pub(crate) journal_file: Option<PathBuf>,
    pub(crate) cache: CacheDir,
    pub(crate) spill: Option<PathBuf>,
    pub(crate) policy: Policy,
    pub(crate) upload_idle: Duration,
    pub(crate) limits: Limits,
    pub(crate) auth: Auth,
    pub(crate) tls: Option<Tls>,
    pub(crate) redirect_blobs: Option<SocketAddr>,
}

/// Images that were asked for and cannot be made.
#[derive(Clone, Debug)]
enum BadImages {
    Catalogue(CatalogueError),
    Name(String, NameError),
}

/// Why a registry did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port cannot be listened on: it is taken, or the address is not this machine's.
    #[error("the {port} port cannot listen on {address}")]
    Listen {
        /// `registry`, `admin` or `downloads`.
        port: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A catalogue describes images that cannot be made.
    #[error("the catalogue cannot be served")]
    Catalogue(#[source] CatalogueError),
    /// A policy says what cannot be meant.
    #[error("the policy cannot be kept")]
    Policy(#[source] PolicyError),
    /// An image was asked for by a name that means none.
    #[error("the image `{name}` cannot be made")]
    Image {
        /// The name asked for.
        name: String,
        /// Why it means none.
        source: NameError,
    },
    /// The journal file cannot be created.
    #[error("the journal file {path} cannot be created")]
    JournalFile {
        /// The path asked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is no certificate to speak TLS with.
    #[error("TLS cannot be spoken")]
    Tls(#[source] TlsError),
    /// Nothing can be written to the spill directory.
    #[error("the spill directory {path} cannot be used")]
    Spill {
        /// The directory asked for.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The system gave no thread.
    #[error("no thread could be started")]
    Thread(#[source] io::Error),
}

impl Default for Builder {
    fn default() -> Self {
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            name: "registry".into(),
            seed: 1,
            plan: Plan::default(),
            catalogue_error: None,
            given: Given::None,
            memory_budget: MEMORY_BUDGET,
            on_demand: true,
            listen: any_port,
            admin: any_port,
            threads: None,
            journal_file: None,
            cache: CacheDir::none(),
            spill: None,
            policy: Policy::default(),
            upload_idle: SESSION_IDLE,
            limits: Limits { header_timeout: HEADER_TIMEOUT, body_idle: BODY_IDLE },
            auth: Auth::none(),
            tls: None,
            redirect_blobs: None,
        }
    }
}

impl Builder {
    /// The label of this registry in the journal (`side`). Default: `registry`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The seed of images made from their names. Default: 1.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Adds the images of a catalogue. May be called several times; of two images with one tag the later counts.
    #[must_use]
    pub fn catalogue(mut self, catalogue: Catalogue) -> Self {
        self.given = self.given.and(serde_json::to_vec(&catalogue).ok().map(Into::into));
        match Plan::new(catalogue) {
            Ok(plan) => self.plan = self.plan.followed_by(plan),
            Err(error) => self.catalogue_error = Some(BadImages::Catalogue(error)),
        }
        self
    }

    /// Adds one image: `repository` and `tag` as it is to be pulled, `name` what it consists of, in the words that
    /// stand behind `synth/`: `10mb`, `1gib-x8`, `300mib-tar`.
    #[must_use]
    pub fn image(mut self, repository: &str, tag: &str, name: &str) -> Self {
        match name::tagged(&format!("{}{name}", name::PREFIX), self.seed) {
            Ok(mut made) => {
                for image in &mut made.images {
                    (image.repository, image.tag) = (repository.to_owned(), tag.to_owned());
                }
                self.plan = self.plan.followed_by(Plan::given(vec![made]));
                self.given = Given::Planned;
            }
            Err(source) => self.catalogue_error = Some(BadImages::Name(name.to_owned(), source)),
        }
        self
    }

    /// Adds images that are planned already.
    #[must_use]
    pub fn images(self, images: Vec<ImageSpec>) -> Self {
        let images = images.into_iter().map(TagSpec::from).collect();
        self.plan(Plan::given(images))
    }

    /// Adds what one or several catalogues mean.
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        if plan.has_given() {
            self.given = Given::Planned;
        }
        // The images of a program stand in an empty catalogue of their own, which is nobody's document.
        for catalogue in plan.catalogues().filter(|_| !plan.has_given()) {
            self.given = self.given.and(serde_json::to_vec(catalogue).ok().map(Into::into));
        }
        self.plan = self.plan.followed_by(plan);
        self
    }

    /// Bytes of pushed content kept in memory, synthetic layers not counted: they take none. Default: 256 MiB.
    #[must_use]
    pub fn memory_budget(mut self, bytes: u64) -> Self {
        self.memory_budget = bytes;
        self
    }

    /// Whether images under `synth/` are made from their names. Default: yes.
    #[must_use]
    pub fn on_demand(mut self, on_demand: bool) -> Self {
        self.on_demand = on_demand;
        self
    }

    /// The address of the registry port. Default: any port of 127.0.0.1.
    #[must_use]
    pub fn listen(mut self, address: impl Into<SocketAddr>) -> Self {
        self.listen = address.into();
        self
    }

    /// The address of the admin port. Default: any port of 127.0.0.1.
    #[must_use]
    pub fn admin(mut self, address: impl Into<SocketAddr>) -> Self {
        self.admin = address.into();
        self
    }

    /// Threads that serve requests, at least 1. Default: one for each processor.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// A file that gets every line of the journal. Default: none.
    #[must_use]
    pub fn journal_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.journal_file = Some(path.into());
        self
    }

    /// A directory for checkpoints and digests that are dear to compute, shared by all registries on the machine.
    /// Default: none, nothing is written.
    #[must_use]
    pub fn table_cache(mut self, directory: impl Into<PathBuf>) -> Self {
        self.cache = CacheDir::open(Some(directory.into()));
        self
    }

    /// A directory for pushed content that the memory budget does not hold; made where only it is missing. All of it is
    /// in one file that loses its name as soon as it is open, so the system frees the room when the registry stops or
    /// the process ends, however it ends; what was pushed is gone then, as with memory, and no file is left to clean
    /// up. Default: none, such content is refused.
    #[must_use]
    pub fn spill(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spill = Some(directory.into());
        self
    }

    /// What this registry does differently. Default: nothing.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How long an upload session without a request lives. Default: 10 minutes.
    #[must_use]
    pub fn upload_idle(mut self, idle: Duration) -> Self {
        self.upload_idle = idle;
        self
    }

    /// How long a connection may take to send the head of a request, or stay idle between two. Default: 60 s.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.limits.header_timeout = timeout;
        self
    }

    /// How long a request body may send nothing. Default: 120 s.
    #[must_use]
    pub fn body_idle(mut self, idle: Duration) -> Self {
        self.limits.body_idle = idle;
        self
    }

    /// How clients say who they are. Default: nobody is asked.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Speaks TLS on the registry port. Default: plain HTTP.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Downloads of blobs are redirected to a second listener on this address, by URLs that are good for a while; see
    /// [`RedirectPolicy`](crate::policy::RedirectPolicy). Default: the registry answers with the blob.
    #[must_use]
    pub fn redirect_blobs(mut self, address: impl Into<SocketAddr>) -> Self {
        self.redirect_blobs = Some(address.into());
        self
    }

    /// Starts the registry. When this returns, both ports listen.
    ///
    /// # Errors
    /// A port is taken, the policy or the catalogue cannot be meant, the journal file or the spill directory cannot be
    /// created, there is no certificate to speak TLS with, or the system gives no threads.
    pub fn start(mut self) -> Result<Registry, StartError> {
        let circumstances =
            Circumstances { has_users: self.auth.asks(), has_downloads: self.redirect_blobs.is_some() };
        self.policy.check(circumstances).map_err(StartError::Policy)?;
        match self.catalogue_error.take() {
            Some(BadImages::Catalogue(error)) => Err(StartError::Catalogue(error)),
            Some(BadImages::Name(name, source)) => Err(StartError::Image { name, source }),
            None => Registry::start(self),
        }
    }
}
