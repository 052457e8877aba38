//! hickory-server on the loopback, in this process.

use dyndns::wire::{Class, Composer, Flags, Name, Place};
use dyndns::zone::Zone;
use hickory_proto::op::Message;
use hickory_proto::rr::LowerName;
use hickory_server::Server;
use hickory_server::net::runtime::TokioRuntimeProvider;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Hickory {
    /// Runs the server until it is dropped.
    _runtime: tokio::runtime::Runtime,
    _server: Server<Catalog>,
    tcp: TcpStream,
    udp: UdpSocket,
}

/// Far longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Hickory {
    /// A server of these zones.
    pub(crate) fn start(zones: &[Arc<Zone>]) -> Hickory {
        let mut catalog = Catalog::new();
        for zone in zones {
            let apex = hickory_proto::rr::Name::from_utf8(format!("{:#}", zone.apex())).unwrap();
            let mut handler =
                InMemoryZoneHandler::<TokioRuntimeProvider>::empty(apex.clone(), ZoneType::Primary, AxfrPolicy::Deny);
            for record in zone.records() {
                // Both sides speak the wire format.
                let mut buffer = vec![0; 65_535];
                let mut composer = Composer::new(&mut buffer, 65_535, 1, Flags::QR).unwrap();
                let owner: Name = record.owner.name();
                composer.record(Place::Answer, &owner, record.rtype, Class::IN, record.ttl, &record.rdata).unwrap();
                let len = composer.finish();
                let message = Message::from_vec(&buffer[..len]).unwrap();
                assert!(handler.upsert_mut(message.answers[0].clone(), zone.serial().0), "{record:?}");
            }
            catalog.upsert(LowerName::from(&apex), vec![Arc::new(handler)]);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut server = Server::new(catalog);
        let (udp, tcp) = runtime.block_on(async {
            let udp = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addresses = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
            server.register_socket(udp);
            server.register_listener(tcp, PATIENCE, 65_535);
            addresses
        });
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(udp).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let stream = TcpStream::connect(tcp).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Hickory { _runtime: runtime, _server: server, tcp: stream, udp: socket }
    }

    /// One question over TCP, one reply.
    pub(crate) fn ask_tcp(&mut self, message: &[u8]) -> Vec<u8> {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        self.tcp.write_all(&[&length, message].concat()).unwrap();
        let mut length = [0; 2];
        self.tcp.read_exact(&mut length).unwrap();
        let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
        self.tcp.read_exact(&mut reply).unwrap();
        reply
    }

    /// One question over UDP, one reply.
    pub(crate) fn ask_udp(&mut self, message: &[u8]) -> Vec<u8> {
        self.udp.send(message).unwrap();
        let mut reply = vec![0; 65_535];
        let len = self.udp.recv(&mut reply).unwrap();
        reply.truncate(len);
        reply
    }
}
