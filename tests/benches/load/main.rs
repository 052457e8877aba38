//! What scripts/bench measures servers with: load on a name server, and an echo that a server can be compared with.
//!
//! ```text
//! load zone ZONE HOSTS                    a zone file of so many hosts, on standard output
//! load echo ADDRESS                       a UDP and TCP echo, until it is killed
//! load ready ADDRESS [--timeout S]        waits until the last host of the zone is answered
//! load query ADDRESS                      as many UDP queries as go through a window
//! load latency ADDRESS --rate Q           UDP queries at a fixed rate
//! load stream ADDRESS                     pipelined queries over TCP
//! load update ADDRESS --flight N          signed updates, so many at a time
//! load append FILE                        a bare append and fdatasync of an update's size, one after the other
//! ```
//!
//! Each prints one line of NAME=NUMBER. With `--pid N,N` it also says what CPU time these processes took per answer.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement that meets what it must not shall stop")]
#![allow(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "its input is its own, and checked")]
#![allow(clippy::print_stdout, reason = "it prints its figures")]

mod append;
mod echo;
mod mmsg;
mod processes;
mod query;
mod question;
mod stream;
mod update;
mod window;

use dyndns::clock::Clock;
use dyndns::tsig::TsigKey;
use processes::Processes;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr;
use std::time::Duration;

fn main() {
    let mut words = std::env::args().skip(1);
    let Some(command) = words.next().filter(|word| !word.starts_with("--")) else {
        // Under `cargo test --benches` and `cargo bench`: nothing to measure without a server.
        return;
    };
    let setup = Setup::read(words);
    match command.as_str() {
        "zone" => zone(&setup.target, setup.free.parse().expect("usage: load zone ZONE HOSTS")),
        "echo" => echo::run(setup.address()),
        "ready" => ready(&setup),
        "query" => query::closed_loop(&setup),
        "latency" => query::fixed_rate(&setup),
        "stream" => stream::run(&setup),
        "update" => update::run(&setup),
        "append" => append::run(&setup),
        other => panic!("no command {other}"),
    }
}

/// What is asked of whom, for how long.
pub(crate) struct Setup {
    /// The first word: an address, a file, a zone.
    pub(crate) target: String,
    /// The second word.
    free: String,
    pub(crate) zone: String,
    pub(crate) hosts: u32,
    pub(crate) seconds: f64,
    /// Queries under way, over all sockets; on each connection with TCP.
    pub(crate) window: usize,
    pub(crate) connections: usize,
    /// How many sockets ask over UDP. A server with several workers uses them all only where there are several.
    pub(crate) sockets: usize,
    pub(crate) rate: u64,
    /// Updates under way.
    pub(crate) flight: usize,
    /// Signed updates a second beside the queries.
    pub(crate) updates: u64,
    pub(crate) key: Option<TsigKey>,
    pub(crate) processes: Processes,
    /// Whether the other side is the echo, whose answers are questions.
    pub(crate) echo: bool,
    pub(crate) edns: bool,
    timeout: u64,
    pub(crate) clock: Clock,
}

impl Setup {
    fn read(mut words: impl Iterator<Item = String>) -> Setup {
        let mut setup = Setup {
            target: String::new(),
            free: String::new(),
            zone: "bench.example".into(),
            hosts: 10_000,
            seconds: 2.0,
            // More would not fit the receive buffer that Linux gives a socket which asks for none.
            window: 128,
            connections: 20,
            sockets: 4,
            rate: 20_000,
            flight: 1,
            updates: 0,
            key: None,
            processes: Processes::default(),
            echo: false,
            edns: false,
            timeout: 60,
            clock: Clock::System,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            match word.as_str() {
                "--zone" => setup.zone = value(),
                "--hosts" => setup.hosts = number(&word, &value()),
                "--seconds" => setup.seconds = number(&word, &value()),
                "--window" => setup.window = number(&word, &value()),
                "--connections" => setup.connections = number(&word, &value()),
                "--sockets" => setup.sockets = number(&word, &value()),
                "--rate" => setup.rate = number(&word, &value()),
                "--flight" => setup.flight = number(&word, &value()),
                "--updates" => setup.updates = number(&word, &value()),
                "--timeout" => setup.timeout = number(&word, &value()),
                "--key" => setup.key = Some(TsigKey::parse(&value()).expect("--key [ALG:]NAME:SECRET")),
                "--pid" => setup.processes = Processes::new(&value()),
                "--echo" => setup.echo = true,
                "--edns" => setup.edns = true,
                _ if setup.target.is_empty() => setup.target = word,
                _ if setup.free.is_empty() => setup.free = word,
                _ => panic!("{word}: no such option"),
            }
        }
        setup
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.target.parse().expect("ADDRESS:PORT")
    }

    /// A socket that sends to the target and takes answers from nobody else.
    pub(crate) fn socket(&self) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(self.address()).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket
    }

    pub(crate) fn micros(&self) -> u64 {
        self.clock.monotonic_micros()
    }

    /// The length of the measurement in microseconds.
    pub(crate) fn length(&self) -> u64 {
        Duration::from_secs_f64(self.seconds).as_micros() as u64
    }
}

fn number<T: FromStr>(word: &str, value: &str) -> T {
    value.parse().unwrap_or_else(|_| panic!("{word} {value}: not a number"))
}

/// Each host has an address of both kinds; the zone has what every zone must have.
fn zone(zone: &str, hosts: u32) {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "$ORIGIN {zone}.\n$TTL 300\n@ SOA ns1 admin 1 7200 900 1209600 300\n@ NS ns1\nns1 A 127.0.0.1")
        .unwrap();
    for host in 0..hosts {
        let [_, a, b, c] = host.to_be_bytes();
        writeln!(out, "host-{host} A 10.{a}.{b}.{c}\nhost-{host} AAAA 2001:db8::{a:x}:{b:x}{c:02x}").unwrap();
    }
    out.flush().unwrap();
}

/// Asks for the last host of the zone until there is an answer, and says after how many milliseconds.
fn ready(setup: &Setup) {
    let start = setup.micros();
    let socket = setup.socket();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    let mut questions = question::Questions::new(setup);
    let mut message = [0; question::LONGEST];
    let mut answer = [0; 1500];
    while setup.micros() - start < setup.timeout * 1_000_000 {
        let (len, expected) = questions.host(setup.hosts - 1, 1, &mut message);
        let _ = socket.send(&message[..len]);
        match socket.recv(&mut answer) {
            Ok(len) if question::is_answer(&answer[..len], expected) => {
                println!("ready_ms={}", (setup.micros() - start) / 1000);
                return;
            }
            // A server that refuses while it loads is asked again, but not in a tight loop.
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    eprintln!("load: {} does not answer for the zone within {} s", setup.target, setup.timeout);
    std::process::exit(1);
}
