//! A table that is killed between any two of sled's writes, over and over, and what a start makes of it.

use super::super::checkpoint::{self, Checkpoint};
use super::super::disk::SystemDisk;
use super::super::recovery::StoreOptions;
use super::super::segment::Group as Frames;
use super::super::start::{self, Zones, open_table};
use super::super::{Actor, samples};
use super::*;
use crate::wire::Rtype;
use crate::zone::{Changes, Draft, Record, Serial, Zone, ZoneSet, seed, soa_of};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Bounds {
    /// Counts a batch.
    pub(super) fn count(&mut self) -> Result<(), TableError> {
        self.batches = self.batches.checked_sub(1).ok_or_else(|| unusable("the test kills it"))?;
        Ok(())
    }
}

/// Numbers as they come.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 20) % u64::from(bound)).unwrap()
    }

    fn of<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(u32::try_from(choice.len()).unwrap()) as usize]
    }
}

/// Every record of every zone, sorted.
type Records = BTreeMap<String, Vec<Record>>;

/// Commits as a writer makes them, and the zones after each.
#[derive(Default)]
struct Past {
    zones: ZoneSet,
    commits: Vec<Commit>,
    after: Vec<Records>,
    sets: Vec<ZoneSet>,
}

const APEXES: [&str; 4] = ["example.com", "sub.example.com", "com", "example.net"];
const TYPES: [Rtype; 4] = [Rtype::A, Rtype::NS, Rtype::TXT, Rtype(65_280)];

impl Past {
    fn new(random: &mut Random, length: usize) -> Past {
        let mut past = Past::default();
        past.keep();
        while past.commits.len() < length {
            past.step(random);
        }
        past
    }

    fn keep(&mut self) {
        self.sets.push(self.zones.clone());
        self.after.push(self.zones.iter().map(|zone| (zone.apex().to_string(), sorted(zone.records()))).collect());
    }

    fn step(&mut self, random: &mut Random) {
        let apex = Name::parse(random.of(&APEXES)).unwrap();
        let old = self.zones.zone(&apex).cloned();
        let (kind, changes, new) = match (&old, random.below(40)) {
            // Also in place of one that is there.
            (None, _) | (Some(_), 0) => {
                let serial = random.of(&[1, 7, u32::MAX - 2, u32::MAX - 1, u32::MAX, 0x7FFF_FFFF]);
                let zone = anything(random, &apex, serial);
                (CommitKind::Create, Changes { removed: Vec::new(), added: zone.records().collect() }, Some(zone))
            }
            (Some(zone), 1 | 2) => {
                (CommitKind::Delete, Changes { removed: zone.records().collect(), added: Vec::new() }, None)
            }
            // An import.
            (Some(zone), 3 | 4) => {
                let serial = Serial(zone.serial().0.wrapping_add(random.of(&[0, 1, 5, 0x7FFF_FFFF, 0x8000_0001])));
                let wanted = anything(random, &apex, serial.0);
                let changes = Draft::towards(zone, &wanted).finish();
                let new = zone.with(&changes).unwrap();
                (CommitKind::Change, changes, Some(new))
            }
            (Some(zone), _) => {
                let mut draft = Draft::new(zone);
                for _ in 0..=random.below(3) {
                    alter(random, &mut draft, &apex);
                }
                let changes = draft.finish();
                let new = zone.with(&changes).unwrap();
                (CommitKind::Change, changes, Some(new))
            }
        };
        if changes.is_empty() {
            return;
        }
        let from = old.map(|old| old.serial());
        let to = new.as_ref().map_or(Serial(0), Zone::serial);
        let commit = samples::change("example.com", 1, &[]);
        self.commits.push(Commit { zone: apex, kind, from, to, actor: Actor::Operator, changes, ..commit });
        match new {
            Some(new) => self.zones.insert(Arc::new(new)),
            None => self.zones.remove(&apex),
        }
        self.keep();
    }

    fn frames(&self) -> Frames {
        Frames::new(&self.commits, 1, *b"the chain before").unwrap()
    }
}

fn sorted(records: impl Iterator<Item = Record>) -> Vec<Record> {
    let mut records: Vec<Record> = records.collect();
    records.sort();
    records
}

