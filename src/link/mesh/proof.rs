//! Who is at the other end: TLS with raw public keys (RFC 7250) on both sides.
//!
//! A node's ed25519 key is its identity, so there is nothing that a certificate could add: no name, no authority, no
//! date. The handshake proves that the other end has the secret half of the key it shows; whose key that is the mesh
//! decides. Nothing is resumed and nothing sent early, so each connection is proved anew.

use crate::mesh::{NodeId, SecretKey};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use tokio_rustls::rustls::crypto::ring::{default_provider, sign::any_eddsa_type};
use tokio_rustls::rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime,
};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme, version::TLS13,
};
use zeroize::Zeroizing;

/// What the two ends agree to speak (RFC 7301).
const PROTOCOL: &[u8] = b"dyndns-mesh/1";
/// An ed25519 public key as TLS shows it (RFC 8410 section 4) is this and the key.
const SHOWN: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// An ed25519 secret key in PKCS #8 (RFC 8410 section 7) is this and the seed.
const KEPT: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// A node's secret: its key and all that is proved with it come from this seed.
#[derive(Clone)]
pub(super) struct Secret(pub(super) Zeroizing<[u8; 32]>);

impl Secret {
    /// The key that signs; every seed is one.
    pub(super) fn key(&self) -> Option<SecretKey> {
        SecretKey::from_seed(&self.0)
    }

    fn certified(&self, id: NodeId) -> Result<Arc<CertifiedKey>, Error> {
        let kept = Zeroizing::new([KEPT.as_slice(), self.0.as_slice()].concat());
        let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(kept.as_slice()))?;
        let shown = CertificateDer::from([SHOWN.as_slice(), &id.0].concat());
        Ok(Arc::new(CertifiedKey::new(vec![shown], key)))
    }

    /// How this node answers.
    pub(super) fn server(&self, id: NodeId) -> Result<QuicServerConfig, Box<dyn std::error::Error + Send + Sync>> {
        let mut settings = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(AnyNode::new()))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(self.certified(id)?)));
        settings.alpn_protocols = vec![PROTOCOL.to_vec()];
        settings.session_storage = Arc::new(NoServerSessionStorage {});
        settings.send_tls13_tickets = 0;
        Ok(QuicServerConfig::try_from(settings)?)
    }

    /// How it calls others.
    pub(super) fn client(&self, id: NodeId) -> Result<QuicClientConfig, Box<dyn std::error::Error + Send + Sync>> {
        Ok(QuicClientConfig::try_from(self.client_settings(id)?)?)
    }

    pub(super) fn client_settings(&self, id: NodeId) -> Result<ClientConfig, Error> {
        let mut settings = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyNode::new()))
            .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(self.certified(id)?)));
        settings.alpn_protocols = vec![PROTOCOL.to_vec()];
        settings.resumption = Resumption::disabled();
        settings.enable_sni = false;
        Ok(settings)
    }
}

/// Who the other end has proved to be.
pub(super) fn peer_of(connection: &quinn::Connection) -> Option<NodeId> {
    let shown = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    id_of(shown.first()?)
}

fn id_of(shown: &CertificateDer<'_>) -> Option<NodeId> {
    let key = shown.as_ref().strip_prefix(SHOWN.as_slice())?;
    key.try_into().ok().map(NodeId)
}

/// Takes any ed25519 key whose other half is there.
#[derive(Debug)]
struct AnyNode(WebPkiSupportedAlgorithms);

impl AnyNode {
    fn new() -> AnyNode {
        AnyNode(default_provider().signature_verification_algorithms)
    }

    fn look_at(shown: &CertificateDer<'_>, more: &[CertificateDer<'_>]) -> Result<(), Error> {
        match id_of(shown) {
            Some(_) if more.is_empty() => Ok(()),
            _ => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
        }
    }

    fn verify(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &SubjectPublicKeyInfoDer::from(shown.as_ref()), signature, &self.0)
    }
}

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        AnyNode::look_at(shown, more).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // QUIC has no TLS 1.2 (RFC 9001 section 4.2).
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for AnyNode {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        shown: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        AnyNode::look_at(shown, more).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
