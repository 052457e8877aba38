//! Updates sent as messages, and what they change: a line for the serial, one for each record that goes, one for
//! each that comes.
//!
//! Entries stand as RFC 2136 has them, `owner TTL class type data`, relative to the zone.

use super::policy::{Effect, Grant, Rule, Types, UpdatePolicy};
use super::{Refusal, UpdateMessage, apply_update};
use crate::wire::{Class, Composer, Flags, Message, Name, Opcode, Place, Question, Rcode, Rtype, Ttl};
use crate::zone::text::{parse, rdata_from_text, rdata_to_text};
use crate::zone::{Changes, Zone};

mod operations;
mod prerequisites;

const ZONE: &str = "
$ORIGIN example.com.
$TTL 300
@        3600 SOA ns1 admin 7 1200 180 1209600 60
            NS  ns1
            NS  ns2
            MX  10 mail
ns1         A   192.0.2.53
www         A   192.0.2.80
            A   192.0.2.81
            TXT \"Text\"
mail        A   192.0.2.25
a.ent       A   192.0.2.3
*.wild      A   192.0.2.99
alias       CNAME www
ptr         PTR Host.Example.com.
one.sub     NS  ns1
";

fn zone() -> Zone {
    let parsed = parse(ZONE, "test.zone", None, &mut |_| Err("no file".into())).unwrap();
    Zone::new(&parsed.apex, parsed.records).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse_with(text, Some(&Name::parse("example.com").unwrap())).unwrap()
}

fn class(text: &str) -> Class {
    match text {
        "IN" => Class::IN,
        "ANY" => Class::ANY,
        "NONE" => Class::NONE,
        number => Class(number.parse().unwrap()),
    }
}

/// An update message of these entries, a line each; data in text, or octets after `\#`.
fn message(prerequisites: &str, operations: &str) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let mut composer = Composer::new(&mut buffer, 65_535, 7, Flags(u16::from(Opcode::UPDATE.0) << 11)).unwrap();
    composer.question(&Question { name: name("@"), rtype: Rtype::SOA, class: Class::IN }).unwrap();
    for (place, entries) in [(Place::Answer, prerequisites), (Place::Authority, operations)] {
        for line in entries.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(5, ' ');
            let mut word = || words.next().unwrap();
            let (owner, ttl, class, rtype) = (name(word()), word(), class(word()), word().parse().unwrap());
            let rdata = match words.next() {
                None => Box::default(),
                Some(text) => match text.strip_prefix("\\# ") {
                    Some("0") => Box::default(),
                    Some(hex) => hex.split(' ').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect(),
                    None => rdata_from_text(rtype, text, Some(&name("@"))).unwrap(),
                },
            };
            composer.record(place, &owner, rtype, class, Ttl::new(ttl.parse().unwrap()), &rdata).unwrap();
        }
    }
    let len = composer.finish();
    buffer.truncate(len);
    buffer
}

fn changes(zone: &Zone, prerequisites: &str, operations: &str) -> Result<Changes, Refusal> {
    let bytes = message(prerequisites, operations);
    let update = UpdateMessage::read(&Message::parse(&bytes).unwrap())?;
    let policy = UpdatePolicy::new(name("@"), vec![Grant::operator(name("key"))]);
    apply_update(zone, &update, &policy, &name("key"))
}

/// What changes but the SOA, and the serial after it.
fn show(zone: &Zone, changes: &Changes) -> String {
    let after = zone.with(changes).unwrap();
    let mut text = format!("{} -> {}", zone.serial(), after.serial());
    for (sign, records) in [('-', &changes.removed), ('+', &changes.added)] {
        for record in records.iter().filter(|record| record.rtype != Rtype::SOA) {
            let owner = record.owner.name();
            let data = rdata_to_text(record.rtype, &record.rdata).replace(".example.com.", "");
            let owner = owner.to_string().replace(".example.com", "").replace("example.com", "@");
            text += &format!("\n{sign} {owner} {} {} {data}", record.ttl, record.rtype);
        }
    }
    let mut before: Vec<_> = zone.records().collect();
    let mut back: Vec<_> = after.with(&changes.clone().inverse()).unwrap().records().collect();
    before.sort();
    back.sort();
    assert_eq!(before, back, "the inverse gives the old zone");
    text
}

fn update(operations: &str) -> String {
    show(&zone(), &changes(&zone(), "", operations).unwrap())
}

fn rcode(prerequisites: &str, operations: &str) -> Rcode {
    changes(&zone(), prerequisites, operations).map_or_else(|refusal| refusal.rcode(), |_| Rcode::NOERROR)
}

const NOTHING: &str = "7 -> 7";

#[test]
fn the_zone_section_holds_one_zone_of_type_soa_and_class_in() {
    // RFC 2136 section 3.1.1.
    let bytes = message("", "");
    let read = |at: usize, octet: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = octet;
        UpdateMessage::read(&Message::parse(&bytes).unwrap()).map_err(|refusal| refusal.rcode())
    };
    assert_eq!(read(0, 0).unwrap().zone, name("@"));
    assert_eq!(read(bytes.len() - 3, 1).unwrap_err(), Rcode::FORMERR, "type A");
    assert_eq!(read(bytes.len() - 1, 3).unwrap_err(), Rcode::NOTAUTH, "class CH");
    let none = [&bytes[..4], &[0; 8]].concat();
    let two = [&bytes[..4], &[0, 2], &bytes[6..], b"\xc0\x0c\0\x06\0\x01"].concat();
    for bytes in [none, two] {
        let refusal = UpdateMessage::read(&Message::parse(&bytes).unwrap()).unwrap_err();
        assert_eq!(refusal.rcode(), Rcode::FORMERR);
    }
}

#[test]
fn the_order_is_prerequisites_then_prescan_then_rights() {
    let policy = UpdatePolicy::new(
        name("@"),
        vec![Grant {
            effect: Effect::Allow,
            key: name("key"),
            rule: Rule::Name(name("www")),
            types: Types::Only(vec![Rtype::A]),
        }],
    );
    let rcode = |prerequisites, operations| {
        let bytes = message(prerequisites, operations);
        let update = UpdateMessage::read(&Message::parse(&bytes).unwrap()).unwrap();
        apply_update(&zone(), &update, &policy, &name("key")).map_or_else(|refusal| refusal.rcode(), |_| Rcode::NOERROR)
    };
    assert_eq!(rcode("nope 0 ANY ANY", "mail 0 IN ANY"), Rcode::NXDOMAIN);
    assert_eq!(rcode("", "mail 0 ANY A\nwww 0 IN ANY"), Rcode::FORMERR);
    assert_eq!(rcode("", "www 60 IN A 192.0.2.1\nmail 60 IN A 192.0.2.1"), Rcode::REFUSED, "all or nothing");
    assert_eq!(rcode("", "www 60 IN A 192.0.2.1\nwww 0 NONE A 192.0.2.80\nwww 0 ANY A"), Rcode::NOERROR);
    assert_eq!(rcode("", "www 0 ANY TXT"), Rcode::REFUSED);
    assert_eq!(rcode("", "www 0 ANY ANY"), Rcode::REFUSED, "its TXT would go too");
    assert_eq!(rcode("", ""), Rcode::NOERROR, "nothing asked is nothing refused");
}

#[test]
fn an_update_of_nothing_changes_nothing() {
    assert_eq!(update(""), NOTHING);
    assert_eq!(show(&zone(), &changes(&zone(), "www 0 ANY A", "").unwrap()), NOTHING);
}
