//! The twelve octets every message starts with (RFC 1035 section 4.1.1, RFC 2136 section 2.2).

use std::fmt;

/// A message's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The number that ties an answer to its question.
    pub id: u16,
    /// The second pair of octets.
    pub flags: Flags,
    /// Entries of the question, answer, authority and additional sections (in an update: zone,
    /// prerequisite, update and additional).
    pub counts: [u16; 4],
}

/// The flags, the opcode and the low four bits of the response code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

/// What kind of request a message is (RFC 6895 section 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode(pub u8);

/// A response code, with the upper bits that EDNS and TSIG add (RFC 6895 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

impl Header {
    /// The length in octets.
    pub const LEN: usize = 12;

    /// Reads the header; `None` where the message is shorter than one.
    pub fn read(message: &[u8]) -> Option<Header> {
        let [i0, i1, f0, f1, q0, q1, n0, n1, u0, u1, a0, a1] = *message.first_chunk()?;
        let word = |high, low| u16::from_be_bytes([high, low]);
        let counts = [word(q0, q1), word(n0, n1), word(u0, u1), word(a0, a1)];
        Some(Header { id: word(i0, i1), flags: Flags(word(f0, f1)), counts })
    }

    /// The twelve octets.
    pub fn to_bytes(self) -> [u8; Header::LEN] {
        let [i0, i1] = self.id.to_be_bytes();
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [[q0, q1], [n0, n1], [u0, u1], [a0, a1]] = self.counts.map(u16::to_be_bytes);
        [i0, i1, f0, f1, q0, q1, n0, n1, u0, u1, a0, a1]
    }
}

impl Flags {
    /// Response.
    pub const QR: Flags = Flags(0x8000);
    /// Authoritative answer.
    pub const AA: Flags = Flags(0x0400);
    /// Truncated.
    pub const TC: Flags = Flags(0x0200);
    /// Recursion desired.
    pub const RD: Flags = Flags(0x0100);
    /// Recursion available.
    pub const RA: Flags = Flags(0x0080);
    /// Authentic data (RFC 4035).
    pub const AD: Flags = Flags(0x0020);
    /// Checking disabled (RFC 4035).
    pub const CD: Flags = Flags(0x0010);

    /// Whether every bit of `other` is set.
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other`.
    pub fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The opcode.
    pub fn opcode(self) -> Opcode {
        Opcode((self.0 >> 11 & 0x0F).to_be_bytes()[1])
    }

    /// The low four bits of the response code.
    pub fn rcode(self) -> Rcode {
        Rcode(self.0 & 0x0F)
    }

    /// The flags of a reply to a request with these: QR set, opcode and RD copied (RFC 1035 section
    /// 4.1.1), all else clear.
    pub fn reply(self, rcode: Rcode) -> Flags {
        Flags(Flags::QR.0 | self.0 & (0x7800 | Flags::RD.0) | rcode.0 & 0x0F)
    }
}

impl Opcode {
    /// A query.
    pub const QUERY: Opcode = Opcode(0);
    /// "The zone has changed" (RFC 1996).
    pub const NOTIFY: Opcode = Opcode(4);
    /// An update (RFC 2136).
    pub const UPDATE: Opcode = Opcode(5);
}

impl Rcode {
    /// No error.
    pub const NOERROR: Rcode = Rcode(0);
    /// The message cannot be read.
    pub const FORMERR: Rcode = Rcode(1);
    /// The server has failed.
    pub const SERVFAIL: Rcode = Rcode(2);
    /// The name does not exist.
    pub const NXDOMAIN: Rcode = Rcode(3);
    /// The server does not do this.
    pub const NOTIMP: Rcode = Rcode(4);
    /// The server does not do this for the one who asks.
    pub const REFUSED: Rcode = Rcode(5);
    /// A name exists that should not (RFC 2136 section 2.2).
    pub const YXDOMAIN: Rcode = Rcode(6);
    /// An RRset exists that should not.
    pub const YXRRSET: Rcode = Rcode(7);
    /// An RRset does not exist that should.
    pub const NXRRSET: Rcode = Rcode(8);
    /// Not authoritative for the zone; also the answer to a bad TSIG (RFC 8945 section 5.2).
    pub const NOTAUTH: Rcode = Rcode(9);
    /// A name is not within the zone.
    pub const NOTZONE: Rcode = Rcode(10);
    /// The EDNS version is not known (RFC 6891 section 9).
    pub const BADVERS: Rcode = Rcode(16);
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Rcode::NOERROR => "NOERROR",
            Rcode::FORMERR => "FORMERR",
            Rcode::SERVFAIL => "SERVFAIL",
            Rcode::NXDOMAIN => "NXDOMAIN",
            Rcode::NOTIMP => "NOTIMP",
            Rcode::REFUSED => "REFUSED",
            Rcode::YXDOMAIN => "YXDOMAIN",
            Rcode::YXRRSET => "YXRRSET",
            Rcode::NXRRSET => "NXRRSET",
            Rcode::NOTAUTH => "NOTAUTH",
            Rcode::NOTZONE => "NOTZONE",
            Rcode::BADVERS => "BADVERS",
            Rcode(number) => return write!(f, "RCODE{number}"),
        };
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_come_back() {
        let bytes = [0x12, 0x34, 0x29, 0x05, 0, 1, 0, 2, 0, 3, 0, 4];
        let header = Header::read(&bytes).unwrap();
        assert_eq!((header.id, header.counts), (0x1234, [1, 2, 3, 4]));
        assert_eq!(header.flags.opcode(), Opcode::UPDATE);
        assert!(header.flags.has(Flags::RD) && !header.flags.has(Flags::QR));
        assert_eq!(header.flags.rcode(), Rcode::REFUSED);
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.flags.reply(Rcode::NOTAUTH), Flags(0xA909));
        assert_eq!(Header::read(&bytes[..11]), None);
    }
}
