//! Brings the names that the node knows into the zones.

use super::held::HeldFile;
use crate::clock::Clock;
use crate::config::MeshConfig;
use crate::link::mesh::View;
use crate::mesh::names::{Data, Leased, Named, Plan, records};
use crate::server::writer::{Queue, Request};
use crate::update::Refusal;
use crate::wire::{Name, Rtype};
use crate::zone::Key;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// The names of one mesh in the zones of this server.
pub(super) struct Names {
    zone: Name,
    reverse: Vec<Name>,
    node: String,
    file: HeldFile,
    queue: Queue,
    clock: Clock,
    /// The records that the mesh made.
    ours: Vec<Leased>,
    /// What the file says.
    written: Vec<Leased>,
    /// The names of which the operator was told that somebody else has them.
    told: BTreeSet<String>,
}

/// So often the names are brought in even where the node says nothing new: leases are renewed, and what somebody took
/// away comes back.
const RENEW: Duration = Duration::from_secs(60);
/// Changes that come together are made together.
const TOGETHER: Duration = Duration::from_millis(250);

impl Names {
    pub(super) fn new(config: &MeshConfig, file: HeldFile, queue: Queue, clock: Clock) -> Names {
        let ours = file.read();
        Names {
            zone: config.zone,
            reverse: config.reverse.clone(),
            node: config.node.name.to_string(),
            file,
            queue,
            clock,
            written: ours.clone(),
            ours,
            told: BTreeSet::new(),
        }
    }

    /// Follows the node. Where it ends by itself the names go at once; where the server ends they stay, each until its
    /// lease is over, for a restart is soon done.
    pub(super) async fn keep(mut self, mut view: watch::Receiver<Arc<View>>, mut stopped: watch::Receiver<bool>) {
        loop {
            let now = Arc::clone(&view.borrow_and_update());
            let wanted = self.wanted(&now);
            self.bring(wanted).await;
            let told = tokio::select! {
                biased;
                _ = stopped.changed() => return,
                told = tokio::time::timeout(RENEW, view.changed()) => told,
            };
            if matches!(told, Ok(Err(_))) {
                break self.bring(Vec::new()).await;
            }
            tokio::select! {
                _ = stopped.changed() => return,
                () = tokio::time::sleep(TOGETHER) => {}
            }
        }
    }

    fn wanted(&self, view: &View) -> Vec<Leased> {
        let now = self.clock.now();
        let hosts = view.hosts.iter().filter(|host| host.holds_name).map(|host| Named {
            name: host.name.clone(),
            addresses: host.addresses.clone(),
            until: now.saturating_add(host.lease.into()),
        });
        records(&self.zone, &self.reverse, &hosts.collect::<Vec<_>>())
    }

    async fn bring(&mut self, wanted: Vec<Leased>) {
        let mut both = wanted.clone();
        let is_wanted = |old: &&Leased| wanted.binary_search_by(|new| key(new).cmp(&key(old))).is_ok();
        both.extend(self.ours.iter().filter(|old| !is_wanted(old)).cloned());
        self.write(both).await;
        let (reply, outcome) = oneshot::channel();
        let request = Request::Names { node: self.node.clone(), ours: self.ours.clone(), wanted, reply };
        let _ = self.queue.send(request).await;
        match outcome.await.unwrap_or(Err(Refusal::Storage)) {
            Ok(plan) => {
                self.tell(&plan);
                self.ours.clone_from(&plan.held);
                self.write(plan.held).await;
            }
            Err(refusal) => tracing::warn!("the mesh's names are not stored: {refusal}; it is tried again in a minute"),
        }
    }

    /// Writes down which records are the mesh's, where that is worth a write: not for a lease that has half its time.
    async fn write(&mut self, records: Vec<Leased>) {
        let now = self.clock.now();
        let fresh = |new: &Leased, old: &Leased| {
            key(new) == key(old) && old.until.saturating_sub(now) >= new.until.saturating_sub(now) / 2
        };
        let (mut records, written) = (records, &self.written);
        records.sort();
        if records.len() == written.len() && records.iter().zip(written).all(|(new, old)| fresh(new, old)) {
            return;
        }
        let (file, lines) = (self.file.clone(), records.clone());
        let _ = tokio::task::spawn_blocking(move || file.write(&lines)).await;
        self.written = records;
    }

