//! Transfers: whole zones to whoever may have them (RFC 5936).
//!
//! Decides what the messages of a transfer hold. Whether it is granted, and how the messages travel, is the
//! server's business.

mod axfr;

pub use axfr::{Axfr, Piece};
