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

/// What became of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Here,
    /// It is elsewhere, or its name stands for another or for it now.
    Changed,
    /// It is not there any more.
    Gone,
}

impl View {
    /// What is other than in `before`, in the order of ids; those that are gone come last.
    pub fn changes_since<'a>(&'a self, before: &'a [Host]) -> Vec<(Change, &'a Host)> {
        let of = |hosts: &'a [Host], id| {
            let at = hosts.binary_search_by_key(id, |host: &Host| host.id).ok();
            at.and_then(|at| hosts.get(at))
        };
        let here = self.hosts.iter().filter_map(|host| match of(before, &host.id) {
            None => Some((Change::Here, host)),
            Some(old) => {
                let same =
                    (&old.name, &old.addresses, old.holds_name) == (&host.name, &host.addresses, host.holds_name);
                (!same).then_some((Change::Changed, host))
            }
        });
        let gone = before.iter().filter(|host| of(&self.hosts, &host.id).is_none()).map(|host| (Change::Gone, host));
        here.chain(gone).collect()
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(id: u8, address: &str) -> Host {
        Host {
            id: NodeId([id; 32]),
            name: Label::new("nas").unwrap(),
            addresses: vec![address.parse().unwrap()],
            port: 5399,
            holds_name: true,
            lease: 7200,
            issued: 1,
            since: 1,
            role: Role::Member,
            me: false,
        }
    }

    #[test]
    fn who_came_moved_and_went_is_told_and_who_only_signed_anew_is_not() {
        let before = [host(1, "192.0.2.1"), host(2, "192.0.2.2"), host(4, "192.0.2.4")];
        let renewed = Host { issued: 9, ..host(1, "192.0.2.1") };
        let view = View {
            me: NodeId([1; 32]),
            name: Label::new("nas").unwrap(),
            mesh: NodeId([9; 32]),
            zone: Name::parse("mesh.home.arpa").unwrap(),
            joined: true,
            addresses: Vec::new(),
            name_taken_by: None,
            hosts: vec![renewed, host(2, "192.0.2.22"), host(3, "192.0.2.3")],
        };
        let changes: Vec<(Change, u8)> =
            view.changes_since(&before).into_iter().map(|(change, host)| (change, host.id.0[0])).collect();
        assert_eq!(changes, [(Change::Changed, 2), (Change::Here, 3), (Change::Gone, 4)]);
    }
}
