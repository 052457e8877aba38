//! `dyndns zone` and `dyndns status`, by the real binary, on a running server and on the state of one that has ended.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where it fails"
)]

mod common;

use common::Server;
use common::client::{Home, SECRET};
use common::command;
use common::message::Update;
use dyndns::wire::Rtype;
use std::fs;
use std::process::Command;
use std::thread;

/// [`command::dyndns`] in the folder of a server.
fn dyndns(home: &Home, arguments: &[&str]) -> (i32, String, String) {
    command::dyndns(home.folder.path(), arguments)
}

fn done(home: &Home, arguments: &[&str]) -> String {
    command::done(home.folder.path(), arguments)
}

#[test]
fn a_hand_edit_of_the_exported_zone_becomes_one_change_of_the_running_server() {
    let home = Home::start();
    assert_eq!(home.send(Update::new(1, "example.com").add_a("router.example.com", [192, 0, 2, 9])), 0);
    let export = done(&home, &["zone", "export", "example.com"]);
    assert!(
        export.lines().any(|line| line.split_whitespace().eq(["router", "60", "IN", "A", "192.0.2.9"])),
        "{export}"
    );
    let edited = export.replace("192.0.2.9", "192.0.2.10") + "printer 60 A 192.0.2.11\n";
    fs::write(home.folder.path().join("edited.zone"), edited).unwrap();
    let text = done(&home, &["zone", "import", "edited.zone"]);
    assert_eq!(text, "zone example.com imported: serial 2 -> 3, 2 records added, 1 removed\n");
    assert_eq!(home.serial(), 3);
    let again = done(&home, &["zone", "import", "edited.zone"]);
    assert_eq!(again, "zone example.com holds this already; serial 3 stays\n");
    let history = done(&home, &["zone", "history", "example.com", "--max", "2"]);
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[0].ends_with("change serial=1->2 by key laptop. from 127.0.0.1"), "{history}");
    assert_eq!(lines[1], "  + router.example.com 60 A 192.0.2.9");
    assert!(lines[2].ends_with("change serial=2->3 by operator"), "{history}");
    let removed = lines[3..].iter().filter(|line| line.starts_with("  - ")).collect::<Vec<_>>();
    assert_eq!(removed, [&"  - router.example.com 60 A 192.0.2.9"], "{history}");
}

