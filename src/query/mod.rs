//! Queries: from question to answer (RFC 1034 section 4.3.2).
//!
//! [`respond`] takes every message first. Queries it answers itself; updates, transfers and notifications it
//! names and leaves to the caller, who carries them out by other means.

mod answer;
mod reply;
mod respond;
mod whoami;

pub use reply::{Reply, refuse, reject, reply_with};
pub use respond::{Reason, Verdict, prepare, respond};

use crate::tsig::Keyring;
use crate::wire::Name;
use crate::zone::ZoneSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// All that an answer depends on: an immutable snapshot, taken once and used for a whole message.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The zones.
    pub zones: ZoneSet,
    /// The TSIG keys.
    pub keyring: Arc<Keyring>,
    /// What is said of the server itself.
    pub limits: Arc<Limits>,
}

/// What the operator sets for answers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest UDP answer in octets, whatever the client offers (RFC 6891 section 6.2.5).
    pub udp_size: u16,
    /// The text that `version.bind` of class CH answers; without one it is refused.
    pub version: Option<String>,
    /// The name that answers with the asker's own address.
    pub whoami: Option<Name>,
}

impl Default for Limits {
    fn default() -> Limits {
        // 1,232 octets pass every IPv6 path unfragmented: 1,280 less the IPv6 and UDP headers.
        Limits { udp_size: 1232, version: None, whoami: None }
    }
}

/// Who sent a message, and how.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The source.
    pub address: SocketAddr,
    /// The transport it came by.
    pub transport: Transport,
}

/// How a message came; it bounds the answer's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: 512 octets, or what EDNS offers.
    Udp,
    /// A stream: up to 65,535 octets (RFC 1035 section 4.2.2).
    Tcp,
}

#[cfg(test)]
mod tests;