fn owner(random: &mut Random, apex: &Name) -> Key {
    let host = random.below(24);
    match host {
        0 => Key::new(apex),
        1 => Key::new(&Name::parse(&format!("a.b.c.{apex}")).unwrap()),
        _ => Key::new(&Name::parse(&format!("h{host}.{apex}")).unwrap()),
    }
}

/// Gives one owner another record or TTL, or takes some away.
fn alter(random: &mut Random, draft: &mut Draft<'_>, apex: &Name) {
    let (owner, rtype) = (owner(random, apex), random.of(&TYPES));
    if random.below(3) == 0 {
        let kept = random.below(2) == 0;
        let node = draft.node(owner.as_bytes()).retain(|other| other == Rtype::SOA || (kept && other != rtype));
        return draft.set(&owner, node);
    }
    let ttl = Ttl::new(random.of(&[60, 60, 60, 300]));
    let rdata = match rtype {
        Rtype::A => vec![192, 0, 2, u8::try_from(random.below(3)).unwrap()],
        // The same name in another case is the same record.
        Rtype::NS => {
            Name::parse(random.of(&["ns.example.net", "NS.example.net", "other.test"])).unwrap().as_bytes().to_vec()
        }
        _ => vec![u8::try_from(random.below(4)).unwrap(); 3 + random.below(20) as usize],
    };
    draft.add(&owner, rtype, ttl, &rdata);
}

/// A zone of any records.
fn anything(random: &mut Random, apex: &Name, serial: u32) -> Zone {
    let zone = Zone::new(apex, seed(apex).unwrap()).unwrap();
    let soa = soa_of(zone.soa().unwrap()).unwrap().with_serial(serial).to_rdata();
    let ttl = Ttl::new(random.of(&[60, 300]));
    let first = Record { rdata: soa, ttl, ..zone.soa_record().unwrap() };
    let mut draft = Draft::new(&zone);
    for _ in 0..random.below(70) {
        alter(random, &mut draft, apex);
    }
    let moved = zone.with(&draft.finish()).unwrap();
    // With the serial that was asked for.
    let others = moved.records().filter(|record| record.rtype != Rtype::SOA);
    Zone::new(apex, [first].into_iter().chain(others)).unwrap()
}

/// What a start makes of what was read from a table, by the journal up to the commit `last`.
fn replayed(mut zones: Zones, frames: &Frames, done: u64, last: usize) -> Records {
    for place in frames.frames[..last].iter().filter(|place| place.seq > done) {
        start::apply(&mut zones, frames.payload(place)).ok().unwrap();
    }
    zones.into_values().map(|loaded| (loaded.apex.to_string(), sorted(loaded.zone.records()))).collect()
}

