//! `dyndns agent` and targets of other makers: BIND, Knot, PowerDNS, providers that speak dyndns2, and Route 53 as moto plays it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;
#[path = "http/home.rs"]
#[allow(dead_code, reason = "of the server with an HTTP door a part is used")]
mod home;

use common::agent::{Agent, free, status};
use common::client::SECRET;
use common::web;
use common::{DEADLINE, Lines};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

const AGENT: &str = "[agent]\nsources = [\"fixed:192.0.2.1,2001:db8:0:7::1\"]\nallow = [\"documentation\"]\n";

/// A program that serves until this is dropped.
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program that listens where it is told and says so; another port is tried where that one was taken
/// meanwhile. `None`, said aloud, where it is not installed.
fn peer(program: &str, ready: &str, arguments: impl Fn(SocketAddr) -> Vec<String>) -> Option<(Peer, SocketAddr)> {
    for _ in 0..5 {
        let address = free();
        let mut command = Command::new(program);
        command.args(arguments(address)).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            eprintln!("skipped: {program} is not installed");
            return None;
        };
        let lines = Arc::new(Lines::default());
        lines.gather(child.stdout.take().unwrap());
        lines.gather(child.stderr.take().unwrap());
        let peer = Peer(child);
        if lines.wait_for(DEADLINE, |line| line.contains(ready)).is_some() {
            return Some((peer, address));
        }
        eprintln!("{program}: {}", lines.text());
    }
    panic!("{program} does not start");
}

const ZONE: &str = "$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nr A 192.0.2.99\n";

/// A program's path where the PATH of users lacks it.
fn program(name: &str) -> String {
    let full = format!("/usr/sbin/{name}");
    if Path::new(&full).exists() { full } else { name.to_string() }
}

fn named(folder: &Path) -> Option<(Peer, SocketAddr)> {
    let place = folder.display();
    std::fs::write(folder.join("zone"), ZONE).unwrap();
    peer(&program("named"), "running", |address| {
        let config = format!(
            "options {{ directory \"{place}\"; listen-on port {} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; pid-file none;
             session-keyfile none; managed-keys-directory \"{place}\"; recursion no; notify no; dnssec-validation no; }};
             controls {{}}; key \"laptop\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};
             zone \"example.com\" {{ type primary; file \"zone\"; allow-update {{ key laptop; }}; }};\n",
            address.port()
        );
        std::fs::write(folder.join("named.conf"), config).unwrap();
        ["-g", "-n1", "-c"].map(String::from).into_iter().chain([format!("{place}/named.conf")]).collect()
    })
}

fn knot(folder: &Path) -> Option<(Peer, SocketAddr)> {
    let place = folder.display();
    std::fs::write(folder.join("zone"), ZONE).unwrap();
    peer(&program("knotd"), "server started", |address| {
        let config = format!(
            "server:\n    rundir: {place}\n    listen: 127.0.0.1@{}\ndatabase:\n    storage: {place}\n\
             log:\n  - target: stderr\n    any: info\n\
             key:\n  - id: laptop.\n    algorithm: hmac-sha256\n    secret: {SECRET}\n\
             acl:\n  - id: up\n    key: laptop.\n    action: update\n\
             zone:\n  - domain: example.com.\n    file: {place}/zone\n    acl: up\n",
            address.port()
        );
        std::fs::write(folder.join("knot.conf"), config).unwrap();
        vec!["-c".into(), format!("{place}/knot.conf")]
    })
}

