//! Octets between nodes: QUIC (RFC 9000) on one socket, over which a node both calls and is called, so that peers see it
//! where it listens.
//!
//! A message is one stream, which the other end ends in turn once it has read it: QUIC's own acknowledgements come
//! before, and what a peer has not read is lost when the connection ends. A message goes over a connection that leads to
//! just that address, or over a new one; a connection on which it is not read is given up and begun anew, so a
//! peer that has started again or moved costs one try, not a timeout of QUIC. What does not arrive in the time
//! that an answer may take is dropped: the node asks again by itself.
//!
//! Whoever is at the other end, what it can cost is bounded: handshakes (only from addresses that have proved to be
//! theirs, so many at once, so long), connections (`links`), one message at a time from each, octets on their way.

use super::links::{Code, Links, Target, place_of};
use super::proof::{Secret, peer_of};
use crate::error::Error;
use crate::mesh::{Message, NodeId};
use quinn::{Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, TokioRuntime, TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, timeout, timeout_at};

/// The way to the other nodes.
pub(super) struct Transport {
    shared: Arc<Shared>,
    /// Messages on their way, and connections to be closed in a moment.
    tasks: JoinSet<()>,
}

/// A message from a peer whose identity is proved.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) from: NodeId,
    pub(super) at: SocketAddr,
    pub(super) octets: Vec<u8>,
}

struct Shared {
    id: NodeId,
    endpoint: Endpoint,
    calling: quinn::ClientConfig,
    links: Mutex<Links>,
    /// Of several messages to one place the first makes the connection and the others wait for it.
    lines: Mutex<HashMap<Target, Weak<tokio::sync::Mutex<()>>>>,
    inbox: mpsc::Sender<Received>,
    /// How long an answer may take.
    patience: Duration,
}

/// How long a connection lives on which nothing is said.
const IDLE: Duration = Duration::from_secs(45);
/// The longest message, with some room: a longer one is an offence, not a question of windows.
const WINDOW: u32 = 40_960;
/// How many streams a peer may have open; the next waits.
const STREAMS: u32 = 32;
/// How many handshakes may wait for their first look, and how much of their first packets is kept.
const WAITING: usize = 256;
const WAITING_OCTETS: u64 = 1 << 20;
/// How many messages may be on their way at once. The longest exchange with one peer is some 600.
const MESSAGES: usize = 2048;

impl Transport {
    /// Listens at `ip` and `port`; without IPv6 on this machine `::` means `0.0.0.0`.
    ///
    /// Errors: the port is taken, the address not this machine's.
    pub(super) fn open(
        secret: &Secret,
        id: NodeId,
        ip: IpAddr,
        port: u16,
        patience: Duration,
        inbox: mpsc::Sender<Received>,
    ) -> Result<Transport, Error> {
        let socket = bind(ip, port)?;
        let cannot = || Error::usage("cannot start QUIC");
        let mut transport = TransportConfig::default();
        let idle = IdleTimeout::try_from(IDLE).map_err(|error| cannot().because(error))?;
        transport
            .max_idle_timeout(Some(idle))
            .max_concurrent_bidi_streams(STREAMS.into())
            .max_concurrent_uni_streams(0_u32.into())
            .datagram_receive_buffer_size(None)
            .stream_receive_window(WINDOW.into())
            .receive_window((4 * WINDOW).into())
            .send_window(8 * u64::from(WINDOW));
        let transport = Arc::new(transport);
        let server = secret.server(id).map_err(|error| cannot().because(error))?;
        let mut answering = quinn::ServerConfig::with_crypto(Arc::new(server));
        answering
            .transport_config(Arc::clone(&transport))
            // A peer that has moved goes on where it is now, as soon as that is proved (RFC 9000 section 9).
            .migration(true)
            .max_incoming(WAITING)
            .incoming_buffer_size(WINDOW.into())
            .incoming_buffer_size_total(WAITING_OCTETS);
        let client = secret.client(id).map_err(|error| cannot().because(error))?;
        let mut calling = quinn::ClientConfig::new(Arc::new(client));
        calling.transport_config(transport);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(answering), socket, Arc::new(TokioRuntime))
            .map_err(|error| cannot().because(error))?;
        let (links, lines) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { id, endpoint, calling, links, lines, inbox, patience });
        tokio::spawn(Arc::clone(&shared).answer());
        Ok(Transport { shared, tasks: JoinSet::new() })
    }

    /// Where it listens.
    pub(super) fn place(&self) -> Option<SocketAddr> {
        self.shared.endpoint.local_addr().ok()
    }

    /// Sends a message, in the background.
    pub(super) fn send(&mut self, target: Target, octets: Vec<u8>) {
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= MESSAGES {
            tracing::debug!(to = %target.to, "message dropped: too many are on their way");
            return;
        }
        let shared = Arc::clone(&self.shared);
        let until = Instant::now() + shared.patience;
        self.tasks.spawn(async move {
            if timeout_at(until, shared.deliver(target, &octets)).await != Ok(true) {
                tracing::debug!(to = %target.to, "message dropped: no way there in time");
            }
        });
    }

    /// Something of a peer was taken: whether it is a member.
    pub(super) fn heard(&self, id: &NodeId, member: bool) {
        self.shared.links().heard(id, member);
    }

    /// Cuts a peer off for a while.
    pub(super) fn mute(&self, id: NodeId) {
        self.shared.links().mute(id);
    }

    /// Closes the connections with a peer once it has had time for the last messages.
    pub(super) fn part_with(&mut self, id: NodeId) {
        let (connections, patience) = (self.shared.links().of(&id), self.shared.patience);
        self.tasks.spawn(async move {
            tokio::time::sleep(patience).await;
            connections.iter().for_each(|connection| Code::Done.close(connection));
        });
    }

    /// Until nothing is on its way.
    #[cfg(test)]
    pub(super) async fn arrived(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// The connections with a peer.
    #[cfg(test)]
    pub(super) fn connections(&self, id: &NodeId) -> Vec<Connection> {
        self.shared.links().of(id)
    }

    /// Forgets what is on its way: what comes now matters more.
    pub(super) fn forget(&mut self) {
        self.tasks.abort_all();
    }

    /// Waits until what is on its way has arrived, but not for long, and ends all connections.
    pub(super) async fn close(mut self) {
        let _ =
            timeout(self.shared.patience.min(LAST_MESSAGES), async { while self.tasks.join_next().await.is_some() {} })
                .await;
        self.tasks.abort_all();
        self.shared.endpoint.close(VarInt::from_u32(0), b"");
        // The last packets tell peers that this end is gone.
        let _ = timeout(LAST_WORD, self.shared.endpoint.wait_idle()).await;
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Whoever answers calls in the background holds the socket until then.
        self.shared.endpoint.close(VarInt::from_u32(0), b"");
    }
}

