//! A mesh of real servers, each in a network namespace of its own, in two subnets with a router between them. It is
//! asked by dig at every member, over IPv4 and IPv6 alike.
//!
//! The mesh's timers are the defaults: by them it converges within 20 s, and a silent host is gone after 90 s. These times
//! are asserted, and what each step took is printed; .config/nextest.toml gives the test the machine for itself. Where others
//! use it all the same, the time in which processes waited for a processor does not count: a server that does not run answers
//! not even dig beside it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "in a test a panic is the failure to be seen, and what is printed is what it measured"
)]

mod common;

use common::house::{House, Inhabitant};
use std::fs;
use std::time::{Duration, Instant};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// After how long what is still wrong is printed: what nearly takes too long is to be found out in time.
const LONG: Duration = Duration::from_secs(12);
/// How long it may take all the same.
const ON_A_BUSY_MACHINE: Duration = Duration::from_secs(90);
/// How long a host that is cut off may be answered.
const SILENCE: Duration = Duration::from_secs(90);

/// Two subnets, 10.77.1.0/24 with fd77:1::/64 and 10.77.2.0/24 with fd77:2::/64, and a router between them.
struct Campus {
    router: House,
    machines: Vec<Machine>,
}

/// A machine that runs `dyndns serve` as a member of the mesh.
struct Machine {
    name: &'static str,
    subnet: u8,
    /// The last part of its addresses.
    host: u8,
    house: House,
    server: Option<Inhabitant>,
}

impl Campus {
    fn build() -> Option<Campus> {
        let router = House::build()?;
        for subnet in 1..=2 {
            for command in [
                format!("link add lan{subnet} type bridge"),
                format!("link set lan{subnet} up"),
                format!("addr add 10.77.{subnet}.1/24 dev lan{subnet}"),
                format!("addr add fd77:{subnet}::1/64 dev lan{subnet} nodad"),
            ] {
                router.ip(&command);
            }
        }
        let forward = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding";
        assert!(router.run("sh", &["-c", forward]).status.success());
        Some(Campus { router, machines: Vec::new() })
    }

    /// A machine more, which does not serve yet.
    fn add(&mut self, name: &'static str, subnet: u8, host: u8) -> &mut Machine {
        let house = House::build().unwrap();
        house.plug("eth0", &self.router, &format!("to-{name}"));
        self.router.ip(&format!("link set to-{name} master lan{subnet}"));
        let machine = Machine { name, subnet, host, house, server: None };
        machine.take_address();
        self.machines.push(machine);
        self.machines.last_mut().unwrap()
    }

    fn machine(&mut self, name: &str) -> &mut Machine {
        self.machines.iter_mut().find(|machine| machine.name == name).unwrap()
    }

    /// Waits until all of `these` answer for each of `these` with its addresses, and for each address with its name.
    fn agree(&self, what: &str, these: &[&str]) {
        let these: Vec<&Machine> = self.machines.iter().filter(|machine| these.contains(&machine.name)).collect();
        let (mut questions, mut answers) = (Vec::new(), String::new());
        for machine in &these {
            let [v4, v6] = machine.addresses();
            let name = format!("{}.mesh.home.arpa", machine.name);
            questions.extend([name.clone(), "A".into(), name.clone(), "AAAA".into()]);
            questions.extend(["-x".into(), v4.clone(), "-x".into(), v6.clone()]);
            answers.push_str(&format!("{v4}\n{v6}\n{name}.\n{name}.\n"));
        }
        let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
        until(PATIENCE, what, || {
            let wrong = these.iter().find(|machine| machine.dig(&questions) != answers);
            wrong.map(|machine| format!("{} answers\n{}not\n{answers}", machine.name, machine.dig(&questions)))
        });
    }
}

impl Machine {
    fn addresses(&self) -> [String; 2] {
        let Machine { subnet, host, .. } = self;
        [format!("10.77.{subnet}.{host}"), format!("fd77:{subnet}::{host}")]
    }

    /// Gives it its addresses, and takes away those it had.
    fn take_address(&self) {
        let ([v4, v6], subnet) = (self.addresses(), self.subnet);
        for command in [
            "addr flush dev eth0 scope global".to_string(),
            format!("addr add {v4}/24 dev eth0"),
            format!("addr add {v6}/64 dev eth0 nodad"),
            format!("route replace default via 10.77.{subnet}.1"),
            format!("-6 route replace default via fd77:{subnet}::1"),
        ] {
            self.house.ip(&command);
        }
    }

    /// Another address in the same subnet, as DHCP would.
    fn move_to(&mut self, host: u8) {
        self.host = host;
        self.take_address();
    }

    /// Serves as a member, with more settings.
    fn serve(&mut self, settings: &str) {
        let folder = self.house.folder.path();
        let config = format!(
            "listen = [\"0.0.0.0:53\", \"[::]:53\"]\nstate-dir = \"state\"\n[mesh]\nname = \"{}\"\n\
             reverse = [\"10.77.0.0/16\", \"fd77::/16\"]\nhosts-file = \"hosts\"\n\
             hook = \"echo $DYNDNS_NAME $DYNDNS_ADDRESSES >>hook\"\n{settings}",
            self.name
        );
        fs::write(folder.join("dyndns.toml"), config).unwrap();
        fs::write(folder.join("hosts"), "127.0.0.1 localhost\n").unwrap();
        let server = self.house.start(env!("CARGO_BIN_EXE_dyndns"), &["serve", "--config", "dyndns.toml"]);
        server.wait_for("dyndns answers on");
        self.server = Some(server);
    }

