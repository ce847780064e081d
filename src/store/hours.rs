//! Rollups of many series at once, for those who look at all services together: a few queries for a slice of series instead of
//! one for each, handed over part by part, so that nobody holds them all.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::rollup::{DAY, HOUR, Rollup, Rule};
use crate::model::id::{RegionName, ServiceId};
use crate::store::connection::StoreError;
use crate::store::results::{Results, Series, SeriesKey, service_id};
use crate::store::roll::part_id;
use crate::store::rollup_codec::{Parts, decode};
use crate::store::rollups::{Resolution, Source, unmade};
use crate::store::values::{array, corrupt, rows};

/// Records asked for by one query.
const SLICE: usize = 256;

#[derive(Clone, Debug)]
pub struct SeriesQuery {
    /// `None`: all.
    pub service: Option<ServiceId>,
    pub region: Option<String>,
    pub resolution: Resolution,
    /// From and to, in microseconds; spans that begin in one of them are wanted.
    pub windows: Vec<(i64, i64)>,
}

impl SeriesQuery {
    fn wants(&self, key: &SeriesKey) -> bool {
        self.region.as_ref().is_none_or(|region| **region == *key.1.0)
    }

    fn covers(&self, start: i64) -> bool {
        self.windows.iter().any(|(from, to)| (*from..*to).contains(&start))
    }

    /// The starts of the records the windows lie in.
    fn records(&self) -> BTreeSet<i64> {
        let span = self.resolution.record_span();
        let starts = |(from, to): &(i64, i64)| {
            let first = from.div_euclid(span) * span;
            (0..).map(move |index| first.saturating_add(span.saturating_mul(index))).take_while({
                let to = *to;
                move |start| *start < to
            })
        };
        self.windows.iter().flat_map(starts).collect()
    }
}

impl Results {
    /// Hands over every span of every series that was asked for, series by series, the running one included. `rule` is for
    /// hours that have no rollups yet.
    pub async fn each_rollup(
        &self,
        query: &SeriesQuery,
        rule: impl Fn(ServiceId) -> Rule,
        mut take: impl FnMut(ServiceId, &RegionName, i64, &Rollup),
    ) -> Result<(), StoreError> {
        let table = match query.resolution {
            Resolution::Minute => "rollup_minute",
            Resolution::Hour => "rollup_hour",
            Resolution::Day => "rollup_day",
        };
        let snapshot = self.inner.snapshot(query.service);
        let records = query.records();
        let wanted: Vec<&(SeriesKey, Series)> = snapshot.tails.iter().filter(|(key, _)| query.wants(key)).collect();
        for slice in wanted.chunks((SLICE / records.len().max(1)).max(1)) {
            let mut found: BTreeMap<SeriesKey, Parts> = BTreeMap::new();
            let all: Vec<_> = slice.iter().flat_map(|(key, _)| records.iter().map(move |start| part_id(table, key, *start))).collect();
            for ids in all.chunks(SLICE) {
                let mut answer = self.inner.database.query("SELECT * FROM $ids", vec![("ids", array(ids.iter().cloned()))]).await?;
                for row in rows(&mut answer, 0)? {
                    let key = row.key()?;
                    let series = (service_id(key.int(0)?)?, RegionName::from(key.text(1)?));
                    let parts = decode(&row.bytes("data")?).map_err(|error| corrupt("rollup", error))?;
                    found.entry(series).or_default().extend(parts);
                }
            }
            for (key, series) in slice {
                let mut parts = found.remove(key).unwrap_or_default();
                let source = Source { snapshot: &snapshot, key, series, rule: rule(key.0) };
                self.make_up_all(&source, query, &records, &mut parts).await?;
                for (start, part) in parts.iter().filter(|(start, _)| query.covers(**start)) {
                    take(key.0, &key.1, *start, &part.rollup);
                }
            }
            // Others want their turn between two slices.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// What is not made yet of the windows.
    async fn make_up_all(
        &self,
        source: &Source<'_>,
        query: &SeriesQuery,
        records: &BTreeSet<i64>,
        parts: &mut Parts,
    ) -> Result<(), StoreError> {
        let span = query.resolution.record_span();
        let hours: BTreeSet<i64> = query.windows.iter().flat_map(|(from, to)| unmade(source, from.div_euclid(span) * span, *to)).collect();
        if query.resolution != Resolution::Day {
            return self.inner.make_up(source, query.resolution, &hours, parts).await;
        }
        let days: BTreeSet<i64> = hours.iter().map(|hour| (hour * HOUR).div_euclid(DAY) * DAY).collect();
        for day in days.into_iter().filter(|day| records.contains(day)) {
            parts.remove(&day);
            parts.extend(self.inner.parts(source, Resolution::Day, day, day + DAY).await?);
        }
        Ok(())
    }
}
