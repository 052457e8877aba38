//! A server's life: start, reload, end.

use super::control::Control;
use super::control_socket;
use super::exchange::Exchange;
use super::http::{Door, Http};
use super::listen::{Listener, bind};
use super::mesh::{self, Mesh};
use super::publish::Published;
use super::quiet::Quiet;
use super::secure::{Certificate, Secure};
use super::tcp::{self, Connections, Service};
use super::udp::Workers;
use super::writer::{Queue, Request, Writer};
use super::zone_files::ZoneFiles;
use crate::clock::Clock;
use crate::config::{self, Config, DEFAULT_LISTEN, JournalConfig};
use crate::error::Error;
use crate::metrics::Metrics;
use crate::query::{Limits, View};
use crate::store::{DiskStore, LoadedZone, Store, StoreOptions};
use crate::sys::notify::Notify;
use crate::sys::pid_file::PidFile;
use crate::sys::{self, BestDatagrams};
use crate::update::Refusal;
use crate::wire::rdata::Soa;
use crate::wire::{Name, Rtype};
use crate::zone::{Record, Serial, ZoneSet};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

/// What a server that answers has to tell its operator.
#[derive(Debug)]
pub struct Ready {
    /// Where it listens.
    pub listen: Vec<SocketAddr>,
    /// The zones it serves, in key order.
    pub zones: Vec<Name>,
    /// The key file that was made at this first start, or the one to use.
    pub key_file: Option<PathBuf>,
}

/// How long a server that is told to end waits for updates under way, and then for the table to close.
const LAST_UPDATES: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT. `reload` reads the configuration again, at SIGHUP; `ready` is called once, when
/// the first query would be answered.
///
/// Errors: whatever keeps the server from starting, each with what to do.
pub fn run(
    config: Config,
    reload: impl Fn() -> Result<Config, Error>,
    ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::usage("cannot start the event loop").because(error))?;
    let outcome = runtime.block_on(serve(config, reload, ready));
    // Connections that are still open are cut off; their last answers have been written.
    runtime.shutdown_background();
    outcome
}

