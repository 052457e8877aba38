//! The agent's own door, for people and programs of this machine: a page that shows how the hosts stand, and
//! `POST /check`, which checks now and answers with what came of it.
//!
//! Both need the token, as a bearer's or as the password of a browser's log-in; who sends a wrong one waits as at the
//! server's door. A page elsewhere cannot make a browser post here. Nothing here ends the agent or changes its configuration. Connections, heads and times are bounded.

use super::keeper::Report;
use super::state::State;
use crate::agent::memory::Memory;
use crate::agent::plan::Observed;
use crate::clock::{Clock, timestamp};
use crate::config::DoorConfig;
use crate::error::Error;
use crate::server::http::site::is_from_another_site;
use crate::server::http::slow::{LONGEST as LONGEST_WAIT, Slowed, place};
use axum::Router;
use axum::extract::{Extension, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr, TcpListener as Listener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

/// What came of a check that somebody asked for.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    /// The addresses found.
    pub(crate) observed: Observed,
    /// Where they are from, and why others were not taken.
    pub(crate) notes: Vec<String>,
    /// How each target stands.
    pub(crate) reports: Vec<Report>,
}

/// Asks for a check; the result comes back by the channel.
pub(crate) type Check = oneshot::Sender<Checked>;

/// The door, listening.
#[derive(Debug)]
pub(crate) struct Door {
    listener: Listener,
    token: Arc<zeroize::Zeroizing<String>>,
}

#[derive(Clone)]
struct Room {
    state: Arc<State>,
    checks: mpsc::Sender<Check>,
    token: Arc<zeroize::Zeroizing<String>>,
    /// Who has sent a wrong token.
    slowed: Arc<Mutex<Slowed<IpAddr>>>,
    clock: Clock,
}

/// Where a request came from.
#[derive(Debug, Clone, Copy)]
struct Source(IpAddr);

/// Connections at once.
const MOST: usize = 16;
/// How long a head may take to come.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may last: as long as the slowest check.
const LONGEST: Duration = Duration::from_secs(300);

