//! Amazon Route 53: hosts are kept in hosted zones there, by its API and the usual chain of AWS credentials.
//!
//! What is held is read by the API, for that is what a change is applied to. All changes of a zone go in one batch of
//! UPSERTs, carried out whole or not at all, so the old address is never gone before the new one is in; GetChange tells
//! when every name server has it.

use super::Fault;
use super::target::{Blame, Trouble};
use crate::agent::plan::{Change, Held};
use crate::wire::{Name, Ttl};
use aws_config::BehaviorVersion;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_route53::Client;
use aws_sdk_route53::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_route53::types::{
    Change as Edit, ChangeAction, ChangeBatch, ChangeStatus, ResourceRecord, ResourceRecordSet, RrType,
};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// An account as the operator tells it.
#[derive(Clone)]
pub struct Account {
    /// The zone; without it, the nearest above a host.
    pub zone: Option<Name>,
    /// Its id, where several zones have the same name, or where the key may not list them.
    pub zone_id: Option<String>,
    /// The TTL of what is written, where the operator says it.
    pub ttl: Option<Ttl>,
    /// Where the API is, where that is not Amazon's own place.
    pub endpoint: Option<String>,
    /// When to look whether a change is everywhere, counted from the change.
    pub verify_after: Vec<Duration>,
    /// Made at the first use; it keeps the credentials as long as they hold.
    client: Arc<OnceCell<Client>>,
}

/// A hosted zone at work.
#[derive(Debug)]
pub struct Target {
    client: Client,
    id: String,
    /// The name, where it is known.
    zone: Option<Name>,
    ttl: Option<Ttl>,
    verify_after: Vec<Duration>,
}

/// The number of a change.
#[derive(Debug)]
pub struct Receipt {
    change: String,
    done: bool,
}

/// The TTL of what is written, where the operator does not say it.
const TTL: Ttl = Ttl::new(30);
/// How long one request may take, and how long all that are made where one fails.
const ATTEMPT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(25);
/// How many record sets are read for a host: those of its own name come first, A before AAAA and CNAME.
const OF_A_NAME: i32 = 20;

impl Account {
    /// An account; nothing is asked yet.
    pub fn new(
        zone: Option<Name>,
        zone_id: Option<String>,
        ttl: Option<Ttl>,
        endpoint: Option<String>,
        verify_after: Vec<Duration>,
    ) -> Account {
        Account { zone, zone_id, ttl, endpoint, verify_after, client: Arc::new(OnceCell::new()) }
    }

    async fn client(&self) -> &Client {
        let make = || async {
            let https = aws_smithy_http_client::Builder::new();
            let https = https.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
            // Route 53 is one for all regions; the signature still names one, and the environment or the profile may
            // know a place with a Route 53 of its own.
            let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .or_else("us-east-1");
            // Amazon's own defaults would wait for an answer for ever.
            let patience = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(PATIENCE);
            let loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https).region(region);
            let loader = loader.timeout_config(patience.build());
            let shared = loader.load().await;
            let mut config = aws_sdk_route53::config::Builder::from(&shared);
            config.set_endpoint_url(self.endpoint.clone().or_else(|| shared.endpoint_url().map(String::from)));
            Client::from_conf(config.build())
        };
        self.client.get_or_init(make).await
    }

    /// Finds the hosted zone of a host.
    pub async fn open(&self, host: &Name) -> Result<Target, Fault> {
        let client = self.client().await.clone();
        let (ttl, verify_after) = (self.ttl, self.verify_after.clone());
        let target =
            |id: String, zone| Target { client: client.clone(), id, zone, ttl, verify_after: verify_after.clone() };
        if let Some(id) = &self.zone_id {
            return Ok(target(id.clone(), self.zone));
        }
        let mut next = Some(self.zone.unwrap_or(*host));
        while let Some(name) = next.filter(|name| !name.is_root()) {
            let asked = client.list_hosted_zones_by_name().dns_name(format!("{name:#}")).max_items(10).send().await;
            let answer = asked.map_err(|error| cannot(format!("find the zone of {host}"), &error))?;
            let mut same = answer.hosted_zones().iter().filter(|zone| {
                let private = zone.config().is_some_and(|config| config.private_zone());
                !private && Name::parse(zone.name()).is_ok_and(|zone| zone == name)
            });
            match (same.next(), same.next()) {
                (Some(zone), None) => return Ok(target(zone.id().to_string(), Some(name))),
                (Some(_), Some(_)) => {
                    return Err(Fault(format!("route53 has several zones {name}; write the zone-id of the right one")));
                }
                _ => next = if self.zone.is_some() { None } else { name.parent() },
            }
        }
        Err(Fault(format!("route53 has no public zone around {host}; make it there, or use the keys of its account")))
    }
}

