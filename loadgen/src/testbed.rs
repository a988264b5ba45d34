//! The registries and the proxy of a run: in this process unless running ones are named, driven through the same
//! admin and API ports either way.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

use crate::control::{Control, ControlError};
use crate::faults::{self, TimelineState};
use crate::plan::Plan;
use crate::result::EventRecord;
use crate::scenario::{Event, Scenario, Side};

/// Which servers a run uses. What is not named is started in this process.
#[derive(Clone, Debug, Default)]
pub struct TestbedOptions {
    /// Source registry, as the proxy sees it.
    pub source: Option<String>,
    /// Destination registry, as the proxy sees it.
    pub dest: Option<String>,
    /// Admin port of the source, where that is a mockreg.
    pub source_admin: Option<String>,
    /// Admin port of the destination, where that is a mockreg.
    pub dest_admin: Option<String>,
    /// API of a running chaosproxy.
    pub proxy_api: Option<String>,
    /// File with the token that it asks for; `CHAOSPROXY_TOKEN_FILE` names it otherwise.
    pub proxy_token_file: Option<PathBuf>,
    /// No proxy at all.
    pub no_proxy: bool,
}

/// Running registries and proxy.
pub struct Testbed {
    parties: [Party; 2],
    /// Last journal line of each registry before the run.
    journal_starts: [u64; 2],
    proxy: Option<Proxy>,
    /// Servers of this process; they stop when the test bed is dropped.
    _registries: Vec<mockreg::Registry>,
    _proxy: Option<chaosproxy::Server>,
    /// What stands in the result.
    pub description: String,
}

/// One registry.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its address past the proxy, `http://host:port`.
    pub direct: String,
    /// Its address through the proxy; the same without one.
    pub through: String,
    /// Its admin port, where it is a mockreg.
    pub admin: Option<Control>,
}

/// The proxies of a run on one API.
struct Proxy {
    api: Control,
    /// Part of the names of this run's proxies.
    run_id: String,
    /// Seed of this run's decisions, whatever the server's own is.
    seed: u64,
    /// The scenario has events.
    has_timeline: bool,
}

/// Counters of the proxy of one side.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ProxyCounters {
    /// Connections accepted.
    pub accepted: u64,
    /// Bytes delivered towards the registry.
    pub bytes_upstream: u64,
    /// Bytes delivered towards the replicator.
    pub bytes_downstream: u64,
    /// Connections that a fault really struck, by kind.
    pub faults: std::collections::BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct AllCounters {
    proxies: std::collections::BTreeMap<String, ProxyCounters>,
}

/// What `/counters` of a mockreg says, as far as it is needed here.
#[derive(Deserialize)]
struct RegistryCounters {
    open_connections: u64,
    journal: JournalCounters,
}

#[derive(Deserialize)]
struct JournalCounters {
    last_seq: u64,
}

#[derive(Deserialize)]
struct Created {
    listen: String,
}

/// Why there is no test bed.
#[derive(Debug, Error)]
pub enum TestbedError {
    /// Options contradict each other.
    #[error("{0}")]
    Options(&'static str),
    /// An embedded registry did not start.
    #[error("cannot start the {side} registry")]
    Registry {
        /// Which one.
        side: &'static str,
        /// Why.
        source: mockreg::StartError,
    },
    /// The file with the token of a running proxy has none.
    #[error("--proxy-token-file")]
    Token(#[from] chaosproxy::TokenError),
    /// The embedded proxy did not start.
    #[error("cannot start the proxy")]
    Proxy(#[source] chaosproxy::StartError),
    /// A server refused or did not answer.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A registry that is no mockreg does not hold the corpus.
    #[error(
        "the source at {registry} does not hold {image}, and has no admin port to be given it (--source-admin)"
    )]
    MissingImage {
        /// The registry.
        registry: String,
        /// First image that is missing.
        image: String,
    },
}

impl TestbedOptions {
    /// The API of a proxy that runs elsewhere, if one is named, and the token it asks for.
    fn running_proxy(&self) -> Result<Option<Control>, TestbedError> {
        let Some(url) = &self.proxy_api else { return Ok(None) };
        let token = chaosproxy::Token::of_client(self.proxy_token_file.as_deref())?;
        Ok(Some(Control::try_new(url)?.showing(token)))
    }

