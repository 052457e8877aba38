//! What happened to zones, for those who look: the newest commits, read by the writer and kept. Each sees what happened
//! to the names at which it may change something.
//!
//! The writer reads the journal from its end for it, and takes no updates meanwhile: over a journal of 290 MB that is
//! 0.23 s. So it is asked for what is new since the last time alone, which stands in the newest segments; and where
//! nothing is known of a zone, or no more, there is one such reading at a time, and after it a pause as long as it was.
//! However many look, updates have half of the writer's time.

use super::Rooms;
use super::json::Failure;
use super::login::Visitor;
use crate::server::writer::Request;
use crate::store::{History, Logged};
use crate::update::policy::UpdatePolicy;
use crate::wire::{Name, Rtype};
use crate::zone::{Changes, Key, KeyBuf, Record, Zone};
use axum::http::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// How many commits of a zone are looked at.
pub(super) const COMMITS: usize = 1000;
/// How much of one commit is kept, and of all of a zone: an import may have a million records, and one record 64 KiB.
const SIZE: usize = 2000;
const SIZE_OF_ZONE: usize = 20_000;
/// A record is one, and one more for each so many octets of its data.
const UNIT: usize = 64;
/// How many zones' histories are kept.
pub(super) const ZONES: usize = 16;

/// The histories that were read.
#[derive(Debug)]
pub(super) struct Histories {
    known: Mutex<Known>,
    /// The turn to read a whole journal.
    turn: Arc<Semaphore>,
}

/// Each with the zone as it was when it was read, and when it was looked at last. A serial would not do: a zone that was
/// deleted and begun anew comes to the same one again.
#[derive(Debug, Default)]
struct Known {
    zones: HashMap<Name, (Weak<Zone>, u64, Past)>,
    looks: u64,
}

/// The newest commits of a zone.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// The newest first.
    pub(super) events: Arc<[Arc<Event>]>,
    /// Whether this is all, every record of every commit.
    pub(super) whole: bool,
    /// The time of the oldest commit that was looked at, where there may be older ones.
    pub(super) oldest: Option<u64>,
}

/// A commit, of which records may be left out.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) logged: Logged,
    /// How many records are left out.
    pub(super) omitted: usize,
    size: usize,
}

/// Of which names somebody sees what happened: those at which it may change something.
#[derive(Debug)]
pub(super) struct Sight {
    user: Name,
    policy: Arc<UpdatePolicy>,
}

impl Sight {
    /// Whether it reaches over the whole zone.
    pub(super) fn is_whole(&self) -> bool {
        self.policy.reaches_all(&self.user)
    }

    pub(super) fn has(&self, owner: &Key) -> bool {
        self.policy.reaches(&self.user, &owner.name())
    }
}

impl Default for Histories {
    fn default() -> Histories {
        Histories { known: Mutex::default(), turn: Arc::new(Semaphore::new(1)) }
    }
}

impl Known {
    /// What is known of this state of a zone.
    fn look(&mut self, zone: &Arc<Zone>) -> Option<Past> {
        self.looks += 1;
        let (of, looked, past) = self.zones.get_mut(zone.apex())?;
        *looked = self.looks;
        Some(past.clone()).filter(|_| Weak::ptr_eq(of, &Arc::downgrade(zone)))
    }

    /// Puts it where the next one finds it; what nobody has looked at for the longest time goes.
    fn keep(&mut self, zone: &Arc<Zone>, past: &Past) {
        let apex = *zone.apex();
        if self.zones.len() >= ZONES && !self.zones.contains_key(&apex) {
            let oldest = self.zones.iter().min_by_key(|(_, (_, looked, _))| looked).map(|(apex, _)| *apex);
            oldest.map(|oldest| self.zones.remove(&oldest));
        }
        self.zones.insert(apex, (Arc::downgrade(zone), self.looks, past.clone()));
    }
}

