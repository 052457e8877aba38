//! The page for people: hosts with their addresses, when they changed last, and what happened to one of them.
//!
//! Written whole on the server, so it needs no JavaScript; it has none. It shows the zones in which the user may change
//! something, of their history what happened to the names at which it may, and changes nothing. "Age" is the time since the newest change of the host among the newest
//! [`super::history::COMMITS`] of its zone; what changed before that is older than the oldest of them.

use super::Rooms;
use super::history::{Event, Past, Sight, ZONES, is_of};
use super::json::Failure;
use super::listing::{Owner, Wanted};
use super::login::Visitor;
use super::parameters::pairs;
use crate::clock::timestamp;
use crate::store::Commit;
use crate::wire::{Name, Rtype};
use crate::zone::text::rdata_to_text;
use crate::zone::{Key, KeyBuf, Record, Zone};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How many hosts a page has; a zone without any counts as one.
const HOSTS: usize = 100;
/// How long the hosts wait for the histories of their zones.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many changes of a host are shown.
const CHANGES: usize = 100;

const STYLE: &str = include_str!("page.css");

/// How the page looks.
pub(super) async fn style() -> Response {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=3600")], STYLE).into_response()
}

/// `/`: the hosts.
pub(super) async fn hosts(State(rooms): State<Rooms>, request: Request) -> Response {
    answer(hosts_page(&rooms, request).await)
}

/// `/host/NAME`: what happened to one.
pub(super) async fn host(State(rooms): State<Rooms>, path: Path<String>, request: Request) -> Response {
    answer(host_page(&rooms, path, request).await)
}

async fn visitor(rooms: &Rooms, request: Request) -> Result<(Visitor, String), Failure> {
    let (mut parts, _) = request.into_parts();
    let visitor = Visitor::from_request_parts(&mut parts, rooms).await?;
    Ok((visitor, parts.uri.query().unwrap_or_default().to_string()))
}

async fn hosts_page(rooms: &Rooms, request: Request) -> Result<String, Failure> {
    let (visitor, query) = visitor(rooms, request).await?;
    let (mut filter, mut begin, mut after, mut every) = (String::new(), None, None, false);
    for (name, value) in pairs(&query) {
        match name {
            "filter" => filter = value.trim().to_string(),
            "zone" => begin = Name::parse(&value).ok(),
            "after" => after = Name::parse(&value).ok(),
            "all" => every = value == "1",
            _ => {}
        }
    }
    let now = rooms.service.exchange.clock.now();
    let zones = rooms.visible_zones(&visitor);
    let mut main = form(&filter, every);
    // Pages go on through the zones in their order.
    let start = begin.and_then(|begin| zones.iter().position(|zone| *zone.apex() == begin));
    let (mut room, mut histories) = (HOSTS, ZONES);
    let (deadline, mut unread) = (Instant::now() + PATIENCE, false);
    for (at, zone) in zones.iter().enumerate().skip(start.unwrap_or(0)) {
        if room == 0 || histories == 0 {
            main.push_str(&more(&filter, every, zone.apex(), ""));
            break;
        }
        let types = if every { Vec::new() } else { vec![Rtype::A, Rtype::AAAA] };
        let after = after.filter(|_| start == Some(at));
        let wanted = Wanted { after, types, text: filter.to_lowercase(), max: room };
        let page = rooms.list(Arc::clone(zone), wanted).await?;
        // What was found before, or was filtered out, is not worth a heading.
        if page.owners.is_empty() && (after.is_some() || !filter.is_empty()) {
            continue;
        }
        // Nobody asks the writer about a zone of which nothing is shown.
        let sight = rooms.sight(&visitor, zone.apex());
        let past = match page.owners.is_empty() {
            true => None,
            // Once there is no more patience, what is known is at hand still.
            false => timeout_at(deadline, rooms.history(zone, &sight)).await.ok().and_then(Result::ok),
        };
        unread |= past.is_none() && !page.owners.is_empty();
        let past = past.unwrap_or_default();
        histories -= usize::from(!page.owners.is_empty());
        section(&mut main, zone, &page.owners, &Changes::new(&past, &sight), now);
        room = room.saturating_sub(page.owners.len().max(1));
        if let Some(last) = page.owners.last().filter(|_| page.more) {
            main.push_str(&more(&filter, every, zone.apex(), &last.name));
            break;
        }
    }
    if unread {
        main.push_str(
            "<p class=empty>What changed when is still being read for some zones; look again in a while.</p>",
        );
    }
    if zones.is_empty() {
        let user = Html(&visitor.user);
        let _ = write!(main, "<p class=empty>{user} may change nothing in any zone here, and so sees none.</p>");
    }
    Ok(page("Hosts", "", &main, &visitor))
}

