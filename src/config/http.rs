//! The HTTP door: where it is listened on, and who may come in.

use super::file::{Preset, Setting};
use super::settings::address;
use super::{Fault, KeyDirectory, Network, TlsConfig, Wrong, ZoneConfig};
use crate::error::Error;
use crate::wire::Name;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::{IpAddr, SocketAddr};
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
    /// Who may read the metrics without a password.
    pub metrics_from: Vec<Network>,
    /// Below which name acme-dns accounts get theirs, where there are to be any.
    pub acme_zone: Option<Name>,
    /// Who may make such an account without a password.
    pub acme_register_from: Vec<Network>,
    /// Where new users are written.
    pub key_dir: KeyDirectory,
}

/// Who may come in by the HTTP door. May change what the key of the same name may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUser {
    /// The name, which is a key's in every grant.
    pub name: Name,
    hash: PasswordHash,
    /// Where the user may come from; empty for everywhere.
    from: Vec<Network>,
}

/// `[http]`.
#[derive(Default)]
pub(super) struct HttpSettings {
    pub(super) at: usize,
    pub(super) listen: Option<Vec<SocketAddr>>,
    pub(super) plain_listen: Option<Vec<SocketAddr>>,
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) metrics_from: Vec<Network>,
    pub(super) acme_zone: Option<Name>,
    pub(super) acme_register_from: Vec<Network>,
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
    Setting {
        name: "metrics-from",
        form: "list of \"ADDRESS\" or \"ADDRESS/LENGTH\"",
        default: Preset::Toml("[]"),
        doc: "Who may read /metrics without a password. Behind a proxy that is not in trusted-proxies everybody comes \
              from the proxy's address.",
        set: |http, field| {
            http.metrics_from = field.list(|item| item.parse(Network::parse))?;
            Ok(())
        },
    },
    Setting {
        name: "acme-zone",
        form: "domain name",
        default: Preset::Words("no acme-dns"),
        doc: "Below which name the accounts of acme-dns get theirs: the name of a zone, or one in it.",
        set: |http, field| {
            http.acme_zone = Some(field.parse(Name::parse)?);
            Ok(())
        },
    },
    Setting {
        name: "acme-register-from",
        form: "list of \"ADDRESS\" or \"ADDRESS/LENGTH\"",
        default: Preset::Toml("[]"),
        doc: "Who may make such an account without a password. Others need that of a user who may change something in \
              that zone. Behind a proxy that is not in trusted-proxies everybody comes from the proxy's address.",
        set: |http, field| {
            http.acme_register_from = field.list(|item| item.parse(Network::parse))?;
            Ok(())
        },
    },
];

impl HttpConfig {
    pub(super) fn new(
        settings: HttpSettings,
        tls: Option<&TlsConfig>,
        zones: &[ZoneConfig],
        key_dir: &KeyDirectory,
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
        if let Some(name) = settings.acme_zone.filter(|name| !zones.iter().any(|zone| name.is_in(&zone.apex))) {
            return Err(fault(format!("acme-zone {name} is in no zone of this configuration; add a [[zone]] for it")));
        }
        for address in plain_listen.iter().filter(|address| !address.ip().to_canonical().is_loopback()) {
            warnings.push(format!(
                "plain-listen {address} takes passwords unencrypted; listen on 127.0.0.1 behind a proxy that speaks TLS, or use listen with [tls]"
            ));
        }
        Ok(HttpConfig {
            listen,
            plain_listen,
            trusted_proxies: settings.trusted_proxies,
            metrics_from: settings.metrics_from,
            acme_zone: settings.acme_zone.map(Name::to_lowercase),
            acme_register_from: settings.acme_register_from,
            key_dir: key_dir.clone(),
        })
    }
}

impl HttpUser {
    /// How long a password is by default: 144 random bits.
    pub const PASSWORD: usize = 24;

