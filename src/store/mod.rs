//! The durable side: a journal of commits, which is the truth, and a table of records that follows it.
//!
//! Decides when a commit is durable and what a start finds; leaves to others which commits are made. It stores
//! commits, never requests. Synchronous: a caller with an event loop runs it on a thread of its own.
//!
//! Invariants:
//! - When [`Store::append`] returns `Ok`, every commit of the group survives power loss. When it returns `Err`, none
//!   of the group is part of the store, and the next append may work.
//! - The table only ever holds what the journal made durable before. It may be thrown away at any time, and nobody
//!   waits for it: neither an append nor a start.

mod backup;
mod checkpoint;
mod checkpoints;
mod commit;
mod disk;
mod encode;
mod error;
mod follower;
mod health;
mod journal;
mod mark;
mod memory;
mod mend;
mod note;
#[cfg(test)]
mod power;
mod recovery;
mod restore;
mod row;
mod segment;
mod start;
mod table;
mod tail;
mod verify;

pub use backup::{BackedUp, backup, backup_of_files, prepare_backup};
pub use checkpoints::CheckpointRule;
pub use commit::{Actor, Commit, CommitKind};
pub use error::StoreError;
pub use health::Health;
pub use journal::Retention;
pub use memory::MemoryStore;
pub use mend::{Commits, repair, repair_without};
pub use note::RecoveryNote;
pub use recovery::{DiskStore, LoadedZone, Opened, StoreOptions};
pub use restore::{Existing, Restored, restore};
pub use verify::{Findings, verify};

use crate::wire::Name;
use crate::zone::{Serial, ZoneSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where commits become durable.
pub trait Store: Send {
    /// Makes a group of commits durable with one disk sync, and returns the sequence number of the last. Sequence
    /// numbers run 1, 2, ... over all zones.
    ///
    /// On an error none of the group is stored, and a later append may work again.
    fn append(&mut self, commits: &[Commit]) -> Result<u64, StoreError>;

    /// The sequence number of the last commit; 0 before the first.
    fn last_seq(&self) -> u64;

    /// The newest `max` commits of a zone; with `since`, those from there to the zone's newest.
    fn history(&self, zone: &Name, since: Option<Since>, max: usize) -> Result<History, StoreError>;

    /// Hands over the zones as the last append left them, after each group that was published. A store may write a
    /// checkpoint of them, on a thread of its own, and let go of journal that nothing needs any more.
    fn published(&mut self, zones: &ZoneSet) {
        let _ = zones;
    }

    /// Writes a checkpoint of the zones as the last append left them, and tells when it is done.
    fn checkpoint(&mut self, zones: &ZoneSet, told: Told<Instant>) {
        let _ = zones;
        told(Err(StoreError::Nothing));
    }

    /// Checks all that is kept, on a thread of its own, and tells what it found.
    fn verify(&self, told: Box<dyn FnOnce(Findings) + Send>) {
        told(Findings::default());
    }

    /// A fault of the table since the last question; told once, for the log. Answers and appends go on without it, and it
    /// is tried again.
    fn table_fault(&mut self) -> Option<StoreError> {
        None
    }

    /// How it fares; the same for as long as it is open.
    fn health(&self) -> Arc<Health> {
        Arc::default()
    }
}

/// Who is told what came of something that was begun. One that is dropped uncalled was not begun.
pub type Told<T> = Box<dyn FnOnce(Result<T, StoreError>) + Send>;

/// A commit of which there is a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instant {
    /// Its sequence number.
    pub seq: u64,
    /// The chain hash after it.
    pub chain: [u8; 16],
}

/// From where a zone's commits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Those that lead from this serial, in the life that the zone has now.
    Serial(Serial),
    /// Those after this commit of the zone, by its sequence number, through all lives that the zone has had since.
    Commit(u64),
}

/// Commits of one zone, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The commits, the oldest first.
    pub commits: Vec<Logged>,
    /// Whether this is all: from where it was asked for on, or from the zone's first commit. False where the past is no longer
    /// kept. Where that is not known or too far back, this is false and there are no commits; IXFR then sends the whole zone (RFC 1995
    /// section 4).
    pub complete: bool,
}

/// A commit with its place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The sequence number, over all zones.
    pub seq: u64,
    /// The commit.
    pub commit: Commit,
}

/// Picks from a zone's commits, the newest first, what [`Store::history`] promises; `whole` says whether they go back to
/// the zone's first.
///
/// Serials are compared for equality only: order would break where they wrap (RFC 1982), and a zone that was
/// deleted and created again may use a serial twice, so the way back ends at a creation.
fn select(
    newest_first: impl Iterator<Item = Result<Logged, StoreError>>,
    since: Option<Since>,
    max: usize,
    whole: bool,
) -> Result<History, StoreError> {
    let mut commits: Vec<Logged> = Vec::new();
    let mut complete = since.is_none() && whole;
    let serial = match since {
        Some(Since::Serial(serial)) => Some(serial),
        Some(Since::Commit(_)) | None => None,
    };
    for logged in newest_first {
        let logged = logged?;
        if let Some(Since::Commit(seq)) = since
            && logged.seq <= seq
        {
            complete = logged.seq == seq;
            break;
        }
        if serial.is_some_and(|serial| serial == logged.commit.to) {
            complete = true;
            break;
        }
        if commits.len() == max {
            complete = false;
            break;
        }
        if serial.is_some() && logged.commit.kind != CommitKind::Change {
            break;
        }
        let leads = serial.is_some() && serial == logged.commit.from;
        commits.push(logged);
        if leads {
            complete = true;
            break;
        }
    }
    if since.is_some() && !complete {
        commits.clear();
    }
    commits.reverse();
    Ok(History { commits, complete })
}

/// Commits for the tests of this module and below.
#[cfg(test)]
mod samples {
    use super::*;
    use crate::wire::{Rtype, Ttl};
    use crate::zone::{Changes, Key, Record};
    use std::fs;
    use std::net::Ipv4Addr;
    use std::path::{Path, PathBuf};

    /// What is in a directory, in order.
    pub(super) fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Turns bits of a file over, those of `bits` in the octet at `at`.
    pub(super) fn flip(path: &Path, at: usize, bits: u8) {
        let mut octets = fs::read(path).unwrap();
        octets[at] ^= bits;
        fs::write(path, octets).unwrap();
    }

    pub(super) fn a(owner: &str, ttl: u32, address: &str) -> Record {
        let address: Ipv4Addr = address.parse().unwrap();
        Record {
            owner: Key::new(&Name::parse(owner).unwrap()),
            rtype: Rtype::A,
            ttl: Ttl::new(ttl),
            rdata: address.octets().into(),
        }
    }

    /// A change of `zone` to the serial `to` that adds these A records.
    pub(super) fn change(zone: &str, to: u32, added: &[(&str, u32, &str)]) -> Commit {
        let added = added.iter().map(|(owner, ttl, address)| a(owner, *ttl, address)).collect();
        Commit {
            zone: Name::parse(zone).unwrap(),
            kind: CommitKind::Change,
            from: Some(Serial(to.wrapping_sub(1))),
            to: Serial(to),
            time: 1,
            actor: Actor::Key(Name::parse("laptop").unwrap()),
            source: None,
            changes: Changes { removed: Vec::new(), added },
        }
    }

    /// The creation of `zone` with these A records.
    pub(super) fn create(zone: &str, to: u32, added: &[(&str, u32, &str)]) -> Commit {
        Commit { kind: CommitKind::Create, from: None, actor: Actor::Seed, ..change(zone, to, added) }
    }
}
