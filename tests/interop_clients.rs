//! `nsupdate` writes and `dig` reads, as a new user does it: the real programs against the real server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::Server;
use common::client::{Home, SECRET, copy_zones, run, server_line};
use std::net::SocketAddr;

/// The script that the project exists for, for a server and a key.
fn router_script(server: SocketAddr, key_line: &str) -> String {
    format!(
        "{}{key_line}zone example.com.
update delete router.example.com. A
update delete router.example.com. AAAA
update add router.example.com. 120 A 88.71.73.131
update add router.example.com. 120 AAAA 2001:41a0:52:a00::212
show
send
",
        server_line(server)
    )
}

fn assert_router_is_set(home: &Home) -> Option<()> {
    assert_eq!(home.records("router.example.com", "A")?, ["88.71.73.131"]);
    assert_eq!(home.records("router.example.com", "AAAA")?, ["2001:41a0:52:a00::212"]);
    Some(())
}

#[test]
fn the_script_of_the_readme_sets_both_addresses_and_they_outlive_kill_9() {
    let mut home = Home::start();
    let script = router_script(home.server.v4(), &format!("key hmac-sha256:laptop {SECRET}\n"));
    let Some(run) = run("nsupdate", &[], &script) else { return };
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{}", home.server.log());
    assert!(run.out.contains("router.example.com.\t120\tIN\tAAAA\t2001:41a0:52:a00::212"), "`show` shows: {}", run.out);
    assert_router_is_set(&home);
    home.server.kill9();
    home.server.restart();
    assert_router_is_set(&home);
}

#[test]
fn the_script_works_over_udp_and_tcp_ipv4_and_ipv6_with_every_way_to_give_the_key() {
    let home = Home::start_with(&[]);
    // The key of a first start, in the file that it was written to.
    let file = home.folder.path().join("state/keys/dyndns.key");
    let file = file.to_str().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let secret = text.split('"').nth(3).unwrap();
    let dash_y = format!("hmac-sha256:dyndns:{secret}");
    let key_line = format!("key hmac-sha256:dyndns {secret}\n");
    let ways: [(&[&str], &str); 3] = [(&["-k", file], ""), (&["-y", &dash_y], ""), (&[], &key_line)];
    for server in [home.server.v4(), home.server.v6()] {
        for transport in [&[][..], &["-v"]] {
            for (arguments, key_line) in ways {
                let script = router_script(server, key_line);
                let Some(run) = run("nsupdate", &[transport, arguments].concat(), &script) else { return };
                assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{server} {transport:?} {arguments:?}");
                assert_router_is_set(&home);
                let run = home.nsupdate(&["-k", file], "update delete router.example.com.\nsend\n").unwrap();
                assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
            }
        }
    }
}

#[test]
fn the_commands_printed_at_the_start_work_as_printed() {
    // A folder whose name a shell would take apart.
    let folder = tempfile::Builder::new().prefix("it's my server ").tempdir().unwrap();
    copy_zones(folder.path());
    let state = folder.path().join("state");
    let server = Server::start(folder.path(), &["--state-dir", state.to_str().unwrap()]);
    server.wait_for_log("  dig ");
    let log = server.log();
    let printed: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(printed.len(), 2, "{log}");
    for tool in ["nsupdate", "dig"] {
        if run(tool, &["-V"], "").is_none() && run(tool, &["-v"], "").is_none() {
            return;
        }
    }
    let update = run("sh", &["-c", printed[0]], "").unwrap();
    assert_eq!((update.code, update.out.as_str(), update.err.as_str()), (Some(0), "", ""), "{log}");
    let dig = run("sh", &["-c", printed[1]], "").unwrap();
    assert!(dig.out.contains("router.example.com.\t120\tIN\tA\t192.0.2.1"), "{dig:?}");
}

