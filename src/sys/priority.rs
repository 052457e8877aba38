//! How much of a busy processor a thread gets.

/// Gives this thread way to the others: it gets a tenth of a processor that others want too, and all of an idle one.
pub fn give_way() {
    // On Linux it is a thread whose priority it is; elsewhere it would be the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}
