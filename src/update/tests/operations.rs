//! RFC 2136 sections 2.5 and 3.4.

use super::*;
use crate::update::Entry;
use crate::zone::{Key, Record};

#[test]
fn a_record_is_added() {
    assert_eq!(update("new 120 IN AAAA 2001:db8::1"), "7 -> 8\n+ new 120 AAAA 2001:db8::1");
    assert_eq!(update("new.deep.er 120 IN TYPE65280 \\# DE AD"), "7 -> 8\n+ new.deep.er 120 TYPE65280 \\# 2 DEAD");
    assert_eq!(update("new 120 IN TYPE65280 \\# 0"), "7 -> 8\n+ new 120 TYPE65280 \\# 0");
}

#[test]
fn all_records_of_an_rrset_take_the_ttl_of_the_last() {
    // RFC 2181 section 5.2; IXFR shows every one of them.
    assert_eq!(
        update("www 120 IN A 192.0.2.82"),
        "7 -> 8\n- www 300 A 192.0.2.80\n- www 300 A 192.0.2.81\
         \n+ www 120 A 192.0.2.80\n+ www 120 A 192.0.2.81\n+ www 120 A 192.0.2.82"
    );
}

#[test]
fn a_duplicate_add_changes_only_the_ttl() {
    // Section 3.4.2.2.
    assert_eq!(update("www 300 IN A 192.0.2.80"), NOTHING);
    assert_eq!(
        update("www 120 IN A 192.0.2.80"),
        "7 -> 8\n- www 300 A 192.0.2.80\n- www 300 A 192.0.2.81\n+ www 120 A 192.0.2.80\n+ www 120 A 192.0.2.81"
    );
    // Names in data without case: the record stays in the case it had.
    assert_eq!(update("ptr 300 IN PTR hOST"), NOTHING);
    assert_eq!(update("WWW 300 IN TXT \"text\""), "7 -> 8\n+ www 300 TXT \"text\"");
}

#[test]
fn a_ttl_with_the_top_bit_counts_as_zero() {
    // RFC 2181 section 8. The TTL stands before the four octets of address and their length.
    let mut bytes = message("", "new 1 IN A 192.0.2.9");
    let at = bytes.len() - 10;
    bytes[at..at + 4].copy_from_slice(&[0x80, 0, 0, 1]);
    let update = UpdateMessage::read(&Message::parse(&bytes).unwrap()).unwrap();
    let policy = UpdatePolicy::new(name("@"), vec![Grant::operator(name("key"))]);
    let changes = apply_update(&zone(), &update, &policy, &name("key")).unwrap();
    assert_eq!(show(&zone(), &changes), "7 -> 8\n+ new 0 A 192.0.2.9");
}

#[test]
fn rrsets_names_and_records_are_deleted() {
    // Sections 2.5.2 to 2.5.4.
    assert_eq!(update("www 0 ANY A"), "7 -> 8\n- www 300 A 192.0.2.80\n- www 300 A 192.0.2.81");
    assert_eq!(
        update("WWW 0 ANY ANY"),
        "7 -> 8\n- www 300 A 192.0.2.80\n- www 300 A 192.0.2.81\n- www 300 TXT \"Text\""
    );
    assert_eq!(update("www 0 NONE A 192.0.2.80"), "7 -> 8\n- www 300 A 192.0.2.80");
    assert_eq!(update("ptr 0 NONE PTR HOST"), "7 -> 8\n- ptr 300 PTR Host.Example.com.");
}

#[test]
fn deleting_what_is_not_there_is_no_error_and_no_change() {
    for entry in [
        "nope 0 ANY ANY",
        "nope 0 ANY A",
        "nope 0 NONE A 192.0.2.1",
        "www 0 ANY MX",
        "www 0 NONE A 192.0.2.1",
        "www 0 NONE TXT \"text\"",
        "ent 0 ANY ANY",
    ] {
        assert_eq!(update(entry), NOTHING, "{entry}");
    }
}

#[test]
fn wildcards_and_aliases_are_not_followed() {
    assert_eq!(update("x.wild 0 ANY A"), NOTHING);
    assert_eq!(update("*.wild 0 ANY A"), "7 -> 8\n- *.wild 300 A 192.0.2.99");
    assert_eq!(update("alias 0 ANY A"), NOTHING);
    assert_eq!(update("alias 0 ANY ANY"), "7 -> 8\n- alias 300 CNAME www");
}

