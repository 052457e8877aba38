//! Reading all that is kept and checking it: the journal, the checkpoints, and the table against both.
//!
//! Nothing is changed or mended. On a server that runs, a thread of its own reads the files; the table, which sled gives
//! to one process only, is compared by the thread that follows the journal, between two commits. Meanwhile updates and
//! answers go on.

mod checkpoints;

use super::StoreError;
use super::checkpoint::{self, Checkpoint, Part};
use super::error::plain;
use super::journal::{self, Checked, Extent};
use super::mark::Step;
use super::recovery::lock;
use super::start::{self, Zones};
use super::table::{Table, TableError};
use super::tail::Reader;
use crate::zone::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// What was checked, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// What was checked, in numbers; each a line.
    pub checked: Vec<String>,
    /// What is wrong; each a line.
    pub faults: Vec<String>,
}

/// The files of a state directory.
#[derive(Debug, Clone)]
pub(super) struct Files {
    dir: PathBuf,
    /// The sequence number after the last durable commit; `None` where nobody writes.
    end: Option<u64>,
}

/// Checks the state in `dir`, which no server uses.
pub fn verify(dir: &Path) -> Result<Findings, StoreError> {
    let (_lock, _) = lock(dir)?;
    let files = Files::new(dir, None);
    let mut findings = files.check();
    let table = dir.join("table");
    if !table.exists() {
        findings.checked.push("table: none; the next start makes it".into());
        return Ok(findings);
    }
    match Table::open(&table, 1 << 20) {
        Ok(table) => {
            files.compare(&table, &mut findings);
            table.close();
        }
        // A full or read-only disk says nothing of the table.
        Err(TableError::Disk(error)) => findings.checked.push(format!("table: not compared: {}", plain(&error))),
        Err(error) => findings.table_fault(&error.to_string()),
    }
    Ok(findings)
}

impl Findings {
    pub(super) fn append(&mut self, more: Findings) {
        self.checked.extend(more.checked);
        self.faults.extend(more.faults);
    }

    fn checkpoint_fault(&mut self, path: &Path, why: &str) {
        let path = path.display();
        self.faults
            .push(format!("checkpoint {path}: {why}; a start without the table would serve that: delete this file"));
    }

    pub(super) fn table_fault(&mut self, why: &str) {
        self.faults.push(format!("table: {why}; the journal is what counts: the next start makes the table anew"));
    }
}

impl Files {
    pub(super) fn new(dir: &Path, end: Option<u64>) -> Files {
        Files { dir: dir.to_owned(), end }
    }

    /// Checks the journal and the checkpoints.
    pub(super) fn check(&self) -> Findings {
        let mut findings = Findings::default();
        if let Err(error) = self.check_into(&mut findings) {
            findings.faults.push(error.to_string());
        }
        findings
    }

    fn check_into(&self, findings: &mut Findings) -> Result<(), StoreError> {
        let checkpoints = checkpoint::list(&self.dir.join("checkpoint"))?;
        let mut chains: BTreeMap<u64, _> = checkpoints.iter().map(|(seq, _)| (*seq, None)).collect();
        let journal = journal::check(&self.dir.join("journal"), self.end, &mut chains)?;
        let Checked { segments, octets, commits, first, last, torn, faults } = journal;
        let range = first.map_or(String::new(), |first| format!(" ({first} to {last})"));
        findings.checked.push(format!("journal: commits {commits}{range}, segments {segments}, octets {octets}"));
        if let Some(path) = torn {
            let path = path.display();
            findings.checked.push(format!(
                "journal: {path} ends in a write that was never finished nor answered; the next start cuts it off"
            ));
        }
        findings.faults.extend(faults.iter().map(ToString::to_string));
        for (seq, path) in checkpoints {
            match check_checkpoint(&path, chains.get(&seq).copied().flatten()) {
                Ok((zones, owners)) => {
                    let text =
                        format!("checkpoint {}: up to commit {seq}, zones {zones}, owners {owners}", path.display());
                    let compared = self.records_of(&path, findings)?;
                    findings.checked.push(text + compared);
                }
                // Two newer ones have come meanwhile.
                Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => findings.faults.push(error.to_string()),
            }
        }
        Ok(())
    }

