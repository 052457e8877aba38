//! What stands around an answer: header, question, EDNS, TSIG; and what is answered with an error, or not at all.

use super::*;
use crate::query::{Limits, Reason};
use crate::tsig::{Keyring, TsigKey, sign_request, verify_response};

fn raw(counts: [u16; 4], body: &[&[u8]]) -> Vec<u8> {
    let header = crate::wire::Header { id: 0x1234, flags: Flags(0), counts };
    [&header.to_bytes()[..], &body.concat()].concat()
}

const ASK: &[u8] = b"\x03www\x07example\x03com\0\0\x01\0\x01";
const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

#[test]
fn edns_is_answered_with_edns() {
    let view = view(&[ZONE]);
    let plain = reply(&view, Transport::Udp, &raw([1, 0, 0, 0], &[ASK]));
    assert!(Message::parse(&plain).unwrap().edns.is_none());
    let edns = |bytes: &[u8]| Message::parse(&reply(&view, Transport::Udp, bytes)).unwrap().edns.unwrap();
    let ours = Edns { udp_size: 1232, version: 0, extended_rcode: 0, dnssec_ok: true };
    assert_eq!(edns(&raw([1, 0, 0, 1], &[ASK, OPT])), ours);
    // Options nobody knows are ignored (RFC 6891 section 6.1.2).
    let options = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0b\xfd\xe9\0\x03abc\0\x0a\0\0";
    assert_eq!(edns(&raw([1, 0, 0, 1], &[ASK, options])), Edns { dnssec_ok: false, ..ours });
    // RFC 6891 section 6.1.3: another version is answered BADVERS, 16, with our own version and no data.
    let version_1 = b"\0\0\x29\x04\xd0\0\x01\0\0\0\0";
    let bad = reply(&view, Transport::Udp, &raw([1, 0, 0, 1], &[ASK, version_1]));
    assert_eq!(text(&bad), "BADVERS");
    assert_eq!(Message::parse(&bad).unwrap().edns.unwrap(), Edns { dnssec_ok: false, extended_rcode: 1, ..ours });
    // RFC 6891 section 6.1.1: two OPT records are an error.
    assert_eq!(text(&reply(&view, Transport::Udp, &raw([1, 0, 0, 2], &[ASK, OPT, OPT]))), "FORMERR");
}

#[test]
fn a_query_has_exactly_one_question() {
    // RFC 9619. With EDNS asked, the error has it too (RFC 6891 section 6.1.1); it once had not.
    let view = view(&[ZONE]);
    for (count, body) in [(0, &[][..]), (2, &[ASK, ASK])] {
        let error = reply(&view, Transport::Udp, &raw([count, 0, 0, 1], &[&body.concat(), OPT]));
        assert_eq!(text(&error), "FORMERR");
        assert_eq!(Message::parse(&error).unwrap().header.counts, [0, 0, 0, 1]);
    }
    let record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04";
    assert_eq!(text(&reply(&view, Transport::Udp, &raw([1, 1, 0, 0], &[ASK, record]))), "FORMERR");
    assert_eq!(text(&reply(&view, Transport::Udp, &raw([1, 0, 1, 0], &[ASK, record]))), "FORMERR");
    assert_eq!(
        text(&reply(&view, Transport::Udp, &raw([1, 0, 0, 1], &[ASK, record]))),
        "NOERROR aa\n= www.example.com 300 A 192.0.2.80",
        "records in the additional section are nothing to us"
    );
}

#[test]
fn what_cannot_be_read_is_formerr_with_the_header_alone() {
    let view = view(&[ZONE]);
    let mut bodies: Vec<Vec<u8>> = (0..ASK.len()).map(|len| raw([1, 0, 0, 0], &[&ASK[..len]])).collect();
    bodies.push(raw([1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]));
    bodies.push(raw([1, 0, 0, 0], &[ASK, b"trailing"]));
    for bytes in bodies {
        let error = reply(&view, Transport::Udp, &bytes);
        assert_eq!(error, b"\x12\x34\x80\x01\0\0\0\0\0\0\0\0");
    }
}

#[test]
fn responses_and_runts_are_never_answered() {
    let view = view(&[ZONE]);
    for len in 0..12 {
        assert_eq!(send(&view, Transport::Udp, &raw([1, 0, 0, 0], &[ASK])[..len]).1, Verdict::Drop(Reason::Runt));
    }
    for opcode in 0..16u8 {
        let mut bytes = raw([1, 0, 0, 0], &[ASK]);
        bytes[2] = 0x80 | opcode << 3;
        assert_eq!(send(&view, Transport::Udp, &bytes).1, Verdict::Drop(Reason::IsResponse));
    }
}

