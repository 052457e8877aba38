//! Backups: all that a state directory holds, in a directory of its own, while a server goes on.
//!
//! A backup holds a checkpoint of all zones at one commit; the journal that is kept up to that commit, for history; and
//! whatever else lies in the state directory, the keys among it, each file with the rights it has. The checkpoint is what
//! makes it consistent, and all that it needs: of a segment that is being written the frames up to that commit are
//! copied, and where old segments go meanwhile, so does that much of the history. Where the state's disk has no room for the
//! checkpoint, or is read-only, it is made of the files and goes straight into the backup.
//!
//! The last file to be written is its list, `backup`. Without it, or where a file is not as it says, a backup is not
//! restored. Its lines:
//!
//! | line                                    | says                                                         |
//! |-----------------------------------------|--------------------------------------------------------------|
//! | `dyndns backup 1`                       | the version                                                  |
//! | `commit SEQUENCE CHAIN`                 | the last commit that is in it, and the chain hash after it   |
//! | `file OCTETS MODE SHA256 PATH`          | a file, its rights in octal, its path within the backup      |
//! | `end SHA256`                            | the hash of all lines before                                 |

use super::checkpoint::{self, Checkpoint};
use super::disk::SystemDisk;
use super::journal::{self, Extent};
use super::mark::Step;
use super::mend;
use super::segment::Frames;
use super::verify::Files;
use super::{Instant, StoreError};
use crate::zone::ZoneSet;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// How many files are in it.
    pub files: usize,
    /// How many octets they have.
    pub octets: u64,
    /// What is not in it and why; each a line.
    pub warnings: Vec<String>,
}

/// The list of what is in a backup.
pub(super) const LIST: &str = "backup";
/// The first line of the list.
const VERSION: &str = "dyndns backup 1";
/// What in a state directory is not copied as it is: the journal and a checkpoint are in a backup of their own making;
/// the rest serves one process, or can be made anew.
const APART: [&str; 5] = ["journal", "checkpoint", "lock", "control", "table"];
/// Where a restore puts an earlier state, and where it works.
pub(super) const ASIDE: &str = "before-restore-";
pub(super) const RESTORING: &str = "restoring";

/// A file in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Within the backup, its parts separated by slashes.
    pub(super) path: String,
    pub(super) octets: u64,
    pub(super) mode: u32,
    /// In hexadecimal digits.
    pub(super) sum: String,
}

/// What a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List {
    pub(super) step: Step,
    pub(super) entries: Vec<Entry>,
}

/// Makes the directory for a backup of the state in `state`, where there is none or an empty one.
pub fn prepare_backup(state: &Path, to: &Path) -> Result<(), StoreError> {
    let no_room = |why: &str| Err(StoreError::Backup { dir: to.to_owned(), why: why.to_owned() });
    DirBuilder::new().recursive(true).mode(0o700).create(to).map_err(StoreError::io("create", to))?;
    if fs::read_dir(to).map_err(StoreError::io("read", to))?.next().is_some() {
        return no_room("it is not empty; name a directory that is not there yet");
    }
    let real = |path: &Path| path.canonicalize().map_err(StoreError::io("read", path));
    if real(to)?.starts_with(real(state)?) {
        // It was made a moment ago, or was empty.
        let _ = fs::remove_dir(to);
        return no_room("it is inside the state directory; name one elsewhere");
    }
    Ok(())
}

/// Copies the state in `state` at an instant to `to`, which [`prepare_backup`] made. The server may go on meanwhile.
pub fn backup(state: &Path, instant: &Instant, to: &Path) -> Result<BackedUp, StoreError> {
    let mut out = Output { to, entries: Vec::new() };
    let step = Step { seq: instant.seq, chain: instant.chain };
    // First: should two newer ones come, it would be gone.
    let name = format!("checkpoint/{}", checkpoint::name_of(step.seq));
    out.copy(&state.join(&name), &name)?;
    Checkpoint::open(&to.join(&name))?.read(|_| Ok::<_, StoreError>(()))?;
    copy_rest(state, step, out)
}

