//! What a node keeps on disk: a directory that only its owner enters, and files that only its owner reads.
//!
//! | file         | what                                                                          |
//! |--------------|-------------------------------------------------------------------------------|
//! | node.key     | the node's secret: 32 octets in base64url                                     |
//! | mesh.key     | the mesh's secret, where this node is a steward                               |
//! | mesh.json    | by which ticket it came in, its name, zone and port, whom it tries, its options |
//! | tickets.json | the tickets that were made here                                               |
//! | peers.json   | records of peers and where they were, former members, edicts, the own sequence and addresses |
//!
//! Each is replaced whole, so that a crash leaves the old one or the new one. Only the last can be found out again: it is
//! begun anew where it is broken, the others are errors.

use super::proof::Secret;
use crate::error::{Error, io_text};
use crate::mesh::{Edict, Label, NodeId, Role, Saved, Settings};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The state directory of a running node, for this process alone.
#[derive(Debug)]
pub(super) struct State {
    directory: PathBuf,
    /// Held as long as the node runs.
    _lock: File,
}

/// How a node is in a mesh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// By which ticket it came in.
    pub(super) ticket: String,
    /// What it is called.
    pub name: String,
    /// The zone of the mesh's names.
    pub zone: String,
    /// Where it listens.
    pub port: u16,
    /// Whom to try where nobody answers, as `HOST:PORT`.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// How it ran last.
    #[serde(default)]
    pub options: Option<Options>,
}

/// How a node runs in its mesh, but for its name and port; the next start takes it up. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The address it listens at.
    pub listen: IpAddr,
    server: bool,
    #[serde(default)]
    watches: bool,
    advertise: Vec<IpAddr>,
    sessions: usize,
    heartbeat: u64,
    timeout: u64,
    announce: u64,
    full: u64,
    suspicion: u64,
    lease: u32,
    quiet: u64,
    /// Whether it uses mDNS.
    #[serde(default)]
    pub mdns: bool,
}

impl Membership {
    /// Whether it only watched.
    pub(super) fn watches(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.watches)
    }
}

impl Options {
    pub(super) fn of(settings: &super::Settings) -> Options {
        let node = &settings.node;
        Options {
            listen: settings.listen,
            server: node.role == Role::Server,
            watches: node.role == Role::Watcher,
            advertise: node.advertise.clone(),
            sessions: node.sessions,
            heartbeat: node.heartbeat.as_secs(),
            timeout: node.timeout.as_secs(),
            announce: node.announce.as_secs(),
            full: node.full.as_secs(),
            suspicion: node.suspicion.as_secs(),
            lease: node.lease,
            quiet: node.quiet,
            mdns: settings.mdns,
        }
    }

    /// A node of this name and port that runs so.
    pub fn settings(&self, name: Label, port: u16) -> Settings {
        Settings {
            name,
            role: if self.server { Role::Server } else { Role::Member },
            port,
            advertise: self.advertise.clone(),
            heartbeat: Duration::from_secs(self.heartbeat),
            timeout: Duration::from_secs(self.timeout),
            announce: Duration::from_secs(self.announce),
            full: Duration::from_secs(self.full),
            suspicion: Duration::from_secs(self.suspicion),
            lease: self.lease,
            quiet: self.quiet,
            sessions: self.sessions,
        }
    }
}

/// A ticket that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Issued {
    /// The whole text.
    pub(super) ticket: String,
    /// When it was made, in seconds since 1970.
    pub(super) made: u64,
    /// When it was revoked.
    pub(super) revoked: Option<u64>,
}

/// [`Saved`], as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Peers {
    sequence: u64,
    since: u64,
    addresses: Vec<IpAddr>,
    peers: Vec<Known>,
    edicts: Vec<String>,
    /// Ids, as is the next.
    #[serde(default)]
    gone: Vec<String>,
    #[serde(default)]
    former: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Known {
    record: String,
    at: Option<SocketAddr>,
}

const NODE_KEY: &str = "node.key";
const MESH_KEY: &str = "mesh.key";
const MEMBERSHIP: &str = "mesh.json";
const TICKETS: &str = "tickets.json";
const PEERS: &str = "peers.json";

