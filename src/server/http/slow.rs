//! Who waits after wrong passwords, and how long.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

/// How long one waits at most before trying the same again, in seconds.
pub(crate) const LONGEST: u64 = 900;
/// After how many seconds without a wrong password all is forgotten.
const FORGOTTEN: u64 = 900;
/// How many are remembered.
const REMEMBERED: usize = 4096;

/// Each wrong password doubles the wait, up to a bound. Bounded: the one whose wait ends first is forgotten first, so
/// whoever is to fill the table has to be slowed himself, at each of thousands of places.
#[derive(Debug)]
pub(crate) struct Slowed<K> {
    tries: HashMap<K, Tries>,
    /// How many wrong passwords cost nothing.
    free: u32,
    /// How many seconds one waits at most.
    longest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    until: u64,
}

impl<K: Eq + Hash + Clone> Slowed<K> {
    pub(crate) fn new(free: u32, longest: u64) -> Slowed<K> {
        Slowed { tries: HashMap::new(), free, longest }
    }

    /// How many seconds are still to pass.
    pub(crate) fn wait(&self, who: &K, now: u64) -> u64 {
        self.tries.get(who).map_or(0, |tries| tries.until.saturating_sub(now))
    }

    /// Counts a wrong password: the next may come after 1, 2, 4 ... seconds.
    pub(crate) fn slow(&mut self, who: K, now: u64) {
        let forgotten = |tries: &Tries| tries.until.saturating_add(FORGOTTEN) < now;
        if self.tries.len() >= REMEMBERED && !self.tries.contains_key(&who) {
            self.tries.retain(|_, tries| !forgotten(tries));
            let first = self.tries.iter().min_by_key(|(_, tries)| tries.until).map(|(who, _)| who.clone());
            if let Some(first) = first.filter(|_| self.tries.len() >= REMEMBERED) {
                self.tries.remove(&first);
            }
        }
        let tries = self.tries.entry(who).or_insert(Tries { wrong: 0, until: now });
        let wrong = if forgotten(tries) { 1 } else { tries.wrong.saturating_add(1) };
        let seconds = match wrong.checked_sub(self.free + 1) {
            None => 0,
            Some(doublings) => 1u64.checked_shl(doublings.min(32)).unwrap_or(self.longest).min(self.longest),
        };
        *tries = Tries { wrong, until: now.saturating_add(seconds) };
    }
}

/// Who is one source: who has a prefix has all its addresses.
pub(crate) fn place(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_password_doubles_the_wait_up_to_its_bound() {
        let mut slowed = Slowed::new(0, 900);
        let mut next = |now| {
            slowed.slow("who", now);
            slowed.wait(&"who", now)
        };
        let waits: Vec<u64> = (0..12).map(|_| next(1000)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        // Long after, it begins anew.
        assert_eq!((next(1900 + FORGOTTEN), next(1900 + 900 + 2 * FORGOTTEN + 1)), (900, 1));
        assert_eq!(slowed.wait(&"other", 1000), 0);
    }

    #[test]
    fn the_first_few_may_cost_nothing() {
        let mut slowed = Slowed::new(2, 4);
        let waits: Vec<u64> = (0..6)
            .map(|_| {
                slowed.slow("who", 1000);
                slowed.wait(&"who", 1000)
            })
            .collect();
        assert_eq!(waits, [0, 0, 1, 2, 4, 4]);
    }

    #[test]
    fn a_full_table_forgets_the_one_whose_wait_ends_first_and_slows_the_newcomer() {
        let mut slowed = Slowed::new(0, 900);
        slowed.slow(0, 1000);
        (1..REMEMBERED).for_each(|who| slowed.slow(who, 1001));
        slowed.slow(REMEMBERED, 1001);
        assert_eq!((slowed.tries.len(), slowed.wait(&REMEMBERED, 1001), slowed.wait(&1, 1001)), (REMEMBERED, 1, 1));
        assert!(!slowed.tries.contains_key(&0));
        // Those that are long forgotten all go.
        slowed.slow(usize::MAX, 1002 + FORGOTTEN + 1);
        assert_eq!(slowed.tries.len(), 1);
    }
}
