//! Names where they lie, in a message or in a zone, compared and taken apart without a copy.

use super::{Name, NameError};
use std::fmt;

/// An absolute domain name in uncompressed wire form that lies somewhere else. Two words, where a [`Name`] takes
/// 256 octets to be written and copied: the question of a query and the names that records lead to are read as these.
#[derive(Clone, Copy)]
pub struct NameRef<'a>(&'a [u8]);

impl<'a> NameRef<'a> {
    /// Finds the name that starts at `at` in `message` and uses no compression; returns it with the offset just
    /// after it.
    pub fn read(message: &'a [u8], at: usize) -> Result<(NameRef<'a>, usize), NameError> {
        let rest = message.get(at..).ok_or(NameError::Short)?;
        let mut len = 0;
        loop {
            let &length = rest.get(len).ok_or(NameError::Short)?;
            match length & 0xC0 {
                0x00 => len += usize::from(length) + 1,
                0xC0 => return Err(NameError::Pointer),
                _ => return Err(NameError::LabelType),
            }
            if length == 0 {
                break;
            }
        }
        if len > Name::MAX {
            return Err(NameError::TooLong);
        }
        Ok((NameRef(rest.get(..len).ok_or(NameError::Short)?), at + len))
    }

    /// The octets of a [`Name`].
    pub(super) fn of(bytes: &'a [u8]) -> NameRef<'a> {
        NameRef(bytes)
    }

    /// A copy.
    pub fn to_name(self) -> Name {
        // Whatever lies here was read as a name or comes from one.
        Name::from_wire(self.0).unwrap_or(Name::root())
    }

    /// `prefix`, a run of whole labels in wire form without a root label, before this name.
    pub fn prefixed(self, prefix: &[u8]) -> Result<Name, NameError> {
        let mut name = Name::empty();
        name.append(prefix)?;
        name.append(self.0)?;
        Ok(name)
    }

    /// The wire form, root label included.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The labels from the left, without the root label.
    pub fn labels(self) -> Labels<'a> {
        Labels { rest: self.0 }
    }

    /// Whether this is `.`.
    pub fn is_root(self) -> bool {
        self.0.len() <= 1
    }

    /// The name without so many labels from the left; `None` where it has not so many.
    pub fn ancestor(self, labels: usize) -> Option<NameRef<'a>> {
        let mut rest = self.labels();
        if labels > 0 {
            rest.nth(labels - 1)?;
        }
        Some(NameRef(rest.rest))
    }

    /// Whether this name is `ancestor` or below it, by whole labels: `xexample.com` is not in `example.com`.
    pub fn is_in<'n>(self, ancestor: impl Into<NameRef<'n>>) -> bool {
        self.prefix_before(ancestor).is_some()
    }

    /// The labels of this name before `ancestor`, in wire form without a root label; `None` where this
    /// name is not in it.
    pub fn prefix_before<'n>(self, ancestor: impl Into<NameRef<'n>>) -> Option<&'a [u8]> {
        let ancestor = ancestor.into();
        let cut = self.0.len().checked_sub(ancestor.0.len())?;
        let (prefix, suffix) = self.0.split_at_checked(cut)?;
        if !suffix.eq_ignore_ascii_case(ancestor.0) {
            return None;
        }
        let mut at = 0;
        while at < cut {
            at += 1 + usize::from(*self.0.get(at)?);
        }
        (at == cut).then_some(prefix)
    }

    /// Whether both names are the same to the letter.
    pub fn same_case<'n>(self, other: impl Into<NameRef<'n>>) -> bool {
        self.0 == other.into().0
    }
}

impl<'a> From<&'a Name> for NameRef<'a> {
    fn from(name: &'a Name) -> NameRef<'a> {
        name.as_name_ref()
    }
}

impl<'a> From<&NameRef<'a>> for NameRef<'a> {
    fn from(name: &NameRef<'a>) -> NameRef<'a> {
        *name
    }
}

impl PartialEq for NameRef<'_> {
    fn eq(&self, other: &NameRef<'_>) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for NameRef<'_> {}

impl PartialEq<Name> for NameRef<'_> {
    fn eq(&self, other: &Name) -> bool {
        *self == other.as_name_ref()
    }
}

/// The text form; without the final dot, unless `{:#}` asks for it or the name is the root.
impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &octet in label {
                match octet {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => write!(f, "\\{}", char::from(octet))?,
                    0x21..=0x7E => write!(f, "{}", char::from(octet))?,
                    _ => write!(f, "\\{octet:03}")?,
                }
            }
        }
        if f.alternate() { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

/// The labels of a name from the left, without the root label.
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.rest.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(length))?;
        self.rest = rest;
        Some(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_where_it_lies() {
        let message = b"xx\x03Www\x07example\0yy\x01a\xc0\x02";
        let (name, end) = NameRef::read(message, 2).unwrap();
        assert_eq!((name, end), (NameRef::of(b"\x03www\x07example\0"), 15));
        assert_eq!((name.to_string(), name.to_name().to_string()), ("Www.example".into(), "Www.example".into()));
        assert_eq!(name.ancestor(0), Some(name));
        assert_eq!(name.ancestor(1).unwrap().to_string(), "example");
        assert!(name.ancestor(2).unwrap().is_root() && name.ancestor(3).is_none());
        assert_eq!(NameRef::read(message, 17), Err(NameError::Pointer));
        assert_eq!(NameRef::read(b"\x41a\0", 0), Err(NameError::LabelType));
        assert_eq!(NameRef::read(b"\x03ab\0", 0), Err(NameError::Short));
        assert_eq!(NameRef::read(b"\x01a", 0), Err(NameError::Short));
        assert_eq!(NameRef::read(b"\0", 2), Err(NameError::Short));
        let long = [&b"\x01a".repeat(127)[..], b"\0"].concat();
        assert_eq!(NameRef::read(&long, 0).unwrap().1, Name::MAX);
        let longer = [&b"\x01a".repeat(128)[..], b"\0"].concat();
        assert_eq!(NameRef::read(&longer, 0), Err(NameError::TooLong));
    }
}