    /// A user with a random password of so many characters, which is nowhere else.
    pub fn random(name: Name, characters: usize) -> Result<(HttpUser, Zeroizing<String>), Error> {
        let cannot = || Error::usage("cannot make a password");
        // Every router's form takes all of these characters.
        let mut octets = Zeroizing::new(vec![0; characters * 3 / 4]);
        getrandom::fill(&mut octets).map_err(|error| cannot().because(error.to_string()))?;
        let password = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*octets));
        let hash = Argon2::default().hash_password(password.as_bytes());
        let hash = hash.map_err(|error| cannot().because(error.to_string()))?;
        Ok((HttpUser { name, hash, from: Vec::new() }, password))
    }

    /// The same user, who may come from these networks only.
    pub fn only_from(self, from: Vec<Network>) -> HttpUser {
        HttpUser { from, ..self }
    }

    /// Whether the user may come from there.
    pub fn may_come_from(&self, source: IpAddr) -> bool {
        self.from.is_empty() || self.from.iter().any(|network| network.contains(source))
    }

    /// User and password in one word, as the door takes it for both.
    pub fn token(&self, password: &str) -> Zeroizing<String> {
        let both = Zeroizing::new(format!("{}:{password}", self.name));
        Zeroizing::new(URL_SAFE_NO_PAD.encode(both.as_bytes()))
    }

    /// Reads a user's file: the hash in the PHC string format, then a line for each network, as `from 192.0.2.0/24`.
    pub(super) fn from_file(name: Name, text: &str) -> Result<HttpUser, String> {
        const ANEW: &str = "make it anew: dyndns key add-http";
        let mut lines = text.lines();
        let hash = PasswordHash::new(lines.next().unwrap_or_default().trim());
        let hash = hash.map_err(|_| format!("it holds no argon2id hash; {ANEW}"))?;
        if hash.algorithm.as_str() != "argon2id" {
            return Err(format!("{} is not argon2id; {ANEW}", hash.algorithm));
        }
        let network = |line: &str| match line.strip_prefix("from ") {
            Some(network) => Network::parse(network.trim()).map_err(|error| format!("{line}: {error}")),
            None => Err(format!("{line}: no line of such a file; {ANEW}")),
        };
        let from = lines.filter(|line| !line.trim().is_empty()).map(network).collect::<Result<_, _>>()?;
        Ok(HttpUser { name, hash, from })
    }

    /// The file that [`HttpUser::from_file`] reads.
    pub(super) fn to_file(&self) -> String {
        let mut text = format!("{}\n", self.hash);
        self.from.iter().for_each(|network| text.push_str(&format!("from {network}\n")));
        text
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
        let (user, password) = HttpUser::random(Name::parse("router").unwrap(), HttpUser::PASSWORD).unwrap();
        assert_eq!(password.len(), 24);
        let file = user.to_file();
        assert!(file.starts_with("$argon2id$v=19$") && !file.contains(password.as_str()), "{file}");
        let read = HttpUser::from_file(user.name, &file).unwrap();
        assert!(read.has_password(password.as_bytes()) && !read.has_password(b"another"));
        assert!(read.may_come_from([192, 0, 2, 1].into()));
        assert!(HttpUser::from_file(user.name, "secret").is_err());
    }

    #[test]
    fn where_a_user_may_come_from_is_in_its_file() {
        let (user, _) = HttpUser::random(Name::parse("router").unwrap(), HttpUser::PASSWORD).unwrap();
        let user =
            user.only_from(vec![Network::parse("192.0.2.0/24").unwrap(), Network::parse("2001:db8::1").unwrap()]);
        let read = HttpUser::from_file(user.name, &user.to_file()).unwrap();
        let may = |source: &str| read.may_come_from(source.parse().unwrap());
        assert!(may("192.0.2.9") && may("2001:db8::1") && !may("192.0.3.1") && !may("2001:db8::2"));
        assert!(HttpUser::from_file(user.name, &format!("{}form 192.0.2.0/24\n", user.to_file())).is_err());
    }
}