/// How long the last messages may take at the end.
const LAST_MESSAGES: Duration = Duration::from_secs(3);
/// How long the ends of connections may take at the end.
const LAST_WORD: Duration = Duration::from_millis(500);

impl Shared {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether the other end has it.
    async fn deliver(self: &Arc<Self>, target: Target, octets: &[u8]) -> bool {
        // One that is lost, a handshake and one that arrives fit into the time of an answer. Where this machine has moved all
        // that the other end began are lost: there may be several, and each later one has half the time.
        let mut wait = self.patience / 3;
        loop {
            let Some(connection) = self.links().find(&target) else { break };
            match timeout(wait, push(&connection, octets)).await {
                Ok(Ok(())) => return true,
                _ => Code::Done.close(&connection),
            }
            wait = self.patience / 6;
        }
        let line = self.line(target);
        let turn = line.lock().await;
        let there = self.links().find(&target);
        let connection = match there {
            Some(connection) => connection,
            None => match self.call(target).await {
                Ok(connection) => connection,
                Err(why) => {
                    tracing::debug!(to = %target.to, "no connection: {why}");
                    return false;
                }
            },
        };
        drop(turn);
        push(&connection, octets).await.is_ok()
    }

    fn line(&self, target: Target) -> Arc<tokio::sync::Mutex<()>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get(&target).and_then(Weak::upgrade) {
            return line;
        }
        lines.retain(|_, line| line.strong_count() > 0);
        let line = Arc::default();
        lines.insert(target, Arc::downgrade(&line));
        line
    }

    async fn call(self: &Arc<Self>, target: Target) -> Result<Connection, String> {
        // The name is sent to nobody; quinn wants one.
        let connecting = self.endpoint.connect_with(self.calling.clone(), target.to, "mesh.invalid");
        let connection = connecting.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())?;
        let proved = peer_of(&connection);
        let Some(id) = proved.filter(|id| *id != self.id && target.id.is_none_or(|wanted| wanted == *id)) else {
            Code::Stranger.close(&connection);
            return Err(match proved {
                Some(id) => format!("node {id} is there"),
                None => "no node is there".into(),
            });
        };
        if !self.take(id, &connection) {
            return Err("it was cut off".into());
        }
        Ok(connection)
    }

    /// Answers whoever calls.
    async fn answer(self: Arc<Self>) {
        while let Some(incoming) = self.endpoint.accept().await {
            // Nothing is kept of a caller that has not shown that it gets our packets (RFC 9000 section 8.1.2).
            if !incoming.remote_address_validated() {
                let _ = incoming.retry();
                continue;
            }
            let ip = incoming.remote_address().ip();
            if !self.links().begin_handshake(ip) {
                incoming.refuse();
                continue;
            }
            let shared = Arc::clone(&self);
            tokio::spawn(async move {
                let greeted = timeout(shared.patience, greet(incoming)).await;
                shared.links().end_handshake(ip);
                if let Ok(Some((id, connection))) = greeted {
                    if id == shared.id {
                        Code::Stranger.close(&connection);
                    } else {
                        shared.take(id, &connection);
                    }
                }
            });
        }
    }

    /// Takes a connection and listens to it until it ends; says whether there is room for it.
    fn take(self: &Arc<Self>, id: NodeId, connection: &Connection) -> bool {
        let taken = self.links().add(id, connection.clone());
        if taken {
            let (shared, connection) = (Arc::clone(self), connection.clone());
            tokio::spawn(async move {
                shared.listen(id, &connection).await;
                shared.links().remove(&id, &connection);
            });
        }
        taken
    }

    /// One message after the other: a peer that is slow with one waits with the next.
    async fn listen(&self, from: NodeId, connection: &Connection) {
        while let Ok((mut done, mut stream)) = connection.accept_bi().await {
            match timeout(IDLE, stream.read_to_end(Message::LONGEST)).await {
                Ok(Ok(octets)) => {
                    let _ = done.finish();
                    let received = Received { from, at: place_of(connection), octets };
                    if self.inbox.send(received).await.is_err() {
                        return;
                    }
                }
                Ok(Err(quinn::ReadToEndError::TooLong)) | Err(_) => {
                    tracing::warn!(peer = %from, "connection closed: a message was too long or did not end");
                    return self.links().mute(from);
                }
                // Taken back, or the connection has ended.
                Ok(Err(quinn::ReadToEndError::Read(_))) => {}
            }
        }
    }
}

