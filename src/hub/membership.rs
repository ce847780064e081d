//! Who is in the cluster, and what each node is to check.
//!
//! A service goes to every region it names, or to all. Within a region it goes to one live node, chosen by rendezvous
//! hashing: when a node is lost only its own share moves, and comes back with it. A region all of whose nodes are lost, or
//! see nothing themselves, is silent: it has no vote, and nobody takes that for a service being down.
//!
//! **Invariant.** What a node is to check is worked out from what is known now, as a whole, whenever any of it changes; a
//! node sees it as generations that only rise.

mod asking;
pub mod trying;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::aggregate::change::SilenceReason;
use crate::clock::Clock;
use crate::model::id::{NodeName, RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::wire::envelope::NodeStatus;
use crate::wire::link::{Assignment, Assignments, CheckNow, TryOut};

/// Round trips of which the fastest tells the offset of a node's clock.
const SAMPLES: usize = 8;

/// A service as it is given to nodes.
#[derive(Clone, Debug)]
pub struct Assignable {
    pub id: ServiceId,
    pub revision: u64,
    pub document: Arc<str>,
    pub enabled: bool,
    /// `None`: all regions.
    pub regions: Option<Vec<String>>,
}

pub type OnSilence = Box<dyn Fn(&RegionName, Option<SilenceReason>) + Send + Sync>;
pub type LastRound = Box<dyn Fn(ServiceId, &RegionName) -> Option<(NodeName, Timestamp)> + Send + Sync>;

/// What others do when something here changes.
pub struct Hooks {
    /// A region fell silent, or speaks again.
    pub silence: OnSilence,
    /// A node came, went, turned blind or sees again.
    pub node: Box<dyn Fn(NodeChange) + Send + Sync>,
    /// Who checked a service last in a region, and which round.
    pub last_round: LastRound,
}

/// One event for a node, whatever number of services it checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChange {
    pub node: NodeName,
    pub region: RegionName,
    pub what: NodeTurn,
    /// Why it is lost or blind.
    pub reason: Option<String>,
    pub at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTurn {
    Joined,
    Lost,
    Blind,
    Sees,
}

impl NodeTurn {
    pub fn name(self) -> &'static str {
        match self {
            NodeTurn::Joined => "joined",
            NodeTurn::Lost => "lost",
            NodeTurn::Blind => "blind",
            NodeTurn::Sees => "sees",
        }
    }
}

pub struct Membership {
    clock: Clock,
    hooks: Hooks,
    inner: Mutex<Inner>,
    /// Held while silence is found out and told: what is known later is told later.
    turn: Mutex<()>,
    sessions: AtomicU64,
}

struct Inner {
    generation: u64,
    services: Vec<Assignable>,
    nodes: BTreeMap<NodeName, Member>,
    silent: BTreeMap<RegionName, SilenceReason>,
}

struct Member {
    region: RegionName,
    /// `None` while it is not connected.
    live: Option<Live>,
    info: NodeInfo,
}

struct Live {
    session: u64,
    assignments: watch::Sender<Assignments>,
    requests: mpsc::Sender<CheckNow>,
    tries: mpsc::Sender<TryOut>,
    /// Ends the session with a reason.
    cut: watch::Sender<Option<String>>,
    /// (round trip µs, offset µs), the newest last.
    samples: Vec<(i64, i64)>,
}

/// What is known of a node, for those who look.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub region: String,
    pub connected: bool,
    /// In the hub's own process.
    pub local: bool,
    pub address: Option<String>,
    pub build: Option<String>,
    pub boot: Option<u64>,
    pub connected_since: Option<Timestamp>,
    pub lost_since: Option<Timestamp>,
    pub lost_reason: Option<String>,
    pub last_heard: Option<Timestamp>,
    pub sessions: u64,
    pub round_trip_us: Option<i64>,
    /// The node's clock minus the hub's.
    pub clock_offset_us: Option<i64>,
    /// The generation it was last sent.
    pub assigned_generation: u64,
    /// The services it was last sent.
    pub assigned_services: u64,
    pub status: Option<NodeStatus>,
    /// Checks a second between the last two statuses.
    pub checks_per_s: Option<f64>,
    status_at: Option<Duration>,
}