impl Past {
    /// These commits, the oldest first, after those that were known.
    fn new(commits: Vec<Logged>, before: &Past) -> Past {
        let mut room = SIZE_OF_ZONE;
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut whole = before.whole;
        for logged in commits.into_iter().rev() {
            let event = Event::new(logged, &mut room);
            whole &= event.omitted == 0;
            events.push(Arc::new(event));
        }
        for event in before.events.iter() {
            let Some(left) = room.checked_sub(event.size).filter(|_| events.len() < COMMITS) else {
                whole = false;
                break;
            };
            room = left;
            events.push(Arc::clone(event));
        }
        let oldest = events.last().filter(|_| !whole).map(|event| event.logged.commit.time);
        Past { events: events.into(), whole, oldest }
    }
}

impl Past {
    /// What somebody may see of it: neither records of other names nor commits that have no others.
    fn seen_by(&self, sight: &Sight) -> Past {
        let events = self.events.iter().filter(|event| event.records().any(|record| sight.has(&record.owner)));
        let events = events.map(|event| {
            let Event { mut logged, omitted, size } = Event::clone(event);
            let Changes { removed, added } = &mut logged.commit.changes;
            [removed, added].into_iter().for_each(|records| records.retain(|record| sight.has(&record.owner)));
            Arc::new(Event { logged, omitted, size })
        });
        Past { events: events.collect(), ..*self }
    }
}

