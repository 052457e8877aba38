//! What a running node answers to the command line.

use super::control::Command;
use super::driver::{End, Mesh};
use super::report::{ListReport, Reply, StatusReport, word};
use super::view::View;
use crate::mesh::{Event, Label, NodeId, Notary, Rights, Verifier};
use tokio::sync::oneshot;

impl Mesh {
    /// Carries a command out; leaving is answered when it is done.
    pub(super) fn answer(&mut self, command: Command, reply: oneshot::Sender<Result<Reply, String>>) {
        let now = self.clock.now();
        let outcome = match command {
            Command::List => Ok(Reply::List(ListReport::from(&self.current()))),
            Command::Status => Ok(Reply::Status(self.status())),
            Command::TicketNew { lasts, watch } => {
                let rights = if watch { Rights::Watch } else { Rights::Join };
                let (expires, contacts) = (now.saturating_add(lasts), self.own_contacts());
                self.tickets.make(&self.state, rights, expires, contacts, now).map(Reply::Ticket)
            }
            Command::TicketRevoke { id } => self.tickets.revoke(&self.state, &id, now).map(|edict| {
                self.handle(Event::Edict(edict));
                Reply::Done(format!("revoked ticket {}; nodes that came in by it stay", edict.subject))
            }),
            Command::TicketList => Ok(Reply::Tickets(self.tickets.list())),
            Command::NodeRemove { name } => self.remove(&name, now),
            Command::Leave => {
                self.end.get_or_insert(End::Left(Some(reply)));
                return;
            }
        };
        // Who asked may be gone.
        let _ = reply.send(outcome);
    }

    fn current(&self) -> View {
        View::of(&self.node, &self.settings.node.name, self.ticket.mesh, self.settings.zone, self.joined)
    }

    fn status(&self) -> StatusReport {
        let view = self.current();
        StatusReport {
            id: self.me.to_string(),
            mesh: view.mesh.to_string(),
            name: view.name.to_string(),
            zone: view.zone.to_string(),
            role: word(self.settings.node.role).into(),
            steward: self.tickets.is_steward(),
            joined: view.joined,
            listen: self.place(),
            addresses: view.addresses,
            hosts: view.hosts.len(),
            name_taken_by: view.name_taken_by.map(|holder| holder.to_string()),
            started: self.started,
        }
    }

    fn remove(&mut self, name: &str, now: u64) -> Result<Reply, String> {
        let id = self.find(name)?;
        if id == self.me {
            return Err("a node does not remove itself; use dyndns mesh leave".into());
        }
        let edict = self.tickets.remove(id, now)?;
        self.handle(Event::Edict(edict));
        Ok(Reply::Done(format!("removed node {name} ({id}); its key never comes back")))
    }

    /// The node of a name or an id: the one that has the name, or the only one, gone ones included.
    fn find(&self, name: &str) -> Result<NodeId, String> {
        let label = Label::new(name);
        if let Some(host) = self.node.hosts().find(|host| host.holds_name && Some(&host.claim.name) == label.as_ref()) {
            return Ok(host.claim.id);
        }
        let mut verifier = Verifier { mesh: self.ticket.mesh };
        let known = self.node.saved().peers.into_iter().filter_map(|(record, _)| verifier.admit(&record).ok());
        let fits = known.filter(|record| {
            let id = record.claim.id.to_string();
            Some(&record.claim.name) == label.as_ref() || id == name
        });
        let found: Vec<NodeId> =
            fits.map(|record| record.claim.id).chain((self.me.to_string() == name).then_some(self.me)).collect();
        match found.as_slice() {
            [id] => Ok(*id),
            [] => Err(format!("no node {name} is known here; dyndns mesh list names those that live")),
            several => {
                let ids: Vec<String> = several.iter().map(NodeId::to_string).collect();
                Err(format!("several nodes have had the name {name}; give the id of one: {}", ids.join(", ")))
            }
        }
    }
}