/// What a session is let in with.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub node: NodeName,
    pub region: RegionName,
    pub local: bool,
    pub address: Option<String>,
    pub build: Option<String>,
    pub boot: Option<u64>,
    /// The node's clock minus the hub's, as its first words tell: late by what they took to come.
    pub clock_offset_us: Option<i64>,
}

/// A session's own end of the membership.
#[derive(Debug)]
pub struct Seat {
    pub session: u64,
    pub assignments: watch::Receiver<Assignments>,
    pub requests: mpsc::Receiver<CheckNow>,
    pub tries: mpsc::Receiver<TryOut>,
    pub cut: watch::Receiver<Option<String>>,
}

impl Membership {
    pub fn new(clock: Clock, hooks: Hooks) -> Membership {
        // Above those of the hub's last life, as long as its clock does not go back.
        let generation = u64::try_from(clock.now().0 / 1000).unwrap_or(0);
        let inner = Inner { generation, services: Vec::new(), nodes: BTreeMap::new(), silent: BTreeMap::new() };
        Membership { clock, hooks, inner: Mutex::new(inner), turn: Mutex::default(), sessions: AtomicU64::new(1) }
    }

    /// Names a node that may come, so that its region is known to be silent until it does.
    pub fn expect(&self, node: NodeName, region: RegionName) {
        let mut inner = self.inner.lock().expect("no holder panics");
        let info = NodeInfo { region: region.to_string(), lost_reason: Some("not heard of yet".to_owned()), ..NodeInfo::default() };
        inner.nodes.entry(node).or_insert(Member { region, live: None, info });
        drop(inner);
        self.settle();
    }

    /// Takes a node in; one of the same name that is still here makes way.
    pub fn join(&self, arrival: Arrival) -> Seat {
        let session = self.sessions.fetch_add(1, Ordering::Relaxed);
        let (assignments, assigned) = watch::channel(Assignments::default());
        let (requests, asked) = mpsc::channel(1024);
        let (tries, tried) = mpsc::channel(trying::WAITING);
        let (cut, cut_off) = watch::channel(None);
        let mut inner = self.inner.lock().expect("no holder panics");
        let member = inner.nodes.entry(arrival.node.clone()).or_insert_with(|| Member {
            region: arrival.region.clone(),
            live: None,
            info: NodeInfo::default(),
        });
        if let Some(before) = member.live.take() {
            let _ = before.cut.send(Some("the node has connected anew".to_owned()));
        }
        member.region = arrival.region.clone();
        member.live = Some(Live { session, assignments, requests, tries, cut, samples: Vec::new() });
        member.info = NodeInfo {
            region: arrival.region.to_string(),
            connected: true,
            local: arrival.local,
            address: arrival.address,
            build: arrival.build,
            boot: arrival.boot,
            clock_offset_us: arrival.clock_offset_us,
            connected_since: Some(self.clock.now()),
            last_heard: Some(self.clock.now()),
            sessions: member.info.sessions + 1,
            // As it last was, until it says how it is: one that was blind is not believed for having connected.
            status: member.info.status.take(),
            ..NodeInfo::default()
        };
        inner.assign(&self.hooks);
        drop(inner);
        self.tell(&arrival.node, &arrival.region, NodeTurn::Joined, None);
        self.settle();
        Seat { session, assignments: assigned, requests: asked, tries: tried, cut: cut_off }
    }

    /// The session a node has now.
    pub fn session_of(&self, node: &NodeName) -> Option<u64> {
        Some(self.inner.lock().expect("no holder panics").nodes.get(node)?.live.as_ref()?.session)
    }

    /// A session ended. Its node's share goes to the others of its region.
    pub fn leave(&self, node: &NodeName, session: u64, reason: &str) {
        let mut inner = self.inner.lock().expect("no holder panics");
        let Some(member) = inner.nodes.get_mut(node) else { return };
        if member.live.as_ref().is_none_or(|live| live.session != session) {
            return;
        }
        member.live = None;
        member.info.connected = false;
        member.info.lost_since = Some(self.clock.now());
        member.info.lost_reason = Some(reason.to_owned());
        let region = member.region.clone();
        inner.assign(&self.hooks);
        drop(inner);
        self.tell(node, &region, NodeTurn::Lost, Some(reason.to_owned()));
        self.settle();
    }