#[test]
fn operations_go_in_order() {
    assert_eq!(update("new 60 IN A 192.0.2.9\nnew 0 ANY ANY"), NOTHING);
    assert_eq!(update("www 0 ANY A\nwww 300 IN A 192.0.2.80"), "7 -> 8\n- www 300 A 192.0.2.81");
    assert_eq!(update("www 0 ANY A\nwww 300 IN A 192.0.2.80\nwww 300 IN A 192.0.2.81"), NOTHING, "as it was");
}

#[test]
fn the_apex_keeps_its_soa_and_ns() {
    // Section 3.4.2.3.
    assert_eq!(update("@ 0 ANY ANY"), "7 -> 8\n- @ 300 MX 10 mail");
    assert_eq!(update("@ 0 ANY NS"), NOTHING);
    assert_eq!(update("@ 0 ANY SOA"), NOTHING);
    assert_eq!(update("@ 0 NONE SOA ns1 admin 7 1200 180 1209600 60"), NOTHING);
}

#[test]
fn the_last_ns_of_the_apex_stays_and_those_below_it_go() {
    // Section 3.4.2.4's text; its pseudocode would protect every owner.
    assert_eq!(update("@ 0 NONE NS ns1"), "7 -> 8\n- @ 300 NS ns1");
    assert_eq!(update("@ 0 NONE NS NS1\n@ 0 NONE NS NS2"), "7 -> 8\n- @ 300 NS ns1");
    assert_eq!(update("one.sub 0 NONE NS ns1"), "7 -> 8\n- one.sub 300 NS ns1");
    assert_eq!(update("one.sub 0 ANY NS"), "7 -> 8\n- one.sub 300 NS ns1");
    // In order: where only one is left, deleting it is skipped before the next is added.
    let order = "@ 0 NONE NS ns1\n@ 0 NONE NS ns2\n@ 300 IN NS ns3";
    assert_eq!(update(order), "7 -> 8\n- @ 300 NS ns1\n+ @ 300 NS ns3");
    let order = "@ 0 NONE NS ns1\n@ 300 IN NS ns3\n@ 0 NONE NS ns2";
    assert_eq!(update(order), "7 -> 8\n- @ 300 NS ns1\n- @ 300 NS ns2\n+ @ 300 NS ns3");
}

#[test]
fn a_cname_stands_alone_and_what_would_join_it_is_ignored() {
    // Section 3.4.2.2.
    assert_eq!(update("www 60 IN CNAME mail"), NOTHING);
    assert_eq!(update("alias 60 IN A 192.0.2.9"), NOTHING);
    assert_eq!(update("@ 60 IN CNAME www"), NOTHING);
    assert_eq!(update("alias 60 IN CNAME mail"), "7 -> 8\n- alias 300 CNAME www\n+ alias 60 CNAME mail");
    assert_eq!(update("alias 60 IN CNAME WWW"), "7 -> 8\n- alias 300 CNAME www\n+ alias 60 CNAME www");
    assert_eq!(
        update("alias 0 ANY CNAME\nalias 60 IN A 192.0.2.9"),
        "7 -> 8\n- alias 300 CNAME www\n+ alias 60 A 192.0.2.9"
    );
    assert_eq!(
        update("www 60 IN CNAME mail\nalias 60 IN A 192.0.2.9\nnew 60 IN A 192.0.2.9"),
        "7 -> 8\n+ new 60 A 192.0.2.9",
        "the rest of the update is made"
    );
}

#[test]
fn a_wks_record_replaces_that_of_its_address_and_protocol() {
    // Section 3.4.2.2.
    let wks =
        "new 60 IN WKS \\# C0 00 02 01 06 80\nnew 60 IN WKS \\# C0 00 02 01 11 80\nnew 60 IN WKS \\# C0 00 02 01 06 40";
    let update = update(wks);
    assert_eq!(update.lines().count(), 3, "{update}");
}

#[test]
fn an_soa_is_taken_if_its_serial_is_later() {
    // Section 3.4.2.2, by RFC 1982.
    assert_eq!(update("@ 60 IN SOA ns1 admin 7 1 2 3 4"), NOTHING, "the same serial");
    assert_eq!(update("@ 60 IN SOA ns1 admin 6 1 2 3 4"), NOTHING);
    assert_eq!(update("@ 60 IN SOA ns1 admin 2147483656 1 2 3 4"), NOTHING, "over 2^31 - 1 ahead");
    assert_eq!(update("@ 60 IN SOA ns1 admin 2147483654 1 2 3 4"), "7 -> 2147483654", "and not moved on again");
    assert_eq!(update("@ 60 IN SOA ns1 admin 100 1 2 3 4\nnew 60 IN A 192.0.2.9"), "7 -> 100\n+ new 60 A 192.0.2.9");
    assert_eq!(update("www 60 IN SOA ns1 admin 100 1 2 3 4"), NOTHING, "not at the apex");
    assert_eq!(update("new 60 IN SOA ns1 admin 100 1 2 3 4"), NOTHING, "not at the apex");
}

