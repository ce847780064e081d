//! Digests, and the tokens their writing has cost by day.
//!
//! A few figures of each are in memory, so that lists are filtered and counted without a query, and so is the newest of each
//! service and of all, for the summary.
//!
//! **Invariants.** The id of a digest follows from its period and scope: writing it again replaces it. Tokens are counted
//! before they are spent, so that a process that dies has counted too many rather than too few.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use surrealdb::types::{SurrealValue, Value};
use tokio::sync::Mutex;

use crate::model::digest::{Digest, DigestId, DigestText, Period, Tokens, Writer};
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::audit::corrupt as unfit;
use crate::store::connection::{Database, StoreError};
use crate::store::values::{array, corrupt, int, record, record_named, rows};

const DAY: i64 = 86_400_000_000;

/// Which digests are wanted. All filters must hold.
#[derive(Clone, Debug, Default)]
pub struct DigestFilter {
    pub scope: Option<DigestScope>,
    /// Those whose period ended at this instant or later…
    pub since: Option<Timestamp>,
    /// …and before this one.
    pub until: Option<Timestamp>,
    pub writer: Option<Writer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestScope {
    All,
    Of(ServiceId),
}

#[derive(Debug)]
pub struct Digests {
    database: Arc<Database>,
    known: RwLock<Known>,
    /// One who counts tokens at a time.
    counting: Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the end of the period, then by when it was written.
    all: BTreeMap<Key, Figures>,
    newest: HashMap<Option<ServiceId>, Arc<Digest>>,
}

type Key = (Timestamp, Timestamp, DigestId);

#[derive(Clone, Copy, Debug)]
struct Figures {
    service: Option<ServiceId>,
    writer: Writer,
}

#[derive(SurrealValue)]
struct FiguresRow {
    key: String,
    service: Option<i64>,
    until: i64,
    written_at: i64,
    writer: String,
}

#[derive(SurrealValue)]
struct Fields {
    service: Option<i64>,
    name: Option<String>,
    since: i64,
    until: i64,
    written_at: i64,
    headline: String,
    paragraphs: Vec<String>,
    suggestions: Vec<String>,
    writer: String,
    writer_reason: String,
    model: Option<String>,
    prompt_tokens: i64,
    completion_tokens: i64,
    anomaly_count: i64,
    facts: String,
}

#[derive(SurrealValue)]
struct Row {
    key: String,
    service: Option<i64>,
    name: Option<String>,
    since: i64,
    until: i64,
    written_at: i64,
    headline: String,
    paragraphs: Vec<String>,
    suggestions: Vec<String>,
    writer: String,
    writer_reason: String,
    model: Option<String>,
    prompt_tokens: i64,
    completion_tokens: i64,
    anomaly_count: i64,
    facts: String,
}

impl Digests {
    pub async fn open(database: Arc<Database>) -> Result<Digests, StoreError> {
        let text = "SELECT record::id(id) AS key, service, until, written_at, writer FROM digest";
        let mut answer = database.query(text, Vec::new()).await?;
        let found: Vec<FiguresRow> = answer.take(0).map_err(|error| unfit("digest", &error))?;
        let mut all = BTreeMap::new();
        let mut newest: BTreeMap<Option<ServiceId>, Key> = BTreeMap::new();
        for row in found {
            let service = row.service.map(|service| ServiceId(service as u32));
            let key = (Timestamp(row.until), Timestamp(row.written_at), DigestId(row.key.into()));
            let latest = newest.entry(service).or_insert_with(|| key.clone());
            *latest = key.clone().max(latest.clone());
            all.insert(key, Figures { service, writer: writer(&row.writer)? });
        }
        let digests = Digests { database, known: RwLock::default(), counting: Mutex::default() };
        let ids: Vec<DigestId> = newest.into_values().map(|(_, _, id)| id).collect();
        let newest = digests.read(&ids).await?.into_iter().map(|digest| (digest.service, Arc::new(digest))).collect();
        *digests.known.write().expect("no holder panics") = Known { all, newest };
        Ok(digests)
    }

    /// Writes a digest; one of the same period and scope is replaced.
    pub async fn save(&self, digest: &Digest) -> Result<(), StoreError> {
        let fields = Fields {
            service: digest.service.map(|service| service.0.into()),
            name: digest.name.as_ref().map(ToString::to_string),
            since: digest.period.since.0,
            until: digest.period.until.0,
            written_at: digest.written_at.0,
            headline: digest.text.headline.clone(),
            paragraphs: digest.text.paragraphs.clone(),
            suggestions: digest.text.suggestions.clone(),
            writer: digest.writer.name().to_owned(),
            writer_reason: digest.writer_reason.clone(),
            model: digest.model.clone(),
            prompt_tokens: digest.tokens.prompt as i64,
            completion_tokens: digest.tokens.completion as i64,
            anomaly_count: digest.anomaly_count as i64,
            facts: digest.facts.clone(),
        };
        let values = vec![("id", record_named("digest", &digest.id.0)), ("fields", fields.into_value())];
        self.database.query("UPSERT $id CONTENT $fields RETURN NONE", values).await?;
        let mut known = self.known.write().expect("no holder panics");
        known.all.retain(|(_, _, id), _| *id != digest.id);
        let key = (digest.period.until, digest.written_at, digest.id.clone());
        known.all.insert(key, Figures { service: digest.service, writer: digest.writer });
        let order = |digest: &Digest| (digest.period.until, digest.written_at);
        let newer = known.newest.get(&digest.service).is_none_or(|newest| newest.id == digest.id || order(newest) <= order(digest));
        if newer {
            known.newest.insert(digest.service, Arc::new(digest.clone()));
        }
        Ok(())
    }

