//! Messages as written: into a caller's buffer, names compressed, nothing allocated.

use super::rdata::{self, Part};
use super::{Class, Edns, Flags, Header, Name, Question, Rtype, Ttl};

/// Writes one message into a buffer, section after section.
///
/// Everything that is written either fits whole or leaves the message as it was, so a truncated reply
/// ends at the last whole RRset that its caller kept (RFC 2181 section 9).
#[derive(Debug)]
pub struct Composer<'b> {
    buffer: &'b mut [u8],
    len: usize,
    limit: usize,
    header: Header,
    /// Where names that later ones may point to start, oldest first.
    names: [u16; REMEMBERED],
    remembered: usize,
}

/// How many places of the message a name is compared with. Bounds the time a long answer takes.
const REMEMBERED: usize = 32;

/// The message would grow over its limit; it is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A place to return to, with everything written since undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    len: usize,
    counts: [u16; 4],
    remembered: usize,
}

/// The section a record is written to; sections follow each other in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Answer; prerequisite in an update.
    Answer = 1,
    /// Authority; update in an update.
    Authority = 2,
    /// Additional.
    Additional = 3,
}

/// Whether letters may change case when a name is replaced by a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// Owner names: they follow the case of the question.
    Ignored,
    /// Names in data: their case is the zone owner's.
    Kept,
}

impl<'b> Composer<'b> {
    /// An empty message that may grow to `limit` octets, at most the buffer's length and 65,535.
    /// `Err` where not even a header fits.
    pub fn new(buffer: &'b mut [u8], limit: usize, id: u16, flags: Flags) -> Result<Composer<'b>, Full> {
        let limit = limit.min(buffer.len()).min(usize::from(u16::MAX));
        if limit < Header::LEN {
            return Err(Full);
        }
        let header = Header { id, flags, counts: [0; 4] };
        Ok(Composer { buffer, len: Header::LEN, limit, header, names: [0; REMEMBERED], remembered: 0 })
    }

    /// Sets flags beside those that are set.
    pub fn set(&mut self, flags: Flags) {
        self.header.flags = self.header.flags.with(flags);
    }

    /// Sets the low four bits of the response code.
    pub fn set_rcode(&mut self, rcode: super::Rcode) {
        self.header.flags = Flags(self.header.flags.0 & !0x0F | rcode.0 & 0x0F);
    }

    /// Keeps `octets` of the limit free, for records that are written after everything else.
    pub fn reserve(&mut self, octets: usize) {
        self.limit = self.limit.saturating_sub(octets);
    }

    /// Gives back what [`Composer::reserve`] kept.
    pub fn release(&mut self, octets: usize) {
        self.limit = (self.limit + octets).min(self.buffer.len()).min(usize::from(u16::MAX));
    }

    /// Writes a question; its name keeps its case.
    pub fn question(&mut self, question: &Question) -> Result<(), Full> {
        self.whole(0, |message| {
            message.name(&question.name, Case::Kept)?;
            message.put(&question.rtype.0.to_be_bytes())?;
            message.put(&question.class.0.to_be_bytes())
        })
    }

    /// Writes one record; `rdata` is in wire form with its names uncompressed.
    pub fn record(
        &mut self,
        place: Place,
        owner: &Name,
        rtype: Rtype,
        class: Class,
        ttl: Ttl,
        rdata: &[u8],
    ) -> Result<(), Full> {
        self.whole(place as usize, |message| {
            message.name(owner, Case::Ignored)?;
            message.put(&rtype.0.to_be_bytes())?;
            message.put(&class.0.to_be_bytes())?;
            message.put(&ttl.seconds().to_be_bytes())?;
            let length_at = message.len;
            message.put(&[0, 0])?;
            for part in rdata::parts(rtype, rdata) {
                match part {
                    Part::Name(name) => message.name_bytes(name, Case::Kept)?,
                    Part::Octets(octets) => message.put(octets)?,
                }
            }
            let length = u16::try_from(message.len - length_at - 2).map_err(|_| Full)?;
            message.buffer.get_mut(length_at..length_at + 2).ok_or(Full)?.copy_from_slice(&length.to_be_bytes());
            Ok(())
        })
    }

    /// Writes an OPT record.
    pub fn edns(&mut self, edns: Edns) -> Result<(), Full> {
        self.whole(Place::Additional as usize, |message| message.put(&edns.to_bytes()))
    }

    /// This place, to return to.
    pub fn mark(&self) -> Mark {
        Mark { len: self.len, counts: self.header.counts, remembered: self.remembered }
    }

    /// Undoes everything written since `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        self.len = mark.len;
        self.header.counts = mark.counts;
        self.remembered = mark.remembered;
    }

    /// The octets written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing but the header was written.
    pub fn is_empty(&self) -> bool {
        self.len == Header::LEN
    }

    /// Writes the header in front and returns the message's length.
    pub fn finish(self) -> usize {
        if let Some(front) = self.buffer.first_chunk_mut() {
            *front = self.header.to_bytes();
        }
        self.len
    }

    /// Carries out `write`, counting one more entry of the section; undoes it where it does not fit.
    fn whole(&mut self, section: usize, write: impl FnOnce(&mut Self) -> Result<(), Full>) -> Result<(), Full> {
        let mark = self.mark();
        let counted = match self.header.counts.get_mut(section) {
            Some(count) => count.checked_add(1).map(|more| *count = more).ok_or(Full),
            None => Err(Full),
        };
        let written = counted.and_then(|()| write(self));
        if written.is_err() {
            self.rewind(mark);
        }
        written
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), Full> {
        let end = self.len + octets.len();
        if end > self.limit {
            return Err(Full);
        }
        self.buffer.get_mut(self.len..end).ok_or(Full)?.copy_from_slice(octets);
        self.len = end;
        Ok(())
    }

