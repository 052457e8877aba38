//! `dyndns serve` as an operator starts it: its flags, and what it says when it cannot start.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::Server;
use common::client::{Home, SECRET, copy_zones, run};
use common::exchange::{Tcp, Udp};
use common::message::{self, NOERROR, REFUSED, query};
use dyndns::wire::Rtype;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// The one line that says why a server did not start; its exit code is 2 and it printed nothing else.
fn error(directory: &Path, arguments: &[&str]) -> String {
    let output = Server::fail(directory, arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(2), &b""[..]), "{text}");
    let (said, logged): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("error: "));
    assert!(logged.iter().all(|line| line.contains(" INFO ")), "{text}");
    assert_eq!(said.len(), 1, "{text}");
    said[0]["error: ".len()..].to_string()
}

fn soa(server: std::net::SocketAddr, zone: &str) -> u8 {
    let answer = Udp::connect(server).ask(&query(1, zone, Rtype::SOA));
    assert_eq!(message::answers(&answer), u16::from(message::rcode(&answer) == NOERROR));
    message::rcode(&answer)
}

#[test]
fn every_address_given_answers_over_udp_and_tcp() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let listen = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"];
    let server = Server::start(folder.path(), &listen.map(|address| ["--listen", address]).concat());
    assert_eq!(server.addresses.len(), 3);
    for address in &server.addresses {
        let question = query(1, "example.com", Rtype::SOA);
        assert_eq!(message::answers(&Udp::connect(*address).ask(&question)), 1, "{address}");
        assert_eq!(message::answers(&Tcp::connect(*address).ask(&question)), 1, "{address}");
    }
}

#[test]
fn a_zone_is_given_by_its_name_or_by_its_file_and_only_those_are_served() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let text = "$ORIGIN lab.example.\n$TTL 60\n@ SOA ns hostmaster 7 1h 15m 2w 5m\n@ NS ns\nns A 192.0.2.9\n";
    fs::write(folder.path().join("lab"), text).unwrap();
    let zones = ["--zone", "example.com", "--zone", "new.example", "--zone", "./lab"];
    let mut server = Server::start(folder.path(), &zones);
    for _ in 0..2 {
        let served = ["example.com", "new.example", "lab.example", "2.0.192.in-addr.arpa"];
        assert_eq!(served.map(|zone| soa(server.v4(), zone)), [NOERROR, NOERROR, NOERROR, REFUSED]);
        // A name takes the file in zones/ that is named after it; without one it gets a SOA and a NS of its own.
        let held = |name, rtype| message::answers(&Udp::connect(server.v4()).ask(&query(1, name, rtype)));
        assert_eq!((held("mail.example.com", Rtype::A), held("new.example", Rtype::NS)), (1, 1));
        assert_eq!(message::serial(&Udp::connect(server.v4()).ask(&query(1, "lab.example", Rtype::SOA))), 7);
        server.kill9();
        server.restart();
    }
}

#[test]
fn a_log_file_is_appended_to_and_holds_every_line() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let log = folder.path().join("dyndns.log");
    fs::write(&log, "kept\n").unwrap();
    let mut server = Server::start(folder.path(), &["--log-file", "dyndns.log"]);
    assert!(server.terminate().success());
    server.restart();
    assert!(server.terminate().success());
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("kept\n"), "{text}");
    assert_eq!(text.matches("stopped signal=\"SIGTERM\"").count(), 2, "{text}");
    assert!(!server.log().contains("INFO"), "{}", server.log());
}