#[test]
fn several_soas_in_one_update_never_lead_back() {
    // 7 -> 2147483654 -> 2147483656 are two steps forward, and together a step back by RFC 1982: this was once taken.
    let two = "@ 60 IN SOA ns1 admin 2147483654 1 2 3 4\n@ 60 IN SOA ns1 admin 2147483656 1 2 3 4";
    assert_eq!(update(two), "7 -> 2147483654");
    assert_eq!(update("@ 60 IN SOA ns1 admin 9 1 2 3 4\n@ 60 IN SOA ns1 admin 8 1 2 3 4"), "7 -> 9");
}

#[test]
fn the_serial_moves_past_the_end_and_past_zero() {
    // RFC 1982 section 7 advises against 0.
    let text = ZONE.replace("admin 7", "admin 4294967295");
    let parsed = parse(&text, "test.zone", None, &mut |_| Err("no file".into())).unwrap();
    let zone = Zone::new(&parsed.apex, parsed.records).unwrap();
    let moved = changes(&zone, "", "new 60 IN A 192.0.2.9").unwrap();
    assert_eq!(show(&zone, &moved), "4294967295 -> 1\n+ new 60 A 192.0.2.9");
    let moved = zone.with(&moved).unwrap();
    assert!(moved.serial().is_after(zone.serial()));
    let set = changes(&zone, "", "@ 60 IN SOA ns1 admin 5 1 2 3 4").unwrap();
    assert_eq!(show(&zone, &set), "4294967295 -> 5");
}

#[test]
fn the_changes_show_the_serial_as_ixfr_does() {
    // RFC 1995 section 4: the old SOA goes, the new one comes.
    let changes = changes(&zone(), "", "new 60 IN A 192.0.2.9").unwrap();
    let soas = |records: &[Record]| records.iter().filter(|record| record.rtype == Rtype::SOA).count();
    assert_eq!((soas(&changes.removed), soas(&changes.added)), (1, 1));
}

#[test]
fn the_prescan_refuses_before_anything_is_done() {
    // Section 3.4.1.2.
    for entry in [
        "www 60 IN ANY",
        "www 60 IN AXFR",
        "www 60 IN MAILA \\# 00",
        "www 60 IN TYPE200 \\# 00",
        "www 60 IN A \\# 01 02 03",
        "www 60 IN A \\# 01 02 03 04 05",
        "www 60 IN A",
        "www 60 IN TXT \\# 05 61",
        "www 60 IN MX \\# 00 01",
        "www 1 ANY A",
        "www 0 ANY A 192.0.2.80",
        "www 0 ANY ANY \\# 00",
        "www 0 ANY AXFR",
        "www 1 NONE A 192.0.2.80",
        "www 0 NONE ANY",
        "www 0 NONE A \\# 01 02 03",
        // Empty data was once taken for an address that is not there.
        "www 0 NONE A",
        "www 0 3 A 192.0.2.80",
    ] {
        assert_eq!(rcode("", &format!("new 60 IN A 192.0.2.9\n{entry}")), Rcode::FORMERR, "{entry}");
    }
}

#[test]
fn operations_outside_the_zone_are_notzone() {
    for owner in ["com.", ".", "xexample.com.", "www.example.org."] {
        for entry in ["60 IN A 192.0.2.1", "0 ANY ANY", "0 NONE A 192.0.2.1"] {
            assert_eq!(rcode("", &format!("{owner} {entry}")), Rcode::NOTZONE, "{owner} {entry}");
        }
    }
}

#[test]
fn names_in_data_may_be_compressed_and_are_stored_whole() {
    // RFC 3597 section 4: MX is one of the types whose names every implementation knows.
    let mut bytes = message("", "new 60 IN MX 10 mail");
    let whole = b"\x04mail\x07example\x03com\0";
    let at = bytes.windows(5).rposition(|five| five == b"\x04mail").unwrap();
    bytes.truncate(at);
    bytes.extend_from_slice(b"\x04mail\xc0\x0c");
    bytes[at - 3] = 9;
    let update = UpdateMessage::read(&Message::parse(&bytes).unwrap()).unwrap();
    assert_eq!(update.operations[0].rdata.as_deref().unwrap(), [b"\0\x0a", &whole[..]].concat());
}