impl Door {
    /// Listens from now on.
    pub(crate) fn bind(config: &DoorConfig) -> Result<Door, Error> {
        let cannot = |error| Error::usage(format!("cannot bind {}", config.listen)).because(error);
        let listener = Listener::bind(config.listen).map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        Ok(Door { listener, token: Arc::new(config.token.clone()) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, state: Arc<State>, checks: mpsc::Sender<Check>) {
        let Ok(listener) = TcpListener::from_std(self.listener) else { return };
        let slowed = Arc::new(Mutex::new(Slowed::new(0, LONGEST_WAIT)));
        let room = Room { state, checks, token: self.token, slowed, clock: Clock::System };
        let router = Router::new().route("/", get(page)).route("/check", post(check)).with_state(room);
        let seats = Arc::new(Semaphore::new(MOST));
        loop {
            let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
            let Ok((stream, peer)) = listener.accept().await else {
                // No file handles: one may be free in a while.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            };
            let service = TowerToHyperService::new(router.clone().layer(Extension(Source(place(peer.ip())))));
            tokio::spawn(async move {
                let mut builder = Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false).max_buf_size(16 << 10);
                // A peer that is too slow, or no HTTP client, is let go.
                let _ = timeout(LONGEST, builder.serve_connection(TokioIo::new(stream), service)).await;
                drop(seat);
            });
        }
    }
}

async fn page(Shared(room): Shared<Room>, Extension(source): Extension<Source>, headers: HeaderMap) -> Response {
    if let Err(refusal) = room.admit(source, &headers) {
        return refusal;
    }
    html(&room.state.with(|memory| render(memory, None)))
}

async fn check(Shared(room): Shared<Room>, Extension(source): Extension<Source>, headers: HeaderMap) -> Response {
    if let Err(refusal) = room.admit(source, &headers) {
        return refusal;
    }
    if is_from_another_site(&headers) {
        return (StatusCode::FORBIDDEN, "a page elsewhere cannot start a check\n").into_response();
    }
    let (reply, result) = oneshot::channel();
    let asked = room.checks.send(reply).await;
    let Some(checked) = (match asked {
        Ok(()) => result.await.ok(),
        Err(_) => None,
    }) else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent is ending\n").into_response();
    };
    let wants_html = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if wants_html.is_some_and(|accept| accept.contains("text/html")) {
        return html(&room.state.with(|memory| render(memory, Some(&checked))));
    }
    let failed = checked.observed == Observed::default() || checked.reports.iter().any(|report| report.fault.is_some());
    let status = if failed { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    (status, [(header::CONTENT_TYPE, "application/json")], json(&checked)).into_response()
}

impl Room {
    /// Lets a request in that has the token, or answers it. After a wrong one even the right one has to wait, or else
    /// guessing would cost nothing.
    fn admit(&self, Source(source): Source, headers: &HeaderMap) -> Result<(), Response> {
        let Some(token) = token(headers) else { return Err(unknown()) };
        let now = self.clock.now();
        let mut slowed = self.slowed.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = slowed.wait(&source, now);
        if wait > 0 {
            let after = [(header::RETRY_AFTER, wait.to_string())];
            let text = "wrong tokens before; wait, then try again\n";
            return Err((StatusCode::TOO_MANY_REQUESTS, after, text).into_response());
        }
        if token.as_bytes().ct_eq(self.token.as_bytes()).into() {
            return Ok(());
        }
        slowed.slow(source, now);
        tracing::warn!(%source, "HTTP request refused: wrong token");
        Err(unknown())
    }
}

/// The token of a request: a bearer's, or the password of a browser's log-in.
fn token(headers: &HeaderMap) -> Option<String> {
    let (kind, text) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    match kind.to_ascii_lowercase().as_str() {
        "bearer" => Some(text.to_string()),
        "basic" => {
            let login = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
            Some(login.split_once(':')?.1.to_string())
        }
        _ => None,
    }
}

fn unknown() -> Response {
    let ask = [(header::WWW_AUTHENTICATE, "Basic realm=\"dyndns agent\"")];
    (StatusCode::UNAUTHORIZED, ask, "the token is wrong, or missing\n").into_response()
}

fn html(text: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    (headers, text.to_string()).into_response()
}

/// What a program is told.
fn json(checked: &Checked) -> String {
    let targets: Vec<serde_json::Value> = checked
        .reports
        .iter()
        .map(|report| {
            let changed: Vec<serde_json::Value> = report
                .changed
                .iter()
                .map(|change| serde_json::json!({ "name": change.name.to_string(), "address": change.address }))
                .collect();
            serde_json::json!({ "target": report.target, "changed": changed, "fault": report.fault })
        })
        .collect();
    let Observed { v4, v6 } = checked.observed;
    format!("{}\n", serde_json::json!({ "v4": v4, "v6": v6, "notes": checked.notes, "targets": targets }))
}

/// The page.
fn render(memory: &Memory, checked: Option<&Checked>) -> String {
    let time = |time: Option<u64>| time.map_or("never".to_string(), timestamp);
    let mut text = String::from(HEAD_OF_PAGE);
    // Writing to a string does not fail.
    if let Some(checked) = checked {
        let _ = writeln!(text, "<h2>Checked</h2><ul>");
        for note in &checked.notes {
            let _ = writeln!(text, "<li>{}</li>", escaped(note));
        }
        for Report { target, changed, fault } in &checked.reports {
            let what = match fault {
                Some(fault) => fault.clone(),
                None if changed.is_empty() => "nothing to change".into(),
                None => format!("{} addresses written", changed.len()),
            };
            let _ = writeln!(text, "<li>{}: {}</li>", escaped(target), escaped(&what));
        }
        text.push_str("</ul>\n");
    }
    let found: Vec<String> =
        memory.v4.map(|v4| v4.to_string()).into_iter().chain(memory.v6.map(|v6| v6.to_string())).collect();
    let found = if found.is_empty() { "none".to_string() } else { found.join(" and ") };
    let (last, next) = (time(memory.checked), time(memory.next));
    let _ = writeln!(text, "<p>Addresses found: <b>{found}</b>. Last check {last}, next {next}.</p>");
    for (name, target) in &memory.targets {
        let _ = writeln!(text, "<h2>{}</h2><p>Compared {}.", escaped(name), time(target.checked));
        if let Some(fault) = &target.fault {
            let (failures, retry) = (target.failures, time(target.retry_at));
            let _ = writeln!(text, " <strong>Failed {failures} times, next try {retry}: {}</strong>", escaped(fault));
        }
        text.push_str("</p><table><tr><th>Host</th><th>Address</th><th>Since</th></tr>\n");
        for held in &target.held {
            let since = timestamp(held.since);
            let _ =
                writeln!(text, "<tr><td>{}</td><td>{}</td><td>{since}</td></tr>", escaped(&held.name), held.address);
        }
        for pending in &target.pending {
            let (name, address) = (escaped(&pending.name), pending.address);
            let _ = writeln!(text, "<tr><td>{name}</td><td>{address}</td><td>still to be written</td></tr>");
        }
        text.push_str("</table>\n");
    }
    text.push_str("</main></body></html>\n");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const HEAD_OF_PAGE: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><meta charset=\"utf-8\"><title>dyndns agent</title>
<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 50rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #8884; overflow-wrap: anywhere; }
button { font: inherit; padding: .4rem 1rem; }
</style></head><body><main><h1>dyndns agent</h1>
<form method=\"post\" action=\"/check\"><button>Check now</button></form>
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_not_shown_as_markup() {
        let mut memory = Memory::default();
        memory.targets.entry("<script>".into()).or_default().fault = Some("a & \"b\"".into());
        let page = render(&memory, None);
        assert!(page.contains("&lt;script&gt;") && page.contains("a &amp; &quot;b&quot;") && !page.contains("<script"));
    }

    #[test]
    fn after_a_wrong_token_even_the_right_one_waits_and_others_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let state = Arc::new(State::open(folder.path()).unwrap());
        let clock = Clock::manual(1000);
        let slowed = Arc::new(Mutex::new(Slowed::new(0, LONGEST_WAIT)));
        let token = Arc::new(zeroize::Zeroizing::new("the token".to_string()));
        let room = Room { state, checks: mpsc::channel(1).0, token, slowed, clock: clock.clone() };
        let try_it = |source: [u8; 4], authorization: &str| {
            let headers = [(header::AUTHORIZATION, authorization.parse().unwrap())].into_iter().collect();
            room.admit(Source(source.into()), &headers).map_or_else(|refusal| refusal.status().as_u16(), |()| 200)
        };
        let (right, wrong, login) = ("Bearer the token", "Bearer a guess", "Basic bWU6dGhlIHRva2Vu");
        assert_eq!((try_it([127, 0, 0, 1], login), try_it([127, 0, 0, 1], "")), (200, 401));
        assert_eq!((try_it([127, 0, 0, 1], wrong), try_it([127, 0, 0, 1], right)), (401, 429));
        assert_eq!(try_it([192, 0, 2, 1], right), 200);
        clock.set(clock.now() + 1);
        assert_eq!((try_it([127, 0, 0, 1], wrong), try_it([127, 0, 0, 1], right)), (401, 429));
        clock.set(clock.now() + 1);
        assert_eq!(try_it([127, 0, 0, 1], right), 429);
        clock.set(clock.now() + 1);
        assert_eq!(try_it([127, 0, 0, 1], right), 200);
    }
}
