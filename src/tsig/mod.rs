//! TSIG: keys, verification and signing (RFC 8945).
//!
//! Decides whether a message was signed with a key that both sides hold, and signs the answers. What a
//! key may change is not decided here. Time comes in as seconds since 1970; nothing is read or logged.
//!
//! A server calls [`verify`] and signs its reply with the [`Signer`] that comes out, or appends what the
//! [`Rejection`] says. A client calls [`sign_request`], then [`verify_response`] or a [`ResponseVerifier`].

mod algorithm;
mod client;
mod key;
mod key_file;
mod keyring;
mod mac;
mod record;
mod rejection;
mod sign;
mod verify;

pub use algorithm::Algorithm;
pub use client::{ResponseError, ResponseVerifier, sign_request, verify_response};
pub use key::{KeyError, Secret, TsigKey};
pub use key_file::KeyFileError;
pub use keyring::Keyring;
pub use mac::Mac;
pub use record::SignError;
pub use rejection::{Rejection, RejectionKind};
pub use sign::Signer;
pub use verify::{Verified, verify};