#[test]
fn other_opcodes_are_not_implemented_and_updates_and_transfers_are_named() {
    let view = view(&[ZONE]);
    for opcode in [1u8, 2, 3, 4, 6, 7, 15] {
        let mut bytes = raw([1, 0, 0, 0], &[ASK]);
        bytes[2] = opcode << 3 | 1;
        let header = |questions| [0x12, 0x34, 0x81 | opcode << 3, 4, 0, questions, 0, 0, 0, 0, 0, 0];
        assert_eq!(reply(&view, Transport::Udp, &bytes), [&header(1)[..], ASK].concat());
        // What has another form than a query's is answered all the same.
        bytes.push(0);
        assert_eq!(reply(&view, Transport::Udp, &bytes), header(0));
    }
    let mut update = raw([1, 0, 0, 0], &[ASK]);
    update[2] = 5 << 3;
    assert_eq!(send(&view, Transport::Udp, &update).1, Verdict::Update);
    for rtype in ["AXFR", "IXFR"] {
        let bytes = query(&format!("example.com {rtype}"), None);
        assert_eq!(send(&view, Transport::Tcp, &bytes).1, Verdict::Transfer);
    }
}

#[test]
fn types_that_are_no_question_and_classes_that_are_not_served_are_refused() {
    for (rtype, rcode) in [
        ("OPT", "FORMERR"),
        ("TSIG", "FORMERR"),
        ("TYPE0", "FORMERR"),
        ("NXNAME", "FORMERR"),
        ("MAILA", "NOTIMP"),
        ("MAILB", "NOTIMP"),
        ("TKEY", "NOTIMP"),
    ] {
        assert_eq!(ask(&format!("www.example.com {rtype}")), rcode, "{rtype}");
    }
    assert_eq!(ask("www.example.com TYPE65280"), format!("NOERROR aa\n{SOA}"));
    // RFC 1035 section 3.2.5: class ANY is answered from IN, and such an answer is not authoritative.
    assert_eq!(ask("www.example.com A ANY"), "NOERROR\n= www.example.com 300 A 192.0.2.80");
    assert_eq!(ask("www.example.com A CH"), "REFUSED");
}

#[test]
fn the_version_is_told_only_if_the_operator_gave_one() {
    assert_eq!(ask("version.bind TXT CH"), "REFUSED");
    let told = View { limits: Arc::new(Limits { version: Some("home".into()), ..Limits::default() }), ..view(&[]) };
    let asked = |text: &str| self::text(&reply(&told, Transport::Udp, &query(text, None)));
    assert_eq!(asked("Version.Bind TXT CH"), "NOERROR aa\n= Version.Bind 0 TXT \"home\"");
    assert_eq!(asked("version.bind A CH"), "NOERROR aa");
    assert_eq!(asked("other.bind TXT CH"), "REFUSED");
}

#[test]
fn whoever_asks_for_the_whoami_name_is_told_his_own_address() {
    let name = Some(Name::parse("whoami.example.com").unwrap());
    let told = View { limits: Arc::new(Limits { whoami: name, ..Limits::default() }), ..view(&[ZONE]) };
    let asked = |source: &str, text: &str| {
        let mut buffer = vec![0; 4096];
        let peer = Peer { address: source.parse().unwrap(), transport: Transport::Udp };
        let Verdict::Reply(len, _) = respond(&told, peer, NOW, &query(text, None), &mut buffer) else { panic!() };
        self::text(&buffer[..len])
    };
    let (v4, v6) = ("198.51.100.7:5353", "[2001:db8::7]:5353");
    assert_eq!(asked(v4, "WhoAmI.example.com A"), "NOERROR aa\n= WhoAmI.example.com 0 A 198.51.100.7");
    assert_eq!(asked(v6, "whoami.example.com AAAA"), "NOERROR aa\n= whoami.example.com 0 AAAA 2001:db8::7");
    assert_eq!(asked(v4, "whoami.example.com TXT"), "NOERROR aa\n= whoami.example.com 0 TXT \"198.51.100.7\"");
    assert_eq!(asked(v6, "whoami.example.com TXT"), "NOERROR aa\n= whoami.example.com 0 TXT \"2001:db8::7\"");
    // What there is none of is not kept by anyone: no SOA comes with it.
    assert_eq!(asked(v4, "whoami.example.com AAAA"), "NOERROR aa");
    assert_eq!(asked(v6, "whoami.example.com MX"), "NOERROR aa");
    assert_eq!(asked(v6, "whoami.example.com ANY"), "NOERROR aa\n= whoami.example.com 0 AAAA 2001:db8::7");
    // A socket of both families tells IPv4 in the form of RFC 4291 section 2.5.5.2.
    assert_eq!(
        asked("[::ffff:198.51.100.7]:53", "whoami.example.com A ANY"),
        "NOERROR\n= whoami.example.com 0 A 198.51.100.7"
    );
    assert_eq!(asked(v4, "x.whoami.example.com A"), format!("NXDOMAIN aa\n{SOA}"));
}

