//! The HTTP door: routers update by the dyndns2 protocol, certificate tools set their challenges by that of acme-dns.
//!
//! Off until `[http]` says where it listens. Connections share the bounds and the count of TCP. A request's head has
//! at most [`HEAD`] octets and its body [`parameters::LONGEST`]; handshake, head, body, answer and silence each take no
//! longer than the idle timeout of TCP. axum says which path is whose, and hyper serves the connection, because axum's own
//! server has no such bounds. TLS has the certificate of `[tls]`, and what is inside is HTTP/1.1.
//!
//! Everything that changes a zone goes to the one writer, by the rights of the key that has the user's name.

mod acme;
mod api;
mod change;
mod dyndns2;
mod guard;
mod history;
mod json;
mod listing;
mod login;
mod page;
mod parameters;
pub(crate) mod site;
pub(crate) mod slow;
mod source;
mod stalled;

use super::listen::bind_tcp;
use super::secure::{Secure, handshake};
use super::tcp::{Service, accept};
use crate::config::{HttpConfig, HttpUser};
use crate::error::Error;
use crate::metrics::{family, label};
use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use guard::Guard;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use json::Failure;
use login::Credentials;
use source::{Line, Neighbour, Source};
use stalled::Stalled;
use std::fmt::Display;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long the head of a request may be.
const HEAD: usize = 16 * 1024;
/// How many headers it may have.
const HEADERS: usize = 64;
/// How long requests under way may take once the server ends.
const LAST_WORD: Duration = Duration::from_secs(2);
/// How many zones have metrics of their own.
const ZONES: usize = 1000;
/// What TLS calls the protocol inside (RFC 7301 section 6).
const ALPN: &[u8] = b"http/1.1";
/// What somebody without a password is asked for.
const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"dyndns\", charset=\"UTF-8\"");

/// The listeners, bound.
pub(super) struct Http {
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    acceptor: Option<TlsAcceptor>,
    config: Arc<HttpConfig>,
}

/// Who may come in; a reload replaces them.
#[derive(Debug, Clone)]
pub(super) struct Door(Arc<Guard>);

/// What a request is answered with.
#[derive(Clone)]
struct Rooms {
    service: Service,
    guard: Arc<Guard>,
    config: Arc<HttpConfig>,
    newest: Arc<acme::Newest>,
    histories: Arc<history::Histories>,
    /// Whether the log has told of a proxy that nobody trusts.
    told_of_proxy: Arc<AtomicBool>,
    /// The one turn to put a zone in order.
    listing: Arc<Semaphore>,
}

impl Http {
    /// Binds every address; `secure` has the certificate.
    pub(super) fn bind(config: &HttpConfig, secure: Option<&Secure>) -> Result<Http, Error> {
        let each = |addresses: &[SocketAddr], option| {
            addresses.iter().map(|at| bind_tcp(*at, option)).collect::<Result<Vec<_>, _>>()
        };
        let settings = secure.map(|secure| secure.settings(ALPN)).transpose()?;
        Ok(Http {
            plain: each(&config.plain_listen, "plain-listen")?,
            tls: each(&config.listen, "[http] listen")?,
            acceptor: settings.map(TlsAcceptor::from),
            config: Arc::new(config.clone()),
        })
    }

    /// Starts a task for each listener.
    pub(super) fn start(self, users: &[HttpUser], service: &Service) -> Result<Door, Error> {
        let guard = Arc::new(Guard::new(users).map_err(cannot)?);
        let rooms = Rooms {
            service: service.clone(),
            guard: Arc::clone(&guard),
            config: self.config,
            newest: Arc::default(),
            histories: Arc::default(),
            told_of_proxy: Arc::default(),
            listing: Arc::new(Semaphore::new(1)),
        };
        let router = routes(rooms);
        for listener in self.plain {
            let (listener, address) = asynchronous(listener)?;
            let router = router.clone();
            tokio::spawn(accept(listener, service.clone(), move |stream, peer, service| {
                let neighbour = Neighbour(peer.address.ip(), Line::Open);
                requests(stream, router.clone().layer(Extension(neighbour)), service)
            }));
            tracing::info!(%address, "listening on HTTP");
        }
        for (listener, acceptor) in self.tls.into_iter().zip(self.acceptor.iter().cycle()) {
            let (listener, address) = asynchronous(listener)?;
            let (router, acceptor) = (router.clone(), acceptor.clone());
            tokio::spawn(accept(listener, service.clone(), move |stream, peer, mut service| {
                let router = router.clone().layer(Extension(Neighbour(peer.address.ip(), Line::Private)));
                let acceptor = acceptor.clone();
                async move {
                    if let Some(stream) = handshake(&acceptor, stream, &mut service).await {
                        requests(stream, router, service).await;
                    }
                }
            }));
            tracing::info!(%address, "listening on HTTP over TLS");
        }
        Ok(Door(guard))
    }
}

