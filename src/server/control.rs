//! What the operator asks of a server, running or not: the zones, their export, import, deletion and history.

use super::publish::Published;
use super::writer::{Applied, OperatorError, Queue, Request, Updates};
use super::zone_files::ZoneFiles;
use crate::clock::timestamp;
use crate::metrics::Metrics;
use crate::query::Reason;
use crate::store::{History, Logged};
use crate::sys;
use crate::wire::{Name, Rtype};
use crate::zone::text::{parse, rdata_to_text, write_export};
use crate::zone::{Record, Serial, Zone};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::oneshot;

/// One thing asked. Zones are named as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A line for each zone: name, serial, owners.
    List,
    /// The zone as a zone file.
    Export {
        /// The zone.
        zone: String,
    },
    /// The zone is to hold what this zone file holds; what differs becomes one change.
    Import {
        /// The zone.
        zone: String,
        /// The zone file's text, with what it includes.
        text: String,
        /// The fingerprint of the zone file.
        fingerprint: String,
        /// The serial of the zone that the file was exported from, where it says so.
        #[serde(default)]
        exported: Option<u32>,
        /// Whether it may take back what updates have changed since.
        #[serde(default)]
        force: bool,
    },
    /// One change of the zone is to be taken back.
    Undo {
        /// The zone.
        zone: String,
        /// The serial that it led to.
        serial: u32,
    },
    /// The zone is to go.
    Delete {
        /// The zone.
        zone: String,
    },
    /// The newest changes of the zone, the oldest of them first.
    History {
        /// The zone.
        zone: String,
        /// How many at most.
        max: usize,
    },
    /// A checkpoint is to be written; the outcome is an [`Instant`](crate::store::Instant) as JSON.
    Checkpoint,
    /// All that is kept is to be checked; the outcome is [`Findings`](crate::store::Findings) as JSON.
    Verify,
    /// What the server has done since it started.
    Status,
}

/// The text to print, or one line that says why not.
pub(crate) type Outcome = Result<String, OperatorError>;

/// Carries out commands: reads from the published snapshot, changes through the one writer.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) published: Arc<Published>,
    pub(crate) queue: Queue,
    pub(crate) metrics: Arc<Metrics>,
    pub(super) zone_files: ZoneFiles,
}

impl Control {
    pub(crate) async fn carry_out(&self, command: Command) -> Outcome {
        match command {
            Command::List => Ok(self.list()),
            Command::Export { zone } => {
                let zone = self.zone(&zone)?;
                let mut text = String::new();
                // Writing to a string does not fail.
                let _ = write_export(&mut text, &zone);
                Ok(text)
            }
            Command::Import { zone, text, fingerprint, exported, force } => {
                let updates = if force { Updates::MayGo } else { Updates::Stay };
                self.import(&zone, &text, &fingerprint, exported.map(Serial), updates).await
            }
            Command::Undo { zone, serial } => {
                let (apex, serial) = (*self.zone(&zone)?.apex(), Serial(serial));
                let Applied { from, to, added, removed } =
                    self.ask(|reply| Request::Undo { apex, serial, reply }).await?;
                let from = from.unwrap_or(to);
                tracing::info!(zone = %apex, serial = %format_args!("{from}->{to}"), of = %serial, added, removed, "change taken back");
                Ok(format!(
                    "zone {apex}: the change that led to serial {serial} is taken back: serial {from} -> {to}, {added} records added, {removed} removed\n"
                ))
            }
            Command::Delete { zone } => {
                let apex = *self.zone(&zone)?.apex();
                self.ask(|reply| Request::Delete { apex, reply }).await?;
                self.zone_files.forget(&apex);
                tracing::info!(zone = %apex, "zone deleted");
                Ok(format!(
                    "zone {apex} deleted; its history stays in the journal, and a configuration that names it begins it anew\n"
                ))
            }
            Command::History { zone, max } => {
                let apex = name(&zone)?;
                let History { commits, .. } =
                    self.ask(|reply| Request::History { apex, since: None, max, reply }).await?;
                if commits.is_empty() {
                    return Err(format!("zone {apex} has no history here"));
                }
                Ok(commits.iter().map(describe).collect())
            }
            Command::Checkpoint => {
                let instant = self.ask(|reply| Request::Checkpoint { reply }).await?;
                serde_json::to_string(&instant).map_err(|error| error.to_string())
            }
            Command::Verify => {
                let findings = self.ask(|reply| Request::Verify { reply }).await?;
                // The zones were in memory once more.
                sys::memory::give_back();
                serde_json::to_string(&findings).map_err(|error| error.to_string())
            }
            Command::Status => Ok(self.status()),
        }
    }

