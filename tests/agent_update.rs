//! `dyndns update` against a real server: ours, over its sockets.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::{Home, Run, SECRET, run};

/// The host that the tests move. The zone has no such name at first.
const HOST: &str = "moving.example.com";

/// Runs `dyndns update` against the server with a key file of this name and secret.
fn update_with(home: &Home, name: &str, secret: &str, arguments: &[&str]) -> Run {
    let path = home.folder.path().join("client.key");
    let text = format!("key \"{name}\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{secret}\";\n}};\n");
    std::fs::write(&path, text).unwrap();
    let server = home.server.v4().to_string();
    let key = path.to_str().unwrap();
    let first = ["update", HOST, "--server", &server, "--key-file", key, "--allow", "documentation"];
    run(env!("CARGO_BIN_EXE_dyndns"), &[&first[..], arguments].concat(), "").unwrap()
}

fn update(home: &Home, arguments: &[&str]) -> Run {
    update_with(home, "laptop", SECRET, arguments)
}

/// Runs it where it has to succeed, and returns what it says after the line of the zone.
fn updated(home: &Home, arguments: &[&str]) -> String {
    let run = update(home, arguments);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{}", home.server.log());
    let zone = format!("zone example.com at {}\n", home.server.v4());
    run.out.strip_prefix(&zone).unwrap_or_else(|| panic!("{}", run.out)).to_string()
}

#[test]
fn each_family_is_written_once_and_the_other_one_stays() {
    let home = Home::start();
    assert_eq!(
        updated(&home, &["192.0.2.1", "2001:db8::1"]),
        format!("{HOST} is now 192.0.2.1\n{HOST} is now 2001:db8::1\n")
    );
    let serial = home.serial();
    assert_eq!(updated(&home, &["192.0.2.1", "2001:db8::1"]), "nothing to change\n");
    assert_eq!(home.serial(), serial);
    assert_eq!(updated(&home, &["192.0.2.2"]), format!("{HOST} is now 192.0.2.2\n"));
    assert_eq!(home.serial(), serial + 1);
    assert_eq!(updated(&home, &["192.0.2.2", "2001:db8::1"]), "nothing to change\n");
}

#[test]
fn a_ttl_that_is_asked_for_is_written_to_an_address_that_is_right_and_another_is_left_as_it_is() {
    let home = Home::start();
    let ttl = || {
        let dig = home.dig(&[HOST, "A", "+noall", "+answer"])?;
        Some(dig.split_whitespace().nth(1).unwrap().to_string())
    };
    updated(&home, &["192.0.2.1"]);
    assert_eq!(updated(&home, &["192.0.2.1", "--ttl", "300"]), format!("{HOST} is now 192.0.2.1\n"));
    let Some(first) = ttl() else { return };
    assert_eq!(first, "300");
    assert_eq!(updated(&home, &["192.0.2.1", "--ttl", "300"]), "nothing to change\n");
    assert_eq!(updated(&home, &["192.0.2.1"]), "nothing to change\n");
    assert_eq!(ttl().unwrap(), "300");
}

#[test]
fn a_new_prefix_moves_all_derived_hosts_in_one_change() {
    let home = Home::start();
    let derived = ["--derived", "nas.example.com=::53", "--derived", "tv.example.com=::7/56"];
    updated(&home, &[&["2001:db8:1:102:9::1"], &derived[..]].concat());
    let serial = home.serial();
    assert_eq!(
        updated(&home, &[&["2001:db8:1:203:9::1"], &derived[..]].concat()),
        format!(
            "{HOST} is now 2001:db8:1:203:9::1\nnas.example.com is now 2001:db8:1:203::53\n\
             tv.example.com is now 2001:db8:1:200::7\n"
        )
    );
    assert_eq!(home.serial(), serial + 1);
    // Without an IPv6 address there is nothing to derive from, and that is said.
    let run = update(&home, &[&["192.0.2.1"], &derived[..]].concat());
    assert!(
        run.out.starts_with("nas.example.com stays as it is: there is no IPv6 address to derive from\n"),
        "{run:?}"
    );
}

#[test]
fn refusals_say_what_to_do_and_change_nothing() {
    let home = Home::start();
    let serial = home.serial();
    let at = home.server.v4();
    for (run, code, text) in [
        (update(&home, &["10.0.0.1"]), 1, "it is private; if it is meant, say --allow private".to_string()),
        (update(&home, &["192.0.2.1", "192.0.2.2"]), 2, "give one of each".to_string()),
        (
            update_with(&home, "stranger", SECRET, &["192.0.2.1"]),
            1,
            format!("at {at}: the server refuses the key (BADKEY); compare the key's name and algorithm on both sides"),
        ),
        (
            update_with(&home, "laptop", "d3Jvbmc=", &["192.0.2.1"]),
            1,
            format!("at {at}: the server refuses the MAC (BADSIG); compare the secrets of server and client"),
        ),
        (
            update(&home, &["192.0.2.1", "--zone", "elsewhere.example"]),
            1,
            format!("cannot update {HOST} in zone elsewhere.example at {at}: {HOST} is not in the zone"),
        ),
    ] {
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(run.err.contains(&text), "{run:?}");
    }
    assert_eq!(home.serial(), serial);
    // The first question is signed already, and the server's operator is told why it was refused.
    let log = home.server.log();
    for why in ["no key stranger.; give the server this key", "the MAC of key laptop. is wrong; compare the secrets"] {
        assert!(log.contains(&format!("query refused: TSIG rejected: {why}")), "{log}");
    }
}

#[test]
fn a_server_that_is_not_there_is_told_after_udp_and_tcp() {
    // A port that was ours a moment ago: the system says at once that nothing listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["update", HOST, "--server", &free, "--allow", "documentation", "192.0.2.1"];
    let run = run(env!("CARGO_BIN_EXE_dyndns"), &arguments, "").unwrap();
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("no answer over UDP and TCP (connection refused); check the address"), "{run:?}");
}
