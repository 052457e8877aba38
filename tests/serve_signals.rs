//! What a running server is told from outside: signals, and what it tells the service manager.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::{Home, SECRET, copy_zones};
use common::exchange::{Tcp, Udp};
use common::message::{self, NOERROR, NOTAUTH, REFUSED, Update, query};
use common::{DEADLINE, Server};
use dyndns::clock::Clock;
use dyndns::tsig::TsigKey;
use dyndns::wire::Rtype;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn sigterm_and_sigint_end_it_with_0_at_once_whoever_is_connected() {
    for (signal, word) in [("TERM", "SIGTERM"), ("INT", "SIGINT")] {
        let mut home = Home::start();
        // One silent connection, one in the middle of a message, one that has had an answer.
        let mut connections = [home.server.v4(), home.server.v6(), home.server.v4()].map(Tcp::connect);
        connections[1].send_raw(&[0, 40, 1, 2, 3]).unwrap();
        assert_eq!(message::rcode(&connections[2].ask(&query(1, "example.com", Rtype::SOA))), NOERROR);
        let update = Update::new(1, "example.com").add_a("last.example.com", [192, 0, 2, 1]);
        assert_eq!(home.send(update), NOERROR);
        let start = Clock::System.monotonic_micros();
        home.server.signal(signal);
        assert_eq!(home.server.wait().code(), Some(0));
        let took = Clock::System.monotonic_micros() - start;
        assert!(took < 5_000_000, "{took} us");
        assert!(home.server.log().contains(&format!("stopped signal=\"{word}\"")), "{}", home.server.log());
        assert!(connections.iter_mut().all(|connection| connection.receive().unwrap().is_none()));
        home.server.restart();
        home.server.wait_for_log("listening on UDP and TCP");
        // It was a clean end: there is nothing to catch up on.
        assert!(!home.server.log().contains("caught up"), "{}", home.server.log());
        let held = Udp::connect(home.server.v4()).ask(&query(1, "last.example.com", Rtype::A));
        assert_eq!(message::answers(&held), 1);
    }
}

fn config(grants: &str, more: &str) -> String {
    format!(
        "[[key]]\nname = \"laptop\"\nsecret = \"{SECRET}\"\n\
         [[zone]]\nfile = \"zones/example.com.zone\"\ngrants = [{grants}]\n{more}"
    )
}

const ONE: &str = r#"{ key = "laptop", rule = "name", name = "one", types = ["A"] }"#;
const TWO: &str = r#"{ key = "laptop", rule = "name", name = "two", types = ["A"] }"#;

