//! Incidents and their timelines.
//!
//! A few figures of each are also in memory, so that lists are filtered, ordered and counted without a query, and only the
//! rows of a page are read. What verdicts say of an incident and what people say of it are different fields: neither writer
//! overwrites the other.
//!
//! **Invariant.** Ids of rows follow from what they tell: writing the same again changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use surrealdb::types::{SurrealValue, Value};

use crate::clock::Clock;
use crate::model::check::{Failure, Phase, Phases, Reason};
use crate::model::id::{RegionName, ServiceId};
use crate::model::incident::{EntryKind, Incident, IncidentId, Severity, Sighting, TimelineEntry};
use crate::model::time::{Timestamp, micros};
use crate::store::audit::{Audit, Change, corrupt as unfit};
use crate::store::connection::{Database, StoreError};
use crate::store::services::Author;
use crate::store::values::{array, corrupt, int, object, record_named, record_of, rows, text};

/// Which incidents are wanted. All filters must hold.
#[derive(Clone, Debug, Default)]
pub struct IncidentFilter {
    pub service: Option<ServiceId>,
    pub open: Option<bool>,
    /// Those that were open at this instant or later…
    pub since: Option<Timestamp>,
    /// …and had opened before this one.
    pub until: Option<Timestamp>,
    pub severity: Option<Severity>,
}

/// An incident with what people did about it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredIncident {
    pub incident: Incident,
    pub acknowledged: Option<Acknowledgement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub by: String,
    pub at: Timestamp,
}

/// What is known of an incident without a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BriefIncident {
    pub id: IncidentId,
    pub service: ServiceId,
    pub severity: Severity,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Incidents {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    /// By opening, so that a list is a walk.
    known: RwLock<BTreeMap<(Timestamp, IncidentId), Figures>>,
    /// Those that have not closed, whole: a page that lists them waits for no store.
    open: RwLock<BTreeMap<IncidentId, StoredIncident>>,
}

/// An incident without what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentSpan {
    pub id: IncidentId,
    pub service: ServiceId,
    pub severity: Severity,
    pub opened_at: Timestamp,
    pub closed_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Figures {
    service: ServiceId,
    severity: Severity,
    closed_at: Option<Timestamp>,
}

#[derive(SurrealValue)]
struct Row {
    key: String,
    service: i64,
    name: String,
    severity: String,
    opened_at: i64,
    closed_at: Option<i64>,
    unwatched: Option<bool>,
    first_line: String,
    regions: String,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<i64>,
}

#[derive(SurrealValue)]
struct FiguresRow {
    key: String,
    service: i64,
    severity: String,
    opened_at: i64,
    closed_at: Option<i64>,
}

/// What the aggregator writes of an incident.
#[derive(SurrealValue)]
struct Fields {
    service: i64,
    name: String,
    severity: String,
    opened_at: i64,
    closed_at: Option<i64>,
    unwatched: Option<bool>,
    first_line: String,
    regions: String,
}

#[derive(Serialize, Deserialize)]
struct SightingRow {
    region: String,
    status: String,
    since: i64,
    result: String,
    checked_at: i64,
    status_code: Option<u16>,
    latency_us: u64,
    /// dns, connect, tls, first byte, transfer, in microseconds.
    phases_us: [Option<u64>; 5],
    address: Option<String>,
    reason: Option<String>,
    phase: Option<String>,
    message: Option<String>,
}

impl Incidents {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<Incidents, StoreError> {
        let text = "SELECT record::id(id) AS key, service, severity, opened_at, closed_at FROM incident";
        let mut answer = database.query(text, Vec::new()).await?;
        let found: Vec<FiguresRow> = answer.take(0).map_err(|error| unfit("incident", &error))?;
        let mut known = BTreeMap::new();
        for row in found {
            let figures = Figures {
                service: ServiceId(row.service as u32),
                severity: severity(&row.severity)?,
                closed_at: row.closed_at.map(Timestamp),
            };
            known.insert((Timestamp(row.opened_at), IncidentId(row.key.into())), figures);
        }
        let still_open: Vec<IncidentId> =
            known.iter().filter(|(_, figures)| figures.closed_at.is_none()).map(|((_, id), _)| id.clone()).collect();
        let incidents = Incidents { database, audit, clock, known: RwLock::new(known), open: RwLock::default() };
        let open = incidents.read(&still_open).await?.into_iter().map(|stored| (stored.incident.id.clone(), stored)).collect();
        *incidents.open.write().expect("no holder panics") = open;
        Ok(incidents)
    }