/// Follows the commits with a table that is killed again and again; every start finds the zones as they were.
fn survives(seed: u64, length: usize) {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let past = Past::new(&mut random, length);
    let frames = past.frames();
    let dir = tempfile::tempdir().unwrap();
    let (path, checkpoints) = (dir.path().join("table"), dir.path().join("checkpoint"));
    std::fs::create_dir(&checkpoints).unwrap();
    let (stop, options) = (AtomicBool::new(false), StoreOptions::default());
    // The last commit that somebody tried to follow: it is in the journal.
    let mut reached = 0;
    for round in 0.. {
        let (mut table, zones) = open_table(&path, &options).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let mark = table.mark();
        let done = mark.done.seq;
        assert!(mark.begun.seq <= reached as u64, "seed {seed}");
        assert_eq!(replayed(zones, &frames, done, reached), past.after[reached], "seed {seed}, round {round}");
        if mark.begun == mark.done {
            let zones = table.read().ok().unwrap();
            let whole = usize::try_from(done).unwrap();
            assert_eq!(replayed(zones, &frames, done, whole), past.after[whole], "seed {seed}, round {round}");
        }
        let zones = table.read().ok().unwrap();
        assert_eq!(replayed(zones, &frames, done, length), past.after[length], "seed {seed}, round {round}");
        let most = random.of(&[3, 30]);
        let batches = random.below(most);
        table.bounds = Bounds {
            batch: 3 + random.below(12) as usize,
            group: 1 << (8 + random.below(8)),
            // Often as it takes up again what it had begun.
            batches: batches as usize,
        };
        let outcome = (|| {
            let mut begins = done;
            if mark.begun.seq == 0 && reached > 1 && random.below(2) == 0 {
                // As where it is made anew.
                let seq = 2 + random.below(u32::try_from(reached).unwrap() - 1) as usize;
                let place = &frames.frames[seq - 1];
                let step = Step { seq: place.seq, chain: place.chain };
                let written = checkpoint::write(&mut SystemDisk, &checkpoints, step, &past.sets[seq], &stop).unwrap();
                table.fill(Checkpoint::open(&written.path).unwrap(), &stop)?;
                begins = step.seq;
            }
            for (place, seq) in frames.frames.iter().zip(1..).filter(|(place, _)| place.seq > begins) {
                reached = reached.max(seq);
                table.follow(Step { seq: place.seq, chain: place.chain }, frames.payload(place), &stop)?;
                if random.below(12) == 0 {
                    table.write(&stop)?;
                }
                if random.below(40) == 0 {
                    table.flush(&stop)?;
                }
            }
            table.write(&stop)
        })();
        match outcome {
            Ok(()) => {
                let last = frames.frames.last().unwrap();
                let step = Step { seq: last.seq, chain: last.chain };
                assert_eq!(table.mark(), Mark { done: step, begun: step, sum: table.sum });
                let mut zones = Zones::new();
                for place in &frames.frames {
                    start::apply(&mut zones, frames.payload(place)).ok().unwrap();
                }
                assert_eq!(table.compare(&zones).ok().unwrap().told, [""; 0], "seed {seed}");
                table.check().ok().unwrap();
                return;
            }
            Err(error) if error.to_string() == "the test kills it" => {}
            Err(error) => panic!("seed {seed}: {error}"),
        }
        // Now and then it is lost.
        table.close();
        if random.below(15) == 0 {
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn a_table_that_is_killed_between_any_two_writes_is_brought_up_to_the_journal(seed in any::<u64>()) {
        survives(seed, 80);
    }
}

/// A writer names a zone in lower case; whoever else writes a journal may not.
#[test]
fn the_case_in_which_later_commits_name_a_zone_does_not_matter() {
    let commits = [
        samples::create("Example.COM", 1, &[("example.com", 60, "192.0.2.1")]),
        samples::change("example.com", 2, &[("a.example.com", 60, "192.0.2.1")]),
        Commit { kind: CommitKind::Delete, ..samples::change("eXample.com", 3, &[]) },
        samples::create("Other.example", 1, &[("other.example", 60, "192.0.2.1")]),
        samples::change("other.example", 2, &[("a.other.example", 60, "192.0.2.1")]),
    ];
    let frames = Frames::new(&commits, 1, [7; 16]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let mut table = Table::open(dir.path(), 1 << 20).ok().unwrap();
    for place in &frames.frames {
        table.follow(Step { seq: place.seq, chain: place.chain }, frames.payload(place), &stop).ok().unwrap();
    }
    table.write(&stop).ok().unwrap();
    table.check().map_err(|error| error.to_string()).unwrap();
    let names: Vec<String> = table.zones.values().map(ToString::to_string).collect();
    assert_eq!(names, ["Other.example"]);
}

/// One that was killed amid a create, and again as it began with that once more, said that it held nothing of it. So it was
/// filled from a checkpoint with what it had left.
#[test]
fn a_table_that_is_killed_twice_amid_a_commit_still_says_that_it_holds_it_in_part() {
    let hosts: Vec<_> = (0..200).map(|host| samples::a(&format!("h{host:03}.example.com"), 60, "192.0.2.1")).collect();
    let mut create = samples::create("example.com", 1, &[]);
    create.changes.added = hosts;
    let frames = Frames::new(&[create], 1, [7; 16]).unwrap();
    let place = &frames.frames[0];
    let step = Step { seq: 1, chain: place.chain };
    let dir = tempfile::tempdir().unwrap();
    for batches in [2, 1, 1] {
        let mut table = Table::open(dir.path(), 1 << 20).ok().unwrap();
        table.bounds.batches = batches;
        assert!(table.follow(step, frames.payload(place), &AtomicBool::new(false)).is_err());
        table.close();
        let table = Table::open(dir.path(), 1 << 20).ok().unwrap();
        assert_eq!((table.mark().done, table.mark().begun), (Step::default(), step), "{batches}");
    }
}
