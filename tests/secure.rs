//! DNS over TLS, HTTPS and QUIC: the answers of UDP and TCP, signatures included, by clients of several makes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the failure to be seen"
)]

#[path = "secure/client.rs"]
mod client;
mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use client::{NAME, Quic, Secure, Tls, client_config, config, dns_request, server_name, write_certificate};
use common::client::{Home, SECRET, run};
use common::exchange::{Tcp, framed};
use common::message::{self, NOERROR, REFUSED, Update, answers, query, rcode};
use common::{DEADLINE, Server};
use dyndns::wire::Rtype;
use hickory_server::net::h2::HttpsClientStream;
use hickory_server::net::quic::QuicClientStream;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::net::tls::tls_exchange;
use hickory_server::net::xfer::{DnsExchange, DnsHandle, FirstAnswer};
use hickory_server::proto::op::{DnsRequestOptions, Query};
use hickory_server::proto::rr::{Name, RecordType};
use http::{Method, Request, StatusCode};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// A query that is answered with one record.
fn good(id: u16) -> Vec<u8> {
    query(id, "mail.example.com", Rtype::A)
}

fn assert_good(id: u16, answer: &[u8]) {
    assert_eq!((message::id(answer), rcode(answer), answers(answer)), (id, NOERROR, 1));
}

/// Every listener answers a new connection.
async fn assert_serves(secure: &Secure) {
    assert_good(1, &Tcp::connect(secure.home.server.v4()).ask(&good(1)));
    assert_good(2, &secure.tls().ask(&good(2)));
    assert_good(3, &secure.https().await.ask(&good(3)).await);
    assert_good(0, &secure.quic().await.ask(&good(0)).await);
}

#[test]
fn kdig_is_answered_over_tls_https_and_quic() {
    let secure = Secure::start();
    let ca = format!("+tls-ca={}", secure.folder().join("cert.pem").display());
    let host = format!("+tls-hostname={NAME}");
    for (address, transport) in
        [(secure.tls, "+tls"), (secure.https, "+https"), (secure.https, "+https-get"), (secure.quic, "+quic")]
    {
        let (server, port) = (format!("@{}", address.ip()), address.port().to_string());
        let arguments = [&server, "-p", &port, &ca, &host, transport, "+short", "www.example.com", "A"];
        let Some(run) = run("kdig", &arguments, "") else { return };
        assert_eq!((run.code, run.out.as_str()), (Some(0), "example.com.\n192.0.2.80\n"), "{transport}: {run:?}");
    }
}

#[test]
fn kdig_transfers_a_signed_zone_over_tls_and_quic_and_not_over_https() {
    let secure = Secure::start();
    let key = format!("hmac-sha256:laptop:{SECRET}");
    let transfer = |address: SocketAddr, transport: &str| {
        let (server, port) = (format!("@{}", address.ip()), address.port().to_string());
        run("kdig", &[&server, "-p", &port, transport, "-y", &key, "example.com", "AXFR"], "")
    };
    for (address, transport) in [(secure.tls, "+tls"), (secure.quic, "+quic")] {
        let Some(run) = transfer(address, transport) else { return };
        assert!(run.out.contains("192.0.2.80") && run.out.matches("\tSOA\t").count() == 2, "{transport}: {run:?}");
        // It says so where a signature is wrong.
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{transport}: {run:?}");
    }
    let Some(run) = transfer(secure.https, "+https") else { return };
    assert!(!run.out.contains("\tSOA\t"), "{run:?}");
}