async fn serve(
    mut config: Config,
    reload: impl Fn() -> Result<Config, Error>,
    ready: impl FnOnce(&Ready),
) -> Result<(), Error> {
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    // Before anyone can read from the pid file whom to signal: an early SIGHUP must not end the process.
    let mut signals = Signals::new()?;
    // The sockets first: of two servers started by mistake, the second must not get as far as the state.
    let listeners = listeners(&config.listen)?;
    let secure = config.tls.as_ref().map(Secure::bind).transpose()?;
    let http = config.http.as_ref().map(|http| Http::bind(http, secure.as_ref())).transpose()?;
    let mesh = config.mesh.as_ref().map(Mesh::bind).transpose()?;
    let JournalConfig { keep, checkpoints } = config.journal;
    let options = StoreOptions { keep, checkpoints, ..StoreOptions::default() };
    let (store, zones) = open(&config.state_dir, &options)?;
    for zone in zones.iter().filter(|zone| config.zones.iter().all(|named| named.apex != *zone.apex())) {
        let apex = zone.apex();
        tracing::info!(zone = %apex, "served although no flag and no configuration names it; to take it away: dyndns zone delete {apex}");
    }
    let seeds = seeds(&config, &zones)?;
    let health = store.health();
    // Where nothing can be written, nobody could use it either.
    let made = if health.refusing().is_none() { config.make_first_key()? } else { None };
    if let Some(path) = &made {
        tracing::info!(file = %path.display(), "key made; it may change every zone");
    }
    let published = Arc::new(Published::default());
    let view = View { zones, keyring: Arc::new(config.keyring()), limits: Arc::new(limits(&config)) };
    let clock = Clock::System;
    let rights = config.rights.clone();
    // Zones were read on the way.
    sys::memory::give_back();
    let (queue, writer) = Writer::new(store, Arc::clone(&published), view, rights, clock.clone())
        .start()
        .map_err(|error| Error::usage("cannot start the writer's thread").because(error))?;
    let new: Vec<Name> = seeds.zones.iter().map(|(apex, _)| *apex).collect();
    match begin(seeds, &config.state_dir, &queue).await {
        // What is there is answered.
        Err(error) if !published.view().zones.is_empty() => new.iter().for_each(|zone| {
            tracing::error!(%zone, "zone not begun, the others are served: {error}; mend the disk and reload");
        }),
        outcome => outcome?,
    }
    let _pid_file = config.pid_file.as_deref().map(PidFile::create).transpose()?;

    let exchange = Arc::new(Exchange {
        published: Arc::clone(&published),
        queue: queue.clone(),
        clock,
        metrics: Arc::new(Metrics::of(health)),
        quiet: Quiet::default(),
        quiet_queries: Quiet::default(),
    });
    let (stop, stopped) = watch::channel(false);
    let addresses: Vec<SocketAddr> = listeners.iter().map(|listener| listener.address).collect();
    let connections = Arc::new(Connections::new(config.tcp));
    let service = Service { exchange: Arc::clone(&exchange), connections, stop: stopped.clone() };
    let workers = start(listeners, &service, config.udp_workers)?;
    let certificate = secure.map(|secure| secure.start(&service)).transpose()?;
    let door = http.map(|http| http.start(&config.http_users, &service)).transpose()?;
    drop(service);
    let member = mesh.map(|mesh| mesh.start(&config.state_dir, queue.clone(), exchange.clock.clone()));
    if member.is_none() {
        mesh::sweep(&config.state_dir, &queue).await;
    }
    match control_socket::listen(&config.state_dir) {
        Ok(listener) => {
            let metrics = Arc::clone(&exchange.metrics);
            let zone_files = ZoneFiles::new(&config.state_dir);
            let control = Control { published: Arc::clone(&published), queue: queue.clone(), metrics, zone_files };
            tokio::spawn(control_socket::serve(listener, control, stopped.clone()));
        }
        Err(error) => tracing::warn!("dyndns zone and dyndns status cannot reach this server: {error}"),
    }
    for address in &addresses {
        tracing::info!(%address, "listening on UDP and TCP");
    }
    ready(&Ready {
        listen: addresses.clone(),
        zones: published.view().zones.iter().map(|zone| *zone.apex()).collect(),
        key_file: made.or_else(|| config.keys.iter().find_map(|key| key.file.clone())),
    });
    let notify = Notify::new(config.notify_socket.clone());
    notify.ready();

    let name = loop {
        match signals.next().await {
            Signal::Reload => {
                notify.reloading();
                match again(&reload, &config, &published, &queue).await {
                    Ok(new) => {
                        config = new;
                        renew(certificate.as_deref(), door.as_ref(), &config);
                        // Once all of it is in force.
                        let (zones, keys) = (config.zones.len(), config.keys.len());
                        tracing::info!(zones, keys, "configuration reloaded");
                    }
                    Err(error) => tracing::error!("configuration not reloaded, the old one stays in force: {error}"),
                }
                notify.ready();
            }
            Signal::End(name) => break name,
        }
    };
    notify.stopping();
    if let Some(member) = member {
        member.end().await;
    }
    let metrics = Arc::clone(&exchange.metrics);
    // The writer ends once nobody can send it anything.
    drop((stop, stopped, workers, queue, exchange));
    end(writer).await;
    tracing::info!(
        signal = name,
        queries = metrics.queries(),
        updates_applied = metrics.updates_applied.load(std::sync::atomic::Ordering::Relaxed),
        updates_refused = metrics.updates_refused(),
        "stopped"
    );
    Ok(())
}

