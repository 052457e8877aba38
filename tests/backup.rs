//! `dyndns backup` and `dyndns restore`, by the real binary: of a server under load, of one that has ended, and of what is
//! no whole backup.

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
use common::command::{done, dyndns, refused};
use common::exchange::Tcp;
use common::message::{NOERROR, Update};
use common::shim;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A server with a few updates; and a backup of it in `saved`.
fn saved() -> Home {
    let home = Home::start();
    for n in 1..20u8 {
        let update = Update::new(n.into(), "example.com").add_a(&format!("h{n}.example.com"), [192, 0, 2, n]);
        assert_eq!(home.send(update), NOERROR);
    }
    let text = done(home.folder.path(), &["backup", "saved"]);
    assert!(text.starts_with("backup saved made: up to commit 21, files "), "{text}");
    home
}

/// Every file below a directory, and its octets.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => found.push((path.clone(), fs::read(path).unwrap())),
            }
        }
    }
    found.sort();
    found
}

/// Adds one host below `wN.example.com` after the other, and counts those that were answered.
fn hammer(server: &Server, below: &str, stop: &AtomicBool, count: &AtomicU32) {
    let mut tcp = Tcp::connect(server.v4());
    for n in 1u32.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("h{n}.{below}.example.com");
        let request = Update::new(n as u16, "example.com").add_a(&name, n.to_be_bytes()).sign(&Home::key());
        let answer = tcp.ask(&request.message);
        assert_eq!(request.verified(&Home::key(), &answer), Ok(NOERROR));
        count.fetch_add(1, Ordering::SeqCst);
    }
}

/// Of each client so many hosts are there; returns the zone.
fn check(place: &Path, counts: &[u32]) -> String {
    let zone = done(place, &["zone", "export", "example.com"]);
    let held: std::collections::HashSet<&str> =
        zone.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for (client, count) in counts.iter().enumerate() {
        assert!(*count >= 50);
        for n in 1..=*count {
            assert!(held.contains(format!("h{n}.w{client}").as_str()), "{}: h{n}.w{client} is lost", place.display());
        }
    }
    zone
}

#[test]
fn a_backup_under_load_holds_every_update_that_was_answered_before_it_began() {
    let home = Home::start();
    let folder = home.folder.path();
    let (stop, counts) = (AtomicBool::new(false), [const { AtomicU32::new(0) }; 4]);
    let before = std::thread::scope(|scope| {
        for (client, count) in counts.iter().enumerate() {
            let (home, stop) = (&home, &stop);
            scope.spawn(move || hammer(&home.server, &format!("w{client}"), stop, count));
        }
        while counts.iter().any(|count| count.load(Ordering::SeqCst) < 50) {
            std::thread::yield_now();
        }
        let mut all = Vec::new();
        for name in ["first", "second", "third"] {
            let before: Vec<u32> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
            let text = done(folder, &["backup", name]);
            let (_, commit) = text.split_once(" made: up to commit ").unwrap();
            all.push((name, before, commit.split(',').next().unwrap().to_owned()));
        }
        assert_eq!(done(folder, &["zone", "verify"]).lines().last(), Some("ok: everything is whole"));
        stop.store(true, Ordering::SeqCst);
        all
    });
    for (name, counts, commit) in &before {
        let place = folder.join(format!("restored-{name}"));
        fs::create_dir(&place).unwrap();
        let text = done(folder, &["restore", name, "--state-dir", place.join("state").to_str().unwrap()]);
        assert!(text.contains(" restored: up to commit "), "{text}");
        assert_eq!(done(&place, &["zone", "verify"]).lines().last(), Some("ok: everything is whole"));
        assert!(text.contains(&format!(" up to commit {commit}, ")), "{text}");
        // Started while clients hammer at it.
        let mut server = Server::start(&place, &["--tsig", &format!("laptop:{SECRET}")]);
        let (stop, answered) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for client in 0..3 {
                let (server, stop, answered) = (&server, &stop, &answered);
                scope.spawn(move || hammer(server, &format!("new{client}"), stop, answered));
            }
            check(&place, counts);
            while answered.load(Ordering::SeqCst) < 50 {
                std::thread::yield_now();
            }
            stop.store(true, Ordering::SeqCst);
        });
        server.kill9();
        server.restart();
        let zone = check(&place, counts);
        let hammered = zone.lines().filter(|line| line.contains(".new")).count();
        assert!(hammered >= answered.load(Ordering::SeqCst) as usize, "{hammered} of {answered:?}");
        // It takes updates, and its history goes back to the beginning.
        let request = Update::new(1, "example.com").add_a("new.example.com", [192, 0, 2, 1]).sign(&Home::key());
        let answer = Tcp::connect(server.v4()).ask(&request.message);
        assert_eq!(request.verified(&Home::key(), &answer), Ok(NOERROR));
        let history = done(&place, &["zone", "history", "example.com", "--max", "1000000"]);
        assert!(history.lines().next().unwrap().contains(" create serial=none->1 by seed"), "{name}");
    }
}

