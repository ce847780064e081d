//! One look at everything the monitor is made of: figures, and what a sentence about them needs.
//!
//! What blocks (the kernel's files, the sizes of folders) runs on a thread for that; the store is waited for no longer than a probe
//! of its own would be.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::model::id::{NodeName, RegionName};
use crate::model::system::{Figure, Figures};
use crate::model::time::Timestamp;
use crate::store::Store;
use crate::store::connection::StoreError;
use crate::store::endpoints::{EndpointHours, Recent};
use crate::store::nodes::Nodes;
use crate::store::system::{SystemRecords, Touch};
use crate::system::folder::{Disk, disk, size};
use crate::system::process::{Process, thread_cpu};
use crate::system::threshold::Circumstances;
use crate::system::{folder, process};

/// A store that takes longer is away.
const STORE_WITHIN: Duration = Duration::from_secs(5);
/// Fewer answers have no percentile worth an alarm.
const LEAST_ANSWERS: u64 = 20;
/// Shares and rates are of so long at least: of two looks that are closer, both have those of the first.
const LEAST_APART: Duration = Duration::from_secs(5);
/// Requests are counted anew after so long, however often somebody looks.
const COUNTED_FOR: Duration = Duration::from_secs(45);
/// What stands for a lag beyond the last bound that is counted.
const LONGEST_LAG_MS: f64 = 10_000.0;
/// Names in one sentence.
const NAMES: usize = 3;

/// What is looked at.
pub struct Sources {
    pub records: SystemRecords,
    pub store: Arc<Store>,
    pub endpoints: Arc<EndpointHours>,
    pub nodes: Arc<Nodes>,
    pub cluster: Arc<dyn Fn() -> Cluster + Send + Sync>,
    /// When the hub's authority and its own certificate end; none of a hub that takes no nodes.
    pub own_certificates: Vec<(&'static str, Timestamp)>,
    pub folders: Folders,
    pub clock: Clock,
}

#[derive(Clone, Debug)]
pub struct Folders {
    pub data: PathBuf,
    /// The store's own; `None` where it is a server's or in memory.
    pub store: Option<PathBuf>,
    pub logs: PathBuf,
}

/// The nodes and actors as they are now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub regions_silent: Vec<RegionName>,
    /// Of actors of the hub itself.
    pub restarts: u64,
    /// Probes of the hub's own region that are in quarantine, by name.
    pub quarantined: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    pub name: String,
    pub region: String,
    pub connected: bool,
    /// In the hub's own process.
    pub local: bool,
    pub blind: Option<String>,
    pub services: u64,
    pub restarts: u64,
    pub quarantined: u64,
    pub outbox_results: u64,
    pub outbox_bytes: u64,
    /// Of its oldest result, by the hub's clock.
    pub outbox_oldest: Option<Timestamp>,
    pub clock_offset_ms: Option<f64>,
    pub lag_p50_ms: Option<f64>,
    pub lag_p99_ms: Option<f64>,
    pub checks_per_s: Option<f64>,
}

/// What the difference to the look before is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    steady: Duration,
    cpu: Option<Duration>,
    cpu_percent: Option<f64>,
}

pub struct Look {
    pub at: Timestamp,
    pub figures: Figures,
    pub about: Circumstances,
    pub nodes: Vec<Node>,
    pub regions_silent: Vec<RegionName>,
    pub certificates: Vec<(String, Timestamp)>,
}

struct Blocking {
    process: Process,
    disk: Option<Disk>,
    store_bytes: Option<u64>,
    log_bytes: Option<u64>,
    cpu: Duration,
}

impl Sources {
    pub async fn look(&self, before: &mut Before) -> Look {
        let touched = tokio::time::timeout(STORE_WITHIN, self.records.touch()).await.unwrap_or(Err(StoreError::Timeout));
        let blocking = self.block().await;
        let (at, steady) = (self.clock.now(), self.clock.steady());
        let mut look = Look {
            at,
            figures: Figures::new(),
            about: Circumstances::default(),
            nodes: Vec::new(),
            regions_silent: Vec::new(),
            certificates: Vec::new(),
        };
        look.store(touched);
        let results = self.store.results.status();
        look.put(Figure::JournalBytes, results.journal_bytes as f64);
        look.put(Figure::UnsealedResults, results.tail_results as f64);
        look.cluster((self.cluster)());
        if let Some(blocking) = blocking {
            look.machine(&blocking);
            before.move_on(steady, blocking.process.cpu);
            look.figures.extend(before.cpu_percent.map(|percent| (Figure::CpuPercent, percent)));
        }
        look.api(&self.endpoints.recent(COUNTED_FOR));
        self.certificates(&mut look);
        look
    }

    async fn block(&self) -> Option<Blocking> {
        let folders = self.folders.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let began = thread_cpu();
            let blocking = Blocking {
                process: process::look(),
                disk: disk(&folders.data),
                store_bytes: folders.store.as_deref().and_then(size),
                log_bytes: folder::size(&folders.logs),
                cpu: Duration::ZERO,
            };
            Blocking { cpu: thread_cpu().saturating_sub(began), ..blocking }
        });
        looking.await.ok()
    }

    fn certificates(&self, look: &mut Look) {
        let days = |until: Timestamp| (until.0 - look.at.0) as f64 / 86_400e6;
        let nodes: Vec<(NodeName, Timestamp)> = self
            .nodes
            .list()
            .into_iter()
            .filter(|node| node.revoked_at.is_none())
            .map(|node| (node.identity.node.clone(), node.not_after))
            .collect();
        let first = nodes.iter().min_by_key(|(_, until)| *until).cloned();
        let own = self.own_certificates.iter().map(|(_, until)| days(*until)).min_by(f64::total_cmp);
        let node_days = first.as_ref().map(|(_, until)| days(*until));
        look.about.next_certificate = first.map(|(node, _)| node);
        if let Some(days) = node_days {
            look.put(Figure::NodeCertificateDays, days);
        }
        if let Some(days) = own {
            look.put(Figure::AuthorityDays, days);
        }
        let own = self.own_certificates.iter().map(|(name, until)| ((*name).to_owned(), *until));
        look.certificates = own.chain(nodes.into_iter().map(|(node, until)| (format!("node {node}"), until))).collect();
    }
}

