//! The way from the command line to a server: a socket in the state directory, or, where no server runs, the state
//! itself.
//!
//! A connection carries one command and its outcome, each as JSON until the sender shuts its side. The socket lies in
//! a directory that only its owner may enter. A read-only state directory takes no socket: there it is a name of the
//! kernel's (unix(7), abstract), made of the directory's place on its disk. Anyone may take or call such a name, so both
//! sides ask who the other is.

use super::control::{Command, Control, Outcome};
use super::publish::Published;
use super::run::open;
use super::writer::Writer;
use super::zone_files::ZoneFiles;
use crate::clock::Clock;
use crate::error::Error;
use crate::query::View;
use crate::store::{
    self, BackedUp, Commits, Existing, Findings, Instant, RecoveryNote, Restored, Retention, StoreOptions,
};
use crate::update::policy::Rights;
use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{self, SocketAddr, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::watch;

/// How many commands are carried out at once.
const AT_ONCE: usize = 4;

/// The directory of the socket.
fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("control")
}

fn socket(state_dir: &Path) -> PathBuf {
    directory(state_dir).join("socket")
}

/// The name that serves where no socket can be made.
fn name(state_dir: &Path) -> io::Result<SocketAddr> {
    let place = fs::metadata(state_dir)?;
    SocketAddr::from_abstract_name(format!("dyndns control {:x} {:x}", place.dev(), place.ino()))
}

/// Listens for commands. The caller holds the state directory's lock, so a socket that lies there is an earlier
/// server's.
pub(super) fn listen(state_dir: &Path) -> io::Result<UnixListener> {
    match listen_at(state_dir) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            let listener = net::UnixListener::bind_addr(&name(state_dir)?)?;
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        }
        outcome => outcome,
    }
}

fn listen_at(state_dir: &Path) -> io::Result<UnixListener> {
    match DirBuilder::new().mode(0o700).create(directory(state_dir)) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let path = socket(state_dir);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(path)
}

/// Carries out the commands that come in, until `stop` changes.
pub(super) async fn serve(listener: UnixListener, control: Control, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let mut stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: wait for some to be closed rather than spin.
                tracing::warn!("cannot accept a command: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let own = rustix::process::geteuid().as_raw();
        if !stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own) {
            tracing::warn!("command refused: it came from another user");
            continue;
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let (control, mut stop) = (control.clone(), stop.clone());
        tokio::spawn(async move {
            let exchange = async {
                let mut request = Vec::new();
                stream.read_to_end(&mut request).await?;
                let outcome = match serde_json::from_slice(&request) {
                    Ok(command) => control.carry_out(command).await,
                    Err(error) => {
                        Err(format!("the server does not know this command ({error}); is it of another version?"))
                    }
                };
                stream.write_all(&serde_json::to_vec(&outcome)?).await?;
                stream.shutdown().await
            };
            tokio::select! {
                done = exchange => if let Err(error) = done {
                    tracing::debug!("control connection broke off: {error}");
                },
                _ = stop.changed() => {}
            }
            drop(slot);
        });
    }
}

/// Has a command carried out by the server that runs on this state, or, where none does, by this process; returns
/// what is to be printed.
///
/// Errors: the command was refused; the state cannot be reached.
pub fn call(state_dir: &Path, command: &Command) -> Result<String, Error> {
    ask(state_dir, command)?.map_err(Error::refused)
}

/// [`call`], with the refusal as it was said.
fn ask(state_dir: &Path, command: &Command) -> Result<Outcome, Error> {
    match connect(state_dir) {
        Ok(stream) => {
            exchange(stream, command).map_err(|error| Error::usage("cannot talk to the running server").because(error))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            alone(state_dir, command)
        }
        Err(error) => {
            let path = socket(state_dir);
            Err(Error::usage(format!("cannot reach the server at {}", path.display()))
                .because(error)
                .remedy("run this as the user that the server runs as, or as root"))
        }
    }
}

fn connect(state_dir: &Path) -> io::Result<UnixStream> {
    let none = |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused);
    match UnixStream::connect(socket(state_dir)) {
        Err(error) if none(&error) => {
            let Ok(stream) = name(state_dir).and_then(|name| UnixStream::connect_addr(&name)) else {
                return Err(error);
            };
            let peer = rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw();
            let known = [0, rustix::process::geteuid().as_raw(), fs::metadata(state_dir)?.uid()];
            // Whoever it is, it is no server of this state.
            if known.contains(&peer) { Ok(stream) } else { Err(error) }
        }
        outcome => outcome,
    }
}

