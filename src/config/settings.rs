//! The tables of all options: the one place where each is declared.

use super::LogConfig;
use super::file::{Fault, Preset, Setting};
use super::http::{HTTP_OPTIONS, HttpSettings};
use super::journal::{JOURNAL_OPTIONS, JournalConfig};
use super::log::{self, Logs};
use super::mesh::{MESH_OPTIONS, MeshSettings};
use super::tls::{TLS_OPTIONS, TlsSettings};
use crate::tsig::{Algorithm, Secret};
use crate::update::policy::{Creation, Effect, Types};
use crate::wire::{Name, Rtype};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The whole file, each value valid in itself; what depends on other values is checked by the caller.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) listen: Option<Vec<SocketAddr>>,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) key_dir: Option<PathBuf>,
    pub(super) log: LogConfig,
    pub(super) pid_file: Option<PathBuf>,
    pub(super) version_bind: Option<String>,
    pub(super) whoami: Option<Name>,
    pub(super) tcp_connections: usize,
    pub(super) tcp_connections_per_address: usize,
    pub(super) tcp_idle_timeout: u32,
    pub(super) udp_size: u16,
    pub(super) udp_workers: Option<NonZeroUsize>,
    pub(super) journal: JournalConfig,
    pub(super) tls: Option<TlsSettings>,
    pub(super) http: Option<HttpSettings>,
    pub(super) mesh: Option<MeshSettings>,
    pub(super) keys: Vec<KeySettings>,
    pub(super) zones: Vec<ZoneSettings>,
}

impl Logs for Settings {
    fn log(&mut self) -> &mut LogConfig {
        &mut self.log
    }
}

/// One `[[key]]`.
#[derive(Default)]
pub(super) struct KeySettings {
    pub(super) at: usize,
    pub(super) name: Option<Name>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) secret: Option<Secret>,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) file: Option<PathBuf>,
    pub(super) all_zones: bool,
    pub(super) creation: Option<Creation>,
}

/// One `[[zone]]`.
#[derive(Default)]
pub(super) struct ZoneSettings {
    pub(super) at: usize,
    pub(super) name: Option<Name>,
    pub(super) file: Option<PathBuf>,
    pub(super) grants: Vec<GrantSettings>,
}

/// One grant of a zone.
#[derive(Default)]
pub(super) struct GrantSettings {
    pub(super) at: usize,
    pub(super) effect: Option<Effect>,
    pub(super) key: Option<Name>,
    pub(super) rule: Option<RuleWord>,
    pub(super) name: Option<String>,
    pub(super) types: Option<Types>,
}

/// The rules by their words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleWord {
    Name,
    Subdomain,
    ZoneSub,
    KeyName,
}

