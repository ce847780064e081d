//! Causes: what holds, what held, and what was told of it.
//!
//! A few figures of each are in memory, so that lists are filtered without a query and whoever hears of a cause knows at once
//! whether it was there before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};

use crate::model::alert::CauseKind;
use crate::model::held::Held;
use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::model::time::Timestamp;
use crate::store::alerts::rows::{kind, read_cause, severity};
use crate::store::connection::{Database, StoreError};
use crate::store::values::{array, record_named, rows};

/// Which causes are wanted. All filters must hold.
#[derive(Clone, Debug, Default)]
pub struct CauseFilter {
    pub service: Option<ServiceId>,
    pub kind: Option<CauseKind>,
    pub severity: Option<Severity>,
    pub open: Option<bool>,
    pub drill: Option<bool>,
}

#[derive(Debug)]
pub struct Causes {
    database: Arc<Database>,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By beginning, so that a list is a walk.
    all: BTreeMap<(Timestamp, Arc<str>), Figures>,
    since: HashMap<Arc<str>, Timestamp>,
}

#[derive(Clone, Debug)]
struct Figures {
    kind: CauseKind,
    severity: Severity,
    service: Option<ServiceId>,
    drill: bool,
    cleared_at: Option<Timestamp>,
    consequence_of: Option<String>,
    settled: bool,
}

impl Causes {
    pub async fn open(database: Arc<Database>) -> Result<Causes, StoreError> {
        let text =
            "SELECT record::id(id) AS key, kind, severity, drill, service, since, cleared_at, consequence_of, settled FROM alert_cause";
        let mut answer = database.query(text, Vec::new()).await?;
        let mut known = Known::default();
        for row in rows(&mut answer, 0)? {
            let (key, since): (Arc<str>, _) = (row.text("key")?.into(), Timestamp(row.int("since")?));
            let figures = Figures {
                kind: kind(row.text("kind")?)?,
                severity: severity(row.text("severity")?)?,
                service: row.optional_int("service")?.map(|service| ServiceId(service as u32)),
                drill: row.flag("drill")?,
                cleared_at: row.optional_int("cleared_at")?.map(Timestamp),
                consequence_of: row.text("consequence_of").ok().map(str::to_owned),
                settled: row.flag("settled")?,
            };
            known.since.insert(key.clone(), since);
            known.all.insert((since, key), figures);
        }
        Ok(Causes { database, known: RwLock::new(known) })
    }

    /// Whether there is, or was, a cause of this name.
    pub fn contains(&self, key: &str) -> bool {
        self.known.read().expect("no holder panics").since.contains_key(key)
    }

    /// What a cause follows from, or followed from to its end.
    pub fn consequence_of(&self, key: &str) -> Option<String> {
        let known = self.known.read().expect("no holder panics");
        let (key, since) = known.since.get_key_value(key)?;
        known.all.get(&(*since, key.clone()))?.consequence_of.clone()
    }

    /// The causes that follow from another, the oldest first.
    pub fn consequences(&self, key: &str) -> Vec<Arc<str>> {
        let known = self.known.read().expect("no holder panics");
        let mine = known.all.iter().filter(|(_, figures)| figures.consequence_of.as_deref() == Some(key));
        mine.map(|((_, key), _)| key.clone()).collect()
    }

    /// Those of which something may still be told.
    pub async fn unsettled(&self) -> Result<Vec<Held>, StoreError> {
        let keys: Vec<Arc<str>> = {
            let known = self.known.read().expect("no holder panics");
            known.all.iter().filter(|(_, figures)| !figures.settled).map(|((_, key), _)| key.clone()).collect()
        };
        self.read(&keys).await
    }

    /// Newest first, leaving out the first `skip`; and how many there are of all that fit.
    pub async fn page(&self, filter: &CauseFilter, skip: usize, size: usize) -> Result<(u64, Vec<Held>), StoreError> {
        let fitting: Vec<Arc<str>> = {
            let known = self.known.read().expect("no holder panics");
            known.all.iter().rev().filter(|(_, figures)| filter.wants(figures)).map(|((_, key), _)| key.clone()).collect()
        };
        let page: Vec<Arc<str>> = fitting.iter().skip(skip).take(size).cloned().collect();
        Ok((fitting.len() as u64, self.read(&page).await?))
    }

    pub async fn one(&self, key: &str) -> Result<Option<Held>, StoreError> {
        Ok(self.read(&[key.into()]).await?.pop())
    }

    /// Lets go of those that were over before an instant.
    pub async fn forget(&self, before: Timestamp) -> Result<usize, StoreError> {
        let old: Vec<(Timestamp, Arc<str>)> = {
            let known = self.known.read().expect("no holder panics");
            let over = |figures: &Figures| figures.settled && figures.cleared_at.is_some_and(|at| at < before);
            known.all.iter().filter(|(_, figures)| over(figures)).map(|(key, _)| key.clone()).take(500).collect()
        };
        if !old.is_empty() {
            let ids = array(old.iter().map(|(_, key)| record_named("alert_cause", key)));
            self.database.query("DELETE $ids RETURN NONE", vec![("ids", ids)]).await?;
            let mut known = self.known.write().expect("no holder panics");
            for key in &old {
                known.all.remove(key);
                known.since.remove(&key.1);
            }
        }
        Ok(old.len())
    }

    pub(super) fn remember(&self, held: &Held, settled: bool) {
        let cause = &held.cause;
        let mut known = self.known.write().expect("no holder panics");
        let key: Arc<str> = cause.key.as_str().into();
        known.since.insert(key.clone(), cause.since);
        let figures = Figures {
            kind: cause.kind,
            severity: cause.severity,
            service: cause.service,
            drill: cause.drill,
            cleared_at: held.cleared_at,
            consequence_of: held.consequence_of.clone(),
            settled,
        };
        known.all.insert((cause.since, key), figures);
    }

    /// Reads causes by name, in the order given; those that are not there are left out.
    async fn read(&self, keys: &[Arc<str>]) -> Result<Vec<Held>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let ids = array(keys.iter().map(|key| record_named("alert_cause", key)));
        let mut answer = self.database.query("SELECT data FROM $ids", vec![("ids", ids)]).await?;
        let mut found: HashMap<String, Held> = HashMap::new();
        for row in rows(&mut answer, 0)? {
            let held = read_cause(row.text("data")?)?;
            found.insert(held.cause.key.clone(), held);
        }
        Ok(keys.iter().filter_map(|key| found.remove(&**key)).collect())
    }
}

impl CauseFilter {
    fn wants(&self, figures: &Figures) -> bool {
        self.service.is_none_or(|service| figures.service == Some(service))
            && self.kind.is_none_or(|kind| figures.kind == kind)
            && self.severity.is_none_or(|severity| figures.severity == severity)
            && self.open.is_none_or(|open| open == figures.cleared_at.is_none())
            && self.drill.is_none_or(|drill| drill == figures.drill)
    }
}
