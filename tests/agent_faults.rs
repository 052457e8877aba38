//! `dyndns agent` where the world around it misbehaves: what must not happen then.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;
#[path = "http/home.rs"]
#[allow(dead_code, reason = "of the server with an HTTP door a part is used")]
mod door;

use common::DEADLINE;
use common::agent::{Agent, free, status};
use common::client::Home;
use common::house::House;
use common::web;
use dyndns::clock::Clock;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const TOKEN: &str = "a token of our own";
const DOOR: &str = "[agent.http]\nlisten = \"127.0.0.1:0\"\ntoken-file = \"token\"\n";

/// A configuration with these sources, options and one target and host.
fn config(folder: &Path, sources: &str, more: &str, server: SocketAddr) -> String {
    std::fs::write(folder.join("token"), TOKEN).unwrap();
    format!(
        "[agent]\nsources = [{sources}]\nallow = [\"documentation\", \"private\", \"loopback\"]\n{more}\
         [[target]]\nname = \"home\"\ntype = \"rfc2136\"\nserver = \"{server}\"\nkey-file = \"laptop.key\"\n\
         zone = \"example.com\"\n[[host]]\nname = \"r.example.com\"\n"
    )
}

/// Where the agent's own page is.
fn page(agent: &Agent) -> SocketAddr {
    agent.wait_for("listening on HTTP address=").rsplit_once('=').unwrap().1.trim().parse().unwrap()
}

