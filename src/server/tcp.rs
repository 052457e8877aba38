//! TCP: messages with two octets of length before each, many on one connection (RFC 7766).

use super::exchange::{Exchange, MESSAGE, Step};
use super::udp::plain;
use crate::config::TcpLimits;
use crate::query::{Peer, Transport};
use crate::transfer::{Axfr, Piece};
use crate::wire::Message;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
struct Ticket {
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

/// Accepts connections until `stop` changes.
pub(crate) async fn serve(
    listener: TcpListener,
    exchange: Arc<Exchange>,
    connections: Arc<Connections>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
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
        let Some(ticket) = connections.admit(address.ip().to_canonical()) else {
            exchange.metrics.tcp_refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        exchange.metrics.tcp_accepted.fetch_add(1, Ordering::Relaxed);
        let peer = Peer { address: plain(address), transport: Transport::Tcp };
        let connection = Connection {
            stream,
            peer,
            exchange: Arc::clone(&exchange),
            idle: connections.limits.idle_timeout,
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            connection.serve().await;
            drop(ticket);
        });
    }
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
    exchange: Arc<Exchange>,
    idle: Duration,
    /// Changes when the server is about to end.
    stop: watch::Receiver<bool>,
}

impl Connection {
    /// Answers messages in the order they come until the peer ends, errs or is too slow.
    async fn serve(mut self) {
        // Answers are whole writes; waiting to fill a segment only delays them.
        let _ = self.stream.set_nodelay(true);
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
                _ = self.stop.changed() => return,
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
                let view = self.exchange.published.view();
                self.exchange.begin(&view, self.peer, message, buffer)
            };
            let answer = match step {
                Step::Answer(answer) => answer,
                Step::Update => self.exchange.update(self.peer, message, buffer).await,
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
        let granted = match self.exchange.transfer(self.peer, message, buffer) {
            Ok(granted) => granted,
            Err(refusal) => return Some(refusal),
        };
        let mut axfr = Axfr::new(&granted.zone, Message::parse(message).ok()?, granted.signer);
        loop {
            match axfr.next(buffer, self.exchange.clock.now()) {
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
        tokio::select! {
            biased;
            written = tokio::time::timeout(self.idle, self.stream.write_all(output)) => written.ok()?.ok()?,
            _ = self.stop.changed() => return None,
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
