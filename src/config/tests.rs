//! Tests of the configuration: each in a directory of its own, with surroundings of its own.

use super::http::HTTP_OPTIONS;
use super::journal::JOURNAL_OPTIONS;
use super::mesh::MESH_OPTIONS;
use super::settings::{GRANT_OPTIONS, KEY_OPTIONS, ZONE_OPTIONS};
use super::tls::TLS_OPTIONS;
use super::*;
use crate::mesh::{Label, Role, Settings};
use crate::store::{CheckpointRule, Retention};
use crate::wire::Rtype;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const SECRET: &str = "c2VjcmV0IG9mIGxhcHRvcA==";

/// A directory to load a configuration in.
struct Place {
    directory: TempDir,
    state_directory: Option<OsString>,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap(), state_directory: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file that only its owner reads.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn key(&self, name: &str) {
        self.write(&format!("state/keys/{name}.key"), &key_file(name));
    }

    fn load(&self, flags: &Flags) -> Result<Config, Error> {
        let surroundings = Surroundings {
            directory: self.directory.path().to_path_buf(),
            default_config: self.path("etc/dyndns.toml"),
            state_directory: self.state_directory.clone(),
            notify_socket: None,
        };
        Config::load_in(flags, &surroundings)
    }

    /// Loads a configuration file of this text.
    fn load_text(&self, text: &str) -> Result<Config, Error> {
        let config = self.write("dyndns.toml", text);
        self.load(&Flags { config: Some(config), state_dir: Some(self.path("state")), ..Flags::default() })
    }
}

fn key_file(name: &str) -> String {
    format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n")
}

fn set(text: &str) -> Config {
    Place::new().load_text(text).unwrap()
}

