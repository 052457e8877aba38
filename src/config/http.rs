//! The HTTP door: where it is listened on, and who may come in.

use super::file::{Preset, Setting};
use super::settings::address;
use super::{Fault, Network, TlsConfig, Wrong};
use crate::error::Error;
use crate::wire::Name;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::SocketAddr;
use zeroize::Zeroizing;

/// `[http]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// Where HTTP over TLS is listened on, with the certificate of `[tls]`.
    pub listen: Vec<SocketAddr>,
    /// Where HTTP without TLS is listened on. Of both together there is at least one.
    pub plain_listen: Vec<SocketAddr>,
    /// Whose word is taken for where a request came from.
    pub trusted_proxies: Vec<Network>,
}

/// Who may come in by the HTTP door. May change what the key of the same name may.
#[derive(Debug, Clone)]
pub struct HttpUser {
    /// The name, which is a key's in every grant.
    pub name: Name,
    hash: PasswordHash,
}

/// `[http]`.
#[derive(Default)]
pub(super) struct HttpSettings {
    pub(super) at: usize,
    pub(super) listen: Option<Vec<SocketAddr>>,
    pub(super) plain_listen: Option<Vec<SocketAddr>>,
    pub(super) trusted_proxies: Vec<Network>,
}

/// In `[http]`.
pub(super) const HTTP_OPTIONS: &[Setting<HttpSettings>] = &[
    Setting {
        name: "listen",
        form: "list of \"ADDRESS:PORT\"",
        default: Preset::Words("nowhere"),
        doc: "Where HTTPS is listened on (TCP), with the certificate of [tls].",
        set: |http, field| {
            http.listen = Some(field.list(|item| item.parse(address))?);
            Ok(())
        },
    },
    Setting {
        name: "plain-listen",
        form: "list of \"ADDRESS:PORT\"",
        default: Preset::Words("nowhere"),
        doc: "Where HTTP is listened on (TCP), without encryption: on this machine, behind a proxy that speaks TLS.",
        set: |http, field| {
            http.plain_listen = Some(field.list(|item| item.parse(address))?);
            Ok(())
        },
    },
    Setting {
        name: "trusted-proxies",
        form: "list of \"ADDRESS\" or \"ADDRESS/LENGTH\"",
        default: Preset::Toml("[]"),
        doc: "The proxies whose X-Forwarded-For is believed. The last address in it that is not one of them is where \
              the request came from. From everybody else that header is ignored.",
        set: |http, field| {
            http.trusted_proxies = field.list(|item| item.parse(Network::parse))?;
            Ok(())
        },
    },
];

impl HttpConfig {
    pub(super) fn new(
        settings: HttpSettings,
        tls: Option<&TlsConfig>,
        warnings: &mut Vec<String>,
    ) -> Result<HttpConfig, Wrong> {
        let fault = |text: String| Wrong::from(Fault::new(settings.at, text));
        let listen = settings.listen.unwrap_or_default();
        let plain_listen = settings.plain_listen.unwrap_or_default();
        if listen.is_empty() && plain_listen.is_empty() {
            let text = "[http] listens nowhere; add plain-listen = [\"127.0.0.1:8080\"], or listen and a certificate";
            return Err(fault(text.into()));
        }
        if tls.is_none() && !listen.is_empty() {
            return Err(fault("listen is for HTTPS and needs a certificate; add [tls], or write plain-listen".into()));
        }
        let fixed = |address: &&SocketAddr| address.port() != 0;
        if let Some(address) = listen.iter().filter(fixed).find(|address| plain_listen.contains(address)) {
            let text = format!("{address} is in listen and in plain-listen; give one of them another port");
            return Err(fault(text));
        }
        if let Some(tls) = tls {
            for (others, option) in [(&tls.dot_listen, "dot-listen"), (&tls.doh_listen, "doh-listen")] {
                if let Some(address) =
                    listen.iter().chain(&plain_listen).filter(fixed).find(|address| others.contains(address))
                {
                    let text = format!("{address} is {option} of [tls] too; give one of them another port");
                    return Err(fault(text));
                }
            }
        }
        for address in plain_listen.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
            warnings.push(format!(
                "plain-listen {address} takes passwords unencrypted; listen on 127.0.0.1 behind a proxy that speaks TLS, or use listen with [tls]"
            ));
        }
        Ok(HttpConfig { listen, plain_listen, trusted_proxies: settings.trusted_proxies })
    }
}

impl HttpUser {
    /// A user with a random password, which is nowhere else.
    pub fn random(name: Name) -> Result<(HttpUser, Zeroizing<String>), Error> {
        let cannot = || Error::usage("cannot make a password");
        // 24 characters, all of which every router's form takes.
        let mut octets = Zeroizing::new([0; 18]);
        getrandom::fill(&mut *octets).map_err(|error| cannot().because(error.to_string()))?;
        let password = Zeroizing::new(URL_SAFE_NO_PAD.encode(*octets));
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.map_err(|error| cannot().because(error.to_string()))?;
        Ok((HttpUser { name, hash }, password))
    }

    /// User and password in one word, as the door takes it for both.
    pub fn token(&self, password: &str) -> Zeroizing<String> {
        let both = Zeroizing::new(format!("{}:{password}", self.name));
        Zeroizing::new(URL_SAFE_NO_PAD.encode(both.as_bytes()))
    }

    pub(super) fn from_hash(name: Name, hash: &str) -> Result<HttpUser, String> {
        let hash =
            PasswordHash::new(hash).map_err(|_| "it holds no argon2id hash; make it anew: dyndns key add-http")?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err(format!("{} is not argon2id; make it anew: dyndns key add-http", hash.algorithm));
        }
        Ok(HttpUser { name, hash })
    }

    /// The password's hash as text (PHC string format).
    pub(super) fn hash(&self) -> String {
        self.hash.to_string()
    }

    /// Whether this is the password. Takes tens of milliseconds and 19 MiB, by intent.
    pub fn has_password(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &self.hash).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let (user, password) = HttpUser::random(Name::parse("router").unwrap()).unwrap();
        assert_eq!(password.len(), 24);
        let hash = user.hash();
        assert!(hash.starts_with("$argon2id$v=19$") && !hash.contains(password.as_str()), "{hash}");
        let read = HttpUser::from_hash(user.name, &hash).unwrap();
        assert!(read.has_password(password.as_bytes()) && !read.has_password(b"another"));
        assert!(HttpUser::from_hash(user.name, "secret").is_err());
    }
}
