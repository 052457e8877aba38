//! The update message as read (RFC 2136 section 2).

use super::Refusal;
use crate::wire::rdata::{self, RdataError};
use crate::wire::{Class, Message, Name, RawRecord, Rtype, Section};

/// An update, its entries in the order they were sent.
#[derive(Debug, Clone)]
pub struct UpdateMessage {
    /// The zone it is for.
    pub zone: Name,
    /// What must hold (RFC 2136 section 2.4).
    pub prerequisites: Vec<Entry>,
    /// What to do (RFC 2136 section 2.5).
    pub operations: Vec<Entry>,
}

/// A record of the prerequisite or update section; its class says what it means.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The owner.
    pub owner: Name,
    /// The type.
    pub rtype: Rtype,
    /// The class: the zone's, ANY or NONE.
    pub class: Class,
    /// The TTL field.
    pub ttl: u32,
    /// The data, names uncompressed; an error where they cannot be data of the type.
    pub rdata: Result<Box<[u8]>, RdataError>,
}

impl UpdateMessage {
    /// Reads an update from a message that was walked (RFC 2136 section 3.1.1: one zone, of type SOA).
    pub fn read(message: &Message<'_>) -> Result<UpdateMessage, Refusal> {
        let malformed = |rule| Refusal::Malformed { owner: None, rule };
        let zone = message.question.filter(|_| message.header.counts[0] == 1);
        let zone = zone.ok_or(malformed("the zone section must hold one zone (RFC 2136 section 3.1.1)"))?;
        if zone.rtype != Rtype::SOA {
            return Err(malformed("the zone section's type must be SOA (RFC 2136 section 3.1.1)"));
        }
        if zone.class != Class::IN {
            return Err(Refusal::NotAuth(zone.name.to_name()));
        }
        let entries = |section, bare: &[Class]| {
            message.section(section).map(|record| Entry::read(message.bytes, &record, bare)).collect()
        };
        Ok(UpdateMessage {
            zone: zone.name.to_name(),
            prerequisites: entries(Section::Answer, &[Class::ANY, Class::NONE]),
            operations: entries(Section::Authority, &[Class::ANY]),
        })
    }
}

impl Entry {
    /// Entries of the classes in `bare` name an RRset or an owner and have no data (RFC 2136 sections 2.4 and 2.5).
    /// Where class NONE names a record, empty data is data of its type or an error (section 2.5.4).
    fn read(bytes: &[u8], record: &RawRecord, bare: &[Class]) -> Entry {
        let rdata = match record.rdata_len {
            0 if bare.contains(&record.class) => Ok(Box::default()),
            length => rdata::read(bytes, record.rdata_at, length, record.rtype),
        };
        Entry { owner: record.owner, rtype: record.rtype, class: record.class, ttl: record.ttl, rdata }
    }

    /// Whether there are no octets of data.
    pub(super) fn has_no_data(&self) -> bool {
        self.rdata.as_ref().is_ok_and(|rdata| rdata.is_empty())
    }
}
