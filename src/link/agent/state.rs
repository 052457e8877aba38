//! The agent's memory on disk: one JSON file, replaced whole, so that a crash leaves the old one or the new one.

use crate::agent::memory::Memory;
use crate::error::{Error, io_text};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The memory of a running agent. Every change is on disk before it counts.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
    memory: Mutex<Memory>,
    /// Whether the last change could not be written.
    unwritten: AtomicBool,
    /// Held as long as the agent runs.
    _lock: File,
}

const FILE: &str = "agent.json";

impl State {
    /// Takes the state directory, which is made where it is not there, for this process alone.
    pub(crate) fn open(directory: &Path) -> Result<State, Error> {
        let cannot = || Error::usage(format!("cannot open the agent's state in {}", directory.display()));
        let remedy = "choose another directory with state-dir";
        fs::create_dir_all(directory).map_err(|error| cannot().because(error).remedy(remedy))?;
        let lock = File::create(directory.join("agent.lock"));
        let lock = lock.map_err(|error| cannot().because(error).remedy(remedy))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(cannot().because("another agent uses it").remedy(remedy)),
            Err(TryLockError::Error(error)) => return Err(cannot().because(error)),
        }
        let path = directory.join(FILE);
        let memory = match read(&path) {
            Ok(memory) => memory,
            Err(error) => {
                // Nothing in it cannot be found out again: better to go on than to leave a name wrong.
                tracing::warn!("the agent's state is begun anew: {error}");
                Memory::default()
            }
        };
        Ok(State { path, memory: Mutex::new(memory), unwritten: AtomicBool::new(false), _lock: lock })
    }

    /// Looks at the memory.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Memory) -> T) -> T {
        look(&self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the memory and writes it down. Where the disk fails it holds until the process ends.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut memory);
        let written = write(&self.path, &memory);
        let before = self.unwritten.swap(written.is_err(), Ordering::Relaxed);
        // A disk stays full for hours: once is enough.
        match written {
            Err(error) if !before => {
                tracing::warn!("cannot write {}: {}; a restart would forget it", self.path.display(), io_text(&error));
            }
            Ok(()) if before => tracing::info!("{} is written again", self.path.display()),
            _ => {}
        }
        result
    }
}

/// What an agent, running or not, remembers in that directory.
pub fn remembered(directory: &Path) -> Result<Memory, Error> {
    let path = directory.join(FILE);
    if !path.exists() {
        let text = format!("cannot read {}: no agent has run with this state", path.display());
        return Err(Error::refused(text).remedy("start it, or name its configuration with --config"));
    }
    read(&path)
}

fn read(path: &Path) -> Result<Memory, Error> {
    let cannot = || Error::refused(format!("cannot read {}", path.display()));
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| cannot().because(error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Memory::default()),
        Err(error) => Err(cannot().because(error)),
    }
}

fn write(path: &Path, memory: &Memory) -> io::Result<()> {
    let draft = path.with_extension("json.new");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(memory)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_there_for_the_next_agent_and_one_at_a_time_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("new")).unwrap();
        state.change(|memory| memory.checked = Some(7));
        let second = State::open(&folder.path().join("new")).unwrap_err().to_string();
        assert!(second.ends_with("another agent uses it; choose another directory with state-dir"), "{second}");
        drop(state);
        let state = State::open(&folder.path().join("new")).unwrap();
        assert_eq!(state.with(|memory| memory.checked), Some(7));
        assert_eq!(remembered(&folder.path().join("new")).unwrap().checked, Some(7));
    }

    #[test]
    fn a_broken_state_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(remembered(folder.path()).unwrap_err().to_string().contains("agent.json: EOF"));
        assert_eq!(State::open(folder.path()).unwrap().with(Memory::clone), Memory::default());
        assert!(remembered(&folder.path().join("none")).unwrap_err().to_string().contains("no agent has run"));
    }
}