/// Copies the state in `state` as its files have it to `to`, which [`prepare_backup`] made: where no checkpoint can be
/// written in `state`, on a disk that is full or read-only. The backup's checkpoint is made of the newest one and the journal.
pub fn backup_of_files(state: &Path, to: &Path) -> Result<(Instant, BackedUp), StoreError> {
    let files = Files::new(state, None);
    let step = journal::end(&state.join("journal"))?.filter(|step| step.seq > 0).ok_or(StoreError::Nothing)?;
    let no_beginning = || StoreError::NoBeginning { path: state.join("journal"), first: step.seq };
    let mut zones = ZoneSet::default();
    for loaded in files.zones_at(step, step.seq + 1)?.ok_or_else(no_beginning)?.into_values() {
        let why = |error| StoreError::Backup { dir: to.to_owned(), why: format!("zone {}: {error}", loaded.apex) };
        zones.insert(Arc::new(loaded.zone.zone().map_err(why)?));
    }
    let mut out = Output { to, entries: Vec::new() };
    let dir = to.join("checkpoint");
    DirBuilder::new().mode(0o700).create(&dir).map_err(StoreError::io("create", &dir))?;
    let path = checkpoint::write(&mut SystemDisk, &dir, step, &zones, &AtomicBool::new(false))?.path;
    let mode = PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode).map_err(StoreError::io("write", &path))?;
    out.entries.push(entry_of(&path, format!("checkpoint/{}", checkpoint::name_of(step.seq)))?);
    Ok((Instant { seq: step.seq, chain: step.chain }, copy_rest(state, step, out)?))
}

/// Copies what a backup has beside its checkpoint.
fn copy_rest(state: &Path, step: Step, mut out: Output<'_>) -> Result<BackedUp, StoreError> {
    let mut warnings = Vec::new();
    copy_journal(&state.join("journal"), step, &mut out, &mut warnings)?;
    copy_others(state, "", &mut out, &mut warnings)?;
    out.finish(step)?;
    let octets = out.entries.iter().map(|entry| entry.octets).sum();
    Ok(BackedUp { files: out.entries.len(), octets, warnings })
}

/// The entry of a file that is in the backup already, and durable.
fn entry_of(path: &Path, name: String) -> Result<Entry, StoreError> {
    let octets = fs::read(path).map_err(StoreError::io("read", path))?;
    Ok(Entry { path: name, octets: octets.len() as u64, mode: 0o600, sum: hex(&Sha256::digest(&octets)) })
}

/// Copies the frames up to the commit `step`, from the newest segment to the oldest, as far as there is one whole piece.
fn copy_journal(dir: &Path, step: Step, out: &mut Output<'_>, warnings: &mut Vec<String>) -> Result<(), StoreError> {
    let mut chain = step.chain;
    for Extent { path, end, .. } in journal::extents(dir, Some(step.seq + 1))?.into_iter().rev() {
        let octets = match fs::read(&path) {
            // The server let go of it, and of all before it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            octets => octets.map_err(StoreError::io("read", &path))?,
        };
        let end = end.unwrap_or(step.seq + 1);
        let Some((length, begin)) = whole_until(&octets, end, chain) else {
            let path = path.display();
            let seq = end - 1;
            if seq == step.seq {
                return Err(StoreError::Backup { dir: out.to.to_owned(), why: format!("{path} is damaged") });
            }
            warnings.push(format!(
                "history up to commit {seq} is not in the backup: {path} is damaged; dyndns zone verify tells more"
            ));
            return Ok(());
        };
        chain = begin;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        out.put(&format!("journal/{name}"), 0o600, &mut octets.get(..length).unwrap_or_default())?;
    }
    Ok(())
}

/// How many octets the frames before the sequence number `end` take, the chain hash after which is `chain`; and the one
/// before the first of them.
fn whole_until(octets: &[u8], end: u64, chain: [u8; 16]) -> Option<(usize, [u8; 16])> {
    let mut frames = Frames::new(octets).ok()?;
    let begin = frames.chain;
    while frames.seq < end {
        frames.next()?;
    }
    (frames.chain == chain).then_some((frames.at, begin))
}

/// Copies what else lies in the state directory below `within`.
fn copy_others(state: &Path, within: &str, out: &mut Output<'_>, warnings: &mut Vec<String>) -> Result<(), StoreError> {
    let dir = state.join(within);
    let entries = fs::read_dir(&dir).map_err(StoreError::io("read", &dir))?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(StoreError::io("read", &dir))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let kind = entry.file_type().map_err(StoreError::io("read", &path))?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| !name.contains(['\n', '\r'])) else {
            warnings.push(format!("{} is not in the backup: its name is no text", path.display()));
            continue;
        };
        if within.is_empty() && is_apart(name) {
            continue;
        }
        let name = if within.is_empty() { name.to_owned() } else { format!("{within}/{name}") };
        if kind.is_dir() {
            copy_others(state, &name, out, warnings)?;
        } else if kind.is_file() {
            out.copy(&path, &name)?;
        } else {
            warnings.push(format!("{} is not in the backup: it is no file", path.display()));
        }
    }
    Ok(())
}

fn is_apart(name: &str) -> bool {
    let prefixes = ["table.", mend::ASIDE, ASIDE, RESTORING];
    APART.contains(&name) || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// A directory that files are put into, each synced.
pub(super) struct Output<'a> {
    pub(super) to: &'a Path,
    pub(super) entries: Vec<Entry>,
}

