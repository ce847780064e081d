//! Objectives, and which of them burn. All of them are also in memory; changes take turns, reach the store first and memory
//! after.
//!
//! **Invariant.** A number is never given twice: that the first were made is known even when all were deleted.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use surrealdb::types::{SurrealValue, Value};
use thiserror::Error;

use crate::clock::Clock;
use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::model::slo::{Aim, BurnPair, CalendarUnit, Period, Promise, Slo, SloId};
use crate::model::time::{Timestamp, micros};
use crate::store::audit::{Audit, Change, corrupt as unfit};
use crate::store::connection::{Database, StoreError};
use crate::store::services::Author;
use crate::store::shelf::{Numbered, Shelf, next_number, untouched};
use crate::store::values::{corrupt, int, record, rows};

#[derive(Debug, Error)]
pub enum SlosError {
    #[error("there is no objective {id}")]
    Unknown { id: SloId },
    #[error("name {name:?} is taken by objective {by}")]
    NameTaken { name: String, by: SloId },
    #[error("objective {id} was changed meanwhile: it has revision {found}")]
    Changed { id: SloId, found: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug)]
pub struct Slos {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    shelf: Shelf<Slo>,
}

#[derive(SurrealValue)]
struct Fields {
    revision: i64,
    document: String,
    created_by: String,
    created_at: i64,
    updated_by: String,
    updated_at: i64,
}

#[derive(SurrealValue)]
struct Row {
    number: i64,
    #[surreal(flatten)]
    fields: Fields,
}

#[derive(Serialize, Deserialize)]
struct PromiseRow {
    name: String,
    service: u32,
    /// `None`: availability.
    latency_us: Option<i64>,
    objective: f64,
    regions: Option<Vec<String>>,
    /// A rolling period…
    days: Option<u32>,
    /// …or one of the calendar.
    calendar: Option<(String, String)>,
    least_coverage: f64,
    /// Factor, long and short in microseconds, severity.
    burn: Vec<(f64, i64, i64, String)>,
}

impl Numbered for Slo {
    fn number(&self) -> u32 {
        self.id.0
    }
}

impl Slos {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<Slos, StoreError> {
        let known = read_all(&database).await?;
        Ok(Slos { database, audit, clock, shelf: Shelf::new(known) })
    }

    /// Reads all again, as after a change whose outcome was not told; whether anything is not as it was known.
    pub async fn refresh(&self) -> Result<bool, StoreError> {
        let _turn = self.shelf.turn().await;
        let found = read_all(&self.database).await?;
        Ok(self.shelf.renew(found))
    }

    /// Whether no objective was ever made here.
    pub async fn untouched(&self) -> Result<bool, StoreError> {
        untouched(&self.database, "slo").await
    }

    /// All of them, by number.
    pub fn list(&self) -> Arc<Vec<Arc<Slo>>> {
        self.shelf.all()
    }

    pub fn get(&self, id: SloId) -> Option<Arc<Slo>> {
        self.shelf.get(id.0)
    }

    pub async fn create(&self, promise: Promise, author: &Author) -> Result<Arc<Slo>, SlosError> {
        let _turn = self.shelf.turn().await;
        self.free(&promise.name, None)?;
        let id = SloId(next_number(&self.database, "slo").await?);
        let now = self.clock.now();
        let who = || author.who.clone();
        let slo = Arc::new(Slo { id, revision: 1, promise, created_by: who(), created_at: now, updated_by: who(), updated_at: now });
        let values = vec![("id", record("slo", id.0.into())), ("row", fields(&slo)?)];
        let change = change(author, "slo.create", id, named(None, &slo.promise)?);
        self.audit.commit("CREATE $id CONTENT $row RETURN NONE;", values, &change).await?;
        self.shelf.put(slo.clone());
        Ok(slo)
    }

    /// Puts another promise in the place of an objective's own; `expected` is the revision it was made from, if that matters.
    pub async fn replace(&self, id: SloId, promise: Promise, expected: Option<u64>, author: &Author) -> Result<Arc<Slo>, SlosError> {
        let _turn = self.shelf.turn().await;
        let old = self.get(id).ok_or(SlosError::Unknown { id })?;
        if expected.is_some_and(|expected| expected != old.revision) {
            return Err(SlosError::Changed { id, found: old.revision });
        }
        self.free(&promise.name, Some(id))?;
        if promise == old.promise {
            return Ok(old);
        }
        let names = named(Some(&old.promise), &promise)?;
        let (revision, updated_by, updated_at) = (old.revision + 1, author.who.clone(), self.clock.now());
        let slo = Arc::new(Slo { revision, promise, updated_by, updated_at, ..Slo::clone(&old) });
        // One that is carried out late must not undo what came after it.
        let text = "IF $id.revision != $row.revision - 1 { THROW 'objective was changed meanwhile' }; UPDATE $id CONTENT $row RETURN NONE;";
        let values = vec![("id", record("slo", id.0.into())), ("row", fields(&slo)?)];
        self.audit.commit(text, values, &change(author, "slo.update", id, names)).await?;
        self.shelf.put(slo.clone());
        Ok(slo)
    }

    pub async fn delete(&self, id: SloId, author: &Author) -> Result<Arc<Slo>, SlosError> {
        let _turn = self.shelf.turn().await;
        let old = self.get(id).ok_or(SlosError::Unknown { id })?;
        let values = vec![("id", record("slo", id.0.into()))];
        self.audit.commit("DELETE $id RETURN NONE;", values, &change(author, "slo.delete", id, Vec::new())).await?;
        self.shelf.remove(id.0);
        Ok(old)
    }

