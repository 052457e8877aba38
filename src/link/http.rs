//! Pages and other things that are asked for over HTTPS: bounded in time and size, certificates checked by the system's
//! roots, never downgraded by a redirection.

use super::Fault;
use crate::agent::source::host;
use crate::error::io_text;
use std::error::Error as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

pub use reqwest::Method;

/// A client.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
}

/// By which family a server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Whichever works.
    Either,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    /// User and password.
    pub basic: Option<(&'a str, &'a str)>,
    /// A body and its content type; the request is a POST then.
    pub body: Option<(&'a str, String)>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// The beginning of the body, up to 64 KiB.
    pub body: String,
}

/// How long a request may take in all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How much of a body is read.
const LONGEST: usize = 64 << 10;

impl Http {
    /// A client that asks by this family.
    pub fn new(family: Family) -> Result<Http, Fault> {
        // The whole process has one provider of cryptography, that of the encrypted transports. It may be in place.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let from: Option<IpAddr> = match family {
            Family::V4 => Some(Ipv4Addr::UNSPECIFIED.into()),
            Family::V6 => Some(Ipv6Addr::UNSPECIFIED.into()),
            Family::Either => None,
        };
        let mut builder = reqwest::Client::builder();
        if family != Family::Either {
            // Who asks by one family wants to know where we are, not where a proxy of the environment is.
            builder = builder.no_proxy();
        }
        let client = builder
            .user_agent(concat!("dyndns/", env!("CARGO_PKG_VERSION")))
            .timeout(PATIENCE)
            .local_address(from)
            // A connection that is kept shows the address of an hour ago.
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::custom(|attempt| {
                let safe = crate::agent::source::protected(attempt.url().as_str()).is_ok();
                if safe && attempt.previous().len() < 5 { attempt.follow() } else { attempt.stop() }
            }))
            .build()
            .map_err(|error| Fault(format!("cannot ask over HTTPS: {}", whole(&error))))?;
        Ok(Http { client })
    }

    /// Asks for a page.
    pub async fn ask(&self, url: &str, ask: Ask<'_>) -> Result<Page, Fault> {
        // The URL of a webhook may be a secret itself: only its host is told.
        let cannot =
            |error: reqwest::Error| Fault(format!("cannot ask {}: {}", host(url), whole(&error.without_url())));
        let method = if ask.body.is_some() { Method::POST } else { Method::GET };
        let mut request = self.client.request(method, url);
        if let Some((user, password)) = ask.basic {
            request = request.basic_auth(user, Some(password));
        }
        if let Some((kind, body)) = ask.body {
            request = request.header("content-type", kind).body(body);
        }
        let mut response = request.send().await.map_err(cannot)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(cannot)? {
            body.extend(chunk.iter().take(LONGEST - body.len()));
            if body.len() == LONGEST {
                break;
            }
        }
        Ok(Page { status: response.status().as_u16(), body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// An error with all its causes, each once.
fn whole(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_string() } else { error.to_string() };
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.downcast_ref::<io::Error>().map_or_else(|| error.to_string(), io_text);
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
