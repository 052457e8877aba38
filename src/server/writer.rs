//! The one writer: every change of every zone goes through it, one after the other.
//!
//! It takes whatever requests have queued as one group, applies each upon what the one before it left, makes the
//! group durable with one disk sync, publishes the new snapshot, and only then answers. Requests share a sync,
//! never a failure: a refused one changes nothing, and where the sync fails nothing of the group is published.

mod changes;
mod request;
mod taken_back;
mod undo;

pub(crate) use request::{Applied, Entrance, OperatorError, Reply, Request, Updates};

use super::publish::Published;
use crate::clock::Clock;
use crate::query::View;
use crate::store::{Commit, CommitKind, Instant, Since, Store, StoreError};
use crate::sys;
use crate::update::Refusal;
use crate::update::policy::Rights;
use crate::wire::NameRef;
use std::mem::Discriminant;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// How many requests may wait. Beyond that a datagram is dropped, and its sender asks again; a stream waits.
const QUEUE: usize = 4096;
/// How many requests share one sync at most. Bounds how long the first of them waits.
const GROUP: usize = 1024;
/// So many answers the writer signs and sends itself, for to wake somebody else would take longer. More are left to the
/// event loop's threads, so many to each task, while the writer turns to the next group.
const ANSWERS: usize = 32;

/// After so many seconds it is told again that nothing can be stored.
const TELL_AGAIN: u64 = 10;

/// What a group of so many records took on its way is worth giving back to the system before it is answered: with a million
/// hosts more than two hundred megabytes.
const LARGE: usize = 100_000;

/// The writer's queue, for those who want something changed.
pub(crate) type Queue = mpsc::Sender<Request>;

/// The writer, on a thread of its own.
pub(crate) struct Writer<S> {
    store: S,
    /// Where appends fail: when that was last told, and of which kind the error was.
    failing: Option<(u64, Discriminant<StoreError>)>,
    published: Arc<Published>,
    clock: Clock,
    /// Empty: the room for the next group's commits.
    commits: Vec<Commit>,
    /// Where answers are signed and sent that are too many for the writer itself.
    event_loop: Option<Handle>,
}

/// An answer that is held back until the group is durable.
type Held = Reply<Durable>;

/// What became of the group.
#[derive(Clone, Copy)]
enum Durable {
    Yes,
    No,
}

impl Durable {
    /// The outcome, where it may be told: whatever was decided was decided upon the changes before it in the group.
    fn then<T>(self, outcome: Result<T, Refusal>) -> Result<T, Refusal> {
        match self {
            Durable::Yes => outcome,
            Durable::No => Err(Refusal::Storage),
        }
    }
}

