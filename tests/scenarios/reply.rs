//! Replies: read, and compared with what a scenario expects.
//!
//! `= RCODE FLAGS` must be there. Every record is written, as `answer OWNER TTL TYPE DATA`, `authority ...`,
//! `additional ...`, or counted, as `count answer N`; what is not expected must not come. Without further words the
//! question is echoed, OPT answers OPT, and a signed request is answered signed. `silence`: no answer.

use super::request::{Request, Signature, TsigRecord};
use super::script::{Line, Step};
use dyndns::clock::Clock;
use dyndns::tsig::{ResponseError, verify_response};
use dyndns::wire::{Class, Message, Name, Rcode, Rtype, Section, rdata};
use dyndns::zone::text::{rdata_from_text, rdata_to_text};
use std::fmt;

/// A record of a reply, or one that is expected. Owners compare without case, data octet by octet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) owner: Name,
    pub(crate) ttl: u32,
    pub(crate) class: Class,
    pub(crate) rtype: Rtype,
    pub(crate) data: Vec<u8>,
}

/// A reply as a scenario sees it.
#[derive(Debug)]
pub(crate) struct Reply<'b> {
    bytes: &'b [u8],
    message: Message<'b>,
    rcode: u16,
    /// Answer, authority and additional, without OPT and TSIG.
    pub(crate) sections: [Vec<Record>; 3],
}

const SECTIONS: [&str; 3] = ["answer", "authority", "additional"];

