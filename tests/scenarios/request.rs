//! Requests, written octet by octet: what a good client would never send must be sendable too.
//!
//! `query NAME TYPE [CLASS]`, `update ZONE [TYPE [CLASS]]` with lines in nsupdate's words, `transfer ZONE AXFR|IXFR=N`
//! and `send` with octets. The options of a step:
//!
//! - the way: `+tcp`, `+v6`, `+hold` (sent together with the next step), `+split` (each octet alone)
//! - the header: `+rd`, `+ad`, `+cd`, `+tc`, `+opcode=N`, `+count=N` (so many questions), `+answers=N`, `+trailing=HEX`
//! - EDNS: `+edns[=SIZE]`, `+version=N`, `+do`, `+option=CODE:HEX`, `+opts=N` (so many OPT records)
//! - TSIG: `+key=NAME`, `+time=SECONDS` (away from now), `+fudge=N`; spoilt by `+mac=N` (so many octets), `+badmac`,
//!   `+algorithm=NAME`, `+originalid=N`, `+shout` (upper case), `+tsigs=N`, `+notlast`, `+tsigclass=CLASS`

use super::script::{Line, Step};
use dyndns::clock::Clock;
use dyndns::tsig::{Mac, TsigKey, sign_request};
use dyndns::wire::{Name, Rtype};
use dyndns::zone::text::rdata_from_text;

/// A message to send, and what its answer is compared with.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    /// The question or zone, octet for octet; once, where it is sent twice.
    pub(crate) question: Vec<u8>,
    pub(crate) has_edns: bool,
    pub(crate) signature: Option<Signature>,
}

/// How a request was signed.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) key: TsigKey,
    pub(crate) mac: Mac,
    /// When it says it was signed.
    pub(crate) time: u64,
    pub(crate) fudge: u16,
}

/// The sections of a message under way.
#[derive(Default)]
struct Draft {
    flags: u16,
    /// Question, answer, authority and additional: how many entries, and their octets.
    sections: [(u16, Vec<u8>); 4],
}

impl Draft {
    fn push(&mut self, section: usize, entry: &[u8]) {
        self.sections[section].0 += 1;
        self.sections[section].1.extend_from_slice(entry);
    }

    fn to_bytes(&self, id: u16) -> Vec<u8> {
        let words = [id, self.flags].into_iter().chain(self.sections.iter().map(|section| section.0));
        let mut bytes: Vec<u8> = words.flat_map(u16::to_be_bytes).collect();
        self.sections.iter().for_each(|section| bytes.extend_from_slice(&section.1));
        bytes
    }
}

/// The message of a `query`, `update`, `transfer` or `send` step.
pub(crate) fn compose(step: &Step, keys: &[TsigKey], id: u16) -> Result<Request, String> {
    let mut draft = Draft::default();
    match step.action() {
        "query" | "transfer" => question(&mut draft, step)?,
        "update" => update(&mut draft, step)?,
        "send" => {
            let bytes = octets(&step.content)?;
            return Ok(Request { bytes, question: Vec::new(), has_edns: false, signature: None });
        }
        action => return Err(format!("no step `{action}`")),
    }
    for (flag, bit) in [("rd", 0x0100), ("ad", 0x0020), ("cd", 0x0010), ("tc", 0x0200)] {
        draft.flags |= if step.has(flag) { bit } else { 0 };
    }
    if let Some(opcode) = step.number::<u16>("opcode")? {
        draft.flags = draft.flags & !0x7800 | opcode << 11;
    }
    // `+count=2` asks the question twice, `+count=0` not at all.
    let entry = draft.sections[0].1.clone();
    if let Some(count) = step.number::<u16>("count")? {
        draft.sections[0] = (count, entry.repeat(count.into()));
    }
    let has_edns = ["edns", "version", "do", "option", "opts"].iter().any(|option| step.has(option));
    if has_edns {
        for _ in 0..step.number("opts")?.unwrap_or(1) {
            let opt = opt_record(step)?;
            draft.push(3, &opt);
        }
    }
    // `+answers=1` puts a record where a query has none.
    for _ in 0..step.number("answers")?.unwrap_or(0) {
        draft.push(1, &record("a.example", 0, 1, "A", "192.0.2.1")?);
    }
    let mut bytes = draft.to_bytes(id);
    let mut signature = None;
    if let Some(name) = step.option("key") {
        // By its name, or by ALGORITHM:NAME where the client has the name twice.
        let named =
            |key: &&TsigKey| key.name.to_string() == name || format!("{}:{}", key.algorithm.name(), key.name) == name;
        let key = keys.iter().find(named).ok_or(format!("no key {name}"))?;
        signature = Some(sign(&mut bytes, step, key)?);
    }
    // Octets that no count covers.
    if let Some(trailing) = step.option("trailing") {
        bytes.extend(hex(trailing)?);
    }
    Ok(Request { bytes, question: entry, has_edns, signature })
}

