//! What can go wrong on the durable side, in words for the operator.

use super::Commits;
use crate::wire::Name;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not open, append or read.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has the state directory.
    InUse {
        /// The state directory.
        dir: PathBuf,
        /// The process, as its lock file names it; empty where it does not.
        process: String,
    },
    /// The operating system refused.
    Io {
        /// What was attempted: a verb that fits before the path.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The journal holds octets that were not written so, before commits that were answered.
    Damaged {
        /// The segment file.
        path: PathBuf,
        /// Where in it, in octets.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// Damage to the journal by which commits would be lost that were answered.
    Lost {
        /// What was found first.
        found: Box<StoreError>,
        /// The commits; `None` where nothing tells what there was.
        lost: Option<Commits>,
        /// The state directory.
        dir: PathBuf,
    },
    /// There is nothing that a repair would have to go on without.
    Undamaged,
    /// A file of a later version of the format.
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A commit that the journal's format cannot hold.
    TooLarge {
        /// The zone it was for.
        zone: Box<Name>,
        /// What exceeds which bound.
        what: &'static str,
    },
    /// A checkpoint that cannot be read.
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The journal does not reach as far as a checkpoint: a part of it is missing.
    JournalShort {
        /// The journal's directory.
        path: PathBuf,
        /// Its last commit.
        last: u64,
        /// The last commit of the newest checkpoint.
        checkpoint: u64,
    },
    /// There is no table, no checkpoint, and the journal's beginning is not kept.
    NoBeginning {
        /// The journal's directory.
        path: PathBuf,
        /// The first commit in it.
        first: u64,
    },
    /// A directory that cannot be made a backup, or be restored.
    Backup {
        /// The directory.
        dir: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A state directory that holds a state, where one is to be restored.
    Occupied {
        /// The state directory.
        dir: PathBuf,
    },
    /// There has been no commit yet.
    Nothing,
    /// The table stopped following the journal while the server ran.
    TableStopped {
        /// The table's directory.
        path: PathBuf,
        /// What sled said.
        why: String,
    },
    /// The table is so far behind the journal that appends wait for it.
    TableOverloaded {
        /// The table's directory.
        path: PathBuf,
    },
}

impl StoreError {
    /// Wraps an I/O error: `.map_err(StoreError::io("sync", path))`.
    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |source| StoreError::Io { doing, path, source }
    }

    /// What is damaged and where, in a few words.
    pub(super) fn damage(&self) -> String {
        match self {
            StoreError::Damaged { path, offset, why } => {
                format!("{} is damaged at octet {offset}: {why}", path.display())
            }
            StoreError::Undamaged => "a part of it cannot be read".into(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::InUse { dir, process } => {
                write!(f, "state directory {} is in use by ", dir.display())?;
                match process.as_str() {
                    "" => f.write_str("another process")?,
                    number => write!(f, "process {number}")?,
                }
                f.write_str("; stop it or choose another --state-dir")
            }
            StoreError::Io { doing, path, source } => {
                let remedy = match source.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                        "make room; a running server takes updates again by itself"
                    }
                    io::ErrorKind::PermissionDenied => "let the user that runs dyndns read and write there",
                    io::ErrorKind::ReadOnlyFilesystem => "mount it writable or choose another --state-dir",
                    io::ErrorKind::NotFound => "put it back or choose another --state-dir",
                    _ => "check the disk and the system's log",
                };
                write!(f, "cannot {doing} {}: {}; {remedy}", path.display(), plain(source))
            }
            StoreError::Damaged { path, .. } => write!(
                f,
                "cannot read the journal: {}; check the disk, then stop the server and run {}: it mends what it can, and \
                 where something answered would be lost it says so first",
                self.damage(),
                repair_of(path)
            ),
            StoreError::Lost { found, lost: None, .. } => write!(
                f,
                "cannot read the journal: {}; neither the table nor a checkpoint holds what it did: start from a backup \
                 with dyndns restore",
                found.damage()
            ),
            StoreError::Lost { found, lost: Some(lost), dir } => write!(
                f,
                "cannot read the journal: {}; lost would be {}, answered and held by neither the table nor a checkpoint: \
                 start from a backup with dyndns restore, or go on without with dyndns zone repair --without {lost} \
                 --state-dir {}",
                found.damage(),
                lost.words(),
                dir.display()
            ),
            StoreError::Undamaged => f.write_str(
                "there is nothing to go on without: each commit can be read, or the table or a checkpoint holds it; leave \
                 --without out",
            ),
            StoreError::Newer { path, version } => write!(
                f,
                "cannot read {}: it has format {version} and this dyndns reads format 1; run the version that wrote it",
                path.display()
            ),
            StoreError::TooLarge { zone, what } => {
                write!(f, "cannot store a commit of zone {zone}: {what}; split the change")
            }
            StoreError::Checkpoint { path, why } => write!(
                f,
                "cannot use checkpoint {}: {why}; the one before it and the journal do as well: check the disk, then \
                 delete this file",
                path.display()
            ),
            StoreError::JournalShort { path, last, checkpoint } => write!(
                f,
                "cannot read the journal: {} ends with commit {last}, but a checkpoint holds commit {checkpoint}, so a \
                 part of the journal is missing; put it back, or start from a backup with dyndns restore",
                path.display()
            ),
            StoreError::NoBeginning { path, first } => write!(
                f,
                "cannot rebuild the table: {} begins with commit {first}, and no checkpoint holds what was before; put \
                 the checkpoints back, or start from a backup with dyndns restore",
                path.display()
            ),
            StoreError::Backup { dir, why } => write!(f, "cannot use {} as a backup: {why}", dir.display()),
            StoreError::Occupied { dir } => write!(
                f,
                "cannot restore to {}: it holds a state already; name another --state-dir, or set that state aside \
                 with --force",
                dir.display()
            ),
            StoreError::Nothing => f.write_str("there is nothing to back up: no zone was ever made here"),
            StoreError::TableStopped { path, why } => write!(
                f,
                "table {} stopped following the journal: {why}; updates go on and nothing is lost: check the disk, it is \
                 tried again by itself",
                path.display()
            ),
            StoreError::TableOverloaded { path } => write!(
                f,
                "table {} is too far behind the journal: updates come faster than it can follow and wait for it; give it \
                 a faster disk or another processor",
                path.display()
            ),
        }
    }
}

/// The command that mends the journal to which a file belongs.
fn repair_of(path: &Path) -> String {
    let state = path.ancestors().find(|place| place.ends_with("journal")).and_then(Path::parent);
    match state.filter(|dir| *dir != Path::new("")) {
        Some(dir) => format!("dyndns zone repair --state-dir {}", dir.display()),
        None => "dyndns zone repair".into(),
    }
}

/// What the system says without its number, and in lower case like the rest of the line.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // An I/O error's text stands in this error's own line already.
        None
    }
}
