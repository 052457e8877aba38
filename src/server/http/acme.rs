//! acme-dns: `/register` and `/update`, as the clients of that protocol speak them.
//!
//! An account is a user of the door like any other, with one name below `acme-zone`: the user's own, of which it may
//! change TXT and nothing else. The operator's `_acme-challenge` names point there by CNAME, and no certificate tool
//! needs a password that could do more. The two newest values stay, for a certificate for a name and its wildcard needs
//! two at once; which one is the older is known since the start, and after a restart either may go.

use super::Rooms;
use super::change::replacement;
use super::guard::Stopped;
use super::json::{self, Failure, body};
use super::login::{Credentials, Visitor};
use super::site::is_from_another_site;
use super::source::Source;
use crate::config::{HttpUser, Network};
use crate::wire::{Name, Rtype};
use crate::zone::KeyBuf;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// How many users there may be before nobody can register any more.
const ACCOUNTS: usize = 10_000;
/// How long an account's password is; clients may count on it.
const PASSWORD: usize = 40;
/// The TTL of a challenge, which is read once.
const TTL: u32 = 1;
/// How long a challenge is (RFC 8555 section 8.4: base64url of a SHA-256).
const CHALLENGE: usize = 43;

/// What came last to each account. Held while a value is set, so that the next one finds it.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<HashMap<Name, Box<[u8]>>>);

#[derive(Deserialize, Default)]
struct Registration {
    #[serde(default)]
    allowfrom: Vec<String>,
}

#[derive(Deserialize)]
struct Update {
    subdomain: String,
    txt: String,
}

/// `POST /register`: a new account.
pub(super) async fn register(
    State(rooms): State<Rooms>,
    source: Source,
    request: Request,
) -> Result<Response, Failure> {
    let acme_zone = rooms.config.acme_zone.ok_or(Failure::new(StatusCode::NOT_FOUND, "not_found"))?;
    let (parts, octets) = body(&rooms, request).await?;
    if is_from_another_site(&parts.headers) {
        let error = "a page of another site asks for this; it is not done";
        return Err(Failure::new(StatusCode::FORBIDDEN, error));
    }
    if !rooms.config.acme_register_from.iter().any(|network| network.contains(source.address)) {
        let credentials = Credentials::of(&parts.headers, parts.uri.query().unwrap_or_default());
        let visitor = rooms.admit(credentials, source).await?;
        let zone = nearest(&rooms, &acme_zone).ok_or(Failure::new(StatusCode::NOT_FOUND, "not_found"))?;
        if !rooms.knows(&visitor, &zone) {
            return Err(Failure::new(StatusCode::FORBIDDEN, "forbidden"));
        }
    }
    let registration: Registration = match octets.is_empty() {
        true => Registration::default(),
        false => serde_json::from_slice(&octets).map_err(|_| malformed())?,
    };
    let networks = registration.allowfrom.iter().map(|text| Network::parse(text)).collect::<Result<Vec<_>, _>>();
    let networks = networks.map_err(|_| Failure::new(StatusCode::BAD_REQUEST, "invalid_allowfrom_cidr"))?;
    if rooms.guard.users() >= ACCOUNTS {
        return Err(Failure::new(StatusCode::INSUFFICIENT_STORAGE, "too_many_accounts"));
    }
    let (label, user, password) = rooms.new_account(&acme_zone, networks).await?;
    tracing::info!(user = %format_args!("{:#}", user.name), source = %source.address, "acme-dns account made");
    let account = json!({
        "username": label,
        "password": password.as_str(),
        "fulldomain": user.name.to_string(),
        "subdomain": label,
        "allowfrom": registration.allowfrom,
    });
    Ok(json::answer(StatusCode::CREATED, &account))
}

/// `POST /update`: a new value.
pub(super) async fn update(State(rooms): State<Rooms>, source: Source, request: Request) -> Result<Response, Failure> {
    let acme_zone = rooms.config.acme_zone.ok_or(Failure::new(StatusCode::NOT_FOUND, "not_found"))?;
    let (parts, octets) = body(&rooms, request).await?;
    // In acme-dns whoever is not let in is forbidden, and is not asked for a password.
    let visitor = match rooms.admit(credentials(&parts.headers, &acme_zone), source).await {
        Err(Stopped::NoPassword | Stopped::WrongPassword) => {
            return Err(Failure::new(StatusCode::UNAUTHORIZED, "forbidden"));
        }
        admitted => admitted?,
    };
    let update: Update = serde_json::from_slice(&octets).map_err(|_| malformed())?;
    let owner = account(&update.subdomain, &acme_zone).filter(|owner| *owner == visitor.user);
    let owner = owner.ok_or(Failure::new(StatusCode::BAD_REQUEST, "bad_subdomain"))?;
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
    if update.txt.len() != CHALLENGE || !update.txt.bytes().all(plain) {
        return Err(Failure::new(StatusCode::BAD_REQUEST, "bad_txt"));
    }
    rooms.challenge(visitor, owner, &update.txt).await?;
    Ok(json::answer(StatusCode::OK, &json!({ "txt": update.txt })))
}