/// Asks for a check; the answer is read by whoever wants it.
fn ask_for_a_check(page: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(page).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let request = format!("POST /check HTTP/1.1\r\nHost: {page}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn read(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A page that answers each request with this status, header lines and body.
fn answers(status: u16, headers: &'static str, body: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    web::serve(move |_, _| (status, headers, body.to_string()))
}

#[test]
fn a_proxy_of_the_environment_does_not_tell_where_we_are() {
    // The page was asked for through the proxy, and saw that one's address.
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    let ((page, _), (proxy, seen)) = (answers(200, "", "192.0.2.1"), answers(200, "", "192.0.2.66"));
    let proxy = format!("http://{proxy}");
    let config = config(folder.path(), &format!("\"url:http://{page}/\""), "", home.server.v4());
    let agent = Agent::start_with(folder.path(), &config, &[("http_proxy", &proxy), ("all_proxy", &proxy)]);
    agent.wait_for("host updated target=home host=r.example.com address=192.0.2.1");
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_page_that_turns_in_circles_or_elsewhere_is_not_believed() {
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    let (portal, _) = answers(302, "Location: http://portal.example/login\r\n", "192.0.2.66");
    let (circle, seen) = answers(302, "Location: /\r\n", "192.0.2.66");
    let (broken, _) = answers(500, "", "192.0.2.66");
    let pages = [portal, circle, broken].map(|page| format!("\"url:http://{page}/\"")).join(", ");
    let config = config(folder.path(), &format!("{pages}, \"fixed:192.0.2.1\""), "", home.server.v4());
    let agent = Agent::start(folder.path(), &config);
    let line = agent.wait_for("host updated target=home host=r.example.com address=");
    assert!(line.ends_with("address=192.0.2.1"), "{line}");
    let told = agent.wait_for("addresses found");
    for (page, status) in [(portal, 302), (circle, 302), (broken, 500)] {
        assert!(told.contains(&format!("url:{page}: the server answers {status}")), "{told}");
    }
    assert!(seen.lock().unwrap().len() <= 10, "{seen:?}");
}

#[test]
fn secrets_in_sources_and_notices_are_neither_logged_nor_shown() {
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    let ((page_of_ours, _), (hook, _)) = (answers(200, "", "none"), answers(403, "", ""));
    let sources = format!(
        "\"url:http://{page_of_ours}/pearl?key=pearl\", \"command:TOKEN=pearl false pearl\", \
         \"command:PEARL=pearl echo 192.0.2.1 && true pearl\""
    );
    let more = format!("log-level = \"trace\"\n[agent.notify]\nwebhook = \"http://{hook}/pearl?key=pearl\"\n{DOOR}");
    let agent = Agent::start(folder.path(), &config(folder.path(), &sources, &more, home.server.v4()));
    agent.wait_for("nobody was told: the webhook's server answers 403");
    let answer = read(ask_for_a_check(page(&agent)));
    assert!(answer.contains("command:false: it failed"), "{answer}");
    let all = [agent.said(), answer, status(folder.path())].concat().to_lowercase();
    let secret = common::client::SECRET.to_lowercase();
    assert!(!all.contains("pearl") && !all.contains(&secret) && !all.contains(TOKEN), "{all}");
}

#[test]
fn a_look_is_finished_though_checks_are_asked_for_meanwhile_and_one_more_answers_them_all() {
    // Each request cut the look short and began it anew, so that whoever asked often enough let none come to its end.
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    let make = Command::new("mkfifo").arg(folder.path().join("gate")).status().unwrap();
    assert!(make.success());
    let look = "\"command:echo begun >>looks; cat gate; echo ended >>looks\"";
    let agent = Agent::start(folder.path(), &config(folder.path(), look, DOOR, home.server.v4()));
    let door = page(&agent);
    let open = || std::fs::OpenOptions::new().write(true).open(folder.path().join("gate")).unwrap();
    // The look has begun once its command reads.
    let mut gate = open();
    let checks: Vec<TcpStream> = (0..3).map(|_| ask_for_a_check(door)).collect();
    // The page answers in the same thread, after it has taken those.
    let mut stream = TcpStream::connect(door).unwrap();
    stream
        .write_all(format!("GET / HTTP/1.1\r\nHost: {door}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n").as_bytes())
        .unwrap();
    assert!(read(stream).starts_with("HTTP/1.1 200"));
    gate.write_all(b"192.0.2.1\n").unwrap();
    drop(gate);
    agent.wait_for("host updated target=home host=r.example.com address=192.0.2.1");
    let mut gate = open();
    gate.write_all(b"192.0.2.2\n").unwrap();
    drop(gate);
    for check in checks {
        let answer = read(check);
        assert!(answer.contains("\"address\":\"192.0.2.2\"") && answer.contains("\"fault\":null"), "{answer}");
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("looks")).unwrap(), "begun\nended\nbegun\nended\n");
}

#[test]
fn a_page_that_could_not_be_opened_is_opened_at_the_next_reload() {
    // It was tried again only once its configuration had changed.
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap();
    let without = config(folder.path(), "\"fixed:192.0.2.1\"", "", home.server.v4());
    let door = format!("[agent.http]\nlisten = \"{place}\"\ntoken-file = \"token\"\n");
    let with = config(folder.path(), "\"fixed:192.0.2.1\"", &door, home.server.v4());
    let agent = Agent::start(folder.path(), &without);
    agent.wait_for("agent started");
    std::fs::write(folder.path().join("agent.toml"), with).unwrap();
    agent.signal("HUP");
    agent.wait_for("there is no page: cannot bind");
    drop(taken);
    agent.signal("HUP");
    agent.wait_for(&format!("listening on HTTP address={place}"));
}

#[test]
fn what_a_command_has_started_ends_with_the_agent() {
    // The shell alone was ended, and each check left what hung in it.
    let folder = tempfile::tempdir().unwrap();
    let look = "\"command:sleep 300 & echo $! >hanging.new; mv hanging.new hanging; wait\"";
    let mut agent = Agent::start(folder.path(), &config(folder.path(), look, "", free()));
    let waits = "for i in $(seq 300); do [ -e hanging ] && exit; sleep 0.1; done; exit 1";
    assert!(Command::new("sh").args(["-c", waits]).current_dir(folder.path()).status().unwrap().success());
    agent.signal("TERM");
    assert!(agent.wait().success());
    let gone = "for i in $(seq 300); do [ -e /proc/$(cat hanging) ] || exit 0; sleep 0.1; done; exit 1";
    let gone = Command::new("sh").args(["-c", gone]).current_dir(folder.path()).status().unwrap();
    assert!(gone.success(), "the command's child still runs");
}

#[test]
fn a_provider_that_refuses_is_left_alone_for_a_while() {
    // The protocol asks for it, and providers block who does not. Each retry was a request, from five seconds on.
    let home = door::Home::new();
    let folder = tempfile::tempdir().unwrap();
    let (provider, seen) = answers(200, "", "badauth");
    std::fs::write(folder.path().join("password"), "x\n").unwrap();
    let config = config(folder.path(), "\"fixed:192.0.2.1\"", DOOR, home.server.v4())
        .replace(
            "type = \"rfc2136\"",
            &format!("type = \"dyndns2\"\nurl = \"http://{provider}/u\"\nuser = \"u\"\npassword-file = \"password\""),
        )
        .replace("key-file = \"laptop.key\"\nzone = \"example.com\"\n", "")
        .replace("r.example.com", "router.home.example");
    let agent = Agent::start(folder.path(), &config);
    agent.wait_for("(badauth); mend them in the configuration");
    for _ in 0..2 {
        let answer = read(ask_for_a_check(page(&agent)));
        assert!(answer.contains("(badauth)") && answer.contains("half an hour"), "{answer}");
    }
    assert_eq!(seen.lock().unwrap().len(), 1, "{seen:?}");
    agent.signal("HUP");
    agent.wait_for("configuration reloaded");
    let answer = read(ask_for_a_check(page(&agent)));
    assert!(answer.contains("(badauth)"), "{answer}");
    assert_eq!(seen.lock().unwrap().len(), 2, "{seen:?}");
}

#[test]
fn what_is_being_told_is_told_though_the_agent_reloads_or_ends() {
    // Whoever was being told when the configuration was read anew never was.
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("gate")).status().unwrap().success());
    let notify = "[agent.notify]\ncommand = \"echo begun >>begun; read word <gate; echo $word >>told\"\n";
    let config = |last| config(folder.path(), &format!("\"fixed:192.0.2.{last}\""), notify, home.server.v4());
    // Open for both, so that neither end waits for the other.
    let open = || std::fs::OpenOptions::new().read(true).write(true).open(folder.path().join("gate")).unwrap();
    let wait_for = |file: &str, lines: usize| {
        let script =
            format!("for i in $(seq 300); do [ \"$(wc -l <{file})\" = {lines} ] && exit; sleep 0.1; done; exit 1");
        let waited = Command::new("sh").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        assert!(waited.status.success(), "{file} has no {lines} lines");
    };
    let mut agent = Agent::start(folder.path(), &config(1));
    wait_for("begun", 1);
    agent.signal("HUP");
    agent.wait_for("configuration reloaded");
    let mut gate = open();
    gate.write_all(b"one\n").unwrap();
    wait_for("told", 1);

    std::fs::write(folder.path().join("agent.toml"), config(2)).unwrap();
    agent.signal("HUP");
    wait_for("begun", 2);
    agent.signal("TERM");
    gate.write_all(b"two\n").unwrap();
    assert!(agent.wait().success());
    wait_for("told", 2);
}

