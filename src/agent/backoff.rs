//! How long to wait after failures: twice as long after each, up to a bound, and by chance a little less, so that
//! many who lost the same server do not come back to it in one moment.

use std::time::Duration;

/// The bounds of the waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Default for Backoff {
    /// From five seconds, in which a restart is over, to half an hour.
    fn default() -> Backoff {
        Backoff { first: Duration::from_secs(5), longest: Duration::from_secs(1800) }
    }
}

impl Backoff {
    /// How long to wait after `failures` in a row, at least one. `chance` is any number, each as likely; the wait is
    /// between half of the whole step and the whole.
    pub fn wait(&self, failures: u32, chance: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let step = self.first.saturating_mul(1 << doublings).min(self.longest);
        let half = step / 2;
        let part = half.as_nanos() * u128::from(chance) / u128::from(u32::MAX);
        half + u64::try_from(part).map_or(half, Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_wait_doubles_up_to_its_bound() {
        let backoff = Backoff::default();
        let seconds: Vec<u64> = (1..=11).map(|failures| backoff.wait(failures, u32::MAX).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]);
    }

    proptest! {
        #[test]
        fn the_wait_is_between_half_a_step_and_the_whole(failures: u32, chance: u32) {
            let backoff = Backoff::default();
            let wait = backoff.wait(failures, chance);
            let whole = backoff.wait(failures, u32::MAX);
            prop_assert!(wait >= backoff.wait(failures, 0) && wait <= whole && whole <= backoff.longest);
            prop_assert!(backoff.wait(failures, 0) >= whole / 2 - Duration::from_nanos(1));
        }
    }
}
