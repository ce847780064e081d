//! One anomaly: what was odd, where, since when, how large against which habit, and how sure that is.
//!
//! A finding is an episode: samples that are odd for the same cause in a row are one finding that grows, not one each.

use std::sync::Arc;
use std::time::Duration;

use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;

/// So long after a person said "not an anomaly" the like of it is not told again…
pub const DISMISSED_FOR: Duration = Duration::from_secs(30 * 86_400);
/// …unless it is so many times as large.
pub const DISMISSED_UP_TO: f64 = 1.25;

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

    /// Whether two shapes may be told of the same trouble: what begins as a spike may stay as a new level.
    pub fn is_like(self, other: Shape) -> bool {
        let kind = |shape: Shape| match shape {
            Shape::Spike | Shape::LevelUp => Shape::LevelUp,
            Shape::Dip | Shape::LevelDown => Shape::LevelDown,
            other => other,
        };
        kind(self) == kind(other)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub id: FindingId,
    /// `None`: many services at once, whose shared cause it is.
    pub service: Option<ServiceId>,
    /// As the service was called when it was found, or the regions that are slow for all.
    pub name: Arc<str>,
    /// The only region it was seen in; `None`: in several or all of them, or of the service as a whole.
    pub region: Option<RegionName>,
    /// Every region it was seen in, in order of name.
    pub regions: Vec<RegionName>,
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

impl Finding {
    /// How large it is, so that two of one kind can be compared: for times how many times what was expected, or how many times
    /// less; for everything else what was observed.
    pub fn size(&self) -> f64 {
        size(self.signal, self.observed, self.expected)
    }

    /// Whether it is told without reserve: enough is known of the habit, or it is so large that what is not known could not explain it.
    pub fn is_firm(&self) -> bool {
        self.learning.is_none() || self.confidence >= 0.5
    }

    /// A person said that it is none.
    pub fn dismissed(&self) -> bool {
        self.feedback.as_ref().is_some_and(|feedback| !feedback.anomaly)
    }
}

/// See [`Finding::size`].
pub fn size(signal: Signal, observed: f64, expected: Option<f64>) -> f64 {
    match (signal, expected) {
        (Signal::Errors | Signal::Pattern, _) | (_, None) => observed,
        (_, Some(expected)) => {
            let (observed, expected) = (observed.max(1.0), expected.max(1.0));
            (observed / expected).max(expected / observed)
        }
    }
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

/// What a person does not want to be told of again, until it is larger.
#[derive(Clone, Debug, PartialEq)]
pub struct Dismissal {
    pub finding: FindingId,
    /// `None`: wherever.
    pub region: Option<RegionName>,
    pub signal: Signal,
    pub shape: Shape,
    pub size: f64,
    pub at: Timestamp,
}

impl Dismissal {
    /// Whether something of this kind and size is covered by it at an instant.
    pub fn covers(&self, region: Option<&RegionName>, signal: Signal, shape: Shape, size: f64, at: Timestamp) -> bool {
        self.signal == signal
            && self.shape.is_like(shape)
            && (self.region.is_none() || self.region.as_ref() == region)
            && size < self.size * DISMISSED_UP_TO
            && at < self.at.plus(DISMISSED_FOR)
    }
}
