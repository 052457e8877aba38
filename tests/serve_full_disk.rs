//! A disk that is really full under a running server: a small tmpfs, so this test needs root.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::Server;
use common::client::{Home, SECRET, copy_zones, run};
use common::exchange::Udp;
use common::message::{self, NOERROR, SERVFAIL, Update, query};
use dyndns::wire::Rtype;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A tmpfs, unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, said aloud, where this user may not mount one.
    fn mount(place: &Path) -> Option<SmallDisk> {
        fs::create_dir(place).unwrap();
        let mount = run("mount", &["-t", "tmpfs", "-o", "size=24m", "dyndns-test", place.to_str().unwrap()], "")?;
        if mount.code != Some(0) {
            eprintln!("skipped: no tmpfs can be mounted here: {}", mount.err.trim());
            return None;
        }
        Some(SmallDisk(place.to_path_buf()))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Leaves no octet of room.
    fn fill(&self) {
        let mut filler = OpenOptions::new().append(true).create(true).open(self.filler()).unwrap();
        while filler.write(&[1; 4096]).is_ok_and(|written| written > 0) {}
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

#[test]
fn a_state_directory_on_a_read_only_file_system_is_told_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    copy_zones(folder.path());
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else { return };
    let state = disk.0.join("state");
    let arguments = ["--state-dir", state.to_str().unwrap(), "--tsig", &format!("laptop:{SECRET}")];
    let mut home = Home { server: Server::start(folder.path(), &arguments), folder };
    let (answered, _) = send(&home, 0, 5);
    home.server.kill9();
    let remount = |option: &str| {
        let mount = run("mount", &["-o", &format!("remount,{option}"), disk.0.to_str().unwrap()], "").unwrap();
        assert_eq!(mount.code, Some(0), "{}", mount.err);
    };
    remount("ro");
    let output = Server::fail(home.folder.path(), &arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("read-only file system; mount it writable or choose another --state-dir"), "{said}");
    remount("rw");
    home.server.restart();
    assert!(answered.len() == 5 && answered.iter().all(|number| held(&home, *number)), "{}", home.server.log());
    home.server.terminate();
    drop(disk);
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = run("umount", &["--lazy", self.0.to_str().unwrap()], "");
    }
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
    copy_zones(folder.path());
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else { return };
    let state = disk.0.join("state");
    let arguments = ["--state-dir", state.to_str().unwrap(), "--tsig", &format!("laptop:{SECRET}")];
    let mut home = Home { server: Server::start(folder.path(), &arguments), folder };
    let (mut answered, refused) = send(&home, 0, 20);
    assert_eq!((answered.len(), refused), (20, None));
    disk.fill();
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
    disk.fill();
    home.server.restart();
    let missing: Vec<_> = answered.iter().filter(|number| !held(&home, **number)).collect();
    assert!(missing.is_empty(), "answered NOERROR and lost: {missing:?}\n{}", home.server.log());
    assert!(!held(&home, lost), "what was refused is not there");
    assert_eq!(home.serial(), serial);
    let (more, refused) = send(&home, 3000, 500);
    answered.extend(&more);
    assert_eq!(refused, Some(SERVFAIL), "after {} more", more.len());

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
        let missing: Vec<_> = answered.iter().filter(|number| !held(&home, **number)).collect();
        assert!(missing.is_empty(), "answered NOERROR and lost: {missing:?}\n{}", home.server.log());
        assert!(!held(&home, lost));
    }
    home.server.terminate();
    drop(disk);
}
