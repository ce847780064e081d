//! What the monitor itself is made of, in figures: what one look at it found, and what is kept of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::incident::Severity;
use crate::model::time::Timestamp;

/// One figure of the monitor itself. The code is its name in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Figure {
    StoreWriteMs = 1,
    StoreReadMs = 2,
    StoreBytes = 3,
    StoreGrowth = 4,
    JournalBytes = 5,
    UnsealedResults = 6,
    DiskFreeBytes = 10,
    DiskFreePercent = 11,
    DiskFullDays = 12,
    RegionsSilent = 20,
    NodesConnected = 21,
    NodesLost = 22,
    NodesBlind = 23,
    OutboxResults = 24,
    OutboxBytes = 25,
    OutboxAge = 26,
    ClockOffsetMs = 27,
    Restarts = 30,
    Quarantined = 31,
    LagP50Ms = 32,
    LagP99Ms = 33,
    ChecksPerS = 34,
    CpuPercent = 40,
    RssBytes = 41,
    Descriptors = 42,
    DescriptorsPercent = 43,
    Threads = 44,
    RequestsPerS = 50,
    ApiP95Ms = 51,
    ApiErrorPercent = 52,
    LogBytes = 60,
    NodeCertificateDays = 70,
    AuthorityDays = 71,
    CollectCpuMs = 80,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    Milliseconds,
    Seconds,
    Days,
    Bytes,
    BytesPerDay,
    Percent,
    PerSecond,
    Count,
}

impl Measure {
    pub fn name(self) -> &'static str {
        match self {
            Measure::Milliseconds => "ms",
            Measure::Seconds => "s",
            Measure::Days => "days",
            Measure::Bytes => "bytes",
            Measure::BytesPerDay => "bytes/day",
            Measure::Percent => "percent",
            Measure::PerSecond => "1/s",
            Measure::Count => "count",
        }
    }
}

impl Figure {
    pub const ALL: [Figure; 34] = [
        Figure::StoreWriteMs,
        Figure::StoreReadMs,
        Figure::StoreBytes,
        Figure::StoreGrowth,
        Figure::JournalBytes,
        Figure::UnsealedResults,
        Figure::DiskFreeBytes,
        Figure::DiskFreePercent,
        Figure::DiskFullDays,
        Figure::RegionsSilent,
        Figure::NodesConnected,
        Figure::NodesLost,
        Figure::NodesBlind,
        Figure::OutboxResults,
        Figure::OutboxBytes,
        Figure::OutboxAge,
        Figure::ClockOffsetMs,
        Figure::Restarts,
        Figure::Quarantined,
        Figure::LagP50Ms,
        Figure::LagP99Ms,
        Figure::ChecksPerS,
        Figure::CpuPercent,
        Figure::RssBytes,
        Figure::Descriptors,
        Figure::DescriptorsPercent,
        Figure::Threads,
        Figure::RequestsPerS,
        Figure::ApiP95Ms,
        Figure::ApiErrorPercent,
        Figure::LogBytes,
        Figure::NodeCertificateDays,
        Figure::AuthorityDays,
        Figure::CollectCpuMs,
    ];