fn pdns_server(folder: &Path) -> Option<(Peer, SocketAddr)> {
    let place = folder.display();
    std::fs::write(folder.join("zone"), ZONE).unwrap();
    let Ok(schema) = std::fs::read("/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql") else {
        eprintln!("skipped: pdns_server with pdns-backend-sqlite3 is not installed");
        return None;
    };
    peer(&program("pdns_server"), "ready to distribute questions", |address| {
        let config = format!(
            "launch=gsqlite3\ngsqlite3-database={place}/pdns.sqlite3\nlocal-address=127.0.0.1\nlocal-port={}\n\
             dnsupdate=yes\nallow-dnsupdate-from=127.0.0.0/8\nsocket-dir={place}\nguardian=no\ndaemon=no\n\
             disable-syslog=yes\nconfig-dir={place}\nsetuid=\nsetgid=\nsecurity-poll-suffix=\n",
            address.port()
        );
        std::fs::write(folder.join("pdns.conf"), config).unwrap();
        // Another port may be tried, upon the same database.
        if !folder.join("pdns.sqlite3").exists() {
            let connection = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.stdin.read())";
            let mut python = Command::new("python3");
            python.args(["-c", connection, &format!("{place}/pdns.sqlite3")]).stdin(Stdio::piped());
            let mut python = python.spawn().unwrap();
            python.stdin.take().unwrap().write_all(&schema).unwrap();
            assert!(python.wait().unwrap().success());
            for arguments in [
                ["load-zone", "example.com", &format!("{place}/zone")].as_slice(),
                &["import-tsig-key", "laptop", "hmac-sha256", SECRET],
                &["set-meta", "example.com", "TSIG-ALLOW-DNSUPDATE", "laptop"],
            ] {
                let mut pdnsutil = Command::new("pdnsutil");
                let output = pdnsutil.arg(format!("--config-dir={place}")).args(arguments).output().unwrap();
                assert!(output.status.success(), "{output:?}");
            }
        }
        vec![format!("--config-dir={place}")]
    })
}

/// Two hosts are brought to a server, found right, and brought there again by another agent when they move.
fn moves_hosts_at(server: SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let config = format!(
        "{AGENT}[[target]]\nname = \"peer\"\ntype = \"rfc2136\"\nserver = \"{server}\"\nkey-file = \"laptop.key\"\n\
         [[host]]\nname = \"r.example.com\"\n[[host]]\nname = \"nas.example.com\"\nderived = \"::53\"\n"
    );
    let mut agent = Agent::start(folder.path(), &config);
    for text in [
        "r.example.com address=192.0.2.1",
        "r.example.com address=2001:db8:0:7::1",
        "nas.example.com address=2001:db8:0:7::53",
    ] {
        agent.wait_for(&format!("host updated target=peer host={text}"));
    }
    agent.kill9();
    let config = config.replace("192.0.2.1,2001:db8:0:7::1", "2001:db8:0:8::1");
    let mut agent = Agent::start(folder.path(), &config);
    agent.wait_for("host updated target=peer host=nas.example.com address=2001:db8:0:8::53");
    agent.kill9();
    let status = status(folder.path());
    assert!(status.contains("  r.example.com 192.0.2.1 since"), "IPv4 stays: {status}");
    assert!(status.contains("  r.example.com 2001:db8:0:8::1 since"), "{status}");
}

#[test]
fn hosts_are_kept_right_at_named() {
    let folder = tempfile::tempdir().unwrap();
    if let Some((_peer, server)) = named(folder.path()) {
        moves_hosts_at(server);
    }
}

#[test]
fn hosts_are_kept_right_at_knotd() {
    let folder = tempfile::tempdir().unwrap();
    if let Some((_peer, server)) = knot(folder.path()) {
        moves_hosts_at(server);
    }
}

#[test]
fn hosts_are_kept_right_at_pdns_server() {
    let folder = tempfile::tempdir().unwrap();
    if let Some((_peer, server)) = pdns_server(folder.path()) {
        moves_hosts_at(server);
    }
}

fn dyndns2(folder: &Path, url: &str, server: SocketAddr, password: &str) -> String {
    std::fs::write(folder.join("password"), format!("{password}\n")).unwrap();
    format!(
        "{AGENT}[[target]]\nname = \"provider\"\ntype = \"dyndns2\"\nurl = \"{url}\"\nuser = \"router\"\n\
         password-file = \"password\"\nserver = \"{server}\"\nverify-after = [0, 0]\n\
         [[host]]\nname = \"router.home.example\"\n[[host]]\nname = \"nas.home.example\"\nderived = \"::53\"\n"
    )
}

