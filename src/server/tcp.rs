//! TCP: messages with two octets of length before each, many on one connection (RFC 7766).

mod connection;

pub(super) use connection::Connection;

use super::exchange::Exchange;
use super::udp::plain;
use crate::config::TcpLimits;
use crate::query::{Peer, Transport};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

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
