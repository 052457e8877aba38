//! Faults of the disk and of the clock under a running server, and files that changed while it was down.
//!
//! The system calls fail by `faults/shim.c`, which is loaded before the C library's. Every time: what was answered NOERROR
//! is there afterwards, what was refused is not, the log says what happened, and queries are answered throughout.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;
#[path = "faults/trial.rs"]
mod trial;

use common::Server;
use common::client::{Home, SECRET, run};
use common::command::{done, dyndns, refused};
use common::exchange::Tcp;
use common::message::{self, NOERROR, NOTAUTH, SERVFAIL, Update, query};
use dyndns::clock::Clock;
use dyndns::tsig::verify_response;
use dyndns::wire::{Message, Rtype};
use std::fs;
use trial::{Trial, Watch, end_of};

#[test]
fn a_journal_whose_disk_fails_refuses_updates_and_takes_them_again_once_it_works() {
    let mut trial = Trial::start();
    let watch = Watch::start(&trial.home.server);
    let faults = [
        ("sync-journal-EIO", "cannot sync", "input/output error; check the disk and the system's log"),
        ("write-journal-EIO", "cannot write", "input/output error; check the disk and the system's log"),
        ("write-journal-ENOSPC", "cannot write", "no space left on device; make room"),
        ("write-journal-EROFS", "cannot write", "read-only file system; mount it writable"),
    ];
    for (fault, what, why) in faults {
        trial.add_some(3);
        let serial = trial.home.serial();
        trial.begin(fault);
        // The first meets the fault in a segment that holds answered updates, the others while one is made.
        for _ in 0..20 {
            assert_eq!(trial.add(), SERVFAIL, "{fault}");
        }
        assert_eq!(trial.home.serial(), serial);
        let log = trial.home.server.log();
        let fits = |line: &str| ["updates not stored", what, why].iter().all(|text| line.contains(text));
        assert!(log.lines().any(fits), "{fault}: {log}");
        // Now and then and not each time: the log may be on the disk that is full.
        assert!(trial.told("updates not stored") < 20, "{log}");
        trial.end(fault);
        trial.add_some(3);
        trial.home.server.wait_for_log("updates are stored again");
        trial.check();
    }
    watch.end();
    trial.kill_and_check();
    assert_eq!(trial.told("journal tail cut"), 0, "{}", trial.home.server.log());
    // And killed while the fault lasts: what it left of a refused update is gone after the start.
    for (fault, ..) in faults {
        trial.add_some(3);
        trial.begin(fault);
        assert_eq!(trial.add(), SERVFAIL, "{fault}");
        trial.home.server.kill9();
        trial.end(fault);
        trial.home.server.restart();
        trial.check();
    }
}

#[test]
fn a_journal_in_which_answered_updates_changed_behind_a_failed_sync_takes_no_more() {
    let mut trial = Trial::start();
    trial.add_some(2);
    trial.begin("sync-journal-EIO");
    assert_eq!(trial.add(), SERVFAIL);
    trial.end("sync-journal-EIO");
    // As if the kernel had dropped the page that it could not write, and read it again from the disk.
    let segment = trial.segment();
    let before = fs::read(&segment).unwrap();
    Trial::change(&segment, |octets| octets[64 + 36] ^= 1);
    let watch = Watch::start(&trial.home.server);
    for _ in 0..3 {
        assert_eq!(trial.add(), SERVFAIL);
    }
    let line = trial.home.server.wait_for_log("is damaged at octet 64: commit 1 is not whole");
    assert!(
        line.contains("check the disk, then stop the server and run dyndns zone repair --state-dir state: "),
        "{line}"
    );
    watch.end();
    fs::write(&segment, before).unwrap();
    trial.add_some(2);
    trial.kill_and_check();
}

