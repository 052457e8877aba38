//! The mesh as this node sees it at one moment: what names, hosts files, hooks and lists are made of.

use crate::mesh::{Claim, Label, Node, NodeId, Role};
use crate::wire::Name;
use std::net::IpAddr;

/// The mesh as this node sees it at one moment. It is replaced whole, never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// This node.
    pub me: NodeId,
    /// Its name.
    pub name: Label,
    /// The mesh.
    pub mesh: NodeId,
    /// The zone that the names stand in.
    pub zone: Name,
    /// Whether the node is in; before that it knows only what it knew when it ended.
    pub joined: bool,
    /// This node's own addresses: those that its peers see, or those that the operator states.
    pub addresses: Vec<IpAddr>,
    /// Who has this node's name, where it is another that lives.
    pub name_taken_by: Option<NodeId>,
    /// Who lives, in the order of ids; this node too, unless it only watches.
    pub hosts: Vec<Host>,
}

/// One that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Who.
    pub id: NodeId,
    /// What it is called.
    pub name: Label,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// Where it listens.
    pub port: u16,
    /// Whether it is the one that its name stands for.
    pub holds_name: bool,
    /// For how many seconds from [`Host::issued`] its record holds.
    pub lease: u32,
    /// When it signed its record, in seconds since 1970 by its clock.
    pub issued: u64,
    /// When it took its name, in seconds since 1970.
    pub since: u64,
    /// What it does for others.
    pub role: Role,
    /// Whether it is this node.
    pub me: bool,
}

impl View {
    pub(super) fn of(node: &Node, name: &Label, mesh: NodeId, zone: Name, joined: bool) -> View {
        let me = node.id();
        let hosts: Vec<Host> = node
            .hosts()
            .map(|host| {
                let Claim { id, lease, issued, since, role, port, name, addresses, .. } = host.claim;
                Host {
                    id: *id,
                    name: name.clone(),
                    addresses: addresses.clone(),
                    port: *port,
                    holds_name: host.holds_name,
                    lease: *lease,
                    issued: *issued,
                    since: *since,
                    role: *role,
                    me: *id == me,
                }
            })
            .collect();
        let name_taken_by = hosts.iter().find(|host| !host.me && host.holds_name && host.name == *name);
        View {
            me,
            name: name.clone(),
            mesh,
            zone,
            joined,
            addresses: node.addresses().to_vec(),
            name_taken_by: name_taken_by.map(|host| host.id),
            hosts,
        }
    }
}
