//! Tests of a journal that is damaged: by a flipped bit anywhere, with and without a table that holds what it did.

use super::super::journal::Journal;
use super::super::power::PowerDisk;
use super::super::recovery::rebuild_tests::{Checkpointed, EAGER};
use super::super::samples::{a, change, create, files, flip};
use super::super::table::Table;
use super::super::{Since, Store, verify};
use super::*;
use crate::wire::Rtype;
use crate::zone::{Record, seed};
use std::collections::BTreeMap;
use tempfile::TempDir;

type Records = BTreeMap<String, Vec<Record>>;

/// One bit of a frame is put right; what more of them were, nobody knows.
const ONE: u8 = 0x10;
const TWO: u8 = 0x11;

/// A state that was closed.
struct Whole {
    dir: TempDir,
    zones: Records,
    last: u64,
}

impl Whole {
    /// One of `more` commits after a checkpoint at `reach` or later, its table up to date.
    fn of(reach: u64, more: usize) -> Whole {
        Whole::further(tempfile::tempdir().unwrap(), reach, more)
    }

    fn further(dir: TempDir, reach: u64, more: usize) -> Whole {
        let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir.path());
        if reach > 0 {
            sample.reach(dir.path(), reach);
        }
        for _ in 0..more {
            sample.commit().unwrap();
        }
        sample.store.settle();
        drop(sample);
        Whole::at(dir)
    }

    fn at(dir: TempDir) -> Whole {
        let (store, zones, notes) = open(dir.path()).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        Whole { last: store.last_seq(), zones, dir }
    }

    fn without_table(self) -> Whole {
        fs::remove_dir_all(self.dir.path().join("table")).unwrap();
        self
    }

    fn segments(&self) -> Vec<PathBuf> {
        segments(self.dir.path())
    }

    /// Each frame: its segment, where it is in that, and its sequence number.
    fn frames(&self) -> Vec<(PathBuf, usize, u64)> {
        let all = self.segments().into_iter();
        all.flat_map(|path| frames(&path).into_iter().map(move |(at, seq)| (path.clone(), at, seq))).collect()
    }

    fn copy(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        dir
    }

    /// A copy in which bits of a segment are turned over, and that segment.
    fn damaged(&self, segment: &Path, at: usize, bits: u8) -> (TempDir, PathBuf) {
        let dir = self.copy();
        let damaged = dir.path().join("journal").join(segment.file_name().unwrap());
        flip(&damaged, at, bits);
        (dir, damaged)
    }

    /// Opens a copy: nothing that was answered is lost.
    fn opens(&self, dir: &Path) -> (DiskStore, Vec<RecoveryNote>) {
        let (store, again, notes) = open(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        assert_eq!((&again, store.last_seq()), (&self.zones, self.last), "{}", dir.display());
        (store, notes)
    }

    /// Opens a damaged copy: nothing but history is lost, the damaged file is kept, and all is well from then on.
    fn opens_mended(&self, dir: &Path, damaged: &Path) {
        let octets = fs::read(damaged).unwrap();
        let (store, notes) = self.opens(dir);
        self.is_mended(dir, store, &notes[0], damaged, &octets);
    }

    fn is_mended(&self, dir: &Path, mut store: DiskStore, note: &RecoveryNote, damaged: &Path, octets: &[u8]) {
        let RecoveryNote::JournalMended { aside, lost: None, gone, begins, .. } = note else { panic!("{note:?}") };
        assert!(gone.is_empty());
        let text = note.to_string();
        assert!(text.starts_with(&format!("journal mended: {} is damaged at octet ", damaged.display())), "{text}");
        assert!(
            text.contains("nothing answered is lost") && text.contains("history and IXFR begin with serial "),
            "{text}"
        );
        assert!(fs::read(aside.join(damaged.file_name().unwrap())).unwrap() == octets, "kept as it was");
        // History leads from the serial that was named.
        let (zone, since) = begins[0];
        let serial = u32::try_from(self.last).unwrap() + 1;
        store.append(&[change("example.com", serial, &[])]).unwrap();
        assert!(store.history(&zone, Some(Since::Serial(since)), 1000).unwrap().complete, "{text}");
        is_whole(dir, store, self.last + 1);
    }

    /// Opens a copy damaged by a single bit: nothing is lost, not even history, and all is well from then on.
    fn opens_put_right(&self, dir: &Path, damaged: &Path) {
        let (store, notes) = self.opens(dir);
        self.is_put_right(dir, store, &notes[0], damaged);
    }

    fn is_put_right(&self, dir: &Path, store: DiskStore, note: &RecoveryNote, damaged: &Path) {
        assert!(matches!(note, RecoveryNote::BitPutRight { path, .. } if path == damaged), "{note:?}");
        assert!(note.to_string().contains("one bit was not what was written; nothing is lost"), "{note}");
        let history = store.history(&example_com(), None, 1000).unwrap();
        assert_eq!((history.commits.len() as u64, history.complete), (self.last, true));
        is_whole(dir, store, self.last);
    }

    /// Breaks mending off at one operation of the disk after the other, with a power cut, and starts upon what is there
    /// then: nothing is lost. Returns the states.
    fn breaks_off(
        &self,
        operations: usize,
        mend: impl Fn(&Path, &mut dyn Disk) -> Result<(), StoreError>,
    ) -> Vec<TempDir> {
        let (mut failed, mut started) = (0, Vec::new());
        for operation in 0..operations {
            let dir = self.copy();
            let disk = PowerDisk::new(operation as u64);
            disk.fail_after(operation);
            failed += usize::from(mend(dir.path(), &mut disk.clone()).is_err());
            disk.cut();
            drop(self.opens(dir.path()));
            started.push(dir);
        }
        assert!(failed > 10, "{failed}");
        started
    }
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

/// Closes a store: it holds all up to a commit and has no faults, and the next start finds nothing to tell.
fn is_whole(dir: &Path, store: DiskStore, last: u64) {
    store.sync_table().unwrap();
    drop(store);
    assert_eq!(verify(dir).unwrap().faults, [""; 0]);
    let (store, _, notes) = open(dir).unwrap();
    assert_eq!((store.last_seq(), notes), (last, vec![]));
}

fn example_com() -> Name {
    Name::parse("example.com").unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("journal"))
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

#[test]
fn a_flipped_bit_in_the_last_segment_loses_nothing_that_the_table_holds() {
    let whole = Whole::of(0, 12);
    assert_eq!(whole.segments().len(), 1);
    for (segment, start, seq) in whole.frames() {
        // The length of the last commit of all is all that tells where it ends.
        let lengths = if seq == whole.last { 4 } else { 0 };
        for octet in [lengths, 10, 25, 60] {
            let (dir, damaged) = whole.damaged(&segment, start + octet, TWO);
            whole.opens_mended(dir.path(), &damaged);
        }
    }
}

#[test]
fn one_flipped_bit_loses_nothing_although_only_the_journal_holds_the_commit() {
    let whole = Whole::of(0, 12).without_table();
    for (segment, start, _) in whole.frames() {
        let octets = fs::read(&segment).unwrap();
        let end = octets.iter().rposition(|octet| *octet != 0).unwrap();
        for at in [start + 1, start + 3, start + 6, start + 12, start + 18, start + 30, start + 60, end] {
            let (dir, damaged) = whole.damaged(&segment, at, ONE);
            whole.opens_put_right(dir.path(), &damaged);
        }
    }
}

#[test]
fn bits_that_are_turned_over_in_several_segments_are_put_right_wherever_that_breaks_off() {
    let Whole { dir, .. } = Whole::of(0, 12);
    let (mut store, ..) = open(dir.path()).unwrap();
    for serial in 13..140 {
        store.append(&[change("example.com", serial, &[])]).unwrap();
    }
    drop(store);
    let whole = Whole::at(dir).without_table();
    for path in whole.segments() {
        for (at, _) in frames(&path).into_iter().step_by(3) {
            flip(&path, at + 50, ONE);
        }
    }
    assert!(whole.segments().len() > 2);
    for dir in whole.breaks_off(40, |dir, disk| put_bits_right(dir, disk).map(drop)) {
        assert_eq!(verify(dir.path()).unwrap().faults, [""; 0]);
    }
}

#[test]
fn mending_that_breaks_off_anywhere_is_done_by_the_next_start_or_by_repair() {
    let whole = Whole::of(0, 30);
    let newest = whole.segments().pop().unwrap();
    flip(&newest, frames(&newest)[1].0 + 40, TWO);
    let started = whole.breaks_off(60, |dir, disk| {
        let found = StoreError::Damaged { path: newest.clone(), offset: 0, why: "a test says so".into() };
        Damage { dir, options: &EAGER, found, without: None }.mend(disk).map(drop)
    });
    let mut left = 0;
    for dir in started {
        left += usize::from(!verify(dir.path()).unwrap().faults.is_empty());
        repair(dir.path(), &EAGER).unwrap();
        assert_eq!(verify(dir.path()).unwrap().faults, [""; 0]);
        drop(whole.opens(dir.path()));
    }
    // Where the frames that stay have a segment of their own already, a start does not read the one before it.
    assert!(left > 0);
}

/// Behind it may stand one that was answered as well.
#[test]
fn a_damaged_length_of_the_last_commit_is_given_up_only_by_the_number_of_the_next() {
    let whole = Whole::of(0, 12);
    let (segment, at, last) = whole.frames().pop().unwrap();
    let (dir, _) = whole.damaged(&segment, at + 2, TWO);
    let next = Commits { first: last + 1, last: last + 1 };
    let refused = open(dir.path()).map(|_| ());
    assert!(matches!(&refused, Err(StoreError::Lost { lost, .. }) if *lost == Some(next)), "{refused:?}");
    let note = repair_without(dir.path(), &EAGER, next).unwrap();
    let (store, again, _) = open(dir.path()).unwrap();
    assert_eq!(store.last_seq(), last);
    serial_is_moved_on(&note, &whole.zones, &again);
    assert_eq!(without_soa(&again), without_soa(&whole.zones));
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
        // Too few for a checkpoint.
        let whole = Whole::of(0, 12);
        let (dir, last) = (whole.dir.path(), whole.last);
        let (mut store, ..) = open(dir).unwrap();
        // Another zone's, behind them: what is damaged was answered.
        let mut other = create("example.net", 1, &[]);
        other.changes.added = seed(&Name::parse("example.net").unwrap()).unwrap();
        store.append(&[other]).unwrap();
        drop(store);
        fs::remove_dir_all(dir.join("table")).unwrap();
        let commits = Commits { first: last + 1 - lost, last };
        for (path, at, _) in whole.frames().iter().filter(|(.., seq)| (commits.first..=last).contains(seq)) {
            flip(path, at + 45, TWO);
        }
        let refused = open(dir).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains(&format!("--without {commits} ")), "{refused}");
        let note = repair_without(dir, &EAGER, commits).unwrap();
        let (mut store, again, _) = open(dir).unwrap();
        serial_is_moved_on(&note, &whole.zones, &again);
        // And what comes next is the next.
        store.append(&[change("example.com", serial(&again).0 + 1, &[])]).unwrap();
        let since = |zones: &Records| store.history(&example_com(), Some(Since::Serial(serial(zones))), 10).unwrap();
        assert!(since(&again).complete && since(&again).commits.len() == 1);
        // Not from what the secondaries may have: they get the whole zone.
        assert!(!since(&whole.zones).complete);
        drop(store);
        assert_eq!(verify(dir).unwrap().faults, [""; 0]);
    }
}

