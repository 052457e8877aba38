//! What must hold whatever the octets, zones and updates are.
//!
//! Zones and names are small and their labels few, so that wildcards, cuts, aliases and empty non-terminals meet often.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

#[path = "properties/model.rs"]
mod model;
#[path = "properties/updates.rs"]
mod updates;

use dyndns::query::{Limits, Peer, Reason, Transport, Verdict, View, respond};
use dyndns::tsig::{Keyring, TsigKey, sign_request, verify_response};
use dyndns::update::policy::{Grant, UpdatePolicy};
use dyndns::update::{UpdateMessage, apply_update};
use dyndns::wire::{
    Class, Composer, Edns, Flags, Message, Name, Place, Question, RawRecord, Rtype, Section, Ttl, rdata,
};
use dyndns::zone::text::{rdata_from_text, rdata_to_text};
use dyndns::zone::{Key, Record, Zone};
use model::{Line, labels};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use updates::{entry, update_message};

const NOW: u64 = 1_800_000_000;
const APEX: &str = "z";
const UPDATE: Flags = Flags(5 << 11);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A name in the zone: up to so many labels below the apex.
fn owner(depth: usize) -> impl Strategy<Value = String> {
    let long = "l".repeat(63);
    let label = prop_oneof![4 => Just("a".to_string()), 4 => Just("b".to_string()), 3 => Just("*".to_string()),
        1 => Just("c".to_string()), 1 => Just(long)];
    vec(label, 0..=depth).prop_map(|mut labels| {
        labels.push(APEX.into());
        while labels.iter().map(|label| label.len() + 1).sum::<usize>() > 254 {
            labels.remove(0);
        }
        labels.join(".")
    })
}

fn data(rtype: &'static str) -> BoxedStrategy<String> {
    let target = || prop_oneof![5 => owner(3), 1 => Just("out.side".to_string())].prop_map(|name| format!("{name}."));
    match rtype {
        "A" => (1..4u8).prop_map(|last| format!("192.0.2.{last}")).boxed(),
        "AAAA" => (1..3u8).prop_map(|last| format!("2001:db8::{last}")).boxed(),
        "TXT" => (1..4u8).prop_map(|number| format!("\"t{number}\"")).boxed(),
        "DS" => (1..3u8).prop_map(|tag| format!("{tag} 8 2 {}", "ab".repeat(32))).boxed(),
        "MX" => target().prop_map(|target| format!("1 {target}")).boxed(),
        "SOA" => prop_oneof![Just(6u32), Just(7), Just(8), Just(0x8000_0006), Just(0x8000_0008)]
            .prop_map(|serial| format!("ns.z. admin.z. {serial} 1 2 3 60"))
            .boxed(),
        _ => target().boxed(),
    }
}

