//! DNS over QUIC: a connection of many streams, each with one request and its answer as on TCP (RFC 9250 section 4.2).

use super::{AT_ONCE, LAST_WORD};
use crate::query::{Peer, Transport};
use crate::server::tcp::{Connection, Service};
use crate::server::udp::plain;
use hickory_server::net::quic::DoqErrorCode;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, RecvStream, SendStream, TokioRuntime, TransportConfig};
use std::net::UdpSocket;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::rustls::ServerConfig;

/// The longest content of a stream: a message with its length before it.
const STREAM: u32 = 2 + 65_535;
/// How many connections may wait for their first look, and how much of their first packets is kept.
const WAITING: usize = 256;
const WAITING_OCTETS: u64 = 1 << 20;

/// Puts QUIC on a socket.
pub(super) fn endpoint(
    socket: UdpSocket,
    settings: &Arc<ServerConfig>,
    service: &Service,
) -> Result<Endpoint, Box<dyn std::error::Error>> {
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::try_from(service.idle())?))
        .max_concurrent_bidi_streams(u32::try_from(AT_ONCE)?.into())
        // RFC 9250 section 4.3.3: there are none.
        .max_concurrent_uni_streams(0_u32.into())
        .datagram_receive_buffer_size(None)
        .stream_receive_window(STREAM.into())
        .receive_window((4 * STREAM).into())
        .send_window(4 * u64::from(STREAM));
    // Early data could be replayed (RFC 9250 section 4.5); the settings allow for none.
    let crypto = QuicServerConfig::try_from(Arc::clone(settings))?;
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport))
        // A connection counts for the address that it was admitted with, and the log names that.
        .migration(false)
        .max_incoming(WAITING)
        .incoming_buffer_size(STREAM.into())
        .incoming_buffer_size_total(WAITING_OCTETS);
    Ok(Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))?)
}

/// Answers over QUIC until the server ends.
pub(super) async fn serve(endpoint: Endpoint, mut service: Service) {
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = service.stop.changed() => return,
        };
        let Some(incoming) = incoming else { return };
        let address = incoming.remote_address();
        // Whoever gives a false source address must not use up the connections of others: nothing is kept of a peer
        // that has not shown that it gets our packets (RFC 9000 section 8.1.2).
        if !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        let Some(ticket) = service.admit(address) else {
            incoming.refuse();
            continue;
        };
        let Ok(connecting) = incoming.accept() else { continue };
        let peer = Peer { address: plain(address), transport: Transport::Tcp };
        let mut service = service.clone();
        tokio::spawn(async move {
            let idle = service.idle();
            let connected = tokio::select! {
                connected = timeout(idle, connecting) => connected,
                _ = service.stop.changed() => return,
            };
            if let Ok(Ok(connection)) = connected {
                streams(connection, peer, service).await;
            }
            drop(ticket);
        });
    }
}

/// Answers each stream by itself until the peer ends or is silent.
async fn streams(connection: quinn::Connection, peer: Peer, mut service: Service) {
    let mut streams = JoinSet::new();
    let mut deadline = Instant::now() + service.idle();
    loop {
        tokio::select! {
            stream = connection.accept_bi(), if streams.len() < AT_ONCE => {
                let Ok((send, receive)) = stream else { return };
                streams.spawn(answer(connection.clone(), send, receive, peer, service.clone()));
            }
            Some(_) = streams.join_next() => deadline = Instant::now() + service.idle(),
            () = sleep_until(deadline), if streams.is_empty() => break,
            _ = service.stop.changed() => break,
        }
    }
    let _ = timeout(LAST_WORD, async { while streams.join_next().await.is_some() {} }).await;
    connection.close(DoqErrorCode::NoError.into(), b"");
}

/// Answers the request of one stream.
async fn answer(
    connection: quinn::Connection,
    send: SendStream,
    mut receive: RecvStream,
    peer: Peer,
    mut service: Service,
) {
    let idle = service.idle();
    let limit = usize::try_from(STREAM).unwrap_or(usize::MAX);
    let request = tokio::select! {
        // RFC 9250 section 4.2: the client ends the stream after its request.
        request = timeout(idle, receive.read_to_end(limit)) => request,
        _ = service.stop.changed() => return,
    };
    let request = match request {
        Ok(Ok(request)) if is_one_message(&request) => request,
        Ok(Ok(_) | Err(quinn::ReadToEndError::TooLong)) => {
            // RFC 9250 section 4.3.3: an error of the whole connection.
            return connection.close(DoqErrorCode::ProtocolError.into(), b"");
        }
        // Reset, or too slow: the stream alone ends.
        _ => return,
    };
    let mut served = Connection::new(tokio::io::join(request.as_slice(), send), peer, service);
    served.serve().await;
    let mut send = served.stream.into_inner().1;
    if send.finish().is_ok() {
        // Until all has arrived: closing the connection would take back what is still on its way.
        let _ = timeout(idle, send.stopped()).await;
    }
}

/// Whether a stream held one message with its length before it, and the ID 0 (RFC 9250 section 4.2.1).
fn is_one_message(stream: &[u8]) -> bool {
    let Some((length, message)) = stream.split_first_chunk() else { return false };
    usize::from(u16::from_be_bytes(*length)) == message.len() && message.get(..2).is_none_or(|id| id == [0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_holds_one_whole_message_with_the_id_0() {
        assert!(is_one_message(&[0, 4, 0, 0, 1, 2]));
        assert!(!is_one_message(&[0, 4, 0, 1, 1, 2]), "an ID");
        assert!(!is_one_message(&[0, 4, 0, 0, 1]), "cut");
        assert!(!is_one_message(&[0, 2, 0, 0, 0, 2, 0, 0]), "two messages");
        assert!(!is_one_message(&[0]) && !is_one_message(&[]));
    }
}
