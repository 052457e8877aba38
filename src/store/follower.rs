//! The thread in which the table follows the journal.
//!
//! It reads the journal's files, so that it needs neither memory for what it is behind nor the appends to wait for it:
//! after a large import, or where a table is made anew, it catches up while the server answers and takes updates. A
//! table at fault is let go, and taken up again some time later: see [`again`]. Meanwhile nothing waits for it, neither
//! appends nor the journal's old segments.
//!
//! Commits gather for some time before sled hears of them: whatever sled is told, it writes at once, by threads that wake
//! each other, and a change of an owner of a large zone reads and writes a page of its own. Of 1,000 updates one after the
//! other each took 35 system calls, 23 of them futexes, when it heard of each commit, and 8 where they gathered for a tenth
//! of a second. At a million hosts an update's share of this thread was 38 of 42 microseconds; of 1.1 million updates at 55,000 a
//! second, gathered for ten seconds at a time, it was 8, most of it after them: the thread gives way to all others.
//!
//! The table may be behind by so much and no more: see [`BEHIND`]. Of updates 512 at a time for a minute, checkpoints every four to
//! ten seconds among it, p99 was 2.9 times p50, with 10,000 hosts and with a million, and none waited for the table.

mod again;

pub(super) use again::Place;

use super::Health;
use super::checkpoint::Checkpoint;
use super::mark::Step;
use super::table::{Table, TableError};
use super::tail::{Part, Reader};
use again::Rest;
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
    /// How long commits gather before they are written.
    gather: Duration,
    /// Told how far the table has come, and why it stopped.
    health: Arc<Health>,
    /// Set to end the thread, even amid a commit: the table holds it in part then, and says so.
    stop: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What of the journal may not be in the table yet, the oldest first.
    parts: VecDeque<Part>,
    /// What is in it and not flushed: a table that fails may have lost that.
    written: VecDeque<Part>,
    /// The last commit that is in the table and flushed.
    flushed: u64,
    /// How many octets of the journal have gathered since it was read last.
    waiting: usize,
    /// The commit that somebody waits for.
    wanted: u64,
    /// Whether the thread has nothing to do and wants to hear of the next commit.
    resting: bool,
    /// Whether appends have had to wait for it lately, and that is not yet told.
    overloaded: Option<bool>,
    /// Who wants to look into the table, each once it has come to some commit.
    inspections: Vec<(u64, Inspection)>,
    /// Whether the table does not follow, and why where that is not yet told.
    stopped: bool,
    fault: Option<String>,
    /// Whether it is on its way back from far behind: then nobody waits for it.
    returning: bool,
}

/// A time in which the table does not follow.
struct Outage {
    rest: Rest,
    /// Whether the table that there is was made in it.
    new: bool,
}

impl Outage {
    fn new() -> Outage {
        Outage { rest: Rest::new(), new: false }
    }
}

/// Looks into the table between two commits.
type Inspection = Box<dyn FnOnce(&Table) + Send>;

/// The way to look into the table, for another thread.
pub(super) struct Inspector(Arc<Shared>);

/// How long commits gather, unless they are many or somebody waits for the table.
const GATHER: Duration = Duration::from_secs(10);

/// So many octets of the journal are read without waiting for more, some 350,000 changed addresses. The more commits are
/// written together, the more of their owners share a page, of 16: with a million hosts, 200,000 updates meet 85,000 of
/// 100,000 pages. A start takes so much from the journal in a second.
const MANY: usize = 64 << 20;

/// A commit of so many octets is an import.
const LARGE: usize = 4 << 20;

/// So many segments of the journal may wait for the table, those of large imports among them. Beyond that appends wait:
/// in the writer's queue streams wait as well, and datagrams are dropped, as where the disk is slow. With segments of
/// 4 MiB that is some 1.5 million small commits, which the next start would have to take from the journal.
const BEHIND: usize = 64;

