//! A process that appends is killed at any moment: every commit that it was told is durable is there.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    reason = "in a test a panic is the failure to be seen"
)]

use dyndns::store::{Actor, Commit, CommitKind, DiskStore, Store, StoreOptions};
use dyndns::wire::{Name, Rtype, Ttl};
use dyndns::zone::{Changes, Key, Record, Serial};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

fn options() -> StoreOptions {
    StoreOptions { segment_size: 20_000, table_cache: 1 << 20, ..StoreOptions::default() }
}

/// Names the state directory to the child.
const CHILD: &str = "DYNDNS_TEST_APPEND_IN";

/// The commit that gives host `number` its address.
fn commit(number: u32) -> Commit {
    let record = Record {
        owner: Key::new(&Name::parse(&format!("h{number}.example.com")).unwrap()),
        rtype: Rtype::A,
        ttl: Ttl::new(60),
        rdata: number.to_be_bytes().into(),
    };
    Commit {
        zone: Name::parse("example.com").unwrap(),
        kind: CommitKind::Change,
        from: Some(Serial(number)),
        to: Serial(number + 1),
        time: u64::from(number),
        actor: Actor::Operator,
        source: None,
        changes: Changes { removed: Vec::new(), added: vec![record] },
    }
}

/// The addresses that the store holds.
fn hosts(dir: &Path) -> (DiskStore, HashSet<u32>) {
    let mut hosts = HashSet::new();
    let opened = DiskStore::open(dir, &options()).unwrap();
    for loaded in &opened.zones {
        hosts.extend(loaded.zone.records().map(|record| u32::from_be_bytes(record.rdata[..].try_into().unwrap())));
    }
    (opened.store, hosts)
}

/// No test of its own: what the child process of the test below runs. Appends groups of one to three commits, and
/// prints the last number of each group that is durable, until it is killed.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (mut store, hosts) = hosts(Path::new(&dir));
    let mut next = hosts.len() as u32;
    let mut out = std::io::stdout();
    loop {
        let group: Vec<_> = (next..=next + next % 3).map(commit).collect();
        next += group.len() as u32;
        store.append(&group).unwrap();
        writeln!(out, "\ndurable {next}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn what_a_killed_process_said_is_durable_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut durable = 0;
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        let mut last = None;
        // The child is killed amid its work; what it said before that still stands in the pipe.
        for line in lines {
            let line = line.unwrap();
            if let Some(count) = line.strip_prefix("durable ") {
                last = Some(count.parse::<u32>().unwrap());
                seen += 1;
                if seen == 20 + round * 37 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        durable = durable.max(last.unwrap());
        let (store, hosts) = hosts(dir.path());
        let lost: Vec<_> = (0..durable).filter(|number| !hosts.contains(number)).collect();
        assert!(lost.is_empty(), "round {round}: {durable} were durable, lost {lost:?}");
        assert_eq!(store.last_seq(), hosts.len() as u64, "the journal and the table agree");
    }
}