/// How the node whose state is there was a member last; `None` where there is none.
///
/// Errors: the state cannot be read.
pub fn membership(directory: &Path) -> Result<Option<Membership>, Error> {
    read_json(&directory.join(MEMBERSHIP))
}

impl State {
    /// Takes a state directory, which is made where it is not there.
    ///
    /// Errors: another node uses it, it cannot be written.
    pub(super) fn open(directory: &Path) -> Result<State, Error> {
        let cannot = || Error::usage(format!("cannot open the mesh's state in {}", directory.display()));
        let remedy = "choose another directory with --state-dir";
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| cannot().because(error).remedy(remedy))?;
        let mut lock = OpenOptions::new();
        let lock = lock.write(true).create(true).truncate(false).mode(0o600).open(directory.join("mesh.lock"));
        let lock = lock.map_err(|error| cannot().because(error).remedy(remedy))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(cannot().because("another node runs on it").remedy(remedy)),
            Err(TryLockError::Error(error)) => return Err(cannot().because(error)),
        }
        Ok(State { directory: directory.to_path_buf(), _lock: lock })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The node's secret, which is made at the first start.
    pub(super) fn node_secret(&self) -> Result<Secret, Error> {
        match self.read_secret(NODE_KEY)? {
            Some(secret) => Ok(secret),
            None => self.make_secret(NODE_KEY),
        }
    }

    /// The mesh's secret, where it is here.
    pub(super) fn mesh_secret(&self) -> Result<Option<Secret>, Error> {
        self.read_secret(MESH_KEY)
    }

    /// Makes a mesh.
    pub(super) fn make_mesh(&self) -> Result<Secret, Error> {
        self.make_secret(MESH_KEY)
    }

    fn make_secret(&self, name: &str) -> Result<Secret, Error> {
        let secret = random()?;
        let text = Zeroizing::new(format!("{}\n", BASE64.encode(secret.as_slice())));
        self.write(name, text.as_bytes())?;
        Ok(Secret(secret))
    }

    fn read_secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        let path = self.directory.join(name);
        let cannot = || Error::usage(format!("cannot read the key in {}", path.display()));
        let text = match fs::read_to_string(&path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot().because(error)),
        };
        let mode = fs::metadata(&path).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            let path = path.display();
            return Err(cannot().because("other users can read it").remedy(format!("chmod 600 {path}")));
        }
        let octets = Zeroizing::new(BASE64.decode(text.trim()).unwrap_or_default());
        match octets.as_slice().try_into() {
            Ok(octets) => Ok(Some(Secret(Zeroizing::new(octets)))),
            Err(_) => Err(cannot().because("it is not 32 octets in base64url").remedy("put it back from a copy")),
        }
    }

    pub(super) fn membership(&self) -> Result<Option<Membership>, Error> {
        membership(&self.directory)
    }

    pub(super) fn write_membership(&self, membership: &Membership) -> Result<(), Error> {
        self.write_json(MEMBERSHIP, membership)
    }

    pub(super) fn tickets(&self) -> Result<Vec<Issued>, Error> {
        Ok(read_json(&self.directory.join(TICKETS))?.unwrap_or_default())
    }

    pub(super) fn write_tickets(&self, tickets: &[Issued]) -> Result<(), Error> {
        self.write_json(TICKETS, &tickets)
    }

    /// What the node knew when it ended.
    pub(super) fn saved(&self) -> Saved {
        let peers: Peers = match read_json(&self.directory.join(PEERS)) {
            Ok(peers) => peers.unwrap_or_default(),
            Err(error) => {
                tracing::warn!("what is known of the mesh is begun anew: {error}");
                Peers::default()
            }
        };
        let edict = |text: &String| Edict::from_octets(&BASE64.decode(text).ok()?).ok();
        let ids = |texts: &[String]| {
            let id = |text: &String| Some(NodeId(BASE64.decode(text).ok()?.try_into().ok()?));
            texts.iter().filter_map(id).collect()
        };
        let known = |known: Known| Some((BASE64.decode(known.record).ok()?, known.at));
        Saved {
            sequence: peers.sequence,
            since: peers.since,
            addresses: peers.addresses,
            edicts: peers.edicts.iter().filter_map(edict).collect(),
            gone: ids(&peers.gone),
            former: ids(&peers.former),
            // Its membership says that.
            member: false,
            peers: peers.peers.into_iter().filter_map(known).collect(),
        }
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Error> {
        let text =
            serde_json::to_vec_pretty(value).map_err(|error| Error::usage("cannot write state").because(error))?;
        self.write(name, &Zeroizing::new(text))
    }

    fn write(&self, name: &str, octets: &[u8]) -> Result<(), Error> {
        let path = self.directory.join(name);
        replace(&path, octets).map_err(|error| Error::usage(format!("cannot write {}", path.display())).because(error))
    }
}

