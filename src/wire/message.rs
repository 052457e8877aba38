//! Messages as read: the question, the records, and the two records that belong to the message itself, OPT
//! (RFC 6891) and TSIG (RFC 8945).

use super::{Class, Header, Name, NameError, NameRef, Rtype};

/// A message whose every record has been walked once: counts, names and lengths hold.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The octets.
    pub bytes: &'a [u8],
    /// The header.
    pub header: Header,
    /// The first question (in an update: the zone), if there is one. No name stands before its name, so that one is
    /// not compressed.
    pub question: Option<Question<NameRef<'a>>>,
    /// EDNS, if the message has an OPT record.
    pub edns: Option<Edns>,
    /// Where the TSIG record starts, if the message ends with one.
    pub tsig_at: Option<usize>,
    /// Where the records start.
    records_at: usize,
}

/// One entry of the question section (RFC 1035 section 4.1.2), with its name or where its name lies.
#[derive(Debug, Clone, Copy)]
pub struct Question<N = Name> {
    /// The name asked for, in the case it was asked.
    pub name: N,
    /// The type asked for.
    pub rtype: Rtype,
    /// The class asked for.
    pub class: Class,
}

/// What an OPT record says (RFC 6891 section 6.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP message its sender can take, in octets.
    pub udp_size: u16,
    /// The version; 0 is the one there is.
    pub version: u8,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// Whether DNSSEC records are wanted (RFC 3225).
    pub dnssec_ok: bool,
}

/// A record as it stands in a message, its data unread.
#[derive(Debug, Clone, Copy)]
pub struct RawRecord {
    /// The owner.
    pub owner: Name,
    /// The type.
    pub rtype: Rtype,
    /// The class.
    pub class: Class,
    /// The 32 bits of the TTL field.
    pub ttl: u32,
    /// Where the record starts in the message.
    pub start: usize,
    /// Where its data starts in the message.
    pub rdata_at: usize,
    /// How long its data is.
    pub rdata_len: usize,
}

/// A section of records, by its RFC 1035 name; an update calls them prerequisite, update, additional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Answer; prerequisite in an update.
    Answer,
    /// Authority; update in an update.
    Authority,
    /// Additional.
    Additional,
}

/// Why octets are not a message. Each is answered FORMERR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its counts and lengths say.
    Short,
    /// A name that is none.
    Name(NameError),
    /// Octets after the last record.
    Trailing,
    /// OPT twice, outside the additional section, not at the root (RFC 6891 section 6.1.1), or with data that is no row of
    /// options (section 6.1.2).
    Opt,
    /// TSIG twice, or not the last record of the additional section (RFC 8945 section 5.1).
    Tsig,
}

impl<'a> Message<'a> {
    /// Walks the message. Nothing is allocated.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let header = Header::read(bytes).ok_or(Malformed::Short)?;
        let [questions, answers, authorities, additionals] = header.counts;
        let mut at = Header::LEN;
        let mut question = None;
        if questions > 0 {
            let (entry, end) = Question::read(bytes, at)?;
            question = Some(entry);
            at = end;
        }
        for _ in 1..questions {
            let (_, end) = Name::skip(bytes, at).map_err(Malformed::Name)?;
            let _: [u8; 4] = chunk(bytes, end)?;
            at = end + 4;
        }
        let mut message = Message { bytes, header, question, edns: None, tsig_at: None, records_at: at };
        let before = u32::from(answers) + u32::from(authorities);
        let total = before + u32::from(additionals);
        for index in 0..total {
            let (owner_len, owner_end) = Name::skip(bytes, at).map_err(Malformed::Name)?;
            let (fields, end) = Fields::read(bytes, owner_end)?;
            match fields.rtype {
                Rtype::OPT => {
                    // The root is one octet long.
                    let options = bytes.get(fields.rdata_at..end).unwrap_or_default();
                    if index < before || message.edns.is_some() || owner_len != 1 || !are_options(options) {
                        return Err(Malformed::Opt);
                    }
                    message.edns = Some(Edns::read(&fields));
                }
                Rtype::TSIG => {
                    if index < before || index + 1 != total {
                        return Err(Malformed::Tsig);
                    }
                    message.tsig_at = Some(at);
                }
                _ => {}
            }
            at = end;
        }
        if at != bytes.len() {
            return Err(Malformed::Trailing);
        }
        Ok(message)
    }

    /// Whether it is of a version of EDNS that we do not know, to be answered BADVERS (RFC 6891 section 6.1.3).
    pub fn is_of_unknown_edns(&self) -> bool {
        self.edns.is_some_and(|edns| edns.version != 0)
    }

    /// The records of one section in order, OPT and TSIG among them.
    pub fn section(&self, section: Section) -> impl Iterator<Item = RawRecord> + use<'a> {
        let [_, answers, authorities, additionals] = self.header.counts.map(usize::from);
        let (skip, take) = match section {
            Section::Answer => (0, answers),
            Section::Authority => (answers, authorities),
            Section::Additional => (answers + authorities, additionals),
        };
        let bytes = self.bytes;
        let mut at = self.records_at;
        let records = std::iter::from_fn(move || {
            let (record, end) = RawRecord::read(bytes, at).ok()?;
            at = end;
            Some(record)
        });
        records.skip(skip).take(take)
    }
}

