//! Domain names in wire form that own their octets: read from messages and text, compared without case.
//!
//! A [`Name`] is absolute, uncompressed and lives on the stack, so that the query path allocates
//! nothing. Case is kept as given; comparison and hashing ignore it (RFC 4343).

use super::{Labels, NameRef};
use std::fmt;
use std::hash::{Hash, Hasher};

/// An absolute domain name: 1 to 255 octets of length-prefixed labels that end with the root label
/// (RFC 1035 section 3.1).
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    bytes: [u8; Name::MAX],
}

/// Why bytes or a text are not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// The message ends inside the name.
    Short,
    /// Over 255 octets (RFC 1035 section 2.3.4).
    TooLong,
    /// A label of over 63 octets (RFC 1035 section 2.3.4).
    LabelTooLong,
    /// Two dots in a row, or a dot at the start.
    EmptyLabel,
    /// A label type other than 00 and 11 (RFC 6891 section 5 retired the rest).
    LabelType,
    /// A compression pointer that does not point backwards (RFC 1035 section 4.1.4: "a prior occurrence"), or too many.
    Pointer,
    /// A `\` that is followed neither by three digits up to 255 nor by another character.
    Escape,
    /// A relative name where only an absolute one can stand.
    Relative,
}

impl Name {
    /// The longest name, in octets with the root label (RFC 1035 section 2.3.4).
    pub const MAX: usize = 255;

    /// The root, `.`.
    pub const fn root() -> Name {
        Name { len: 1, bytes: [0; Name::MAX] }
    }

    /// Reads the name that starts at `at` in `message`, following compression pointers, and returns
    /// it with the offset just after it (RFC 1035 section 4.1.4).
    pub fn read(message: &[u8], at: usize) -> Result<(Name, usize), NameError> {
        let mut name = Name::empty();
        let end = walk(message, at, |label| name.append(label))?;
        Ok((name, end))
    }

    /// Finds that a name starts at `at` in `message`, as [`Name::read`] does; returns its length without compression
    /// and the offset just after it.
    pub(super) fn skip(message: &[u8], at: usize) -> Result<(usize, usize), NameError> {
        let mut len = 0;
        let end = walk(message, at, |label| {
            len += label.len();
            if len > Name::MAX { Err(NameError::TooLong) } else { Ok(()) }
        })?;
        Ok((len, end))
    }

    /// Takes a name whose wire form, uncompressed and with the root label, is all of `bytes`.
    pub fn from_wire(bytes: &[u8]) -> Result<Name, NameError> {
        // A pointer inside would need the bytes before it; an uncompressed name has none.
        match Name::read(bytes, 0)? {
            (name, end) if end == bytes.len() && name.as_bytes().len() == end => Ok(name),
            _ => Err(NameError::LabelType),
        }
    }