/// Writes down what a node knows; a disk that fails is told of, for the node goes on without it.
pub(super) fn save(directory: &Path, saved: Saved) {
    let peers = Peers {
        sequence: saved.sequence,
        since: saved.since,
        addresses: saved.addresses,
        peers: saved.peers.into_iter().map(|(record, at)| Known { record: BASE64.encode(record), at }).collect(),
        edicts: saved.edicts.iter().map(|edict| BASE64.encode(edict.octets())).collect(),
        gone: saved.gone.iter().map(|id| BASE64.encode(id.0)).collect(),
        former: saved.former.iter().map(|id| BASE64.encode(id.0)).collect(),
    };
    let path = directory.join(PEERS);
    let written = serde_json::to_vec(&peers).map_err(io::Error::from).and_then(|octets| replace(&path, &octets));
    if let Err(error) = written {
        tracing::warn!("cannot write {}: {}; a restart would not know the mesh", path.display(), io_text(&error));
    }
}

/// 32 random octets.
pub(super) fn random() -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut octets = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *octets)
        .map_err(|error| Error::usage("cannot take random octets for a new key").because(error.to_string()))?;
    Ok(octets)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let cannot = || Error::usage(format!("cannot read {}", path.display()));
    match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| cannot().because(error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot().because(error)),
    }
}

fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    // One that a crash left could have other rights.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::{EdictKind, NodeId, SecretKey, Steward};

    #[test]
    fn one_node_at_a_time_has_a_state_and_finds_its_key_again() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("mesh");
        let state = State::open(&directory).unwrap();
        let id = state.node_secret().unwrap().key().unwrap().id();
        let second = State::open(&directory).unwrap_err().to_string();
        assert!(second.ends_with("another node runs on it; choose another directory with --state-dir"), "{second}");
        drop(state);
        let state = State::open(&directory).unwrap();
        assert_eq!(state.node_secret().unwrap().key().unwrap().id(), id);
        assert!(state.mesh_secret().unwrap().is_none());
        state.make_mesh().unwrap();
        assert!(state.mesh_secret().unwrap().is_some());
        for file in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        }
        assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        state.node_secret().unwrap();
        let path = folder.path().join(NODE_KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let text = state.node_secret().err().unwrap().to_string();
        assert!(text.contains("other users can read it; chmod 600"), "{text}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short\n").unwrap();
        assert!(state.node_secret().err().unwrap().to_string().contains("32 octets"));
    }

    #[test]
    fn what_a_node_knows_survives_its_file_and_a_broken_file_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        assert_eq!(state.saved(), Saved::default());
        let steward = Steward::new(SecretKey::from_seed(&[1; 32]).unwrap());
        let saved = Saved {
            sequence: 7,
            since: 8,
            addresses: vec!["2001:470::1".parse().unwrap()],
            peers: vec![(vec![1, 2, 3], Some("192.168.1.1:5399".parse().unwrap())), (vec![4], None)],
            edicts: vec![steward.edict(EdictKind::Remove, NodeId([9; 32]), 5)],
            gone: vec![NodeId([7; 32])],
            former: vec![NodeId([8; 32]), NodeId([10; 32])],
            member: false,
        };
        save(folder.path(), saved.clone());
        assert_eq!(state.saved(), saved);
        fs::write(folder.path().join(PEERS), "{").unwrap();
        assert_eq!(state.saved(), Saved::default());
    }
}
