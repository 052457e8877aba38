//! Tests of a journal that is damaged: by a flipped bit anywhere, with and without a table that holds what it did.

use super::super::journal::Journal;
use super::super::power::PowerDisk;
use super::super::recovery::rebuild_tests::{Checkpointed, EAGER};
use super::super::samples::{files, flip};
use super::super::table::Table;
use super::super::{DiskStore, Since, Store, verify};
use super::*;
use crate::wire::Rtype;
use crate::zone::Record;
use std::collections::BTreeMap;

type Records = BTreeMap<String, Vec<Record>>;

/// A state of `more` commits after one checkpoint or more, closed, the table up to date.
fn sample(dir: &Path, reach: u64, more: usize) -> u64 {
    let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir);
    if reach > 0 {
        sample.reach(dir, reach);
    }
    for _ in 0..more {
        sample.commit().unwrap();
    }
    sample.store.settle();
    sample.store.last_seq()
}

fn open(dir: &Path) -> Result<(DiskStore, Records, Vec<RecoveryNote>), StoreError> {
    let opened = DiskStore::open(dir, &EAGER)?;
    let sorted = |loaded: super::super::LoadedZone| {
        let mut records: Vec<Record> = loaded.zone.zone().unwrap().records().collect();
        records.sort();
        (loaded.apex.to_string(), records)
    };
    Ok((opened.store, opened.zones.into_iter().map(sorted).collect(), opened.notes))
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("journal"))
}

/// One bit of a frame is put right; what more of them were, nobody knows.
const ONE: u8 = 0x10;
const TWO: u8 = 0x11;

/// Where each frame of a segment is, and its sequence number.
fn frames(path: &Path) -> Vec<(usize, u64)> {
    let octets = fs::read(path).unwrap();
    let mut frames = Frames::new(&octets).unwrap();
    let mut found = Vec::new();
    loop {
        let at = frames.at;
        match frames.next() {
            Some(frame) => found.push((at, frame.seq)),
            None => return found,
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &to) } else { assert!(fs::copy(&path, to).is_ok()) }
    }
}

/// Opens it damaged: nothing but history is lost, the damaged file is kept, and all is well from then on.
fn opens_mended(dir: &Path, zones: &Records, last: u64, damaged: &Path) {
    let octets = fs::read(damaged).unwrap();
    let (mut store, again, notes) = open(dir).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&again, store.last_seq()), (zones, last));
    let RecoveryNote::JournalMended { aside, lost: None, gone, .. } = &notes[0] else { panic!("{notes:?}") };
    assert!(gone.is_empty());
    let text = notes[0].to_string();
    assert!(text.starts_with(&format!("journal mended: {} is damaged at octet ", damaged.display())), "{text}");
    assert!(
        text.contains("nothing answered is lost") && text.contains("history and IXFR begin with serial "),
        "{text}"
    );
    assert!(fs::read(aside.join(damaged.file_name().unwrap())).unwrap() == octets, "kept as it was");
    // History leads from the serial that was named.
    let RecoveryNote::JournalMended { begins, .. } = &notes[0] else { panic!() };
    let (zone, since) = begins[0];
    let serial = u32::try_from(last).unwrap() + 1;
    store.append(&[super::super::samples::change("example.com", serial, &[])]).unwrap();
    assert!(store.history(&zone, Some(Since::Serial(since)), 1000).unwrap().complete, "{text}");
    store.sync_table().unwrap();
    drop(store);
    assert_eq!(verify(dir).unwrap().faults, [""; 0]);
    let (store, _, notes) = open(dir).unwrap();
    assert_eq!((store.last_seq(), notes), (last + 1, vec![]));
}