    /// Whether the options fit each other and the scenario.
    ///
    /// # Errors
    /// They contradict each other, or an address is none.
    pub fn check(&self, scenario: &Scenario) -> Result<(), TestbedError> {
        let addresses = [&self.source, &self.dest, &self.source_admin, &self.dest_admin, &self.proxy_api];
        for url in addresses.into_iter().flatten() {
            Control::try_new(url)?;
        }
        self.running_proxy()?;
        let file = &scenario.file;
        let calm = Side::BOTH.iter().all(|side| faults::toxics(&file.network, *side).is_empty());
        match self.no_proxy {
            true if self.proxy_api.is_some() => {
                Err(TestbedError::Options("--no-proxy and --proxy-api exclude each other"))
            }
            true if !calm || !file.timeline.is_empty() => Err(TestbedError::Options(
                "this scenario's network and timeline need a proxy; drop --no-proxy",
            )),
            _ => Ok(()),
        }
    }
}

impl Testbed {
    /// Starts or finds everything, makes the proxies of the run and their toxics.
    ///
    /// # Errors
    /// Something could not be started or reached; what was made so far is removed.
    pub async fn start(
        options: &TestbedOptions,
        scenario: &Scenario,
        plan: &Plan,
        run_id: &str,
    ) -> Result<Self, TestbedError> {
        let mut registries = Vec::new();
        let source = party(
            Side::Source,
            options.source.as_ref(),
            options.source_admin.as_ref(),
            plan,
            &mut registries,
        )?;
        let dest =
            party(Side::Dest, options.dest.as_ref(), options.dest_admin.as_ref(), plan, &mut registries)?;
        let embedded_proxy = match (options.no_proxy, &options.proxy_api) {
            (false, None) => {
                Some(chaosproxy::Server::builder().seed(plan.seed).start().map_err(TestbedError::Proxy)?)
            }
            _ => None,
        };
        let api = match &embedded_proxy {
            Some(proxy) => Some(Control::try_new(&proxy.url())?),
            None => options.running_proxy()?,
        };
        let proxy = api.map(|api| Proxy {
            api,
            run_id: run_id.to_owned(),
            seed: plan.seed,
            has_timeline: !scenario.file.timeline.is_empty(),
        });
        let describe = |what: &str, given: &Option<String>| match given {
            Some(url) => format!("{what} {url}"),
            None => format!("{what} embedded"),
        };
        let mut description =
            [describe("source", &options.source), describe("dest", &options.dest)].join(", ");
        description += &match options.no_proxy {
            true => ", no proxy".to_owned(),
            false => format!(", {}", describe("proxy", &options.proxy_api)),
        };
        let mut bed = Self {
            parties: [source, dest],
            journal_starts: [0; 2],
            proxy,
            _registries: registries,
            _proxy: embedded_proxy,
            description,
        };
        bed.require_registries(options).await?;
        if let Err(error) = bed.make_proxies(scenario).await {
            bed.remove_proxies().await;
            return Err(error.into());
        }
        Ok(bed)
    }

    /// The registry of a side.
    pub fn party(&self, side: Side) -> &Party {
        &self.parties[side as usize]
    }

    /// Gives the source the images of the plan. What else the registries hold stays, the source's catalogue
    /// excepted.
    ///
    /// # Errors
    /// An admin port refused, or an image is missing at a source that has none.
    pub async fn load_corpus(&mut self, plan: &Plan) -> Result<(), TestbedError> {
        for side in Side::BOTH {
            if let Some(admin) = &self.party(side).admin {
                let counters: RegistryCounters = admin.read("/counters").await?;
                self.journal_starts[side as usize] = counters.journal.last_seq;
            }
        }
        let source = self.party(Side::Source);
        match &source.admin {
            Some(admin) => {
                let catalogue = serde_json::to_vec(&plan.catalogue()).expect("a catalogue is plain data");
                admin.call(Method::PUT, "/catalog", catalogue).await?;
            }
            None => self.require_corpus(plan, source).await?,
        }
        Ok(())
    }

    /// Last line of a side's journal before the run.
    pub const fn journal_start(&self, side: Side) -> u64 {
        self.journal_starts[side as usize]
    }

    /// Whether the source has every digest of its catalogue at hand; where it cannot tell, yes.
    pub async fn is_ready(&self) -> bool {
        match &self.party(Side::Source).admin {
            Some(admin) => admin.call(Method::GET, "/readyz", Bytes::new()).await.is_ok(),
            None => true,
        }
    }

