//! The thread in which the table follows the journal.
//!
//! It reads the journal's files, so that it needs neither memory for what it is behind nor the appends to wait for it:
//! after a large import, or where a table is made anew, it catches up while the server answers and takes updates. A
//! table at fault is left as it is, and the next start rebuilds it from the journal.

use super::table::{Step, Table, TableError};
use super::tail::{Part, Reader};
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The thread, and the way to it.
pub(super) struct Follower {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Set to end the thread, even amid a commit: the table holds it in part then, and says so.
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What of the journal may not be in the table yet, the oldest first.
    parts: VecDeque<Part>,
    /// The last commit that is in the table and flushed.
    flushed: u64,
    /// The commit that somebody waits for.
    wanted: u64,
    /// Whether the thread has ended, and why where that is not yet told.
    ended: bool,
    fault: Option<String>,
}

/// A pause of this length is used to flush the table.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a store that is closed waits for its table. What is not in it by then costs the next start a little time.
const PATIENCE: Duration = Duration::from_secs(3);

impl Follower {
    /// Starts the thread upon a table and what of the journal comes after its mark.
    pub(super) fn start(table: Table, parts: Vec<Part>) -> io::Result<Follower> {
        let flushed = table.mark().done.seq;
        let state = State { parts: parts.into(), flushed, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), ..Shared::default() });
        let its = Arc::clone(&shared);
        let thread = Builder::new().name("table".into()).spawn(move || its.run(table))?;
        Ok(Follower { shared, thread: Some(thread) })
    }

    /// The segment at `path` is durable up to the sequence number before `end`.
    pub(super) fn durable(&self, path: &Path, end: u64) {
        let mut state = self.shared.state();
        match state.parts.back_mut().filter(|last| last.path == path) {
            Some(last) => last.end = end,
            None => state.parts.push_back(Part { path: path.to_owned(), end }),
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until the table holds everything up to the commit `last` and is flushed, but no longer than `patience`;
    /// returns how many commits it lacks.
    pub(super) fn sync(&self, last: u64, patience: Option<Duration>) -> u64 {
        let mut state = self.shared.state();
        state.wanted = state.wanted.max(last);
        self.shared.changed.notify_all();
        let waiting = |state: &mut State| state.flushed < last && !state.ended;
        let changed = &self.shared.changed;
        let state = match patience {
            None => changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                changed.wait_timeout_while(state, patience, waiting).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        last.saturating_sub(state.flushed)
    }

    /// Why the table stopped following, once.
    pub(super) fn fault(&self) -> Option<String> {
        self.shared.state().fault.take()
    }

    /// Ends the thread: at once, where the table is up to date, and otherwise after some patience. Returns how many
    /// commits up to `last` the table lacks.
    pub(super) fn close(&mut self, last: u64) -> u64 {
        let behind = match self.thread {
            Some(_) => self.sync(last, Some(PATIENCE)),
            None => 0,
        };
        self.abandon();
        behind
    }

    /// Ends the thread wherever it is.
    pub(super) fn abandon(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // Taken, so that a thread about to wait sees either the flag or the notice.
        drop(self.shared.state());
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // Its panics, if any, were told already; what counts is that sled has let go of its files.
            let _ = thread.join();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let last = self.shared.state().parts.back().map_or(0, |part| part.end.saturating_sub(1));
        self.close(last);
    }
}

/// What there is to do.
enum Work {
    Read(Part),
    Flush,
    End,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two halves of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut table: Table) {
        let outcome = self.follow(&mut table);
        table.close();
        let mut state = self.state();
        state.ended = true;
        state.fault = outcome.err();
        drop(state);
        self.changed.notify_all();
    }

    fn follow(&self, table: &mut Table) -> Result<(), String> {
        let mut reader: Option<Reader> = None;
        let mut dirty = false;
        loop {
            match self.work(table.mark().done.seq, dirty) {
                Work::Read(part) => {
                    dirty = true;
                    self.read(table, &mut reader, &part)?;
                    table.write().map_err(|error| error.to_string())?;
                }
                Work::Flush => {
                    table.flush().map_err(|error| error.to_string())?;
                    dirty = false;
                    self.state().flushed = table.mark().done.seq;
                    self.changed.notify_all();
                }
                Work::End => return table.flush().map_err(|error| error.to_string()),
            }
        }
    }

    /// Waits for something to do for a table that holds every commit up to `done`.
    fn work(&self, done: u64, dirty: bool) -> Work {
        let mut state = self.state();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Work::End;
            }
            // The last part stays: it may grow.
            while state.parts.len() > 1 && state.parts.front().is_some_and(|part| part.end <= done + 1) {
                state.parts.pop_front();
            }
            if let Some(part) = state.parts.front().filter(|part| part.end > done + 1) {
                return Work::Read(part.clone());
            }
            if dirty && state.wanted > state.flushed {
                return Work::Flush;
            }
            if dirty {
                let (next, pause) = self.changed.wait_timeout(state, PAUSE).unwrap_or_else(PoisonError::into_inner);
                if pause.timed_out() {
                    return Work::Flush;
                }
                state = next;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Brings the table to the end of a part of the journal.
    fn read(&self, table: &mut Table, reader: &mut Option<Reader>, part: &Part) -> Result<(), String> {
        let plain = |error: super::StoreError| error.to_string();
        let reader = match reader {
            Some(reader) if reader.is_of(&part.path) => reader,
            _ => reader.insert(Reader::open(&part.path).map_err(plain)?),
        };
        while reader.seq < part.end && !self.stop.load(Ordering::Relaxed) {
            let done = table.mark().done.seq;
            let frame = reader.next().map_err(plain)?;
            if frame.seq <= done {
                continue;
            }
            match table.follow(Step { seq: frame.seq, chain: frame.chain }, frame.payload, &self.stop) {
                Err(TableError::Stopped) => return Ok(()),
                outcome => outcome.map_err(|error| error.to_string())?,
            }
        }
        // What was read ahead may be written by the next group.
        reader.refresh();
        Ok(())
    }
}
