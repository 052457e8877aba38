//! Clients of the encrypted transports, and a server with a certificate for them.

use crate::common::client::{Home, SECRET, copy_zones};
use crate::common::exchange::framed;
use crate::common::{DEADLINE, Server};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use quinn::crypto::rustls::QuicClientConfig;
use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// The name in the certificate.
pub(crate) const NAME: &str = "ns.example.com";

/// A server of example.com with a certificate, and where it listens for what.
#[derive(Debug)]
pub(crate) struct Secure {
    pub(crate) home: Home,
    pub(crate) tls: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) quic: SocketAddr,
}

impl Secure {
    pub(crate) fn start() -> Secure {
        Secure::start_with("")
    }

    /// With these lines at the top of its config. The key `laptop` may change everything.
    pub(crate) fn start_with(settings: &str) -> Secure {
        let folder = tempfile::tempdir().unwrap();
        copy_zones(folder.path());
        write_certificate(folder.path());
        std::fs::write(folder.path().join("dyndns.toml"), config(settings)).unwrap();
        let server = Server::start(folder.path(), &["--config", "dyndns.toml"]);
        let address = |what: &str| {
            let line = server.wait_for_log(&format!("listening on {what} address="));
            line.split("address=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
        };
        let (tls, https, quic) = (address("TLS"), address("HTTPS"), address("QUIC"));
        Secure { home: Home { server, folder }, tls, https, quic }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.home.folder.path()
    }

    /// The certificate that lies in the server's folder.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        certificate(self.folder())
    }

    /// A connection to the TLS port that trusts the certificate in the folder.
    pub(crate) fn tls(&self) -> Tls {
        Tls::connect(self.tls, client_config(self.certificate(), b"dot")).unwrap()
    }

    /// A connection to the HTTPS port.
    pub(crate) async fn https(&self) -> Https {
        Https::connect(self.https, client_config(self.certificate(), b"h2")).await
    }

    /// A connection to the QUIC port.
    pub(crate) async fn quic(&self) -> Quic {
        Quic::connect(self.quic, client_config(self.certificate(), b"doq")).await.unwrap()
    }
}

/// The config of [`Secure`].
pub(crate) fn config(settings: &str) -> String {
    format!(
        "{settings}\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\ndot-listen = [\"127.0.0.1:0\"]\n\
         doh-listen = [\"127.0.0.1:0\"]\ndoq-listen = [\"127.0.0.1:0\"]\n\
         [[key]]\nname = \"laptop\"\nsecret = \"{SECRET}\"\nall-zones = true\n\
         [[zone]]\nfile = \"zones/example.com.zone\"\n"
    )
}

/// Makes a certificate and its key, `cert.pem` and `key.pem`.
pub(crate) fn write_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed([NAME.to_string()]).unwrap();
    // Each by one rename, as those who renew certificates do.
    for (name, text) in [("key.pem", made.signing_key.serialize_pem()), ("cert.pem", made.cert.pem())] {
        std::fs::write(folder.join("draft"), text).unwrap();
        std::fs::rename(folder.join("draft"), folder.join(name)).unwrap();
    }
}

pub(crate) fn certificate(folder: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()
}

/// The settings of a client that trusts one certificate and wants to speak `protocol`.
pub(crate) fn client_config(certificate: CertificateDer<'static>, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

/// A connection over TLS.
#[derive(Debug)]
pub(crate) struct Tls(StreamOwned<ClientConnection, TcpStream>);

impl Tls {
    /// Connects and completes the handshake.
    pub(crate) fn connect(server: SocketAddr, config: ClientConfig) -> io::Result<Tls> {
        let mut stream = TcpStream::connect_timeout(&server, DEADLINE)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        let mut tls = ClientConnection::new(Arc::new(config), server_name()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Tls(StreamOwned::new(tls, stream)))
    }

    /// Sends these octets inside the encryption, as they are.
    pub(crate) fn send_raw(&mut self, octets: &[u8]) {
        self.0.write_all(octets).unwrap();
        self.0.flush().unwrap();
    }

    /// The next message; `None` where the server has closed the connection in an orderly way.
    pub(crate) fn receive(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut length = [0; 2];
        if self.0.read(&mut length[..1])? == 0 {
            return Ok(None);
        }
        self.0.read_exact(&mut length[1..])?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        self.0.read_exact(&mut message)?;
        Ok(Some(message))
    }

    /// Sends a message and takes the next one for its answer.
    pub(crate) fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.send_raw(&framed(message));
        self.receive().unwrap().expect("connection closed without an answer")
    }
}

