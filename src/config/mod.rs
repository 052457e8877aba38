//! The configuration: the only reader of configuration files, key files and the environment.
//!
//! Turns flags, the file and the environment into a [`Config`] of valid types; nothing later checks it
//! again. Loading changes nothing on disk and may be done again at any time: a reload is a second
//! [`Config::load`] with the same flags. Flags win over the file, the file over the environment.
//!
//! Each option is declared once, in `settings`.

mod agent;
mod agent_settings;
mod file;
mod http;
mod journal;
mod key_files;
mod keys;
mod log;
mod manual;
mod mesh;
mod network;
mod place;
mod resolvers;
mod settings;
mod tls;
mod zone_file;
mod zones;

#[cfg(test)]
mod tests;

pub use agent::agent_manual;
pub use agent::{AgentConfig, DEFAULT_FILE as AGENT_FILE, DoorConfig, MailConfig, NotifyConfig, TargetConfig};
pub use http::{HttpConfig, HttpUser};
pub use journal::JournalConfig;
pub use key_files::{KeyDirectory, KeyFile, key_of_file};
pub use manual::{Section, manual};
pub use mesh::MeshConfig;
pub(crate) use mesh::advertised;
pub use network::Network;
pub use place::{mesh_state_directory, notify_socket};
pub use resolvers::resolvers;
pub(crate) use settings::{address, algorithm};
pub use tls::TlsConfig;
pub use zone_file::{ZoneFileErrors, fingerprint, read_zone_file};
pub use zones::ZoneConfig;

use crate::error::Error;
use crate::tsig::{Algorithm, Keyring, TsigKey};
use crate::update::policy::Rights;
use crate::wire::Name;
use file::Fault;
use key_files::read_secret;
use keys::Keys;
use settings::{OPTIONS, Settings};
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// All that the server is told.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from, where there was one.
    pub file: Option<PathBuf>,
    /// Where UDP and TCP are listened on: at least one.
    pub listen: Vec<SocketAddr>,
    /// Where the journal and the table are kept.
    pub state_dir: PathBuf,
    /// How much of the journal is kept, and when a checkpoint is written.
    pub journal: JournalConfig,
    /// Where key files are kept.
    pub key_dir: KeyDirectory,
    /// Where log lines go.
    pub log: LogConfig,
    /// Where the process number is written.
    pub pid_file: Option<PathBuf>,
    /// The answer to `version.bind`, at most 255 octets; without one it is refused.
    pub version_bind: Option<String>,
    /// The name that answers with the asker's address.
    pub whoami: Option<Name>,
    /// Bounds on TCP, and on what else has connections.
    pub tcp: TcpLimits,
    /// DNS over TLS, HTTPS and QUIC, where there is a certificate for them.
    pub tls: Option<TlsConfig>,
    /// The HTTP door, where there is to be one.
    pub http: Option<HttpConfig>,
    /// Who may come in by it, each name once.
    pub http_users: Vec<HttpUser>,
    /// The mesh that this server is in, where it is in one.
    pub mesh: Option<MeshConfig>,
    /// The longest answer over UDP: 512 to 4096 octets.
    pub udp_size: u16,
    /// How many threads answer over UDP at each address.
    pub udp_workers: NonZeroUsize,
    /// The zones, each apex once.
    pub zones: Vec<ZoneConfig>,
    /// The keys, each name once.
    pub keys: Vec<KeyConfig>,
    /// What the keys may do.
    pub rights: Rights,
    /// The first key that [`Config::make_first_key`] has to make, for there is none and nothing tells of any.
    first_key: Option<Name>,
    /// The socket on which systemd waits to hear that the service is ready.
    pub notify_socket: Option<OsString>,
    /// What the operator should know; each is one line of the log.
    pub warnings: Vec<String>,
}

/// Where log lines go and how they look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// The file they are appended to; standard error where there is none.
    pub file: Option<PathBuf>,
    /// How they are written.
    pub format: LogFormat,
    /// The least important that are written.
    pub level: LogLevel,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Words for people.
    #[default]
    Text,
    /// One JSON object in each line.
    Json,
}

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something the operator should mend.
    Warn,
    /// What was decided.
    #[default]
    Info,
    /// How it came to that.
    Debug,
    /// Everything.
    Trace,
}

