//! The same updates to BIND and to us: the same response code, and the same zone afterwards.

use super::bind::{Bind, KEY};
use super::reply::{Asked, record_text};
use super::zones::Chance;
use dyndns::clock::Clock;
use dyndns::query::Transport;
use dyndns::tsig::{TsigKey, sign_request, verify_response};
use dyndns::update::policy::{Grant, UpdatePolicy};
use dyndns::update::{UpdateMessage, apply_update};
use dyndns::wire::{Class, Composer, Flags, Message, Name, Place, Question, Rcode, Rtype, Section, Ttl, rdata};
use dyndns::zone::text::{rdata_from_text, rdata_to_text};
use dyndns::zone::{Key, Record, Zone};
use std::collections::{BTreeMap, BTreeSet};

const APEX: &str = "u.test.";

/// A way in which BIND may differ, and why we are right.
struct Difference {
    why: &'static str,
    explains: fn(&Step) -> bool,
}

/// One update and what came of it.
struct Step {
    entries: Vec<Entry>,
    ours: Rcode,
    theirs: Rcode,
    /// What only we have afterwards, and what only BIND has; without the SOA, if it differs in its serial alone.
    surplus: BTreeSet<String>,
    missing: BTreeSet<String>,
    before: BTreeSet<String>,
}

struct Entry {
    place: Place,
    owner: String,
    rtype: &'static str,
    class: Class,
    ttl: u32,
    /// Text, or damaged octets.
    data: Result<String, Vec<u8>>,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "ours {}, theirs {}", self.ours, self.theirs)?;
        for entry in &self.entries {
            let Entry { place, owner, rtype, class, ttl, data } = entry;
            writeln!(f, "    {place:?} {owner} {ttl} {class} {rtype} {data:?}")?;
        }
        write!(f, "  only ours {:?}\n  only theirs {:?}\n  before {:?}", self.surplus, self.missing, self.before)
    }
}

impl Step {
    /// The entries that add records.
    fn adds(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.place == Place::Authority && entry.class == Class::IN)
    }

    /// Whether the zones differ in records that `named` accepts, and the serial at most.
    fn differ_only_in(&self, named: impl Fn(&str) -> bool) -> bool {
        let mut others = self.surplus.union(&self.missing).filter(|line| !line.contains(" SOA ")).peekable();
        self.ours == self.theirs && others.peek().is_some() && others.all(|line| named(line))
    }
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "RFC 2136 section 3: prerequisites are processed before the update section; BIND looks for strange names and \
              types there first",
        explains: |step| {
            let prerequisite = step.entries.iter().any(|entry| entry.place == Place::Answer);
            let unlike = step.surplus.is_empty() && step.missing.is_empty();
            prerequisite
                && unlike
                && matches!(step.theirs, Rcode::FORMERR | Rcode::NOTZONE)
                && step.ours != Rcode::NOERROR
        },
    },
    Difference {
        why: "RFC 2136 section 3.4.1.3 asks for the zone of each entry before its data; BIND reads all data first",
        explains: |step| {
            let damaged = |entry: &Entry| entry.data.as_ref().map_or(true, |data| data.is_empty());
            step.ours == Rcode::NOTZONE && step.theirs == Rcode::FORMERR && step.entries.iter().any(damaged)
        },
    },
    Difference {
        why: "RFC 2136 section 2.4.2 compares RRsets, and no RRset has a query type: FORMERR; BIND looks and finds none",
        explains: |step| {
            let meta = |entry: &Entry| ["ANY", "AXFR", "MAILA", "TYPE200"].contains(&entry.rtype);
            let asked = |entry: &Entry| {
                entry.place == Place::Answer && meta(entry) && (entry.class == Class::IN || entry.rtype != "ANY")
            };
            step.ours == Rcode::FORMERR && step.theirs != Rcode::NOERROR && step.entries.iter().any(asked)
        },
    },
    Difference {
        why: "RFC 2181 section 5: a record given twice is in the set once; BIND compares a prerequisite's records as a list",
        explains: |step| {
            let wanted: Vec<&Entry> =
                step.entries.iter().filter(|entry| entry.place == Place::Answer && entry.class == Class::IN).collect();
            let key = |entry: &Entry| format!("{} {} {:?}", entry.owner, entry.rtype, entry.data).to_lowercase();
            let distinct: BTreeSet<String> = wanted.iter().map(|entry| key(entry)).collect();
            step.theirs == Rcode::NXRRSET && distinct.len() < wanted.len()
        },
    },
    Difference {
        why: "RFC 2136 section 3.4.2 does not ask where a DS stands; BIND adds none without NS and deletes those it loses",
        explains: |step| step.differ_only_in(|line| line.contains(" DS ")),
    },
    Difference {
        why: "RFC 4592 sections 4.2 and 4.4 do not forbid NS and DNAME at a wildcard; BIND ignores them",
        explains: |step| {
            let named = |line: &str| line.starts_with("*.") && (line.contains(" NS ") || line.contains(" DNAME "));
            step.differ_only_in(named)
        },
    },
    Difference {
        why: "RFC 2136 section 3.4.2 does not ask for addresses of name servers; BIND refuses apex NS records without them",
        explains: |step| {
            let apex_ns = |entry: &Entry| entry.owner.eq_ignore_ascii_case(APEX) && entry.rtype == "NS";
            step.ours == Rcode::NOERROR && step.theirs == Rcode::REFUSED && step.adds().any(apex_ns)
        },
    },
    Difference {
        why: "RFC 4343: a name in other case is no change, and the serial stays; BIND moves it on",
        explains: |step| {
            let held = |entry: &Entry| {
                let Ok(data) = &entry.data else { return false };
                let line = format!("{} {} {} {data}", entry.owner, entry.ttl, entry.rtype).to_lowercase();
                step.before.iter().any(|old| old.to_lowercase() == line)
            };
            let serial_only = step.surplus.union(&step.missing).all(|line| line.contains(" SOA "));
            step.ours == step.theirs && serial_only && step.adds().any(held)
        },
    },
];