#[test]
fn in_json_every_line_is_one_object() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let laptop = format!("laptop:{SECRET}");
    let arguments = ["--log-format", "json", "--log-file", "log", "--tsig", &laptop];
    let mut home = Home { server: Server::start(folder.path(), &arguments), folder };
    let update = || message::Update::new(1, "example.com");
    // A name that needs escapes of its own.
    assert_eq!(home.send(update().add_a(r#"quote\".tab\009.\195\164.example.com"#, [192, 0, 2, 1])), NOERROR);
    assert_eq!(home.send(update().add_a(r#"a\"b\\.example.org"#, [192, 0, 2, 1])), 10, "NOTZONE");
    Udp::connect(home.server.v4()).ask(&update().unsigned());
    assert!(home.server.terminate().success());
    let text = fs::read_to_string(home.folder.path().join("log")).unwrap();
    assert!(text.lines().count() > 5, "{text}");
    for line in text.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(object[field].is_string(), "no {field}: {line}");
        }
    }
    assert!(text.contains(r#""message":"update applied","zone":"example.com","key":"laptop.""#), "{text}");
}

#[test]
fn the_pid_file_holds_the_number_while_the_server_runs() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let path = folder.path().join("pid");
    let mut server = Server::start(folder.path(), &["--pid-file", "pid"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", server.pid()));
    // What kill -9 leaves behind does not keep the next one from starting.
    server.kill9();
    assert!(path.exists());
    server.restart();
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", server.pid()));
    assert!(server.terminate().success());
    assert!(!path.exists());
}

#[test]
fn a_port_in_use_and_a_state_in_use_are_told_and_the_first_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let first = Server::start(folder.path(), &[]);
    let address = first.v4().to_string();
    assert_eq!(
        error(folder.path(), &["--listen", &address, "--state-dir", "other"]),
        format!(
            "cannot bind {address}: address already in use; another server has this port: end it, or choose another port \
             with --listen"
        )
    );
    assert!(!folder.path().join("other").exists());
    assert_eq!(
        error(folder.path(), &ANY_PORT),
        format!(
            "cannot open the state: state directory state is in use by process {}; stop it or choose another --state-dir",
            first.pid()
        )
    );
    assert_eq!(soa(first.v4(), "example.com"), NOERROR);
}

#[test]
fn a_broken_zone_file_is_told_with_its_line_and_nothing_of_the_others_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let broken = folder.path().join("zones/lab.example.zone");
    let text = "$ORIGIN lab.example.\n$TTL 60\n@ SOA ns hostmaster 1 1h 15m 2w 5m\n@ NS ns\nns A 192.0.2.300\n";
    fs::write(&broken, text).unwrap();
    let said = error(folder.path(), &ANY_PORT);
    assert!(said.starts_with("cannot load zone lab.example: zones/lab.example.zone:5: 192.0.2.300 is "), "{said}");
    assert!(said.contains("; write an IPv4 address"), "{said}");
    // Only when all of them can be read is any of them begun.
    fs::write(&broken, text.replace("300", "30")).unwrap();
    let server = Server::start(folder.path(), &[]);
    // The lines of one stream come in their order.
    server.wait_for_log("listening on UDP and TCP");
    assert_eq!(server.log().matches("zone begun").count(), 3, "{}", server.log());
}

#[test]
fn a_broken_key_is_told_without_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let said = error(folder.path(), &["--tsig", "laptop:top%secret"]);
    assert!(said.starts_with("cannot use --tsig: ") && !said.contains("top"), "{said}");
    fs::create_dir_all(folder.path().join("state/keys")).unwrap();
    let text = "key \"laptop\" {\n  algorithm hmac-sha256;\n  secret \"top%secret\";\n};\n";
    fs::write(folder.path().join("state/keys/laptop.key"), text).unwrap();
    let said = error(folder.path(), &ANY_PORT);
    assert!(said.starts_with("cannot read key file state/keys/laptop.key:3: the secret is not base64; "), "{said}");
    assert!(!said.contains("top%"), "{said}");
    fs::write(folder.path().join("c.toml"), "[[key]]\nname = \"laptop\"\nsecret = \"top%secret\"\n").unwrap();
    let said = error(folder.path(), &["--config", "c.toml"]);
    assert!(said.starts_with("cannot load config c.toml:3: ") && !said.contains("top%"), "{said}");
}

#[test]
fn no_secret_is_in_the_finest_log_nor_in_the_help_and_the_key_file_is_its_owners_alone() {
    let home = Home::with_settings("log-level = \"trace\"");
    assert_eq!(home.send(message::Update::new(1, "example.com").add_a("a.example.com", [192, 0, 2, 1])), NOERROR);
    let key = dyndns::tsig::TsigKey::parse("laptop:d3Jvbmc=").unwrap();
    let forged = message::Update::new(1, "example.com").add_a("b.example.com", [192, 0, 2, 1]).sign(&key);
    Udp::connect(home.server.v4()).ask(&forged.message);
    home.server.wait_for_log("the MAC of key laptop. is wrong");
    home.server.signal("HUP");
    home.server.wait_for_log("configuration reloaded");
    let help = Command::new(env!("CARGO_BIN_EXE_dyndns")).args(["serve", "--help"]).output().unwrap();
    // As base64, and as the bytes that it stands for in each way that a debug text may show them.
    let raw = b"make your own with dyndns";
    let list = format!("{raw:?}");
    for text in [home.server.log(), String::from_utf8(help.stdout).unwrap()] {
        for form in [&SECRET[..12], "make your own", &list[1..20]] {
            assert!(!text.contains(form), "{form} in:\n{text}");
        }
    }

    // A first start under the laxest umask.
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let serve = format!("umask 000; exec {} serve --listen 127.0.0.1:0", env!("CARGO_BIN_EXE_dyndns"));
    let mut command = Command::new("sh");
    command.args(["-c", &serve]).current_dir(folder.path()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut greeting = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut greeting).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state/keys"), mode("state/keys/dyndns.key")), (0o700, 0o600));
}

/// Starts a copy of the server as a user without any right, in a folder which that user may read; `None`, said aloud,
/// where this user may not become another.
fn start_as_nobody(folder: &Path, arguments: &[&str]) -> Option<String> {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.join("dyndns");
    fs::copy(env!("CARGO_BIN_EXE_dyndns"), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let become_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--"];
    if run("setpriv", &[&become_nobody[..], &["true"]].concat(), "").is_none_or(|run| run.code != Some(0)) {
        eprintln!("skipped: this user may not become another one");
        return None;
    }
    let command = [&become_nobody[..], &[copy.to_str().unwrap(), "serve"], arguments].concat();
    let run = run("setpriv", &command, "").unwrap();
    assert_eq!((run.code, run.out.as_str(), run.err.lines().count()), (Some(2), "", 1), "{run:?}");
    Some(run.err)
}

#[test]
fn without_the_right_to_port_53_it_says_what_to_do() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if first.trim() != "1024" {
        eprintln!("skipped: here everybody may use port 53");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let Some(said) = start_as_nobody(folder.path(), &["--listen", "127.0.0.53:53", "--state-dir", "state"]) else {
        return;
    };
    assert_eq!(
        said,
        "error: cannot bind 127.0.0.53:53: permission denied; grant CAP_NET_BIND_SERVICE or listen on a port above 1023\n"
    );
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let state = state.to_str().unwrap();
    let Some(said) = start_as_nobody(folder.path(), &["--listen", "127.0.0.1:0", "--state-dir", state]) else { return };
    assert_eq!(
        said,
        format!(
            "error: cannot open the state: cannot create {state}: permission denied; let the user that runs dyndns read and \
             write there\n"
        )
    );
}