fn question(draft: &mut Draft, step: &Step) -> Result<(), String> {
    let mut entry = name(step.word(1)?)?;
    let (rtype, serial) = match step.word(2)?.split_once('=') {
        Some((rtype, serial)) => (rtype, Some(serial)),
        None => (step.word(2)?, None),
    };
    let class = class(step.words.get(3).map_or("IN", String::as_str))?;
    entry.extend(rtype_of(rtype)?.to_be_bytes());
    entry.extend(class.to_be_bytes());
    draft.push(0, &entry);
    // IXFR=7: the asker has serial 7 (RFC 1995 section 3).
    if let Some(serial) = serial {
        let soa = format!("ns.example hostmaster.example {serial} 1 1 1 1");
        draft.push(2, &record(step.word(1)?, 0, 1, "SOA", &soa)?);
    }
    Ok(())
}

/// Zone, prerequisites and operations in the words of nsupdate, and entries of any class and TTL:
/// `record prereq|update NAME TTL CLASS TYPE [DATA]`.
fn update(draft: &mut Draft, step: &Step) -> Result<(), String> {
    draft.flags = 5 << 11;
    let mut zone = name(step.word(1)?)?;
    zone.extend(rtype_of(step.words.get(2).map_or("SOA", String::as_str))?.to_be_bytes());
    zone.extend(class(step.words.get(3).map_or("IN", String::as_str))?.to_be_bytes());
    draft.push(0, &zone);
    for line in &step.content {
        let (section, entry) = entry(line).map_err(|what| format!("{} (line {}: {})", what, line.number, line.text))?;
        draft.push(section, &entry);
    }
    Ok(())
}

const PREREQUISITE: usize = 1;
const UPDATE: usize = 2;

fn entry(line: &Line) -> Result<(usize, Vec<u8>), String> {
    const IN: u16 = 1;
    const NONE: u16 = 254;
    const ANY: u16 = 255;
    let mut rest = line.text.as_str();
    let mut word = || {
        let (word, more) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = more.trim_start();
        word
    };
    match word() {
        "prereq" => {
            let (form, owner, rtype) = (word(), word(), word());
            let entry = match (form, rtype, rest) {
                ("yxdomain", "", "") => record(owner, 0, ANY, "ANY", "")?,
                ("nxdomain", "", "") => record(owner, 0, NONE, "ANY", "")?,
                ("yxrrset", rtype, "") => record(owner, 0, ANY, rtype, "")?,
                ("nxrrset", rtype, "") => record(owner, 0, NONE, rtype, "")?,
                ("yxrrset", rtype, data) => record(owner, 0, IN, rtype, data)?,
                _ => return Err("no such prerequisite".into()),
            };
            Ok((PREREQUISITE, entry))
        }
        "add" => {
            let (owner, ttl, rtype) = (word(), word(), word());
            Ok((UPDATE, record(owner, ttl.parse().map_err(|_| "no TTL")?, IN, rtype, rest)?))
        }
        "delete" => {
            let (owner, rtype) = (word(), word());
            let entry = match (rtype, rest) {
                ("", _) => record(owner, 0, ANY, "ANY", "")?,
                (rtype, "") => record(owner, 0, ANY, rtype, "")?,
                (rtype, data) => record(owner, 0, NONE, rtype, data)?,
            };
            Ok((UPDATE, entry))
        }
        "record" => {
            let section = if word() == "prereq" { PREREQUISITE } else { UPDATE };
            let (owner, ttl, in_class, rtype) = (word(), word(), word(), word());
            let ttl = ttl.parse().map_err(|_| "no TTL")?;
            Ok((section, record(owner, ttl, class(in_class)?, rtype, rest)?))
        }
        _ => Err("no such operation".into()),
    }
}

