//! Whom a node tries, and whom others can try.

use super::PORT;
use super::driver::Mesh;
use crate::error::io_text;
use crate::mesh::{Contact, Role, Ticket};
use std::net::{IpAddr, SocketAddr};
use tokio::time::{Duration, timeout};

/// How long the name of a contact may take to be found.
const LOOK_UP: Duration = Duration::from_secs(5);

impl Mesh {
    /// Whom to try: those that the operator names, then those of the ticket; where there are none and one is `needed`,
    /// whoever is found first on the local link.
    pub(super) async fn find_contacts(&mut self, needed: bool) -> Vec<Contact> {
        let mut contacts = Vec::new();
        for named in &self.settings.contacts {
            match timeout(LOOK_UP, tokio::net::lookup_host(with_port(named))).await {
                Ok(Ok(found)) => {
                    contacts.extend(found.map(|at| Contact { id: None, address: canonical(at) }));
                }
                Ok(Err(error)) => tracing::warn!("contact {named} is left out: {}", io_text(&error)),
                Err(_) => tracing::warn!("contact {named} is left out: its name was not found within 5 s"),
            }
        }
        contacts.extend(self.ticket.contacts.iter().copied());
        let mut seen = Vec::new();
        contacts.retain(|contact| {
            let new = !seen.contains(&contact.address) && contact.id != Some(self.me);
            seen.push(contact.address);
            new
        });
        if let (true, Some(mdns)) = (needed && contacts.is_empty(), &mut self.mdns) {
            contacts.extend(mdns.first().await);
        }
        contacts
    }

    /// Where others can try, this node first.
    pub(super) fn own_contacts(&self) -> Vec<Contact> {
        let at = |id, ip: &IpAddr, port| Contact { id: Some(id), address: SocketAddr::new(*ip, port) };
        let own = self.node.addresses().iter().map(|ip| at(self.me, ip, self.settings.node.port));
        let mut contacts: Vec<Contact> = own.collect();
        let mut others: Vec<_> = self.node.hosts().map(|host| host.claim).filter(|claim| claim.id != self.me).collect();
        others.sort_by_key(|claim| claim.role != Role::Server);
        for claim in others.into_iter().take(Ticket::CONTACTS) {
            contacts.extend(claim.addresses.first().map(|ip| at(claim.id, ip, claim.port)));
        }
        contacts.truncate(Ticket::CONTACTS);
        contacts
    }

    /// That nobody else was found, where the local link was listened to.
    pub(super) fn or_nearby(&self) -> &'static str {
        if self.settings.mdns { ", and no other announces itself on the local link" } else { "" }
    }
}

fn with_port(named: &str) -> String {
    match named.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, PORT).to_string(),
        Err(_) if named.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => named.to_string(),
        Err(_) => format!("{}:{PORT}", named.trim_matches(['[', ']'])),
    }
}

fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}
