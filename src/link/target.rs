//! Where addresses are written to: what the operator tells of it, and what all kinds have in common.
//!
//! Three steps, in this order: what is held ([`Target::current`]), what is to be written ([`Target::write`]), and
//! whether it shows ([`Target::verify`]).

use super::Fault;
use super::authority;
use super::rfc2136;
use super::source::Home;
use crate::agent::place::Place;
use crate::agent::plan::{Change, Held};
use crate::tsig::TsigKey;
use crate::wire::{Name, Ttl};
use std::fmt;

/// A target as the operator tells it.
#[derive(Debug, Clone)]
pub enum Remote {
    /// A server that takes updates by RFC 2136.
    Rfc2136 {
        /// The primary server; without it, that of the zone's SOA record.
        server: Option<Place>,
        /// What updates are signed with.
        key: Option<TsigKey>,
        /// The zone; without it, the one the server says a host is in.
        zone: Option<Name>,
        /// The TTL of what is written.
        ttl: Ttl,
    },
}

/// A target at work, for the hosts of one zone.
#[derive(Debug)]
pub enum Target {
    /// RFC 2136.
    Rfc2136(rfc2136::Target),
}

/// What a target acknowledged.
#[derive(Debug)]
pub enum Receipt {
    /// RFC 2136.
    Rfc2136(rfc2136::Receipt),
}

impl Remote {
    /// Finds where the hosts are, each in the target of its zone.
    pub async fn open(&self, hosts: &[Name]) -> Result<Vec<(Target, Vec<Name>)>, Fault> {
        match self {
            Remote::Rfc2136 { server, key, zone, ttl } => {
                let mut open: Vec<(rfc2136::Target, Vec<Name>)> = Vec::new();
                for host in hosts {
                    // Names beside each other are in one zone, unless one is the apex of another.
                    let beside = |names: &[Name]| names.iter().any(|name| name.parent() == host.parent());
                    let known = open.iter_mut().find(|(_, names)| zone.is_some() || beside(names));
                    if let Some((_, names)) = known {
                        names.push(*host);
                        continue;
                    }
                    let (zone, place) = match (server, zone) {
                        (Some(server), zone) => (*zone, server.clone()),
                        (None, zone) => {
                            let (found, place) = authority::primary(zone.as_ref().unwrap_or(host)).await?;
                            (Some(found), place)
                        }
                    };
                    let target = authority::connect(&place, key.as_ref(), zone, host, *ttl).await?;
                    match open.iter_mut().find(|(known, _)| known.zone() == target.zone()) {
                        Some((_, names)) => names.push(*host),
                        None => open.push((target, vec![*host])),
                    }
                }
                Ok(open.into_iter().map(|(target, names)| (Target::Rfc2136(target), names)).collect())
            }
        }
    }

    /// Whom `whoami` is asked where the source does not say; `None` where the target is no such server.
    pub async fn home(&self, host: &Name) -> Result<Option<Home>, Fault> {
        match self {
            Remote::Rfc2136 { server, key, zone, ttl } => {
                let (zone, server) = match (server, zone) {
                    (Some(server), Some(zone)) => (*zone, server.clone()),
                    (Some(server), None) => {
                        let target = authority::connect(server, key.as_ref(), None, host, *ttl).await?;
                        (*target.zone(), server.clone())
                    }
                    (None, zone) => authority::primary(zone.as_ref().unwrap_or(host)).await?,
                };
                Ok(Some(Home { server, key: key.clone(), zone }))
            }
        }
    }
}

impl Target {
    /// What is held for each host, in their order.
    pub async fn current(&self, hosts: &[Name]) -> Result<Vec<Held>, Fault> {
        match self {
            Target::Rfc2136(target) => Ok(target.current(hosts).await?),
        }
    }

    /// Writes all changes in one go, so that an old address is never gone before the new one is in.
    pub async fn write(&self, changes: Vec<Change>) -> Result<Receipt, Fault> {
        match self {
            Target::Rfc2136(target) => Ok(Receipt::Rfc2136(target.write(changes).await?)),
        }
    }

    /// Waits until what was acknowledged shows.
    pub async fn verify(&self, receipt: &Receipt) -> Result<(), Fault> {
        match (self, receipt) {
            (Target::Rfc2136(target), Receipt::Rfc2136(receipt)) => Ok(target.verify(receipt).await?),
        }
    }
}

/// The zone and the server.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Rfc2136(target) => write!(f, "zone {} at {}", target.zone(), target.server().address()),
        }
    }
}