#[test]
fn a_reload_puts_keys_grants_and_zones_in_force_and_loses_no_packet() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let file = folder.path().join("dyndns.toml");
    fs::write(&file, config(ONE, "")).unwrap();
    let server = Server::start(folder.path(), &["--config", "dyndns.toml"]);
    let home = Home { server, folder };
    let laptop = Home::key();
    let desktop = TsigKey::parse("desktop:ZGVza3RvcA==").unwrap();
    let send = |key: &TsigKey, owner: &str| {
        let request = Update::new(1, "example.com").add_a(owner, [192, 0, 2, 1]).sign(key);
        message::rcode(&Udp::connect(home.server.v4()).ask(&request.message))
    };
    let soa = |zone| message::rcode(&Udp::connect(home.server.v4()).ask(&query(1, zone, Rtype::SOA)));
    let (one, two) = ("one.example.com", "two.example.com");
    assert_eq!((send(&laptop, one), send(&laptop, two), send(&desktop, two)), (NOERROR, REFUSED, NOTAUTH));
    assert_eq!(soa("new.example"), REFUSED);
    assert_eq!(home.server.log().matches("configuration reloaded").count(), 0);

    // A connection from before goes on after.
    let mut before = Tcp::connect(home.server.v4());
    assert_eq!(message::answers(&before.ask(&query(1, "example.com", Rtype::SOA))), 1);
    let more = "[[zone]]\nname = \"new.example\"\n\
                [[key]]\nname = \"desktop\"\nsecret = \"ZGVza3RvcA==\"\nall-zones = true\n";
    let done = AtomicBool::new(false);
    let answered = thread::scope(|scope| {
        // Each asks when it has its answer, so that a lost packet is an answer that never comes.
        let askers: Vec<_> = [home.server.v4(), home.server.v6()]
            .into_iter()
            .map(|address| {
                let done = &done;
                scope.spawn(move || {
                    let (udp, mut tcp) = (Udp::connect(address), Tcp::connect(address));
                    let mut count = 0u32;
                    while !done.load(Ordering::SeqCst) {
                        let question = query(u16::try_from(count % 65_536).unwrap(), "mail.example.com", Rtype::A);
                        assert_eq!(message::answers(&udp.ask(&question)), 1);
                        assert_eq!(message::answers(&tcp.ask(&question)), 1);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for number in 0..20 {
            fs::write(&file, config(if number % 2 == 0 { TWO } else { ONE }, "")).unwrap();
            home.server.signal("HUP");
            wait_for_reloads(&home.server, number + 1);
        }
        fs::write(&file, config(TWO, more)).unwrap();
        home.server.signal("HUP");
        wait_for_reloads(&home.server, 21);
        done.store(true, Ordering::SeqCst);
        askers.into_iter().map(|asker| asker.join().unwrap()).min().unwrap()
    });
    assert!(answered > 0);
    assert_eq!(message::answers(&before.ask(&query(2, "example.com", Rtype::SOA))), 1);
    assert_eq!((send(&laptop, one), send(&laptop, two), send(&desktop, one)), (REFUSED, NOERROR, NOERROR));
    assert_eq!(soa("new.example"), NOERROR);
}

#[test]
fn a_broken_config_changes_nothing_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let file = folder.path().join("dyndns.toml");
    fs::write(&file, config(ONE, "")).unwrap();
    let server = Server::start(folder.path(), &["--config", "dyndns.toml"]);
    let home = Home { server, folder };
    for (text, why) in [
        ("udp-size = 1232\nlisen = []\n".to_string(), "dyndns.toml:2: unknown key lisen; did you mean listen?"),
        (config(&TWO.replace("laptop", "nobody"), ""), "grant for key nobody., which is not there"),
        // A zone whose file cannot be read: not a part of this config comes into force.
        (config(TWO, "[[zone]]\nname = \"x.example\"\nfile = \"zones/none.zone\"\n"), "none.zone: no such file"),
    ] {
        fs::write(&file, text).unwrap();
        home.server.signal("HUP");
        let line = home.server.wait_for_log(why);
        assert!(line.contains("ERROR configuration not reloaded, the old one stays in force: "), "{line}");
        assert_eq!(home.send(Update::new(1, "example.com").add_a("one.example.com", [192, 0, 2, 1])), NOERROR);
        assert_eq!(home.send(Update::new(1, "example.com").add_a("two.example.com", [192, 0, 2, 1])), REFUSED);
    }
    fs::write(&file, config(TWO, "")).unwrap();
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    assert_eq!(home.send(Update::new(1, "example.com").add_a("two.example.com", [192, 0, 2, 1])), NOERROR);
}

#[test]
fn the_service_manager_hears_of_the_start_each_reload_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let heard = || {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).expect("nothing was told");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let start = Clock::System.monotonic_micros();
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut server = Server::start_with(folder.path(), &[], &environment);
    assert_eq!(heard(), "READY=1");
    assert!(!server.log().contains("nsupdate"), "a service greets nobody: {}", server.log());
    // The second reload is of a broken key: systemd must not wait for its end for ever.
    for _ in 0..2 {
        server.signal("HUP");
        let reloading = heard();
        let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{reloading}"));
        assert!((start..=Clock::System.monotonic_micros()).contains(&time.parse().unwrap()), "{time}");
        assert_eq!(heard(), "READY=1");
        fs::write(folder.path().join("state/keys/broken.key"), "key").unwrap();
    }
    server.wait_for_log("configuration not reloaded");
    assert!(server.terminate().success());
    assert_eq!(heard(), "STOPPING=1");
}

/// Waits for the line of the `count`th reload.
fn wait_for_reloads(server: &Server, count: usize) {
    let start = Clock::System.monotonic_micros();
    while server.log().matches("configuration reloaded").count() < count {
        assert!(Clock::System.monotonic_micros() - start < 30_000_000, "{}", server.log());
        thread::yield_now();
    }
}
