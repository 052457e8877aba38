//! A node that is a process of its own.

use super::report::TicketReport;
use super::view::View;
use super::{Mesh, Settings, hook, hosts_file};
use crate::error::Error;
use crate::sys::notify::Notify;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Who follows a node.
#[derive(Debug, Default)]
pub struct Followers {
    /// The service manager's socket.
    pub notify_socket: Option<OsString>,
    /// The hosts file that gets a section of names.
    pub hosts_file: Option<PathBuf>,
    /// The command that is run when this machine's addresses have changed.
    pub hook: Option<String>,
}

/// What a running node has to tell.
#[derive(Debug)]
pub enum Told<'a> {
    /// It listens, and begins to look for the others.
    Started {
        /// Where.
        listen: Option<SocketAddr>,
        /// A ticket for others, where it makes tickets.
        ticket: Option<TicketReport>,
        /// What it knew when it ended.
        view: &'a View,
    },
    /// It sees the mesh otherwise than before.
    Changed(&'a View),
}

/// Is a node until SIGTERM, SIGINT, SIGHUP (its terminal is gone) or a command to leave.
///
/// Errors: what [`Mesh::open`] and [`Mesh::run`] say.
pub fn run(settings: Settings, followers: Followers, mut tell: impl FnMut(Told<'_>)) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::usage("cannot start the event loop").because(error))?;
    runtime.block_on(async {
        let cannot = |error| Error::usage("cannot listen for signals").because(error);
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(cannot)?;
        let mut mesh = Mesh::open(settings)?;
        let (mut views, listen, ticket) = (mesh.view(), mesh.place(), mesh.ticket()?);
        let view = views.borrow_and_update().clone();
        tell(Told::Started { listen, ticket, view: &view });
        let notify = Notify::new(followers.notify_socket);
        let mut following = JoinSet::new();
        if let Some(path) = followers.hosts_file {
            following.spawn(hosts_file(path, mesh.view()));
        }
        if let Some(words) = followers.hook {
            following.spawn(hook(words, mesh.view()));
        }
        let mut joined = false;
        let (stop, stopped) = watch::channel(false);
        let mut node = std::pin::pin!(mesh.run(stopped));
        loop {
            tokio::select! {
                ended = &mut node => {
                    notify.stopping();
                    // They end with the node; the hosts file is cleaned up then.
                    while following.join_next().await.is_some() {}
                    return ended;
                }
                Ok(()) = views.changed() => {
                    let view = views.borrow_and_update().clone();
                    if view.joined && !std::mem::replace(&mut joined, true) {
                        notify.ready();
                    }
                    notify.status(format!("{} hosts in mesh {}", view.hosts.len(), view.mesh));
                    tell(Told::Changed(&view));
                }
                _ = terminate.recv() => drop(stop.send_replace(true)),
                _ = interrupt.recv() => drop(stop.send_replace(true)),
                _ = hangup.recv() => drop(stop.send_replace(true)),
            }
        }
    })
}
