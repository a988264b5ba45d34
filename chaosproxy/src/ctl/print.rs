//! What `ctl` prints: for people on a terminal with colours, headings and hints, and otherwise one line for each
//! proxy or toxic with tabs between.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::client::{Proxy, Toxic};
use super::number;

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BLUE: &str = "\x1b[34m";
const PURPLE: &str = "\x1b[35m";
const NONE: &str = "\x1b[0m";
/// Width of the columns that tabs make.
const TAB: usize = 8;

/// How things are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    is_terminal: bool,
}

impl Paint {
    pub(super) const fn new(is_terminal: bool) -> Self {
        Self { is_terminal }
    }

    const fn colour(self, code: &'static str) -> &'static str {
        if self.is_terminal { code } else { "" }
    }

    pub(super) fn list(self, proxies: &BTreeMap<String, Proxy>) -> String {
        let mut text = String::new();
        if self.is_terminal {
            let head = "Name\t\t\t\x1b[34mListen\t\t\x1b[33mUpstream\t\t\x1b[35mEnabled\t\t\x1b[31mToxics";
            text = format!("{GREEN}{head}\n{NONE}{NONE}{}\n", "=".repeat(86));
            if proxies.is_empty() {
                return text
                    + &format!("{RED}no proxies\n{NONE}")
                    + &self.hint("create a proxy with `toxiproxy-cli create`");
            }
        }
        for proxy in proxies.values() {
            text += &self.row(proxy);
        }
        text + &self.hint("inspect toxics with `toxiproxy-cli inspect <proxyName>`")
    }

    fn row(self, proxy: &Proxy) -> String {
        let toxics = match proxy.toxics.len() {
            0 if self.is_terminal => "None".to_owned(),
            count => count.to_string(),
        };
        [
            self.cell(enabled_colour(proxy.enabled), &proxy.name, 3),
            self.cell(BLUE, &proxy.listen, 2),
            self.cell(YELLOW, &proxy.upstream, 3),
            self.cell(PURPLE, enabled_text(proxy.enabled), 2),
            format!("{}{toxics}{}\n", self.colour(RED), self.colour(NONE)),
        ]
        .concat()
    }

    /// A text and tabs behind it, so many on a terminal as fill a column of `tabs`.
    fn cell(self, colour: &'static str, text: &str, tabs: usize) -> String {
        let fill = if self.is_terminal { tabs.saturating_sub(text.len() / TAB + 1) } else { 0 };
        format!("{}{text}{}\t{}", self.colour(colour), self.colour(NONE), "\t".repeat(fill))
    }

    pub(super) fn inspect(self, proxy: &Proxy) -> String {
        if !self.is_terminal {
            return self.toxics(&proxy.toxics.iter().collect::<Vec<_>>(), "");
        }
        let Proxy { name, listen, upstream, .. } = proxy;
        let mut text = format!(
            "{PURPLE}Name: {NONE}{name}\t{BLUE}Listen: {NONE}{listen}\t{YELLOW}Upstream: {NONE}{upstream}\n\
             {NONE}{}\n",
            "=".repeat(70)
        );
        if proxy.toxics.is_empty() {
            text += &format!("{RED}Proxy has no toxics enabled.\n{NONE}");
        } else {
            let (up, down): (Vec<_>, Vec<_>) =
                proxy.toxics.iter().partition(|toxic| toxic.stream == "upstream");
            text += &(self.toxics(&up, "Upstream") + "\n" + &self.toxics(&down, "Downstream"));
        }
        text + &self.hint("add a toxic with `toxiproxy-cli toxic add`")
    }

    fn toxics(self, toxics: &[&Toxic], stream: &str) -> String {
        let mut text = String::new();
        if self.is_terminal {
            text = format!("{GREEN}{stream} toxics:\n{NONE}");
            if toxics.is_empty() {
                return text + &format!("{RED}Proxy has no {stream} toxics enabled.\n{NONE}");
            }
        }
        toxics.iter().fold(text, |text, toxic| text + &self.toxic(toxic))
    }

    fn toxic(self, toxic: &Toxic) -> String {
        let Toxic { name, kind, stream, toxicity, attributes, only } = toxic;
        let colon = if self.is_terminal { ":" } else { "" };
        let mut text = format!("{}{name}{colon}{}\t", self.colour(BLUE), self.colour(NONE));
        let _writing_to_a_string_succeeds =
            write!(text, "type={kind}\tstream={stream}\ttoxicity={toxicity:.2}\tattributes=[");
        for (key, value) in attributes {
            text += &format!("\t{key}={}", shown(value));
        }
        text += "\t]";
        for (key, value) in only.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
        {
            text += &format!("\tonly={key}={}", shown(value));
        }
        text + "\n"
    }

    pub(super) fn toggled(self, proxy: &Proxy) -> String {
        let colour = self.colour(enabled_colour(proxy.enabled));
        let (none, state) = (self.colour(NONE), enabled_text(proxy.enabled));
        format!("Proxy {colour}{}{none} is now {colour}{state}{none}\n", proxy.name)
    }

    fn hint(self, text: &str) -> String {
        if self.is_terminal { format!("\n{NONE}Hint: {text}\n") } else { String::new() }
    }
}

const fn enabled_colour(enabled: bool) -> &'static str {
    if enabled { GREEN } else { RED }
}

const fn enabled_text(enabled: bool) -> &'static str {
    if enabled { "enabled" } else { "disabled" }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Number(number) => number::shown(number.as_f64().unwrap_or_default()),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
