//! Conversations as the programs hold them that people point at such a server: ACME clients, DHCP servers, a script in
//! cron. Spoken by `nsupdate`, read by `dig`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::{Home, Run, SECRET, run};

/// The rcode that nsupdate was answered, for an update of example.com or the reverse zone.
fn outcome(home: &Home, zone: &str, lines: &[&str]) -> Option<String> {
    let key = format!("hmac-sha256:laptop:{SECRET}");
    let script = format!("zone {zone}\n{}\nsend\n", lines.join("\n"));
    let Run { code, err, .. } = home.nsupdate(&["-y", &key], &script)?;
    match code {
        Some(0) => Some("NOERROR".into()),
        _ => Some(err.strip_prefix("update failed: ").unwrap_or(&err).trim().to_string()),
    }
}

/// certbot-dns-rfc2136, lego and cert-manager: they look for the zone by SOA questions, add a TXT record for each name
/// of a certificate (two of one name for a wildcard), and take away exactly what they added.
#[test]
fn an_acme_client_finds_the_zone_and_its_tokens_come_and_go_one_by_one() {
    let home = Home::start();
    // certbot asks for the SOA of the name and of each name above it; what is not the apex must be no SOA answer.
    for (name, status, answers) in [
        ("_acme-challenge.www.home.example.com", "NXDOMAIN", 0),
        ("www.home.example.com", "NXDOMAIN", 0),
        ("mail.example.com", "NOERROR", 0),
        ("example.com", "NOERROR", 1),
    ] {
        let Some(reply) = home.dig(&["+norecurse", name, "SOA"]) else { return };
        assert!(reply.contains(&format!("status: {status},")), "{reply}");
        assert!(reply.contains(&format!("flags: qr aa; QUERY: 1, ANSWER: {answers},")), "{reply}");
        assert!(answers == 1 || reply.contains("AUTHORITY: 1,"), "the SOA says which zone it is: {reply}");
    }
    let name = "_acme-challenge.www.home.example.com";
    let (first, second) = ("\"k7c0Lx-first_token\"", "\"s1Qz-second_token\"");
    home.update(&format!("update add {name}. 60 TXT {first}\nsend\n")).unwrap();
    assert_eq!(home.records(name, "TXT").unwrap(), [first]);
    home.update(&format!("update add {name}. 60 TXT {second}\nsend\n")).unwrap();
    assert_eq!(home.records(name, "TXT").unwrap(), [first, second]);
    home.update(&format!("update delete {name}. TXT {first}\nsend\n")).unwrap();
    assert_eq!(home.records(name, "TXT").unwrap(), [second]);
    home.update(&format!("update delete {name}. TXT {second}\nsend\n")).unwrap();
    let gone = home.dig(&[name, "TXT"]).unwrap();
    assert!(gone.contains("status: NXDOMAIN"), "the names above it go with it: {gone}");
    // A second clean-up, as after an interrupted run, does no harm and moves no serial.
    let serial = home.records("example.com", "SOA").unwrap();
    home.update(&format!("update delete {name}. TXT {second}\nsend\n")).unwrap();
    assert_eq!(home.records("example.com", "SOA").unwrap(), serial);
}

/// Kea D2 and ISC dhcpd (RFC 4703): the DHCID record says whose a name is.
#[test]
fn a_dhcp_server_takes_renews_and_gives_up_a_name_and_never_one_of_another() {
    let home = Home::start();
    let zone = "example.com.";
    let (mine, other) =
        ("AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA=", "AAEBOSD+XR3Os/0LozeXVqcNc7FwCfQdWL3b/NaiUDlW2No=");
    let take = |dhcid: &str, address: &str| {
        let a = format!("update add nas.example.com. 900 A {address}");
        let id = format!("update add nas.example.com. 900 DHCID {dhcid}");
        outcome(&home, zone, &["prereq nxdomain nas.example.com.", &a, &id])
    };
    // RFC 4703 section 5.3.1: the name is free.
    let Some(first) = take(mine, "192.0.2.10") else { return };
    assert_eq!(first, "NOERROR");
    // Section 5.3.2: it is in use; whose is it?
    assert_eq!(take(mine, "192.0.2.11").unwrap(), "YXDOMAIN");
    let renew = |dhcid: &str, address: &str| {
        let whose = format!("prereq yxrrset nas.example.com. DHCID {dhcid}");
        let a = format!("update add nas.example.com. 900 A {address}");
        outcome(&home, zone, &["prereq yxdomain nas.example.com.", &whose, "update delete nas.example.com. A", &a])
    };
    assert_eq!(renew(other, "192.0.2.66").unwrap(), "NXRRSET");
    assert_eq!(home.records("nas.example.com", "A").unwrap(), ["192.0.2.10"]);
    assert_eq!(renew(mine, "192.0.2.11").unwrap(), "NOERROR");
    assert_eq!(home.records("nas.example.com", "A").unwrap(), ["192.0.2.11"]);
    // The DHCID replaced by one of another form, as after an upgrade.
    let replace = [
        format!("prereq yxrrset nas.example.com. DHCID {mine}"),
        "update delete nas.example.com. DHCID".into(),
        format!("update add nas.example.com. 900 DHCID {other}"),
    ];
    assert_eq!(outcome(&home, zone, &replace.each_ref().map(String::as_str)).unwrap(), "NOERROR");
    assert_eq!(home.records("nas.example.com", "DHCID").unwrap(), [other]);
    // The reverse zone: delete whatever is there, add (section 5.4).
    for (address, name) in [("10", "nas"), ("11", "nas"), ("11", "tv")] {
        let owner = format!("{address}.2.0.192.in-addr.arpa");
        let lines = [
            format!("update delete {owner}. PTR"),
            format!("update delete {owner}. DHCID"),
            format!("update add {owner}. 900 PTR {name}.example.com."),
            format!("update add {owner}. 900 DHCID {mine}"),
        ];
        let lines = lines.each_ref().map(String::as_str);
        assert_eq!(outcome(&home, "2.0.192.in-addr.arpa.", &lines).unwrap(), "NOERROR");
        assert_eq!(home.records(&owner, "PTR").unwrap(), [format!("{name}.example.com.")]);
    }
    // Section 5.5: the address goes; the name goes when it has no address left.
    let owned = format!("prereq yxrrset nas.example.com. DHCID {other}");
    let release = [&*owned, "update delete nas.example.com. A 192.0.2.11"];
    assert_eq!(outcome(&home, zone, &release).unwrap(), "NOERROR");
    let clean = [
        &*owned,
        "prereq nxrrset nas.example.com. A",
        "prereq nxrrset nas.example.com. AAAA",
        "update delete nas.example.com.",
    ];
    assert_eq!(outcome(&home, zone, &clean).unwrap(), "NOERROR");
    assert!(home.dig(&["nas.example.com", "A"]).unwrap().contains("status: NXDOMAIN"));
    assert_eq!(outcome(&home, zone, &clean).unwrap(), "NXRRSET");
}