    /// The part of the monitor it is about, and its name there with the unit, as the API has both.
    pub fn path(self) -> (&'static str, &'static str) {
        match self {
            Figure::StoreWriteMs => ("store", "write_ms"),
            Figure::StoreReadMs => ("store", "read_ms"),
            Figure::StoreBytes => ("store", "bytes"),
            Figure::StoreGrowth => ("store", "growth_bytes_per_day"),
            Figure::JournalBytes => ("store", "journal_bytes"),
            Figure::UnsealedResults => ("store", "unsealed_results"),
            Figure::DiskFreeBytes => ("disk", "free_bytes"),
            Figure::DiskFreePercent => ("disk", "free_percent"),
            Figure::DiskFullDays => ("disk", "full_in_days"),
            Figure::RegionsSilent => ("cluster", "regions_silent"),
            Figure::NodesConnected => ("cluster", "nodes_connected"),
            Figure::NodesLost => ("cluster", "nodes_lost"),
            Figure::NodesBlind => ("cluster", "nodes_blind"),
            Figure::OutboxResults => ("cluster", "outbox_results"),
            Figure::OutboxBytes => ("cluster", "outbox_bytes"),
            Figure::OutboxAge => ("cluster", "outbox_oldest_s"),
            Figure::ClockOffsetMs => ("cluster", "clock_offset_ms"),
            Figure::Restarts => ("actors", "restarts"),
            Figure::Quarantined => ("actors", "quarantined"),
            Figure::LagP50Ms => ("actors", "lag_p50_ms"),
            Figure::LagP99Ms => ("actors", "lag_p99_ms"),
            Figure::ChecksPerS => ("actors", "checks_per_s"),
            Figure::CpuPercent => ("process", "cpu_percent"),
            Figure::RssBytes => ("process", "rss_bytes"),
            Figure::Descriptors => ("process", "descriptors"),
            Figure::DescriptorsPercent => ("process", "descriptors_percent"),
            Figure::Threads => ("process", "threads"),
            Figure::RequestsPerS => ("api", "requests_per_s"),
            Figure::ApiP95Ms => ("api", "p95_ms"),
            Figure::ApiErrorPercent => ("api", "error_percent"),
            Figure::LogBytes => ("logs", "bytes"),
            Figure::NodeCertificateDays => ("certificates", "node_days"),
            Figure::AuthorityDays => ("certificates", "authority_days"),
            Figure::CollectCpuMs => ("monitor", "collect_cpu_ms"),
        }
    }

    /// Such as `store.write_ms`.
    pub fn name(self) -> String {
        let (part, name) = self.path();
        format!("{part}.{name}")
    }

    pub fn measure(self) -> Measure {
        match self {
            Figure::StoreWriteMs
            | Figure::StoreReadMs
            | Figure::ClockOffsetMs
            | Figure::LagP50Ms
            | Figure::LagP99Ms
            | Figure::ApiP95Ms
            | Figure::CollectCpuMs => Measure::Milliseconds,
            Figure::StoreBytes
            | Figure::JournalBytes
            | Figure::DiskFreeBytes
            | Figure::OutboxBytes
            | Figure::RssBytes
            | Figure::LogBytes => Measure::Bytes,
            Figure::StoreGrowth => Measure::BytesPerDay,
            Figure::DiskFreePercent | Figure::CpuPercent | Figure::DescriptorsPercent | Figure::ApiErrorPercent => Measure::Percent,
            Figure::DiskFullDays | Figure::NodeCertificateDays | Figure::AuthorityDays => Measure::Days,
            Figure::OutboxAge => Measure::Seconds,
            Figure::ChecksPerS | Figure::RequestsPerS => Measure::PerSecond,
            Figure::UnsealedResults
            | Figure::RegionsSilent
            | Figure::NodesConnected
            | Figure::NodesLost
            | Figure::NodesBlind
            | Figure::OutboxResults
            | Figure::Restarts
            | Figure::Quarantined
            | Figure::Descriptors
            | Figure::Threads => Measure::Count,
        }
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn from_code(code: u8) -> Option<Figure> {
        Figure::ALL.into_iter().find(|figure| figure.code() == code)
    }
}

pub type Figures = BTreeMap<Figure, f64>;

/// What is kept of one look: its figures, and of each dependency how it answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    pub at: Timestamp,
    pub figures: Figures,
    pub dependencies: BTreeMap<Arc<str>, Answered>,
}

/// How a dependency answered last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answered {
    pub up: bool,
    /// Also of an answer that was none: how long that took.
    pub latency_ms: f64,
}

/// What a figure was over a span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub count: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(value: f64) -> Spread {
        Spread { count: 1, sum: value, min: value, max: value }
    }

    pub fn merge(&mut self, other: &Spread) {
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub fn mean(&self) -> f64 {
        self.sum / self.count.max(1) as f64
    }
}

/// What is kept of a span for long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    pub figures: BTreeMap<Figure, Spread>,
    /// Latencies of answers, and how many of the tries were answered.
    pub dependencies: BTreeMap<Arc<str>, (Spread, u64)>,
}