#[test]
fn a_host_that_is_refused_holds_up_no_other() {
    // All hosts of a zone go in one message, which was refused for the sake of one; and a host of no zone there kept all
    // others from being looked at.
    let (folder, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let zone = "$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nalias CNAME ns\n";
    std::fs::write(home.path().join("home.test.zone"), zone).unwrap();
    let settings = format!(
        "[[key]]\nname = \"laptop\"\nsecret = \"{}\"\n[[zone]]\nname = \"home.test\"\nfile = \"home.test.zone\"\n\
         grants = [{{ key = \"laptop\", rule = \"name\", name = \"r\" }}, {{ key = \"laptop\", rule = \"name\", name = \"n\" }}, \
         {{ key = \"laptop\", rule = \"name\", name = \"alias\" }}]\n",
        common::client::SECRET
    );
    std::fs::write(home.path().join("dyndns.toml"), settings).unwrap();
    let server = common::Server::start(home.path(), &["--config", "dyndns.toml"]);
    let hosts = ["a.elsewhere.test", "foreign.home.test", "r.home.test", "alias.home.test", "n.home.test"];
    let hosts = hosts.map(|name| format!("[[host]]\nname = \"{name}\"\n")).concat();
    let config = config(folder.path(), "\"fixed:192.0.2.1\"", DOOR, server.v4())
        .replace("zone = \"example.com\"\n[[host]]\nname = \"r.example.com\"\n", &hosts);
    let agent = Agent::start(folder.path(), &config);
    for name in ["r", "n"] {
        agent.wait_for(&format!("host updated target=home host={name}.home.test address=192.0.2.1"));
    }
    let status = status(folder.path());
    for name in ["a.elsewhere.test", "foreign.home.test", "alias.home.test"] {
        assert!(status.contains(&format!("  {name} 192.0.2.1 still to be written\n")), "{status}");
    }
    assert!(status.contains("  r.home.test 192.0.2.1 since 20"), "{status}");
    let answer = read(ask_for_a_check(page(&agent)));
    assert!(answer.contains("cannot find the zone of a.elsewhere.test"), "{answer}");
    // What is refused by itself says so.
    let config = config.replace("[[host]]\nname = \"a.elsewhere.test\"\n", "");
    std::fs::write(folder.path().join("agent.toml"), config).unwrap();
    agent.signal("HUP");
    agent.wait_for("cannot update foreign.home.test in zone home.test");
}

#[test]
fn a_route_53_that_never_answers_is_given_up() {
    // Nothing bounded the wait, so the target was never tried again.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = silent.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), "\"fixed:192.0.2.1\"", "", free());
    let route53 = format!("type = \"route53\"\nendpoint = \"http://{endpoint}\"");
    let config = config.replace("type = \"rfc2136\"", &route53).replace("key-file = \"laptop.key\"\n", "");
    let server = config.lines().find(|line| line.starts_with("server")).unwrap().to_string();
    let keys = [("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_EC2_METADATA_DISABLED", "true")];
    let agent = Agent::start_with(folder.path(), &config.replace(&format!("{server}\n"), ""), &keys);
    let fault = agent.wait_for("target not brought up to date");
    assert!(fault.contains("cannot find the zone of r.example.com at route53") && fault.contains("time"), "{fault}");
}

#[test]
fn somebody_else_who_keeps_the_same_name_is_told_of() {
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), &config(folder.path(), "\"fixed:192.0.2.1\"", DOOR, home.server.v4()));
    agent.wait_for("host updated target=home host=r.example.com address=192.0.2.1");
    let place = home.server.v4().to_string();
    let key = folder.path().join("laptop.key");
    let other = Command::new(env!("CARGO_BIN_EXE_dyndns"))
        .args(["update", "r.example.com", "--server", &place, "--key-file", key.to_str().unwrap()])
        .args(["--allow", "documentation", "192.0.2.2"])
        .output()
        .unwrap();
    assert!(other.status.success(), "{other:?}");
    let answer = read(ask_for_a_check(page(&agent)));
    assert!(answer.contains("\"address\":\"192.0.2.1\""), "{answer}");
    agent.wait_for("somebody else has changed a host; see what else writes to it target=home host=r.example.com");
}

