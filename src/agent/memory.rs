//! What the agent remembers from one run to the next: since when each host has its address, what is still to be
//! written, and how long to wait before that is tried again.
//!
//! What is wanted is remembered before it is written, so a crash in between loses nothing: the next run tries again,
//! even where no source tells the address any more.

use super::backoff::Backoff;
use super::plan::{Change, Observed};
use crate::wire::Name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// All of it. Times are in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// When addresses were last looked for.
    pub checked: Option<u64>,
    /// When they will be looked for again, where nothing else is heard.
    pub next: Option<u64>,
    /// The IPv4 address found then.
    pub v4: Option<Ipv4Addr>,
    /// The IPv6 address found then.
    pub v6: Option<Ipv6Addr>,
    /// The targets by their names.
    pub targets: BTreeMap<String, TargetMemory>,
}

/// What is remembered of one target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetMemory {
    /// When it was last compared.
    pub checked: Option<u64>,
    /// What it is known to hold.
    pub held: Vec<Held>,
    /// What may still have to be written.
    pub pending: Vec<Pending>,
    /// How often in a row it failed.
    pub failures: u32,
    /// When the first of these failures was.
    pub failing_since: Option<u64>,
    /// Before then it is not tried again, unless something new is to be written.
    pub retry_at: Option<u64>,
    /// Why it failed last.
    pub fault: Option<String>,
    /// Whether somebody was told that it keeps failing.
    pub told: bool,
}

/// An address that a target holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The host.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
    /// Since when, as far as is known.
    pub since: u64,
}

/// An address that a target may not hold yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The host.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// What somebody should be told of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// It has failed for so long that somebody should look.
    Failing,
    /// It works again, after somebody was told that it did not.
    Recovered,
}

/// For how long a target may fail before somebody is told.
pub const LASTING: Duration = Duration::from_secs(900);

impl TargetMemory {
    /// What is still to be written. What no longer reads as a name is left out.
    pub fn pending(&self) -> Vec<Change> {
        let changes = self.pending.iter().map(|Pending { name, address }| {
            let name = Name::parse(name).ok()?;
            Some(Change { name, address: *address })
        });
        changes.flatten().collect()
    }

    /// Forgets hosts that the operator no longer lists.
    pub fn keep(&mut self, hosts: &[Name]) {
        let listed = |name: &str| Name::parse(name).is_ok_and(|name| hosts.contains(&name));
        self.held.retain(|held| listed(&held.name));
        self.pending.retain(|pending| listed(&pending.name));
    }

    /// Whether all of this was held when it was last looked at.
    pub fn knows(&self, wanted: &[Change]) -> bool {
        wanted
            .iter()
            .map(Pending::from)
            .all(|wanted| self.held.iter().any(|held| held.name == wanted.name && held.address == wanted.address))
    }

    /// Takes note of what is to be written, before it is.
    pub fn intend(&mut self, wanted: &[Change]) {
        self.pending = wanted.iter().map(Pending::from).collect();
    }

    /// Whether to wait: it failed a short while ago, and nothing but that is to be written.
    pub fn waits(&self, wanted: &[Change], now: u64) -> bool {
        self.retry_at.is_some_and(|retry_at| now < retry_at) && self.pending() == wanted
    }

    /// How long until it is to be tried again; `None` where it is not. Not even a clock that was set back makes it
    /// longer than the longest wait.
    pub fn retry_in(&self, now: u64, backoff: Backoff) -> Option<Duration> {
        self.retry_at.map(|retry_at| Duration::from_secs(retry_at.saturating_sub(now)).min(backoff.longest))
    }

