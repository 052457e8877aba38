//! A question, and a reply taken apart so that two servers' can be compared.

use dyndns::query::{Peer, Transport, Verdict, View, respond};
use dyndns::wire::{Class, Composer, Edns, Flags, Message, Name, Question, RawRecord, Rtype, Section, rdata};
use dyndns::zone::text::rdata_to_text;
use std::collections::BTreeSet;

/// A question, as it is sent to both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: Name,
    pub(crate) rtype: Rtype,
    pub(crate) transport: Transport,
    /// The UDP size that EDNS offers.
    pub(crate) edns: Option<u16>,
}

/// A reply; its records as text in lower case, `owner TTL type data`, without OPT and TSIG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) rcode: String,
    pub(crate) aa: bool,
    pub(crate) tc: bool,
    pub(crate) answer: BTreeSet<String>,
    pub(crate) authority: BTreeSet<String>,
    pub(crate) additional: BTreeSet<String>,
}

impl Asked {
    pub(crate) fn new(name: &str, rtype: &str, transport: Transport, edns: Option<u16>) -> Asked {
        Asked { name: Name::parse(name).unwrap(), rtype: rtype.parse().unwrap(), transport, edns }
    }

    pub(crate) fn message(&self) -> Vec<u8> {
        let mut buffer = [0; 600];
        let mut composer = Composer::new(&mut buffer, 600, 77, Flags(0)).unwrap();
        composer.question(&Question { name: self.name, rtype: self.rtype, class: Class::IN }).unwrap();
        if let Some(udp_size) = self.edns {
            composer.edns(Edns { udp_size, version: 0, extended_rcode: 0, dnssec_ok: false }).unwrap();
        }
        let len = composer.finish();
        buffer[..len].to_vec()
    }

    /// What we answer.
    pub(crate) fn ours(&self, view: &View) -> Reply {
        let mut buffer = vec![0; 65_535];
        let peer = Peer { address: "127.0.0.1:5353".parse().unwrap(), transport: self.transport };
        match respond(view, peer, 1_800_000_000, &self.message(), &mut buffer) {
            Verdict::Reply(len, _) => Reply::read(&buffer[..len]),
            verdict => panic!("{verdict:?} for {self}"),
        }
    }
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#} {} over {:?}, EDNS {:?}", self.name, self.rtype, self.transport, self.edns)
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (aa, tc) = (if self.aa { " aa" } else { "" }, if self.tc { " tc" } else { "" });
        write!(f, "{}{aa}{tc} {:?} {:?} {:?}", self.rcode, self.answer, self.authority, self.additional)
    }
}

impl Reply {
    /// In which parts two replies differ.
    pub(crate) fn kind_of_difference(&self, other: &Reply) -> String {
        let sets = [
            ("answer", &self.answer, &other.answer),
            ("authority", &self.authority, &other.authority),
            ("additional", &self.additional, &other.additional),
        ];
        let mut kind = format!("{} {} {} {} {} {}", self.rcode, other.rcode, self.aa, other.aa, self.tc, other.tc);
        for (name, ours, theirs) in sets {
            for (sign, left) in [('+', ours.difference(theirs).next()), ('-', theirs.difference(ours).next())] {
                if left.is_some() {
                    kind += &format!(" {name}{sign}");
                }
            }
        }
        kind
    }

    pub(crate) fn read(bytes: &[u8]) -> Reply {
        let message = Message::parse(bytes).unwrap();
        let flags = message.header.flags;
        Reply {
            rcode: flags.rcode().to_string(),
            aa: flags.has(Flags::AA),
            tc: flags.has(Flags::TC),
            answer: section(&message, Section::Answer),
            authority: section(&message, Section::Authority),
            additional: section(&message, Section::Additional),
        }
    }
}

pub(crate) fn section(message: &Message<'_>, section: Section) -> BTreeSet<String> {
    let records = message.section(section).filter(|record| !matches!(record.rtype, Rtype::OPT | Rtype::TSIG));
    records.map(|record| record_text(message.bytes, &record)).collect()
}

/// TXT and the like keep their case, all else is told in lower case.
pub(crate) fn record_text(bytes: &[u8], record: &RawRecord) -> String {
    let data = rdata::read(bytes, record.rdata_at, record.rdata_len, record.rtype).unwrap();
    let data = rdata::canonical(record.rtype, &data);
    let owner = record.owner.to_lowercase();
    format!("{owner:#} {} {} {}", record.ttl, record.rtype, rdata_to_text(record.rtype, &data))
}
