//! The mesh: machines that find each other with no one in the middle. No IO: [`Node::handle`] takes an event and the
//! time and returns what is to be done, so that thousands of nodes run in one test.
//!
//! # What there is
//!
//! Each node signs what it says of itself, a [`Record`]; nobody can say it for another, and of two the one with the higher
//! sequence counts. A node came in by a ticket (`ticket`), and its record proves that to every member, so members ask
//! nobody. Nodes say to each other where they see each other, and by that each learns its own addresses (`address`).
//! Heartbeats find out who lives (`heartbeat`); what one member says of another is at most a suspicion, which the other
//! refutes with a new record. Fresh news is passed on (`news`); comparing finds the rest (`exchange`). Any member lets
//! new ones in (`join`), and where the operator asks members are found on the local link, too (`nearby`). What hosts are called comes into zones by [`names`].
//!
//! # What it costs
//!
//! Measured by tests/mesh_sim.rs, which prints it with `--no-capture`. Octets are those of messages, before QUIC. In
//! peace each node sends in a minute:
//!
//! | nodes | messages | octets |
//! |-------|----------|--------|
//! | 3     | 25       | 1,648  |
//! | 25    | 37       | 2,270  |
//! | 100   | 37       | 3,805  |
//! | 2,000 | 37       | 16,445, in the minute after all have started |
//!
//! Messages stay the same whatever the size, for a node asks three peers each ten seconds. What grows are renewed
//! records, one of each node in forty minutes, and the full exchange, 40 octets for each node in five minutes.
//!
//! Fifty nodes that start at once know the same after 2 to 6 s, by chance; 2,000 that start within 10 s and find 20 servers,
//! 14 s after the last. A changed address is known to all 2,000 after 20 s, a silent node is gone at all of 50 after 90 s, and
//! a mesh of 50 that was split in halves is one again after 16 s.
//!
//! Real servers in network namespaces (tests/mesh_namespaces.rs), four of them across a router: they answer each other's
//! names after 7 s, after two moved at once in 5 to 12 s, and with the first cut off as fast.
//!
//! # What it does not defend against
//!
//! A member can lie about when it took its name, and so take the name of another; both are told, and a steward can
//! remove it. A member of one's own can hand its key or its ticket on. Of two peers one can lie about the address it
//! sees; it takes three to outvote it. Whoever has the mesh's key is the mesh.
//!
//! # Why not foca
//!
//! foca 2 (SWIM, without IO) was read and tried for membership. Its updates are not signed and `Down` is final: one
//! member's word takes another out, and the victim has to take a new identity, again and again; here nobody can
//! speak for another. It looks each update up in a list, and each piece of news replaces its like in a heap by going
//! through all of it: learning of 2,000 members took one node 68 ms (7 ms optimised), and 2,000 nodes learn of 2,000.
//! It has one failed probe where we need three, other addresses and a question to peers in between. What it would have left
//! to us, records, addresses, exchange and joining, is most of the protocol. The ideas of SWIM are here: probes in
//! rounds, suspicion, refutation, news that rides on heartbeats.

mod address;
mod budget;
mod chance;
mod event;
mod exchange;
mod heartbeat;
mod identity;
mod join;
mod memory;
mod message;
pub mod names;
mod nearby;
mod news;
mod node;
mod octets;
mod record;
mod table;
mod ticket;

pub use address::publishable;
pub use event::{Action, Event, Host, Now, Offence, Saved, Settings};
pub use identity::{NodeId, SecretKey, Signature};
pub use message::{Beat, Message, News, Refusal, Summary};
pub use node::Node;
pub use octets::Malformed;
pub use record::{Claim, Label, Notary, Record, RecordError, Role, Verifier};
pub use ticket::{Admission, Contact, Edict, EdictKind, Pass, Rights, Steward, Ticket, TicketError};
