use super::*;
use crate::wire::rdata::validate;
use crate::wire::{Rtype, Ttl};
use crate::zone::Key;
use proptest::prelude::*;

const HEAD: &str = "$TTL 1h\n@ SOA ns1 hostmaster 1 2h 30m 2w 5m\n@ NS ns.example.\n";

fn read(text: &str) -> Result<ParsedZone, Vec<ZoneFileError>> {
    let origin = Name::parse("example.com").unwrap();
    parse(text, "zones/example.com.zone", Some(origin), &mut |path| match path {
        "zones/hosts" => Ok("a A 192.0.2.1\n$ORIGIN inner\n\nb A 192.0.2.2\n".to_owned()),
        "zones/loop" => Ok("$INCLUDE loop\n".to_owned()),
        other => Err(format!("no file {other}")),
    })
}

/// The records after those of `HEAD`, one a line.
fn records(text: &str) -> Vec<String> {
    let zone = read(&format!("{HEAD}{text}")).unwrap();
    let head = [Rtype::SOA, Rtype::NS];
    zone.records
        .iter()
        .filter(|record| !head.contains(&record.rtype))
        .map(|record| {
            let text = rdata_to_text(record.rtype, &record.rdata);
            format!("{} {} {} {text}", record.owner.name(), record.ttl, record.rtype)
        })
        .collect()
}

fn error(text: &str) -> String {
    read(&format!("{HEAD}{text}")).unwrap_err()[0].to_string()
}

#[test]
fn owners_ttls_and_classes_may_be_left_out_or_swapped() {
    let found = records("www 60 IN A 192.0.2.1\n  in 1h30m aaaa 2001:db8::1 ; comment\n\tTXT x\n@ A 192.0.2.9\n");
    assert_eq!(
        found,
        [
            "example.com 3600 A 192.0.2.9",
            "www.example.com 60 A 192.0.2.1",
            "www.example.com 3600 TXT \"x\"",
            "www.example.com 5400 AAAA 2001:db8::1",
        ]
    );
}

#[test]
fn without_a_ttl_directive_the_record_before_or_the_soa_says_it() {
    let zone = read("@ SOA ns1 h 1 2 3 4 77\n@ NS ns1\na 60 A 192.0.2.1\nb A 192.0.2.1\n").unwrap();
    let ttls: Vec<u32> = zone.records.iter().map(|record| record.ttl.seconds()).collect();
    assert_eq!(ttls, [77, 77, 60, 60]);
    let error = read("@ NS ns1\n").unwrap_err();
    assert_eq!(error[0].to_string(), "zones/example.com.zone:1: no TTL is known; write $TTL 1h at the top of the file");
}

#[test]
fn an_included_file_keeps_its_origin_and_owner_to_itself() {
    let found = records("c A 192.0.2.3\n$INCLUDE hosts sub\n  A 192.0.2.4\nd A 192.0.2.5\n");
    assert_eq!(
        found,
        [
            "c.example.com 3600 A 192.0.2.3",
            "c.example.com 3600 A 192.0.2.4",
            "d.example.com 3600 A 192.0.2.5",
            "a.sub.example.com 3600 A 192.0.2.1",
            "b.inner.sub.example.com 3600 A 192.0.2.2",
        ]
    );
    assert_eq!(
        error("$INCLUDE nothing"),
        "zones/example.com.zone:4: cannot include zones/nothing: no file zones/nothing"
    );
    assert_eq!(error("$INCLUDE loop"), "zones/loop:1: files include files 16 deep; does one include itself?");
}

#[test]
fn generate_writes_a_line_for_each_number() {
    assert_eq!(
        records("$GENERATE 1-5/2 h$ 60 A 192.0.2.${10}\n$GENERATE 2-2 x TXT \"\\\"${0,3,x} \\$\\\"\"\n"),
        [
            "h1.example.com 60 A 192.0.2.11",
            "h3.example.com 60 A 192.0.2.13",
            "h5.example.com 60 A 192.0.2.15",
            "x.example.com 3600 TXT \"002 $\"",
        ]
    );
    assert!(error("$GENERATE 3-1 h$ A 192.0.2.$").contains("write it as 1-3"));
    assert!(error("$GENERATE 1-3 h$ A 192.0.2.${x}").contains("is no number format"));
}

