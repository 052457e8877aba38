//! Keeping names at the right addresses: what to write, if anything.
//!
//! Decides which addresses cannot be right for a name ([`address`]), which of those that were found are taken
//! ([`source`]), what has to be written where ([`plan`]), how long to
//! wait after a failure ([`backoff`]), and what outlasts a restart ([`memory`]). Finding addresses, asking servers and waiting are left to the edge.

pub mod address;
pub mod backoff;
pub mod memory;
pub mod place;
pub mod plan;
pub mod source;
