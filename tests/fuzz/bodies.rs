//! What each fuzz target does with its octets, and what must hold then. A panic is the failure.

use dyndns::query::{Peer, Reason, Transport, Verdict, View, respond as answer};
use dyndns::tsig::{Keyring, TsigKey};
use dyndns::update::policy::{Grant, UpdatePolicy};
use dyndns::update::{UpdateMessage, apply_update};
use dyndns::wire::{Composer, Flags, Message, Name, Place, Section, Ttl, rdata};
use dyndns::zone::text::{parse, rdata_from_text, rdata_to_text, write_zone};
use dyndns::zone::{Record, Zone};
use std::sync::{Arc, LazyLock};

const ZONE: &str =
    "$ORIGIN example.com.\n$TTL 300\n@ SOA ns1 admin 4294967295 1 2 3 60\n@ NS ns1\n@ NS ns2\nns1 A 192.0.2.53
www A 192.0.2.80\nwww TXT \"x\"\nrouter AAAA 2001:db8::1\nalias CNAME www\nloop CNAME loop\n*.wild MX 10 www
a.b.ent A 192.0.2.3\nsub NS ns.sub\nns.sub A 192.0.2.54\ndname DNAME wild\nup DNAME @\n_sip._tcp SRV 0 0 5060 www\n";

static VIEW: LazyLock<View> = LazyLock::new(|| {
    let parsed = parse(ZONE, "fuzz.zone", None, &mut |_| Err("no file".into())).unwrap();
    let mut view = View::default();
    view.zones.insert(Arc::new(Zone::new(&parsed.apex, parsed.records).unwrap()));
    view.keyring = Arc::new([TsigKey::parse("key:c2VjcmV0").unwrap()].into_iter().collect::<Keyring>());
    view
});

/// A message is walked, its data read, shown as text, read from text, and composed again.
pub(crate) fn message(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let mut buffer = vec![0; 65_535];
    let mut composer = Composer::new(&mut buffer, 65_535, message.header.id, Flags::QR).unwrap();
    let mut written = Vec::new();
    let sections = [
        (Section::Answer, Place::Answer),
        (Section::Authority, Place::Authority),
        (Section::Additional, Place::Additional),
    ];
    for (section, place) in sections {
        for raw in message.section(section) {
            let Ok(data) = rdata::read(bytes, raw.rdata_at, raw.rdata_len, raw.rtype) else { continue };
            assert_eq!(rdata::validate(raw.rtype, &data), Ok(()));
            assert!(rdata::eq(raw.rtype, &data, &rdata::canonical(raw.rtype, &data)));
            let text = rdata_to_text(raw.rtype, &data);
            assert_eq!(rdata_from_text(raw.rtype, &text, None).as_deref(), Ok(&*data), "{} {text}", raw.rtype);
            if composer.record(place, &raw.owner, raw.rtype, raw.class, Ttl::new(raw.ttl), &data).is_ok() {
                written.push((raw.owner, raw.rtype, data));
            }
        }
    }
    let len = composer.finish();
    // OPT and TSIG, written like any record, may stand where they must not.
    let Ok(again) = Message::parse(&buffer[..len]) else { return };
    let read = sections.into_iter().flat_map(|(section, _)| again.section(section));
    for (raw, (owner, rtype, data)) in read.zip(written) {
        assert_eq!((raw.owner, raw.rtype), (owner, rtype));
        assert_eq!(rdata::read(again.bytes, raw.rdata_at, raw.rdata_len, raw.rtype), Ok(data));
    }
}

/// A message from the network is answered, or not.
pub(crate) fn respond(bytes: &[u8]) {
    for (transport, size) in [(Transport::Udp, 1400), (Transport::Tcp, 65_535)] {
        let mut buffer = vec![0; size];
        let peer = Peer { address: "192.0.2.1:5353".parse().unwrap(), transport };
        match answer(&VIEW, peer, 1_800_000_000, bytes, &mut buffer) {
            Verdict::Reply(len, _) => {
                assert!(bytes.len() >= 12 && bytes[2] & 0x80 == 0, "a runt or a response was answered");
                let reply = Message::parse(&buffer[..len]).unwrap();
                assert!(reply.header.flags.has(Flags::QR) && buffer[..2] == bytes[..2]);
                assert!(transport == Transport::Tcp || len <= 1232);
            }
            Verdict::Drop(Reason::Runt) => assert!(bytes.len() < 12),
            Verdict::Drop(Reason::IsResponse) => assert!(bytes[2] & 0x80 != 0),
            Verdict::Drop(reason) => panic!("dropped: {reason:?}"),
            Verdict::Update | Verdict::Transfer => {}
        }
    }
}

/// An update is read, carried out if it can be, and undone.
pub(crate) fn update(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let Ok(update) = UpdateMessage::read(&message) else { return };
    let Some(zone) = VIEW.zones.iter().next() else { return };
    let key = Name::parse("key").unwrap();
    let policy = UpdatePolicy::new(*zone.apex(), vec![Grant::operator(key)]);
    let Ok(changes) = apply_update(zone, &update, &policy, &key) else { return };
    let after = zone.with(&changes).unwrap();
    assert_eq!(changes.is_empty(), after.serial() == zone.serial());
    assert!(changes.is_empty() || after.serial().is_after(zone.serial()));
    let sorted = |zone: &Zone| {
        let mut records: Vec<Record> = zone.records().collect();
        records.sort();
        records
    };
    assert_eq!(sorted(&after.with(&changes.inverse()).unwrap()), sorted(zone));
}

/// A zone file is read, written, and read again.
pub(crate) fn zone(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // A line of it makes 65,536 records.
    if text.to_ascii_uppercase().contains("$GENERATE") {
        return;
    }
    let apex = Name::parse("example.com").unwrap();
    let read = |text: &str| parse(text, "fuzz.zone", Some(apex), &mut |_| Err("no file".into()));
    let Ok(first) = read(text) else { return };
    let zone = Zone::new(&first.apex, first.records).unwrap();
    let mut written = String::new();
    write_zone(&mut written, zone.apex(), zone.records()).unwrap();
    let again = read(&written).unwrap();
    assert_eq!(again.apex, *zone.apex());
    let again = Zone::new(&again.apex, again.records).unwrap();
    assert!(again.records().eq(zone.records()), "{written}");
}