/// The clients of hickory: another maker's TLS settings, HTTP and QUIC.
#[tokio::test(flavor = "multi_thread")]
async fn hickorys_clients_are_answered_over_all_three() {
    let secure = Secure::start();
    let provider = TokioRuntimeProvider::new();
    let config = |protocol| client_config(secure.certificate(), protocol);
    let tls = tls_exchange(secure.tls, server_name(), config(b"dot"), DEADLINE, None, provider.clone()).await.unwrap();
    let https = HttpsClientStream::builder(Arc::new(config(b"h2")), provider.clone());
    let https = https.exchange(secure.https, NAME.into(), "/dns-query".into()).await.unwrap();
    let quic = QuicClientStream::builder().crypto_config(config(b"doq")).build(secure.quic, NAME.into()).await.unwrap();
    let (quic, background) = DnsExchange::<TokioRuntimeProvider>::from_stream(quic);
    tokio::spawn(background);
    for exchange in [tls, https, quic] {
        let question = Query::query(Name::from_ascii("mail.example.com.").unwrap(), RecordType::A);
        let answer = exchange.lookup(question, DnsRequestOptions::default()).first_answer().await.unwrap();
        assert_eq!(answer.answers.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_update_is_answered_signed_over_each_and_at_once_to_be_read_over_the_others() {
    let secure = Secure::start();
    let update = |host: &str| Update::new(0, "example.com").add_a(host, [192, 0, 2, 7]).sign(&Home::key());

    let request = update("tls.example.com");
    assert_eq!(request.verified(&Home::key(), &secure.tls().ask(&request.message)), Ok(NOERROR));
    let request = update("https.example.com");
    assert_eq!(request.verified(&Home::key(), &secure.https().await.ask(&request.message).await), Ok(NOERROR));
    let request = update("quic.example.com");
    assert_eq!(request.verified(&Home::key(), &secure.quic().await.ask(&request.message).await), Ok(NOERROR));

    for host in ["tls", "https", "quic"] {
        let question = query(0, &format!("{host}.example.com"), Rtype::A);
        let expected = Tcp::connect(secure.home.server.v4()).ask(&question);
        assert_eq!(answers(&expected), 1);
        assert_eq!(secure.tls().ask(&question), expected);
        assert_eq!(secure.https().await.ask(&question).await, expected);
        assert_eq!(secure.quic().await.ask(&question).await, expected);
    }
    // A refusal of one who knows the key is signed too; a stranger's is not.
    let request = Update::new(0, "example.org").add_a("x.example.org", [192, 0, 2, 7]).sign(&Home::key());
    assert_eq!(request.verified(&Home::key(), &secure.tls().ask(&request.message)), Ok(message::NOTAUTH));
    let unsigned = Update::new(0, "example.com").add_a("x.example.com", [192, 0, 2, 7]).unsigned();
    assert_eq!(rcode(&secure.https().await.ask(&unsigned).await), REFUSED);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_answers_come_whole_over_each() {
    let secure = Secure::start();
    for part in 0..4 {
        let update = (0..60).fold(Update::new(0, "example.com"), |update, number| {
            update.add_txt("big.example.com", &format!("{part}-{number}-{}", "x".repeat(240)))
        });
        assert_eq!(secure.home.send(update), NOERROR);
    }
    let question = query(0, "big.example.com", Rtype::TXT);
    let expected = Tcp::connect(secure.home.server.v4()).ask(&question);
    assert!(expected.len() > 60_000 && answers(&expected) == 240, "{} octets", expected.len());
    assert_eq!(secure.tls().ask(&question), expected);
    assert_eq!(secure.quic().await.ask(&question).await, expected);
    // More of them at once than a connection's window holds.
    let https = secure.https().await;
    for _ in 0..3 {
        let (one, two, three) = tokio::join!(https.ask(&question), https.ask(&question), https.ask(&question));
        assert!(one == expected && two == expected && three == expected);
    }
}

#[test]
fn five_hundred_queries_in_one_write_are_answered_in_their_order_over_tls() {
    let secure = Secure::start();
    let mut tls = secure.tls();
    tls.send_raw(&(0..500).flat_map(|id| framed(&good(id))).collect::<Vec<u8>>());
    for id in 0..500 {
        assert_good(id, &tls.receive().unwrap().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_queries_at_once_are_answered_on_one_connection_of_https_and_of_quic() {
    let secure = Secure::start();
    let (https, quic) = (secure.https().await, secure.quic().await);
    let mut asked = tokio::task::JoinSet::new();
    for id in 1..300 {
        let (https, quic) = (https.clone(), quic.clone());
        asked.spawn(async move {
            assert_good(id, &https.ask(&good(id)).await);
            assert_good(0, &quic.ask(&good(0)).await);
        });
    }
    asked.join_all().await;
}

/// Each of 64 requests of a connection could hold a whole message, and so 1,000 connections four gigabytes.
#[tokio::test(flavor = "multi_thread")]
async fn unfinished_requests_of_one_connection_hold_no_more_than_sixteen_messages() {
    let secure = Secure::start();
    let https = secure.https().await;
    let mut begun = Vec::new();
    for _ in 0..17 {
        begun.push(https.begin_post(60_000, DEADLINE).await);
    }
    for _ in 0..2 {
        begun.push(https.begin_post(60_000, Duration::from_millis(500)).await);
    }
    let sent: usize = begun.iter().map(|request| request.sent).sum();
    assert!((17 * 60_000..=16 * 65_536).contains(&sent), "{sent}");
    // What is taken back makes room.
    drop(begun);
    assert_good(7, &https.ask(&good(7)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn https_says_by_its_status_what_is_no_message() {
    let secure = Secure::start();
    let https = secure.https().await;
    let get = |message: &[u8]| format!("/dns-query?dns={}", URL_SAFE_NO_PAD.encode(message));
    let update = Update::new(0, "example.com").add_a("x.example.com", [192, 0, 2, 7]).sign(&Home::key()).message;
    let long = vec![0; 70_000];
    for (method, target, body, expected) in [
        (Method::POST, "/", &good(0), StatusCode::NOT_FOUND),
        (Method::PUT, "/dns-query", &good(0), StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/dns-query", &long, StatusCode::PAYLOAD_TOO_LARGE),
        (Method::POST, "/dns-query", &vec![1, 2, 3], StatusCode::BAD_REQUEST),
        (Method::POST, "/dns-query", &vec![], StatusCode::BAD_REQUEST),
        (Method::GET, "/dns-query", &vec![], StatusCode::BAD_REQUEST),
        (Method::GET, "/dns-query?dns=!", &vec![], StatusCode::BAD_REQUEST),
        // A GET changes nothing.
        (Method::GET, &get(&update), &vec![], StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let answer = https.request(method.clone(), target, body).await;
        assert_eq!(answer.status, expected, "{method} {target}");
    }
    let request = Request::post(format!("https://{NAME}/dns-query")).header("content-type", "text/plain");
    let answer = https.send(request.body(()).unwrap(), &good(0)).await.unwrap();
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);

    let answer = https.request(Method::GET, &get(&good(0)), &[]).await;
    assert_good(0, &answer.body);
    assert_eq!(answer.headers["content-type"], "application/dns-message");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_of_quics_rules_ends_its_connection_and_no_other() {
    let secure = Secure::start();
    let other = secure.quic().await;
    let mut whole = framed(&good(0));
    whole.extend(framed(&good(0)));
    // RFC 9250 section 4.3.3: an ID, a message cut short, two messages.
    for stream in [framed(&good(7)), framed(&good(0))[..9].to_vec(), whole] {
        let quic = secure.quic().await;
        assert!(quic.exchange(&stream).await.is_err());
        let quinn::ConnectionError::ApplicationClosed(closed) = quic.0.closed().await else { panic!("not closed") };
        // DOQ_PROTOCOL_ERROR.
        assert_eq!(closed.error_code.into_inner(), 2);
    }
    assert_good(0, &other.ask(&good(0)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_ports_leaves_them_serving() {
    let secure = Secure::start();
    let garbage: Vec<u8> = (0..20_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
    for address in [secure.tls, secure.https] {
        for octets in [&garbage[..], b"GET / HTTP/1.1\r\n\r\n", &framed(&good(1)), b"\x16\x03\x01\xff\xff"] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            // The server may have closed already.
            let _ = stream.write_all(octets);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    // Inside the encryption too.
    for protocol in [&b"dot"[..], b"h2"] {
        let address = if protocol == b"dot" { secure.tls } else { secure.https };
        let mut tls = Tls::connect(address, client_config(secure.certificate(), protocol)).unwrap();
        tls.send_raw(&garbage);
        drop(tls);
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for size in [1, 20, 1200, 1500] {
        // With and without the mark of a long header.
        for first in [0xc0, 0x40, 0x00] {
            let octets = [&[first][..], &garbage[..size]].concat();
            socket.send_to(&octets, secure.quic).unwrap();
        }
    }
    assert_serves(&secure).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_holds_only_so_many_connections_of_whatever_kind() {
    let secure = Secure::start_with("tcp-connections-per-address = 3\ntcp-idle-timeout = 600\n");
    let (mut tls, https, quic) = (secure.tls(), secure.https().await, secure.quic().await);
    assert!(Tls::connect(secure.tls, client_config(secure.certificate(), b"dot")).is_err());
    assert_eq!(Tcp::connect(secure.home.server.v4()).receive().unwrap(), None);
    assert!(Quic::connect(secure.quic, client_config(secure.certificate(), b"doq")).await.is_err());
    // Those that were there are served on, and what one gives back another may have.
    assert_good(1, &tls.ask(&good(1)));
    assert_good(2, &https.ask(&good(2)).await);
    assert_good(0, &quic.ask(&good(0)).await);
    quic.0.close(0_u32.into(), b"");
    let next =
        async { while Quic::connect(secure.quic, client_config(secure.certificate(), b"doq")).await.is_err() {} };
    timeout(DEADLINE, next).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_closed_before_and_after_its_handshake() {
    let secure = Secure::start_with("tcp-idle-timeout = 1\n");
    let mut dumb = TcpStream::connect(secure.tls).unwrap();
    let mut dumb_https = TcpStream::connect(secure.https).unwrap();
    let (mut tls, https, quic) = (secure.tls(), secure.https().await, secure.quic().await);
    assert_good(1, &tls.ask(&good(1)));
    assert_good(2, &https.ask(&good(2)).await);
    for stream in [&mut dumb, &mut dumb_https] {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    assert_eq!(tls.receive().unwrap(), None);
    timeout(DEADLINE, quic.0.closed()).await.unwrap();
    https.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_takes_no_answers_over_https_holds_up_nobody_and_loses_them() {
    let secure = Secure::start_with("tcp-idle-timeout = 1\n");
    let update = (0..200).fold(Update::new(0, "example.com"), |update, number| {
        update.add_txt("big.example.com", &format!("{number}-{}", "x".repeat(240)))
    });
    assert_eq!(secure.home.send(update), NOERROR);
    let question = query(0, "big.example.com", Rtype::TXT);
    let https = secure.https().await;
    let mut untaken = Vec::new();
    for _ in 0..3 {
        let request = dns_request(Method::POST, "/dns-query");
        untaken.push(https.begin(request, &question).await.unwrap().into_body());
    }
    assert_serves(&secure).await;
    // The connection's window holds one of them; the last is given up.
    let mut last = untaken.pop().unwrap();
    let outcome = timeout(DEADLINE, last.data()).await.unwrap();
    assert!(matches!(outcome, Some(Err(error)) if error.is_reset()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_ends_with_connections_open() {
    let mut secure = Secure::start_with("tcp-idle-timeout = 3600\n");
    let dumb = [TcpStream::connect(secure.tls).unwrap(), TcpStream::connect(secure.https).unwrap()];
    let (mut tls, https, quic) = (secure.tls(), secure.https().await, secure.quic().await);
    assert_good(1, &tls.ask(&good(1)));
    assert_good(2, &https.ask(&good(2)).await);
    // Half a request on each.
    tls.send_raw(&framed(&good(1))[..9]);
    let (mut send, _receive) = quic.0.open_bi().await.unwrap();
    send.write_all(&framed(&good(0))[..9]).await.unwrap();
    assert_good(0, &quic.ask(&good(0)).await);

    assert!(secure.home.server.terminate().success());
    let log = secure.home.server.log();
    assert!(!log.contains("still under way"), "{log}");
    assert_eq!(tls.receive().unwrap(), None, "an orderly end");
    timeout(DEADLINE, quic.0.closed()).await.unwrap();
    drop((dumb, https));
}

#[test]
fn a_new_certificate_is_taken_up_and_open_connections_stay() {
    let secure = Secure::start_with("tcp-idle-timeout = 600\n");
    let first = secure.certificate();
    let connect = |certificate| Tls::connect(secure.tls, client_config(certificate, b"dot")).map(drop);
    let mut open = secure.tls();

    // At SIGHUP at once.
    write_certificate(secure.folder());
    assert!(connect(secure.certificate()).is_err(), "not yet");
    secure.home.server.signal("HUP");
    secure.home.server.wait_for_log("certificate reloaded");
    connect(secure.certificate()).unwrap();
    assert!(connect(first).is_err());

    // A broken pair keeps the old one, and is told of with its remedy.
    let second = secure.certificate();
    let key = std::fs::read(secure.folder().join("key.pem")).unwrap();
    std::fs::write(secure.folder().join("key.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    secure.home.server.signal("HUP");
    let line = secure.home.server.wait_for_log("certificate not reloaded, the old one stays in force: cannot use ");
    assert!(line.contains("it is not the key of ") && line.contains("; give the key"), "{line}");
    connect(second.clone()).unwrap();

    // Without a signal: the server looks by itself.
    std::fs::write(secure.folder().join("key.pem"), key).unwrap();
    std::fs::remove_file(secure.folder().join("cert.pem")).unwrap();
    secure.home.server.wait_for_log("cert.pem: no such file or directory");
    connect(second).unwrap();
    assert_good(1, &open.ask(&good(1)));
}

#[test]
fn what_is_wrong_with_the_certificate_or_its_ports_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    common::client::copy_zones(folder.path());
    let fail = |text: &str, arguments: &[&str]| {
        std::fs::write(folder.path().join("dyndns.toml"), text).unwrap();
        let output = Server::fail(folder.path(), &[&["--config", "dyndns.toml"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    for arguments in [&[][..], &["--check"]] {
        assert!(fail(&config(""), arguments).contains("cannot read cert.pem: no such file or directory"));
    }
    write_certificate(folder.path());
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let place = format!("doq-listen = [\"{}\"]", taken.local_addr().unwrap());
    let told = fail(&config("").replace("doq-listen = [\"127.0.0.1:0\"]", &place), &[]);
    assert!(told.contains("address already in use") && told.contains("choose another port with doq-listen"), "{told}");
}
