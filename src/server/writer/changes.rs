//! Each kind of change as the writer makes it: upon the zones as the changes before it in the group left them, with one
//! commit for each zone.

use super::taken_back::{COMMITS, TakenBack};
use super::{Applied, Entrance, OperatorError, Updates, Writer};
use crate::mesh::names::{Leased, Plan, plan};
use crate::store::{Actor, Commit, CommitKind, Since, Store};
use crate::update::{Refusal, UpdateMessage, apply_update};
use crate::wire::Name;
use crate::zone::{Changes, Draft, KeyBuf, Record, Serial, Zone, ZoneError, ZoneSet, seed};
use std::net::IpAddr;
use std::sync::Arc;

impl<S: Store + 'static> Writer<S> {
    /// Applies one update to `zones` and adds its commit, if it changes anything.
    pub(super) fn update(
        &self,
        zones: &mut ZoneSet,
        commits: &mut Vec<Commit>,
        update: &UpdateMessage,
        (key, entrance): (Name, Entrance),
        source: IpAddr,
    ) -> Result<Applied, Refusal> {
        let Some(zone) = zones.zone(&update.zone) else {
            return self.update_new(zones, commits, update, (key, entrance), source);
        };
        let (apex, from) = (*zone.apex(), zone.serial());
        let changes = apply_update(zone, update, &self.published.rights().policy(&apex), &key)?;
        if changes.is_empty() {
            return Ok(Applied { from: Some(from), to: from, added: 0, removed: 0 });
        }
        // In place where this is not the group's first change of the zone: no reader has seen that state.
        zones.change(&apex, &changes).map_err(|error| misfit(&apex, &error))?;
        let zone = zones.zone(&apex).ok_or(Refusal::Storage)?;
        let applied = Applied::new(Some(from), zone.serial(), &changes);
        let commit = self.commit(zone, CommitKind::Change, Some(from), entrance.actor(key), changes);
        commits.push(Commit { source: Some(source), ..commit });
        Ok(applied)
    }

    /// Applies one update to a zone that is not served yet, where the key may make it. Its commit holds all of it.
    fn update_new(
        &self,
        zones: &mut ZoneSet,
        commits: &mut Vec<Commit>,
        update: &UpdateMessage,
        (key, entrance): (Name, Entrance),
        source: IpAddr,
    ) -> Result<Applied, Refusal> {
        let mut zone = self.new_zone(zones, &update.zone, &key)?;
        let changes = apply_update(&zone, update, &self.published.rights().policy(zone.apex()), &key)?;
        zone.change(&changes).map_err(|error| misfit(&update.zone, &error))?;
        let applied = Applied::new(None, zone.serial(), &changes);
        let all = Changes { removed: Vec::new(), added: zone.records().collect() };
        let commit = self.commit(&zone, CommitKind::Create, None, entrance.actor(key), all);
        commits.push(Commit { source: Some(source), ..commit });
        zones.insert(Arc::new(zone));
        Ok(applied)
    }

    /// Makes a zone hold these records, which were made of it when it had the serial `made_of`, with one commit.
    pub(super) fn import(
        &self,
        zones: &mut ZoneSet,
        commits: &mut Vec<Commit>,
        (apex, records): (&Name, Vec<Record>),
        made_of: Option<Serial>,
        updates: Updates,
    ) -> Result<Applied, OperatorError> {
        let wanted = Zone::new(apex, records).map_err(|error| error.to_string())?;
        let base = zones.zone(apex).cloned();
        let (kind, changes, next) = match &base {
            Some(base) => {
                let changes = Draft::towards(base, &wanted).finish();
                if changes.is_empty() {
                    return Ok(Applied { from: Some(base.serial()), to: base.serial(), added: 0, removed: 0 });
                }
                if updates == Updates::Stay && made_of != Some(base.serial()) {
                    self.keeps_updates(&changes, base, commits, made_of)?;
                }
                let next = base.with(&changes).map_err(|error| error.to_string())?;
                (CommitKind::Change, changes, next)
            }
            None => {
                let changes = Changes { removed: Vec::new(), added: wanted.records().collect() };
                (CommitKind::Create, changes, wanted)
            }
        };
        let from = base.map(|base| base.serial());
        let applied = Applied::new(from, next.serial(), &changes);
        commits.push(self.commit(&next, kind, from, Actor::Operator, changes));
        zones.insert(Arc::new(next));
        Ok(applied)
    }

    /// Whether these changes of a zone take back nothing that updates have changed since it had the serial `made_of`, or
    /// ever; the error says what. `commits` are those of this group, which the store has not yet.
    fn keeps_updates(
        &self,
        changes: &Changes,
        zone: &Zone,
        commits: &[Commit],
        made_of: Option<Serial>,
    ) -> Result<(), OperatorError> {
        let apex = zone.apex();
        let remedy =
            "edit what dyndns zone export writes now and import that, or import this all the same with --force";
        let history =
            self.store.history(apex, made_of.map(Since::Serial), COMMITS).map_err(|error| error.to_string())?;
        let since = match made_of {
            Some(serial) => format!("since serial {serial}"),
            None => "since it began".to_string(),
        };
        if !history.complete {
            let why = "the history that is kept does not say it all, or it is long";
            return Err(format!(
                "zone {apex} not imported: what updates have changed {since} is not known, for {why}; {remedy}"
            ));
        }
        let logged = history.commits.iter().map(|logged| &logged.commit);
        let taken_back = TakenBack::new(changes, logged.chain(commits.iter().filter(|commit| commit.zone == *apex)));
        match taken_back.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "zone {apex} not imported: it would take back what updates have changed {since}: {taken_back}; {remedy}"
            )),
        }
    }

    /// Brings the mesh's names up to date, with one commit for each zone that changes.
    pub(super) fn names(
        &self,
        zones: &mut ZoneSet,
        commits: &mut Vec<Commit>,
        node: &str,
        ours: &[Leased],
        wanted: &[Leased],
    ) -> Result<Plan, Refusal> {
        let plan = plan(zones, ours, wanted);
        for (apex, changes) in &plan.changes {
            let from = zones.zone(apex).map(|zone| zone.serial());
            zones.change(apex, changes).map_err(|error| misfit(apex, &error))?;
            let zone = zones.zone(apex).ok_or(Refusal::Storage)?;
            let actor = Actor::Mesh(node.to_string());
            commits.push(self.commit(zone, CommitKind::Change, from, actor, changes.clone()));
        }
        Ok(plan)
    }

    /// Takes a zone away.
    pub(super) fn delete(
        &self,
        zones: &mut ZoneSet,
        commits: &mut Vec<Commit>,
        apex: &Name,
    ) -> Result<(), OperatorError> {
        let zone = zones.zone(apex).cloned().ok_or_else(|| format!("zone {apex} is not served here"))?;
        let changes = Changes { removed: zone.records().collect(), added: Vec::new() };
        commits.push(self.commit(&zone, CommitKind::Delete, Some(zone.serial()), Actor::Operator, changes));
        zones.remove(apex);
        Ok(())
    }

    /// A commit of now, without a source.
    pub(super) fn commit(
        &self,
        zone: &Zone,
        kind: CommitKind,
        from: Option<Serial>,
        actor: Actor,
        changes: Changes,
    ) -> Commit {
        let (time, to) = (self.clock.now(), zone.serial());
        Commit { zone: *zone.apex(), kind, from, to, time, actor, source: None, changes }
    }

    /// The zone that a key with the right to make it gets at its first update.
    fn new_zone(&self, zones: &ZoneSet, apex: &Name, key: &Name) -> Result<Zone, Refusal> {
        let above = zones.nearest(KeyBuf::new(apex).as_bytes()).map(|zone| zone.apex());
        let rights = self.published.rights();
        rights.may_create(key, apex, above).map_err(|denied| Refusal::NoNewZone(*apex, denied))?;
        let apex = apex.to_lowercase();
        let records = seed(&apex).ok();
        records.and_then(|records| Zone::new(&apex, records).ok()).ok_or(Refusal::NotAuth(apex))
    }

    /// Begins a zone with these records.
    pub(super) fn begin(&self, zones: &mut ZoneSet, commits: &mut Vec<Commit>, apex: &Name, records: Vec<Record>) {
        let zone = match Zone::new(apex, records.iter().cloned()) {
            Ok(zone) => zone,
            Err(error) => {
                tracing::error!(zone = %apex, "zone not begun: {error}");
                return;
            }
        };
        let changes = Changes { removed: Vec::new(), added: records };
        commits.push(self.commit(&zone, CommitKind::Create, None, Actor::Seed, changes));
        zones.insert(Arc::new(zone));
    }
}

/// The changes were made for this very zone: a defect of ours, which must not reach the journal.
fn misfit(apex: &Name, error: &ZoneError) -> Refusal {
    tracing::error!(zone = %apex, "update does not fit its zone: {error}");
    Refusal::Storage
}
