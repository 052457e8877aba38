//! Members on the local link, by multicast DNS (RFC 6762, RFC 6763), where the operator asks for it. What is said and what
//! comes of it is decided in [`crate::mesh`]; here it is put on the link and read there.
//!
//! A member announces `_dyndns-mesh._udp.local` with its port and one sealed word. A watcher, and a node that is not in
//! yet, announce nothing. A node looks for others while it is not in or alone, at its start, and for a moment each hour: on a
//! link with many members each who looks is answered by all.
//!
//! # The machine's own addresses
//!
//! A node never asks its network card where it is. mdns-sd does: multicast goes out at each interface apart, and with it
//! the addresses there, for of the first two nodes on a link nobody has seen either yet. These addresses go to the
//! link and nowhere else. Nothing of them comes from here to the node, whose own addresses, record and names
//! are made of what peers see, as ever. What does come is where others say they are: never a loopback or link-local
//! address, which no record has either, and of IPv6 would need a scope.
//!
//! # What others can make it cost
//!
//! Anybody on the link can announce anything. What is not sealed costs one HMAC. Of what is, [`HANDED_ON`] places are handed
//! on in [`WHILE`] seconds, and the node tries only few of them. mdns-sd keeps what it hears without a bound; so it is
//! asked each second how much that is, and ended for a while where it is more than [`MOST`]: of 420,000 false announcements
//! that came within five seconds a node of a debug build had ended it after six, with 45 MB at the most.

use super::state::random;
use super::view::View;
use crate::error::Error;
use crate::mesh::{Contact, NodeId, publishable};
use crate::sys::netlink;
use mdns_sd::{IfKind, IfPredicate, MDNS_PORT, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, MissedTickBehavior, interval, sleep, timeout};

/// What is found on the local link.
pub(super) struct Mdns {
    found: mpsc::Receiver<Contact>,
    life: JoinSet<()>,
}

/// What it needs to know of the node.
struct Link {
    mesh: NodeId,
    listen: IpAddr,
    port: u16,
    view: watch::Receiver<Arc<View>>,
    found: mpsc::Sender<Contact>,
}

/// The thread of mdns-sd; it ends with this value.
struct Daemon(ServiceDaemon);

const SERVICE: &str = "_dyndns-mesh._udp.local.";
/// The word in the TXT record.
const WORD: &str = "node";
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// How many places are handed on in how many seconds.
const HANDED_ON: usize = 16;
const WHILE: u64 = 10;
/// How many addresses of one announcement count.
const ADDRESSES: usize = 4;
/// How many records and timers mdns-sd may hold: a link with a thousand members has fewer.
const MOST: i64 = 20_000;
/// For how many seconds a member that is not alone looks, and how often.
const LOOK: u64 = 30;
const HOUR: u64 = 3600;
/// After a fault it is tried again after this.
const REST: Duration = Duration::from_secs(600);
/// How long the thread may take to answer, and to say good-bye.
const ANSWER: Duration = Duration::from_secs(5);
const GOODBYE: Duration = Duration::from_millis(500);
/// For how long one who knows no member waits for the first to be found.
const FIRST: Duration = Duration::from_secs(20);

impl Mdns {
    /// Begins to look, and to announce as soon as the view says that the node is in. What goes wrong is logged, and the
    /// node goes on without.
    pub(super) fn start(listen: IpAddr, port: u16, view: watch::Receiver<Arc<View>>) -> Mdns {
        let (sender, found) = mpsc::channel(HANDED_ON);
        let mesh = view.borrow().mesh;
        let mut life = JoinSet::new();
        life.spawn(Link { mesh, listen, port, view, found: sender }.live());
        Mdns { found, life }
    }

    /// The first place that is found, if one is soon.
    pub(super) async fn first(&mut self) -> Option<Contact> {
        timeout(FIRST, self.found.recv()).await.ok().flatten()
    }

    /// Takes back what was announced.
    pub(super) async fn end(mut self) {
        drop(self.found);
        let _ = timeout(2 * GOODBYE, self.life.join_next()).await;
    }
}

