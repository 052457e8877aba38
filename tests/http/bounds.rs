//! What strangers may hold of the door, and for how long.

use super::common::DEADLINE;
use super::common::exchange::Udp;
use super::common::message::{answers, query};
use super::home::{CONFIG, Home};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dyndns::wire::Rtype;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A door whose patience is a second, and at which one address holds one connection.
fn home() -> Home {
    Home::with(&format!("tcp-idle-timeout = 1\ntcp-connections-per-address = 1\n{CONFIG}"))
}

fn connect(home: &Home) -> TcpStream {
    let stream = TcpStream::connect(home.http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// Waits until the only connection may be had again.
fn is_answered_again(home: &Home) -> bool {
    (0..300).any(|_| {
        let mut stream = connect(home);
        let mut answer = String::new();
        let asked = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        let answered = asked.and_then(|()| stream.read_to_string(&mut answer)).is_ok() && answer.ends_with("ok\n");
        if !answered {
            std::thread::sleep(Duration::from_millis(100));
        }
        answered
    })
}

#[test]
fn a_connection_that_says_nothing_or_never_ends_its_head_is_closed() {
    let home = home();
    for said in ["", "GET /nic/update HTTP/1.1\r\nHost: h\r\n"] {
        let mut stream = connect(&home);
        stream.write_all(said.as_bytes()).unwrap();
        let mut answer = String::new();
        // Closed with or without a word; a read that runs into the deadline is an error.
        match stream.read_to_string(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{said:?}"),
        }
        drop(stream);
        assert!(is_answered_again(&home), "{said:?}");
    }
}

#[test]
fn a_body_that_does_not_come_is_answered_so() {
    let home = home();
    let mut stream = connect(&home);
    stream
        .write_all(b"POST /nic/update HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhost")
        .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.ends_with("911\n"), "{answer}");
}

#[test]
fn a_peer_that_never_reads_its_answers_does_not_keep_its_connection() {
    let home = home();
    let mut stream = connect(&home);
    stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    // Until there is no room on the way to the server, as it reads nothing more while it cannot write.
    while stream.write_all(&request).is_ok() {}
    assert!(is_answered_again(&home));
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let home = Home::new();
    let (status, _) = home.ask(&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(20_000)));
    assert!(status == 414 || status == 431, "{status}");
    let many: String = (0..100).map(|at| format!("X-{at}: x\r\n")).collect();
    assert_eq!(home.ask(&format!("GET /healthz HTTP/1.1\r\nHost: h\r\n{many}\r\n")).0, 431);
}

#[test]
fn while_many_guess_at_passwords_dns_is_answered() {
    let config = CONFIG.replace("[[zone]]", "trusted-proxies = [\"127.0.0.1\"]\n[[zone]]");
    let home = Home::with(&config);
    let guess = STANDARD.encode("router:guess");
    // Each from a source of its own, so that none waits for wrong passwords of another.
    let guessers: Vec<TcpStream> = (1..=20)
        .map(|source| {
            let mut stream = connect(&home);
            let request = format!(
                "GET /nic/update?hostname=nas.home.example HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\
                 X-Forwarded-For: 198.51.100.{source}\r\nAuthorization: Basic {guess}\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    let udp = Udp::connect(home.server.v4());
    for id in 0..100 {
        assert_eq!(answers(&udp.ask(&query(id, "home.example", Rtype::SOA))), 1);
    }
    for mut stream in guessers {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 ") || answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}