    /// Serves as one that joins by a ticket.
    fn join(&mut self, ticket: &str, bootstrap: &str) {
        fs::write(self.house.folder.path().join("ticket"), ticket).unwrap();
        self.serve(&format!("ticket-file = \"ticket\"\nbootstrap = [\"{bootstrap}\"]\n"));
    }

    /// What its server answers, as dig prints it.
    fn dig(&self, questions: &[&str]) -> String {
        let mut arguments = vec!["+short", "+norecurse", "+tries=1", "+time=2", "@127.0.0.1"];
        arguments.extend(questions);
        String::from_utf8(self.house.run("dig", &arguments).stdout).unwrap()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.house.folder.path().join(file)).unwrap_or_default()
    }
}

/// Waits until `wrong` finds nothing, and prints how long that took.
fn until(patience: Duration, what: &str, wrong: impl Fn() -> Option<String>) {
    let (begin, waited) = (Instant::now(), waiting_for_a_processor());
    let took = || begin.elapsed().saturating_sub(waiting_for_a_processor().saturating_sub(waited));
    let mut before = String::new();
    while let Some(wrong) = wrong() {
        if begin.elapsed() > LONG && wrong != before {
            println!("{what}: still after {:.1} s: {wrong}", begin.elapsed().as_secs_f64());
            before.clone_from(&wrong);
        }
        assert!(took() < patience, "not within {patience:?}: {what}: {wrong}");
        assert!(begin.elapsed() < ON_A_BUSY_MACHINE.max(patience), "not even so late: {what}: {wrong}");
        std::thread::sleep(Duration::from_millis(200));
    }
    println!(
        "{what}: {:.1} s, of these {:.1} s with a processor free",
        begin.elapsed().as_secs_f64(),
        took().as_secs_f64()
    );
}

/// For how long processes of this machine have waited for a processor, so far; nothing where the kernel does not tell.
fn waiting_for_a_processor() -> Duration {
    let pressure = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let total = pressure.lines().next().and_then(|some| some.split_once("total="));
    Duration::from_micros(total.and_then(|(_, total)| total.parse().ok()).unwrap_or_default())
}

#[test]
fn a_mesh_across_two_subnets_answers_its_names_to_dig_at_every_member_though_machines_move_and_the_first_is_cut_off() {
    let Some(mut campus) = Campus::build() else { return };
    campus.add("first", 1, 11).serve("role = \"server\"\n");
    let new = ["mesh", "ticket", "new", "--state-dir", "state/mesh"];
    let output = campus.machine("first").house.run(env!("CARGO_BIN_EXE_dyndns"), &new);
    let ticket = String::from_utf8(output.stdout).unwrap();
    assert!(ticket.starts_with("dyndns-mesh-1-"), "{ticket}{}", String::from_utf8_lossy(&output.stderr));

    campus.add("second", 1, 12).join(&ticket, "10.77.1.11");
    campus.add("third", 2, 13).join(&ticket, "fd77:1::11");
    campus.add("fourth", 2, 14).join(&ticket, "10.77.1.11:5399");
    campus.agree("four machines in two subnets know each other", &["first", "second", "third", "fourth"]);

    campus.machine("second").move_to(22);
    campus.machine("third").move_to(23);
    campus.agree("two machines have moved at the same moment", &["first", "second", "third", "fourth"]);
    let moved = "second 10.77.1.22 fd77:1::22\n";
    until(PATIENCE, "the hook has heard of the move", || {
        let told = campus.machines[1].read("hook");
        (!told.contains(moved)).then_some(told)
    });

    campus.machine("first").house.ip("link set eth0 down");
    campus.machine("fourth").move_to(24);
    campus.add("fifth", 2, 15).join(&ticket, "10.77.1.22");
    let rest = ["second", "third", "fourth", "fifth"];
    campus.agree("with the first cut off one has moved and another has come", &rest);
    until(SILENCE, "the one that is cut off is gone at all others", || {
        let others = campus.machines.iter().filter(|machine| machine.name != "first");
        let held = |machine: &Machine| machine.dig(&["first.mesh.home.arpa", "A", "-x", "10.77.1.11"]);
        others.map(held).find(|answer| !answer.is_empty())
    });

    campus.machine("first").house.ip("link set eth0 up");
    campus.machine("first").take_address();
    campus.agree("the first is back", &["first", "second", "third", "fourth", "fifth"]);

    let line = "\n10.77.1.11 first.mesh.home.arpa first\n";
    until(PATIENCE, "the hosts file has it too", || {
        let hosts = campus.machines[4].read("hosts");
        (!hosts.starts_with("127.0.0.1 localhost\n# begin dyndns mesh") || !hosts.contains(line)).then_some(hosts)
    });
    let fifth = campus.machine("fifth").server.as_mut().unwrap();
    fifth.terminate();
    assert_eq!(fifth.wait(), Some(0));
    assert_eq!(campus.machine("fifth").read("hosts"), "127.0.0.1 localhost\n");
    until(PATIENCE, "the one that ended is gone at all others", || {
        let others = campus.machines.iter().filter(|machine| machine.name != "fifth");
        others.map(|machine| machine.dig(&["fifth.mesh.home.arpa", "A"])).find(|answer| !answer.is_empty())
    });

    let fifth = campus.machine("fifth");
    fs::remove_file(fifth.house.folder.path().join("ticket")).unwrap();
    fifth.serve("ticket-file = \"ticket\"\n");
    campus.agree("the one that ended is back without its ticket", &["first", "second", "third", "fourth", "fifth"]);
}
