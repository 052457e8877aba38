//! Tests of a journal that is damaged: by a flipped bit anywhere, with and without a table that holds what it did.

use super::super::power::PowerDisk;
use super::super::recovery::rebuild_tests::{Checkpointed, EAGER};
use super::super::{DiskStore, Since, Store, verify};
use super::*;
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
    let mut files: Vec<_> = fs::read_dir(dir.join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn flip(path: &Path, at: usize) {
    let mut octets = fs::read(path).unwrap();
    octets[at] ^= 0x10;
    fs::write(path, octets).unwrap();
}

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
        for octet in [lengths, 10, 25, 60] {
            let dir = tempfile::tempdir().unwrap();
            copy(whole.path(), dir.path());
            let damaged = segments(dir.path()).pop().unwrap();
            flip(&damaged, start + octet);
            opens_mended(dir.path(), &zones, last, &damaged);
        }
    }
}

/// Behind it may stand one that was answered as well.
#[test]
fn a_flipped_bit_in_the_length_of_the_last_commit_is_given_up_only_by_the_number_of_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let last = sample(dir.path(), 0, 12);
    let (store, zones, _) = open(dir.path()).unwrap();
    drop(store);
    let newest = segments(dir.path()).pop().unwrap();
    flip(&newest, frames(&newest).pop().unwrap().0 + 2);
    let next = Commits { first: last + 1, last: last + 1 };
    let refused = open(dir.path()).map(|_| ());
    assert!(matches!(&refused, Err(StoreError::Lost { lost, .. }) if *lost == next), "{refused:?}");
    repair(dir.path(), &EAGER, next).unwrap();
    let (store, again, _) = open(dir.path()).unwrap();
    assert_eq!((again, store.last_seq()), (zones, last));
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
            flip(&damaged, octet);
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
    flip(&before[1], 12);
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
        flip(&damaged, at + 45);
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
    flip(&newest, frames(&newest)[1].0 + 40);
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