#[test]
fn the_apex_has_one_soa_and_a_name_server() {
    let second = "@ SOA ns1 hostmaster 2 2h 30m 2w 5m\n";
    assert_eq!(error(second), "zones/example.com.zone:4: second SOA record; keep one, at the apex");
    assert_eq!(error("sub SOA ns1 h 1 2 3 4 5"), "zones/example.com.zone:4: second SOA record; keep one, at the apex");
    let none = read("$TTL 1\n@ NS ns1\n").unwrap_err();
    assert_eq!(none[0].to_string(), "zones/example.com.zone: no SOA record; add one, at the apex");
    let none = read("@ SOA ns1 h 1 2 3 4 5\n").unwrap_err();
    assert_eq!(
        none[0].to_string(),
        "zones/example.com.zone: no NS record at the apex example.com.; add the name of this server"
    );
}

#[test]
fn what_cannot_be_served_is_refused_with_its_line() {
    let head = "zones/example.com.zone:4: ";
    let cases = [
        ("www A 192.0.2.256", "192.0.2.256 is not what A data has here; write an IPv4 address such as 192.0.2.1"),
        ("www MX 10", "MX data ends too soon; add a name"),
        ("www A 192.0.2.1 2", "2 is more than A data has; remove it, or put a ; before a comment"),
        ("www AAA 192.0.2.1", "unknown record type AAA; write a name such as A or TYPE followed by its number"),
        ("www CH TXT x", "class CH cannot be served here; write IN"),
        ("www 2147483648 TXT x", "2147483648 is too long for a TTL; write at most 2147483647 seconds"),
        (
            "xexample.com. TXT x",
            "xexample.com. is outside the zone example.com.; remove it, or end relative names without a dot",
        ),
        ("w CNAME a\nw A 192.0.2.1", "w.example.com. has a CNAME and so can have no A; remove one of them"),
        ("w CNAME a\nw CNAME b", "second CNAME record of w.example.com.; keep one"),
        ("w 60 IN", "the line ends before the record type; write one, such as A"),
        ("w TSIG x", "TSIG is not a type of records that a zone can hold; remove the line"),
        ("$FOO x", "unknown directive $FOO; there are $ORIGIN, $TTL, $INCLUDE and $GENERATE"),
        ("w TXT \"x", "a quoted string does not end in its line; add a \""),
        ("w\\300 TXT x", "w\\300 is no name: a \\ must be followed by three digits up to 255 or by one character"),
        ("w TYPE1 \\# 3 C00002", "malformed A data: too short; check it, or write it as \\# and hex digits"),
        ("w TYPE65280 \\# 3 C000", "\\# 3 is followed by 2 octets; make them agree"),
        ("w HTTPS 1 . port=x", "port=x is no service parameter; write it as alpn=h2, port=8443 or key65000=text"),
    ];
    for (line, what) in cases {
        let found = error(line);
        let found = found.replace("example.com.zone:5:", "example.com.zone:4:");
        assert!(found.starts_with(head) && found.contains(what), "{line}: {found}");
    }
    let no_origin = parse("a A 192.0.2.1\n", "f", None, &mut |_| Err(String::new())).unwrap_err();
    assert_eq!(
        no_origin[0].to_string(),
        "f:1: a is relative to no origin; end it with a dot, add $ORIGIN, or name the file after the zone"
    );
}

#[test]
fn every_error_is_told_up_to_twenty() {
    let text = format!("{HEAD}{}", "www A x\n".repeat(30));
    assert_eq!(read(&text).unwrap_err().len(), 20);
    let text = format!("{HEAD}www A x\nok A 192.0.2.1\n)\n\nwww A y\n");
    let lines: Vec<Option<u32>> = read(&text).unwrap_err().iter().map(|error| error.line).collect();
    assert_eq!(lines, [Some(4), Some(6), Some(8)]);
}

