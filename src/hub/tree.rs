//! The actors of this process and how they fare, as `inspect` and the API show them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use crate::analysis::analyzer::AnalyzerStatus;
use crate::analysis::batch_runner::BatchRunnerStatus;
use crate::api::state::{ActorView, ClusterView, NodeView};
use crate::clock::Clock;
use crate::digest::digester::DigesterStatus;
use crate::hub::aggregator::AggregatorStatus;
use crate::hub::alerts::AlertStatus;
use crate::hub::heartbeat::HeartbeatStatus;
use crate::hub::ingest::Intake;
use crate::hub::member::Desk;
use crate::hub::membership::{Membership, NodeInfo};
use crate::hub::sealer::SealerStatus;
use crate::hub::upkeep::UpkeepStatus;
use crate::model::id::NodeName;
use crate::model::time::Timestamp;
use crate::region::RegionView;
use crate::region::shared::quantile;
use crate::region::supervisor::{ProberLife, ProberStatus};
use crate::supervise::GroupStatus;
use crate::system::monitor::SystemMonitorStatus;
use crate::tracker::opener::OpenerStatus;

/// All that can be seen; cheap to clone.
#[derive(Clone)]
pub struct Tree {
    pub clock: Clock,
    pub group: Arc<Mutex<GroupStatus>>,
    /// Of the actors of the mesh; without members where no nodes are taken.
    pub mesh: Arc<Mutex<GroupStatus>>,
    /// Set once nodes may come in.
    pub desk: Arc<OnceLock<Arc<Desk>>>,
    pub intake: Arc<Intake>,
    pub sealer: Arc<Mutex<SealerStatus>>,
    pub aggregator: Arc<Mutex<AggregatorStatus>>,
    /// Of the analyst; without members where nobody looks for anomalies.
    pub analyst: Arc<Mutex<GroupStatus>>,
    pub analyzer: Arc<Mutex<AnalyzerStatus>>,
    pub batch_runner: Arc<Mutex<BatchRunnerStatus>>,
    /// Of a hub that tells a dead-man service that it works.
    pub heartbeat: Option<Arc<Mutex<HeartbeatStatus>>>,
    /// Of whoever writes digests.
    pub digests: Arc<Mutex<GroupStatus>>,
    pub digester: Arc<Mutex<DigesterStatus>>,
    /// Of who plans and delivers alerts.
    pub alerts: AlertStatus,
    /// Of maintenance windows and objectives.
    pub upkeep: UpkeepStatus,
    /// Of whoever looks at the monitor itself.
    pub system: Arc<Mutex<GroupStatus>>,
    pub system_monitor: Arc<Mutex<SystemMonitorStatus>>,
    pub membership: Arc<Membership>,
    /// Of whoever opens issues.
    pub tracker: Arc<Mutex<GroupStatus>>,
    pub opener: Arc<Mutex<OpenerStatus>>,
    /// Set once the region of this process has started.
    pub region: Arc<Mutex<Option<RegionView>>>,
}

impl Tree {
    pub fn view(&self) -> ClusterView {
        let now = self.clock.now();
        let region = self.region.lock().expect("no holder panics").clone();
        let mut nodes = vec![self.hub(now)];
        nodes.extend(region.map(|region| region_node(&region, now)));
        nodes.extend(self.membership.nodes().into_iter().filter(|(_, info)| !info.local).map(|(name, info)| remote_node(&name, info)));
        ClusterView { generated_at: now.rfc3339(), nodes }
    }

