//! `dyndns mesh`, as real processes: each node has an address of its own in a network where nothing else is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in a test a panic is the failure to be seen"
)]

mod common;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::DEADLINE;
use common::house::{House, Inhabitant};
use dyndns::mesh::{Contact, Rights, SecretKey, Steward};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

const DYNDNS: &str = env!("CARGO_BIN_EXE_dyndns");
/// Short times: what is waited for is a change, and the mesh is small.
const FAST: [&str; 8] = ["--heartbeat", "1s", "--timeout", "1s", "--announce", "2s", "--suspicion", "3s"];

/// A network with the addresses 10.9.0.1 to 10.9.0.9; the first node, nas, is at the first.
struct Net {
    house: House,
}

impl Net {
    fn build() -> Option<Net> {
        let house = House::build()?;
        for last in 1..=9 {
            house.ip(&format!("address add 10.9.0.{last}/32 dev lo"));
        }
        Some(Net { house })
    }

    /// Runs a node: `what` is `start` or `join TICKET`, and its state is in the directory `name`.
    fn node(&self, what: &[&str], name: &str, last: u8, more: &[&str]) -> Inhabitant {
        let listen = format!("10.9.0.{last}");
        let all = [&["mesh"], what, &["--state-dir", name, "--listen", &listen], more].concat();
        self.house.start(DYNDNS, &all)
    }

    /// Starts nas and returns it with its ticket.
    fn first(&self, times: &[&str]) -> (Inhabitant, String) {
        let nas = self.node(&["start", "--name", "nas", "--json"], "nas", 1, times);
        let line: Value = serde_json::from_str(&nas.wait_for("\"started\"")).unwrap();
        (nas, line["ticket"].as_str().unwrap().to_string())
    }

    fn join(&self, ticket: &str, name: &str, last: u8, times: &[&str]) -> Inhabitant {
        let what = ["join", ticket, "--contact", "10.9.0.1", "--name", name];
        let node = self.node(&what, name, last, times);
        node.wait_for("has joined mesh");
        node
    }

    /// A command to the node of that name.
    fn ask(&self, name: &str, command: &[&str]) -> Output {
        let all = [&["mesh"], command, &["--state-dir", name]].concat();
        self.house.run(DYNDNS, &all)
    }

