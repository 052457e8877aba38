//! Serial numbers and their arithmetic (RFC 1982).

use std::cmp::Ordering;
use std::fmt;

/// A zone's serial: 32 bits that wrap round (RFC 1982 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Serial(pub u32);

impl Serial {
    /// The serial after this one.
    pub fn next(self) -> Serial {
        Serial(self.0.wrapping_add(1))
    }

    /// Whether `self` comes after `other` (RFC 1982 section 3.2). Serials exactly 2^31 apart have no
    /// order: neither comes after the other.
    pub fn is_after(self, other: Serial) -> bool {
        self.partial_cmp(&other) == Some(Ordering::Greater)
    }
}

impl PartialOrd for Serial {
    fn partial_cmp(&self, other: &Serial) -> Option<Ordering> {
        match self.0.wrapping_sub(other.0) {
            0 => Some(Ordering::Equal),
            1..=0x7FFF_FFFF => Some(Ordering::Greater),
            0x8000_0000 => None,
            _ => Some(Ordering::Less),
        }
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        assert!(Serial(0).is_after(Serial(u32::MAX)));
        assert!(Serial(u32::MAX).next() == Serial(0));
        assert!(!Serial(1).is_after(Serial(1)));
        assert!(Serial(0x7FFF_FFFF).is_after(Serial(0)));
        assert!(!Serial(0x8000_0000).is_after(Serial(0)));
        assert!(!Serial(0).is_after(Serial(0x8000_0000)));
    }
}
