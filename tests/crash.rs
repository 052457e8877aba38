//! `kill -9` in a loop under load: what was answered NOERROR is there after the restart, and nothing else.
//!
//! Each worker changes names of its own, one update at a time, so that after a kill its names are known but for the one
//! update that had no answer yet: this one is there as a whole or not at all. A watcher reads the serial all the time:
//! what a query has seen must be there as well.
//!
//! `DYNDNS_CRASH_ROUNDS=500 cargo test --release --test crash` runs it for longer.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "in a test a panic is the failure to be seen"
)]

mod common;

use common::DEADLINE;
use common::Server;
use common::client::{SECRET, copy_zones};
use common::exchange::{Tcp, framed};
use common::message::{self, Update};
use dyndns::tsig::TsigKey;
use dyndns::wire::{Message, Name, Rtype, Section};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

const ROUNDS: u32 = 15;
const WORKERS: usize = 4;

/// Owner in lower case, type, RDATA.
type Records = BTreeSet<(String, u16, Vec<u8>)>;

/// One client of the server, which changes the names below `wN.example.com`.
struct Worker {
    number: usize,
    /// How many updates it has sent.
    sent: u32,
    /// What its names hold after every update that was answered.
    answered: Records,
    /// The same after the one update that had no answer when the server was killed.
    pending: Option<Records>,
}

impl Worker {
    fn subtree(&self) -> String {
        format!("w{}.example.com", self.number)
    }

    /// The next update, and the records after it: a counter replaced, a host that comes, an older one that goes.
    fn next(&mut self) -> (Update, Records) {
        self.sent += 1;
        let (n, subtree) = (self.sent, self.subtree());
        let counter = format!("count.{subtree}");
        let (host, old) = (format!("h{n}.{subtree}"), format!("h{}.{subtree}", n.wrapping_sub(20)));
        let mut after = self.answered.clone();
        after.retain(|(owner, _, _)| *owner != counter && *owner != old);
        let mut update = Update::new(n as u16, "example.com")
            .delete(&counter, Rtype::TXT)
            .delete(&old, Rtype::A)
            .add_a(&host, n.to_be_bytes());
        after.insert((host, Rtype::A.0, n.to_be_bytes().to_vec()));
        // Now and then a long one, which the journal does not write in one page.
        let strings = if n.is_multiple_of(16) && self.uses_tcp() { 60 } else { 1 };
        for string in 0..strings {
            let text = format!("{n} {string} {}", "z".repeat(180));
            after.insert((counter.clone(), Rtype::TXT.0, [&[text.len() as u8], text.as_bytes()].concat()));
            update = update.add_txt(&counter, &text);
        }
        (update, after)
    }

    fn uses_tcp(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// Sends updates until the server is gone.
    fn work(&mut self, server: SocketAddr, key: &TsigKey, answered: &AtomicU32, fate: &Fate) {
        let mut line = Line::open(server, self.uses_tcp()).unwrap();
        loop {
            let (update, after) = self.next();
            let signed = update.sign(key);
            self.pending = Some(after);
            let Ok(answer) = line.ask(&signed.message, fate) else {
                assert!(
                    fate.doomed.load(Ordering::SeqCst),
                    "worker {}: no answer from a server that runs",
                    self.number
                );
                return;
            };
            assert_eq!(signed.verified(key, &answer), Ok(message::NOERROR), "worker {}", self.number);
            self.answered = self.pending.take().unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Compares its names with what the server holds after a kill.
    fn check(&mut self, held: &Records, round: u32) {
        let end = format!(".{}", self.subtree());
        let held: Records = held.iter().filter(|(owner, _, _)| owner.ends_with(&end)).cloned().collect();
        if let Some(pending) = self.pending.take_if(|pending| *pending == held) {
            self.answered = pending;
        }
        let show = |records: Vec<_>| -> Vec<String> {
            let one = |(owner, rtype, rdata): &(String, u16, Vec<u8>)| {
                format!("{owner} {rtype} {:?}", &rdata[..rdata.len().min(8)])
            };
            records.into_iter().map(one).collect()
        };
        assert!(
            held == self.answered,
            "round {round}, worker {}, {} sent: answered NOERROR and lost {:?}; there and never answered {:?}",
            self.number,
            self.sent,
            show(self.answered.difference(&held).collect()),
            show(held.difference(&self.answered).collect()),
        );
    }
}

/// What is to become of the server in a round.
#[derive(Default)]
struct Fate {
    /// From now on a connection may break off.
    doomed: AtomicBool,
    /// From now on no answer comes that has not come yet.
    dead: AtomicBool,
}

/// A way to the server that notices when it is gone.
enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Line {
    fn open(server: SocketAddr, tcp: bool) -> io::Result<Line> {
        // How often it is looked whether the server was killed; nothing depends on it.
        let pause = Some(Duration::from_millis(50));
        if tcp {
            let stream = TcpStream::connect_timeout(&server, DEADLINE)?;
            stream.set_read_timeout(pause)?;
            return Ok(Line::Tcp(stream));
        }
        let socket = UdpSocket::bind(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" })?;
        socket.connect(server)?;
        socket.set_read_timeout(pause)?;
        Ok(Line::Udp(socket))
    }

    /// Sends a message; returns the answer, or an error once the server is gone.
    fn ask(&mut self, message: &[u8], fate: &Fate) -> io::Result<Vec<u8>> {
        match self {
            Line::Udp(socket) => {
                let mut answer = vec![0; 4096];
                socket.send(message)?;
                let length = unless(fate, || socket.recv(&mut answer))?;
                answer.truncate(length);
                Ok(answer)
            }
            Line::Tcp(stream) => {
                stream.write_all(&framed(message))?;
                let mut input = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    if let Some((length, rest)) = input.split_first_chunk() {
                        let length = usize::from(u16::from_be_bytes(*length));
                        if rest.len() >= length {
                            return Ok(rest.to_vec());
                        }
                    }
                    match unless(fate, || stream.read(&mut buffer))? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        length => input.extend_from_slice(&buffer[..length]),
                    }
                }
            }
        }
    }
}

/// Reads again as long as nothing comes and the server runs.
fn unless(fate: &Fate, mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        let gone = fate.dead.load(Ordering::SeqCst);
        match read() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !gone => {}
            outcome => return outcome,
        }
    }
}