impl Target {
    /// What identifies the zone.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is held for each host, in their order.
    pub async fn current(&self, hosts: &[Name]) -> Result<Vec<Held>, Trouble> {
        let mut all = Vec::with_capacity(hosts.len());
        for host in hosts {
            let asked = self.client.list_resource_record_sets().hosted_zone_id(&self.id);
            let asked = asked.start_record_name(format!("{host:#}")).start_record_type(RrType::A).max_items(OF_A_NAME);
            let answer = asked.send().await.map_err(|error| cannot(format!("read {host}"), &error))?;
            let mut held = Held::default();
            for set in answer.resource_record_sets().iter().filter(|set| is_of(set, host)) {
                let addresses = addresses(set, host).map_err(|fault| Trouble { fault, blame: Blame::Hosts });
                let addresses = addresses?;
                if self.ttl.is_some_and(|wanted| set.ttl() != Some(wanted.seconds().into())) {
                    held.other_ttl.extend(&addresses);
                }
                held.addresses.extend(addresses);
            }
            all.push(held);
        }
        Ok(all)
    }

    /// Writes all changes as one batch.
    pub async fn write(&self, changes: Vec<Change>) -> Result<Receipt, Trouble> {
        let build = |error: aws_sdk_route53::error::BuildError| Fault(format!("cannot ask route53: {error}"));
        let mut batch = ChangeBatch::builder().comment("dyndns");
        for Change { name, address } in &changes {
            let rtype = if address.is_ipv4() { RrType::A } else { RrType::Aaaa };
            let record = ResourceRecord::builder().value(address.to_string()).build().map_err(build)?;
            let set = ResourceRecordSet::builder().name(format!("{name:#}")).r#type(rtype);
            let set =
                set.ttl(self.ttl.unwrap_or(TTL).seconds().into()).resource_records(record).build().map_err(build)?;
            let edit = Edit::builder().action(ChangeAction::Upsert).resource_record_set(set).build().map_err(build)?;
            batch = batch.changes(edit);
        }
        let batch = batch.build().map_err(build)?;
        let asked = self.client.change_resource_record_sets().hosted_zone_id(&self.id).change_batch(batch).send().await;
        let answer = asked.map_err(|error| {
            // Rights may be of single names, and a batch is whole or not at all.
            let of_hosts =
                matches!(error.code(), Some("AccessDenied" | "AccessDeniedException" | "InvalidChangeBatch"));
            let blame = if of_hosts { Blame::Hosts } else { Blame::Target };
            Trouble { fault: cannot(format!("update {self}"), &error), blame }
        })?;
        let info = answer.change_info().ok_or_else(|| Fault::new("route53 took the change and gave it no number"))?;
        Ok(Receipt { change: info.id().to_string(), done: *info.status() == ChangeStatus::Insync })
    }

    /// Waits until every name server has it.
    pub async fn verify(&self, receipt: &Receipt) -> Result<(), Fault> {
        let mut waited = Duration::ZERO;
        let mut done = receipt.done;
        for after in &self.verify_after {
            if done {
                break;
            }
            tokio::time::sleep(after.saturating_sub(waited)).await;
            waited = *after;
            let asked = self.client.get_change().id(&receipt.change).send().await;
            let answer = asked.map_err(|error| cannot(format!("look after change {}", receipt.change), &error))?;
            done = answer.change_info().is_some_and(|info| *info.status() == ChangeStatus::Insync);
        }
        let late = || Fault(format!("route53 has taken change {} and not brought it everywhere yet", receipt.change));
        if done { Ok(()) } else { Err(late()) }
    }
}

/// Whether a record set is the addresses of this host.
fn is_of(set: &ResourceRecordSet, host: &Name) -> bool {
    let named = Name::parse(set.name()).is_ok_and(|name| name == *host);
    named && matches!(set.r#type(), RrType::A | RrType::Aaaa | RrType::Cname)
}

fn addresses(set: &ResourceRecordSet, host: &Name) -> Result<Vec<IpAddr>, Fault> {
    if *set.r#type() == RrType::Cname || set.alias_target().is_some() {
        return Err(Fault(format!(
            "cannot update {host} at route53: it is an alias; update the name that it points to"
        )));
    }
    if set.set_identifier().is_some() {
        return Err(Fault(format!(
            "cannot update {host} at route53: it has a routing policy; make it a simple record"
        )));
    }
    // What is no address is written over.
    Ok(set.resource_records().iter().filter_map(|record| record.value().parse().ok()).collect())
}

/// Amazon's own words: a code and a message, or why nobody was reached, or had no right to ask.
fn cannot<E, R>(attempted: String, error: &SdkError<E, R>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: fmt::Debug,
{
    let what = match (error.code(), error.message()) {
        (Some(code), message) => format!("{code}: {}", message.unwrap_or_default()),
        (None, _) => {
            let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            format!("{error}: {}", causes.join(": "))
        }
    };
    let remedy = match error.code() {
        Some("AccessDenied" | "AccessDeniedException") => "; give the key the rights of the README",
        Some("InvalidClientTokenId" | "SignatureDoesNotMatch" | "ExpiredToken") => "; check the AWS credentials",
        // The last place that was looked at is told, and that is a machine at Amazon.
        None if what.contains("credential") => "; give the agent AWS credentials, as the README says",
        _ => "",
    };
    Fault(format!("cannot {attempted} at route53: {what}{remedy}"))
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("zone", &self.zone).field("zone_id", &self.zone_id).finish_non_exhaustive()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "zone {zone} at route53"),
            None => write!(f, "zone {} at route53", self.id),
        }
    }
}
