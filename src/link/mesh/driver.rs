//! A node's life: what happens goes into [`Node`], what it wants done is done.

use super::control::{self, Asked};
use super::links::Target;
use super::mdns::{Mdns, found};
use super::report::{Reply, TicketReport};
use super::state::{Membership, Options, State, random, save};
use super::tickets::Tickets;
use super::transport::{Received, Transport};
use super::view::{Change, Host, View};
use super::{Entry, Settings};
use crate::clock::Clock;
use crate::error::Error;
use crate::mesh::{Action, Event, Node, NodeId, Now, Offence, Refusal, Rights, Role, Saved, Steward, Ticket, Verifier};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Duration, Instant, sleep_until, timeout};

/// A node that is ready to start.
pub struct Mesh {
    pub(super) settings: Settings,
    pub(super) state: State,
    pub(super) tickets: Tickets,
    pub(super) ticket: Ticket,
    pub(super) node: Node,
    pub(super) me: NodeId,
    pub(super) clock: Clock,
    transport: Transport,
    /// Where the operator asks for it.
    pub(super) mdns: Option<Mdns>,
    inbox: mpsc::Receiver<Received>,
    asked: mpsc::Receiver<Asked>,
    /// Ends with the node.
    control: JoinSet<()>,
    pub(super) view: watch::Sender<Arc<View>>,
    /// What is on disk, and when it is looked at again.
    saved: Saved,
    save_at: Option<Instant>,
    saving: Option<JoinHandle<()>>,
    /// When the next view is shown, if it is another one.
    show_at: Option<Instant>,
    pub(super) joined: bool,
    /// Why a member said last that it does not take this node back.
    kept_out: Option<Refusal>,
    pub(super) started: u64,
    pub(super) end: Option<End>,
}

/// Why a node's life is over.
#[derive(Debug)]
pub(super) enum End {
    /// It was asked to leave; who waits for it.
    Left(Option<oneshot::Sender<Result<Reply, String>>>),
    /// It was not let in, or was removed.
    Failed(Error),
}

/// How many messages wait for the node; then peers wait.
const INBOX: usize = 256;
/// Changes that come together are shown together.
const SHOW: Duration = Duration::from_millis(50);
/// What is known is written down after this, and as much again for each hundred peers.
const SAVE: Duration = Duration::from_secs(5);
/// How long the last answer may take to reach the command line.
const LAST_ANSWER: Duration = Duration::from_secs(1);

impl Mesh {
    /// Takes the state directory and the port. It has to be called in tokio's runtime; nothing is sent before
    /// [`Mesh::run`].
    ///
    /// Errors: another node uses the state, the port is taken, the ticket is of another mesh, there is no mesh to be a
    /// member of.
    pub fn open(mut settings: Settings) -> Result<Mesh, Error> {
        let clock = Clock::System;
        let state = State::open(&settings.state_dir)?;
        let secret = state.node_secret()?;
        let unusable = || Error::usage(format!("cannot use the keys in {}", settings.state_dir.display()));
        let key = secret.key().ok_or_else(unusable)?;
        let me = key.id();
        let before = state.membership()?;
        let ticket = ticket_of(&settings, &state, before.as_ref())?;
        if settings.node.role != Role::Watcher && ticket.pass.rights == Rights::Watch {
            let error = Error::refused("cannot join by this ticket").because("it lets only watch");
            return Err(error.remedy("use it with dyndns mesh watch, or ask for a ticket to join"));
        }
        let admission = ticket.admit(me).ok_or_else(unusable)?;
        let mut saved = Saved { member: before.is_some(), ..state.saved() };
        if before.as_ref().is_some_and(|before| before.name != settings.node.name.as_str()) {
            // Another name is claimed from now on, not from when the old one was.
            saved.since = 0;
        }
        let (sender, inbox) = mpsc::channel(INBOX);
        let patience = settings.node.timeout;
        let transport = Transport::open(&secret, me, settings.listen, settings.node.port, patience, sender)?;
        if let Some(place) = transport.place() {
            settings.node.port = place.port();
        }
        if settings.contacts.is_empty() {
            settings.contacts = before.as_ref().map(|before| before.contacts.clone()).unwrap_or_default();
        }
        let mut seed = [0; 8];
        // It only spreads nodes in time; without it they beat together.
        let _ = getrandom::fill(&mut seed);
        let notary = Box::new(Verifier { mesh: ticket.mesh });
        let seed = u64::from_be_bytes(seed);
        let node = Node::new(settings.node.clone(), key, ticket.mesh, admission, notary, saved.clone(), seed);
        let view = View::of(&node, &settings.node.name, ticket.mesh, settings.zone, false);
        let tickets = Tickets::open(&state, ticket.mesh)?;
        let (asking, asked) = mpsc::channel(8);
        let mut control = JoinSet::new();
        control.spawn(control::serve(control::listen(state.directory())?, asking));
        let mesh = Mesh {
            tickets,
            asked,
            control,
            started: clock.now(),
            view: watch::Sender::new(Arc::new(view)),
            settings,
            state,
            ticket,
            node,
            me,
            clock,
            transport,
            mdns: None,
            inbox,
            saved,
            save_at: None,
            saving: None,
            show_at: None,
            joined: false,
            kept_out: None,
            end: None,
        };
        if before.is_some() || mesh.tickets.is_steward() {
            mesh.remember()?;
        }
        Ok(mesh)
    }

