//! What happened to zones, for those who look: the newest commits, read by the writer and kept until the zone changes.
//!
//! The writer reads whole segments of the journal for it, so it is asked only when a zone has another serial than at the
//! last time, and by one request at a time.

use super::Rooms;
use super::json::Failure;
use crate::server::writer::Request;
use crate::store::Logged;
use crate::wire::{Name, Rtype};
use crate::zone::{Changes, KeyBuf, Record, Serial, Zone};
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};

/// How many commits of a zone are looked at.
pub(super) const COMMITS: usize = 1000;
/// How many records of one commit are kept, and of all of a zone: an import may have a million.
const RECORDS: usize = 1000;
const RECORDS_OF_ZONE: usize = 20_000;
/// How many zones' histories are kept.
const ZONES: usize = 16;

/// The histories that were read.
#[derive(Debug, Default)]
pub(super) struct Histories(Mutex<HashMap<Name, (Serial, Past)>>);

/// The newest commits, the newest first.
pub(super) type Past = Arc<Vec<Event>>;

/// A commit, of which records may be left out.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) logged: Logged,
    /// How many records are left out.
    pub(super) omitted: usize,
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
        let mut histories = self.histories.0.lock().await;
        if let Some((_, past)) = histories.get(&apex).filter(|(of, _)| *of == serial) {
            return Ok(Arc::clone(past));
        }
        let unavailable = |why: String| Failure::new(StatusCode::SERVICE_UNAVAILABLE, why);
        let ended = || unavailable("the server is about to end".to_string());
        let (reply, outcome) = oneshot::channel();
        let request = Request::History { apex, max: COMMITS, reply };
        self.service.exchange.queue.send(request).await.map_err(|_| ended())?;
        let commits = outcome.await.map_err(|_| ended())?.map_err(unavailable)?;
        let mut room = RECORDS_OF_ZONE;
        let past: Past = Arc::new(commits.into_iter().rev().map(|logged| Event::new(logged, &mut room)).collect());
        if histories.len() >= ZONES {
            histories.clear();
        }
        histories.insert(apex, (serial, Arc::clone(&past)));
        Ok(past)
    }
}
