//! The thread in which the table follows the journal.
//!
//! Appends wait for it only when it is [`AHEAD`] groups behind, and never fail because of it: a table at fault is
//! left as it is, and the next start rebuilds it from the journal.

use super::segment::Group;
use super::table::{Step, Table, TableError};
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The thread, and the way to it.
pub(super) struct Follower {
    /// `None` only while it is being dropped.
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    faults: Receiver<String>,
}

enum Message {
    Group(Group),
    Sync(SyncSender<()>),
}

/// How many groups the journal may be ahead.
const AHEAD: usize = 256;

/// A pause of this length is used to flush the table.
const PAUSE: Duration = Duration::from_secs(1);

impl Follower {
    /// Starts the thread.
    pub(super) fn start(mut table: Table) -> io::Result<Follower> {
        let (sender, groups) = sync_channel(AHEAD);
        let (report, faults) = sync_channel(1);
        let run = move || {
            let outcome = follow(&mut table, &groups);
            table.close();
            if let Err(error) = outcome {
                // Nobody listens any more where the store is being dropped.
                let _ = report.try_send(error.to_string());
            }
        };
        let thread = Builder::new().name("table".into()).spawn(run)?;
        Ok(Follower { sender: Some(sender), thread: Some(thread), faults })
    }

    /// Hands over a group that is durable. Waits where the table is far behind.
    pub(super) fn push(&self, group: Group) {
        // This fails once the thread has ended with a fault, which `fault` tells; the journal has the group.
        let _ = self.sender.as_ref().map(|sender| sender.send(Message::Group(group)));
    }

    /// Waits until the table holds everything that was pushed, and is flushed; `false` where it is at fault.
    pub(super) fn sync(&self) -> bool {
        let (done, wait) = sync_channel(1);
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(Message::Sync(done)).is_ok());
        sent && wait.recv().is_ok()
    }

    /// Why the table stopped following, once.
    pub(super) fn fault(&self) -> Option<String> {
        self.faults.try_recv().ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // Its panics, if any, were told already; what counts is that sled has let go of its files.
            let _ = thread.join();
        }
    }
}

fn follow(table: &mut Table, groups: &Receiver<Message>) -> Result<(), TableError> {
    let mut dirty = false;
    loop {
        let pause = if dirty { PAUSE } else { Duration::MAX };
        let mut message = match groups.recv_timeout(pause) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => {
                table.flush()?;
                dirty = false;
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return table.flush(),
        };
        while let Some(next) = message {
            match next {
                Message::Group(group) => {
                    dirty = true;
                    for place in &group.frames {
                        table.follow(Step { seq: place.seq, chain: place.chain }, group.payload(place))?;
                    }
                }
                Message::Sync(done) => {
                    table.flush()?;
                    dirty = false;
                    let _ = done.send(());
                }
            }
            // Whatever waits already shares a batch.
            message = groups.try_recv().ok();
        }
        table.write()?;
    }
}