/// Binds every address. Of the default addresses one may be missing: not every machine has IPv6.
fn listeners(addresses: &[SocketAddr]) -> Result<Vec<Listener>, Error> {
    let mut listeners = Vec::new();
    let mut missing = None;
    for (index, address) in addresses.iter().enumerate() {
        // An address that is named twice is one address.
        if address.port() != 0 && addresses.iter().take(index).any(|earlier| earlier == address) {
            continue;
        }
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if addresses == DEFAULT_LISTEN && address.is_ipv6() => {
                tracing::warn!("{error}");
                missing = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

/// Opens the store and reads every zone in it.
pub(super) fn open(state_dir: &Path, options: &StoreOptions) -> Result<(DiskStore, ZoneSet), Error> {
    let cannot = |error| Error::usage("cannot open the state").because(error);
    let opened = DiskStore::open(state_dir, options).map_err(cannot)?;
    for note in opened.notes {
        tracing::warn!("{note}");
    }
    let mut zones = ZoneSet::default();
    for LoadedZone { apex, zone } in opened.zones {
        let place = state_dir.display();
        let cannot = |error| Error::usage(format!("cannot load zone {apex} from {place}")).because(error);
        let zone = zone.zone().map_err(cannot)?;
        tracing::info!(zone = %zone.apex(), serial = %zone.serial(), owners = zone.owners(), "zone loaded");
        zones.insert(Arc::new(zone));
    }
    Ok((opened.store, zones))
}

/// Zones to begin, and of those that are read from files the fingerprints of these and the serials.
#[derive(Default)]
struct Seeds {
    zones: Vec<(Name, Vec<Record>)>,
    files: Vec<(Name, String, Serial)>,
}

/// Reads the configured zones that are not served yet. All their files are read before any zone is begun, so that a
/// broken one changes nothing.
fn seeds(config: &Config, served: &ZoneSet) -> Result<Seeds, Error> {
    let mut seeds = Seeds::default();
    let zone_files = ZoneFiles::new(&config.state_dir);
    for zone in &config.zones {
        let file = zone.file.as_deref();
        let fingerprint = file.and_then(|file| config::fingerprint(file).ok().map(|print| (file, print)));
        if served.zone(&zone.apex).is_none() {
            let records = zone.records()?;
            let soa =
                records.iter().find(|record| record.rtype == Rtype::SOA).and_then(|soa| Soa::parse(&soa.rdata).ok());
            seeds.files.extend(fingerprint.zip(soa).map(|((_, print), soa)| (zone.apex, print, Serial(soa.serial))));
            seeds.zones.push((zone.apex, records));
        } else if let Some((file, _)) = fingerprint.filter(|(_, print)| zone_files.differs(&zone.apex, print)) {
            tracing::warn!(
                zone = %zone.apex,
                "{0} has changed since the zone took it, and is not read again; to take it: dyndns zone import {0}, which says so where that would take back what updates have changed",
                file.display()
            );
        }
    }
    Ok(seeds)
}

/// Begins zones.
async fn begin(seeds: Seeds, state_dir: &Path, queue: &Queue) -> Result<(), Error> {
    let Seeds { zones, files } = seeds;
    if zones.is_empty() {
        return Ok(());
    }
    let (reply, outcome) = oneshot::channel();
    let _ = queue.send(Request::Seed { zones, reply }).await;
    let cannot = |refusal| Error::usage("cannot store the zones of the configuration").because(refusal);
    outcome.await.unwrap_or(Err(Refusal::Storage)).map_err(cannot)?;
    let zone_files = ZoneFiles::new(state_dir);
    files.iter().for_each(|(apex, print, serial)| zone_files.took(apex, print, *serial));
    Ok(())
}

/// Starts the threads that answer over UDP and a task for each TCP socket.
fn start(listeners: Vec<Listener>, service: &Service, udp_workers: NonZeroUsize) -> Result<Workers, Error> {
    let mut workers = Workers::new::<BestDatagrams>();
    for Listener { address, udp, tcp } in listeners {
        let cannot = |error| Error::usage(format!("cannot serve {address}")).because(error);
        workers.start::<BestDatagrams>(udp, udp_workers, &service.exchange).map_err(cannot)?;
        let tcp = TcpListener::from_std(tcp).map_err(cannot)?;
        tokio::spawn(tcp::serve(tcp, service.clone()));
    }
    Ok(workers)
}

/// Puts a new configuration in force: keys, rights, limits and new zones. Sockets and the state directory stay
/// as they are until a restart.
async fn again(
    reload: &impl Fn() -> Result<Config, Error>,
    old: &Config,
    published: &Published,
    queue: &Queue,
) -> Result<Config, Error> {
    let config = reload()?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let fixed = |config: &Config| {
        (config.listen.clone(), config.tcp, config.udp_workers, config.state_dir.clone(), config.journal)
    };
    if fixed(&config) != fixed(old) {
        tracing::warn!(
            "listen, tcp limits, udp-workers, state-dir or [journal] have changed in the configuration; restart to put them in force"
        );
    }
    let places = |config: &Config| {
        let tls = config.tls.clone();
        tls.map(|tls| (tls.dot_listen, tls.doh_listen, tls.doh_path, tls.doq_listen))
    };
    if places(&config) != places(old) {
        tracing::warn!("where [tls] listens has changed in the configuration; restart to put it in force");
    }
    if config.http != old.http {
        tracing::warn!("[http] has changed in the configuration; restart to put it in force");
    }
    if config.mesh != old.mesh {
        tracing::warn!("[mesh] has changed in the configuration; restart to put it in force");
    }
    let seeds = seeds(&config, &published.view().zones)?;
    begin(seeds, &config.state_dir, queue).await?;
    let (reply, done) = oneshot::channel();
    let request = Request::Reload {
        keyring: Arc::new(config.keyring()),
        limits: Arc::new(limits(&config)),
        rights: Box::new(config.rights.clone()),
        reply,
    };
    let _ = queue.send(request).await;
    let _ = done.await;
    Ok(config)
}

/// Reads the certificate anew, where one is in use, and lets other users in by the HTTP door, where there is one.
fn renew(certificate: Option<&Certificate>, door: Option<&Door>, config: &Config) {
    door.into_iter().for_each(|door| door.admit(&config.http_users));
    if let (Some(certificate), Some(tls)) = (certificate, &config.tls) {
        certificate.reload(tls);
    }
}

/// Waits for the writer to finish what is queued, and closes the store.
async fn end(writer: std::thread::JoinHandle<DiskStore>) {
    let ended = tokio::task::spawn_blocking(move || writer.join());
    let store = match tokio::time::timeout(LAST_UPDATES, ended).await {
        Ok(Ok(Ok(store))) => store,
        Ok(_) => return tracing::error!("the writer ended by a defect; what was answered is in the journal"),
        Err(_) => return tracing::warn!("updates were still under way; their senders have had no answer"),
    };
    let closed = tokio::task::spawn_blocking(move || store.close());
    match tokio::time::timeout(LAST_UPDATES, closed).await {
        Ok(Ok(0)) => {}
        Ok(Ok(commits)) => {
            tracing::info!(commits, "the table is behind the journal; the next start takes the rest from there");
        }
        _ => tracing::warn!("the table was not closed in time; the next start takes what it lacks from the journal"),
    }
}

fn limits(config: &Config) -> Limits {
    Limits { udp_size: config.udp_size, version: config.version_bind.clone(), whoami: config.whoami }
}

/// What the process is told from outside.
enum Signal {
    Reload,
    End(&'static str),
}

struct Signals {
    hangup: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Signals, Error> {
        let cannot = |error| Error::usage("cannot listen for signals").because(error);
        Ok(Signals {
            hangup: signal(SignalKind::hangup()).map_err(cannot)?,
            terminate: signal(SignalKind::terminate()).map_err(cannot)?,
            interrupt: signal(SignalKind::interrupt()).map_err(cannot)?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.hangup.recv() => Signal::Reload,
            _ = self.terminate.recv() => Signal::End("SIGTERM"),
            _ = self.interrupt.recv() => Signal::End("SIGINT"),
        }
    }
}
