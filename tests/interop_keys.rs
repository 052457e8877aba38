//! The clients' signatures: every algorithm, and what a wrong key is told.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "in a test a panic is the failure to be seen")]

mod common;

use common::client::{Home, SECRET, run, server_line};

/// Each with the names that `nsupdate -y` and `knsupdate` know it by, where they know it.
const ALGORITHMS: [(&str, bool); 9] = [
    ("hmac-md5", true),
    ("hmac-sha1", true),
    ("hmac-sha224", true),
    ("hmac-sha256", true),
    ("hmac-sha384", true),
    ("hmac-sha512", true),
    // BIND takes the length of a MAC from the key's name for the algorithm; Knot does not know these.
    ("hmac-sha256-128", false),
    ("hmac-sha384-192", false),
    ("hmac-sha512-256", false),
];

/// A server with one key of each algorithm, named after it.
fn home_of_all() -> Home {
    let keys: Vec<String> = ALGORITHMS.iter().map(|(name, _)| format!("{name}:{name}.key:{SECRET}")).collect();
    let arguments: Vec<&str> = keys.iter().flat_map(|key| ["--tsig", key]).collect();
    Home::start_with(&arguments)
}

#[test]
fn nsupdate_and_dig_sign_with_every_algorithm() {
    let home = home_of_all();
    for (algorithm, _) in ALGORITHMS {
        let key = format!("{algorithm}:{algorithm}.key:{SECRET}");
        let script = format!("update add {algorithm}.example.com. 60 A 192.0.2.1\nsend\n");
        let Some(run) = home.nsupdate(&["-y", &key], &script) else { return };
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{algorithm}\n{}", home.server.log());
        let Some(answer) = home.dig(&["-y", &key, &format!("{algorithm}.example.com"), "A"]) else { return };
        assert!(answer.contains("192.0.2.1") && answer.contains("NOERROR 0"), "{answer}");
        assert!(!answer.contains("could not be validated"), "{answer}");
    }
}

#[test]
fn knsupdate_and_kdig_sign_with_every_algorithm() {
    let home = home_of_all();
    let (v6, port) = (home.server.v6(), home.server.v6().port().to_string());
    for (algorithm, _) in ALGORITHMS.into_iter().filter(|(_, knot)| *knot) {
        let script = format!(
            "{}key {algorithm}:{algorithm}.key {SECRET}\nzone example.com.\n\
             update add {algorithm}.example.com. 60 AAAA 2001:db8::1\nsend\n",
            server_line(v6)
        );
        let Some(update) = run("knsupdate", &[], &script) else { return };
        assert_eq!((update.code, update.err.as_str()), (Some(0), ""), "{algorithm}\n{}", home.server.log());
        let key = format!("{algorithm}:{algorithm}.key:{SECRET}");
        let server = format!("@{}", v6.ip());
        let name = format!("{algorithm}.example.com");
        let Some(answer) = run("kdig", &[&server, "-p", &port, "-y", &key, &name, "AAAA"], "") else { return };
        assert!(answer.out.contains("2001:db8::1"), "{answer:?}");
        // What kdig says of a signature that is wrong stands among its warnings.
        assert!(!format!("{}{}", answer.out, answer.err).contains("WARNING: TSIG"), "{answer:?}");
    }
}

#[test]
fn knsupdate_runs_the_script_over_udp_and_tcp() {
    let home = Home::start();
    for (number, (transport, server)) in
        [(&[][..], home.server.v4()), (&["-v"], home.server.v6()), (&["-v"], home.server.v4())].into_iter().enumerate()
    {
        let script = format!(
            "{}key hmac-sha256:laptop {SECRET}
zone example.com.
update delete router.example.com. A
update delete router.example.com. AAAA
update add router.example.com. 120 A 192.0.2.{number}
update add router.example.com. 120 AAAA 2001:db8::{number}
show
send
",
            server_line(server)
        );
        let Some(update) = run("knsupdate", transport, &script) else { return };
        assert_eq!((update.code, update.err.as_str()), (Some(0), ""), "{transport:?} {server}");
        let line = home.server.v4();
        let (at, port) = (format!("@{}", line.ip()), line.port().to_string());
        for (rtype, address) in [("A", format!("192.0.2.{number}")), ("AAAA", format!("2001:db8::{number}"))] {
            let Some(answer) = run("kdig", &[&at, "-p", &port, "+short", "router.example.com", rtype], "") else {
                return;
            };
            let expected = if address.ends_with("::0") { "2001:db8::\n".into() } else { format!("{address}\n") };
            assert_eq!(answer.out, expected);
        }
    }
    // Prerequisites, and a transfer over TCP in signed messages.
    let script = format!(
        "{}key hmac-sha256:laptop {SECRET}\nzone example.com.\nprereq nxdomain router.example.com.\n\
         update add router.example.com. 1 A 192.0.2.99\nsend\n",
        server_line(home.server.v4())
    );
    let refused = run("knsupdate", &[], &script).unwrap();
    assert!(refused.code != Some(0) && format!("{refused:?}").contains("YXDOMAIN"), "{refused:?}");
    let (port, key) = (home.server.v4().port().to_string(), format!("hmac-sha256:laptop:{SECRET}"));
    let zone = run("kdig", &["@127.0.0.1", "-p", &port, "-y", &key, "example.com", "AXFR"], "").unwrap();
    assert_eq!(zone.out.matches("\tSOA\t").count(), 2, "{zone:?}");
    assert!(zone.out.contains("router.example.com. \t120\tIN\tA\t192.0.2.2"), "{}", zone.out);
}