fn typed(types: &'static [(u32, &'static str)]) -> impl Strategy<Value = (&'static str, String)> {
    let one =
        |&(weight, rtype): &(u32, &'static str)| (weight, data(rtype).prop_map(move |data| (rtype, data)).boxed());
    proptest::strategy::Union::new_weighted(types.iter().map(one).collect())
}

const IN_ZONES: &[(u32, &str)] =
    &[(6, "A"), (1, "AAAA"), (3, "TXT"), (3, "NS"), (4, "CNAME"), (2, "DNAME"), (1, "MX"), (1, "DS")];

/// The lines of a zone: what a zone file could hold.
fn zone_lines() -> impl Strategy<Value = Vec<Line>> {
    vec((owner(3), typed(IN_ZONES)), 0..14).prop_map(|records| {
        let line = |owner: &str, rtype: &str, data: &str| Line {
            owner: labels(owner),
            rtype: rtype.into(),
            ttl: if rtype == "SOA" { 300 } else { 120 },
            data: data.into(),
        };
        let mut lines = vec![line(APEX, "SOA", "ns.z. admin.z. 7 1 2 3 60"), line(APEX, "NS", "out.side.")];
        for (owner, (rtype, data)) in records {
            let line = line(&owner, rtype, &data);
            let alone = |other: &Line| other.rtype == "CNAME" || rtype == "CNAME";
            let single = |other: &Line| rtype == "DNAME" && other.rtype == "DNAME";
            let conflict =
                |other: &Line| other.owner == line.owner && (alone(other) || single(other) || *other == line);
            if !lines.iter().any(conflict) {
                lines.push(line);
            }
        }
        lines
    })
}

fn zone(lines: &[Line]) -> Zone {
    let records = lines.iter().map(|line| {
        let rtype = line.rtype.parse().unwrap();
        Record {
            owner: Key::new(&name(&line.owner.join("."))),
            rtype,
            ttl: Ttl::new(line.ttl),
            rdata: rdata_from_text(rtype, &line.data, None).unwrap(),
        }
    });
    Zone::new(&name(APEX), records).unwrap()
}

fn lines_of(zone: &Zone) -> Vec<Line> {
    let line = |record: Record| Line {
        owner: labels(&record.owner.name().to_string()),
        rtype: record.rtype.to_string(),
        ttl: record.ttl.seconds(),
        data: rdata_to_text(record.rtype, &record.rdata).to_lowercase(),
    };
    let mut lines: Vec<Line> = zone.records().map(line).collect();
    lines.sort();
    lines
}

fn view(zone: Zone) -> View {
    let mut view = View::default();
    view.zones.insert(Arc::new(zone));
    view.keyring = Arc::new([TsigKey::parse("key:c2VjcmV0").unwrap()].into_iter().collect::<Keyring>());
    view
}

fn peer(transport: Transport) -> Peer {
    Peer { address: "192.0.2.1:5353".parse().unwrap(), transport }
}

/// A query; with a size it has EDNS.
fn query(asked: &str, rtype: Rtype, edns: Option<u16>) -> Vec<u8> {
    let mut buffer = [0; 600];
    let mut composer = Composer::new(&mut buffer, 600, 77, Flags::RD).unwrap();
    composer.question(&Question { name: name(asked), rtype, class: Class::IN }).unwrap();
    if let Some(udp_size) = edns {
        composer.edns(Edns { udp_size, version: 0, extended_rcode: 0, dnssec_ok: false }).unwrap();
    }
    let len = composer.finish();
    buffer[..len].to_vec()
}

fn line_of(message: &Message<'_>, record: &RawRecord) -> Line {
    let data = rdata::read(message.bytes, record.rdata_at, record.rdata_len, record.rtype).unwrap();
    Line {
        owner: labels(&record.owner.to_string()),
        rtype: record.rtype.to_string(),
        ttl: record.ttl,
        data: rdata_to_text(record.rtype, &data).to_lowercase(),
    }
}

/// The records of a section but OPT and TSIG, which come once each.
fn section(message: &Message<'_>, section: Section) -> BTreeSet<Line> {
    let records = message.section(section).filter(|record| !matches!(record.rtype, Rtype::OPT | Rtype::TSIG));
    let lines: Vec<Line> = records.map(|record| line_of(message, &record)).collect();
    let set: BTreeSet<Line> = lines.iter().cloned().collect();
    assert_eq!(set.len(), lines.len(), "a record comes twice: {lines:?}");
    set
}

/// What holds for every reply, whatever it answers.
fn check_reply(request: &[u8], reply: &[u8], transport: Transport) {
    let message = Message::parse(reply).unwrap();
    assert!(message.header.flags.has(Flags::QR) && !message.header.flags.has(Flags::RA));
    assert_eq!(reply[..2], request[..2], "the ID");
    assert_eq!(reply[2] & 0x79, request[2] & 0x79, "opcode and RD");
    let asked = Message::parse(request).ok();
    let size = match (transport, asked.as_ref().and_then(|message| message.edns)) {
        (Transport::Tcp, _) => 65_535,
        (Transport::Udp, None) => 512,
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_size.clamp(512, Limits::default().udp_size)),
    };
    assert!(reply.len() <= size, "{} octets, {size} allowed", reply.len());
    let theirs = hickory_proto::op::Message::from_vec(reply).unwrap();
    let [questions, answers, authorities, additionals] = message.header.counts.map(usize::from);
    let own = usize::from(message.edns.is_some()) + usize::from(message.tsig_at.is_some());
    assert_eq!(
        (questions, answers, authorities, additionals - own),
        (theirs.queries.len(), theirs.answers.len(), theirs.authorities.len(), theirs.additionals.len()),
        "hickory reads the same counts"
    );
    assert_eq!(theirs.edns.is_some(), message.edns.is_some());
}

fn ask(view: &View, transport: Transport, request: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0xAA; if transport == Transport::Tcp { 65_535 } else { 1400 }];
    match respond(view, peer(transport), NOW, request, &mut buffer) {
        Verdict::Reply(len, _) => buffer.truncate(len),
        verdict => panic!("{verdict:?}"),
    }
    check_reply(request, &buffer, transport);
    buffer
}