/// A connection of HTTP/2 over TLS.
#[derive(Debug, Clone)]
pub(crate) struct Https {
    send: SendRequest<Bytes>,
    /// Its sender goes when the connection has ended.
    open: watch::Receiver<()>,
}

/// What HTTP answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Https {
    pub(crate) async fn connect(server: SocketAddr, config: ClientConfig) -> Https {
        let stream = tokio::net::TcpStream::connect(server).await.unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(server_name(), stream).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let (alive, open) = watch::channel(());
        tokio::spawn(async move {
            let _ = connection.await;
            drop(alive);
        });
        Https { send, open }
    }

    /// Waits for the connection's end.
    pub(crate) async fn closed(mut self) {
        assert!(timeout(DEADLINE, self.open.changed()).await.expect("still open").is_err());
    }

    /// A request to `/dns-query`, or what else `target` says, with the kind of content of DNS.
    pub(crate) async fn request(&self, method: Method, target: &str, body: &[u8]) -> Answer {
        self.send(dns_request(method, target), body).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<()>, body: &[u8]) -> Result<Answer, h2::Error> {
        let (head, mut stream) = self.begin(request, body).await?.into_parts();
        let mut body = Vec::new();
        while let Some(part) = stream.data().await {
            let part = part?;
            body.extend_from_slice(&part);
            stream.flow_control().release_capacity(part.len())?;
        }
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// Sends a request and waits for the head of its answer alone.
    pub(crate) async fn begin(&self, request: Request<()>, body: &[u8]) -> Result<Response<RecvStream>, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let (answer, mut stream) = send.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        timeout(DEADLINE, answer).await.expect("no answer over HTTPS")
    }

    /// Begins a post and sends so many octets of it, or as many as the server takes; each time it waits for so long.
    pub(crate) async fn begin_post(&self, octets: usize, wait: Duration) -> Unfinished {
        let mut send = self.send.clone().ready().await.unwrap();
        let (answer, mut stream) = send.send_request(dns_request(Method::POST, "/dns-query"), false).unwrap();
        let mut sent = 0;
        while sent < octets {
            stream.reserve_capacity(octets - sent);
            let room = timeout(wait, poll_fn(|context| stream.poll_capacity(context))).await;
            let Ok(Some(Ok(room))) = room else { break };
            stream.send_data(vec![0; room].into(), false).unwrap();
            sent += room;
        }
        Unfinished { sent, _stream: (answer, stream) }
    }

    /// Posts a message and returns its answer.
    pub(crate) async fn ask(&self, message: &[u8]) -> Vec<u8> {
        let answer = self.request(Method::POST, "/dns-query", message).await;
        assert_eq!(answer.status, StatusCode::OK);
        answer.body
    }
}

/// A request that was begun; dropping it takes it back.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// How many octets of its body were sent.
    pub(crate) sent: usize,
    _stream: (ResponseFuture, SendStream<Bytes>),
}

/// The head of a request with the kind of content of DNS.
pub(crate) fn dns_request(method: Method, target: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(format!("https://{NAME}{target}"));
    request.header("content-type", "application/dns-message").body(()).unwrap()
}

/// A connection over QUIC.
#[derive(Debug, Clone)]
pub(crate) struct Quic(pub(crate) quinn::Connection);

impl Quic {
    pub(crate) async fn connect(server: SocketAddr, config: ClientConfig) -> Result<Quic, quinn::ConnectionError> {
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        timeout(DEADLINE, endpoint.connect_with(config, server, NAME).unwrap()).await.unwrap().map(Quic)
    }

    /// Sends these octets on a stream of their own and takes what comes back, to the end.
    pub(crate) async fn exchange(&self, octets: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
        let (mut send, mut receive) = self.0.open_bi().await.unwrap();
        send.write_all(octets).await.unwrap();
        send.finish().unwrap();
        timeout(DEADLINE, receive.read_to_end(1 << 20)).await.expect("no answer over QUIC")
    }

    /// Sends a message whose ID is 0 and returns its one answer.
    pub(crate) async fn ask(&self, message: &[u8]) -> Vec<u8> {
        let answer = self.exchange(&framed(message)).await.unwrap();
        assert_eq!(answer, framed(&answer[2..]));
        answer[2..].to_vec()
    }
}
