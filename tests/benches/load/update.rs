//! Signed updates as a router sends them: the host's old addresses away, the new one in (RFC 2136, RFC 8945).

use super::Setup;
use super::mmsg::{Addresses, Batch, wait};
use super::processes::print_percentiles;
use super::question::{Random, label};
use super::window::{Window, number_of};
use dyndns::tsig::{Mac, TsigKey, sign_request, verify_response};
use dyndns::wire::{Message, Name};
use std::net::UdpSocket;

/// How many sockets updates come from.
const SOCKETS: usize = 8;

/// One answer in so many is verified; more would measure ourselves.
const VERIFIED: u64 = 16;

/// After so long without its answer, in microseconds, an update is sent again.
const AGAIN: u64 = 1_000_000;

/// The first part, which does not count, in microseconds.
const WARM_UP: u64 = 500_000;

/// One more update may be under way after each of so many microseconds: a burst at the start would overflow the
/// server's receive buffer, and what was lost there would be waited for.
const RAMP: u64 = 200;

/// Makes updates.
struct Updates {
    zone: Vec<u8>,
    hosts: u32,
    key: TsigKey,
    random: Random,
    /// Counts the addresses, so that each update changes something. Begins where no run before has: the hosts come in the
    /// same order again, and an update that changes nothing costs no sync.
    made: u32,
}

impl Updates {
    fn new(setup: &Setup) -> Updates {
        let zone = Name::parse(&setup.zone).expect("--zone NAME").as_bytes().to_vec();
        let key = setup.key.clone().expect("updates need --key [ALG:]NAME:SECRET");
        Updates { zone, hosts: setup.hosts, key, random: Random::new(), made: setup.clock.monotonic_micros() as u32 }
    }

