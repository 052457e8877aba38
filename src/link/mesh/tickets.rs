//! The tickets that were made at this node, where it is a steward.

use super::report::TicketReport;
use super::state::{Issued, State, random};
use crate::error::Error;
use crate::mesh::{Contact, Edict, EdictKind, NodeId, Rights, Steward, Ticket};

/// The tickets, and the key that makes them.
pub(super) struct Tickets {
    steward: Option<Steward>,
    issued: Vec<Issued>,
}

/// For how long the ticket is good that the first node prints.
const FIRST: u64 = 7 * 86_400;
/// A ticket that ends within this is not worth printing.
const SOON: u64 = 3600;

impl Tickets {
    pub(super) fn open(state: &State, mesh: NodeId) -> Result<Tickets, Error> {
        let key = state.mesh_secret()?.and_then(|secret| secret.key());
        // A key of another mesh lies there where one was begun that came to nothing.
        let steward = key.map(Steward::new).filter(|steward| steward.mesh() == mesh);
        Ok(Tickets { steward, issued: state.tickets()? })
    }

    /// Whether this node makes tickets and takes things back.
    pub(super) fn is_steward(&self) -> bool {
        self.steward.is_some()
    }

    fn steward(&self) -> Result<&Steward, String> {
        self.steward.as_ref().ok_or_else(|| {
            "this node does not have the mesh's key; ask the node that began the mesh, or copy its mesh.key into this \
             node's state directory and restart"
                .to_string()
        })
    }

    /// Makes a ticket and writes it down.
    pub(super) fn make(
        &mut self,
        state: &State,
        rights: Rights,
        expires: u64,
        contacts: Vec<Contact>,
        now: u64,
    ) -> Result<TicketReport, String> {
        let seed = random().map_err(|error| error.to_string())?;
        let ticket = self.steward()?.ticket(*seed, rights, expires, contacts);
        let ticket = ticket.ok_or("cannot make a ticket of these random octets; try again")?;
        self.issued.push(Issued { ticket: ticket.to_string(), made: now, revoked: None });
        state.write_tickets(&self.issued).map_err(|error| error.to_string())?;
        Ok(report(&ticket, now, None))
    }

    /// The ticket that a start prints: one that is there already, while it is good and says where to go.
    pub(super) fn for_others(
        &mut self,
        state: &State,
        contacts: Vec<Contact>,
        now: u64,
    ) -> Result<Option<TicketReport>, String> {
        if !self.is_steward() {
            return Ok(None);
        }
        let good = |report: &TicketReport| {
            let lasts = report.expires >= now.saturating_add(SOON);
            lasts && !report.watch && report.revoked.is_none() && (report.contacts > 0 || contacts.is_empty())
        };
        if let Some(report) = self.list().into_iter().rev().find(good) {
            return Ok(Some(report));
        }
        self.make(state, Rights::Join, now.saturating_add(FIRST), contacts, now).map(Some)
    }

    /// All that were made here.
    pub(super) fn list(&self) -> Vec<TicketReport> {
        let parsed = self.issued.iter().filter_map(|issued| Some((issued, issued.ticket.parse::<Ticket>().ok()?)));
        parsed.map(|(issued, ticket)| report(&ticket, issued.made, issued.revoked)).collect()
    }

    /// Takes a ticket back; `id` is its number or the ticket itself.
    pub(super) fn revoke(&mut self, state: &State, id: &str, now: u64) -> Result<Edict, String> {
        let steward = self.steward()?;
        let id = id.trim();
        let given = id.parse::<Ticket>().ok().map(|ticket| ticket.pass.ticket.to_string());
        let id = given.as_deref().unwrap_or(id);
        let found = self.issued.iter().enumerate().find_map(|(at, issued)| {
            let ticket = issued.ticket.parse::<Ticket>().ok()?;
            (ticket.pass.ticket.to_string() == id).then_some((at, ticket.pass.ticket))
        });
        let (at, subject) = found.ok_or_else(|| {
            format!("no ticket {id} was made at this node; dyndns mesh ticket list names those that were")
        })?;
        let edict = steward.edict(EdictKind::Revoke, subject, now);
        if let Some(issued) = self.issued.get_mut(at) {
            issued.revoked.get_or_insert(now);
        }
        state.write_tickets(&self.issued).map_err(|error| error.to_string())?;
        Ok(edict)
    }

    /// Takes a node out of the mesh, for good.
    pub(super) fn remove(&self, node: NodeId, now: u64) -> Result<Edict, String> {
        Ok(self.steward()?.edict(EdictKind::Remove, node, now))
    }
}

fn report(ticket: &Ticket, made: u64, revoked: Option<u64>) -> TicketReport {
    TicketReport {
        id: ticket.pass.ticket.to_string(),
        expires: ticket.pass.expires,
        watch: ticket.pass.rights == Rights::Watch,
        made,
        revoked,
        contacts: ticket.contacts.len(),
        ticket: ticket.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_prints_the_same_ticket_until_it_ends_or_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        assert_eq!(Tickets::open(&state, NodeId([7; 32])).unwrap().for_others(&state, Vec::new(), 1000), Ok(None));
        let mesh = state.make_mesh().unwrap().key().unwrap().id();
        assert!(!Tickets::open(&state, NodeId([7; 32])).unwrap().is_steward(), "the key of another mesh");
        let mut tickets = Tickets::open(&state, mesh).unwrap();
        let first = tickets.for_others(&state, Vec::new(), 1000).unwrap().unwrap();
        let mut tickets = Tickets::open(&state, mesh).unwrap();
        assert_eq!(tickets.for_others(&state, Vec::new(), 2000), Ok(Some(first.clone())));
        let contact = Contact { id: None, address: "192.0.2.1:5399".parse().unwrap() };
        let second = tickets.for_others(&state, vec![contact], 2000).unwrap().unwrap();
        assert_eq!((second.contacts, tickets.list().len()), (1, 2));
        assert_eq!(tickets.for_others(&state, Vec::new(), 3000), Ok(Some(second.clone())));
        tickets.revoke(&state, &second.id, 3000).unwrap();
        assert_eq!(tickets.for_others(&state, Vec::new(), 3000), Ok(Some(first.clone())));
        tickets.revoke(&state, &first.ticket, 3000).unwrap();
        let third = tickets.for_others(&state, Vec::new(), 3000).unwrap().unwrap();
        assert!(third != first && third != second);
        assert!(tickets.revoke(&state, "0123", 3000).unwrap_err().contains("no ticket 0123 was made at this node"));
    }
}