#[test]
fn a_provider_that_speaks_dyndns2_is_told_once_and_asked_by_dns() {
    let home = home::Home::new();
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/nic/update", home.http);
    let config = dyndns2(folder.path(), &url, home.server.v4(), &home.password);
    let mut agent = Agent::start(folder.path(), &config);
    for text in [
        "router.home.example address=192.0.2.1",
        "router.home.example address=2001:db8:0:7::1",
        "nas.home.example address=2001:db8:0:7::53",
    ] {
        agent.wait_for(&format!("host updated target=provider host={text}"));
    }
    agent.kill9();
    // IPv4 is not found any more; it stays, also at the provider.
    let mut agent = Agent::start(folder.path(), &config.replace("192.0.2.1,2001:db8:0:7::1", "2001:db8:0:8::1"));
    agent.wait_for("host updated target=provider host=nas.home.example address=2001:db8:0:8::53");
    agent.kill9();
    let zone = home.dyndns(&["zone", "export", "home.example", "--state-dir", "state"]);
    for record in ["192.0.2.1", "2001:db8:0:8::1", "2001:db8:0:8::53"] {
        assert!(zone.contains(record), "{zone}");
    }
    // A provider that erases what it is not told: it is told what stays.
    let (provider, seen) = http(|_, _| (200, "good\n".to_string()));
    let other = dyndns2(folder.path(), &format!("http://{provider}/u"), home.server.v4(), "x");
    let other =
        other.replace("192.0.2.1,2001:db8:0:7::1", "2001:db8:0:9::1").replace("nas.home.example", "r.home.example");
    let mut agent = Agent::start(folder.path(), &other);
    agent.wait_for("target not brought up to date");
    agent.kill9();
    let request = "GET /u?hostname=router.home.example&myip=2001:db8:0:9::1,192.0.2.1 HTTP/1.1";
    assert!(seen.lock().unwrap()[0].starts_with(request), "{seen:?}");
    let wrong = dyndns2(folder.path(), &url, home.server.v4(), "wrong").replace("192.0.2.1", "192.0.2.2");
    let agent = Agent::start(folder.path(), &wrong);
    agent.wait_for("user or password is wrong (badauth); mend them in the configuration");
}

/// A provider that answers each request by what `answer` says of its first line and body.
fn http(answer: impl Fn(&str, &str) -> (u16, String) + Send + 'static) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    web::serve(move |line, body| {
        let (status, text) = answer(line, body);
        (status, "", text)
    })
}

#[test]
fn a_provider_that_is_slow_to_show_a_change_is_not_told_it_again() {
    let home = home::Home::new();
    let (provider, seen) = http(|_, _| (200, "good\ngood\n".to_string()));
    let folder = tempfile::tempdir().unwrap();
    let config = dyndns2(folder.path(), &format!("http://{provider}/nic/update"), home.server.v4(), "x");
    let config = config.replace("192.0.2.1,2001:db8:0:7::1", "192.0.2.1").replace("derived = \"::53\"\n", "");
    let agent = Agent::start(folder.path(), &config);
    for failures in [1, 2] {
        let line = agent.wait_for(&format!("failures={failures} "));
        assert!(line.contains("does not show it; it is looked for again"), "{line}");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let request = "GET /nic/update?hostname=router.home.example,nas.home.example&myip=192.0.2.1 HTTP/1.1";
    assert!(seen[0].starts_with(request), "{seen:?}");
}

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "testing"), ("AWS_SECRET_ACCESS_KEY", "testing"), ("AWS_EC2_METADATA_DISABLED", "true")];

fn route53(endpoint: SocketAddr, more: &str) -> String {
    format!(
        "{AGENT}[[target]]\nname = \"aws\"\ntype = \"route53\"\nendpoint = \"http://{endpoint}\"\nverify-after = [0, 0, 0, 0]\n{more}\
         [[host]]\nname = \"r.example.com\"\n[[host]]\nname = \"nas.example.com\"\nderived = \"::53\"\n"
    )
}

