//! Tests of checking all that is kept.

use super::super::disk::SystemDisk;
use super::super::recovery::StoreOptions;
use super::super::recovery::rebuild_tests::{Checkpointed, EAGER};
use super::super::samples::{self, files, flip};
use super::super::{Retention, Store};
use super::*;
use crate::wire::Name;
use crate::zone::{Zone, ZoneSet, seed};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;

/// A state of some segments and two checkpoints; its last commit.
fn sample(dir: &Path) -> (Checkpointed, u64) {
    sample_with(dir, &EAGER)
}

fn sample_with(dir: &Path, options: &StoreOptions) -> (Checkpointed, u64) {
    let (mut sample, _) = Checkpointed::open_with(Box::new(SystemDisk), dir, options);
    sample.reach(dir, 60);
    for _ in 0..15 {
        sample.commit().unwrap();
    }
    sample.store.settle();
    let last = sample.store.last_seq();
    (sample, last)
}

/// What a store that runs finds.
fn running(store: &impl Store) -> Findings {
    let (sender, findings) = sync_channel(1);
    store.verify(Box::new(move |found| sender.send(found).unwrap()));
    findings.recv().unwrap()
}

#[test]
fn a_whole_state_has_no_faults_and_is_counted_running_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, last) = sample(dir.path());
    let while_running = running(&sample.store);
    assert!(verify(dir.path()).unwrap_err().to_string().contains("in use by process"));
    let first = sample.store.first_kept();
    drop(sample);
    let at_rest = verify(dir.path()).unwrap();
    assert_eq!(at_rest.faults, [""; 0]);
    assert_eq!(while_running, at_rest);
    let segments = files(&dir.path().join("journal")).len();
    let line = format!("journal: commits {} ({first} to {last}), segments {segments}, octets ", last + 1 - first);
    assert!(at_rest.checked[0].starts_with(&line), "{at_rest:?}");
    assert_eq!(at_rest.checked.len(), 4);
    assert!(at_rest.checked[1].contains("zones 1, owners "), "{at_rest:?}");
    assert_eq!(at_rest.checked[3], format!("table: up to commit {last}, zones 1, owners {}", last.min(91)));
}

#[test]
fn a_flipped_bit_in_the_journal_or_a_checkpoint_is_found_running_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, _) = sample(dir.path());
    let segment = files(&dir.path().join("journal"))[0].clone();
    let checkpoints = files(&dir.path().join("checkpoint"));
    let mut store = Some(sample);
    for rest in [false, true] {
        let check = |store: &Option<Checkpointed>| match store {
            Some(sample) => running(&sample.store).faults,
            None => verify(dir.path()).unwrap().faults,
        };
        if rest {
            store = None;
        }
        for (path, at) in [(&segment, 200), (&segment, 15), (&segment, 25), (&checkpoints[0], 300)] {
            flip(path, at, 0x10);
            let faults = check(&store);
            assert!(!faults.is_empty() && faults[0].contains(path.to_str().unwrap()), "octet {at}: {faults:?}");
            flip(path, at, 0x10);
        }
        assert_eq!(check(&store), [""; 0]);
    }
}

#[test]
fn a_segment_that_is_missing_or_of_another_journal_is_found() {
    let dir = tempfile::tempdir().unwrap();
    // All of the journal: how many segments go depends on how far the table and the checkpoints are by then, and the first
    // may go without anybody noticing.
    let (mut sample, last) = sample_with(dir.path(), &StoreOptions { keep: Retention::ALL, ..EAGER });
    // A table that ends with a checkpoint agrees with that, whatever the journal is; when checkpoints come is chance.
    if checkpoint::list(&dir.path().join("checkpoint")).unwrap()[0].0 == last {
        sample.commit().unwrap();
        sample.store.settle();
    }
    drop(sample);
    let segments = files(&dir.path().join("journal"));
    assert!(segments.len() > 3);
    let middle = &segments[segments.len() - 2];
    let octets = fs::read(middle).unwrap();
    fs::remove_file(middle).unwrap();
    let faults = verify(dir.path()).unwrap().faults;
    assert!(faults.iter().any(|fault| fault.contains("is missing") || fault.contains("is not whole")), "{faults:?}");
    fs::write(middle, octets).unwrap();
    assert_eq!(verify(dir.path()).unwrap().faults, [""; 0]);
    // All of it is another's: the checkpoints and the table tell.
    let other = tempfile::tempdir().unwrap();
    drop(self::sample(other.path()));
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    fs::rename(other.path().join("journal"), dir.path().join("journal")).unwrap();
    let faults = verify(dir.path()).unwrap().faults;
    assert!(faults[0].contains("the journal does not lead to its last commit"), "{faults:?}");
    assert!(faults.last().unwrap().starts_with("table: "), "{faults:?}");
}

