//! Dynamic DNS in one binary: an authoritative name server that takes RFC 2136 updates signed with TSIG, and never
//! loses one that it acknowledged.
//!
//! # The way of a packet
//!
//! ```text
//!      server::udp, server::tcp, server::secure  octets in, octets out
//!                        |
//!                 server::exchange              one message, one verdict
//!                        |
//!                  query::respond --------------------------------.
//!               |               |                                 |
//!            a query         an update                        a transfer
//!               |               |                                 |
//!         zone::lookup     tsig::verify                      tsig::verify
//!               |               |                                 |
//!         query::answer    server::writer  (the one door)    transfer::Axfr
//!               |               |
//!               |          update::apply_update   prerequisites, prescan, rights, operations
//!               |               |
//!               |          store::append          durable in the journal; the table follows
//!               |               |
//!               |          server::publish        readers see the new snapshot
//!               |               |
//!               '------> tsig: the answer is signed, if the request was <---'
//! ```
//!
//! There is one answering path and one writing path, however a request came in. Readers hold an immutable
//! snapshot; the writer makes the next one and puts it in its place.
//!
//! # The modules
//!
//! The core does no input or output, reads no clock and logs nothing; it takes octets, zones and the time, and
//! returns values.
//!
//! - [`wire`]: names, types, headers, records, messages; read and written.
//! - [`zone`]: a zone as a value, lookup in it, changes to it, zone files.
//! - [`tsig`]: keys, verification, signing (RFC 8945).
//! - [`query`]: from question to answer (RFC 1034 section 4.3.2).
//! - [`update`]: prerequisites, prescan, application, rights (RFC 2136).
//! - [`transfer`]: whole zones (RFC 5936).
//! - [`mesh`]: machines that find each other.
//! - [`agent`]: which addresses to write for which names.
//!
//! The edge connects the core to the world and decides nothing about DNS.
//!
//! - [`store`]: the journal, which is the truth, and the table that follows it.
//! - [`server`]: sockets, the writer, start, reload and end.
//! - [`link`]: what we ask of other servers.
//! - [`sys`]: datagrams in batches, systemd, the pid file.
//! - [`cli`]: the command line.
//!
//! Beside them [`config`] is the only reader of files and the environment, [`clock`] the only reader of the time,
//! [`metrics`] declares every counter, and [`error`] is what the process says when it cannot go on.

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod link;
pub mod mesh;
pub mod metrics;
pub mod query;
pub mod server;
pub mod store;
pub mod sys;
pub mod transfer;
pub mod tsig;
pub mod update;
pub mod wire;
pub mod zone;
