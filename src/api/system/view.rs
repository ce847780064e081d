//! The monitor's own health as the API shows it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::model::system::{Alarm, Figure, Measure};
use crate::model::time::Timestamp;
use crate::system::desk::{DependencyReport, Report};
use crate::system::look::Node;
use crate::system::trend::{Course, Direction, Of};

/// Figures by name; the unit is in it. Null: not known, or not yet.
pub type FigureMap = BTreeMap<&'static str, Option<f64>>;

#[derive(Serialize, ToSchema)]
pub struct HealthView {
    /// `healthy`, `degraded` or `critical`.
    status: &'static str,
    /// Why it is not healthy, the worst first.
    reasons: Vec<ReasonView>,
    collected_at: String,
    age_s: f64,
    store: StoreView,
    /// The disk of the data folder.
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    disk: FigureMap,
    cluster: ClusterHealthView,
    /// Restarts, quarantines and how late checks begin.
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    actors: FigureMap,
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    process: FigureMap,
    /// This API itself, since the look before.
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    api: FigureMap,
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    logs: FigureMap,
    certificates: CertificatesView,
    dependencies: Vec<DependencyView>,
    /// CPU the look took that it could measure: reading the kernel's files and the sizes of folders.
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    monitor: FigureMap,
    /// Null in the answer to a collection.
    trend: Option<TrendView>,
}

#[derive(Serialize, ToSchema)]
pub struct ReasonView {
    /// What is watched, such as `disk_free` or `dependency-cache`.
    watched: String,
    /// `warning` or `critical`.
    severity: &'static str,
    text: String,
    next_step: Option<String>,
    since: String,
    /// The key alerts about it carry.
    cause: String,
}

#[derive(Serialize, ToSchema)]
pub struct StoreView {
    connected: bool,
    /// A folder, a URL, or `mem://`.
    place: String,
    error: Option<String>,
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    figures: FigureMap,
}

#[derive(Serialize, ToSchema)]
pub struct ClusterHealthView {
    /// Regions none of whose nodes is connected or sees anything.
    silent: Vec<String>,
    nodes: Vec<NodeHealthView>,
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    figures: FigureMap,
}

#[derive(Serialize, ToSchema)]
pub struct NodeHealthView {
    name: String,
    region: String,
    /// `connected`, `lost`, `blind`, or `local` for the hub's own process.
    link: &'static str,
    services: u64,
    outbox_results: u64,
    outbox_bytes: u64,
    outbox_oldest_s: Option<f64>,
    clock_offset_ms: Option<f64>,
    lag_p99_ms: Option<f64>,
    restarts: u64,
    quarantined: u64,
}

#[derive(Serialize, ToSchema)]
pub struct CertificatesView {
    list: Vec<CertificateEndView>,
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, Option<f64>>)]
    figures: FigureMap,
}

#[derive(Serialize, ToSchema)]
pub struct CertificateEndView {
    /// `authority`, `hub` or `node …`.
    of: String,
    ends_at: String,
    days: f64,
}

#[derive(Serialize, ToSchema)]
pub struct DependencyView {
    name: String,
    /// `surrealdb`, `postgresql`, `mysql`, `mongodb`, `redis`, `smtp` or `openai`.
    kind: &'static str,
    /// Null: the store's own connection.
    url: Option<String>,
    /// `up`, `slow`, `failing` (not for long enough to be down), `down`, or `unknown` before it was asked.
    state: &'static str,
    /// Since when it answers, or does not.
    since: Option<String>,
    latency_ms: Option<f64>,
    version: Option<String>,
    error: Option<DependencyErrorView>,
    checked_at: Option<String>,
    last_answer: Option<String>,
    interval_s: f64,
    critical: bool,
}

#[derive(Serialize, ToSchema)]
pub struct DependencyErrorView {
    /// `dns`, `connect`, `tls`, `auth`, `protocol` or `timeout`.
    phase: &'static str,
    message: String,
}

#[derive(Serialize, ToSchema)]
pub struct TrendView {
    hours: u32,
    /// Each point sums up so many seconds.
    width_s: f64,
    /// Why there is none.
    error: Option<String>,
    figures: Vec<CourseView>,
}

#[derive(Serialize, ToSchema)]
pub struct CourseView {
    /// Such as `store.write_ms` or `dependencies.cache.latency_ms`.
    name: String,
    unit: &'static str,
    last: f64,
    min: f64,
    mean: f64,
    max: f64,
    /// `rising`, `falling`, `steady`, or `unknown` while there are too few points.
    direction: &'static str,
    /// The direction in words, with where it came from.
    text: String,
    points: Vec<PointView>,
}

#[derive(Serialize, ToSchema)]
pub struct PointView {
    at: String,
    min: f64,
    mean: f64,
    max: f64,
}