    /// Those that have not closed, newest first; answered from memory.
    pub fn open_now(&self) -> Vec<StoredIncident> {
        let mut open: Vec<StoredIncident> = self.open.read().expect("no holder panics").values().cloned().collect();
        open.sort_by_key(|one| std::cmp::Reverse(one.incident.opened_at));
        open
    }

    /// Whether there is, or was, an incident of this name.
    pub fn contains(&self, id: &IncidentId) -> bool {
        self.known.read().expect("no holder panics").keys().any(|(_, known)| known == id)
    }

    /// Writes what verdicts say of an incident, and adds to its timeline. Twice is the same as once.
    pub async fn save(&self, incident: &Incident, entries: &[TimelineEntry]) -> Result<(), StoreError> {
        let fields = Fields {
            service: incident.service.0.into(),
            name: incident.name.to_string(),
            severity: incident.severity.name().to_owned(),
            opened_at: incident.opened_at.0,
            closed_at: incident.closed_at.map(|at| at.0),
            unwatched: Some(incident.unwatched),
            first_line: incident.first_line.clone(),
            regions: serde_json::to_string(&incident.regions.iter().map(SightingRow::from).collect::<Vec<_>>())
                .map_err(|error| corrupt("incident", error))?,
        };
        let statements = "BEGIN; UPSERT $id MERGE $fields RETURN NONE;
            INSERT IGNORE INTO incident_entry $entries RETURN NONE; COMMIT";
        let values = vec![
            ("id", record_named("incident", &incident.id.0)),
            ("fields", fields.into_value()),
            ("entries", array(entries.iter().map(|entry| entry_row(&incident.id, entry)))),
        ];
        self.database.query(statements, values).await?;
        let figures = Figures { service: incident.service, severity: incident.severity, closed_at: incident.closed_at };
        self.known.write().expect("no holder panics").insert((incident.opened_at, incident.id.clone()), figures);
        let mut open = self.open.write().expect("no holder panics");
        match incident.closed_at {
            Some(_) => drop(open.remove(&incident.id)),
            None => {
                let acknowledged = open.remove(&incident.id).and_then(|stored| stored.acknowledged);
                open.insert(incident.id.clone(), StoredIncident { incident: incident.clone(), acknowledged });
            }
        }
        Ok(())
    }

    /// Those that have not closed, oldest first.
    pub async fn still_open(&self) -> Result<Vec<Incident>, StoreError> {
        let open: Vec<IncidentId> = {
            let known = self.known.read().expect("no holder panics");
            known.iter().filter(|(_, figures)| figures.closed_at.is_none()).map(|((_, id), _)| id.clone()).collect()
        };
        Ok(self.read(&open).await?.into_iter().map(|stored| stored.incident).collect())
    }

    /// Those that were open at an instant or later, with when they closed.
    pub fn since(&self, since: Timestamp) -> BTreeMap<IncidentId, Option<Timestamp>> {
        let known = self.known.read().expect("no holder panics");
        let filter = IncidentFilter { since: Some(since), ..IncidentFilter::default() };
        let fitting = known.iter().filter(|((opened, _), figures)| filter.wants(*opened, figures));
        fitting.map(|((_, id), figures)| (id.clone(), figures.closed_at)).collect()
    }

    /// Incidents by name, in the order given; those that are not there are left out.
    pub async fn named(&self, ids: &[IncidentId]) -> Result<Vec<StoredIncident>, StoreError> {
        self.read(ids).await
    }

    /// Newest first, leaving out the first `skip`; and how many there are of all that fit.
    pub async fn page(&self, filter: &IncidentFilter, skip: usize, size: usize) -> Result<(u64, Vec<StoredIncident>), StoreError> {
        let fitting: Vec<IncidentId> = {
            let known = self.known.read().expect("no holder panics");
            known.iter().rev().filter(|((opened, _), figures)| filter.wants(*opened, figures)).map(|((_, id), _)| id.clone()).collect()
        };
        let page: Vec<IncidentId> = fitting.iter().skip(skip).take(size).cloned().collect();
        Ok((fitting.len() as u64, self.read(&page).await?))
    }

    /// Those that fit, oldest first, as they are known in memory.
    pub fn brief(&self, filter: &IncidentFilter) -> Vec<BriefIncident> {
        let known = self.known.read().expect("no holder panics");
        let fitting = known.iter().filter(|((opened, _), figures)| filter.wants(*opened, figures));
        fitting
            .map(|((opened, id), figures)| BriefIncident {
                id: id.clone(),
                service: figures.service,
                severity: figures.severity,
                opened_at: *opened,
                closed_at: figures.closed_at,
            })
            .collect()
    }