/// Asks for the serial until the server is gone, and tells the highest that it saw.
fn watch(server: SocketAddr, seen: &AtomicU32, fate: &Fate) {
    let mut line = Line::open(server, false).unwrap();
    while let Ok(answer) = line.ask(&message::query(7, "example.com", Rtype::SOA), fate) {
        seen.fetch_max(message::serial(&answer), Ordering::SeqCst);
    }
}

/// The whole zone, by a signed transfer, and its serial.
fn transfer(server: SocketAddr, key: &TsigKey) -> (Records, u32) {
    let mut tcp = Tcp::connect(server);
    let request = message::sign(message::query(1, "example.com", Rtype(252)), key, 0);
    tcp.send(&request.message).unwrap();
    let mut records = Records::new();
    let mut serials = Vec::new();
    while serials.len() < 2 {
        let part = tcp.receive().unwrap().unwrap();
        for record in Message::parse(&part).unwrap().section(Section::Answer) {
            let rdata = part[record.rdata_at..record.rdata_at + record.rdata_len].to_vec();
            match record.rtype {
                Rtype::SOA => serials.push(u32::from_be_bytes(rdata[rdata.len() - 20..][..4].try_into().unwrap())),
                _ => drop(records.insert((owner(&record.owner), record.rtype.0, rdata))),
            }
        }
    }
    assert_eq!(serials[0], serials[1]);
    (records, serials[0])
}

fn owner(name: &Name) -> String {
    name.to_lowercase().to_string()
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}

#[test]
fn every_update_answered_noerror_is_there_after_kill_9() {
    let rounds = std::env::var("DYNDNS_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let key = TsigKey::parse(&format!("laptop:{SECRET}")).unwrap();
    let mut server = Server::start(folder.path(), &["--tsig", &format!("laptop:{SECRET}")]);
    let mut workers: Vec<Worker> =
        (0..WORKERS).map(|number| Worker { number, sent: 0, answered: Records::new(), pending: None }).collect();
    let seen = AtomicU32::new(0);
    let mut dice = Dice(2136);
    for round in 0..rounds {
        let (fate, answered) = (Fate::default(), AtomicU32::new(0));
        let addresses = server.addresses.clone();
        let enough = dice.below(200);
        let moment = dice.below(2000);
        thread::scope(|scope| {
            for worker in &mut workers {
                let (key, fate, answered) = (&key, &fate, &answered);
                let address = addresses[worker.number / 2 % addresses.len()];
                scope.spawn(move || worker.work(address, key, answered, fate));
            }
            let watcher = scope.spawn(|| watch(addresses[0], &seen, &fate));
            while answered.load(Ordering::SeqCst) < enough {
                assert!(!watcher.is_finished(), "the server ended by itself:\n{}", server.log());
                thread::yield_now();
            }
            match round % 2 {
                // Not just after an answer, but at any moment of an update's way.
                0 => (0..moment).for_each(|_| std::hint::spin_loop()),
                // At once when a query shows a change.
                _ => {
                    let before = seen.load(Ordering::SeqCst);
                    while seen.load(Ordering::SeqCst) == before && !watcher.is_finished() {
                        std::hint::spin_loop();
                    }
                }
            }
            fate.doomed.store(true, Ordering::SeqCst);
            server.kill9();
            fate.dead.store(true, Ordering::SeqCst);
            watcher.join().unwrap();
        });
        server.restart();
        server.wait_for_log("listening on UDP and TCP");
        assert!(!server.log().contains("ERROR"), "round {round}:\n{}", server.log());
        let (records, serial) = transfer(server.v4(), &key);
        workers.iter_mut().for_each(|worker| worker.check(&records, round));
        let before = seen.fetch_max(serial, Ordering::SeqCst);
        assert!(serial >= before, "round {round}: serial {serial} after the restart, {before} before it");
    }
    // And once more after a clean end.
    assert!(server.terminate().success());
    server.restart();
    let (records, serial) = transfer(server.v4(), &key);
    workers.iter_mut().for_each(|worker| worker.check(&records, rounds));
    assert_eq!(serial, seen.into_inner());
    let sent: u32 = workers.iter().map(|worker| worker.sent).sum();
    eprintln!("{rounds} kills, {sent} updates");
}