/// A pause of this length is used to flush the table.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a store that is closed waits for its table. What is not in it by then costs the next start a little time.
const PATIENCE: Duration = Duration::from_secs(3);

impl Follower {
    /// Starts the thread upon a table and what of the journal comes after its mark; upon an empty one to be filled from a
    /// checkpoint, what comes after that; and where there is no table, upon all of the journal: `Err` says why.
    pub(super) fn start(
        begun: Result<(Table, Option<Checkpoint>), String>,
        place: Place,
        parts: Vec<Part>,
        health: Arc<Health>,
    ) -> io::Result<Follower> {
        let flushed = begun.as_ref().map_or(0, |(table, _)| table.mark().done.seq);
        health.set_followed(flushed);
        health.set_resting(begun.as_ref().err().cloned());
        let (stopped, returning) = (begun.is_err(), parts.len() > BEHIND);
        let state = State { parts: parts.into(), flushed, stopped, returning, ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), gather: GATHER, health, ..Shared::default() });
        let its = Arc::clone(&shared);
        let thread = Builder::new().name("table".into()).spawn(move || {
            // It may be late, but answers may not. On Linux the priority is this thread's, elsewhere it would be all the process's.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(None, 10);
            its.run(begun, &place);
        })?;
        Ok(Follower { shared, thread: Some(thread) })
    }

    /// The segment at `path` is durable up to the sequence number before `end`, after so many octets more.
    pub(super) fn durable(&self, path: &Path, end: u64, octets: usize) {
        let mut state = self.shared.state();
        // A large commit does not gather others: it takes memory to read.
        state.waiting = if octets >= LARGE { MANY } else { state.waiting.saturating_add(octets) };
        match state.parts.back_mut().filter(|last| last.path == path) {
            Some(last) => last.end = end,
            None => state.parts.push_back(Part { path: path.to_owned(), end }),
        }
        // While commits gather the thread sleeps on.
        if std::mem::take(&mut state.resting) || state.waiting >= MANY {
            drop(state);
            self.shared.changed.notify_all();
        }
    }

    /// Waits while the table is too far behind, unless it has stopped following.
    pub(super) fn wait_for_room(&self) {
        let far = |state: &mut State| state.parts.len() > BEHIND && !state.stopped && !state.returning;
        let mut state = self.shared.state();
        if far(&mut state) {
            state.overloaded = Some(state.overloaded.unwrap_or(true));
            drop(self.shared.changed.wait_while(state, far).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Whether appends had to wait, once; and again when it had caught up by half in between.
    pub(super) fn overloaded(&self) -> bool {
        let mut state = self.shared.state();
        match &mut state.overloaded {
            Some(untold) => std::mem::take(untold),
            None => false,
        }
    }

    /// Waits until the table holds everything up to the commit `last` and is flushed, but no longer than `patience`;
    /// returns how many commits it lacks.
    pub(super) fn sync(&self, last: u64, patience: Option<Duration>) -> u64 {
        let mut state = self.shared.state();
        state.wanted = state.wanted.max(last);
        self.shared.changed.notify_all();
        let waiting = |state: &mut State| state.flushed < last && !state.stopped;
        let changed = &self.shared.changed;
        let state = match patience {
            None => changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                changed.wait_timeout_while(state, patience, waiting).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        last.saturating_sub(state.flushed)
    }

    /// The last commit that the table would still hold after power loss. Where that is before `wanted`, it is told to
    /// flush once it has come so far: a busy server leaves it no pause to do so by itself.
    pub(super) fn flushed(&self, wanted: u64) -> u64 {
        let mut state = self.shared.state();
        if state.stopped {
            // It comes back from a checkpoint, if need be.
            return u64::MAX;
        }
        let flushed = state.flushed;
        if wanted > flushed {
            state.wanted = state.wanted.max(wanted);
            drop(state);
            self.shared.changed.notify_all();
        }
        flushed
    }

    /// The journal has no commits before `first` any more.
    pub(super) fn forget_before(&self, first: u64) {
        let mut state = self.shared.state();
        state.parts.retain(|part| part.end > first);
        state.written.retain(|part| part.end > first);
    }

    /// The way to look into the table.
    pub(super) fn inspector(&self) -> Inspector {
        Inspector(Arc::clone(&self.shared))
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

impl Inspector {
    /// Calls `look` once the table holds the commit `wanted`. A table that stops following before that drops it.
    pub(super) fn inspect(&self, wanted: u64, look: Inspection) {
        let mut state = self.0.state();
        if !state.stopped {
            state.wanted = state.wanted.max(wanted);
            state.inspections.push((wanted, look));
            drop(state);
            self.0.changed.notify_all();
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
    Inspect(Inspection),
    Read(Part),
    Write,
    Flush,
    End,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two halves of a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows until it is told to stop; a table that fails is taken up again.
    fn run(&self, mut begun: Result<(Table, Option<Checkpoint>), String>, place: &Place) {
        // What was found at the start has been told there.
        let mut outage = begun.is_err().then(Outage::new);
        loop {
            let outcome = begun.and_then(|(mut table, from)| {
                let outcome = self.follow(&mut table, from, &mut outage);
                table.close();
                outcome
            });
            let Err(why) = outcome else { break };
            self.stop_following(why, outage.is_none());
            if !outage.get_or_insert_with(Outage::new).rest.rest(self) {
                break;
            }
            begun = self.again(place, outage.get_or_insert_with(Outage::new));
        }
        let mut state = self.state();
        state.stopped = true;
        state.inspections.clear();
        drop(state);
        self.changed.notify_all();
    }

    fn stop_following(&self, why: String, news: bool) {
        self.health.set_resting(Some(why.clone()));
        let mut state = self.state();
        state.stopped = true;
        if news {
            state.fault = Some(why);
        }
        let written = std::mem::take(&mut state.written);
        written.into_iter().rev().for_each(|part| state.parts.push_front(part));
        state.inspections.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Opens the table again, and follows once it can be.
    fn again(&self, place: &Place, outage: &mut Outage) -> Result<(Table, Option<Checkpoint>), String> {
        let (table, from) = place.again(self, &mut outage.new)?;
        let mut state = self.state();
        (state.stopped, state.returning) = (false, true);
        state.flushed = table.mark().done.seq;
        // So that it soon shows whether it works.
        state.wanted = state.parts.back().map_or(0, |part| part.end.saturating_sub(1));
        Ok((table, from))
    }

    fn follow(&self, table: &mut Table, from: Option<Checkpoint>, outage: &mut Option<Outage>) -> Result<(), String> {
        let mut reader: Option<Reader> = None;
        let (mut dirty, mut unwritten) = (from.is_some() || outage.is_some(), false);
        match from.map_or(Ok(()), |checkpoint| table.fill(checkpoint, &self.stop)) {
            Err(TableError::Stopped) => return Ok(()),
            outcome => outcome.map_err(|error| error.to_string())?,
        }
        loop {
            match self.work(table.followed().seq, dirty, unwritten) {
                Work::Read(part) => {
                    (dirty, unwritten) = (true, true);
                    self.read(table, &mut reader, &part)?;
                }
                Work::Write => {
                    match table.write(&self.stop) {
                        Err(TableError::Stopped) => return Ok(()),
                        outcome => outcome.map_err(|error| error.to_string())?,
                    }
                    unwritten = false;
                    self.health.set_followed(table.mark().done.seq);
                }
                Work::Inspect(look) => look(table),
                Work::Flush => {
                    match table.flush(&self.stop) {
                        Err(TableError::Stopped) => return Ok(()),
                        outcome => outcome.map_err(|error| error.to_string())?,
                    }
                    (dirty, unwritten) = (false, false);
                    let done = table.mark().done.seq;
                    let mut state = self.state();
                    state.flushed = done;
                    state.written.retain(|part| part.end > done + 1);
                    drop(state);
                    self.changed.notify_all();
                    self.health.set_followed(done);
                    if outage.take().is_some() {
                        self.health.set_resting(None);
                        tracing::info!(seq = done, "table follows the journal again");
                    }
                }
                Work::End => return table.settle().map_err(|error| error.to_string()),
            }
        }
    }

    /// Waits for something to do for a table that has followed every commit up to `done`: whether anything of that is not
    /// flushed, and whether not even written.
    fn work(&self, done: u64, dirty: bool, unwritten: bool) -> Work {
        let mut state = self.state();
        let mut gathered = false;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Work::End;
            }
            // The last part stays: it may grow.
            state.returning &= state.parts.len() > BEHIND;
            while state.parts.len() > 1 && state.parts.front().is_some_and(|part| part.end <= done + 1) {
                let part = state.parts.pop_front();
                state.written.extend(part);
                // Not before it is told: the table may be quicker than the append that waited for it.
                if state.parts.len() <= BEHIND / 2 && state.overloaded == Some(false) {
                    state.overloaded = None;
                }
                // Somebody may wait for room.
                self.changed.notify_all();
            }
            if let Some(at) = state.inspections.iter().position(|(wanted, _)| *wanted <= done) {
                if unwritten {
                    return Work::Write;
                }
                return Work::Inspect(state.inspections.swap_remove(at).1);
            }
            // Before there is more to read, of which a busy server has no end.
            if dirty && state.wanted > state.flushed && done >= state.wanted {
                return Work::Flush;
            }
            let hurried = |state: &State| match unwritten {
                true => state.parts.len() > 1 || state.wanted > done,
                false => state.waiting >= MANY || state.parts.len() > BEHIND / 2 || state.wanted > done,
            };
            let more = state.parts.front().filter(|part| part.end > done + 1).cloned();
            if unwritten && (more.is_none() || !hurried(&state)) {
                return Work::Write;
            }
            if let Some(part) = more {
                if gathered || hurried(&state) {
                    state.waiting = 0;
                    return Work::Read(part);
                }
                state = self.pause(state, self.gather, |state| !hurried(state)).0;
                gathered = true;
                continue;
            }
            state.resting = true;
            if dirty {
                let wanted = state.wanted;
                let quiet = |state: &State| state.resting && state.wanted == wanted && state.inspections.is_empty();
                let (next, paused) = self.pause(state, PAUSE, quiet);
                state = next;
                if paused {
                    return Work::Flush;
                }
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.resting = false;
        }
    }

    /// Waits until it is told to stop or `quiet` does not hold any more; the second value says that it waited for all
    /// of that time.
    fn pause<'s>(
        &self,
        state: MutexGuard<'s, State>,
        length: Duration,
        quiet: impl Fn(&State) -> bool,
    ) -> (MutexGuard<'s, State>, bool) {
        let waiting = |state: &mut State| !self.stop.load(Ordering::Relaxed) && quiet(state);
        let waited = self.changed.wait_timeout_while(state, length, waiting).unwrap_or_else(PoisonError::into_inner);
        (waited.0, waited.1.timed_out())
    }

    /// Brings the table to the end of a part of the journal.
    fn read(&self, table: &mut Table, reader: &mut Option<Reader>, part: &Part) -> Result<(), String> {
        let plain = |error: super::StoreError| error.to_string();
        let reader = match reader {
            Some(reader) if reader.is_of(&part.path) => reader,
            _ => reader.insert(Reader::open(&part.path).map_err(plain)?),
        };
        while reader.seq < part.end && !self.stop.load(Ordering::Relaxed) {
            let done = table.followed().seq;
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

#[cfg(test)]
#[path = "follower_tests.rs"]
mod tests;
