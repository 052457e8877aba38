//! Octets that clients never send, and streams cut as networks cut them: an answer or silence, and the next query is
//! answered.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::Home;
use common::exchange::{Tcp, Udp, framed};
use common::message::{self, Update, query};
use common::{DEADLINE, message::NOERROR};
use dyndns::clock::Clock;
use dyndns::tsig::ResponseError;
use dyndns::wire::Rtype;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Write};
use std::net::{Shutdown, SocketAddr};

/// A query that is answered with one record.
fn good(id: u16) -> Vec<u8> {
    query(id, "mail.example.com", Rtype::A)
}

fn assert_good(id: u16, answer: &[u8]) {
    assert_eq!((message::id(answer), message::rcode(answer), message::answers(answer)), (id, NOERROR, 1));
}

/// The server answers: here and now, on a new socket and a new connection.
fn assert_serves(home: &Home) {
    assert_good(1, &Udp::connect(home.server.v4()).ask(&good(1)));
    assert_good(2, &Tcp::connect(home.server.v6()).ask(&good(2)));
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn octet(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0.to_be_bytes()[0]
    }

    fn octets(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.octet()).collect()
    }
}

#[test]
fn a_hundred_queries_in_one_write_are_answered_in_their_order() {
    let home = Home::start();
    for server in [home.server.v4(), home.server.v6()] {
        let mut tcp = Tcp::connect(server);
        let all: Vec<u8> = (0..100).flat_map(|id| framed(&good(id))).collect();
        tcp.send_raw(&all).unwrap();
        for id in 0..100 {
            assert_good(id, &tcp.receive().unwrap().unwrap());
        }
        // And a client that says at once that it has no more to send.
        tcp.send_raw(&all).unwrap();
        tcp.stream().shutdown(Shutdown::Write).unwrap();
        for id in 0..100 {
            assert_good(id, &tcp.receive().unwrap().unwrap());
        }
        assert_eq!(tcp.receive().unwrap(), None);
    }
}

#[test]
fn a_message_split_at_any_octet_is_answered() {
    let home = Home::start();
    let mut tcp = Tcp::connect(home.server.v4());
    let message = framed(&good(9));
    for split in 1..message.len() {
        tcp.send_raw(&message[..split]).unwrap();
        tcp.send_raw(&message[split..]).unwrap();
        assert_good(9, &tcp.receive().unwrap().unwrap());
    }
    // Octet by octet, an update that is signed among queries.
    let update = Update::new(10, "example.com").add_a("split.example.com", [192, 0, 2, 1]).sign(&Home::key());
    for octet in [message.clone(), framed(&update.message), message].concat() {
        tcp.send_raw(&[octet]).unwrap();
    }
    assert_good(9, &tcp.receive().unwrap().unwrap());
    assert_eq!(update.verified(&Home::key(), &tcp.receive().unwrap().unwrap()), Ok(NOERROR));
    assert_good(9, &tcp.receive().unwrap().unwrap());
}

#[test]
fn empty_short_and_answering_messages_get_silence_and_the_stream_goes_on() {
    let home = Home::start();
    let mut tcp = Tcp::connect(home.server.v4());
    let mut response = good(3);
    response[2] |= 0x80;
    for silent in [&[][..], &[0], &[0; 11], &response, &response[..12]] {
        tcp.send(silent).unwrap();
        // Over UDP the datagrams of one socket are answered in order.
        let udp = Udp::connect(home.server.v4());
        udp.send(silent);
        assert_good(4, &udp.ask(&good(4)));
    }
    assert_good(5, &tcp.ask(&good(5)));
}

#[test]
fn sixty_four_kilobytes_of_garbage_harm_nobody() {
    let home = Home::start();
    let mut dice = Dice(1035);
    for start in [&[][..], &[0xff, 0xff], &[0, 0, 0, 1, 0xff], &[0, 12]] {
        let mut tcp = Tcp::connect(home.server.v4());
        // It may well be cut off before all is sent.
        let _ = tcp.send_raw(&[start, &dice.octets(65_536)].concat());
        let _ = tcp.stream().shutdown(Shutdown::Write);
        assert_serves(&home);
    }
    // One message as long as any can be.
    let mut tcp = Tcp::connect(home.server.v4());
    tcp.send(&[good(6), vec![0; 65_535 - good(6).len()]].concat()).unwrap();
    let answer = tcp.receive().unwrap().unwrap();
    assert_eq!((message::id(&answer), message::rcode(&answer)), (6, message::FORMERR));
    assert_good(7, &tcp.ask(&good(7)));
}

