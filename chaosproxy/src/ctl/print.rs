//! What `ctl` prints: for people on a terminal with colours, headings and hints, and otherwise one line for each
//! proxy or toxic with tabs between. What a terminal would obey is spelt out there, for names are anybody's; a pipe has
//! them as they are, as with the reference.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::client::{Proxy, Toxic};
use super::number;
use crate::terminal;

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
    /// The name that hints call the program by.
    program: &'static str,
}

impl Paint {
    pub(super) const fn new(is_terminal: bool, program: &'static str) -> Self {
        Self { is_terminal, program }
    }

    /// A text of somebody else.
    pub(super) fn text(self, text: &str) -> Cow<'_, str> {
        if self.is_terminal { terminal::shown(text) } else { text.into() }
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
                let hint = self.hint("create a proxy with", "create");
                return format!("{text}{RED}no proxies\n{NONE}{hint}");
            }
        }
        for proxy in proxies.values() {
            text += &self.row(proxy);
        }
        text + &self.hint("inspect toxics with", "inspect <proxyName>")
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
        let text = self.text(text);
        let fill = if self.is_terminal { tabs.saturating_sub(text.len() / TAB + 1) } else { 0 };
        format!("{}{text}{}\t{}", self.colour(colour), self.colour(NONE), "\t".repeat(fill))
    }

    pub(super) fn inspect(self, proxy: &Proxy) -> String {
        if !self.is_terminal {
            return self.toxics(&proxy.toxics.iter().collect::<Vec<_>>(), "");
        }
        let (name, listen) = (self.text(&proxy.name), self.text(&proxy.listen));
        let upstream = self.text(&proxy.upstream);
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
        text + &self.hint("add a toxic with", "toxic add")
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
        let Toxic { toxicity, attributes, only, .. } = toxic;
        let (name, kind, stream) = (self.text(&toxic.name), self.text(&toxic.kind), self.text(&toxic.stream));
        let colon = if self.is_terminal { ":" } else { "" };
        let mut text = format!("{}{name}{colon}{}\t", self.colour(BLUE), self.colour(NONE));
        let _writing_to_a_string_succeeds =
            write!(text, "type={kind}\tstream={stream}\ttoxicity={toxicity:.2}\tattributes=[");
        for (key, value) in attributes {
            text += &format!("\t{}={}", self.text(key), self.text(&shown(value)));
        }
        text += "\t]";
        for (key, value) in only.iter().flat_map(|(key, values)| values.iter().map(move |value| (key, value)))
        {
            text += &format!("\tonly={}={}", self.text(key), self.text(&shown(value)));
        }
        text + "\n"
    }

    pub(super) fn toggled(self, proxy: &Proxy) -> String {
        let colour = self.colour(enabled_colour(proxy.enabled));
        let (none, state) = (self.colour(NONE), enabled_text(proxy.enabled));
        format!("Proxy {colour}{}{none} is now {colour}{state}{none}\n", self.text(&proxy.name))
    }

    fn hint(self, text: &str, verb: &str) -> String {
        let program = self.program;
        if self.is_terminal { format!("\n{NONE}Hint: {text} `{program} {verb}`\n") } else { String::new() }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proxy() -> Proxy {
        let toxic = json!({"name": "\u{1b}[2J", "type": "cut", "stream": "downstream", "toxicity": 1,
            "attributes": {"action": "\u{7}"}, "only": {"sni": ["a\u{202e}b"]}});
        let proxy = json!({"name": "e\u{1b}[31m\n\tx/y", "listen": "unix:/\u{1b}c", "upstream": "u\r:1",
            "enabled": true, "toxics": [toxic]});
        serde_json::from_value(proxy).unwrap()
    }

    #[test]
    fn names_cannot_command_a_terminal() {
        let paint = Paint::new(true, "chaosproxy ctl");
        let all = BTreeMap::from([("p".to_owned(), proxy())]);
        let texts = [paint.list(&all), paint.inspect(&proxy()), paint.toggled(&proxy())];
        for text in &texts {
            assert!(text.contains("e\\u{1b}[31m\\n\\tx/y"), "{text:?}");
            let ours = [RED, GREEN, YELLOW, BLUE, PURPLE, NONE];
            let rest = ours.iter().fold(text.clone(), |text, colour| text.replace(colour, ""));
            assert!(!rest.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}']), "{rest:?}");
        }
        assert!(
            texts[0].ends_with("Hint: inspect toxics with `chaosproxy ctl inspect <proxyName>`\n"),
            "{texts:?}"
        );
        assert!(texts[1].contains("only=sni=a\\u{202e}b"), "{texts:?}");
    }

    #[test]
    fn a_pipe_has_names_as_they_are() {
        let toggled = Paint::new(false, "toxiproxy-cli").toggled(&proxy());
        assert_eq!(toggled, "Proxy e\u{1b}[31m\n\tx/y is now enabled\n");
    }
}