    /// Starts the scenario's timeline.
    ///
    /// # Errors
    /// The proxy refused it.
    pub async fn start_timeline(&self) -> Result<(), ControlError> {
        match self.proxy_with_timeline() {
            Some(proxy) => proxy.api.call(Method::POST, "/timeline/start", Bytes::new()).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// What became of the scenario's scheduled events. One that the proxy does not know any more did not happen.
    ///
    /// # Errors
    /// The proxy did not answer.
    pub async fn events(&self, planned: &[Event]) -> Result<Vec<EventRecord>, ControlError> {
        let Some(proxy) = self.proxy_with_timeline() else { return Ok(Vec::new()) };
        let state: TimelineState = proxy.api.read("/timeline").await?;
        let record = |event: &faults::TimelineEvent| {
            let side = Side::BOTH.into_iter().find(|side| proxy.name(*side) == event.proxy)?;
            Some(event.record(side))
        };
        let mut records: Vec<EventRecord> = state.events.iter().filter_map(record).collect();
        let lost = faults::planned(planned).into_iter().skip(records.len());
        records.extend(lost);
        Ok(records)
    }

    /// Counters of a side's proxy; `None` without a proxy.
    ///
    /// # Errors
    /// The proxy did not answer.
    pub async fn proxy_counters(&self, side: Side) -> Result<Option<ProxyCounters>, ControlError> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        let mut all: AllCounters = proxy.api.read("/counters").await?;
        Ok(Some(all.proxies.remove(&proxy.name(side)).unwrap_or_default()))
    }

    /// The decisions of this run's proxies, one JSON line each; empty without a proxy.
    ///
    /// # Errors
    /// The proxy did not answer.
    pub async fn ledger(&self) -> Result<Vec<u8>, ControlError> {
        let Some(proxy) = &self.proxy else { return Ok(Vec::new()) };
        let mut lines = Vec::new();
        for side in Side::BOTH {
            let path = format!("/ledger?proxy={}", proxy.name(side));
            lines.extend(proxy.api.call(Method::GET, &path, Bytes::new()).await?);
        }
        Ok(lines)
    }

    /// Waits until the registries have seen the end of every connection, at most two seconds: afterwards their
    /// journals are complete.
    pub async fn settle(&self) {
        let settled = async {
            for admin in self.parties.iter().filter_map(|party| party.admin.as_ref()) {
                while admin
                    .read::<RegistryCounters>("/counters")
                    .await
                    .is_ok_and(|counters| counters.open_connections > 0)
                {
                    tokio::time::sleep(SETTLE_POLL).await;
                }
            }
        };
        let _ = tokio::time::timeout(SETTLE, settled).await;
    }

    /// Removes what the run made at the proxy; again is harmless. Errors are not reported: the proxy may be gone.
    pub async fn remove_proxies(&self) {
        if let Some(proxy) = &self.proxy {
            proxy.remove().await;
        }
    }

    fn proxy_with_timeline(&self) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| proxy.has_timeline)
    }

    /// Removes the proxies of a run from a running chaosproxy without knowing whether they were made.
    pub async fn remove_left_overs(options: &TestbedOptions, run_id: &str) {
        let Ok(Some(api)) = options.running_proxy() else { return };
        Proxy { api, run_id: run_id.to_owned(), seed: 0, has_timeline: true }.remove().await;
    }