impl<'b> Reply<'b> {
    /// Reads it.
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Reply<'b>, String> {
        let message = Message::parse(bytes).map_err(|error| format!("the reply cannot be read: {error:?}"))?;
        let section = |section| {
            let records = message.section(section).filter(|raw| ![Rtype::OPT, Rtype::TSIG].contains(&raw.rtype));
            let records = records.map(|raw| {
                let data = rdata::read(bytes, raw.rdata_at, raw.rdata_len, raw.rtype);
                let data = data.map_err(|error| format!("{:#} {}: {error:?}", raw.owner, raw.rtype))?.into_vec();
                Ok(Record { owner: raw.owner, ttl: raw.ttl, class: raw.class, rtype: raw.rtype, data })
            });
            records.collect::<Result<Vec<_>, String>>()
        };
        let sections = [section(Section::Answer)?, section(Section::Authority)?, section(Section::Additional)?];
        let upper = message.edns.map_or(0, |edns| u16::from(edns.extended_rcode) << 4);
        let rcode = upper | message.header.flags.rcode().0;
        Ok(Reply { bytes, message, rcode, sections })
    }

    /// Has a foreign parser read it too.
    pub(crate) fn compare_with_foreign_parser(&self) -> Result<(), String> {
        let theirs = hickory_proto::op::Message::from_vec(self.bytes)
            .map_err(|error| format!("hickory-proto cannot read the reply: {error}"))?;
        let differ = |what: &str| Err(format!("hickory-proto reads another {what}: {theirs}"));
        if u16::from(theirs.metadata.response_code) != self.rcode {
            return differ("response code");
        }
        if theirs.signature.is_some() != self.message.tsig_at.is_some()
            || theirs.edns.is_some() != self.message.edns.is_some()
        {
            return differ("signature or EDNS");
        }
        let read = [&theirs.answers, &theirs.authorities, &theirs.additionals];
        for ((ours, theirs), name) in self.sections.iter().zip(read).zip(SECTIONS) {
            let same = |(ours, theirs): (&Record, &hickory_proto::rr::Record)| {
                Name::parse(&theirs.name.to_string()) == Ok(ours.owner)
                    && u16::from(theirs.record_type()) == ours.rtype.0
                    && theirs.ttl == ours.ttl
            };
            if ours.len() != theirs.len() || !ours.iter().zip(theirs.iter()).all(same) {
                return differ(name);
            }
        }
        Ok(())
    }

    /// Everything that differs from what is expected. `transfer` has its own rules for the answer section.
    pub(crate) fn differences(&self, request: &Request, step: &Step) -> Vec<String> {
        let mut wrong = Vec::new();
        if !step.expected.iter().any(|line| line.text == "unread by hickory") {
            wrong.extend(self.compare_with_foreign_parser().err());
        }
        let flags = self.message.header.flags.0;
        let asked = u16::from_be_bytes([request.bytes[2], request.bytes[3]]);
        if flags & 0x8000 == 0 || (flags ^ asked) & 0x7800 != 0 {
            wrong.push(format!("QR is clear or the opcode is another: flags {flags:04x}"));
        }
        let find = |word: &str| step.expected.iter().find(|line| line.words().next() == Some(word));
        match find("=") {
            Some(line) => {
                let wanted = line.text.split_whitespace().skip(1).collect::<Vec<_>>().join(" ");
                let mut got = Rcode(self.rcode).to_string();
                for (flag, bit) in [
                    ("aa", 0x0400),
                    ("tc", 0x0200),
                    ("rd", 0x0100),
                    ("ra", 0x0080),
                    ("z", 0x0040),
                    ("ad", 0x0020),
                    ("cd", 0x0010),
                ] {
                    if flags & bit != 0 {
                        got = got + " " + flag;
                    }
                }
                if wanted != got {
                    wrong.push(at(line, &wanted, &got));
                }
            }
            None => wrong.push("the step expects no response code; write `= RCODE FLAGS`".into()),
        }
        self.check_question(request, find("question"), &mut wrong);
        if step.action() != "transfer" || self.rcode != 0 {
            self.check_sections(step, &mut wrong);
        }
        self.check_edns(request, find("edns"), &mut wrong);
        self.check_tsig(request.signature.as_ref(), find("tsig"), &mut wrong);
        if let Some(line) = find("size") {
            let most: usize = line.words().last().and_then(|word| word.parse().ok()).unwrap_or(0);
            if self.bytes.len() > most {
                wrong.push(at(line, &format!("at most {most} octets"), &self.bytes.len().to_string()));
            }
        }
        wrong
    }

    /// The question is echoed octet for octet, unless `question none` says that it is left out.
    fn check_question(&self, request: &Request, line: Option<&Line>, wrong: &mut Vec<String>) {
        let count = u16::from_be_bytes([self.bytes[4], self.bytes[5]]);
        match line {
            Some(line) if count > 0 => wrong.push(at(line, "no question", &format!("{count} questions"))),
            Some(_) => {}
            None if count != 1 || !self.bytes[12..].starts_with(&request.question) => {
                wrong.push(format!("the question is not echoed: {count} of them"));
            }
            None => {}
        }
    }

    /// Each section holds exactly the expected records in any order, or as many as `count SECTION N` says.
    fn check_sections(&self, step: &Step, wrong: &mut Vec<String>) {
        for (name, got) in SECTIONS.iter().zip(&self.sections) {
            let count = step.expected.iter().find(|line| line.text.starts_with(&format!("count {name} ")));
            if let Some(line) = count {
                let wanted = line.words().last().unwrap_or_default();
                if wanted != got.len().to_string() {
                    wrong.push(at(line, &line.text, &got.len().to_string()));
                }
                continue;
            }
            wrong.extend(compare(name, &step.expected, got));
        }
    }

    /// OPT is there exactly if the request had it; `edns size=N version=N [do]` tells more, `edns none` otherwise.
    fn check_edns(&self, request: &Request, line: Option<&Line>, wrong: &mut Vec<String>) {
        let got = match self.message.edns {
            Some(edns) => {
                let dnssec_ok = if edns.dnssec_ok { " do" } else { "" };
                format!("edns size={} version={}{dnssec_ok}", edns.udp_size, edns.version)
            }
            None => "edns none".to_string(),
        };
        match line {
            Some(line) if line.text != got => wrong.push(at(line, &line.text, &got)),
            Some(_) => {}
            None if request.has_edns != self.message.edns.is_some() => wrong.push(format!("unexpected: {got}")),
            None => {}
        }
    }

    /// A signed request has a signed answer that verifies; `tsig ERROR signed|unsigned` and `tsig none` say otherwise.
    fn check_tsig(&self, signature: Option<&Signature>, line: Option<&Line>, wrong: &mut Vec<String>) {
        let got = self.tsig(signature).unwrap_or_else(|what| format!("tsig {what}"));
        let wanted = match (line, signature) {
            (Some(line), _) => line.text.as_str(),
            (None, Some(_)) => "tsig NOERROR signed",
            (None, None) => "tsig none",
        };
        if wanted != got {
            wrong.push(format!("expected {wanted}, got {got}"));
        }
    }

    fn tsig(&self, signature: Option<&Signature>) -> Result<String, String> {
        let Some(tsig_at) = self.message.tsig_at else { return Ok("tsig none".into()) };
        let record = TsigRecord::read(self.bytes, tsig_at).ok_or("that cannot be read")?;
        let Some(signature) = signature else { return Err("although the request has none".into()) };
        if record.original_id.to_be_bytes() != self.bytes[..2] {
            return Err("with another original ID than the reply's".into());
        }
        let now = Clock::System.now();
        let error = match record.error {
            0 => "NOERROR".to_string(),
            16 => "BADSIG".to_string(),
            17 => "BADKEY".to_string(),
            18 => "BADTIME".to_string(),
            22 => "BADTRUNC".to_string(),
            error => error.to_string(),
        };
        if record.mac.is_empty() {
            return Ok(format!("tsig {error} unsigned"));
        }
        // RFC 8945 section 5.2.3: BADTIME alone has other data, the server's time.
        if (record.error == 18) == record.other.is_empty() {
            return Err(format!("{error} with {} octets of other data", record.other.len()));
        }
        if record.error == 18 && (record.time, record.fudge) != (signature.time, signature.fudge) {
            return Err("BADTIME without the client's own time and fudge".into());
        }
        let verified = verify_response(&signature.key, &signature.mac, self.bytes, tsig_at, now);
        match (record.error, verified) {
            (0, Ok(())) | (22, Err(ResponseError::TruncationRefused)) => Ok(format!("tsig {error} signed")),
            (18, Err(ResponseError::TimeRefused { server: Some(time) })) if time.abs_diff(now) < 60 => {
                Ok(format!("tsig {error} signed"))
            }
            (_, verified) => Err(format!("{error} that does not verify: {verified:?}")),
        }
    }

    /// Whether the reply has a TSIG record, and where.
    pub(crate) fn tsig_at(&self) -> Option<usize> {
        self.message.tsig_at
    }
}