/// Bounds on TCP (RFC 7766 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address.
    pub per_address: usize,
    /// How long one may be silent.
    pub idle_timeout: Duration,
}

/// A key, and where it came from.
#[derive(Debug, Clone)]
pub struct KeyConfig {
    /// The key.
    pub key: TsigKey,
    /// The key file it is in; `None` for one from the command line or the configuration itself.
    pub file: Option<PathBuf>,
}

/// What the command line says about the server. Every field wins over the file.
#[derive(Debug, Default)]
pub struct Flags {
    /// The file to read.
    pub config: Option<PathBuf>,
    /// Where to listen; empty leaves it to the file.
    pub listen: Vec<SocketAddr>,
    /// Zones by name or by zone file, beside those of the file.
    pub zones: Vec<String>,
    /// Keys that may change every zone, beside those of the file.
    pub tsig: Vec<TsigKey>,
    /// Where the state is kept.
    pub state_dir: Option<PathBuf>,
    /// Where log lines are appended.
    pub log_file: Option<PathBuf>,
    /// How they are written.
    pub log_format: Option<LogFormat>,
    /// Where the process number is written.
    pub pid_file: Option<PathBuf>,
}

impl LogFormat {
    /// The words for them.
    pub const WORDS: [(&'static str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
}

impl LogLevel {
    /// The words for them.
    pub const WORDS: [(&'static str, LogLevel); 5] = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
}

impl Config {
    /// Reads everything: the file, the key files, the names of the zones.
    pub fn load(flags: &Flags) -> Result<Config, Error> {
        Config::load_in(flags, &Surroundings::of_process())
    }

    /// The directory of the state, from flags, file and environment alone.
    pub fn state_directory(flags: &Flags) -> Result<PathBuf, Error> {
        let surroundings = Surroundings::of_process();
        let (_, settings) = read_settings(flags, &surroundings)?;
        Ok(directories(flags, &settings, &surroundings).0)
    }

    /// The directory of key files, from flags and file alone: a key can be made that the file names already.
    pub fn key_directory(flags: &Flags) -> Result<KeyDirectory, Error> {
        let surroundings = Surroundings::of_process();
        let (_, settings) = read_settings(flags, &surroundings)?;
        Ok(directories(flags, &settings, &surroundings).1)
    }

    fn load_in(flags: &Flags, surroundings: &Surroundings) -> Result<Config, Error> {
        let (source, mut settings) = read_settings(flags, surroundings)?;
        let (state_dir, key_dir) = directories(flags, &settings, surroundings);
        let mut warnings = Vec::new();
        let mut keys = Keys::default();
        let granted = settings.zones.iter().any(|zone| !zone.grants.is_empty());
        let declared = granted || !settings.keys.is_empty() || !flags.tsig.is_empty();

        keys.read_directory(&key_dir, &mut warnings)?;
        if !declared {
            // Nothing tells what any key may do, so it is one operator trying things out, or a server whose
            // keys all are the operator's.
            keys.all.iter().for_each(|key| keys.rights.allow_everything(key.key.name));
        }
        if !flags.tsig.is_empty() {
            warnings.push("--tsig shows its secret to every user in ps; prefer a key file: dyndns key generate".into());
        }
        if let Some(source) = &source {
            if source.world_readable && settings.keys.iter().any(|key| key.secret.is_some()) {
                let path = source.path.display();
                warnings.push(format!("{path} holds a secret and every user can read it; chmod 600 {path}"));
            }
            for key in std::mem::take(&mut settings.keys) {
                let at = key.at;
                keys.declare(key, &key_dir, &mut warnings).map_err(|wrong| wrong.in_source(source, at))?;
            }
        }
        for key in &flags.tsig {
            keys.rights.allow_everything(key.name);
            keys.insert(KeyConfig { key: key.clone(), file: None });
        }

        keys.warn_of_short(&mut warnings);

        let http_users: Vec<HttpUser> = key_dir.read_http()?.into_iter().map(|(user, _)| user).collect();
        let mut zones = zones::Zones::default();
        if let Some(source) = &source {
            for zone in std::mem::take(&mut settings.zones) {
                let at = zone.at;
                let known = |name: &Name| {
                    keys.all.iter().any(|key| key.key.name == *name) || http_users.iter().any(|user| user.name == *name)
                };
                zones.declare(zone, known, &mut keys.rights).map_err(|wrong| wrong.in_source(source, at))?;
            }
        }
        zones.add_flags(&flags.zones, &surroundings.directory, &mut keys.rights)?;
        if source.is_none() && flags.zones.is_empty() {
            zones.add_directory(&surroundings.directory.join("zones"), &mut keys.rights)?;
        }

        let mesh = match (settings.mesh.take(), &source) {
            (Some(mesh), Some(source)) => {
                let at = mesh.at;
                let mesh = MeshConfig::new(mesh, &state_dir, &mut zones, &mut keys.rights);
                Some(mesh.map_err(|fault| Wrong::Here(fault).in_source(source, at))?)
            }
            _ => None,
        };

        let listen = match (flags.listen.as_slice(), settings.listen.take()) {
            ([], None) => DEFAULT_LISTEN.to_vec(),
            ([], Some(listen)) => listen,
            (listen, _) => listen.to_vec(),
        };
        let tls = match (settings.tls.take(), &source) {
            (Some(tls), Some(source)) => {
                let at = tls.at;
                Some(TlsConfig::new(tls, &listen, &mut warnings).map_err(|wrong| wrong.in_source(source, at))?)
            }
            _ => None,
        };
        let http = match (settings.http.take(), &source) {
            (Some(http), Some(source)) => {
                let at = http.at;
                let http = HttpConfig::new(http, tls.as_ref(), &zones.all, &key_dir, &mut warnings);
                Some(http.map_err(|wrong| wrong.in_source(source, at))?)
            }
            _ => None,
        };

        if let Some(name) = http.as_ref().and_then(|http| http.acme_zone) {
            keys.rights.allow_challenges(name);
        }
        if http.is_some() && http_users.is_empty() && keys.all.is_empty() {
            warnings.push("[http] has no users yet, and there are no keys; make one: dyndns key add-http NAME".into());
        }

        Ok(Config {
            file: source.map(|source| source.path),
            listen,
            state_dir,
            journal: settings.journal,
            key_dir,
            log: LogConfig {
                file: flags.log_file.clone().or(settings.log.file),
                format: flags.log_format.unwrap_or(settings.log.format),
                level: settings.log.level,
            },
            pid_file: flags.pid_file.clone().or(settings.pid_file),
            version_bind: settings.version_bind,
            whoami: settings.whoami,
            tcp: TcpLimits {
                connections: settings.tcp_connections,
                per_address: settings.tcp_connections_per_address,
                idle_timeout: Duration::from_secs(settings.tcp_idle_timeout.into()),
            },
            tls,
            http,
            http_users,
            mesh,
            udp_size: settings.udp_size,
            udp_workers: match settings.udp_workers {
                Some(workers) => workers,
                // Where the system does not tell, one answers all.
                None => std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            },
            zones: zones.all,
            first_key: if declared || !keys.all.is_empty() { None } else { Name::parse(FIRST_KEY).ok() },
            keys: keys.all,
            rights: keys.rights,
            notify_socket: surroundings.notify_socket.clone(),
            warnings,
        })
    }

    /// Makes the key of a first start, where the configuration has no key and none lies in the key
    /// directory; returns the path of the new key file. The key may change every zone.
    pub fn make_first_key(&mut self) -> Result<Option<PathBuf>, Error> {
        let Some(name) = self.first_key.take() else { return Ok(None) };
        let key = new_key(name, Algorithm::default())?;
        let path = self.key_dir.create(&key)?;
        self.rights.allow_everything(name);
        self.keys.push(KeyConfig { key, file: Some(path.clone()) });
        Ok(Some(path))
    }

    /// All keys, to verify signatures with.
    pub fn keyring(&self) -> Keyring {
        self.keys.iter().map(|key| key.key.clone()).collect()
    }
}

/// Where is listened by default: this machine alone.
pub const DEFAULT_LISTEN: [SocketAddr; 2] =
    [SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5300), SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 5300)];

/// The key of a first start; its file is `dyndns.key`.
const FIRST_KEY: &str = "dyndns";

/// Makes a key with a random secret.
pub fn new_key(name: Name, algorithm: Algorithm) -> Result<TsigKey, Error> {
    TsigKey::random(name, algorithm, getrandom::fill)
        .map_err(|error| Error::usage("cannot take random octets for a new key").because(error.to_string()))
}

/// What lies around the process and counts as configuration.
struct Surroundings {
    /// Where relative paths start; empty for the working directory itself.
    directory: PathBuf,
    /// The file that is read where the flags name none.
    default_config: PathBuf,
    /// `$STATE_DIRECTORY`.
    state_directory: Option<OsString>,
    /// `$NOTIFY_SOCKET`.
    notify_socket: Option<OsString>,
}

impl Surroundings {
    fn of_process() -> Surroundings {
        Surroundings {
            directory: PathBuf::new(),
            default_config: PathBuf::from("/etc/dyndns/dyndns.toml"),
            state_directory: std::env::var_os("STATE_DIRECTORY"),
            notify_socket: std::env::var_os("NOTIFY_SOCKET"),
        }
    }
}

/// The file and its text.
struct Source {
    path: PathBuf,
    text: Zeroizing<String>,
    world_readable: bool,
}

/// Something wrong: at a place in the file, or with a file that it names.
enum Wrong {
    Here(Fault),
    There(Error),
}

impl Wrong {
    /// As an error that names the line.
    fn in_source(self, source: &Source, at: usize) -> Error {
        let (fault, cause) = match self {
            Wrong::Here(fault) => (fault, None),
            Wrong::There(error) => (Fault::new(at, ""), Some(error)),
        };
        let place = format!("cannot load config {}:{}", source.path.display(), fault.line(&source.text));
        match cause {
            None => Error::usage(place).because(fault.text),
            Some(error) => Error::usage(place).because(error),
        }
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Wrong {
        Wrong::There(error)
    }
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Wrong {
        Wrong::Here(fault)
    }
}

fn read_settings(flags: &Flags, surroundings: &Surroundings) -> Result<(Option<Source>, Settings), Error> {
    let path = flags.config.as_ref().unwrap_or(&surroundings.default_config);
    let source = match read_secret(path) {
        Ok((text, world_readable)) => Some(Source { path: path.clone(), text, world_readable }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && flags.config.is_none() => None,
        Err(error) => return Err(Error::usage(format!("cannot load config {}", path.display())).because(error)),
    };
    let settings = match &source {
        Some(source) => file::read(&source.text, path.parent().unwrap_or(Path::new("")), OPTIONS)
            .map_err(|fault| Wrong::Here(fault).in_source(source, 0))?,
        None => file::read("", &surroundings.directory, OPTIONS)
            .map_err(|fault| Error::usage("cannot set defaults").because(fault.text))?,
    };
    Ok((source, settings))
}

/// The state directory and the key directory.
fn directories(flags: &Flags, settings: &Settings, surroundings: &Surroundings) -> (PathBuf, KeyDirectory) {
    // systemd separates several by colons; the unit asks for one.
    let given = surroundings.state_directory.as_ref().and_then(|list| std::env::split_paths(list).next());
    let state_dir = flags.state_dir.clone().or_else(|| settings.state_dir.clone()).or(given);
    let state_dir = state_dir.unwrap_or_else(|| surroundings.directory.join("state"));
    let key_dir = settings.key_dir.clone().unwrap_or_else(|| state_dir.join("keys"));
    (state_dir, KeyDirectory::new(key_dir))
}
