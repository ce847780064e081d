//! What the requests to this API came to, by endpoint: counts by class of status and a latency sketch that merges.
//!
//! An endpoint is a method and the template of a route, never an address: ids and queries of requests stay out of it, and
//! there are only as many as the program has routes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::sketch::Sketch;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub method: String,
    /// Such as `/api/v1/incidents/<id>`; [`UNMATCHED`] where there is no such route.
    pub route: String,
    pub kind: EndpointKind,
}

pub const UNMATCHED: &str = "unmatched";

/// What an endpoint's latency means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndpointKind {
    /// An answer this program works out: its latency is its own.
    Answer,
    /// It waits for a check, or for someone else, by its nature.
    Waits,
    /// A stream of events: what is measured is how long it took to open.
    Stream,
    /// A page, a script, an image.
    Page,
}

impl EndpointKind {
    pub const ALL: [EndpointKind; 4] = [EndpointKind::Answer, EndpointKind::Waits, EndpointKind::Stream, EndpointKind::Page];

    pub fn name(self) -> &'static str {
        match self {
            EndpointKind::Answer => "answer",
            EndpointKind::Waits => "waits",
            EndpointKind::Stream => "stream",
            EndpointKind::Page => "page",
        }
    }

    pub fn code(self) -> u8 {
        match self {
            EndpointKind::Answer => 0,
            EndpointKind::Waits => 1,
            EndpointKind::Stream => 2,
            EndpointKind::Page => 3,
        }
    }

    pub fn from_code(code: u8) -> Option<EndpointKind> {
        EndpointKind::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointRollup {
    /// Answers by the first digit of their status, 1 to 5.
    pub classes: [u64; 5],
    /// From the request's head to the answer's.
    pub latency: Sketch,
}

/// One span's endpoints.
pub type Endpoints = BTreeMap<Endpoint, EndpointRollup>;

impl EndpointRollup {
    pub fn add(&mut self, status: u16, took: Duration) {
        let class = usize::from((status / 100).clamp(1, 5)) - 1;
        self.classes[class] += 1;
        self.latency.add(took);
    }

    pub fn merge(&mut self, other: &EndpointRollup) {
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            *mine += theirs;
        }
        self.latency.merge(&other.latency);
    }

    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Answers of the 5xx class: this program's fault. The 4xx are the caller's.
    pub fn failed(&self) -> u64 {
        self.classes[4]
    }
}

pub fn merge_into(all: &mut Endpoints, more: &Endpoints) {
    for (endpoint, rollup) in more {
        all.entry(endpoint.clone()).or_default().merge(rollup);
    }
}
