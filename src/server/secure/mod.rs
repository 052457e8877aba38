//! DNS over TLS (RFC 7858), over HTTPS (RFC 8484) and over QUIC (RFC 9250).
//!
//! Every request's octets go to the [`Exchange`](super::exchange::Exchange) that serves UDP and TCP, and exactly
//! the octets that come back are sent: a TSIG signature covers them all. Connections of every kind share the bounds
//! and the count of TCP.
//!
//! The settings of TLS, HTTP's answers and QUIC's codes are hickory-server's. Its `Server` cannot be used: it parses
//! each request and takes an answer only as records, which it encodes anew, so that names are compressed otherwise
//! and the signature is wrong; it has no bound on connections; it knows no GET over HTTPS; it completes one QUIC
//! handshake at a time. So the listeners stand upon what it is made of: tokio-rustls, h2 and quinn.

mod certificate;
mod dot;
mod https;
mod quic;

pub(crate) use certificate::Certificate;
pub use certificate::check_certificate;
pub(super) use dot::handshake;

use super::listen::{bind_tcp, bind_udp};
use super::tcp::Service;
use crate::config::TlsConfig;
use crate::error::Error;
use hickory_server::server::default_tls_server_config;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::ServerConfig;

/// The listeners of all encrypted transports, bound.
#[derive(Debug)]
pub(super) struct Secure {
    certificate: Arc<Certificate>,
    dot: Vec<TcpListener>,
    https: Vec<TcpListener>,
    path: Arc<str>,
    quic: Vec<UdpSocket>,
}

/// How many requests of one connection may be under way at once, where they need not wait for each other.
const AT_ONCE: usize = 64;
/// How long a connection may take to say its last word once there is nothing more to answer.
const LAST_WORD: Duration = Duration::from_secs(2);

impl Secure {
    /// Reads the certificate and binds every address.
    pub(super) fn bind(config: &TlsConfig) -> Result<Secure, Error> {
        let certificate = Certificate::read(config)?;
        Ok(Secure {
            certificate: Arc::new(certificate),
            dot: each(&config.dot_listen, |at| bind_tcp(at, "dot-listen"))?,
            https: each(&config.doh_listen, |at| bind_tcp(at, "doh-listen"))?,
            path: config.doh_path.as_str().into(),
            quic: each(&config.doq_listen, |at| bind_udp(at, "doq-listen"))?,
        })
    }

    /// Starts a task for each listener and one that looks after the certificate.
    pub(super) fn start(self, service: &Service) -> Result<Arc<Certificate>, Error> {
        let (dot, h2, doq) = (self.settings(b"dot")?, self.settings(b"h2")?, self.settings(b"doq")?);
        for listener in self.dot {
            let (listener, address) = asynchronous(listener)?;
            tokio::spawn(dot::serve(listener, Arc::clone(&dot), service.clone()));
            tracing::info!(%address, "listening on TLS");
        }
        for listener in self.https {
            let (listener, address) = asynchronous(listener)?;
            tokio::spawn(https::serve(listener, Arc::clone(&h2), Arc::clone(&self.path), service.clone()));
            tracing::info!(%address, path = %self.path, "listening on HTTPS");
        }
        for socket in self.quic {
            let address = socket.local_addr().map_err(cannot)?;
            tokio::spawn(quic::serve(quic::endpoint(socket, &doq, service).map_err(cannot)?, service.clone()));
            tracing::info!(%address, "listening on QUIC");
        }
        tokio::spawn(Arc::clone(&self.certificate).watch(service.stop.clone()));
        Ok(self.certificate)
    }

    /// What TLS needs to know; `protocol` is what both sides are to agree on (ALPN).
    pub(super) fn settings(&self, protocol: &[u8]) -> Result<Arc<ServerConfig>, Error> {
        let certificate = Arc::clone(&self.certificate);
        default_tls_server_config(protocol, certificate).map(Arc::new).map_err(cannot)
    }
}

fn each<S>(addresses: &[SocketAddr], bind: impl Fn(SocketAddr) -> Result<S, Error>) -> Result<Vec<S>, Error> {
    addresses.iter().copied().map(bind).collect()
}

fn asynchronous(listener: TcpListener) -> Result<(tokio::net::TcpListener, SocketAddr), Error> {
    let address = listener.local_addr().map_err(cannot)?;
    Ok((tokio::net::TcpListener::from_std(listener).map_err(cannot)?, address))
}

fn cannot(error: impl Display) -> Error {
    Error::usage("cannot serve over TLS, HTTPS and QUIC").because(error.to_string())
}
