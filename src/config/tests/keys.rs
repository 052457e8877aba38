//! Keys: where they come from, and what is wrong with them.

use super::*;

#[test]
fn keys_come_from_secrets_secret_files_and_key_files() {
    let place = Place::new();
    place.write("s", &format!("{SECRET}\n"));
    place.write("two.key", &format!("{}{}", key_file("a"), key_file("b")));
    place.key("d");
    let config = place
        .load_text(&format!(
            "[[key]]\nname = \"inline\"\nalgorithm = \"hmac-sha512\"\nsecret = \"{SECRET}\"\n\
             [[key]]\nname = \"apart\"\nsecret-file = \"s\"\n\
             [[key]]\nname = \"a\"\nfile = \"two.key\"\n\
             [[key]]\nname = \"D.\"\nall-zones = true\n"
        ))
        .unwrap();
    let keys: Vec<(String, Algorithm)> =
        config.keys.iter().map(|key| (key.key.name.to_string(), key.key.algorithm)).collect();
    assert_eq!(
        keys,
        [
            ("inline".to_string(), Algorithm::HmacSha512),
            ("apart".to_string(), Algorithm::HmacSha256),
            ("a".to_string(), Algorithm::HmacSha256),
            ("d".to_string(), Algorithm::HmacSha256),
        ]
    );
    assert_eq!(config.keyring().len(), 4);
    assert!(may(&config, "d", "any.example", "any.example", Rtype::SOA));
    assert!(!may(&config, "a", "any.example", "x.any.example", Rtype::A));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    // Without a name, every key of the file.
    assert_eq!(place.load_text("[[key]]\nfile = \"two.key\"\nall-zones = true\n").unwrap().keys.len(), 3);
}

#[test]
fn a_key_that_is_not_told_well_is_an_error_without_its_secret() {
    let two = format!("[[key]]\nname = \"k\"\nsecret = \"{SECRET}\"\n");
    for (text, expected) in [
        ("[[key]]\nall-zones = true".to_string(), "1: a key without a name"),
        (format!("{two}file = \"x\""), "1: a key needs one of secret, secret-file and file; keep one"),
        (format!("{two}{two}"), "4: key k. is declared twice; keep one"),
        (two.replace("==", "!="), "3: secret: the secret is not base64"),
        ("[[key]]\nname = \"k\"\nsecret = \"\"".to_string(), "3: secret: "),
        (
            "[[key]]\nname = \"k\"".to_string(),
            "1: cannot read key file state/keys/k.key: no such file or directory; make it: dyndns key generate k",
        ),
        ("[[key]]\nname = \"k\"\nsecret-file = \"x\"".to_string(), "1: cannot read secret file x: no such file"),
        (format!("{two}algorithm = \"md5\""), "4: algorithm: md5: unknown algorithm; write one of hmac-"),
        ("[[key]]\nname = \"k\"\nalgorithm = \"hmac-sha1\"".to_string(), "1: the key file names the algorithm"),
    ] {
        let told = fault(&text);
        assert!(told.starts_with(&format!("cannot load config dyndns.toml:{expected}")), "{told}");
        assert!(!told.contains(&SECRET[..8]), "{told}");
    }
}

#[test]
fn a_key_file_that_cannot_be_read_stops_the_start_and_names_its_line() {
    let place = Place::new();
    place.write("state/keys/bad.key", &format!("key \"k\" {{\n secret \"{SECRET}!\";\n}};\n"));
    let error = place.load(&Flags::default()).map(drop).unwrap_err().to_string();
    assert!(error.contains("state/keys/bad.key:2: ") && !error.contains(&SECRET[..8]), "{error}");
}

#[test]
fn the_same_key_in_two_files_is_an_error() {
    let place = Place::new();
    place.write("state/keys/a.key", &key_file("K"));
    place.write("state/keys/b.key", &key_file("k"));
    let error = place.load(&Flags::default()).map(drop).unwrap_err().to_string();
    assert!(error.contains("key k. is in both ") && error.ends_with("b.key; remove one of the files"), "{error}");
}