impl<S: Store + 'static> Writer<S> {
    /// A writer to `store`. It publishes now what the store and the configuration hold.
    pub(crate) fn new(store: S, published: Arc<Published>, view: View, rights: Rights, clock: Clock) -> Writer<S> {
        published.set_view(view);
        published.set_rights(rights);
        let commits = Vec::new();
        Writer { store, failing: None, published, clock, commits, event_loop: Handle::try_current().ok() }
    }

    /// Starts the thread. It ends when the last [`Queue`] is dropped, after everything queued is done; joining
    /// it gives the store back.
    pub(crate) fn start(mut self) -> std::io::Result<(Queue, std::thread::JoinHandle<S>)> {
        let (queue, mut requests) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            // Answers go first. On one processor, at 20,000 queries a second beside 500 updates, the hundredth slowest query took
            // less in two of three interleaved series (most runs 93 to 133 microseconds, and 134 to 349 without), and in the third
            // there was no difference: the host disturbs more than this mends. Rates and CPU of updates did not change beyond that
            // noise, and beside as many queries as go all of 500 a second were carried out. On Linux the priority is this
            // thread's, elsewhere it would be all the process's.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(None, 5);
            let mut group = Vec::with_capacity(GROUP);
            while let Some(first) = requests.blocking_recv() {
                group.push(first);
                group.extend(std::iter::from_fn(|| requests.try_recv().ok()).take(GROUP - 1));
                self.carry_out(&mut group);
            }
            self.store
        })?;
        Ok((queue, thread))
    }

    /// One group: apply, append, publish, answer.
    fn carry_out(&mut self, requests: &mut Vec<Request>) {
        let mut view = View::clone(&self.published.view());
        view.zones.prepare_changes(requests.iter().filter_map(|request| match request {
            Request::Update { update, .. } => update.operations.first().map(|entry| NameRef::from(&entry.owner)),
            _ => None,
        }));
        let mut commits = std::mem::take(&mut self.commits);
        commits.reserve(requests.len());
        let mut held: Vec<Held> = Vec::with_capacity(requests.len());
        let mut reloaded = false;
        let mut checkpoints = Vec::new();
        for request in requests.drain(..) {
            match request {
                Request::Update { update, key, entrance, source, reply } => {
                    let outcome = self.update(&mut view.zones, &mut commits, &update, (key, entrance), source);
                    held.push(Box::new(move |durable| reply(durable.then(outcome))));
                }
                Request::Seed { zones, reply } => {
                    for (apex, records) in zones {
                        if view.zones.zone(&apex).is_none() {
                            self.begin(&mut view.zones, &mut commits, &apex, records);
                        }
                    }
                    held.push(Box::new(move |durable| drop(reply.send(durable.then(Ok(()))))));
                }
                Request::Import { apex, records, made_of, updates, reply } => {
                    let outcome = self.import(&mut view.zones, &mut commits, (&apex, records), made_of, updates);
                    held.push(Box::new(move |durable| {
                        let _ = reply.send(outcome.and_then(|applied| stored(durable).map(|()| applied)));
                    }));
                }
                Request::Undo { apex, serial, reply } => {
                    let outcome = self.undo(&mut view.zones, &mut commits, &apex, serial);
                    held.push(Box::new(move |durable| {
                        let _ = reply.send(outcome.and_then(|applied| stored(durable).map(|()| applied)));
                    }));
                }
                Request::Names { node, ours, wanted, reply } => {
                    let outcome = self.names(&mut view.zones, &mut commits, &node, &ours, &wanted);
                    held.push(Box::new(move |durable| drop(reply.send(durable.then(outcome)))));
                }
                Request::Delete { apex, reply } => {
                    let outcome = self.delete(&mut view.zones, &mut commits, &apex);
                    held.push(Box::new(move |durable| {
                        let _ = reply.send(outcome.and_then(|()| stored(durable)));
                    }));
                }
                Request::History { apex, since, max, reply } => {
                    let history = self.store.history(&apex, since.map(Since::Commit), max);
                    let _ = reply.send(history.map_err(|error| error.to_string()));
                }
                Request::Checkpoint { reply } => checkpoints.push(reply),
                Request::Verify { reply } => self.store.verify(Box::new(move |findings| {
                    let _ = reply.send(Ok(findings));
                })),
                Request::Reload { keyring, limits, rights, reply } => {
                    self.published.set_rights(*rights);
                    view.keyring = keyring;
                    view.limits = limits;
                    reloaded = true;
                    held.push(Box::new(move |_| {
                        let _ = reply.send(());
                    }));
                }
            }
        }
        let durable = match commits.is_empty() {
            true => Durable::Yes,
            false => match self.store.append(&commits) {
                Ok(_) => {
                    if self.failing.take().is_some() {
                        tracing::info!("updates are stored again");
                    }
                    for commit in commits.iter().filter(|commit| commit.kind == CommitKind::Create) {
                        tracing::info!(zone = %commit.zone, serial = %commit.to, actor = %commit.actor, "zone begun");
                    }
                    Durable::Yes
                }
                Err(error) => {
                    let (now, kind) = (self.clock.now(), std::mem::discriminant(&error));
                    // Not for each group: the log may be on the same disk.
                    if self.failing.is_none_or(|(at, told)| told != kind || now.abs_diff(at) >= TELL_AGAIN) {
                        self.failing = Some((now, kind));
                        tracing::error!(commits = commits.len(), "updates not stored: {error}");
                    }
                    Durable::No
                }
            },
        };
        if let Some(fault) = self.store.table_fault() {
            tracing::warn!("{fault}");
        }
        let changed = !commits.is_empty();
        let records: usize =
            commits.iter().map(|commit| commit.changes.added.len() + commit.changes.removed.len()).sum();
        commits.clear();
        if records >= LARGE {
            sys::memory::give_back();
        }
        self.commits = commits;
        match durable {
            Durable::Yes if reloaded || changed => self.published.set_view(view),
            // Keys and rights do not depend on the store.
            Durable::No if reloaded => {
                let zones = self.published.view().zones.clone();
                self.published.set_view(View { zones, ..view });
            }
            _ => {}
        }
        self.answer(held, durable);
        for reply in checkpoints {
            // Of what is published, which is what the store holds, whatever became of this group.
            let told = |outcome: Result<Instant, StoreError>| {
                let _ = reply.send(outcome.map_err(|error| error.to_string()));
            };
            self.store.checkpoint(&self.published.view().zones, Box::new(told));
        }
        if let (Durable::Yes, true) = (durable, changed) {
            self.store.published(&self.published.view().zones);
        }
    }

    fn answer(&self, held: Vec<Held>, durable: Durable) {
        let answer = move |held: Held| held(durable);
        let Some(event_loop) = self.event_loop.as_ref().filter(|_| held.len() > ANSWERS) else {
            return held.into_iter().for_each(answer);
        };
        let mut held = held.into_iter();
        while held.len() > 0 {
            let some: Vec<Held> = held.by_ref().take(ANSWERS).collect();
            event_loop.spawn(async move { some.into_iter().for_each(answer) });
        }
    }
}