/// The next place that is found, where there is anybody to find it.
pub(super) async fn found(mdns: &mut Option<Mdns>) -> Contact {
    if let Some(mdns) = mdns
        && let Some(contact) = mdns.found.recv().await
    {
        return contact;
    }
    std::future::pending().await
}

impl Link {
    async fn live(self) {
        let mut told = String::new();
        loop {
            let Err(fault) = self.look_and_announce().await else { return };
            let fault = fault.to_string();
            if fault != told {
                tracing::warn!("the mesh goes on without mDNS: {fault}");
                told = fault;
            }
            tokio::select! {
                () = sleep(REST) => {}
                () = self.found.closed() => return,
            }
        }
    }

    /// Until the node ends.
    async fn look_and_announce(&self) -> Result<(), Error> {
        check()?;
        let daemon = Daemon::start(self.listen)?;
        tracing::info!("members on the local link are looked for by mDNS");
        let mut events = None;
        let mut announced = false;
        let mut handed_on = 0;
        let (mut second, mut look) = (0_u64, 0_u64);
        // Members that lost power together would look together for ever.
        let apart = self.view.borrow().me.0.first().map_or(0, |octet| 8 * u64::from(*octet));
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = self.found.closed() => {
                    daemon.end().await;
                    return Ok(());
                }
                event = next(&events) => match event {
                    Some(ServiceEvent::ServiceResolved(service)) => {
                        for contact in self.contacts(&service).into_iter().take(HANDED_ON.saturating_sub(handed_on)) {
                            handed_on = handed_on.saturating_add(1);
                            // Where the node is busy it has no need of more.
                            let _ = self.found.try_send(contact);
                        }
                    }
                    Some(_) => {}
                    // It was not read as fast as it came, or the thread has ended.
                    None => return Err(flood()),
                },
                _ = seconds.tick() => {
                    if daemon.holds().await? > MOST {
                        return Err(flood());
                    }
                    second = second.saturating_add(1);
                    if second.checked_rem(WHILE) == Some(0) {
                        handed_on = 0;
                    }
                    if second > look.saturating_add(LOOK) {
                        look = look.saturating_add(HOUR).saturating_add(apart);
                    }
                    let (member, alone) = self.standing();
                    if member && !announced {
                        daemon.announce(self.announcement()?)?;
                        announced = true;
                    }
                    match (&events, alone || second >= look) {
                        (None, true) => events = Some(daemon.look()?),
                        (Some(_), false) => {
                            events = None;
                            daemon.stop_looking();
                        }
                        _ => {}
                    }
                }
            }
        }
    }

    /// Whether the node is one that others can find, and whether it knows nobody.
    fn standing(&self) -> (bool, bool) {
        let view = self.view.borrow();
        let member = view.joined && view.hosts.iter().any(|host| host.me);
        (member, !view.joined || view.hosts.iter().all(|host| host.me))
    }

    fn announcement(&self) -> Result<ServiceInfo, Error> {
        let octets = random()?;
        let (first, rest) = octets.split_at(16);
        let word = first.try_into().ok().and_then(|first| self.view.borrow().me.seal(self.mesh, first));
        // Nothing of it says which machine it is.
        let name: String = rest.iter().map(|octet| format!("{octet:02x}")).collect();
        let host = format!("{name}.local.");
        let said = [(WORD, word.unwrap_or_default())];
        let info = ServiceInfo::new(SERVICE, &name, &host, "", self.port, &said[..]);
        Ok(info.map_err(|error| cannot().because(error))?.enable_addr_auto())
    }

    /// Where another member says it is.
    fn contacts(&self, service: &ResolvedService) -> Vec<Contact> {
        let me = self.view.borrow().me;
        let word = service.get_property_val_str(WORD);
        let id = word.and_then(|word| NodeId::unseal(word, self.mesh)).filter(|id| *id != me && service.port != 0);
        let Some(id) = id else { return Vec::new() };
        let mut addresses: Vec<IpAddr> =
            service.addresses.iter().map(|ip| ip.to_ip_addr()).filter(|ip| publishable(*ip)).collect();
        addresses.sort_unstable();
        let at = |ip| Contact { id: Some(id), address: SocketAddr::new(ip, service.port) };
        addresses.into_iter().take(ADDRESSES).map(at).collect()
    }
}