impl Summary {
    pub fn add(&mut self, sample: &Sample) {
        for (figure, value) in &sample.figures {
            self.figures.entry(*figure).and_modify(|spread| spread.merge(&Spread::of(*value))).or_insert(Spread::of(*value));
        }
        for (name, answered) in &sample.dependencies {
            let one = (Spread::of(answered.latency_ms), u64::from(answered.up));
            self.add_dependency(name, one);
        }
    }

    pub fn merge(&mut self, other: &Summary) {
        for (figure, spread) in &other.figures {
            self.figures.entry(*figure).and_modify(|mine| mine.merge(spread)).or_insert(*spread);
        }
        for (name, one) in &other.dependencies {
            self.add_dependency(name, *one);
        }
    }

    fn add_dependency(&mut self, name: &Arc<str>, (spread, up): (Spread, u64)) {
        self.dependencies
            .entry(name.clone())
            .and_modify(|(mine, answered)| {
                mine.merge(&spread);
                *answered += up;
            })
            .or_insert((spread, up));
    }
}

/// The one word for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    Healthy,
    Degraded,
    Critical,
}

impl Health {
    pub fn name(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Degraded => "degraded",
            Health::Critical => "critical",
        }
    }

    pub fn of(worst: Option<Severity>) -> Health {
        match worst {
            None => Health::Healthy,
            Some(Severity::Warning) => Health::Degraded,
            Some(Severity::Critical) => Health::Critical,
        }
    }
}

/// A threshold that is crossed for long enough to be told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Alarm {
    /// What is watched: `disk_free`, `dependency-cache`. Of each there is one alarm at most.
    pub watched: String,
    /// The key of its cause: the one word for this time it holds.
    pub cause: String,
    pub severity: Severity,
    /// A sentence with the figure and the threshold.
    pub text: String,
    pub next_step: Option<String>,
    pub since: Timestamp,
}

/// What a dependency speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DependencyKind {
    SurrealDb,
    PostgreSql,
    MySql,
    MongoDb,
    Redis,
    Smtp,
    OpenAi,
}

impl DependencyKind {
    pub const ALL: [DependencyKind; 7] = [
        DependencyKind::SurrealDb,
        DependencyKind::PostgreSql,
        DependencyKind::MySql,
        DependencyKind::MongoDb,
        DependencyKind::Redis,
        DependencyKind::Smtp,
        DependencyKind::OpenAi,
    ];

    pub fn name(self) -> &'static str {
        match self {
            DependencyKind::SurrealDb => "surrealdb",
            DependencyKind::PostgreSql => "postgresql",
            DependencyKind::MySql => "mysql",
            DependencyKind::MongoDb => "mongodb",
            DependencyKind::Redis => "redis",
            DependencyKind::Smtp => "smtp",
            DependencyKind::OpenAi => "openai",
        }
    }

    pub fn from_name(name: &str) -> Option<DependencyKind> {
        DependencyKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_code_and_a_name_of_its_own() {
        for figure in Figure::ALL {
            assert_eq!(Figure::from_code(figure.code()), Some(figure));
        }
        let names: std::collections::BTreeSet<String> = Figure::ALL.into_iter().map(Figure::name).collect();
        assert_eq!(names.len(), Figure::ALL.len());
    }

    #[test]
    fn a_summary_of_summaries_is_that_of_the_samples() {
        let sample = |value: f64, up| Sample {
            at: Timestamp(0),
            figures: Figures::from([(Figure::RssBytes, value)]),
            dependencies: BTreeMap::from([(Arc::from("cache"), Answered { up, latency_ms: value })]),
        };
        let (mut all, mut first, mut second) = (Summary::default(), Summary::default(), Summary::default());
        for (index, value) in [4.0, 1.0, 9.0].into_iter().enumerate() {
            all.add(&sample(value, index > 0));
            if index < 2 { &mut first } else { &mut second }.add(&sample(value, index > 0));
        }
        first.merge(&second);
        assert_eq!(first, all);
        assert_eq!(all.figures[&Figure::RssBytes], Spread { count: 3, sum: 14.0, min: 1.0, max: 9.0 });
        assert_eq!(all.dependencies["cache"].1, 2);
    }
}
