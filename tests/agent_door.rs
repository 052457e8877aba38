//! `dyndns agent`: its page, `POST /check`, and the mail that it sends.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::agent::{Agent, free};
use common::client::{SECRET, copy_zones};
use common::house::House;
use common::{DEADLINE, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

const TOKEN: &str = "a token of our own";

/// An agent with a page, and a target at this address.
fn agent(folder: &Path, target: SocketAddr, more: &str) -> (Agent, SocketAddr) {
    std::fs::write(folder.join("token"), format!("{TOKEN}\n")).unwrap();
    let config = format!(
        "[agent]\nsources = [\"fixed:192.0.2.1\"]\nallow = [\"documentation\"]\nlog-level = \"debug\"\n\
         [agent.http]\nlisten = \"127.0.0.1:0\"\ntoken-file = \"token\"\n{more}\
         [[target]]\nname = \"home\"\ntype = \"rfc2136\"\nserver = \"{target}\"\nkey-file = \"laptop.key\"\n\
         [[host]]\nname = \"r.example.com\"\n"
    );
    let agent = Agent::start(folder, &config);
    let line = agent.wait_for("listening on HTTP address=");
    let address = line.rsplit_once('=').unwrap().1.trim().parse().unwrap();
    (agent, address)
}

/// The status and all of the answer.
fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn server(folder: &Path, address: SocketAddr) -> Server {
    copy_zones(folder);
    Server::start(folder, &["--tsig", &format!("laptop:{SECRET}"), "--listen", &address.to_string()])
}

#[test]
fn a_check_is_answered_with_what_came_of_it_and_needs_the_token() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = free();
    let (agent, door) = agent(folder.path(), target, "");
    agent.wait_for("target not brought up to date");
    for (method, path) in [("GET", "/"), ("POST", "/check")] {
        assert_eq!(ask(door, method, path, "").0, 401);
    }
    assert_eq!(ask(door, "GET", "/", &bearer("a token of others!")).0, 401);
    agent.wait_for("HTTP request refused: wrong token source=127.0.0.1");
    // It may be let in a second later.
    while ask(door, "GET", "/", &bearer(TOKEN)).0 == 429 {}
    let cross = format!("{}Sec-Fetch-Site: cross-site\r\n", bearer(TOKEN));
    assert_eq!(ask(door, "POST", "/check", &cross).0, 403);
    assert_eq!(ask(door, "GET", "/check", &bearer(TOKEN)).0, 405);
    assert_eq!(ask(door, "POST", "/stop", &bearer(TOKEN)).0, 404);

    let (status, answer) = ask(door, "POST", "/check", &bearer(TOKEN));
    assert_eq!(status, 502, "{answer}");
    assert!(answer.contains("\"v4\":\"192.0.2.1\"") && answer.contains("no answer over UDP and TCP"), "{answer}");

    // The wait after the failures does not count for whoever asks.
    let _server = server(home.path(), target);
    let (status, answer) = ask(door, "POST", "/check", &bearer(TOKEN));
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"changed\":[{\"address\":\"192.0.2.1\",\"name\":\"r.example.com\"}]"), "{answer}");
    let (_, answer) = ask(door, "POST", "/check", &bearer(TOKEN));
    assert!(answer.contains("\"changed\":[],\"fault\":null"), "{answer}");

    // The log-in of a browser: any user, and the token.
    let login = "Authorization: Basic bWU6YSB0b2tlbiBvZiBvdXIgb3du\r\nAccept: text/html\r\n";
    let (status, page) = ask(door, "GET", "/", login);
    assert_eq!(status, 200);
    assert!(page.contains("<td>r.example.com</td><td>192.0.2.1</td>"), "{page}");
    let (status, page) = ask(door, "POST", "/check", login);
    assert!(status == 200 && page.contains("<li>home: nothing to change</li>"), "{page}");
}

/// A mail server for one mail, which it returns.
fn mail_server() -> (SocketAddr, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mail = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        say("220 mail.example");
        let mut mail = String::new();
        while let Some(Ok(line)) = lines.next() {
            mail += &format!("{line}\n");
            match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" => say("250 mail.example"),
                "DATA" => {
                    say("354 go on");
                    for line in lines.by_ref().map_while(Result::ok).take_while(|line| line != ".") {
                        mail += &format!("{line}\n");
                    }
                    say("250 taken");
                }
                "QUIT" => {
                    say("221 bye");
                    break;
                }
                _ => say("250 good"),
            }
        }
        mail
    });
    (address, mail)
}

