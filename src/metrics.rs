//! Every counter, declared once.

use crate::query::Reason;
use crate::wire::Rcode;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the server has done since it started. Counting takes no lock.
#[derive(Debug)]
pub struct Metrics {
    reasons: [AtomicU64; Reason::ALL.len()],
    /// Updates that were applied, those that changed nothing included.
    pub updates_applied: AtomicU64,
    /// Updates that were refused, by response code 0 to 15.
    refused: [AtomicU64; 16],
    /// Update datagrams dropped because the writer's queue was full.
    pub updates_dropped: AtomicU64,
    /// Connections accepted: TCP, and those over TLS, HTTPS and QUIC.
    pub tcp_accepted: AtomicU64,
    /// Connections of these kinds closed at once because too many were open.
    pub tcp_refused: AtomicU64,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        Metrics {
            reasons: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            updates_applied: AtomicU64::new(0),
            refused: [const { AtomicU64::new(0) }; 16],
            updates_dropped: AtomicU64::new(0),
            tcp_accepted: AtomicU64::new(0),
            tcp_refused: AtomicU64::new(0),
        }
    }

    /// Counts one message that was answered, or not, for this reason.
    pub fn count(&self, reason: Reason) {
        if let Some(counter) = self.reasons.get(reason as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts all that a tally holds, and empties it.
    pub fn count_all(&self, tally: &mut Tally) {
        for (counter, count) in self.reasons.iter().zip(&mut tally.0) {
            if *count > 0 {
                counter.fetch_add(std::mem::take(count), Ordering::Relaxed);
            }
        }
    }

    /// Counts one refused update.
    pub fn count_refusal(&self, rcode: Rcode) {
        if let Some(counter) = self.refused.get(usize::from(rcode.0)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages there were for this reason.
    pub fn reason(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// How many queries were looked at, for whatever reason.
    pub fn queries(&self) -> u64 {
        self.reasons.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }

    /// How many updates were refused.
    pub fn updates_refused(&self) -> u64 {
        self.refused.iter().map(|counter| counter.load(Ordering::Relaxed)).sum()
    }
}

/// Counts of a batch of messages, kept apart until the batch is done: processors that count in one place for each
/// message wait for each other.
#[derive(Debug, Default)]
pub struct Tally([u64; Reason::ALL.len()]);

impl Tally {
    /// Counts one message that was answered, or not, for this reason.
    pub fn count(&mut self, reason: Reason) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_is_counted_once() {
        let (metrics, mut tally) = (Metrics::new(), Tally::default());
        metrics.count(Reason::NoData);
        tally.count(Reason::NoData);
        tally.count(Reason::Answered);
        metrics.count_all(&mut tally);
        metrics.count_all(&mut tally);
        assert_eq!((metrics.reason(Reason::NoData), metrics.reason(Reason::Answered), metrics.queries()), (2, 1, 3));
    }
}
