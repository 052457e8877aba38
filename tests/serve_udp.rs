//! UDP as the network brings it: several addresses, several workers, datagrams of any length, a reload under load.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::{Home, SECRET};
use common::exchange::{Tcp, Udp};
use common::message::{self, NOERROR, Update, query};
use dyndns::wire::Rtype;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;

/// Asks each address of a server that listens on all of them. The clients are connected: only what comes from the
/// address that they asked reaches them.
fn every_address_answers(listen: &str, addresses: &[IpAddr]) {
    let home = Home::start_with(&["--tsig", &format!("laptop:{SECRET}"), "--listen", listen]);
    let port = home.server.addresses[0].port();
    for (n, address) in (0u8..).zip(addresses) {
        let udp = Udp::connect(SocketAddr::new(*address, port));
        let answer = udp.ask(&query(1, "mail.example.com", Rtype::A));
        assert_eq!((message::rcode(&answer), message::answers(&answer)), (NOERROR, 1), "{address}");
        // Updates are answered later, by another thread.
        let update = Update::new(2, "example.com").add_a("many.example.com", [192, 0, 2, n]).sign(&Home::key());
        assert_eq!(update.verified(&Home::key(), &udp.ask(&update.message)), Ok(NOERROR), "{address}");
    }
}

#[test]
fn a_server_at_all_ipv4_addresses_answers_from_the_one_that_was_asked() {
    every_address_answers(
        "0.0.0.0:0",
        &["127.0.0.1", "127.0.0.2", "127.5.3.1"].map(|address| address.parse().unwrap()),
    );
}

/// Tells a run of this test that it has a network of its own.
const OWN_NETWORK: &str = "DYNDNS_TEST_OWN_NETWORK";

#[test]
fn a_server_at_all_ipv6_addresses_answers_from_the_one_that_was_asked() {
    if std::env::var_os(OWN_NETWORK).is_some() {
        let addresses = ["::1", "fd53::1", "fd53::2", "fd54::1"].map(|address| address.parse().unwrap());
        return every_address_answers("[::]:0", &addresses);
    }
    // The loopback interface has but one IPv6 address, so the test runs again in a network of its own, with more.
    let network = "ip link set lo up && ip address add fd53::1/64 dev lo nodad && ip address add fd53::2/64 dev lo nodad \
                   && ip address add fd54::1/128 dev lo nodad";
    let in_network = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", &format!("{network} && {then}")]);
        command.env(OWN_NETWORK, "1");
        command
    };
    if !in_network("true").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no network of its own can be had here (unshare --map-root-user --net, ip)");
        return every_address_answers("[::]:0", &["::1".parse().unwrap()]);
    }
    let me = std::env::current_exe().unwrap();
    let again = "exec \"$0\" --exact a_server_at_all_ipv6_addresses_answers_from_the_one_that_was_asked";
    let output = in_network(again).arg(me).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn an_update_as_long_as_a_datagram_is_applied_whole() {
    let home = Home::start();
    let text = "x".repeat(240);
    let update = (0..230)
        .fold(Update::new(1, "example.com"), |update, n| update.add_txt("big.example.com", &format!("{n:03}{text}")));
    let update = update.sign(&Home::key());
    assert!((60_000..65_507).contains(&update.message.len()), "{}", update.message.len());
    let udp = Udp::connect(home.server.v4());
    assert_eq!(update.verified(&Home::key(), &udp.ask(&update.message)), Ok(NOERROR));
    let answer = Tcp::connect(home.server.v4()).ask(&query(2, "big.example.com", Rtype::TXT));
    assert_eq!((message::rcode(&answer), message::answers(&answer)), (NOERROR, 230));
}

#[test]
fn any_number_of_workers_answers_every_client() {
    for settings in ["udp-workers = 1", "udp-workers = 7"] {
        let home = Home::with_settings(settings);
        for server in [home.server.v4(), home.server.v6()] {
            let clients: Vec<Udp> = (0..60).map(|_| Udp::connect(server)).collect();
            clients.iter().for_each(|client| client.send(&query(3, "mail.example.com", Rtype::A)));
            for client in &clients {
                assert_eq!(message::answers(&client.receive().unwrap()), 1);
                let update = Update::new(4, "example.com").add_a("all.example.com", [192, 0, 2, 4]).sign(&Home::key());
                assert_eq!(update.verified(&Home::key(), &client.ask(&update.message)), Ok(NOERROR));
            }
        }
    }
}

#[test]
fn a_reload_loses_no_datagram() {
    let home = Home::with_settings("udp-workers = 3");
    let clients: Vec<Udp> = (0..4).map(|_| Udp::connect(home.server.v4())).collect();
    for _ in 0..5 {
        let reloads = || home.server.log().matches("configuration reloaded").count();
        let before = reloads();
        home.server.signal("HUP");
        while reloads() == before {
            for client in &clients {
                (0..20).for_each(|id| client.send(&query(id, "mail.example.com", Rtype::A)));
            }
            for client in &clients {
                let mut ids: Vec<u16> = (0..20).map(|_| message::id(&client.receive().unwrap())).collect();
                ids.sort_unstable();
                assert_eq!(ids, (0..20).collect::<Vec<u16>>());
            }
        }
    }
    assert!(!home.server.log().contains("restart to put them in force"), "{}", home.server.log());
}

#[test]
fn a_server_that_is_told_to_end_under_load_ends_at_once() {
    let mut home = Home::with_settings("udp-workers = 3");
    let server = home.server.v4();
    let asking = std::sync::atomic::AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.connect(server).unwrap();
                while asking.load(std::sync::atomic::Ordering::Relaxed) {
                    // Refused once nobody listens any more.
                    let _ = socket.send(&query(1, "mail.example.com", Rtype::A));
                }
            });
        }
        let code = home.server.terminate().code();
        asking.store(false, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(code, Some(0));
    });
    assert!(!home.server.log().contains("still under way"), "{}", home.server.log());
}