    fn name(&mut self, name: &Name, case: Case) -> Result<(), Full> {
        self.name_bytes(name.as_bytes(), case)
    }

    /// Writes the labels of `name` up to the longest tail that already stands in the message, then a
    /// pointer to it (RFC 1035 section 4.1.4).
    fn name_bytes(&mut self, name: &[u8], case: Case) -> Result<(), Full> {
        let mut rest = name;
        while let Some((&length, _)) = rest.split_first().filter(|(length, _)| **length != 0) {
            if let Some(target) = self.find(rest, case) {
                return self.put(&(0xC000 | target).to_be_bytes());
            }
            let (label, tail) = rest.split_at_checked(usize::from(length) + 1).ok_or(Full)?;
            self.remember();
            self.put(label)?;
            rest = tail;
        }
        self.put(&[0])
    }

    /// Remembers the place where the next label goes; a pointer reaches the first 2^14 octets.
    fn remember(&mut self) {
        let place = u16::try_from(self.len).ok().filter(|at| *at < 0x4000);
        if let (Some(at), Some(slot)) = (place, self.names.get_mut(self.remembered)) {
            *slot = at;
            self.remembered += 1;
        }
    }

    fn find(&self, name: &[u8], case: Case) -> Option<u16> {
        self.names.iter().take(self.remembered).copied().find(|&at| self.stands_at(usize::from(at), name, case))
    }

    /// Whether the name that starts at `at` in the message is `name`.
    fn stands_at(&self, mut at: usize, mut name: &[u8], case: Case) -> bool {
        // Each turn takes a label off `name` or follows a pointer, which only leads backwards.
        loop {
            // Past `len` lie the octets of earlier messages.
            let written = self.buffer.get(at).filter(|_| at < self.len);
            let (Some(&length), Some(&wanted)) = (written, name.first()) else { return false };
            if length & 0xC0 == 0xC0 {
                let Some(&low) = self.buffer.get(at + 1) else { return false };
                at = usize::from(length & 0x3F) << 8 | usize::from(low);
                continue;
            }
            if length != wanted {
                return false;
            }
            if length == 0 {
                return true;
            }
            let size = usize::from(length) + 1;
            let written = self.buffer.get(at..at + size).filter(|_| at + size <= self.len);
            let (Some(written), Some((label, tail))) = (written, name.split_at_checked(size)) else { return false };
            let same = match case {
                Case::Ignored => written.eq_ignore_ascii_case(label),
                Case::Kept => written == label,
            };
            if !same {
                return false;
            }
            at += size;
            name = tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn names_are_compressed_and_the_question_keeps_its_case() {
        let mut buffer = [0; 512];
        let mut composer = Composer::new(&mut buffer, 512, 7, Flags::QR).unwrap();
        let question = Question { name: name("WWW.Example.com"), rtype: Rtype::A, class: Class::IN };
        composer.question(&question).unwrap();
        let ttl = Ttl::new(60);
        composer.record(Place::Answer, &name("www.example.com"), Rtype::A, Class::IN, ttl, &[192, 0, 2, 1]).unwrap();
        let target = name("ns.example.com");
        composer.record(Place::Authority, &name("example.com"), Rtype::NS, Class::IN, ttl, target.as_bytes()).unwrap();
        let len = composer.finish();
        let message = Message::parse(&buffer[..len]).unwrap();
        assert!(message.question.unwrap().name.same_case(&question.name));
        assert_eq!(message.header.counts, [1, 1, 1, 0]);
        // The answer's owner is a pointer to the question; `ns.example.com` differs in case from it, so only
        // its last label, alike in both, is one.
        assert_eq!(&buffer[33..35], b"\xc0\x0c");
        assert!(buffer[..len].ends_with(b"\x02ns\x07example\xc0\x18"));
    }

    #[test]
    fn a_name_is_never_matched_against_octets_behind_the_message() {
        let mut buffer = [0; 64];
        let mut composer = Composer::new(&mut buffer, 64, 7, Flags::QR).unwrap();
        let question = Question { name: name("a.a"), rtype: Rtype::A, class: Class::IN };
        composer.question(&question).unwrap();
        let len = composer.finish();
        assert_eq!(Message::parse(&buffer[..len]).unwrap().question.unwrap().name, name("a.a"));
    }

    #[test]
    fn what_does_not_fit_leaves_the_message_as_it_was() {
        let mut buffer = [0; 64];
        let mut composer = Composer::new(&mut buffer, 40, 7, Flags::QR).unwrap();
        let question = Question { name: name("a"), rtype: Rtype::TXT, class: Class::IN };
        composer.question(&question).unwrap();
        assert_eq!(
            composer.record(Place::Answer, &name("a"), Rtype::TXT, Class::IN, Ttl::new(1), &[30; 31]),
            Err(Full)
        );
        let len = composer.finish();
        assert_eq!(len, 12 + 3 + 4);
        assert_eq!(Message::parse(&buffer[..len]).unwrap().header.counts, [1, 0, 0, 0]);
    }

    #[test]
    fn a_reserve_is_kept_for_what_comes_last() {
        let mut buffer = [0; 23];
        let mut composer = Composer::new(&mut buffer, 23, 7, Flags::QR).unwrap();
        composer.reserve(Edns::LEN);
        let edns = Edns { udp_size: 1232, version: 0, extended_rcode: 0, dnssec_ok: false };
        assert_eq!(composer.edns(edns), Err(Full));
        composer.release(Edns::LEN);
        assert_eq!(composer.edns(edns), Ok(()));
        assert_eq!(composer.finish(), 23);
    }
}
