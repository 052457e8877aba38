//! A network of nodes in virtual time: what they send arrives late, or not at all, and each clock is its own.

use dyndns::mesh::{
    Action, Admission, Contact, Event, Label, Node, NodeId, Notary, Now, Record, RecordError, Rights, Role, Saved,
    SecretKey, Settings, Steward, Ticket, Verifier,
};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// When the world begins, in seconds since 1970.
pub(crate) const EPOCH: u64 = 1_800_000_000;

/// The network.
pub(crate) struct World {
    pub(crate) hosts: Vec<SimHost>,
    pub(crate) now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, What)>>,
    places: HashMap<SocketAddr, usize>,
    number: u64,
    chance: u64,
    /// Of a thousand messages so many are lost.
    pub(crate) loss: u64,
    notary: Shared,
    pub(crate) steward: Steward,
    pub(crate) sent: u64,
    pub(crate) octets: u64,
    pub(crate) kinds: [(u64, u64); 13],
}

/// A machine with a node.
pub(crate) struct SimHost {
    number: usize,
    pub(crate) id: NodeId,
    pub(crate) node: Option<Node>,
    pub(crate) places: Vec<SocketAddr>,
    /// Only hosts with the same number reach each other.
    pub(crate) side: u8,
    /// How far its clock is ahead, in seconds.
    pub(crate) skew: i64,
    wake: Option<Duration>,
    /// What its node wanted done, but for messages.
    pub(crate) said: Vec<Action>,
    admission: Admission,
    settings: Settings,
    saved: Saved,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Arrives { host: usize, from: NodeId, at: SocketAddr, side: u8, octets: Vec<u8> },
    Wakes { host: usize },
    Starts { host: usize, contacts: Vec<SocketAddr> },
}

/// One check of each record for all nodes: the same octets are good or bad for everyone.
#[derive(Clone)]
struct Shared {
    mesh: NodeId,
    seen: Arc<Mutex<HashMap<Octets, Verdict>>>,
}

type Verdict = Result<Arc<Record>, RecordError>;

/// A record's octets; the end of its signature is hash enough.
#[derive(PartialEq, Eq)]
struct Octets(Vec<u8>);

impl Hash for Octets {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.last_chunk::<8>().hash(state);
    }
}

impl Notary for Shared {
    fn admit(&mut self, octets: &[u8]) -> Result<Arc<Record>, RecordError> {
        let mut seen = self.seen.lock().unwrap();
        let mesh = self.mesh;
        seen.entry(Octets(octets.to_vec())).or_insert_with(|| Verifier { mesh }.admit(octets)).clone()
    }
}

pub(crate) fn key(number: usize) -> SecretKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(&seed).unwrap()
}