const ZONE: &str = "$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n";

/// In a namespace: an agent that looks at `sources`, with all time by itself.
fn agent_in(house: &House, sources: &str) -> common::house::Inhabitant {
    house.key();
    let config = format!(
        "[agent]\nsources = [{sources}]\nallow = [\"documentation\"]\ncheck-every = 86400\n\
         [[target]]\nname = \"home\"\ntype = \"rfc2136\"\nserver = \"127.0.0.1\"\nkey-file = \"laptop.key\"\n\
         [[host]]\nname = \"router.home.test\"\n"
    );
    std::fs::write(house.folder.path().join("agent.toml"), config).unwrap();
    house.start(env!("CARGO_BIN_EXE_dyndns"), &["agent", "--config", "agent.toml"])
}

#[test]
fn in_a_network_namespace_of_two_networks_one_is_kept_however_often_routers_renew_them() {
    // The one preferred for longer was taken, and that is by turns one and the other: each renewal was a write.
    let Some(house) = House::build() else { return };
    house.ip("link add wan type veth peer name isp");
    house.ip("link set wan up");
    house.ip("address add 2001:db8:1::7/64 dev wan nodad valid_lft 9000 preferred_lft 4000");
    house.ip("address add 2001:db8:2::7/64 dev wan nodad valid_lft 9000 preferred_lft 3000");
    let _server = house.serve(ZONE);
    let agent = agent_in(&house, "\"interface:wan\"");
    agent.wait_for("host updated target=home host=router.home.test address=2001:db8:2::7");
    house.ip("address change 2001:db8:1::7/64 dev wan valid_lft 9000 preferred_lft 8000");
    house.ip("address add 198.51.100.7/24 dev wan");
    agent.wait_for("host updated target=home host=router.home.test address=198.51.100.7");
    assert_eq!(house.dig("router.home.test", "AAAA"), "2001:db8:2::7\n");
    // The router takes that network back.
    house.ip("address change 2001:db8:2::7/64 dev wan valid_lft 9000 preferred_lft 0");
    agent.wait_for("host updated target=home host=router.home.test address=2001:db8:1::7");
}

