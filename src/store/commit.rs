//! Commits: what happened to a zone, once and for all.

use crate::wire::Name;
use crate::zone::{Changes, Serial};
use std::fmt;
use std::net::IpAddr;

/// One durable step of a zone. It serves IXFR, the history that people read, and undo alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The zone's apex.
    pub zone: Name,
    /// What the commit does to the zone as a whole.
    pub kind: CommitKind,
    /// The serial before; `None` where there was no zone before.
    pub from: Option<Serial>,
    /// The serial after.
    pub to: Serial,
    /// When, in seconds since 1970.
    pub time: u64,
    /// Who did it.
    pub actor: Actor,
    /// The address that asked for it, where one did.
    pub source: Option<IpAddr>,
    /// The records that go and come.
    pub changes: Changes,
}

/// What a commit does to its zone as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitKind {
    /// The zone begins with exactly the added records; whatever was at that apex before is gone.
    Create,
    /// The zone's records change.
    Change,
    /// The zone goes away with all its records, listed or not.
    Delete,
}

/// Who made a commit.
#[allow(clippy::large_enum_variant, reason = "names live on the stack everywhere, and a commit has one actor")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// The holder of a TSIG key.
    Key(Name),
    /// A user of the HTTP interface.
    Http(String),
    /// A node of the mesh.
    Mesh(String),
    /// A lease that ran out (RFC 9664).
    Lease,
    /// Whoever runs the server.
    Operator,
    /// The zone file that began the zone.
    Seed,
}

impl fmt::Display for CommitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommitKind::Create => "create",
            CommitKind::Change => "change",
            CommitKind::Delete => "delete",
        })
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Key(name) => write!(f, "key {name:#}"),
            Actor::Http(user) => write!(f, "http {user}"),
            Actor::Mesh(node) => write!(f, "mesh {node}"),
            Actor::Lease => f.write_str("lease"),
            Actor::Operator => f.write_str("operator"),
            Actor::Seed => f.write_str("seed"),
        }
    }
}