/// The error for a file of this text, without the file's directory.
fn fault(text: &str) -> String {
    let place = Place::new();
    let error = place.load_text(text).map(drop).unwrap_err();
    assert_eq!(error.code(), crate::error::Code::Usage);
    error.to_string().replace(&format!("{}/", place.directory.path().display()), "")
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn may(config: &Config, key: &str, apex: &str, owner: &str, rtype: Rtype) -> bool {
    config.rights.policy(&name(apex)).decide(&name(key), &name(owner), rtype).is_ok()
}

fn apexes(config: &Config) -> Vec<String> {
    config.zones.iter().map(|zone| zone.apex.to_string()).collect()
}

#[test]
fn every_option_has_its_default() {
    for config in [set(""), Place::new().load(&Flags::default()).unwrap()] {
        assert_eq!(config.listen, DEFAULT_LISTEN);
        assert!(config.state_dir.ends_with("state"));
        assert!(config.key_dir.path().ends_with("state/keys"));
        assert_eq!(config.log, LogConfig { file: None, format: LogFormat::Text, level: LogLevel::Info });
        assert_eq!(config.pid_file, None);
        assert_eq!(config.version_bind, None);
        assert_eq!(config.tcp, TcpLimits { connections: 1000, per_address: 50, idle_timeout: Duration::from_secs(10) });
        assert_eq!(config.udp_size, 1232);
        assert_eq!(config.udp_workers, std::thread::available_parallelism().unwrap());
        let journal = JournalConfig {
            keep: Retention { age: 90 * 86_400, size: 1 << 30 },
            checkpoints: CheckpointRule { octets: 64 << 20, commits: 1_000_000 },
        };
        assert_eq!((config.journal, set("[journal]").journal), (journal, journal));
        assert_eq!(config.tls, None);
        assert!(config.zones.is_empty() && config.keys.is_empty() && config.warnings.is_empty());
    }
}

#[test]
fn every_option_can_be_set() {
    let place = Place::new();
    let config = place
        .load(&Flags {
            config: Some(place.write(
                "etc/x.toml",
                "listen = [\"192.0.2.1:53\", \"[2001:db8::1]:53\"]\nstate-dir = \"/var/lib/dyndns\"\n\
                 key-dir = \"/etc/keys\"\nlog-file = \"log\"\nlog-format = \"json\"\nlog-level = \"debug\"\n\
                 pid-file = \"../pid\"\nversion-bind = \"none of your business\"\nwhoami = \"me.example\"\ntcp-connections = 7\n\
                 tcp-connections-per-address = 3\ntcp-idle-timeout = 2\nudp-size = 4_096\nudp-workers = 3\n\
                 key = []\nzone = []\n\
                 [journal]\nkeep-age = 7\nkeep-size = 1\ncheckpoint-size = 2\ncheckpoint-changes = 5000\n",
            )),
            ..Flags::default()
        })
        .unwrap();
    assert_eq!(config.file, Some(place.path("etc/x.toml")));
    assert_eq!(config.listen, ["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()]);
    assert_eq!(config.state_dir, Path::new("/var/lib/dyndns"));
    assert_eq!(config.key_dir.path(), Path::new("/etc/keys"));
    let log = LogConfig { file: Some(place.path("etc/log")), format: LogFormat::Json, level: LogLevel::Debug };
    assert_eq!(config.log, log);
    assert_eq!(config.pid_file, Some(place.path("etc/../pid")));
    assert_eq!(config.version_bind.as_deref(), Some("none of your business"));
    assert_eq!(config.whoami, Some(Name::parse("me.example").unwrap()));
    assert_eq!(config.tcp, TcpLimits { connections: 7, per_address: 3, idle_timeout: Duration::from_secs(2) });
    assert_eq!(config.udp_size, 4096);
    assert_eq!(config.udp_workers.get(), 3);
    let journal = JournalConfig {
        keep: Retention { age: 7 * 86_400, size: 1 << 20 },
        checkpoints: CheckpointRule { octets: 2 << 20, commits: 5000 },
    };
    assert_eq!(config.journal, journal);
}

#[test]
fn with_a_certificate_the_encrypted_transports_are_where_the_others_are() {
    let place = Place::new();
    place.write("etc/key.pem", "");
    let head = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";
    let load = |text: &str| {
        let config = place.write("etc/x.toml", text);
        place.load(&Flags { config: Some(config), ..Flags::default() }).unwrap()
    };
    let addresses = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect::<Vec<SocketAddr>>();

    let config = load(&format!("listen = [\"192.0.2.1:53\", \"192.0.2.1:5300\", \"[2001:db8::1]:53\"]\n{head}"));
    let expected = TlsConfig {
        certificate: place.path("etc/cert.pem"),
        key: place.path("etc/key.pem"),
        dot_listen: addresses(&["192.0.2.1:853", "[2001:db8::1]:853"]),
        doh_listen: addresses(&["192.0.2.1:443", "[2001:db8::1]:443"]),
        doh_path: "/dns-query".into(),
        doq_listen: addresses(&["192.0.2.1:853", "[2001:db8::1]:853"]),
    };
    assert_eq!(config.tls, Some(expected.clone()));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);

    let config = load(&format!(
        "{head}dot-listen = [\"192.0.2.2:8853\"]\ndoh-listen = []\ndoh-path = \"/q\"\ndoq-listen = [\"192.0.2.3:1\"]\n"
    ));
    let (dot_listen, doq_listen) = (addresses(&["192.0.2.2:8853"]), addresses(&["192.0.2.3:1"]));
    let expected = TlsConfig { dot_listen, doh_listen: vec![], doh_path: "/q".into(), doq_listen, ..expected };
    assert_eq!(config.tls, Some(expected));

    fs::set_permissions(place.path("etc/key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(load(head).warnings[0].contains("key.pem holds a secret and every user can read it; chmod 600 "));
}

#[test]
fn flags_win_over_the_file() {
    let place = Place::new();
    place.write("home.zone", "$ORIGIN home.example.\n");
    let text = format!(
        "listen = [\"192.0.2.1:53\"]\nstate-dir = \"/a\"\nlog-file = \"/a\"\nlog-format = \"text\"\npid-file = \"/a\"\n\
         [[key]]\nname = \"k\"\nsecret = \"{SECRET}\"\n[[zone]]\nname = \"home.example\"\n\
         grants = [{{ key = \"k\", rule = \"zonesub\" }}]\n"
    );
    let config = place
        .load(&Flags {
            config: Some(place.write("dyndns.toml", &text)),
            listen: vec!["127.0.0.1:1".parse().unwrap()],
            zones: vec!["home.zone".into(), "new.example".into()],
            tsig: vec![TsigKey::parse("hmac-sha512:K:AAAA").unwrap()],
            state_dir: Some("/b".into()),
            log_file: Some("/b".into()),
            log_format: Some(LogFormat::Json),
            pid_file: Some("/b".into()),
        })
        .unwrap();
    assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap()]);
    assert_eq!(config.state_dir, Path::new("/b"));
    assert_eq!(config.log.file, Some("/b".into()));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.pid_file, Some("/b".into()));
    assert_eq!(apexes(&config), ["home.example", "new.example"]);
    assert_eq!(config.zones[0].file, Some(place.path("home.zone")));
    // The key of the command line takes the name; the zone's grants stay.
    assert_eq!(config.keys.len(), 1);
    assert_eq!(config.keys[0].key.algorithm, Algorithm::HmacSha512);
    assert!(may(&config, "k", "new.example", "new.example", Rtype::SOA));
    assert!(config.warnings.iter().any(|warning| warning.contains("--tsig")));
}

#[test]
fn the_state_directory_is_the_flags_then_the_files_then_systemds() {
    let mut place = Place::new();
    place.state_directory = Some("/var/lib/dyndns:/var/lib/other".into());
    assert_eq!(place.load(&Flags::default()).unwrap().state_dir, Path::new("/var/lib/dyndns"));
    place.write("etc/dyndns.toml", "state-dir = \"/srv\"\n");
    assert_eq!(place.load(&Flags::default()).unwrap().state_dir, Path::new("/srv"));
    let flags = Flags { state_dir: Some("/flag".into()), ..Flags::default() };
    assert_eq!(place.load(&flags).unwrap().state_dir, Path::new("/flag"));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
    let load = "cannot load config dyndns.toml";
    assert_eq!(
        fault("\nlisten = [\"[::1]:1\"]\nlog-fil = \"x\"\n"),
        format!("{load}:3: unknown key log-fil; did you mean log-file?")
    );
    assert_eq!(fault("state_dir = \"x\"\n"), format!("{load}:1: unknown key state_dir; did you mean state-dir?"));
    assert_eq!(fault("[[zone]]\nnmae = \"x\"\n"), format!("{load}:2: unknown key nmae; did you mean name?"));
    assert_eq!(
        fault("[[key]]\nname = \"x\"\nall-zone = true\n"),
        format!("{load}:3: unknown key all-zone; did you mean all-zones?")
    );
    assert_eq!(
        fault("[[zone]]\nname = \"a\"\ngrants = [\n  { key = \"k\", rules = \"self\" },\n]\n"),
        format!("{load}:4: unknown key rules; did you mean rule?")
    );
    assert_eq!(
        fault("[[zone]]\nbanana = 1\n"),
        format!("{load}:2: unknown key banana; known here are name, file, grants")
    );
}

#[test]
fn a_bad_value_is_named_with_its_line_and_what_to_write() {
    for (text, expected) in [
        ("listen = \"127.0.0.1:53\"", "1: listen: a list in brackets is wanted, not string"),
        ("listen = []", "1: listen: the list is empty; write at least one ADDRESS:PORT"),
        (
            "listen = [\n  \"127.0.0.1:53\",\n  \"localhost:53\",\n]",
            "3: listen: localhost:53: no address and port; write one such as 127.0.0.1:5300 or [::1]:5300",
        ),
        ("udp-size = 100", "1: udp-size: 100 is out of bounds; write 512 to 4096"),
        ("udp-size = -1", "1: udp-size: -1 is out of bounds; write 512 to 4096"),
        ("udp-workers = 0", "1: udp-workers: 0 is out of bounds; write 1 to 1024"),
        ("udp-size = \"1232\"", "1: udp-size: a whole number is wanted, not string"),
        ("tcp-connections = 0", "1: tcp-connections: 0 is out of bounds; write 1 to 100000"),
        ("tcp-idle-timeout = 99999999999", "1: tcp-idle-timeout: 99999999999 is out of bounds; write 1 to 3600"),
        ("log-format = \"xml\"", "1: log-format: unknown word xml; write one of text, json"),
        ("log-level = \"loud\"", "1: log-level: unknown word loud; write one of error, warn, info, debug, trace"),
        ("pid-file = \"\"", "1: pid-file: the path is empty; write one, or leave the option out"),
        ("key = [1]", "1: key: a table is wanted, not integer"),
        ("[tls]\nkey = \"k\"", "1: [tls] without a certificate; add certificate = \"FILE.pem\""),
        ("\n[tls]\ncertificate = \"c\"", "2: [tls] without a key; add key = \"FILE.pem\""),
        ("[tls]\ndoh-path = \"dns-query\"", "2: doh-path: dns-query: no path of a URL; write one such as /dns-query"),
        (
            "[tls]\ncertificate = \"c\"\nkey = \"k\"\ndot-listen = [\"[::1]:443\"]\ndoh-listen = [\"[::1]:443\"]",
            "1: [::1]:443 is in dot-listen and in doh-listen; give one of them another port",
        ),
        ("[[zone]]\nname = \"a..b\"", "2: name: a..b: a label is empty; write one dot between labels"),
        ("[[key]]\nname = \"k\"\nall-zones = 1", "3: all-zones: true or false is wanted, not integer"),
    ] {
        assert_eq!(fault(text), format!("cannot load config dyndns.toml:{expected}"), "{text}");
    }
    assert!(fault(&format!("version-bind = \"{}\"", "x".repeat(256))).contains("over 255 octets"));
}

#[test]
fn of_several_faults_the_first_in_the_file_is_told() {
    assert!(fault("udp-size = 1\nbanana = 1\nlisten = []\n").contains(":1: udp-size"));
    assert!(fault("banana = 1\nudp-size = 1\n").contains(":1: unknown key banana"));
}

#[test]
fn text_that_is_no_toml_is_told_without_quoting_it() {
    for text in [
        format!("[[key]]\nname = \"k\"\nsecret = \"{SECRET}\n"),
        format!("[[key]]\nname = \"k\"\nsecret = {SECRET}\n"),
        format!("[[key]]\nsecret = \"{SECRET}\" \"{SECRET}\"\n"),
        format!("[[key]]\n\"{SECRET}\"\n"),
        format!("[[key]]\nsecret = \"{SECRET}\"\nsecret = \"{SECRET}\"\n"),
    ] {
        let told = fault(&text);
        assert!(told.starts_with("cannot load config dyndns.toml:"), "{told}");
        assert!(told.contains("this is no TOML: ") && !told.contains(&SECRET[..8]), "{told}");
    }
}

#[test]
fn a_missing_file_is_an_error_only_where_it_was_named() {
    let place = Place::new();
    let named = Flags { config: Some(place.path("no.toml")), ..Flags::default() };
    let error = place.load(&named).map(drop).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot load config ") && error.ends_with("no.toml: no such file or directory"),
        "{error}"
    );
    assert!(place.load(&Flags::default()).unwrap().file.is_none());
}

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
fn the_nearest_name_is_only_guessed_where_it_is_near() {
    let known = ["listen", "log-file", "file", "key"];
    let near = |text| file::nearest(text, known.into_iter());
    assert_eq!(near("lisen"), Some("listen"));
    assert_eq!(near("Log_File"), Some("log-file"));
    assert_eq!(near("keys"), Some("key"));
    assert_eq!(near("banana"), None);
}

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
    assert!(mesh.bootstrap.is_empty() && mesh.reverse.is_empty());
    assert_eq!(apexes(&config), ["mesh.home.arpa"]);
    assert_eq!(set("").mesh, None);
}

