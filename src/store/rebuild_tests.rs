//! Tests of checkpoints while a store runs, and of the table that a start makes from one.

use super::super::checkpoint::Checkpoint;
use super::super::power::PowerDisk;
use super::super::samples;
use super::super::table::Table;
use super::tests::{OPTIONS, Zones, close, open};
use super::*;
use crate::wire::{Rtype, Ttl};
use crate::zone::{Draft, Key, Zone, seed};
use std::fs;
use std::sync::Arc;

/// Small, so that a few commits make several checkpoints and let journal go.
pub(in crate::store) const EAGER: StoreOptions = StoreOptions {
    checkpoints: CheckpointRule { octets: u64::MAX, commits: 20 },
    keep: Retention { age: u64::MAX, size: 10_000 },
    ..OPTIONS
};

/// A store that writes checkpoints, and the zones as its commits make them.
pub(in crate::store) struct Checkpointed {
    pub(in crate::store) store: DiskStore,
    zones: ZoneSet,
    serial: u32,
}

impl Checkpointed {
    pub(in crate::store) fn open(disk: Box<dyn Disk>, dir: &Path) -> (Checkpointed, Vec<RecoveryNote>) {
        Checkpointed::open_with(disk, dir, &EAGER)
    }

    pub(in crate::store) fn open_with(
        disk: Box<dyn Disk>,
        dir: &Path,
        options: &StoreOptions,
    ) -> (Checkpointed, Vec<RecoveryNote>) {
        let opened = DiskStore::open_on(disk, dir, options).unwrap();
        let mut zones = ZoneSet::default();
        opened.zones.into_iter().for_each(|loaded| zones.insert(Arc::new(loaded.zone.zone().unwrap())));
        let serial = zones.iter().next().map_or(0, |zone| zone.serial().0);
        (Checkpointed { store: opened.store, zones, serial }, opened.notes)
    }

    /// Makes the zone, or adds an address to one of 90 hosts.
    pub(in crate::store) fn commit(&mut self) -> Result<(), StoreError> {
        let apex = Name::parse("example.com").unwrap();
        let serial = self.serial + 1;
        let (commit, next) = match self.zones.zone(&apex).cloned() {
            None => {
                let mut commit = samples::create("example.com", serial, &[]);
                commit.changes.added = seed(&apex).unwrap();
                let zone = Zone::new(&apex, commit.changes.added.clone()).unwrap();
                (commit, zone)
            }
            Some(zone) => {
                let owner = Key::new(&Name::parse(&format!("h{}.example.com", serial % 90)).unwrap());
                let mut draft = Draft::new(&zone);
                draft.add(&owner, Rtype::A, Ttl::new(60), &serial.to_be_bytes());
                let changes = draft.finish();
                let next = zone.with(&changes).unwrap();
                (Commit { changes, ..samples::change("example.com", serial, &[]) }, next)
            }
        };
        self.store.append(&[commit])?;
        self.serial = serial;
        self.zones.insert(Arc::new(next));
        self.store.published(&self.zones);
        Ok(())
    }

    /// Commits until the newest checkpoint is at `seq` or later.
    pub(in crate::store) fn reach(&mut self, dir: &Path, seq: u64) {
        while newest(dir).is_none_or(|(newest, _)| newest < seq) {
            self.commit().unwrap();
            // What the journal may let go of depends on how far the table has come.
            self.store.sync_table().unwrap();
        }
    }

    fn records(&self) -> Zones {
        self.zones.iter().map(|zone| (zone.apex().to_string(), zone.records().collect())).collect()
    }
}

fn newest(dir: &Path) -> Option<(u64, PathBuf)> {
    checkpoint::list(&dir.join("checkpoint")).unwrap().into_iter().next()
}

fn first_of_journal(dir: &Path) -> u64 {
    Journal::open(&dir.join("journal"), 4000, Box::new(SystemDisk), 0, &mut Vec::new()).unwrap().first()
}