#[test]
fn a_table_whose_disk_fails_is_told_updates_go_on_and_it_follows_again_without_a_restart() {
    for fault in ["write-table-EIO", "write-table-ENOSPC", "sync-table-EIO"] {
        let mut trial = Trial::start();
        let folder = trial.home.folder.path().to_owned();
        let status = || done(&folder, &["status"]);
        let watch = Watch::start(&trial.home.server);
        trial.add_some(3);
        trial.begin(fault);
        // It hears of updates some time after they are answered, and is asked for faults at the next.
        while !trial.home.server.log().contains("stopped following the journal") {
            trial.add_some(1);
            assert!(trial.next < 20_000, "{fault}: not told\n{}", trial.home.server.log());
        }
        assert!(!status().contains("\ntable follows"), "{fault}: {}", status());
        trial.add_some(3);
        watch.end();
        trial.check();
        trial.end(fault);
        trial.home.server.wait_for_log("table follows the journal again");
        trial.add_some(3);
        // Once for all the time, however often it was tried.
        assert_eq!(trial.told("stopped following the journal"), 1, "{fault}");
        assert!(status().contains("\ntable follows the journal\n"), "{fault}: {}", status());
        trial.is_whole();
        trial.kill_and_check();
        // A start does not need it either, nor another one for it to come back.
        trial.begin(fault);
        trial.add_some(3);
        trial.kill_and_check();
        trial.add_some(3);
        trial.end(fault);
        let followed = format!("table: up to commit {}", trial.next + 1);
        // Asked again as soon as it has said that the table does not follow.
        while !dyndns(&folder, &["zone", "verify"]).1.contains(&followed) {}
        trial.check();
        assert!(trial.home.server.terminate().success());
        trial.home.server.restart();
        trial.check();
        assert_eq!(trial.told("WARN table"), 0, "{fault}: {}", trial.home.server.log());
    }
}

#[test]
fn a_table_that_was_deleted_cut_or_filled_with_noise_is_made_anew() {
    let mut trial = Trial::start();
    let db = trial.state("table/db");
    trial.add_some(5);
    let damages: [(&str, &dyn Fn()); 4] = [
        ("table rebuilt", &|| fs::remove_dir_all(db.parent().unwrap()).unwrap()),
        // sled takes this for the end of an earlier write.
        ("table behind", &|| fs::write(&db, &fs::read(&db).unwrap()[..700]).unwrap()),
        ("table set aside", &|| {
            let mut number = 1u32;
            let noise = fs::read(&db).unwrap().into_iter().map(|_| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                number.to_be_bytes()[0]
            });
            fs::write(&db, noise.collect::<Vec<u8>>()).unwrap();
        }),
        ("table behind", &|| fs::write(&db, "").unwrap()),
    ];
    for (told, damage) in damages {
        // A clean end, so that all of it is in the table.
        assert!(trial.home.server.terminate().success());
        damage();
        trial.home.server.restart();
        trial.home.server.wait_for_log(told);
        trial.check();
        trial.add_some(5);
    }
    trial.kill_and_check();
}

#[test]
fn a_torn_tail_of_the_journal_is_cut_and_told() {
    let mut trial = Trial::start();
    trial.add_some(5);
    trial.home.server.kill9();
    Trial::change(&trial.segment(), |octets| {
        // The first half of an update that nobody was answered.
        let end = end_of(octets);
        octets.copy_within(end - 60..end - 10, end);
    });
    trial.home.server.restart();
    let line = trial.home.server.wait_for_log("journal tail cut");
    assert!(line.contains("was never finished and never answered"), "{line}");
    trial.check();
    trial.add_some(5);
    trial.kill_and_check();
    assert_eq!(trial.told("journal tail cut"), 0, "{}", trial.home.server.log());
}

#[test]
fn a_journal_that_grows_since_nothing_of_it_can_go_is_told_and_goes_once_it_can() {
    let config = tempfile::tempdir().unwrap();
    let path = config.path().join("dyndns.toml");
    fs::write(&path, "[journal]\nkeep-size = 1\ncheckpoint-size = 1\n").unwrap();
    let mut trial =
        Trial::start_with(&["--zone", "example.com", "--state-dir", "state", "--config", path.to_str().unwrap()]);
    trial.begin("write-checkpoint-EIO");
    trial.fill_until(|trial| trial.told(" octets and grows: ") > 0 && trial.segments().len() > 6);
    let line = trial.home.server.wait_for_log(" octets and grows: ");
    assert!(
        line.contains("its older part has to wait for two checkpoints and for the table; check the disk"),
        "{line}"
    );
    let line = trial.home.server.wait_for_log("checkpoint not written, the ones before stay and updates go on: ");
    assert!(line.contains("cannot write") && line.contains("input/output error"), "{line}");
    assert_eq!((trial.told("octets and grows"), trial.told("checkpoint not written")), (1, 1));
    let grown = trial.segments();
    trial.begin("remove-journal-EIO");
    trial.end("write-checkpoint-EIO");
    trial.fill_until(|trial| trial.told("old journal not let go: ") > 0 && trial.segments().len() > grown.len() + 2);
    let line = trial.home.server.wait_for_log("old journal not let go: ");
    assert!(
        line.contains(&format!("cannot remove state/journal/{}", grown[0].file_name().unwrap().display())),
        "{line}"
    );
    assert!(line.contains("input/output error; check the disk"), "{line}");
    let told = ["old journal not let go", "octets and grows", "checkpoint not written"].map(|text| trial.told(text));
    assert_eq!(told, [1; 3]);
    assert_eq!(trial.segments()[..grown.len()], grown);
    trial.end("remove-journal-EIO");
    trial.fill_until(|trial| trial.segments().len() < grown.len());
    trial.add_some(3);
    trial.kill_and_check();
}