    /// The mesh as this node sees it, for good.
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Where it listens.
    pub fn place(&self) -> Option<SocketAddr> {
        self.transport.place()
    }

    /// A ticket to give to others, where this node makes tickets: the same at each start while it is good.
    pub fn ticket(&mut self) -> Result<Option<TicketReport>, Error> {
        let (contacts, now) = (self.own_contacts(), self.clock.now());
        self.tickets.for_others(&self.state, contacts, now).map_err(Error::refused)
    }

    /// Is a node of the mesh until `stop` changes or somebody asks it to leave; then it tells the others, so that they
    /// drop it at once.
    ///
    /// Errors: it is not let in, nobody answers, it was removed.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Error> {
        let port = self.settings.node.port;
        self.mdns = self.settings.mdns.then(|| Mdns::start(self.settings.listen, port, self.view.subscribe()));
        let (knows_some, member) = (!self.saved.peers.is_empty(), self.saved.member);
        // Whoever began the mesh and knows nobody is the first: there is nobody yet to let it in.
        let first = self.ticket.pass.expires == FOR_EVER;
        let contacts = tokio::select! {
            contacts = self.find_contacts(!knows_some && !first) => contacts,
            _ = stop.changed() => return Ok(()),
        };
        let contacts = if first && !member { Vec::new() } else { contacts };
        if !knows_some && !first && contacts.is_empty() {
            let why = format!("no member is named that could be tried{}", self.or_nearby());
            let error = Error::refused("cannot join the mesh").because(why);
            let remedy = "name one with --contact, as HOST or HOST:PORT: any machine of the mesh; or find one on this link with --mdns";
            return self.finish(End::Failed(error.remedy(remedy))).await;
        }
        self.joined = member || contacts.is_empty();
        tracing::info!(node = %self.me, mesh = %self.ticket.mesh, port, "mesh node started");
        self.handle(Event::Start(contacts));
        self.show();
        let end = loop {
            if let Some(end) = self.end.take() {
                break end;
            }
            let wake = self.wake();
            tokio::select! {
                Some(Received { from, at, octets }) = self.inbox.recv() => {
                    self.handle(Event::Received { from, at, octets });
                    self.transport.heard(&from, self.node.knows(&from));
                }
                contact = found(&mut self.mdns) => self.handle(Event::Found(contact)),
                () = until(wake) => self.handle(Event::Timer),
                () = until(self.show_at) => self.show(),
                () = until(self.save_at) => self.save(),
                Some((command, reply)) = self.asked.recv() => self.answer(command, reply),
                _ = stop.changed() => break End::Left(None),
            }
        };
        self.finish(end).await
    }

    async fn finish(mut self, end: End) -> Result<(), Error> {
        if let End::Left(_) = end {
            self.transport.forget();
            self.handle(Event::Leave);
        }
        if let Some(mdns) = self.mdns.take() {
            mdns.end().await;
        }
        self.transport.close().await;
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        let (directory, saved) = (self.state.directory().to_path_buf(), self.node.saved());
        let _ = tokio::task::spawn_blocking(move || save(&directory, saved)).await;
        let result = match end {
            End::Left(asked) => {
                tracing::info!(name = %self.settings.node.name, "left the mesh");
                if let Some(reply) = asked {
                    // Who asked may be gone.
                    let _ =
                        reply.send(Ok(Reply::Done("left the mesh; its keys stay, and a start brings it back".into())));
                }
                Ok(())
            }
            End::Failed(error) => Err(error),
        };
        self.control.abort_all();
        control::end(self.state.directory());
        // Answers that are being written hold the other end of this.
        let _ = timeout(LAST_ANSWER, async { while self.asked.recv().await.is_some() {} }).await;
        result
    }

    fn now(&self) -> Now {
        Now { ticks: Duration::from_micros(self.clock.monotonic_micros()), unix: self.clock.now() }
    }

    fn wake(&self) -> Option<Instant> {
        let left = self.node.wake()?.saturating_sub(self.now().ticks);
        Some(Instant::now() + left)
    }

    pub(super) fn handle(&mut self, event: Event) {
        let now = self.now();
        for action in self.node.handle(event, now) {
            self.carry_out(action);
        }
        if self.save_at.is_none() {
            let more = u32::try_from(self.saved.peers.len() / 100).unwrap_or(u32::MAX);
            self.save_at = Some(Instant::now() + SAVE * more.saturating_add(1));
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Send { to, id, octets } => self.transport.send(Target { id, to }, octets),
            Action::Close(id, Offence::Removed) => self.transport.part_with(id),
            Action::Close(id, Offence::Flood) => {
                tracing::warn!(peer = %id, "connection closed: too much came over it; nothing is taken for a minute");
                self.transport.mute(id);
            }
            Action::Close(id, Offence::Malformed(why)) => {
                tracing::warn!(peer = %id, "connection closed: {why}");
                self.transport.mute(id);
            }
            Action::ViewChanged => {
                self.show_at.get_or_insert_with(|| Instant::now() + SHOW);
            }
            Action::Addresses(addresses) => {
                let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                tracing::info!(addresses = list.join(","), "own addresses have changed");
                self.show();
            }
            Action::Joined => {
                self.joined = true;
                tracing::info!(mesh = %self.ticket.mesh, "joined");
                if let Err(error) = self.remember() {
                    tracing::warn!("a restart would not know the mesh: {error}");
                }
                self.show();
            }
            Action::NameTaken(holder) => tracing::warn!(
                name = %self.settings.node.name,
                %holder,
                "another node has the name; choose another with --name, or remove that node"
            ),
            Action::KeptOut(refusal) if self.kept_out != Some(refusal) => {
                self.kept_out = Some(refusal);
                tracing::warn!("a member does not take this node back: {refusal}");
            }
            Action::KeptOut(_) => {}
            Action::Refused(refusal) => self.fail("cannot join the mesh", &refusal.to_string(), None),
            Action::AllBusy(tried) => {
                let why = format!("all that answered are busy with other new nodes; tried {}", listed(&tried));
                self.fail(
                    "cannot join the mesh",
                    &why,
                    Some("try again in a minute, or name another with --contact".into()),
                );
            }
            Action::GaveUp(tried) => {
                let why = format!("nobody answered at {}, 4 tries each{}", listed(&tried), self.or_nearby());
                let port = self.settings.node.port;
                let remedy = format!(
                    "check that one of them runs and that UDP passes between there and port {port} here, or name another \
                     with --contact"
                );
                self.fail("cannot join the mesh", &why, Some(remedy));
            }
            Action::Removed => {
                let directory = self.state.directory().display();
                let remedy = format!("to come back, move {directory} away and join with a new ticket");
                self.fail("this node is no member any more", "it was removed from the mesh", Some(remedy));
            }
        }
    }

    fn fail(&mut self, attempted: &str, why: &str, remedy: Option<String>) {
        let error = Error::refused(attempted).because(why.to_string());
        let error = match remedy {
            Some(remedy) => error.remedy(remedy),
            None => error,
        };
        self.end.get_or_insert(End::Failed(error));
    }

    /// Shows what there is, where it is not what was shown.
    fn show(&mut self) {
        self.show_at = None;
        let view = View::of(&self.node, &self.settings.node.name, self.ticket.mesh, self.settings.zone, self.joined);
        self.view.send_if_modified(|shown| {
            let other = **shown != view;
            if other {
                log(&view, &shown.hosts);
                *shown = Arc::new(view);
            }
            other
        });
    }

    /// Writes down what is known, where it is not what is on disk.
    fn save(&mut self) {
        self.save_at = None;
        let saved = self.node.saved();
        let busy = self.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        if busy || saved == self.saved {
            return;
        }
        self.saved.clone_from(&saved);
        let directory = self.state.directory().to_path_buf();
        self.saving = Some(tokio::task::spawn_blocking(move || save(&directory, saved)));
    }

    /// Writes down how it is in the mesh, so that the next start needs no ticket.
    fn remember(&self) -> Result<(), Error> {
        self.state.write_membership(&Membership {
            ticket: self.ticket.to_string(),
            name: self.settings.node.name.to_string(),
            zone: self.settings.zone.to_string(),
            port: self.settings.node.port,
            contacts: self.settings.contacts.clone(),
            options: Some(Options::of(&self.settings)),
        })
    }
}

