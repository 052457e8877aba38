//! What we ask of other servers. Bytes are moved and the verdicts of the core carried out; nothing is decided here.

pub mod rfc2136;
