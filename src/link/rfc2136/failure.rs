//! Why a server did not do what it was asked to, and what to do.

use crate::tsig::ResponseError;
use crate::wire::{Name, Rcode};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// One line: what was attempted, on which server, why it failed, what to do.
#[derive(Debug)]
pub struct Failure {
    /// What was attempted: `cannot ...`.
    pub attempted: String,
    /// The server.
    pub server: SocketAddr,
    /// Why.
    pub reason: Reason,
}

/// Why a server did not do what it was asked to.
#[derive(Debug)]
pub enum Reason {
    /// Nothing came back, over UDP and over TCP; this was the last fault.
    NoAnswer(io::Error),
    /// An answer came that is not to be believed.
    Tsig(ResponseError),
    /// The key cannot sign the message, or no number for it could be had.
    Unsent(String),
    /// The server says no.
    Rcode(Rcode),
    /// What came back is no DNS message.
    Malformed,
    /// The answer is out of a cache or a referral.
    NotAuthoritative,
    /// The server has no zone around the host.
    NoZone,
    /// The host is not in the zone.
    Outside(Name),
    /// The host has a CNAME record.
    Alias,
    /// More changes than a message can hold.
    TooLong,
    /// The server acknowledged the update and answers something else.
    NotShown,
    /// The server has the address with another TTL than that of the update.
    OtherTtl,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.attempted, self.server, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoAnswer(error) => write!(
                f,
                "no answer over UDP and TCP ({}); check the address, the port and the firewalls between",
                crate::error::io_text(error)
            ),
            Reason::Tsig(error) => error.fmt(f),
            Reason::Unsent(why) => f.write_str(why),
            Reason::Rcode(Rcode::REFUSED) => f.write_str(
                "the server answers REFUSED; sign with a key that may change these names there, and see the server's log",
            ),
            Reason::Rcode(Rcode::NOTAUTH) => f.write_str(
                "the server answers NOTAUTH; name the zone's primary with --server and check --zone and the key",
            ),
            Reason::Rcode(Rcode::NOTZONE) => {
                f.write_str("the server answers NOTZONE: a name is outside the zone; check --zone")
            }
            Reason::Rcode(Rcode::SERVFAIL) => {
                f.write_str("the server answers SERVFAIL: it cannot do it now; see the server's log and try again")
            }
            Reason::Rcode(Rcode::NOTIMP) => {
                f.write_str("the server answers NOTIMP: it takes no updates; allow them there, or name another server")
            }
            Reason::Rcode(rcode) => write!(f, "the server answers {rcode}; see the server's log"),
            Reason::Malformed => f.write_str("what came back is no DNS message; is this a DNS server?"),
            Reason::NotAuthoritative => {
                f.write_str("the answer is not authoritative; name a server of the zone itself, not a resolver")
            }
            Reason::NoZone => f.write_str("the server is authoritative for none; check --server, or name the --zone"),
            Reason::Outside(name) => write!(f, "{name} is not in the zone; update it by itself"),
            Reason::Alias => f.write_str("it is an alias (CNAME); update the name that it points to"),
            Reason::TooLong => f.write_str("the changes do not fit in one message; update fewer hosts at once"),
            Reason::OtherTtl => {
                f.write_str("the server took the address and not its TTL; let it take that TTL, or write the one it has")
            }
            Reason::NotShown => f.write_str(
                "the server acknowledged the update but answers otherwise; has someone else changed it, or is it \
                 not the primary?",
            ),
        }
    }
}

impl std::error::Error for Failure {}
