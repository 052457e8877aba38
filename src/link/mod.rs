//! What we ask of other servers. Bytes are moved and the verdicts of the core carried out; nothing is decided here.

pub mod agent;
pub mod authority;
pub mod bring;
mod command;
pub mod dyndns2;
pub mod http;
pub mod mesh;
pub mod rfc2136;
pub mod route53;
pub mod source;
pub mod target;

use std::fmt;

/// Why something outside did not do what it was asked to: one line with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub String);

impl Fault {
    /// In these words.
    pub fn new(text: impl Into<String>) -> Fault {
        Fault(text.into())
    }
}

impl From<rfc2136::Failure> for Fault {
    fn from(failure: rfc2136::Failure) -> Fault {
        Fault(failure.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}