    /// Reads the text form, `\.` and `\DDD` escapes included (RFC 1035 section 5.1). A missing final dot is
    /// supplied: the name is taken as absolute.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        Name::parse_with(text, Some(&Name::root()))
    }

    /// Reads the text form; a name without a final dot continues with `origin`, `@` is the origin itself
    /// (RFC 1035 section 5.1). Without an origin such names are [`NameError::Relative`].
    pub fn parse_with(text: &str, origin: Option<&Name>) -> Result<Name, NameError> {
        if text == "@" {
            return origin.copied().ok_or(NameError::Relative);
        }
        if text == "." {
            return Ok(Name::root());
        }
        let mut name = Name::empty();
        let mut label = [0u8; 64];
        let mut size = 0usize;
        let mut absolute = text.is_empty();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            absolute = false;
            let octet = match byte {
                b'.' => {
                    if size == 0 {
                        return Err(NameError::EmptyLabel);
                    }
                    name.append_label(&label, size)?;
                    size = 0;
                    absolute = true;
                    continue;
                }
                b'\\' => unescape(&mut rest)?,
                other => other,
            };
            *label.get_mut(size + 1).ok_or(NameError::LabelTooLong)? = octet;
            size += 1;
        }
        if text.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if size > 0 {
            name.append_label(&label, size)?;
        }
        if absolute {
            name.append(&[0])?;
        } else {
            name.append(origin.ok_or(NameError::Relative)?.as_bytes())?;
        }
        Ok(name)
    }

    /// This name below one more label, as in `*` before a closest encloser.
    pub fn child(&self, label: &[u8]) -> Result<Name, NameError> {
        let length =
            u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length)).ok_or(NameError::LabelTooLong)?;
        let mut name = Name::empty();
        name.append(&[length])?;
        name.append(label)?;
        name.append(self.as_bytes())?;
        Ok(name)
    }

    /// `prefix`, a run of whole labels in wire form without a root label, before this name.
    pub fn prefixed(&self, prefix: &[u8]) -> Result<Name, NameError> {
        self.as_name_ref().prefixed(prefix)
    }

    /// The wire form, uncompressed, root label included.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The name where it lies.
    pub fn as_name_ref(&self) -> NameRef<'_> {
        NameRef::of(self.as_bytes())
    }

    /// The labels from the left, without the root label.
    pub fn labels(&self) -> Labels<'_> {
        self.as_name_ref().labels()
    }

    /// How many labels, the root label not counted (as in RFC 4034 section 3.1.3, but a `*` counts).
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Whether this is `.`.
    pub fn is_root(&self) -> bool {
        self.len == 1
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        let first = self.labels().next()?;
        let mut name = Name::empty();
        name.append(self.as_bytes().get(first.len() + 1..)?).ok()?;
        Some(name)
    }

    /// Whether this name is `ancestor` or below it, by whole labels: `xexample.com` is not in `example.com`.
    pub fn is_in(&self, ancestor: &Name) -> bool {
        self.as_name_ref().is_in(ancestor)
    }

    /// The labels of this name before `ancestor`, in wire form without a root label; `None` where this
    /// name is not in it.
    pub fn prefix_before(&self, ancestor: &Name) -> Option<&[u8]> {
        self.as_name_ref().prefix_before(ancestor)
    }

    /// Whether the leftmost label is `*` (RFC 4592 section 2.1.1).
    pub fn is_wildcard(&self) -> bool {
        self.as_bytes().starts_with(b"\x01*")
    }

    /// The name in lower case, its canonical form (RFC 4034 section 6.2).
    pub fn to_lowercase(mut self) -> Name {
        // Length octets are at most 63, below 'A', so folding every octet leaves them alone.
        self.bytes.make_ascii_lowercase();
        self
    }

    /// Whether both names are the same to the letter.
    pub fn same_case<'n>(&self, other: impl Into<NameRef<'n>>) -> bool {
        self.as_name_ref().same_case(other)
    }

    /// No name yet: what [`Name::append`] makes one of.
    pub(super) fn empty() -> Name {
        Name { len: 0, bytes: [0; Name::MAX] }
    }

    pub(super) fn append(&mut self, more: &[u8]) -> Result<(), NameError> {
        let start = usize::from(self.len);
        let stop = start + more.len();
        self.bytes.get_mut(start..stop).ok_or(NameError::TooLong)?.copy_from_slice(more);
        self.len = u8::try_from(stop).map_err(|_| NameError::TooLong)?;
        Ok(())
    }

    /// Appends `label[1..=size]`, writing the length into `label[0]`'s place.
    fn append_label(&mut self, label: &[u8; 64], size: usize) -> Result<(), NameError> {
        self.append(&[u8::try_from(size).map_err(|_| NameError::LabelTooLong)?])?;
        self.append(label.get(1..=size).ok_or(NameError::LabelTooLong)?)
    }
}

/// How many pointers a name may have: as many as labels.
const POINTERS: usize = Name::MAX / 2;

/// Hands each label of the name that starts at `at` in `message` to `visit`, its length octet before it and the root
/// label last; returns the offset just after the name.
///
/// Each pointer must lead to before the labels it ends, so no loop can form. A name needs no more of them than it may have
/// labels; without that bound thousands of records that lead to one long chain of pointers kept a server busy for as
/// long as thousands of questions.
fn walk(message: &[u8], at: usize, mut visit: impl FnMut(&[u8]) -> Result<(), NameError>) -> Result<usize, NameError> {
    let mut at = at;
    let mut floor = at;
    let mut end = None;
    let mut pointers = 0;
    loop {
        let &length = message.get(at).ok_or(NameError::Short)?;
        match length & 0xC0 {
            0x00 => {
                let size = usize::from(length) + 1;
                let label = at.checked_add(size).and_then(|stop| message.get(at..stop)).ok_or(NameError::Short)?;
                visit(label)?;
                at += size;
                if length == 0 {
                    return Ok(end.unwrap_or(at));
                }
            }
            0xC0 => {
                let &low = message.get(at + 1).ok_or(NameError::Short)?;
                let target = usize::from(length & 0x3F) << 8 | usize::from(low);
                if target >= floor || pointers == POINTERS {
                    return Err(NameError::Pointer);
                }
                pointers += 1;
                end.get_or_insert(at + 2);
                floor = target;
                at = target;
            }
            _ => return Err(NameError::LabelType),
        }
    }
}

/// What follows a `\`: three decimal digits, or one character taken as it is (RFC 1035 section 5.1).
fn unescape(rest: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = rest.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = rest.next().filter(u8::is_ascii_digit).ok_or(NameError::Escape)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::Escape)
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_bytes().eq_ignore_ascii_case(other.as_bytes())
    }
}

impl Eq for Name {}

impl PartialEq<NameRef<'_>> for Name {
    fn eq(&self, other: &NameRef<'_>) -> bool {
        self.as_name_ref() == *other
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_lowercase().as_bytes().hash(state);
    }
}

