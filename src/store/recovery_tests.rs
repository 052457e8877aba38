//! Tests of the start, and of the table that it brings up to the journal.

use super::super::mark::Step;
use super::super::power::PowerDisk;
use super::super::segment::Group;
use super::super::table::{Table, TableError};
use super::super::{CommitKind, samples};
use super::*;
use crate::wire::{Rtype, Ttl};
use crate::zone::{Changes, Key, Record};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::AtomicBool;

pub(super) const OPTIONS: StoreOptions = StoreOptions {
    segment_size: 4000,
    table_cache: 1 << 20,
    checkpoints: CheckpointRule { octets: u64::MAX, commits: u64::MAX },
    keep: Retention { age: u64::MAX, size: u64::MAX },
};

/// Every zone with its records, sorted.
pub(super) type Zones = BTreeMap<String, Vec<Record>>;

pub(super) fn open(dir: &Path) -> Result<(DiskStore, Zones, Vec<RecoveryNote>), StoreError> {
    let opened = DiskStore::open(dir, &OPTIONS)?;
    let mut zones = Zones::new();
    for loaded in opened.zones {
        // Within an RRset records stand in the order they came, which is not the table's.
        let mut records: Vec<Record> = loaded.zone.records().collect();
        records.sort();
        let again = zones.insert(loaded.apex.to_string(), records);
        assert_eq!(again, None, "{} was loaded twice", loaded.apex);
    }
    Ok((opened.store, zones, opened.notes))
}

/// Closes a store whose table has caught up.
pub(super) fn close(store: DiskStore) {
    store.sync_table().unwrap();
    assert_eq!(store.close(), 0);
}

/// Lets a table follow a commit.
fn follow(table: &mut Table, group: &Group) {
    let place = group.frames[0];
    let step = Step { seq: place.seq, chain: place.chain };
    table.follow(step, group.payload(&place), &AtomicBool::new(false)).ok().unwrap();
}

/// Lets a table follow commits, and keeps the last batch from it.
fn follow_in_part(table: &mut Table, groups: &[Group]) {
    for group in groups {
        let place = group.frames[0];
        let step = Step { seq: place.seq, chain: place.chain };
        match table.follow(step, group.payload(&place), &AtomicBool::new(true)) {
            Err(TableError::Stopped) => return,
            outcome => outcome.ok().unwrap(),
        }
    }
    table.write_in_part().ok().unwrap();
}

/// A store of two zones and some changes, closed; and what is in it.
fn sample(dir: &Path) -> Zones {
    let (mut store, _, _) = open(dir).unwrap();
    store
        .append(&[
            samples::create("Example.com", 1, &[("example.com", 60, "192.0.2.1"), ("a.example.com", 60, "192.0.2.2")]),
            samples::create("sub.example.com", 1, &[("sub.example.com", 60, "192.0.2.3")]),
        ])
        .unwrap();
    for octet in 1..100 {
        let (owner, address) = (format!("h{octet}.example.com"), format!("192.0.2.{octet}"));
        store.append(&[samples::change("example.com", octet + 1, &[(&owner, 60, &address)])]).unwrap();
    }
    close(store);
    let (_, zones, notes) = open(dir).unwrap();
    assert_eq!(notes, []);
    assert_eq!((zones["Example.com"].len(), zones["sub.example.com"].len()), (101, 1));
    zones
}

#[test]
fn a_second_opener_is_told_who_has_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _, _) = open(dir.path()).unwrap();
    assert_eq!(
        open(dir.path()).map(|_| ()).unwrap_err().to_string(),
        format!(
            "state directory {} is in use by process {}; stop it or choose another --state-dir",
            dir.path().display(),
            std::process::id()
        )
    );
    drop(store);
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_table_that_is_gone_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let zones = sample(dir.path());
    fs::remove_dir_all(dir.path().join("table")).unwrap();
    let (_, again, notes) = open(dir.path()).unwrap();
    assert_eq!(again, zones);
    assert_eq!(notes, [RecoveryNote::TableRebuilt { commits: 101 }]);
}

