//! A whole node, and what peers can do to it.

use super::links::Target;
use super::proof::Secret;
use super::state::random;
use super::transport::{Received, Transport};
use super::*;
use crate::mesh::{Claim, Label, Message, NodeId, Record, Role, SecretKey, Settings as NodeSettings};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A running node.
struct Running {
    _folder: TempDir,
    place: SocketAddr,
    ticket: Option<String>,
    view: watch::Receiver<Arc<View>>,
    stop: watch::Sender<bool>,
    node: JoinHandle<Result<(), crate::error::Error>>,
}

fn settings(folder: &TempDir, name: &str, entry: Entry) -> Settings {
    let node = NodeSettings { port: 0, ..NodeSettings::new(Label::new(name).unwrap()) };
    Settings {
        state_dir: folder.path().join("mesh"),
        listen: Ipv4Addr::LOCALHOST.into(),
        zone: Name::parse(ZONE).unwrap(),
        node,
        entry,
        contacts: Vec::new(),
        mdns: false,
    }
}

impl Running {
    fn start(name: &str, entry: Entry, contacts: &[SocketAddr]) -> Running {
        Running::start_as(Role::Member, name, entry, contacts)
    }

    fn start_as(role: Role, name: &str, entry: Entry, contacts: &[SocketAddr]) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(&folder, name, entry);
        settings.node.role = role;
        settings.contacts = contacts.iter().map(SocketAddr::to_string).collect();
        let mut mesh = Mesh::open(settings).unwrap();
        let (place, view) = (mesh.place().unwrap(), mesh.view());
        let ticket = mesh.ticket().unwrap().map(|report| report.ticket);
        let (stop, stopped) = watch::channel(false);
        Running { _folder: folder, place, ticket, view, stop, node: tokio::spawn(mesh.run(stopped)) }
    }

    fn join(&self, name: &str) -> Running {
        let ticket = self.ticket.clone().unwrap().parse().unwrap();
        Running::start(name, Entry::Join(ticket), &[self.place])
    }

    /// Waits until it sees so many hosts.
    async fn sees(&mut self, hosts: usize) {
        let seen = self.view.wait_for(|view| view.joined && view.hosts.len() == hosts);
        timeout(Duration::from_secs(30), seen).await.expect("it does not see them").unwrap();
    }

    async fn end(self) {
        self.stop.send_replace(true);
        self.node.await.unwrap().unwrap();
    }
}

/// Somebody with a key, whom nobody has let in.
struct Stranger {
    key: SecretKey,
    transport: Transport,
    inbox: mpsc::Receiver<Received>,
}

impl Stranger {
    fn new() -> Stranger {
        let secret = Secret(random().unwrap());
        let key = secret.key().unwrap();
        let (id, (sender, inbox)) = (key.id(), mpsc::channel(64));
        let transport =
            Transport::open(&secret, id, Ipv4Addr::LOCALHOST.into(), 0, Duration::from_secs(30), sender).unwrap();
        Stranger { key, transport, inbox }
    }

    fn send(&mut self, node: &Running, octets: Vec<u8>) {
        let id = Some(node.view.borrow().me);
        self.transport.send(Target { id, to: node.place }, octets);
    }

    /// What it hears about its wish to come in; whoever is in is asked other things, too.
    async fn answer(&mut self) -> Message {
        loop {
            let heard = timeout(Duration::from_secs(30), self.inbox.recv()).await.expect("no answer").unwrap();
            let message = Message::decode(&heard.octets).unwrap();
            if matches!(message, Message::Welcome(_) | Message::Redirect(_) | Message::Refused(_)) {
                return message;
            }
        }
    }

    /// Until the other end has closed the connection.
    async fn is_cut_off(&self, by: NodeId) {
        let connection = self.transport.connections(&by).pop();
        if let Some(connection) = connection {
            let closed = timeout(Duration::from_secs(60), connection.closed()).await.expect("it is still open");
            assert!(closed.to_string().contains("malformed or too much"), "{closed}");
        }
    }
}

#[tokio::test]
async fn a_node_joins_is_seen_and_leaves() {
    let mut nas = Running::start("nas", Entry::Start, &[]);
    nas.sees(1).await;
    let mut printer = nas.join("printer");
    printer.sees(2).await;
    nas.sees(2).await;
    let names: Vec<String> = nas.view.borrow().hosts.iter().map(|host| host.name.to_string()).collect();
    assert!(names.contains(&"nas".into()) && names.contains(&"printer".into()));
    printer.end().await;
    nas.sees(1).await;
    nas.end().await;
}

#[tokio::test]
async fn garbage_costs_a_stranger_its_connection_and_the_node_nothing() {
    let mut nas = Running::start("nas", Entry::Start, &[]);
    nas.sees(1).await;
    let me = nas.view.borrow().me;
    for octets in [vec![], vec![0; 40], vec![1, 200], vec![1, 6, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]] {
        let mut stranger = Stranger::new();
        stranger.send(&nas, octets);
        stranger.transport.arrived().await;
        stranger.is_cut_off(me).await;
    }
    let mut printer = nas.join("printer");
    printer.sees(2).await;
    nas.sees(2).await;
}