/// The serial was moved on, and older checkpoints and the journal led to the one from before: verify advised to delete
/// the checkpoint that the repair had written.
#[test]
fn lost_commits_that_a_table_holds_in_part_leave_nothing_that_says_otherwise() {
    let whole = Whole::of(40, 12);
    let (dir, last) = (whole.dir.path(), whole.last);
    assert_eq!(checkpoint::list(&dir.join("checkpoint")).unwrap().len(), 2);
    let mut journal = Journal::open(&dir.join("journal"), 4000, Box::new(SystemDisk), last, &mut Vec::new()).unwrap();
    let mut lost = change("example.com", serial(&whole.zones).0 + 1, &[]);
    lost.changes.added.extend((0..100).map(|n| a(&format!("x{n}.example.com"), 60, "192.0.2.9")));
    let group = journal.append(&[lost]).unwrap();
    let mut table = Table::open(&dir.join("table"), 1 << 20).unwrap();
    let (place, going_on) = (group.frames[0], AtomicBool::new(false));
    let step = Step { seq: place.seq, chain: place.chain };
    assert!(table.follow(step, group.payload(&place), &going_on).and_then(|()| table.write_in_part()).is_ok());
    drop((table, journal));
    let (newest, at, _) = whole.frames().pop().unwrap();
    flip(&newest, at + 45, TWO);

    let commits = Commits { first: last + 1, last: last + 1 };
    let refused = open(dir).map(drop).unwrap_err();
    assert!(refused.to_string().contains(&format!("--without {commits} ")), "{refused}");
    let note = repair_without(dir, &EAGER, commits).unwrap();
    for _ in 0..2 {
        let (store, again, _) = open(dir).unwrap();
        serial_is_moved_on(&note, &whole.zones, &again);
        drop(store);
        assert_eq!(verify(dir).unwrap().faults, [""; 0]);
    }
}