/// The differences between the expected records of a section and those that came.
pub(crate) fn compare(section: &str, expected: &[Line], got: &[Record]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut left: Vec<&Record> = got.iter().collect();
    for line in expected.iter().filter(|line| line.words().next() == Some(section)) {
        match Record::parse(&line.text) {
            Err(what) => wrong.push(at(line, &line.text, &what)),
            Ok(record) => match left.iter().position(|other| **other == record) {
                Some(index) => {
                    left.remove(index);
                }
                None => wrong.push(at(line, &line.text, "no such record")),
            },
        }
    }
    wrong.extend(left.iter().map(|record| format!("unexpected: {section} {record}")));
    wrong
}

impl Record {
    /// Reads `SECTION OWNER TTL [CLASS] TYPE DATA`.
    fn parse(text: &str) -> Result<Record, String> {
        let mut rest = text;
        let mut word = || {
            let (word, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = more.trim_start();
            word
        };
        let (_, owner, ttl) = (word(), word(), word());
        let (class, rtype) = match word() {
            "CH" => (Class::CH, word()),
            rtype => (Class::IN, rtype),
        };
        let rtype = Rtype::parse(rtype).ok_or_else(|| format!("no type {rtype}"))?;
        Ok(Record {
            owner: Name::parse(owner).map_err(|error| error.to_string())?,
            ttl: ttl.parse().map_err(|_| format!("no TTL: {ttl}"))?,
            class,
            rtype,
            data: rdata_from_text(rtype, rest, Some(&Name::root()))?.into_vec(),
        })
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { owner, ttl, class, rtype, data } = self;
        write!(f, "{owner} {ttl} {class} {rtype} {}", rdata_to_text(*rtype, data))
    }
}

fn at(line: &Line, wanted: &str, got: &str) -> String {
    format!("line {}: expected {wanted}, got {got}", line.number)
}