    /// The newest of a service, or of all.
    pub fn latest(&self, service: Option<ServiceId>) -> Option<Arc<Digest>> {
        self.known.read().expect("no holder panics").newest.get(&service).cloned()
    }

    /// Newest first, leaving out the first `skip`; and how many there are of all that fit.
    pub async fn page(&self, filter: &DigestFilter, skip: usize, size: usize) -> Result<(u64, Vec<Digest>), StoreError> {
        let fitting: Vec<DigestId> = {
            let known = self.known.read().expect("no holder panics");
            known
                .all
                .iter()
                .rev()
                .filter(|((until, _, _), figures)| filter.wants(*until, figures))
                .map(|((_, _, id), _)| id.clone())
                .collect()
        };
        let page: Vec<DigestId> = fitting.iter().skip(skip).take(size).cloned().collect();
        Ok((fitting.len() as u64, self.read(&page).await?))
    }

    /// `None`: there is none of this name.
    pub async fn one(&self, id: &DigestId) -> Result<Option<Digest>, StoreError> {
        Ok(self.read(std::slice::from_ref(id)).await?.pop())
    }

    /// Forgets digests of periods that ended before an instant, the newest of each service and of all excepted.
    pub async fn forget(&self, before: Timestamp) -> Result<usize, StoreError> {
        let old: Vec<DigestId> = {
            let known = self.known.read().expect("no holder panics");
            let kept = |id: &DigestId| known.newest.values().any(|newest| newest.id == *id);
            known.all.keys().take_while(|(until, _, _)| *until < before).map(|(_, _, id)| id.clone()).filter(|id| !kept(id)).collect()
        };
        for slice in old.chunks(100) {
            let ids = array(slice.iter().map(|id| record_named("digest", &id.0)));
            self.database.query("DELETE $ids RETURN NONE", vec![("ids", ids)]).await?;
            self.known.write().expect("no holder panics").all.retain(|(_, _, id), _| !slice.contains(id));
        }
        Ok(old.len())
    }

    /// Counts tokens as spent on the day of an instant, if the day can bear them. Else what is left of it.
    pub async fn spend(&self, at: Timestamp, tokens: u64, most: u64) -> Result<Result<(), u64>, StoreError> {
        let _counting = self.counting.lock().await;
        let spent = self.spent(at).await?;
        if spent.saturating_add(tokens) > most {
            return Ok(Err(most.saturating_sub(spent)));
        }
        self.add(at, tokens as i64).await.map(Ok)
    }

    /// Corrects what was counted for the day of an instant, once it is known what it came to.
    pub async fn correct(&self, at: Timestamp, counted: u64, came_to: u64) -> Result<(), StoreError> {
        let _counting = self.counting.lock().await;
        self.add(at, came_to as i64 - counted as i64).await
    }

    /// Tokens spent on the day of an instant.
    pub async fn spent(&self, at: Timestamp) -> Result<u64, StoreError> {
        let mut answer = self.database.query("SELECT spent FROM $id", vec![("id", day(at))]).await?;
        let spent = rows(&mut answer, 0)?.first().map(|row| row.int("spent")).transpose()?;
        Ok(spent.unwrap_or(0).max(0) as u64)
    }

    async fn add(&self, at: Timestamp, tokens: i64) -> Result<(), StoreError> {
        let values = vec![("id", day(at)), ("tokens", int(tokens))];
        self.database.query("UPSERT $id SET spent = math::max([0, (spent ?? 0) + $tokens]) RETURN NONE", values).await.map(drop)
    }

    /// Reads digests by name, in the order given; those that are not there are left out.
    async fn read(&self, ids: &[DigestId]) -> Result<Vec<Digest>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids_of = array(ids.iter().map(|id| record_named("digest", &id.0)));
        let mut answer = self.database.query("SELECT *, record::id(id) AS key OMIT id FROM $ids", vec![("ids", ids_of)]).await?;
        let found: Vec<Row> = answer.take(0).map_err(|error| unfit("digest", &error))?;
        let mut found: BTreeMap<String, Row> = found.into_iter().map(|row| (row.key.clone(), row)).collect();
        ids.iter().filter_map(|id| found.remove(&*id.0)).map(Digest::try_from).collect()
    }
}

impl DigestFilter {
    fn wants(&self, until: Timestamp, figures: &Figures) -> bool {
        let scope = |scope: DigestScope| match scope {
            DigestScope::All => figures.service.is_none(),
            DigestScope::Of(service) => figures.service == Some(service),
        };
        self.scope.is_none_or(scope)
            && self.since.is_none_or(|since| until >= since)
            && self.until.is_none_or(|end| until < end)
            && self.writer.is_none_or(|writer| writer == figures.writer)
    }
}

impl TryFrom<Row> for Digest {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Digest, StoreError> {
        Ok(Digest {
            id: DigestId(row.key.into()),
            service: row.service.map(|service| ServiceId(service as u32)),
            name: row.name.map(Into::into),
            period: Period { since: Timestamp(row.since), until: Timestamp(row.until) },
            written_at: Timestamp(row.written_at),
            text: DigestText { headline: row.headline, paragraphs: row.paragraphs, suggestions: row.suggestions },
            writer: writer(&row.writer)?,
            writer_reason: row.writer_reason,
            model: row.model,
            tokens: Tokens { prompt: row.prompt_tokens.max(0) as u64, completion: row.completion_tokens.max(0) as u64 },
            anomaly_count: row.anomaly_count.max(0) as u64,
            facts: row.facts,
        })
    }
}

fn writer(name: &str) -> Result<Writer, StoreError> {
    Writer::from_name(name).ok_or_else(|| corrupt("digest", format!("its writer is {name:?}")))
}

fn day(at: Timestamp) -> Value {
    record("digest_tokens", at.0.div_euclid(DAY))
}
