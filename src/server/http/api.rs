//! REST under `/api/v1`: zones, their records, their history. `openapi.json` says it for programs, and a test holds it
//! against the routes.
//!
//! A user sees the zones in which it may change something, as with transfers, and changes what its grants allow. Of
//! the history it sees what happened to the names at which it may change something.

use super::Rooms;
use super::change::{TTL, replacement};
use super::history::Event;
use super::json::{self, Failure, body, unusable};
use super::listing::{Wanted, sets};
use super::login::{Credentials, Visitor};
use super::parameters::pairs;
use super::source::Source;
use crate::clock::timestamp;
use crate::wire::{Name, Rtype, Ttl};
use crate::zone::text::{rdata_from_text, rdata_to_text};
use crate::zone::{KeyBuf, Record, Zone};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// How many zones, or names of a zone, a page has, unless asked otherwise, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;
/// How many commits a history has, unless asked otherwise.
const COMMITS: usize = 100;

/// What is served, in OpenAPI 3.1.
const OPENAPI: &str = include_str!("openapi.json");

/// Every path, and what answers there.
pub(super) fn routes() -> Vec<(&'static str, MethodRouter<Rooms>)> {
    vec![
        ("/api/v1/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI))),
        ("/api/v1/zones", get(zones)),
        ("/api/v1/zones/{zone}", get(zone)),
        ("/api/v1/zones/{zone}/records", get(records)),
        ("/api/v1/zones/{zone}/records/{name}/{type}", get(record_set).put(set_records).delete(delete_records)),
        ("/api/v1/zones/{zone}/history", get(history)),
    ]
}

impl FromRequestParts<Rooms> for Visitor {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, rooms: &Rooms) -> Result<Visitor, Failure> {
        let Ok(source) = Source::from_request_parts(parts, rooms).await;
        let credentials = Credentials::of(&parts.headers, parts.uri.query().unwrap_or_default());
        Ok(rooms.admit(credentials, source).await?)
    }
}

async fn zones(State(rooms): State<Rooms>, visitor: Visitor, request: Request) -> Result<Response, Failure> {
    let (mut after, mut max) = (None, PAGE);
    for (name, value) in pairs(request.uri().query().unwrap_or_default()) {
        match name {
            "after" => after = Some(Name::parse(&value).map_err(|error| unusable(format!("{value}: {error}")))?),
            "max" => max = number(&value, LONGEST_PAGE)?,
            _ => {}
        }
    }
    let after = after.as_ref().map(KeyBuf::new);
    let zones = rooms.visible_zones(&visitor);
    let mut zones =
        zones.iter().filter(|zone| after.as_ref().is_none_or(|after| zone.apex_key().as_bytes() > after.as_bytes()));
    let page: Vec<&Arc<Zone>> = zones.by_ref().take(max).collect();
    let next = page.last().filter(|_| zones.next().is_some()).map(|zone| zone.apex().to_string());
    let page: Vec<Value> = page.into_iter().map(|zone| summary(zone)).collect();
    Ok(json::answer(StatusCode::OK, &json!({ "zones": page, "next": next })))
}

async fn zone(State(rooms): State<Rooms>, visitor: Visitor, Path(zone): Path<String>) -> Result<Response, Failure> {
    Ok(json::answer(StatusCode::OK, &summary(&*rooms.visible(&visitor, &zone)?)))
}

async fn records(
    State(rooms): State<Rooms>,
    visitor: Visitor,
    Path(zone): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let zone = rooms.visible(&visitor, &zone)?;
    let mut wanted = Wanted { max: PAGE, ..Wanted::default() };
    for (name, value) in pairs(request.uri().query().unwrap_or_default()) {
        match name {
            "type" => wanted.types.push(value.parse().map_err(unusable)?),
            "after" => wanted.after = Some(Name::parse(&value).map_err(|error| unusable(format!("{value}: {error}")))?),
            "filter" => wanted.text = value.to_lowercase(),
            "max" => wanted.max = number(&value, LONGEST_PAGE)?,
            _ => {}
        }
    }
    let serial = zone.serial().0;
    let name = zone.apex().to_string();
    let page = rooms.list(zone, wanted).await?;
    let next = page.owners.last().filter(|_| page.more).map(|owner| owner.name.clone());
    let records: Vec<_> = page.owners.into_iter().flat_map(|owner| owner.sets).collect();
    Ok(json::answer(StatusCode::OK, &json!({ "zone": name, "serial": serial, "records": records, "next": next })))
}

/// One owner and one type of a zone.
struct Place {
    zone: Arc<Zone>,
    owner: Name,
    rtype: Rtype,
    /// The TTL of what is there.
    ttl: Option<u32>,
}

/// What the path of a set of records says.
type SetPath = Path<(String, String, String)>;

impl Place {
    fn new(rooms: &Rooms, visitor: &Visitor, Path((zone, name, rtype)): SetPath) -> Result<Place, Failure> {
        let zone = rooms.visible(visitor, &zone)?;
        let owner = Name::parse(&name).map_err(|error| unusable(format!("{name}: {error}")))?;
        let rtype: Rtype = rtype.parse().map_err(unusable)?;
        if rtype.is_meta() {
            return Err(unusable(format!("{rtype} is never data in a zone")));
        }
        let set = zone.node(KeyBuf::new(&owner).as_bytes()).and_then(|node| node.rrset(rtype));
        let ttl = set.map(|set| set.ttl.seconds());
        Ok(Place { zone, owner, rtype, ttl })
    }