#[test]
fn a_backup_of_an_ended_server_restores_zones_history_keys_and_rights() {
    use std::os::unix::fs::PermissionsExt;
    let mut home = Home::start_with(&[]);
    let folder = home.folder.path();
    assert!(!home.server.terminate().success() || folder.join("state/keys/dyndns.key").exists());
    let zones = done(folder, &["zone", "list"]);
    done(folder, &["backup", "saved"]);
    done(folder, &["restore", "saved", "--state-dir", "other"]);
    assert_eq!(done(folder, &["zone", "list", "--state-dir", "other"]), zones);
    let history = |state| done(folder, &["zone", "history", "example.com", "--state-dir", state]);
    assert_eq!(history("other"), history("state"));
    let key = folder.join("other/keys/dyndns.key");
    assert_eq!(fs::read(&key).unwrap(), fs::read(folder.join("state/keys/dyndns.key")).unwrap());
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(folder.join("saved")).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn of_a_state_without_a_zone_there_is_no_backup_running_or_not() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("dyndns.toml"), "state-dir = \"state\"\n").unwrap();
    let mut server = Server::start(place.path(), &["--config", "dyndns.toml"]);
    let error = || refused(place.path(), &["backup", "saved"]);
    let text = "cannot make the backup: there is nothing to back up: no zone was ever made here";
    assert!(error().contains(text), "{}", error());
    assert!(server.terminate().success());
    assert!(error().contains(text), "{}", error());
}

#[test]
fn a_backup_goes_nowhere_where_something_is() {
    let home = saved();
    let folder = home.folder.path();
    assert!(refused(folder, &["backup", "saved"]).contains("saved as a backup: it is not empty"));
    assert!(refused(folder, &["backup", "state/saved"]).contains("it is inside the state directory"));
}

