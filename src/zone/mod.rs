//! Zones: their records, how a name is looked up in them, and what changes them.
//!
//! A zone is a value: a change makes a new one that shares what did not change, and readers keep
//! the old one for as long as they need it.

mod changes;
mod key;
mod serial;
pub mod text;

pub use changes::{Changes, Record};
pub use key::{Key, KeyBuf, name_of, parent_of};
pub use serial::Serial;
