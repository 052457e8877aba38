//! UDP: one datagram, one message (RFC 1035 section 4.2.1).

use super::exchange::{Exchange, MESSAGE, Step};
use crate::query::{Peer, Transport, refuse};
use crate::wire::Rcode;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::{Semaphore, watch};

/// How many updates from datagrams may be under way at once. Beyond that they are dropped; their senders ask
/// again.
const UNDER_WAY: usize = 4096;

/// The buffer for an answer: the largest UDP answer there can be, and a TSIG record.
const ANSWER: usize = 4096 + 1024;

/// Serves a socket until `stop` changes. Updates under way are finished by their own tasks.
pub(crate) async fn serve(socket: UdpSocket, exchange: Arc<Exchange>, mut stop: watch::Receiver<bool>) {
    let socket = Arc::new(socket);
    let under_way = Arc::new(Semaphore::new(UNDER_WAY));
    let mut bytes = vec![0; MESSAGE];
    let mut buffer = vec![0; ANSWER];
    loop {
        let received = tokio::select! {
            received = socket.recv_from(&mut bytes) => received,
            _ = stop.changed() => return,
        };
        let (len, address) = match received {
            Ok(received) => received,
            // An ICMP error about an earlier answer; the socket is as good as before.
            Err(error) => {
                tracing::debug!("cannot receive a datagram: {error}");
                continue;
            }
        };
        // Port 0 cannot be answered, and an answer to it would fail.
        if address.port() == 0 {
            continue;
        }
        let peer = Peer { address: plain(address), transport: Transport::Udp };
        let message = bytes.get(..len).unwrap_or_default();
        let step = exchange.begin(&exchange.published.view(), peer, message, &mut buffer);
        match step {
            Step::Answer(None) => {}
            // RFC 5936 section 4.2: whole zones go over TCP only.
            Step::Transfer => {
                if let Some(len) = refuse(message, Rcode::REFUSED, &mut buffer) {
                    send(&socket, buffer.get(..len).unwrap_or_default(), address).await;
                }
            }
            Step::Answer(Some(len)) => send(&socket, buffer.get(..len).unwrap_or_default(), address).await,
            Step::Update => {
                let Ok(permit) = Arc::clone(&under_way).try_acquire_owned() else {
                    exchange.metrics.updates_dropped.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    continue;
                };
                let (socket, exchange, message) = (Arc::clone(&socket), Arc::clone(&exchange), message.to_vec());
                tokio::spawn(async move {
                    let mut buffer = vec![0; ANSWER];
                    if let Some(len) = exchange.update(peer, &message, &mut buffer).await {
                        send(&socket, buffer.get(..len).unwrap_or_default(), address).await;
                    }
                    drop(permit);
                });
            }
        }
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], address: SocketAddr) {
    if let Err(error) = socket.send_to(answer, address).await {
        tracing::debug!(%address, "cannot send an answer: {error}");
    }
}

/// An IPv4 address that an IPv6 socket shows as `::ffff:192.0.2.1`, as IPv4.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
