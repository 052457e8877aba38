//! How a request says who it is from.
//!
//! By Basic authentication (RFC 7617), or by a token: `Authorization: Bearer TOKEN` (RFC 6750), or `token=TOKEN` in the
//! query or the form, for devices that know nothing else. A token is user and password in one word: the base64url of
//! `USER:PASSWORD` without padding. There is nothing in it that would have to be kept or taken away besides.
//!
//! A user is one that `dyndns key add-http` made, or a key with its own secret, in base64 as its file has it. No option
//! turns the latter on, for who holds the secret may do the same by DNS, and who guesses is slowed here and is not
//! there. But TSIG never sends the secret, and HTTP does: so it is taken on a private line alone, where nobody else
//! reads it, and never from a key whose secret is so short that it might be guessed.

use super::Rooms;
use super::guard::{Proven, Stopped};
use super::parameters::pairs;
use super::source::{Line, Source};
use crate::tsig::Secret;
use crate::wire::Name;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

/// How many octets a key's secret has at least, to be taken for a password.
const SECRET: usize = 16;

/// A user's name and password, as sent.
pub(super) struct Credentials {
    pub(super) user: Name,
    pub(super) password: Zeroizing<Vec<u8>>,
}

/// Who a request is from, and where it came from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visitor {
    pub(super) user: Name,
    pub(super) source: IpAddr,
}

impl Credentials {
    /// Those of a request; `form` is what may hold a token.
    pub(super) fn of(headers: &HeaderMap, form: &str) -> Option<Credentials> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            let token = pairs(form).find(|(name, _)| *name == "token")?.1;
            return Credentials::unpack(&Zeroizing::new(URL_SAFE_NO_PAD.decode(token.trim()).ok()?));
        };
        let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
        let octets = match scheme.to_ascii_lowercase().as_str() {
            "basic" => STANDARD.decode(token.trim()).ok()?,
            "bearer" => URL_SAFE_NO_PAD.decode(token.trim().trim_end_matches('=')).ok()?,
            _ => return None,
        };
        Credentials::unpack(&Zeroizing::new(octets))
    }

    /// Takes `USER:PASSWORD` apart.
    fn unpack(octets: &[u8]) -> Option<Credentials> {
        let colon = octets.iter().position(|octet| *octet == b':')?;
        let (user, password) = octets.split_at_checked(colon)?;
        let user = Name::parse(std::str::from_utf8(user).ok()?).ok()?;
        Some(Credentials { user, password: Zeroizing::new(password.get(1..)?.to_vec()) })
    }

    /// Whether the password is this secret; in a time that tells nothing of it.
    fn holds(&self, secret: &Secret) -> bool {
        std::str::from_utf8(&self.password)
            .is_ok_and(|text| Secret::from_base64(text).is_ok_and(|said| said == *secret))
    }
}

/// Why this secret, although it is the right one, opens no door.
fn barred(secret: &Secret, line: Line) -> Option<&'static str> {
    match line {
        Line::Open => Some("a key's secret came unencrypted; use HTTPS, or a password by dyndns key add-http"),
        Line::Private if secret.len() < SECRET => {
            Some("the key's secret is too short; make another by dyndns key generate")
        }
        Line::Private => None,
    }
}

impl Rooms {
    /// Lets somebody in, or tells why not; a refusal is logged.
    pub(super) async fn admit(&self, who: Option<Credentials>, source: Source) -> Result<Visitor, Stopped> {
        let credentials = who.ok_or(Stopped::NoPassword)?;
        let exchange = &self.service.exchange;
        let now = exchange.clock.now();
        let key = exchange.published.view().keyring.get(&credentials.user).cloned();
        let secret = key.filter(|key| credentials.holds(&key.secret));
        let barred = secret.as_ref().and_then(|key| barred(&key.secret, source.line));
        let Credentials { user, password } = credentials;
        let Source { address: source, .. } = source;
        let proven = if secret.is_some() && barred.is_none() { Proven::Yes } else { Proven::No };
        let admitted = self.guard.admit(user, password, proven, source, now).await;
        if admitted.is_err() {
            exchange.metrics.http_logins_refused.fetch_add(1, Ordering::Relaxed);
        }
        if let Err(stopped) = admitted
            && exchange.quiet.allows(now)
        {
            let why = match stopped {
                Stopped::NoPassword | Stopped::WrongPassword => {
                    barred.unwrap_or("wrong user, password or source").to_string()
                }
                Stopped::Wait(seconds) => format!("wrong passwords before; {seconds} s to wait"),
                Stopped::Busy => "too many passwords to check at once".to_string(),
            };
            tracing::warn!(user = %format_args!("{user:#}"), %source, "HTTP request refused: {why}");
        }
        admitted.map(|()| Visitor { user, source })
    }

    /// Whether somebody may change anything at all in a zone, and so may see all of it.
    pub(super) fn knows(&self, visitor: &Visitor, apex: &Name) -> bool {
        self.service.exchange.published.rights().policy(apex).knows(&visitor.user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: Option<&str>, form: &str) -> Option<(String, Vec<u8>)> {
        let headers = header.map(|header| (AUTHORIZATION, header.parse().unwrap())).into_iter().collect();
        Credentials::of(&headers, form).map(|who| (who.user.to_string(), who.password.to_vec()))
    }

    #[test]
    fn user_and_password_come_by_basic_by_bearer_and_as_a_token() {
        let router = Some(("router".to_string(), b"pass:word".to_vec()));
        assert_eq!(read(Some("Basic cm91dGVyOnBhc3M6d29yZA=="), ""), router);
        assert_eq!(read(Some("basic  cm91dGVyOnBhc3M6d29yZA=="), ""), router);
        assert_eq!(read(Some("Bearer cm91dGVyOnBhc3M6d29yZA"), ""), router);
        assert_eq!(read(None, "hostname=h&token=cm91dGVyOnBhc3M6d29yZA"), router);
        assert_eq!(read(None, "token=cm91dGVyOnBhc3M6d29yZA"), router);
        // A header that is wrong is not made good by a token.
        assert_eq!(read(Some("Digest x"), "token=cm91dGVyOnBhc3M6d29yZA"), None);
        for form in ["", "hostname=h", "token=", "token=!", "token=cm91dGVy"] {
            assert_eq!(read(None, form), None, "{form}");
        }
        assert_eq!(read(Some("Basic cm91dGVy"), ""), None);
        assert_eq!(read(Some("Basic"), ""), None);
    }
}
