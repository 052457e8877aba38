//! The mesh's edge: sockets, clock, disk and commands around [`crate::mesh::Node`], which decides everything.
//!
//! [`Mesh::open`] takes the state directory and the port, [`Mesh::run`] is the node's life, and [`Mesh::view`] is what
//! others build upon: the hosts that live, this node's own addresses, who has its name. All of it is in one value that
//! is replaced whole, so a reader sees one moment and never waits for the node.
//!
//! # What it costs
//!
//! Three nodes at peace on one machine, each a process of a debug build: 74 packets and 5.6 kB in a minute for each, with
//! UDP, QUIC and its acknowledgements; 30 ms of processor time. A node that moves is known to the only other one after 7 s,
//! at either end of their connection, which is within one heartbeat.

mod answers;
mod contacts;
mod control;
mod driver;
mod hook;
mod hosts_file;
mod links;
mod mdns;
mod proof;
mod report;
mod run;
mod state;
mod tickets;
mod transport;
mod view;

#[cfg(test)]
mod tests;

pub use control::{Command, call};
pub use driver::Mesh;
pub use hook::hook;
pub use hosts_file::hosts_file;
pub use report::{HostReport, ListReport, Reply, StatusReport, TicketReport};
pub use run::{Followers, Told, run};
pub use state::{Membership, Options, membership};
pub use view::{Change, Host, View};

use crate::mesh::Ticket;
use crate::wire::Name;
use std::net::IpAddr;
use std::path::PathBuf;

/// What a running node is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where its keys are and what it knows. No other process may use it at the same time.
    pub state_dir: PathBuf,
    /// The address it listens at; `::` is every address of both families.
    pub listen: IpAddr,
    /// The zone that the names stand in.
    pub zone: Name,
    /// Its name, its port and its times. Port 0 is one that the system picks; it is kept for the next start.
    pub node: crate::mesh::Settings,
    /// How it comes in.
    pub entry: Entry,
    /// Whom to try first, as `HOST` or `HOST:PORT`; where it is empty, those of the last start.
    pub contacts: Vec<String>,
    /// Whether members on the local link are found by mDNS, and find this node.
    pub mdns: bool,
}

/// How a node comes into its mesh.
#[derive(Debug, Clone)]
pub enum Entry {
    /// As the member it was; where it was none, it is the first node of a new mesh.
    Start,
    /// As the member it was.
    Resume,
    /// By a ticket; where it is in that ticket's mesh already, as the member it was.
    Join(Ticket),
}

/// The port that a contact without one is tried at, and that a node listens at.
pub const PORT: u16 = 5399;
/// The zone of the names where nobody names another: RFC 8375 keeps `home.arpa` for such.
pub const ZONE: &str = "mesh.home.arpa";