/// What the operator is told where the store failed.
fn stored(durable: Durable) -> Result<(), OperatorError> {
    match durable {
        Durable::Yes => Ok(()),
        Durable::No => Err(Refusal::Storage.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;
    use crate::update::policy::{Creation, Grant};
    use crate::update::{Entry, UpdateMessage};
    use crate::wire::{Class, Name, Rcode, Rtype};
    use crate::zone::{KeyBuf, Serial, Zone, seed};
    use std::net::IpAddr;
    use tokio::sync::oneshot;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A writer of zone home.example whose key `laptop` may change everything and `maker` may make zones.
    struct Bench {
        store: MemoryStore,
        published: Arc<Published>,
        writer: Writer<MemoryStore>,
    }

    impl Bench {
        fn new() -> Bench {
            let store = MemoryStore::new();
            let published = Arc::new(Published::default());
            let mut view = View::default();
            let apex = name("home.example");
            view.zones.insert(Arc::new(Zone::new(&apex, seed(&apex).unwrap()).unwrap()));
            let mut rights = Rights::new();
            rights.insert_zone(apex, vec![Grant::operator(name("laptop"))]);
            rights.allow_creation(name("maker"), Creation::Under(vec![name("made.example")]));
            let writer = Writer::new(store.clone(), Arc::clone(&published), view, rights, Clock::manual(1000));
            Bench { store, published, writer }
        }

        /// Carries out one group of updates, each of which adds an A record to its zone.
        fn group(&mut self, updates: &[(&str, &str, &str)]) -> Vec<Result<Applied, Refusal>> {
            let mut requests = Vec::new();
            let mut outcomes = Vec::new();
            for (zone, owner, key) in updates {
                let operation = Entry {
                    owner: name(owner),
                    rtype: Rtype::A,
                    class: Class::IN,
                    ttl: 60,
                    rdata: Ok([192, 0, 2, 1].into()),
                };
                let update = UpdateMessage { zone: name(zone), prerequisites: Vec::new(), operations: vec![operation] };
                let (reply, outcome) = oneshot::channel();
                let source = IpAddr::from([127, 0, 0, 1]);
                let reply = Box::new(move |outcome| reply.send(outcome).unwrap());
                requests.push(Request::Update { update, key: name(key), entrance: Entrance::Dns, source, reply });
                outcomes.push(outcome);
            }
            self.writer.carry_out(&mut requests);
            outcomes.into_iter().map(|mut outcome| outcome.try_recv().unwrap()).collect()
        }

        fn holds(&self, owner: &str) -> bool {
            let key = KeyBuf::new(&name(owner));
            let view = self.published.view();
            view.zones.nearest(key.as_bytes()).is_some_and(|zone| zone.node(key.as_bytes()).is_some())
        }
    }

    #[test]
    fn requests_of_one_group_build_on_each_other_and_share_no_refusal() {
        let mut bench = Bench::new();
        let outcomes = bench.group(&[
            ("home.example", "a.home.example", "laptop"),
            ("home.example", "b.home.example", "stranger"),
            ("home.example", "c.home.example", "laptop"),
            ("home.example", "c.home.example", "laptop"),
        ]);
        let serials = |outcome: &Result<Applied, Refusal>| outcome.as_ref().map(|applied| applied.to.0).ok();
        assert_eq!(outcomes.iter().map(serials).collect::<Vec<_>>(), [Some(2), None, Some(3), Some(3)]);
        assert_eq!(outcomes[1].as_ref().unwrap_err().rcode(), Rcode::REFUSED);
        assert!(bench.holds("a.home.example") && !bench.holds("b.home.example") && bench.holds("c.home.example"));
        let commits = bench.store.commits();
        assert_eq!(commits.len(), 2);
        assert_eq!((commits[1].from, commits[1].to, commits[1].time), (Some(Serial(2)), Serial(3), 1000));
    }

    #[test]
    fn a_store_fault_refuses_the_group_keeps_the_zone_and_heals() {
        let mut bench = Bench::new();
        bench.store.break_down();
        let updates = [("home.example", "a.home.example", "laptop"), ("home.example", "a.home.example", "laptop")];
        // The second changes nothing by itself, but only upon the first.
        for outcome in bench.group(&updates) {
            assert_eq!(outcome.unwrap_err().rcode(), Rcode::SERVFAIL);
        }
        assert!(!bench.holds("a.home.example"));
        assert_eq!(bench.published.view().zones.zone(&name("home.example")).unwrap().serial(), Serial(1));
        bench.store.mend();
        assert!(bench.group(&updates).iter().all(Result::is_ok));
        assert!(bench.holds("a.home.example"));
    }

    #[test]
    fn the_first_update_of_a_key_with_the_right_makes_the_zone() {
        let mut bench = Bench::new();
        let outcomes = bench.group(&[
            ("other.example", "a.other.example", "maker"),
            ("x.made.example", "a.x.made.example", "laptop"),
            ("x.made.example", "a.x.made.example", "maker"),
            ("x.made.example", "b.x.made.example", "maker"),
        ]);
        let refusal = |index: usize| outcomes[index].as_ref().unwrap_err();
        assert_eq!((refusal(0).rcode(), refusal(1).rcode()), (Rcode::NOTAUTH, Rcode::NOTAUTH));
        assert_eq!(
            refusal(0).to_string(),
            "zone other.example is not served here, and key maker. may make zones in made.example, not other.example"
        );
        assert_eq!(outcomes[2], Ok(Applied { from: None, to: Serial(2), added: 1, removed: 0 }));
        assert_eq!(outcomes[3], Ok(Applied { from: Some(Serial(2)), to: Serial(3), added: 1, removed: 0 }));
        assert!(bench.holds("a.x.made.example") && bench.holds("x.made.example"));
        let commits = bench.store.commits();
        assert_eq!((commits[0].kind, commits[0].changes.added.len()), (CommitKind::Create, 3));
    }
}