#[test]
fn a_flipped_bit_in_the_last_segment_loses_nothing_that_the_table_holds() {
    let whole = tempfile::tempdir().unwrap();
    let last = sample(whole.path(), 0, 12);
    let (store, zones, notes) = open(whole.path()).unwrap();
    assert_eq!((notes, segments(whole.path()).len()), (vec![], 1));
    drop(store);
    let newest = segments(whole.path()).pop().unwrap();
    for (start, seq) in frames(&newest) {
        // The length of the last commit of all is all that tells where it ends.
        let lengths = if seq == last { 4 } else { 0 };
        for (octet, bits) in [(lengths, TWO), (10, TWO), (25, TWO), (60, TWO)] {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            let damaged = segments(dir.path()).pop().unwrap();
            flip(&damaged, start + octet, bits);
            opens_mended(dir.path(), &zones, last, &damaged);
        }
    }
}

#[test]
fn one_flipped_bit_loses_nothing_although_only_the_journal_holds_the_commit() {
    let whole = tempfile::tempdir().unwrap();
    let last = sample(whole.path(), 0, 12);
    let (store, zones, _) = open(whole.path()).unwrap();
    drop(store);
    let newest = segments(whole.path()).pop().unwrap();
    let octets = fs::read(&newest).unwrap();
    let end = octets.iter().rposition(|octet| *octet != 0).unwrap();
    for (start, _) in frames(&newest) {
        for at in [start + 1, start + 3, start + 6, start + 12, start + 18, start + 30, start + 60, end] {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            fs::remove_dir_all(dir.path().join("table")).unwrap();
            let damaged = segments(dir.path()).pop().unwrap();
            flip(&damaged, at, ONE);
            opens_put_right(dir.path(), &zones, last, &[&damaged]);
        }
    }
}

/// Opens it damaged by single bits: nothing is lost, not even history, and all is well from then on.
fn opens_put_right(dir: &Path, zones: &Records, last: u64, damaged: &[&Path]) {
    let (store, again, notes) = open(dir).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((&again, store.last_seq()), (zones, last));
    for path in damaged {
        let told = |note: &RecoveryNote| matches!(note, RecoveryNote::BitPutRight { path: told, .. } if told == path);
        assert!(notes.iter().any(told), "{notes:?}");
        assert!(notes[0].to_string().contains("one bit was not what was written; nothing is lost"), "{}", notes[0]);
    }
    let history = store.history(&Name::parse("example.com").unwrap(), None, 1000).unwrap();
    assert_eq!((history.commits.len() as u64, history.complete), (last, true));
    store.sync_table().unwrap();
    drop(store);
    assert_eq!(verify(dir).unwrap().faults, [""; 0]);
    let (store, _, notes) = open(dir).unwrap();
    assert_eq!((store.last_seq(), notes), (last, vec![]));
}

#[test]
fn bits_that_are_turned_over_in_several_segments_are_put_right_wherever_that_breaks_off() {
    let whole = tempfile::tempdir().unwrap();
    let last = sample(whole.path(), 0, 12);
    let (mut store, _, _) = open(whole.path()).unwrap();
    for serial in 13..140 {
        store.append(&[super::super::samples::change("example.com", serial, &[])]).unwrap();
    }
    let last = last.max(store.last_seq());
    drop(store);
    let (store, zones, _) = open(whole.path()).unwrap();
    drop(store);
    fs::remove_dir_all(whole.path().join("table")).unwrap();
    for path in segments(whole.path()) {
        for (at, _) in frames(&path).into_iter().step_by(3) {
            flip(&path, at + 50, ONE);
        }
    }
    assert!(segments(whole.path()).len() > 2);
    let mut failed = 0;
    for operation in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let disk = PowerDisk::new(operation);
        disk.fail_after(usize::try_from(operation).unwrap());
        failed += usize::from(put_bits_right(dir.path(), &mut disk.clone()).is_err());
        disk.cut();
        let (store, again, _) = open(dir.path()).unwrap_or_else(|error| panic!("operation {operation}: {error}"));
        assert_eq!((again, store.last_seq()), (zones.clone(), last), "operation {operation}");
        drop(store);
        assert_eq!(verify(dir.path()).unwrap().faults, [""; 0], "operation {operation}");
    }
    assert!(failed > 10, "{failed}");
}

