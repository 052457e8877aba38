//! What happened to zones, for those who look: the newest commits, read by the writer and kept.
//!
//! The writer reads the journal from its end for it, and takes no updates meanwhile: over a journal of 290 MB that is
//! 0.23 s. So it is asked for what is new since the last time alone, which stands in the newest segments; and where
//! nothing is known of a zone, or no more, there is one such reading at a time, and after it a pause as long as it was.
//! However many look, updates have half of the writer's time.

use super::Rooms;
use super::json::Failure;
use crate::server::writer::Request;
use crate::store::Logged;
use crate::wire::{Name, Rtype};
use crate::zone::{Changes, KeyBuf, Record, Serial, Zone};
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// How many commits of a zone are looked at.
pub(super) const COMMITS: usize = 1000;
/// How many records of one commit are kept, and of all of a zone: an import may have a million.
const RECORDS: usize = 1000;
const RECORDS_OF_ZONE: usize = 20_000;
/// How many zones' histories are kept.
pub(super) const ZONES: usize = 16;

/// The histories that were read.
#[derive(Debug)]
pub(super) struct Histories {
    known: Mutex<Known>,
    /// The turn to read a whole journal.
    turn: Arc<Semaphore>,
}

/// Each with the serial of the zone it was read for, and when it was looked at last.
#[derive(Debug, Default)]
struct Known {
    zones: HashMap<Name, (Serial, u64, Past)>,
    looks: u64,
}

/// The newest commits of a zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// The newest first.
    pub(super) events: Arc<[Arc<Event>]>,
    /// Whether this is all, every record of every commit.
    pub(super) whole: bool,
}

/// A commit, of which records may be left out.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) logged: Logged,
    /// How many records are left out.
    pub(super) omitted: usize,
}

impl Default for Histories {
    fn default() -> Histories {
        Histories { known: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Known {
    /// What is known of a zone of this serial.
    fn look(&mut self, apex: &Name, serial: Serial) -> Option<Past> {
        self.looks += 1;
        let (of, looked, past) = self.zones.get_mut(apex)?;
        *looked = self.looks;
        Some(past.clone()).filter(|_| *of == serial)
    }

    /// Puts it where the next one finds it; what nobody has looked at for the longest time goes.
    fn keep(&mut self, apex: Name, serial: Serial, past: &Past) {
        if self.zones.len() >= ZONES && !self.zones.contains_key(&apex) {
            let oldest = self.zones.iter().min_by_key(|(_, (_, looked, _))| looked).map(|(apex, _)| *apex);
            oldest.map(|oldest| self.zones.remove(&oldest));
        }
        self.zones.insert(apex, (serial, self.looks, past.clone()));
    }
}

impl Past {
    /// These commits, the oldest first, after those that were known.
    fn new(commits: Vec<Logged>, before: &Past) -> Past {
        let mut room = RECORDS_OF_ZONE;
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut whole = before.whole;
        for logged in commits.into_iter().rev() {
            let event = Event::new(logged, &mut room);
            whole &= event.omitted == 0;
            events.push(Arc::new(event));
        }
        for event in before.events.iter() {
            let Some(left) = room.checked_sub(event.records().count()).filter(|_| events.len() < COMMITS) else {
                whole = false;
                break;
            };
            room = left;
            events.push(Arc::clone(event));
        }
        Past { events: events.into(), whole }
    }
}

impl Event {
    /// Keeps of a commit what there is room for.
    fn new(mut logged: Logged, room: &mut usize) -> Event {
        let mut omitted = 0;
        let changes = &mut logged.commit.changes;
        for records in [&mut changes.removed, &mut changes.added] {
            let kept = records.len().min(RECORDS).min(*room);
            *room -= kept;
            omitted += records.len() - kept;
            records.truncate(kept);
            records.shrink_to_fit();
        }
        Event { logged, omitted }
    }

    /// The records that went and came. The SOA, which changes each time, is not among them.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let Changes { removed, added } = &self.logged.commit.changes;
        removed.iter().chain(added).filter(|record| record.rtype != Rtype::SOA)
    }

    /// Whether a record of this owner went or came.
    pub(super) fn touches(&self, owner: &KeyBuf) -> bool {
        self.records().any(|record| is_of(record, owner))
    }
}

/// Whether it is this owner's, and not the SOA.
pub(super) fn is_of(record: &Record, owner: &KeyBuf) -> bool {
    record.rtype != Rtype::SOA && record.owner.as_bytes() == owner.as_bytes()
}

impl Rooms {
    /// The newest commits of a zone.
    pub(super) async fn history(&self, zone: &Zone) -> Result<Past, Failure> {
        let (apex, serial) = (*zone.apex(), zone.serial());
        {
            let mut known = self.histories.known.lock().await;
            if let Some(past) = known.look(&apex, serial) {
                return Ok(past);
            }
            let before = known.zones.get(&apex).map(|(_, _, past)| past.clone()).unwrap_or_default();
            if let Some(newest) = before.events.first() {
                let new = self.commits(apex, Some(newest.logged.commit.to)).await?;
                // None where the zone was taken away and begun anew.
                if !new.is_empty() {
                    let past = Past::new(new, &before);
                    known.keep(apex, serial, &past);
                    return Ok(past);
                }
            }
        }
        let turn = timeout(self.service.idle(), Arc::clone(&self.histories.turn).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(Failure::busy)?;
        // Whoever had the turn before may have read the same.
        if let Some(past) = self.histories.known.lock().await.look(&apex, serial) {
            return Ok(past);
        }
        // A task of its own, which comes to its end although nobody waits for it any more.
        let (told, outcome) = oneshot::channel();
        let rooms = self.clone();
        tokio::spawn(async move {
            let begun = Instant::now();
            let commits = rooms.commits(apex, None).await;
            let pause = begun.elapsed();
            let past = commits.map(|commits| {
                let whole = commits.len() < COMMITS;
                Past::new(commits, &Past { whole, ..Past::default() })
            });
            if let Ok(past) = &past {
                rooms.histories.known.lock().await.keep(apex, serial, past);
            }
            // Whoever asked may have gone.
            let _ = told.send(past);
            sleep(pause).await;
            drop(turn);
        });
        outcome.await.map_err(|_| ended())?
    }

    /// A zone's commits, the oldest first: the newest, or those after a serial where they lead back to it.
    async fn commits(&self, apex: Name, since: Option<Serial>) -> Result<Vec<Logged>, Failure> {
        let (reply, outcome) = oneshot::channel();
        let request = Request::History { apex, since, max: COMMITS, reply };
        self.service.exchange.queue.send(request).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?.map_err(|why| Failure::new(StatusCode::SERVICE_UNAVAILABLE, why))
    }
}

fn ended() -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the server is about to end")
}
