//! Bodies: read within bounds, and JSON given back.

use super::Rooms;
use super::guard::Stopped;
use super::parameters::LONGEST;
use crate::update::Refusal;
use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use std::borrow::Cow;
use tokio::time::timeout;

/// Why something asked for by a program was not done: a status and `{"error": ...}`.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) error: Cow<'static, str>,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Failure {
    pub(super) fn new(status: StatusCode, error: impl Into<Cow<'static, str>>) -> Failure {
        Failure { status, error: error.into(), header: None }
    }

    /// Others have the turn for what takes long.
    pub(super) fn busy() -> Failure {
        let error = "others look at much at once; try again soon";
        let header = Some((RETRY_AFTER, HeaderValue::from_static("10")));
        Failure { header, ..Failure::new(StatusCode::SERVICE_UNAVAILABLE, error) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = answer(self.status, &json!({ "error": self.error }));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Failure {
        match stopped {
            Stopped::NoPassword | Stopped::WrongPassword => Failure {
                header: Some((WWW_AUTHENTICATE, super::BASIC)),
                ..Failure::new(StatusCode::UNAUTHORIZED, "no such user, or not that user's password")
            },
            Stopped::Wait(seconds) => Failure {
                header: Some((RETRY_AFTER, HeaderValue::from(seconds))),
                ..Failure::new(StatusCode::TOO_MANY_REQUESTS, "wrong passwords before; wait, then try again")
            },
            Stopped::Busy => Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many passwords to check at once"),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        let status = match &refusal {
            Refusal::Denied(_) | Refusal::NoNewZone(..) | Refusal::Unsigned => StatusCode::FORBIDDEN,
            Refusal::NotAuth(_) => StatusCode::NOT_FOUND,
            Refusal::Prerequisite { .. } => StatusCode::CONFLICT,
            Refusal::Storage => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Malformed { .. } | Refusal::NotZone(_) | Refusal::TooLong { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Failure::new(status, refusal.to_string())
    }
}

/// Something was asked for that cannot be.
pub(super) fn unusable(error: String) -> Failure {
    Failure::new(StatusCode::UNPROCESSABLE_ENTITY, error)
}

/// An answer in JSON.
pub(super) fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    // What is written here are strings and numbers; of them JSON can be made.
    let text = serde_json::to_string(value).unwrap_or_default();
    (status, [(CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response()
}

/// The whole body of a request, of bounded length and within bounded time.
pub(super) async fn body(rooms: &Rooms, request: Request) -> Result<(Parts, Bytes), Failure> {
    let (parts, body) = request.into_parts();
    let octets = timeout(rooms.service.idle(), to_bytes(body, LONGEST)).await;
    let octets = octets.map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the body took too long"))?;
    let octets = octets
        .map_err(|_| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has over {LONGEST} octets")))?;
    Ok((parts, octets))
}
