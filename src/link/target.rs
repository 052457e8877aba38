//! Where addresses are written to: what the operator tells of it, and what all kinds have in common.
//!
//! Three steps, in this order: what is held ([`Target::current`]), what is to be written ([`Target::write`]), and
//! whether it shows ([`Target::verify`]).

use super::Fault;
use super::authority;
use super::dyndns2;
use super::rfc2136::{self, Reason};
use super::route53;
use super::source::Home;
use crate::agent::place::Place;
use crate::agent::plan::{Change, Held};
use crate::tsig::TsigKey;
use crate::wire::{Name, Rcode, Ttl};
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
        /// The TTL of what is written, where the operator says it.
        ttl: Option<Ttl>,
    },
    /// A provider that speaks dyndns2.
    Dyndns2(dyndns2::Provider),
    /// Amazon Route 53.
    Route53(route53::Account),
}

/// A target at work, for the hosts of one zone.
#[derive(Debug)]
pub enum Target {
    /// RFC 2136.
    Rfc2136(rfc2136::Target),
    /// A provider that speaks dyndns2.
    Dyndns2(Box<dyndns2::Target>),
    /// Amazon Route 53.
    Route53(Box<route53::Target>),
}

/// What a target acknowledged.
#[derive(Debug)]
pub enum Receipt {
    /// RFC 2136.
    Rfc2136(rfc2136::Receipt),
    /// A provider that speaks dyndns2.
    Dyndns2(dyndns2::Receipt),
    /// Amazon Route 53.
    Route53(route53::Receipt),
}

impl Remote {
    /// Finds where the hosts are, each in the target of its zone, and of which hosts it cannot be found.
    pub async fn open(&self, hosts: &[Name]) -> (Vec<(Target, Vec<Name>)>, Vec<(Vec<Name>, Fault)>) {
        let mut open: Vec<(Target, Vec<Name>)> = Vec::new();
        let mut lost: Vec<(Vec<Name>, Fault)> = Vec::new();
        for host in hosts {
            // Names beside each other are in one zone, unless one is the apex of another.
            let beside =
                |names: &[Name]| self.has_one_zone() || names.iter().any(|name| name.parent() == host.parent());
            if let Some((_, names)) = open.iter_mut().find(|(_, names)| beside(names)) {
                names.push(*host);
                continue;
            }
            if let Some((names, _)) = lost.iter_mut().find(|(names, _)| beside(names)) {
                names.push(*host);
                continue;
            }
            match self.open_one(host).await {
                Err(fault) => lost.push((vec![*host], fault)),
                Ok(target) => match open.iter_mut().find(|(known, _)| known.to_string() == target.to_string()) {
                    Some((_, names)) => names.push(*host),
                    None => open.push((target, vec![*host])),
                },
            }
        }
        (open, lost)
    }

    fn has_one_zone(&self) -> bool {
        match self {
            Remote::Rfc2136 { zone, .. } => zone.is_some(),
            Remote::Dyndns2(_) => false,
            Remote::Route53(account) => account.zone.is_some() || account.zone_id.is_some(),
        }
    }

    async fn open_one(&self, host: &Name) -> Result<Target, Fault> {
        match self {
            Remote::Rfc2136 { server, key, zone, ttl } => {
                let (zone, place) = match (server, zone) {
                    (Some(server), zone) => (*zone, server.clone()),
                    (None, zone) => {
                        let (found, place) = authority::primary(zone.as_ref().unwrap_or(host)).await?;
                        (Some(found), place)
                    }
                };
                Ok(Target::Rfc2136(authority::connect(&place, key.as_ref(), zone, host, *ttl).await?))
            }
            Remote::Dyndns2(provider) => Ok(Target::Dyndns2(Box::new(dyndns2::Target::open(provider, host).await?))),
            Remote::Route53(account) => Ok(Target::Route53(Box::new(account.open(host).await?))),
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
            Remote::Dyndns2(_) | Remote::Route53(_) => Ok(None),
        }
    }
}

impl Target {
    /// What is held for each host, in their order.
    pub async fn current(&self, hosts: &[Name]) -> Result<Vec<Held>, Trouble> {
        match self {
            Target::Rfc2136(target) => Ok(target.current(hosts).await?),
            Target::Dyndns2(target) => Ok(target.current(hosts).await?),
            Target::Route53(target) => target.current(hosts).await,
        }
    }

    /// Writes all changes in one go, so that an old address is never gone before the new one is in. They are a part of
    /// `whole`, what the hosts are to have in the end.
    pub async fn write(&self, changes: Vec<Change>, whole: &[Change]) -> Result<Receipt, Trouble> {
        match self {
            Target::Rfc2136(target) => Ok(Receipt::Rfc2136(target.write(changes).await?)),
            Target::Dyndns2(target) => Ok(Receipt::Dyndns2(target.write(changes, whole).await?)),
            Target::Route53(target) => Ok(Receipt::Route53(target.write(changes).await?)),
        }
    }

    /// Waits until what was acknowledged shows.
    pub async fn verify(&self, receipt: &Receipt) -> Result<(), Fault> {
        match (self, receipt) {
            (Target::Rfc2136(target), Receipt::Rfc2136(receipt)) => Ok(target.verify(receipt).await?),
            (Target::Dyndns2(target), Receipt::Dyndns2(receipt)) => target.verify(receipt).await,
            (Target::Route53(target), Receipt::Route53(receipt)) => target.verify(receipt).await,
            // A receipt is asked after where it was given.
            _ => Ok(()),
        }
    }
}

/// Why a target did not do what it was asked to.
#[derive(Debug)]
pub struct Trouble {
    /// The words.
    pub fault: Fault,
    /// Whose fault it is.
    pub blame: Blame,
}

/// Whose fault it is that a target did not do what it was asked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The target's, whatever it is asked.
    Target,
    /// One host's at least, and perhaps not that of the others.
    Hosts,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        Trouble { fault, blame: Blame::Target }
    }
}

impl From<rfc2136::Failure> for Trouble {
    fn from(failure: rfc2136::Failure) -> Trouble {
        let blame = match failure.reason {
            Reason::Alias | Reason::Outside(_) | Reason::TooLong => Blame::Hosts,
            // Rights are of single names, and so are a server's own rules.
            Reason::Rcode(Rcode::REFUSED | Rcode::NOTZONE | Rcode::YXDOMAIN | Rcode::YXRRSET) => Blame::Hosts,
            _ => Blame::Target,
        };
        Trouble { fault: failure.into(), blame }
    }
}

/// The zone and the server.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Rfc2136(target) => write!(f, "zone {} at {}", target.zone(), target.server().address()),
            Target::Dyndns2(target) => target.fmt(f),
            Target::Route53(target) => target.fmt(f),
        }
    }
}
