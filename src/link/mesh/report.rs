//! What a running node tells the command line.

use super::view::{Host, View};
use crate::mesh::Role;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// What comes of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The hosts.
    List(ListReport),
    /// The node itself.
    Status(StatusReport),
    /// One ticket.
    Ticket(TicketReport),
    /// All tickets.
    Tickets(Vec<TicketReport>),
    /// It is done; in words.
    Done(String),
}

/// The hosts that live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReport {
    /// The mesh.
    pub mesh: String,
    /// The zone that the names stand in.
    pub zone: String,
    /// Whether the node is in; before that the list is what it knew when it ended.
    pub joined: bool,
    /// The hosts, by name.
    pub hosts: Vec<HostReport>,
}

/// One that lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// Who.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// Where it listens.
    pub port: u16,
    /// `member` or `server`.
    pub role: String,
    /// Whether its name stands for it.
    pub holds_name: bool,
    /// When it took its name, in seconds since 1970.
    pub since: u64,
    /// When it signed its record, in seconds since 1970.
    pub issued: u64,
    /// For how many seconds from then the record holds.
    pub lease: u32,
    /// Whether it is the node that was asked.
    pub me: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Who.
    pub id: String,
    /// The mesh.
    pub mesh: String,
    /// What it is called.
    pub name: String,
    /// The zone that the names stand in.
    pub zone: String,
    /// `member`, `server` or `watcher`.
    pub role: String,
    /// Whether it has the mesh's key, makes tickets and removes nodes.
    pub steward: bool,
    /// Whether it is in.
    pub joined: bool,
    /// Where it listens.
    pub listen: Option<SocketAddr>,
    /// Where its peers see it.
    pub addresses: Vec<IpAddr>,
    /// How many live.
    pub hosts: usize,
    /// Who has its name, where it is another.
    pub name_taken_by: Option<String>,
    /// When it started, in seconds since 1970.
    pub started: u64,
}

/// A ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketReport {
    /// Its number.
    pub id: String,
    /// Until when new nodes come in by it, in seconds since 1970.
    pub expires: u64,
    /// Whether it lets only watch.
    pub watch: bool,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// How many members it names to try.
    pub contacts: usize,
    /// The text. Whoever has it can come in.
    pub ticket: String,
}

impl From<&View> for ListReport {
    fn from(view: &View) -> ListReport {
        let mut hosts: Vec<HostReport> = view.hosts.iter().map(HostReport::from).collect();
        hosts.sort_by(|one, other| {
            (&one.name, !one.holds_name, &one.id).cmp(&(&other.name, !other.holds_name, &other.id))
        });
        ListReport { mesh: view.mesh.to_string(), zone: view.zone.to_string(), joined: view.joined, hosts }
    }
}

impl From<&Host> for HostReport {
    fn from(host: &Host) -> HostReport {
        HostReport {
            id: host.id.to_string(),
            name: host.name.to_string(),
            addresses: host.addresses.clone(),
            port: host.port,
            role: word(host.role).into(),
            holds_name: host.holds_name,
            since: host.since,
            issued: host.issued,
            lease: host.lease,
            me: host.me,
        }
    }
}

pub(super) fn word(role: Role) -> &'static str {
    match role {
        Role::Member => "member",
        Role::Server => "server",
        Role::Watcher => "watcher",
    }
}