/// `10.X.Y.Z:5399` of a host.
pub(crate) fn v4(number: usize) -> SocketAddr {
    format!("10.{}.{}.{}:5399", number >> 16, (number >> 8) & 255, number & 255).parse().unwrap()
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let steward = Steward::new(SecretKey::from_seed(&[1; 32]).unwrap());
        World {
            hosts: Vec::new(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            places: HashMap::new(),
            number: 0,
            chance: seed,
            loss: 0,
            notary: Shared { mesh: steward.mesh(), seen: Arc::default() },
            steward,
            sent: 0,
            octets: 0,
            kinds: [(0, 0); 13],
        }
    }

    /// A world whose hosts 0, 1, ... start at once; the first is the contact of all others.
    pub(crate) fn of(count: usize, seed: u64) -> World {
        let mut world = World::new(seed);
        for number in 0..count {
            let host = world.add(Role::Member);
            let contacts = if number == 0 { Vec::new() } else { vec![v4(1)] };
            world.start(host, contacts, Duration::ZERO);
        }
        world
    }

    pub(crate) fn unix(&self) -> u64 {
        EPOCH + self.now.as_secs()
    }

    pub(crate) fn ticket(&self) -> Ticket {
        self.steward.ticket([2; 32], Rights::Join, EPOCH + 86_400, Vec::new()).unwrap()
    }

    /// Adds a host named `n` and its number, at its [`v4`] address.
    pub(crate) fn add(&mut self, role: Role) -> usize {
        let number = self.hosts.len();
        self.add_with(number, &format!("n{number}"), role, &self.ticket())
    }

    pub(crate) fn add_with(&mut self, number: usize, name: &str, role: Role, ticket: &Ticket) -> usize {
        let host = self.hosts.len();
        let id = key(number).id();
        let mut settings = Settings::new(Label::new(name).unwrap());
        settings.role = role;
        self.hosts.push(SimHost {
            number,
            id,
            node: None,
            places: Vec::new(),
            side: 0,
            skew: 0,
            wake: None,
            said: Vec::new(),
            admission: ticket.admit(id).unwrap(),
            settings,
            saved: Saved::default(),
        });
        self.moves(host, vec![v4(host + 1)]);
        host
    }

    pub(crate) fn settings(&mut self, host: usize) -> &mut Settings {
        &mut self.hosts[host].settings
    }

    /// The host is at other addresses from now on; its node is not told.
    pub(crate) fn moves(&mut self, host: usize, places: Vec<SocketAddr>) {
        self.places.retain(|_, other| *other != host);
        for place in &places {
            self.places.insert(*place, host);
        }
        self.hosts[host].places = places;
    }

    /// Starts a host's node after `after`; contacts are addresses.
    pub(crate) fn start(&mut self, host: usize, contacts: Vec<SocketAddr>, after: Duration) {
        self.push(self.now + after, What::Starts { host, contacts });
    }

    /// Ends a host's node without a word; what it saved stays.
    pub(crate) fn crash(&mut self, host: usize) {
        let node = self.hosts[host].node.take().unwrap();
        self.hosts[host].saved = node.saved();
        self.hosts[host].wake = None;
    }

    /// What a host's node saved is lost.
    pub(crate) fn forgets(&mut self, host: usize) {
        self.hosts[host].saved = Saved::default();
    }

    pub(crate) fn tell(&mut self, host: usize, event: Event) {
        let now = Now { ticks: self.now, unix: self.unix().saturating_add_signed(self.hosts[host].skew) };
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let actions = node.handle(event, now);
        let wake = node.wake();
        self.carry_out(host, actions);
        if self.hosts[host].wake != wake {
            self.hosts[host].wake = wake;
            if let Some(wake) = wake {
                self.push(wake.max(self.now), What::Wakes { host });
            }
        }
    }

    /// Sends octets in the name of `host`, whatever its node thinks of it.
    pub(crate) fn forge(&mut self, host: usize, to: usize, octets: Vec<u8>) {
        let to = self.hosts[to].places[0];
        self.carry_out(host, vec![Action::Send { to, id: None, octets }]);
    }

    fn carry_out(&mut self, host: usize, actions: Vec<Action>) {
        for action in actions {
            let Action::Send { to, id, octets } = action else {
                if action != Action::ViewChanged {
                    self.hosts[host].said.push(action);
                }
                continue;
            };
            self.sent += 1;
            let kind = &mut self.kinds[usize::from(octets[1]).min(12)];
            *kind = (kind.0 + 1, kind.1 + u64::try_from(octets.len()).unwrap());
            self.octets += u64::try_from(octets.len()).unwrap();
            let lost = self.chance() % 1000 < self.loss;
            let delay = Duration::from_micros(500 + self.chance() % 40_000);
            let Some(target) = self.places.get(&to).copied() else { continue };
            let from = &self.hosts[host];
            let at = from.places.iter().copied().find(|place| place.is_ipv4() == to.is_ipv4());
            let wrong = id.is_some_and(|id| id != self.hosts[target].id);
            let (Some(at), false, false) = (at, lost, wrong) else { continue };
            let what = What::Arrives { host: target, from: from.id, at, side: from.side, octets };
            self.push(self.now + delay, what);
        }
    }

    fn push(&mut self, at: Duration, what: What) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, what)));
    }

    fn chance(&mut self) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        self.chance
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.events.peek().is_some_and(|Reverse((at, _, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until all live nodes know the same; how long it took, or nothing if `limit` was not enough.
    pub(crate) fn converge(&mut self, limit: Duration) -> Option<Duration> {
        let begin = self.now;
        while self.now < begin + limit {
            self.run(Duration::from_millis(500));
            if self.agrees() {
                return Some(self.now - begin);
            }
        }
        None
    }

    fn step(&mut self) {
        let Reverse((at, _, what)) = self.events.pop().unwrap();
        self.now = at;
        match what {
            What::Arrives { host, from, at, side, octets } => {
                if self.hosts[host].side == side {
                    self.tell(host, Event::Received { from, at, octets });
                }
            }
            What::Wakes { host } => {
                // A later wish may have replaced it.
                if self.hosts[host].wake.is_some_and(|wake| wake <= at) {
                    self.hosts[host].wake = None;
                    self.tell(host, Event::Timer);
                }
            }
            What::Starts { host, contacts } => self.begin(host, &contacts),
        }
    }

    fn begin(&mut self, host: usize, contacts: &[SocketAddr]) {
        let at = &self.hosts[host];
        let seed = (u64::try_from(host).unwrap() << 32) ^ self.number;
        let node = Node::new(
            at.settings.clone(),
            key(at.number),
            self.steward.mesh(),
            at.admission,
            Box::new(self.notary.clone()),
            at.saved.clone(),
            seed,
        );
        self.hosts[host].node = Some(node);
        let contacts = contacts.iter().map(|address| Contact { id: None, address: *address }).collect();
        self.tell(host, Event::Start(contacts));
    }

    pub(crate) fn node(&self, host: usize) -> &Node {
        self.hosts[host].node.as_ref().unwrap()
    }

    /// The nodes that run.
    pub(crate) fn live(&self) -> impl Iterator<Item = &Node> {
        self.hosts.iter().filter_map(|host| host.node.as_ref()).filter(|node| node.wake().is_some())
    }

    /// Whether each live node knows all live nodes by the same records, and no other.
    pub(crate) fn agrees(&self) -> bool {
        let count = u32::try_from(self.live().count()).unwrap();
        let Some(first) = self.live().next().map(Node::summary) else { return true };
        first.members == count && self.live().all(|node| node.summary() == first)
    }

    /// What `host` knows of `other`'s addresses.
    pub(crate) fn sees(&self, host: usize, other: usize) -> Vec<String> {
        let id = self.hosts[other].id;
        let found = self.node(host).host(&id);
        found.map(|found| found.claim.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default()
    }

    /// Who has a name, as `host` sees it.
    pub(crate) fn holder(&self, host: usize, name: &str) -> Option<NodeId> {
        self.node(host).hosts().find(|found| found.holds_name && found.claim.name.as_str() == name).map(|h| h.claim.id)
    }

    /// Messages and octets that each node sends in a minute, counted over `time`.
    pub(crate) fn traffic(&mut self, time: Duration) -> (f64, f64) {
        let (sent, octets) = (self.sent, self.octets);
        self.run(time);
        let nodes = self.live().count() as f64 * time.as_secs_f64() / 60.0;
        ((self.sent - sent) as f64 / nodes, (self.octets - octets) as f64 / nodes)
    }
}
