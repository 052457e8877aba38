//! The encrypted transports: which certificate, and where each is listened on.

use super::file::{Preset, Setting};
use super::key_files::read_secret;
use super::settings::{address, set};
use super::{Fault, Wrong};
use crate::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// DNS over TLS, HTTPS and QUIC. The files may change at any time; whoever uses them reads and checks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The certificate chain, as PEM.
    pub certificate: PathBuf,
    /// Its private key, as PEM.
    pub key: PathBuf,
    /// Where DNS over TLS is listened on.
    pub dot_listen: Vec<SocketAddr>,
    /// Where DNS over HTTPS is listened on.
    pub doh_listen: Vec<SocketAddr>,
    /// The path that it answers at; begins with a slash.
    pub doh_path: String,
    /// Where DNS over QUIC is listened on.
    pub doq_listen: Vec<SocketAddr>,
}

/// The ports of RFC 7858 section 3.1, RFC 8484 section 4.1 (that of HTTPS) and RFC 9250 section 4.1.1.
const DOT: u16 = 853;
const DOH: u16 = 443;
const DOQ: u16 = 853;

/// `[tls]`.
#[derive(Default)]
pub(super) struct TlsSettings {
    pub(super) at: usize,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) dot_listen: Option<Vec<SocketAddr>>,
    pub(super) doh_listen: Option<Vec<SocketAddr>>,
    pub(super) doh_path: String,
    pub(super) doq_listen: Option<Vec<SocketAddr>>,
}

/// In `[tls]`.
pub(super) const TLS_OPTIONS: &[Setting<TlsSettings>] = &[
    Setting {
        name: "certificate",
        form: "path",
        default: Preset::Words("must be written"),
        doc: "The certificate and those that vouch for it, as PEM, the server's own first. A new one is taken up while \
              the server runs.",
        set: |tls, field| set(&mut tls.certificate, field.path()),
    },
    Setting {
        name: "key",
        form: "path",
        default: Preset::Words("must be written"),
        doc: "The private key of the certificate, as PEM. Only the server's user should be able to read it.",
        set: |tls, field| set(&mut tls.key, field.path()),
    },
    Setting {
        name: "dot-listen",
        form: "list of \"ADDRESS:PORT\"",
        default: Preset::Words("the addresses of listen, port 853"),
        doc: "Where DNS over TLS is listened on (TCP). An empty list turns it off.",
        set: |tls, field| set(&mut tls.dot_listen, field.list(|item| item.parse(address))),
    },
    Setting {
        name: "doh-listen",
        form: "list of \"ADDRESS:PORT\"",
        default: Preset::Words("the addresses of listen, port 443"),
        doc: "Where DNS over HTTPS is listened on (TCP, HTTP/2). An empty list turns it off.",
        set: |tls, field| set(&mut tls.doh_listen, field.list(|item| item.parse(address))),
    },
    Setting {
        name: "doh-path",
        form: "path of a URL",
        default: Preset::Toml("\"/dns-query\""),
        doc: "The path that DNS over HTTPS answers at.",
        set: |tls, field| {
            let path = field.text()?;
            if !path.starts_with('/') || path.contains(|c: char| !c.is_ascii_graphic() || "?#{}".contains(c)) {
                return Err(field.fault(format!("{path}: no path of a URL; write one such as /dns-query")));
            }
            tls.doh_path = path.to_string();
            Ok(())
        },
    },
    Setting {
        name: "doq-listen",
        form: "list of \"ADDRESS:PORT\"",
        default: Preset::Words("the addresses of listen, port 853"),
        doc: "Where DNS over QUIC is listened on (UDP). An empty list turns it off.",
        set: |tls, field| set(&mut tls.doq_listen, field.list(|item| item.parse(address))),
    },
];

impl TlsConfig {
    /// Fills in what is not written; `listen` is where UDP and TCP are listened on.
    pub(super) fn new(
        settings: TlsSettings,
        listen: &[SocketAddr],
        warnings: &mut Vec<String>,
    ) -> Result<TlsConfig, Wrong> {
        let at = settings.at;
        let missing = |option: &str| Fault::new(at, format!("[tls] without a {option}; add {option} = \"FILE.pem\""));
        let (dot_listen, doh_listen, doq_listen) = (settings.dot_listen, settings.doh_listen, settings.doq_listen);
        let tls = TlsConfig {
            certificate: settings.certificate.ok_or_else(|| missing("certificate"))?,
            key: settings.key.ok_or_else(|| missing("key"))?,
            dot_listen: dot_listen.unwrap_or_else(|| with_port(listen, DOT)),
            doh_listen: doh_listen.unwrap_or_else(|| with_port(listen, DOH)),
            doh_path: settings.doh_path,
            doq_listen: doq_listen.unwrap_or_else(|| with_port(listen, DOQ)),
        };
        if let Some(address) =
            tls.dot_listen.iter().find(|address| address.port() != 0 && tls.doh_listen.contains(address))
        {
            let text = format!("{address} is in dot-listen and in doh-listen; give one of them another port");
            return Err(Fault::new(at, text).into());
        }
        if std::fs::metadata(&tls.key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            let path = tls.key.display();
            warnings.push(format!("{path} holds a secret and every user can read it; chmod 600 {path}"));
        }
        Ok(tls)
    }

    /// The texts of both files, the certificate's first.
    pub fn read(&self) -> Result<(Zeroizing<String>, Zeroizing<String>), Error> {
        let read = |path: &Path| {
            let text = read_secret(path).map(|(text, _)| text);
            text.map_err(|error| Error::usage(format!("cannot read {}", path.display())).because(error))
        };
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    /// A number that is another one once either file has been written or replaced.
    pub fn version(&self) -> u64 {
        let mut version = DefaultHasher::new();
        for path in [&self.certificate, &self.key] {
            let look = std::fs::metadata(path).ok();
            look.map(|file| (file.mtime(), file.mtime_nsec(), file.len(), file.ino(), file.dev())).hash(&mut version);
        }
        version.finish()
    }
}

/// The same addresses with another port, each once.
fn with_port(listen: &[SocketAddr], port: u16) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in listen {
        let mut address = *address;
        address.set_port(port);
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}
