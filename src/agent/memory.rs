//! What the agent remembers from one run to the next: since when each host has its address, what is still to be
//! written, and how long to wait before that is tried again.
//!
//! What is wanted is remembered before it is written, so a crash in between loses nothing: the next run tries again,
//! even where no source tells the address any more.

use super::backoff::Backoff;
use super::plan::{Change, Host, Observed};
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
    /// Since when no address at all has been found.
    pub lost_since: Option<u64>,
    /// Whether somebody was told of that.
    pub told: bool,
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

/// For how long a target or all sources may fail before somebody is told.
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

    /// Forgets hosts and families that the operator no longer lists, and with the last of what was left also why it
    /// failed.
    pub fn keep(&mut self, hosts: &[Host]) {
        let listed = |name: &str, address: IpAddr| {
            let same = |host: &&Host| Name::parse(name).is_ok_and(|name| host.name == name);
            hosts.iter().filter(same).any(|host| host.rule.has(address))
        };
        self.held.retain(|held| listed(&held.name, held.address));
        let left = self.pending.len();
        self.pending.retain(|pending| listed(&pending.name, pending.address));
        if left > 0 && self.pending.is_empty() {
            self.fault = None;
            (self.failures, self.failing_since, self.retry_at) = (0, None, None);
        }
    }

    /// Whether all of this was held when it was last looked at.
    pub fn knows(&self, wanted: &[Change]) -> bool {
        wanted.iter().map(Pending::from).all(|wanted| self.holds(&wanted))
    }

    /// Takes note of what is to be written, before it is.
    pub fn intend(&mut self, wanted: &[Change]) {
        self.pending = wanted.iter().map(Pending::from).collect();
    }

    /// Whether to wait: it failed a short while ago, and nothing is to be written that was not then.
    pub fn waits(&self, wanted: &[Change], now: u64, backoff: Backoff) -> bool {
        let tried = |wanted: &Pending| self.pending.contains(wanted) || self.holds(wanted);
        self.retry_in(now, backoff).is_some_and(|wait| !wait.is_zero())
            && wanted.iter().map(Pending::from).all(|wanted| tried(&wanted))
    }

    /// How long until it is to be tried again; `None` where nothing is left to be written. No wait is longer than the
    /// longest: one that seems to be is of a clock that was set back since.
    pub fn retry_in(&self, now: u64, backoff: Backoff) -> Option<Duration> {
        // What is left of a crash has no time.
        let wait = Duration::from_secs(self.retry_at.unwrap_or(0).saturating_sub(now));
        (!self.pending.is_empty()).then_some(if wait > backoff.longest { Duration::ZERO } else { wait })
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
            self.note(change, now);
        }
        self.pending = left.iter().map(Pending::from).collect();
        self.fault = fault;
        if self.fault.is_none() {
            let told = std::mem::take(&mut self.told);
            (self.failures, self.failing_since, self.retry_at) = (0, None, None);
            return if told { News::Recovered } else { News::None };
        }
        self.failures = self.failures.saturating_add(1);
        // One that is yet to come is of a clock that was set back.
        let since = *self.failing_since.insert(self.failing_since.filter(|since| *since <= now).unwrap_or(now));
        self.retry_at = Some(now.saturating_add(backoff.wait(self.failures, chance).as_secs().max(1)));
        if !self.told && now.saturating_sub(since) >= LASTING.as_secs() {
            self.told = true;
            return News::Failing;
        }
        News::None
    }

    fn holds(&self, wanted: &Pending) -> bool {
        self.held.iter().any(|held| held.name == wanted.name && held.address == wanted.address)
    }

    fn note(&mut self, change: &Change, now: u64) {
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
    /// Takes note of what was found, and when it is looked for again.
    pub fn looked(&mut self, observed: Observed, now: u64, next: u64) -> News {
        (self.v4, self.v6) = (observed.v4, observed.v6);
        (self.checked, self.next) = (Some(now), Some(next));
        if observed != Observed::default() {
            self.lost_since = None;
            return if std::mem::take(&mut self.told) { News::Recovered } else { News::None };
        }
        // One that is yet to come is of a clock that was set back.
        let since = *self.lost_since.insert(self.lost_since.filter(|since| *since <= now).unwrap_or(now));
        if self.told || now - since < LASTING.as_secs() {
            return News::None;
        }
        self.told = true;
        News::Failing
    }

    /// The addresses found last.
    pub fn observed(&self) -> Observed {
        Observed { v4: self.v4, v6: self.v6 }
    }

    /// What a person is shown of the targets with their hosts; `timestamp` writes a time.
    pub fn status(&self, hosts: &[(&str, &[Host])], timestamp: impl Fn(u64) -> String) -> String {
        let time = |time: Option<u64>| time.map_or("never".to_string(), &timestamp);
        let mut text = String::new();
        let addresses: Vec<String> =
            self.v4.map(|v4| v4.to_string()).into_iter().chain(self.v6.map(|v6| v6.to_string())).collect();
        let addresses = if addresses.is_empty() { "no address".to_string() } else { addresses.join(" and ") };
        let (checked, next) = (time(self.checked), time(self.next));
        // Writing to a string does not fail.
        let _ = writeln!(text, "found {addresses}, last check {checked}, next {next}");
        let never = TargetMemory::default();
        for (name, hosts) in hosts {
            let target = self.targets.get(*name).unwrap_or(&never);
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
            for Host { name, .. } in *hosts {
                let of_host = |known: &str| Name::parse(known).is_ok_and(|known| known == *name);
                let held = target.held.iter().any(|held| of_host(&held.name));
                if !held && !target.pending.iter().any(|pending| of_host(&pending.name)) {
                    let _ = writeln!(text, "  {name} has no address yet");
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::plan::{Rule, derived};
    use proptest::prelude::*;

    const NOW: u64 = 1_800_000_000;

    fn change(name: &str, address: &str) -> Change {
        Change { name: Name::parse(name).unwrap(), address: address.parse().unwrap() }
    }

    fn host(name: &str, rule: Rule) -> Host {
        Host { name: Name::parse(name).unwrap(), rule }
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
            assert!(
                target.waits(&wanted, NOW + wait - 1, Backoff::default())
                    && !target.waits(&wanted, NOW + wait, Backoff::default())
            );
        }
        assert!(!target.waits(&[change("r.example", "192.0.2.2")], NOW, Backoff::default()));
        assert_eq!(target.ended(NOW + 20, &wanted, &[], None, Backoff::default(), 0), News::None);
        assert_eq!((target.failures, target.retry_at, target.pending()), (0, None, vec![]));
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_no_target_waiting() {
        // The wait was cut to half an hour, at whose end the target was still not tried, and so until the clock had
        // caught up with itself.
        let mut target = TargetMemory::default();
        let wanted = [change("r.example", "192.0.2.1")];
        fails(&mut target, NOW, &wanted);
        let earlier = NOW - 90 * 86_400;
        assert_eq!(target.retry_in(earlier, Backoff::default()), Some(Duration::ZERO));
        assert!(!target.waits(&wanted, earlier, Backoff::default()));
        assert_eq!(fails(&mut target, earlier, &wanted), News::None);
        assert_eq!(fails(&mut target, earlier + 900, &wanted), News::Failing, "the time of failing begins anew");
    }

    #[test]
    fn what_is_left_of_some_hosts_waits_though_the_others_are_right() {
        // A target of two zones, of which one failed, was tried again at every check.
        let mut target = TargetMemory::default();
        let both = [change("r.example", "192.0.2.1"), change("n.example.net", "192.0.2.1")];
        target.ended(NOW, &both[..1], &both[1..], Some("no answer".into()), Backoff::default(), u32::MAX);
        assert!(target.waits(&both, NOW + 1, Backoff::default()));
        assert!(!target.waits(&[both[0].clone(), change("n.example.net", "192.0.2.2")], NOW + 1, Backoff::default()));
    }

    #[test]
    fn where_nothing_is_left_nothing_is_tried_again() {
        // A failed host that the operator took out left its time of the next try, and the keeper went round and round
        // without a pause where no address was found for the others.
        let mut target = TargetMemory::default();
        fails(&mut target, NOW, &[change("r.example", "192.0.2.1")]);
        target.keep(&[host("n.example", Rule::Same)]);
        assert_eq!(target.retry_in(NOW + 99, Backoff::default()), None);
        assert_eq!((target.failures, &target.fault), (0, &None));
    }

    #[test]
    fn of_a_host_that_lost_a_family_the_rest_alone_is_still_to_be_written() {
        let mut target = TargetMemory::default();
        let both = [change("r.example", "192.0.2.1"), change("r.example", "2001:db8::1")];
        fails(&mut target, NOW, &both);
        target.keep(&[host("r.example", Rule::V6)]);
        assert_eq!(target.pending(), both[1..]);
        fails(&mut target, NOW, &both);
        target.keep(&[host("r.example", derived("::53").unwrap())]);
        assert_eq!(target.pending(), both[1..]);
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
    fn somebody_is_told_once_that_no_source_has_an_address_and_once_of_its_end() {
        let mut memory = Memory::default();
        let one = Observed { v6: Some(Ipv6Addr::LOCALHOST), ..Observed::default() };
        let mut looked = |observed, now| memory.looked(observed, now, now + 300);
        let none = Observed::default();
        assert_eq!(looked(none, NOW), News::None);
        assert_eq!(looked(none, NOW - 9999), News::None, "the clock was set back");
        assert_eq!(looked(none, NOW - 9999 + 899), News::None);
        assert_eq!(looked(none, NOW - 9999 + 900), News::Failing);
        assert_eq!(looked(none, NOW), News::None);
        assert_eq!(looked(one, NOW), News::Recovered);
        assert_eq!(looked(one, NOW), News::None);
        assert_eq!(looked(none, NOW + 9999), News::None);
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
        target.keep(&[host("N.example", Rule::Same)]);
        assert_eq!((target.held.len(), target.pending()), (1, vec![both[1].clone()]));
    }

    #[test]
    fn the_status_shows_each_host_and_what_is_left() {
        let mut memory =
            Memory { checked: Some(3), next: Some(9), v4: Some([192, 0, 2, 1].into()), ..Memory::default() };
        let target = memory.targets.entry("home".into()).or_default();
        target.ended(3, &[change("r.example", "192.0.2.1")], &[], None, Backoff::default(), 0);
        fails(target, 4, &[change("n.example", "2001:db8::53")]);
        let hosts = ["r.example", "N.example", "tv.example"].map(|name| host(name, Rule::Same));
        assert_eq!(
            memory.status(&[("home", &hosts), ("new", &hosts[..1])], |time| format!("T{time}")),
            "found 192.0.2.1, last check T3, next T9\n\
             target home: last check T4, failed 1 times, next try T9: no answer\n  \
             r.example 192.0.2.1 since T3\n  n.example 2001:db8::53 still to be written\n  \
             tv.example has no address yet\ntarget new: last check never\n  r.example has no address yet\n"
        );
        assert_eq!(
            Memory::default().status(&[], |_| String::new()),
            "found no address, last check never, next never\n"
        );
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