#[test]
fn what_every_user_can_read_is_warned_of() {
    let place = Place::new();
    place.key("open");
    place.write("secret", SECRET);
    for file in ["state/keys/open.key", "secret"] {
        fs::set_permissions(place.path(file), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let text = "[[key]]\nname = \"open\"\n[[key]]\nname = \"k\"\nsecret-file = \"secret\"\n";
    let warnings = place.load_text(text).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].ends_with("open.key") && warnings[1].contains("every user can read it; chmod 600 "));

    let path = place.write("x.toml", &format!("[[key]]\nname = \"i\"\nsecret = \"{SECRET}\"\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let config = Place::new().load(&Flags { config: Some(path), ..Flags::default() }).unwrap();
    assert_eq!(config.warnings.len(), 1);
}

#[test]
fn a_first_start_makes_a_key_that_may_change_every_zone() {
    let place = Place::new();
    let mut config = place.load(&Flags::default()).unwrap();
    let path = config.make_first_key().unwrap().unwrap();
    assert_eq!(path, place.path("state/keys/dyndns.key"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert!(may(&config, "dyndns", "a.example", "a.example", Rtype::SOA));
    assert_eq!(config.make_first_key().unwrap(), None);

    let mut second = place.load(&Flags::default()).unwrap();
    assert_eq!(second.make_first_key().unwrap(), None);
    assert_eq!(second.keys[0].key, config.keys[0].key);
    assert!(may(&second, "dyndns", "a.example", "a.example", Rtype::SOA));
}

#[test]
fn no_key_is_made_and_none_may_do_everything_where_rights_are_told() {
    let place = Place::new();
    place.key("dyndns");
    place.key("laptop");
    let grants =
        "[[zone]]\nname = \"home.example\"\n[[zone.grants]]\nkey = \"laptop\"\nrule = \"name\"\nname = \"laptop\"\n";
    let mut config = place.load_text(grants).unwrap();
    assert_eq!(config.make_first_key().unwrap(), None);
    assert!(may(&config, "laptop", "home.example", "laptop.home.example", Rtype::A));
    assert!(!may(&config, "dyndns", "home.example", "laptop.home.example", Rtype::A));

    let flags = Flags { tsig: vec![TsigKey::parse("k:AAAA").unwrap()], ..Flags::default() };
    let mut config = Place::new().load(&flags).unwrap();
    assert_eq!(config.make_first_key().unwrap(), None);
    assert_eq!(config.keys.len(), 1);
}

#[test]
fn a_key_file_is_made_whole_and_never_replaced() {
    let place = Place::new();
    let directory = KeyDirectory::new(place.path("keys"));
    let key = new_key(name("Laptop.home"), Algorithm::HmacSha512).unwrap();
    let path = directory.create(&key).unwrap();
    assert_eq!(path, place.path("keys/laptop.home.key"));
    let before = fs::read(&path).unwrap();
    let error = directory.create(&new_key(name("laptop.home"), Algorithm::HmacSha256).unwrap()).unwrap_err();
    assert_eq!(error.code(), crate::error::Code::Refused);
    assert!(error.to_string().ends_with("is there already; remove it first with: dyndns key remove laptop.home"));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(place.path("keys")).unwrap().count(), 1, "no draft is left");
    assert_eq!(directory.read().unwrap()[0].keys, [key]);
    assert_eq!(directory.remove(&name("LAPTOP.home")).unwrap(), path);
    assert!(directory.remove(&name("laptop.home")).is_err());
}

#[test]
fn a_key_name_never_leads_out_of_the_directory() {
    let directory = KeyDirectory::new("/nowhere".into());
    for text in ["a/b", "\\.\\./x", ".", "-k", "a b", "\\000"] {
        assert!(directory.file_of(&name(text)).is_err(), "{text}");
    }
}

#[test]
fn a_secret_that_can_be_guessed_is_warned_of() {
    let short = |octets: usize| {
        let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![7; octets]);
        Place::new().load_text(&format!("[[key]]\nname = \"k\"\nsecret = \"{secret}\"\n")).unwrap().warnings
    };
    let warning = "the secret of key k. has 15 octets and can be guessed; make one of 16 or more: dyndns key generate";
    assert_eq!(short(15), [warning]);
    assert_eq!(short(16), [""; 0]);
}
