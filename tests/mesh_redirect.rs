//! A server of the mesh at its limit, as real processes: it names others, and whoever wants in goes there by itself.
//!
//! What keeps a server busy is a node that came in and does not ask for what there is. Ours always ask, so here one is
//! played: QUIC with raw public keys and a few messages, from nothing but the page of the protocol.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "in a test a panic is the failure to be seen, and a record carries the time"
)]

mod common;

use common::DEADLINE;
use common::house::Inhabitant;
use dyndns::mesh::{Claim, Label, Message, NodeId, Record, Role, SecretKey, Ticket};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint};
use serde_json::Value;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_rustls::rustls::client::AlwaysResolvesClientRawPublicKeys;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::{default_provider, sign::any_eddsa_type};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version::TLS13};

const FAST: [&str; 4] = ["--heartbeat", "1s", "--timeout", "1s"];

/// Runs a node on 127.0.0.1, with its state in the directory `name`.
fn node(folder: &Path, what: &[&str], name: &str) -> Inhabitant {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyndns"));
    command.current_dir(folder).stdin(Stdio::null()).env_remove("NOTIFY_SOCKET").env_remove("STATE_DIRECTORY");
    command.arg("mesh").args(what).args(["--listen", "127.0.0.1", "--port", "0", "--json", "--state-dir", name]);
    Inhabitant::start(command.args(FAST))
}

/// Starts a server for one session, the first of its mesh; returns it with its ticket and its place.
fn first(folder: &Path) -> (Inhabitant, String, SocketAddr) {
    let nas = node(folder, &["start", "--name", "nas", "--server", "--sessions", "1"], "nas");
    let line: Value = serde_json::from_str(&nas.wait_for("\"started\"")).unwrap();
    (nas, line["ticket"].as_str().unwrap().into(), place(folder, "nas"))
}

/// Another server for one session.
fn second(folder: &Path, ticket: &str, nas: SocketAddr) -> (Inhabitant, SocketAddr) {
    let contact = nas.to_string();
    let what = ["join", ticket, "--contact", &contact, "--name", "other", "--server", "--sessions", "1"];
    let other = node(folder, &what, "other");
    other.wait_for("\"joined\"");
    (other, place(folder, "other"))
}

/// Where a node listens.
fn place(folder: &Path, name: &str) -> SocketAddr {
    let status = common::command::done(folder, &["mesh", "status", "--json", "--state-dir", name]);
    let status: Value = serde_json::from_str(&status).unwrap();
    status["listen"].as_str().unwrap().parse().unwrap()
}

/// Somebody with a ticket who joins and then asks for nothing.
struct Guest {
    join: Vec<u8>,
    connection: Connection,
    answers: mpsc::UnboundedReceiver<Message>,
    _endpoint: Endpoint,
}

impl Guest {
    async fn call(seed: u8, ticket: &str, at: SocketAddr) -> Guest {
        let (seed, ticket): ([u8; 32], Ticket) = ([seed; 32], ticket.parse().unwrap());
        let key = SecretKey::from_seed(&seed).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claim = Claim {
            id: key.id(),
            sequence: now,
            issued: now,
            lease: 7200,
            since: now,
            role: Role::Member,
            port: 5399,
            name: Label::new(&format!("guest{}", seed[0])).unwrap(),
            addresses: vec!["192.0.2.9".parse().unwrap()],
            admission: ticket.admit(key.id()).unwrap(),
        };
        let join = Message::Join(Record::sign(claim, ticket.mesh, &key).octets().to_vec()).encode();
        let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls(&seed, key.id()))));
        let connecting = endpoint.connect(at, "mesh.invalid").unwrap();
        let connection = timeout(DEADLINE, connecting).await.expect("no connection").unwrap();
        let (sender, answers) = mpsc::unbounded_channel();
        tokio::spawn(read(connection.clone(), sender));
        Guest { join, connection, answers, _endpoint: endpoint }
    }

    async fn say(&self, octets: &[u8]) {
        let (mut stream, mut done) = self.connection.open_bi().await.unwrap();
        stream.write_all(octets).await.unwrap();
        stream.finish().unwrap();
        done.read_to_end(0).await.unwrap();
    }

    /// Wants in, and returns the answer.
    async fn join(&mut self) -> Message {
        self.say(&self.join).await;
        timeout(DEADLINE, self.answers.recv()).await.expect("no answer").unwrap()
    }

    /// Is in, and keeps the server at its limit, for a session that is used is not ended for its age. At the end it says
    /// what it knows, which ends the session.
    async fn stay(mut self, mut end: oneshot::Receiver<()>) {
        let mut now_and_then = interval(Duration::from_secs(5));
        loop {
            tokio::select! {
                _ = now_and_then.tick() => assert!(matches!(self.join().await, Message::Welcome(_))),
                _ = &mut end => return self.say(&Message::Known { buckets: u64::MAX, entries: Vec::new() }.encode()).await,
            }
        }
    }
}