#[test]
fn without_a_zone_line_nsupdate_finds_the_zone_at_any_depth() {
    let home = Home::start();
    for name in ["example.com", "a.example.com", "_acme-challenge.a.b.c.d.e.f.example.com", "x.apps.example.com"] {
        let script = format!("update add {name}. 60 TXT \"found {name}\"\nsend\n");
        if home.update(&script).is_none() {
            return;
        }
        let text = format!("\"found {name}\"");
        assert!(home.records(name, "TXT").unwrap().contains(&text), "{name}");
    }
    // The reverse zone beside it.
    home.update("update add 77.2.0.192.in-addr.arpa. 60 PTR a.example.com.\nsend\n");
    assert_eq!(home.records("77.2.0.192.in-addr.arpa", "PTR").unwrap(), ["a.example.com."]);
    let run = home.nsupdate(&[], "update add www.example.org. 60 A 192.0.2.1\nsend\n").unwrap();
    assert_ne!(run.code, Some(0), "no zone of ours: {run:?}");
}

#[test]
fn prerequisites_hold_back_what_they_should() {
    let home = Home::start();
    let key = format!("hmac-sha256:laptop:{SECRET}");
    let set = "update add host.example.com. 60 A 192.0.2.7\nupdate add host.example.com. 60 A 192.0.2.8\n";
    if home.update(&format!("zone example.com.\n{set}send\n")).is_none() {
        return;
    }
    // RFC 2136 section 2.4: what is asked, and the rcode where it is not so.
    let conditions = [
        ("yxdomain host.example.com.", ""),
        ("yxdomain nobody.example.com.", "NXDOMAIN"),
        // Only a name without records of its own, below which there are some (section 2.4.4 counts records).
        ("yxdomain apps.example.com.", "NXDOMAIN"),
        ("nxdomain nobody.example.com.", ""),
        ("nxdomain HOST.example.com.", "YXDOMAIN"),
        ("yxrrset host.example.com. A", ""),
        ("yxrrset host.example.com. AAAA", "NXRRSET"),
        ("nxrrset host.example.com. AAAA", ""),
        ("nxrrset host.example.com. A", "YXRRSET"),
        ("yxrrset host.example.com. A 192.0.2.8\nprereq yxrrset host.example.com. A 192.0.2.7", ""),
        // Value dependent: the whole RRset, no more and no less.
        ("yxrrset host.example.com. A 192.0.2.7", "NXRRSET"),
        ("yxrrset host.example.com. A 192.0.2.9\nprereq yxrrset host.example.com. A 192.0.2.7", "NXRRSET"),
    ];
    for (number, (condition, rcode)) in conditions.iter().enumerate() {
        let script = format!(
            "zone example.com.\nprereq {condition}\nupdate add done{number}.example.com. 60 A 192.0.2.1\nsend\n"
        );
        let run = home.nsupdate(&["-y", &key], &script).unwrap();
        let (code, err, done) = match *rcode {
            "" => (0, String::new(), 1),
            rcode => (2, format!("update failed: {rcode}\n"), 0),
        };
        assert_eq!((run.code, run.err), (Some(code), err), "{condition}");
        assert_eq!(home.records(&format!("done{number}.example.com"), "A").unwrap().len(), done, "{condition}");
    }
}

