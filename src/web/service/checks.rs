//! A check as people read it: what came, how long each phase took, each attempt, and what there was to see.

use std::time::Duration;

use crate::model::check::{CheckResult, Phases};
use crate::store::query::ResultId;
use crate::web::chart::PHASES;
use crate::web::moment::{Moment, latency, latency_of};
use crate::web::svg::phase_bar;
use crate::web::text::Text;

pub struct CheckRow {
    pub id: String,
    /// Whether its details are shown at once.
    pub open: bool,
    /// `up`, `degraded` where it passed and was slow, or `down`.
    pub tone: &'static str,
    pub word: &'static str,
    pub region: String,
    pub at: Moment,
    pub code: Option<u16>,
    pub latency: String,
    /// Phases to scale, as markup.
    pub bar: String,
    pub phases: Vec<PhaseLine>,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub attempts: Vec<AttemptLine>,
    pub facts: Vec<(&'static str, String)>,
    pub evidence: Option<EvidenceView>,
}

pub struct PhaseLine {
    pub class: &'static str,
    pub name: &'static str,
    pub took: String,
}

pub struct AttemptLine {
    pub number: usize,
    pub after: String,
    pub latency: String,
    pub outcome: String,
    pub ok: bool,
    pub bar: String,
}

pub struct EvidenceView {
    pub status_line: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub addresses: String,
    pub chain: Vec<String>,
}

impl CheckRow {
    /// `limit`: what takes longer is slow.
    pub fn new(t: Text, result: &CheckResult, limit: Option<Duration>) -> CheckRow {
        let (tone, word) = match limit {
            _ if !result.ok() => ("down", "check.failed"),
            Some(limit) if result.latency > limit => ("degraded", "check.slow"),
            _ => ("up", "check.passed"),
        };
        let failure = result.failure.as_ref();
        let mut facts = Vec::new();
        let mut fact = |key, value: Option<String>| facts.extend(value.map(|value| (t.s(key), value)));
        fact("check.address", result.address.map(|address| address.to_string()));
        fact("check.protocol", result.http_version.map(|version| version.name().to_owned()));
        fact("check.tls", result.tls_version.map(|version| version.name().to_owned()));
        fact("check.body", (result.body_bytes > 0).then(|| crate::web::moment::bytes(result.body_bytes)));
        fact("check.redirects", (result.redirects > 0).then(|| result.redirects.to_string()));
        fact("check.node", Some(result.id.node.to_string()));
        CheckRow {
            id: ResultId::of(result).to_string(),
            open: false,
            tone,
            word: t.s(word),
            region: result.region.to_string(),
            at: Moment::full(result.started_at),
            code: result.status_code,
            latency: latency_of(result.latency),
            bar: bar(t, &result.phases),
            phases: phases(t, &result.phases),
            reason: failure.map(|failure| t.word("reason", failure.reason.name()).to_owned()),
            message: failure.map(|failure| failure.message.clone()),
            attempts: result
                .attempts
                .iter()
                .enumerate()
                .map(|(index, attempt)| AttemptLine {
                    number: index + 1,
                    after: latency_of(attempt.offset),
                    latency: latency_of(attempt.latency),
                    ok: attempt.failure.is_none(),
                    outcome: match (&attempt.failure, attempt.status_code) {
                        (Some(failure), _) => format!("{}: {}", t.word("reason", failure.reason.name()), failure.message),
                        (None, Some(code)) => code.to_string(),
                        (None, None) => t.s("check.passed").to_owned(),
                    },
                    bar: bar(t, &attempt.phases),
                })
                .collect(),
            facts,
            evidence: result.evidence.as_ref().map(|evidence| EvidenceView {
                status_line: evidence.status_line.clone(),
                headers: evidence.headers.clone(),
                body: evidence.body.clone(),
                addresses: evidence.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                chain: evidence
                    .chain
                    .iter()
                    .map(|certificate| format!("{} ← {} ({})", certificate.subject, certificate.issuer, certificate.not_after.rfc3339()))
                    .collect(),
            }),
        }
    }
}

pub fn micros(phases: &Phases) -> [Option<f64>; 5] {
    [phases.dns, phases.connect, phases.tls, phases.first_byte, phases.transfer].map(|phase| phase.map(|span| span.as_micros() as f64))
}

fn phases(t: Text, phases: &Phases) -> Vec<PhaseLine> {
    let took = PHASES.iter().zip(micros(phases)).filter_map(|(name, us)| Some((*name, us?)));
    took.map(|(name, us)| PhaseLine { class: name, name: t.word("phase", name), took: latency(us) }).collect()
}

/// Phases side by side, each as wide as its share.
fn bar(t: Text, phases: &Phases) -> String {
    let took = micros(phases);
    let words: Vec<String> =
        PHASES.iter().zip(took).filter_map(|(name, us)| Some(format!("{} {}", t.word("phase", name), latency(us?)))).collect();
    let parts: Vec<(&'static str, f64)> = PHASES.iter().zip(took).map(|(name, us)| (*name, us.unwrap_or(0.0))).collect();
    phase_bar(&parts, &words.join(", "))
}
