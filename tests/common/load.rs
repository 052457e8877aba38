//! Clients that change a server until it is killed, and know afterwards what it must hold.
//!
//! Each worker changes names of its own, one update at a time, so that after a kill its names are known but for the one
//! update that had no answer yet: this one is there as a whole or not at all. Now and then it sends an update that
//! must be refused; nothing of it may ever be there.

use super::DEADLINE;
use super::exchange::{Tcp, framed};
use super::message::{self, NOERROR, NOTZONE, Signed, Update};
use dyndns::tsig::TsigKey;
use dyndns::wire::{Message, Name, Rtype, Section};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Owner in lower case, type, RDATA.
pub(crate) type Records = BTreeSet<(String, u16, Vec<u8>)>;

/// One client of the server, which changes the names below `wN.example.com`.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) number: usize,
    /// How many updates it has sent.
    pub(crate) sent: u32,
    /// What its names hold after every update that was answered.
    answered: Records,
    /// The same after the one update that had no answer when the server was killed.
    pending: Option<Records>,
}

impl Worker {
    /// Worker `number`, which has sent nothing yet.
    pub(crate) fn new(number: usize) -> Worker {
        Worker { number, sent: 0, answered: Records::new(), pending: None }
    }

    fn subtree(&self) -> String {
        format!("w{}.example.com", self.number)
    }

    /// The next update, what it must be answered, and the records after it: a counter replaced, a host that comes, an
    /// older one that goes.
    fn next(&mut self) -> (Update, u8, Records) {
        self.sent += 1;
        let (n, subtree) = (self.sent, self.subtree());
        if n.is_multiple_of(8) {
            // One name is of another zone, so nothing of it may happen (RFC 2136 section 3.4.1.3).
            let update = Update::new(n as u16, "example.com")
                .add_a(&format!("refused{n}.{subtree}"), n.to_be_bytes())
                .add_a("host.example.org", n.to_be_bytes());
            return (update, NOTZONE, self.answered.clone());
        }
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
        let strings = if n % 16 == 1 && self.uses_tcp() { 60 } else { 1 };
        for string in 0..strings {
            let text = format!("{n} {string} {}", "z".repeat(180));
            after.insert((counter.clone(), Rtype::TXT.0, [&[text.len() as u8], text.as_bytes()].concat()));
            update = update.add_txt(&counter, &text);
        }
        (update, NOERROR, after)
    }

    /// Whether it asks over TCP.
    pub(crate) fn uses_tcp(&self) -> bool {
        self.number.is_multiple_of(2)
    }

    /// Sends updates until the server is gone.
    pub(crate) fn work(&mut self, server: SocketAddr, key: &TsigKey, answered: &AtomicU32, fate: &Fate) {
        let number = self.number;
        let doomed = || {
            let doomed = fate.doomed.load(Ordering::SeqCst);
            assert!(doomed, "worker {number}: no answer from a server that runs");
        };
        // It may be killed before this worker has begun.
        let Ok(mut line) = Line::open(server, self.uses_tcp()) else { return doomed() };
        loop {
            let (update, expected, after) = self.next();
            let signed: Signed = update.sign(key);
            self.pending = Some(after);
            let Ok(answer) = line.ask(&signed.message, fate) else {
                return doomed();
            };
            assert_eq!(signed.verified(key, &answer), Ok(expected), "worker {number}, update {}", self.sent);
            self.answered = self.pending.take().unwrap();
            answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Compares its names with what the server holds after a kill; the error names what is lost, and what should
    /// not be there.
    pub(crate) fn compare(&mut self, held: &Records) -> Result<(), String> {
        let end = format!(".{}", self.subtree());
        let held: Records = held.iter().filter(|(owner, _, _)| owner.ends_with(&end)).cloned().collect();
        if let Some(pending) = self.pending.take().filter(|pending| *pending == held) {
            self.answered = pending;
        }
        if held == self.answered {
            return Ok(());
        }
        let show = |records: Vec<_>| -> Vec<String> {
            let one = |(owner, rtype, rdata): &(String, u16, Vec<u8>)| {
                format!("{owner} {rtype} {:?}", &rdata[..rdata.len().min(8)])
            };
            records.into_iter().map(one).collect()
        };
        Err(format!(
            "worker {}, {} sent: answered NOERROR and lost {:?}; there and never answered so {:?}",
            self.number,
            self.sent,
            show(self.answered.difference(&held).collect()),
            show(held.difference(&self.answered).collect()),
        ))
    }
}

/// What is to become of the server in a round.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// From now on a connection may break off.
    pub(crate) doomed: AtomicBool,
    /// From now on no answer comes that has not come yet.
    pub(crate) dead: AtomicBool,
}

/// How often it is looked whether the server was killed; nothing depends on it.
const PAUSE: Duration = Duration::from_millis(50);
/// After how many pauses a server without an answer is at fault: five minutes.
const PATIENCE: u32 = 6000;

/// A way to the server that notices when it is gone.
enum Line {
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Line {
    fn open(server: SocketAddr, tcp: bool) -> io::Result<Line> {
        let pause = Some(PAUSE);
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

/// Reads again as long as nothing comes and the server runs; in the end it counts as gone all the same.
fn unless(fate: &Fate, mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    for _ in 0..PATIENCE {
        let gone = fate.dead.load(Ordering::SeqCst);
        match read() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !gone => {}
            outcome => return outcome,
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Asks for the serial until the server is gone, and tells the highest that it saw.
pub(crate) fn watch(server: SocketAddr, seen: &AtomicU32, fate: &Fate) {
    let mut line = Line::open(server, false).unwrap();
    while let Ok(answer) = line.ask(&message::query(7, "example.com", Rtype::SOA), fate) {
        seen.fetch_max(message::serial(&answer), Ordering::SeqCst);
    }
}

/// The whole zone, by a signed transfer, and its serial.
pub(crate) fn transfer(server: SocketAddr, key: &TsigKey) -> (Records, u32) {
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
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Less than `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(bound)) as u32
    }
}
