//! The questions: addresses of hosts that are there, of both kinds, and of one name in ten that is not.

use super::Setup;
use dyndns::wire::Name;

/// Room for the longest question that is written here.
pub(crate) const LONGEST: usize = 512;

/// Makes questions, at random but the same in every run.
pub(crate) struct Questions {
    zone: Vec<u8>,
    hosts: u32,
    edns: bool,
    random: Random,
}

/// What has to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Expected {
    /// Records.
    #[default]
    Found,
    /// NXDOMAIN.
    NotFound,
    /// The octets that were sent.
    Echo,
}

/// Marsaglia's xorshift; the quality that load needs, for next to no time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        Random(0x9E37_79B9_7F4A_7C15)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (((self.0 >> 32) * u64::from(bound)) >> 32) as u32
    }
}

impl Questions {
    pub(crate) fn new(setup: &Setup) -> Questions {
        let zone = Name::parse(&setup.zone).expect("--zone NAME").as_bytes().to_vec();
        Questions { zone, hosts: setup.hosts, edns: setup.edns, random: Random::new() }
    }

    /// Writes the next question; returns its length and what has to come back.
    pub(crate) fn next(&mut self, id: u16, message: &mut [u8]) -> (usize, Expected) {
        let host = self.random.below(self.hosts);
        match self.random.below(20) {
            0 | 1 => (self.write(id, b"none-", host, 1, message), Expected::NotFound),
            number => (self.write(id, b"host-", host, if number < 11 { 1 } else { 28 }, message), Expected::Found),
        }
    }

    /// Writes the question for the IPv4 address of a host.
    pub(crate) fn host(&mut self, host: u32, id: u16, message: &mut [u8]) -> (usize, Expected) {
        (self.write(id, b"host-", host, 1, message), Expected::Found)
    }

    fn write(&self, id: u16, word: &[u8; 5], host: u32, rtype: u8, message: &mut [u8]) -> usize {
        let [high, low] = id.to_be_bytes();
        message[..12].copy_from_slice(&[high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)]);
        let mut at = 12 + label(word, host, &mut message[12..]);
        message[at..at + self.zone.len()].copy_from_slice(&self.zone);
        at += self.zone.len();
        message[at..at + 4].copy_from_slice(&[0, rtype, 0, 1]);
        at += 4;
        if self.edns {
            message[at..at + 11].copy_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
            at += 11;
        }
        at
    }
}

/// Writes `WORD` and a number as one label; returns its length with its length octet.
pub(crate) fn label(word: &[u8; 5], host: u32, to: &mut [u8]) -> usize {
    to[1..6].copy_from_slice(word);
    let digits = host.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = host;
    for place in to[6..6 + digits].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    to[0] = (5 + digits) as u8;
    6 + digits
}

/// Whether the message answers as it has to. Its number has been looked at.
pub(crate) fn is_answer(message: &[u8], expected: Expected) -> bool {
    let Some(header) = message.first_chunk::<12>() else { return false };
    let answers = u16::from_be_bytes([header[6], header[7]]);
    match (header[2] & 0x80 != 0, header[3] & 0x0F) {
        (true, 0) => expected == Expected::Found && answers > 0,
        (true, 3) => expected == Expected::NotFound,
        (true, _) => false,
        (false, _) => expected == Expected::Echo,
    }
}