#[test]
fn route_53_is_looked_after_until_every_server_has_the_change() {
    let info = |status: &str| {
        format!(
            "<ChangeInfo><Id>/change/C1</Id><Status>{status}</Status><SubmittedAt>2026-01-01T00:00:00Z</SubmittedAt></ChangeInfo>"
        )
    };
    let looks = Mutex::new(0);
    let (endpoint, seen) = http(move |line, _| {
        let answer = if line.starts_with("POST") {
            format!("<ChangeResourceRecordSetsResponse>{}</ChangeResourceRecordSetsResponse>", info("PENDING"))
        } else if line.contains("/change/") {
            *looks.lock().unwrap() += 1;
            let status = if *looks.lock().unwrap() < 3 { "PENDING" } else { "INSYNC" };
            format!("<GetChangeResponse>{}</GetChangeResponse>", info(status))
        } else {
            "<ListResourceRecordSetsResponse><ResourceRecordSets></ResourceRecordSets><IsTruncated>false</IsTruncated>\
             <MaxItems>20</MaxItems></ListResourceRecordSetsResponse>"
                .to_string()
        };
        (200, answer)
    });
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start_with(folder.path(), &route53(endpoint, "zone-id = \"Z1\"\n"), &KEYS);
    agent.wait_for("host updated target=aws host=nas.example.com address=2001:db8:0:7::53");
    let seen = seen.lock().unwrap();
    let looks = seen.iter().filter(|line| line.starts_with("GET /2013-04-01/change/C1")).count();
    assert_eq!(looks, 3, "{seen:#?}");
    let batches: Vec<&String> =
        seen.iter().filter(|line| line.starts_with("POST /2013-04-01/hostedzone/Z1/rrset")).collect();
    assert_eq!(batches.len(), 1, "all names go in one batch: {seen:#?}");
    assert_eq!(batches[0].matches("<Action>UPSERT</Action>").count(), 3, "{batches:#?}");
    assert_eq!(batches[0].matches("<TTL>30</TTL>").count(), 3, "{batches:#?}");
}

#[test]
fn what_route_53_refuses_is_told_in_its_words() {
    let (endpoint, _) = http(|_, _| {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no right to it</Message></Error></ErrorResponse>";
        (403, error.to_string())
    });
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start_with(folder.path(), &route53(endpoint, ""), &KEYS);
    agent.wait_for("cannot find the zone of r.example.com at route53: AccessDenied: no right to it; give the key the rights of the README");

    // A new user without any credentials.
    let home = folder.path().to_str().unwrap();
    let nobody = [("HOME", home), ("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_ACCESS_KEY_ID", "")];
    drop(agent);
    let agent = Agent::start_with(folder.path(), &route53(endpoint, ""), &nobody);
    agent.wait_for("give the agent AWS credentials, as the README says");
}

#[test]
fn the_credentials_of_route_53_are_those_of_the_profile_and_the_region_need_not_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name).to_str().unwrap().to_string()
    };
    let keys = |name: &str| format!("[{name}]\naws_access_key_id = KEY-OF-{name}\naws_secret_access_key = x\n");
    let credentials = write("credentials", &[keys("default"), keys("home")].concat());
    let config = write("config", "[profile home]\nregion = eu-south-2\n");
    let files = [
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str()),
        ("AWS_CONFIG_FILE", config.as_str()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    for (more, signed) in [
        ([].as_slice(), "Credential=KEY-OF-default/date/us-east-1/route53/"),
        (&[("AWS_PROFILE", "home")], "Credential=KEY-OF-home/date/eu-south-2/route53/"),
        (&[("AWS_PROFILE", "home"), ("AWS_REGION", "eu-west-3")], "Credential=KEY-OF-home/date/eu-west-3/route53/"),
    ] {
        let (endpoint, seen) = http(|_, _| (403, String::new()));
        let agent = Agent::start_with(folder.path(), &route53(endpoint, ""), &[&files[..], more].concat());
        agent.wait_for("target not brought up to date");
        let seen = seen.lock().unwrap()[0].clone();
        let (_, credential) = seen.split_once("Credential=").unwrap_or_else(|| panic!("{seen}"));
        let parts: Vec<&str> = credential.splitn(5, '/').collect();
        let shown = format!("Credential={}/date/{}/{}/", parts[0], parts[2], parts[3]);
        assert_eq!(shown, signed, "{seen}");
    }
}

