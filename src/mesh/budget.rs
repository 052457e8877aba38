//! How much one peer may say. A member that floods is cut off for a while; its lies about others are counted apart.

use std::time::Duration;

/// What a peer has left to say.
#[derive(Debug)]
pub(super) struct Budget {
    messages: Bucket,
    octets: Bucket,
    suspicions: Bucket,
    muted: Option<Duration>,
}

#[derive(Debug)]
struct Bucket {
    left: u64,
    at: Duration,
}

/// What a bucket holds, and how much of it comes back in a second.
struct Rate {
    most: u64,
    second: u64,
}

/// A full exchange of the largest mesh is about 600 messages; in peace a peer says one in some seconds.
const MESSAGES: Rate = Rate { most: 2000, second: 50 };
/// The records of the largest mesh are 16 MiB. What it is sent because it asked counts, too: a short question for all
/// that is known must not cost more than a long speech.
const OCTETS: Rate = Rate { most: 33_554_432, second: 524_288 };
/// A liar makes others sign a record for each suspicion; where many are true, many members say so.
const SUSPICIONS: Rate = Rate { most: 64, second: 2 };
/// For how long nothing is taken from a peer that was cut off.
const MUTE: Duration = Duration::from_secs(60);

impl Budget {
    pub(super) fn new(now: Duration) -> Budget {
        let full = |rate: Rate| Bucket { left: rate.most, at: now };
        Budget { messages: full(MESSAGES), octets: full(OCTETS), suspicions: full(SUSPICIONS), muted: None }
    }

    /// Whether nothing is taken from it now.
    pub(super) fn is_muted(&self, now: Duration) -> bool {
        self.muted.is_some_and(|until| now < until)
    }

    /// Cuts the peer off for a while.
    pub(super) fn mute(&mut self, now: Duration) {
        self.muted = Some(now.saturating_add(MUTE));
    }

    /// One message of `octets`: whether it is within bounds.
    pub(super) fn spend(&mut self, octets: usize, now: Duration) -> bool {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        self.messages.take(1, &MESSAGES, now) && self.octets.take(octets, &OCTETS, now)
    }

    /// So many octets are sent because it asked: whether that is within bounds.
    pub(super) fn owe(&mut self, octets: usize, now: Duration) -> bool {
        self.octets.take(u64::try_from(octets).unwrap_or(u64::MAX), &OCTETS, now)
    }

    /// One suspicion: whether it is to be believed.
    pub(super) fn suspect(&mut self, now: Duration) -> bool {
        self.suspicions.take(1, &SUSPICIONS, now)
    }

    /// Whether it can be forgotten: nothing of it is missing.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        let idle = |at: Duration| now.saturating_sub(at) > Duration::from_secs(120);
        !self.is_muted(now) && idle(self.messages.at) && idle(self.suspicions.at)
    }
}

impl Bucket {
    fn take(&mut self, cost: u64, rate: &Rate, now: Duration) -> bool {
        let milliseconds = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        let back = milliseconds.saturating_mul(rate.second) / 1000;
        if back > 0 {
            self.left = self.left.saturating_add(back).min(rate.most);
            self.at = now;
        }
        let rest = self.left.checked_sub(cost);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_ends_and_quiet_gives_back() {
        let mut budget = Budget::new(Duration::ZERO);
        let taken = (0..5000).filter(|_| budget.spend(100, Duration::from_millis(5))).count();
        assert_eq!(taken, 2000);
        assert!(budget.spend(100, Duration::from_secs(1)));
        budget.mute(Duration::from_secs(1));
        assert!(budget.is_muted(Duration::from_secs(60)) && !budget.is_muted(Duration::from_secs(61)));
    }

    #[test]
    fn what_is_asked_for_counts_like_what_is_said() {
        let mut budget = Budget::new(Duration::ZERO);
        assert!(budget.owe(33_000_000, Duration::ZERO));
        assert!(!budget.owe(1_000_000, Duration::ZERO) && !budget.spend(1_000_000, Duration::ZERO));
        assert!(budget.owe(1_000_000, Duration::from_secs(2)));
    }

    #[test]
    fn suspicions_are_counted_apart() {
        let mut budget = Budget::new(Duration::ZERO);
        assert_eq!((0..1000).filter(|_| budget.suspect(Duration::ZERO)).count(), 64);
        assert!(budget.spend(1, Duration::ZERO));
    }
}