#[test]
fn a_state_that_a_later_version_wrote_is_refused_and_left_as_it_is() {
    let mut trial = Trial::start();
    trial.add_some(3);
    let folder = trial.home.folder.path().to_owned();
    // It begins with a checkpoint.
    done(&folder, &["backup", "saved"]);
    assert!(trial.home.server.terminate().success());
    fs::remove_dir_all(trial.state("table")).unwrap();
    let checkpoint = fs::read_dir(trial.state("checkpoint")).unwrap().next().unwrap().unwrap().path();
    for path in [trial.segment(), checkpoint] {
        let before = fs::read(&path).unwrap();
        let later = Trial::change(&path, |octets| octets[8..12].copy_from_slice(&2u32.to_be_bytes()));
        let output = Server::fail(&folder, &["--tsig", &format!("laptop:{SECRET}")]);
        let told = [String::from_utf8(output.stderr).unwrap(), refused(&folder, &["zone", "repair"])];
        let text = format!(
            "cannot read {}: it has format 2 and this dyndns reads format 1; run the version that wrote it",
            path.strip_prefix(&folder).unwrap().display()
        );
        assert!(told.iter().all(|said| said.contains(&text)), "{told:?}");
        assert!(fs::read(&path).unwrap() == later);
        fs::write(&path, before).unwrap();
    }
    trial.home.server.restart();
    trial.check();
}

/// Also in the last update, and although nothing else holds it.
#[test]
fn a_flipped_bit_is_put_right_and_nothing_is_lost() {
    for middle in [true, false] {
        let mut trial = Trial::start();
        trial.add_some(5);
        trial.home.server.kill9();
        fs::remove_dir_all(trial.state("table")).unwrap();
        let (line, ..) = trial.is_mended(middle, 4, "journal put right: of commit ");
        assert!(line.contains("one bit was not what was written; nothing is lost: check disk and memory"), "{line}");
        assert_eq!(trial.updates(), 10);
    }
}

/// The table holds what the damaged updates did: only history is lost, and that is told.
#[test]
fn damage_to_updates_that_the_table_holds_is_set_aside_and_nothing_answered_is_lost() {
    // In the middle, and in the last update: nothing in the journal itself tells that from a write that was never finished.
    for middle in [true, false] {
        let mut trial = Trial::start();
        trial.add_some(5);
        // A clean end, so that the table has all of it.
        assert!(trial.home.server.terminate().success());
        let (line, segment, octets) = trial.is_mended(middle, 5, "journal mended: ");
        assert!(line.contains("is damaged at octet ") && line.contains("nothing answered is lost"), "{line}");
        assert!(line.contains("history and IXFR begin with serial ") && line.contains(" of example.com"), "{line}");
        let aside = trial.state("journal.damaged-1").join(segment.file_name().unwrap());
        assert!(fs::read(aside).unwrap() == octets, "the damaged file is kept as it is");
        assert_eq!(trial.updates(), if middle { 10 } else { 5 });
    }
}

#[test]
fn damage_to_an_old_segment_which_no_start_reads_is_mended_by_the_command_that_verify_names() {
    let mut trial = Trial::start();
    trial.add_some(3);
    trial.fill_until(|trial| trial.segments().len() > 1);
    assert!(trial.home.server.terminate().success());
    let segment = trial.segments().remove(0);
    Trial::change(&segment, |octets| octets[64 + 36 + 10] ^= 5);
    trial.home.server.restart();
    let folder = trial.home.folder.path().to_owned();
    let (code, _, faults) = dyndns(&folder, &["zone", "verify"]);
    assert!(code == 1 && faults.contains("is damaged at octet 64: commit 1 is not whole"), "{faults}");
    assert!(faults.contains("stop the server and run dyndns zone repair --state-dir state: it mends"), "{faults}");
    let repair = ["zone", "repair", "--state-dir", "state"];
    assert!(refused(&folder, &repair).contains("is in use by process"));
    assert!(trial.home.server.terminate().success());
    // The state is the service's, and this is root: what it writes is the service's too.
    let given = run("chown", &["-R", "65534", trial.state("").to_str().unwrap()], "").unwrap();
    let said = done(&folder, &repair);
    assert!(said.starts_with("journal mended: state/journal/") && said.ends_with("\nok: mended\n"), "{said}");
    match given.code {
        Some(0) => {
            let others = run("find", &[trial.state("").to_str().unwrap(), "-not", "-uid", "65534"], "").unwrap();
            assert_eq!(others.out, "");
            run("chown", &["-R", "0", trial.state("").to_str().unwrap()], "").unwrap();
        }
        _ => eprintln!("skipped: only root can give files to another user"),
    }
    trial.is_whole();
    assert_eq!(done(&folder, &repair), "ok: there was nothing to mend\n");
    trial.home.server.restart();
    trial.check();
    trial.add_some(3);
    trial.kill_and_check();
}

