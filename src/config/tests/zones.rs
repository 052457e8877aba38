//! Zones, their files, and who may change what in them.

use super::*;

#[test]
fn grants_take_names_whole_or_relative() {
    let place = Place::new();
    place.key("k");
    for written in ["www", "www.home.example", "www.home.example.", "WWW"] {
        let config = place
            .load_text(&format!(
                "[[zone]]\nname = \"home.example\"\ngrants = [{{ key = \"K.\", rule = \"name\", name = \"{written}\" }}]\n"
            ))
            .unwrap();
        assert!(may(&config, "k", "home.example", "www.home.example", Rtype::A), "{written}");
        assert!(!may(&config, "k", "home.example", "home.example", Rtype::A), "{written}");
    }
}

#[test]
fn grants_have_rules_types_and_effects() {
    let place = Place::new();
    place.key("k");
    place.key("pc.home.example");
    let config = place
        .load_text(
            "[[zone]]\nname = \"home.example\"\ngrants = [\n\
             { key = \"k\", rule = \"zonesub\", types = [\"a\", \"TYPE65280\"] },\n\
             { key = \"k\", rule = \"name\", name = \"@\", types = [\"ANY\"] },\n\
             { key = \"k\", rule = \"subdomain\", name = \"no\", effect = \"deny\" },\n\
             { key = \"pc.home.example\", rule = \"self\", effect = \"allow\" },\n]\n",
        )
        .unwrap();
    let may = |key, owner, rtype| may(&config, key, "home.example", owner, rtype);
    assert!(may("k", "x.home.example", Rtype::A) && may("k", "x.home.example", Rtype(65280)));
    assert!(!may("k", "x.home.example", Rtype::TXT));
    assert!(may("k", "home.example", Rtype::SOA));
    assert!(!may("k", "no.home.example", Rtype::A) && !may("k", "x.no.home.example", Rtype::A));
    assert!(may("pc.home.example", "pc.home.example", Rtype::AAAA));
    assert!(!may("pc.home.example", "x.home.example", Rtype::AAAA));
}

#[test]
fn a_grant_that_cannot_be_meant_is_an_error() {
    for (grant, expected) in [
        ("rule = \"zonesub\"", "a grant without a key; add key = \"...\""),
        ("key = \"k\"", "a grant without a rule"),
        (
            "key = \"other\", rule = \"zonesub\"",
            "grant for key other., which is not there; add a [[key]] or run: dyndns key generate other (for HTTP: key add-http other)",
        ),
        ("key = \"k\", rule = \"zonesub\", name = \"x\"", "this rule takes no name"),
        ("key = \"k\", rule = \"name\"", "this rule needs a name"),
        ("key = \"k\", rule = \"self\"", "key k. is no name in zone home.example; name the key after its host"),
        (
            "key = \"k\", rule = \"name\", name = \"www.other.example.\"",
            "name www.other.example. is not in zone home.example",
        ),
        ("key = \"k\", rule = \"any\"", "rule: unknown word any; write one of name, subdomain, zonesub, self"),
        ("key = \"k\", rule = \"zonesub\", types = [\"AAAAA\"]", "types: unknown record type AAAAA"),
        ("key = \"k\", rule = \"zonesub\", types = [\"AXFR\"]", "types: AXFR is never data in a zone"),
        // Once it gave every type.
        ("key = \"k\", rule = \"zonesub\", types = []", "types: no type at all; name some, or leave the line out"),
    ] {
        let text = format!(
            "[[key]]\nname = \"k\"\nsecret = \"{SECRET}\"\n[[zone]]\nname = \"home.example\"\ngrants = [\n{{ {grant} }} ]\n"
        );
        let told = fault(&text);
        assert!(told.starts_with(&format!("cannot load config dyndns.toml:7: {expected}")), "{told}");
    }
}