#[test]
fn random_truncated_and_looping_datagrams_get_an_error_or_silence() {
    let home = Home::start();
    let udp = Udp::connect(home.server.v4());
    let mut dice = Dice(2181);
    // The id of the good query tells its answer from those to the others.
    let mark = |udp: &Udp| {
        udp.send(&good(0xabcd));
        loop {
            let answer = udp.receive().expect("a good query was not answered");
            assert!(answer[2] & 0x80 != 0, "an answer says that it is one");
            if message::id(&answer) == 0xabcd {
                return assert_good(0xabcd, &answer);
            }
            assert_ne!(message::rcode(&answer), NOERROR, "{answer:02x?}");
        }
    };
    for round in 0..2000u16 {
        let length = usize::from(dice.octet()) * 2;
        let mut datagram = dice.octets(length);
        if let Some(header) = datagram.first_chunk_mut::<12>() {
            // Half of them look like a query or an update at first.
            if round % 2 == 0 {
                *header = [0, 1, if round % 4 == 0 { 0 } else { 5 << 3 }, 0, 0, 1, 0, 0, 0, 1, 0, 1];
            } else if header[..2] == [0xab, 0xcd] {
                header[0] = 0;
            }
        }
        udp.send(&datagram);
        if round % 16 == 0 {
            mark(&udp);
        }
    }
    mark(&udp);
    let whole = good(8);
    for length in 0..whole.len() {
        udp.send(&whole[..length]);
        mark(&udp);
    }
    // Names that point at themselves, at each other, ahead, into the header, beyond the end.
    for name in
        [&[0xc0, 12][..], &[1, b'a', 0xc0, 12], &[0xc0, 14, 0xc0, 12], &[0xc0, 200], &[0xff, 0xff], &[0xc0, 0], &[0xc0]]
    {
        udp.send(&[&good(8)[..12], name, &[0, 1, 0, 1]].concat());
        mark(&udp);
    }
    assert_serves(&home);
}

#[test]
fn a_signed_update_that_is_cut_or_changed_anywhere_changes_nothing() {
    let home = Home::start();
    let serial = home.serial();
    let udp = Udp::connect(home.server.v4());
    let signed = Update::new(11, "example.com").add_a("whole.example.com", [192, 0, 2, 1]).sign(&Home::key()).message;
    for length in 12..signed.len() {
        assert_ne!(message::rcode(&udp.ask(&signed[..length])), NOERROR, "cut to {length}");
    }
    // The id is the one thing that may change on the way (RFC 8945 section 5.1: the original stands in the TSIG).
    for at in 2..signed.len() {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        udp.send(&changed);
        udp.send(&good(12));
        // Updates take a way of their own, so the answers may come in any order, and to some changes none comes.
        loop {
            let answer = udp.receive().unwrap();
            if message::id(&answer) == 12 {
                assert_good(12, &answer);
                break;
            }
            assert_ne!(message::rcode(&answer), NOERROR, "at {at} or before: {answer:02x?}");
        }
    }
    assert_eq!(home.serial(), serial);
    // The updates are done by the time that one after them is.
    assert_eq!(home.send(Update::new(14, "example.com").add_a("whole.example.com", [192, 0, 2, 1])), NOERROR);
    assert_eq!(home.serial(), serial + 1);
}

#[test]
fn an_update_signed_too_late_or_too_early_is_refused_and_one_sent_again_adds_nothing() {
    let home = Home::start();
    let (serial, udp) = (home.serial(), Udp::connect(home.server.v4()));
    // In either case the server tells its own time, signed.
    let add = || Update::new(13, "example.com").add_a("whole.example.com", [192, 0, 2, 1]).unsigned();
    for late in [-400, 400] {
        let stale = message::sign(add(), &Home::key(), late);
        let answer = udp.ask(&stale.message);
        assert_eq!(message::rcode(&answer), message::NOTAUTH, "{late}");
        let told = stale.verified(&Home::key(), &answer);
        let now = Clock::System.now();
        assert!(
            matches!(told, Err(ResponseError::TimeRefused { server: Some(time) }) if now.abs_diff(time) < 60),
            "{told:?}"
        );
    }
    let line = home.server.wait_for_log("s away from server time");
    assert!(line.contains("check the clock of the client") && line.contains("source=127.0.0.1"), "{line}");
    assert_eq!(home.serial(), serial);
    let fresh = message::sign(add(), &Home::key(), 0);
    for _ in 0..3 {
        assert_eq!(fresh.verified(&Home::key(), &udp.ask(&fresh.message)), Ok(NOERROR));
        assert_eq!(home.serial(), serial + 1);
    }
}