#[test]
fn a_damaged_table_is_set_aside_and_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let zones = sample(dir.path());
    let table = dir.path().join("table");
    let db = fs::read(table.join("db")).unwrap();
    let noise = |from: usize, to: usize| {
        let mut octets = db.clone();
        for (at, octet) in octets[from..to].iter_mut().enumerate() {
            *octet = u8::try_from((at * 7919 + 13) % 251).unwrap();
        }
        octets
    };
    let written = db.iter().rposition(|octet| *octet != 0).unwrap() + 1;
    let damages: [(&str, Vec<u8>); 6] = [
        ("db", Vec::new()),
        ("db", db[..written / 2].to_vec()),
        ("db", noise(0, db.len())),
        ("db", noise(written / 2, written)),
        ("db", noise(100, 200)),
        ("conf", b"no configuration".to_vec()),
    ];
    for (number, (file, octets)) in (1..).zip(damages) {
        fs::write(table.join(file), octets).unwrap();
        let (store, again, notes) = open(dir.path()).unwrap();
        assert_eq!(again, zones, "damage {number}");
        // Where sled itself falls back to an older state, catching up is enough.
        match &notes[..] {
            [RecoveryNote::TableSetAside { to, .. }, RecoveryNote::TableRebuilt { commits: 101 }] => {
                assert!(to.is_dir());
                assert!(notes[0].to_string().starts_with("table set aside as "), "{}", notes[0]);
            }
            [RecoveryNote::TableBehind { .. }] => {}
            other => panic!("damage {number}: {other:?}"),
        }
        close(store);
        assert_eq!(open(dir.path()).unwrap().2, []);
    }
}

#[test]
fn a_table_that_lost_a_record_without_a_word_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let zones = sample(dir.path());
    let mut table = Table::open(&dir.path().join("table"), 1 << 20).unwrap();
    table.lose_a_record().unwrap();
    table.close();
    let (_, again, notes) = open(dir.path()).unwrap();
    assert_eq!(again, zones);
    assert!(notes[0].to_string().contains("it lost or changed records"), "{}", notes[0]);
}

#[test]
fn a_table_that_is_ahead_of_the_journal_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let all = sample(dir.path());
    let mut segments: Vec<_> =
        fs::read_dir(dir.path().join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    fs::remove_file(segments.pop().unwrap()).unwrap();
    let (_, zones, notes) = open(dir.path()).unwrap();
    assert!(zones["Example.com"].len() < all["Example.com"].len());
    assert!(all["Example.com"].starts_with(&zones["Example.com"][..2]));
    assert!(notes[0].to_string().contains("it holds commit 101, but the journal ends with"), "{}", notes[0]);
}

#[test]
fn a_table_of_another_journal_is_rebuilt() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(dir.path());
    let zones = sample(other.path());
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::rename(other.path().join("journal"), dir.path().join("journal")).unwrap();
    let (_, again, notes) = open(dir.path()).unwrap();
    assert_eq!(again, zones);
    assert!(notes[0].to_string().contains("it follows another journal"), "{}", notes[0]);
}