#[test]
fn in_a_network_namespace_an_interface_that_comes_and_goes_is_no_flood_of_questions() {
    // Each change was a look at every source, five in a second, and a look that takes longer never ended.
    let Some(house) = House::build() else { return };
    house.ip("link add wan type veth peer name isp");
    house.ip("link set wan up");
    let _server = house.serve(ZONE);
    let agent = agent_in(&house, "\"command:echo look >>looks; echo 192.0.2.1\"");
    agent.wait_for("host updated target=home host=router.home.test address=192.0.2.1");
    let begin = Clock::System.monotonic_micros();
    let storm = "for i in $(seq 20); do ip address add 198.51.100.$i/32 dev wan; sleep 0.4; done";
    assert!(house.run("sh", &["-c", storm]).status.success());
    agent.wait_for("the addresses of this machine have changed");
    let looks = std::fs::read_to_string(house.folder.path().join("looks")).unwrap().lines().count();
    let seconds = usize::try_from((Clock::System.monotonic_micros() - begin) / 1_000_000).unwrap();
    // The first, one at once, and then one in five seconds at most.
    assert!(looks <= 3 + seconds / 5, "{looks} looks in {seconds} s");
}

#[test]
fn in_a_network_namespace_the_interface_that_leads_to_the_world_is_meant_and_no_bridge() {
    // A bridge's address is for ever, that of the router's lease is not, and the first was published.
    let Some(house) = House::build() else { return };
    for link in ["wan", "bridge"] {
        house.ip(&format!("link add {link} type veth peer name {link}-end"));
        house.ip(&format!("link set {link} up"));
    }
    house.ip("address add 203.0.113.1/24 dev bridge");
    house.ip("address add 2001:db8:b::1/64 dev bridge nodad");
    house.ip("address add 198.51.100.7/24 dev wan valid_lft 9000 preferred_lft 9000");
    house.ip("address add 2001:db8:a::7/64 dev wan nodad valid_lft 9000 preferred_lft 9000");
    house.ip("route add default via 198.51.100.1 dev wan");
    house.ip("-6 route add default via 2001:db8:a::1 dev wan");
    let _server = house.serve(ZONE);
    let agent = agent_in(&house, "\"interface\"");
    for address in ["198.51.100.7", "2001:db8:a::7"] {
        agent.wait_for(&format!("host updated target=home host=router.home.test address={address}"));
    }
}

#[test]
fn in_a_network_namespace_a_temporary_address_that_others_see_stands_for_the_lasting_one() {
    // A server saw the address of the day, and that one was published. Sources never agreed, for each saw another.
    let Some(house) = House::build() else { return };
    house.ip("link add wan type veth peer name isp");
    house.ip("link set wan up");
    house.ip("link set isp up");
    let privacy = house.run("sh", &["-c", "echo 2 >/proc/sys/net/ipv6/conf/wan/use_tempaddr"]);
    assert!(privacy.status.success(), "{privacy:?}");
    house.ip("address add 2001:db8:1::7/64 dev wan nodad mngtmpaddr valid_lft 9000 preferred_lft 4000");
    let temporary = || {
        let listed = house.run("ip", &["-6", "-o", "address", "show", "dev", "wan", "temporary", "-tentative"]);
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        Some(listed.split_once("inet6 ")?.1.split_once('/')?.0.to_string())
    };
    let temporary = (0..300).find_map(|_| {
        let found = temporary();
        if found.is_none() {
            house.run("sleep", &["0.1"]);
        }
        found
    });
    let temporary = temporary.unwrap();
    let _server = house.serve(ZONE);
    let agent = agent_in(&house, &format!("\"command:echo {temporary}\""));
    let line = agent.wait_for("host updated target=home host=router.home.test address=");
    assert!(line.ends_with("address=2001:db8:1::7"), "{temporary}: {line}");
}