#[test]
fn a_silent_connection_is_closed_after_the_idle_timeout_and_a_slow_message_too() {
    let home = Home::with_settings("tcp-idle-timeout = 1");
    let start = Clock::System.monotonic_micros();
    let mut silent = Tcp::connect(home.server.v4());
    let mut slow = Tcp::connect(home.server.v4());
    slow.send_raw(&framed(&good(1))[..20]).unwrap();
    assert_eq!(silent.receive().unwrap(), None);
    assert_eq!(slow.receive().unwrap(), None);
    let waited = Clock::System.monotonic_micros() - start;
    assert!((900_000..10_000_000).contains(&waited), "{waited} us");
    assert_serves(&home);
}

/// A connection from one of this machine's addresses; `None` in place of an answer where it is closed at once.
fn ask_from(local: &str, server: SocketAddr) -> (Socket, Option<Vec<u8>>) {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).unwrap();
    socket.bind(&format!("{local}:0").parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect_timeout(&server.into(), DEADLINE).unwrap();
    let mut tcp = Tcp::from(socket.try_clone().unwrap());
    let answer = tcp.send(&good(1)).and_then(|()| tcp.receive());
    // A refused connection is reset where the query came first.
    (socket, answer.ok().flatten())
}

#[test]
fn connections_are_capped_per_address_and_in_all_and_room_comes_back() {
    let home = Home::with_settings("tcp-connections = 5\ntcp-connections-per-address = 2\ntcp-idle-timeout = 60");
    let (v4, v6) = (home.server.v4(), home.server.v6());
    let (first, answer) = ask_from("127.0.0.1", v4);
    assert_good(1, &answer.unwrap());
    let (_second, answer) = ask_from("127.0.0.1", v4);
    assert_good(1, &answer.unwrap());
    assert_eq!(ask_from("127.0.0.1", v4).1, None, "two of this address are open");
    let others: Vec<_> = [("127.0.0.2", v4), ("127.0.0.3", v4), ("[::1]", v6)]
        .map(|(local, server)| ask_from(local, server))
        .into_iter()
        .collect();
    others.iter().for_each(|(_, answer)| assert_good(1, answer.as_ref().unwrap()));
    assert_eq!(ask_from("127.0.0.4", v4).1, None, "five are open in all");
    assert_good(1, &Udp::connect(v4).ask(&good(1)));
    drop(first);
    // The server sees the end of that one in its own time.
    let start = Clock::System.monotonic_micros();
    while ask_from("127.0.0.1", v4).1.is_none() {
        assert!(Clock::System.monotonic_micros() - start < 30_000_000, "the room did not come back");
        std::thread::yield_now();
    }
}

#[test]
fn one_who_never_reads_blocks_nobody_and_does_not_keep_the_server_from_ending() {
    let mut home = Home::start();
    let text = "x".repeat(250);
    let big = (0..200)
        .fold(Update::new(1, "example.com"), |update, n| update.add_txt("big.example.com", &format!("{n:03}{text}")));
    assert_eq!(home.send(big), NOERROR);
    // Ask for 50 KB again and again until neither side takes any more.
    let deaf = Tcp::connect(home.server.v4());
    deaf.stream().set_nonblocking(true).unwrap();
    let question = framed(&query(1, "big.example.com", Rtype::TXT));
    let many = question.repeat(1000);
    let mut written = 0u32;
    loop {
        match (&mut deaf.stream()).write(&many) {
            Ok(_) => written += 1,
            // It is full when it stays full while the server answers others.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                assert_serves(&home);
                if (&mut deaf.stream()).write(&many).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
        assert!(written < 1_000_000, "the server takes queries without end");
    }
    for n in 0..20 {
        assert_eq!(home.send(Update::new(2, "example.com").add_a("busy.example.com", [192, 0, 2, n])), NOERROR);
        assert_serves(&home);
    }
    let start = Clock::System.monotonic_micros();
    assert_eq!(home.server.terminate().code(), Some(0));
    let took = Clock::System.monotonic_micros() - start;
    assert!(took < 5_000_000, "{took} us to end");
    assert!(!home.server.log().contains("still under way"), "{}", home.server.log());
    drop(deaf);
}
