//! Members on one link find each other by multicast DNS where the operator asks for it: real processes, each in a network
//! namespace of its own, and a switch between them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::house::{House, Inhabitant};
use dyndns::mesh::{NodeId, Ticket};
use serde_json::Value;
use std::fs;

const DYNDNS: &str = env!("CARGO_BIN_EXE_dyndns");
/// Short times: what is waited for is a change, and the mesh is small.
const FAST: [&str; 8] = ["--heartbeat", "1s", "--timeout", "1s", "--announce", "2s", "--suspicion", "3s"];
/// Nobody is there.
const DEAD: &str = "10.78.0.99";

/// A switch.
struct Lan(House);

/// A machine at the switch, at 10.78.0.X.
struct Machine(House);

impl Lan {
    fn build() -> Option<Lan> {
        let house = House::build()?;
        house.ip("link add lan type bridge");
        house.ip("link set lan up");
        Some(Lan(house))
    }

    fn machine(&self, last: u8) -> Machine {
        let machine = Machine(House::build().unwrap());
        machine.0.plug("eth0", &self.0, &format!("to-{last}"));
        self.0.ip(&format!("link set to-{last} master lan"));
        machine.moves(last);
        machine
    }
}

impl Machine {
    fn moves(&self, last: u8) {
        self.0.ip("addr flush dev eth0 scope global");
        self.0.ip(&format!("addr add 10.78.0.{last}/24 dev eth0"));
    }

    fn node(&self, what: &[&str]) -> Inhabitant {
        self.0.start(DYNDNS, &[&["mesh"], what, &["--state-dir", "state"]].concat())
    }

    /// Begins a mesh; the node and its ticket, which names nobody.
    fn first(&self, more: &[&str]) -> (Inhabitant, String) {
        let node = self.node(&[&["start", "--name", "nas", "--json"], more, &FAST].concat());
        let line: Value = serde_json::from_str(&node.wait_for("\"started\"")).unwrap();
        (node, line["ticket"].as_str().unwrap().to_string())
    }

    fn join(&self, ticket: &str, name: &str, more: &[&str]) -> Inhabitant {
        self.node(&[&["join", ticket, "--name", name], more, &FAST].concat())
    }

    /// Whether anything here listens where mDNS does.
    fn hears_multicast(&self) -> bool {
        let sockets = String::from_utf8(self.0.run("cat", &["/proc/net/udp"]).stdout).unwrap();
        sockets.contains(":14E9 ")
    }
}

#[test]
fn who_has_a_dead_contact_or_none_finds_the_others_on_the_link_by_mdns_and_not_without() {
    let Some(lan) = Lan::build() else { return };
    let (first, second) = (lan.machine(1), lan.machine(2));
    let (mut nas, ticket) = first.first(&["--mdns"]);
    let mut printer = second.join(&ticket, "printer", &["--contact", DEAD, "--mdns"]);
    printer.wait_for("has joined mesh");
    // Each knows where it is from what the other sees.
    nas.wait_for("addresses=\"10.78.0.2\"");
    printer.wait_for("addresses=\"10.78.0.1\"");

    let third = lan.machine(3);
    let mut alone = third.join(&ticket, "camera", &["--contact", DEAD]);
    assert_eq!(alone.wait(), Some(1));
    let why = format!("cannot join the mesh: nobody answered at {DEAD}:5399, 4 tries each; check");
    assert!(alone.said().contains(&why), "{}", alone.said());
    let fourth = lan.machine(4);
    let radio = fourth.join(&ticket, "radio", &["--mdns"]);
    radio.wait_for("has joined mesh");
    drop(radio);

    // Both have moved while they were down. How they were told to look holds for later starts.
    for node in [&mut nas, &mut printer] {
        node.terminate();
        assert_eq!(node.wait(), Some(0));
    }
    first.moves(11);
    second.moves(12);
    let (mut nas, printer) = (first.node(&["start"]), second.node(&["start"]));
    printer.wait_for("addresses=\"10.78.0.11\"");
    nas.wait_for("addresses=\"10.78.0.12\"");
    assert!(first.hears_multicast());
    // Until it is taken back.
    for (times, more) in [(1, &["--no-mdns"][..]), (2, &[])] {
        nas.terminate();
        assert_eq!(nas.wait(), Some(0));
        printer.wait_for_times("host is gone name=nas", times);
        nas = first.node(&[&["start"], more].concat());
        printer.wait_for_times("host is here name=nas", times + 1);
        assert!(!first.hears_multicast());
    }
}