/// Behind it may stand one that was answered as well.
#[test]
fn a_damaged_length_of_the_last_commit_is_given_up_only_by_the_number_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let last = sample(dir.path(), 0, 12);
    let (store, zones, _) = open(dir.path()).unwrap();
    drop(store);
    let newest = segments(dir.path()).pop().unwrap();
    flip(&newest, frames(&newest).pop().unwrap().0 + 2, TWO);
    let next = Commits { first: last + 1, last: last + 1 };
    let refused = open(dir.path()).map(|_| ());
    assert!(matches!(&refused, Err(StoreError::Lost { lost, .. }) if *lost == next), "{refused:?}");
    let note = repair(dir.path(), &EAGER, next).unwrap();
    let (store, again, _) = open(dir.path()).unwrap();
    assert_eq!(store.last_seq(), last);
    serial_is_moved_on(&note, &zones, &again);
    assert_eq!(without_soa(&again), without_soa(&zones));
}

fn without_soa(zones: &Records) -> Vec<&Record> {
    zones.values().flatten().filter(|record| record.rtype != Rtype::SOA).collect()
}

fn serial(zones: &Records) -> Serial {
    let soa = zones["example.com"].iter().find(|record| record.rtype == Rtype::SOA).unwrap();
    // It is followed by four numbers.
    Serial(u32::from_be_bytes(*soa.rdata[soa.rdata.len() - 20..].first_chunk().unwrap()))
}

/// The serial is one that no answered commit can have reached, and this is told.
fn serial_is_moved_on(note: &RecoveryNote, whole: &Records, again: &Records) {
    let (from, to) = (serial(whole), serial(again));
    assert!(to.is_after(from), "{from} {to}");
    let RecoveryNote::JournalMended { moved, begins, .. } = note else { panic!("{note:?}") };
    let [(zone, _, next)] = &moved[..] else { panic!("{note:?}") };
    assert_eq!((zone.to_string(), *next, begins[0].1), ("example.com".to_owned(), to, to));
    assert!(note.to_string().contains(&format!(" to {to}, past what was lost")), "{note}");
}

/// Secondaries would never see what comes next, were its serial one that they have had.
#[test]
fn a_zone_whose_newest_commits_are_lost_goes_on_with_a_serial_past_theirs() {
    for lost in 1..4 {
        let dir = tempfile::tempdir().unwrap();
        // Too few for a checkpoint.
        let last = sample(dir.path(), 0, 12);
        let (mut store, whole, _) = open(dir.path()).unwrap();
        // Another zone's, behind them: what is damaged was answered.
        let mut seed = super::super::samples::create("example.net", 1, &[]);
        seed.changes.added = crate::zone::seed(&Name::parse("example.net").unwrap()).unwrap();
        store.append(&[seed]).unwrap();
        drop(store);
        fs::remove_dir_all(dir.path().join("table")).unwrap();
        let all = segments(dir.path());
        let places = all.iter().flat_map(|path| frames(path).into_iter().map(move |(at, seq)| (path, at, seq)));
        for (path, at, _) in places.filter(|(_, _, seq)| (last + 1 - lost..=last).contains(seq)) {
            flip(path, at + 45, TWO);
        }
        let commits = Commits { first: last + 1 - lost, last };
        let refused = open(dir.path()).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains(&format!("--without {commits} ")), "{refused}");
        let note = repair(dir.path(), &EAGER, commits).unwrap();
        let (mut store, again, _) = open(dir.path()).unwrap();
        serial_is_moved_on(&note, &whole, &again);
        // And what comes next is the next.
        let next = serial(&again).0 + 1;
        store.append(&[super::super::samples::change("example.com", next, &[])]).unwrap();
        let history =
            store.history(&Name::parse("example.com").unwrap(), Some(Since::Serial(serial(&again))), 10).unwrap();
        assert!(history.complete && history.commits.len() == 1);
        // Not from what the secondaries may have: they get the whole zone.
        assert!(
            !store
                .history(&Name::parse("example.com").unwrap(), Some(Since::Serial(serial(&whole))), 10)
                .unwrap()
                .complete
        );
        drop(store);
        assert_eq!(verify(dir.path()).unwrap().faults, [""; 0]);
    }
}