    /// Takes note of how a check ended: what is right now, what is left, and why. `chance` is any number.
    pub fn ended(
        &mut self,
        now: u64,
        right: &[Change],
        left: &[Change],
        fault: Option<String>,
        backoff: Backoff,
        chance: u32,
    ) -> News {
        self.checked = Some(now);
        for change in right {
            self.holds(change, now);
        }
        self.pending = left.iter().map(Pending::from).collect();
        self.fault = fault;
        if self.fault.is_none() {
            let told = std::mem::take(&mut self.told);
            (self.failures, self.failing_since, self.retry_at) = (0, None, None);
            return if told { News::Recovered } else { News::None };
        }
        self.failures = self.failures.saturating_add(1);
        let since = *self.failing_since.get_or_insert(now);
        self.retry_at = Some(now.saturating_add(backoff.wait(self.failures, chance).as_secs().max(1)));
        if !self.told && now.saturating_sub(since) >= LASTING.as_secs() {
            self.told = true;
            return News::Failing;
        }
        News::None
    }

    fn holds(&mut self, change: &Change, now: u64) {
        let name = change.name.to_lowercase().to_string();
        let same = |held: &&mut Held| held.name == name && held.address.is_ipv4() == change.address.is_ipv4();
        match self.held.iter_mut().find(same) {
            Some(held) if held.address == change.address => {}
            Some(held) => (held.address, held.since) = (change.address, now),
            None => self.held.push(Held { name, address: change.address, since: now }),
        }
    }
}

impl From<&Change> for Pending {
    fn from(change: &Change) -> Pending {
        Pending { name: change.name.to_lowercase().to_string(), address: change.address }
    }
}

impl Memory {
    /// The addresses found last.
    pub fn observed(&self) -> Observed {
        Observed { v4: self.v4, v6: self.v6 }
    }

