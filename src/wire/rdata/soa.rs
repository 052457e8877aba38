//! The data of an SOA, taken apart.

use super::{Fault, RdataError};
use crate::wire::{Name, Rtype};

/// The data of a SOA record (RFC 1035 section 3.3.13); times in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soa {
    /// The primary server.
    pub mname: Name,
    /// The mailbox of who is responsible.
    pub rname: Name,
    /// The version of the zone.
    pub serial: u32,
    /// How often a secondary asks for the serial.
    pub refresh: u32,
    /// How soon it asks again after a failure.
    pub retry: u32,
    /// How long it answers without hearing from the primary.
    pub expire: u32,
    /// The TTL of negative answers (RFC 2308 section 4).
    pub minimum: u32,
}

impl Soa {
    /// Takes apart uncompressed SOA data.
    pub fn parse(rdata: &[u8]) -> Result<Soa, RdataError> {
        let fail = |fault| RdataError { rtype: Rtype::SOA, fault };
        let name = |at| Name::read(rdata, at).map_err(|error| fail(Fault::Name(error)));
        let (mname, at) = name(0)?;
        let (rname, at) = name(at)?;
        let numbers = rdata.get(at..).unwrap_or_default();
        if numbers.len() != 20 {
            return Err(fail(if numbers.len() < 20 { Fault::Short } else { Fault::Trailing }));
        }
        let mut words = numbers.chunks_exact(4).map(|word| word.try_into().map_or(0, u32::from_be_bytes));
        let mut next = || words.next().unwrap_or_default();
        Ok(Soa { mname, rname, serial: next(), refresh: next(), retry: next(), expire: next(), minimum: next() })
    }

    /// The minimum of SOA data that is well formed, which ends with it; all else is left unread.
    pub fn minimum_of(rdata: &[u8]) -> Option<u32> {
        rdata.last_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    /// The uncompressed data.
    pub fn to_rdata(&self) -> Box<[u8]> {
        let mut rdata = Vec::with_capacity(self.mname.as_bytes().len() + self.rname.as_bytes().len() + 20);
        rdata.extend_from_slice(self.mname.as_bytes());
        rdata.extend_from_slice(self.rname.as_bytes());
        for number in [self.serial, self.refresh, self.retry, self.expire, self.minimum] {
            rdata.extend_from_slice(&number.to_be_bytes());
        }
        rdata.into()
    }

    /// The same with another serial.
    pub fn with_serial(self, serial: u32) -> Soa {
        Soa { serial, ..self }
    }
}