/// The serial was moved on, and older checkpoints and the journal led to the one from before: verify advised to delete
/// the checkpoint that the repair had written.
#[test]
fn lost_commits_that_a_table_holds_in_part_leave_nothing_that_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let last = sample(dir.path(), 40, 12);
    let (store, whole, _) = open(dir.path()).unwrap();
    drop(store);
    assert_eq!(checkpoint::list(&dir.path().join("checkpoint")).unwrap().len(), 2);
    let mut journal =
        Journal::open(&dir.path().join("journal"), 4000, Box::new(SystemDisk), last, &mut Vec::new()).unwrap();
    let mut lost = super::super::samples::change("example.com", serial(&whole).0 + 1, &[]);
    let many = (0..100).map(|n| super::super::samples::a(&format!("x{n}.example.com"), 60, "192.0.2.9"));
    lost.changes.added.extend(many);
    let group = journal.append(&[lost]).unwrap();
    let mut table = Table::open(&dir.path().join("table"), 1 << 20).unwrap();
    let (place, going_on) = (group.frames[0], AtomicBool::new(false));
    let step = Step { seq: place.seq, chain: place.chain };
    assert!(table.follow(step, group.payload(&place), &going_on).and_then(|()| table.write_in_part()).is_ok());
    drop((table, journal));
    let newest = segments(dir.path()).pop().unwrap();
    flip(&newest, frames(&newest).pop().unwrap().0 + 45, TWO);

    let commits = Commits { first: last + 1, last: last + 1 };
    let refused = open(dir.path()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains(&format!("--without {commits} ")), "{refused}");
    let note = repair(dir.path(), &EAGER, commits).unwrap();
    for _ in 0..2 {
        let (store, again, _) = open(dir.path()).unwrap();
        serial_is_moved_on(&note, &whole, &again);
        drop(store);
        assert_eq!(verify(dir.path()).unwrap().faults, [""; 0]);
    }
}

#[test]
fn damage_before_a_checkpoint_loses_nothing_even_without_a_table() {
    let whole = tempfile::tempdir().unwrap();
    let mut tried = 0;
    // Some commits after the checkpoint, in its segment and in others.
    for (round, more) in [(1, 2), (2, 15), (3, 2), (4, 15)] {
        let last = sample(whole.path(), round * 40, more);
        let (_, zones, _) = open(whole.path()).unwrap();
        let newest = checkpoint::list(&whole.path().join("checkpoint")).unwrap()[0].0;
        let all = segments(whole.path());
        let holding = all.iter().rev().find(|path| frames(path)[0].1 <= newest + 1).unwrap();
        let (start, seq) = frames(holding)[0];
        if seq > newest || last == newest {
            // The checkpoint ends with a segment: nothing before it is read.
            continue;
        }
        tried += 1;
        for octet in [start + 2, start + 30, start + 50, 14, 25] {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            fs::remove_dir_all(dir.path().join("table")).unwrap();
            let damaged = dir.path().join("journal").join(holding.file_name().unwrap());
            flip(&damaged, octet, TWO);
            match octet {
                // The segment's header: none of it can be read, and not all of it is before the checkpoint.
                14 | 25 => assert!(matches!(open(dir.path()).map(|_| ()), Err(StoreError::Lost { .. }))),
                _ => opens_mended(dir.path(), &zones, last, &damaged),
            }
        }
    }
    assert!(tried > 0);
}

#[test]
fn an_old_segment_whose_header_is_damaged_takes_only_older_ones_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let last = sample(dir.path(), 0, 60);
    let (store, zones, _) = open(dir.path()).unwrap();
    drop(store);
    let before = segments(dir.path());
    assert!(before.len() > 3);
    flip(&before[1], 12, ONE);
    opens_mended(dir.path(), &zones, last, &before[1]);
    assert_eq!(segments(dir.path())[..before.len() - 2], before[2..]);
}

