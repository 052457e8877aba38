//! A whole zone as a sequence of messages (RFC 5936 section 2.2).

use crate::tsig::Signer;
use crate::wire::rdata::{self, Soa};
use crate::wire::{Class, Composer, Edns, Flags, Full, Message, Name, Place, Rcode, Rtype, Section};
use crate::zone::{Record, Serial, Zone};
use std::iter::Peekable;

/// A transfer under way: the SOA, every other record, and the SOA again (RFC 5936 section 2.2).
///
/// It also answers IXFR: by the SOA alone for one who has the newest serial, else by the whole zone (RFC 1995
/// sections 2 and 4).
pub struct Axfr<'z> {
    message: Message<'z>,
    edns: Option<Edns>,
    records: Peekable<Records<'z>>,
    signer: Option<Signer>,
    first: bool,
}

type Records<'z> = Box<dyn Iterator<Item = Record> + Send + 'z>;

/// What became of one step of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// So many octets of the buffer are the next message.
    Message(usize),
    /// The last message has been written.
    Done,
    /// A record that no message can hold, or a buffer that is too small: the transfer cannot go on.
    Stuck,
}

impl<'z> Axfr<'z> {
    /// A transfer of `zone`, asked for by `message`; signed where the request was. `edns` is what the first message says of
    /// it (RFC 5936 section 2.2.5).
    pub fn new(zone: &'z Zone, message: Message<'z>, edns: Option<Edns>, signer: Option<Signer>) -> Axfr<'z> {
        if held_serial(&message).is_some_and(|held| !zone.serial().is_after(held)) {
            return Axfr::newest(zone, message, edns, signer);
        }
        let soa = move || zone.soa_record().into_iter();
        let is_soa = |record: &Record| record.rtype == Rtype::SOA && record.owner == *zone.apex_key();
        let others = zone.records().filter(move |record| !is_soa(record));
        Axfr::of(Box::new(soa().chain(others).chain(soa())), message, edns, signer)
    }

    /// The SOA alone.
    pub fn newest(zone: &'z Zone, message: Message<'z>, edns: Option<Edns>, signer: Option<Signer>) -> Axfr<'z> {
        Axfr::of(Box::new(zone.soa_record().into_iter()), message, edns, signer)
    }

    fn of(records: Records<'z>, message: Message<'z>, edns: Option<Edns>, signer: Option<Signer>) -> Axfr<'z> {
        Axfr { message, edns, records: records.peekable(), signer, first: true }
    }

    /// Writes the next message, as full as it can be.
    pub fn next(&mut self, buffer: &mut [u8], now: u64) -> Piece {
        if self.records.peek().is_none() {
            return Piece::Done;
        }
        match self.compose(buffer, now) {
            Some(len) => Piece::Message(len),
            None => Piece::Stuck,
        }
    }

    fn compose(&mut self, buffer: &mut [u8], now: u64) -> Option<usize> {
        let header = self.message.header;
        let flags = header.flags.reply(Rcode::NOERROR).with(Flags::AA);
        let mut composer = Composer::new(buffer, usize::from(u16::MAX), header.id, flags).ok()?;
        let edns = self.edns.filter(|_| self.first);
        let reserved = self.signer.as_ref().map_or(0, Signer::reserve) + edns.map_or(0, |_| Edns::LEN);
        composer.reserve(reserved);
        // RFC 5936 section 2.2.1: the first message has the question, the others need not.
        if let Some(question) = self.message.question.filter(|_| self.first) {
            composer.question(question).ok()?;
        }
        let mut held = 0;
        while let Some(record) = self.records.peek() {
            let owner: Name = record.owner.name();
            match composer.record(Place::Answer, &owner, record.rtype, Class::IN, record.ttl, &record.rdata) {
                Ok(()) => held += 1,
                Err(Full) => break,
            }
            self.records.next();
        }
        if held == 0 {
            return None;
        }
        self.first = false;
        composer.release(reserved);
        if let Some(edns) = edns {
            composer.edns(edns).ok()?;
        }
        let len = composer.finish();
        match &mut self.signer {
            // RFC 8945 section 5.3.1: the signer remembers the MAC of the message before.
            Some(signer) => signer.sign(buffer, len, now).ok(),
            None => Some(len),
        }
    }
}

/// The serial that the asker of an IXFR has (RFC 1995 section 3).
fn held_serial(message: &Message<'_>) -> Option<Serial> {
    message.question.filter(|question| question.rtype == Rtype::IXFR)?;
    let soa = message.section(Section::Authority).find(|record| record.rtype == Rtype::SOA)?;
    let rdata = rdata::read(message.bytes, soa.rdata_at, soa.rdata_len, Rtype::SOA).ok()?;
    Some(Serial(Soa::parse(&rdata).ok()?.serial))
}

impl std::fmt::Debug for Axfr<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Axfr").field("first", &self.first).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Header, Opcode, Question, Ttl};
    use crate::zone::{Key, seed};

    #[test]
    fn a_zone_of_many_messages_begins_and_ends_with_its_soa() {
        let apex = Name::parse("home.example").unwrap();
        let mut records = seed(&apex).unwrap();
        for number in 0..300u16 {
            let owner = Key::new(&apex.child(format!("host-{number}").as_bytes()).unwrap());
            let rdata = [&[250][..], &[b'x'; 250]].concat();
            records.push(Record { owner, rtype: Rtype::TXT, ttl: Ttl::new(60), rdata: rdata.into() });
        }
        let zone = Zone::new(&apex, records).unwrap();
        let mut request = vec![0; 512];
        let mut composer = Composer::new(&mut request, 512, 9, Flags(0)).unwrap();
        composer.question(&Question { name: apex, rtype: Rtype::AXFR, class: Class::IN }).unwrap();
        let len = composer.finish();
        let mut axfr = Axfr::new(&zone, Message::parse(&request[..len]).unwrap(), None, None);
        let mut types = Vec::new();
        let mut messages = 0;
        let mut buffer = vec![0; 65_535];
        while let Piece::Message(len) = axfr.next(&mut buffer, 0) {
            let message = Message::parse(&buffer[..len]).unwrap();
            assert_eq!(message.question.is_some(), messages == 0);
            assert_eq!(Header::read(&buffer).unwrap().flags.opcode(), Opcode::QUERY);
            types.extend(message.section(Section::Answer).map(|record| record.rtype));
            messages += 1;
        }
        assert_eq!(axfr.next(&mut buffer, 0), Piece::Done);
        assert_eq!((messages, types.len()), (2, 1 + 1 + 300 + 1));
        assert_eq!((types.first(), types.last()), (Some(&Rtype::SOA), Some(&Rtype::SOA)));
    }
}
