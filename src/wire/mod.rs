//! The wire format of DNS messages (RFC 1035 section 4): names, types, headers, records.
//!
//! Reads and writes octets; decides nothing about zones. Every reader takes any octets and returns an
//! error rather than panic.

mod name;
pub mod rdata;
mod rtype;

pub use name::{Labels, Name, NameError};
pub use rtype::{Class, Rtype, Ttl};