    /// Those of a service that were open at some instant of a window, newest first.
    pub fn overlapping(&self, service: ServiceId, since: Timestamp, until: Timestamp) -> Vec<IncidentId> {
        let filter = IncidentFilter { service: Some(service), since: Some(since), until: Some(until), ..IncidentFilter::default() };
        let known = self.known.read().expect("no holder panics");
        known.iter().rev().filter(|((opened, _), figures)| filter.wants(*opened, figures)).map(|((_, id), _)| id.clone()).collect()
    }

    /// When services had incidents since an instant, oldest first; answered from memory.
    pub fn spans(&self, since: Timestamp) -> Vec<IncidentSpan> {
        let known = self.known.read().expect("no holder panics");
        let lasted = |figures: &Figures| figures.closed_at.is_none_or(|closed| closed >= since);
        let spans = known.iter().filter(|(_, figures)| lasted(figures));
        spans
            .map(|((opened_at, id), figures)| IncidentSpan {
                id: id.clone(),
                service: figures.service,
                severity: figures.severity,
                opened_at: *opened_at,
                closed_at: figures.closed_at,
            })
            .collect()
    }

    /// One incident with its timeline, oldest first; `None`: there is none of this name.
    pub async fn one(&self, id: &IncidentId) -> Result<Option<(StoredIncident, Vec<TimelineEntry>)>, StoreError> {
        let Some(stored) = self.read(std::slice::from_ref(id)).await?.pop() else { return Ok(None) };
        let range = "SELECT * FROM incident_entry:[$key]..[$key, $end]";
        // A key sorts before every longer one that begins with it, and numbers before what is no number.
        let mut answer = self.database.query(range, vec![("key", text(&id.0)), ("end", int(i64::MAX))]).await?;
        let mut entries = Vec::new();
        for row in rows(&mut answer, 0)? {
            let key = row.key()?;
            let kind = EntryKind::from_name(key.text(2)?).ok_or_else(|| corrupt("incident entry", "its kind is not known"))?;
            entries.push(TimelineEntry {
                at: Timestamp(key.int(1)?),
                kind,
                text: row.text("text")?.to_owned(),
                who: row.text("who").ok().map(str::to_owned),
            });
        }
        Ok(Some((stored, entries)))
    }

    /// Notes that someone has taken an incident on; the first one stays. `false`: someone had.
    pub async fn acknowledge(&self, id: &IncidentId, author: &Author) -> Result<bool, StoreError> {
        let stored = self.read(std::slice::from_ref(id)).await?.pop();
        if stored.is_none_or(|stored| stored.acknowledged.is_some()) {
            return Ok(false);
        }
        let at = self.clock.now();
        let text_of = format!("acknowledged by {}", author.who);
        let entry = TimelineEntry { at, kind: EntryKind::Acknowledged, text: text_of, who: Some(author.who.clone()) };
        let statements = "UPDATE $id SET acknowledged_by = $by, acknowledged_at = $at RETURN NONE;
            INSERT IGNORE INTO incident_entry $entry RETURN NONE;";
        let values =
            vec![("id", record_named("incident", &id.0)), ("by", text(&author.who)), ("at", int(at.0)), ("entry", entry_row(id, &entry))];
        self.audit.commit(statements, values, &change(id, author, "incident.acknowledge")).await?;
        if let Some(stored) = self.open.write().expect("no holder panics").get_mut(id) {
            stored.acknowledged = Some(Acknowledgement { by: author.who.clone(), at });
        }
        Ok(true)
    }

    /// Adds a note to the timeline of an incident that is there.
    pub async fn note(&self, id: &IncidentId, note: &str, author: &Author) -> Result<(), StoreError> {
        let entry = TimelineEntry { at: self.clock.now(), kind: EntryKind::Note, text: note.to_owned(), who: Some(author.who.clone()) };
        let statements = "INSERT INTO incident_entry $entry RETURN NONE;";
        self.audit.commit(statements, vec![("entry", noted_row(id, &entry))], &change(id, author, "incident.note")).await?;
        Ok(())
    }

    /// Reads incidents by name, in the order given; those that are not there are left out.
    async fn read(&self, ids: &[IncidentId]) -> Result<Vec<StoredIncident>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids_of = array(ids.iter().map(|id| record_named("incident", &id.0)));
        let mut answer = self.database.query("SELECT *, record::id(id) AS key OMIT id FROM $ids", vec![("ids", ids_of)]).await?;
        let found: Vec<Row> = answer.take(0).map_err(|error| unfit("incident", &error))?;
        let mut found: BTreeMap<String, Row> = found.into_iter().map(|row| (row.key.clone(), row)).collect();
        ids.iter().filter_map(|id| found.remove(&*id.0)).map(StoredIncident::try_from).collect()
    }
}