/// Top level.
pub(super) const OPTIONS: &[Setting<Settings>] = &[
    Setting {
        name: "listen",
        form: "list of \"ADDRESS:PORT\"",
        default: Preset::Words("[\"127.0.0.1:5300\", \"[::1]:5300\"]"),
        doc: "Where UDP and TCP are listened on. Only this machine reaches the default; \
              \"0.0.0.0:53\" and \"[::]:53\" are reached by everybody.",
        set: |settings, field| {
            let listen = field.list(|item| item.parse(address))?;
            if listen.is_empty() {
                return Err(field.fault("the list is empty; write at least one ADDRESS:PORT"));
            }
            settings.listen = Some(listen);
            Ok(())
        },
    },
    Setting {
        name: "state-dir",
        form: "path",
        default: Preset::Words("what systemd gives the service, else ./state"),
        doc: "Where the journal, the table and the keys are kept. One server at a time may use it.",
        set: |settings, field| set(&mut settings.state_dir, field.path()),
    },
    Setting {
        name: "key-dir",
        form: "path",
        default: Preset::Words("keys in the state directory"),
        doc: "Where key files are kept. Every file named *.key there is read.",
        set: |settings, field| set(&mut settings.key_dir, field.path()),
    },
    log::file(),
    log::format(),
    log::level(),
    Setting {
        name: "pid-file",
        form: "path",
        default: Preset::Words("none is written"),
        doc: "Where the number of the server's process is written.",
        set: |settings, field| set(&mut settings.pid_file, field.path()),
    },
    Setting {
        name: "version-bind",
        form: "text",
        default: Preset::Words("such questions are refused"),
        doc: "The answer to version.bind in class CH, at most 255 octets.",
        set: |settings, field| {
            let text = field.text()?;
            if text.len() > 255 {
                return Err(field.fault("over 255 octets; write a shorter text"));
            }
            settings.version_bind = Some(text.to_string());
            Ok(())
        },
    },
    Setting {
        name: "whoami",
        form: "domain name",
        default: Preset::Words("no such name"),
        doc: "The name whose A, AAAA and TXT records are the address that the question came from, with a TTL of 0. \
              dyndns update and dyndns agent ask whoami.ZONE where they are told nothing else.",
        set: |settings, field| set(&mut settings.whoami, field.parse(Name::parse)),
    },
    Setting {
        name: "tcp-connections",
        form: "1 to 100000",
        default: Preset::Toml("1000"),
        doc: "How many connections may be open at once: TCP, and those over TLS, HTTPS and QUIC.",
        set: |settings, field| {
            settings.tcp_connections = field.number::<u32>(1..=100_000)?.try_into().unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Setting {
        name: "tcp-connections-per-address",
        form: "1 to 100000",
        default: Preset::Toml("50"),
        doc: "How many of them one address may hold.",
        set: |settings, field| {
            settings.tcp_connections_per_address = field.number::<u32>(1..=100_000)?.try_into().unwrap_or(usize::MAX);
            Ok(())
        },
    },
    Setting {
        name: "tcp-idle-timeout",
        form: "1 to 3600 (seconds)",
        default: Preset::Toml("10"),
        doc: "After how long without a query a connection is closed.",
        set: |settings, field| {
            settings.tcp_idle_timeout = field.number(1..=3600)?;
            Ok(())
        },
    },
    Setting {
        name: "udp-size",
        form: "512 to 4096 (octets)",
        default: Preset::Toml("1232"),
        doc: "The longest answer over UDP. The default passes every path in one piece.",
        set: |settings, field| {
            settings.udp_size = field.number(512..=4096)?;
            Ok(())
        },
    },
    Setting {
        name: "udp-workers",
        form: "1 to 1024",
        default: Preset::Words("one for each processor that the server may use"),
        doc: "How many threads answer over UDP at each address of listen.",
        set: |settings, field| {
            settings.udp_workers = NonZeroUsize::new(usize::from(field.number::<u16>(1..=1024)?));
            Ok(())
        },
    },
    Setting {
        name: "journal",
        form: "[journal] table",
        default: Preset::Words("each option has its default"),
        doc: "How much of the past is kept.",
        set: |settings, field| {
            settings.journal = field.table(JOURNAL_OPTIONS)?;
            Ok(())
        },
    },
    Setting {
        name: "tls",
        form: "[tls] table",
        default: Preset::Words("only UDP and TCP"),
        doc: "The certificate for DNS over TLS, HTTPS and QUIC, and where these are listened on.",
        set: |settings, field| {
            let tls = TlsSettings { at: field.at, ..field.table(TLS_OPTIONS)? };
            set(&mut settings.tls, Ok(tls))
        },
    },
    Setting {
        name: "http",
        form: "[http] table",
        default: Preset::Words("no HTTP"),
        doc: "Where routers, other programs and people come in by HTTP.",
        set: |settings, field| {
            let http = HttpSettings { at: field.at, ..field.table(HTTP_OPTIONS)? };
            set(&mut settings.http, Ok(http))
        },
    },
    Setting {
        name: "mesh",
        form: "[mesh] table",
        default: Preset::Words("no mesh"),
        doc: "The mesh that this machine is in, and whose names the server answers.",
        set: |settings, field| {
            let mut mesh: MeshSettings = field.table(MESH_OPTIONS)?;
            mesh.at = field.at;
            set(&mut settings.mesh, Ok(mesh))
        },
    },
    Setting {
        name: "key",
        form: "[[key]] tables",
        default: Preset::Toml("[]"),
        doc: "The keys that sign updates, and what they may do in every zone.",
        set: |settings, field| {
            settings.keys = field.list(|item| Ok(KeySettings { at: item.at, ..item.table(KEY_OPTIONS)? }))?;
            Ok(())
        },
    },
    Setting {
        name: "zone",
        form: "[[zone]] tables",
        default: Preset::Toml("[]"),
        doc: "The zones that are served, and who may change what in them.",
        set: |settings, field| {
            settings.zones = field.list(|item| Ok(ZoneSettings { at: item.at, ..item.table(ZONE_OPTIONS)? }))?;
            Ok(())
        },
    },
];

/// In `[[key]]`.
pub(super) const KEY_OPTIONS: &[Setting<KeySettings>] = &[
    Setting {
        name: "name",
        form: "key name",
        default: Preset::Words("every key in file"),
        doc: "What both sides call the key. With neither a secret nor a file, it is read from NAME.key in key-dir.",
        set: |key, field| set(&mut key.name, field.parse(Name::parse)),
    },
    Setting {
        name: "algorithm",
        form: "\"hmac-sha256\", ...",
        default: Preset::Words("hmac-sha256, or what the key file says"),
        doc: "How the key signs. \"hmac-md5\" is broken; write it only for a device that knows nothing else.",
        set: |key, field| set(&mut key.algorithm, field.parse(algorithm)),
    },
    Setting {
        name: "secret",
        form: "base64",
        default: Preset::Words("in a file"),
        doc: "The secret itself. Then nobody else may read this file; a key file is safer.",
        set: |key, field| {
            // The value is a secret: an error tells only what is wrong with it.
            let secret = Secret::from_base64(field.text()?).map_err(|error| field.fault(error.to_string()));
            set(&mut key.secret, secret)
        },
    },
    Setting {
        name: "secret-file",
        form: "path",
        default: Preset::Words("none"),
        doc: "A file that holds the base64 of the secret and nothing else.",
        set: |key, field| set(&mut key.secret_file, field.path()),
    },
    Setting {
        name: "file",
        form: "path",
        default: Preset::Words("none"),
        doc: "A key file as dyndns key generate, tsig-keygen and nsupdate -k have it.",
        set: |key, field| set(&mut key.file, field.path()),
    },
    Setting {
        name: "all-zones",
        form: "true or false",
        default: Preset::Toml("false"),
        doc: "Whether the key may change everything in every zone.",
        set: |key, field| {
            key.all_zones = field.boolean()?;
            Ok(())
        },
    },
    Setting {
        name: "create-zones",
        form: "true, false or list of names",
        default: Preset::Toml("false"),
        doc: "Whether an update signed with the key makes the zone it names, where that is not there: any zone, or \
              those at and below the names listed. The key may change everything in zones made that way.",
        set: |key, field| {
            key.creation = match field.as_boolean() {
                Some(false) => None,
                Some(true) => Some(Creation::Anywhere),
                None => Some(Creation::Under(field.list(|item| item.parse(Name::parse))?)),
            };
            Ok(())
        },
    },
];

/// In `[[zone]]`.
pub(super) const ZONE_OPTIONS: &[Setting<ZoneSettings>] = &[
    Setting {
        name: "name",
        form: "zone name",
        default: Preset::Words("$ORIGIN in the zone file, else the file's name without .zone"),
        doc: "The zone's apex. A zone without a file begins with a SOA and a NS of its own.",
        set: |zone, field| set(&mut zone.name, field.parse(Name::parse)),
    },
    Setting {
        name: "file",
        form: "path",
        default: Preset::Words("none"),
        doc: "The zone file that the zone begins with. It is read once; afterwards the state directory holds the zone.",
        set: |zone, field| set(&mut zone.file, field.path()),
    },
    Setting {
        name: "grants",
        form: "list of tables",
        default: Preset::Toml("[]"),
        doc: "Who may change what in the zone.",
        set: |zone, field| {
            zone.grants = field.list(|item| Ok(GrantSettings { at: item.at, ..item.table(GRANT_OPTIONS)? }))?;
            Ok(())
        },
    },
];

/// In `grants`.
pub(super) const GRANT_OPTIONS: &[Setting<GrantSettings>] = &[
    Setting {
        name: "key",
        form: "key name",
        default: Preset::Words("must be written"),
        doc: "The key that signs.",
        set: |grant, field| set(&mut grant.key, field.parse(Name::parse)),
    },
    Setting {
        name: "rule",
        form: "\"name\", \"subdomain\", \"zonesub\" or \"self\"",
        default: Preset::Words("must be written"),
        doc: "Which names: one name; it and all below; the whole zone; the name that is the key's own.",
        set: |grant, field| {
            set(
                &mut grant.rule,
                field.word(&[
                    ("name", RuleWord::Name),
                    ("subdomain", RuleWord::Subdomain),
                    ("zonesub", RuleWord::ZoneSub),
                    ("self", RuleWord::KeyName),
                ]),
            )
        },
    },
    Setting {
        name: "name",
        form: "domain name",
        default: Preset::Words("must be written for name and subdomain"),
        doc: "The name in the zone, whole or relative to it; \"@\" is the apex.",
        set: |grant, field| set(&mut grant.name, field.text().map(str::to_string)),
    },
    Setting {
        name: "types",
        form: "list of record types",
        default: Preset::Words(
            "all, but SOA and NS at the apex, and NS and DNAME where the rule is of one name; in a denial all",
        ),
        doc: "Which types. \"ANY\" is every type, the apex SOA and NS too.",
        set: |grant, field| {
            let types = field.list(|item| item.text()?.parse::<Rtype>().map_err(|error| item.fault(error)))?;
            if let Some(meta) = types.iter().find(|rtype| rtype.is_meta() && **rtype != Rtype::ANY) {
                return Err(field.fault(format!("{meta} is never data in a zone; leave it out")));
            }
            grant.types = match types.as_slice() {
                [] => return Err(field.fault("no type at all; name some, or leave the line out for all".to_string())),
                types if types.contains(&Rtype::ANY) => Some(Types::Every),
                types => Some(Types::Only(types.to_vec())),
            };
            Ok(())
        },
    },
    Setting {
        name: "effect",
        form: "\"allow\" or \"deny\"",
        default: Preset::Words("allow"),
        doc: "Whether it gives the right or takes it away. A denial wins, whatever the order.",
        set: |grant, field| set(&mut grant.effect, field.word(&[("allow", Effect::Allow), ("deny", Effect::Deny)])),
    },
];

pub(super) fn set<T>(place: &mut Option<T>, value: Result<T, Fault>) -> Result<(), Fault> {
    *place = Some(value?);
    Ok(())
}

/// Reads `ADDRESS:PORT`.
pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "no address and port; write one such as 127.0.0.1:5300 or [::1]:5300".to_string())
}

/// Reads an algorithm's name.
pub(crate) fn algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Algorithm::all().map(Algorithm::name).collect();
        format!("unknown algorithm; write one of {}", known.join(", "))
    })
}
