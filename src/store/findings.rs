//! Findings, and what people said to them.
//!
//! A few figures of each are also in memory, so that lists are filtered, ordered and counted without a query, and only the
//! rows of a page are read. What the analyst writes of a finding and what people say to it are different fields: neither
//! writer overwrites the other.
//!
//! **Invariant.** A finding is named by its cause: writing the same again changes nothing.

mod rows;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use surrealdb::types::{SurrealValue, Value};
use tokio::sync::Mutex;

use crate::clock::Clock;
use crate::model::finding::{DISMISSED_FOR, Dismissal, Feedback, Finding, FindingId, Shape, Signal, size};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::audit::{Audit, Change, corrupt as unfit};
use crate::store::connection::{Database, StoreError};
use crate::store::findings::rows::{Fields, FiguresRow, Row, service_of, shape, signal};
use crate::store::services::Author;
use crate::store::values::{array, int, record_named, text};

/// Which findings are wanted, newest first. All filters must hold.
#[derive(Clone, Debug)]
pub struct FindingQuery {
    pub service: Option<ServiceId>,
    /// Seen there, there alone or also there.
    pub region: Option<String>,
    pub signal: Option<Signal>,
    pub shape: Option<Shape>,
    /// Those that went on at this instant or later…
    pub since: Option<Timestamp>,
    /// …and had begun before this one.
    pub until: Option<Timestamp>,
    pub open: Option<bool>,
    pub min_score: Option<f64>,
    /// Whether a person said that it is none; `None`: all.
    pub dismissed: Option<bool>,
    /// Left out from the beginning of the list.
    pub skip: usize,
    pub size: usize,
}