/// Which path is whose.
fn routes(rooms: Rooms) -> Router {
    let api = api::routes().into_iter();
    api.fold(Router::new(), |router, (path, answer)| router.route(path, answer))
        .route("/", get(page::hosts))
        .route("/host/{name}", get(page::host))
        .route("/style.css", get(page::style))
        .route("/nic/update", any(dyndns2::answer))
        .route("/v3/update", any(dyndns2::answer))
        .route("/myip", get(|source: Source| async move { format!("{}\n", source.address) }))
        .route("/healthz", get(healthz))
        .route("/health", get(healthz))
        .route("/metrics", get(metrics))
        .route("/register", post(acme::register))
        .route("/update", post(acme::update))
        .layer(from_fn_with_state(rooms.clone(), seal))
        .with_state(rooms)
}

fn asynchronous(listener: TcpListener) -> Result<(tokio::net::TcpListener, SocketAddr), Error> {
    let address = listener.local_addr().map_err(cannot)?;
    Ok((tokio::net::TcpListener::from_std(listener).map_err(cannot)?, address))
}

fn cannot(error: impl Display) -> Error {
    Error::usage("cannot serve HTTP").because(error.to_string())
}

impl Door {
    /// Puts other users in force.
    pub(super) fn admit(&self, users: &[HttpUser]) {
        self.0.set_users(users);
    }
}

/// Counts what a request was answered with. Nobody on the way keeps the answer, unless it says otherwise: it is one
/// user's, and a change by GET must come here each time. And no browser takes it for what it is not.
async fn seal(State(rooms): State<Rooms>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    rooms.service.exchange.metrics.count_http(response.status().as_u16());
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// For Prometheus: every counter, and the zones; of those a user sees its own, as everywhere.
async fn metrics(State(rooms): State<Rooms>, source: Source, request: Request) -> Result<Response, Failure> {
    let visitor = if rooms.config.metrics_from.iter().any(|network| network.contains(source.address)) {
        None
    } else {
        let credentials = Credentials::of(request.headers(), request.uri().query().unwrap_or_default());
        Some(rooms.admit(credentials, source).await?)
    };
    let exchange = &rooms.service.exchange;
    let mut text = exchange.metrics.prometheus();
    let view = exchange.published.view();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    family(&mut text, "dyndns_zones", "gauge", "Zones served.", &[(String::new(), count(view.zones.len()))]);
    let seen = |apex: &_| visitor.as_ref().is_none_or(|visitor| rooms.knows(visitor, apex));
    let zones = view.zones.iter().filter(|zone| seen(zone.apex())).take(ZONES);
    let zones: Vec<_> = zones.map(|zone| (label("zone", &zone.apex().to_string()), zone)).collect();
    let serials: Vec<_> = zones.iter().map(|(label, zone)| (label.clone(), u64::from(zone.serial().0))).collect();
    family(&mut text, "dyndns_zone_serial", "gauge", "The serial of each zone.", &serials);
    let names: Vec<_> = zones.into_iter().map(|(label, zone)| (label, count(zone.owners()))).collect();
    family(&mut text, "dyndns_zone_names", "gauge", "How many names of each zone have records.", &names);
    Ok(([(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))], text).into_response())
}

/// The server answers while its writer takes requests.
async fn healthz(State(rooms): State<Rooms>) -> Result<&'static str, (axum::http::StatusCode, &'static str)> {
    match rooms.service.exchange.queue.is_closed() {
        false => Ok("ok\n"),
        true => Err((axum::http::StatusCode::SERVICE_UNAVAILABLE, "the writer has ended\n")),
    }
}

/// Answers the requests of a connection until the peer ends, errs or is too slow.
async fn requests<S>(stream: S, router: Router, mut service: Service)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let idle = service.idle();
    let mut connection = std::pin::pin!(
        Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .max_headers(HEADERS)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(Stalled::new(stream, idle)), TowerToHyperService::new(router))
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = service.stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_WORD, connection).await;
}