impl Output<'_> {
    /// Copies a file with its rights.
    fn copy(&mut self, from: &Path, name: &str) -> Result<(), StoreError> {
        let mut file = File::open(from).map_err(StoreError::io("open", from))?;
        let mode = file.metadata().map_err(StoreError::io("read", from))?.permissions().mode() & 0o777;
        self.put(name, mode, &mut file)
    }

    /// Writes a file of all that `from` reads.
    pub(super) fn put(&mut self, name: &str, mode: u32, from: &mut dyn Read) -> Result<(), StoreError> {
        let path = self.to.join(name);
        let above = path.parent().unwrap_or(self.to);
        DirBuilder::new().recursive(true).mode(0o700).create(above).map_err(StoreError::io("create", above))?;
        let written = write_file(&path, mode, from).map_err(StoreError::io("write", &path))?;
        self.entries.push(Entry { path: name.to_owned(), octets: written.0, mode, sum: written.1 });
        Ok(())
    }

    /// Writes the list, once everything else is durable.
    fn finish(&self, step: Step) -> Result<(), StoreError> {
        sync_dirs(self.to, &self.entries)?;
        let mut text = format!("{VERSION}\ncommit {} {}\n", step.seq, hex(&step.chain));
        for Entry { path, octets, mode, sum } in &self.entries {
            // Writing to a string does not fail.
            let _ = writeln!(text, "file {octets} {mode:o} {sum} {path}");
        }
        let sum = hex(&Sha256::digest(&text));
        let path = self.to.join(LIST);
        let text = format!("{text}end {sum}\n");
        write_file(&path, 0o600, &mut text.as_bytes()).map_err(StoreError::io("write", &path))?;
        sync_dirs(self.to, &[])
    }
}

/// Makes the names of files durable, and those of their directories.
pub(super) fn sync_dirs(to: &Path, entries: &[Entry]) -> Result<(), StoreError> {
    let mut dirs: Vec<PathBuf> =
        entries.iter().filter_map(|entry| Some(to.join(&entry.path).parent()?.into())).collect();
    dirs.push(to.to_owned());
    dirs.sort();
    dirs.dedup();
    for dir in dirs.into_iter().rev() {
        File::open(&dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io("sync", &dir))?;
    }
    Ok(())
}

/// Writes a new file and makes it durable; returns its length and hash.
fn write_file(path: &Path, mode: u32, from: &mut dyn Read) -> io::Result<(u64, String)> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // Whatever the umask.
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    let (mut hash, mut length, mut octets) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        let count = from.read(&mut octets)?;
        let read = octets.get(..count).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        file.write_all(read)?;
        hash.update(read);
        length += read.len() as u64;
    }
    file.sync_all()?;
    Ok((length, hex(&hash.finalize())))
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

impl List {
    /// Reads the list of a backup.
    pub(super) fn read(dir: &Path) -> Result<List, StoreError> {
        let unusable = |why: &str| StoreError::Backup { dir: dir.to_owned(), why: why.to_owned() };
        let path = dir.join(LIST);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(unusable("it has no list of its files, so it was cut short or is no backup; take another"));
            }
            text => text.map_err(StoreError::io("read", &path))?,
        };
        if text.lines().next().is_some_and(|line| line.starts_with("dyndns backup ") && line != VERSION) {
            return Err(unusable("it is of another version; restore it with the version that made it"));
        }
        List::parse(&text).ok_or_else(|| unusable("the list of its files is cut short or damaged; take another"))
    }

    fn parse(text: &str) -> Option<List> {
        let (body, end) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let body = format!("{body}\n");
        (end.strip_prefix("end ")? == hex(&Sha256::digest(&body))).then_some(())?;
        let mut lines = body.lines();
        (lines.next()? == VERSION).then_some(())?;
        let (seq, chain) = lines.next()?.strip_prefix("commit ")?.split_once(' ')?;
        let chain = u128::from_str_radix(chain, 16).ok()?.to_be_bytes();
        let step = Step { seq: seq.parse().ok()?, chain };
        let entry = |line: &str| {
            let mut words = line.strip_prefix("file ")?.splitn(4, ' ');
            let (octets, mode) = (words.next()?.parse().ok()?, u32::from_str_radix(words.next()?, 8).ok()?);
            let (sum, path) = (words.next()?.to_owned(), words.next()?.to_owned());
            // Never out of the directory.
            let inside = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
            (inside && mode <= 0o777).then_some(Entry { path, octets, mode, sum })
        };
        Some(List { step, entries: lines.map(entry).collect::<Option<_>>()? })
    }
}