    /// What a person is shown; `timestamp` writes a time.
    pub fn status(&self, timestamp: impl Fn(u64) -> String) -> String {
        let time = |time: Option<u64>| time.map_or("never".to_string(), &timestamp);
        let mut text = String::new();
        let addresses: Vec<String> =
            self.v4.map(|v4| v4.to_string()).into_iter().chain(self.v6.map(|v6| v6.to_string())).collect();
        let addresses = if addresses.is_empty() { "no address".to_string() } else { addresses.join(" and ") };
        let (checked, next) = (time(self.checked), time(self.next));
        // Writing to a string does not fail.
        let _ = writeln!(text, "found {addresses}, last check {checked}, next {next}");
        for (name, target) in &self.targets {
            let _ = write!(text, "target {name}: last check {}", time(target.checked));
            match &target.fault {
                Some(fault) => {
                    let (failures, retry_at) = (target.failures, time(target.retry_at));
                    let _ = writeln!(text, ", failed {failures} times, next try {retry_at}: {fault}");
                }
                None => text.push('\n'),
            }
            for Held { name, address, since } in &target.held {
                let _ = writeln!(text, "  {name} {address} since {}", timestamp(*since));
            }
            for Pending { name, address } in &target.pending {
                let _ = writeln!(text, "  {name} {address} still to be written");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn change(name: &str, address: &str) -> Change {
        Change { name: Name::parse(name).unwrap(), address: address.parse().unwrap() }
    }

    fn fails(target: &mut TargetMemory, now: u64, left: &[Change]) -> News {
        target.ended(now, &[], left, Some("no answer".into()), Backoff::default(), u32::MAX)
    }

    #[test]
    fn what_failed_waits_longer_each_time_but_something_new_does_not_wait() {
        let mut target = TargetMemory::default();
        let wanted = [change("r.example", "192.0.2.1")];
        target.intend(&wanted);
        for (failures, wait) in [(1, 5), (2, 10), (3, 20)] {
            assert_eq!(fails(&mut target, NOW, &wanted), News::None);
            assert_eq!((target.failures, target.retry_at), (failures, Some(NOW + wait)));
            assert!(target.waits(&wanted, NOW + wait - 1) && !target.waits(&wanted, NOW + wait));
        }
        assert!(!target.waits(&[change("r.example", "192.0.2.2")], NOW));
        assert_eq!(target.retry_in(0, Backoff::default()), Some(Backoff::default().longest), "the clock was set back");
        assert_eq!(target.ended(NOW + 20, &wanted, &[], None, Backoff::default(), 0), News::None);
        assert_eq!((target.failures, target.retry_at, target.pending()), (0, None, vec![]));
    }

    #[test]
    fn somebody_is_told_once_of_lasting_failure_and_once_of_its_end() {
        let mut target = TargetMemory::default();
        let wanted = [change("r.example", "192.0.2.1")];
        assert_eq!(fails(&mut target, NOW, &wanted), News::None);
        assert_eq!(fails(&mut target, NOW + 899, &wanted), News::None);
        assert_eq!(fails(&mut target, NOW + 900, &wanted), News::Failing);
        assert_eq!(fails(&mut target, NOW + 5000, &wanted), News::None);
        assert_eq!(target.ended(NOW + 6000, &wanted, &[], None, Backoff::default(), 0), News::Recovered);
        assert_eq!(target.ended(NOW + 7000, &wanted, &[], None, Backoff::default(), 0), News::None);
    }

    #[test]
    fn since_when_an_address_is_held_stays_until_it_is_another() {
        let mut target = TargetMemory::default();
        let mut right = |now, address| {
            target.ended(
                now,
                &[change("R.example", address), change("r.example", "2001:db8::1")],
                &[],
                None,
                Backoff::default(),
                0,
            );
            target.held.iter().map(|held| held.since - NOW).collect::<Vec<_>>()
        };
        assert_eq!(right(NOW, "192.0.2.1"), [0, 0]);
        assert_eq!(right(NOW + 5, "192.0.2.1"), [0, 0]);
        assert_eq!(right(NOW + 9, "192.0.2.2"), [9, 0]);
    }

    #[test]
    fn hosts_that_are_no_longer_listed_are_forgotten() {
        let mut target = TargetMemory::default();
        let both = [change("r.example", "192.0.2.1"), change("n.example", "192.0.2.2")];
        target.ended(NOW, &both, &both, Some("x".into()), Backoff::default(), 0);
        target.keep(&[Name::parse("N.example").unwrap()]);
        assert_eq!((target.held.len(), target.pending()), (1, vec![both[1].clone()]));
    }

    #[test]
    fn the_status_shows_each_host_and_what_is_left() {
        let mut memory =
            Memory { checked: Some(3), next: Some(9), v4: Some([192, 0, 2, 1].into()), ..Memory::default() };
        let target = memory.targets.entry("home".into()).or_default();
        target.ended(3, &[change("r.example", "192.0.2.1")], &[], None, Backoff::default(), 0);
        fails(target, 4, &[change("n.example", "2001:db8::53")]);
        assert_eq!(
            memory.status(|time| format!("T{time}")),
            "found 192.0.2.1, last check T3, next T9\n\
             target home: last check T4, failed 1 times, next try T9: no answer\n  \
             r.example 192.0.2.1 since T3\n  n.example 2001:db8::53 still to be written\n"
        );
        assert_eq!(Memory::default().status(|_| String::new()), "found no address, last check never, next never\n");
    }

    proptest! {
        #[test]
        fn what_is_remembered_reads_back_as_it_was(v4: Option<Ipv4Addr>, now: u64, address: IpAddr, failing: bool) {
            let mut memory = Memory { checked: Some(now), v4, ..Memory::default() };
            let target = memory.targets.entry("home".into()).or_default();
            let changes = [Change { name: Name::parse("a\\.b.example").unwrap(), address }];
            target.intend(&changes);
            target.ended(now, &changes, &changes, failing.then(|| "x".into()), Backoff::default(), 7);
            let text = serde_json::to_string(&memory).unwrap();
            let back: Memory = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(back.targets["home"].pending(), changes);
            prop_assert_eq!(back, memory);
        }
    }
}
