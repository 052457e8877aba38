//! A store in memory, for tests of whatever writes to one.

use super::{Commit, History, Logged, Since, Store, StoreError, select};
use crate::wire::Name;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A [`Store`] that forgets everything with the process. Clones are the same store, so that a test can look into
/// it, and make it fail, while a server writes to it.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    commits: Vec<Commit>,
    failing: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// From now on every append fails as on a full disk.
    pub fn break_down(&self) {
        self.inner().failing = true;
    }

    /// From now on appends work again.
    pub fn mend(&self) {
        self.inner().failing = false;
    }

    /// Every commit so far, the oldest first.
    pub fn commits(&self) -> Vec<Commit> {
        self.inner().commits.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics between two halves of a change.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn append(&mut self, commits: &[Commit]) -> Result<u64, StoreError> {
        let mut inner = self.inner();
        if inner.failing {
            let source = io::Error::from(io::ErrorKind::StorageFull);
            return Err(StoreError::Io { doing: "write", path: "memory".into(), source });
        }
        inner.commits.extend_from_slice(commits);
        Ok(inner.commits.len() as u64)
    }

    fn last_seq(&self) -> u64 {
        self.inner().commits.len() as u64
    }

    fn history(&self, zone: &Name, since: Option<Since>, max: usize) -> Result<History, StoreError> {
        let inner = self.inner();
        let newest_first = inner.commits.iter().enumerate().rev().filter(|(_, commit)| commit.zone == *zone);
        select(
            newest_first.map(|(at, commit)| Ok(Logged { seq: at as u64 + 1, commit: commit.clone() })),
            since,
            max,
            true,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CommitKind, samples};
    use super::*;
    use crate::zone::Serial;

    #[test]
    fn history_since_a_serial_is_the_way_from_it_and_never_crosses_a_creation() {
        let mut store = MemoryStore::new();
        let zone = Name::parse("example.com").unwrap();
        let other = samples::change("example.net", 1, &[]);
        let create = samples::create("example.com", u32::MAX - 1, &[]);
        let steps = [u32::MAX, 0, 1].map(|to| samples::change("example.com", to, &[]));
        store.append(&[create.clone(), other.clone(), steps[0].clone()]).unwrap();
        assert_eq!(store.append(&[steps[1].clone(), steps[2].clone()]).unwrap(), 5);

        let seqs = |since: Option<u32>, max| {
            let since = since.map(|serial| Since::Serial(Serial(serial)));
            let found = store.history(&zone, since, max).unwrap();
            (found.commits.iter().map(|logged| logged.seq).collect::<Vec<_>>(), found.complete)
        };
        assert_eq!(seqs(None, 10), (vec![1, 3, 4, 5], true));
        assert_eq!(seqs(None, 2), (vec![4, 5], false));
        assert_eq!(seqs(Some(u32::MAX), 10), (vec![4, 5], true));
        assert_eq!(seqs(Some(u32::MAX - 1), 10), (vec![3, 4, 5], true));
        assert_eq!(seqs(Some(u32::MAX - 1), 2), (vec![], false));
        assert_eq!(seqs(Some(17), 10), (vec![], false));
        assert_eq!(seqs(Some(1), 10), (vec![], true));
    }

    #[test]
    fn history_since_a_commit_is_all_that_came_after_it_in_whatever_life() {
        let mut store = MemoryStore::new();
        let zone = Name::parse("example.com").unwrap();
        let life = [samples::create("example.com", 1, &[]), samples::change("example.com", 2, &[])];
        let delete = Commit { kind: CommitKind::Delete, ..samples::change("example.com", 2, &[]) };
        let other = samples::change("example.net", 1, &[]);
        store.append(&[&life[..], &[delete, other], &life[..]].concat()).unwrap();
        let seqs = |since, max| {
            let found = store.history(&zone, Some(Since::Commit(since)), max).unwrap();
            (found.commits.iter().map(|logged| logged.seq).collect::<Vec<_>>(), found.complete)
        };
        assert_eq!(seqs(2, 10), (vec![3, 5, 6], true));
        assert_eq!(seqs(6, 10), (vec![], true));
        assert_eq!(seqs(2, 2), (vec![], false));
        // It was another zone's.
        assert_eq!(seqs(4, 10), (vec![], false));
    }

    #[test]
    fn a_broken_store_takes_nothing_until_it_is_mended() {
        let mut store = MemoryStore::new();
        let commit = samples::create("example.com", 1, &[]);
        store.break_down();
        let error = store.append(std::slice::from_ref(&commit)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write memory: no storage space; make room; a running server takes updates again by itself"
        );
        assert_eq!(store.last_seq(), 0);
        store.mend();
        assert_eq!(store.append(&[commit]).unwrap(), 1);
    }
}