#[test]
fn records_of_many_types_come_back_as_they_were_sent() {
    let home = Home::start();
    let records = [
        ("A", "192.0.2.1"),
        ("AAAA", "2001:db8::1"),
        ("TXT", r#""one" "two \"quoted\" ; \200""#),
        ("MX", "10 Mail.Example.com."),
        ("SRV", "0 5 5060 sip.example.com."),
        ("PTR", "host.example.com."),
        ("NAPTR", r#"100 10 "U" "E2U+sip" "!^.*$!sip:info@example.com!" ."#),
        ("CAA", r#"0 issue "ca.example.net""#),
        ("SSHFP", "4 2 123456789ABCDEF67890123456789ABCDEF67890123456789ABCDEF123456789"),
        ("TLSA", "3 1 1 92003BA34942DC74152E2F2C408D29ECA5A520E7F2E06BB944F4DCA346BAF63C"),
        ("DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
        ("LOC", "51 30 12.748 N 0 7 39.611 W 0.00m 0.00m 0.00m 0.00m"),
        ("HINFO", r#""PC" "Linux""#),
        ("RP", "admin.example.com. txt.example.com."),
        ("AFSDB", "1 afs.example.com."),
        ("URI", r#"10 1 "https://example.com/""#),
        ("HTTPS", "1 . alpn=\"h2,h3\" ipv4hint=192.0.2.1"),
        ("SVCB", "2 svc.example.com. port=8443"),
        ("DS", "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"),
        ("EUI48", "00-00-5e-00-53-2a"),
        // RFC 3597.
        ("TYPE65280", r"\# 4 DEADBEEF"),
        ("TYPE65281", r"\# 0"),
    ];
    for (rtype, rdata) in records {
        let script = format!("update add rec-{rtype}.example.com. 60 {rtype} {rdata}\nsend\n");
        if home.update(&script).is_none() {
            return;
        }
        let got = home.records(&format!("rec-{rtype}.example.com"), rtype).unwrap();
        // dig parts long hexadecimal with blanks.
        let bare = |text: &str| match rtype {
            "SSHFP" | "TLSA" | "DS" | "DHCID" => text.replace(' ', ""),
            _ => text.to_string(),
        };
        assert_eq!(got.iter().map(|line| bare(line)).collect::<Vec<_>>(), [bare(rdata)], "{rtype}");
        home.update(&format!("update delete rec-{rtype}.example.com. {rtype} {rdata}\nsend\n"));
        assert_eq!(home.records(&format!("rec-{rtype}.example.com"), rtype).unwrap(), [""; 0], "{rtype}");
    }
}

#[test]
fn five_hundred_records_in_one_message_are_one_change() {
    let home = Home::start();
    let lines: String =
        (0..500).map(|n| format!("update add h{n}.example.com. 60 A 10.0.{}.{}\n", n / 250, n % 250)).collect();
    // Too long for a datagram that nsupdate would send: it turns to TCP by itself.
    if home.update(&format!("zone example.com.\n{lines}send\n")).is_none() {
        return;
    }
    let line = home.server.wait_for_log("update applied");
    assert!(line.contains("serial=1->2 added=500 removed=0"), "{line}");
    assert_eq!(home.records("h0.example.com", "A").unwrap(), ["10.0.0.0"]);
    assert_eq!(home.records("h499.example.com", "A").unwrap(), ["10.0.1.249"]);
    let deletions: String = (0..500).map(|n| format!("update delete h{n}.example.com. A\n")).collect();
    home.update(&format!("zone example.com.\n{deletions}send\n"));
    assert_eq!(home.records("h499.example.com", "A").unwrap(), [""; 0]);
}

#[test]
fn sixty_kilobytes_in_one_rrset_go_in_by_tcp_and_come_out_whole() {
    let home = Home::start();
    let text = "x".repeat(255);
    let lines: String =
        (0..215).map(|n| format!("update add big.example.com. 60 TXT \"{n:03}{}\"\n", &text[3..])).collect();
    if home.update(&format!("zone example.com.\n{lines}send\n")).is_none() {
        return;
    }
    // dig asks by UDP, is told that the answer does not fit, and asks again by TCP.
    let whole = home.dig(&["big.example.com", "TXT"]).unwrap();
    assert!(whole.contains("Truncated, retrying in TCP mode") && whole.contains("ANSWER: 215,"), "{:.600}", whole);
    assert!(whole.contains("MSG SIZE  rcvd: 57"), "{}", whole.lines().last().unwrap());
    let cut = home.dig(&["+ignore", "big.example.com", "TXT"]).unwrap();
    assert!(cut.contains(";; flags: qr aa tc rd;") && cut.contains("ANSWER: 0,"), "{cut}");
    // What is signed may be as long.
    let key = format!("laptop:{SECRET}");
    let signed = home.dig(&["-y", &format!("hmac-sha256:{key}"), "+tcp", "big.example.com", "TXT"]).unwrap();
    assert!(signed.contains("ANSWER: 215,") && !signed.contains("could not be validated"), "{:.600}", signed);
}

#[test]
fn an_answer_is_as_long_over_udp_as_dig_and_we_allow() {
    let home = Home::start();
    // 30 addresses: 28 octets of header and question, 16 for each, 11 for EDNS: 521.
    let lines: String = (0..30).map(|n| format!("update add many.example.com. 60 A 10.0.0.{n}\n")).collect();
    if home.update(&format!("zone example.com.\n{lines}send\n")).is_none() {
        return;
    }
    let tc = |arguments: &[&str]| {
        home.dig(&[&["+ignore", "many.example.com", "A"], arguments].concat()).unwrap().contains(" tc ")
    };
    assert!(tc(&["+noedns"]), "512 octets at most without EDNS");
    assert!(tc(&["+bufsize=512"]));
    assert!(!tc(&["+bufsize=1232"]));
    let lines: String = (0..80).map(|n| format!("update add many.example.com. 60 A 10.0.1.{n}\n")).collect();
    home.update(&format!("zone example.com.\n{lines}send\n"));
    assert!(tc(&["+bufsize=4096"]), "our own bound is 1232");
    assert_eq!(home.records("many.example.com", "A").unwrap().len(), 110, "and the rest by TCP");
}

#[test]
fn dig_sees_its_own_spelling_and_our_flags() {
    let home = Home::start();
    let Some(answer) = home.dig(&["+qr", "wWw.ExAmPlE.cOm", "A"]) else { return };
    let sections: Vec<&str> = answer.split(";; QUESTION SECTION:\n").skip(1).collect();
    assert_eq!(sections.len(), 2, "{answer}");
    assert!(sections.iter().all(|section| section.starts_with(";wWw.ExAmPlE.cOm.\t\tIN\tA\n")), "{answer}");
    assert!(sections[1].contains("wWw.ExAmPlE.cOm.\t3600\tIN\tCNAME\texample.com."), "{answer}");
    assert!(answer.to_lowercase().contains("\nexample.com.\t\t3600\tin\ta\t192.0.2.80"), "{answer}");
    assert!(answer.contains(";; flags: qr aa rd; QUERY: 1"), "RD copied, RA clear: {answer}");
    let negative = home.dig(&["+norecurse", "nobody.example.com", "A"]).unwrap();
    assert!(negative.contains("status: NXDOMAIN") && negative.contains(";; flags: qr aa; QUERY"), "{negative}");
    assert!(negative.contains("example.com.\t\t300\tIN\tSOA\t"), "{negative}");
    let elsewhere = home.dig(&["www.example.org", "A"]).unwrap();
    assert!(elsewhere.contains("status: REFUSED") && elsewhere.contains(";; flags: qr rd;"), "{elsewhere}");
    // Options, cookies, DO and AD of a modern resolver; a version of EDNS that nobody has yet.
    let modern = home.dig(&["+dnssec", "+nsid", "+subnet=192.0.2.0/24", "+keepalive", "example.com", "SOA"]).unwrap();
    assert!(modern.contains("status: NOERROR") && modern.contains("flags: do;"), "{modern}");
    let future = home.dig(&["+edns=9", "+noednsnegotiation", "example.com", "SOA"]).unwrap();
    assert!(future.contains("status: BADVERS"), "{future}");
}

#[test]
fn dig_transfers_the_zone_with_the_key_and_not_without() {
    let home = Home::start();
    let key = format!("hmac-sha256:laptop:{SECRET}");
    let Some(zone) = home.dig(&["-y", &key, "example.com", "AXFR"]) else { return };
    assert!(
        zone.contains("ns1.example.com.\t3600\tIN\tA\t192.0.2.53")
            || zone.contains("ns1.example.com.\t\t3600\tIN\tA\t192.0.2.53"),
        "{zone}"
    );
    assert_eq!(zone.matches("\tSOA\t").count(), 2, "the first and the last: {zone}");
    assert!(zone.contains(";; XFR size: ") && !zone.contains("could not be validated"), "{zone}");
    // Several messages, each signed.
    let text = "y".repeat(200);
    let lines: String = (0..250).map(|n| format!("update add t{n}.example.com. 60 TXT \"{text}\"\n")).collect();
    home.update(&format!("zone example.com.\n{lines}send\n"));
    home.update(&format!("zone example.com.\n{}send\n", lines.replace("add t", "add u")));
    let zone = home.dig(&["-y", &key, "example.com", "AXFR"]).unwrap();
    let size = zone.lines().find(|line| line.contains("XFR size")).unwrap_or_else(|| panic!("{zone}"));
    assert!(!size.contains("(messages 1,"), "{size}");
    assert_eq!(zone.matches("\tTXT\t").count(), 501, "{size}");
    assert!(!zone.contains("could not be validated"), "{size}");
    let refused = home.dig(&["example.com", "AXFR"]).unwrap();
    assert!(refused.contains("Transfer failed."), "{refused}");
    home.server.wait_for_log("transfer refused: the request is not signed");
}