    fn list(&self) -> String {
        let view = self.published.view();
        let line = |zone: &Arc<Zone>| format!("{} serial={} owners={}\n", zone.apex(), zone.serial(), zone.owners());
        view.zones.iter().map(line).collect()
    }

    async fn import(
        &self,
        zone: &str,
        text: &str,
        fingerprint: &str,
        exported: Option<Serial>,
        updates: Updates,
    ) -> Outcome {
        let apex = name(zone)?;
        // The sender has resolved $INCLUDE.
        let parsed = parse(text, "zone file", Some(apex), &mut |_| Err("$INCLUDE cannot be followed here".into()))
            .map_err(|errors| errors.first().map_or_else(String::new, ToString::to_string))?;
        if parsed.apex != apex {
            return Err(format!("its SOA is at {}, not at {apex}", parsed.apex));
        }
        let records = parsed.records;
        // A file that is no export is one that somebody keeps: it was made of the zone as it last took one.
        let made_of = exported.or_else(|| self.zone_files.serial(&apex));
        let applied: Applied = self.ask(|reply| Request::Import { apex, records, made_of, updates, reply }).await?;
        let Applied { from, to, added, removed } = applied;
        match exported {
            Some(_) => self.zone_files.took_export(&apex, fingerprint),
            None => self.zone_files.took(&apex, fingerprint, to),
        }
        if from == Some(to) {
            return Ok(format!("zone {apex} holds this already; serial {to} stays\n"));
        }
        let from = from.map_or("none".to_string(), |serial| serial.to_string());
        tracing::info!(zone = %apex, serial = %format_args!("{from}->{to}"), added, removed, "zone imported");
        Ok(format!("zone {apex} imported: serial {from} -> {to}, {added} records added, {removed} removed\n"))
    }

    fn status(&self) -> String {
        let view = self.published.view();
        let mut text = format!("zones {}\nkeys {}\n", view.zones.len(), view.keyring.len());
        for reason in Reason::ALL {
            let _ = writeln!(text, "queries {} {}", reason.label(), self.metrics.reason(*reason));
        }
        for (what, counter) in [
            ("updates applied", &self.metrics.updates_applied),
            ("updates dropped", &self.metrics.updates_dropped),
            ("tcp accepted", &self.metrics.tcp_accepted),
            ("tcp refused", &self.metrics.tcp_refused),
        ] {
            let _ = writeln!(text, "{what} {}", counter.load(Ordering::Relaxed));
        }
        let _ = writeln!(text, "updates refused {}", self.metrics.updates_refused());
        let store = &self.metrics.store;
        let plain = |fault: Option<String>, good: &str| fault.unwrap_or_else(|| good.to_owned());
        let _ = writeln!(text, "store {}", plain(store.refusing(), "takes updates"));
        let _ = writeln!(text, "table {}", plain(store.resting(), "follows the journal"));
        let _ = writeln!(text, "table behind {}", store.behind());
        let _ = writeln!(text, "journal octets {}", store.octets());
        text
    }

    fn zone(&self, text: &str) -> Result<Arc<Zone>, OperatorError> {
        let apex = name(text)?;
        let view = self.published.view();
        view.zones
            .zone(&apex)
            .cloned()
            .ok_or_else(|| format!("zone {apex} is not served here; dyndns zone list shows which are"))
    }

    /// Puts a request to the writer and waits for its outcome.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, OperatorError>>) -> Request,
    ) -> Result<T, OperatorError> {
        let (reply, outcome) = oneshot::channel();
        let ended = || "the server is about to end; ask again when it has started".to_string();
        self.queue.send(request(reply)).await.map_err(|_| ended())?;
        outcome.await.map_err(|_| ended())?
    }
}

fn name(text: &str) -> Result<Name, OperatorError> {
    Name::parse(text).map_err(|error| format!("{text} is no zone name: {error}"))
}

/// A commit for people: a line with what happened when and by whom, then each record that went and came.
fn describe(logged: &Logged) -> String {
    let commit = &logged.commit;
    let from = commit.from.map_or("none".to_string(), |serial| serial.to_string());
    let source = commit.source.map_or(String::new(), |source| format!(" from {source}"));
    let mut text = format!(
        "{} {} serial={from}->{} by {}{source}\n",
        timestamp(commit.time),
        commit.kind,
        commit.to,
        commit.actor
    );
    let lines = [('-', &commit.changes.removed), ('+', &commit.changes.added)];
    for (sign, records) in lines {
        for record in records.iter().filter(|record| record.rtype != Rtype::SOA) {
            let Record { owner, rtype, ttl, rdata } = record;
            let _ = writeln!(text, "  {sign} {} {ttl} {rtype} {}", owner.name(), rdata_to_text(*rtype, rdata));
        }
    }
    text
}