#[test]
fn a_commit_that_is_half_in_the_table_is_finished() {
    let owner = |number: usize| format!("h{number:03}.example.com");
    let record = |number, address| samples::a(&owner(number), 60, address);
    // Sizes that end a batch in the removals, between the two lists, and in the additions.
    for size in [40, 62, 63, 64, 100, 126, 200] {
        let dir = tempfile::tempdir().unwrap();
        let before: Vec<_> = (0..size).map(|number| record(number, "192.0.2.1")).collect();
        // Every second owner changes its address, every fourth goes, and some come.
        let gone: Vec<_> = before.iter().step_by(2).cloned().collect();
        let new: Vec<_> = (0..size + 30).step_by(4).map(|number| record(number, "192.0.2.2")).collect();
        let mut create = samples::create("example.com", 1, &[]);
        create.changes.added = before.clone();
        let mut change = samples::change("example.com", 2, &[]);
        change.changes = Changes { removed: gone.clone(), added: new.clone() };
        let delete = Commit { kind: CommitKind::Delete, ..samples::change("example.com", 3, &[]) };
        let mut after: Vec<_> = before.iter().filter(|record| !gone.contains(record)).chain(&new).cloned().collect();
        after.sort();
        for (second, expected) in [(change, Some(after)), (delete, None)] {
            let dir = dir.path().join(second.kind.to_string());
            let path = dir.join("table");
            drop(open(&dir).unwrap());
            let mut journal =
                Journal::open(&dir.join("journal"), 4000, Box::new(SystemDisk), 0, &mut Vec::new()).unwrap();
            let groups = [journal.append(&[create.clone()]).unwrap(), journal.append(&[second]).unwrap()];
            let mut table = Table::open(&path, 1 << 20).unwrap();
            follow(&mut table, &groups[0]);
            follow_in_part(&mut table, &groups[1..]);
            drop((table, journal));
            let table = Table::open(&path, 1 << 20).unwrap();
            table.read().ok().unwrap();
            assert!(table.mark().done.seq < 2);
            drop(table);
            let (store, zones, notes) = open(&dir).unwrap();
            assert_eq!(zones.get("example.com"), expected.as_ref(), "size {size}");
            assert!(matches!(notes[..], [RecoveryNote::TableBehind { .. }]), "size {size}: {notes:?}");
            // Meanwhile the table caught up.
            close(store);
            let (_, zones, notes) = open(&dir).unwrap();
            assert_eq!((zones.get("example.com"), &notes[..]), (expected.as_ref(), &[][..]), "size {size}");
        }
    }
}

#[test]
fn commits_that_are_in_the_table_in_part_are_finished_together() {
    let mut state = 7u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % below
    };
    for round in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        let mut records: BTreeMap<Key, Vec<Record>> = BTreeMap::new();
        let record = |number: u32, address: u32, ttl: u32| {
            samples::a(&format!("h{number:03}.example.com"), ttl, &format!("192.0.2.{address}"))
        };
        for number in 0..150 {
            let first = record(number, 1, 60);
            records.insert(first.owner.clone(), vec![first]);
        }
        let mut create = samples::create("example.com", 1, &[]);
        create.changes.added = records.values().flatten().cloned().collect();
        let mut commits = vec![create];
        // Each owner's set comes and goes, and changes its TTL, over and over.
        for serial in 2..400 {
            let number = random(160);
            let ttl = 60 + random(2);
            let after: Vec<Record> =
                (0..random(3)).map(|address| record(number, address + random(2) * 7, ttl)).collect();
            let before = records.insert(record(number, 1, 60).owner, after.clone()).unwrap_or_default();
            let not_in = |other: &[Record], record: &Record| !other.contains(record);
            let mut change = samples::change("example.com", serial, &[]);
            change.changes = Changes {
                removed: before.iter().filter(|record| not_in(&after, record)).cloned().collect(),
                added: after.iter().filter(|record| not_in(&before, record)).cloned().collect(),
            };
            commits.push(change);
        }
        let mut journal =
            Journal::open(&dir.path().join("journal"), 1 << 20, Box::new(SystemDisk), 0, &mut Vec::new()).unwrap();
        let groups: Vec<Group> =
            commits.iter().map(|commit| journal.append(std::slice::from_ref(commit)).unwrap()).collect();
        let mut table = Table::open(&dir.path().join("table"), 1 << 20).unwrap();
        let whole = 1 + 20 * round;
        groups[..whole].iter().for_each(|group| follow(&mut table, group));
        table.write(&AtomicBool::new(false)).ok().unwrap();
        follow_in_part(&mut table, &groups[whole..]);
        let mark = table.mark();
        assert_eq!((mark.done.seq, mark.begun.seq), (whole as u64, 399));
        drop((table, journal));
        let (store, zones, _) = open(dir.path()).unwrap();
        let mut expected: Vec<Record> = records.values().flatten().cloned().collect();
        expected.sort();
        assert!(zones.get("example.com") == Some(&expected), "round {round}");
        close(store);
        let (_, zones, notes) = open(dir.path()).unwrap();
        assert!(zones.get("example.com") == Some(&expected) && notes.is_empty(), "round {round}: {notes:?}");
    }
}

