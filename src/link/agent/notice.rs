//! Tells somebody that addresses have changed, that a target keeps failing, or that it works again: by a command, a
//! webhook and mail. What cannot be told is logged; nothing waits for it.

use super::keeper::{Event, Report};
use crate::agent::place::Place;
use crate::agent::plan::Change;
use crate::config::{MailConfig, NotifyConfig};
use crate::link::Fault;
use crate::link::command;
use crate::link::http::{Ask, Family, Http};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::{self, authentication::Credentials};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;

/// What is told.
#[derive(Debug, Serialize)]
struct Notice {
    /// `changed`, `failing` or `recovered`.
    event: &'static str,
    /// The target, or `sources`.
    target: String,
    /// One line for people.
    text: String,
    /// What was written.
    hosts: Vec<Host>,
}

#[derive(Debug, Serialize)]
struct Host {
    name: String,
    address: String,
}

/// How long each step of handing over a mail may take.
const MAIL: Duration = Duration::from_secs(30);

/// Tells of events, one after the other, until none can come any more.
pub(super) async fn tell(config: NotifyConfig, mut events: mpsc::UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        let notice = Notice::of(event);
        if let Some(words) = &config.command {
            let environment =
                [("DYNDNS_EVENT", notice.event), ("DYNDNS_TARGET", &notice.target), ("DYNDNS_TEXT", &notice.text)];
            let run = command::run(words, &environment, &format!("{}\n", notice.text)).await;
            log("command", &notice, run.map(drop));
        }
        if let Some(url) = &config.webhook {
            log("webhook", &notice, post(url, &notice).await);
        }
        if let Some(mail) = &config.mail {
            log("mail", &notice, send(mail, &notice).await);
        }
    }
}

fn log(way: &str, notice: &Notice, outcome: Result<(), Fault>) {
    match outcome {
        Ok(()) => tracing::debug!(way, event = notice.event, "told"),
        Err(fault) => tracing::warn!(way, event = notice.event, target = %notice.target, "nobody was told: {fault}"),
    }
}

impl Notice {
    fn of(event: Event) -> Notice {
        let sources = || "sources".to_string();
        let (event, target, text, changed) = match event {
            Event::Changed(Report { target, changed, .. }) => {
                let hosts = changed.iter().map(|change| format!("{} is now {}", change.name, change.address));
                let text = format!("{} at {target}", hosts.collect::<Vec<_>>().join(", "));
                ("changed", target, text, changed)
            }
            Event::Failing(Report { target, fault, .. }) => {
                let text = format!("{target} has not been brought up to date for long: {}", fault.unwrap_or_default());
                ("failing", target, text, Vec::new())
            }
            Event::Recovered(Report { target, .. }) => {
                let text = format!("{target} is up to date again");
                ("recovered", target, text, Vec::new())
            }
            Event::Lost(why) => {
                let text = format!("no address of this machine has been found for long: {why}");
                ("failing", sources(), text, Vec::new())
            }
            Event::Found => {
                ("recovered", sources(), "an address of this machine is found again".to_string(), Vec::new())
            }
        };
        let host = |change: Change| Host { name: change.name.to_string(), address: change.address.to_string() };
        Notice { event, target, text, hosts: changed.into_iter().map(host).collect() }
    }
}

/// Sends the notice by mail.
async fn send(mail: &MailConfig, notice: &Notice) -> Result<(), Fault> {
    let mailbox = |text: &str| {
        let wrong = |error| Fault(format!("`{text}` is no mail address: {error}"));
        text.parse::<Mailbox>().map_err(wrong)
    };
    let message = Message::builder().from(mailbox(&mail.from)?).to(mailbox(&mail.to)?);
    let subject = format!("dyndns: {} {}", notice.target, notice.event);
    let message = message.subject(subject).header(ContentType::TEXT_PLAIN).body(format!("{}\n", notice.text));
    let message = message.map_err(|error| Fault(format!("cannot write a mail: {error}")))?;
    let Place { host, port } = &mail.server;
    let cannot = |error: smtp::Error| Fault(format!("cannot hand mail to {}: {error}", mail.server));
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let builder = match port {
        _ if here => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host),
        465 => AsyncSmtpTransport::<Tokio1Executor>::relay(host).map_err(cannot)?,
        _ => AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host).map_err(cannot)?,
    };
    let builder = match &mail.login {
        Some((user, password)) => builder.credentials(Credentials::new(user.clone(), password.to_string())),
        None => builder,
    };
    let transport = builder.port(*port).timeout(Some(MAIL)).build();
    transport.send(message).await.map(drop).map_err(cannot)
}

/// Posts the notice as JSON.
async fn post(url: &str, notice: &Notice) -> Result<(), Fault> {
    let body = serde_json::to_string(notice).map_err(|error| Fault(error.to_string()))?;
    let page = Http::new(Family::Either)?.ask(url, Ask { body: Some(("application/json", body)), basic: None }).await?;
    match page.status {
        200..=299 => Ok(()),
        status => Err(Fault(format!("the webhook's server answers {status}"))),
    }
}
