//! The entries of a zone file: directives and records (RFC 1035 section 5.1).

use super::check::check;
use super::export::exported;
use super::generate::Generate;
use super::lexer::{Lexer, Start, Token};
use super::rdata;
use super::{ParsedZone, ZoneFileError};
use crate::wire::{Class, Name, Rtype, Ttl, rdata::Soa};
use crate::zone::{Key, Record};

/// How many errors are collected; with more, the file is not what it was meant to be.
const MOST_ERRORS: usize = 20;
/// How deep files may include files; deeper is a file that includes itself.
const MOST_INCLUDES: usize = 16;

/// Reads the zone in `text`, which stood in `file`, and checks that it is one.
///
/// `origin` completes relative names until an `$ORIGIN`. `include` loads the file that an `$INCLUDE` names: a
/// relative path is taken from the folder of the including file, so `include` gets `zones/hosts` for
/// `$INCLUDE hosts` in `zones/home.example.zone`; its error says why there is no such text.
///
/// Fails with every error found, up to twenty.
pub fn parse(
    text: &str,
    file: &str,
    origin: Option<Name>,
    include: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<ParsedZone, Vec<ZoneFileError>> {
    let mut parser = Parser {
        include,
        files: vec![file.to_owned()],
        records: Vec::new(),
        errors: Vec::new(),
        default_ttl: None,
        last_ttl: None,
    };
    parser.file(text, 0, origin, 0);
    if !parser.errors.is_empty() {
        return Err(parser.errors);
    }
    let zone = check(parser.records, &parser.files)?;
    Ok(ParsedZone { exported: exported(text, &zone.apex), ..zone })
}

/// A record and where it stood.
pub(super) struct Placed {
    pub(super) record: Record,
    pub(super) place: Place,
}

/// A line of a file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The index of the file among those read.
    pub(super) file: usize,
    pub(super) line: u32,
}

impl Place {
    pub(super) fn error(self, files: &[String], what: String) -> ZoneFileError {
        ZoneFileError { file: files.get(self.file).cloned().unwrap_or_default(), line: Some(self.line), what }
    }
}

struct Parser<'p> {
    include: &'p mut dyn FnMut(&str) -> Result<String, String>,
    files: Vec<String>,
    records: Vec<Placed>,
    errors: Vec<ZoneFileError>,
    /// Of `$TTL` (RFC 2308 section 4).
    default_ttl: Option<Ttl>,
    /// Of the record before (RFC 1035 section 5.1).
    last_ttl: Option<Ttl>,
}

/// What an included file cannot change for the file that includes it (RFC 1035 section 5.1).
struct Scope {
    origin: Option<Name>,
    owner: Option<Key>,
    place: Place,
    depth: usize,
}