/// By which ticket the node is in, or comes in.
fn ticket_of(settings: &Settings, state: &State, before: Option<&Membership>) -> Result<Ticket, Error> {
    let kept = before.map(|before| before.ticket.parse::<Ticket>()).transpose();
    let kept = kept.map_err(|error| {
        Error::usage(format!("cannot use the membership in {}", settings.state_dir.display())).because(error)
    })?;
    let watches = |rights| rights == Rights::Watch || before.is_some_and(Membership::watches);
    if let Some(watched) = kept.as_ref().map(|kept| watches(kept.pass.rights))
        && watched != (settings.node.role == Role::Watcher)
    {
        let whose = if watched { "a watcher" } else { "a member" };
        let text = format!("cannot use the state in {}: it is {whose}'s", settings.state_dir.display());
        return Err(Error::refused(text).remedy("choose another directory with --state-dir: each node needs its own"));
    }
    match (&settings.entry, kept) {
        (Entry::Join(ticket), Some(kept)) if kept.mesh != ticket.mesh => {
            let text = format!("cannot join mesh {}: this node is in mesh {}", ticket.mesh, kept.mesh);
            Err(Error::refused(text).remedy("choose another directory with --state-dir: each mesh needs its own"))
        }
        (Entry::Join(ticket), _) => Ok(ticket.clone()),
        (Entry::Start | Entry::Resume, Some(kept)) => Ok(kept),
        (Entry::Start, None) => begin(state),
        (Entry::Resume, None) => {
            let text = format!("there is no mesh in {}", settings.state_dir.display());
            Err(Error::refused(text).remedy("join one with a ticket, or begin one with dyndns mesh start"))
        }
    }
}

