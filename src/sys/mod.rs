//! What the operating system offers beyond the standard library, and what the service manager expects.

pub mod notify;
pub mod pid_file;
