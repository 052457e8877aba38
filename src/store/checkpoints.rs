//! The checkpoints of a state directory: when the next is due, who writes it, which are kept.
//!
//! One is due when so much journal has gathered since the last that a start without the table would take long to replay
//! it: by octets (64 MiB), but not before the journal is three times as long as the last checkpoint, so that an update of a
//! large zone costs hardly more than one of a small; or by commits (a million), which bounds the time of a replay. It is written by a thread of
//! its own, at the lowest priority. A fault costs nothing but time: the ones before stay, and the next try comes when as
//! much has gathered again.

use super::checkpoint::{self, Written};
use super::disk::Disk;
use super::mark::Step;
use super::{StoreError, Told};
use crate::zone::ZoneSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};

/// The checkpoints of a store that is open.
pub(super) struct Checkpoints {
    dir: PathBuf,
    disk: Box<dyn Disk>,
    rule: CheckpointRule,
    /// The journal that has gathered since the last was begun.
    octets: u64,
    commits: u64,
    /// The length of the last.
    last: u64,
    /// The last one that was begun; each waits for the one before it.
    thread: Option<JoinHandle<()>>,
    /// Set when the store is being dropped.
    stop: Arc<AtomicBool>,
    /// Whether the last one failed: told once.
    failing: Arc<AtomicBool>,
}

/// When a checkpoint is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointRule {
    /// After so many octets of journal.
    pub octets: u64,
    /// After so many commits.
    pub commits: u64,
}

impl Default for CheckpointRule {
    fn default() -> CheckpointRule {
        CheckpointRule { octets: 64 << 20, commits: 1_000_000 }
    }
}

/// How many are kept.
const KEPT: usize = 2;

impl Checkpoints {
    /// The checkpoints in `dir`, after which the journal has `octets` and `commits`.
    pub(super) fn open(
        dir: PathBuf,
        disk: Box<dyn Disk>,
        rule: CheckpointRule,
        (octets, commits): (u64, u64),
    ) -> Result<Checkpoints, StoreError> {
        let newest = checkpoint::list(&dir)?.into_iter().next();
        let last = newest.and_then(|(_, path)| fs::metadata(path).ok()).map_or(0, |file| file.len());
        let (stop, failing) = Default::default();
        Ok(Checkpoints { dir, disk, rule, octets, commits, last, thread: None, stop, failing })
    }

    /// After how many octets of journal the next is due.
    pub(super) fn due(&self) -> u64 {
        self.rule.octets.max(self.last.saturating_mul(3))
    }

    /// The journal has grown.
    pub(super) fn gathered(&mut self, octets: u64, commits: u64) {
        self.octets = self.octets.saturating_add(octets);
        self.commits = self.commits.saturating_add(commits);
    }

    /// Begins one of `zones`, which are what all commits up to `step` made, where it is due.
    pub(super) fn offer(&mut self, step: Step, zones: &ZoneSet) {
        let due = self.octets >= self.due() || self.commits >= self.rule.commits;
        if due && self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            self.begin(step, zones, None);
        }
    }

    /// Begins one, due or not, and tells when it is done. Where one is being written, this one comes after it.
    pub(super) fn begin(&mut self, step: Step, zones: &ZoneSet, told: Option<Told<()>>) {
        (self.octets, self.commits) = (0, 0);
        let (dir, zones, mut disk) = (self.dir.clone(), zones.clone(), self.disk.again());
        let (stop, failing, before) = (Arc::clone(&self.stop), Arc::clone(&self.failing), self.thread.take());
        let run = move || {
            if let Some(before) = before {
                // Its outcome has been told.
                let _ = before.join();
            }
            // Answers come first; where the system forbids even this, it is only slower for them.
            let _ = rustix::process::nice(19);
            let outcome = make(disk.as_mut(), &dir, step, &zones, &stop);
            match &outcome {
                Ok(Written { step, path, octets, zones, owners }) => {
                    failing.store(false, Ordering::Relaxed);
                    tracing::info!(seq = step.seq, zones, owners, octets, file = %path.display(), "checkpoint written");
                }
                Err(_) if stop.load(Ordering::Relaxed) => {}
                Err(error) => {
                    if !failing.swap(true, Ordering::Relaxed) {
                        tracing::warn!("checkpoint not written, the ones before stay and updates go on: {error}");
                    }
                }
            }
            if let Some(told) = told {
                told(outcome.map(|_| ()));
            }
        };
        match Builder::new().name("checkpoint".into()).spawn(run) {
            Ok(thread) => self.thread = Some(thread),
            // `told` is dropped, which tells as well.
            Err(error) => tracing::warn!("checkpoint not written: cannot start a thread: {error}"),
        }
    }

    /// Waits until none is being written.
    #[cfg(test)]
    pub(super) fn wait(&mut self) {
        self.thread.take().map_or(Ok(()), JoinHandle::join).unwrap();
    }

    /// The sequence number up to which the journal is needed by none of those that are kept; 0 while there are fewer
    /// than two.
    pub(super) fn free(&mut self) -> Result<u64, StoreError> {
        let found = checkpoint::list(&self.dir)?;
        if let Some(file) = found.first().and_then(|(_, path)| fs::metadata(path).ok()) {
            self.last = file.len();
        }
        Ok(found.get(KEPT - 1).map_or(0, |(seq, _)| *seq))
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        // Nobody may write into the directory once its lock is given back.
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes one and removes those that are no longer kept.
fn make(
    disk: &mut dyn Disk,
    dir: &Path,
    step: Step,
    zones: &ZoneSet,
    stop: &AtomicBool,
) -> Result<Written, StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(StoreError::io("create", dir))?;
    let above = dir.parent().unwrap_or(dir);
    disk.sync_dir(above).map_err(StoreError::io("sync", above))?;
    let written = checkpoint::write(disk, dir, step, zones, stop)?;
    for (_, path) in checkpoint::list(dir)?.into_iter().skip(KEPT) {
        disk.remove(&path).map_err(StoreError::io("remove", &path))?;
    }
    Ok(written)
}
