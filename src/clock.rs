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

/// Seconds since 1970 as RFC 3339 has them, in UTC.
pub fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days that begin in March, so that the leap day is a year's last: an era is 400 years, 146,097
    // days; day 0 of 1970 is day 719,468 of the era that began in March of the year 0.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + carry;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_dates() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(timestamp(1_795_254_813), "2026-11-21T09:53:33Z");
        assert_eq!(timestamp(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(timestamp(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
