//! What `dyndns mesh` prints: for people, or as JSON.

use crate::clock::timestamp;
use crate::error::Error;
use crate::link::mesh::{Change, Host, HostReport, ListReport, Reply, StatusReport, TicketReport, View};
use serde::Serialize;
use serde_json::json;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

/// How something is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// What came of a command.
pub(super) fn reply(reply: &Reply, form: Form) -> Result<String, Error> {
    Ok(match (form, reply) {
        (Form::Text, Reply::List(report)) => list(report),
        (Form::Text, Reply::Status(report)) => status(report),
        (Form::Text, Reply::Ticket(report)) => ticket(report),
        (Form::Text, Reply::Tickets(reports)) => tickets(reports),
        (Form::Text, Reply::Done(text)) => format!("{text}\n"),
        (Form::Json, Reply::List(report)) => json_of(report)?,
        (Form::Json, Reply::Status(report)) => json_of(report)?,
        (Form::Json, Reply::Ticket(report)) => json_of(report)?,
        (Form::Json, Reply::Tickets(reports)) => json_of(reports)?,
        (Form::Json, Reply::Done(text)) => json_of(&json!({ "done": text }))?,
    })
}

fn json_of(value: &impl Serialize) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::usage("cannot write JSON").because(error))?;
    Ok(text + "\n")
}

/// What the start of a member says.
pub(super) fn started(listen: Option<SocketAddr>, ticket: Option<TicketReport>, view: &View, form: Form) -> String {
    let port = listen.map_or(0, |listen| listen.port());
    if form == Form::Json {
        let ticket = ticket.map(|ticket| ticket.ticket);
        let (me, mesh, zone) = (view.me.to_string(), view.mesh.to_string(), view.zone.to_string());
        let name = view.name.to_string();
        return format!(
            "{}\n",
            json!({ "event": "started", "id": me, "mesh": mesh, "name": name, "zone": zone, "port": port, "ticket": ticket })
        );
    }
    let mut text =
        format!("{}.{} (node {}) is in mesh {}, at UDP port {port}\n", view.name, view.zone, view.me, view.mesh);
    if let Some(ticket) = ticket {
        // Nobody has said yet where this machine is, and it asks neither its network card nor a web site.
        let at = match (ticket.contacts, port) {
            (0, crate::link::mesh::PORT) => " --contact THIS-MACHINE".into(),
            (0, port) => format!(" --contact THIS-MACHINE:{port}"),
            _ => String::new(),
        };
        let until = timestamp(ticket.expires);
        let _ = write!(
            text,
            "\nTo let another machine in until {until}, run there:\n\n    dyndns mesh join {}{at} --name ITS-NAME\n\n",
            ticket.ticket
        );
    }
    text
}

/// What a node says once it is in.
pub(super) fn joined(view: &View, form: Form) -> String {
    match form {
        Form::Json => format!(
            "{}\n",
            json!({ "event": "joined", "id": view.me.to_string(), "mesh": view.mesh.to_string(), "name": view.name.to_string() })
        ),
        Form::Text => format!("{}.{} (node {}) has joined mesh {}\n", view.name, view.zone, view.me, view.mesh),
    }
}

/// What is other than what was shown, one line each.
pub(super) fn changes(shown: &mut Vec<Host>, view: &View, form: Form) -> String {
    let mut text = String::new();
    let mut line = |event: &str, host: &Host| match form {
        Form::Json => {
            let host = json!({ "event": event, "host": HostReport::from(host) });
            let _ = writeln!(text, "{host}");
        }
        Form::Text => {
            let taken = if host.holds_name { "" } else { " (another has the name)" };
            let _ = writeln!(text, "{event} {}.{} {}{taken}", host.name, view.zone, addresses(&host.addresses));
        }
    };
    for (change, host) in view.changes_since(shown) {
        let event = match change {
            Change::Here => "here",
            Change::Changed => "changed",
            Change::Gone => "gone",
        };
        line(event, host);
    }
    shown.clone_from(&view.hosts);
    text
}

fn addresses(addresses: &[IpAddr]) -> String {
    match addresses {
        [] => "-".into(),
        some => some.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(","),
    }
}

fn list(report: &ListReport) -> String {
    let mut text = String::new();
    if !report.joined {
        text.push_str("not in the mesh yet; this is what was known when the node ended last\n");
    }
    let width = report.hosts.iter().map(|host| host.name.len()).max().unwrap_or(0) + report.zone.len() + 1;
    for host in &report.hosts {
        let name = format!("{}.{}", host.name, report.zone);
        let mut marks = Vec::new();
        if host.me {
            marks.push("this node".to_string());
        }
        if host.role == "server" {
            marks.push("server".into());
        }
        if !host.holds_name {
            marks.push("another has the name".into());
        }
        let marks = if marks.is_empty() { String::new() } else { format!("  ({})", marks.join(", ")) };
        let _ = writeln!(text, "{name:width$}  {}  {}{marks}", host.id, addresses(&host.addresses));
    }
    text
}

fn status(report: &StatusReport) -> String {
    let yes = |yes| if yes { "yes" } else { "no" };
    let listen = report.listen.map_or_else(|| "-".into(), |listen| listen.to_string());
    let mut text = String::new();
    let _ = writeln!(text, "name       {}.{}", report.name, report.zone);
    let _ = writeln!(text, "node       {}", report.id);
    let _ = writeln!(text, "mesh       {}", report.mesh);
    let _ = writeln!(text, "in         {}", yes(report.joined));
    let _ = writeln!(text, "role       {}", report.role);
    let _ = writeln!(text, "steward    {}", yes(report.steward));
    let _ = writeln!(text, "listens at {listen}");
    let _ = writeln!(text, "addresses  {}", addresses(&report.addresses));
    let _ = writeln!(text, "hosts      {}", report.hosts);
    let _ = writeln!(text, "since      {}", timestamp(report.started));
    if let Some(holder) = &report.name_taken_by {
        let _ = writeln!(text, "the name is taken by node {holder}; choose another with --name");
    }
    text
}

/// The ticket alone, so that it can be handed on by a pipe; its number and end are in the list.
fn ticket(report: &TicketReport) -> String {
    format!("{}\n", report.ticket)
}

fn tickets(reports: &[TicketReport]) -> String {
    let mut text = String::new();
    for report in reports {
        let what = if report.watch { "watch" } else { "join" };
        let until = match report.revoked {
            Some(at) => format!("revoked {}", timestamp(at)),
            None => format!("expires {}", timestamp(report.expires)),
        };
        let _ = writeln!(text, "{}  {what}  {until}\n    {}", report.id, report.ticket);
    }
    text
}
