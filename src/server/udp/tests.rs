//! Both kinds of datagrams by the same questions.

use super::*;
use crate::clock::Clock;
use crate::query::{Reason, View};
use crate::server::publish::Published;
use crate::server::quiet::Quiet;
use crate::server::writer::Writer;
use crate::store::MemoryStore;
use crate::sys::datagrams::Single;
use crate::update::policy::Rights;
use crate::wire::{Name, Rcode, Rtype};
use crate::zone::{Zone, seed};
use tokio::runtime::Runtime;

/// What only a failing test waits for.
const DEADLINE: Duration = Duration::from_secs(30);

/// Workers that serve home.example.
struct Bench {
    exchange: Arc<Exchange>,
    writer: JoinHandle<MemoryStore>,
    workers: Workers,
    server: SocketAddr,
    /// Dropped last: updates run in it.
    _runtime: Runtime,
}

impl Bench {
    fn start<D: Datagrams>(address: &str, count: usize) -> Bench {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let mut view = View::default();
        let apex = Name::parse("home.example").unwrap();
        view.zones.insert(Arc::new(Zone::new(&apex, seed(&apex).unwrap()).unwrap()));
        let published = Arc::new(Published::default());
        let (store, clock) = (MemoryStore::new(), Clock::manual(1000));
        let writer = Writer::new(store, Arc::clone(&published), view, Rights::new(), clock.clone());
        let (queue, writer) = writer.start().unwrap();
        let exchange = Arc::new(Exchange {
            published,
            queue,
            clock,
            metrics: Arc::default(),
            quiet: Quiet::default(),
            quiet_queries: Quiet::default(),
        });
        let socket = UdpSocket::bind(address).unwrap();
        let server = socket.local_addr().unwrap();
        let mut workers = Workers::new::<D>();
        let entered = runtime.enter();
        workers.start::<D>(socket, NonZeroUsize::new(count).unwrap(), &exchange).unwrap();
        drop(entered);
        Bench { exchange, writer, workers, server, _runtime: runtime }
    }

    fn client(&self) -> UdpSocket {
        let client = UdpSocket::bind(SocketAddr::new(self.server.ip(), 0)).unwrap();
        client.set_read_timeout(Some(DEADLINE)).unwrap();
        client.connect(self.server).unwrap();
        client
    }
}

/// A message of one question about `owner`.
fn message(id: u8, opcode: u8, owner: &str, rtype: Rtype) -> Vec<u8> {
    let mut message = vec![0, id, opcode << 3, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in owner.split('.') {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&rtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}

fn receive(client: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_535];
    let len = client.recv(&mut buffer).expect("no answer");
    buffer.truncate(len);
    buffer
}

fn rcode(answer: &[u8]) -> u8 {
    answer[3] & 15
}

/// Asks everything there is to ask of a worker; returns the answers.
fn conversation<D: Datagrams>(address: &str) -> Vec<Vec<u8>> {
    let bench = Bench::start::<D>(address, 2);
    let client = bench.client();
    let ask = |message: &[u8]| {
        client.send(message).unwrap();
        receive(&client)
    };
    let mut answers = Vec::new();
    let expected = [
        (message(1, 0, "home.example", Rtype::SOA), Rcode::NOERROR),
        (message(2, 0, "nobody.home.example", Rtype::A), Rcode::NXDOMAIN),
        (message(3, 0, "home.example", Rtype::AXFR), Rcode::REFUSED),
        // An update that nobody signed, by way of the event loop.
        (message(4, 5, "home.example", Rtype::SOA), Rcode::REFUSED),
    ];
    for (message, expected) in &expected {
        // What gets no answer, an empty datagram too, holds up nothing.
        client.send(&[]).unwrap();
        client.send(&message[..11]).unwrap();
        let answer = ask(message);
        assert_eq!((answer[1], u16::from(rcode(&answer))), (message[1], expected.0), "{answer:02x?}");
        answers.push(answer);
    }
    // As long as a datagram can be, with all octets where they belong: the last record ends where the datagram does.
    let longest = if bench.server.is_ipv4() { 65_507 } else { 65_487 };
    let mut long = message(5, 0, "home.example", Rtype::SOA);
    long[11] = 1;
    let rdata = longest - long.len() - 11 - 4;
    long.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0]);
    long.extend_from_slice(&u16::try_from(rdata + 4).unwrap().to_be_bytes());
    long.extend_from_slice(&65_001_u16.to_be_bytes());
    long.extend_from_slice(&u16::try_from(rdata).unwrap().to_be_bytes());
    long.resize(longest, 7);
    let answer = ask(&long);
    assert_eq!((answer[1], rcode(&answer)), (5, 0));
    answers.push(answer);
    // Cut by one octet the option does not fit.
    let answer = ask(&long[..longest - 1]);
    assert_eq!((answer[1], rcode(&answer)), (5, 1));
    answers.push(answer);

    // More than a batch at once; each has its answer.
    for id in 0..100 {
        client.send(&message(id, 0, "home.example", Rtype::NS)).unwrap();
    }
    let mut burst: Vec<Vec<u8>> = (0..100).map(|_| receive(&client)).collect();
    burst.sort();
    for (id, answer) in burst.iter().enumerate() {
        assert_eq!((usize::from(answer[1]), rcode(answer)), (id, 0));
    }
    answers.append(&mut burst);
    // Many clients, whichever worker has them.
    let clients: Vec<UdpSocket> = (0..50).map(|_| bench.client()).collect();
    clients.iter().for_each(|client| drop(client.send(&message(9, 0, "home.example", Rtype::A))));
    clients.iter().for_each(|client| assert_eq!(rcode(&receive(client)), 0));
    let metrics = Arc::clone(&bench.exchange.metrics);
    assert_eq!((metrics.reason(Reason::NxDomain), metrics.reason(Reason::NoData)), (1, 50));

    // The writer ends once no worker and no update can reach it any more.
    drop((bench.workers, bench.exchange));
    bench.writer.join().unwrap();
    answers
}

#[test]
fn both_kinds_of_datagrams_give_the_same_answers() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        assert_eq!(conversation::<crate::sys::BestDatagrams>(address), conversation::<Single>(address), "{address}");
    }
}

#[test]
fn workers_end_while_questions_go_on_coming() {
    for _ in 0..10 {
        let bench = Bench::start::<crate::sys::BestDatagrams>("127.0.0.1:0", 2);
        let client = bench.client();
        let asking = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&asking);
        let thread = std::thread::spawn(move || {
            while still.load(Ordering::Relaxed) {
                // Refused once nobody listens any more.
                let _ = client.send(&message(1, 0, "home.example", Rtype::SOA));
            }
        });
        drop(bench.workers);
        asking.store(false, Ordering::Relaxed);
        thread.join().unwrap();
        assert_eq!(Arc::strong_count(&bench.exchange), 1);
    }
}
