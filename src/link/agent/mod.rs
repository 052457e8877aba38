//! The agent: looks for this machine's addresses, at once where the kernel tells that they have changed and otherwise
//! from time to time, and lets a keeper for each target bring the hosts there.

mod changes;
mod keeper;
mod notice;
mod page;
mod state;

pub use state::remembered;

use super::source::{Home, find};
use crate::agent::memory::News;
use crate::agent::plan::Observed;
use crate::agent::source::{Found, Source};
use crate::clock::Clock;
use crate::config::{AgentConfig, TargetConfig};
use crate::error::Error;
use crate::sys::notify::Notify;
use changes::Changes;
use keeper::{Event, Keeper, Order, Report};
use page::{Check, Checked, Door};
use state::State;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// Keeps the hosts right until SIGTERM or SIGINT. `reload` reads the configuration again, at SIGHUP.
pub fn run(config: AgentConfig, reload: impl Fn() -> Result<AgentConfig, Error>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::usage("cannot start the event loop").because(error))?;
    let ended = runtime.block_on(agent(config, reload));
    // The system's resolver may be asked this moment, and takes its time.
    runtime.shutdown_background();
    ended
}

async fn agent(mut config: AgentConfig, reload: impl Fn() -> Result<AgentConfig, Error>) -> Result<(), Error> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let cannot = |error| Error::usage("cannot listen for signals").because(error);
    let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let state = Arc::new(State::open(&config.state_dir)?);
    let notify = Notify::new(config.notify_socket.clone());
    // Before the first look, so that no change falls between.
    let mut changes = Changes::new();
    let mut watch = Watch::start(&config, &state);
    let (checks, mut asked) = mpsc::channel(8);
    let mut door = open(&config, &state, &checks)?;
    notify.ready();
    tracing::info!(targets = config.targets.len(), check_every = config.check_every.as_secs(), "agent started");
    let end = loop {
        tokio::select! {
            keepers = watch.look_and_wait(&config, &mut changes, &mut asked) => {
                if keepers == Keepers::Fewer {
                    watch.end().await;
                    let asked = std::mem::take(&mut watch.asked);
                    watch = Watch { asked, ..Watch::start(&config, &state) };
                }
            }
            // This cuts it short and begins it anew.
            _ = hangup.recv() => {
                notify.reloading();
                match reload() {
                    Ok(new) => {
                        if new.state_dir != config.state_dir {
                            tracing::warn!("state-dir has changed in the configuration; restart to put it in force");
                        }
                        // What was under way is pending, and the new keepers take it up.
                        watch.end().await;
                        // One that could not be opened is tried again.
                        if new.http != config.http || new.http.is_some() && door.is_empty() {
                            door.abort_all();
                            while door.join_next().await.is_some() {}
                            match open(&new, &state, &checks) {
                                Ok(new) => door = new,
                                Err(error) => tracing::error!("there is no page: {error}"),
                            }
                        }
                        config = new;
                        watch = Watch::start(&config, &state);
                        tracing::info!(targets = config.targets.len(), "configuration reloaded");
                    }
                    Err(error) => tracing::error!("configuration not reloaded, the old one stays in force: {error}"),
                }
                notify.ready();
            }
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
        }
    };
    notify.stopping();
    watch.end().await;
    let Watch { events, notices, .. } = watch;
    drop(events);
    if timeout(LAST_WORDS, notices).await.is_err() {
        tracing::warn!("stopped before all was told");
    }
    tracing::info!(signal = end, "stopped");
    Ok(())
}

/// Opens the page, where there is to be one.
fn open(config: &AgentConfig, state: &Arc<State>, checks: &mpsc::Sender<Check>) -> Result<JoinSet<()>, Error> {
    let mut tasks = JoinSet::new();
    if let Some(config) = &config.http {
        let door = Door::bind(config)?;
        if let Some(address) = door.address() {
            tracing::info!(%address, "listening on HTTP");
        }
        tasks.spawn(door.serve(Arc::clone(state), checks.clone()));
    }
    Ok(tasks)
}

/// How long after a look the next one may begin for a change of addresses. Each asks the sources, which are other
/// people's.
const APART: Duration = Duration::from_secs(5);

/// How long what is to be told may take once the agent ends.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Whether all keepers are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keepers {
    All,
    Fewer,
}

/// The keepers of one configuration.
struct Watch {
    state: Arc<State>,
    clock: Clock,
    /// To each target by its name.
    orders: Vec<(String, mpsc::Sender<Order>)>,
    keepers: JoinSet<()>,
    events: mpsc::UnboundedSender<Event>,
    /// Who tells of events, until none can come any more: nobody is left untold because of a reload.
    notices: JoinHandle<()>,
    /// What was found last; `None` before the first look.
    found: Option<Observed>,
    /// Who asks for a check now.
    asked: Vec<Check>,
}

