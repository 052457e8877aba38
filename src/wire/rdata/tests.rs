use super::*;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn names_of_the_old_types_are_decompressed() {
    let message = b"\x07example\x03com\0\x00\x0a\x04Mail\xc0\x00";
    assert_eq!(&*read(message, 13, 9, Rtype::MX).unwrap(), b"\x00\x0a\x04Mail\x07example\x03com\0");
    assert_eq!(&*read(message, 15, 7, Rtype::PTR).unwrap(), b"\x04Mail\x07example\x03com\0");
    let message = b"\x07example\x03com\0\0\x01\0\x02\0\x03\xc0\x00";
    assert_eq!(&*read(message, 13, 8, Rtype::SRV).unwrap(), b"\0\x01\0\x02\0\x03\x07example\x03com\0");
}

#[test]
fn a_pointer_in_a_newer_type_is_refused() {
    // RFC 3597 section 4: only the types of RFC 1035 and the listed ones are decompressed.
    let message = b"\x07example\x03com\0\xc0\x00";
    for rtype in [Rtype::DNAME, Rtype::NSEC] {
        let error = read(message, 13, 2, rtype).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("malformed {rtype} data: a compressed name, which this type cannot have")
        );
    }
    assert!(read(message, 13, 2, Rtype(65280)).is_ok());
}

#[test]
fn the_length_must_be_used_exactly() {
    assert!(validate(Rtype::A, &[192, 0, 2, 1]).is_ok());
    assert!(validate(Rtype::A, &[192, 0, 2]).is_err());
    assert!(validate(Rtype::A, &[192, 0, 2, 1, 0]).is_err());
    assert!(validate(Rtype::AAAA, &[0; 16]).is_ok());
    assert!(validate(Rtype::AAAA, &[0; 15]).is_err());
    assert!(validate(Rtype::TXT, b"").is_err());
    assert!(validate(Rtype::TXT, b"\0").is_ok());
    assert!(validate(Rtype::TXT, b"\x02a").is_err());
    assert!(validate(Rtype::HINFO, b"\x01a\x01b").is_ok());
    assert!(validate(Rtype::HINFO, b"\x01a\x01b\x01c").is_err());
    assert!(validate(Rtype::SOA, &[&[0, 0][..], &[0; 20]].concat()).is_ok());
    assert!(validate(Rtype::SOA, &[&[0, 0][..], &[0; 21]].concat()).is_err());
    // The name itself would need an octet past the end of the data.
    assert!(read(b"\x01a\0", 0, 2, Rtype::NS).is_err());
}

