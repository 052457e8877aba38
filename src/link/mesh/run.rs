//! A node that is a process of its own.

use super::report::TicketReport;
use super::view::View;
use super::{Mesh, Settings};
use crate::error::Error;
use crate::sys::notify::Notify;
use std::ffi::OsString;
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

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

/// Is a node until SIGTERM, SIGINT or a command to leave.
///
/// Errors: what [`Mesh::open`] and [`Mesh::run`] say.
pub fn run(settings: Settings, notify_socket: Option<OsString>, mut tell: impl FnMut(Told<'_>)) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::usage("cannot start the event loop").because(error))?;
    runtime.block_on(async {
        let cannot = |error| Error::usage("cannot listen for signals").because(error);
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let mut mesh = Mesh::open(settings)?;
        let (mut views, listen, ticket) = (mesh.view(), mesh.place(), mesh.ticket()?);
        let view = views.borrow_and_update().clone();
        tell(Told::Started { listen, ticket, view: &view });
        let notify = Notify::new(notify_socket);
        let mut joined = false;
        let (stop, stopped) = watch::channel(false);
        let mut node = std::pin::pin!(mesh.run(stopped));
        loop {
            tokio::select! {
                ended = &mut node => {
                    notify.stopping();
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
            }
        }
    })
}
