//! What any spans of a service's past came to, to the minute: reads for them the rollups they need and no more.

use std::collections::{BTreeMap, BTreeSet};

use crate::aggregate::ledger::{Cuts, Ledger};
use crate::aggregate::rollup::{DAY, HOUR, Rule, floor};
use crate::model::id::{RegionName, ServiceId};
use crate::model::span::Span;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::results::{Inner, Results};
use crate::store::roll::{longest_hold, part_id};
use crate::store::rollup_codec::{Parts, decode};
use crate::store::rollups::{LOOK_BACK, Resolution, Source, unmade};
use crate::store::values::{array, corrupt, rows};

/// Records of minutes read by one query.
const SLICE: usize = 200;

impl Results {
    /// The ledgers of a service's regions for some spans of whole minutes; of all regions, or of those named. A region nothing
    /// is known of has none.
    pub async fn ledgers(
        &self,
        service: ServiceId,
        regions: Option<&[String]>,
        spans: &[Span],
        rule: Rule,
        now: Timestamp,
    ) -> Result<BTreeMap<RegionName, Ledger>, StoreError> {
        let mut ledgers = BTreeMap::new();
        let (Some(first), Some(last)) = (spans.iter().map(|span| span.from).min(), spans.iter().map(|span| span.until).max()) else {
            return Ok(ledgers);
        };
        let snapshot = self.inner.snapshot(Some(service));
        for (key, series) in &snapshot.tails {
            if regions.is_some_and(|regions| !regions.iter().any(|region| **region == *key.1.0)) {
                continue;
            }
            let source = Source { snapshot: &snapshot, key, series, rule };
            let from = floor(first, DAY) - longest_hold(rule.gap).min(LOOK_BACK);
            let until = floor(last.min(now), DAY) + DAY;
            let days = self.inner.parts(&source, Resolution::Day, from, until.min(floor(now, DAY))).await?;
            let ledger = self.inner.ledger(&source, days, spans, now).await?;
            if !(ledger.days.is_empty() && ledger.hours.is_empty() && ledger.minutes.is_empty()) {
                ledgers.insert(key.1.clone(), ledger);
            }
        }
        Ok(ledgers)
    }
}

impl Inner {
    /// Adds to the ended days of a series the hours and minutes that some spans of whole minutes cut.
    pub(super) async fn ledger(&self, source: &Source<'_>, days: Parts, spans: &[Span], now: Timestamp) -> Result<Ledger, StoreError> {
        let cuts = Cuts::of(spans, now);
        let lead = longest_hold(source.rule.gap).min(LOOK_BACK);
        let mut hours = Parts::new();
        for (from, until) in runs(&cuts.days, DAY) {
            let read = self.parts(source, Resolution::Hour, from - lead.min(HOUR), until.min(now.0)).await?;
            hours.extend(read.into_iter().filter(|(start, _)| (from..until).contains(start)));
        }
        let (mut made, mut minutes) = (Vec::new(), Parts::new());
        for hour in &cuts.hours {
            if unmade(source, *hour, hour + HOUR).is_empty() {
                made.push(*hour);
                continue;
            }
            let read = self.parts(source, Resolution::Minute, hour - lead.min(HOUR), hour + HOUR).await?;
            minutes.extend(read.into_iter().filter(|(start, _)| (*hour..hour + HOUR).contains(start)));
        }
        for slice in made.chunks(SLICE) {
            let ids = array(slice.iter().map(|hour| part_id("rollup_minute", source.key, *hour)));
            let mut answer = self.database.query("SELECT * FROM $ids", vec![("ids", ids)]).await?;
            for row in rows(&mut answer, 0)? {
                minutes.extend(decode(&row.bytes("data")?).map_err(|error| corrupt("rollup", error))?);
            }
        }
        Ok(Ledger { days, hours, minutes })
    }
}

/// Starts that follow each other at a distance, as stretches.
fn runs(starts: &BTreeSet<i64>, distance: i64) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for start in starts {
        match runs.last_mut() {
            Some((_, until)) if until == start => *until += distance,
            _ => runs.push((*start, start + distance)),
        }
    }
    runs
}