#[test]
fn the_fields_of_complicated_types_are_checked() {
    let valid: &[(Rtype, &[u8])] = &[
        (Rtype::CAA, b"\0\x05issueca.example"),
        (Rtype::CAA, b"\x80\x03tbs"),
        (Rtype::NSEC, b"\0\0\x01\x40\x01\x01\x40"),
        (Rtype::CSYNC, b"\0\0\0\x01\0\x03\0\x01\x40"),
        (Rtype::NSEC3, b"\x01\0\0\x01\0\x01\xff\0\x01\x40"),
        (Rtype::NSEC3PARAM, b"\x01\0\0\x01\x02\xaa\xbb"),
        (Rtype::HTTPS, b"\0\x01\0\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb"),
        (Rtype::SVCB, b"\0\0\x01a\0"),
        (Rtype::IPSECKEY, b"\x0a\x01\x02\xc0\0\x02\x01\xff"),
        (Rtype::IPSECKEY, b"\x0a\x03\x02\x01a\0\xff"),
        (Rtype::AMTRELAY, b"\x0a\x81\xc0\0\x02\x01"),
        (Rtype::APL, b"\0\x01\x18\x03\xc0\0\x02"),
        (Rtype::CDS, b"\0\0\0\0\0"),
        (Rtype::DHCID, b"\0\x01\x01\xff"),
        (Rtype::A6, b"\x80\x01a\0"),
        (Rtype::HTTPS, b"\0\x01\0\0\0\0\x04\0\x01\0\x03\0\x01\0\x03\x02h2\0\x03\0\x02\x01\xbb"),
        (Rtype::SSHFP, b"\x04\x0912"),
        (Rtype::SSHFP, b"\x04\x0101234567890123456789"),
        (Rtype::DS, b"\0\x01\x08\x0901234"),
        (Rtype::LOC, b"\0\x90\x09\x99\x93\x4f\xd9\0\x59\x60\x4e\0\0\0\0\0"),
        (Rtype::LOC, b"\x01"),
    ];
    for (rtype, rdata) in valid {
        assert_eq!(validate(*rtype, rdata), Ok(()), "{rtype}");
    }
    let malformed: &[(Rtype, &[u8])] = &[
        (Rtype::CAA, b"\0\0ca.example"),
        (Rtype::CAA, b"\0\x01-"),
        (Rtype::NSEC, b"\0\0\x01\0"),
        (Rtype::NSEC, b"\0\x01\x01\x40\0\x01\x40"),
        (Rtype::NSEC, b"\0\0\x21aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        (Rtype::NSEC3, b"\x01\0\0\x01\0\0\0\x01\x40"),
        (Rtype::HTTPS, b"\0\x01\0\0\x03\0\x02\x01\xbb\0\x01\0\x03\x02h2"),
        (Rtype::HTTPS, b"\0\x01\0\0\x03\0\x03\x01\xbb\0"),
        (Rtype::HTTPS, b"\0\x01\0\0\0\0\x02\0\0"),
        (Rtype::HTTPS, b"\0\x01\0\0\x01\0\x01\0"),
        (Rtype::IPSECKEY, b"\x0a\x04\x02\xff"),
        (Rtype::APL, b"\0\x01\x21\x00"),
        (Rtype::DS, b"\0\0\0\0"),
        (Rtype::TLSA, b"\0\0\0"),
        (Rtype::SSHFP, b"\0\0"),
        // Servers that check these take no transfer of a zone that holds them.
        (Rtype::SSHFP, b"\x04\x010123456789012345678"),
        (Rtype::DS, b"\0\x01\x08\x02abc"),
        (Rtype::CDS, b"\0\x01\x08\x04abc"),
        (Rtype::HTTPS, b"\0\x01\0\0\0\0\x02\0\x03"),
        (Rtype::HTTPS, b"\0\x01\0\0\0\0\x04\0\x01\0\x03\0\x03\0\x02\x01\xbb"),
        (Rtype::LOC, b"\0\xa0\x09\x99\x93\x4f\xd9\0\x59\x60\x4e\0\0\0\0\0"),
        (Rtype::LOC, b"\0\x90\x0a\x99\x93\x4f\xd9\0\x59\x60\x4e\0\0\0\0\0"),
        (Rtype::LOC, b"\0\x90\x09\x99\x93\x4f\xd9\x01\x59\x60\x4e\0\0\0\0\0"),
        (Rtype::LOC, b"\0\x90\x09\x99\x93\x4f\xd9\0\x59\x60\x4d\xff\0\0\0\0"),
        (Rtype::LOC, b"\0\x90\x09\x99\x93\x4f\xd9\0\x59\x60\x4e\0\0\0\0"),
        (Rtype::LOC, b"\0\x90\x09"),
    ];
    for (rtype, rdata) in malformed {
        assert!(validate(*rtype, rdata).is_err(), "{rtype} {rdata:?}");
    }
}

#[test]
fn names_compare_without_case_and_other_data_with_it() {
    assert!(eq(Rtype::MX, b"\0\x0a\x01A\0", b"\0\x0a\x01a\0"));
    assert!(!eq(Rtype::MX, b"\0\x0a\x01a\0", b"\0\x0b\x01a\0"));
    assert!(!eq(Rtype::MX, b"\0\x41\x01a\0", b"\0\x61\x01a\0"));
    assert!(eq(Rtype::SRV, b"\0\0\0\0\0\0\x01A\0", b"\0\0\0\0\0\0\x01a\0"));
    assert!(!eq(Rtype::TXT, b"\x01A", b"\x01a"));
    assert!(!eq(Rtype::NAPTR, b"\0\0\0\0\x01U\0\0\x01A\0", b"\0\0\0\0\x01u\0\0\x01a\0"));
    // RFC 6840 section 5.1 took NSEC off the list, and SVCB is newer than it.
    assert!(!eq(Rtype::NSEC, b"\x01A\0\0\x01\x40", b"\x01a\0\0\x01\x40"));
    assert!(!eq(Rtype::SVCB, b"\0\0\x01A\0", b"\0\0\x01a\0"));
    assert_eq!(canonical(Rtype::SOA, &soa().to_rdata()), soa().with_lower_case().to_rdata().to_vec());
}

#[test]
fn only_names_of_the_first_types_are_parts() {
    let mx = b"\0\x0a\x01a\0";
    let found: Vec<Part<'_>> = parts(Rtype::MX, mx).collect();
    assert_eq!(found, [Part::Octets(b"\0\x0a"), Part::Name(b"\x01a\0")]);
    let data = soa().to_rdata();
    let found: Vec<Part<'_>> = parts(Rtype::SOA, &data).collect();
    assert!(matches!(found[..], [Part::Name(_), Part::Name(_), Part::Octets(rest)] if rest.len() == 20));
    let srv = b"\0\0\0\0\0\0\x01a\0";
    assert_eq!(parts(Rtype::SRV, srv).collect::<Vec<_>>(), [Part::Octets(srv)]);
}

#[test]
fn targets_are_found() {
    assert_eq!(target(Rtype::NS, b"\x01a\0").unwrap(), name("a"));
    assert_eq!(target(Rtype::MX, b"\0\x0a\x01a\0").unwrap(), name("a"));
    assert_eq!(target(Rtype::SRV, b"\0\0\0\0\0\0\x01a\0").unwrap(), name("a"));
    assert_eq!(target(Rtype::NAPTR, b"\0\0\0\0\x01U\x01x\0\x01a\0").unwrap(), name("a"));
    assert_eq!(target(Rtype::HTTPS, b"\0\x01\0").unwrap(), Name::root());
    assert_eq!(target(Rtype::TXT, b"\x01a\0"), None);
    assert_eq!(target(Rtype::SRV, b"\0"), None);
}

fn soa() -> Soa {
    Soa {
        mname: name("NS1.Example.com"),
        rname: name("Hostmaster.Example.com"),
        serial: 41,
        refresh: 1,
        retry: 2,
        expire: 3,
        minimum: 4,
    }
}

impl Soa {
    fn with_lower_case(self) -> Soa {
        Soa { mname: self.mname.to_lowercase(), rname: self.rname.to_lowercase(), ..self }
    }
}

#[test]
fn a_soa_comes_apart_and_together() {
    let data = soa().to_rdata();
    let parsed = Soa::parse(&data).unwrap();
    assert!(parsed.mname.same_case(&name("NS1.Example.com")));
    assert_eq!(parsed, soa());
    assert_eq!(Soa::parse(&parsed.with_serial(42).to_rdata()).unwrap().serial, 42);
    assert!(Soa::parse(&data[1..]).is_err());
    assert!(Soa::parse(b"").is_err());
}

/// Every type with a shape of its own, and some without.
fn any_type() -> impl Strategy<Value = Rtype> {
    prop_oneof![(0u16..270).prop_map(Rtype), Just(Rtype(32768)), any::<u16>().prop_map(Rtype)]
}

/// Octets that often happen to be names, strings and small numbers.
fn any_octets() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(vec![0]),
        Just(b"\x03Abc\x00".to_vec()),
        Just(b"\x01a".to_vec()),
        Just(vec![0xC0, 0]),
        prop::collection::vec(any::<u8>(), 0..6),
        prop::collection::vec(0u8..4, 0..20),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn parts_together_are_the_data(rtype in any_type(), rdata in any_octets()) {
        for parts in [parts(rtype, &rdata), named_parts(rtype, &rdata)] {
            let joined: Vec<u8> = parts
                .flat_map(|part| match part { Part::Name(octets) | Part::Octets(octets) => octets })
                .copied()
                .collect();
            prop_assert_eq!(&joined, &rdata);
        }
    }

    #[test]
    fn any_octets_are_taken_or_refused(rtype in any_type(), message in any_octets(), at in 0usize..30, len in 0usize..30) {
        target(rtype, &message);
        if let Ok(rdata) = read(&message, at, len, rtype) {
            prop_assert_eq!(validate(rtype, &rdata), Ok(()));
            prop_assert_eq!(read(&rdata, 0, rdata.len(), rtype).unwrap(), rdata);
        }
    }

    #[test]
    fn equal_data_has_one_canonical_form(rtype in any_type(), rdata in any_octets()) {
        let upper = rdata.to_ascii_uppercase();
        prop_assert!(eq(rtype, &rdata, &rdata));
        prop_assert_eq!(eq(rtype, &rdata, &upper), eq(rtype, &upper, &rdata));
        prop_assert_eq!(eq(rtype, &rdata, &upper), canonical(rtype, &rdata) == canonical(rtype, &upper));
    }

    #[test]
    fn a_soa_of_any_octets_is_taken_or_refused(rdata in any_octets()) {
        if let Ok(soa) = Soa::parse(&rdata) {
            prop_assert!(Soa::parse(&soa.to_rdata()).is_ok());
        }
    }

    /// hickory-proto reads the plain types too, and takes none that we refuse.
    #[test]
    fn what_another_reader_takes_we_take(rtype in prop::sample::select(PLAIN), rdata in any_octets()) {
        use hickory_proto::{rr, serialize::binary::{BinDecoder, Restrict}};
        // A pointer leads elsewhere in a message than in data that stands alone.
        let length = Restrict::new(u16::try_from(rdata.len()).unwrap());
        let other = rr::RData::read(&mut BinDecoder::new(&rdata), rtype.0.into(), length);
        if other.is_ok() && !rdata.contains(&0xC0) {
            prop_assert_eq!(validate(rtype, &rdata), Ok(()));
        }
    }
}

const PLAIN: &[Rtype] = &[
    Rtype::A,
    Rtype::AAAA,
    Rtype::NS,
    Rtype::CNAME,
    Rtype::PTR,
    Rtype::SOA,
    Rtype::MX,
    Rtype::SRV,
    Rtype::NAPTR,
    Rtype::HINFO,
];