#[test]
fn an_rrset_grows_no_longer_than_an_answer_and_a_longer_one_can_shrink() {
    let outcome = |records: u16, operations: &[(Class, u16)]| {
        let rdata = |number: u16| Box::from([&[10, 0][..], &number.to_be_bytes()].concat());
        let owner = Key::new(&name("many"));
        let many = (0..records).map(|number| Record {
            owner: owner.clone(),
            rtype: Rtype::A,
            ttl: Ttl::new(60),
            rdata: rdata(number),
        });
        let zone = Zone::new(&name("@"), zone().records().chain(many)).unwrap();
        let operations = operations.iter().map(|(class, number)| Entry {
            owner: name("many"),
            rtype: Rtype::A,
            class: *class,
            ttl: if *class == Class::IN { 60 } else { 0 },
            rdata: Ok(rdata(*number)),
        });
        let update = UpdateMessage { zone: name("@"), prerequisites: Vec::new(), operations: operations.collect() };
        let policy = UpdatePolicy::new(name("@"), vec![Grant::operator(name("key"))]);
        apply_update(&zone, &update, &policy, &name("key")).map(|_| ())
    };
    // Sixteen octets each: 4,000 of them are 64,000.
    assert_eq!(outcome(3999, &[(Class::IN, 3999)]), Ok(()));
    let refusal = outcome(3999, &[(Class::IN, 3999), (Class::IN, 4000)]).unwrap_err();
    assert_eq!(refusal.rcode(), Rcode::REFUSED);
    assert_eq!(refusal, Refusal::TooLong { owner: name("many"), rtype: Rtype::A });
    assert_eq!(outcome(3999, &[(Class::IN, 3999), (Class::IN, 4000), (Class::NONE, 7)]), Ok(()));
    assert_eq!(outcome(4100, &[(Class::NONE, 7)]), Ok(()));
}

/// One who may change one name filled it with records of many types; then each of the operations upon it copied
/// megabytes, and nobody else's updates were carried out for seconds.
#[test]
fn an_owner_grows_no_larger_than_so_much_whatever_the_types_and_a_larger_one_can_shrink() {
    let text = |rtype: u16| Record {
        owner: Key::new(&name("full")),
        rtype: Rtype(rtype),
        ttl: Ttl::new(60),
        rdata: vec![b'x'; 32_000].into(),
    };
    let outcome = |types: u16, class, rtype: u16| {
        let zone = Zone::new(&name("@"), zone().records().chain((0..types).map(|of| text(65_280 + of)))).unwrap();
        let ttl = if class == Class::IN { 60 } else { 0 };
        let Record { rtype, rdata, .. } = text(rtype);
        let entry = Entry { owner: name("full"), rtype, class, ttl, rdata: Ok(rdata) };
        let update = UpdateMessage { zone: name("@"), prerequisites: Vec::new(), operations: vec![entry] };
        let policy = UpdatePolicy::new(name("@"), vec![Grant::operator(name("key"))]);
        apply_update(&zone, &update, &policy, &name("key")).map(|_| ())
    };
    assert_eq!(outcome(3, Class::IN, 65_283), Ok(()));
    let refusal = outcome(4, Class::IN, 65_284).unwrap_err();
    assert_eq!(refusal, Refusal::TooLong { owner: name("full"), rtype: Rtype::ANY });
    assert!(refusal.to_string().contains("would be more than 128 KiB; delete some first"), "{refusal}");
    assert_eq!(outcome(6, Class::NONE, 65_280), Ok(()));
}

/// Names that a message holds as two octets each are long in a zone: one message made an owner grow to a megabyte, copied
/// for each of its operations, before it was refused.
#[test]
fn an_owner_that_grows_too_large_amid_an_update_ends_it_whatever_would_come_after() {
    let long = name(&["x"; 4].map(|label| label.repeat(50)).join("."));
    let mx = |preference: u16| [&preference.to_be_bytes()[..], long.as_bytes()].concat();
    let entry =
        |class, rtype, ttl, rdata: Vec<u8>| Entry { owner: name("full"), rtype, class, ttl, rdata: Ok(rdata.into()) };
    let outcome = |count: u16| {
        let mut operations: Vec<Entry> =
            (0..count).map(|preference| entry(Class::IN, Rtype::MX, 60, mx(preference))).collect();
        operations.push(entry(Class::ANY, Rtype::MX, 0, Vec::new()));
        let update = UpdateMessage { zone: name("@"), prerequisites: Vec::new(), operations };
        let policy = UpdatePolicy::new(name("@"), vec![Grant::operator(name("key"))]);
        apply_update(&zone(), &update, &policy, &name("key")).map(|_| ())
    };
    assert_eq!(outcome(500), Ok(()));
    assert_eq!(outcome(4000), Err(Refusal::TooLong { owner: name("full"), rtype: Rtype::ANY }));
}
