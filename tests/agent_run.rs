//! `dyndns agent`, as it runs: against our server, in a machine of its own, and after a crash.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::Server;
use common::agent::{Agent, free, said, status};
use common::client::Home;
use common::house::House;
use std::net::SocketAddr;
use std::process::Command;

/// A target in the agent's configuration.
fn target(name: &str, server: SocketAddr) -> String {
    format!(
        "[[target]]\nname = \"{name}\"\ntype = \"rfc2136\"\nserver = \"{server}\"\nkey-file = \"laptop.key\"\nzone = \"example.com\"\n"
    )
}

const HOSTS: &str = "[[host]]\nname = \"r.example.com\"\n[[host]]\nname = \"nas.example.com\"\nderived = \"::53\"\n";
const FIXED: &str = "[agent]\nsources = [\"fixed:192.0.2.1,2001:db8:0:7::1\"]\nallow = [\"documentation\"]\n";

#[test]
fn every_target_is_brought_up_to_date_and_a_dead_one_holds_up_no_other() {
    let (one, two) = (Home::start(), Home::start());
    let folder = tempfile::tempdir().unwrap();
    let targets = [target("one", one.server.v4()), target("dead", free()), target("two", two.server.v6())].concat();
    let agent = Agent::start(folder.path(), &format!("{FIXED}{targets}{HOSTS}"));
    for name in ["one", "two"] {
        agent.wait_for(&format!("host updated target={name} host=r.example.com address=192.0.2.1"));
        agent.wait_for(&format!("host updated target={name} host=nas.example.com address=2001:db8:0:7::53"));
    }
    let fault = agent.wait_for("target not brought up to date");
    assert!(
        fault.contains("no answer over UDP and TCP (connection refused)") && fault.contains("target=dead"),
        "{fault}"
    );
    for home in [&one, &two] {
        let Some(v4) = home.records("r.example.com", "A") else { return };
        assert_eq!(v4, ["192.0.2.1"]);
        assert_eq!(home.records("nas.example.com", "AAAA").unwrap(), ["2001:db8:0:7::53"]);
    }
    let status = status(folder.path());
    assert!(status.starts_with("found 192.0.2.1 and 2001:db8:0:7::1, last check 20"), "{status}");
    assert!(status.contains("target dead: last check 20") && status.contains(", failed "), "{status}");
    assert!(status.contains("  r.example.com 192.0.2.1 still to be written\n"), "{status}");
    assert!(status.contains("  r.example.com 192.0.2.1 since 20"), "{status}");
}

#[test]
fn a_reload_takes_a_new_configuration_and_a_broken_one_changes_nothing() {
    let home = Home::start();
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{FIXED}{}{HOSTS}", target("home", home.server.v4()));
    let mut agent = Agent::start(folder.path(), &config);
    agent.wait_for("host=nas.example.com address=2001:db8:0:7::53");
    std::fs::write(folder.path().join("agent.toml"), "[agent]\nbanana = 1\n").unwrap();
    agent.signal("HUP");
    agent.wait_for(
        "configuration not reloaded, the old one stays in force: cannot load config agent.toml:2: unknown key banana",
    );
    std::fs::write(folder.path().join("agent.toml"), config.replace("192.0.2.1", "192.0.2.9")).unwrap();
    agent.signal("HUP");
    agent.wait_for("configuration reloaded");
    agent.wait_for("host updated target=home host=r.example.com address=192.0.2.9");
    // Another TTL is another configuration too, and nobody else has changed the host.
    let with_ttl = config.replace("192.0.2.1", "192.0.2.9").replace("zone =", "ttl = 47\nzone =");
    std::fs::write(folder.path().join("agent.toml"), with_ttl).unwrap();
    agent.signal("HUP");
    agent.wait_for_times(2, "host updated target=home host=r.example.com address=192.0.2.9");
    agent.wait_for_times(2, "host updated target=home host=nas.example.com");
    assert!(!agent.said().contains("somebody else"), "{}", agent.said());
    agent.signal("TERM");
    agent.wait_for("stopped signal=\"SIGTERM\"");
    assert!(agent.wait().success());
}

#[test]
fn what_was_still_to_be_written_is_written_after_kill_9_though_no_source_tells_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let place = free();
    let config = format!("{FIXED}{}{HOSTS}", target("home", place));
    let mut agent = Agent::start(folder.path(), &config);
    agent.wait_for("target not brought up to date");
    agent.kill9();
    assert!(
        status(folder.path()).contains("  r.example.com 192.0.2.1 still to be written\n"),
        "{}",
        status(folder.path())
    );

    let home = tempfile::tempdir().unwrap();
    common::client::copy_zones(home.path());
    let key = format!("laptop:{}", common::client::SECRET);
    let _server = Server::start(home.path(), &["--tsig", &key, "--listen", &place.to_string()]);
    let silent = config.replace("fixed:192.0.2.1,2001:db8:0:7::1", "command:false");
    let agent = Agent::start(folder.path(), &silent);
    agent.wait_for("no address found; what the targets hold stays: command:false: it failed");
    agent.wait_for("host updated target=home host=r.example.com address=192.0.2.1");
    agent.wait_for("host updated target=home host=nas.example.com address=2001:db8:0:7::53");
    agent.wait_for("target up to date again");
    assert!(!status(folder.path()).contains("still to be written"), "{}", status(folder.path()));
}