    /// Makes the set hold exactly these.
    async fn change(
        self,
        rooms: &Rooms,
        visitor: Visitor,
        ttl: u32,
        rdatas: Vec<Box<[u8]>>,
    ) -> Result<Response, Failure> {
        let update = replacement(&self.zone, self.owner, self.rtype, ttl, rdatas)?;
        let applied = rooms.begin(visitor, update).await.conclude(rooms).await?;
        let changed = applied.from != Some(applied.to);
        Ok(json::answer(StatusCode::OK, &json!({ "serial": applied.to.0, "changed": changed })))
    }
}

async fn record_set(State(rooms): State<Rooms>, visitor: Visitor, path: SetPath) -> Result<Response, Failure> {
    let place = Place::new(&rooms, &visitor, path)?;
    let node = place.zone.node(KeyBuf::new(&place.owner).as_bytes());
    let set = node.and_then(|node| sets(&place.owner.to_string(), node, &[place.rtype]).pop());
    let missing = || Failure::new(StatusCode::NOT_FOUND, format!("{} has no {} records", place.owner, place.rtype));
    Ok(json::answer(StatusCode::OK, &set.ok_or_else(missing)?))
}

/// What a set is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    ttl: Option<u32>,
    values: Vec<String>,
}

async fn set_records(
    State(rooms): State<Rooms>,
    visitor: Visitor,
    path: SetPath,
    request: Request,
) -> Result<Response, Failure> {
    let place = Place::new(&rooms, &visitor, path)?;
    let (_, octets) = body(&rooms, request).await?;
    let written: Written = serde_json::from_slice(&octets)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("the body cannot be read: {error}")))?;
    if written.values.is_empty() {
        return Err(unusable("there are no values; to take the records away use DELETE".into()));
    }
    let ttl = written.ttl.or(place.ttl).unwrap_or(TTL);
    if ttl > Ttl::MAX.seconds() {
        return Err(unusable(format!("ttl {ttl} is over {}", Ttl::MAX.seconds())));
    }
    let rdata = |text: &String| rdata_from_text(place.rtype, text, Some(place.zone.apex())).map_err(unusable);
    let rdatas = written.values.iter().map(rdata).collect::<Result<_, _>>()?;
    place.change(&rooms, visitor, ttl, rdatas).await
}

async fn delete_records(State(rooms): State<Rooms>, visitor: Visitor, path: SetPath) -> Result<Response, Failure> {
    let place = Place::new(&rooms, &visitor, path)?;
    place.change(&rooms, visitor, 0, Vec::new()).await
}

async fn history(
    State(rooms): State<Rooms>,
    visitor: Visitor,
    Path(zone): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let zone = rooms.visible(&visitor, &zone)?;
    let (mut max, mut of) = (COMMITS, None);
    for (name, value) in pairs(request.uri().query().unwrap_or_default()) {
        match name {
            "max" => max = number(&value, super::history::COMMITS)?,
            "name" => of = Some(Name::parse(&value).map_err(|error| unusable(format!("{value}: {error}")))?),
            _ => {}
        }
    }
    let past = rooms.history(&zone, &rooms.sight(&visitor, zone.apex())).await?;
    let touches = |event: &&Event| of.is_none_or(|name| event.touches(&KeyBuf::new(&name)));
    let commits: Vec<Value> = past.events.iter().map(Arc::as_ref).filter(touches).take(max).map(commit).collect();
    Ok(json::answer(StatusCode::OK, &json!({ "zone": zone.apex().to_string(), "commits": commits })))
}

fn summary(zone: &Zone) -> Value {
    json!({ "name": zone.apex().to_string(), "serial": zone.serial().0, "names": zone.owners() })
}

fn commit(event: &Event) -> Value {
    let commit = &event.logged.commit;
    let records = |records: &[Record]| -> Vec<Value> {
        let record = |record: &Record| {
            json!({
                "name": record.owner.name().to_string(),
                "type": record.rtype.to_string(),
                "ttl": record.ttl.seconds(),
                "value": rdata_to_text(record.rtype, &record.rdata),
            })
        };
        records.iter().filter(|record| record.rtype != Rtype::SOA).map(record).collect()
    };
    json!({
        "sequence": event.logged.seq,
        "time": timestamp(commit.time),
        "kind": commit.kind.to_string(),
        "from": commit.from.map(|serial| serial.0),
        "to": commit.to.0,
        "actor": commit.actor.to_string(),
        "source": commit.source.map(|source| source.to_string()),
        "removed": records(&commit.changes.removed),
        "added": records(&commit.changes.added),
        "omitted": event.omitted,
    })
}

fn number(text: &str, most: usize) -> Result<usize, Failure> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| unusable(format!("max is {text}; write 1 to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Method;
    use std::collections::BTreeSet;

    /// Holds the description against the router itself, both ways.
    #[test]
    fn the_description_names_every_path_and_method_and_no_other() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut described = BTreeSet::new();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                described.insert((path.clone(), method.to_uppercase()));
            }
        }
        let mut routed = BTreeSet::new();
        for (path, answer) in routes() {
            // The router says of itself which methods it has.
            let debug = format!("{answer:?}");
            for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
                let field = format!("{}: ", method.as_str().to_lowercase());
                let there = debug.split(&field).nth(1).is_some_and(|rest| !rest.starts_with("None"));
                if there {
                    routed.insert((path.to_string(), method.to_string()));
                }
            }
        }
        assert_eq!(described, routed);
    }
}
