//! scripts/update-ip.sh with stand-ins for dig, nsupdate and ip, so that each test sees exactly what
//! the script asks and sends, and needs no network.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// A folder of stand-ins, in front of the real PATH.
struct Machine {
    folder: tempfile::TempDir,
}

/// How a run of the script ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
    /// What nsupdate was given; empty where it was not started.
    sent: String,
}

impl Machine {
    /// dig answers `a` and `aaaa`, whatever it is asked.
    fn holding(a: &str, aaaa: &str) -> std::io::Result<Machine> {
        let machine = Machine { folder: tempfile::tempdir()? };
        std::fs::write(machine.folder.path().join("key"), "")?;
        machine.stand_in("dig", &format!("case \"$*\" in *AAAA) echo '{aaaa}' ;; *) echo '{a}' ;; esac"))?;
        machine.stand_in("nsupdate", "cat > \"${0%/*}/sent\"")?;
        machine.stand_in("ip", "exit 2")?;
        Ok(machine)
    }

    /// What `ip route get` says of the default routes; an empty text is no route.
    fn with_routes(self, v4: &str, v6: &str) -> std::io::Result<Machine> {
        let line = |source: &str| match source {
            "" => "exit 2".to_owned(),
            source => format!("echo '192.0.2.1 via 10.0.0.1 dev eth0 src {source} uid 0 \\ cache'"),
        };
        self.stand_in("ip", &format!("case \"$*\" in *-6*) {} ;; *) {} ;; esac", line(v6), line(v4)))?;
        Ok(self)
    }

    fn stand_in(&self, name: &str, body: &str) -> std::io::Result<()> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n"))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
    }

    /// Runs `update-ip.sh -s SERVER -k KEY` and `more`.
    fn run(&self, server: &str, more: &[&str]) -> std::io::Result<Run> {
        let folder = self.folder.path();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/update-ip.sh"))
            .env("PATH", format!("{}:{path}", folder.display()))
            .args(["-s", server, "-k"])
            .arg(folder.join("key"))
            .args(more)
            .output()?;
        Ok(Run {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            sent: std::fs::read_to_string(folder.join("sent")).unwrap_or_default(),
        })
    }
}

#[test]
fn other_addresses_are_replaced_in_one_message() {
    let machine = Machine::holding("192.0.2.9", "").unwrap();
    let run = machine
        .run("127.0.0.1:5300", &["-z", "example.com", "router.example.com", "88.71.73.131", "2001:41a0:52:a00::212"])
        .unwrap();
    assert_eq!(run.err, "");
    assert_eq!(run.code, Some(0));
    assert_eq!(
        run.sent,
        "server 127.0.0.1 5300\n\
         zone example.com.\n\
         update delete router.example.com. A\n\
         update add router.example.com. 120 A 88.71.73.131\n\
         update delete router.example.com. AAAA\n\
         update add router.example.com. 120 AAAA 2001:41a0:52:a00::212\n\
         send\n"
    );
    assert_eq!(
        run.out,
        "router.example.com. A 88.71.73.131 (was 192.0.2.9) AAAA 2001:41a0:52:a00::212 (was nothing)\n"
    );
}

#[test]
fn equal_addresses_however_spelt_send_nothing_and_say_nothing() {
    let machine = Machine::holding("192.0.2.2\n192.0.2.1", "2001:db8::1").unwrap();
    let given = ["router.example.com", "192.0.2.1", "192.0.2.2", "2001:DB8:0:0::0001"];
    let run = machine.run("127.0.0.1", &given).unwrap();
    assert_eq!((run.code, run.out.as_str(), run.err.as_str(), run.sent.as_str()), (Some(0), "", "", ""));
}

#[test]
fn a_missing_family_is_left_alone() {
    let machine = Machine::holding("192.0.2.9", "2001:db8::9").unwrap();
    let run = machine.run("[::1]:5300", &["-t", "60", "router.example.com.", "192.0.2.1"]).unwrap();
    assert_eq!(
        run.sent,
        "server ::1 5300\n\n\
         update delete router.example.com. A\n\
         update add router.example.com. 60 A 192.0.2.1\n\
         send\n"
    );
}

#[test]
fn the_source_addresses_of_the_default_routes_are_found() {
    let machine = Machine::holding("", "").unwrap().with_routes("88.71.73.131", "2003:db8::1").unwrap();
    let run = machine.run("127.0.0.1", &["router.example.com"]).unwrap();
    assert_eq!(run.err, "");
    assert_eq!(run.out, "router.example.com. A 88.71.73.131 (was nothing) AAAA 2003:db8::1 (was nothing)\n");
}

#[test]
fn found_private_addresses_are_refused_unless_allowed() {
    for (v4, v6) in [
        ("10.1.2.3", ""),
        ("172.31.0.1", "fe80::1"),
        ("192.168.178.2", "fd12:3456::1"),
        ("100.64.0.1", "fe80::1%eth0"),
        ("169.254.1.1", "::1"),
        ("127.0.0.1", "fc00::1"),
    ] {
        let machine = Machine::holding("", "").unwrap().with_routes(v4, v6).unwrap();
        let run = machine.run("127.0.0.1", &["router.example.com"]).unwrap();
        assert_eq!(run.code, Some(1), "{v4} {v6}: {}", run.out);
        assert!(run.err.contains("found only addresses that nobody outside can reach"), "{}", run.err);
        assert_eq!(run.sent, "");
    }
    let machine = Machine::holding("", "").unwrap().with_routes("10.1.2.3", "").unwrap();
    let run = machine.run("127.0.0.1", &["-p", "router.example.com"]).unwrap();
    assert_eq!(run.out, "router.example.com. A 10.1.2.3 (was nothing)\n");
}

