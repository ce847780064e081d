//! One anomaly: what was odd, where, since when, how large against which habit, and how sure that is.
//!
//! A finding is an episode: samples that are odd for the same cause in a row are one finding that grows, not one each.

use std::sync::Arc;

use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

/// The name of what caused it: series and first odd sample, so that the same anomaly found twice is one. Opaque, safe in a URL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindingId(pub Arc<str>);

impl std::fmt::Display for FindingId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// The whole latency of checks that passed.
    Latency,
    Dns,
    Connect,
    Tls,
    FirstByte,
    Transfer,
    /// The share of checks that failed.
    Errors,
    /// Latency, phases, errors and regions together.
    Pattern,
}

impl Signal {
    pub const ALL: [Signal; 8] =
        [Signal::Latency, Signal::Dns, Signal::Connect, Signal::Tls, Signal::FirstByte, Signal::Transfer, Signal::Errors, Signal::Pattern];

    pub fn name(self) -> &'static str {
        match self {
            Signal::Latency => "latency",
            Signal::Dns => "dns",
            Signal::Connect => "connect",
            Signal::Tls => "tls",
            Signal::FirstByte => "first_byte",
            Signal::Transfer => "transfer",
            Signal::Errors => "errors",
            Signal::Pattern => "pattern",
        }
    }

    pub fn from_name(name: &str) -> Option<Signal> {
        Signal::ALL.into_iter().find(|signal| signal.name() == name)
    }
}

/// How it was odd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    Spike,
    Dip,
    LevelUp,
    LevelDown,
    Drift,
    Flatline,
    Volatility,
    /// The daily or weekly rhythm was missed.
    Rhythm,
    /// Failures that came thicker than they use to.
    Burst,
    /// One region is unlike the others.
    OddRegion,
    /// No single figure alone, their combination.
    Unusual,
}

impl Shape {
    pub const ALL: [Shape; 11] = [
        Shape::Spike,
        Shape::Dip,
        Shape::LevelUp,
        Shape::LevelDown,
        Shape::Drift,
        Shape::Flatline,
        Shape::Volatility,
        Shape::Rhythm,
        Shape::Burst,
        Shape::OddRegion,
        Shape::Unusual,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Shape::Spike => "spike",
            Shape::Dip => "dip",
            Shape::LevelUp => "level_up",
            Shape::LevelDown => "level_down",
            Shape::Drift => "drift",
            Shape::Flatline => "flatline",
            Shape::Volatility => "volatility",
            Shape::Rhythm => "rhythm",
            Shape::Burst => "burst",
            Shape::OddRegion => "odd_region",
            Shape::Unusual => "unusual",
        }
    }

    pub fn from_name(name: &str) -> Option<Shape> {
        Shape::ALL.into_iter().find(|shape| shape.name() == name)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub id: FindingId,
    pub service: ServiceId,
    /// As the service was called when it was found.
    pub name: Arc<str>,
    /// `None`: in all regions, or of the service as a whole.
    pub region: Option<RegionName>,
    pub signal: Signal,
    pub shape: Shape,
    /// The first odd sample.
    pub since: Timestamp,
    /// The last odd sample.
    pub last: Timestamp,
    /// `None`: it goes on.
    pub ended: Option<Timestamp>,
    /// The oddest sample: microseconds for times, a share from 0 to 1 for errors, the forest's score for a pattern.
    pub observed: f64,
    /// What habit had led to expect then, in the same unit.
    pub expected: Option<f64>,
    /// From 0 to 1, the worst of its samples.
    pub score: f64,
    /// From 0 to 1: the score, less where little is known yet.
    pub confidence: f64,
    /// Odd samples so far.
    pub samples: u32,
    /// `Some`: too little is known for a firm word; how many samples it has and needs.
    pub learning: Option<Learning>,
    /// What, where, since when and how large, in one line.
    pub summary: String,
    pub evidence: Vec<Evidence>,
    /// What a person said to it.
    pub feedback: Option<Feedback>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Learning {
    pub have: u32,
    pub need: u32,
}

/// A figure a finding stands on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    pub at: Timestamp,
    /// Such as `latency p50`, `failed of 60 checks`, `us-east`.
    pub what: String,
    pub observed: f64,
    pub expected: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// False: "not an anomaly".
    pub anomaly: bool,
    pub who: String,
    pub at: Timestamp,
    pub note: Option<String>,
}
