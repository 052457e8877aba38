//! Tests of the configuration: each in a directory of its own, with surroundings of its own.

mod keys;
mod sections;
mod zones;

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
        ("[zone]", "1: zone: a list is wanted, not one table; write its name in two brackets, as [[name]]"),
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
fn the_nearest_name_is_only_guessed_where_it_is_near() {
    let known = ["listen", "log-file", "file", "key"];
    let near = |text| file::nearest(text, known.into_iter());
    assert_eq!(near("lisen"), Some("listen"));
    assert_eq!(near("Log_File"), Some("log-file"));
    assert_eq!(near("keys"), Some("key"));
    assert_eq!(near("banana"), None);
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
