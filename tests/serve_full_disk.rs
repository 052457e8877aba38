//! Disks that are really full or read-only, before a start and under a running server; to mount them takes root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::Server;
use common::client::{Home, SECRET, copy_zones, run};
use common::command::{done, dyndns};
use common::disk::TestDisk;
use common::exchange::Udp;
use common::message::{self, NOERROR, SERVFAIL, Update, query};
use dyndns::wire::Rtype;
use std::fs;
use tempfile::TempDir;

/// A server whose state lies on a disk of its own.
fn home_on(disk: &TestDisk, folder: TempDir) -> Home {
    copy_zones(folder.path());
    let state = disk.place().join("state");
    let arguments = ["--state-dir", state.to_str().unwrap(), "--tsig", &format!("laptop:{SECRET}")];
    Home { server: Server::start(folder.path(), &arguments), folder }
}

/// Whether every one of these is there.
fn check(home: &Home, answered: &[u32]) {
    let missing: Vec<_> = answered.iter().filter(|number| !held(home, **number)).collect();
    assert!(missing.is_empty(), "answered NOERROR and lost: {missing:?}\n{}", home.server.log());
}

/// Updates are refused, queries answered, and the operator is told by the log and by `dyndns status`.
fn check_read_only(home: &Home, answered: &[u32]) {
    let serial = home.serial();
    for n in 0..5 {
        assert_eq!(home.send(Update::new(2, "example.com").add_a("refused.example.com", [192, 0, 2, n])), SERVFAIL);
        let answer = Udp::connect(home.server.v6()).ask(&query(1, "mail.example.com", Rtype::A));
        assert_eq!((message::rcode(&answer), message::answers(&answer)), (NOERROR, 1));
    }
    assert_eq!(home.serial(), serial);
    check(home, answered);
    let line = home.server.wait_for_log("updates not stored: cannot ");
    assert!(line.contains("read-only file system; mount it writable"), "{line}");
}

/// A backup holds what was answered, although no checkpoint can be written beside the journal.
fn check_backup(home: &Home, disk: &TestDisk, name: &str, answered: &[u32]) {
    let (folder, state) = (home.folder.path(), disk.place().join("state"));
    let (code, said, warned) = dyndns(folder, &["backup", name, "--state-dir", state.to_str().unwrap()]);
    assert!(code == 0 && said.starts_with(&format!("backup {name} made: up to commit ")), "{said}{warned}");
    assert!(warned.starts_with("warning: the state could not be written, so the backup is of its files: "), "{warned}");
    let place = format!("from-{name}");
    assert!(done(folder, &["restore", name, "--state-dir", &place]).contains(" restored: up to commit "));
    assert!(done(folder, &["zone", "verify", "--state-dir", &place]).ends_with("ok: everything is whole\n"));
    let zone = done(folder, &["zone", "export", "example.com", "--state-dir", &place]);
    for number in answered {
        let owner = format!("h{number}");
        assert!(zone.lines().any(|line| line.split_whitespace().next() == Some(&owner)), "{owner} is not in it");
    }
    assert!(done(folder, &["zone", "history", "example.com", "--state-dir", &place]).contains(" by key laptop."));
}

fn status(disk: &TestDisk) -> String {
    done(disk.place(), &["status", "--state-dir", "state"])
}

#[test]
fn a_server_upon_a_read_only_state_directory_answers_refuses_updates_and_takes_them_once_it_is_writable() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = TestDisk::tmpfs(&folder.path().join("disk"), 24) else { return };
    let mut home = home_on(&disk, folder);
    let (mut answered, _) = send(&home, 0, 5);
    assert_eq!(answered.len(), 5);
    assert!(status(&disk).contains("\nstore takes updates\n"));
    home.server.kill9();
    disk.remount("ro");
    home.server.restart();
    let line = home.server.wait_for_log("is on a read-only file system");
    assert!(line.contains("mount it writable, and updates are taken again without a restart"), "{line}");
    // Before anyone has tried.
    let said = status(&disk);
    assert!(said.contains("\nstore state directory ") && said.contains("read-only"), "{said}");
    check_read_only(&home, &answered);
    assert!(done(disk.place(), &["zone", "list", "--state-dir", "state"]).contains("example.com serial=6"));
    // Nobody else may have it, although nothing can be written into its lock.
    let second = Server::fail(home.folder.path(), &["--state-dir", disk.place().join("state").to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&second.stderr).contains("is in use by process"), "{second:?}");
    check_backup(&home, &disk, "running", &answered);
    home.server.kill9();
    check_backup(&home, &disk, "ended", &answered);
    home.server.restart();
    check_read_only(&home, &answered);

    disk.remount("rw");
    let (more, _) = send(&home, 100, 5);
    assert_eq!(more.len(), 5, "{}", home.server.log());
    home.server.wait_for_log("updates are stored again");
    assert!(status(&disk).contains("\nstore takes updates\n"));
    answered.extend(more);
    for _ in 0..2 {
        home.server.kill9();
        home.server.restart();
        check(&home, &answered);
    }
}

/// An empty one has nothing to answer from.
#[test]
fn a_read_only_directory_without_a_state_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = TestDisk::tmpfs(&folder.path().join("disk"), 24) else { return };
    copy_zones(folder.path());
    for lock in [false, true] {
        let state = disk.place().join("state");
        fs::create_dir_all(&state).unwrap();
        if lock {
            fs::write(state.join("lock"), "").unwrap();
        }
        disk.remount("ro");
        let output = Server::fail(folder.path(), &["--state-dir", state.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("read-only file system; mount it writable or choose another --state-dir"), "{said}");
        disk.remount("rw");
    }
}