/// A record in octets. Data of `\#` is sent as it is, right or wrong.
fn record(owner: &str, ttl: u32, class: u16, rtype: &str, data: &str) -> Result<Vec<u8>, String> {
    let number = rtype_of(rtype)?;
    let data = match data.split_once("\\#") {
        Some((_, digits)) => hex(digits.trim_start().split_once(' ').map_or("", |(_, digits)| digits))?,
        None if data.is_empty() => Vec::new(),
        None => rdata_from_text(Rtype(number), data, Some(&Name::root()))?.into_vec(),
    };
    let mut record = name(owner)?;
    record.extend(number.to_be_bytes());
    record.extend(class.to_be_bytes());
    record.extend(ttl.to_be_bytes());
    record.extend(u16::try_from(data.len()).map_err(|_| "too much data")?.to_be_bytes());
    record.extend(data);
    Ok(record)
}

/// An OPT record (RFC 6891 section 6.1.2): `+edns=SIZE +version=N +do +option=CODE:HEX`.
fn opt_record(step: &Step) -> Result<Vec<u8>, String> {
    let size: u16 = match step.option("edns") {
        None | Some("") => 1232,
        Some(size) => size.parse().map_err(|_| "+edns needs a size")?,
    };
    let version: u8 = step.number("version")?.unwrap_or(0);
    let mut options = Vec::new();
    if let Some((code, data)) = step.option("option").and_then(|option| option.split_once(':')) {
        let data = hex(data)?;
        options.extend(code.parse::<u16>().map_err(|_| "+option needs CODE:HEX")?.to_be_bytes());
        options.extend(u16::try_from(data.len()).map_err(|_| "too much data")?.to_be_bytes());
        options.extend(data);
    }
    let mut record = vec![0, 0, 41];
    record.extend(size.to_be_bytes());
    record.extend([0, version, if step.has("do") { 0x80 } else { 0 }, 0]);
    record.extend(u16::try_from(options.len()).map_err(|_| "too many options")?.to_be_bytes());
    record.extend(options);
    Ok(record)
}

/// Signs, and spoils what the options say.
fn sign(bytes: &mut Vec<u8>, step: &Step, key: &TsigKey) -> Result<Signature, String> {
    let end = bytes.len();
    let time = Clock::System.now().saturating_add_signed(step.number("time")?.unwrap_or(0));
    let fudge = step.number("fudge")?.unwrap_or(300);
    bytes.resize(end + 512, 0);
    let (length, mac) = sign_request(key, bytes, end, time, fudge).map_err(|error| error.to_string())?;
    bytes.truncate(length);
    let mut record = TsigRecord::read(bytes, end).ok_or("the TSIG record that was just written cannot be read")?;
    // The MAC is cut to so many octets, or stretched with zeros.
    if let Some(length) = step.number("mac")? {
        record.mac.resize(length, 0);
    }
    if step.has("badmac") {
        record.mac[0] ^= 1;
    }
    if let Some(algorithm) = step.option("algorithm") {
        record.algorithm = name(algorithm)?;
    }
    // RFC 8945 section 4.3.3: names are hashed in lower case, so their case on the wire does not matter.
    if step.has("shout") {
        record.owner.make_ascii_uppercase();
        record.algorithm.make_ascii_uppercase();
    }
    bytes.truncate(end);
    for _ in 0..step.number("tsigs")?.unwrap_or(1) {
        bytes.extend(record.to_bytes(step.option("tsigclass").map_or(Ok(255), class)?));
    }
    if step.has("notlast") {
        bytes.extend(self::record("a.example", 0, 1, "A", "192.0.2.1")?);
    }
    let extra = step.number("tsigs")?.unwrap_or(1) - 1 + u16::from(step.has("notlast"));
    let count = u16::from_be_bytes([bytes[10], bytes[11]]) + extra;
    bytes[10..12].copy_from_slice(&count.to_be_bytes());
    // RFC 8945 section 5.3: a forwarder may change the ID; the record keeps the original one.
    if let Some(id) = step.number::<u16>("originalid")? {
        bytes[..2].copy_from_slice(&id.to_be_bytes());
    }
    Ok(Signature { key: key.clone(), mac, time, fudge })
}