#[test]
fn bind_makes_the_same_of_updates() {
    let start = format!(
        "{APEX} 300 SOA ns.{APEX} admin.{APEX} 4294967200 1 2 3 60\n{APEX} 120 NS out.side.\na.{APEX} 120 A 192.0.2.1\n\
         b.{APEX} 120 CNAME a.{APEX}\n*.{APEX} 120 TXT \"t1\"\nc.b.a.{APEX} 120 MX 1 a.{APEX}\n"
    );
    let Some(mut bind) = Bind::start(&[(APEX.to_owned(), start)]) else { return };
    let mut chance = Chance(0xDEC0_DE00_5EED);
    let mut zone = transfer(&mut bind);
    let mut used = vec![0; DIFFERENCES.len()];
    let mut unexplained: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut rcodes: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..1500 {
        let entries = entries(&mut chance, &zone);
        let bytes = message(&entries);
        let (ours, after) = carry_out(&zone, &bytes);
        let theirs = send(&mut bind, &bytes);
        let bound = transfer(&mut bind);
        *rcodes.entry(ours.to_string()).or_default() += 1;
        let (mine, held) = (lines(&after), lines(&bound));
        let surplus = mine.difference(&held).cloned().collect();
        let missing = held.difference(&mine).cloned().collect();
        let step = Step { entries, ours, theirs, surplus, missing, before: lines(&zone) };
        // From here on both have the same zone again.
        zone = bound;
        if step.ours == step.theirs && step.surplus.is_empty() && step.missing.is_empty() {
            continue;
        }
        match DIFFERENCES.iter().position(|difference| (difference.explains)(&step)) {
            Some(index) => used[index] += 1,
            None => {
                let types = |lines: &BTreeSet<String>| {
                    lines.iter().filter_map(|line| line.split(' ').nth(2).map(str::to_owned)).collect::<BTreeSet<_>>()
                };
                let kind =
                    format!("{} {} {:?} {:?}", step.ours, step.theirs, types(&step.surplus), types(&step.missing));
                unexplained.entry(kind).or_insert((0, step.to_string())).0 += 1;
            }
        }
    }
    eprintln!("{rcodes:?}");
    for (difference, used) in DIFFERENCES.iter().zip(&used) {
        eprintln!("{used:6}: {}", difference.why);
    }
    let texts: String =
        unexplained.iter().map(|(kind, (count, text))| format!("{count} times {kind}: {text}\n")).collect();
    assert!(texts.is_empty(), "unexplained:\n{texts}");
    assert!(rcodes["NOERROR"] > 300 && rcodes.len() >= 7, "too little was tried: {rcodes:?}");
    for (difference, used) in DIFFERENCES.iter().zip(&used) {
        assert!(*used > 0, "nothing differs so any more: {}", difference.why);
    }
}