#[test]
fn the_right_to_make_zones_is_all_or_below_names() {
    let text = |value: &str| format!("[[key]]\nname = \"k\"\nsecret = \"{SECRET}\"\ncreate-zones = {value}\n");
    let may = |value: &str, apex: &str| set(&text(value)).rights.may_create(&name("k"), &name(apex), None).is_ok();
    assert!(may("true", "x.test"));
    assert!(!may("false", "x.test"));
    assert!(may("[\"dyn.example\"]", "a.dyn.example") && !may("[\"dyn.example\"]", "x.test"));
}

#[test]
fn without_a_configuration_every_zone_file_in_zones_is_served() {
    let place = Place::new();
    place.write("zones/example.com.zone", "; $ORIGIN other.example.\n$TTL 1h\n@ SOA ...\n$ORIGIN sub.example.com.\n");
    place.write("zones/home.zone", "\n$origin Home.Example. ; ours\n");
    place.write("zones/readme.txt", "");
    assert_eq!(apexes(&place.load(&Flags::default()).unwrap()), ["example.com", "Home.Example"]);
    // One that is told of takes the place of all found.
    let flags = Flags { zones: vec!["example.com".into()], ..Flags::default() };
    let config = place.load(&flags).unwrap();
    assert_eq!(
        config.zones,
        [ZoneConfig { apex: name("example.com"), file: Some(place.path("zones/example.com.zone")) }]
    );
    assert!(set("").zones.is_empty());
}

#[test]
fn two_files_of_one_zone_are_an_error() {
    let place = Place::new();
    place.write("zones/a.zone", "$ORIGIN home.example.\n");
    place.write("zones/home.example.zone", "");
    let error = place.load(&Flags::default()).map(drop).unwrap_err().to_string();
    assert!(error.ends_with("home.example.zone are both of zone home.example; remove one"), "{error}");
}

#[test]
fn a_zone_declared_badly_is_an_error() {
    assert_eq!(fault("[[zone]]\n"), "cannot load config dyndns.toml:1: a zone without a name; add name = \"...\"");
    let twice = fault("[[zone]]\nname = \"a.example\"\n[[zone]]\nname = \"A.example.\"\n");
    assert_eq!(twice, "cannot load config dyndns.toml:3: zone A.example is declared twice; keep one");
    let missing = fault("[[zone]]\nfile = \"no.zone\"\n");
    assert_eq!(missing, "cannot load config dyndns.toml:1: cannot load zone file no.zone: no such file or directory");
}

#[test]
fn a_zone_file_gives_its_records_or_says_where_it_is_wrong() {
    let place = Place::new();
    let head = "@ 60 SOA ns hostmaster 1 2 3 4 5\n@ 60 NS ns\nns 60 A 192.0.2.1\n";
    place.write("zones/a.example.zone", head);
    place.write("zones/b.example.zone", &format!("{head}x 60 A nonsense\nx 60 BANANA 1\n"));
    let records = |zone: &str| {
        let apex = name(zone);
        ZoneConfig { apex, file: Some(place.path(&format!("zones/{zone}.zone"))) }.records()
    };
    assert_eq!(records("a.example").unwrap().len(), 3);
    let error = records("b.example").unwrap_err().to_string();
    assert!(error.starts_with("cannot load zone b.example: ") && error.contains("b.example.zone:4: "), "{error}");
    assert!(error.contains("(and 1 more; dyndns zone check "), "{error}");
    assert!(records("c.example").unwrap_err().to_string().ends_with("c.example.zone: no such file or directory"));
    assert_eq!(ZoneConfig { apex: name("n.example"), file: None }.records().unwrap().len(), 2);
    let moved = read_zone_file(&place.path("zones/a.example.zone"), Some(name("a.example")));
    assert_eq!(moved.unwrap().apex, name("a.example"));
}

/// Once it was read until the memory was used up.
#[test]
fn a_zone_file_that_never_ends_is_an_error() {
    let error = read_zone_file(Path::new("/dev/zero"), Some(name("home.example"))).unwrap_err();
    assert_eq!(error.to_string(), "/dev/zero: over 64 MiB and no file; save it to a file first");
    assert!(zone_file::fingerprint(Path::new("/dev/zero")).is_err());
}
