//! What the writer is asked, and what it answers.

use crate::mesh::names::{Leased, Plan};
use crate::query::Limits;
use crate::store::{Actor, Findings, History, Instant};
use crate::tsig::Keyring;
use crate::update::policy::Rights;
use crate::update::{Refusal, UpdateMessage};
use crate::wire::{Name, Rtype};
use crate::zone::{Changes, Record, Serial};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What the writer is asked to do.
pub(crate) enum Request {
    /// An update whose signature has been verified.
    Update {
        /// The update.
        update: UpdateMessage,
        /// The name of the key it was signed with, or of the HTTP door's user: whose rights decide.
        key: Name,
        /// The way it came.
        entrance: Entrance,
        /// Where it came from.
        source: IpAddr,
        /// Where the outcome goes: signs and sends the answer, or wakes who does. Dropped uncalled where the server
        /// ends first.
        reply: Reply<Result<Applied, Refusal>>,
    },
    /// Zones that the configuration names, to be begun where the store has none of that name.
    Seed {
        /// Each zone and its records.
        zones: Vec<(Name, Vec<Record>)>,
        /// Where the outcome goes.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// A zone is to hold exactly these records, whatever it held before.
    Import {
        /// The zone.
        apex: Name,
        /// Its records.
        records: Vec<Record>,
        /// The serial of the zone that the records were made of, where that is known.
        made_of: Option<Serial>,
        /// What becomes of what updates have changed since.
        updates: Updates,
        /// Where the outcome goes.
        reply: oneshot::Sender<Result<Applied, OperatorError>>,
    },
    /// One change of a zone is to be taken back.
    Undo {
        /// The zone.
        apex: Name,
        /// The serial that the change led to.
        serial: Serial,
        /// Where the outcome goes.
        reply: oneshot::Sender<Result<Applied, OperatorError>>,
    },
    /// Of the records that the mesh made, those wanted are to be there and no others.
    Names {
        /// The node that says so.
        node: String,
        /// What the mesh made.
        ours: Vec<Leased>,
        /// What is to be there.
        wanted: Vec<Leased>,
        /// Where the outcome goes.
        reply: oneshot::Sender<Result<Plan, Refusal>>,
    },
    /// A zone is to go.
    Delete {
        /// The zone.
        apex: Name,
        /// Where the outcome goes.
        reply: oneshot::Sender<Result<(), OperatorError>>,
    },
    /// What happened to a zone: its newest commits, so many at most, the oldest first.
    History {
        /// The zone.
        apex: Name,
        /// Those after this commit alone; none, and not complete, where they do not go back to it.
        since: Option<u64>,
        max: usize,
        /// Where they go.
        reply: oneshot::Sender<Result<History, OperatorError>>,
    },
    /// A checkpoint is to be written.
    Checkpoint {
        /// Where the outcome goes.
        reply: oneshot::Sender<Result<Instant, OperatorError>>,
    },
    /// All that is kept is to be checked.
    Verify {
        /// Where the findings go.
        reply: oneshot::Sender<Result<Findings, OperatorError>>,
    },
    /// Other keys, rights and limits, as the configuration has them now.
    Reload {
        /// The keys.
        keyring: Arc<Keyring>,
        /// What is said of the server.
        limits: Arc<Limits>,
        /// Who may change what.
        rights: Box<Rights>,
        /// Told when they are in force.
        reply: oneshot::Sender<()>,
    },
}

/// What an import does where it would take back what updates have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Updates {
    /// It is refused.
    Stay,
    /// It is carried out.
    MayGo,
}

/// How an update came; its commit tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// As a message, signed.
    Dns,
    /// By the HTTP door, with a password.
    Http,
}

impl Entrance {
    pub(super) fn actor(self, key: Name) -> Actor {
        match self {
            Entrance::Dns => Actor::Key(key),
            Entrance::Http => Actor::Http(format!("{key:#}")),
        }
    }
}

/// Takes an outcome.
pub(crate) type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// Why what the operator asked for was not done; a line for the operator.
pub(crate) type OperatorError = String;

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    /// The serial before; `None` where the update made the zone.
    pub(crate) from: Option<Serial>,
    /// The serial after.
    pub(crate) to: Serial,
    /// How many records came, the SOA not counted.
    pub(crate) added: usize,
    /// How many records went, the SOA not counted.
    pub(crate) removed: usize,
}

impl Applied {
    pub(super) fn new(from: Option<Serial>, to: Serial, changes: &Changes) -> Applied {
        let count = |records: &[Record]| records.iter().filter(|record| record.rtype != Rtype::SOA).count();
        Applied { from, to, added: count(&changes.added), removed: count(&changes.removed) }
    }
}