#[test]
fn damage_before_a_checkpoint_loses_nothing_even_without_a_table() {
    let mut place = tempfile::tempdir().unwrap();
    let mut tried = 0;
    // Some commits after the checkpoint, in its segment and in others.
    for (round, more) in [(1, 2), (2, 15), (3, 2), (4, 15)] {
        let whole = Whole::further(place, round * 40, more);
        let newest = checkpoint::list(&whole.dir.path().join("checkpoint")).unwrap()[0].0;
        let all = whole.segments();
        let holding = all.iter().rev().find(|path| frames(path)[0].1 <= newest + 1).unwrap();
        let (start, seq) = frames(holding)[0];
        // Where the checkpoint ends with a segment, nothing before it is read.
        if seq <= newest && whole.last != newest {
            tried += 1;
            for octet in [start + 2, start + 30, start + 50, 14, 25] {
                let (dir, damaged) = whole.damaged(holding, octet, TWO);
                fs::remove_dir_all(dir.path().join("table")).unwrap();
                match octet {
                    // The segment's header: none of it can be read, and not all of it is before the checkpoint.
                    14 | 25 => assert!(matches!(open(dir.path()).map(|_| ()), Err(StoreError::Lost { .. }))),
                    _ => whole.opens_mended(dir.path(), &damaged),
                }
            }
        }
        place = whole.dir;
    }
    assert!(tried > 0);
}