    fn hub(&self, now: Timestamp) -> NodeView {
        let group = self.group.lock().expect("no holder panics").clone();
        let intake = &self.intake.status;
        let store = self.intake.store.results.status();
        let sealer = self.sealer.lock().expect("no holder panics").clone();
        let ingest = ActorView {
            name: "ingest".to_owned(),
            state: "running".to_owned(),
            last_error: intake.last_error.lock().expect("no holder panics").clone(),
            figures: figures([
                ("batches", json!(intake.batches.load(Ordering::Relaxed))),
                ("results", json!(intake.results.load(Ordering::Relaxed))),
                ("duplicates", json!(intake.duplicates.load(Ordering::Relaxed))),
                ("refused", json!(intake.refused.load(Ordering::Relaxed))),
                ("delayed", json!(intake.delayed.load(Ordering::Relaxed))),
                ("health_log_lost", json!(self.intake.health.lost())),
            ]),
            ..ActorView::default()
        };
        let sealer = ActorView {
            name: "sealer".to_owned(),
            state: "running".to_owned(),
            last_error: sealer.last_error,
            figures: figures([
                ("last_run", json!(sealer.last_run.map(Timestamp::rfc3339))),
                ("journal_bytes", json!(store.journal_bytes)),
                ("journal_batches", json!(store.journal_batches)),
                ("unsealed_results", json!(store.tail_results)),
            ]),
            ..ActorView::default()
        };
        let aggregator = self.aggregator.lock().expect("no holder panics").clone();
        let aggregator = ActorView {
            name: "aggregator".to_owned(),
            state: if aggregator.reconciled { "running" } else { "reading the past" }.to_owned(),
            last_error: aggregator.last_error,
            figures: figures([
                ("open_incidents", json!(aggregator.open)),
                ("unsaved", json!(aggregator.unsaved)),
                ("rechecks", json!(aggregator.rechecks)),
            ]),
            ..ActorView::default()
        };
        let mut members = vec![ingest, sealer, aggregator];
        members.extend(self.heartbeat.as_ref().map(|status| heartbeat_actor(&status.lock().expect("no holder panics"))));
        let mut actors = vec![group_actor(&group, now, members)];
        let analyst = self.analyst.lock().expect("no holder panics").clone();
        if !analyst.name.is_empty() {
            let analyzer = analyzer_actor(&self.analyzer.lock().expect("no holder panics"));
            let batch_runner = batch_runner_actor(&self.batch_runner.lock().expect("no holder panics"));
            actors.push(group_actor(&analyst, now, vec![analyzer, batch_runner]));
        }
        let digests = self.digests.lock().expect("no holder panics").clone();
        let digester = digester_actor(&self.digester.lock().expect("no holder panics"));
        actors.push(group_actor(&digests, now, vec![digester]));
        actors.push(group_actor(&self.alerts.group.lock().expect("no holder panics").clone(), now, self.alerts.actors()));
        let upkeep = self.upkeep.group.lock().expect("no holder panics").clone();
        actors.push(group_actor(&upkeep, now, self.upkeep.actors()));
        let tracker = self.tracker.lock().expect("no holder panics").clone();
        let opener = opener_actor(&self.opener.lock().expect("no holder panics"));
        actors.push(group_actor(&tracker, now, vec![opener]));
        let system = self.system.lock().expect("no holder panics").clone();
        let monitor = system_monitor_actor(&self.system_monitor.lock().expect("no holder panics"));
        actors.push(group_actor(&system, now, vec![monitor]));
        let mesh = self.mesh.lock().expect("no holder panics").clone();
        if !mesh.name.is_empty() {
            actors.push(group_actor(&mesh, now, mesh.members.iter().map(|name| self.mesh_actor(name)).collect()));
        }
        NodeView { name: "hub".to_owned(), connected: true, actors, ..NodeView::default() }
    }

    /// An actor of the mesh, with what it has let in, refused and let go of since the hub started.
    fn mesh_actor(&self, name: &str) -> ActorView {
        let desk = self.desk.get();
        let figures = match (name, desk) {
            ("doorman", Some(desk)) => figures([
                ("admitted", json!(desk.counts.admitted.load(Ordering::Relaxed))),
                ("refused", json!(desk.counts.refused.load(Ordering::Relaxed))),
                ("violations", json!(desk.counts.violations.load(Ordering::Relaxed))),
                ("silent", json!(desk.counts.silent.load(Ordering::Relaxed))),
            ]),
            ("gateway", Some(desk)) => figures([
                ("stray_frames", json!(desk.sessions.stray.load(Ordering::Relaxed))),
                ("floods", json!(desk.sessions.floods.load(Ordering::Relaxed))),
            ]),
            _ => figures([]),
        };
        ActorView { name: name.to_owned(), state: "running".to_owned(), figures, ..ActorView::default() }
    }
}