impl Default for FindingQuery {
    /// All that were not dismissed.
    fn default() -> FindingQuery {
        FindingQuery {
            service: None,
            region: None,
            signal: None,
            shape: None,
            since: None,
            until: None,
            open: None,
            min_score: None,
            dismissed: Some(false),
            skip: 0,
            size: usize::MAX,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FindingPage {
    /// Of all that fit, on whatever page.
    pub count: u64,
    pub findings: Vec<Finding>,
}

/// What is known of a finding without a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BriefFinding {
    pub id: FindingId,
    pub since: Timestamp,
    /// `None`: many at once.
    pub service: Option<ServiceId>,
    pub signal: Signal,
    pub shape: Shape,
}

#[derive(Debug)]
pub struct Findings {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    /// By beginning, so that a list is a walk.
    known: RwLock<BTreeMap<(Timestamp, FindingId), Figures>>,
    /// Writers take turns.
    turn: Mutex<()>,
}

#[derive(Clone, Debug)]
struct Figures {
    service: Option<ServiceId>,
    region: Option<RegionName>,
    regions: Arc<[RegionName]>,
    signal: Signal,
    shape: Shape,
    ended: Option<Timestamp>,
    score: f64,
    size: f64,
    feedback: Option<(bool, Timestamp)>,
}

impl Findings {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<Findings, StoreError> {
        let text = "SELECT record::id(id) AS key, service, region, regions, signal, shape, since, ended, observed, expected, score,
            feedback_anomaly, feedback_at FROM finding";
        let mut answer = database.query(text, Vec::new()).await?;
        let found: Vec<FiguresRow> = answer.take(0).map_err(|error| unfit("finding", &error))?;
        let mut known = BTreeMap::new();
        for row in found {
            let (key, figures) = Figures::read(row)?;
            known.insert(key, figures);
        }
        Ok(Findings { database, audit, clock, known: RwLock::new(known), turn: Mutex::new(()) })
    }

    /// Whether there is, or was, a finding of this name.
    pub fn contains(&self, id: &FindingId) -> bool {
        self.known.read().expect("no holder panics").keys().any(|(_, known)| known == id)
    }

    /// Writes what the analyst says of some findings. Twice is the same as once; what people said stays, and of what they have
    /// called none nothing more is written.
    pub async fn save(&self, findings: &[Finding]) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        for finding in findings {
            let key = (finding.since, finding.id.clone());
            let feedback = self.known.read().expect("no holder panics").get(&key).and_then(|figures| figures.feedback);
            if feedback.is_some_and(|(anomaly, _)| !anomaly) {
                continue;
            }
            let values = vec![("id", record_named("finding", &finding.id.0)), ("fields", Fields::of(finding)?.into_value())];
            self.database.query("UPSERT $id MERGE $fields RETURN NONE", values).await?;
            self.known.write().expect("no holder panics").insert(key, Figures { feedback, ..Figures::of(finding) });
        }
        Ok(())
    }

    /// Newest first; and how many there are of all that fit.
    pub async fn list(&self, query: &FindingQuery) -> Result<FindingPage, StoreError> {
        let fitting: Vec<FindingId> = {
            let known = self.known.read().expect("no holder panics");
            known.iter().rev().filter(|((since, _), figures)| query.wants(*since, figures)).map(|((_, id), _)| id.clone()).collect()
        };
        let page: Vec<FindingId> = fitting.iter().skip(query.skip).take(query.size).cloned().collect();
        Ok(FindingPage { count: fitting.len() as u64, findings: self.read(&page).await? })
    }

    /// Those that fit, oldest first, whatever the page; no query is made.
    pub fn brief(&self, query: &FindingQuery) -> Vec<BriefFinding> {
        let known = self.known.read().expect("no holder panics");
        let fitting = known.iter().filter(|((since, _), figures)| query.wants(*since, figures));
        fitting
            .map(|((since, id), figures)| BriefFinding {
                id: id.clone(),
                since: *since,
                service: figures.service,
                signal: figures.signal,
                shape: figures.shape,
            })
            .collect()
    }

    /// How many fit, whatever the page; no query is made.
    pub fn count(&self, query: &FindingQuery) -> u64 {
        let known = self.known.read().expect("no holder panics");
        known.iter().filter(|((since, _), figures)| query.wants(*since, figures)).count() as u64
    }

    /// One finding; `None`: there is none of this name.
    pub async fn one(&self, id: &FindingId) -> Result<Option<Finding>, StoreError> {
        Ok(self.read(std::slice::from_ref(id)).await?.pop())
    }

    /// Keeps what a person says to a finding; the latest word holds. "Not an anomaly" ends one that goes on. The finding as it
    /// is then; `None`: there is none of this name.
    pub async fn feedback(
        &self,
        id: &FindingId,
        anomaly: bool,
        note: Option<String>,
        author: &Author,
    ) -> Result<Option<Finding>, StoreError> {
        let _turn = self.turn.lock().await;
        let Some(mut finding) = self.one(id).await? else { return Ok(None) };
        let at = self.clock.now();
        if !anomaly && finding.ended.is_none() {
            finding.ended = Some(at);
        }
        let statements = "UPDATE $id SET feedback_anomaly = $anomaly, feedback_who = $who, feedback_at = $at, feedback_note = $note,
            ended = $ended RETURN NONE;";
        let values = vec![
            ("id", record_named("finding", &id.0)),
            ("anomaly", Value::Bool(anomaly)),
            ("who", text(&author.who)),
            ("at", int(at.0)),
            ("note", note.as_deref().map_or(Value::None, text)),
            ("ended", finding.ended.map_or(Value::None, |ended| int(ended.0))),
        ];
        let change = Change {
            who: author.who.clone(),
            address: author.address,
            action: "finding.feedback",
            subject: format!("finding:{id}"),
            fields: vec!["feedback".to_owned()],
        };
        self.audit.commit(statements, values, &change).await?;
        finding.feedback = Some(Feedback { anomaly, who: author.who.clone(), at, note });
        self.known.write().expect("no holder panics").insert((finding.since, id.clone()), Figures::of(&finding));
        Ok(Some(finding))
    }

    /// What people do not want to be told of again, by service.
    pub fn dismissals(&self) -> BTreeMap<ServiceId, Vec<Dismissal>> {
        let now = self.clock.now();
        let mut dismissals: BTreeMap<ServiceId, Vec<Dismissal>> = BTreeMap::new();
        let known = self.known.read().expect("no holder panics");
        for ((_, id), figures) in known.iter() {
            let Some((_, at)) = figures.feedback.filter(|(anomaly, at)| !anomaly && now < at.plus(DISMISSED_FOR)) else { continue };
            let Figures { service, region, signal, shape, size, .. } = figures.clone();
            let Some(service) = service else { continue };
            dismissals.entry(service).or_default().push(Dismissal { finding: id.clone(), region, signal, shape, size, at });
        }
        dismissals
    }

    /// Lets go of those that ended before an instant.
    pub async fn forget(&self, before: Timestamp) -> Result<usize, StoreError> {
        let old: Vec<(Timestamp, FindingId)> = {
            let known = self.known.read().expect("no holder panics");
            let ended =
                known.range(..(before, FindingId("".into()))).filter(|(_, figures)| figures.ended.is_some_and(|ended| ended < before));
            ended.map(|(key, _)| key.clone()).take(500).collect()
        };
        if !old.is_empty() {
            let ids = array(old.iter().map(|(_, id)| record_named("finding", &id.0)));
            self.database.query("DELETE $ids RETURN NONE", vec![("ids", ids)]).await?;
            let mut known = self.known.write().expect("no holder panics");
            old.iter().for_each(|key| drop(known.remove(key)));
        }
        Ok(old.len())
    }

    /// Reads findings by name, in the order given; those that are not there are left out.
    async fn read(&self, ids: &[FindingId]) -> Result<Vec<Finding>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids_of = array(ids.iter().map(|id| record_named("finding", &id.0)));
        let mut answer = self.database.query("SELECT *, record::id(id) AS key OMIT id FROM $ids", vec![("ids", ids_of)]).await?;
        let found: Vec<Row> = answer.take(0).map_err(|error| unfit("finding", &error))?;
        let mut found: BTreeMap<String, Row> = found.into_iter().map(|row| (row.key.clone(), row)).collect();
        ids.iter().filter_map(|id| found.remove(&*id.0)).map(Finding::try_from).collect()
    }
}