/// Debian's nsupdate 9.18 signs with hmac-md5 where the `key` line names no algorithm.
#[test]
fn a_key_line_without_an_algorithm_works_with_a_key_that_the_operator_made_hmac_md5() {
    let script = format!("key laptop {SECRET}\nupdate add plain.example.com. 60 A 192.0.2.1\nsend\n");
    let home = Home::start_with(&["--tsig", &format!("hmac-md5:laptop:{SECRET}")]);
    let Some(run) = home.nsupdate(&[], &script) else { return };
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{}", home.server.log());
    assert_eq!(home.records("plain.example.com", "A").unwrap(), ["192.0.2.1"]);

    let home = Home::start();
    let run = home.nsupdate(&[], &format!("zone example.com.\n{script}")).unwrap();
    assert_eq!(run.code, Some(2), "{run:?}");
    assert!(run.err.contains("NOTAUTH(BADKEY)"), "{run:?}");
    let line = home.server.wait_for_log("update refused");
    assert!(line.contains("laptop. serves hmac-sha256") && line.contains("hmac-md5"), "{line}");
    assert_eq!(home.records("plain.example.com", "A").unwrap(), [""; 0]);
}

#[test]
fn a_wrong_key_changes_nothing_and_the_log_says_why() {
    let home = Home::start();
    let script = "zone example.com.\nupdate add wrong.example.com. 60 A 192.0.2.1\nsend\n";
    let cases = [
        ("hmac-sha256:laptop:d3Jvbmc=".to_string(), "NOTAUTH(BADSIG)", "the MAC of key laptop. is wrong"),
        (format!("hmac-sha256:desktop:{SECRET}"), "NOTAUTH(BADKEY)", "no key desktop."),
        (format!("hmac-sha512:laptop:{SECRET}"), "NOTAUTH(BADKEY)", "key laptop. serves hmac-sha256"),
    ];
    for (key, told, logged) in &cases {
        for transport in [&["-y", key][..], &["-v", "-y", key]] {
            let Some(run) = home.nsupdate(transport, script) else { return };
            assert_eq!(run.code, Some(2), "{run:?}");
            assert!(run.err.contains(told), "{run:?}");
            home.server.wait_for_log(logged);
        }
    }
    let unsigned = home.nsupdate(&[], script).unwrap();
    assert_eq!((unsigned.code, unsigned.err.as_str()), (Some(2), "update failed: REFUSED\n"));
    home.server.wait_for_log("update refused: the update is not signed");
    assert_eq!(home.records("wrong.example.com", "A").unwrap(), [""; 0]);
    assert!(!home.server.log().contains(SECRET), "no secret in any log");
}

#[test]
fn a_key_changes_what_its_grant_says_and_the_log_names_key_rule_and_name() {
    let folder = tempfile::tempdir().unwrap();
    common::client::copy_zones(folder.path());
    let config = format!(
        r#"
[[key]]
name = "acme"
secret = "{SECRET}"
[[zone]]
file = "zones/example.com.zone"
grants = [{{ key = "acme", rule = "name", name = "_acme-challenge.www", types = ["TXT"] }}]
"#
    );
    std::fs::write(folder.path().join("dyndns.toml"), config).unwrap();
    let server = common::Server::start(folder.path(), &["--config", "dyndns.toml"]);
    let home = Home { server, folder };
    let key = format!("hmac-sha256:acme:{SECRET}");
    let update = |line: &str| home.nsupdate(&["-y", &key], &format!("zone example.com.\n{line}\nsend\n"));
    let Some(run) = update("update add _acme-challenge.www.example.com. 60 TXT token") else { return };
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{}", home.server.log());
    let refused = [
        "update add www.example.com. 60 A 192.0.2.1",
        "update delete example.com.",
        "update add _acme-challenge.www.example.com. 60 CNAME www",
    ];
    for line in refused {
        let run = update(line).unwrap();
        assert_eq!((run.code, run.err.as_str()), (Some(2), "update failed: REFUSED\n"), "{line}");
    }
    let line = home.server.wait_for_log("update refused");
    for part in
        ["key acme. may change TXT of _acme-challenge.www.example.com, not A of www.example.com", "rcode=REFUSED"]
    {
        assert!(line.contains(part), "{line}");
    }
}