impl<'a> Question<NameRef<'a>> {
    /// Reads the entry at `at`, whose name is not compressed; returns it with the offset after it.
    fn read(bytes: &'a [u8], at: usize) -> Result<(Question<NameRef<'a>>, usize), Malformed> {
        let (name, at) = NameRef::read(bytes, at).map_err(Malformed::Name)?;
        let [type_high, type_low, class_high, class_low] = chunk(bytes, at)?;
        let question = Question {
            name,
            rtype: Rtype(u16::from_be_bytes([type_high, type_low])),
            class: Class(u16::from_be_bytes([class_high, class_low])),
        };
        Ok((question, at + 4))
    }
}

impl<'n> From<&'n Question> for Question<NameRef<'n>> {
    fn from(question: &'n Question) -> Question<NameRef<'n>> {
        Question { name: question.name.as_name_ref(), rtype: question.rtype, class: question.class }
    }
}

impl<'n> From<&Question<NameRef<'n>>> for Question<NameRef<'n>> {
    fn from(question: &Question<NameRef<'n>>) -> Question<NameRef<'n>> {
        *question
    }
}

impl RawRecord {
    /// Reads the record at `start`; returns it with the offset after it.
    pub fn read(bytes: &[u8], start: usize) -> Result<(RawRecord, usize), Malformed> {
        let (owner, at) = Name::read(bytes, start).map_err(Malformed::Name)?;
        let (Fields { rtype, class, ttl, rdata_at, rdata_len }, end) = Fields::read(bytes, at)?;
        Ok((RawRecord { owner, rtype, class, ttl, start, rdata_at, rdata_len }, end))
    }
}

/// What follows the owner of a record.
struct Fields {
    rtype: Rtype,
    class: Class,
    ttl: u32,
    rdata_at: usize,
    rdata_len: usize,
}

impl Fields {
    /// Reads the fields at `at`; returns them with the offset after the data.
    fn read(bytes: &[u8], at: usize) -> Result<(Fields, usize), Malformed> {
        let [t0, t1, c0, c1, l0, l1, l2, l3, s0, s1] = chunk(bytes, at)?;
        let fields = Fields {
            rtype: Rtype(u16::from_be_bytes([t0, t1])),
            class: Class(u16::from_be_bytes([c0, c1])),
            ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            rdata_at: at + 10,
            rdata_len: usize::from(u16::from_be_bytes([s0, s1])),
        };
        let end = fields.rdata_at + fields.rdata_len;
        if end > bytes.len() {
            return Err(Malformed::Short);
        }
        Ok((fields, end))
    }
}

impl Edns {
    fn read(fields: &Fields) -> Edns {
        let [extended_rcode, version, flags, _] = fields.ttl.to_be_bytes();
        Edns { udp_size: fields.class.0, version, extended_rcode, dnssec_ok: flags & 0x80 != 0 }
    }

    /// What a reply to a request with this says of us, who take UDP messages of so many octets.
    pub fn reply(self, udp_size: u16) -> Edns {
        // RFC 3225 section 3: the bit is copied.
        Edns { udp_size, version: 0, extended_rcode: 0, dnssec_ok: self.dnssec_ok }
    }