/// When the ticket ends by which the first node is in.
const FOR_EVER: u64 = u64::MAX;

/// Begins a mesh: its first node has a ticket of its own, whose secret leaves this directory never.
fn begin(state: &State) -> Result<Ticket, Error> {
    let secret = match state.mesh_secret()? {
        Some(secret) => secret,
        None => state.make_mesh()?,
    };
    let steward = secret.key().map(Steward::new);
    let ticket = steward.and_then(|steward| steward.ticket(*random().ok()?, Rights::Join, FOR_EVER, Vec::new()));
    ticket.ok_or_else(|| Error::usage("cannot begin a mesh: the key that was made is no key; try again"))
}

/// One line for each host that came, moved or went.
fn log(view: &View, before: &[Host]) {
    for (change, host) in view.changes_since(before).into_iter().filter(|(_, host)| !host.me) {
        let addresses = host.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",");
        let (name, node, holds_name) = (&host.name, host.id, host.holds_name);
        match change {
            Change::Here => tracing::info!(%name, %node, addresses, holds_name, "host is here"),
            Change::Changed => tracing::info!(%name, %node, addresses, holds_name, "host has changed"),
            Change::Gone => tracing::info!(%name, %node, "host is gone"),
        }
    }
}

/// Each place once: one that is busy is tried again after the others.
fn listed(places: &[SocketAddr]) -> String {
    let mut list: Vec<String> = Vec::new();
    for place in places.iter().map(ToString::to_string) {
        if !list.contains(&place) {
            list.push(place);
        }
    }
    list.join(", ")
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
