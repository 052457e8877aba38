//! What the operating system offers beyond the standard library, and what the service manager expects.

pub mod datagrams;
pub mod memory;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod mmsg;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod netlink;
pub mod notify;
pub mod pid_file;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod pktinfo;

/// How datagrams are best received and sent here.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub type BestDatagrams = mmsg::Batch;
/// How datagrams are best received and sent here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub type BestDatagrams = datagrams::Single;