    /// The OPT record, without options (RFC 6891 section 6.1.2).
    pub fn to_bytes(self) -> [u8; Edns::LEN] {
        let [size_high, size_low] = self.udp_size.to_be_bytes();
        let flags = if self.dnssec_ok { 0x80 } else { 0 };
        [0, 0, 41, size_high, size_low, self.extended_rcode, self.version, flags, 0, 0, 0]
    }

    /// The length of an OPT record without options.
    pub const LEN: usize = 11;
}

/// Whether octets are options, each a code, a length and so many octets (RFC 6891 section 6.1.2).
fn are_options(mut octets: &[u8]) -> bool {
    while let [_, _, high, low, rest @ ..] = octets {
        let Some(after) = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..) else { return false };
        octets = after;
    }
    octets.is_empty()
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(Malformed::Short)
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Short => f.write_str("the message is shorter than its counts and lengths say"),
            Malformed::Name(error) => write!(f, "{error}"),
            Malformed::Trailing => f.write_str("there are octets after the last record"),
            Malformed::Opt => f.write_str("an OPT record is broken, stands where it must not, or twice"),
            Malformed::Tsig => f.write_str("a TSIG record stands where it must not, or twice"),
        }
    }
}

impl std::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(counts: [u16; 4], body: &[u8]) -> Vec<u8> {
        let header = Header { id: 7, flags: Default::default(), counts };
        [&header.to_bytes()[..], body].concat()
    }

    const QUESTION: &[u8] = b"\x01a\0\0\x01\0\x01";
    const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
    const TSIG: &[u8] = b"\x01k\0\0\xfa\0\xff\0\0\0\0\0\0";
    const RECORD: &[u8] = b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04";

    #[test]
    fn sections_are_walked_in_order() {
        let bytes = message([1, 1, 1, 3], &[QUESTION, RECORD, RECORD, RECORD, OPT, TSIG].concat());
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.question.unwrap().name, Name::parse("a").unwrap());
        assert_eq!(message.edns.unwrap(), Edns { udp_size: 1232, version: 0, extended_rcode: 0, dnssec_ok: true });
        assert_eq!(message.edns.unwrap().to_bytes(), OPT);
        assert_eq!(message.tsig_at, Some(bytes.len() - TSIG.len()));
        let answer: Vec<RawRecord> = message.section(Section::Answer).collect();
        assert_eq!((answer.len(), answer[0].ttl, answer[0].rdata_len), (1, 60, 4));
        assert_eq!(message.section(Section::Additional).count(), 3);
    }

    #[test]
    fn opt_and_tsig_stand_where_they_must() {
        let error = |counts, parts: &[&[u8]]| Message::parse(&message(counts, &parts.concat())).unwrap_err();
        assert_eq!(error([0, 0, 0, 2], &[OPT, OPT]), Malformed::Opt);
        assert_eq!(error([0, 1, 0, 0], &[OPT]), Malformed::Opt);
        assert_eq!(error([0, 0, 0, 1], &[b"\x01a\0\0\x29\x04\xd0\0\0\0\0\0\0"]), Malformed::Opt);
        // Data that ends in an option's length, or before its end.
        assert_eq!(error([0, 0, 0, 1], &[b"\0\0\x29\x04\xd0\0\0\0\0\0\x03\0\x0a\0"]), Malformed::Opt);
        assert_eq!(error([0, 0, 0, 1], &[b"\0\0\x29\x04\xd0\0\0\0\0\0\x05\0\x0a\0\x02a"]), Malformed::Opt);
        assert!(Message::parse(&message([0, 0, 0, 1], b"\0\0\x29\x04\xd0\0\0\0\0\0\x05\0\x0a\0\x01a")).is_ok());
        assert_eq!(error([0, 0, 0, 2], &[TSIG, OPT]), Malformed::Tsig);
        assert_eq!(error([0, 0, 0, 2], &[TSIG, TSIG]), Malformed::Tsig);
        assert_eq!(error([0, 1, 0, 0], &[TSIG]), Malformed::Tsig);
        assert_eq!(error([0, 0, 0, 0], &[b"x"]), Malformed::Trailing);
        assert_eq!(error([1, 0, 0, 0], &[]), Malformed::Name(NameError::Short));
        assert_eq!(error([1, 1, 0, 0], &[QUESTION, &RECORD[..15]]), Malformed::Short);
    }
}
