//! The hub's figures in the OpenMetrics text format, as Prometheus reads it.
//!
//! Whoever counts holds the `Metrics` and adds to it; the gauges of services are made from the board when asked for, so a
//! deleted service leaves none behind.
//!
//! **Invariant.** Labels have few values: regions, reasons and routes, and services only in gauges.

pub mod system;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::aggregate::board::ServiceState;
use crate::aggregate::verdict::{RegionStatus, Verdict};
use crate::model::check::CheckResult;
use crate::model::finding::Signal;
use crate::model::time::Timestamp;
use crate::store::alerts::deliveries::Queue;
use crate::system::desk::Report;

/// All counters. Shared by `Arc`; every method may be called from anywhere.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checks: Family<CheckLabels, Counter>,
    durations: Family<RegionLabels, Histogram, fn() -> Histogram>,
    lags: Family<RegionLabels, Histogram, fn() -> Histogram>,
    batches: Counter,
    duplicates: Counter,
    outbox_batches: Family<NodeLabels, Gauge>,
    outbox_bytes: Family<NodeLabels, Gauge>,
    outbox_dropped: Family<NodeLabels, Gauge>,
    journal_bytes: Gauge,
    restarts: Counter,
    quarantined: Gauge,
    findings: Family<SignalLabels, Counter>,
    findings_open: Gauge,
    analyst_busy: Counter<f64, AtomicU64>,
    alert_outcomes: Family<AlertLabels, Counter>,
    alert_duplicates: Family<ChannelLabels, Counter>,
    requests: Family<RouteLabels, Counter>,
    request_durations: Family<RouteOnly, Histogram, fn() -> Histogram>,
    /// The last look at the monitor itself.
    looked: Mutex<Option<Arc<Report>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    region: String,
    ok: &'static str,
    /// Empty for a check that met every expectation.
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RegionLabels {
    region: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabels {
    node: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabels {
    signal: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlertLabels {
    channel: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteOnly {
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: String,
    region: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    service: String,
}

type Level = Gauge<f64, AtomicU64>;

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    pub fn new() -> Metrics {
        let check_histogram: fn() -> Histogram = || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let lag_histogram: fn() -> Histogram = || Histogram::new([0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0]);
        let request_histogram: fn() -> Histogram = || Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]);
        let mut metrics = Metrics {
            registry: Registry::with_prefix("probemesh"),
            checks: Family::default(),
            durations: Family::new_with_constructor(check_histogram),
            lags: Family::new_with_constructor(lag_histogram),
            batches: Counter::default(),
            duplicates: Counter::default(),
            outbox_batches: Family::default(),
            outbox_bytes: Family::default(),
            outbox_dropped: Family::default(),
            journal_bytes: Gauge::default(),
            restarts: Counter::default(),
            quarantined: Gauge::default(),
            findings: Family::default(),
            findings_open: Gauge::default(),
            analyst_busy: Counter::default(),
            alert_outcomes: Family::default(),
            alert_duplicates: Family::default(),
            requests: Family::default(),
            request_durations: Family::new_with_constructor(request_histogram),
            looked: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("checks", "Checks stored", self.checks.clone());
        registry.register_with_unit("check_duration", "Whole checks, retries and waits included", Unit::Seconds, self.durations.clone());
        registry.register_with_unit("schedule_lag", "How late checks began", Unit::Seconds, self.lags.clone());
        registry.register("batches_stored", "Batches taken into the journal", self.batches.clone());
        registry.register("batches_duplicate", "Batches that came again and changed nothing", self.duplicates.clone());
        registry.register("outbox_batches", "Batches a node's hub has not acknowledged", self.outbox_batches.clone());
        registry.register_with_unit("outbox_size", "Size of a node's outbox", Unit::Bytes, self.outbox_bytes.clone());
        registry.register("outbox_dropped_results", "Results a node's full outbox had to drop", self.outbox_dropped.clone());
        registry.register_with_unit("journal_size", "Journal not yet sealed into blocks", Unit::Bytes, self.journal_bytes.clone());
        registry.register("actor_restarts", "Actors started again after a failure", self.restarts.clone());
        registry.register("actors_quarantined", "Actors that spent their restarts", self.quarantined.clone());
        registry.register("findings", "Anomalies found", self.findings.clone());
        registry.register("findings_open", "Anomalies that go on", self.findings_open.clone());
        registry.register_with_unit("analyst_busy", "Time the analyst spent judging samples", Unit::Seconds, self.analyst_busy.clone());
        registry.register("alert_deliveries", "Attempts to deliver alerts and what came of them", self.alert_outcomes.clone());
        registry.register(
            "alert_possible_duplicates",
            "Alerts sent again without knowing whether the attempt before got through",
            self.alert_duplicates.clone(),
        );
        registry.register("api_requests", "Requests answered", self.requests.clone());
        registry.register_with_unit("api_request_duration", "Time to the answer's head", Unit::Seconds, self.request_durations.clone());
    }

    /// Counts checks the store has just taken.
    pub fn stored(&self, results: &[CheckResult]) {
        self.batches.inc();
        for result in results {
            let region = RegionLabels { region: result.region.to_string() };
            let labels = CheckLabels {
                region: result.region.to_string(),
                ok: if result.ok() { "true" } else { "false" },
                reason: result.failure.as_ref().map_or("", |failure| failure.reason.name()),
            };
            self.checks.get_or_create(&labels).inc();
            self.durations.get_or_create(&region).observe(result.elapsed.as_secs_f64());
            self.lags.get_or_create(&region).observe(result.started_at.since(result.scheduled_at).as_secs_f64());
        }
    }

    /// Counts a batch that had come before.
    pub fn duplicate(&self) {
        self.duplicates.inc();
    }

    /// What waits in a node's outbox, and how many results it had to drop.
    pub fn outbox(&self, node: &str, batches: u64, bytes: u64, dropped: u64) {
        let node = NodeLabels { node: node.to_owned() };
        self.outbox_batches.get_or_create(&node).set(batches as i64);
        self.outbox_bytes.get_or_create(&node).set(bytes as i64);
        self.outbox_dropped.get_or_create(&node).set(dropped as i64);
    }

    pub fn journal(&self, bytes: u64) {
        self.journal_bytes.set(bytes as i64);
    }

    /// Counts an actor that was started again.
    pub fn restart(&self) {
        self.restarts.inc();
    }

    /// How many actors are quarantined now.
    pub fn quarantined(&self, actors: u64) {
        self.quarantined.set(actors as i64);
    }

    /// Counts an anomaly that was found.
    pub fn found(&self, signal: Signal) {
        self.findings.get_or_create(&SignalLabels { signal: signal.name() }).inc();
    }

    /// How many anomalies go on now.
    pub fn findings_open(&self, findings: u64) {
        self.findings_open.set(findings as i64);
    }

    /// Adds time the analyst spent.
    pub fn analysed(&self, took: Duration) {
        self.analyst_busy.inc_by(took.as_secs_f64());
    }

    /// Counts what became of an attempt to deliver an alert: `failed` and to be tried again, or its last state.
    pub fn alert_outcome(&self, channel: &str, outcome: &'static str) {
        self.alert_outcomes.get_or_create(&AlertLabels { channel: channel.to_owned(), outcome }).inc();
    }

    /// Counts an alert that may come twice.
    pub fn possible_duplicate(&self, channel: &str) {
        self.alert_duplicates.get_or_create(&ChannelLabels { channel: channel.to_owned() }).inc();
    }

    /// Counts an answered request.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&RouteLabels { route: route.to_owned(), status: status.into() }).inc();
        self.request_durations.get_or_create(&RouteOnly { route: route.to_owned() }).observe(took.as_secs_f64());
    }

    /// Takes in how the monitor itself is.
    pub fn looked(&self, report: Arc<Report>) {
        *self.looked.lock().expect("no holder panics") = Some(report);
    }

    /// All figures as text, with the gauges of the services and of the queues of channels, by name, as they are now.
    pub fn encode(&self, services: &[ServiceState], queues: &[(String, Queue)], now: Timestamp) -> String {
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &service_gauges(services, now)))
            .and_then(|()| encode_registry(&mut text, &queue_gauges(queues, now)))
            .and_then(|()| match self.looked.lock().expect("no holder panics").as_deref() {
                Some(report) => encode_registry(&mut text, &system::gauges(report)),
                None => Ok(()),
            })
            .and_then(|()| encode_eof(&mut text));
        written.expect("text grows without end");
        text
    }
}