impl Rooms {
    /// Makes an account and puts it where a restart finds it.
    async fn new_account(
        &self,
        acme_zone: &Name,
        networks: Vec<Network>,
    ) -> Result<(String, HttpUser, Zeroizing<String>), Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            tracing::error!("acme-dns account not made: {why}");
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "db_error")
        };
        let label = uuid().map_err(|error| failed(&error))?;
        let name = acme_zone.child(label.as_bytes()).map_err(|error| failed(&error))?;
        // A password is hashed, and that takes its turn among those that are checked.
        let turn = self.guard.turn().await?;
        let key_dir = self.config.key_dir.clone();
        let made = tokio::task::spawn_blocking(move || {
            let (user, password) = HttpUser::random(name, PASSWORD)?;
            let user = user.only_from(networks);
            key_dir.create_http(&user)?;
            drop(turn);
            Ok::<_, crate::error::Error>((user, password))
        });
        let (user, password) = made.await.map_err(|error| failed(&error))?.map_err(|error| failed(&error))?;
        self.guard.add_user(user.clone());
        Ok((label, user, password))
    }

    /// Sets the newest value; the one before it stays.
    async fn challenge(&self, visitor: Visitor, owner: Name, txt: &str) -> Result<(), Failure> {
        let mut rdata = vec![u8::try_from(txt.len()).unwrap_or(u8::MAX)];
        rdata.extend_from_slice(txt.as_bytes());
        let rdata: Box<[u8]> = rdata.into();
        let mut newest = self.newest.0.lock().await;
        let update = {
            let view = self.service.exchange.published.view();
            let key = KeyBuf::new(&owner);
            let zone = view.zones.nearest(key.as_bytes()).ok_or(Failure::new(StatusCode::NOT_FOUND, "not_found"))?;
            let rrset = zone.node(key.as_bytes()).and_then(|node| node.rrset(Rtype::TXT));
            let mut have = rrset.into_iter().flat_map(|rrset| rrset.rdatas()).filter(|have| **have != *rdata);
            let last = newest.get(&owner);
            let before: Option<Box<[u8]>> = match have.clone().find(|have| last.is_some_and(|last| **last == **have)) {
                Some(last) => Some(last.into()),
                None => have.next().map(Into::into),
            };
            replacement(zone, owner, Rtype::TXT, TTL, before.into_iter().chain([rdata.clone()]).collect())?
        };
        self.begin(visitor, update).await.conclude(self).await?;
        newest.insert(owner, rdata);
        Ok(())
    }
}

fn nearest(rooms: &Rooms, name: &Name) -> Option<Name> {
    let view = rooms.service.exchange.published.view();
    view.zones.nearest(KeyBuf::new(name).as_bytes()).map(|zone| *zone.apex())
}

/// The account of this label.
fn account(label: &str, acme_zone: &Name) -> Option<Name> {
    // A label and nothing else: neither several nor an escape.
    let plain = label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    if plain { acme_zone.child(label.as_bytes()).ok() } else { None }
}

fn credentials(headers: &HeaderMap, acme_zone: &Name) -> Option<Credentials> {
    let user = account(headers.get("x-api-user")?.to_str().ok()?, acme_zone)?;
    let password = Zeroizing::new(headers.get("x-api-key")?.as_bytes().to_vec());
    Some(Credentials { user, password })
}

fn malformed() -> Failure {
    Failure::new(StatusCode::BAD_REQUEST, "malformed_json_payload")
}

/// A random UUID (RFC 9562 section 5.4).
fn uuid() -> Result<String, getrandom::Error> {
    let mut octets = [0; 16];
    getrandom::fill(&mut octets)?;
    let bits = u128::from_be_bytes(octets) & !(0xF << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let mut text = String::new();
    for (at, octet) in bits.to_be_bytes().into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string does not fail.
        let _ = write!(text, "{octet:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_its_version_and_its_variant() {
        for _ in 0..20 {
            let text = uuid().unwrap();
            let parts: Vec<&str> = text.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{text}");
            assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{text}");
        }
    }

    #[test]
    fn an_account_is_one_label() {
        let zone = Name::parse("auth.example").unwrap();
        assert_eq!(account("8e5700ea-a4bf", &zone), Name::parse("8e5700ea-a4bf.auth.example").ok());
        for label in ["", "a.b", "a\\046b", "*", &"x".repeat(64)] {
            assert_eq!(account(label, &zone), None, "{label}");
        }
    }
}