#[test]
fn an_old_segment_whose_header_is_damaged_takes_only_older_ones_with_it() {
    let whole = Whole::of(0, 60);
    let before = whole.segments();
    assert!(before.len() > 3);
    flip(&before[1], 12, ONE);
    whole.opens_mended(whole.dir.path(), &before[1]);
    assert_eq!(whole.segments()[..before.len() - 2], before[2..]);
}

#[test]
fn damage_that_no_start_reads_is_found_by_verify_and_mended_by_the_command_that_it_names() {
    let whole = Whole::of(0, 60);
    let old = &whole.segments()[1];
    for bits in [ONE, TWO] {
        let (dir, damaged) = whole.damaged(old, frames(old)[1].0 + 50, bits);
        let (dir, octets) = (dir.path(), fs::read(&damaged).unwrap());
        assert!(whole.opens(dir).1.is_empty());
        let faults = verify(dir).unwrap().faults;
        let command = format!("stop the server and run dyndns zone repair --state-dir {}: ", dir.display());
        let damaged_at = format!("{} is damaged at octet ", damaged.display());
        assert!(faults[0].contains(&damaged_at) && faults[0].contains(&command), "{faults:?}");
        let notes = repair(dir, &EAGER).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        let (store, silent) = whole.opens(dir);
        assert!(silent.is_empty(), "{silent:?}");
        match bits {
            ONE => whole.is_put_right(dir, store, &notes[0], &damaged),
            _ => whole.is_mended(dir, store, &notes[0], &damaged, &octets),
        }
        assert!(repair(dir, &EAGER).unwrap().is_empty());
    }
}