/// The text form; without the final dot, unless `{:#}` asks for it or the name is the root.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_name_ref().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Short => "the name is cut off",
            NameError::TooLong => "the name is longer than 255 octets",
            NameError::LabelTooLong => "a label is longer than 63 octets",
            NameError::EmptyLabel => "a label is empty; write one dot between labels",
            NameError::LabelType => "an unknown kind of label",
            NameError::Pointer => "a compression pointer that does not point backwards, or too many of them",
            NameError::Escape => "a \\ must be followed by three digits up to 255 or by one character",
            NameError::Relative => "the name is relative; end it with a dot",
        })
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn text_and_wire_forms_agree() {
        let parsed = name("Router.Example.com.");
        assert_eq!(parsed.as_bytes(), b"\x06Router\x07Example\x03com\0");
        assert_eq!(parsed.to_string(), "Router.Example.com");
        assert_eq!(format!("{parsed:#}"), "Router.Example.com.");
        assert_eq!(name("a\\.b.\\000\\255c").as_bytes(), b"\x03a.b\x03\0\xffc\0");
        assert_eq!(name("a\\.b.\\000\\255c").to_string(), "a\\.b.\\000\\255c");
        assert_eq!(Name::root().to_string(), ".");
    }

    #[test]
    fn text_that_is_no_name_is_refused() {
        assert_eq!(Name::parse("a..b"), Err(NameError::EmptyLabel));
        assert_eq!(Name::parse(".a"), Err(NameError::EmptyLabel));
        assert_eq!(Name::parse(""), Err(NameError::EmptyLabel));
        assert_eq!(Name::parse("a\\25"), Err(NameError::Escape));
        assert_eq!(Name::parse("a\\256"), Err(NameError::Escape));
        assert_eq!(Name::parse(&"a".repeat(64)), Err(NameError::LabelTooLong));
        assert!(Name::parse(&"a".repeat(63)).is_ok());
        assert_eq!(Name::parse(&"a.".repeat(128)), Err(NameError::TooLong));
        assert!(Name::parse(&"a.".repeat(127)).is_ok());
        assert_eq!(Name::parse_with("a", None), Err(NameError::Relative));
    }

    /// 64 KiB of records that led to one chain of 8,000 pointers took as long as thousands of questions.
    #[test]
    fn a_name_has_no_more_pointers_than_it_may_have_labels() {
        // Each label by itself, the root first: every one but that is followed by a pointer to the one before.
        let mut message = vec![0];
        let mut last = 0;
        for _ in 0..127 {
            let at = message.len();
            message.extend_from_slice(&[1, b'a']);
            message.extend_from_slice(&(0xC000 | u16::try_from(last).unwrap()).to_be_bytes());
            last = at;
        }
        assert_eq!(Name::read(&message, last).unwrap().0.label_count(), 127);
        // Pointers to pointers, with no label between them.
        let mut chain = vec![0, 0];
        for at in 0..127u16 {
            chain.extend_from_slice(&(0xC000 | (at * 2)).to_be_bytes());
        }
        assert_eq!(Name::read(&chain, 2 * 127), Ok((Name::root(), 2 * 127 + 2)));
        chain.extend_from_slice(&(0xC000 | (2 * 127u16)).to_be_bytes());
        assert_eq!(Name::read(&chain, 2 * 128), Err(NameError::Pointer));
        assert_eq!(Name::skip(&chain, 2 * 128), Err(NameError::Pointer));
    }

    #[test]
    fn compression_pointers_only_lead_backwards() {
        let message = b"\x03com\0\x07example\xc0\x00\xc0\x0f\xc0\x12";
        assert_eq!(Name::read(message, 5), Ok((name("example.com"), 15)));
        assert_eq!(Name::read(message, 15), Err(NameError::Pointer));
        assert_eq!(Name::read(message, 17), Err(NameError::Pointer));
        assert_eq!(Name::read(b"\x01a\xc0\x00", 0), Err(NameError::Pointer));
        assert_eq!(Name::read(b"\x41a\0", 0), Err(NameError::LabelType));
        assert_eq!(Name::read(b"\x05abc", 0), Err(NameError::Short));
    }

    #[test]
    fn membership_is_by_labels() {
        assert!(name("a.example.com").is_in(&name("EXAMPLE.com")));
        assert!(name("example.com").is_in(&name("example.com")));
        assert!(!name("xexample.com").is_in(&name("example.com")));
        assert!(!name("com").is_in(&name("example.com")));
        // The octets of `\x07example...` inside a label must not be taken for a label's start.
        assert!(!name("a\\007example.com").is_in(&name("example.com")));
        assert_eq!(name("a.b.example.com").prefix_before(&name("example.com")), Some(&b"\x01a\x01b"[..]));
    }

    #[test]
    fn names_compare_without_case() {
        assert_eq!(name("ROUTER.example"), name("router.EXAMPLE"));
        assert!(!name("ROUTER.example").same_case(&name("router.example")));
        assert_eq!(name("a.b").parent(), Some(name("b")));
        assert_eq!(name("b").child(b"*").unwrap(), name("*.b"));
        assert!(name("*.b").is_wildcard());
    }
}
