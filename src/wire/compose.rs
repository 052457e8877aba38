//! Messages as written: into a caller's buffer, names compressed, nothing allocated.

use super::rdata::{self, Part};
use super::{Class, Edns, Flags, Header, Name, NameRef, Question, Rtype, Ttl};

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
    /// The names that later ones may point to, oldest first.
    names: [Written; REMEMBERED],
    remembered: usize,
}

/// A name that stands in the message.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    at: u16,
    /// How many octets it has without compression: names of other lengths need not be compared with it.
    len: u16,
}

/// How many places of the message a name is compared with. Bounds the time a long answer takes.
const REMEMBERED: usize = 32;

/// The two bits before the place that a pointer leads to (RFC 1035 section 4.1.4).
const POINTER: u16 = 0xC000;

/// Where the question's name stands, just after the header.
const QUESTION: u16 = 12;

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

/// The owner of records to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'n> {
    /// The name of the question, which must have been written, from so many octets on: the owner of most answers, or
    /// a name above it. It is not compared again with what stands there.
    Asked(u8),
    /// Any name.
    Name(NameRef<'n>),
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
        Ok(Composer { buffer, len: Header::LEN, limit, header, names: [Written::default(); REMEMBERED], remembered: 0 })
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
    pub fn question<'n>(&mut self, question: impl Into<Question<NameRef<'n>>>) -> Result<(), Full> {
        let question = question.into();
        self.whole(0, |message| {
            message.name(question.name.as_bytes(), Case::Kept)?;
            message.put(&question.rtype.0.to_be_bytes())?;
            message.put(&question.class.0.to_be_bytes())?;
            Ok(1)
        })
    }

    /// Writes one record; `rdata` is in wire form with its names uncompressed.
    pub fn record<'n>(
        &mut self,
        place: Place,
        owner: impl Into<Owner<'n>>,
        rtype: Rtype,
        class: Class,
        ttl: Ttl,
        rdata: &[u8],
    ) -> Result<(), Full> {
        self.records(place, owner, rtype, class, ttl, std::iter::once(rdata))
    }

    /// Writes the records of an RRset, all or none of them (RFC 2181 section 5.1).
    pub fn records<'n, 'r>(
        &mut self,
        place: Place,
        owner: impl Into<Owner<'n>>,
        rtype: Rtype,
        class: Class,
        ttl: Ttl,
        rdatas: impl Iterator<Item = &'r [u8]>,
    ) -> Result<(), Full> {
        let owner = owner.into();
        let fixed = {
            let ([y0, y1], [c0, c1], [t0, t1, t2, t3]) =
                (rtype.0.to_be_bytes(), class.0.to_be_bytes(), ttl.seconds().to_be_bytes());
            [y0, y1, c0, c1, t0, t1, t2, t3]
        };
        let compress = rdata::has_compressed_names(rtype);
        self.whole(place as usize, |message| {
            let mut count = 0;
            let mut owner_at = message.asked_at(owner);
            for rdata in rdatas {
                match (owner_at, owner) {
                    (Some(at), _) => message.put(&(POINTER | at).to_be_bytes())?,
                    // Once it stands there, the records that follow need not look for it.
                    (None, Owner::Name(name)) => owner_at = message.name(name.as_bytes(), Case::Ignored)?,
                    (None, Owner::Asked(_)) => message.put(&[0])?,
                }
                message.put(&fixed)?;
                if compress {
                    message.compressed(rtype, rdata)?;
                } else {
                    message.put(&u16::try_from(rdata.len()).map_err(|_| Full)?.to_be_bytes())?;
                    message.put(rdata)?;
                }
                count = u16::checked_add(count, 1).ok_or(Full)?;
            }
            Ok(count)
        })
    }

    /// Writes an OPT record.
    pub fn edns(&mut self, edns: Edns) -> Result<(), Full> {
        self.whole(Place::Additional as usize, |message| message.put(&edns.to_bytes()).map(|()| 1))
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

    /// Carries out `write`, which says how many entries it wrote to the section; undoes it where they do not fit.
    fn whole(&mut self, section: usize, write: impl FnOnce(&mut Self) -> Result<u16, Full>) -> Result<(), Full> {
        let mark = self.mark();
        let counted = write(self).and_then(|written| {
            let count = self.header.counts.get_mut(section).ok_or(Full)?;
            *count = count.checked_add(written).ok_or(Full)?;
            Ok(())
        });
        if counted.is_err() {
            self.rewind(mark);
        }
        counted
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

    /// Where a pointer to this owner leads, if that is known without a search. The root is shorter than a pointer.
    fn asked_at(&self, owner: Owner<'_>) -> Option<u16> {
        let Owner::Asked(skip) = owner else { return None };
        let at = QUESTION + u16::from(skip);
        self.buffer.get(usize::from(at)).filter(|length| **length != 0).map(|_| at)
    }

    /// Writes the labels of `name` up to the longest tail that already stands in the message, then a
    /// pointer to it (RFC 1035 section 4.1.4). Returns where the next one can point to for all of `name`.
    fn name(&mut self, name: &[u8], case: Case) -> Result<Option<u16>, Full> {
        let start = self.len;
        let mut rest = name;
        let mut known = None;
        let mut remembered = self.remembered;
        while let Some((&length, _)) = rest.split_first().filter(|(length, _)| **length != 0) {
            known = self.find(rest, case);
            if known.is_some() {
                break;
            }
            let place = reachable(start + name.len() - rest.len());
            if let (Some(at), Ok(len), Some(slot)) = (place, u16::try_from(rest.len()), self.names.get_mut(remembered))
            {
                *slot = Written { at, len };
                remembered += 1;
            }
            rest = rest.get(usize::from(length) + 1..).ok_or(Full)?;
        }
        let labels = name.get(..name.len() - rest.len()).ok_or(Full)?;
        self.put(labels)?;
        match known {
            Some(at) => self.put(&(POINTER | at).to_be_bytes())?,
            None => self.put(&[0])?,
        }
        self.remembered = remembered;
        Ok(if labels.is_empty() { known } else { reachable(start) })
    }

    /// Writes data that holds names which may be compressed, and its length before it.
    fn compressed(&mut self, rtype: Rtype, rdata: &[u8]) -> Result<(), Full> {
        let length_at = self.len;
        self.put(&[0, 0])?;
        for part in rdata::parts(rtype, rdata) {
            match part {
                Part::Name(name) => self.name(name, Case::Kept).map(|_| ())?,
                Part::Octets(octets) => self.put(octets)?,
            }
        }
        let length = u16::try_from(self.len - length_at - 2).map_err(|_| Full)?;
        self.buffer.get_mut(length_at..length_at + 2).ok_or(Full)?.copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn find(&self, name: &[u8], case: Case) -> Option<u16> {
        let mut names = self.names.iter().take(self.remembered);
        let same = |other: &&Written| {
            usize::from(other.len) == name.len() && self.stands_at(usize::from(other.at), name, case)
        };
        names.find(same).map(|other| other.at)
    }

    /// Whether the name that starts at `at` in the message is `name`.
    fn stands_at(&self, mut at: usize, mut name: &[u8], case: Case) -> bool {
        let end = at + name.len();
        // Nearly all stand there without a pointer: the octet of a pointer is no length of a label.
        if end <= self.len && self.buffer.get(at..end) == Some(name) {
            return true;
        }
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

impl<'n> From<&'n Name> for Owner<'n> {
    fn from(name: &'n Name) -> Owner<'n> {
        Owner::Name(name.into())
    }
}

impl<'n> From<NameRef<'n>> for Owner<'n> {
    fn from(name: NameRef<'n>) -> Owner<'n> {
        Owner::Name(name)
    }
}

/// This place, if a pointer reaches it: the first 2^14 octets.
fn reachable(place: usize) -> Option<u16> {
    u16::try_from(place).ok().filter(|at| *at < 0x4000)
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