fn lines(zone: &Zone) -> BTreeSet<String> {
    let line = |record: Record| {
        let data = rdata_to_text(record.rtype, &rdata::canonical(record.rtype, &record.rdata));
        format!("{:#} {} {} {data}", record.owner.name(), record.ttl, record.rtype)
    };
    zone.records().map(line).collect()
}

/// What we make of a signed update.
fn carry_out(zone: &Zone, bytes: &[u8]) -> (Rcode, Zone) {
    let key = TsigKey::parse(KEY).unwrap();
    let policy = UpdatePolicy::new(*zone.apex(), vec![Grant::operator(key.name)]);
    let Ok(message) = Message::parse(bytes) else { return (Rcode::FORMERR, zone.clone()) };
    match UpdateMessage::read(&message).and_then(|update| apply_update(zone, &update, &policy, &key.name)) {
        Ok(changes) => (Rcode::NOERROR, zone.with(&changes).unwrap()),
        Err(refusal) => (refusal.rcode(), zone.clone()),
    }
}

fn send(bind: &mut Bind, bytes: &[u8]) -> Rcode {
    let key = TsigKey::parse(KEY).unwrap();
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + 200, 0);
    let (len, mac) = sign_request(&key, &mut buffer, bytes.len(), Clock::System.now(), 300).unwrap();
    let reply = bind.ask_tcp(&buffer[..len]);
    let message = Message::parse(&reply).unwrap();
    // What BIND cannot read it answers without a signature.
    if let Some(tsig_at) = message.tsig_at {
        verify_response(&key, &mac, &reply, tsig_at, Clock::System.now()).unwrap();
    }
    message.header.flags.rcode()
}

/// The zone as BIND has it now (RFC 5936).
fn transfer(bind: &mut Bind) -> Zone {
    bind.send_tcp(&Asked::new(APEX, "AXFR", Transport::Tcp, None).message());
    let mut records = Vec::new();
    let mut soas = 0;
    while soas < 2 {
        let bytes = bind.read_tcp();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.header.flags.rcode(), Rcode::NOERROR);
        for raw in message.section(Section::Answer) {
            soas += usize::from(raw.rtype == Rtype::SOA);
            let rdata = rdata::read(&bytes, raw.rdata_at, raw.rdata_len, raw.rtype)
                .unwrap_or_else(|error| panic!("{error} in {}", record_text(&bytes, &raw)));
            records.push(Record { owner: Key::new(&raw.owner), rtype: raw.rtype, ttl: Ttl::new(raw.ttl), rdata });
        }
    }
    Zone::new(&Name::parse(APEX).unwrap(), records).unwrap()
}

fn message(entries: &[Entry]) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let mut composer = Composer::new(&mut buffer, 65_000, 7, Flags(5 << 11)).unwrap();
    composer.question(&Question { name: Name::parse(APEX).unwrap(), rtype: Rtype::SOA, class: Class::IN }).unwrap();
    for Entry { place, owner, rtype, class, ttl, data } in entries {
        let rtype: Rtype = rtype.parse().unwrap();
        let data = match data {
            Ok(text) if text.is_empty() => Box::default(),
            Ok(text) => rdata_from_text(rtype, text, None).unwrap(),
            Err(octets) => octets.clone().into(),
        };
        composer.record(*place, &Name::parse(owner).unwrap(), rtype, *class, Ttl::new(*ttl), &data).unwrap();
    }
    let len = composer.finish();
    buffer.truncate(len);
    buffer
}

