//! `dyndns update` without addresses and without a server: where it finds them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;
#[path = "http/home.rs"]
#[allow(dead_code, reason = "of the server with an HTTP door a part is used")]
mod door;

use common::agent::Agent;
use common::client::{Home, Run, run};
use common::house::{House, write_key};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::sync::Arc;
use tokio_rustls::rustls;

const HOST: &str = "moving.example.com";

fn update(home: &Home, arguments: &[&str]) -> Run {
    let key = home.folder.path().join("client.key");
    write_key(&key);
    let server = home.server.v4().to_string();
    let first = ["update", HOST, "--server", &server, "--key-file", key.to_str().unwrap()];
    run(env!("CARGO_BIN_EXE_dyndns"), &[&first[..], arguments].concat(), "").unwrap()
}

/// Answers every request at a port of its own with this page, over TLS where there is a certificate.
fn pages(page: &'static str, tls: Option<rustls::ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let tls = tls.map(Arc::new);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            match &tls {
                None => answer(stream, page),
                Some(tls) => {
                    let connection = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                    answer(rustls::StreamOwned::new(connection, stream), page);
                }
            }
        }
    });
    address
}

/// A client that does not like the certificate is gone; nothing is to be told to it.
fn answer(mut stream: impl Read + Write, page: &str) {
    let mut request = Vec::new();
    let mut octet = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut octet).is_ok_and(|len| len > 0) {
        request.push(octet[0]);
    }
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", page.len());
    let _ = stream.write_all(format!("{head}{page}").as_bytes());
    let _ = stream.flush();
}

#[test]
fn whoami_tells_the_address_that_the_server_sees() {
    let home = Home::with_settings("whoami = \"whoami.example.com\"");
    let run = update(&home, &["--allow", "loopback", "--source", "whoami"]);
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    assert!(run.out.starts_with("IPv4 address 127.0.0.1 (whoami)\n"), "{run:?}");
    assert!(run.out.ends_with(&format!("{HOST} is now 127.0.0.1\n")), "{run:?}");

    // Asked by its name the server is reached by both families.
    let (name, v6) = ("whoami:whoami.example.com@", home.server.v6().port());
    let run = update(&home, &["--allow", "loopback", "--source", &format!("{name}[::1]:{v6}")]);
    assert!(run.out.contains(&format!("{HOST} is now ::1\n")), "{run:?}");
}

#[test]
fn a_server_without_whoami_says_what_to_set_there() {
    let home = Home::start();
    let run = update(&home, &["--source", "whoami"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("set whoami = \"whoami.example.com\" in its configuration"), "{run:?}");
}

#[test]
fn an_address_that_cannot_be_right_is_refused_with_its_source() {
    let home = Home::with_settings("whoami = \"whoami.example.com\"");
    let serial = home.serial();
    let run = update(&home, &["--source", "whoami"]);
    assert_eq!(run.code, Some(1));
    let text = "no address found: whoami: 127.0.0.1 cannot be reached from elsewhere: it is loopback; if it is meant, say --allow loopback, or allow = [\"loopback\"] in [agent]";
    assert!(run.err.contains(text), "{run:?}");
    assert_eq!(home.serial(), serial);
}

#[test]
fn commands_pages_and_fixed_addresses_are_taken_in_order_or_by_agreement() {
    let home = Home::start();
    let page = pages("lan 192.168.0.2, wan 198.18.0.1; v6 2a01::1", None);
    let allow = ["--allow", "private", "--allow", "documentation"];
    let url = format!("url:http://{page}/ip lan ([0-9.]+)");
    let run = update(&home, &[&allow[..], &["--source", "command:exit 3", "--source", &url]].concat());
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.out.starts_with("command:exit: it failed: exit status: 3\nIPv4 address 192.168.0.2 (url:"), "{run:?}");
    assert!(run.out.ends_with(&format!("{HOST} is now 192.168.0.2\n")), "{run:?}");

    let sources = ["--source", "command:echo 192.0.2.7", "--source", "fixed:192.0.2.7,2001:db8::7", "--source", &url];
    let run = update(&home, &[&allow[..], &sources, &["--quorum", "2"]].concat());
    assert!(run.out.ends_with(&format!("{HOST} is now 192.0.2.7\n")), "{run:?}");
    let run = update(&home, &[&allow[..], &sources, &["--quorum", "3"]].concat());
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("no IPv4 address that 3 sources agree on: 192.0.2.7 (command:"), "{run:?}");
    assert_eq!(update(&home, &["--source", "interface", "--quorum", "2"]).code, Some(2));
}