fn queue_gauges(queues: &[(String, Queue)], now: Timestamp) -> Registry {
    let (open, dead) = (Family::<ChannelLabels, Gauge>::default(), Family::<ChannelLabels, Gauge>::default());
    let oldest = Family::<ChannelLabels, Level>::default();
    for (channel, queue) in queues {
        let labels = ChannelLabels { channel: channel.clone() };
        open.get_or_create(&labels).set(queue.open as i64);
        dead.get_or_create(&labels).set(queue.dead as i64);
        oldest.get_or_create(&labels).set(queue.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()));
    }
    let mut registry = Registry::with_prefix("probemesh");
    registry.register("alert_queue", "Alerts that wait to be delivered", open);
    registry.register("alert_dead", "Alerts that were given up and are kept for a person to send again", dead);
    registry.register_with_unit("alert_oldest_pending", "Age of the alert that waits longest", Unit::Seconds, oldest);
    registry
}

fn service_gauges(services: &[ServiceState], now: Timestamp) -> Registry {
    let up = Family::<ServiceLabels, Gauge>::default();
    let latency = Family::<ServiceLabels, Level>::default();
    let certificate = Family::<ServiceLabels, Level>::default();
    let verdict = Family::<VerdictLabels, Gauge>::default();
    let maintenance = Family::<VerdictLabels, Gauge>::default();
    for service in services {
        let level = match service.verdict {
            Verdict::Up => 3,
            Verdict::Degraded => 2,
            Verdict::Down => 1,
            Verdict::Unknown | Verdict::Disabled | Verdict::Maintenance => 0,
        };
        verdict.get_or_create(&VerdictLabels { service: service.name.to_string() }).set(level);
        maintenance.get_or_create(&VerdictLabels { service: service.name.to_string() }).set(i64::from(service.maintenance.is_some()));
        for region in &service.regions {
            let labels = ServiceLabels { service: service.name.to_string(), region: region.region.to_string() };
            // Of a region not heard of there is nothing to say; a missing series is not an up one.
            if region.status == RegionStatus::Unknown {
                continue;
            }
            up.get_or_create(&labels).set(i64::from(region.status == RegionStatus::Up));
            latency.get_or_create(&labels).set(region.latest.latency.as_secs_f64());
            if let Some(shown) = &region.latest.certificate {
                certificate.get_or_create(&labels).set((shown.not_after.0 - now.0) as f64 / 86_400e6);
            }
        }
    }
    let mut registry = Registry::with_prefix("probemesh");
    registry.register("up", "1 where a region sees a service up, 0 where it sees it down", up);
    registry.register_with_unit("latency", "The latest check's last attempt", Unit::Seconds, latency);
    registry.register("certificate_expiry_days", "Days until the certificate shown last expires", certificate);
    registry.register("verdict", "3 up, 2 degraded, 1 down, 0 unknown, disabled or in maintenance", verdict);
    registry.register("maintenance", "1 where a service is in a maintenance window", maintenance);
    registry
}