    fn tell(&mut self, plan: &Plan) {
        log(plan);
        let taken: BTreeSet<String> = plan.taken.iter().map(Name::to_string).collect();
        for name in taken.difference(&self.told) {
            tracing::warn!(
                %name,
                "the mesh does not write this name, for somebody else gave it records; take these away, or call the host otherwise"
            );
        }
        self.told = taken;
    }
}

/// Takes away all that the file knows of.
pub(super) async fn sweep(file: HeldFile, queue: &Queue) {
    let ours = file.read();
    if ours.is_empty() {
        return;
    }
    let (reply, outcome) = oneshot::channel();
    let _ = queue.send(Request::Names { node: "none".to_string(), ours, wanted: Vec::new(), reply }).await;
    match outcome.await.unwrap_or(Err(Refusal::Storage)) {
        Ok(plan) => {
            log(&plan);
            file.write(&[]);
        }
        Err(refusal) => tracing::warn!("the names of the mesh that was left are still there: {refusal}"),
    }
}

fn log(plan: &Plan) {
    for (zone, changes) in &plan.changes {
        let count =
            |records: &[crate::zone::Record]| records.iter().filter(|record| record.rtype != Rtype::SOA).count();
        let (added, removed) = (count(&changes.added), count(&changes.removed));
        tracing::info!(%zone, added, removed, "names of the mesh changed");
    }
}