/// The question, signed at NOW, and a view that knows the key.
fn signed(zone: &str, asked: &str, edns: Option<u16>) -> (View, Vec<u8>, TsigKey, crate::tsig::Mac) {
    let key = TsigKey::parse("laptop:c2VjcmV0").unwrap();
    let mut bytes = query(asked, edns);
    let len = bytes.len();
    bytes.resize(1024, 0);
    let (len, mac) = sign_request(&key, &mut bytes, len, NOW, 300).unwrap();
    bytes.truncate(len);
    let keyring: Keyring = [key.clone()].into_iter().collect();
    (View { keyring: Arc::new(keyring), ..view(&[zone]) }, bytes, key, mac)
}

#[test]
fn a_signed_query_is_answered_signed_even_if_cut() {
    // RFC 8945 section 5.3.2, with TSIG after OPT.
    for (asked, edns, expected) in [
        ("www.example.com A", None, "NOERROR aa\n= www.example.com 300 A 192.0.2.80"),
        ("big.example.com TXT", None, "NOERROR aa tc"),
        ("big.example.com TXT", Some(520), "NOERROR aa tc"),
        ("example.org A", Some(600), "REFUSED"),
    ] {
        let zone = format!("{ZONE}\nbig TXT \"{0}\" \"{0}\"\n", "x".repeat(200));
        let (view, bytes, key, mac) = signed(&zone, asked, edns);
        let reply = reply(&view, Transport::Udp, &bytes);
        assert_eq!(text(&reply), expected);
        let message = Message::parse(&reply).unwrap();
        assert_eq!(message.edns.is_some(), edns.is_some());
        assert_eq!(verify_response(&key, &mac, &reply, message.tsig_at.unwrap(), NOW), Ok(()));
        assert!(reply.len() <= usize::from(edns.unwrap_or(512)), "{} {}", asked, reply.len());
    }
}

#[test]
fn a_query_whose_signature_is_wrong_is_told_nothing_else() {
    let (view, mut bytes, _, _) = signed(ZONE, "www.example.com A", None);
    bytes[1] ^= 1;
    // The ID is not covered as sent but as the record has it (RFC 8945 section 4.3.1): still good.
    assert!(text(&reply(&view, Transport::Udp, &bytes)).starts_with("NOERROR aa"));
    bytes[13] ^= 1;
    let (reply, verdict) = send(&view, Transport::Udp, &bytes);
    assert!(matches!(verdict, Verdict::Reply(_, Reason::TsigRejected)));
    assert_eq!(text(&reply), "NOTAUTH");
}

#[test]
fn unknown_types_are_served_as_they_are() {
    // RFC 3597.
    let zone = format!("{ZONE}\nodd TYPE65280 \\# 4 DEADBEEF\nodd TYPE731 \\# 0\n");
    let view = view(&[&zone]);
    let asked = |text: &str| self::text(&reply(&view, Transport::Udp, &query(text, None)));
    assert_eq!(asked("odd.example.com TYPE65280"), "NOERROR aa\n= odd.example.com 300 TYPE65280 \\# 4 DEADBEEF");
    assert_eq!(asked("odd.example.com TYPE731"), "NOERROR aa\n= odd.example.com 300 TYPE731 \\# 0");
}

#[test]
fn a_buffer_too_small_for_anything_is_no_panic() {
    let view = view(&[ZONE]);
    let peer = Peer { address: "192.0.2.1:5353".parse().unwrap(), transport: Transport::Udp };
    for size in 0..80 {
        let mut buffer = vec![0; size];
        let verdict = respond(&view, peer, NOW, &query("example.com MX", Some(1232)), &mut buffer);
        if let Verdict::Reply(len, _) = verdict {
            assert!(len <= size);
            Message::parse(&buffer[..len]).unwrap();
        }
    }
}

#[test]
fn the_root_zone_can_be_served() {
    let view = view(&[
        "$ORIGIN .\n@ 60 SOA ns admin 1 1 1 1 60\n@ 60 NS ns\nns 60 A 192.0.2.1\ncom 60 NS ns.com\n*.w 60 A 192.0.2.2\n",
    ]);
    let asked = |text: &str| self::text(&reply(&view, Transport::Udp, &query(text, None)));
    assert_eq!(asked("ns A"), "NOERROR aa\n= ns 60 A 192.0.2.1");
    assert_eq!(asked(". NS"), "NOERROR aa\n= . 60 NS ns.\n+ ns 60 A 192.0.2.1");
    assert_eq!(asked("nope A"), "NXDOMAIN aa\n^ . 60 SOA ns. admin. 1 1 1 1 60");
    assert_eq!(asked("x.com A"), "NOERROR\n^ com 60 NS ns.com.");
    assert_eq!(asked("x.y.w A"), "NOERROR aa\n= x.y.w 60 A 192.0.2.2");
}