#[test]
fn damage_to_an_update_that_nothing_else_holds_is_refused_with_the_commands_to_go_on() {
    let mut trial = Trial::start();
    trial.add_some(5);
    trial.home.server.kill9();
    fs::remove_dir_all(trial.state("table")).unwrap();
    let (segment, mut at) = (trial.segment(), 64);
    let octets = Trial::change(&segment, |octets| {
        // The fifth commit: two zones are begun before the first update.
        for _ in 0..4 {
            at += 36 + u32::from_be_bytes(octets[at..at + 4].try_into().unwrap()) as usize;
        }
        octets[at + 36 + 10] ^= 5;
    });
    let folder = trial.home.folder.path().to_owned();
    for _ in 0..2 {
        let output = Server::fail(&folder, &["--tsig", &format!("laptop:{SECRET}")]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(&format!("is damaged at octet {at}: commit 5")), "{said}");
        let remedy = "lost would be commit 5, answered and held by neither the table nor a checkpoint: start from a \
                      backup with dyndns restore, or go on without with dyndns zone repair --without 5 --state-dir state";
        assert!(said.contains(remedy), "{said}");
    }
    assert!(fs::read(&segment).unwrap() == octets, "the damaged file is left as it is");
    assert!(refused(&folder, &["zone", "repair", "--without", "4"]).contains("--without 5"));
    let said = done(&folder, &["zone", "repair", "--without", "5"]);
    assert!(said.contains("what commit 5 changed is lost"), "{said}");
    // Only that one.
    assert_eq!(trial.answered.remove(2), 3);
    trial.home.server.restart();
    trial.check();
    trial.add_some(3);
    trial.kill_and_check();
    assert!(refused(&folder, &["zone", "repair", "--without", "5"]).contains("is in use by process"));
}

#[test]
fn a_clock_that_jumps_back_refuses_by_tsig_alone_and_loses_nothing() {
    const BACK: i64 = -400 * 86_400;
    let mut trial = Trial::start();
    trial.add_some(3);
    let serial = trial.home.serial();
    let watch = Watch::start(&trial.home.server);
    trial.begin("clock-back");
    // RFC 8945 section 5.2.3: the server cannot know which of the two clocks is wrong.
    let update = || Update::new(1, "example.com").add_a("back.example.com", [192, 0, 2, 1]);
    let refused = Tcp::connect(trial.home.server.v4()).ask(&update().sign(&Home::key()).message);
    assert_eq!(message::rcode(&refused), NOTAUTH);
    let line = trial.home.server.wait_for_log("TSIG rejected");
    assert!(line.contains("check the clock"), "{line}");
    assert_eq!(trial.home.serial(), serial);
    // A client with the same clock goes on.
    let now = Clock::System.now().checked_add_signed(BACK).unwrap();
    let request = message::sign(update().unsigned(), &Home::key(), BACK);
    let answer = Tcp::connect(trial.home.server.v4()).ask(&request.message);
    let tsig_at = Message::parse(&answer).unwrap().tsig_at.unwrap();
    verify_response(&Home::key(), request.mac(), &answer, tsig_at, now).unwrap();
    assert_eq!(message::rcode(&answer), NOERROR);
    assert!(trial.home.serial() > serial);
    let serial = trial.home.serial();
    watch.end();
    // Over a start with the old clock, and with the right one again.
    trial.kill_and_check();
    trial.end("clock-back");
    trial.kill_and_check();
    assert_eq!(trial.home.serial(), serial);
    trial.add_some(3);
    trial.kill_and_check();
    assert_eq!(message::answers(&Tcp::connect(trial.home.server.v4()).ask(&query(1, "back.example.com", Rtype::A))), 1);
}