const ASKED: &[&str] = &["A", "AAAA", "TXT", "NS", "CNAME", "DNAME", "MX", "DS", "SOA", "ANY", "TYPE65280"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, max_shrink_iters: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_the_naive_model(
        lines in zone_lines(),
        questions in vec((owner(5), prop::sample::select(ASKED)), 8),
    ) {
        let view = view(zone(&lines));
        for (asked, rtype) in questions {
            let expected = model::answer(&lines, &labels(APEX), &labels(&asked), rtype);
            let request = query(&asked, rtype.parse().unwrap(), None);
            let reply = ask(&view, Transport::Tcp, &request);
            let message = Message::parse(&reply).unwrap();
            let mut additional = section(&message, Section::Additional);
            let got = model::Reply {
                rcode: message.header.flags.rcode().0,
                authoritative: message.header.flags.has(Flags::AA),
                answer: section(&message, Section::Answer),
                authority: section(&message, Section::Authority),
                glue: additional.intersection(&expected.glue).cloned().collect(),
            };
            prop_assert_eq!(&got, &expected, "{} {} in {:#?}", asked, rtype, lines);
            additional.retain(|line| line.rtype != "A" && line.rtype != "AAAA");
            prop_assert!(additional.is_empty());
            // The same over UDP: as much of it as is whole, or all of it.
            for edns in [None, Some(600)] {
                let reply = ask(&view, Transport::Udp, &query(&asked, rtype.parse().unwrap(), edns));
                let message = Message::parse(&reply).unwrap();
                let answer = section(&message, Section::Answer);
                prop_assert!(answer.is_subset(&expected.answer));
                if message.header.flags.has(Flags::TC) {
                    let sets = |lines: &BTreeSet<Line>| -> BTreeSet<_> {
                        lines.iter().map(|line| (line.owner.clone(), line.rtype.clone())).collect()
                    };
                    let whole = expected.answer.iter()
                        .filter(|line| sets(&answer).contains(&(line.owner.clone(), line.rtype.clone()))).count();
                    prop_assert_eq!(answer.len(), whole, "an RRset is cut");
                } else if rtype != "ANY" {
                    prop_assert_eq!(&answer, &expected.answer);
                    prop_assert_eq!(&section(&message, Section::Authority), &expected.authority);
                }
            }
        }
    }
}

/// A message as a list: the question, then (place, owner, type, class, TTL, data).
type Written = (Name, Vec<(Place, Name, Rtype, u16, u32, Vec<u8>)>);

fn odd_name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![
        4 => prop::sample::select(vec!["a", "A", "b", "example", "Example", "com"]).prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..64),
    ];
    vec(label, 0..8)
        .prop_map(|labels| labels.iter().rev().fold(Name::root(), |name, label| name.child(label).unwrap_or(name)))
}

