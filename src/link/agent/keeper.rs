//! Keeps the hosts of one target right. Each target has a keeper of its own, so a slow one holds up no other.

use super::state::State;
use crate::agent::backoff::Backoff;
use crate::agent::memory::{News, TargetMemory};
use crate::agent::plan::{Change, Observed, wanted};
use crate::clock::Clock;
use crate::config::TargetConfig;
use crate::link::bring::{Outcome, Step, bring};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a keeper is told after each look for addresses.
#[derive(Debug)]
pub(crate) struct Order {
    /// The addresses found.
    pub(crate) observed: Observed,
    /// Whether somebody asks for it, so that no waiting after a failure counts.
    pub(crate) urgent: bool,
    /// Where the result goes.
    pub(crate) reply: oneshot::Sender<Report>,
}

/// How a target stands after a check.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// The target.
    pub(crate) target: String,
    /// What was written, and shows.
    pub(crate) changed: Vec<Change>,
    /// Why something is left.
    pub(crate) fault: Option<String>,
}

/// What happened that somebody may want to be told of.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// Addresses were written.
    Changed(Report),
    /// The target has failed for long.
    Failing(Report),
    /// It works again.
    Recovered(Report),
    /// No source has had an address for long; why each has none.
    Lost(String),
    /// One has again.
    Found,
}

/// The keeper of one target.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) target: Arc<TargetConfig>,
    pub(crate) state: Arc<State>,
    pub(crate) clock: Clock,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
}

impl Keeper {
    /// Works until nobody can send orders any more.
    pub(crate) async fn run(mut self) {
        let backoff = Backoff::default();
        self.remember(|memory| memory.keep(&self.target.hosts));
        let mut observed = Observed::default();
        let mut waiting = Vec::new();
        let mut next: Option<Order> = None;
        loop {
            let retry = self.recall(|memory| memory.retry_in(self.clock.now(), backoff));
            let order = match next.take() {
                Some(order) => Some(order),
                None => tokio::select! {
                    order = self.orders.recv() => match order {
                        Some(order) => Some(order),
                        None => return,
                    },
                    () = tokio::time::sleep(retry.unwrap_or_default()), if retry.is_some() => None,
                },
            };
            let mut urgent = false;
            if let Some(order) = order {
                observed = order.observed;
                urgent = order.urgent;
                waiting.push(order.reply);
            }
            let pending = self.recall(TargetMemory::pending);
            let wanted = wanted(&self.target.hosts, observed, &pending);
            let waits = !urgent && self.recall(|memory| memory.waits(&wanted, self.clock.now(), backoff));
            let report = if waits || wanted.is_empty() {
                let fault = self.recall(|memory| memory.fault.clone());
                Report { target: self.target.name.clone(), changed: Vec::new(), fault }
            } else {
                // Most checks find all as it was, and cost the disk one write, not two.
                if pending != wanted && !self.recall(|memory| memory.knows(&wanted)) {
                    self.remember(|memory| memory.intend(&wanted));
                }
                let mut tell = |step: Step<'_>| {
                    if let Step::Found(target) = step {
                        tracing::debug!("target compared: {target}");
                    }
                };
                let attempt = bring(&self.target.remote, &wanted, &mut tell);
                let mut attempt = std::pin::pin!(attempt);
                let outcome = loop {
                    tokio::select! {
                        outcome = &mut attempt => break Some(outcome),
                        order = self.orders.recv() => match order {
                            None => return,
                            // The same again is answered by what is under way.
                            Some(order) if order.observed == observed => waiting.push(order.reply),
                            Some(order) => {
                                next = Some(order);
                                break None;
                            }
                        },
                    }
                };
                // Newer addresses are there: what was under way is pending, and goes with them.
                let Some(outcome) = outcome else { continue };
                self.ended(outcome, backoff)
            };
            for reply in waiting.drain(..) {
                // Who asked may be gone.
                let _ = reply.send(report.clone());
            }
        }
    }

    /// Takes note of how it ended, and tells of it.
    fn ended(&self, outcome: Outcome, backoff: Backoff) -> Report {
        let Outcome { shown, moved, right, pending, fault } = outcome;
        let target = &self.target.name;
        let mut chance = [0; 4];
        // Without chance the wait is the shortest of its step.
        let _ = getrandom::fill(&mut chance);
        let chance = u32::from_ne_bytes(chance);
        let fault = fault.map(|fault| fault.to_string());
        let now = self.clock.now();
        // What was there when it was last looked at, and has to be written once more.
        let overwritten =
            moved.iter().filter(|change| self.recall(|memory| memory.knows(std::slice::from_ref(change))));
        for change in overwritten {
            let host = &change.name;
            tracing::warn!(%target, %host, "somebody else has changed a host; see what else writes to it");
        }
        let (news, failures, retry, failed_before) = self.remember(|memory| {
            let before = memory.failures > 0;
            let news = memory.ended(now, &right, &pending, fault.clone(), backoff, chance);
            (news, memory.failures, memory.retry_at.map_or(0, |at| at.saturating_sub(now)), before)
        });
        // What is told is on disk.
        for change in &shown {
            tracing::info!(%target, host = %change.name, address = %change.address, "host updated");
        }
        if shown.is_empty() && fault.is_none() {
            tracing::debug!(%target, "nothing to change");
        }
        match &fault {
            Some(fault) => {
                tracing::warn!(%target, failures, retry_in = retry, "target not brought up to date: {fault}")
            }
            None if failed_before => tracing::info!(%target, "target up to date again"),
            None => {}
        }
        let report = Report { target: target.clone(), changed: shown, fault };
        let told = match news {
            News::Failing => Some(Event::Failing(report.clone())),
            News::Recovered => Some(Event::Recovered(report.clone())),
            News::None => None,
        };
        let changed = (!report.changed.is_empty()).then(|| Event::Changed(report.clone()));
        for event in changed.into_iter().chain(told) {
            // Nobody listens where nobody is to be told.
            let _ = self.events.send(event);
        }
        report
    }

    fn recall<T>(&self, look: impl FnOnce(&TargetMemory) -> T) -> T {
        let nothing = TargetMemory::default();
        self.state.with(|memory| look(memory.targets.get(&self.target.name).unwrap_or(&nothing)))
    }

    fn remember<T>(&self, change: impl FnOnce(&mut TargetMemory) -> T) -> T {
        self.state.change(|memory| change(memory.targets.entry(self.target.name.clone()).or_default()))
    }
}