#[test]
fn a_private_address_given_by_hand_is_used() {
    let machine = Machine::holding("", "").unwrap();
    let run = machine.run("127.0.0.1", &["nas.example.com", "192.168.1.2", "fd00::2"]).unwrap();
    assert_eq!(run.code, Some(0), "{}", run.err);
    assert!(run.sent.contains("A 192.168.1.2\n") && run.sent.contains("AAAA fd00::2\n"), "{}", run.sent);
}

#[test]
fn public_addresses_next_to_private_ones_are_not_refused() {
    // Found inside 172.16/12 and 100.64/10 only by a sloppy pattern.
    for v4 in ["172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1", "11.0.0.1", "193.168.0.1", "223.0.0.1"] {
        let machine = Machine::holding("", "").unwrap().with_routes(v4, "").unwrap();
        let run = machine.run("127.0.0.1", &["router.example.com"]).unwrap();
        assert_eq!(run.code, Some(0), "{v4}: {}", run.err);
    }
}

#[test]
fn a_command_may_find_the_addresses_and_must_print_nothing_else() {
    let machine = Machine::holding("", "").unwrap();
    let run = machine.run("127.0.0.1", &["-c", "echo 88.71.73.131, 2003::1", "router.example.com"]).unwrap();
    assert_eq!(run.out, "router.example.com. A 88.71.73.131 (was nothing) AAAA 2003::1 (was nothing)\n");

    let machine = Machine::holding("", "").unwrap();
    let run = machine.run("127.0.0.1", &["-c", "echo '<p>Error 5 from 88.71.73.131'", "router.example.com"]).unwrap();
    assert_eq!((run.code, run.sent.as_str()), (Some(1), ""));
    assert!(run.err.contains("'<p>Error' is no address"), "{}", run.err);
}

#[test]
fn a_url_is_asked_over_both_families_and_may_fail_over_one() {
    let machine = Machine::holding("", "").unwrap();
    machine.stand_in("curl", "case \"$*\" in *-4*) printf 88.71.73.131 ;; *) exit 7 ;; esac").unwrap();
    let run = machine.run("127.0.0.1", &["-u", "http://localhost/ip", "router.example.com"]).unwrap();
    assert_eq!(run.out, "router.example.com. A 88.71.73.131 (was nothing)\n");
}

#[test]
fn a_refused_update_exits_1_and_tells_what_nsupdate_said() {
    let machine = Machine::holding("", "").unwrap();
    machine.stand_in("nsupdate", "cat >/dev/null; echo 'update failed: REFUSED' >&2; exit 2").unwrap();
    let run = machine.run("127.0.0.1:5300", &["router.example.com", "192.0.2.1"]).unwrap();
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    assert!(
        run.err.starts_with(
            "update-ip.sh: cannot change router.example.com. on 127.0.0.1 port 5300: update failed: REFUSED;"
        ),
        "{}",
        run.err
    );
}

#[test]
fn a_silent_server_exits_1_and_nothing_is_sent() {
    let machine = Machine::holding("", "").unwrap();
    machine.stand_in("dig", "echo; echo ';; connection timed out; no servers could be reached'; exit 9").unwrap();
    let run = machine.run("127.0.0.1:5300", &["router.example.com", "192.0.2.1"]).unwrap();
    assert_eq!((run.code, run.sent.as_str()), (Some(1), ""));
    assert!(run.err.contains("A: connection timed out; no servers could be reached;"), "{}", run.err);
}

#[test]
fn wrong_usage_exits_2_and_says_what_is_wrong() {
    let machine = Machine::holding("", "").unwrap();
    for (server, more, text) in [
        ("127.0.0.1", &[][..], "no host given"),
        ("127.0.0.1", &["host.example", "nonsense"], "neither IPv4 nor IPv6"),
        ("127.0.0.1", &["host.example", "1.2.3.256"], "neither IPv4 nor IPv6"),
        ("127.0.0.1", &["-t", "soon", "host.example", "192.0.2.1"], "not a number of seconds"),
        ("127.0.0.1:dns", &["host.example", "192.0.2.1"], "not a number"),
        ("127.0.0.1", &["-u", "http://x", "-c", "true", "host.example"], "exclude each other"),
        (
            "127.0.0.1",
            &["-k", "/nonexistent/no.key", "host.example", "192.0.2.1"],
            "cannot read key file /nonexistent/no.key",
        ),
        // A line break would be a second line of nsupdate's input.
        ("127.0.0.1", &["host.example\nupdate delete www.example", "192.0.2.1"], "a character that no host name has"),
    ] {
        let run = machine.run(server, more).unwrap();
        assert_eq!((run.code, run.sent.as_str()), (Some(2), ""), "{more:?}: {}", run.err);
        assert!(run.err.contains(text), "{more:?}: {}", run.err);
    }
}