async fn host_page(rooms: &Rooms, Path(host): Path<String>, request: Request) -> Result<String, Failure> {
    let (visitor, _) = visitor(rooms, request).await?;
    let missing = || Failure::new(StatusCode::NOT_FOUND, format!("{host} is in no zone that you see"));
    let owner = Name::parse(&host).map_err(|_| missing())?;
    let key = KeyBuf::new(&owner);
    let zone = rooms.service.exchange.published.view().zones.nearest(key.as_bytes()).cloned();
    let zone = zone.filter(|zone| rooms.knows(&visitor, zone.apex())).ok_or_else(missing)?;
    let now = rooms.service.exchange.clock.now();
    let sight = rooms.sight(&visitor, zone.apex());
    let past = rooms.history(&zone, &sight).await?;

    let mut main = String::new();
    let name = Html(&owner);
    let _ = write!(main, "<h1>{name}</h1>");
    let sets = zone.node(key.as_bytes()).map(|node| super::listing::sets(&owner.to_string(), node, &[]));
    match sets.filter(|sets| !sets.is_empty()) {
        None => main.push_str("<p class=empty>It has no records now.</p>"),
        Some(sets) => {
            main.push_str("<table class=records><thead><tr><th>Type<th>TTL<th>Value</thead><tbody>");
            for set in sets {
                for value in &set.values {
                    let (rtype, value) = (Html(&set.rtype), self::value(&set.rtype, value));
                    let _ = write!(main, "<tr><td>{rtype}<td class=number>{}<td class=value>{value}", set.ttl);
                }
            }
            main.push_str("</tbody></table>");
        }
    }
    main.push_str("<h2>History</h2>");
    let events: Vec<&Event> =
        past.events.iter().map(Arc::as_ref).filter(|event| event.touches(&key)).take(CHANGES).collect();
    if !sight.has(&Key::new(&owner)) {
        let _ =
            write!(main, "<p class=empty>{} may change nothing here, and so does not see it.</p>", Html(&visitor.user));
    } else if events.is_empty() {
        main.push_str("<p class=empty>No change of it is among the newest of its zone.</p>");
    }
    main.push_str("<ol class=history>");
    for event in events {
        change(&mut main, event, &key, now);
    }
    main.push_str("</ol>");
    Ok(page(&owner.to_string(), "<a href=\"/\">Hosts</a>", &main, &visitor))
}

/// The form that filters.
fn form(filter: &str, every: bool) -> String {
    let checked = if every { " checked" } else { "" };
    format!(
        "<h1>Hosts</h1><form role=search><label for=filter>Filter</label>\
         <input type=search id=filter name=filter value=\"{}\" placeholder=\"name or address\" autocomplete=off>\
         <button>Show</button>\
         <label class=check><input type=checkbox name=all value=1{checked}> all types</label></form>",
        Html(filter)
    )
}

/// The link to the next page, which begins in this zone, after this host.
fn more(filter: &str, every: bool, zone: &Name, after: &str) -> String {
    let all = if every { "&amp;all=1" } else { "" };
    let (filter, zone, after) = (escape_url(filter), escape_url(&zone.to_string()), escape_url(after));
    let next = format!("/?filter={filter}{all}&amp;zone={zone}&amp;after={after}");
    format!("<p class=next><a href=\"{next}\" rel=next>More hosts</a></p>")
}

/// A zone and its hosts.
fn section(main: &mut String, zone: &Zone, owners: &[Owner], changes: &Changes<'_>, now: u64) {
    let _ = write!(
        main,
        "<section><h2>{} <small>serial {}, {} names</small></h2>",
        Html(zone.apex()),
        zone.serial(),
        zone.owners()
    );
    if owners.is_empty() {
        main.push_str("<p class=empty>No host here has an address.</p></section>");
        return;
    }
    main.push_str("<table class=hosts><thead><tr><th>Host<th>Address<th>Changed<th>By</thead><tbody>");
    for owner in owners {
        let name = Html(&owner.name);
        let link = escape_url(&owner.name);
        let _ = write!(main, "<tr><td class=host><a href=\"/host/{link}\">{name}</a><td class=value>");
        for set in &owner.sets {
            for value in &set.values {
                let address = matches!(set.rtype.as_str(), "A" | "AAAA");
                let rtype = if address { String::new() } else { format!("<b>{}</b> ", Html(&set.rtype)) };
                let _ = write!(main, "<div>{rtype}{}</div>", self::value(&set.rtype, value));
            }
        }
        match changes.of(&owner.key) {
            Some(commit) => {
                let (age, actor) = (age(now, commit.time), who(commit));
                let time = timestamp(commit.time);
                let source =
                    commit.source.map(|source| format!(" <span class=source>from {source}</span>")).unwrap_or_default();
                let _ = write!(
                    main,
                    "<td class=age><time datetime={time} title={time}>{age} ago</time><td class=by>{actor}{source}"
                );
            }
            None => {
                let oldest = changes.oldest.filter(|_| changes.sight.has(&owner.key));
                let before = oldest.map(|oldest| format!("<td class=age>over {} ago<td>", age(now, oldest)));
                main.push_str(before.as_deref().unwrap_or("<td><td>"));
            }
        }
    }
    main.push_str("</tbody></table></section>");
}

