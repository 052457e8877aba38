//! How the store fares while it runs, for whoever asks: `dyndns status` and the metrics.
//!
//! Kept by the store itself, so that the answer is that of the moment, whether or not updates come.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a store fares. All zeros and no fault where a store does not tell.
#[derive(Debug, Default)]
pub struct Health {
    journal: Mutex<Option<String>>,
    table: Mutex<Option<String>>,
    /// The last commit, and the last one that the table holds.
    last: AtomicU64,
    followed: AtomicU64,
    octets: AtomicU64,
}

impl Health {
    /// Why updates are not stored at present; `None` where they are, as far as is known.
    pub fn refusing(&self) -> Option<String> {
        text(&self.journal).clone()
    }

    /// Why the table does not follow the journal at present; `None` where it does.
    pub fn resting(&self) -> Option<String> {
        text(&self.table).clone()
    }

    /// How many commits the table lacks.
    pub fn behind(&self) -> u64 {
        self.last.load(Ordering::Relaxed).saturating_sub(self.followed.load(Ordering::Relaxed))
    }

    /// How many octets the journal's segments have.
    pub fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    pub(super) fn set_refusing(&self, why: Option<String>) {
        *text(&self.journal) = why;
    }

    pub(super) fn set_resting(&self, why: Option<String>) {
        *text(&self.table) = why;
    }

    pub(super) fn set_last(&self, seq: u64) {
        self.last.store(seq, Ordering::Relaxed);
    }

    pub(super) fn set_octets(&self, octets: u64) {
        self.octets.store(octets, Ordering::Relaxed);
    }

    pub(super) fn set_followed(&self, seq: u64) {
        self.followed.store(seq, Ordering::Relaxed);
    }
}

fn text(place: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    // Nothing in here panics between two halves of a change.
    place.lock().unwrap_or_else(PoisonError::into_inner)
}