#[test]
fn an_rrset_has_one_ttl_and_no_duplicates() {
    let zone =
        read(&format!("{HEAD}w 60 A 192.0.2.1\nw 30 A 192.0.2.2\nw 90 A 192.0.2.1\nw MX 1 A\nw MX 1 a\n")).unwrap();
    let found: Vec<(Rtype, u32)> =
        zone.records.iter().skip(2).map(|record| (record.rtype, record.ttl.seconds())).collect();
    assert_eq!(found, [(Rtype::A, 30), (Rtype::A, 30), (Rtype::MX, 3600)]);
    assert_eq!(
        zone.warnings[0].to_string(),
        "zones/example.com.zone:4: the A records of w.example.com. have TTLs from 30 to 90; 30 serves for all"
    );
    assert_eq!(zone.warnings.len(), 1);
}

#[test]
fn a_name_server_without_an_address_is_warned_of_where_this_zone_alone_could_tell_it() {
    let warnings = |text: &str| -> Vec<String> {
        read(&format!("{HEAD}{text}")).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    let lacks = |line: u32, server: &str, of: &str| {
        let text = "has no address here; add its A or AAAA record";
        format!("zones/example.com.zone:{line}: {server}.example.com., a name server of {of}example.com., {text}")
    };
    assert_eq!(warnings("@ NS ns1\n"), [lacks(4, "ns1", "")]);
    assert_eq!(warnings("@ NS ns1\nns1 AAAA 2001:db8::1\n"), [""; 0]);
    assert_eq!(warnings("@ NS ns1\n* A 192.0.2.1\n"), [""; 0]);
    // Glue (RFC 1034 section 4.2.1); a sibling's is the sibling's.
    assert_eq!(warnings("sub NS ns.sub\nsub NS ns.other\n* A 192.0.2.1\n"), [lacks(4, "ns.sub", "sub.")]);
}

/// Text that each type takes, and the text that we write for it where that differs.
const TEXTS: &[(Rtype, &str, &str)] = &[
    (Rtype::A, "192.0.2.1", ""),
    (Rtype::AAAA, "2001:DB8:0::1", "2001:db8::1"),
    (Rtype::MX, "10 mail", "10 mail.example.com."),
    (Rtype::RP, "@ .", "example.com. ."),
    (Rtype::SRV, "0 5 5060 sip.example.net.", ""),
    (Rtype::TXT, "a\\;b \"c \\\"d\\\" \\001\" \"\"", "\"a;b\" \"c \\\"d\\\" \\001\" \"\""),
    (Rtype::HINFO, "PC Linux", "\"PC\" \"Linux\""),
    (Rtype::NAPTR, "100 10 \"u\" sip+E2U \"!^.*$!sip:a@b!\" .", "100 10 \"u\" \"sip+E2U\" \"!^.*$!sip:a@b!\" ."),
    (Rtype::CAA, "0 issue \"ca.example; x=1\"", ""),
    (Rtype::URI, "10 1 \"https://example.com/\"", ""),
    (Rtype::CERT, "PKIX 1 RSASHA256 AQ ID", "1 1 8 AQID"),
    (
        Rtype::DS,
        "60485 RSASHA1 1 2BB183AF 5F22588179A53B0A 98631FAD1A292118",
        "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118",
    ),
    (Rtype::CDS, "0 0 0 00", ""),
    (Rtype::CDNSKEY, "0 3 0 AA==", ""),
    (Rtype::DNSKEY, "257 3 ECDSAP256SHA256 AQID", "257 3 13 AQID"),
    (
        Rtype::RRSIG,
        "A 5 3 1d 20030322173103 20030220173103 2642 example.com. AQID",
        "A 5 3 86400 20030322173103 20030220173103 2642 example.com. AQID",
    ),
    (Rtype::NSEC, "host A MX RRSIG TYPE1234", "host.example.com. A MX RRSIG TYPE1234"),
    (
        Rtype::NSEC3,
        "1 1 12 aabbccdd 2vptu5timamqttgl4luu9kg21e0aor3s A RRSIG",
        "1 1 12 AABBCCDD 2VPTU5TIMAMQTTGL4LUU9KG21E0AOR3S A RRSIG",
    ),
    (Rtype::NSEC3PARAM, "1 0 12 -", ""),
    (Rtype::TLSA, "3 1 1 AB CD", "3 1 1 ABCD"),
    (Rtype::SMIMEA, "3 1 1 ABCD", ""),
    (Rtype::SSHFP, "4 3 abcd", "4 3 ABCD"),
    (Rtype::OPENPGPKEY, "AQID", ""),
    (Rtype::CSYNC, "66 3 AAAA A NS", "66 3 A NS AAAA"),
    (Rtype::ZONEMD, "1 1 1 00112233445566778899AABB", ""),
    (Rtype::DHCID, "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", ""),
    (Rtype::SVCB, "0 svc", "0 svc.example.com."),
    (
        Rtype::HTTPS,
        "1 . port=8443 alpn=\"h2,h3\" ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
        "1 . alpn=\"h2,h3\" port=8443 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=2001:db8::1",
    ),
    (
        Rtype::HTTPS,
        "16 foo mandatory=ipv4hint,alpn alpn=h2 ipv4hint=192.0.2.1 key667=\"a\\210b\"",
        "16 foo.example.com. mandatory=alpn,ipv4hint alpn=\"h2\" ipv4hint=192.0.2.1 key667=\"a\\210b\"",
    ),
    (
        Rtype::SVCB,
        "1 . alpn=\"f\\\\\\\\oo\\\\,bar,h2\" no-default-alpn ech=\"AQID\" dohpath=/q",
        "1 . alpn=\"f\\\\\\\\oo\\\\,bar,h2\" no-default-alpn ech=\"AQID\" key7=\"/q\"",
    ),
    (Rtype::IPSECKEY, "10 3 2 gw AQID", "10 3 2 gw.example.com. AQID"),
    (Rtype::IPSECKEY, "10 0 2 . AQID", ""),
    (Rtype::AMTRELAY, "10 1 2 2001:db8::15", ""),
    (
        Rtype::HIP,
        "2 200100107B1A74DF365639CC39F1D578 AQID rvs",
        "2 200100107B1A74DF365639CC39F1D578 AQID rvs.example.com.",
    ),
    (Rtype::APL, "1:192.0.2.0/24 !2:2001:db8::/32", ""),
    (Rtype::LOC, "52 22 23 N 4 53 32.5 E -2m", "52 22 23.000 N 4 53 32.500 E -2.00m 1.00m 10000.00m 10.00m"),
    (Rtype::EUI48, "00-00-5E-00-53-2a", "00-00-5e-00-53-2a"),
    (Rtype::EUI64, "00-00-5e-ef-10-00-00-2a", ""),
    (Rtype::NID, "10 0014:4fff:ff20:ee64", ""),
    (Rtype::L32, "10 192.0.2.1", ""),
    (Rtype::DSYNC, "CDS 1 53 sync", "CDS 1 53 sync.example.com."),
    (Rtype::A, "\\# 4 C000 0201", "192.0.2.1"),
    (Rtype::NULL, "\\# 2 ab cd", "\\# 2 ABCD"),
    (Rtype(65280), "\\# 0", ""),
];

#[test]
fn every_type_is_read_and_written() {
    let origin = Name::parse("example.com").unwrap();
    for &(rtype, text, written) in TEXTS {
        let rdata =
            rdata_from_text(rtype, text, Some(&origin)).unwrap_or_else(|error| panic!("{rtype} {text}: {error}"));
        let expected = if written.is_empty() { text } else { written };
        assert_eq!(rdata_to_text(rtype, &rdata), expected, "{rtype}");
    }
}

#[test]
fn text_that_is_no_data_is_refused() {
    let origin = Name::parse("example.com").unwrap();
    let cases = [
        (Rtype::A, "192.0.2.1\n192.0.2.2"),
        (Rtype::MX, "+10 mail"),
        (Rtype::TXT, ""),
        (Rtype::CAA, "0 is-sue x"),
        (Rtype::HTTPS, "1 . alpn=h2 alpn=h3"),
        (Rtype::HTTPS, "1 . port=\"8 443\""),
        (Rtype::HTTPS, "1 . no-default-alpn=x"),
        (Rtype::HTTPS, "1 . alpn=\"\\\\"),
        (Rtype::NSEC, "host BOGUS"),
        (Rtype::DS, "1 8 2 ABC"),
        (Rtype::LOC, "91 N 0 E 0m"),
        (Rtype::LOC, "52 60 N 0 E 0m"),
        (Rtype::APL, "1:192.0.2.0/33"),
        (Rtype::EUI48, "00-00-5e-00-53"),
        (Rtype::NULL, "x"),
    ];
    for (rtype, text) in cases {
        assert!(rdata_from_text(rtype, text, Some(&origin)).is_err(), "{rtype} {text}");
    }
}

/// The other reader takes the text of the types that it knows to the same octets.
#[test]
fn hickory_reads_the_same_data_from_the_same_text() {
    use hickory_proto::rr::{RData, RecordType};
    use hickory_proto::serialize::binary::BinEncodable;
    let mut compared = 0;
    for &(rtype, text, written) in TEXTS {
        let text = if written.is_empty() { text } else { written };
        // It decodes the escapes of a protocol list once, where RFC 9460 appendix A.1 does so twice.
        if text.contains('\\') {
            continue;
        }
        if let Ok(other) = RData::try_from_str(RecordType::from(rtype.0), text) {
            assert_eq!(
                other.to_bytes().unwrap(),
                rdata_from_text(rtype, text, None).unwrap().to_vec(),
                "{rtype} {text}"
            );
            compared += 1;
        }
    }
    assert!(compared >= 14, "{compared}");
}

/// Octets that often are valid data: runs of names, strings and numbers.
fn any_rdata() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(vec![0]),
        Just(b"\x03Abc\x00".to_vec()),
        Just(b"\x04;\".x\x00".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20)
            .prop_map(|text| [vec![u8::try_from(text.len()).unwrap()], text].concat()),
        prop::collection::vec(any::<u8>(), 0..6),
        prop::collection::vec(0u8..4, 0..20),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// A type that a zone can hold, and data that is valid for it.
fn any_data() -> impl Strategy<Value = (Rtype, Vec<u8>)> {
    let rtype = prop_oneof![4 => 1u16..270, 1 => any::<u16>()].prop_map(Rtype);
    (rtype, any_rdata()).prop_map(|(rtype, rdata)| {
        let excluded = [Rtype::CNAME, Rtype::SOA, Rtype::DNAME];
        if rtype.is_meta() || excluded.contains(&rtype) || validate(rtype, &rdata).is_err() {
            (Rtype(65280), rdata)
        } else {
            (rtype, rdata)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn data_of_every_type_comes_back_from_its_text((rtype, rdata) in any_data()) {
        let text = rdata_to_text(rtype, &rdata);
        prop_assert_eq!(&*rdata_from_text(rtype, &text, None).unwrap(), &*rdata, "{} {}", rtype, text);
    }

    #[test]
    fn any_text_is_a_zone_or_an_error(text in "[ -~\\n\\t\"()$@\\\\;é]{0,80}") {
        let _ = read(&text);
        let _ = read(&format!("{HEAD}w {text}"));
        for rtype in [Rtype::HTTPS, Rtype::LOC, Rtype::APL, Rtype::TXT, Rtype::NSEC3, Rtype::RRSIG] {
            let _ = rdata_from_text(rtype, &text, None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_written_zone_reads_back_the_same(
        data in prop::collection::vec((0usize..5, any_data()), 0..12),
        octets in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let origin = Name::parse("example.com").unwrap();
        let odd = origin.child(&octets).unwrap();
        let owners = [origin, origin.child(b"www").unwrap(), origin.child(b"*").unwrap(), origin.child(b"@").unwrap(), odd];
        let head = read(HEAD).unwrap();
        let more = data.into_iter().map(|(owner, (rtype, rdata))| Record {
            owner: Key::new(&owners[owner]),
            rtype,
            ttl: Ttl::new(60),
            rdata: rdata.into(),
        });
        let mut text = String::new();
        let all: Vec<Record> = head.records.iter().cloned().chain(more).collect();
        write_zone(&mut text, &origin, &all).unwrap();
        let once = parse(&text, "f", None, &mut |_| Err(String::new())).unwrap();
        let mut text = String::new();
        write_zone(&mut text, &once.apex, &once.records).unwrap();
        let twice = parse(&text, "f", None, &mut |_| Err(String::new())).unwrap();
        prop_assert_eq!(&once.records, &twice.records);
        for record in &all {
            let found = once.records.iter().any(|read| {
                read.owner == record.owner
                    && read.rtype == record.rtype
                    && crate::wire::rdata::eq(record.rtype, &read.rdata, &record.rdata)
            });
            prop_assert!(found);
        }
    }
}
