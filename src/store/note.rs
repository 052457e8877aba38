//! What a start found and did.

use super::Commits;
use crate::wire::Name;
use crate::zone::Serial;
use std::fmt;
use std::path::PathBuf;

/// One thing that a start found on the disk and did about it; its text is for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveryNote {
    /// The journal ended in a write that was never finished and never answered; it was cut off.
    TailCut {
        /// The segment.
        path: PathBuf,
        /// Where it was cut, in octets.
        offset: u64,
        /// The sequence number that the unfinished commit would have had.
        commit: u64,
    },
    /// The table lacked the journal's last commits: they were taken from there, and the table catches up.
    TableBehind {
        /// How many.
        commits: u64,
    },
    /// The table could not be used and was moved out of the way.
    TableSetAside {
        /// Where it is now.
        to: PathBuf,
        /// Why.
        why: String,
    },
    /// The disk did not let the table be opened: all was taken from the journal, and there is no table for now.
    TableNotOpened {
        /// The table's directory.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// There was no table that could be used: all was taken from the journal, and a table is made from it.
    TableRebuilt {
        /// Of how many commits.
        commits: u64,
    },
    /// A table was made from a checkpoint and the journal after it.
    TableFromCheckpoint {
        /// The checkpoint.
        path: PathBuf,
        /// How many commits came from the journal.
        commits: u64,
    },
    /// One bit of a commit was not what was written.
    BitPutRight {
        /// The segment.
        path: PathBuf,
        /// Where the commit is in it, in octets.
        offset: u64,
        /// The commit.
        commit: u64,
    },
    /// The journal was damaged; what is whole of it goes on.
    JournalMended {
        /// What was found.
        found: String,
        /// Where the damaged part is now, and all before it.
        aside: PathBuf,
        /// The first commit that it has now.
        kept: u64,
        /// The commits that are lost.
        lost: Option<Commits>,
        /// The zones that are lost with them.
        gone: Vec<Name>,
        /// The zones whose serial was moved on, past what the lost commits may have made it: from which to which.
        moved: Vec<(Name, Serial, Serial)>,
        /// For each zone the serial from which its history goes on.
        begins: Vec<(Name, Serial)>,
    },
    /// A restore had been cut short, and was finished.
    RestoreFinished,
    /// Nothing can be written for now.
    ReadOnly {
        /// The state directory.
        dir: PathBuf,
    },
    /// A checkpoint could not be used and was renamed.
    CheckpointSetAside {
        /// What it is called now.
        to: PathBuf,
        /// Why.
        why: String,
    },
}

/// How many zones are told one by one.
const TOLD: usize = 10;

impl fmt::Display for RecoveryNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoveryNote::TailCut { path, offset, commit } => write!(
                f,
                "journal tail cut: commit {commit} in {} was never finished and never answered; cut at octet {offset}",
                path.display()
            ),
            RecoveryNote::TableBehind { commits } => {
                write!(f, "table behind: {commits} commits taken from the journal; it catches up meanwhile")
            }
            RecoveryNote::TableSetAside { to, why } => {
                write!(f, "table set aside as {}: {why}; it may be deleted", to.display())
            }
            RecoveryNote::TableNotOpened { path, why } => write!(
                f,
                "table {} not opened: {why}; all zones come from the journal, and nothing is lost: mend the disk, it is \
                 tried again by itself",
                path.display()
            ),
            RecoveryNote::TableRebuilt { commits } => {
                write!(f, "table rebuilt: {commits} commits taken from the journal; it catches up meanwhile")
            }
            RecoveryNote::TableFromCheckpoint { path, commits } => {
                write!(f, "table rebuilt: from checkpoint {} and {commits} commits from the journal", path.display())
            }
            RecoveryNote::BitPutRight { path, offset, commit } => write!(
                f,
                "journal put right: of commit {commit}, at octet {offset} of {}, one bit was not what was written; nothing is \
                 lost: check disk and memory",
                path.display()
            ),
            RecoveryNote::JournalMended { found, aside, kept, lost, gone, moved, begins } => {
                write!(f, "journal mended: {found}; ")?;
                match lost {
                    None => f.write_str("nothing answered is lost, for a checkpoint holds all zones")?,
                    Some(lost) => write!(f, "what {} changed is lost", lost.words())?,
                }
                for zone in gone {
                    write!(f, ", and so is zone {zone}")?;
                }
                for (zone, from, to) in moved.iter().take(TOLD) {
                    write!(f, "; the serial of {zone} is moved on from {from} to {to}, past what was lost")?;
                }
                match moved.len().saturating_sub(TOLD) {
                    0 => {}
                    more => write!(f, "; and so are those of {more} more zones")?,
                }
                let aside = aside.display();
                write!(f, "; all before commit {kept} is set aside in {aside}: history and IXFR begin")?;
                for (index, (zone, serial)) in begins.iter().take(TOLD).enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma} with serial {serial} of {zone}")?;
                }
                match begins.len().saturating_sub(TOLD) {
                    0 => Ok(()),
                    more => write!(f, ", and in {more} more zones"),
                }
            }
            RecoveryNote::RestoreFinished => {
                f.write_str("restore finished: it had been cut short; this is the state of the backup")
            }
            RecoveryNote::ReadOnly { dir } => write!(
                f,
                "state directory {} is on a read-only file system: queries are answered and updates refused with \
                 SERVFAIL; mount it writable, and updates are taken again without a restart",
                dir.display()
            ),
            RecoveryNote::CheckpointSetAside { to, why } => {
                write!(f, "checkpoint set aside as {}: {why}; it may be deleted", to.display())
            }
        }
    }
}
