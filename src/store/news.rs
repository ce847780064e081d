//! What the subscribers of the status page were told, or are to be told.
//!
//! What is recent is also in memory: a message names the news it carries, and is drawn from them when it is sent.
//!
//! **Invariant.** Ids of rows follow from what they tell: writing the same again changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};
use surrealdb::types::Value;

use crate::model::check::Reason;
use crate::model::id::ServiceId;
use crate::model::incident::{IncidentId, Severity};
use crate::model::subscriber::{Hurt, Matter, News, WindowStep, WindowTime};
use crate::model::time::Timestamp;
use crate::model::window::WindowId;
use crate::store::connection::{Database, StoreError};
use crate::store::values::{array, corrupt, int, object, record_named, rows, text};

#[derive(Debug)]
pub struct NewsStore {
    database: Arc<Database>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<String, Arc<News>>,
    /// The last that was told of each subject.
    latest: BTreeMap<String, Arc<News>>,
}

#[derive(Serialize, Deserialize)]
struct NewsRow {
    subject: String,
    number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    outage: Option<Vec<HurtRow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<WindowRow>,
}

#[derive(Serialize, Deserialize)]
struct HurtRow {
    service: u32,
    name: String,
    incident: String,
    severity: String,
    reasons: Vec<String>,
    opened_at: i64,
    worked_on_at: Option<i64>,
    closed_at: Option<i64>,
    before: u32,
    fresh: bool,
}

#[derive(Serialize, Deserialize)]
struct WindowRow {
    window: u32,
    title: String,
    from: i64,
    until: i64,
    step: String,
    services: Vec<(u32, String)>,
}

impl NewsStore {
    pub async fn open(database: Arc<Database>) -> Result<NewsStore, StoreError> {
        let mut answer = database.query("SELECT at, passed_on, data FROM status_news", Vec::new()).await?;
        let mut known = Known::default();
        for row in rows(&mut answer, 0)? {
            known.insert(Arc::new(read(row.text("data")?, Timestamp(row.int("at")?), row.flag("passed_on")?)?));
        }
        Ok(NewsStore { database, known: RwLock::new(known) })
    }

    pub fn get(&self, id: &str) -> Option<Arc<News>> {
        self.known.read().expect("no holder panics").by_id.get(id).cloned()
    }

    /// The last that was told of each subject that is kept.
    pub fn latest(&self) -> Vec<Arc<News>> {
        self.known.read().expect("no holder panics").latest.values().cloned().collect()
    }

    /// Those for which there are no messages yet, the oldest first.
    pub fn waiting(&self) -> Vec<Arc<News>> {
        let known = self.known.read().expect("no holder panics");
        let mut waiting: Vec<Arc<News>> = known.by_id.values().filter(|news| !news.passed_on).cloned().collect();
        waiting.sort_by_cached_key(|news| (news.at, news.id()));
        waiting
    }

    pub async fn add(&self, news: Vec<News>) -> Result<(), StoreError> {
        let found = array(news.iter().map(row_of));
        self.database.query("INSERT IGNORE INTO status_news $rows RETURN NONE", vec![("rows", found)]).await?;
        let mut known = self.known.write().expect("no holder panics");
        news.into_iter().for_each(|news| known.insert(Arc::new(news)));
        Ok(())
    }

    /// A message for every subscriber is in the store.
    pub async fn passed_on(&self, news: &News) -> Result<(), StoreError> {
        let id = record_named("status_news", &news.id());
        self.database.query("UPDATE $id SET passed_on = true RETURN NONE", vec![("id", id)]).await?;
        self.known.write().expect("no holder panics").insert(Arc::new(News { passed_on: true, ..news.clone() }));
        Ok(())
    }

    /// Lets go of what was told before an instant, but for the last of what goes on.
    pub async fn forget(&self, before: Timestamp) -> Result<(), StoreError> {
        let old: Vec<Arc<News>> = {
            let known = self.known.read().expect("no holder panics");
            let goes_on = |news: &News| !news.is_last() && known.latest.get(&news.subject).is_some_and(|last| last.number == news.number);
            known.by_id.values().filter(|news| news.at < before && !goes_on(news)).cloned().collect()
        };
        if old.is_empty() {
            return Ok(());
        }
        let ids = array(old.iter().map(|news| record_named("status_news", &news.id())));
        self.database.query("DELETE $ids RETURN NONE", vec![("ids", ids)]).await?;
        let mut known = self.known.write().expect("no holder panics");
        for news in old {
            known.by_id.remove(&news.id());
            if known.latest.get(&news.subject).is_some_and(|last| last.number == news.number) {
                known.latest.remove(&news.subject);
            }
        }
        Ok(())
    }
}

