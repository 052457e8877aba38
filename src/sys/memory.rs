//! Memory that the allocator keeps although nothing is in it any more.

#![allow(unsafe_code, reason = "malloc_trim is a function of C")]

/// Gives the pages of freed memory back to the system, where the allocator is one that keeps them. Takes some
/// milliseconds for each hundred megabytes.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time, from any thread, and touches freed memory only.
    let _ = unsafe { libc::malloc_trim(0) };
}
