//! The one place that reads a clock; everything else takes the time as an argument.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands still until it is set, for tests.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that stands at `seconds` after 1970.
    pub fn manual(seconds: u64) -> Clock {
        Clock::Manual(Arc::new(AtomicU64::new(seconds)))
    }

    /// Seconds since 1970, without leap seconds.
    #[allow(clippy::disallowed_methods, reason = "the one place where the clock is read")]
    pub fn now(&self) -> u64 {
        match self {
            // A clock set before 1970 reads as 1970: signatures fail by time, nothing else does.
            Clock::System => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            Clock::Manual(seconds) => seconds.load(Ordering::Relaxed),
        }
    }

    /// Microseconds on the system's monotonic clock, as systemd counts them (sd_notify(3), MONOTONIC_USEC); a manual
    /// clock's own time.
    pub fn monotonic_micros(&self) -> u64 {
        match self {
            Clock::System => {
                let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                // Neither part is negative on this clock.
                let whole = |number: i64| u64::try_from(number).unwrap_or(0);
                whole(time.tv_sec).saturating_mul(1_000_000).saturating_add(whole(time.tv_nsec) / 1000)
            }
            Clock::Manual(seconds) => seconds.load(Ordering::Relaxed).saturating_mul(1_000_000),
        }
    }

    /// Sets a manual clock; the system's clock stays as it is.
    pub fn set(&self, seconds: u64) {
        if let Clock::Manual(now) = self {
            now.store(seconds, Ordering::Relaxed);
        }
    }
}