fn written() -> impl Strategy<Value = Written> {
    let data = prop_oneof![
        odd_name().prop_map(|name| (Rtype::NS, name.as_bytes().to_vec())),
        odd_name().prop_map(|name| (Rtype::DNAME, name.as_bytes().to_vec())),
        odd_name().prop_map(|name| (Rtype::MX, [&[0, 10], name.as_bytes()].concat())),
        odd_name().prop_map(|name| (Rtype::SRV, [&[0, 0, 0, 0, 0, 53], name.as_bytes()].concat())),
        (odd_name(), odd_name()).prop_map(|(a, b)| (Rtype::SOA, [a.as_bytes(), b.as_bytes(), &[7; 20]].concat())),
        vec(any::<u8>(), 0..300).prop_map(|octets| (Rtype(65_280), octets)),
        Just((Rtype::A, vec![192, 0, 2, 1])),
    ];
    let place = (odd_name(), data, any::<u16>(), any::<u32>());
    (odd_name(), vec(place, 0..12), 0..12usize, 0..12usize).prop_map(|(question, records, first, second)| {
        let (first, second) = (first.min(second), first.max(second));
        let place = |at: usize| match at {
            at if at < first => Place::Answer,
            at if at < second => Place::Authority,
            _ => Place::Additional,
        };
        let records = records
            .into_iter()
            .enumerate()
            .map(|(at, (owner, (rtype, data), class, ttl))| (place(at), owner, rtype, class, ttl & 0x7FFF_FFFF, data));
        (question, records.collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_composed_parses_to_the_same((asked, records) in written(), limit in 300..20_000usize) {
        let mut buffer = vec![0xC0; limit];
        let mut composer = Composer::new(&mut buffer, limit, 7, Flags::QR).unwrap();
        composer.question(&Question { name: asked, rtype: Rtype::A, class: Class::IN }).unwrap();
        let mut kept = Vec::new();
        for record in &records {
            let (place, owner, rtype, class, ttl, data) = record;
            if composer.record(*place, owner, *rtype, Class(*class), Ttl::new(*ttl), data).is_ok() {
                kept.push(record);
            }
        }
        let len = composer.finish();
        let message = Message::parse(&buffer[..len]).unwrap();
        prop_assert!(message.question.unwrap().name.same_case(&asked));
        let sections = [(Section::Answer, Place::Answer), (Section::Authority, Place::Authority), (Section::Additional, Place::Additional)];
        let read = sections.into_iter().flat_map(|(section, place)| message.section(section).map(move |record| (place, record)));
        let read: Vec<(Place, RawRecord)> = read.collect();
        prop_assert_eq!(read.len(), kept.len());
        for ((place, raw), (want, owner, rtype, class, ttl, data)) in read.iter().zip(kept) {
            prop_assert_eq!((place, raw.owner, raw.rtype, raw.class, raw.ttl), (want, *owner, *rtype, Class(*class), *ttl));
            let rdata = rdata::read(&buffer[..len], raw.rdata_at, raw.rdata_len, raw.rtype).unwrap();
            prop_assert_eq!(&*rdata, &data[..], "names in data keep their case");
        }
    }
}

/// Octets that look like a message: a good one, spoilt in places and cut.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let good =
        prop_oneof![
            (owner(4), prop::sample::select(ASKED), prop::option::of(any::<u16>()))
                .prop_map(|(name, rtype, edns)| query(&name, rtype.parse().unwrap(), edns)),
            (vec(entry(true, 2), 0..3), vec(entry(false, 2), 0..4))
                .prop_map(|(prerequisites, operations)| update_message(&prerequisites, &operations)),
            (owner(2), any::<bool>()).prop_map(|(name, edns)| {
                let mut bytes = query(&name, Rtype::A, edns.then_some(1232));
                let len = bytes.len();
                bytes.resize(1000, 0);
                let (len, _) =
                    sign_request(&TsigKey::parse("key:c2VjcmV0").unwrap(), &mut bytes, len, NOW, 300).unwrap();
                bytes.truncate(len);
                bytes
            }),
        ];
    let spots = vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xC0), Just(0), Just(0xFF)]), 0..6);
    (good, spots, prop::option::weighted(0.2, any::<prop::sample::Index>())).prop_map(|(mut bytes, spots, cut)| {
        for (at, octet) in spots {
            let at = at.index(bytes.len());
            bytes[at] = octet;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

/// Takes the octets every way that a server would.
fn swallow(view: &View, bytes: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut buffer = vec![0; if transport == Transport::Tcp { 65_535 } else { 1400 }];
        match respond(view, peer(transport), NOW, bytes, &mut buffer) {
            Verdict::Reply(len, _) => {
                assert!(bytes.len() >= 12 && bytes[2] & 0x80 == 0, "a runt or a response was answered");
                check_reply(bytes, &buffer[..len], transport);
            }
            Verdict::Drop(reason) => match reason {
                Reason::Runt => assert!(bytes.len() < 12),
                Reason::IsResponse => assert!(bytes[2] & 0x80 != 0),
                reason => panic!("dropped: {reason:?}"),
            },
            Verdict::Update | Verdict::Transfer => {}
        }
    }
    let Ok(message) = Message::parse(bytes) else { return };
    let Ok(update) = UpdateMessage::read(&message) else { return };
    let zone = view.zones.iter().next().unwrap();
    let policy = UpdatePolicy::new(name(APEX), vec![Grant::operator(name("key"))]);
    if let Ok(changes) = apply_update(zone, &update, &policy, &name("key")) {
        let after = zone.with(&changes).unwrap();
        assert_eq!(changes.is_empty(), after.serial() == zone.serial());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_octets_are_swallowed(bytes in vec(any::<u8>(), 0..600)) {
        swallow(&view(zone(&[line(APEX, "SOA", "ns.z. admin.z. 7 1 2 3 60"), line("*.z", "TXT", "\"x\"")])), &bytes);
    }

    #[test]
    fn spoilt_messages_are_swallowed(lines in zone_lines(), bytes in spoilt()) {
        swallow(&view(zone(&lines)), &bytes);
    }

    #[test]
    fn signed_questions_are_answered_signed(lines in zone_lines(), asked in owner(4), rtype in prop::sample::select(ASKED), edns in prop::option::of(0..2000u16)) {
        let key = TsigKey::parse("key:c2VjcmV0").unwrap();
        let mut bytes = query(&asked, rtype.parse().unwrap(), edns);
        let len = bytes.len();
        bytes.resize(1000, 0);
        let (len, mac) = sign_request(&key, &mut bytes, len, NOW, 300).unwrap();
        let reply = ask(&view(zone(&lines)), Transport::Udp, &bytes[..len]);
        let tsig_at = Message::parse(&reply).unwrap().tsig_at.unwrap();
        prop_assert_eq!(verify_response(&key, &mac, &reply, tsig_at, NOW), Ok(()));
    }
}

fn line(owner: &str, rtype: &str, data: &str) -> Line {
    Line { owner: labels(owner), rtype: rtype.into(), ttl: 60, data: data.into() }
}
