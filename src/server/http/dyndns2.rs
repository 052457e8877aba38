//! `/nic/update` and `/v3/update`: the dyndns2 protocol.
//!
//! One line for each host in the order asked: `good` and `nochg` with the addresses, `nohost` for one that the user
//! may not change or that is in no zone here, `notfqdn`, `dnserr` for one that is refused otherwise, `911`
//! where the change could not be made durable. One line about the account instead: `badauth`, `abuse` for one that has
//! to wait after wrong passwords, `numhost` for over 20 hosts. The user's rights are those of the key of that name.

use super::Rooms;
use super::change::{TTL, UnderWay, replacement};
use super::guard::Stopped;
use super::login::{Credentials, Visitor};
use super::parameters::{HOSTS, LONGEST, Parameters, Six};
use super::site::is_from_another_site;
use super::source::Source;
use crate::update::{Refusal, UpdateMessage};
use crate::wire::{Name, Rtype};
use crate::zone::{KeyBuf, Node};
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use tokio::time::timeout;

/// Answers a request.
pub(super) async fn answer(State(rooms): State<Rooms>, source: Source, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    match update(&rooms, source, &parts, body).await {
        Ok(lines) => lines.into_response(),
        Err(Ending::Line(status, line)) => (status, line).into_response(),
        Err(Ending::Stopped(Stopped::NoPassword | Stopped::WrongPassword)) => {
            (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, super::BASIC)], "badauth\n").into_response()
        }
        Err(Ending::Stopped(Stopped::Wait(seconds))) => {
            (StatusCode::TOO_MANY_REQUESTS, [(RETRY_AFTER, HeaderValue::from(seconds))], "abuse\n").into_response()
        }
        Err(Ending::Stopped(Stopped::Busy)) => (StatusCode::SERVICE_UNAVAILABLE, "911\n").into_response(),
    }
}

/// Why there is no line for each host.
enum Ending {
    Line(StatusCode, &'static str),
    Stopped(Stopped),
}

async fn update(rooms: &Rooms, source: Source, parts: &Parts, body: Body) -> Result<String, Ending> {
    // A page elsewhere could make a browser that knows the password send this; no router says such a thing.
    if is_from_another_site(&parts.headers) {
        return Err(Ending::Line(StatusCode::FORBIDDEN, "badagent\n"));
    }
    let mut query = parts.uri.query().unwrap_or_default().to_string();
    match parts.method {
        Method::GET => {}
        Method::POST => {
            let body = timeout(rooms.service.idle(), to_bytes(body, LONGEST)).await;
            let body = body.map_err(|_| Ending::Line(StatusCode::REQUEST_TIMEOUT, "911\n"))?;
            let body = body.map_err(|_| Ending::Line(StatusCode::PAYLOAD_TOO_LARGE, "badagent\n"))?;
            query.push('&');
            query.push_str(&String::from_utf8_lossy(&body));
        }
        _ => return Err(Ending::Line(StatusCode::METHOD_NOT_ALLOWED, "badagent\n")),
    }
    let visitor = rooms.admit(Credentials::of(&parts.headers, &query), source).await.map_err(Ending::Stopped)?;
    let parameters = match Parameters::read(&query, source.address) {
        Ok(parameters) => parameters,
        Err(text) => {
            let Visitor { user, source } = visitor;
            tracing::warn!(user = %format_args!("{user:#}"), %source, "update refused: {text:?} is no host's address");
            return Err(Ending::Line(StatusCode::OK, "dnserr\n"));
        }
    };
    if parameters.hosts.is_empty() {
        return Err(Ending::Line(StatusCode::OK, "notfqdn\n"));
    }
    if parameters.hosts.len() > HOSTS {
        return Err(Ending::Line(StatusCode::OK, "numhost\n"));
    }
    // All are queued before the first is awaited, so that they share a disk sync.
    let mut under_way = Vec::new();
    for host in &parameters.hosts {
        under_way.push(begin(rooms, visitor, host, &parameters).await);
    }
    let mut lines = String::new();
    for host in under_way {
        let line = match host {
            Err(word) => word.to_string(),
            Ok(host) => host.conclude(rooms).await,
        };
        lines.push_str(&line);
        lines.push('\n');
    }
    Ok(lines)
}

/// The update of one host.
struct Host {
    addresses: String,
    change: UnderWay,
}

async fn begin(rooms: &Rooms, visitor: Visitor, host: &str, parameters: &Parameters) -> Result<Host, &'static str> {
    let refused = |word, why: String| {
        let Visitor { user, source } = visitor;
        tracing::warn!(user = %format_args!("{user:#}"), %source, "update refused: {why}");
        word
    };
    let owner = Name::parse(host).ok().filter(is_host);
    let owner = owner.ok_or_else(|| {
        let why = "is no host's name; of letters it takes those of ASCII, others as xn--...";
        refused("notfqdn", format!("{host:?} {why}"))
    })?;
    let (update, addresses) = {
        let view = rooms.service.exchange.published.view();
        let key = KeyBuf::new(&owner);
        let zone = view.zones.nearest(key.as_bytes());
        let zone = zone.ok_or_else(|| refused("nohost", format!("{owner} is in no zone here")))?;
        let node = zone.node(key.as_bytes());
        let addresses = wanted(node, parameters);
        if addresses.is_empty() && matches!(parameters.v6, Six::Prefix(_)) {
            let why = "has no AAAA record that could take another prefix; give it its whole address once, as myipv6";
            return Err(refused("dnserr", format!("{owner} {why}")));
        }
        let mut update = UpdateMessage { zone: *zone.apex(), prerequisites: Vec::new(), operations: Vec::new() };
        for (rtype, all) in &addresses {
            let ttl = node.and_then(|node| node.rrset(*rtype)).map_or(TTL, |set| set.ttl.seconds());
            let set = replacement(zone, owner, *rtype, ttl, all.iter().map(octets).collect());
            let set = set.map_err(|failure| refused("dnserr", failure.error.into_owned()))?;
            update.prerequisites.extend(set.prerequisites);
            update.operations.extend(set.operations);
        }
        (update, addresses)
    };
    let addresses: Vec<String> = addresses.iter().flat_map(|(_, all)| all).map(IpAddr::to_string).collect();
    Ok(Host { addresses: addresses.join(","), change: rooms.begin(visitor, update).await })
}