impl Event {
    /// Keeps of a commit what there is room for.
    fn new(mut logged: Logged, room: &mut usize) -> Event {
        let (mut omitted, mut size) = (0, 0);
        let changes = &mut logged.commit.changes;
        for records in [&mut changes.removed, &mut changes.added] {
            let all = records.len();
            let fits = |record: &Record| {
                let with = size + 1 + record.rdata.len() / UNIT;
                let fits = with <= SIZE.min(*room);
                size = if fits { with } else { size };
                fits
            };
            records.truncate(records.iter().map(fits).take_while(|fits| *fits).count());
            records.shrink_to_fit();
            omitted += all - records.len();
        }
        *room -= size;
        Event { logged, omitted, size }
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
    /// Of the newest commits of a zone what somebody may see.
    pub(super) async fn history(&self, zone: &Arc<Zone>, sight: &Sight) -> Result<Past, Failure> {
        let past = self.newest(zone).await?;
        Ok(if sight.is_whole() { past } else { past.seen_by(sight) })
    }

    /// What of a zone's history somebody may see.
    pub(super) fn sight(&self, visitor: &Visitor, apex: &Name) -> Sight {
        Sight { user: visitor.user, policy: self.service.exchange.published.rights().policy(apex) }
    }

    /// The newest commits of a zone.
    async fn newest(&self, zone: &Arc<Zone>) -> Result<Past, Failure> {
        let apex = *zone.apex();
        {
            let mut known = self.histories.known.lock().await;
            if let Some(past) = known.look(zone) {
                return Ok(past);
            }
            let before = known.zones.get(&apex).map(|(_, _, past)| past.clone()).unwrap_or_default();
            if let Some(newest) = before.events.first() {
                let new = self.commits(apex, Some(newest.logged.seq)).await?;
                if new.complete {
                    let past = Past::new(new.commits, &before);
                    known.keep(zone, &past);
                    return Ok(past);
                }
            }
        }
        let turn = timeout(self.service.idle(), Arc::clone(&self.histories.turn).acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(Failure::busy)?;
        // Whoever had the turn before may have read the same.
        if let Some(past) = self.histories.known.lock().await.look(zone) {
            return Ok(past);
        }
        // A task of its own, which comes to its end although nobody waits for it any more.
        let (told, outcome) = oneshot::channel();
        let (rooms, zone) = (self.clone(), Arc::clone(zone));
        tokio::spawn(async move {
            let begun = Instant::now();
            let commits = rooms.commits(apex, None).await;
            let pause = begun.elapsed();
            let past = commits
                .map(|History { commits, complete }| Past::new(commits, &Past { whole: complete, ..Past::default() }));
            if let Ok(past) = &past {
                rooms.histories.known.lock().await.keep(&zone, past);
            }
            // Whoever asked may have gone.
            let _ = told.send(past);
            sleep(pause).await;
            drop(turn);
        });
        outcome.await.map_err(|_| ended())?
    }

    /// A zone's commits, the oldest first: the newest, or those after a commit where they go back to it.
    async fn commits(&self, apex: Name, since: Option<u64>) -> Result<History, Failure> {
        let (reply, outcome) = oneshot::channel();
        let request = Request::History { apex, since, max: COMMITS, reply };
        self.service.exchange.queue.send(request).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?.map_err(|why| Failure::new(StatusCode::SERVICE_UNAVAILABLE, why))
    }
}

fn ended() -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the server is about to end")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Actor, Commit, CommitKind};
    use crate::update::policy::{Effect, Grant, Rule, Types};
    use crate::wire::Ttl;
    use crate::zone::{Key, Serial};

    /// A commit that adds so many TXT records of so many octets.
    fn commit(to: u32, records: usize, octets: usize) -> Logged {
        let owner = Key::new(&Name::parse("nas.home.example").unwrap());
        let record = Record { owner, rtype: Rtype::TXT, ttl: Ttl::new(60), rdata: vec![1; octets].into() };
        let changes = Changes { removed: Vec::new(), added: vec![record; records] };
        let (zone, from, kind) = (Name::parse("home.example").unwrap(), Some(Serial(to - 1)), CommitKind::Change);
        let actor = Actor::Operator;
        Logged {
            seq: to.into(),
            commit: Commit { zone, kind, from, to: Serial(to), time: 0, actor, source: None, changes },
        }
    }

    fn octets(past: &Past) -> usize {
        past.events.iter().flat_map(|event| event.records()).map(|record| record.rdata.len()).sum()
    }

    #[test]
    fn of_much_only_the_newest_is_kept_and_what_is_left_out_is_told() {
        let whole = Past { whole: true, ..Past::default() };
        let past = Past::new((1..=3).map(|to| commit(to, 2, 10)).collect(), &whole);
        assert!(past.whole && past.events.len() == 3 && octets(&past) == 60);
        // Many records, and long ones.
        for (records, octets_each, kept) in [(1_000_000, 4, 2000), (40, 60_000, 2), (1, 65_535, 1)] {
            let past = Past::new(vec![commit(1, records, octets_each)], &whole);
            let event = &past.events[0];
            assert_eq!((event.records().count(), event.omitted), (kept, records - kept));
            assert_eq!(past.whole, records == kept);
        }
        let mut past = whole;
        for to in (1..500).step_by(10) {
            past = Past::new((to..to + 10).map(|to| commit(to, 1, 60_000)).collect(), &past);
            assert!(octets(&past) <= SIZE_OF_ZONE * UNIT && past.events[0].logged.commit.to == Serial(to + 9));
        }
        assert!(!past.whole && past.events.len() > 10, "{}", past.events.len());
    }

    #[test]
    fn of_a_commit_each_sees_its_own_names() {
        let name = |text: &str| Name::parse(text).unwrap();
        let mut logged = commit(1, 2, 10);
        logged.commit.changes.added[1].owner = Key::new(&name("other.home.example"));
        let past = Past::new(vec![logged, commit(2, 1, 10)], &Past::default());
        let seen = |host: &str| {
            let (apex, user) = (name("home.example"), name("router"));
            let rule = Rule::Name(name(host));
            let grant = Grant { effect: Effect::Allow, key: user, rule, types: Types::Usual };
            let policy = Arc::new(UpdatePolicy::new(apex, vec![grant]));
            let seen = past.seen_by(&Sight { user, policy });
            seen.events.iter().map(|event| event.records().count()).collect::<Vec<_>>()
        };
        assert_eq!(seen("nas.home.example"), [1, 1]);
        assert_eq!(seen("other.home.example"), [1]);
        assert!(seen("home.example").is_empty());
    }

    #[test]
    fn only_so_many_commits_are_kept() {
        let mut past = Past { whole: true, ..Past::default() };
        for to in (1..=1500).step_by(500) {
            past = Past::new((to..to + 500).map(|to| commit(to, 1, 4)).collect(), &past);
            assert_eq!(past.whole, to < 1000);
        }
        let serials: Vec<u32> = past.events.iter().map(|event| event.logged.commit.to.0).collect();
        assert_eq!(serials, (501..=1500).rev().collect::<Vec<_>>());
    }
}