impl FindingQuery {
    fn wants(&self, since: Timestamp, figures: &Figures) -> bool {
        let dismissed = figures.feedback.is_some_and(|(anomaly, _)| !anomaly);
        self.service.is_none_or(|service| Some(service) == figures.service)
            && self.region.as_ref().is_none_or(|region| figures.regions.iter().any(|seen| *seen.0 == **region))
            && self.signal.is_none_or(|signal| signal == figures.signal)
            && self.shape.is_none_or(|shape| shape == figures.shape)
            && self.since.is_none_or(|since| figures.ended.is_none_or(|ended| ended >= since))
            && self.until.is_none_or(|until| since < until)
            && self.open.is_none_or(|open| open == figures.ended.is_none())
            && self.min_score.is_none_or(|least| figures.score >= least)
            && self.dismissed.is_none_or(|wanted| wanted == dismissed)
    }
}

impl Figures {
    fn of(finding: &Finding) -> Figures {
        Figures {
            service: finding.service,
            region: finding.region.clone(),
            regions: finding.regions.clone().into(),
            signal: finding.signal,
            shape: finding.shape,
            ended: finding.ended,
            score: finding.score,
            size: finding.size(),
            feedback: finding.feedback.as_ref().map(|feedback| (feedback.anomaly, feedback.at)),
        }
    }

    fn read(row: FiguresRow) -> Result<((Timestamp, FindingId), Figures), StoreError> {
        let signal = signal(&row.signal)?;
        let figures = Figures {
            service: service_of(row.service),
            region: row.region.as_deref().map(RegionName::from),
            regions: row.regions.iter().map(|region| RegionName::from(region.as_str())).collect(),
            signal,
            shape: shape(&row.shape)?,
            ended: row.ended.map(Timestamp),
            score: row.score,
            size: size(signal, row.observed, row.expected),
            feedback: row.feedback_anomaly.zip(row.feedback_at.map(Timestamp)),
        };
        Ok(((Timestamp(row.since), FindingId(row.key.into())), figures))
    }
}