/// Reads what comes, and hands on what answers a join: whoever is in is asked and told other things, too.
async fn read(connection: Connection, answers: mpsc::UnboundedSender<Message>) {
    while let Ok((mut done, mut stream)) = connection.accept_bi().await {
        let Ok(octets) = stream.read_to_end(Message::LONGEST).await else { continue };
        let _ = done.finish();
        let message = Message::decode(&octets).unwrap();
        if matches!(message, Message::Welcome(_) | Message::Redirect(_) | Message::Refused(_)) {
            let _ = answers.send(message);
        }
    }
}

/// Makes a server busy until `end` is told; says whom it names then.
async fn busy(seed: u8, ticket: &str, at: SocketAddr) -> (oneshot::Sender<()>, JoinHandle<()>, Vec<SocketAddr>) {
    let mut guest = Guest::call(seed, ticket, at).await;
    assert!(matches!(guest.join().await, Message::Welcome(_)));
    let (end, ended) = oneshot::channel();
    let stays = tokio::spawn(guest.stay(ended));
    match Guest::call(seed + 100, ticket, at).await.join().await {
        Message::Redirect(contacts) => (end, stays, contacts.iter().map(|contact| contact.address).collect()),
        answer => panic!("no redirect: {answer:?}"),
    }
}

/// TLS with the raw public key of a seed (RFC 7250, RFC 8410).
fn tls(seed: &[u8; 32], id: NodeId) -> QuicClientConfig {
    let kept = [b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".as_slice(), seed].concat();
    let shown = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".as_slice(), &id.0].concat();
    let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(kept.as_slice())).unwrap();
    let certified = CertifiedKey::new(vec![CertificateDer::from(shown)], key);
    let mut settings = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(certified))));
    settings.alpn_protocols = vec![b"dyndns-mesh/1".to_vec()];
    settings.try_into().unwrap()
}

/// Takes whoever is at the other end.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_at_its_limit_names_another_and_the_new_node_goes_there_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_nas, ticket, nas_at) = first(folder);
    let (_other, other_at) = second(folder, &ticket, nas_at);
    let (_end, stays, named) = busy(1, &ticket, nas_at).await;
    assert_eq!(named.first(), Some(&other_at), "a server first: {named:?}");
    let contact = nas_at.to_string();
    let printer = node(folder, &["join", &ticket, "--contact", &contact, "--name", "printer"], "printer");
    printer.wait_for("\"joined\"");
    assert!(!stays.is_finished(), "the first was not at its limit any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_is_not_sent_in_circles_by_servers_that_are_all_at_their_limit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (_nas, ticket, nas_at) = first(folder);
    let (_other, other_at) = second(folder, &ticket, nas_at);
    let (_end, first, _) = busy(1, &ticket, nas_at).await;
    let (end, second, _) = busy(2, &ticket, other_at).await;
    let contact = nas_at.to_string();
    let what = ["join", &ticket, "--contact", &contact, "--name", "printer"];
    let mut printer = node(folder, &what, "printer");
    assert_eq!(printer.wait(), Some(1));
    let said = printer.said();
    assert!(said.contains("cannot join the mesh: all that answered are busy with other new nodes; tried "), "{said}");
    assert!(said.contains(&nas_at.to_string()) && said.contains(&other_at.to_string()), "{said}");
    // As soon as one has time again it comes in.
    end.send(()).unwrap();
    second.await.unwrap();
    node(folder, &what, "printer").wait_for("\"joined\"");
    assert!(!first.is_finished());
}
