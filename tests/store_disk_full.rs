//! A state directory on a disk that is really full: a small tmpfs, so these tests need root.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::disk::TestDisk;
use dyndns::store::{Actor, Commit, CommitKind, DiskStore, Store, StoreError, StoreOptions};
use dyndns::wire::{Name, Rtype, Ttl};
use dyndns::zone::{Changes, Key, Record, Serial};
use std::io::ErrorKind;
use std::path::Path;

fn options() -> StoreOptions {
    StoreOptions { segment_size: 100_000, table_cache: 1 << 20, ..StoreOptions::default() }
}

fn commit(number: u32) -> Commit {
    let record = Record {
        owner: Key::new(&Name::parse(&format!("h{number}.example.com")).unwrap()),
        rtype: Rtype::TXT,
        ttl: Ttl::new(60),
        rdata: vec![7; 1000].into(),
    };
    Commit {
        zone: Name::parse("example.com").unwrap(),
        kind: CommitKind::Change,
        from: Some(Serial(number)),
        to: Serial(number + 1),
        time: 0,
        actor: Actor::Lease,
        source: None,
        changes: Changes { removed: Vec::new(), added: vec![record] },
    }
}

fn open(dir: &Path) -> (DiskStore, usize) {
    let opened = DiskStore::open(dir, &options()).unwrap();
    for note in opened.notes {
        eprintln!("{note}");
    }
    (opened.store, opened.zones.iter().map(|loaded| loaded.zone.records().count()).sum())
}

#[test]
fn appends_fail_on_a_full_disk_and_work_again_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = TestDisk::tmpfs(&folder.path().join("disk"), 8) else { return };
    let dir = disk.place().join("state");
    let (mut store, _) = open(&dir);
    let mut answered = 0u32;
    for _ in 0..20 {
        store.append(&[commit(answered)]).unwrap();
        answered += 1;
    }
    store.sync_table().unwrap();
    disk.fill(200_000);
    let error = loop {
        match store.append(&[commit(answered)]) {
            Ok(_) => answered += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, StoreError::Io { source, .. } if source.kind() == ErrorKind::StorageFull), "{error}");
    assert!(error.to_string().contains("make room; a running server takes updates again by itself"), "{error}");
    assert!(store.append(&[commit(answered)]).is_err());
    disk.make_room();
    for _ in 0..200 {
        store.append(&[commit(answered)]).unwrap();
        answered += 1;
    }
    assert_eq!(store.last_seq(), u64::from(answered));
    // The table had no room either: whether it came through or not, nothing that was answered is lost.
    let _ = store.sync_table();
    if let Some(fault) = store.table_fault() {
        eprintln!("{fault}");
    }
    drop(store);
    let (store, records) = open(&dir);
    assert_eq!((store.last_seq(), records), (u64::from(answered), answered as usize));
}