#[test]
fn a_lost_table_comes_back_from_a_checkpoint_when_the_journals_beginning_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir.path());
    sample.reach(dir.path(), 100);
    for _ in 0..30 {
        sample.commit().unwrap();
    }
    let zones = sample.records();
    let last = sample.store.last_seq();
    drop(sample);
    let kept = checkpoint::list(&dir.path().join("checkpoint")).unwrap();
    let first = first_of_journal(dir.path());
    assert_eq!(kept.len(), 2);
    assert!(first > 1 && first <= kept[1].0 + 1, "journal from {first}, checkpoints {kept:?}");

    fs::remove_dir_all(dir.path().join("table")).unwrap();
    let (store, again, notes) = open(dir.path()).unwrap();
    assert_eq!((again, store.last_seq()), (zones.clone(), last));
    let from =
        |(seq, path): &(u64, PathBuf)| RecoveryNote::TableFromCheckpoint { path: path.clone(), commits: last - seq };
    assert_eq!(notes, [from(&kept[0])]);
    // Meanwhile the table was made anew.
    close(store);
    let (store, again, notes) = open(dir.path()).unwrap();
    assert_eq!((again, notes), (zones.clone(), vec![]));
    drop(store);

    // The newest is damaged: the one before it does.
    let mut octets = fs::read(&kept[0].1).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    fs::write(&kept[0].1, octets).unwrap();
    fs::remove_dir_all(dir.path().join("table")).unwrap();
    let (store, again, notes) = open(dir.path()).unwrap();
    assert_eq!(again, zones);
    assert!(notes[0].to_string().starts_with("checkpoint set aside as "), "{}", notes[0]);
    assert_eq!(notes[1..], [from(&kept[1])]);
    drop(store);

    // So is that: nothing can be made of what is left.
    fs::write(&kept[1].1, b"").unwrap();
    fs::remove_dir_all(dir.path().join("table")).unwrap();
    let error = open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains(&format!("begins with commit {first}, and no checkpoint holds what was before")), "{error}");
    assert!(error.contains("dyndns restore"), "{error}");
}

#[test]
fn a_journal_that_ends_before_a_checkpoint_is_not_taken_for_all_there_was() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir.path());
    sample.reach(dir.path(), 60);
    drop(sample);
    fs::rename(dir.path().join("journal"), dir.path().join("elsewhere")).unwrap();
    let error = open(dir.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("ends with commit 0, but a checkpoint holds commit"), "{error}");
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::rename(dir.path().join("elsewhere"), dir.path().join("journal")).unwrap();
    assert!(open(dir.path()).is_ok());
}

#[test]
fn a_checkpoint_that_fails_leaves_those_before_and_updates_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let disk = PowerDisk::new(3);
    let (mut sample, _) = Checkpointed::open(Box::new(disk.clone()), dir.path());
    sample.reach(dir.path(), 45);
    let before = checkpoint::list(&dir.path().join("checkpoint")).unwrap();
    // New files find no room; the journal's segment has some.
    disk.set_full(true);
    let mut refused = 0;
    for _ in 0..200 {
        refused += usize::from(sample.commit().is_err());
    }
    assert!(refused > 0, "the journal's segment was full at last");
    assert_eq!(checkpoint::list(&dir.path().join("checkpoint")).unwrap(), before);
    disk.set_full(false);
    let last = sample.store.last_seq();
    sample.reach(dir.path(), last);
    let zones = sample.records();
    drop(sample);
    disk.settle();
    fs::remove_dir_all(dir.path().join("table")).unwrap();
    assert_eq!(open(dir.path()).unwrap().1, zones);
}

#[test]
fn a_journal_is_checkpointed_before_a_replay_of_it_takes_long() {
    // The rule that bounds a start: never much more than so many commits are newer than the newest checkpoint.
    let dir = tempfile::tempdir().unwrap();
    let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir.path());
    for round in 1..=20u64 {
        sample.reach(dir.path(), round * EAGER.checkpoints.commits);
        assert!(checkpoint::list(&dir.path().join("checkpoint")).unwrap().len() <= 3, "one is being written");
    }
    let StoreOptions { checkpoints, .. } = StoreOptions::default();
    assert!(checkpoints.commits <= 1_000_000 && checkpoints.octets <= 64 << 20);
}