#[test]
fn a_commit_that_only_the_table_half_holds_is_undone() {
    let dir = tempfile::tempdir().unwrap();
    let zones = sample(dir.path());
    // Not in the journal, so never answered: as if the disk had lied about a sync.
    let mut lost = samples::change("example.com", 102, &[]);
    lost.changes.added = (0..100).map(|n| samples::a(&format!("x{n}.example.com"), 60, "192.0.2.9")).collect();
    let group = Group::new(&[lost], 102, [7; 16]).unwrap();
    let mut table = Table::open(&dir.path().join("table"), 1 << 20).unwrap();
    follow_in_part(&mut table, &[group]);
    drop(table);
    let (_, again, notes) = open(dir.path()).unwrap();
    assert_eq!(again, zones);
    assert!(notes[0].to_string().contains("it holds commit 102, but the journal ends with 101"), "{}", notes[0]);
}

#[test]
fn the_table_is_never_ahead_of_the_journal_after_power_loss() {
    for seed in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let disk = PowerDisk::new(seed);
        let mut store = DiskStore::open_on(Box::new(disk.clone()), dir.path(), &OPTIONS).unwrap().store;
        for to in 1..20 {
            if to % 5 == 0 {
                disk.fail_after(usize::try_from(to % 3).unwrap());
            }
            let _ = store.append(&[samples::change("example.com", to, &[("a.example.com", to, "192.0.2.1")])]);
        }
        store.sync_table().unwrap();
        let last = store.last_seq();
        assert!(last >= 15, "seed {seed}: only {last} appends went well");
        drop(store);
        disk.cut();
        let (store, _, notes) = open(dir.path()).unwrap();
        assert!(store.last_seq() >= last);
        let set_aside = notes.iter().any(|note| matches!(note, RecoveryNote::TableSetAside { .. }));
        assert!(!set_aside, "seed {seed}: {notes:?}");
    }
}

#[test]
fn names_of_any_octets_and_zones_within_zones_keep_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _, _) = open(dir.path()).unwrap();
    let apexes = [".", "com", "example.com", "\\000.com", "\\001.com", "sub.example.com"];
    let create = |apex: &&str| {
        let below = if *apex == "." { String::new() } else { format!(".{apex}") };
        let owners = [format!("\\000{below}"), format!("\\255{below}"), format!("*{below}"), (*apex).to_owned()];
        let mut commit = samples::create(apex, 1, &[]);
        commit.changes.added = owners.iter().map(|owner| samples::a(owner, 60, "192.0.2.1")).collect();
        commit.changes.added.sort();
        commit
    };
    let commits: Vec<_> = apexes.iter().map(create).collect();
    store.append(&commits).unwrap();
    store.append(&[Commit { kind: CommitKind::Delete, ..samples::change("com", 2, &[]) }]).unwrap();
    drop(store);
    let (_, zones, _) = open(dir.path()).unwrap();
    assert_eq!(zones.len(), 5);
    for commit in commits.iter().filter(|commit| commit.zone.to_string() != "com") {
        assert_eq!(zones[&commit.zone.to_string()], commit.changes.added, "{}", commit.zone);
    }
}

/// The zones as the commits say, without a journal or a table.
#[derive(Default)]
struct Model(BTreeMap<String, BTreeMap<RecordId, Ttl>>);

/// What makes a record the same record: all but its TTL.
type RecordId = (Key, Rtype, Box<[u8]>);

