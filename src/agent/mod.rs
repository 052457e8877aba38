//! Keeping names at the right addresses: what to write, if anything.
//!
//! Decides which addresses cannot be right for a name ([`address`]), which of those that were found are taken
//! ([`source`]), what has to be written where ([`plan`]), and how
//! long to wait after a failure ([`backoff`]). Finding addresses, asking servers and waiting are left to the edge.

pub mod address;
pub mod backoff;
pub mod place;
pub mod plan;
pub mod source;