    /// Ends a node's session and forgets the node: it was revoked.
    pub fn remove(&self, node: &NodeName, reason: &str) {
        let mut inner = self.inner.lock().expect("no holder panics");
        let Some(member) = inner.nodes.remove(node) else { return };
        let was_live = member.live.is_some();
        if let Some(live) = member.live {
            let _ = live.cut.send(Some(reason.to_owned()));
        }
        let region = (!inner.nodes.values().any(|other| other.region == member.region)).then_some(member.region.clone());
        inner.assign(&self.hooks);
        drop(inner);
        if was_live {
            self.tell(node, &member.region, NodeTurn::Lost, Some(reason.to_owned()));
        }
        self.settle();
        if let Some(region) = region {
            // Nobody speaks for it any more.
            (self.hooks.silence)(&region, Some(SilenceReason::Lost));
        }
    }

    /// Ends a node's session; it may come again.
    pub fn cut(&self, node: &NodeName, reason: &str) {
        let inner = self.inner.lock().expect("no holder panics");
        if let Some(live) = inner.nodes.get(node).and_then(|member| member.live.as_ref()) {
            let _ = live.cut.send(Some(reason.to_owned()));
        }
    }

    /// Ends all sessions: the hub ends.
    pub fn close(&self, reason: &str) {
        let inner = self.inner.lock().expect("no holder panics");
        for live in inner.nodes.values().filter_map(|member| member.live.as_ref()) {
            let _ = live.cut.send(Some(reason.to_owned()));
        }
    }

    /// The services as they now are.
    pub fn set_services(&self, services: Vec<Assignable>) {
        let mut inner = self.inner.lock().expect("no holder panics");
        inner.services = services;
        inner.assign(&self.hooks);
    }

    pub fn heard_pong(&self, node: &NodeName, session: u64, round_trip_us: i64, offset_us: i64) {
        let now = self.clock.now();
        self.with_live(node, session, |live, info| {
            if live.samples.len() == SAMPLES {
                live.samples.remove(0);
            }
            live.samples.push((round_trip_us, offset_us));
            let best = live.samples.iter().min().copied();
            info.round_trip_us = Some(round_trip_us);
            info.clock_offset_us = best.map(|(_, offset)| offset);
            info.last_heard = Some(now);
        });
    }

    pub fn heard_status(&self, node: &NodeName, session: u64, status: NodeStatus) {
        let (now, steady) = (self.clock.now(), self.clock.steady());
        let (mut turned, blind, mut region) = (false, status.blind.clone(), String::new());
        self.with_live(node, session, |_, info| {
            let blind = |status: &NodeStatus| status.blind.is_some();
            turned = info.status.as_ref().is_some_and(blind) != blind(&status);
            if let (Some(before), Some(at)) = (&info.status, info.status_at) {
                let span = steady.saturating_sub(at).as_secs_f64();
                info.checks_per_s = (span > 0.0).then(|| status.checks.saturating_sub(before.checks) as f64 / span);
            }
            info.status_at = Some(steady);
            region.clone_from(&info.region);
            info.last_heard = Some(now);
            info.status = Some(status);
        });
        if turned {
            let region = RegionName::from(region.as_str());
            match &blind {
                Some(reason) => warn!(node = %node, region = %region, reason, "node is blind"),
                None => info!(node = %node, region = %region, "node sees again"),
            }
            self.tell(node, &region, if blind.is_some() { NodeTurn::Blind } else { NodeTurn::Sees }, blind);
            self.inner.lock().expect("no holder panics").assign(&self.hooks);
            self.settle();
        }
    }

    /// The offset of a node's clock, microseconds, where it is known.
    pub fn clock_offset_us(&self, node: &NodeName) -> Option<i64> {
        self.inner.lock().expect("no holder panics").nodes.get(node)?.info.clock_offset_us
    }

    /// The regions known, with their nodes.
    pub fn nodes(&self) -> Vec<(NodeName, NodeInfo)> {
        let inner = self.inner.lock().expect("no holder panics");
        inner.nodes.iter().map(|(name, member)| (name.clone(), member.info.clone())).collect()
    }

    pub fn silent(&self) -> BTreeMap<RegionName, SilenceReason> {
        self.inner.lock().expect("no holder panics").silent.clone()
    }

    fn tell(&self, node: &NodeName, region: &RegionName, what: NodeTurn, reason: Option<String>) {
        (self.hooks.node)(NodeChange { node: node.clone(), region: region.clone(), what, reason, at: self.clock.now() });
    }