#[test]
fn a_change_is_told_by_mail() {
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = free();
    let _server = server(home.path(), target);
    let (address, mail) = mail_server();
    let settings = format!(
        "[agent.notify]\nmail-to = \"me@example.com\"\nmail-from = \"Router <router@example.com>\"\nmail-server = \"{address}\"\n"
    );
    let (agent, _) = agent(folder.path(), target, &settings);
    agent.wait_for("told way=\"mail\" event=\"changed\"");
    drop(agent);
    let mail = mail.join().unwrap();
    for line in [
        "RCPT TO:<me@example.com>",
        "From: Router <router@example.com>",
        "Subject: dyndns: home changed",
        "r.example.com is now 192.0.2.1 at home",
    ] {
        assert!(mail.contains(line), "{line}:\n{mail}");
    }
}

/// A mail server for the namespace: it says what comes in the clear and what by TLS.
const MAIL_SERVER: &str = r#"
import base64, socket, ssl, sys
place, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
listener = socket.create_server((place, port))
print("listening", flush=True)
while True:
    stream, _ = listener.accept()
    try:
        tls = kind == "tls"
        if tls:
            stream = context.wrap_socket(stream, server_side=True)
        lines = stream.makefile("rb")
        say = lambda text: stream.sendall(text.replace("\n", "\r\n").encode() + b"\r\n")
        say("220 mail.example")
        mail = False
        while line := lines.readline().decode().rstrip():
            print("tls" if tls else "clear", line, flush=True)
            word = line.split()[0].upper()
            if word == "EHLO":
                offers = "AUTH PLAIN" if tls or kind == "none" else "STARTTLS"
                say("250-mail.example\n250 " + offers)
            elif word == "STARTTLS":
                say("220 go on")
                stream, tls = context.wrap_socket(stream, server_side=True), True
                lines = stream.makefile("rb")
            elif word == "AUTH":
                print("login", base64.b64decode(line.split()[2]).split(b"\0"), flush=True)
                say("235 come in")
            elif word == "DATA":
                say("354 go on")
                while (line := lines.readline().decode().rstrip("\r\n")) != ".":
                    print("mail", line, flush=True)
                say("250 taken")
            else:
                say("250 good")
    except (OSError, ValueError) as error:
        print("ended", error, flush=True)
"#;

#[test]
fn in_a_network_namespace_mail_and_password_go_by_tls_alone_to_a_server_in_python3() {
    let Some(house) = House::build() else { return };
    house.ip("link add wan type veth peer name isp");
    house.ip("link set wan up");
    house.ip("address add 198.51.100.7/24 dev wan");
    let zone = "$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n";
    let _server = house.serve(zone);
    house.key();
    let made = rcgen::generate_simple_self_signed(["198.51.100.7".to_string()]).unwrap();
    let stranger = rcgen::generate_simple_self_signed(["198.51.100.7".to_string()]).unwrap();
    let write = |name: &str, text: &str| std::fs::write(house.folder.path().join(name), text).unwrap();
    write("cert.pem", &made.cert.pem());
    write("key.pem", &made.signing_key.serialize_pem());
    write("stranger.pem", &stranger.cert.pem());
    write("password", "pearl\n");
    write("mail.py", MAIL_SERVER);
    let cases = [
        ("465", "tls", "cert.pem", true),
        ("587", "starttls", "cert.pem", true),
        ("2525", "starttls", "stranger.pem", false),
        ("2526", "none", "cert.pem", false),
    ];
    for (last, (port, kind, roots, taken)) in cases.into_iter().enumerate() {
        let mail = house.start("python3", &["mail.py", "198.51.100.7", port, kind]);
        mail.wait_for("listening");
        write(
            "agent.toml",
            &format!(
                "[agent]\nsources = [\"fixed:192.0.2.{last}\"]\nallow = [\"documentation\"]\nlog-level = \"debug\"\n\
                 [agent.notify]\nmail-to = \"me@example.com\"\nmail-server = \"198.51.100.7:{port}\"\n\
                 mail-user = \"router\"\nmail-password-file = \"password\"\n\
                 [[target]]\nname = \"home\"\ntype = \"rfc2136\"\nserver = \"127.0.0.1\"\nkey-file = \"laptop.key\"\n\
                 [[host]]\nname = \"r.home.test\"\n"
            ),
        );
        let roots = format!("SSL_CERT_FILE={roots}");
        let dyndns = env!("CARGO_BIN_EXE_dyndns");
        let agent = house.start("env", &[&roots, dyndns, "agent", "--config", "agent.toml"]);
        if taken {
            agent.wait_for("told way=\"mail\" event=\"changed\"");
            mail.wait_for("login [b'', b'router', b'pearl']");
            mail.wait_for(&format!("mail r.home.test is now 192.0.2.{last} at home"));
        } else {
            let told = agent.wait_for("nobody was told: cannot hand mail to 198.51.100.7");
            assert!(!told.contains("pearl"), "{told}");
            assert!(!mail.said().contains("MAIL") && !mail.said().contains("login"), "{}", mail.said());
        }
        assert!(!mail.said().contains("clear MAIL") && !mail.said().contains("clear AUTH"), "{}", mail.said());
        assert!(!agent.said().contains("pearl"), "{}", agent.said());
    }
}