#[test]
fn what_only_the_damaged_header_of_all_the_journal_told_is_left_to_a_backup() {
    let whole = Whole::of(0, 12).without_table();
    let (dir, damaged) = whole.damaged(&whole.segments()[0], 25, TWO);
    let octets = fs::read(&damaged).unwrap();
    for refused in [open(dir.path()).map(drop), repair(dir.path(), &EAGER).map(drop)] {
        let text = refused.unwrap_err().to_string();
        assert!(text.starts_with(&format!("cannot read the journal: {} ", damaged.display())), "{text}");
        let remedy = "; neither the table nor a checkpoint holds what it did: start from a backup with dyndns restore";
        assert!(text.ends_with(remedy), "{text}");
        assert!(fs::read(&damaged).unwrap() == octets, "left as it is");
    }
}

#[test]
fn commits_that_nothing_else_holds_are_named_and_given_up_only_by_their_numbers() {
    let whole = Whole::of(20, 12).without_table();
    let newest = checkpoint::list(&whole.dir.path().join("checkpoint")).unwrap()[0].0;
    for (path, at, seq) in whole.frames().into_iter().filter(|(.., seq)| *seq > newest && *seq < whole.last) {
        let (place, damaged) = whole.damaged(&path, at + 45, TWO);
        let dir = place.path();
        let without = |seq: u64| repair_without(dir, &EAGER, seq.to_string().parse().unwrap());
        let before = (segments(dir), fs::read(&damaged).unwrap());
        let command = format!("dyndns zone repair --without {seq} --state-dir {}", dir.display());
        for refused in [open(dir).map(drop), repair(dir, &EAGER).map(drop)] {
            let error = refused.unwrap_err().to_string();
            assert!(error.contains(&format!("{} is damaged at octet {at}: ", damaged.display())), "{error}");
            assert!(error.contains("start from a backup with dyndns restore") && error.contains(&command), "{error}");
            assert_eq!((segments(dir), fs::read(&damaged).unwrap()), before, "nothing is changed");
        }
        let other = without(seq + 1).unwrap_err().to_string();
        assert!(other.contains(&command), "{other}");
        let note = without(seq).unwrap().to_string();
        assert!(note.contains(&format!("what commit {seq} changed is lost")), "{note}");
        let (store, again, _) = open(dir).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(store.last_seq(), whole.last);
        // All of it but one host, its SOA among it.
        let host = format!("h{}.example.com", seq % 90);
        let but = |zones: &Records| -> Vec<Record> {
            let all = zones["example.com"].iter();
            all.filter(|record| record.owner.name().to_string() != host).cloned().collect()
        };
        assert_eq!(but(&again), but(&whole.zones));
        assert_eq!(whole.zones["example.com"].len(), again["example.com"].len() + 1);
        drop(store);
        assert_eq!(verify(dir).unwrap().faults, [""; 0]);
        let none = without(seq).unwrap_err().to_string();
        assert!(none.contains("nothing to go on without"), "{none}");
    }
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