/// Two leases with the same are of one record.
fn key(lease: &Leased) -> (&Key, &Data) {
    (&lease.owner, &lease.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::mesh::Host;
    use crate::mesh::{Label, NodeId, Role};
    use crate::query::View as Answers;
    use crate::server::publish::Published;
    use crate::server::writer::Writer;
    use crate::store::{Actor, MemoryStore};
    use crate::update::policy::Rights;
    use crate::zone::{KeyBuf, Zone, seed};
    use std::net::IpAddr;

    /// A server of mesh.test and 10.in-addr.arpa.
    struct Bench {
        store: MemoryStore,
        published: Arc<Published>,
        queue: Queue,
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let (store, published) = (MemoryStore::new(), Arc::new(Published::default()));
            let mut view = Answers::default();
            for apex in ["mesh.test", "10.in-addr.arpa"].map(|text| Name::parse(text).unwrap()) {
                view.zones.insert(Arc::new(Zone::new(&apex, seed(&apex).unwrap()).unwrap()));
            }
            let writer =
                Writer::new(store.clone(), Arc::clone(&published), view, Rights::new(), Clock::manual(1_800_000_000));
            let (queue, _) = writer.start().unwrap();
            Bench { store, published, queue, folder: tempfile::tempdir().unwrap() }
        }

        fn names(&self) -> Names {
            let file = HeldFile::new(self.folder.path());
            let ours = file.read();
            Names {
                zone: Name::parse("mesh.test").unwrap(),
                reverse: vec![Name::parse("10.in-addr.arpa").unwrap()],
                node: "nas".into(),
                file,
                queue: self.queue.clone(),
                clock: Clock::manual(1_800_000_000),
                written: ours.clone(),
                ours,
                told: BTreeSet::new(),
            }
        }

        fn addresses(&self, owner: &str) -> Vec<IpAddr> {
            let key = KeyBuf::new(&Name::parse(owner).unwrap());
            let view = self.published.view();
            let zone = view.zones.nearest(key.as_bytes()).unwrap();
            let rrset = zone.node(key.as_bytes()).and_then(|node| node.rrset(Rtype::A));
            let address = |rdata: &[u8]| IpAddr::from(<[u8; 4]>::try_from(rdata).unwrap());
            rrset.map_or(Vec::new(), |rrset| rrset.rdatas().map(address).collect())
        }
    }

    fn view(hosts: &[(&str, &str)]) -> Arc<View> {
        let hosts = hosts.iter().map(|(name, address)| Host {
            id: NodeId([1; 32]),
            name: Label::new(name).unwrap(),
            addresses: vec![address.parse().unwrap()],
            port: 5399,
            holds_name: true,
            lease: 7200,
            issued: 1_800_000_000,
            since: 1_800_000_000,
            role: Role::Member,
            me: false,
        });
        Arc::new(View {
            me: NodeId([1; 32]),
            name: Label::new("nas").unwrap(),
            mesh: NodeId([2; 32]),
            zone: Name::parse("mesh.test").unwrap(),
            joined: true,
            addresses: Vec::new(),
            name_taken_by: None,
            hosts: hosts.collect(),
        })
    }

    #[tokio::test]
    async fn names_follow_the_node_and_go_with_it_but_stay_for_a_restart() {
        let bench = Bench::new();
        let (sender, receiver) = watch::channel(view(&[("nas", "10.0.0.1"), ("pc", "10.0.0.2")]));
        let (stop, stopped) = watch::channel(false);
        let keeping = tokio::spawn(bench.names().keep(receiver, stopped));
        let until = async |what: &dyn Fn() -> bool| {
            while !what() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        until(&|| bench.addresses("pc.mesh.test") == ["10.0.0.2".parse::<IpAddr>().unwrap()]).await;
        sender.send(view(&[("nas", "10.0.0.9")])).unwrap();
        until(&|| bench.addresses("nas.mesh.test") == ["10.0.0.9".parse::<IpAddr>().unwrap()]).await;
        assert!(bench.addresses("pc.mesh.test").is_empty());
        assert!(bench.store.commits().iter().all(|commit| commit.actor == Actor::Mesh("nas".into())));
        // The server ends: its names stay, and are its own after the restart.
        stop.send(true).unwrap();
        keeping.await.unwrap();
        drop(sender);
        assert_eq!(bench.addresses("nas.mesh.test").len(), 1);
        let (sender, receiver) = watch::channel(view(&[("nas", "10.0.0.7")]));
        let (_stop, stopped) = watch::channel(false);
        let keeping = tokio::spawn(bench.names().keep(receiver, stopped));
        until(&|| bench.addresses("nas.mesh.test") == ["10.0.0.7".parse::<IpAddr>().unwrap()]).await;
        // The node is no member any more.
        drop(sender);
        keeping.await.unwrap();
        assert!(bench.addresses("nas.mesh.test").is_empty() && bench.names().ours.is_empty());
    }

    #[tokio::test]
    async fn where_no_mesh_is_configured_any_more_its_names_go_at_the_start() {
        let bench = Bench::new();
        let mut names = bench.names();
        names.bring(names.wanted(&view(&[("nas", "10.0.0.1")]))).await;
        assert_eq!((bench.addresses("nas.mesh.test").len(), bench.names().ours.len()), (1, 2));
        sweep(HeldFile::new(bench.folder.path()), &bench.queue).await;
        assert!(bench.addresses("nas.mesh.test").is_empty() && bench.names().ours.is_empty());
    }

    #[tokio::test]
    async fn a_lease_is_written_down_again_when_half_of_it_is_over() {
        let bench = Bench::new();
        let mut names = bench.names();
        let wanted = names.wanted(&view(&[("nas", "10.0.0.1")]));
        names.bring(wanted).await;
        let until = |names: &Names| names.file.read()[0].until;
        let first = until(&names);
        for (later, written) in [(3599, first), (3602, first + 3602)] {
            names.clock = Clock::manual(1_800_000_000 + later);
            let wanted = names.wanted(&view(&[("nas", "10.0.0.1")]));
            names.bring(wanted).await;
            assert_eq!(until(&names), written);
        }
        assert_eq!(bench.store.commits().len(), 2);
    }
}
