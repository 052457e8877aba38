//! TSIG: keys, verification and signing (RFC 8945).
//!
//! Decides whether a message was signed with a key that both sides hold, and signs the answers. What a
//! key may change is not decided here. Time comes in as seconds since 1970; nothing is read or logged.

mod algorithm;
mod key;
mod key_file;
mod keyring;

pub use algorithm::Algorithm;
pub use key::{KeyError, Secret, TsigKey};
pub use key_file::KeyFileError;
pub use keyring::Keyring;
