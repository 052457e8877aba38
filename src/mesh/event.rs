//! What a node is told, and what it wants done.

use super::identity::NodeId;
use super::message::Refusal;
use super::octets::Malformed;
use super::record::{Claim, Label, Role};
use super::ticket::{Contact, Edict};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The time, twice: timers must not jump when somebody sets the clock, and signatures need the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Since some moment in the past; it only grows.
    pub ticks: Duration,
    /// Seconds since 1970.
    pub unix: u64,
}

/// What a node is told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What it is called.
    pub name: Label,
    /// What it does for others.
    pub role: Role,
    /// Where it listens.
    pub port: u16,
    /// Addresses that the operator states; then those that peers see do not count.
    pub advertise: Vec<IpAddr>,
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Between comparisons with a peer.
    pub announce: Duration,
    /// Between full exchanges with a peer.
    pub full: Duration,
    /// How long a suspected node has to say that it lives.
    pub suspicion: Duration,
    /// For how many seconds a record holds; it is renewed after a third of it.
    pub lease: u32,
    /// After how many seconds without interaction a server asks a host whether it lives.
    pub quiet: u64,
    /// How many new nodes are told what there is at the same time.
    pub sessions: usize,
}

impl Settings {
    /// What an operator who says nothing gets.
    pub fn new(name: Label) -> Settings {
        Settings {
            name,
            role: Role::Member,
            port: 5399,
            advertise: Vec::new(),
            heartbeat: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            announce: Duration::from_secs(30),
            full: Duration::from_secs(300),
            suspicion: Duration::from_secs(30),
            lease: 7200,
            quiet: 3600,
            sessions: 100,
        }
    }
}

/// What survives a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Saved {
    /// The sequence of the last record.
    pub sequence: u64,
    /// When the name was taken, in seconds since 1970.
    pub since: u64,
    /// Its own addresses, until peers say others.
    pub addresses: Vec<IpAddr>,
    /// Records of peers, and where each was heard last.
    pub peers: Vec<(Vec<u8>, Option<SocketAddr>)>,
    /// What stewards took back.
    pub edicts: Vec<Edict>,
    /// Of the peers those that did not answer any more, or had left.
    pub gone: Vec<NodeId>,
    /// Who was a member once and is no peer any more: it comes back after its ticket's end, whoever has restarted.
    pub former: Vec<NodeId>,
    /// Whether the node was in: then it never gives up.
    pub member: bool,
}

/// What happens to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It starts; whom to try. One that was in ([`Saved::member`]) tries the peers it knows, too, and never gives up.
    Start(Vec<Contact>),
    /// [`super::Node::wake`] has come.
    Timer,
    /// A message came from a peer whose identity the transport has proved.
    Received {
        /// Who.
        from: NodeId,
        /// From where.
        at: SocketAddr,
        /// What.
        octets: Vec<u8>,
    },
    /// A node was announced on the local link. Whoever knows the mesh's id could say so.
    Found(Contact),
    /// A steward took something back here.
    Edict(Edict),
    /// It leaves.
    Leave,
}

/// What the node wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message.
    Send {
        /// Where.
        to: SocketAddr,
        /// Whose key has to be at the other end; any, if it is not known.
        id: Option<NodeId>,
        /// What.
        octets: Vec<u8>,
    },
    /// Close the connection with a peer.
    Close(NodeId, Offence),
    /// [`super::Node::hosts`] has changed.
    ViewChanged,
    /// The node's own addresses have changed.
    Addresses(Vec<IpAddr>),
    /// It is in.
    Joined,
    /// Another has the name, and lives.
    NameTaken(NodeId),
    /// It is not let in, and stops.
    Refused(Refusal),
    /// It was in, and a member does not let it in again; it goes on trying.
    KeptOut(Refusal),
    /// Nobody answered, after all tries; whom it tried.
    GaveUp(Vec<SocketAddr>),
    /// Some answered, but had no time, after all tries; whom it tried.
    AllBusy(Vec<SocketAddr>),
    /// It was removed from the mesh, and stops.
    Removed,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offence {
    /// Octets that are no message.
    Malformed(Malformed),
    /// Too much.
    Flood,
    /// It was removed.
    Removed,
}

/// A host of the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host<'a> {
    /// What it says of itself.
    pub claim: &'a Claim,
    /// Whether it is the one that its name stands for.
    pub holds_name: bool,
}