impl Daemon {
    /// Speaks at the interfaces whose addresses others can use, and at which the node listens.
    fn start(listen: IpAddr) -> Result<Daemon, Error> {
        let daemon = Daemon(ServiceDaemon::new().map_err(|error| cannot().because(error))?);
        let others = IfPredicate::new(move |interface| !speaks_at(interface.ip(), listen));
        daemon.0.disable_interface(IfKind::Predicate(others)).map_err(|error| cannot().because(error))?;
        Ok(daemon)
    }

    fn look(&self) -> Result<Receiver<ServiceEvent>, Error> {
        self.0.browse(SERVICE).map_err(|error| cannot().because(error))
    }

    fn stop_looking(&self) {
        // A thread that does not take this is found out by the next question.
        let _ = self.0.stop_browse(SERVICE);
    }

    fn announce(&self, service: ServiceInfo) -> Result<(), Error> {
        self.0.register(service).map_err(|error| cannot().because(error))
    }

    /// How much it holds.
    async fn holds(&self) -> Result<i64, Error> {
        let answer = self.0.get_metrics().map_err(|_| flood())?;
        let Ok(Ok(numbers)) = timeout(ANSWER, answer.recv_async()).await else { return Err(flood()) };
        let held = |name: &str| name.starts_with("cached-") || name == "timer";
        Ok(numbers.iter().filter(|(name, _)| held(name)).fold(0, |sum: i64, (_, number)| sum.saturating_add(*number)))
    }