impl HealthView {
    pub fn of(report: &Report, age: Duration, trend: Option<TrendView>) -> HealthView {
        let figures = |part: &str| -> FigureMap {
            let of_part = Figure::ALL.into_iter().filter(|figure| figure.path().0 == part);
            of_part.map(|figure| (figure.path().1, report.figures.get(&figure).copied().map(rounded))).collect()
        };
        let days = |until: Timestamp| rounded((until.0 - report.at.0) as f64 / 86_400e6);
        let certificate =
            |(of, until): &(String, Timestamp)| CertificateEndView { of: of.clone(), ends_at: until.rfc3339(), days: days(*until) };
        HealthView {
            status: report.health.name(),
            reasons: report.alarms.iter().map(ReasonView::from).collect(),
            collected_at: report.at.rfc3339(),
            age_s: rounded(age.as_secs_f64()),
            store: StoreView {
                connected: report.store_error.is_none(),
                place: report.store_place.clone(),
                error: report.store_error.clone(),
                figures: figures("store"),
            },
            disk: figures("disk"),
            cluster: ClusterHealthView {
                silent: report.regions_silent.clone(),
                nodes: report.nodes.iter().map(|node| NodeHealthView::of(node, report.at)).collect(),
                figures: figures("cluster"),
            },
            actors: figures("actors"),
            process: figures("process"),
            api: figures("api"),
            logs: figures("logs"),
            certificates: CertificatesView {
                list: report.certificates.iter().map(certificate).collect(),
                figures: figures("certificates"),
            },
            dependencies: report.dependencies.iter().map(DependencyView::from).collect(),
            monitor: figures("monitor"),
            trend,
        }
    }
}

impl From<&Alarm> for ReasonView {
    fn from(alarm: &Alarm) -> ReasonView {
        ReasonView {
            watched: alarm.watched.clone(),
            severity: alarm.severity.name(),
            text: alarm.text.clone(),
            next_step: alarm.next_step.clone(),
            since: alarm.since.rfc3339(),
            cause: alarm.cause.clone(),
        }
    }
}

impl NodeHealthView {
    fn of(node: &Node, at: Timestamp) -> NodeHealthView {
        NodeHealthView {
            name: node.name.clone(),
            region: node.region.clone(),
            link: match node {
                Node { local: true, .. } => "local",
                Node { connected: false, .. } => "lost",
                Node { blind: Some(_), .. } => "blind",
                _ => "connected",
            },
            services: node.services,
            outbox_results: node.outbox_results,
            outbox_bytes: node.outbox_bytes,
            outbox_oldest_s: node.outbox_oldest.map(|oldest| rounded(at.since(oldest).as_secs_f64())),
            clock_offset_ms: node.clock_offset_ms,
            // Beyond the last bound that is counted there is no number.
            lag_p99_ms: node.lag_p99_ms.filter(|lag| lag.is_finite()),
            restarts: node.restarts,
            quarantined: node.quarantined,
        }
    }
}

impl From<&DependencyReport> for DependencyView {
    fn from(report: &DependencyReport) -> DependencyView {
        let status = &report.status;
        DependencyView {
            name: report.name.to_string(),
            kind: report.kind.name(),
            url: report.url.clone(),
            state: report.state,
            since: status.since.map(Timestamp::rfc3339),
            latency_ms: status.checked_at.map(|_| rounded(status.latency.as_secs_f64() * 1e3)),
            version: status.version.clone(),
            error: status.trouble.as_ref().map(|trouble| DependencyErrorView { phase: trouble.phase(), message: trouble.message.clone() }),
            checked_at: status.checked_at.map(Timestamp::rfc3339),
            last_answer: status.last_answer.map(Timestamp::rfc3339),
            interval_s: report.interval.as_secs_f64(),
            critical: report.critical,
        }
    }
}

impl TrendView {
    pub fn of(hours: u32, width: i64, courses: &BTreeMap<Of, Course>) -> TrendView {
        let figures = courses.iter().map(|(of, course)| CourseView::of(of, course)).collect();
        TrendView { hours, width_s: width as f64 / 1e6, error: None, figures }
    }

    pub fn none(hours: u32, error: String) -> TrendView {
        TrendView { hours, width_s: 0.0, error: Some(error), figures: Vec::new() }
    }
}

impl CourseView {
    fn of(of: &Of, course: &Course) -> CourseView {
        let (name, unit) = match of {
            Of::Figure(figure) => (figure.name(), figure.measure().name()),
            Of::Dependency(name) => (format!("dependencies.{name}.latency_ms"), Measure::Milliseconds.name()),
        };
        let text = match (course.direction, course.ends) {
            (Direction::Rising | Direction::Falling, Some((first, last))) => {
                format!("{} from {} to {} {unit}", course.direction.name(), short(first), short(last))
            }
            (Direction::Steady, _) => format!("steady at about {} {unit}", short(course.whole.mean())),
            _ => "too few points yet to tell".to_owned(),
        };
        let point = |(at, spread): &(Timestamp, crate::model::system::Spread)| PointView {
            at: at.rfc3339(),
            min: rounded(spread.min),
            mean: rounded(spread.mean()),
            max: rounded(spread.max),
        };
        CourseView {
            name,
            unit,
            last: rounded(course.points.last().map_or(0.0, |(_, spread)| spread.mean())),
            min: rounded(course.whole.min),
            mean: rounded(course.whole.mean()),
            max: rounded(course.whole.max),
            direction: course.direction.name(),
            text,
            points: course.points.iter().map(point).collect(),
        }
    }
}

/// Three places behind the point are more than anything here is known to.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn short(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{}", (value * 10.0).round() / 10.0) }
}