/// external-dns and octodns: whole batches, several names, every kind of deletion in one message.
#[test]
fn a_batch_is_all_or_nothing() {
    let home = Home::start();
    let Some(()) = home.update("zone example.com.\nupdate add a.example.com. 60 A 192.0.2.1\nupdate add b.example.com. 60 CNAME a.example.com.\nsend\n")
    else {
        return;
    };
    let half = [
        "update add c.example.com. 60 A 192.0.2.3",
        "update delete a.example.com. A",
        // Not in the zone: NOTZONE, and nothing of the rest.
        "update add d.example.org. 60 A 192.0.2.4",
    ];
    assert_eq!(outcome(&home, "example.com.", &half).unwrap(), "NOTZONE");
    assert_eq!(home.records("c.example.com", "A").unwrap(), [""; 0]);
    assert_eq!(home.records("a.example.com", "A").unwrap(), ["192.0.2.1"]);
    let whole = [
        "update delete a.example.com. A 192.0.2.1",
        "update delete b.example.com.",
        "update add b.example.com. 60 A 192.0.2.2",
        "update add *.c.example.com. 60 A 192.0.2.3",
        "update add ignored.example.com. 60 A 192.0.2.5",
        "update delete ignored.example.com. A",
    ];
    assert_eq!(outcome(&home, "example.com.", &whole).unwrap(), "NOERROR");
    assert_eq!(home.records("a.example.com", "A").unwrap(), [""; 0]);
    assert_eq!(home.records("b.example.com", "A").unwrap(), ["192.0.2.2"]);
    assert_eq!(home.records("anything.c.example.com", "A").unwrap(), ["192.0.2.3"]);
    assert_eq!(home.records("ignored.example.com", "A").unwrap(), [""; 0]);
}

#[test]
fn update_ip_sends_by_nsupdate_what_dig_says_is_not_so_and_no_family_erases_the_other() {
    let home = Home::start_with(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/update-ip.sh");
    let file = home.folder.path().join("state/keys/dyndns.key");
    let update_ip = |server: String, addresses: &[&str]| {
        let arguments =
            [&[script, "-s", &server, "-k", file.to_str().unwrap(), "router.example.com"], addresses].concat();
        let run = run("sh", &arguments, "").unwrap();
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{addresses:?}\n{}", home.server.log());
        run.out
    };
    for tool in [&["nsupdate", "-V"], &["dig", "-v"]] {
        if run(tool[0], &tool[1..], "").is_none() {
            return;
        }
    }
    let (v4, v6) = (home.server.v4().to_string(), home.server.v6().to_string());
    let state =
        || (home.records("router.example.com", "A").unwrap(), home.records("router.example.com", "AAAA").unwrap());
    let serial = || home.records("example.com", "SOA").unwrap();
    let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();

    assert_ne!(update_ip(v4.clone(), &["192.0.2.1"]), "");
    assert_eq!(state(), (strings(&["192.0.2.1"]), strings(&[])));
    assert_ne!(update_ip(v6.clone(), &["2001:db8::1"]), "");
    assert_eq!(state(), (strings(&["192.0.2.1"]), strings(&["2001:db8::1"])));
    assert_ne!(update_ip(v6.clone(), &["192.0.2.2"]), "");
    assert_eq!(state(), (strings(&["192.0.2.2"]), strings(&["2001:db8::1"])));
    let before = serial();
    assert_eq!(update_ip(v4.clone(), &["192.0.2.2", "2001:DB8:0::1"]), "", "another spelling of the same");
    assert_eq!(serial(), before);
    assert_eq!(home.server.log().matches("update applied").count(), 3);
    assert_ne!(update_ip(v4, &["192.0.2.3", "192.0.2.4", "2001:db8::2"]), "");
    assert_eq!(state(), (strings(&["192.0.2.3", "192.0.2.4"]), strings(&["2001:db8::2"])));
}
