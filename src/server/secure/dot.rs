//! DNS over TLS: inside, it is TCP to the octet (RFC 7858 section 3.3), transfers included (RFC 9103).

use super::LAST_WORD;
use crate::server::tcp::{Connection, Service, accept};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// Answers over TLS until the server ends.
pub(super) async fn serve(listener: TcpListener, settings: Arc<ServerConfig>, service: Service) {
    let acceptor = TlsAcceptor::from(settings);
    accept(listener, service, |stream, peer, mut service| {
        let acceptor = acceptor.clone();
        async move {
            let Some(stream) = handshake(&acceptor, stream, &mut service).await else { return };
            let mut connection = Connection::new(stream, peer, service);
            connection.serve().await;
            // With this the peer knows that nothing was cut off.
            let _ = timeout(LAST_WORD, connection.stream.shutdown()).await;
        }
    })
    .await;
}

/// Agrees on keys; `None` where the peer cannot, or takes too long. What it did wrong is its own log's business.
pub(in crate::server) async fn handshake(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    service: &mut Service,
) -> Option<TlsStream<TcpStream>> {
    let idle = service.idle();
    tokio::select! {
        stream = timeout(idle, acceptor.accept(stream)) => stream.ok()?.ok(),
        _ = service.stop.changed() => None,
    }
}