/// It was opened once more for its fingerprint, and nobody wrote to it any more.
#[test]
fn a_zone_file_that_comes_through_a_named_pipe_is_read_once() {
    let home = Home::start();
    let pipe = home.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let zone = "@ 60 SOA ns hostmaster 7 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.1\n";
    let writer = thread::spawn(move || fs::write(pipe, zone));
    let mut import = Command::new("timeout");
    import.args(["60", env!("CARGO_BIN_EXE_dyndns"), "zone", "import", "pipe", "new.example"]);
    let output = import.current_dir(home.folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    writer.join().unwrap().unwrap();
    assert!(done(&home, &["zone", "list"]).contains("new.example serial=7 owners=2\n"));
}

#[test]
fn what_was_imported_into_the_state_of_an_ended_server_is_served_by_the_next() {
    let mut home = Home::start();
    home.server.terminate();
    assert!(done(&home, &["zone", "list"]).contains("example.com serial=1 owners=5\n"));
    let zone = "$ORIGIN new.example.\n@ 60 SOA ns hostmaster 7 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.1\n";
    fs::write(home.folder.path().join("new.example.zone"), zone).unwrap();
    let text = done(&home, &["zone", "import", "new.example.zone"]);
    assert_eq!(text, "zone new.example imported: serial none -> 7, 2 records added, 0 removed\n");
    assert!(done(&home, &["zone", "delete", "2.0.192.in-addr.arpa"]).starts_with("zone 2.0.192.in-addr.arpa deleted"));
    assert_eq!(done(&home, &["zone", "list"]), "example.com serial=1 owners=5\nnew.example serial=7 owners=2\n");
    home.server.restart();
    assert!(done(&home, &["zone", "list"]).contains("new.example serial=7 owners=2\n"));
    let status = done(&home, &["status"]);
    // The configuration still names the deleted zone, so a start begins it anew.
    assert!(status.starts_with("zones 3\nkeys 1\n"), "{status}");
}

#[test]
fn an_edited_zone_file_is_noticed_at_the_next_start_and_no_more_once_it_is_imported() {
    let mut home = Home::start();
    home.server.terminate();
    let path = home.folder.path().join("zones/example.com.zone");
    let edited = fs::read_to_string(&path).unwrap() + "\nlate 60 IN A 192.0.2.12\n";
    fs::write(&path, edited).unwrap();
    home.server.restart();
    let line = home.server.wait_for_log("has changed since the zone took it");
    assert!(line.contains("dyndns zone import zones/example.com.zone"), "{line}");
    done(&home, &["zone", "import", "zones/example.com.zone"]);
    home.server.terminate();
    home.server.restart();
    assert!(!home.server.log().contains("has changed"), "{}", home.server.log());
}

/// An update that came after the export was lost, and so were all where the file that had begun the zone was imported
/// again.
#[test]
fn an_import_takes_back_what_updates_have_changed_only_where_it_is_told_to() {
    let mut home = Home::start();
    let update = |home: &Home, n: u8| {
        let update = Update::new(n.into(), "example.com").add_a(&format!("h{n}.example.com"), [192, 0, 2, n]);
        assert_eq!(home.send(update), 0);
    };
    let edit = |home: &Home, text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        fs::write(home.folder.path().join("edited.zone"), text.replace(from, to)).unwrap();
    };
    let import = ["zone", "import", "edited.zone"];
    let refused = |home: &Home, text: &str| {
        let serial = home.serial();
        let error = command::refused(home.folder.path(), &import);
        assert!(error.contains(text) && error.ends_with("with --force\n"), "{error}");
        assert_eq!(home.serial(), serial);
    };
    let seed = fs::read_to_string(home.folder.path().join("zones/example.com.zone")).unwrap();
    let add = |text: &str, name: &str| format!("{text}\n{name} 60 IN A 192.0.2.99\n");

    // Nothing was updated since the zone took a file.
    for name in ["one", "two"] {
        fs::write(home.folder.path().join("edited.zone"), add(&seed, name)).unwrap();
        done(&home, &import);
    }
    // Another serial in it, as BIND wants it for an edit, says nothing of what it was made of.
    update(&home, 1);
    let serial = format!(" {} ", home.serial());
    edit(&home, &add(&seed, "two"), " 1 ", &serial);
    refused(&home, "not imported: it would take back what updates have changed since serial 3: ");
    refused(&home, "h1.example.com A 192.0.2.1 (added by key laptop. at 20");
    // An export, but one update came after it.
    let export = done(&home, &["zone", "export", "example.com"]);
    update(&home, 2);
    edit(&home, &export, "192.0.2.99", "192.0.2.98");
    refused(&home, "since serial 4: h2.example.com A 192.0.2.2 (added by ");
    // The newest one, of which the operator takes what an update has added, and moves the serial on.
    let export = done(&home, &["zone", "export", "example.com"]);
    let without: Vec<&str> = export.lines().filter(|line| !line.starts_with("h1")).collect();
    edit(&home, &(without.join("\n") + "\n"), " 5 ", " 2026112200 ");
    assert!(done(&home, &import).ends_with("serial 5 -> 2026112200, 0 records added, 1 removed\n"));
    // Not running either.
    home.server.terminate();
    edit(&home, &add(&seed, "two"), "@", "@");
    let error = command::refused(home.folder.path(), &import);
    assert!(error.contains(": h2.example.com A 192.0.2.2 (added by "), "{error}");
    let forced = done(&home, &["zone", "import", "edited.zone", "--force"]);
    assert!(forced.ends_with("serial 2026112200 -> 2026112201, 0 records added, 1 removed\n"), "{forced}");
}

#[test]
fn a_change_is_taken_back_where_its_records_are_as_it_left_them() {
    let home = Home::start();
    let undo = |serial: &str| dyndns(&home, &["zone", "undo", "example.com", serial]);
    let records = || {
        let export = done(&home, &["zone", "export", "example.com"]);
        let records = export.lines().skip(1).filter(|line| !line.contains("\tSOA\t"));
        records.map(str::to_owned).collect::<Vec<_>>()
    };
    let replace = |n: u8| {
        let update = Update::new(n.into(), "example.com").delete("router.example.com", Rtype::A);
        assert_eq!(home.send(update.add_a("router.example.com", [192, 0, 2, n])), 0);
    };
    let begin = records();
    replace(1);
    let first = records();
    replace(2);
    assert_eq!(home.send(Update::new(3, "example.com").add_a("other.example.com", [192, 0, 2, 3])), 0);

    let (code, _, error) = undo("2");
    let why =
        "router.example.com A has been changed again since serial 2, at last by key laptop.; take that back before: ";
    assert_eq!((code, error), (1, format!("error: {why}dyndns zone undo example.com 3\n")));
    assert_eq!(home.serial(), 4);
    let told = "the change that led to serial 3 is taken back: serial 4 -> 5, 1 records added, 1 removed";
    assert_eq!(undo("3"), (0, format!("zone example.com: {told}\n"), String::new()));
    let without_other: Vec<String> = records().into_iter().filter(|line| !line.starts_with("other\t")).collect();
    assert_eq!(without_other, first);
    // It is as the first left it again.
    assert_eq!((undo("2").0, undo("4").0), (0, 0));
    assert_eq!(records(), begin);
    assert_eq!(undo("4").0, 1, "it has been taken back");
    // What was taken back may come again.
    assert_eq!(undo("7").0, 0);
    assert!(records().iter().any(|line| line.starts_with("other\t")));
    // The first is where the zone began.
    for serial in ["1", "99"] {
        let none = format!("no change that is kept led zone example.com to serial {serial}; ");
        assert!(undo(serial).2.contains(&none));
    }
    let history = done(&home, &["zone", "history", "example.com", "--max", "1"]);
    assert!(history.contains(" change serial=7->8 by operator\n"), "{history}");
}