#[test]
fn every_option_of_a_mesh_can_be_set() {
    let config = set("[[zone]]\nname = \"10.in-addr.arpa\"\n[[zone]]\nname = \"lab.test\"\n\
         [mesh]\nname = \"nas\"\nzone = \"Lab.test\"\nreverse = [\"10.1.0.0/16\", \"192.0.2.0/24\", \"fd00::/8\"]\n\
         state-dir = \"m\"\nticket-file = \"t\"\nbootstrap = [\"192.0.2.1\", \"ns.test:7\"]\nport = 1\nrole = \"server\"\n\
         advertise = [\"192.0.2.7\", \"2001:db8::7\"]\nsessions = 2\nheartbeat = 3\ntimeout = 4\nannounce = 5\n\
         full-exchange = 60\nquiet = 70\nlease = 800\nhosts-file = \"/etc/hosts\"\nhook = \"echo\"\n");
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

#[test]
fn the_manual_names_every_option_once() {
    let manual = manual();
    let counts: Vec<usize> = manual.iter().map(|section| section.options.len()).collect();
    let doors = [TLS_OPTIONS.len(), HTTP_OPTIONS.len(), MESH_OPTIONS.len()];
    let zones = [KEY_OPTIONS.len(), ZONE_OPTIONS.len(), GRANT_OPTIONS.len()];
    assert_eq!(counts, [&[OPTIONS.len(), JOURNAL_OPTIONS.len()][..], &doors, &zones].concat());
    for section in &manual {
        for (at, option) in section.options.iter().enumerate() {
            assert!(!section.options[..at].iter().any(|other| other.name == option.name), "{}", option.name);
            assert!(!option.doc.is_empty() && !option.form.is_empty() && !option.default.is_empty());
        }
    }
    let listen = DEFAULT_LISTEN.map(|address| format!("\"{address}\"")).join(", ");
    assert_eq!(manual[0].options[0].default, format!("[{listen}]"));
}
