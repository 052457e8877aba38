//! The hook: a command of the operator's that learns this machine's addresses, as its peers see them.

use super::View;
use crate::link::command;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::watch;

/// Runs `words` when the node knows its addresses for the first time, and when they have changed; one after the other,
/// and of changes that come while it runs only the last. Ends with the node.
///
/// The command runs under /bin/sh for 30 s at the most. Its standard input is one line for people. It finds
/// `DYNDNS_EVENT`, which is `addresses`; `DYNDNS_NAME` and `DYNDNS_ZONE`, the node's; `DYNDNS_ADDRESSES`, all of them
/// separated by spaces; and `DYNDNS_IPV4` and `DYNDNS_IPV6`, the first of each kind, or nothing.
pub async fn hook(words: String, mut view: watch::Receiver<Arc<View>>) {
    let mut told: Vec<IpAddr> = Vec::new();
    loop {
        let now = Arc::clone(&view.borrow_and_update());
        // Before it is in, a node has the addresses of its last life, or none.
        if now.joined && !now.addresses.is_empty() && now.addresses != told {
            told.clone_from(&now.addresses);
            tell(&words, &now).await;
        }
        if view.changed().await.is_err() {
            return;
        }
    }
}

async fn tell(words: &str, view: &View) {
    let text = |addresses: &[&IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let all: Vec<&IpAddr> = view.addresses.iter().collect();
    let first = |v4: bool| text(all.iter().copied().find(|address| address.is_ipv4() == v4).as_slice());
    let (name, zone, addresses) = (view.name.to_string(), view.zone.to_string(), text(&all));
    let environment = [
        ("DYNDNS_EVENT", "addresses"),
        ("DYNDNS_NAME", &name),
        ("DYNDNS_ZONE", &zone),
        ("DYNDNS_ADDRESSES", &addresses),
        ("DYNDNS_IPV4", &first(true)),
        ("DYNDNS_IPV6", &first(false)),
    ];
    let line = format!("{name}.{zone} is now at {addresses}\n");
    match command::run(words, &environment, &line).await {
        Ok(_) => tracing::info!(%addresses, "hook run"),
        Err(fault) => tracing::warn!(%addresses, "the hook was not told of the addresses: {fault}"),
    }
}