impl IncidentFilter {
    fn wants(&self, opened: Timestamp, figures: &Figures) -> bool {
        self.service.is_none_or(|service| service == figures.service)
            && self.open.is_none_or(|open| open == figures.closed_at.is_none())
            && self.since.is_none_or(|since| figures.closed_at.is_none_or(|closed| closed >= since))
            && self.until.is_none_or(|until| opened < until)
            && self.severity.is_none_or(|severity| severity == figures.severity)
    }
}

impl TryFrom<Row> for StoredIncident {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<StoredIncident, StoreError> {
        let regions: Vec<SightingRow> = serde_json::from_str(&row.regions).map_err(|error| corrupt("incident", error))?;
        let incident = Incident {
            id: IncidentId(row.key.into()),
            service: ServiceId(row.service as u32),
            name: row.name.into(),
            severity: severity(&row.severity)?,
            opened_at: Timestamp(row.opened_at),
            closed_at: row.closed_at.map(Timestamp),
            unwatched: row.unwatched.unwrap_or(false),
            first_line: row.first_line,
            regions: regions.into_iter().map(Sighting::from).collect(),
        };
        let acknowledged = row.acknowledged_by.zip(row.acknowledged_at).map(|(by, at)| Acknowledgement { by, at: Timestamp(at) });
        Ok(StoredIncident { incident, acknowledged })
    }
}

impl From<&Sighting> for SightingRow {
    fn from(seen: &Sighting) -> SightingRow {
        let us = |phase: Option<Duration>| phase.map(|phase| micros(phase).max(0) as u64);
        let Phases { dns, connect, tls, first_byte, transfer } = seen.phases;
        SightingRow {
            region: seen.region.to_string(),
            status: seen.status.clone(),
            since: seen.since.0,
            result: seen.result.clone(),
            checked_at: seen.checked_at.0,
            status_code: seen.status_code,
            latency_us: seen.latency_us,
            phases_us: [us(dns), us(connect), us(tls), us(first_byte), us(transfer)],
            address: seen.address.clone(),
            reason: seen.failure.as_ref().map(|failure| failure.reason.name().to_owned()),
            phase: seen.failure.as_ref().map(|failure| failure.phase.name().to_owned()),
            message: seen.failure.as_ref().map(|failure| failure.message.clone()),
        }
    }
}

impl From<SightingRow> for Sighting {
    fn from(row: SightingRow) -> Sighting {
        let [dns, connect, tls, first_byte, transfer] = row.phases_us.map(|us| us.map(Duration::from_micros));
        let reason = row.reason.as_deref().and_then(Reason::from_name);
        let phase = row.phase.as_deref().and_then(|name| Phase::ALL.into_iter().find(|phase| phase.name() == name));
        let failure = reason.zip(phase).map(|(reason, phase)| Failure { reason, phase, message: row.message.unwrap_or_default() });
        Sighting {
            region: RegionName::from(row.region.as_str()),
            status: row.status,
            since: Timestamp(row.since),
            result: row.result,
            checked_at: Timestamp(row.checked_at),
            status_code: row.status_code,
            latency_us: row.latency_us,
            phases: Phases { dns, connect, tls, first_byte, transfer },
            address: row.address,
            failure,
        }
    }
}

fn severity(name: &str) -> Result<Severity, StoreError> {
    Severity::from_name(name).ok_or_else(|| corrupt("incident", format!("its severity is {name:?}")))
}

fn entry_row(id: &IncidentId, entry: &TimelineEntry) -> Value {
    row_of(id, entry, entry.who.as_deref().unwrap_or(&entry.text))
}

/// Two notes of one instant are two notes.
fn noted_row(id: &IncidentId, entry: &TimelineEntry) -> Value {
    row_of(id, entry, &format!("{:016x}", rand::random::<u64>()))
}

fn row_of(id: &IncidentId, entry: &TimelineEntry, last: &str) -> Value {
    let key = vec![text(&id.0), int(entry.at.0), text(entry.kind.name()), text(last)];
    object([("id", record_of("incident_entry", key)), ("text", text(&entry.text)), ("who", entry.who.as_deref().map_or(Value::None, text))])
}

fn change(id: &IncidentId, author: &Author, action: &'static str) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: format!("incident:{id}"), fields: Vec::new() }
}