#[test]
fn a_table_that_was_being_filled_from_a_checkpoint_is_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir.path());
    sample.reach(dir.path(), 120);
    let zones = sample.records();
    drop(sample);
    let path = dir.path().join("table");
    fs::remove_dir_all(&path).unwrap();
    let mut table = Table::open(&path, 1 << 20).unwrap();
    // More owners than a batch, then the end of the process.
    table.fill_in_part(Checkpoint::open(&newest(dir.path()).unwrap().1).unwrap());
    drop(table);
    let (store, again, notes) = open(dir.path()).unwrap();
    assert_eq!(again, zones);
    assert!(matches!(notes[..], [RecoveryNote::TableFromCheckpoint { .. }]), "{notes:?}");
    close(store);
    let (_, again, notes) = open(dir.path()).unwrap();
    assert_eq!((again, notes), (zones, vec![]));
}

#[test]
fn journal_goes_although_updates_leave_the_table_no_pause() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir.path());
    // The table flushes by itself only where a second passes without an update; here none does.
    for _ in 0..20_000 {
        sample.commit().unwrap();
        if sample.store.first_kept() > 1 {
            return;
        }
    }
    panic!("nothing went");
}

#[test]
fn a_table_that_was_away_while_the_journal_went_on_is_made_anew_from_a_checkpoint_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sample, _) = Checkpointed::open(Box::new(SystemDisk), dir.path());
    sample.reach(dir.path(), 40);
    drop(sample);
    let (path, away) = (dir.path().join("table"), dir.path().join("away"));
    fs::rename(&path, &away).unwrap();
    // Where sled may not write, whoever asks.
    std::os::unix::fs::symlink("/sys/kernel", &path).unwrap();
    let (mut sample, notes) = Checkpointed::open(Box::new(SystemDisk), dir.path());
    assert!(notes.iter().any(|note| matches!(note, RecoveryNote::TableNotOpened { .. })), "{notes:?}");
    // Nobody waits for it, and the journal does not grow for it.
    while sample.store.first_kept() < 100 {
        sample.commit().unwrap();
        sample.store.checkpoints.wait();
    }
    let health = sample.store.health();
    assert!(health.resting().is_some() && sample.store.sync_table().is_err());
    fs::remove_file(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    // It holds the first forty, and the journal leads from there no more.
    while health.resting().is_some() || sample.store.sync_table().is_err() {
        std::thread::yield_now();
    }
    assert_eq!(health.behind(), 0);
    sample.commit().unwrap();
    sample.store.settle();
    let zones = sample.records();
    drop(sample);
    assert_eq!(crate::store::verify(dir.path()).unwrap().faults, [""; 0]);
    let (_, again, notes) = open(dir.path()).unwrap();
    assert_eq!((again, notes), (zones, vec![]));
}

/// As while `dyndns zone verify` compares a large table.
#[test]
fn updates_that_wait_for_a_table_too_far_behind_are_told_once_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sample, _) = Checkpointed::open_with(Box::new(SystemDisk), dir.path(), &OPTIONS);
    sample.store.follower.inspector().hold();
    let mut told = Vec::new();
    while told.is_empty() {
        assert!(sample.store.last_seq() < 10_000);
        sample.commit().unwrap();
        told.extend(sample.store.table_fault());
    }
    let text = format!(
        "table {} is too far behind the journal: updates come faster than it can follow and wait for it; give it a faster \
         disk or another processor",
        dir.path().join("table").display()
    );
    assert_eq!(told[0].to_string(), text);
    assert!(fs::read_dir(dir.path().join("journal")).unwrap().count() > 64);
    sample.commit().unwrap();
    assert!(sample.store.table_fault().is_none());
    sample.store.settle();
    let zones = sample.records();
    drop(sample);
    let (_, again, notes) = open(dir.path()).unwrap();
    assert_eq!((again, notes), (zones, vec![]));
}