    fn with_live(&self, node: &NodeName, session: u64, work: impl FnOnce(&mut Live, &mut NodeInfo)) {
        let mut inner = self.inner.lock().expect("no holder panics");
        let Some(member) = inner.nodes.get_mut(node) else { return };
        let Some(live) = member.live.as_mut().filter(|live| live.session == session) else { return };
        work(live, &mut member.info);
    }

    /// Finds out which regions are silent, and tells of those that changed.
    fn settle(&self) {
        let _turn = self.turn.lock().expect("no holder panics");
        let mut inner = self.inner.lock().expect("no holder panics");
        let mut silent = BTreeMap::new();
        let mut regions: BTreeMap<RegionName, Vec<&Member>> = BTreeMap::new();
        for member in inner.nodes.values() {
            regions.entry(member.region.clone()).or_default().push(member);
        }
        let known: Vec<RegionName> = regions.keys().cloned().collect();
        for (region, members) in regions {
            let live: Vec<&&Member> = members.iter().filter(|member| member.live.is_some()).collect();
            if live.is_empty() {
                silent.insert(region, SilenceReason::Lost);
            } else if live.iter().all(|member| member.blind()) {
                silent.insert(region, SilenceReason::Blind);
            }
        }
        let before = std::mem::replace(&mut inner.silent, silent.clone());
        drop(inner);
        for region in known {
            let (was, is) = (before.get(&region), silent.get(&region));
            if was != is {
                match is {
                    Some(SilenceReason::Lost) => warn!(region = %region, "region is silent: none of its nodes is connected"),
                    Some(SilenceReason::Blind) => warn!(region = %region, "region is silent: its nodes see none of their witnesses"),
                    None => info!(region = %region, "region speaks"),
                }
                (self.hooks.silence)(&region, is.copied());
            }
        }
    }
}

impl Member {
    fn blind(&self) -> bool {
        self.info.status.as_ref().is_some_and(|status| status.blind.is_some())
    }
}

impl Inner {
    /// The node that checks a service in each of its regions.
    fn owners<'a>(&'a self, service: &Assignable) -> BTreeMap<&'a RegionName, &'a NodeName> {
        let mut best: BTreeMap<&RegionName, (bool, u64, &NodeName)> = BTreeMap::new();
        for (name, member) in self.nodes.iter().filter(|(_, member)| member.live.is_some()) {
            if service.regions.as_ref().is_some_and(|wanted| !wanted.iter().any(|region| **region == *member.region.0)) {
                continue;
            }
            // Whoever sees comes before whoever is blind.
            let bid = (!member.blind(), weight(name, service.id), name);
            let held = best.entry(&member.region).or_insert(bid);
            *held = (*held).max(bid);
        }
        best.into_iter().map(|(region, (.., node))| (region, node)).collect()
    }

    /// Sends every live node what it is to check, where that has changed.
    fn assign(&mut self, hooks: &Hooks) {
        let mut shares: BTreeMap<NodeName, Vec<Assignment>> = BTreeMap::new();
        for service in self.services.iter().filter(|service| service.enabled) {
            for (region, node) in self.owners(service) {
                let last = (hooks.last_round)(service.id, region).filter(|(by, _)| by != node);
                shares.entry(node.clone()).or_default().push(Assignment {
                    id: service.id,
                    revision: service.revision,
                    document: service.document.clone(),
                    checked_until: last.map(|(_, round)| round),
                });
            }
        }
        self.generation += 1;
        let generation = self.generation;
        for (name, member) in &mut self.nodes {
            let Some(live) = &member.live else { continue };
            let share = shares.remove(name).unwrap_or_default();
            let current = live.assignments.borrow().clone();
            let same = current.generation > 0
                && current.services.len() == share.len()
                && current.services.iter().zip(&share).all(|(old, new)| (old.id, old.revision) == (new.id, new.revision));
            if same {
                continue;
            }
            member.info.assigned_generation = generation;
            member.info.assigned_services = share.len() as u64;
            live.assignments.send_replace(Assignments { generation, services: Arc::new(share) });
        }
    }
}

/// A node's bid for a service: the same for ever, and as good as random (FNV-1a, finished by MurmurHash3's mixer).
fn weight(node: &NodeName, service: ServiceId) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for byte in node.0.bytes().chain([0]).chain(service.0.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
