//! This server as a member of a mesh: its node runs beside the sockets, and its names come into the zones through the
//! writer. Whoever asks is answered from the published snapshot as ever, and waits for none of this.

mod held;
mod names;

use super::writer::Queue;
use crate::agent::place::Place;
use crate::clock::Clock;
use crate::config::MeshConfig;
use crate::error::Error;
use crate::link::mesh::{self, Entry};
use crate::mesh::TicketError;
use held::HeldFile;
use names::Names;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The mesh's node, ready to start.
pub(super) struct Mesh {
    config: MeshConfig,
    node: mesh::Mesh,
}

/// The node and what follows it.
pub(super) struct Member {
    stop: watch::Sender<bool>,
    life: JoinHandle<()>,
}

/// How long the node may take to say good-bye, and what follows it to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long a node that is not let in waits before it tries again: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1800));

impl Mesh {
    /// Takes the node's state and its port.
    pub(super) fn bind(config: &MeshConfig) -> Result<Mesh, Error> {
        Ok(Mesh { config: config.clone(), node: open(config)? })
    }

    /// Starts the node, and what follows it. `state_dir` is the server's.
    pub(super) fn start(self, state_dir: &Path, queue: Queue, clock: Clock) -> Member {
        let (stop, stopped) = watch::channel(false);
        let life = live(self, HeldFile::new(state_dir), queue, clock, stopped);
        Member { stop, life: tokio::spawn(life) }
    }
}

impl Member {
    /// Leaves the mesh, and ends what followed.
    pub(super) async fn end(mut self) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(FAREWELL, &mut self.life).await.is_err() {
            tracing::warn!("the mesh was not told in time that this server ends; it will find out");
            self.life.abort();
        }
    }
}

fn open(config: &MeshConfig) -> Result<mesh::Mesh, Error> {
    let entry = match &config.ticket_file {
        Some(path) => entry(path, &config.state_dir)?,
        None => Entry::Start,
    };
    mesh::Mesh::open(mesh::Settings {
        state_dir: config.state_dir.clone(),
        listen: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        zone: config.zone,
        node: config.node.clone(),
        entry,
        contacts: config.bootstrap.iter().map(Place::with_port).collect(),
        mdns: config.mdns,
    })
}

/// By the ticket in a file; a member needs it no more.
fn entry(path: &Path, state_dir: &Path) -> Result<Entry, Error> {
    let cannot = || Error::usage(format!("cannot join the mesh by {}", path.display()));
    let text = match fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound && mesh::membership(state_dir)?.is_some() => {
            return Ok(Entry::Resume);
        }
        Err(error) => return Err(cannot().because(error).remedy("make one at a member with dyndns mesh ticket new")),
    };
    Ok(Entry::Join(text.parse().map_err(|error: TicketError| cannot().because(error))?))
}

/// Is a member until `stopped`. One that is not let in tries again: what keeps it out may be mended, and the zones that
/// are no business of the mesh's are served meanwhile.
async fn live(mesh: Mesh, held: HeldFile, queue: Queue, clock: Clock, mut stopped: watch::Receiver<bool>) {
    let Mesh { config, node } = mesh;
    let mut next = Ok(node);
    let (mut pause, longest) = AGAIN;
    loop {
        let outcome = match next {
            Ok(node) => {
                let view = node.view();
                let mut followers = JoinSet::new();
                let names = Names::new(&config, held.clone(), queue.clone(), clock.clone());
                followers.spawn(names.keep(view.clone(), stopped.clone()));
                if let Some(path) = &config.hosts_file {
                    followers.spawn(mesh::hosts_file(path.clone(), view.clone()));
                }
                if let Some(words) = &config.hook {
                    followers.spawn(mesh::hook(words.clone(), view));
                }
                let outcome = node.run(stopped.clone()).await;
                while followers.join_next().await.is_some() {}
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            // It has said so itself.
            Ok(()) => return,
            Err(error) => tracing::error!(again_in = pause.as_secs(), "not in the mesh: {error}"),
        }
        if tokio::time::timeout(pause, stopped.changed()).await.is_ok() {
            return;
        }
        pause = pause.saturating_mul(2).min(longest);
        next = open(&config);
    }
}

/// Takes away the names that a mesh left in the zones, where this server is in none any more.
pub(super) async fn sweep(state_dir: &Path, queue: &Queue) {
    names::sweep(HeldFile::new(state_dir), queue).await;
}