#[test]
fn a_backup_that_is_not_whole_is_refused_with_the_reason_and_nothing_changes() {
    let mut home = saved();
    home.server.terminate();
    let folder = home.folder.path();
    let all = files(&folder.join("saved"));
    assert!(all.len() >= 3, "{}", all.len());
    for (path, octets) in &all {
        let name = path.strip_prefix(folder.join("saved")).unwrap().to_str().unwrap();
        let (missing, changed) = match name {
            "backup" => ("it has no list of its files", "the list of its files is cut short or damaged"),
            _ => (name, name),
        };
        fs::remove_file(path).unwrap();
        let error = refused(folder, &["restore", "saved", "--state-dir", "other"]);
        assert!(error.contains(missing) && error.contains("take another"), "{name}: {error}");
        let mut flipped = octets.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        for damaged in [&octets[..octets.len() - 1], &flipped] {
            fs::write(path, damaged).unwrap();
            let error = refused(folder, &["restore", "saved", "--state-dir", "other"]);
            assert!(error.contains(changed) && error.contains("take another"), "{name}: {error}");
        }
        fs::write(path, octets).unwrap();
    }
    let left: Vec<_> = fs::read_dir(folder.join("other")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"]);
    done(folder, &["restore", "saved", "--state-dir", "other"]);
}

#[test]
fn a_state_is_not_restored_over_a_running_server_nor_over_another_state_unless_forced() {
    let mut home = saved();
    let folder = home.folder.path();
    let error = refused(folder, &["restore", "saved"]);
    assert!(error.contains(&format!("state is in use by process {}", home.server.pid())), "{error}");
    assert_eq!(home.send(Update::new(1, "example.com").add_a("later.example.com", [192, 0, 2, 99])), NOERROR);
    home.server.terminate();
    let error = refused(folder, &["restore", "saved"]);
    assert!(error.contains("it holds a state already") && error.contains("--force"), "{error}");
    assert!(done(folder, &["zone", "export", "example.com"]).contains("later"));
    let text = done(folder, &["restore", "saved", "--force"]);
    assert!(text.contains("what was there before is in state/before-restore-1; it may be deleted"), "{text}");
    home.server.restart();
    let zone = done(folder, &["zone", "export", "example.com"]);
    assert!(zone.contains("h19\t") && !zone.contains("later"), "{zone}");
    let before = done(folder, &["zone", "export", "example.com", "--state-dir", "state/before-restore-1"]);
    assert!(before.contains("later"), "{before}");
}

/// Killed before each call that changes a name or syncs a file.
#[test]
fn a_restore_that_is_killed_anywhere_leaves_the_old_state_or_the_new_one() {
    let mut home = saved();
    assert_eq!(home.send(Update::new(1, "example.com").add_a("later.example.com", [192, 0, 2, 99])), NOERROR);
    home.server.terminate();
    let folder = home.folder.path();
    let shim = shim::build(folder);
    let export = |state: &str| done(folder, &["zone", "export", "example.com", "--state-dir", state]);
    let (old, mut olds, mut news) = (export("state"), 0, 0);
    assert!(old.contains("later"));
    for step in 0.. {
        let state = format!("killed-{step}");
        copy(&folder.join("state"), &folder.join(&state));
        let mut restore = Command::new(env!("CARGO_BIN_EXE_dyndns"));
        restore.current_dir(folder).args(["restore", "saved", "--force", "--state-dir", &state]);
        let output = restore.env("LD_PRELOAD", &shim).env("DYNDNS_KILL_AT", step.to_string()).output().unwrap();
        // Whoever comes first finds one of the two, and whoever comes next the same.
        let (found, again) =
            (dyndns(folder, &["zone", "export", "example.com", "--state-dir", &state]), export(&state));
        assert_eq!((found.0, &found.1), (0, &again), "step {step}: {}", found.2);
        let new = again.contains("h19\t") && !again.contains("later");
        assert!(new || again == old, "step {step}: {again}");
        (olds, news) = (olds + u32::from(!new), news + u32::from(new));
        if new {
            let aside = format!("{state}/before-restore-1");
            assert_eq!(export(&aside), old, "step {step}: what was there is all in one place");
            assert!(!folder.join(&state).join("before-restore-2").exists());
        }
        assert_eq!(
            done(folder, &["zone", "verify", "--state-dir", &state]).lines().last(),
            Some("ok: everything is whole")
        );
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), None, "step {step}: {}", String::from_utf8_lossy(&output.stderr));
        // Done again it is done.
        done(folder, &["restore", "saved", "--force", "--state-dir", &state]);
        assert!(!export(&state).contains("later"), "step {step}");
        fs::remove_dir_all(folder.join(&state)).unwrap();
    }
    assert!(olds > 5 && news > 5, "{olds} old, {news} new");
}

/// Copies a directory with all below it, but for sockets.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&path, &to),
            kind if kind.is_file() => assert!(fs::copy(path, to).is_ok()),
            _ => {}
        }
    }
}