impl Parser<'_> {
    fn file(&mut self, text: &str, file: usize, origin: Option<Name>, depth: usize) {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        let mut scope = Scope { origin, owner: None, place: Place { file, line: 1 }, depth };
        while let Some(entry) = lexer.entry(&mut tokens) {
            if self.errors.len() >= MOST_ERRORS {
                return;
            }
            let result = match entry {
                Err(error) => {
                    scope.place.line = error.line;
                    Err(error.what.to_owned())
                }
                Ok(entry) => {
                    scope.place.line = entry.line;
                    self.entry(&mut scope, entry.start, &tokens)
                }
            };
            if let Err(what) = result {
                self.errors.push(scope.place.error(&self.files, what));
            }
        }
    }

    fn entry(&mut self, scope: &mut Scope, start: Start, tokens: &[Token<'_>]) -> Result<(), String> {
        match tokens.split_first() {
            Some((first, rest)) if start == Start::Word && !first.quoted && first.text.starts_with('$') => {
                self.directive(scope, first.text, rest)
            }
            Some((first, rest)) if start == Start::Word => {
                let owner = name(first, scope.origin.as_ref())?;
                // The queries for an owner of this line find it by its key alone.
                scope.owner = Some(Key::new(&owner));
                self.record(scope, rest)
            }
            _ => self.record(scope, tokens),
        }
    }

    fn directive(&mut self, scope: &mut Scope, directive: &str, words: &[Token<'_>]) -> Result<(), String> {
        if directive.eq_ignore_ascii_case("$GENERATE") {
            return self.generate(scope, words);
        }
        if directive.eq_ignore_ascii_case("$INCLUDE") {
            return self.included(scope, words);
        }
        let [word] = words else {
            return Err(match directive.to_ascii_uppercase().as_str() {
                "$ORIGIN" => "$ORIGIN needs one name; write $ORIGIN example.com.".to_owned(),
                "$TTL" => "$TTL needs one time; write $TTL 1h".to_owned(),
                _ => unknown_directive(directive),
            });
        };
        if directive.eq_ignore_ascii_case("$ORIGIN") {
            scope.origin = Some(name(word, scope.origin.as_ref())?);
        } else if directive.eq_ignore_ascii_case("$TTL") {
            let ttl =
                ttl(word.text).unwrap_or_else(|| Err(format!("{} is no time; write seconds or 1h30m", word.text)));
            self.default_ttl = Some(ttl?);
        } else {
            return Err(unknown_directive(directive));
        }
        Ok(())
    }

    fn included(&mut self, scope: &Scope, words: &[Token<'_>]) -> Result<(), String> {
        let (file, origin) = match words {
            [file] => (file, scope.origin),
            [file, origin] => (file, Some(name(origin, scope.origin.as_ref())?)),
            _ => return Err("$INCLUDE needs a file and at most an origin; write $INCLUDE hosts".to_owned()),
        };
        if scope.depth >= MOST_INCLUDES {
            return Err(format!("files include files {MOST_INCLUDES} deep; does one include itself?"));
        }
        let path = self.files.get(scope.place.file).and_then(|from| from.rsplit_once('/'));
        let path = match path {
            Some((folder, _)) if !file.text.starts_with('/') => format!("{folder}/{}", file.text),
            _ => file.text.to_owned(),
        };
        let text = (self.include)(&path).map_err(|why| format!("cannot include {path}: {why}"))?;
        self.files.push(path);
        self.file(&text, self.files.len() - 1, origin, scope.depth + 1);
        Ok(())
    }

    /// BIND's directive for many records alike.
    fn generate(&mut self, scope: &mut Scope, words: &[Token<'_>]) -> Result<(), String> {
        for line in Generate::new(words)? {
            let line = line?;
            let mut tokens = Vec::new();
            match Lexer::new(&line).entry(&mut tokens) {
                Some(Ok(_)) => self.entry(scope, Start::Word, &tokens)?,
                Some(Err(error)) => return Err(error.what.to_owned()),
                None => {}
            }
        }
        Ok(())
    }

    fn record(&mut self, scope: &Scope, words: &[Token<'_>]) -> Result<(), String> {
        let owner = scope.owner.as_ref().ok_or(
            "the line starts with a blank, but no owner stands above it; start the line with the owner, or with @",
        )?;
        let mut words = words;
        let mut given_ttl = None;
        let mut given_class = None;
        let rtype = loop {
            let (word, rest) =
                words.split_first().ok_or("the line ends before the record type; write one, such as A")?;
            words = rest;
            if let (None, Some(ttl)) = (given_ttl, ttl(word.text)) {
                given_ttl = Some(ttl?);
            } else if let (None, Some(class)) = (given_class, class(word.text)) {
                given_class = Some(class);
            } else {
                break word.text.parse::<Rtype>()?;
            }
        };
        if let Some(class) = given_class.filter(|&class| class != Class::IN) {
            return Err(format!("class {class} cannot be served here; write IN"));
        }
        if rtype.is_meta() {
            return Err(format!("{rtype} is not a type of records that a zone can hold; remove the line"));
        }
        let rdata = rdata::from_tokens(rtype, words, scope.origin.as_ref())?;
        let ttl = match given_ttl.or(self.default_ttl).or(self.last_ttl) {
            Some(ttl) => ttl,
            // RFC 1035 section 3.3.13: the SOA's minimum, where nothing else says.
            None if rtype == Rtype::SOA => {
                Soa::parse(&rdata).map(|soa| Ttl::new(soa.minimum)).map_err(|error| error.to_string())?
            }
            None => return Err("no TTL is known; write $TTL 1h at the top of the file".to_owned()),
        };
        self.last_ttl = Some(ttl);
        self.records.push(Placed { record: Record { owner: owner.clone(), rtype, ttl, rdata }, place: scope.place });
        Ok(())
    }
}

fn unknown_directive(directive: &str) -> String {
    format!("unknown directive {directive}; there are $ORIGIN, $TTL, $INCLUDE and $GENERATE")
}

/// A name, completed with the origin.
fn name(word: &Token<'_>, origin: Option<&Name>) -> Result<Name, String> {
    rdata::name(word.text, origin)
}

fn class(text: &str) -> Option<Class> {
    [("IN", Class::IN), ("CH", Class::CH), ("HS", Class(4)), ("NONE", Class::NONE), ("ANY", Class::ANY)]
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, class)| class)
        .or_else(|| {
            // RFC 3597 section 5.
            let (word, number) = text.split_at_checked(5)?;
            let plain = word.eq_ignore_ascii_case("CLASS") && number.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| number.parse().ok().map(Class)).flatten()
        })
}

/// The TTL that `text` is: seconds, or numbers with the units w, d, h, m and s. `None` where it is something
/// else, an error where it is too long (RFC 2181 section 8).
pub(super) fn ttl(text: &str) -> Option<Result<Ttl, String>> {
    let seconds = seconds(text)?;
    let fits = u32::try_from(seconds).ok().filter(|&seconds| seconds <= Ttl::MAX.seconds());
    Some(fits.map(Ttl::new).ok_or_else(|| format!("{text} is too long for a TTL; write at most {} seconds", Ttl::MAX)))
}

/// The seconds of `text`; `None` where it is no time.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut total = 0u64;
    let mut number: Option<u64> = None;
    for byte in text.bytes() {
        let unit = match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte - b'0');
                number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
                continue;
            }
            b'w' | b'W' => 604_800,
            b'd' | b'D' => 86_400,
            b'h' | b'H' => 3_600,
            b'm' | b'M' => 60,
            b's' | b'S' => 1,
            _ => return None,
        };
        total = total.saturating_add(number.take()?.saturating_mul(unit));
    }
    match number {
        Some(number) => Some(total.saturating_add(number)),
        None => (!text.is_empty()).then_some(total),
    }
}
