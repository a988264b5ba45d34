//! Our servers as processes: started on free ports, found by their ready line, stopped with the test.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use mockreg_proto::ready_line::ReadyLine;

use crate::binary;

/// A running server; killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// What it said when it was ready.
    pub ready: ReadyLine,
}

impl Server {
    /// A mockreg on free ports, with `arguments` beside.
    pub fn mockreg(arguments: &[&str]) -> Self {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::start("mockreg", &[&ports, arguments].concat())
    }

    /// A chaosproxy with its API on a free port, with `arguments` beside.
    pub fn chaosproxy(arguments: &[&str]) -> Self {
        Self::start("chaosproxy", &[&["-host", "127.0.0.1", "-port", "0"], arguments].concat())
    }

    /// Starts a program and waits for its ready line.
    ///
    /// # Panics
    /// It does not start, or says something else first.
    pub fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary::path(name));
        command.args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut line = String::new();
        let output = child.stdout.take().expect("standard output is piped");
        BufReader::new(output).read_line(&mut line).expect("standard output is text");
        let ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command:?} said `{line}`: {error}"));
        Self { child, ready }
    }

    /// mockreg: `host:port` of the registry.
    pub fn registry(&self) -> String {
        host_port(self.ready.registry.as_ref())
    }

    /// mockreg: `host:port` of the admin port.
    pub fn admin(&self) -> String {
        host_port(self.ready.admin.as_ref())
    }

    /// chaosproxy: `host:port` of the API.
    pub fn api(&self) -> String {
        host_port(self.ready.api.as_ref())
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it now.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn host_port(url: Option<&String>) -> String {
    let url = url.expect("the ready line of this program has the address");
    let host_port = url.split_once("://").map_or(url.as_str(), |(_, host_port)| host_port);
    host_port.trim_end_matches('/').to_owned()
}
