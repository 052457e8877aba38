//! The wire format of DNS messages (RFC 1035 section 4): names, types, headers, records.
//!
//! Reads and writes octets; decides nothing about zones. Every reader takes any octets and returns an
//! error rather than panic.

mod compose;
mod header;
mod message;
mod name;
mod name_ref;
pub mod rdata;
mod rtype;

pub use compose::{Composer, Full, Mark, Owner, Place};
pub use header::{Flags, Header, Opcode, Rcode};
pub use message::{Edns, Malformed, Message, Question, RawRecord, Section};
pub use name::{Name, NameError};
pub use name_ref::{Labels, NameRef};
pub use rtype::{Class, Rtype, Ttl};