/// Checks all that is kept in a state directory, by the server that runs on it or in this process.
///
/// Errors: the state cannot be reached. What is wrong with it is among the findings.
pub fn verify(state_dir: &Path) -> Result<Findings, Error> {
    let findings = call(state_dir, &Command::Verify)?;
    serde_json::from_str(&findings).map_err(|error| Error::usage("cannot read the server's findings").because(error))
}

/// Makes a backup of a state directory in `to`, with the help of the server that runs on it or alone.
///
/// Errors: the state cannot be reached, `to` is in use, something cannot be written.
pub fn backup(state_dir: &Path, to: &Path) -> Result<(Instant, BackedUp), Error> {
    let cannot = |error| Error::refused("cannot make the backup").because(error);
    store::prepare_backup(state_dir, to).map_err(cannot)?;
    let instant = match ask(state_dir, &Command::Checkpoint)? {
        Ok(instant) => instant,
        // The disk is full or read-only, most likely. What was answered is in the files.
        Err(why) => {
            let (instant, mut made) = store::backup_of_files(state_dir, to).map_err(cannot)?;
            made.warnings.insert(0, format!("the state could not be written, so the backup is of its files: {why}"));
            return Ok((instant, made));
        }
    };
    let instant = serde_json::from_str(&instant)
        .map_err(|error| Error::usage("cannot read the server's answer").because(error))?;
    let made = store::backup(state_dir, &instant, to).map_err(cannot)?;
    Ok((instant, made))
}

/// Mends a state that no server uses, where named without commits that are lost; returns what was done, each a line.
///
/// Errors: a server uses it; other commits would be lost than these, or none.
pub fn repair(state_dir: &Path, without: Option<Commits>) -> Result<Vec<RecoveryNote>, Error> {
    // What may be forgotten is the server's to know.
    let options = StoreOptions { keep: Retention::ALL, ..StoreOptions::default() };
    let repaired = match without {
        Some(lost) => store::repair_without(state_dir, &options, lost).map(|note| vec![note]),
        None => store::repair(state_dir, &options),
    };
    repaired.map_err(|error| Error::refused("cannot repair").because(error))
}

/// Makes a state directory from a backup.
///
/// Errors: a server uses it, it holds a state already, the backup is not whole.
pub fn restore(backup: &Path, state_dir: &Path, existing: Existing) -> Result<Restored, Error> {
    store::restore(backup, state_dir, existing).map_err(|error| Error::refused("cannot restore").because(error))
}

fn exchange(mut stream: UnixStream, command: &Command) -> io::Result<Outcome> {
    stream.write_all(&serde_json::to_vec(command)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    if reply.is_empty() {
        return Err(io::Error::other("it ended before it answered; see its log"));
    }
    Ok(serde_json::from_slice(&reply)?)
}

/// Carries out a command on the state of a server that does not run.
fn alone(state_dir: &Path, command: &Command) -> Result<Outcome, Error> {
    let cannot = || Error::usage(format!("cannot use the state in {}", state_dir.display()));
    let owner = fs::metadata(state_dir)
        .map_err(|error| cannot().because(error).remedy("name the server's state with --state-dir or --config"))?
        .uid();
    // What another user writes here, the server could not open again.
    let own = fs::metadata("/proc/self").map_or(owner, |process| process.uid());
    if own != owner {
        return Err(cannot()
            .because(format!("it belongs to user {owner}"))
            .remedy("start the server, or run this as that user"));
    }
    if let Command::Verify = command {
        let cannot = || Error::usage("cannot verify the state");
        let findings = store::verify(state_dir).map_err(|error| cannot().because(error))?;
        return serde_json::to_string(&findings).map(Ok).map_err(|error| cannot().because(error));
    }
    // What may be forgotten is the server's to know.
    let options = StoreOptions { keep: Retention::ALL, ..StoreOptions::default() };
    let (store, zones) = open(state_dir, &options)?;
    let published = Arc::new(Published::default());
    let view = View { zones, ..View::default() };
    let writer = Writer::new(store, Arc::clone(&published), view, Rights::new(), Clock::System);
    let (queue, writer) = writer.start().map_err(|error| cannot().because(error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(|error| cannot().because(error))?;
    let control = Control { published, queue, metrics: Arc::default(), zone_files: ZoneFiles::new(state_dir) };
    let outcome = match command {
        Command::Status => Err("the server does not run".to_string()),
        command => runtime.block_on(control.carry_out(command.clone())),
    };
    drop(control);
    // The table has a moment to catch up as the store is dropped.
    let _ = writer.join();
    Ok(outcome)
}
