//! Many slow clients at once: five hundred pulls of 5 GiB each, of which each takes a little now and then, and the
//! resident memory of mockreg while they do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use e2e::measure::size;
use e2e::memory::peak_resident;
use e2e::server::Server;
use e2e::transfer;
use socket2::{Domain, Socket, Type};

/// Pulls at once.
const PULLS: usize = 500;
/// What a client takes at once, and the receive buffer that its kernel keeps for it.
const SIP: usize = 64 << 10;
/// Between two rounds of sips.
const PAUSE: Duration = Duration::from_millis(200);
/// What mockreg may have resident.
const LIMIT: u64 = 64 << 20;

pub(crate) fn run() {
    let mockreg = Server::mockreg(&[]);
    let (_, path) = transfer::layer(&mockreg.registry(), "synth/5gib");
    let mut pulls: Vec<TcpStream> = (0..PULLS).map(|_| begin(&mockreg.registry(), &path)).collect();
    let lasting = size(Duration::from_secs(20), Duration::from_secs(3));
    let start = Instant::now();
    let mut buffer = vec![0u8; SIP];
    let (mut received, mut least) = (0, vec![0u64; PULLS]);
    while start.elapsed() < lasting {
        for (pull, taken) in pulls.iter_mut().zip(&mut least) {
            let n = pull.read(&mut buffer).expect("the connection holds") as u64;
            assert_ne!(n, 0, "a pull of 5 GiB ended after {taken} bytes");
            *taken += n;
            received += n;
        }
        sleep(PAUSE);
    }
    let seconds = start.elapsed().as_secs_f64();
    let (peak, least) = (peak_resident(mockreg.pid()), least.iter().min().expect("there are pulls"));
    println!(
        "{PULLS} pulls of 5 GiB by slow clients: {:.1} MiB resident at the most ({:.2} GB over {seconds:.0} s, at \
         least {:.1} MB each, n = 1)\n",
        peak as f64 / f64::from(1 << 20),
        received as f64 / 1e9,
        *least as f64 / 1e6
    );
    assert!(peak < LIMIT, "{peak} bytes resident");
}

fn begin(address: &str, path: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("the system has sockets");
    socket.set_recv_buffer_size(SIP).expect("a fresh socket");
    let to: SocketAddr = address.parse().expect("an address");
    socket.connect(&to.into()).expect("mockreg listens");
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").expect("the server reads requests");
    stream
}