    /// Takes back what it announced.
    async fn end(self) {
        if let Ok(answer) = self.0.shutdown() {
            let _ = timeout(GOODBYE, answer.recv_async()).await;
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.shutdown();
    }
}

async fn next(events: &Option<Receiver<ServiceEvent>>) -> Option<ServiceEvent> {
    match events {
        Some(events) => events.recv_async().await.ok(),
        None => std::future::pending().await,
    }
}

/// Whether a node that listens at `listen` can be reached at `ip` from the link.
fn speaks_at(ip: IpAddr, listen: IpAddr) -> bool {
    let all = listen.is_unspecified() && (listen.is_ipv6() || ip.is_ipv4());
    publishable(ip) && (all || listen == ip)
}

fn cannot() -> Error {
    Error::usage("cannot use mDNS")
}

fn flood() -> Error {
    Error::refused("too much is announced on the local link").remedy("find out who floods UDP port 5353 there")
}

/// What mdns-sd needs and does not say that it lacks: the list of interfaces, the port, and multicast.
fn check() -> Result<(), Error> {
    let unlisted = |error: io::Error| {
        let error = Error::usage("cannot list the interfaces to speak at").because(error);
        error.remedy("allow AF_NETLINK, in a unit with RestrictAddressFamilies=AF_NETLINK, or go without mdns")
    };
    let own: Vec<IpAddr> = netlink::addresses().map_err(unlisted)?.into_iter().map(|own| own.address).collect();
    let (v4, v6) = (shared_port(Ipv4Addr::UNSPECIFIED.into()), shared_port(Ipv6Addr::UNSPECIFIED.into()));
    let socket = match (v4, v6) {
        (Ok(v4), _) => v4,
        (Err(_), Ok(_)) => return Ok(()),
        (Err(error), Err(_)) => {
            let error = Error::usage(format!("cannot bind UDP port {MDNS_PORT}")).because(error);
            return Err(error.remedy("stop the program that does not share it, or go without mdns"));
        }
    };
    let mut refused = None;
    for ip in own.into_iter().filter(|ip| publishable(*ip)) {
        let IpAddr::V4(ip) = ip else { continue };
        match socket.join_multicast_v4(&GROUP, &ip) {
            Ok(()) => return Ok(()),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        None => Ok(()),
        Some(error) => {
            let error = Error::usage(format!("cannot join the multicast group {GROUP}")).because(error);
            Err(error.remedy("allow multicast at an interface, or go without mdns"))
        }
    }
}

/// The port, as all who speak mDNS on a machine share it (RFC 6762 section 15.1).
fn shared_port(ip: IpAddr) -> io::Result<Socket> {
    let at = SocketAddr::new(ip, MDNS_PORT);
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);
    const MESH: NodeId = NodeId([3; 32]);

    fn link() -> Link {
        let view = View {
            me: ME,
            name: crate::mesh::Label::new("nas").unwrap(),
            mesh: MESH,
            zone: crate::wire::Name::parse("mesh.home.arpa").unwrap(),
            joined: false,
            addresses: Vec::new(),
            name_taken_by: None,
            hosts: Vec::new(),
        };
        let listen = Ipv6Addr::UNSPECIFIED.into();
        Link { mesh: MESH, listen, port: 5399, view: watch::channel(Arc::new(view)).1, found: mpsc::channel(1).0 }
    }

    fn found(word: &str, addresses: &str) -> Vec<String> {
        let service = ServiceInfo::new(SERVICE, "one", "one.local.", addresses, 5399, &[(WORD, word)][..]).unwrap();
        let contacts = link().contacts(&service.as_resolved_service());
        assert!(contacts.iter().all(|contact| contact.id == Some(OTHER)));
        contacts.iter().map(|contact| contact.address.to_string()).collect()
    }

    #[test]
    fn a_member_is_found_where_it_says_it_is_but_not_at_loopback_or_link_local_addresses() {
        let word = OTHER.seal(MESH, [7; 16]).unwrap();
        assert_eq!(found(&word, "10.0.0.2,fd00::2"), ["10.0.0.2:5399", "[fd00::2]:5399"]);
        assert_eq!(found(&word, "127.0.0.1,169.254.1.1,fe80::2,::1"), [""; 0]);
        let many: Vec<String> = (1..100).map(|last| format!("10.0.0.{last}")).collect();
        assert_eq!(found(&word, &many.join(",")).len(), ADDRESSES);
    }

    #[test]
    fn nobody_is_found_by_an_announcement_of_a_stranger_or_of_another_mesh_or_its_own() {
        let words = ["", "hello", &OTHER.seal(NodeId([4; 32]), [7; 16]).unwrap(), &ME.seal(MESH, [7; 16]).unwrap()];
        for word in words {
            assert_eq!(found(word, "10.0.0.2"), [""; 0], "{word}");
        }
    }

    #[test]
    fn an_announcement_names_the_port_and_nothing_that_tells_the_machine() {
        let info = link().announcement().unwrap();
        assert_eq!((info.get_port(), info.get_addresses().len()), (5399, 0));
        let word = info.get_property_val_str(WORD).unwrap();
        assert_eq!(NodeId::unseal(word, MESH), Some(ME));
        let names = format!("{} {}", info.get_fullname(), info.get_hostname());
        assert!(!names.contains("nas") && !names.contains(&ME.to_string()), "{names}");
        let again = link().announcement().unwrap();
        assert!(again.get_fullname() != info.get_fullname() && again.get_property_val_str(WORD) != Some(word));
    }

    #[test]
    fn it_speaks_where_the_node_listens() {
        let speaks = |ip: &str, listen: &str| speaks_at(ip.parse().unwrap(), listen.parse().unwrap());
        assert!(speaks("10.0.0.1", "::") && speaks("fd00::1", "::") && speaks("10.0.0.1", "0.0.0.0"));
        assert!(!speaks("fd00::1", "0.0.0.0"));
        assert!(speaks("10.0.0.1", "10.0.0.1") && !speaks("10.0.0.2", "10.0.0.1"));
        assert!(!speaks("127.0.0.1", "::") && !speaks("fe80::1", "::") && !speaks("127.0.0.1", "127.0.0.1"));
    }
}
