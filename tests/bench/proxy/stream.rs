//! One download as fast as it goes: bytes a second, and processor time of the proxy for each.
//!
//! The server is mockreg, which lends its pages to the kernel, and the client has the kernel throw away what came: on
//! two cores a server and a client that copy would set the pace, and not the proxy.

use std::io::Write;
use std::net::TcpStream;

use rustix::net::{RecvFlags, recv};

use e2e::measure::{interleave_costs, size};
use e2e::server::Server;
use e2e::transfer;

use crate::bed::everyone;

/// What is downloaded before the clock starts: connections speed up first.
const WARM_UP: u64 = 64 << 20;

pub(crate) fn run() {
    let server = Server::mockreg(&[]);
    let (_, path) = transfer::layer(&server.registry(), "synth/5gib");
    let subjects = everyone(&server.registry());
    let bytes = size(1_000_000_000, 200_000_000);
    let gigabytes = bytes as f64 / 1e9;
    let [wall, cpu] = interleave_costs(size(15, 2), &subjects, |proxy| {
        let mut stream = proxy.connect();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: registry\r\n\r\n").expect("a fresh connection");
        swallow(&stream, WARM_UP);
        proxy.cost(|| swallow(&stream, bytes))
    });
    let what = format!("One download of {gigabytes} GB through the proxy, one connection");
    wall.report("proxy/stream", &what, "GB/s", gigabytes);
    let what = format!("Processor time of the proxy for {what}");
    cpu.report_costs("proxy/stream_cpu", &what, "CPU-s/GB", 1.0 / gigabytes);
}

/// Reads so many bytes and more, of which the kernel copies none: `MSG_TRUNC` of tcp(7).
fn swallow(stream: &TcpStream, bytes: u64) {
    let mut buffer = vec![0; 1 << 20];
    let mut received = 0;
    while received < bytes {
        let (_, n) = recv(stream, &mut buffer[..], RecvFlags::TRUNC).expect("the connection holds");
        assert_ne!(n, 0, "there is more than that");
        received += n as u64;
    }
}