#[test]
fn commits_that_nothing_else_holds_are_named_and_given_up_only_by_their_numbers() {
    let whole = tempfile::tempdir().unwrap();
    let last = sample(whole.path(), 20, 12);
    let (store, zones, _) = open(whole.path()).unwrap();
    drop(store);
    fs::remove_dir_all(whole.path().join("table")).unwrap();
    let newest = checkpoint::list(&whole.path().join("checkpoint")).unwrap()[0].0;
    let all = segments(whole.path());
    let frames: Vec<_> =
        all.iter().flat_map(|path| frames(path).into_iter().map(move |(at, seq)| (path, at, seq))).collect();
    for (path, at, seq) in frames.into_iter().filter(|(_, _, seq)| *seq > newest && *seq < last) {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let damaged = dir.path().join("journal").join(path.file_name().unwrap());
        flip(&damaged, at + 45, TWO);
        let before = (segments(dir.path()), fs::read(&damaged).unwrap());
        let error = open(dir.path()).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("{} is damaged at octet {at}: ", damaged.display())), "{error}");
        let command = format!("dyndns zone repair --without {seq} --state-dir {}", dir.path().display());
        assert!(error.contains("start from a backup with dyndns restore") && error.contains(&command), "{error}");
        assert_eq!((segments(dir.path()), fs::read(&damaged).unwrap()), before, "nothing is changed");
        let other = repair(dir.path(), &EAGER, (seq + 1).to_string().parse().unwrap()).unwrap_err().to_string();
        assert!(other.contains(&command), "{other}");
        let note = repair(dir.path(), &EAGER, seq.to_string().parse().unwrap()).unwrap().to_string();
        assert!(note.contains(&format!("what commit {seq} changed is lost")), "{note}");
        let (store, again, _) = open(dir.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(store.last_seq(), last);
        // All of it but one host, its SOA among it.
        let host = format!("h{}.example.com", seq % 90);
        let but = |zones: &Records| -> Vec<Record> {
            let all = zones["example.com"].iter();
            all.filter(|record| record.owner.name().to_string() != host).cloned().collect()
        };
        assert_eq!(but(&again), but(&zones));
        assert_eq!(zones["example.com"].len(), again["example.com"].len() + 1);
        drop(store);
        assert_eq!(verify(dir.path()).unwrap().faults, [""; 0]);
        let none = repair(dir.path(), &EAGER, seq.to_string().parse().unwrap()).unwrap_err().to_string();
        assert!(none.contains("nothing to go on without"), "{none}");
    }
}

#[test]
fn mending_that_breaks_off_anywhere_is_done_by_the_next_start() {
    let whole = tempfile::tempdir().unwrap();
    let last = sample(whole.path(), 0, 30);
    let (store, zones, _) = open(whole.path()).unwrap();
    drop(store);
    let newest = segments(whole.path()).pop().unwrap();
    flip(&newest, frames(&newest)[1].0 + 40, TWO);
    let mut failed = 0;
    for operation in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        copy(whole.path(), dir.path());
        let disk = PowerDisk::new(operation);
        disk.fail_after(usize::try_from(operation).unwrap());
        let found = StoreError::Damaged { path: newest.clone(), offset: 0, why: "a test says so".into() };
        let damage = Damage { dir: dir.path(), options: &EAGER, found, without: None };
        failed += usize::from(damage.mend(&mut disk.clone()).is_err());
        disk.cut();
        let (store, again, _) = open(dir.path()).unwrap_or_else(|error| panic!("operation {operation}: {error}"));
        assert_eq!((again, store.last_seq()), (zones.clone(), last), "operation {operation}");
    }
    assert!(failed > 10, "{failed}");
}

#[test]
fn ranges_of_commits_are_written_as_they_are_read() {
    for text in ["7", "7-9"] {
        assert_eq!(text.parse::<Commits>().unwrap().to_string(), text);
    }
    for text in ["", "-", "7-", "x", "7-9-11"] {
        assert!(text.parse::<Commits>().is_err(), "{text}");
    }
}