    /// Compares a checkpoint's records; returns what is to be said beside its numbers.
    fn records_of(&self, path: &Path, findings: &mut Findings) -> Result<&'static str, StoreError> {
        match self.compare_checkpoint(path) {
            Ok(Some(compared)) => {
                compared.lines().for_each(|line| findings.checkpoint_fault(path, &line));
                Ok("")
            }
            Ok(None) => Ok(", not compared, for no journal from before it is kept"),
            // Two newer ones have come meanwhile, or the journal's fault has been told.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(""),
            Err(_) if !findings.faults.is_empty() => Ok(", not compared"),
            Err(error) => Err(error),
        }
    }

    /// Compares the table with what the newest checkpoint and the journal make of the zones up to the table's mark.
    pub(super) fn compare(&self, table: &Table, findings: &mut Findings) {
        let mark = table.mark();
        if mark.is_filling() {
            return findings.checked.push("table: it is being made from a checkpoint".into());
        }
        if mark.begun != mark.done {
            let (first, last) = (mark.done.seq + 1, mark.begun.seq);
            let text = format!(
                "table: not compared, for it holds commits {first} to {last} in part; the next start finishes it"
            );
            return findings.checked.push(text);
        }
        let zones = match self.zones_at(mark.done, mark.done.seq + 1) {
            Ok(Some(zones)) => zones,
            Ok(None) => {
                let text =
                    "table: not compared, for it is behind both checkpoints; the next start brings it up to them";
                return findings.checked.push(text.into());
            }
            Err(error) => return findings.faults.push(format!("table: not compared: {error}")),
        };
        match table.compare(&zones) {
            Ok(compared) => {
                let (owners, zones, seq) = (compared.owners, zones.len(), mark.done.seq);
                findings.checked.push(format!("table: up to commit {seq}, zones {zones}, owners {owners}"));
                compared.lines().for_each(|line| findings.table_fault(&line));
            }
            Err(error) => findings.table_fault(&error.to_string()),
        }
    }

    /// The zones as they were after a commit, from a checkpoint that ends before another one; `None` where that is before what is kept.
    pub(super) fn zones_at(&self, at: Step, before: u64) -> Result<Option<Zones>, StoreError> {
        let mut zones = Zones::new();
        let mut done = 0;
        for (seq, path) in checkpoint::list(&self.dir.join("checkpoint"))? {
            if seq < before
                && let Ok(read) = Checkpoint::open(&path).and_then(start::read_checkpoint)
            {
                (zones, done) = (read, seq);
                break;
            }
        }
        let dir = self.dir.join("journal");
        let damaged = |why: String| StoreError::Damaged { path: dir.clone(), offset: 0, why };
        for Extent { path, first, end } in journal::extents(&dir, Some(at.seq + 1))? {
            if end.is_some_and(|end| end <= done + 1) {
                continue;
            }
            if first > done + 1 {
                return match done {
                    0 => Ok(None),
                    _ => Err(damaged(format!("commit {} is missing", done + 1))),
                };
            }
            let mut reader = Reader::open(&path)?;
            while end.is_some_and(|end| reader.seq < end) {
                let frame = reader.next()?;
                if frame.seq == at.seq && frame.chain != at.chain {
                    return Err(damaged(format!("commit {} is of another journal", at.seq)));
                }
                if frame.seq > done {
                    let unreadable = |_| damaged(format!("commit {} does not follow the format", frame.seq));
                    start::apply(&mut zones, frame.payload).map_err(unreadable)?;
                    done = frame.seq;
                }
            }
        }
        if done == 0 && journal::extents(&dir, None)?.first().is_some_and(|oldest| oldest.first > at.seq) {
            return Ok(None);
        }
        match done == at.seq {
            true => Ok(Some(zones)),
            false => Err(damaged(format!("it ends before commit {}, which is held", at.seq))),
        }
    }
}

/// Reads a checkpoint to its end; `chain` is the journal's after its last commit. Returns its zones and owners.
fn check_checkpoint(path: &Path, chain: Option<[u8; 16]>) -> Result<(u64, u64), StoreError> {
    let checkpoint = Checkpoint::open(path)?;
    if chain != Some(checkpoint.step.chain) {
        return Err(checkpoint::broken(path, "the journal does not lead to its last commit"));
    }
    let (mut zones, mut owners) = (0, 0);
    checkpoint.read::<StoreError>(|part| {
        match part {
            Part::Zone(_) => zones += 1,
            Part::Owner { key, .. } => {
                owners += 1;
                Key::from_bytes(key).ok_or_else(|| checkpoint::broken(path, "a key is no name"))?;
            }
        }
        Ok(())
    })?;
    Ok((zones, owners))
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