#[test]
fn a_state_is_verified_running_or_not_and_a_fault_is_named_with_exit_code_1() {
    let mut home = Home::start();
    assert_eq!(home.send(Update::new(1, "example.com").add_a("router.example.com", [192, 0, 2, 9])), 0);
    for running in [true, false] {
        if !running {
            home.server.terminate();
        }
        let text = done(&home, &["zone", "verify"]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("journal: commits 3 (1 to 3), segments 1, octets "), "{text}");
        assert_eq!(lines[1..], ["table: up to commit 3, zones 2, owners 10", "ok: everything is whole"]);
    }
    home.server.restart();
    let segment = home.folder.path().join("state/journal/00000000000000000001.seg");
    let mut octets = fs::read(&segment).unwrap();
    octets[200] ^= 1;
    fs::write(&segment, octets).unwrap();
    for running in [true, false] {
        if !running {
            home.server.terminate();
        }
        let (code, _, err) = dyndns(&home, &["zone", "verify"]);
        assert_eq!(code, 1, "{err}");
        let fault = "fault: cannot read the journal: state/journal/00000000000000000001.seg is damaged at octet 64: ";
        assert!(err.starts_with(fault), "{err}");
    }
}

/// BIND loses the zone where the serial passes 2^32 while its journal is written and replayed; RFC 1982 says what follows.
#[test]
fn a_serial_that_wraps_survives_a_kill_with_its_zone_and_its_history() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("zones")).unwrap();
    let zone = "@ 60 SOA ns hostmaster 4294967290 1 1 1 1\n@ 60 NS ns\nns 60 A 192.0.2.1\n";
    fs::write(folder.path().join("zones/example.com.zone"), format!("$ORIGIN example.com.\n{zone}")).unwrap();
    let server = Server::start(folder.path(), &["--tsig", &format!("laptop:{SECRET}")]);
    let mut home = Home { server, folder };
    for n in 1..=20u8 {
        let update = Update::new(n.into(), "example.com").add_a(&format!("h{n}.example.com"), [192, 0, 2, n]);
        assert_eq!(home.send(update), 0);
    }
    // Zero is passed over.
    let serial = 4_294_967_290u32.wrapping_add(20) + 1;
    let history = done(&home, &["zone", "history", "example.com", "--max", "100"]);
    let exported = done(&home, &["zone", "export", "example.com"]);
    for rebuilt in [false, true] {
        home.server.kill9();
        if rebuilt {
            fs::remove_dir_all(home.folder.path().join("state/table")).unwrap();
        }
        home.server.restart();
        assert_eq!(home.serial(), serial);
        assert_eq!(done(&home, &["zone", "export", "example.com"]), exported);
        assert_eq!(done(&home, &["zone", "history", "example.com", "--max", "100"]), history);
    }
    let steps: Vec<&str> = history.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert!(steps.contains(&"serial=4294967295->1"), "{history}");
    assert_eq!(history.lines().filter(|line| line.contains("by key laptop.")).count(), 20);
    assert!((1..=20).all(|n| exported.contains(&format!("192.0.2.{n}\n"))), "{exported}");
    assert_eq!(done(&home, &["zone", "verify"]).lines().last(), Some("ok: everything is whole"));
}

#[test]
fn what_cannot_be_done_is_one_line_that_says_so() {
    let mut home = Home::start();
    let refused = |home: &Home, arguments: &[&str], code: i32, text: &str| {
        let (got, out, err) = dyndns(home, arguments);
        assert_eq!((got, out.as_str(), err.lines().count()), (code, "", 1), "{arguments:?}: {err}");
        assert!(err.contains(text), "{arguments:?}: {err}");
    };
    refused(&home, &["zone", "export", "none.example"], 1, "zone none.example is not served here");
    refused(&home, &["zone", "history", "none.example"], 1, "no history");
    refused(&home, &["zone", "list", "--state-dir", "nowhere"], 2, "name the server's state with --state-dir");
    fs::write(home.folder.path().join("bad.zone"), "$ORIGIN bad.example.\n@ 60 A 192.0.2.300\n").unwrap();
    refused(&home, &["zone", "import", "bad.zone"], 1, "bad.zone:2: ");
    home.server.terminate();
    refused(&home, &["status"], 1, "the server does not run");
}
