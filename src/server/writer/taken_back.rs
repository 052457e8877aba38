//! What an import would take back of what updates have done since its file was made.

use crate::clock::timestamp;
use crate::store::{Actor, Commit};
use crate::wire::Rtype;
use crate::zone::text::rdata_to_text;
use crate::zone::{Changes, Key, Record};
use std::collections::HashMap;
use std::fmt;

/// How many commits are looked at; each is in memory meanwhile.
pub(super) const COMMITS: usize = 10_000;
/// How many records are named.
const NAMED: usize = 3;

/// Records that updates have made come or go, and that an import would make go or come again.
#[derive(Debug)]
pub(super) struct TakenBack<'c>(Vec<(&'c Record, Word<'c>)>);

/// The last that was said of a record.
#[derive(Debug, Clone, Copy)]
struct Word<'c> {
    comes: bool,
    commit: &'c Commit,
}

impl<'c> TakenBack<'c> {
    /// Of these changes what goes against commits, the oldest first. Against the operator's own nothing does.
    pub(super) fn new(changes: &'c Changes, commits: impl Iterator<Item = &'c Commit>) -> TakenBack<'c> {
        let mut last: HashMap<(&Key, Rtype, &[u8]), Word<'c>> = HashMap::new();
        for commit in commits {
            for (records, comes) in [(&commit.changes.removed, false), (&commit.changes.added, true)] {
                last.extend(records.iter().map(|record| (id(record), Word { comes, commit })));
            }
        }
        let against = |records: &'c [Record], comes: bool| {
            let others = records.iter().filter(|record| record.rtype != Rtype::SOA);
            let words = others.filter_map(|record| Some((record, *last.get(&id(record))?)));
            let is_update = |word: &Word<'_>| !matches!(word.commit.actor, Actor::Operator | Actor::Seed);
            words.filter(|(_, word)| word.comes == comes && is_update(word)).collect::<Vec<_>>()
        };
        TakenBack([against(&changes.removed, true), against(&changes.added, false)].concat())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A record whatever its TTL.
fn id(record: &Record) -> (&Key, Rtype, &[u8]) {
    (&record.owner, record.rtype, &record.rdata)
}

impl fmt::Display for TakenBack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (record, Word { comes, commit })) in self.0.iter().take(NAMED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let Record { owner, rtype, rdata, .. } = record;
            let data = rdata_to_text(*rtype, rdata);
            let did = if *comes { "added" } else { "deleted" };
            let (actor, time) = (&commit.actor, timestamp(commit.time));
            write!(f, "{separator}{} {rtype} {data} ({did} by {actor} at {time})", owner.name())?;
        }
        match self.0.len().saturating_sub(NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