impl Watch {
    fn start(config: &AgentConfig, state: &Arc<State>) -> Watch {
        let names: Vec<&str> = config.targets.iter().map(|target| target.name.as_str()).collect();
        state.change(|memory| memory.targets.retain(|name, _| names.contains(&name.as_str())));
        let (events, told) = mpsc::unbounded_channel();
        let notices = tokio::spawn(notice::tell(config.notify.clone(), told));
        let mut keepers = JoinSet::new();
        let mut orders = Vec::new();
        for target in &config.targets {
            let (sender, receiver) = mpsc::channel(8);
            orders.push((target.name.clone(), sender));
            let keeper = Keeper {
                target: Arc::new(target.clone()),
                state: Arc::clone(state),
                clock: Clock::System,
                orders: receiver,
                events: events.clone(),
            };
            keepers.spawn(keeper.run());
        }
        let (state, clock) = (Arc::clone(state), Clock::System);
        Watch { state, clock, orders, keepers, events, notices, found: None, asked: Vec::new() }
    }

    /// Ends the keepers.
    async fn end(&mut self) {
        self.orders.clear();
        self.keepers.shutdown().await;
    }

    /// Looks for addresses, orders the keepers to compare, and returns when it is time to look again. No look is cut
    /// short by what is heard meanwhile: an interface that comes and goes would let none come to its end.
    async fn look_and_wait(
        &mut self,
        config: &AgentConfig,
        changes: &mut Changes,
        checks: &mut mpsc::Receiver<Check>,
    ) -> Keepers {
        self.look(config).await;
        let mut keepers = Keepers::All;
        let mut heard = false;
        let pause = tokio::time::sleep(config.check_every);
        let mut pause = std::pin::pin!(pause);
        let soon = pause.deadline() - config.check_every + APART.min(config.check_every);
        loop {
            tokio::select! {
                () = &mut pause => return keepers,
                () = changes.next(), if !heard => {
                    tracing::info!("the addresses of this machine have changed");
                    heard = true;
                    pause.as_mut().reset(soon);
                }
                Some(check) = checks.recv() => {
                    self.asked.push(check);
                    // Whoever else asks is answered by the same look.
                    while let Ok(check) = checks.try_recv() {
                        self.asked.push(check);
                    }
                    return keepers;
                }
                Some(Err(defect)) = self.keepers.join_next() => {
                    // The others go on meanwhile; what it had to write is pending.
                    tracing::error!("a keeper ended by a defect; it is begun anew at the next check: {defect}");
                    keepers = Keepers::Fewer;
                }
            }
        }
    }

    async fn look(&mut self, config: &AgentConfig) {
        let home = if config.sources.iter().any(Source::needs_home) { home(&config.targets).await } else { None };
        let Found { observed, notes } = find(&config.sources, config.agreement, &config.allow, home.as_ref()).await;
        let before = self.found.replace(observed);
        if before != Some(observed) {
            tell(before, observed, &notes);
        }
        let now = self.clock.now();
        let next = now.saturating_add(config.check_every.as_secs());
        let event = match self.state.change(|memory| memory.looked(observed, now, next)) {
            News::Failing => Some(Event::Lost(notes.join("; "))),
            News::Recovered => Some(Event::Found),
            News::None => None,
        };
        // Nobody listens where nobody is to be told.
        let _ = event.map(|event| self.events.send(event));
        // Nothing is awaited from here on: who asked is not forgotten where something else is heard.
        let asked = std::mem::take(&mut self.asked);
        let mut replies = Vec::new();
        for (target, sender) in &self.orders {
            let (reply, result) = oneshot::channel();
            replies.push((target.clone(), result));
            // A keeper that is behind has newer orders waiting.
            let _ = sender.try_send(Order { observed, urgent: !asked.is_empty(), reply });
        }
        if !asked.is_empty() {
            self.keepers.spawn(async move {
                let mut reports = Vec::new();
                for (target, reply) in replies {
                    let busy = || Some("it is busy with earlier checks; ask again".into());
                    let report = reply.await;
                    reports.push(report.unwrap_or_else(|_| Report { target, changed: Vec::new(), fault: busy() }));
                }
                let checked = Checked { observed, notes, reports };
                for check in asked {
                    // Who asked may be gone.
                    let _ = check.send(checked.clone());
                }
            });
        }
    }
}

/// One line for what was found, where it is not what was found before.
fn tell(before: Option<Observed>, observed: Observed, notes: &[String]) {
    let notes = notes.join("; ");
    let word = |address: Option<String>| address.unwrap_or_else(|| "none".into());
    let (v4, v6) = (word(observed.v4.map(|v4| v4.to_string())), word(observed.v6.map(|v6| v6.to_string())));
    let before = before.unwrap_or_default();
    let gone = before.v4.is_some() && observed.v4.is_none() || before.v6.is_some() && observed.v6.is_none();
    if observed == Observed::default() {
        tracing::warn!("no address found; what the targets hold stays: {notes}");
    } else if gone {
        tracing::warn!(v4, v6, "an address is gone; what the targets hold of its family stays: {notes}");
    } else {
        tracing::info!(v4, v6, "addresses found: {notes}");
    }
}

/// Whom `whoami` is asked: the server of the first target that has one.
async fn home(targets: &[TargetConfig]) -> Option<Home> {
    for target in targets {
        let Some(host) = target.hosts.first() else { continue };
        match target.remote.home(&host.name).await {
            Ok(Some(home)) => return Some(home),
            Ok(None) => {}
            Err(fault) => tracing::debug!(target = %target.name, "no server to ask for our address: {fault}"),
        }
    }
    None
}