const TYPES: &[&str] =
    &["A", "A", "TXT", "NS", "NS", "CNAME", "CNAME", "DNAME", "MX", "DS", "SOA", "KEY", "TYPE65280", "WKS"];

/// A few entries, often about what the zone has.
fn entries(chance: &mut Chance, zone: &Zone) -> Vec<Entry> {
    let records: Vec<Record> = zone.records().collect();
    let mut entries = Vec::new();
    for (place, most, one_in) in [(Place::Answer, 3, 3), (Place::Authority, 5, 1)] {
        if chance.below(one_in) == 0 {
            for _ in 0..chance.below(most) + 1 {
                entries.push(entry(chance, place, &records));
            }
        }
    }
    entries
}

fn entry(chance: &mut Chance, place: Place, records: &[Record]) -> Entry {
    let known = &records[chance.below(records.len())];
    let (owner, rtype, data) = if chance.below(2) == 0 {
        let rtype = TYPES.iter().find(|rtype| known.rtype == rtype.parse().unwrap()).copied().unwrap_or("A");
        let text = rdata_to_text(known.rtype, &known.rdata);
        (
            format!("{:#}", known.owner.name()),
            rtype,
            if rtype == "A" && known.rtype != Rtype::A { "192.0.2.7".into() } else { text },
        )
    } else {
        let rtype = chance.of(TYPES);
        let owner = match chance.below(12) {
            0 => "out.side.".to_owned(),
            1 => format!("x{APEX}"),
            _ => chance.owner(APEX, 3),
        };
        (owner, rtype, data(chance, rtype, records))
    };
    let owner = if chance.below(3) == 0 { owner.to_uppercase() } else { owner };
    let rtype = if chance.below(60) == 0 { chance.of(&["AXFR", "MAILA", "ANY", "TYPE200"]) } else { rtype };
    let class = [Class::IN, Class::IN, Class::ANY, Class::NONE][chance.below(4)];
    let class = if chance.below(80) == 0 { Class::CH } else { class };
    let valued = class == Class::IN || class == Class::NONE && place == Place::Authority;
    let rtype = if !valued && chance.below(2) == 0 { "ANY" } else { rtype };
    let wrong = chance.below(80) == 0;
    let adds = class == Class::IN && place == Place::Authority;
    let ttl = if adds || wrong { [60, 120, 0x7FFF_FFFF][chance.below(3)] } else { 0 };
    let known_type = data_is_text(rtype);
    let data = match chance.below(80) {
        0 => Err(vec![0xC0; chance.below(4)]),
        1 => Ok(String::new()),
        _ if valued && known_type => Ok(data),
        _ => Ok(String::new()),
    };
    Entry { place, owner, rtype, class, ttl, data }
}

fn data_is_text(rtype: &str) -> bool {
    TYPES.contains(&rtype)
}

fn data(chance: &mut Chance, rtype: &str, records: &[Record]) -> String {
    match rtype {
        "SOA" => {
            let soa = records.iter().find(|record| record.rtype == Rtype::SOA).unwrap();
            let serial = rdata::Soa::parse(&soa.rdata).unwrap().serial;
            let ahead = [0, 1, 9, 0x7FFF_FFFF, 0x8000_0001, u32::MAX][chance.below(6)];
            format!("ns.{APEX} admin.{APEX} {} 1 2 3 60", serial.wrapping_add(ahead))
        }
        "KEY" => format!("512 3 8 {}", chance.of(&["AQAB", "AQAC"])),
        "TYPE65280" => format!("\\# 2 ABC{}", chance.below(3)),
        "WKS" => format!("\\# 6 C000020{}0{}8{}", chance.below(2), chance.below(2), chance.below(2)),
        _ => chance.data(APEX, rtype),
    }
}