/// Who calls.
async fn greet(incoming: Incoming) -> Option<(NodeId, Connection)> {
    let connection = incoming.accept().ok()?.await.ok()?;
    let Some(id) = peer_of(&connection) else {
        Code::Stranger.close(&connection);
        return None;
    };
    Some((id, connection))
}

/// Returns once the other end has read all of it.
async fn push(connection: &Connection, octets: &[u8]) -> Result<(), quinn::ReadToEndError> {
    let lost = |error: quinn::ConnectionError| quinn::ReadToEndError::Read(error.into());
    let (mut stream, mut done) = connection.open_bi().await.map_err(lost)?;
    // Where it cannot be written it cannot be read either, and that says why.
    let _ = stream.write_all(octets).await;
    let _ = stream.finish();
    done.read_to_end(0).await.map(drop)
}

fn bind(ip: IpAddr, port: u16) -> Result<UdpSocket, Error> {
    let at = SocketAddr::new(ip, port);
    let open = |at: SocketAddr| {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
        if at.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&at.into())?;
        Ok::<_, std::io::Error>(UdpSocket::from(socket))
    };
    let opened = match open(at) {
        // No IPv6 on this machine.
        Err(error) if ip.is_unspecified() && error.kind() != std::io::ErrorKind::AddrInUse => {
            open(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)).map_err(|_| error)
        }
        opened => opened,
    };
    let remedy = "choose another port or address, or stop what uses it";
    opened.map_err(|error| Error::usage(format!("cannot bind {at}")).because(error).remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::super::state::random;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(6);

    struct End {
        id: NodeId,
        transport: Transport,
        inbox: mpsc::Receiver<Received>,
    }

    fn end_of(secret: &Secret, port: u16) -> End {
        let id = secret.key().unwrap().id();
        let (sender, inbox) = mpsc::channel(4);
        let transport = Transport::open(secret, id, Ipv4Addr::LOCALHOST.into(), port, PATIENCE, sender).unwrap();
        End { id, transport, inbox }
    }

    fn end() -> End {
        end_of(&Secret(random().unwrap()), 0)
    }

    impl End {
        fn place(&self) -> SocketAddr {
            self.transport.place().unwrap()
        }

        fn send(&mut self, to: &End, octets: &[u8]) {
            let target = Target { id: Some(to.id), to: to.place() };
            self.transport.send(target, octets.to_vec());
        }

        async fn hears(&mut self) -> Received {
            timeout(Duration::from_secs(30), self.inbox.recv()).await.expect("nothing came").unwrap()
        }

        fn connections(&self, with: &End) -> Vec<Connection> {
            self.transport.connections(&with.id)
        }
    }

    #[tokio::test]
    async fn a_message_comes_with_who_sent_it_and_from_where_and_is_answered_on_the_same_connection() {
        let (mut one, mut other) = (end(), end());
        one.send(&other, b"ping");
        let heard = other.hears().await;
        assert_eq!((heard.from, heard.at, heard.octets.as_slice()), (one.id, one.place(), b"ping".as_slice()));
        let longest = vec![7; Message::LONGEST];
        other.send(&one, &longest);
        let heard = one.hears().await;
        assert_eq!((heard.from, heard.at, heard.octets == longest), (other.id, other.place(), true));
        assert_eq!((one.connections(&other).len(), other.connections(&one).len()), (1, 1));
    }

    #[tokio::test]
    async fn a_message_for_one_key_is_not_given_to_another() {
        let (mut one, mut other) = (end(), end());
        let target = Target { id: Some(NodeId([9; 32])), to: other.place() };
        one.transport.send(target, b"secret".to_vec());
        // It has failed before the next is sent.
        one.transport.tasks.join_next().await;
        one.send(&other, b"for you");
        assert_eq!(other.hears().await.octets, b"for you");
    }

    #[tokio::test]
    async fn a_contact_whose_key_is_not_known_is_whoever_is_there() {
        let (mut one, mut other) = (end(), end());
        one.transport.send(Target { id: None, to: other.place() }, b"join".to_vec());
        assert_eq!(other.hears().await.from, one.id);
    }

    #[test]
    fn a_peer_that_has_started_again_gets_the_next_message() {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (here, there) = (runtime(), runtime());
        let secret = Secret(random().unwrap());
        let mut one = here.block_on(async { end() });
        let mut other = there.block_on(async { end_of(&secret, 0) });
        here.block_on(async { one.send(&other, b"first") });
        there.block_on(other.hears());
        let port = other.place().port();
        // It ends without a word, as at a power cut: nobody closes the connection.
        drop(there);
        drop(other);
        let there = runtime();
        let mut other = there.block_on(async { end_of(&secret, port) });
        here.block_on(async { one.send(&other, b"second") });
        assert_eq!(there.block_on(other.hears()).octets, b"second");
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_costs_the_connection_and_later_ones_for_a_while() {
        let (mut one, mut other) = (end(), end());
        one.send(&other, &vec![0; Message::LONGEST + 1]);
        one.transport.tasks.join_next().await;
        assert!(other.transport.shared.links().is_muted(&one.id));
        one.send(&other, b"again");
        one.transport.tasks.join_next().await;
        assert!(other.inbox.try_recv().is_err());
        assert_eq!(other.connections(&one).len(), 0);
    }

    #[tokio::test]
    async fn whoever_shows_no_ed25519_key_or_speaks_another_protocol_gets_no_connection() {
        let mut node = end();
        let stranger = Secret(random().unwrap());
        let id = stranger.key().unwrap().id();
        // Another protocol.
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut settings = stranger.client_settings(id).unwrap();
        settings.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(settings).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let refused = endpoint.connect(node.place(), "mesh.invalid").unwrap().await;
        assert!(refused.is_err());
        // No key at all: TLS is done before the node has looked, so the end comes with the first word.
        let mut settings = stranger.client_settings(id).unwrap();
        settings.client_auth_cert_resolver = Arc::new(Nobody);
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(settings).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        if let Ok(connection) = endpoint.connect(node.place(), "mesh.invalid").unwrap().await {
            assert!(push(&connection, b"hello").await.is_err());
        }
        // The key of another, without its secret half.
        let another = Secret(random().unwrap()).key().unwrap().id();
        let settings = stranger.client_settings(another).unwrap();
        let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(settings).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        if let Ok(connection) = endpoint.connect(node.place(), "mesh.invalid").unwrap().await {
            assert!(push(&connection, b"hello").await.is_err());
        }
        assert!(node.inbox.try_recv().is_err());
    }

    #[derive(Debug)]
    struct Nobody;

    impl tokio_rustls::rustls::client::ResolvesClientCert for Nobody {
        fn resolve(
            &self,
            _: &[&[u8]],
            _: &[tokio_rustls::rustls::SignatureScheme],
        ) -> Option<Arc<tokio_rustls::rustls::sign::CertifiedKey>> {
            None
        }

        fn only_raw_public_keys(&self) -> bool {
            true
        }

        fn has_certs(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn one_peer_has_few_connections_and_the_oldest_go() {
        let (mut one, mut other) = (end(), end());
        let mut made = Vec::new();
        for _ in 0..8 {
            let target = Target { id: Some(other.id), to: other.place() };
            let connection = one.transport.shared.call(target).await.unwrap();
            assert!(push(&connection, b"x").await.is_ok());
            other.hears().await;
            made.push(connection);
        }
        assert!(made[0].close_reason().is_some() && made[7].close_reason().is_none());
        assert!(other.connections(&one).len() <= 4);
        one.send(&other, b"still");
        assert_eq!(other.hears().await.octets, b"still");
    }
}