#[test]
fn a_file_system_that_becomes_read_only_under_way_loses_nothing_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (place, image) = (folder.path().join("disk"), folder.path().join("image"));
    let Some(disk) = TestDisk::ext4(&place, &image) else { return };
    let mut home = home_on(&disk, folder);
    let (mut answered, _) = send(&home, 0, 20);
    let Some(()) = disk.fail() else { return };
    // What lies ready of the journal may or may not be written; what is answered counts.
    let (more, refused) = send(&home, 100, 2000);
    answered.extend(more);
    assert_eq!(refused, Some(SERVFAIL));
    check_read_only(&home, &answered);
    assert!(status(&disk).contains("\nstore cannot "), "{}", status(&disk));
    // Started again upon the same disk.
    home.server.kill9();
    home.server.restart();
    check_read_only(&home, &answered);
    // And upon a disk that was mended, as after a reboot.
    home.server.kill9();
    drop(disk);
    let mended = run("e2fsck", &["-fy", image.to_str().unwrap()], "").unwrap();
    assert!(mended.code.is_some_and(|code| code < 4), "{mended:?}");
    let disk = TestDisk::ext4(&place, &image).unwrap();
    home.server.restart();
    check(&home, &answered);
    let (more, _) = send(&home, 5000, 5);
    assert_eq!(more.len(), 5, "{}", home.server.log());
    home.server.kill9();
    drop(disk);
}

/// Sends updates of 10 KB each, until one is not answered NOERROR or `count` are; returns the numbers that were
/// answered so, and the other answer.
fn send(home: &Home, from: u32, count: u32) -> (Vec<u32>, Option<u8>) {
    let mut answered = Vec::new();
    for number in from..from + count {
        let owner = format!("h{number}.example.com");
        let update = (0..40).fold(Update::new(1, "example.com"), |update, line| {
            update.add_txt(&owner, &format!("{number} {line} {}", "x".repeat(230)))
        });
        match home.send(update) {
            NOERROR => answered.push(number),
            other => return (answered, Some(other)),
        }
    }
    (answered, None)
}

fn held(home: &Home, number: u32) -> bool {
    let question = query(1, &format!("h{number}.example.com"), Rtype::TXT);
    let answer = common::exchange::Tcp::connect(home.server.v4()).ask(&question);
    match message::answers(&answer) {
        0 => false,
        40 => true,
        some => panic!("{some} of 40 records of h{number}"),
    }
}

#[test]
fn a_full_disk_refuses_updates_answers_queries_and_is_forgotten_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = TestDisk::tmpfs(&folder.path().join("disk"), 24) else { return };
    let state = disk.place().join("state");
    let mut home = home_on(&disk, folder);
    let (mut answered, refused) = send(&home, 0, 20);
    assert_eq!((answered.len(), refused), (20, None));
    disk.fill(0);
    // The journal lies ready in part; beyond that nothing can be stored.
    let (more, refused) = send(&home, 100, 2000);
    answered.extend(&more);
    assert_eq!(refused, Some(SERVFAIL), "after {} more", more.len());
    let line = home.server.wait_for_log("updates not stored");
    assert!(
        line.contains("no space left on device; make room; a running server takes updates again by itself"),
        "{line}"
    );
    assert!(!home.server.log().contains("iobuf"), "sled's own words stay out of the log: {}", home.server.log());
    home.server.wait_for_log("update refused: the change could not be made durable");
    let lost = 100 + u32::try_from(more.len()).unwrap();
    assert!(!held(&home, lost), "what was refused is not there");
    let serial = home.serial();
    for n in 0..10 {
        assert_eq!(
            home.send(Update::new(2, "example.com").add_txt("again.example.com", &"y".repeat(200 + n))),
            SERVFAIL
        );
        let answer = Udp::connect(home.server.v6()).ask(&query(1, "mail.example.com", Rtype::A));
        assert_eq!((message::rcode(&answer), message::answers(&answer)), (NOERROR, 1));
    }
    assert_eq!(home.serial(), serial);

    // Started again it answers queries, although there is no room even for its number.
    home.server.kill9();
    fs::remove_file(state.join("lock")).unwrap();
    disk.fill(0);
    home.server.restart();
    check(&home, &answered);
    assert!(!held(&home, lost), "what was refused is not there");
    assert_eq!(home.serial(), serial);
    let (more, refused) = send(&home, 3000, 500);
    answered.extend(&more);
    assert_eq!(refused, Some(SERVFAIL), "after {} more", more.len());
    check_backup(&home, &disk, "full", &answered);

    disk.make_room();
    let (more, refused) = send(&home, 5000, 100);
    answered.extend(&more);
    assert_eq!((more.len(), refused), (100, None), "{}", home.server.log());
    assert!(home.serial() > serial);
    for kill in [true, false, false] {
        match kill {
            true => home.server.kill9(),
            false => assert_eq!(home.server.terminate().code(), Some(0)),
        }
        home.server.restart();
        check(&home, &answered);
        assert!(!held(&home, lost));
    }
    home.server.terminate();
    drop(disk);
}
