//! One change of a zone, taken back.

use super::taken_back::COMMITS;
use super::{Applied, OperatorError, Writer};
use crate::store::{Actor, Commit, CommitKind, Store};
use crate::wire::{Name, Rtype, Ttl};
use crate::zone::{Draft, Key, Record, Serial, ZoneSet};
use std::collections::BTreeSet;
use std::sync::Arc;

impl<S: Store + 'static> Writer<S> {
    /// Takes back the change that led a zone to a serial, with one commit.
    ///
    /// Where RRsets are not as that change left them it is refused: what they were before it would undo more.
    pub(super) fn undo(
        &self,
        zones: &mut ZoneSet,
        commits: &mut Vec<Commit>,
        apex: &Name,
        serial: Serial,
    ) -> Result<Applied, OperatorError> {
        let zone = zones.zone(apex).cloned().ok_or_else(|| format!("zone {apex} is not served here"))?;
        let history = self.store.history(apex, None, COMMITS).map_err(|error| error.to_string())?;
        let logged = history.commits.iter().map(|logged| &logged.commit);
        let all = logged.chain(commits.iter().filter(|commit| commit.zone == *apex));
        let (mut later, mut wrong) = (Vec::new(), None);
        for commit in all.rev().take_while(|commit| commit.kind == CommitKind::Change) {
            if commit.to == serial {
                wrong = Some(commit);
                break;
            }
            later.push(commit);
        }
        let wrong = wrong.ok_or_else(|| {
            format!(
                "no change that is kept led zone {apex} to serial {serial}; dyndns zone history {apex} shows which did"
            )
        })?;
        let touched: BTreeSet<(&Key, Rtype)> = records(wrong).map(|record| (&record.owner, record.rtype)).collect();
        let is_touched = |record: &Record| touched.contains(&(&record.owner, record.rtype));

        let mut then = Draft::new(&zone);
        later.iter().for_each(|commit| take_back(&mut then, commit, is_touched));
        let now = Draft::new(&zone);
        let differs = |(owner, rtype): &&(&Key, Rtype)| set_of(&then, owner, *rtype) != set_of(&now, owner, *rtype);
        if let Some((owner, rtype)) = touched.iter().find(differs) {
            let again =
                |commit: &&&Commit| records(commit).any(|record| (&record.owner, record.rtype) == (*owner, *rtype));
            let by = later.iter().find(again).map_or(String::new(), |commit| {
                format!(", at last by {}; take that back before: dyndns zone undo {apex} {}", commit.actor, commit.to)
            });
            return Err(format!("{} {rtype} has been changed again since serial {serial}{by}", owner.name()));
        }

        let mut draft = now;
        take_back(&mut draft, wrong, |_| true);
        // RFC 1034 section 3.6.2: an alias stands alone.
        let is_mixed = |owner: &&Key| {
            let mut types = draft.node(owner.as_bytes()).rrsets().map(|rrset| rrset.rtype);
            types.clone().any(|rtype| rtype == Rtype::CNAME)
                && types.any(|rtype| rtype != Rtype::CNAME && !rtype.stands_beside_cname())
        };
        if let Some(owner) = touched.iter().map(|(owner, _)| *owner).find(is_mixed) {
            return Err(format!("{} would have a CNAME beside other records; delete one of them first", owner.name()));
        }
        let changes = draft.finish();
        if changes.is_empty() {
            return Err(format!("what led zone {apex} to serial {serial} changed nothing but its SOA"));
        }
        let next = zone.with(&changes).map_err(|error| error.to_string())?;
        let applied = Applied::new(Some(zone.serial()), next.serial(), &changes);
        commits.push(self.commit(&next, CommitKind::Change, Some(zone.serial()), Actor::Operator, changes));
        zones.insert(Arc::new(next));
        Ok(applied)
    }
}

/// The records that a commit takes and brings, the SOA not among them.
fn records(commit: &Commit) -> impl Iterator<Item = &Record> {
    let all = commit.changes.removed.iter().chain(&commit.changes.added);
    all.filter(|record| record.rtype != Rtype::SOA)
}

/// Takes what a commit brought, and brings what it took.
fn take_back(draft: &mut Draft<'_>, commit: &Commit, counts: impl Fn(&Record) -> bool) {
    let counts = |record: &&Record| record.rtype != Rtype::SOA && counts(record);
    for record in commit.changes.added.iter().filter(counts) {
        let node = draft.node(record.owner.as_bytes());
        let left = node.rrset(record.rtype).map(|rrset| node.with(rrset.minus(&record.rdata).as_rrset()));
        left.into_iter().for_each(|left| draft.set(&record.owner, left));
    }
    for record in commit.changes.removed.iter().filter(counts) {
        draft.add(&record.owner, record.rtype, record.ttl, &record.rdata);
    }
}

/// An RRset in no order.
fn set_of<'d>(draft: &'d Draft<'_>, owner: &Key, rtype: Rtype) -> Option<(Ttl, BTreeSet<&'d [u8]>)> {
    draft.node(owner.as_bytes()).rrset(rtype).map(|rrset| (rrset.ttl, rrset.rdatas().collect()))
}
