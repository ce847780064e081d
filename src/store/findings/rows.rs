//! A finding as the store keeps it.

use serde::{Deserialize, Serialize};
use surrealdb::types::SurrealValue;

use crate::model::finding::{Evidence, Feedback, Finding, FindingId, Learning, Shape, Signal};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::values::corrupt;

#[derive(SurrealValue)]
pub struct Row {
    pub key: String,
    service: i64,
    name: String,
    region: Option<String>,
    regions: Vec<String>,
    signal: String,
    shape: String,
    since: i64,
    last: i64,
    ended: Option<i64>,
    observed: f64,
    expected: Option<f64>,
    score: f64,
    confidence: f64,
    samples: i64,
    learning_have: Option<i64>,
    learning_need: Option<i64>,
    summary: String,
    evidence: String,
    feedback_anomaly: Option<bool>,
    feedback_who: Option<String>,
    feedback_at: Option<i64>,
    feedback_note: Option<String>,
}

/// What is kept in memory of one.
#[derive(SurrealValue)]
pub struct FiguresRow {
    pub key: String,
    pub service: i64,
    pub region: Option<String>,
    pub regions: Vec<String>,
    pub signal: String,
    pub shape: String,
    pub since: i64,
    pub ended: Option<i64>,
    pub observed: f64,
    pub expected: Option<f64>,
    pub score: f64,
    pub feedback_anomaly: Option<bool>,
    pub feedback_at: Option<i64>,
}

/// What the analyst writes.
#[derive(SurrealValue)]
pub struct Fields {
    service: i64,
    name: String,
    region: Option<String>,
    regions: Vec<String>,
    signal: String,
    shape: String,
    since: i64,
    last: i64,
    ended: Option<i64>,
    observed: f64,
    expected: Option<f64>,
    score: f64,
    confidence: f64,
    samples: i64,
    learning_have: Option<i64>,
    learning_need: Option<i64>,
    summary: String,
    evidence: String,
}

#[derive(Serialize, Deserialize)]
struct EvidenceRow {
    at: i64,
    what: String,
    observed: f64,
    expected: Option<f64>,
}

impl Fields {
    pub fn of(finding: &Finding) -> Result<Fields, StoreError> {
        let evidence: Vec<EvidenceRow> = finding.evidence.iter().map(EvidenceRow::from).collect();
        Ok(Fields {
            service: finding.service.map_or(0, |service| service.0.into()),
            name: finding.name.to_string(),
            region: finding.region.as_ref().map(ToString::to_string),
            regions: finding.regions.iter().map(ToString::to_string).collect(),
            signal: finding.signal.name().to_owned(),
            shape: finding.shape.name().to_owned(),
            since: finding.since.0,
            last: finding.last.0,
            ended: finding.ended.map(|at| at.0),
            observed: finding.observed,
            expected: finding.expected,
            score: finding.score,
            confidence: finding.confidence,
            samples: finding.samples.into(),
            learning_have: finding.learning.map(|learning| learning.have.into()),
            learning_need: finding.learning.map(|learning| learning.need.into()),
            summary: finding.summary.clone(),
            evidence: serde_json::to_string(&evidence).map_err(|error| corrupt("finding", error))?,
        })
    }
}

/// As the column has it: 0 is no service.
pub fn service_of(column: i64) -> Option<ServiceId> {
    (column != 0).then_some(ServiceId(column as u32))
}

impl TryFrom<Row> for Finding {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Finding, StoreError> {
        let evidence: Vec<EvidenceRow> = serde_json::from_str(&row.evidence).map_err(|error| corrupt("finding", error))?;
        let learning = row.learning_have.zip(row.learning_need);
        let feedback = match (row.feedback_anomaly, row.feedback_who, row.feedback_at) {
            (Some(anomaly), Some(who), Some(at)) => Some(Feedback { anomaly, who, at: Timestamp(at), note: row.feedback_note }),
            _ => None,
        };
        Ok(Finding {
            id: FindingId(row.key.into()),
            service: service_of(row.service),
            name: row.name.into(),
            region: row.region.as_deref().map(RegionName::from),
            regions: row.regions.iter().map(|region| RegionName::from(region.as_str())).collect(),
            signal: signal(&row.signal)?,
            shape: shape(&row.shape)?,
            since: Timestamp(row.since),
            last: Timestamp(row.last),
            ended: row.ended.map(Timestamp),
            observed: row.observed,
            expected: row.expected,
            score: row.score,
            confidence: row.confidence,
            samples: row.samples as u32,
            learning: learning.map(|(have, need)| Learning { have: have as u32, need: need as u32 }),
            summary: row.summary,
            evidence: evidence.into_iter().map(Evidence::from).collect(),
            feedback,
        })
    }
}

impl From<&Evidence> for EvidenceRow {
    fn from(evidence: &Evidence) -> EvidenceRow {
        EvidenceRow { at: evidence.at.0, what: evidence.what.clone(), observed: evidence.observed, expected: evidence.expected }
    }
}

impl From<EvidenceRow> for Evidence {
    fn from(row: EvidenceRow) -> Evidence {
        Evidence { at: Timestamp(row.at), what: row.what, observed: row.observed, expected: row.expected }
    }
}

pub fn signal(name: &str) -> Result<Signal, StoreError> {
    Signal::from_name(name).ok_or_else(|| corrupt("finding", format!("its signal is {name:?}")))
}

pub fn shape(name: &str) -> Result<Shape, StoreError> {
    Shape::from_name(name).ok_or_else(|| corrupt("finding", format!("its shape is {name:?}")))
}
