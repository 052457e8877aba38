//! Queries and updates as octets, signed where a test wants them so.

use dyndns::clock::Clock;
use dyndns::tsig::{ResponseError, TsigKey, sign_request, verify_response};
use dyndns::wire::{Message, Name, Rtype, Section};

/// The classes of a record in an update (RFC 2136 section 2.4 and 2.5).
const IN: u16 = 1;
const NONE: u16 = 254;
const ANY: u16 = 255;

/// The rcodes that tests name.
pub(crate) const NOERROR: u8 = 0;
pub(crate) const FORMERR: u8 = 1;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const REFUSED: u8 = 5;
pub(crate) const NOTAUTH: u8 = 9;
pub(crate) const NOTZONE: u8 = 10;

/// A question without anything else; the RD bit is clear.
pub(crate) fn query(id: u16, name: &str, rtype: Rtype) -> Vec<u8> {
    let mut message = header(id, 0, [1, 0, 0, 0]);
    question(&mut message, name, rtype);
    message
}

/// An update that is being put together.
#[derive(Debug, Clone)]
pub(crate) struct Update {
    message: Vec<u8>,
}

impl Update {
    /// Of this zone.
    pub(crate) fn new(id: u16, zone: &str) -> Update {
        let mut message = header(id, 5 << 11, [1, 0, 0, 0]);
        question(&mut message, zone, Rtype::SOA);
        Update { message }
    }

    /// Adds a record.
    pub(crate) fn add(self, owner: &str, ttl: u32, rtype: Rtype, rdata: &[u8]) -> Update {
        self.record(owner, rtype, IN, ttl, rdata)
    }

    /// Adds an A record.
    pub(crate) fn add_a(self, owner: &str, address: [u8; 4]) -> Update {
        self.add(owner, 60, Rtype::A, &address)
    }

    /// Adds a TXT record of one string.
    pub(crate) fn add_txt(self, owner: &str, text: &str) -> Update {
        let rdata = [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        self.add(owner, 60, Rtype::TXT, &rdata)
    }

    /// Deletes an RRset.
    pub(crate) fn delete(self, owner: &str, rtype: Rtype) -> Update {
        self.record(owner, rtype, ANY, 0, &[])
    }

    /// Deletes one record.
    pub(crate) fn delete_record(self, owner: &str, rtype: Rtype, rdata: &[u8]) -> Update {
        self.record(owner, rtype, NONE, 0, rdata)
    }

    fn record(mut self, owner: &str, rtype: Rtype, class: u16, ttl: u32, rdata: &[u8]) -> Update {
        let count = u16::from_be_bytes([self.message[8], self.message[9]]) + 1;
        self.message[8..10].copy_from_slice(&count.to_be_bytes());
        self.message.extend_from_slice(Name::parse(owner).unwrap().as_bytes());
        self.message.extend_from_slice(&rtype.0.to_be_bytes());
        self.message.extend_from_slice(&class.to_be_bytes());
        self.message.extend_from_slice(&ttl.to_be_bytes());
        self.message.extend_from_slice(&u16::try_from(rdata.len()).unwrap().to_be_bytes());
        self.message.extend_from_slice(rdata);
        self
    }

    /// As it stands.
    pub(crate) fn unsigned(self) -> Vec<u8> {
        self.message
    }

    /// Signed now.
    pub(crate) fn sign(self, key: &TsigKey) -> Signed {
        sign(self.message, key, 0)
    }
}

/// A signed request, and what its answer is verified with.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The request.
    pub(crate) message: Vec<u8>,
    mac: dyndns::tsig::Mac,
}

/// Signs a request as if now were `late` seconds from now.
pub(crate) fn sign(mut message: Vec<u8>, key: &TsigKey, late: i64) -> Signed {
    let length = message.len();
    message.resize(length + 1000, 0);
    let now = Clock::System.now().checked_add_signed(late).unwrap();
    let (length, mac) = sign_request(key, &mut message, length, now, 300).unwrap();
    message.truncate(length);
    Signed { message, mac }
}

impl Signed {
    /// What the answer's signature covers of the request.
    pub(crate) fn mac(&self) -> &dyndns::tsig::Mac {
        &self.mac
    }

    /// Verifies the answer; returns its rcode.
    pub(crate) fn verified(&self, key: &TsigKey, answer: &[u8]) -> Result<u8, ResponseError> {
        let tsig_at = Message::parse(answer).unwrap().tsig_at.ok_or(ResponseError::Unsigned)?;
        verify_response(key, &self.mac, answer, tsig_at, Clock::System.now())?;
        Ok(rcode(answer))
    }
}

/// The rcode in a message's header.
pub(crate) fn rcode(message: &[u8]) -> u8 {
    message[3] & 15
}

/// The number of a message.
pub(crate) fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// How many answer records a message says it has.
pub(crate) fn answers(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[6], message[7]])
}

/// The serial in an answer of one SOA record: the first of the last five numbers of its RDATA.
pub(crate) fn serial(answer: &[u8]) -> u32 {
    let soa = Message::parse(answer).unwrap().section(Section::Answer).next().expect("no SOA record");
    let at = soa.rdata_at + soa.rdata_len - 20;
    u32::from_be_bytes(answer[at..at + 4].try_into().unwrap())
}

fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [id, flags].iter().chain(&counts).flat_map(|number| number.to_be_bytes()).collect()
}

fn question(message: &mut Vec<u8>, name: &str, rtype: Rtype) {
    message.extend_from_slice(Name::parse(name).unwrap().as_bytes());
    message.extend_from_slice(&rtype.0.to_be_bytes());
    message.extend_from_slice(&IN.to_be_bytes());
}
