//! The certificate in force, and the next one.

use crate::config::TlsConfig;
use crate::error::Error;
use arc_swap::ArcSwap;
use hickory_server::net::tls::default_provider;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys};

/// A certificate with its key, as handshakes take it. Connections keep the one they began with.
pub(crate) struct Certificate {
    current: ArcSwap<CertifiedKey>,
    files: Mutex<Files>,
}

/// Where it comes from, and what of that has been tried.
struct Files {
    config: TlsConfig,
    /// What the files looked like when they were last read.
    seen: u64,
}

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Checks that the certificate can be read and the key is its own.
pub fn check_certificate(config: &TlsConfig) -> Result<(), Error> {
    load(config).map(drop)
}

impl Certificate {
    pub(super) fn read(config: &TlsConfig) -> Result<Certificate, Error> {
        // Before the files are read: what changes meanwhile is then seen as a change.
        let files = Mutex::new(Files { seen: config.version(), config: config.clone() });
        Ok(Certificate { current: ArcSwap::from_pointee(load(config)?), files })
    }

    /// Takes up what the configuration, read again, names. A broken pair changes nothing.
    pub(crate) fn reload(&self, config: &TlsConfig) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.seen = config.version();
        files.config = config.clone();
        self.replace(config);
    }

    /// Takes up files that have changed since they were last read.
    fn look(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let version = files.config.version();
        // A broken pair is told of once, not at every look.
        if version != files.seen {
            files.seen = version;
            self.replace(&files.config);
        }
    }

    fn replace(&self, config: &TlsConfig) {
        match load(config) {
            Ok(new) if new.cert == self.current.load().cert => {}
            Ok(new) => {
                self.current.store(Arc::new(new));
                tracing::info!(file = %config.certificate.display(), "certificate reloaded");
            }
            Err(error) => tracing::error!("certificate not reloaded, the old one stays in force: {error}"),
        }
    }

    /// Looks at the files now and then until the server ends.
    pub(super) async fn watch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.changed() => return,
            }
            let certificate = Arc::clone(&self);
            // A file on a network may take its time.
            let _ = tokio::task::spawn_blocking(move || certificate.look()).await;
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

fn load(config: &TlsConfig) -> Result<CertifiedKey, Error> {
    let (certificate, key) = (config.certificate.display(), config.key.display());
    let cannot = |file: &dyn fmt::Display| Error::usage(format!("cannot use {file} for TLS"));
    let (chain, secret) = config.read()?;
    let chain: Vec<CertificateDer<'_>> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| cannot(&certificate).because(error.to_string()).remedy("write certificates as PEM"))?;
    if chain.is_empty() {
        let remedy = "write the server's certificate there as PEM, then those that vouch for it";
        return Err(cannot(&certificate).because("it holds no certificate").remedy(remedy));
    }
    // What the library says of a broken key is not repeated: it could quote it.
    let secret = PrivateKeyDer::from_pem_slice(secret.as_bytes()).map_err(|_| {
        cannot(&key).because("it holds no private key").remedy("write the certificate's key there, as PEM, unencrypted")
    })?;
    CertifiedKey::from_der(chain, secret, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => cannot(&key)
            .because(format!("it is not the key of {certificate}"))
            .remedy("give the key that the certificate was made for; the server's certificate comes first in its file"),
        error => cannot(&certificate).because(error.to_string()).remedy(format!("check it and {key} with openssl")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;
    use tempfile::TempDir;

    /// A directory with a certificate and its key.
    fn place() -> (TempDir, TlsConfig) {
        let directory = tempfile::tempdir().unwrap();
        let config = TlsConfig {
            certificate: directory.path().join("cert.pem"),
            key: directory.path().join("key.pem"),
            dot_listen: Vec::new(),
            doh_listen: Vec::new(),
            doh_path: "/".into(),
            doq_listen: Vec::new(),
        };
        write(&config.certificate, &config.key);
        (directory, config)
    }

    fn write(certificate: &Path, key: &Path) {
        let made = rcgen::generate_simple_self_signed(["ns.example.com".to_string()]).unwrap();
        fs::write(certificate, made.cert.pem()).unwrap();
        fs::write(key, made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_pair_that_does_not_fit_says_so() {
        let (place, config) = place();
        assert!(check_certificate(&config).is_ok());
        write(&place.path().join("other.pem"), &config.key);
        let error = check_certificate(&config).unwrap_err().to_string();
        assert!(
            error.contains("key.pem for TLS: it is not the key of ") && error.contains("; give the key"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_certificate_or_no_key_says_what_to_write() {
        for (file, text, expected) in [
            ("cert.pem", "", "it holds no certificate; write the server's certificate there as PEM"),
            ("cert.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "; write certificates as PEM"),
            ("cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "with openssl"),
            ("key.pem", "c2VjcmV0", "it holds no private key; write the certificate's key"),
            ("key.pem", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "with openssl"),
        ] {
            let (place, config) = place();
            fs::write(place.path().join(file), text).unwrap();
            let error = check_certificate(&config).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("c2Vj"), "{error}");
        }
        let (place, config) = place();
        fs::remove_file(place.path().join("key.pem")).unwrap();
        let error = check_certificate(&config).unwrap_err().to_string();
        assert!(error.ends_with("key.pem: no such file or directory"), "{error}");
    }

    #[test]
    fn changed_files_are_taken_up_and_a_broken_pair_is_not() {
        let (_place, config) = place();
        let certificate = Certificate::read(&config).unwrap();
        let first = certificate.current.load_full();
        certificate.look();
        assert!(Arc::ptr_eq(&first, &certificate.current.load()), "nothing has changed");

        fs::write(&config.key, "half a k").unwrap();
        certificate.look();
        assert!(Arc::ptr_eq(&first, &certificate.current.load()), "the pair is broken");

        write(&config.certificate, &config.key);
        certificate.look();
        assert_ne!(first.cert, certificate.current.load().cert);
    }
}