#[test]
fn a_page_over_https_is_believed_only_with_a_certificate_of_the_systems_roots() {
    let home = Home::start();
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let page = pages("192.0.2.9", Some(tls));
    let url = format!("url:https://{page}/");
    let run = update(&home, &["--allow", "documentation", "--source", &url]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("certificate"), "{run:?}");

    let roots = home.folder.path().join("roots.pem");
    std::fs::write(&roots, made.cert.pem()).unwrap();
    let key = home.folder.path().join("client.key");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dyndns"))
        .args(["update", HOST, "--server", &home.server.v4().to_string(), "--key-file", key.to_str().unwrap()])
        .args(["--allow", "documentation", "--source", &url])
        .env("SSL_CERT_FILE", &roots)
        .output()
        .unwrap();
    assert!(said(&output).ends_with(&format!("{HOST} is now 192.0.2.9\n")), "{output:?}");
}

#[test]
fn the_servers_own_door_tells_the_agent_where_it_is() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_string()]).unwrap();
    let files = [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())];
    let tls =
        "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\ndot-listen = []\ndoh-listen = []\ndoq-listen = []\n";
    let config = door::CONFIG.replace("plain-listen", "listen = [\"127.0.0.1:0\"]\nplain-listen");
    let keys = format!("[[key]]\nname = \"laptop\"\nsecret = \"{}\"\nall-zones = true\n", common::client::SECRET);
    let home = door::Home::among(&format!("{tls}{config}{keys}"), &files);
    let line = home.server.wait_for_log("listening on HTTP over TLS address=");
    let https = line.rsplit_once('=').unwrap().1.trim();
    let folder = tempfile::tempdir().unwrap();
    let config = |url: &str| {
        format!(
            "[agent]\nsources = [\"url:{url}/myip\"]\nallow = [\"loopback\"]\n\
             [[target]]\nname = \"home\"\ntype = \"rfc2136\"\nserver = \"{}\"\nkey-file = \"laptop.key\"\n\
             [[host]]\nname = \"router.home.example\"\n",
            home.server.v4()
        )
    };
    let roots = home.directory.path().join("cert.pem");
    let roots = [("SSL_CERT_FILE", roots.to_str().unwrap())];
    let agent = Agent::start_with(folder.path(), &config(&format!("https://{https}")), &roots);
    agent.wait_for("host updated target=home host=router.home.example address=127.0.0.1");
    drop(agent);
    let agent = Agent::start(folder.path(), &config(&format!("http://{}", home.http)));
    agent.wait_for(&format!("IPv4 address 127.0.0.1 (url:{})", home.http));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

const ZONE: &str = "$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nrouter A 192.0.2.1\n";

#[test]
fn in_a_network_namespace_the_zone_its_server_and_the_address_are_found_by_themselves() {
    let Some(house) = House::build() else { return };
    house.ip("link add wan type veth peer name isp");
    house.ip("link set wan up");
    house.ip("address add 198.51.100.7/24 dev wan");
    house.ip("address add 2001:db8:1:2::7/64 dev wan nodad");
    house.ip("address add fd00::7/64 dev wan nodad");
    let server = house.serve(ZONE);
    let key = house.key();
    let run = house.run(
        env!("CARGO_BIN_EXE_dyndns"),
        &[
            "update",
            "router.home.test",
            "--key-file",
            &key,
            "--allow",
            "documentation",
            "--derived",
            "nas.home.test=::53",
        ],
    );
    assert!(run.status.success(), "{}\n{}", said(&run), server.said());
    // The server on this machine sees a loopback address; the interface has better.
    assert_eq!(
        said(&run),
        "whoami: 127.0.0.1 cannot be reached from elsewhere: it is loopback; if it is meant, say --allow loopback, or allow = [\"loopback\"] in [agent]\n\
         IPv4 address 198.51.100.7 (interface)\nIPv6 address 2001:db8:1:2::7 (interface)\n\
         zone home.test at 127.0.0.1:53\nrouter.home.test is now 198.51.100.7\n\
         router.home.test is now 2001:db8:1:2::7\nnas.home.test is now 2001:db8:1:2::53\n"
    );
    let again = house.run(
        env!("CARGO_BIN_EXE_dyndns"),
        &[
            "update",
            "router.home.test",
            "--allow",
            "documentation",
            "--source",
            "interface:wan",
            "--server",
            "ns.home.test",
        ],
    );
    assert!(said(&again).ends_with("nothing to change\n"), "{}", said(&again));
    let none = house.run(env!("CARGO_BIN_EXE_dyndns"), &["update", "router.elsewhere.test", "--source", "whoami"]);
    assert!(said(&none).contains("cannot find the server of router.elsewhere.test"), "{}", said(&none));
}