#[test]
fn a_table_that_lost_a_record_is_found_and_the_owner_named() {
    let dir = tempfile::tempdir().unwrap();
    drop(sample(dir.path()));
    let mut table = Table::open(&dir.path().join("table"), 1 << 20).unwrap();
    table.lose_a_record().unwrap();
    table.close();
    let findings = verify(dir.path()).unwrap();
    let fault = "table: it lacks h9.example.com; the journal is what counts: the next start makes the table anew";
    assert_eq!(findings.faults, [fault]);
}

#[test]
fn an_unfinished_write_at_the_end_is_told_and_no_fault() {
    let dir = tempfile::tempdir().unwrap();
    drop(sample(dir.path()));
    let newest = files(&dir.path().join("journal")).pop().unwrap();
    let mut octets = fs::read(&newest).unwrap();
    let end = octets.iter().rposition(|octet| *octet != 0).unwrap() + 1;
    octets[end + 8..end + 40].fill(7);
    fs::write(&newest, &octets).unwrap();
    let findings = verify(dir.path()).unwrap();
    assert_eq!(findings.faults, [""; 0]);
    assert!(findings.checked[1].contains("never finished nor answered"), "{findings:?}");
    assert_eq!(fs::read(&newest).unwrap(), octets, "nothing is changed");
}

#[test]
fn a_journal_without_checkpoints_is_checked_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = crate::store::DiskStore::open(dir.path(), &Default::default()).unwrap().store;
    store.append(&[samples::create("example.com", 1, &[("example.com", 60, "192.0.2.1")])]).unwrap();
    store.append(&[samples::change("example.com", 2, &[("a.example.com", 60, "192.0.2.1")])]).unwrap();
    let findings = running(&store);
    assert_eq!(findings.faults, [""; 0]);
    assert_eq!(findings.checked[1], "table: up to commit 2, zones 1, owners 2");
}

/// Its sums are good, and so is its place in the chain: only the records tell.
#[test]
fn a_checkpoint_that_holds_other_records_than_the_journal_made_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (sample, _) = sample_with(dir.path(), &StoreOptions { keep: Retention::ALL, ..EAGER });
    drop(sample);
    let findings = verify(dir.path()).unwrap();
    assert_eq!(findings.faults, [""; 0]);
    assert!(findings.checked.iter().all(|line| !line.contains("not compared")), "{findings:?}");
    let at = |place: usize| checkpoint::list(&dir.path().join("checkpoint")).unwrap()[place].clone();
    let zones = |place: usize| {
        let read = start::read_checkpoint(Checkpoint::open(&at(place).1).unwrap()).unwrap();
        read.into_values().map(|loaded| Arc::new(loaded.zone.zone().unwrap())).collect::<Vec<_>>()
    };
    let step = Checkpoint::open(&at(0).1).unwrap().step;
    // What the one before it holds, under the newest one's name; and all of one zone too many.
    let other =
        Zone::new(&Name::parse("other.example").unwrap(), seed(&Name::parse("other.example").unwrap()).unwrap());
    for (zones, told) in
        [(zones(1), "it "), ([zones(0), vec![Arc::new(other.unwrap())]].concat(), "it has zone other.example")]
    {
        let mut set = ZoneSet::default();
        zones.into_iter().for_each(|zone| set.insert(zone));
        let checkpoints = dir.path().join("checkpoint");
        checkpoint::write(&mut SystemDisk, &checkpoints, step, &set, &AtomicBool::new(false)).unwrap();
        let faults = verify(dir.path()).unwrap().faults;
        let name = format!("checkpoint {}: {told}", at(0).1.display());
        assert!(faults.iter().any(|fault| fault.starts_with(&name)), "{faults:?}");
    }
}
