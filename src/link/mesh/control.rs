//! The way from the command line to a running node: a socket in its state directory.
//!
//! A connection carries one [`Command`] and its outcome, each as JSON until the sender shuts its side. The socket lies
//! in a directory that only its owner may enter.

use super::report::Reply;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// What a running node is asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// The hosts.
    List,
    /// The node itself.
    Status,
    /// Make a ticket.
    TicketNew {
        /// For how many seconds it is good.
        lasts: u64,
        /// Whether it lets only watch.
        watch: bool,
    },
    /// Take a ticket back.
    TicketRevoke {
        /// Its number or its text.
        id: String,
    },
    /// The tickets that were made here.
    TicketList,
    /// Take a node out, for good.
    NodeRemove {
        /// Its name or its id.
        name: String,
    },
    /// Leave the mesh and end.
    Leave,
}

/// A command and the way back.
pub(super) type Asked = (Command, oneshot::Sender<Result<Reply, String>>);

/// How long a caller may take to say what it wants, and to read the answer.
const CALLER: Duration = Duration::from_secs(10);
/// How many callers there may be at once.
const AT_ONCE: usize = 8;
/// The longest command.
const LONGEST: u64 = 65_536;

fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("mesh.socket")
}

/// Listens for commands. The caller holds the state directory's lock, so a socket that lies there is an earlier
/// node's.
pub(super) fn listen(state_dir: &Path) -> Result<UnixListener, Error> {
    let path = socket(state_dir);
    let cannot = |error: io::Error| Error::usage(format!("cannot listen at {}", path.display())).because(error);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    UnixListener::bind(&path).map_err(cannot)
}

/// Takes the socket away.
pub(super) fn end(state_dir: &Path) {
    // The next node takes away what stays.
    let _ = fs::remove_file(socket(state_dir));
}

/// Hands commands to the node until it ends.
pub(super) async fn serve(listener: UnixListener, commands: mpsc::Sender<Asked>) {
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    while let Ok(slot) = std::sync::Arc::clone(&slots).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: wait for some to be closed rather than spin.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let commands = commands.clone();
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(CALLER, exchange(stream, commands)).await {
                tracing::debug!("control connection broke off: {error}");
            }
            drop(slot);
        });
    }
}

async fn exchange(mut stream: tokio::net::UnixStream, commands: mpsc::Sender<Asked>) -> io::Result<()> {
    let mut request = Vec::new();
    (&mut stream).take(LONGEST).read_to_end(&mut request).await?;
    let outcome = match serde_json::from_slice(&request) {
        Ok(command) => {
            let (reply, answer) = oneshot::channel();
            let asked = commands.send((command, reply)).await.is_ok();
            let answer = if asked { answer.await.ok() } else { None };
            answer.unwrap_or_else(|| Err("the node has just ended".into()))
        }
        Err(error) => Err(format!("the node does not know this command ({error}); is it of another version?")),
    };
    stream.write_all(&serde_json::to_vec(&outcome)?).await?;
    stream.shutdown().await
}

/// Has a command carried out by the node that runs on this state.
///
/// Errors: none runs; it cannot be reached; it refuses.
pub fn call(state_dir: &Path, command: &Command) -> Result<Reply, Error> {
    let path = socket(state_dir);
    let outcome: Result<Reply, String> = match UnixStream::connect(&path) {
        Ok(stream) => ask(stream, command).map_err(|error| Error::usage("cannot talk to the node").because(error))?,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            let text = format!("no mesh node runs on {}", state_dir.display());
            return Err(
                Error::refused(text).remedy("start it with dyndns mesh start, or name its state with --state-dir")
            );
        }
        Err(error) => {
            return Err(Error::usage(format!("cannot reach the node at {}", path.display()))
                .because(error)
                .remedy("run this as the user that the node runs as, or as root"));
        }
    };
    outcome.map_err(Error::refused)
}

fn ask(mut stream: UnixStream, command: &Command) -> io::Result<Result<Reply, String>> {
    stream.write_all(&serde_json::to_vec(command)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    if reply.is_empty() {
        return Err(io::Error::other("it ended before it answered; see its log"));
    }
    Ok(serde_json::from_slice(&reply)?)
}