    /// Whether the named registries answer here, past the proxy: the replica is read back that way.
    async fn require_registries(&self, options: &TestbedOptions) -> Result<(), ControlError> {
        for (side, given) in [(Side::Source, &options.source), (Side::Dest, &options.dest)] {
            if given.is_some() {
                let registry = Control::try_new(&self.party(side).direct)?;
                match registry.call(Method::GET, "/v2/", Bytes::new()).await {
                    // A registry that refuses is there.
                    Ok(_) | Err(ControlError::Refused { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    async fn make_proxies(&mut self, scenario: &Scenario) -> Result<(), ControlError> {
        let Some(proxy) = &self.proxy else { return Ok(()) };
        for side in Side::BOTH {
            let party = &mut self.parties[side as usize];
            party.through = proxy.create(side, &party.direct).await?;
            let path = format!("/proxies/{}/toxics", proxy.name(side));
            for toxic in faults::toxics(&scenario.file.network, side) {
                let body = serde_json::to_vec(&toxic).expect("a toxic is plain data");
                proxy.api.call(Method::POST, &path, body).await?;
            }
        }
        if !proxy.has_timeline {
            return Ok(());
        }
        let running: TimelineState = proxy.api.read("/timeline").await?;
        if running.is_running() {
            return Err(ControlError::Refused {
                method: Method::PUT,
                url: format!("http://{}/timeline", proxy.api.authority()),
                status: http::StatusCode::CONFLICT,
                message: "the proxy runs another timeline; wait for that run, or DELETE /timeline".to_owned(),
            });
        }
        let timeline = faults::timeline(&scenario.file.timeline, |side| proxy.name(side));
        proxy.api.call(Method::PUT, "/timeline", timeline.to_string()).await.map(|_| ())
    }

    /// Looks for every image of the plan at a source that cannot be given them.
    async fn require_corpus(&self, plan: &Plan, source: &Party) -> Result<(), TestbedError> {
        let registry = Control::try_new(&source.direct)?;
        for operation in &plan.operations {
            let path = format!("/v2/{}/manifests/{}", operation.repository, operation.tag);
            match registry.call(Method::HEAD, &path, Bytes::new()).await {
                Ok(_) => {}
                Err(ControlError::Refused { .. }) => {
                    let image = format!("{}:{}", operation.repository, operation.tag);
                    return Err(TestbedError::MissingImage { registry: source.direct.clone(), image });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Proxy {
    fn name(&self, side: Side) -> String {
        format!("run-{}-{}", self.run_id, side.as_str())
    }

    async fn remove(&self) {
        if self.has_timeline {
            let _ = self.api.call(Method::DELETE, "/timeline", Bytes::new()).await;
        }
        for side in Side::BOTH {
            let _ =
                self.api.call(Method::DELETE, &format!("/proxies/{}", self.name(side)), Bytes::new()).await;
        }
    }

    /// Makes the proxy of a side and returns its address as this process reaches it.
    async fn create(&self, side: Side, upstream: &str) -> Result<String, ControlError> {
        let host = self.api.authority().rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
        let loopback = matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        let listen = if loopback { "127.0.0.1:0" } else { "0.0.0.0:0" };
        let upstream = upstream.trim_start_matches("http://").trim_end_matches('/');
        let body = json!({
            "name": self.name(side),
            "label": side.as_str(),
            "listen": listen,
            "upstream": upstream,
            "seed": self.seed,
        });
        let answer = self.api.call(Method::POST, "/proxies", body.to_string()).await?;
        let created: Created = serde_json::from_slice(&answer).map_err(|error| ControlError::Broken {
            method: Method::POST,
            url: format!("http://{}/proxies", self.api.authority()),
            problem: format!("unexpected answer: {error}"),
        })?;
        let port = created.listen.rsplit_once(':').map_or("", |(_, port)| port);
        Ok(format!("http://{host}:{port}"))
    }
}

/// The registry of a side: the named one, or a new one in this process.
fn party(
    side: Side,
    url: Option<&String>,
    admin: Option<&String>,
    plan: &Plan,
    registries: &mut Vec<mockreg::Registry>,
) -> Result<Party, TestbedError> {
    if let Some(url) = url {
        let direct = format!("http://{}", Control::try_new(url)?.authority());
        let admin = admin.map(|url| Control::try_new(url)).transpose()?;
        return Ok(Party { through: direct.clone(), direct, admin });
    }
    if admin.is_some() {
        return Err(TestbedError::Options(
            "an admin port without its registry; give --source or --dest as well",
        ));
    }
    let builder = mockreg::Registry::builder().name(side.as_str()).seed(plan.seed);
    let registry =
        builder.start().map_err(|source| TestbedError::Registry { side: side.as_str(), source })?;
    let party = Party {
        direct: registry.url(),
        through: registry.url(),
        admin: Some(Control::try_new(&registry.admin_url())?),
    };
    registries.push(registry);
    Ok(party)
}

/// Connections that the proxy has just closed are gone within a few round trips on loopback; somebody else's may
/// never be.
const SETTLE: Duration = Duration::from_secs(2);
/// How often a registry is asked.
const SETTLE_POLL: Duration = Duration::from_millis(10);
