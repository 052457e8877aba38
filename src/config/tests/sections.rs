//! The sections that have a door or a node of their own: `[http]` and `[mesh]`.

use super::*;

#[test]
fn the_http_door_listens_somewhere_and_with_a_certificate_where_it_is_https() {
    let place = Place::new();
    let load = |text: &str| place.load_text(&format!("listen = [\"192.0.2.1:53\"]\n{text}"));
    for (text, expected) in [
        ("[http]", "[http] listens nowhere; add plain-listen"),
        ("[http]\nplain-listen = []", "[http] listens nowhere; add plain-listen"),
        ("[http]\nlisten = [\"192.0.2.1:443\"]", "needs a certificate; add [tls]"),
        ("[tls]\ncertificate = \"c\"\nkey = \"k\"\n[http]\nlisten = [\"192.0.2.1:443\"]", "doh-listen of [tls] too"),
        ("[tls]\ncertificate = \"c\"\nkey = \"k\"\n[http]\nplain-listen = [\"192.0.2.1:853\"]", "dot-listen of [tls]"),
        ("[http]\nplain-listen = [\"127.0.0.1:80\"]\nacme-zone = \"auth.example\"", "in no zone of this configuration"),
        ("[http]\nplain-listen = [\"127.0.0.1:80\"]\ntrusted-proxies = [\"10.0.0.1/33\"]", "no address or network"),
    ] {
        let error = load(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let config = load("[http]\nplain-listen = [\"127.0.0.1:80\", \"192.0.2.1:80\"]").unwrap();
    let warnings = config.warnings.join("\n");
    assert!(warnings.contains("plain-listen 192.0.2.1:80 takes passwords unencrypted"), "{warnings}");
    assert!(!warnings.contains("127.0.0.1:80"), "{warnings}");
}

#[test]
fn a_mesh_has_its_defaults_and_its_zones() {
    let config = set("[mesh]\nname = \"NAS\"");
    let mesh = config.mesh.as_ref().unwrap();
    assert_eq!(mesh.node, Settings::new(Label::new("nas").unwrap()));
    assert_eq!(mesh.zone, name("mesh.home.arpa"));
    assert!(mesh.state_dir.ends_with("state/mesh"), "{}", mesh.state_dir.display());
    assert_eq!((&mesh.ticket_file, &mesh.hosts_file, &mesh.hook), (&None, &None, &None));
    assert!(mesh.bootstrap.is_empty() && mesh.reverse.is_empty() && !mesh.mdns);
    assert_eq!(apexes(&config), ["mesh.home.arpa"]);
    assert_eq!(set("").mesh, None);
}

#[test]
fn every_option_of_a_mesh_can_be_set() {
    let config = set("[[zone]]\nname = \"10.in-addr.arpa\"\n[[zone]]\nname = \"lab.test\"\n\
         [mesh]\nname = \"nas\"\nzone = \"Lab.test\"\nreverse = [\"10.1.0.0/16\", \"192.0.2.0/24\", \"fd00::/8\"]\n\
         state-dir = \"m\"\nticket-file = \"t\"\nbootstrap = [\"192.0.2.1\", \"ns.test:7\"]\nport = 1\nrole = \"server\"\n\
         advertise = [\"192.0.2.7\", \"2001:db8::7\"]\nsessions = 2\nheartbeat = 3\ntimeout = 4\nannounce = 5\n\
         full-exchange = 60\nquiet = 70\nlease = 800\nmdns = true\nhosts-file = \"/etc/hosts\"\nhook = \"echo\"\n");
    let mesh = config.mesh.as_ref().unwrap();
    let seconds = Duration::from_secs;
    let node = Settings {
        role: Role::Server,
        port: 1,
        advertise: vec!["192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap()],
        heartbeat: seconds(3),
        timeout: seconds(4),
        announce: seconds(5),
        full: seconds(60),
        lease: 800,
        quiet: 70,
        sessions: 2,
        ..Settings::new(Label::new("nas").unwrap())
    };
    assert_eq!(mesh.node, node);
    assert_eq!(mesh.reverse, ["1.10.in-addr.arpa", "2.0.192.in-addr.arpa", "d.f.ip6.arpa"].map(name));
    // What is declared holds these names already.
    assert_eq!(apexes(&config), ["10.in-addr.arpa", "lab.test", "2.0.192.in-addr.arpa", "d.f.ip6.arpa"]);
    assert!(mesh.state_dir.ends_with("m") && mesh.ticket_file.as_ref().unwrap().ends_with("t"));
    assert_eq!(mesh.bootstrap, ["192.0.2.1:5399", "ns.test:7"].map(|place| place.parse().unwrap()));
    assert!(mesh.mdns);
    assert_eq!((mesh.hosts_file.as_deref(), mesh.hook.as_deref()), (Some(Path::new("/etc/hosts")), Some("echo")));
}

#[test]
fn a_mesh_that_cannot_be_meant_is_an_error() {
    for (text, expected) in [
        ("", "1: [mesh] without a name; add name = \"...\""),
        ("name = \"nas.home\"", "2: name: nas.home: no host name; write one label of letters"),
        ("name = \"nas\"\nadvertise = [\"127.0.0.1\"]", "3: advertise: 127.0.0.1: an address that other machines"),
        ("name = \"nas\"\nreverse = [\"10.0.0.0/12\"]", "3: reverse: 10.0.0.0/12: /12 has no reverse zone of its own"),
        ("name = \"nas\"\nrole = \"king\"", "3: role: unknown word king; write one of member, server"),
    ] {
        let error = fault(&format!("[mesh]\n{text}"));
        assert!(error.starts_with(&format!("cannot load config dyndns.toml:{expected}")), "{text}: {error}");
    }
}