impl Known {
    fn insert(&mut self, news: Arc<News>) {
        if self.latest.get(&news.subject).is_none_or(|last| last.number <= news.number) {
            self.latest.insert(news.subject.clone(), news.clone());
        }
        self.by_id.insert(news.id(), news);
    }
}

fn row_of(news: &News) -> Value {
    let (outage, window) = match &news.matter {
        Matter::Outage(hurts) => (Some(hurts.iter().map(HurtRow::from).collect()), None),
        Matter::Maintenance(time) => (None, Some(WindowRow::from(time))),
    };
    let row = NewsRow { subject: news.subject.clone(), number: news.number, outage, window };
    object([
        ("id", record_named("status_news", &news.id())),
        ("at", int(news.at.0)),
        ("passed_on", Value::Bool(news.passed_on)),
        ("data", text(&serde_json::to_string(&row).expect("plain text and numbers always encode"))),
    ])
}

fn read(data: &str, at: Timestamp, passed_on: bool) -> Result<News, StoreError> {
    let row: NewsRow = serde_json::from_str(data).map_err(|error| corrupt("status news", error))?;
    let matter = match (row.outage, row.window) {
        (Some(hurts), None) => Matter::Outage(hurts.into_iter().map(HurtRow::read).collect::<Result<_, _>>()?),
        (None, Some(window)) => Matter::Maintenance(window.read()?),
        _ => return Err(corrupt("status news", "it is of nothing, or of two things")),
    };
    Ok(News { subject: row.subject, number: row.number, at, matter, passed_on })
}

impl From<&Hurt> for HurtRow {
    fn from(hurt: &Hurt) -> HurtRow {
        HurtRow {
            service: hurt.service.0,
            name: hurt.name.clone(),
            incident: hurt.incident.to_string(),
            severity: hurt.severity.name().to_owned(),
            reasons: hurt.reasons.iter().map(|reason| reason.name().to_owned()).collect(),
            opened_at: hurt.opened_at.0,
            worked_on_at: hurt.worked_on_at.map(|at| at.0),
            closed_at: hurt.closed_at.map(|at| at.0),
            before: hurt.before,
            fresh: hurt.fresh,
        }
    }
}

impl HurtRow {
    fn read(self) -> Result<Hurt, StoreError> {
        let severity = Severity::from_name(&self.severity);
        Ok(Hurt {
            service: ServiceId(self.service),
            name: self.name,
            incident: IncidentId(self.incident.into()),
            severity: severity.ok_or_else(|| corrupt("status news", format!("its severity is {:?}", self.severity)))?,
            reasons: self.reasons.iter().filter_map(|name| Reason::from_name(name)).collect(),
            opened_at: Timestamp(self.opened_at),
            worked_on_at: self.worked_on_at.map(Timestamp),
            closed_at: self.closed_at.map(Timestamp),
            before: self.before,
            fresh: self.fresh,
        })
    }
}

impl From<&WindowTime> for WindowRow {
    fn from(time: &WindowTime) -> WindowRow {
        WindowRow {
            window: time.window.0,
            title: time.title.clone(),
            from: time.from.0,
            until: time.until.0,
            step: time.step.name().to_owned(),
            services: time.services.iter().map(|(service, name)| (service.0, name.clone())).collect(),
        }
    }
}

impl WindowRow {
    fn read(self) -> Result<WindowTime, StoreError> {
        let step = WindowStep::from_name(&self.step);
        Ok(WindowTime {
            window: WindowId(self.window),
            title: self.title,
            from: Timestamp(self.from),
            until: Timestamp(self.until),
            step: step.ok_or_else(|| corrupt("status news", format!("its step is {:?}", self.step)))?,
            services: self.services.into_iter().map(|(service, name)| (ServiceId(service), name)).collect(),
        })
    }
}