impl Before {
    fn move_on(&mut self, steady: Duration, cpu: Option<Duration>) {
        let apart = steady.saturating_sub(self.steady);
        if self.cpu.is_some() && apart < LEAST_APART {
            return;
        }
        let spent = cpu.zip(self.cpu).map(|(now, then)| now.saturating_sub(then));
        self.cpu_percent = spent.map(|spent| spent.as_secs_f64() * 100.0 / apart.as_secs_f64());
        (self.steady, self.cpu) = (steady, cpu);
    }
}

impl Look {
    fn put(&mut self, figure: Figure, value: f64) {
        if value.is_finite() {
            self.figures.insert(figure, value);
        }
    }

    fn store(&mut self, touched: Result<Touch, StoreError>) {
        match touched {
            Ok(touch) => {
                self.put(Figure::StoreWriteMs, touch.write.as_secs_f64() * 1e3);
                self.put(Figure::StoreReadMs, touch.read.as_secs_f64() * 1e3);
            }
            Err(error) => self.about.store_error = Some(error.to_string()),
        }
    }

    fn machine(&mut self, blocking: &Blocking) {
        let process = &blocking.process;
        let counts = [
            (Figure::RssBytes, process.rss_bytes),
            (Figure::Threads, process.threads),
            (Figure::Descriptors, process.descriptors),
            (Figure::StoreBytes, blocking.store_bytes),
            (Figure::LogBytes, blocking.log_bytes),
            (Figure::DiskFreeBytes, blocking.disk.map(|disk| disk.free_bytes)),
        ];
        for (figure, count) in counts {
            count.into_iter().for_each(|count| self.put(figure, count as f64));
        }
        if let Some(disk) = blocking.disk {
            self.put(Figure::DiskFreePercent, disk.free_percent());
        }
        if let (Some(open), Some(limit)) = (process.descriptors, process.descriptors_limit) {
            self.put(Figure::DescriptorsPercent, open as f64 * 100.0 / limit.max(1) as f64);
        }
        self.put(Figure::CollectCpuMs, blocking.cpu.as_secs_f64() * 1e3);
    }

    fn api(&mut self, recent: &Recent) {
        if let Some(span) = recent.span.filter(|span| *span >= LEAST_APART) {
            self.put(Figure::RequestsPerS, recent.requests as f64 / span.as_secs_f64());
        }
        if recent.requests >= LEAST_ANSWERS {
            self.put(Figure::ApiErrorPercent, recent.failed as f64 * 100.0 / recent.requests as f64);
        }
        if recent.latency.count() >= LEAST_ANSWERS
            && let Some(us) = recent.latency.quantile_us(0.95)
        {
            self.put(Figure::ApiP95Ms, us / 1e3);
        }
    }

    fn cluster(&mut self, cluster: Cluster) {
        let Cluster { nodes, regions_silent, restarts, quarantined } = cluster;
        let count = |wanted: fn(&Node) -> bool| nodes.iter().filter(|node| wanted(node)).count() as f64;
        let connected = || nodes.iter().filter(|node| node.connected);
        let sum = |of: fn(&Node) -> u64| connected().map(of).sum::<u64>() as f64;
        let most = |of: fn(&Node) -> Option<f64>| connected().filter_map(of).max_by(f64::total_cmp);
        let figures = [
            (Figure::RegionsSilent, regions_silent.len() as f64),
            (Figure::NodesConnected, count(|node| node.connected)),
            (Figure::NodesLost, count(|node| !node.connected)),
            (Figure::NodesBlind, count(|node| node.connected && node.blind.is_some())),
            (Figure::OutboxResults, sum(|node| node.outbox_results)),
            (Figure::OutboxBytes, sum(|node| node.outbox_bytes)),
            (Figure::Restarts, restarts as f64 + sum(|node| node.restarts)),
            (Figure::Quarantined, sum(|node| node.quarantined)),
            (Figure::ChecksPerS, connected().filter_map(|node| node.checks_per_s).sum()),
        ];
        let oldest = connected().filter_map(|node| Some((node.outbox_oldest?, node.name.as_str()))).min();
        let age = oldest.map_or(0.0, |(oldest, _)| self.at.since(oldest).as_secs_f64());
        self.about.oldest_outbox = oldest.map(|(_, name)| NodeName::from(name));
        let largest = [
            (Figure::ClockOffsetMs, most(|node| node.clock_offset_ms.map(f64::abs))),
            (Figure::LagP50Ms, most(|node| node.lag_p50_ms).map(|lag| lag.min(LONGEST_LAG_MS))),
            (Figure::LagP99Ms, most(|node| node.lag_p99_ms).map(|lag| lag.min(LONGEST_LAG_MS))),
            (Figure::OutboxAge, Some(age)),
        ];
        for (figure, value) in figures.into_iter().chain(largest.into_iter().filter_map(|(figure, value)| Some((figure, value?)))) {
            self.put(figure, value);
        }
        let more = quarantined.len().saturating_sub(NAMES);
        self.about.quarantined = quarantined.into_iter().take(NAMES).collect();
        if more > 0 {
            self.about.quarantined.push(format!("{more} more"));
        }
        (self.nodes, self.regions_silent) = (nodes, regions_silent);
    }
}
