//! A table that stopped following is taken up again.
//!
//! A disk that was full has room some day, and one that failed may work again. So the thread rests, for a second at first and
//! twice as long each time up to a minute, opens the table anew and sums all of it up. A good one goes on where it is. One
//! that is not good is set aside, the first time, and made anew from the newest checkpoint and the journal; so is one for
//! which the journal has gone on too far meanwhile, since it takes less time and nobody is to wait for it.

use super::{BEHIND, Shared, State};
use crate::store::checkpoint::{self, Checkpoint};
use crate::store::start;
use crate::store::table::{Table, TableError};
use crate::store::tail::Reader;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where a table is, and what it can be made of.
#[derive(Debug, Clone)]
pub(in crate::store) struct Place {
    /// The table's directory.
    pub(in crate::store) path: PathBuf,
    /// How much of it sled keeps in memory, in octets.
    pub(in crate::store) cache: u64,
    /// The directory of the checkpoints.
    pub(in crate::store) checkpoints: PathBuf,
}

/// A table that can be followed, and what it is to be filled from before that.
pub(super) type Begun = (Table, Option<Checkpoint>);

/// How long a table rests at first, and at most.
const FIRST_REST: Duration = Duration::from_secs(1);
const LAST_REST: Duration = Duration::from_secs(60);

/// One rest after the other.
pub(super) struct Rest(Duration);

impl Rest {
    pub(super) fn new() -> Rest {
        Rest(FIRST_REST)
    }

    /// Rests; false where the thread is to end.
    pub(super) fn rest(&mut self, shared: &Shared) -> bool {
        let state = shared.state();
        let rested = shared.pause(state, self.0, |_| true).1;
        self.0 = (self.0 * 2).min(LAST_REST);
        rested
    }
}

impl Place {
    /// Opens the table anew, and makes one where it is of no use.
    pub(super) fn again(&self, shared: &Shared, new: &mut bool) -> Result<Begun, String> {
        let plain = |error: TableError| error.to_string();
        let table = match self.open() {
            Ok(table) => table,
            Err(TableError::Unusable(why)) => {
                // Once, for whoever wants to look into it; what was made since is of no use to anybody.
                let removed = match std::mem::replace(new, true) {
                    false => start::set_aside(&self.path).map(|to| {
                        tracing::warn!("table set aside as {}: {why}; it may be deleted", to.display());
                    }),
                    true => self.remove(),
                };
                removed.map_err(|error| error.to_string())?;
                self.open().map_err(plain)?
            }
            Err(error) => return Err(plain(error)),
        };
        let done = table.mark().done.seq;
        let (first, behind) = shared.journal_from(done);
        if first <= done + 1 && behind <= BEHIND / 2 {
            return Ok((table, None));
        }
        let newest = checkpoint::list(&self.checkpoints).map_err(|error| error.to_string())?.into_iter().next();
        match newest.filter(|(seq, _)| *seq > done && *seq + 1 >= first) {
            Some((_, path)) => {
                let checkpoint = Checkpoint::open(&path).map_err(|error| error.to_string())?;
                table.close();
                self.remove().map_err(|error| error.to_string())?;
                Ok((self.open().map_err(plain)?, Some(checkpoint)))
            }
            None if first <= done + 1 => Ok((table, None)),
            None => {
                table.close();
                Err("there is no checkpoint yet that it could be made of".into())
            }
        }
    }

    fn open(&self) -> Result<Table, TableError> {
        let mut table = Table::open(&self.path, self.cache)?;
        if table.mark().is_filling() {
            table.close();
            self.remove().map_err(|error| TableError::Unusable(error.to_string()))?;
            table = Table::open(&self.path, self.cache)?;
        }
        match table.check() {
            Ok(()) => Ok(table),
            Err(error) => {
                table.close();
                Err(error)
            }
        }
    }

    fn remove(&self) -> Result<(), crate::store::StoreError> {
        fs::remove_dir_all(&self.path).map_err(crate::store::StoreError::io("remove", &self.path))
    }
}

impl Shared {
    /// The first commit that the journal's parts have for a table that holds all up to `done`, and how many parts there are.
    fn journal_from(&self, done: u64) -> (u64, usize) {
        let mut state = self.state();
        let state: &mut State = &mut state;
        while state.parts.len() > 1 && state.parts.front().is_some_and(|part| part.end <= done + 1) {
            state.parts.pop_front();
        }
        // One that is not there any more was let go.
        while state.parts.len() > 1 && state.parts.front().is_some_and(|part| !part.path.exists()) {
            state.parts.pop_front();
        }
        let begins = |path: &Path| Reader::open(path).map_or(u64::MAX, |reader| reader.seq);
        let first = state.parts.front().filter(|part| part.end > done + 1).map_or(done + 1, |part| begins(&part.path));
        (first, state.parts.len())
    }
}