#[tokio::test]
async fn what_a_stranger_says_is_not_believed_and_it_hears_that_it_is_one() {
    let mut nas = Running::start("nas", Entry::Start, &[]);
    nas.sees(1).await;
    let mut stranger = Stranger::new();
    stranger.send(&nas, Message::Where(NodeId([7; 32])).encode());
    let heard = timeout(Duration::from_secs(30), stranger.inbox.recv()).await.unwrap().unwrap();
    assert_eq!(Message::decode(&heard.octets), Ok(Message::Stranger));
    stranger.send(&nas, Message::Join(vec![1; 300]).encode());
    let heard = timeout(Duration::from_secs(30), stranger.inbox.recv()).await.unwrap().unwrap();
    assert!(matches!(Message::decode(&heard.octets), Ok(Message::Refused(_))));
    assert_eq!(nas.view.borrow().hosts.len(), 1);
}

#[tokio::test]
async fn whoever_floods_is_cut_off_and_the_node_goes_on() {
    let mut nas = Running::start("nas", Entry::Start, &[]);
    nas.sees(1).await;
    let me = nas.view.borrow().me;
    let mut stranger = Stranger::new();
    stranger.send(&nas, Message::Stranger.encode());
    stranger.transport.arrived().await;
    let connection = stranger.transport.connections(&me).pop().unwrap();
    // Far more than any exchange has, and than comes back while this takes.
    let flood = async {
        for _ in 0..20 {
            (0..500).for_each(|_| stranger.send(&nas, Message::Stranger.encode()));
            stranger.transport.arrived().await;
        }
    };
    tokio::select! {
        () = flood => {}
        _ = connection.closed() => {}
    }
    timeout(Duration::from_secs(60), connection.closed()).await.expect("it is still open");
    let mut printer = nas.join("printer");
    printer.sees(2).await;
}

#[tokio::test]
async fn a_state_belongs_to_one_mesh() {
    let (nas, other) = (Running::start("nas", Entry::Start, &[]), Running::start("other", Entry::Start, &[]));
    let folder = tempfile::tempdir().unwrap();
    drop(Mesh::open(settings(&folder, "third", Entry::Start)).unwrap());
    let ticket = |of: &Running| of.ticket.clone().unwrap().parse().unwrap();
    for of in [&nas, &other] {
        let error = Mesh::open(settings(&folder, "third", Entry::Join(ticket(of)))).err().unwrap().to_string();
        assert!(error.contains("each mesh needs its own"), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let error = Mesh::open(settings(&folder, "fourth", Entry::Resume)).err().unwrap().to_string();
    assert!(error.contains("join one with a ticket, or begin one with dyndns mesh start"), "{error}");
}

#[tokio::test]
async fn a_server_has_a_hundred_sessions_and_sends_the_next_new_node_to_another_server() {
    let nas = Running::start("nas", Entry::Start, &[]);
    let ticket: Ticket = nas.ticket.clone().unwrap().parse().unwrap();
    let mut other = Running::start_as(Role::Server, "other", Entry::Join(ticket.clone()), &[nas.place]);
    other.sees(2).await;
    let now = crate::clock::Clock::System.now();
    let join = |stranger: &Stranger, number: usize| {
        let claim = Claim {
            id: stranger.key.id(),
            sequence: now,
            issued: now,
            lease: 7200,
            since: now,
            role: Role::Member,
            port: 5399,
            name: Label::new(&format!("n{number}")).unwrap(),
            addresses: vec!["192.0.2.9".parse().unwrap()],
            admission: ticket.admit(stranger.key.id()).unwrap(),
        };
        Message::Join(Record::sign(claim, ticket.mesh, &stranger.key).octets().to_vec()).encode()
    };
    // They come in and ask for nothing, so that each has its session until this end.
    let mut guests = Vec::new();
    for number in 0..100 {
        let mut guest = Stranger::new();
        let octets = join(&guest, number);
        guest.send(&nas, octets.clone());
        assert!(matches!(guest.answer().await, Message::Welcome(_)), "{number}");
        guests.push((guest, octets));
    }
    // A slow machine needs longer than a session lasts that nobody uses.
    for (guest, octets) in &mut guests {
        guest.send(&nas, octets.clone());
    }
    for (guest, _) in &mut guests {
        assert!(matches!(guest.answer().await, Message::Welcome(_)));
    }
    let mut next = Stranger::new();
    let octets = join(&next, 100);
    next.send(&nas, octets);
    let Message::Redirect(named) = next.answer().await else { panic!("no redirect") };
    assert_eq!(named.first().unwrap().address, other.place, "a server first: {named:?}");
    let mut printer = nas.join("printer");
    let seen = printer.view.wait_for(|view| view.joined && view.hosts.iter().any(|host| host.name.as_str() == "other"));
    timeout(Duration::from_secs(30), seen).await.expect("it is not in").unwrap();
}