    /// The objectives that burn, and since when.
    pub async fn burning(&self) -> Result<Vec<(SloId, Timestamp)>, StoreError> {
        let mut answer = self.database.query("SELECT * FROM slo_burn", Vec::new()).await?;
        rows(&mut answer, 0)?.iter().map(|row| Ok((SloId(row.key_number()? as u32), Timestamp(row.int("since")?)))).collect()
    }

    /// Notes since when an objective burns; `None`: it does not.
    pub async fn set_burning(&self, id: SloId, since: Option<Timestamp>) -> Result<(), StoreError> {
        let record = ("id", record("slo_burn", id.0.into()));
        match since {
            Some(since) => self.database.query("UPSERT $id SET since = $since RETURN NONE", vec![record, ("since", int(since.0))]).await?,
            None => self.database.query("DELETE $id RETURN NONE", vec![record]).await?,
        };
        Ok(())
    }

    fn free(&self, name: &str, of: Option<SloId>) -> Result<(), SlosError> {
        match self.list().iter().find(|slo| slo.promise.name == name && Some(slo.id) != of) {
            Some(other) => Err(SlosError::NameTaken { name: name.to_owned(), by: other.id }),
            None => Ok(()),
        }
    }
}

async fn read_all(database: &Database) -> Result<Vec<Arc<Slo>>, StoreError> {
    let mut answer = database.query("SELECT *, record::id(id) AS number OMIT id FROM slo ORDER BY number", Vec::new()).await?;
    let found: Vec<Row> = answer.take(0).map_err(|error| unfit("objective", &error))?;
    found.into_iter().map(|row| Slo::try_from(row).map(Arc::new)).collect()
}

fn fields(slo: &Slo) -> Result<Value, StoreError> {
    let document = serde_json::to_string(&PromiseRow::from(&slo.promise)).map_err(|error| corrupt("objective", error))?;
    Ok(Fields {
        revision: slo.revision as i64,
        document,
        created_by: slo.created_by.clone(),
        created_at: slo.created_at.0,
        updated_by: slo.updated_by.clone(),
        updated_at: slo.updated_at.0,
    }
    .into_value())
}

/// The fields in which two promises differ.
fn named(old: Option<&Promise>, new: &Promise) -> Result<Vec<String>, StoreError> {
    let broken = |error: serde_json::Error| corrupt("objective", error);
    let old = old.map(|old| serde_json::to_value(PromiseRow::from(old))).transpose().map_err(broken)?.unwrap_or_default();
    let new = serde_json::to_value(PromiseRow::from(new)).map_err(broken)?;
    let fields = new.as_object().into_iter().flatten();
    Ok(fields.filter(|(name, value)| old.get(name.as_str()) != Some(value)).map(|(name, _)| name.clone()).collect())
}

impl TryFrom<Row> for Slo {
    type Error = StoreError;

    fn try_from(Row { number, fields: row }: Row) -> Result<Slo, StoreError> {
        let promise: PromiseRow = serde_json::from_str(&row.document).map_err(|error| corrupt("objective", error))?;
        Ok(Slo {
            id: SloId(number as u32),
            revision: row.revision as u64,
            promise: promise.try_into()?,
            created_by: row.created_by,
            created_at: Timestamp(row.created_at),
            updated_by: row.updated_by,
            updated_at: Timestamp(row.updated_at),
        })
    }
}

impl From<&Promise> for PromiseRow {
    fn from(promise: &Promise) -> PromiseRow {
        let (days, calendar) = match promise.period {
            Period::Rolling(days) => (Some(days), None),
            Period::Calendar { unit, zone } => (None, Some((unit.name().to_owned(), zone.name().to_owned()))),
        };
        let pair = |pair: &BurnPair| (pair.factor, micros(pair.long), micros(pair.short), pair.severity.name().to_owned());
        PromiseRow {
            name: promise.name.clone(),
            service: promise.service.0,
            latency_us: match promise.aim {
                Aim::Availability => None,
                Aim::Latency(limit) => Some(micros(limit)),
            },
            objective: promise.objective,
            regions: promise.regions.clone(),
            days,
            calendar,
            least_coverage: promise.least_coverage,
            burn: promise.burn.iter().map(pair).collect(),
        }
    }
}

impl TryFrom<PromiseRow> for Promise {
    type Error = StoreError;

    fn try_from(row: PromiseRow) -> Result<Promise, StoreError> {
        let us = |us: i64| Duration::from_micros(us.max(0) as u64);
        let broken = |what: String| corrupt("objective", what);
        let period = match (row.days, row.calendar) {
            (Some(days), _) => Period::Rolling(days),
            (None, Some((unit, zone))) => Period::Calendar {
                unit: CalendarUnit::from_name(&unit).ok_or_else(|| broken(format!("its period is {unit:?}")))?,
                zone: zone.parse().map_err(|_| broken(format!("its time zone is {zone:?}")))?,
            },
            (None, None) => return Err(broken("it has no period".to_owned())),
        };
        let pair = |(factor, long, short, severity): (f64, i64, i64, String)| {
            let severity = Severity::from_name(&severity).ok_or_else(|| broken(format!("a severity is {severity:?}")))?;
            Ok::<_, StoreError>(BurnPair { factor, long: us(long), short: us(short), severity })
        };
        Ok(Promise {
            name: row.name,
            service: ServiceId(row.service),
            aim: row.latency_us.map_or(Aim::Availability, |limit| Aim::Latency(us(limit))),
            objective: row.objective,
            regions: row.regions,
            period,
            least_coverage: row.least_coverage,
            burn: row.burn.into_iter().map(pair).collect::<Result<_, _>>()?,
        })
    }
}

fn change(author: &Author, action: &'static str, id: SloId, fields: Vec<String>) -> Change {
    Change { who: author.who.clone(), address: author.address, action, subject: format!("slo:{id}"), fields }
}
