//! A state directory made from a backup.
//!
//! Everything is copied and checked first, in `restoring.new` within the state directory, and made durable. That is renamed
//! to `restoring`, and from then on the new state counts: what is in the way goes to `restoring.old`, `restoring` becomes
//! `restoring.moving`, the new files take their places, and the old ones are called `before-restore-N`. Whoever comes
//! next, a start or another restore, goes on where one was cut short. So there is the old state or the new one, and never a
//! half.

use super::StoreError;
use super::backup::{ASIDE, List, Output, RESTORING, sync_dirs};
use super::checkpoint::Checkpoint;
use super::journal;
use super::recovery::lock;
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};

/// A state that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// How many zones it has.
    pub zones: u32,
    /// The last commit in it.
    pub seq: u64,
    /// Where the state that was there before is now.
    pub aside: Option<PathBuf>,
}

/// What is done with a state that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is restored.
    Refuse,
    /// It is moved aside.
    SetAside,
}

/// Restores the backup in `dir` to the state directory `state`, which no server uses.
pub fn restore(dir: &Path, state: &Path, existing: Existing) -> Result<Restored, StoreError> {
    let list = List::read(dir)?;
    DirBuilder::new().recursive(true).mode(0o700).create(state).map_err(StoreError::io("create", state))?;
    let (_lock, _) = lock(state)?;
    finish(state)?;
    if existing == Existing::Refuse && !in_the_way(state)?.is_empty() {
        return Err(StoreError::Occupied { dir: state.to_owned() });
    }
    let new = state.join(format!("{RESTORING}.new"));
    clear(&new)?;
    DirBuilder::new().mode(0o700).create(&new).map_err(StoreError::io("create", &new))?;
    let zones = match copy(dir, &list, &new) {
        Ok(zones) => zones,
        Err(error) => {
            // Room on a full disk; what cannot be removed now goes at the next try.
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
    };
    give_to_owner_of(state, &new)?;
    let whole = state.join(RESTORING);
    fs::rename(&new, &whole).map_err(StoreError::io("rename", &new))?;
    sync_dirs(state, &[])?;
    let aside = finish(state)?;
    Ok(Restored { zones, seq: list.step.seq, aside })
}

/// Removes what an earlier restore left.
fn clear(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io("remove", dir)(error)),
        _ => Ok(()),
    }
}

/// What lies in the state directory that a restore would replace.
fn in_the_way(state: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(state).map_err(StoreError::io("read", state))? {
        let entry = entry.map_err(StoreError::io("read", state))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name != "lock" && name != "control" && !name.starts_with(ASIDE) && !name.starts_with(RESTORING) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Copies a backup and checks all of it; returns how many zones it has.
fn copy(dir: &Path, list: &List, to: &Path) -> Result<u32, StoreError> {
    let unusable = |why: String| StoreError::Backup { dir: dir.to_owned(), why };
    let mut out = Output { to, entries: Vec::new() };
    for entry in &list.entries {
        let from = dir.join(&entry.path);
        let missing = |_| unusable(format!("{} is missing or cannot be read; take another", entry.path));
        let mut file = File::open(&from).map_err(missing)?;
        out.put(&entry.path, entry.mode, &mut file)?;
        if out.entries.last() != Some(entry) {
            return Err(unusable(format!("{} is not as it was written; take another", entry.path)));
        }
    }
    sync_dirs(to, &out.entries)?;
    let step = list.step;
    let checkpoint = Checkpoint::open(&to.join("checkpoint").join(super::checkpoint::name_of(step.seq)))?;
    let (zones, its) = (checkpoint.zones, checkpoint.step);
    checkpoint.read(|_| Ok::<_, StoreError>(()))?;
    let mut chains = BTreeMap::from([(step.seq, None)]);
    let checked = journal::check(&to.join("journal"), None, &mut chains)?;
    if its != step || chains.get(&step.seq) != Some(&Some(step.chain)) || !checked.faults.is_empty() {
        return Err(unusable("its journal does not lead to its checkpoint; take another".into()));
    }
    Ok(zones)
}

/// Gives the files in `new` to whom the state directory belongs: whoever restores may be root, and the server another user.
pub(super) fn give_to_owner_of(state: &Path, new: &Path) -> Result<(), StoreError> {
    let owner = fs::metadata(state).map_err(StoreError::io("read", state))?;
    let mut dirs = vec![new.to_owned()];
    while let Some(path) = dirs.pop() {
        let own = fs::symlink_metadata(&path).map_err(StoreError::io("read", &path))?;
        if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
            // Not what a link leads to: those who own the directory may have put it there.
            lchown(&path, Some(owner.uid()), Some(owner.gid())).map_err(StoreError::io("give away", &path))?;
        }
        if own.is_dir() {
            for entry in fs::read_dir(&path).map_err(StoreError::io("read", &path))? {
                dirs.push(entry.map_err(StoreError::io("read", &path))?.path());
            }
        }
    }
    Ok(())
}

/// Goes on with a restore that has copied everything; returns where the old state is now, if there was one. Whatever was
/// moved by an earlier try stays moved.
pub(super) fn finish(state: &Path) -> Result<Option<PathBuf>, StoreError> {
    let part = |name: &str| state.join(format!("{RESTORING}{name}"));
    let (whole, moving, old) = (part(""), part(".moving"), part(".old"));
    if whole.exists() {
        let in_the_way = in_the_way(state)?;
        if !in_the_way.is_empty() && !old.exists() {
            DirBuilder::new().mode(0o700).create(&old).map_err(StoreError::io("create", &old))?;
        }
        for path in in_the_way {
            let to = old.join(path.file_name().unwrap_or_default());
            fs::rename(&path, to).map_err(StoreError::io("set aside", path))?;
        }
        if old.exists() {
            sync_dirs(&old, &[])?;
        }
        sync_dirs(state, &[])?;
        fs::rename(&whole, &moving).map_err(StoreError::io("rename", &whole))?;
        sync_dirs(state, &[])?;
    }
    if moving.exists() {
        for entry in fs::read_dir(&moving).map_err(StoreError::io("read", &moving))? {
            let entry = entry.map_err(StoreError::io("read", &moving))?;
            fs::rename(entry.path(), state.join(entry.file_name())).map_err(StoreError::io("move", entry.path()))?;
        }
        sync_dirs(state, &[])?;
        fs::remove_dir(&moving).map_err(StoreError::io("remove", &moving))?;
        sync_dirs(state, &[])?;
    }
    if !old.exists() {
        return Ok(None);
    }
    let names = (1u32..).map(|number| state.join(format!("{ASIDE}{number}")));
    let Some(aside) = names.into_iter().find(|path| !path.exists()) else { return Ok(None) };
    fs::rename(&old, &aside).map_err(StoreError::io("rename", old))?;
    sync_dirs(state, &[])?;
    Ok(Some(aside))
}

/// Whether a restore was cut short that has copied everything.
pub(super) fn is_unfinished(state: &Path) -> bool {
    ["", ".moving", ".old"].iter().any(|name| state.join(format!("{RESTORING}{name}")).exists())
}
