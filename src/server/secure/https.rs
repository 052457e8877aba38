//! DNS over HTTPS: a request of HTTP/2 for each message (RFC 8484).

use super::dot::handshake;
use super::{AT_ONCE, LAST_WORD};
use crate::query::Peer;
use crate::server::exchange::{MESSAGE, Step};
use crate::server::tcp::{Service, accept};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream};
use hickory_server::net::http::{Version, response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use std::future::poll_fn;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

type Connection = h2::server::Connection<TlsStream<TcpStream>, Bytes>;

/// How long the headers of a request may be; a GET carries its message there.
const HEADERS: u32 = 16 * 1024;
/// How much may be on its way to us or wait for its end: in one request, which is one octet more than a message, and in
/// all of a connection: the 64 requests of a connection could else hold 4 megabytes, and 1,000 connections 4 gigabytes.
/// There is room for 64 of 16 KiB each, so that none has to wait for another that waits as well.
const WINDOW: u32 = 65_536;
const WINDOWS: u32 = 16 * WINDOW;
/// How much of one answer is taken from its task before it is sent.
const SENDING: usize = 65_535;

/// Answers over HTTPS until the server ends.
pub(super) async fn serve(listener: TcpListener, settings: Arc<ServerConfig>, path: Arc<str>, service: Service) {
    let acceptor = TlsAcceptor::from(settings);
    accept(listener, service, |stream, peer, mut service| {
        let (acceptor, path) = (acceptor.clone(), Arc::clone(&path));
        async move {
            if let Some(stream) = handshake(&acceptor, stream, &mut service).await {
                requests(stream, peer, path, service).await;
            }
        }
    })
    .await;
}

/// Answers the requests of a connection, each by itself, until the peer ends or is silent.
async fn requests(stream: TlsStream<TcpStream>, peer: Peer, path: Arc<str>, mut service: Service) -> Option<()> {
    let idle = service.idle();
    let greeting = Builder::new()
        .max_concurrent_streams(u32::try_from(AT_ONCE).ok()?)
        .max_header_list_size(HEADERS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOWS)
        .max_send_buffer_size(SENDING)
        .handshake(stream);
    let mut connection: Connection = tokio::select! {
        greeted = timeout(idle, greeting) => greeted.ok()?.ok()?,
        _ = service.stop.changed() => return None,
    };
    let mut requests = JoinSet::new();
    let mut deadline = Instant::now() + idle;
    loop {
        let room = requests.len() < AT_ONCE;
        tokio::select! {
            accepted = next(&mut connection, room) => {
                let (request, send) = accepted?;
                requests.spawn(answer(request, send, peer, Arc::clone(&path), service.clone()));
            }
            Some(_) = requests.join_next() => deadline = Instant::now() + idle,
            () = sleep_until(deadline), if requests.is_empty() => break,
            _ = service.stop.changed() => break,
        }
    }
    connection.graceful_shutdown();
    let _ = timeout(LAST_WORD, poll_fn(|context| connection.poll_closed(context))).await;
    Some(())
}

/// The next request; `None` at the connection's end. Either way the connection moves on meanwhile: requests under way
/// get their octets by it. A peer may take back requests faster than they are done with, hence `room`.
async fn next(connection: &mut Connection, room: bool) -> Option<(Request<RecvStream>, SendResponse<Bytes>)> {
    if room {
        return connection.accept().await?.ok();
    }
    let _ = poll_fn(|context| connection.poll_closed(context)).await;
    None
}

/// Answers one request.
async fn answer(
    request: Request<RecvStream>,
    mut send: SendResponse<Bytes>,
    peer: Peer,
    path: Arc<str>,
    mut service: Service,
) {
    let idle = service.idle();
    let asked = tokio::select! {
        asked = timeout(idle, message(request, &path)) => asked.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT)),
        _ = service.stop.changed() => return send.send_reset(Reason::REFUSED_STREAM),
    };
    let answered = match asked {
        Ok((message, method)) => respond(&message, &method, peer, &service).await,
        Err(status) => Err(status),
    };
    let sent = match answered {
        Ok(answer) => {
            tokio::select! {
                biased;
                sent = timeout(idle, send_answer(&mut send, answer)) => sent.ok().flatten(),
                _ = service.stop.changed() => None,
            }
        }
        Err(status) => send_status(&mut send, status),
    };
    if sent.is_none() {
        send.send_reset(Reason::CANCEL);
    }
}

/// Takes the message from a request (RFC 8484 section 4.1).
async fn message(request: Request<RecvStream>, path: &str) -> Result<(Vec<u8>, Method), StatusCode> {
    if request.uri().path() != path {
        return Err(StatusCode::NOT_FOUND);
    }
    let (head, mut body) = request.into_parts();
    let mut message = Vec::new();
    if head.method == Method::GET {
        let variables = head.uri.query().unwrap_or_default().split('&');
        let written = variables.filter_map(|variable| variable.strip_prefix("dns=")).next();
        message = written.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(StatusCode::BAD_REQUEST)?;
    } else if head.method == Method::POST {
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/dns-message") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        while let Some(octets) = body.data().await {
            let octets = octets.map_err(|_| StatusCode::BAD_REQUEST)?;
            if message.len() + octets.len() > MESSAGE {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            // Its room in the window is given back with the request's end.
            message.extend_from_slice(&octets);
        }
    } else {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    Ok((message, head.method))
}

/// The answer to a message, or what HTTP says instead of one.
async fn respond(message: &[u8], method: &Method, peer: Peer, service: &Service) -> Result<Bytes, StatusCode> {
    let mut buffer = vec![0; MESSAGE];
    let step = service.exchange.begin(&service.exchange.published.view(), peer, message, &mut buffer);
    let answer = match step {
        Step::Answer(answer) => answer,
        // RFC 9110 section 9.2.1: a GET changes nothing, and whoever stands between may send it again.
        Step::Update if *method == Method::GET => return Err(StatusCode::METHOD_NOT_ALLOWED),
        Step::Update => service.exchange.update(peer, message, &mut buffer).await,
        // RFC 8484 has one message for an answer; a zone may take several.
        Step::Transfer => service.exchange.transfer_in_one(peer, message, &mut buffer),
    };
    let answer = answer.and_then(|len| buffer.get(..len)).ok_or(StatusCode::BAD_REQUEST)?;
    Ok(Bytes::copy_from_slice(answer))
}

/// Sends an answer as fast as the peer takes it.
async fn send_answer(send: &mut SendResponse<Bytes>, mut answer: Bytes) -> Option<()> {
    let mut head = response(Version::Http2, answer.len()).ok()?;
    // RFC 8484 section 5.1 wants the life of an answer told: here the next update ends it.
    head.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut body = send.send_response(head, false).ok()?;
    while !answer.is_empty() {
        body.reserve_capacity(answer.len());
        let room = poll_fn(|context| body.poll_capacity(context)).await?.ok()?;
        let part = answer.split_to(room.min(answer.len()));
        if !part.is_empty() {
            body.send_data(part, answer.is_empty()).ok()?;
        }
    }
    Some(())
}

/// Sends what is no answer of DNS.
fn send_status(send: &mut SendResponse<Bytes>, status: StatusCode) -> Option<()> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        head.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
    }
    send.send_response(head, true).ok().map(drop)
}