    fn told(&self, name: &str, command: &[&str]) -> String {
        let output = self.ask(name, command);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Names and addresses as the node of that name lists them.
    fn list(&self, name: &str) -> Vec<(String, Vec<String>)> {
        let list: Value = serde_json::from_str(&self.told(name, &["list", "--json"])).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_string();
        let host =
            |host: &Value| (text(&host["name"]), host["addresses"].as_array().unwrap().iter().map(text).collect());
        list["hosts"].as_array().unwrap().iter().map(host).collect()
    }

    /// The end of a start that is to fail: its code and what it said.
    fn fails(&self, what: &[&str], name: &str, last: u8) -> (Option<i32>, String) {
        let mut node = self.node(what, name, last, &FAST);
        (node.wait(), node.said())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.house.folder.path().join(name)
    }
}

fn is_at(name: &str, last: u8) -> (String, Vec<String>) {
    (name.into(), vec![format!("10.9.0.{last}")])
}

#[test]
fn three_nodes_learn_where_they_are_from_each_other_and_list_the_same() {
    let Some(net) = Net::build() else { return };
    let (nas, ticket) = net.first(&FAST);
    let printer = net.join(&ticket, "printer", 2, &FAST);
    let camera = net.join(&ticket, "camera", 3, &FAST);
    // The log tells where another is as soon as the other itself has said so.
    for (node, others) in [(&nas, [2, 3]), (&printer, [1, 3]), (&camera, [1, 2])] {
        others.iter().for_each(|last| drop(node.wait_for(&format!("addresses=\"10.9.0.{last}\""))));
    }
    for name in ["nas", "printer", "camera"] {
        assert_eq!(net.list(name), [is_at("camera", 3), is_at("nas", 1), is_at("printer", 2)], "at {name}");
    }
    let text = net.told("camera", &["list"]);
    assert!(text.lines().any(|line| line.starts_with("nas.mesh.home.arpa ") && line.ends_with(" 10.9.0.1")), "{text}");
    assert!(text.contains("  10.9.0.3  (this node)"), "{text}");
    let status: Value = serde_json::from_str(&net.told("nas", &["status", "--json"])).unwrap();
    assert_eq!((&status["steward"], &status["hosts"]), (&Value::Bool(true), &Value::from(3)));
    // Now the first node knows where it is, and so do its tickets.
    let other = net.told("nas", &["ticket", "new"]);
    let radio = net.node(&["join", other.trim(), "--name", "radio"], "radio", 4, &FAST);
    radio.wait_for("has joined mesh");
}

#[test]
fn over_ipv6_it_is_the_same() {
    let Some(net) = Net::build() else { return };
    let start = |what: &[&str], name: &str, last: u8| {
        net.house.ip(&format!("address add fd53::{last}/128 dev lo nodad"));
        let listen = format!("fd53::{last}");
        let all = [&["mesh"], what, &["--name", name, "--state-dir", name, "--listen", &listen], &FAST].concat();
        net.house.start(DYNDNS, &all)
    };
    let nas = start(&["start", "--json"], "nas", 1);
    let line: Value = serde_json::from_str(&nas.wait_for("\"started\"")).unwrap();
    let ticket = line["ticket"].as_str().unwrap();
    let printer = start(&["join", ticket, "--contact", "fd53::1"], "printer", 2);
    let camera = start(&["join", ticket, "--contact", "[fd53::1]:5399"], "camera", 3);
    nas.wait_for("addresses=\"fd53::2\"");
    printer.wait_for("addresses=\"fd53::3\"");
    camera.wait_for("addresses=\"fd53::1\"");
}

#[test]
fn the_hosts_file_has_the_names_while_the_node_runs_and_the_hook_hears_of_its_addresses() {
    let Some(net) = Net::build() else { return };
    std::fs::write(net.path("hosts"), "127.0.0.1 localhost\n").unwrap();
    let (nas, ticket) = net.first(&FAST);
    let mut what = FAST.to_vec();
    what.extend(["--hosts-file", "hosts", "--hook", "echo $DYNDNS_NAME $DYNDNS_IPV4 >hooked"]);
    let mut printer = net.join(&ticket, "printer", 2, &what);
    printer.wait_for("hook run");
    assert_eq!(std::fs::read_to_string(net.path("hooked")).unwrap(), "printer 10.9.0.2\n");
    let until = |text: &str| {
        let script = format!("until grep -q '{text}' hosts; do sleep 0.1; done");
        let output = net.house.run("timeout", &["30", "sh", "-c", &script]);
        assert!(output.status.success(), "{text}: {}", std::fs::read_to_string(net.path("hosts")).unwrap());
    };
    until("^10.9.0.1.*nas.mesh.home.arpa");
    let camera = net.join(&ticket, "camera", 3, &FAST);
    until("^10.9.0.3.*camera.mesh.home.arpa");
    printer.terminate();
    assert_eq!(printer.wait(), Some(0));
    assert_eq!(std::fs::read_to_string(net.path("hosts")).unwrap(), "127.0.0.1 localhost\n");
    drop((nas, camera));
}

#[test]
fn who_leaves_or_is_told_to_end_is_gone_at_once() {
    let Some(net) = Net::build() else { return };
    // With the usual times silence alone would be noticed only after the deadline of this test.
    let (nas, ticket) = net.first(&[]);
    let mut printer = net.join(&ticket, "printer", 2, &[]);
    let mut camera = net.join(&ticket, "camera", 3, &[]);
    nas.wait_for("addresses=\"10.9.0.2\"");
    nas.wait_for("addresses=\"10.9.0.3\"");
    printer.terminate();
    assert_eq!(printer.wait(), Some(0));
    nas.wait_for("host is gone name=printer");
    assert!(net.told("camera", &["leave"]).contains("left the mesh"));
    assert_eq!(camera.wait(), Some(0));
    nas.wait_for("host is gone name=camera");
    assert_eq!(net.list("nas").len(), 1);
    let output = net.ask("camera", &["list"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no mesh node runs on camera; start it with"));
}

#[test]
fn a_restart_rejoins_without_a_ticket_wherever_the_machine_is_now() {
    let Some(net) = Net::build() else { return };
    let (nas, ticket) = net.first(&FAST);
    let mut printer = net.join(&ticket, "printer", 2, &FAST);
    nas.wait_for("addresses=\"10.9.0.2\"");
    // What is known is written down some seconds after it is known; the end writes it too, a crash does not.
    printer.terminate();
    assert_eq!(printer.wait(), Some(0));
    let mut printer = net.node(&["start"], "printer", 2, &FAST);
    nas.wait_for("host is gone name=printer");
    nas.wait_for_times("host is here name=printer", 2);
    printer.kill9();
    let printer = net.node(&["start"], "printer", 5, &FAST);
    nas.wait_for("addresses=\"10.9.0.5\"");
    assert_eq!(net.list("nas"), [is_at("nas", 1), is_at("printer", 5)]);
    drop((nas, printer));
}

#[test]
fn what_a_start_was_told_holds_for_the_next_one_until_it_is_taken_back() {
    let Some(net) = Net::build() else { return };
    let (nas, ticket) = net.first(&FAST);
    let role = |name: &str| -> Value {
        let status: Value = serde_json::from_str(&net.told(name, &["status", "--json"])).unwrap();
        status["role"].clone()
    };
    let mut what = FAST.to_vec();
    what.extend(["--server", "--advertise", "10.9.0.7", "--sessions", "5"]);
    let mut printer = net.join(&ticket, "printer", 2, &what);
    nas.wait_for("addresses=\"10.9.0.7\"");
    // Two more starts, for what was kept is kept again.
    for times in 2..=3 {
        printer.terminate();
        assert_eq!(printer.wait(), Some(0));
        printer = net.house.start(DYNDNS, &["mesh", "start", "--state-dir", "printer"]);
        nas.wait_for_times("addresses=\"10.9.0.7\"", times);
        assert_eq!(role("printer"), "server");
        let status: Value = serde_json::from_str(&net.told("printer", &["status", "--json"])).unwrap();
        assert_eq!(status["listen"], "10.9.0.2:5399");
    }
    printer.terminate();
    assert_eq!(printer.wait(), Some(0));
    let back = ["mesh", "start", "--state-dir", "printer", "--no-server", "--no-advertise"];
    let mut printer = net.house.start(DYNDNS, &back);
    nas.wait_for("addresses=\"10.9.0.2\"");
    assert_eq!(role("printer"), "member");
    printer.terminate();
    assert_eq!(printer.wait(), Some(0));
    let printer = net.house.start(DYNDNS, &["mesh", "start", "--state-dir", "printer"]);
    nas.wait_for_times("addresses=\"10.9.0.2\"", 2);
    assert_eq!(role("printer"), "member");
    drop(printer);
}

#[test]
fn two_nodes_that_were_both_down_find_each_other_though_one_has_moved() {
    let Some(net) = Net::build() else { return };
    let (mut nas, ticket) = net.first(&FAST);
    let mut printer = net.join(&ticket, "printer", 2, &FAST);
    nas.wait_for("addresses=\"10.9.0.2\"");
    for node in [&mut printer, &mut nas] {
        node.terminate();
        assert_eq!(node.wait(), Some(0));
    }
    let nas = net.node(&["start"], "nas", 1, &FAST);
    let printer = net.node(&["start"], "printer", 6, &FAST);
    nas.wait_for("addresses=\"10.9.0.6\"");
    drop(printer);
}

#[test]
fn a_second_claimant_of_a_name_is_told_who_has_it() {
    let Some(net) = Net::build() else { return };
    let (nas, ticket) = net.first(&FAST);
    let id: Value = serde_json::from_str(&net.told("nas", &["status", "--json"])).unwrap();
    let what = ["join", &ticket, "--contact", "10.9.0.1", "--name", "NAS"];
    let (code, said) = net.fails(&what, "other", 2);
    assert_eq!(code, Some(1));
    let reason = format!(
        "not let in: node {} has the name and is alive; choose another with --name",
        id["id"].as_str().unwrap()
    );
    assert!(said.contains(&reason), "{said}");
    drop(nas);
}

#[test]
fn an_expired_and_a_revoked_ticket_let_nobody_in() {
    let Some(net) = Net::build() else { return };
    let (mut nas, ticket) = net.first(&FAST);
    let key = std::fs::read_to_string(net.path("nas/mesh.key")).unwrap();
    let seed: [u8; 32] = URL_SAFE_NO_PAD.decode(key.trim()).unwrap().try_into().unwrap();
    let steward = Steward::new(SecretKey::from_seed(&seed).unwrap());
    let contact = Contact { id: None, address: "10.9.0.1:5399".parse().unwrap() };
    let expired = steward.ticket([7; 32], Rights::Join, 1_000_000_000, vec![contact]).unwrap().to_string();
    let (code, said) = net.fails(&["join", &expired, "--name", "late"], "late", 2);
    assert!(code == Some(1) && said.contains("not let in: the ticket has expired"), "{said}");

    let second = net.told("nas", &["ticket", "new"]);
    let list = net.told("nas", &["ticket", "list"]);
    let id = list.lines().zip(list.lines().skip(1)).find(|(_, text)| text.trim() == second.trim()).unwrap().0;
    let id = id.split(' ').next().unwrap();
    assert!(net.told("nas", &["ticket", "revoke", id]).contains("revoked ticket"));
    assert!(net.told("nas", &["ticket", "list"]).contains("revoked "));
    let what = ["join", second.trim(), "--contact", "10.9.0.1", "--name", "banned"];
    let (code, said) = net.fails(&what, "banned", 3);
    assert!(code == Some(1) && said.contains("not let in: the ticket was revoked"), "{said}");

    // The first ticket is the same after a restart, and still good.
    nas.terminate();
    nas.wait();
    let (_nas, again) = net.first(&FAST);
    assert_eq!(again, ticket);
    let _printer = net.join(&ticket, "printer", 4, &FAST);
    let output = net.ask("printer", &["ticket", "new"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("this node does not have the mesh's key"), "{output:?}");
}

#[test]
fn a_removed_node_ends_and_cannot_come_back_with_its_key() {
    let Some(net) = Net::build() else { return };
    let (nas, ticket) = net.first(&FAST);
    let mut printer = net.join(&ticket, "printer", 2, &FAST);
    nas.wait_for("addresses=\"10.9.0.2\"");
    assert!(net.told("nas", &["node", "remove", "printer"]).contains("its key never comes back"));
    assert_eq!(printer.wait(), Some(1));
    assert!(printer.said().contains("it was removed from the mesh; to come back, move"), "{}", printer.said());
    let (code, said) = net.fails(&["start"], "printer", 2);
    assert!(code == Some(1) && said.contains("it was removed from the mesh"), "{said}");
    // Without its memory it has its key still.
    std::fs::remove_file(net.path("printer/peers.json")).unwrap();
    let what = ["join", &ticket, "--contact", "10.9.0.1", "--name", "printer"];
    let (code, said) = net.fails(&what, "printer", 2);
    assert!(code == Some(1) && said.contains("removed"), "{said}");
    assert_eq!(net.list("nas").len(), 1);
    // With another key it is another node.
    std::fs::remove_file(net.path("printer/node.key")).unwrap();
    std::fs::remove_file(net.path("printer/peers.json")).unwrap_or_default();
    net.join(&ticket, "printer", 2, &FAST);
}

#[test]
fn a_watcher_sees_who_comes_and_goes_and_nobody_sees_the_watcher() {
    let Some(net) = Net::build() else { return };
    let (_nas, ticket) = net.first(&FAST);
    let look = net.told("nas", &["ticket", "new", "--watch"]);
    let what = ["mesh", "watch", look.trim(), "--contact", "10.9.0.1", "--state-dir", "watcher", "--heartbeat", "1s"];
    let watcher = net.house.start(DYNDNS, &what);
    watcher.wait_for("here nas.mesh.home.arpa");
    let mut printer = net.join(&ticket, "printer", 2, &FAST);
    watcher.wait_for("here printer.mesh.home.arpa 10.9.0.2");
    printer.terminate();
    assert_eq!(printer.wait(), Some(0));
    watcher.wait_for("gone printer.mesh.home.arpa");
    assert_eq!(net.list("nas").len(), 1);
    let (code, said) = net.fails(&["join", look.trim(), "--name", "spy"], "spy", 3);
    assert!(code == Some(1) && said.contains("use it with dyndns mesh watch"), "{said}");
    // Who may join may watch; but not in the place of a node that is in.
    let what = ["mesh", "watch", &ticket, "--contact", "10.9.0.1", "--state-dir", "other", "--heartbeat", "1s"];
    let mut other = net.house.start(DYNDNS, &what);
    other.wait_for("here nas.mesh.home.arpa");
    assert_eq!(net.list("nas").len(), 1);
    other.terminate();
    assert_eq!(other.wait(), Some(0));
    let (code, said) = net.fails(&["start", "--name", "other"], "other", 3);
    assert!(code == Some(1) && said.contains("cannot use the state in other: it is a watcher's; choose"), "{said}");
    let mut other = net.house.start(DYNDNS, &["mesh", "watch", &ticket, "--state-dir", "printer"]);
    assert_eq!(other.wait(), Some(1));
    assert!(other.said().contains("cannot use the state in printer: it is a member's; choose"), "{}", other.said());
}

#[test]
fn garbage_from_a_stranger_changes_nothing() {
    let Some(net) = Net::build() else { return };
    let (nas, ticket) = net.first(&FAST);
    // Octets of no meaning, and such as begin like QUIC's first packets: long headers of version 1, with lengths that
    // lead anywhere; from a process in the same network.
    let script = "exec 3<>/dev/udp/10.9.0.1/5399\n\
        for n in $(seq 300); do\n\
            head -c $((RANDOM % 1400 + 1)) /dev/urandom >&3\n\
            { printf '\\xc3\\x00\\x00\\x00\\x01\\x08'; head -c 1200 /dev/urandom; } >&3\n\
            { printf '\\xc3\\x00\\x00\\x00\\x01\\xff'; head -c 1194 /dev/zero; } >&3\n\
        done 2>/dev/null";
    let output = net.house.run("timeout", &["20", "bash", "-c", script]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(net.list("nas").len(), 1);
    net.join(&ticket, "printer", 2, &FAST);
    nas.wait_for("addresses=\"10.9.0.2\"");
    assert!(!nas.said().contains("panicked"), "{}", nas.said());
}

#[test]
fn keys_and_tickets_are_for_their_owner_alone_and_one_node_has_a_state() {
    let Some(net) = Net::build() else { return };
    let (mut nas, _) = net.first(&FAST);
    nas.terminate();
    assert_eq!(nas.wait(), Some(0));
    let (_nas, _) = net.first(&FAST);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&net.path("nas")), 0o700);
    for name in ["node.key", "mesh.key", "mesh.json", "tickets.json", "peers.json"] {
        assert_eq!(mode(&net.path("nas").join(name)), 0o600, "{name}");
    }
    let (code, said) = net.fails(&["start"], "nas", 2);
    assert!(code == Some(2) && said.contains("another node runs on it"), "{said}");
}

#[test]
fn joining_a_dead_network_gives_up_and_says_what_was_tried() {
    let Some(net) = Net::build() else { return };
    let (nas, ticket) = net.first(&FAST);
    drop(nas);
    let what = ["join", &ticket, "--contact", "10.9.0.8:7000", "--contact", "10.9.0.9", "--name", "printer"];
    let (code, said) = net.fails(&what, "printer", 2);
    assert_eq!(code, Some(1));
    assert!(
        said.contains("cannot join the mesh: nobody answered at 10.9.0.8:7000, 10.9.0.9:5399, 4 tries each; check"),
        "{said}"
    );
    let (code, said) = net.fails(&["join", &ticket, "--name", "printer"], "printer", 2);
    assert!(
        code == Some(1) && said.contains("no member is named that could be tried; name one with --contact"),
        "{said}"
    );
    // It has not become a member by that.
    let (code, said) = net.fails(&["start"], "printer", 2);
    assert!(code == Some(2) && said.contains("no name in a mesh yet; choose one with --name"), "{said}");
    let (code, said) = net.fails(&["join", "nonsense", "--name", "printer"], "printer", 2);
    assert!(code == Some(2) && said.contains("cannot use the ticket: it does not begin with dyndns-mesh-1-"), "{said}");
    assert!(DEADLINE.as_secs() > 8, "two contacts, four tries of a second each");
}