fn analyzer_actor(status: &AnalyzerStatus) -> ActorView {
    ActorView {
        name: "analyzer".to_owned(),
        state: if status.last_error.is_some() { "failing" } else { "running" }.to_owned(),
        last_error: status.last_error.clone(),
        figures: figures([
            ("services", json!(status.services)),
            ("samples", json!(status.samples)),
            ("findings_open", json!(status.open)),
            ("unsaved", json!(status.unsaved)),
            ("late_results", json!(status.late)),
            ("results_of_the_future", json!(status.ahead)),
            ("failed_services", json!(status.failed)),
            ("busy_s", json!(status.busy.as_secs_f64())),
            ("last_run", json!(status.last_run.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    }
}

fn batch_runner_actor(status: &BatchRunnerStatus) -> ActorView {
    ActorView {
        name: "batch_runner".to_owned(),
        state: if status.last_error.is_some() { "failing" } else { "running" }.to_owned(),
        last_error: status.last_error.clone(),
        figures: figures([
            ("passes", json!(status.passes)),
            ("found", json!(status.found)),
            ("services_learning", json!(status.learning)),
            ("busy_s", json!(status.busy.as_secs_f64())),
            ("last_run", json!(status.last_run.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    }
}

fn digester_actor(status: &DigesterStatus) -> ActorView {
    ActorView {
        name: "digester".to_owned(),
        state: if status.writing { "writing" } else { "running" }.to_owned(),
        last_error: status.last_error.clone(),
        figures: figures([
            ("written", json!(status.written)),
            ("last_run", json!(status.last_run.map(Timestamp::rfc3339))),
            ("next", json!(status.next.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    }
}

fn opener_actor(status: &OpenerStatus) -> ActorView {
    ActorView {
        name: "opener".to_owned(),
        state: if status.last_error.is_some() { "failing" } else { "running" }.to_owned(),
        last_error: status.last_error.clone(),
        figures: figures([
            ("opened", json!(status.opened)),
            ("commented", json!(status.commented)),
            ("last_run", json!(status.last_run.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    }
}

fn system_monitor_actor(status: &SystemMonitorStatus) -> ActorView {
    ActorView {
        name: "system_monitor".to_owned(),
        state: if status.last_error.is_some() { "failing" } else { "running" }.to_owned(),
        last_error: status.last_error.clone(),
        figures: figures([
            ("looks", json!(status.looks)),
            ("health", json!(status.health.map(crate::model::system::Health::name))),
            ("dependencies", json!(status.dependencies)),
            ("last_run", json!(status.last_run.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    }
}

fn heartbeat_actor(status: &HeartbeatStatus) -> ActorView {
    ActorView {
        name: "heartbeat".to_owned(),
        state: if status.last_error.is_some() { "failing" } else { "running" }.to_owned(),
        last_error: status.last_error.clone(),
        figures: figures([
            ("beats", json!(status.beats)),
            ("fails", json!(status.fails)),
            ("last_beat", json!(status.last_beat.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    }
}

/// A node elsewhere, as it tells of itself.
fn remote_node(name: &NodeName, info: NodeInfo) -> NodeView {
    let status = info.status.unwrap_or_default();
    let outbox = ActorView {
        name: "outbox".to_owned(),
        state: if status.outbox_error.is_some() { "failing" } else { "running" }.to_owned(),
        last_error: status.outbox_error,
        figures: figures([
            ("batches", json!(status.outbox_batches)),
            ("results", json!(status.outbox_results)),
            ("bytes", json!(status.outbox_bytes)),
            ("oldest", json!(status.outbox_oldest_us.map(|oldest| Timestamp(oldest).rfc3339()))),
            ("dropped", json!(status.dropped)),
            ("refused", json!(status.refused)),
        ]),
        ..ActorView::default()
    };
    let probers = ActorView {
        name: "supervisor".to_owned(),
        state: "running".to_owned(),
        restarts: status.restarts,
        figures: figures([
            ("probers", json!(status.services)),
            ("quarantined", json!(status.quarantined)),
            ("checks", json!(status.checks)),
            ("failures", json!(status.failures)),
            ("missed", json!(status.missed)),
            ("checks_per_s", json!(info.checks_per_s)),
            ("lag_p99_ms", json!(status.lag_p99_ms)),
        ]),
        ..ActorView::default()
    };
    let link = ActorView {
        name: "link".to_owned(),
        state: if info.connected { "connected" } else { "lost" }.to_owned(),
        last_error: info.lost_reason,
        figures: figures([
            ("address", json!(info.address)),
            ("version", json!(info.build)),
            ("round_trip_ms", json!(info.round_trip_us.map(|us| us as f64 / 1e3))),
            ("clock_offset_ms", json!(info.clock_offset_us.map(|us| us as f64 / 1e3))),
            ("last_heard", json!(info.last_heard.map(Timestamp::rfc3339))),
            ("sessions", json!(info.sessions)),
            ("blind", json!(status.blind)),
        ]),
        children: vec![probers, outbox],
        ..ActorView::default()
    };
    NodeView {
        name: name.to_string(),
        region: Some(info.region),
        connected: info.connected,
        generation: Some(status.generation),
        actors: vec![link],
    }
}

fn region_node(region: &RegionView, now: Timestamp) -> NodeView {
    let shared = &region.shared;
    let counts = &shared.counts;
    let group = region.group.lock().expect("no holder panics").clone();
    let probers = region.probers.lock().expect("no holder panics").clone();
    let courier = region.courier.lock().expect("no holder panics").clone();
    let depth = shared.file.depth();
    let (bins, _) = counts.lag.read();
    let supervisor = ActorView {
        name: "supervisor".to_owned(),
        state: "running".to_owned(),
        restarts: counts.restarts.load(Ordering::Relaxed),
        figures: figures([
            ("probers", json!(probers.probers.len())),
            (
                "quarantined",
                json!(probers.probers.values().filter(|prober| matches!(prober.state, ProberLife::Quarantined { .. })).count()),
            ),
            ("checks", json!(counts.checks.load(Ordering::Relaxed))),
            ("failures", json!(counts.failures.load(Ordering::Relaxed))),
            ("missed", json!(counts.missed.load(Ordering::Relaxed))),
            ("free_check_permits", json!(shared.running.available_permits())),
            ("lag_bins", json!(bins)),
            ("lag_p50_ms", json!(quantile(&bins, 0.5))),
            ("lag_p99_ms", json!(quantile(&bins, 0.99))),
        ]),
        children: probers.probers.values().map(|prober| prober_actor(prober, now)).collect(),
        ..ActorView::default()
    };
    let outbox_error = counts.outbox_error.lock().expect("no holder panics").clone();
    let outbox = ActorView {
        name: "outbox".to_owned(),
        state: if outbox_error.is_some() { "failing" } else { "running" }.to_owned(),
        last_error: outbox_error,
        figures: figures([
            ("batches", json!(depth.batches)),
            ("results", json!(depth.results)),
            ("bytes", json!(depth.bytes)),
            ("oldest", json!(depth.oldest.map(Timestamp::rfc3339))),
            ("commits", json!(counts.commits.load(Ordering::Relaxed))),
            ("dropped", json!(counts.dropped.load(Ordering::Relaxed))),
            ("refused", json!(counts.refused.load(Ordering::Relaxed))),
        ]),
        ..ActorView::default()
    };
    let courier_actor = ActorView {
        name: "courier".to_owned(),
        state: if courier.connected { "connected" } else { "waiting" }.to_owned(),
        last_error: courier.last_error.clone(),
        figures: figures([
            ("acknowledged_batches", json!(courier.acknowledged_batches)),
            ("last_acknowledged", json!(courier.last_acknowledged.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    };
    let mut members = vec![supervisor, outbox, courier_actor];
    if !shared.settings.witness.places.is_empty() {
        members.push(witness_actor(region));
    }
    NodeView {
        name: shared.settings.node.to_string(),
        region: Some(shared.settings.name.to_string()),
        connected: courier.connected,
        generation: Some(probers.generation),
        actors: vec![group_actor(&group, now, members)],
    }
}

fn witness_actor(region: &RegionView) -> ActorView {
    let status = region.witness.lock().expect("no holder panics").clone();
    let blind = region.shared.sight.borrow().clone();
    ActorView {
        name: "witness".to_owned(),
        state: if blind.is_some() { "blind" } else { "running" }.to_owned(),
        last_error: blind.or(status.last_error.filter(|_| status.failed_in_a_row > 0)),
        figures: figures([
            ("witnesses", json!(region.shared.settings.witness.places)),
            ("rounds", json!(status.rounds)),
            ("failed_in_a_row", json!(status.failed_in_a_row)),
            ("last_look", json!(status.last_look.map(Timestamp::rfc3339))),
            ("answered", json!(status.answered)),
            ("blind_since", json!(status.blind_since.map(Timestamp::rfc3339))),
        ]),
        ..ActorView::default()
    }
}

fn group_actor(group: &GroupStatus, now: Timestamp, children: Vec<ActorView>) -> ActorView {
    ActorView {
        name: group.name.clone(),
        state: if group.next_start.is_some() { "waiting" } else { "running" }.to_owned(),
        restarts: group.restarts,
        backoff_ms: group.next_start.map(|next| next.since(now).as_secs_f64() * 1e3),
        last_error: group.last_error.clone(),
        figures: BTreeMap::new(),
        children,
    }
}

fn prober_actor(prober: &ProberStatus, now: Timestamp) -> ActorView {
    let tally = &prober.tally;
    let (state, backoff_ms) = match &prober.state {
        ProberLife::Running if tally.running.load(Ordering::Relaxed) => ("checking", None),
        ProberLife::Running => ("running", None),
        ProberLife::Waiting { until, .. } => ("waiting", Some(until.since(now).as_secs_f64() * 1e3)),
        ProberLife::Quarantined { .. } => ("quarantined", None),
    };
    let last = tally.last_started.load(Ordering::Relaxed);
    ActorView {
        name: format!("prober {} {}", prober.service, prober.name),
        state: state.to_owned(),
        restarts: prober.restarts,
        backoff_ms,
        last_error: prober.last_error.clone(),
        figures: figures([
            ("service", json!(prober.service.0)),
            ("checks", json!(tally.checks.load(Ordering::Relaxed))),
            ("failures", json!(tally.failures.load(Ordering::Relaxed))),
            ("missed", json!(tally.missed.load(Ordering::Relaxed))),
            ("last_check", json!((last > 0).then(|| Timestamp(last as i64).rfc3339()))),
            ("lag_ms", json!(tally.last_lag_us.load(Ordering::Relaxed) as f64 / 1e3)),
        ]),
        children: Vec::new(),
    }
}

pub(super) fn figures<const N: usize>(pairs: [(&str, Value); N]) -> BTreeMap<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
