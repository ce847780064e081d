//! The monitor's own health as gauges: every figure in the base unit Prometheus wants, the state of each dependency, what is wrong.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::model::incident::Severity;
use crate::model::system::{Figure, Health, Measure};
use crate::system::desk::Report;

type Level = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DependencyLabels {
    dependency: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AlarmLabels {
    watched: String,
    severity: &'static str,
}

/// The gauges of one look.
pub fn gauges(report: &Report) -> Registry {
    let mut registry = Registry::with_prefix("probemesh");
    let health = Gauge::<i64>::default();
    health.set(match report.health {
        Health::Healthy => 0,
        Health::Degraded => 1,
        Health::Critical => 2,
    });
    registry.register("system_health", "0 healthy, 1 degraded, 2 critical", health);
    for (figure, value) in &report.figures {
        let (name, factor) = named(*figure);
        let gauge = Level::default();
        gauge.set(value * factor);
        registry.register(name, format!("{} at the last look", figure.name()), gauge);
    }
    let alarms = Family::<AlarmLabels, Gauge>::default();
    for alarm in &report.alarms {
        let severity = alarm.severity.name();
        let level = if alarm.severity == Severity::Critical { 2 } else { 1 };
        alarms.get_or_create(&AlarmLabels { watched: alarm.watched.clone(), severity }).set(level);
    }
    registry.register("system_alarm", "Thresholds that are crossed: 1 warning, 2 critical", alarms);
    let (up, latency) = (Family::<DependencyLabels, Gauge>::default(), Family::<DependencyLabels, Level>::default());
    for dependency in report.dependencies.iter().filter(|dependency| dependency.status.checked_at.is_some()) {
        let labels = DependencyLabels { dependency: dependency.name.to_string(), kind: dependency.kind.name() };
        up.get_or_create(&labels).set(i64::from(dependency.status.trouble.is_none()));
        latency.get_or_create(&labels).set(dependency.status.latency.as_secs_f64());
    }
    registry.register("dependency_up", "1 where a dependency answered when it was asked last", up);
    registry.register("dependency_latency_seconds", "How long a dependency took to answer", latency);
    registry
}

/// The name of a gauge and what brings a figure to its unit.
fn named(figure: Figure) -> (String, f64) {
    let (part, field) = figure.path();
    let with = |cut: &str, unit: &str, factor| {
        let stem = field.strip_suffix(cut).unwrap_or(field);
        (format!("system_{part}_{stem}{unit}"), factor)
    };
    match figure.measure() {
        Measure::Milliseconds => with("_ms", "_seconds", 1e-3),
        Measure::Seconds => with("_s", "_seconds", 1.0),
        Measure::Percent => with("_percent", "_ratio", 1e-2),
        Measure::PerSecond => with("_per_s", "_per_second", 1.0),
        Measure::Days | Measure::Bytes | Measure::BytesPerDay | Measure::Count => with("", "", 1.0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_those_of_prometheus_and_all_different() {
        assert_eq!(named(Figure::StoreWriteMs), ("system_store_write_seconds".to_owned(), 1e-3));
        assert_eq!(named(Figure::OutboxAge), ("system_cluster_outbox_oldest_seconds".to_owned(), 1.0));
        assert_eq!(named(Figure::DiskFreePercent), ("system_disk_free_ratio".to_owned(), 1e-2));
        assert_eq!(named(Figure::RssBytes), ("system_process_rss_bytes".to_owned(), 1.0));
        let names: BTreeSet<String> = Figure::ALL.into_iter().map(|figure| named(figure).0).collect();
        assert_eq!(names.len(), Figure::ALL.len());
    }
}
