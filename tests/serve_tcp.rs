//! Streams of many messages: asked faster than the answers are read, queries, updates and transfers among each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::Home;
use common::exchange::{Tcp, Udp, framed};
use common::message::{self, NOERROR, Update, query};
use dyndns::wire::Rtype;
use socket2::Socket;

fn question(id: u16) -> Vec<u8> {
    framed(&query(id, "mail.example.com", Rtype::A))
}

fn assert_next(tcp: &mut Tcp, id: u16) {
    let answer = tcp.receive().unwrap().unwrap();
    assert_eq!((message::id(&answer), message::rcode(&answer), message::answers(&answer)), (id, NOERROR, 1));
}

#[test]
fn one_who_asks_faster_than_it_reads_gets_every_answer_in_order() {
    let home = Home::start();
    let text = "x".repeat(250);
    let big = (0..100)
        .fold(Update::new(1, "example.com"), |update, n| update.add_txt("big.example.com", &format!("{n:03}{text}")));
    assert_eq!(home.send(big), NOERROR);
    // 50 MB of answers, far more than the system keeps for a stream: the server has to wait for the reader.
    let count = 2000;
    let mut tcp = Tcp::connect(home.server.v4());
    let mut asking = Tcp::from(Socket::from(tcp.stream().try_clone().unwrap()));
    let thread = std::thread::spawn(move || {
        for id in 0..count {
            asking.send(&query(id, "big.example.com", Rtype::TXT)).unwrap();
            asking.send_raw(&question(id)).unwrap();
        }
    });
    let other = query(9, "mail.example.com", Rtype::A);
    assert_eq!(message::id(&Udp::connect(home.server.v4()).ask(&other)), 9);
    assert_eq!(message::id(&Tcp::connect(home.server.v4()).ask(&other)), 9);
    for id in 0..count {
        let answer = tcp.receive().unwrap().unwrap();
        assert_eq!((message::id(&answer), message::answers(&answer), answer.len() > 25_000), (id, 100, true));
        assert_next(&mut tcp, id);
    }
    thread.join().unwrap();
}

#[test]
fn queries_updates_and_transfers_in_one_write_are_answered_in_their_order() {
    let home = Home::start();
    for server in [home.server.v4(), home.server.v6()] {
        let mut tcp = Tcp::connect(server);
        let mut all = Vec::new();
        let mut updates = Vec::new();
        for round in 0..50u16 {
            let update = Update::new(4 * round + 1, "example.com").add_a("mail.example.com", [192, 0, 2, 100]);
            let update = update.sign(&Home::key());
            let zone = message::sign(query(4 * round + 3, "example.com", Rtype::AXFR), &Home::key(), 0);
            all.extend(question(4 * round));
            all.extend(framed(&update.message));
            // Refused at once: nobody signed it.
            all.extend(framed(
                &Update::new(4 * round + 2, "example.com").delete("mail.example.com", Rtype::A).unsigned(),
            ));
            all.extend(framed(&zone.message));
            updates.push(update);
        }
        all.extend(question(999));
        tcp.send_raw(&all).unwrap();
        for (round, update) in (0..50u16).zip(&updates) {
            let answer = tcp.receive().unwrap().unwrap();
            assert_eq!((message::id(&answer), message::rcode(&answer)), (4 * round, NOERROR));
            let answer = tcp.receive().unwrap().unwrap();
            assert_eq!(update.verified(&Home::key(), &answer), Ok(NOERROR));
            let answer = tcp.receive().unwrap().unwrap();
            assert_eq!((message::id(&answer), message::rcode(&answer)), (4 * round + 2, message::REFUSED));
            let answer = tcp.receive().unwrap().unwrap();
            assert_eq!((message::id(&answer), message::rcode(&answer)), (4 * round + 3, NOERROR));
            assert!(message::answers(&answer) > 2, "the zone");
        }
        assert_eq!(message::id(&tcp.receive().unwrap().unwrap()), 999);
    }
}