#[test]
fn what_is_being_written_at_kill_9_is_known_to_the_next_run() {
    // It takes a question and never answers.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{FIXED}{}{HOSTS}", target("home", silent.local_addr().unwrap()));
    let mut agent = Agent::start(folder.path(), &config);
    silent.recv(&mut [0; 512]).unwrap();
    agent.kill9();
    let status = status(folder.path());
    assert!(status.contains("target home: last check never\n"), "{status}");
    assert!(status.contains("  nas.example.com 2001:db8:0:7::53 still to be written\n"), "{status}");
}

const ZONE: &str = "$TTL 60\n@ SOA ns admin 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nrouter A 192.0.2.1\n";

#[test]
fn in_a_network_namespace_a_new_address_is_noticed_at_once_and_a_lost_one_leaves_the_other_family() {
    let Some(house) = House::build() else { return };
    house.ip("link add wan type veth peer name isp");
    house.ip("link set wan up");
    house.ip("address add 198.51.100.7/24 dev wan");
    house.ip("address add 2001:db8:1:2::7/64 dev wan nodad");
    let _server = house.serve(ZONE);
    house.key();
    let config = "[agent]\nsources = [\"interface:wan\"]\nallow = [\"documentation\"]\ncheck-every = 86400\n\
                  [[target]]\nname = \"home\"\ntype = \"rfc2136\"\nkey-file = \"laptop.key\"\n\
                  [[host]]\nname = \"router.home.test\"\n[[host]]\nname = \"nas.home.test\"\nderived = \"::53\"\n";
    std::fs::write(house.folder.path().join("agent.toml"), config).unwrap();
    let agent = house.start(env!("CARGO_BIN_EXE_dyndns"), &["agent", "--config", "agent.toml"]);
    agent.wait_for("host updated target=home host=nas.home.test address=2001:db8:1:2::53");
    assert_eq!(house.dig("router.home.test", "A"), "198.51.100.7\n");

    // The next check by time is a day away.
    house.ip("address add 2001:db8:9:9::7/64 dev wan nodad");
    house.ip("address change 2001:db8:1:2::7/64 dev wan preferred_lft 0");
    agent.wait_for("host updated target=home host=router.home.test address=2001:db8:9:9::7");
    agent.wait_for("host updated target=home host=nas.home.test address=2001:db8:9:9::53");
    assert_eq!(house.dig("router.home.test", "A"), "198.51.100.7\n");

    house.ip("address del 198.51.100.7/24 dev wan");
    agent.wait_for("an address is gone; what the targets hold of its family stays");
    assert_eq!(house.dig("router.home.test", "A"), "198.51.100.7\n");
    house.ip("address add 198.51.100.8/24 dev wan");
    agent.wait_for("host updated target=home host=router.home.test address=198.51.100.8");

    // Each change is one commit that takes the old address and brings the new one.
    let history = house.run(env!("CARGO_BIN_EXE_dyndns"), &["zone", "history", "home.test", "--state-dir", "state"]);
    let history = said(&history);
    let moved: Vec<&str> = history.lines().filter(|line| line.contains(" router.home.test ")).map(str::trim).collect();
    assert_eq!(
        moved,
        [
            "+ router.home.test 60 A 192.0.2.1",
            "- router.home.test 60 A 192.0.2.1",
            "+ router.home.test 60 A 198.51.100.7",
            "+ router.home.test 60 AAAA 2001:db8:1:2::7",
            "- router.home.test 60 AAAA 2001:db8:1:2::7",
            "+ router.home.test 60 AAAA 2001:db8:9:9::7",
            "- router.home.test 60 A 198.51.100.7",
            "+ router.home.test 60 A 198.51.100.8",
        ],
        "{history}"
    );
}

#[test]
fn a_configuration_is_checked_and_a_state_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("agent.toml"),
        format!("{FIXED}[[target]]\nname = \"a\"\ntype = \"rfc2136\"\n{HOSTS}"),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyndns"));
    let output =
        command.args(["agent", "--check", "--config", "agent.toml"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(said(&output), "ok: 1 targets\n");
    assert!(status(folder.path()).contains("no agent has run with this state; start it"), "{}", status(folder.path()));
}
