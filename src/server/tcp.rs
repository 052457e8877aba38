//! TCP: messages with two octets of length before each, many on one connection (RFC 7766).

use super::exchange::{Exchange, MESSAGE, Step};
use super::udp::plain;
use crate::config::TcpLimits;
use crate::query::{Peer, Transport};
use crate::transfer::{Axfr, Piece};
use crate::wire::Message;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Answers are gathered up to so many octets before they are written.
const GATHERED: usize = 64 * 1024;
/// A connection's buffers shrink back to this once a large message is done.
const SMALL: usize = 8 * 1024;

/// The open connections, counted over all listeners.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: TcpLimits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One counted connection; dropping it uncounts it.
#[derive(Debug)]
pub(super) struct Ticket {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Connections {
    pub(crate) fn new(limits: TcpLimits) -> Connections {
        Connections { limits, open: Mutex::default() }
    }

    /// Counts one more connection; `None` where that would be too many.
    fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Ticket> {
        let address = match address {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            v4 => v4,
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.limits.connections {
            return None;
        }
        let here = open.by_address.get(&address).copied().unwrap_or(0);
        if here >= self.limits.per_address {
            return None;
        }
        open.by_address.insert(address, here + 1);
        open.total += 1;
        Some(Ticket { connections: Arc::clone(self), address })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

/// What a connection needs of the server.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) connections: Arc<Connections>,
    /// Changes when the server is about to end.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Service {
    /// How long a connection may be silent.
    pub(super) fn idle(&self) -> Duration {
        self.connections.limits.idle_timeout
    }

    /// Counts one more connection; `None` where that would be too many.
    pub(super) fn admit(&self, address: SocketAddr) -> Option<Ticket> {
        let metrics = &self.exchange.metrics;
        let ticket = self.connections.admit(address.ip().to_canonical());
        let counter = if ticket.is_some() { &metrics.tcp_accepted } else { &metrics.tcp_refused };
        counter.fetch_add(1, Ordering::Relaxed);
        ticket
    }
}

/// Answers over TCP until the server ends.
pub(crate) async fn serve(listener: TcpListener, service: Service) {
    accept(
        listener,
        service,
        |stream, peer, service| async move { Connection::new(stream, peer, service).serve().await },
    )
    .await;
}

/// Accepts connections until the server ends; each that may be open is left to a task that runs `serve`.
pub(super) async fn accept<F>(
    listener: TcpListener,
    mut service: Service,
    serve: impl Fn(TcpStream, Peer, Service) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = service.stop.changed() => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: wait for connections to end rather than spin.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(ticket) = service.admit(address) else { continue };
        // Answers are whole writes; waiting to fill a segment only delays them.
        let _ = stream.set_nodelay(true);
        let peer = Peer { address: plain(address), transport: Transport::Tcp };
        let served = serve(stream, peer, service.clone());
        tokio::spawn(async move {
            served.await;
            drop(ticket);
        });
    }
}

/// A stream of messages: a TCP connection, or what is inside an encrypted one.
pub(super) struct Connection<S> {
    pub(super) stream: S,
    peer: Peer,
    service: Service,
    idle: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S, peer: Peer, service: Service) -> Connection<S> {
        Connection { stream, peer, idle: service.idle(), service }
    }

    /// Answers messages in the order they come until the peer ends, errs or is too slow.
    pub(super) async fn serve(&mut self) {
        let mut input: Vec<u8> = Vec::new();
        let mut output: Vec<u8> = Vec::new();
        let mut buffer = vec![0; MESSAGE];
        // A message must be whole within the idle time, however slowly its octets come.
        let mut deadline = tokio::time::Instant::now() + self.idle;
        loop {
            let used = match self.answer_all(&input, &mut output, &mut buffer).await {
                Some(used) => used,
                None => return,
            };
            if used > 0 {
                input.drain(..used);
                input.shrink_to(SMALL);
                deadline = tokio::time::Instant::now() + self.idle;
            }
            let read = tokio::select! {
                read = tokio::time::timeout_at(deadline, self.stream.read_buf(&mut input)) => read,
                _ = self.service.stop.changed() => return,
            };
            match read {
                Ok(Ok(octets)) if octets > 0 => {}
                // The end, an error, or too slow.
                _ => return,
            }
        }
    }

    /// Answers every whole message in `input` and writes the answers; returns how many octets they took, or
    /// `None` where the connection is done with.
    async fn answer_all(&mut self, input: &[u8], output: &mut Vec<u8>, buffer: &mut [u8]) -> Option<usize> {
        let mut used = 0;
        while let Some((length, rest)) = input.get(used..).and_then(|rest| rest.split_first_chunk()) {
            let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length))) else { break };
            let step = {
                let view = self.service.exchange.published.view();
                self.service.exchange.begin(&view, self.peer, message, buffer)
            };
            let answer = match step {
                Step::Answer(answer) => answer,
                Step::Update => self.service.exchange.update(self.peer, message, buffer).await,
                Step::Transfer => self.transfer(message, output, buffer).await?,
            };
            if let Some(answer) = answer.and_then(|len| buffer.get(..len)) {
                gather(output, answer)?;
            }
            used += 2 + message.len();
            if output.len() >= GATHERED {
                self.write(output).await?;
            }
        }
        self.write(output).await?;
        Some(used)
    }

    /// Sends a zone, message by message; returns the length of the refusal where it is not granted.
    async fn transfer(&mut self, message: &[u8], output: &mut Vec<u8>, buffer: &mut [u8]) -> Option<Option<usize>> {
        let granted = match self.service.exchange.transfer(self.peer, message, buffer) {
            Ok(granted) => granted,
            Err(refusal) => return Some(refusal),
        };
        let mut axfr = Axfr::new(&granted.zone, Message::parse(message).ok()?, granted.signer);
        loop {
            match axfr.next(buffer, self.service.exchange.clock.now()) {
                Piece::Message(len) => gather(output, buffer.get(..len)?)?,
                Piece::Done => return Some(None),
                // The receiver sees that the transfer broke off, and keeps what it had.
                Piece::Stuck => return None,
            }
            self.write(output).await?;
        }
    }

    async fn write(&mut self, output: &mut Vec<u8>) -> Option<()> {
        if output.is_empty() {
            return Some(());
        }
        // One who does not take the answers is cut off; only this connection waits for it, and the server's end for
        // nobody: what the system takes at once is still sent.
        let write = async {
            self.stream.write_all(output).await?;
            self.stream.flush().await
        };
        tokio::select! {
            biased;
            written = tokio::time::timeout(self.idle, write) => written.ok()?.ok()?,
            _ = self.service.stop.changed() => return None,
        }
        output.clear();
        output.shrink_to(SMALL);
        Some(())
    }
}

/// Adds a message with its length before it.
fn gather(output: &mut Vec<u8>, message: &[u8]) -> Option<()> {
    output.extend_from_slice(&u16::try_from(message.len()).ok()?.to_be_bytes());
    output.extend_from_slice(message);
    Some(())
}