#[test]
fn a_hundred_false_announcements_cost_nothing_and_those_of_who_had_a_ticket_a_few_tries() {
    let Some(lan) = Lan::build() else { return };
    let (first, second) = (lan.machine(1), lan.machine(2));
    let (nas, ticket) = first.first(&[]);
    drop(nas);
    let mesh = ticket.parse::<Ticket>().unwrap().mesh;
    let stranger = lan.machine(66);
    stranger.0.ip("route add 224.0.0.0/4 dev eth0");
    let folder = stranger.0.folder.path().join("said");
    fs::create_dir(&folder).unwrap();
    for number in 0..100 {
        let id = NodeId([number; 32]);
        // The seal of another mesh, a word that is none, and none.
        let words = [id.seal(NodeId([9; 32]), [number; 16]).unwrap(), "hello".to_string(), String::new()];
        let word = &words[usize::from(number) % 3];
        fs::write(folder.join(format!("false{number}")), announcement(number, word, [10, 78, 1, number])).unwrap();
    }
    for number in 100..103 {
        let word = NodeId([number; 32]).seal(mesh, [number; 16]).unwrap();
        fs::write(folder.join(format!("sealed{number}")), announcement(number, &word, [10, 78, 0, number])).unwrap();
    }
    let script = "while sleep 0.2; do for file in said/*; do cat $file >/dev/udp/224.0.0.251/5353; done; done";
    let _says = stranger.0.start("bash", &["-c", script]);

    let mut printer = second.join(&ticket, "printer", &["--contact", DEAD, "--mdns"]);
    assert_eq!(printer.wait(), Some(1));
    let said = printer.said();
    let tried =
        said.split_once("nobody answered at ").and_then(|(_, rest)| rest.split_once(", 4 tries each, and no other"));
    let mut tried: Vec<&str> = tried.unwrap_or_else(|| panic!("{said}")).0.split(", ").collect();
    tried.sort_unstable();
    assert_eq!(tried, ["10.78.0.100:5399", "10.78.0.101:5399", "10.78.0.102:5399", "10.78.0.99:5399"]);
}

#[test]
fn where_the_port_of_mdns_is_taken_the_node_goes_on_and_says_what_to_do() {
    let Some(lan) = Lan::build() else { return };
    let machine = lan.machine(1);
    // The node itself has it, and does not share it.
    let (nas, _) = machine.first(&["--mdns", "--port", "5353"]);
    let said = nas.wait_for("the mesh goes on without mDNS");
    assert!(said.contains("cannot bind UDP port 5353: ") && said.contains("; stop the program that"), "{said}");
    assert!(machine.0.run(DYNDNS, &["mesh", "list", "--state-dir", "state"]).status.success());
}

/// What a member would say that has this word, as one message of RFC 6763: PTR, SRV, TXT and A.
fn announcement(number: u8, word: &str, address: [u8; 4]) -> Vec<u8> {
    let (service, host) = ("_dyndns-mesh._udp.local", format!("host{number}.local"));
    let instance = format!("instance{number}.{service}");
    let text = format!("node={word}");
    let srv = [&[0, 0, 0, 0], 5399_u16.to_be_bytes().as_slice(), &name(&host)].concat();
    let txt = [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [
        vec![0, 0, 0x84, 0, 0, 0, 0, 4, 0, 0, 0, 0],
        record(service, 12, 1, &name(&instance)),
        record(&instance, 33, 0x8001, &srv),
        record(&instance, 16, 0x8001, &txt),
        record(&host, 1, 0x8001, &address),
    ]
    .concat()
}

fn record(owner: &str, rtype: u16, class: u16, rdata: &[u8]) -> Vec<u8> {
    let len = u16::try_from(rdata.len()).unwrap();
    [&name(owner), &rtype.to_be_bytes()[..], &class.to_be_bytes(), &[0, 0, 0, 120], &len.to_be_bytes(), rdata].concat()
}

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').flat_map(|label| [&[u8::try_from(label.len()).unwrap()], label.as_bytes()].concat());
    labels.chain([0]).collect()
}