    /// Writes a signed update; returns its length, and the MAC that its answer is verified with.
    fn next(&mut self, id: u16, now: u64, message: &mut [u8]) -> (usize, Mac) {
        let host = self.random.below(self.hosts);
        self.made = self.made.wrapping_add(1);
        let [_, a, b, c] = self.made.to_be_bytes();
        let [high, low] = id.to_be_bytes();
        message[..12].copy_from_slice(&[high, low, 0x28, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
        let mut at = 12;
        let put = |message: &mut [u8], at: &mut usize, octets: &[u8]| {
            message[*at..*at + octets.len()].copy_from_slice(octets);
            *at += octets.len();
        };
        put(message, &mut at, &self.zone);
        put(message, &mut at, b"\0\x06\0\x01");
        // Each owner ends in a pointer to the zone's name.
        at += label(b"host-", host, &mut message[at..]);
        put(message, &mut at, b"\xc0\x0c\0\x01\0\xff\0\0\0\0\0\0");
        at += label(b"host-", host, &mut message[at..]);
        put(message, &mut at, b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04");
        put(message, &mut at, &[11, a, b, c]);
        sign_request(&self.key, message, at, now, 300).unwrap()
    }
}

/// An update under way.
struct Sent {
    message: Vec<u8>,
    mac: Mac,
    first: u64,
    last: u64,
}

#[derive(Default, Clone, Copy)]
struct Count {
    done: u64,
    refused: u64,
    again: u64,
    /// Answers whose signature was wrong.
    forged: u64,
}

/// Keeps so many updates under way.
pub(crate) fn run(setup: &Setup) {
    let mut updates = Updates::new(setup);
    let sockets: Vec<UdpSocket> = (0..SOCKETS.min(setup.flight)).map(|_| setup.socket()).collect();
    let mut window: Window<Sent> = Window::new(setup.flight);
    let mut batch = Batch::new(setup.flight.min(64), Addresses::Connected);
    let mut count = Count::default();
    let mut latencies = Vec::new();
    let begin = setup.micros();
    let mut counted = None;
    let mut turn = 0;
    loop {
        let now = setup.micros();
        if counted.is_none() && now >= begin + WARM_UP {
            counted = Some((now, count, setup.processes.used()));
            latencies.clear();
        }
        if counted.is_some_and(|(start, ..)| now >= start + setup.length()) {
            break;
        }
        let mut heard = false;
        for socket in &sockets {
            let Ok(received) = batch.receive(socket) else { continue };
            let now = setup.micros();
            for index in 0..received {
                heard = true;
                let message = batch.message(index);
                let Some(sent) = window.settle(number_of(message)) else { continue };
                latencies.push((now - sent.first) as u32);
                match message.get(3).map(|octet| octet & 0x0F) {
                    Some(0) => count.done += 1,
                    _ => count.refused += 1,
                }
                if count.done.is_multiple_of(VERIFIED) && !is_signed(setup, &updates.key, &sent.mac, message) {
                    count.forged += 1;
                }
            }
        }
        let allowed = usize::try_from((now - begin) / RAMP).unwrap().min(setup.flight - 1) + 1;
        let room = window.room().min(allowed.saturating_sub(window.under_way())).min(batch.size());
        if room > 0 {
            let seconds = setup.clock.now();
            for index in 0..room {
                batch.write(index, |message| {
                    let mut len = 0;
                    window.take(|id| {
                        let (written, mac) = updates.next(id, seconds, message);
                        len = written;
                        Sent { message: message[..len].to_vec(), mac, first: now, last: now }
                    });
                    len
                });
            }
            turn += 1;
            // What does not go now goes again later.
            let _ = batch.send(&sockets[turn % sockets.len()], room);
        } else if !heard {
            for (index, sent) in window.iter_mut().enumerate().filter(|(_, sent)| now > sent.last + AGAIN) {
                let _ = sockets[index % sockets.len()].send(&sent.message);
                sent.last = now;
                count.again += 1;
            }
            wait(&sockets, |_| false, if allowed < setup.flight { 1 } else { 20 });
        }
    }
    let (start, before, used) = counted.unwrap();
    let done = count.done - before.done;
    print!("rate={:.0}", done as f64 * 1e6 / (setup.micros() - start) as f64);
    print_percentiles(&mut latencies);
    setup.processes.print_since(used, done);
    print!(" answered={done} total={} refused={}", count.done, count.refused);
    println!(" again={} forged={}", count.again, count.forged);
}

fn is_signed(setup: &Setup, key: &TsigKey, mac: &Mac, message: &[u8]) -> bool {
    let tsig_at = Message::parse(message).ok().and_then(|message| message.tsig_at);
    tsig_at.is_some_and(|at| verify_response(key, mac, message, at, setup.clock.now()).is_ok())
}

/// Signed updates at a fixed rate beside other load, signed beforehand to take no time from it.
pub(crate) struct Beside {
    socket: UdpSocket,
    messages: Vec<Vec<u8>>,
    rate: u64,
    start: Option<u64>,
    sent: usize,
    done: u64,
    refused: u64,
}

impl Beside {
    /// As many as the setup asks for; none, mostly.
    pub(crate) fn new(setup: &Setup) -> Beside {
        let mut messages = Vec::new();
        if setup.updates > 0 {
            let mut updates = Updates::new(setup);
            let now = setup.clock.now();
            // A second more than the measurement has, for what comes before and after it.
            let count = (setup.seconds + 1.0) * setup.updates as f64;
            for id in 0..count as u64 {
                let mut message = vec![0; 512];
                let (len, _) = updates.next(id as u16, now, &mut message);
                message.truncate(len);
                messages.push(message);
            }
        }
        Beside { socket: setup.socket(), messages, rate: setup.updates, start: None, sent: 0, done: 0, refused: 0 }
    }

    /// Sends what is due, and takes the answers that are there.
    pub(crate) fn turn(&mut self, now: u64) {
        if self.rate == 0 {
            return;
        }
        let start = *self.start.get_or_insert(now);
        let due = ((now - start) * self.rate / 1_000_000) as usize;
        if due <= self.sent {
            return;
        }
        if let Some(message) = self.messages.get(self.sent) {
            let _ = self.socket.send(message);
            self.sent += 1;
        }
        let mut answer = [0; 512];
        while let Ok(len) = self.socket.recv(&mut answer) {
            match answer.get(3).filter(|_| len >= 12).map(|octet| octet & 0x0F) {
                Some(0) => self.done += 1,
                _ => self.refused += 1,
            }
        }
    }

    pub(crate) fn print(&self) {
        if self.rate > 0 {
            print!(" updates_sent={} updates={} updates_refused={}", self.sent, self.done, self.refused);
        }
    }
}
