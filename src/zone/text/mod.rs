//! Zones as text: zone files in, zone files out (RFC 1035 section 5, RFC 2308 section 4, RFC 3597 section 5).
//!
//! Decides whether a file is a whole zone: what is read here can be served. Files are opened by the caller.
//! What is written here reads back as the same records.

mod check;
mod encode;
mod export;
mod generate;
mod lexer;
mod location;
mod parse;
mod prefixes;
mod rdata;
mod service;
mod write;

pub use export::write_export;
pub use parse::parse;
pub use rdata::rdata_from_text;
pub use write::{rdata_to_text, write_zone};

use super::{Record, Serial};
use crate::wire::Name;
use std::fmt;

/// The zone that a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedZone {
    /// The owner of the SOA, in lower case.
    pub apex: Name,
    /// The records without duplicates, one TTL to an RRset; by owner in key order, then by type.
    pub records: Vec<Record>,
    /// The serial of the zone that the file was exported from by [`write_export`], where it says so.
    pub exported: Option<Serial>,
    /// What the operator should know, although the zone can be served.
    pub warnings: Vec<ZoneFileError>,
}

/// Why a zone file cannot be taken, and where: `zones/home.example.zone:14: second SOA record; keep one, at
/// the apex`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFileError {
    /// The file, as the caller named it or as an `$INCLUDE` led to it.
    pub file: String,
    /// The line, from 1; none where something is missing from the whole file.
    pub line: Option<u32>,
    /// What is wrong, and what to do.
    pub what: String,
}

impl fmt::Display for ZoneFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.what),
            None => write!(f, "{}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for ZoneFileError {}

#[cfg(test)]
mod tests;