/// Asks moto without a signature, which it does not look at, and returns the body.
fn raw(server: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let scope =
        "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/route53/aws4_request, SignedHeaders=host, Signature=0";
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: route53.amazonaws.com\r\nAuthorization: {scope}\r\nConnection: close\r\n\
         Content-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn hosts_are_kept_right_at_route_53_as_moto_plays_it() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto/bin/moto_server");
    let moto = peer(program.to_str().unwrap(), "Running on", |address| {
        vec!["-H".into(), "127.0.0.1".into(), "-p".into(), address.port().to_string()]
    });
    let Some((_peer, server)) = moto else { return };
    let zone = |name: &str, reference: &str| {
        let body = format!(
            "<CreateHostedZoneRequest xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><Name>{name}</Name>\
             <CallerReference>{reference}</CallerReference></CreateHostedZoneRequest>"
        );
        let answer = raw(server, "POST", "/2013-04-01/hostedzone", &body);
        let (_, rest) = answer.split_once("<Id>/hostedzone/").unwrap_or_else(|| panic!("{answer}"));
        rest.split('<').next().unwrap().to_string()
    };
    let (id, _) = (zone("example.com.", "1"), zone("com.", "2"));
    let folder = tempfile::tempdir().unwrap();
    let config = route53(server, "");
    let mut agent = Agent::start_with(folder.path(), &config, &KEYS);
    for text in [
        "r.example.com address=192.0.2.1",
        "r.example.com address=2001:db8:0:7::1",
        "nas.example.com address=2001:db8:0:7::53",
    ] {
        agent.wait_for(&format!("host updated target=aws host={text}"));
    }
    agent.kill9();
    let held = || raw(server, "GET", &format!("/2013-04-01/hostedzone/{id}/rrset"), "");
    let first = held();
    for text in ["<Value>192.0.2.1</Value>", "<Value>2001:db8:0:7::1</Value>", "<TTL>30</TTL>"] {
        assert!(first.contains(text), "{first}");
    }
    let mut agent = Agent::start_with(folder.path(), &config.replace("192.0.2.1,2001:db8:0:7::1", "192.0.2.8"), &KEYS);
    agent.wait_for("host updated target=aws host=r.example.com address=192.0.2.8");
    agent.kill9();
    let second = held();
    assert!(second.contains("<Value>192.0.2.8</Value>") && !second.contains("<Value>192.0.2.1</Value>"), "{second}");
    assert!(second.contains("<Value>2001:db8:0:7::1</Value>"), "IPv6 stays: {second}");
}

#[test]
fn somebody_is_told_of_a_change_by_a_command_and_a_webhook() {
    let home = home::Home::new();
    let (hook, seen) = http(|_, _| (204, String::new()));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/nic/update", home.http);
    let config = dyndns2(folder.path(), &url, home.server.v4(), &home.password);
    let notify = format!(
        "log-level = \"debug\"\n[agent.notify]\ncommand = \"cat >told; echo $DYNDNS_EVENT $DYNDNS_TARGET >>told\"\nwebhook = \"http://{hook}/x\"\n"
    );
    let config = config.replacen("allow = [\"documentation\"]\n", &format!("allow = [\"documentation\"]\n{notify}"), 1);
    let agent = Agent::start(folder.path(), &config);
    agent.wait_for("told way=\"command\" event=\"changed\"");
    agent.wait_for("told way=\"webhook\" event=\"changed\"");
    let text = "router.home.example is now 192.0.2.1, router.home.example is now 2001:db8:0:7::1, nas.home.example is now 2001:db8:0:7::53 at provider";
    assert_eq!(std::fs::read_to_string(folder.path().join("told")).unwrap(), format!("{text}\nchanged provider\n"));
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].starts_with("POST /x HTTP/1.1 {\"event\":\"changed\",\"target\":\"provider\",\"text\":\"router"),
        "{seen:?}"
    );
}