/// Whether it is what a host can be called: other names have their place in a zone, but here somebody mistyped.
fn is_host(name: &Name) -> bool {
    let plain = |label: &[u8]| label.iter().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
    name.label_count() > 1 && name.labels().enumerate().all(|(at, label)| plain(label) || at == 0 && label == b"*")
}

fn octets(address: &IpAddr) -> Box<[u8]> {
    match address {
        IpAddr::V4(v4) => v4.octets().into(),
        IpAddr::V6(v6) => v6.octets().into(),
    }
}

/// What the host's records are to be, for each type that is replaced. A prefix replaces the first half of those that
/// are there, and does nothing where there are none: it alone is no address.
fn wanted(node: Option<Node<'_>>, parameters: &Parameters) -> Vec<(Rtype, Vec<IpAddr>)> {
    let mut wanted = Vec::new();
    if let Some(v4) = &parameters.v4 {
        wanted.push((Rtype::A, v4.iter().copied().map(IpAddr::V4).collect()));
    }
    let six: Vec<Ipv6Addr> = match &parameters.v6 {
        Six::Stay => Vec::new(),
        Six::Replace(v6) => v6.clone(),
        Six::Prefix(prefix) => {
            let rdatas = node.and_then(|node| node.rrset(Rtype::AAAA)).into_iter().flat_map(|set| set.rdatas());
            let half = |octets: [u8; 16]| u128::from_be_bytes(octets) & u128::from(u64::MAX);
            let hosts: BTreeSet<u128> = rdatas.filter_map(|rdata| Some(half(rdata.try_into().ok()?))).collect();
            hosts.into_iter().map(|host| Ipv6Addr::from_bits(u128::from(*prefix) << 64 | host)).collect()
        }
    };
    if !six.is_empty() {
        wanted.push((Rtype::AAAA, six.into_iter().map(IpAddr::V6).collect()));
    }
    wanted
}

impl Host {
    /// Waits for the outcome and says it in the protocol's word.
    async fn conclude(self, rooms: &Rooms) -> String {
        match self.change.conclude(rooms).await {
            Ok(applied) => {
                let word = if applied.from == Some(applied.to) { "nochg" } else { "good" };
                format!("{word} {}", self.addresses).trim_end().to_string()
            }
            Err(Refusal::Denied(_) | Refusal::NotAuth(_) | Refusal::NoNewZone(..)) => "nohost".to_string(),
            Err(Refusal::Storage) => "911".to_string(),
            Err(_) => "dnserr".to_string(),
        }
    }
}