/// A TSIG record (RFC 8945 section 4.2), its names in wire form.
#[derive(Debug, Clone)]
pub(crate) struct TsigRecord {
    pub(crate) owner: Vec<u8>,
    pub(crate) algorithm: Vec<u8>,
    pub(crate) time: u64,
    pub(crate) fudge: u16,
    pub(crate) mac: Vec<u8>,
    pub(crate) original_id: u16,
    pub(crate) error: u16,
    pub(crate) other: Vec<u8>,
}

impl TsigRecord {
    /// Reads the record at `at`; its names are not compressed.
    pub(crate) fn read(bytes: &[u8], mut at: usize) -> Option<TsigRecord> {
        fn take<'b>(bytes: &'b [u8], at: &mut usize, length: usize) -> Option<&'b [u8]> {
            let taken = bytes.get(*at..*at + length);
            *at += length;
            taken
        }
        let number = |octets: &[u8]| octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
        let owner = Name::read(bytes, at).ok()?.0.as_bytes().to_vec();
        take(bytes, &mut at, owner.len() + 10)?;
        let algorithm = Name::read(bytes, at).ok()?.0.as_bytes().to_vec();
        take(bytes, &mut at, algorithm.len())?;
        let time = number(take(bytes, &mut at, 6)?);
        let short = |at: &mut usize| u16::try_from(number(take(bytes, at, 2)?)).ok();
        let fudge = short(&mut at)?;
        let mac_length = short(&mut at)?;
        let mac = take(bytes, &mut at, mac_length.into())?.to_vec();
        let original_id = short(&mut at)?;
        let error = short(&mut at)?;
        let other_length = short(&mut at)?;
        let other = take(bytes, &mut at, other_length.into())?.to_vec();
        (at == bytes.len()).then_some(TsigRecord { owner, algorithm, time, fudge, mac, original_id, error, other })
    }

    fn to_bytes(&self, class: u16) -> Vec<u8> {
        let length = |octets: &[u8]| u16::try_from(octets.len()).unwrap().to_be_bytes();
        let mut data = self.algorithm.clone();
        data.extend(&self.time.to_be_bytes()[2..]);
        data.extend(self.fudge.to_be_bytes());
        data.extend(length(&self.mac));
        data.extend(&self.mac);
        data.extend(self.original_id.to_be_bytes());
        data.extend(self.error.to_be_bytes());
        data.extend(length(&self.other));
        data.extend(&self.other);
        let mut bytes = self.owner.clone();
        bytes.extend(250u16.to_be_bytes());
        bytes.extend(class.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(length(&data));
        bytes.extend(data);
        bytes
    }
}

/// A name in wire form; the final dot may be missing.
pub(crate) fn name(text: &str) -> Result<Vec<u8>, String> {
    Ok(Name::parse(text).map_err(|error| format!("{text}: {error}"))?.as_bytes().to_vec())
}

fn rtype_of(text: &str) -> Result<u16, String> {
    Rtype::parse(text).map(|rtype| rtype.0).ok_or_else(|| format!("no type {text}"))
}

fn class(text: &str) -> Result<u16, String> {
    match text {
        "IN" => Ok(1),
        "CH" => Ok(3),
        "HS" => Ok(4),
        "NONE" => Ok(254),
        "ANY" => Ok(255),
        _ => text.strip_prefix("CLASS").and_then(|number| number.parse().ok()).ok_or(format!("no class {text}")),
    }
}

/// Octets in hex digits, and letters as they are in quotes: `03 "www" 00`. `*N` repeats what stands before it in
/// its line.
pub(crate) fn octets(lines: &[Line]) -> Result<Vec<u8>, String> {
    let mut octets = Vec::new();
    for line in lines {
        let mut run = Vec::new();
        for (index, part) in line.text.split('"').enumerate() {
            if index % 2 == 1 {
                run.extend(part.as_bytes());
                continue;
            }
            for word in part.split_whitespace() {
                match word.strip_prefix('*') {
                    Some(times) => run = run.repeat(times.parse().map_err(|_| "`*` needs a number")?),
                    None => run.extend(hex(word)?),
                }
            }
        }
        octets.extend(run);
    }
    Ok(octets)
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|letter| !letter.is_whitespace()).collect();
    let octet = |pair: &[char]| u8::from_str_radix(&String::from_iter(pair), 16);
    digits.chunks(2).map(octet).collect::<Result<_, _>>().map_err(|_| format!("{text} is not hex"))
}
