//! Scripts of API calls with their answers: the form of the files under `fixtures/vectors/toxiproxy`, and how they are
//! played. Ports are names in a script, `{a}` to `{e}` for free ones and `{busy}` for one that somebody has, so that
//! answers are the same whatever ports a run gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use e2e::peers::free_port;
use serde::{Deserialize, Serialize};

use crate::reference::http;

const PORTS: [&str; 5] = ["{a}", "{b}", "{c}", "{d}", "{e}"];
const BUSY: &str = "{busy}";
/// A port that the system chose.
const CHOSEN: &str = "{chosen}";
/// Headers that are part of an answer, the last one without its value.
const HEADERS: [&str; 4] = ["content-type", "x-content-type-options", "location", "x-toxiproxy-request-id"];

/// A file of scripts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    /// Who gave the answers.
    pub(crate) reference: String,
    /// Why ours differ, by the names that `because` refers to.
    pub(crate) reasons: BTreeMap<String, Reason>,
    pub(crate) sections: Vec<Section>,
}

/// Why something is different.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    /// In a sentence or two; the guide has the same.
    pub(crate) why: String,
    /// Whether `-strict-compat` brings the reference's behaviour back.
    pub(crate) undone_by_strict: bool,
}

/// Calls that are made in order on a fresh server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    pub(crate) title: String,
    pub(crate) calls: Vec<Call>,
}

/// A call, and what comes of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    /// Method and path.
    pub(crate) call: String,
    /// Headers beside the usual ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) send: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) body: String,
    #[serde(default)]
    pub(crate) answer: Answer,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ours: Option<Ours>,
}

/// Our answer, where it differs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ours {
    /// One of the reasons.
    pub(crate) because: String,
    #[serde(flatten)]
    pub(crate) answer: Answer,
    /// Strictly, where that is neither this nor the record: an answer of a later version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) strict: Option<Answer>,
}

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<String>,
    pub(crate) text: String,
}

impl Script {
    /// Reads a file of scripts.
    pub(crate) fn read(name: &str) -> Self {
        let path = path(name);
        let text =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Writes it back.
    pub(crate) fn write(&self, name: &str) {
        let text = serde_json::to_string_pretty(self).unwrap() + "\n";
        std::fs::write(path(name), text).unwrap();
    }

    /// Whether every reason is used and known.
    pub(crate) fn check_reasons(&self) {
        let calls = self.sections.iter().flat_map(|section| &section.calls);
        let used: BTreeSet<&str> = calls.filter_map(|call| Some(&*call.ours.as_ref()?.because)).collect();
        let known: BTreeSet<&str> = self.reasons.keys().map(String::as_str).collect();
        assert_eq!(used, known, "reasons that are used, and those that are explained");
    }
}

fn path(name: &str) -> PathBuf {
    e2e::binary::root().join("fixtures/vectors/toxiproxy").join(name)
}

impl Section {
    /// Makes all calls on a server that knows no proxies yet.
    pub(crate) fn play(&self, api: SocketAddr) -> Vec<Answer> {
        let ports = Ports::new();
        self.calls.iter().map(|call| call.play(api, &ports)).collect()
    }
}

impl Call {
    fn play(&self, api: SocketAddr, ports: &Ports) -> Answer {
        let (method, path) = self.call.split_once(' ').expect("a call is a method and a path");
        let answer = http(api, method, path, &self.send, &ports.insert(&self.body));
        let headers = HEADERS.iter().filter_map(|name| {
            let (_, value) = answer.headers.iter().find(|(key, _)| key == name)?;
            let is_told = *name != "x-toxiproxy-request-id";
            Some(if is_told { format!("{name}: {value}") } else { (*name).to_owned() })
        });
        Answer { status: answer.status, headers: headers.collect(), text: ports.remove(&answer.text) }
    }
}

/// The ports of one play.
struct Ports {
    names: Vec<(&'static str, u16)>,
    _busy: TcpListener,
}

impl Ports {
    fn new() -> Self {
        let held: Vec<_> = PORTS.iter().map(|_| free_port()).collect();
        let busy = free_port();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let mut names: Vec<_> = PORTS.iter().copied().zip(held.iter().map(port)).collect();
        names.push((BUSY, port(&busy)));
        Self { names, _busy: busy }
    }

    fn insert(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, port)| text.replace(name, &port.to_string()))
    }

    /// Every port of five digits at the end of an address by its name.
    fn remove(&self, text: &str) -> String {
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(':') {
            let (before, after) = rest.split_at(at + 1);
            let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            named.push_str(before);
            let is_port = (4..=5).contains(&digits) && before.len() > 1 && !before.ends_with("\":");
            match after[..digits].parse::<u16>().ok().filter(|_| is_port) {
                Some(port) => {
                    let known = self.names.iter().find(|(_, known)| *known == port);
                    named.push_str(known.map_or(CHOSEN, |(name, _)| name));
                }
                None => named.push_str(&after[..digits]),
            }
            rest = &after[digits..];
        }
        named + rest
    }
}