/// One change of a host: what of it went and came.
fn change(main: &mut String, event: &Event, key: &KeyBuf, now: u64) {
    let commit = &event.logged.commit;
    let (time, age) = (timestamp(commit.time), age(now, commit.time));
    let actor = who(commit);
    let source = commit.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let from = commit.from.map_or_else(String::new, |from| format!("{from} → "));
    let _ = write!(
        main,
        "<li><p><time datetime={time}>{}</time> <span class=age>{age} ago</span></p>\
         <p class=who>{actor}{source}, serial {from}{}</p><ul>",
        time.replace('T', " ").replace('Z', " UTC"),
        commit.to
    );
    for (class, sign, records) in [("gone", '−', &commit.changes.removed), ("come", '+', &commit.changes.added)] {
        for record in records.iter().filter(|record| is_of(record, key)) {
            let Record { rtype, ttl, rdata, .. } = record;
            let data = value(&rtype.to_string(), &rdata_to_text(*rtype, rdata));
            let _ = write!(main, "<li class={class}>{sign} {rtype} {data} <small>TTL {ttl}</small>");
        }
    }
    main.push_str("</ul>");
}

/// Who made a change, in words for people.
fn who(commit: &Commit) -> String {
    let actor = commit.actor.to_string();
    Html(actor.trim_end_matches('.')).to_string()
}

/// Data as it stands on the page; a long address may be broken behind each of its colons.
fn value(rtype: &str, text: &str) -> String {
    let text = Html(text).to_string();
    if rtype == "AAAA" { text.replace(':', ":<wbr>") } else { text }
}

/// The newest change of each owner.
struct Changes<'e> {
    newest: HashMap<&'e Key, &'e Commit>,
    oldest: Option<u64>,
    /// Of which owners they are.
    sight: &'e Sight,
}

impl<'e> Changes<'e> {
    fn new(past: &'e Past, sight: &'e Sight) -> Changes<'e> {
        let mut newest = HashMap::new();
        for event in past.events.iter() {
            let commit = &event.logged.commit;
            for record in event.records() {
                newest.entry(&record.owner).or_insert(commit);
            }
        }
        Changes { newest, oldest: past.oldest, sight }
    }

    fn of(&self, owner: &Key) -> Option<&'e Commit> {
        self.newest.get(owner).copied()
    }
}

/// How long ago, roughly.
fn age(now: u64, then: u64) -> String {
    let seconds = now.saturating_sub(then);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The whole page around `main`.
fn page(title: &str, back: &str, main: &str, visitor: &Visitor) -> String {
    let (title, user, source) = (Html(title), Html(&visitor.user), visitor.source);
    format!(
        "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>{title} - dyndns</title>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\"><meta name=color-scheme content=\"light dark\">\
         <link rel=stylesheet href=/style.css></head>\
         <body><header><nav><strong>dyndns</strong> {back}</nav><span>{user} from {source}</span></header>\
         <main>{main}</main></body></html>\n"
    )
}

fn answer(page: Result<String, Failure>) -> Response {
    let (status, text, header) = match page {
        Ok(text) => (StatusCode::OK, text, None),
        Err(failure) => {
            let text = format!(
                "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><title>dyndns</title>\
                 <meta name=viewport content=\"width=device-width, initial-scale=1\">\
                 <meta name=color-scheme content=\"light dark\"><link rel=stylesheet href=/style.css></head>\
                 <body><main><h1>Not here</h1><p>{}</p></main></body></html>\n",
                Html(&failure.error)
            );
            (failure.status, text, failure.header)
        }
    };
    let mut headers = HeaderMap::new();
    let mut set = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
    set(CONTENT_TYPE, "text/html; charset=utf-8");
    // The page has one style sheet, one form, and nothing else: whatever a record's text tries, it runs nowhere.
    set(
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    );
    set(REFERRER_POLICY, "no-referrer");
    headers.extend(header.map(|(name, value)| (Some(name), value)));
    (status, headers, text).into_response()
}

/// Text as it may stand in HTML and in its quoted attributes.
struct Html<T>(T);

impl<T: fmt::Display> fmt::Display for Html<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        for letter in text.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

/// Text as it may stand in a path or a query (RFC 3986 section 2.3).
fn escape_url(text: &str) -> String {
    let mut escaped = String::new();
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(char::from(octet)),
            octet => {
                let _ = write!(escaped, "%{octet:02X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_records_hold_is_text_and_never_markup() {
        assert_eq!(Html("<b a='1' c=\"2\">&").to_string(), "&lt;b a=&#39;1&#39; c=&quot;2&quot;&gt;&amp;");
        assert_eq!(escape_url("a\\040b.example/?&\"ü"), "a%5C040b.example%2F%3F%26%22%C3%BC");
    }

    #[test]
    fn ages_are_round() {
        let ages = [0, 59, 60, 3599, 3600, 172_799, 172_800].map(|then| age(1_000_000, 1_000_000 - then));
        assert_eq!(ages, ["0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 days"]);
        assert_eq!(age(5, 9), "0 s");
    }
}