impl Model {
    /// What becomes of a zone by a commit of this kind and these records; returns the commit as a writer makes it: of
    /// whole differences, an RRset with one TTL.
    fn apply(&mut self, raw: &Commit) -> Commit {
        let apex = raw.zone.to_string();
        let before = self.0.remove(&apex).unwrap_or_default();
        let mut after = if raw.kind == CommitKind::Change { before.clone() } else { BTreeMap::new() };
        if raw.kind != CommitKind::Delete {
            for Record { owner, rtype, rdata, .. } in raw.changes.removed.clone() {
                after.remove(&(owner, rtype, rdata));
            }
            for Record { owner, rtype, rdata, ttl } in raw.changes.added.clone() {
                after.insert((owner.clone(), rtype, rdata), ttl);
                let rrset = after.iter_mut().filter(|((other, kind, _), _)| *other == owner && *kind == rtype);
                rrset.for_each(|(_, its)| *its = ttl);
            }
            self.0.insert(apex, after.clone());
        }
        let records = |from: &BTreeMap<RecordId, Ttl>, other: &BTreeMap<RecordId, Ttl>| -> Vec<Record> {
            let lacks = |(id, ttl): &(&RecordId, &Ttl)| other.get(*id) != Some(*ttl);
            from.iter().filter(lacks).map(record).collect()
        };
        let changes = match raw.kind {
            CommitKind::Create => Changes { removed: Vec::new(), added: records(&after, &BTreeMap::new()) },
            _ => Changes { removed: records(&before, &after), added: records(&after, &before) },
        };
        Commit { changes, ..raw.clone() }
    }

    fn zones(&self) -> Zones {
        self.0.iter().map(|(apex, zone)| (apex.clone(), zone.iter().map(record).collect())).collect()
    }
}

fn record(((owner, rtype, rdata), ttl): (&RecordId, &Ttl)) -> Record {
    Record { owner: owner.clone(), rtype: *rtype, ttl: *ttl, rdata: rdata.clone() }
}

#[derive(Debug, Clone)]
enum Event {
    Append(Vec<Commit>),
    Restart,
    RestartBehind,
    LoseTable,
}

fn event() -> impl Strategy<Value = Event> {
    let record = |apex: &'static str| {
        (0..90u8, 0..3u8, prop_oneof![Just(60), Just(300)], 0..3u16).prop_map(move |(host, octet, ttl, rtype)| {
            let owner = if host == 0 { apex.to_owned() } else { format!("h{host}.{apex}") };
            Record { rtype: Rtype(1 + rtype), ..samples::a(&owner, ttl, &format!("192.0.2.{octet}")) }
        })
    };
    let commit = prop_oneof![Just("example.com"), Just("sub.example.com")].prop_flat_map(move |apex| {
        let kind =
            prop_oneof![1 => Just(CommitKind::Create), 8 => Just(CommitKind::Change), 1 => Just(CommitKind::Delete)];
        let records = || proptest::collection::vec(record(apex), 0..150);
        (kind, records(), records()).prop_map(move |(kind, mut removed, mut added)| {
            removed.sort();
            added.sort();
            added.dedup_by(|a, b| (&a.owner, a.rtype, &a.rdata) == (&b.owner, b.rtype, &b.rdata));
            Commit { kind, changes: Changes { removed, added }, ..samples::change(apex, 1, &[]) }
        })
    });
    prop_oneof![
        6 => proptest::collection::vec(commit, 1..4).prop_map(Event::Append),
        2 => Just(Event::Restart),
        2 => Just(Event::RestartBehind),
        1 => Just(Event::LoseTable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn replaying_the_journal_gives_the_published_zones(events in proptest::collection::vec(event(), 1..12)) {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::default();
        let mut store = Some(open(dir.path()).unwrap().0);
        for event in events.into_iter().chain([Event::RestartBehind, Event::Restart, Event::LoseTable]) {
            if let Event::Append(commits) = &event {
                let commits: Vec<_> = commits.iter().map(|commit| model.apply(commit)).collect();
                store.as_mut().unwrap().append(&commits).unwrap();
                continue;
            }
            let old = store.take().unwrap();
            match event {
                Event::RestartBehind => old.abandon(),
                _ => close(old),
            }
            if let Event::LoseTable = event {
                fs::remove_dir_all(dir.path().join("table")).unwrap();
            }
            let (again, zones, _) = open(dir.path()).unwrap();
            prop_assert_eq!(zones, model.zones());
            store = Some(again);
        }
    }
}
