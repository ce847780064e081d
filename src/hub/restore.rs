//! What the board is made of on a start: the newest results of the store, its counts of the last hours, and since when each region
//! has been as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::info;

use crate::aggregate::board::{Board, HOUR, Hour};
use crate::clock::Clock;
use crate::hub::records::Records;
use crate::model::check::CheckResult;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::query::ResultQuery;

/// For so long the record is asked when regions turned; of the rest the incidents say it, less exactly. A start is not to wait longer.
const ASKING: Duration = Duration::from_secs(3);

/// Shows on the board what the store knows of the past.
pub async fn board(records: &Records, board: &Board, clock: &Clock) -> anyhow::Result<()> {
    let now = clock.now();
    let (store, began) = (&records.store, clock.steady());
    let incidents = last_incidents(records);
    let known = store.results.newest().await?;
    let series = known.len();
    let few = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    for series in known {
        let hours: Vec<Hour> = series
            .hours
            .iter()
            .map(|of| Hour { hour: of.hour.0.div_euclid(HOUR), checks: few(of.checks), failures: few(of.failures) })
            .collect();
        let Some(newest) = series.newest else { continue };
        let recent = match board.memory(series.service) {
            0 => continue,
            1 => vec![newest],
            // A state that takes several results in a row is made of them again, with those that led up to it.
            memory => {
                let (service, region) = (Some(series.service), Some(series.region.to_string()));
                let query = ResultQuery { service, region, newest_first: true, page_size: 4 * memory as usize, ..ResultQuery::default() };
                let mut recent: Vec<_> = store.results.page(&query).await?.results.into_iter().map(|stored| stored.result).collect();
                recent.reverse();
                recent
            }
        };
        board.restore(&recent, &hours, now);
        let Some(newest) = recent.last() else { continue };
        let first = hours.iter().map(|hour| hour.hour * HOUR).min().map_or(newest.started_at, Timestamp);
        let mixed = hours.iter().any(|hour| hour.failures > 0) && hours.iter().any(|hour| hour.failures < hour.checks);
        let turned = match mixed && clock.steady().saturating_sub(began) < ASKING {
            true => turned(records, newest, first, board.memory(series.service)).await?,
            false => None,
        };
        // What has been so for all of these hours began when the last incident did, or ended, or with the service.
        let since = turned.or_else(|| match (incidents.get(&series.service), newest.ok()) {
            (Some((_, Some(closed))), true) => Some(*closed),
            (Some((opened, None)), false) => Some(*opened),
            (None, true) => records.services.get(series.service).map(|stored| stored.created_at),
            _ => None,
        });
        if let Some(since) = since {
            board.began(series.service, &series.region, since.min(newest.started_at));
        }
    }
    info!(series, "board restored from the store");
    Ok(())
}

/// When the newest incident of each service opened and closed.
fn last_incidents(records: &Records) -> BTreeMap<ServiceId, (Timestamp, Option<Timestamp>)> {
    let mut last: BTreeMap<ServiceId, (Timestamp, Option<Timestamp>)> = BTreeMap::new();
    for span in records.incidents.spans(Timestamp(i64::MIN)) {
        last.insert(span.service, (span.opened_at, span.closed_at));
    }
    last
}

/// When a region's results turned to what the newest of them is: by so many of these in a row. `None`: not since `first`.
async fn turned(records: &Records, newest: &CheckResult, first: Timestamp, in_a_row: u32) -> Result<Option<Timestamp>, StoreError> {
    let (service, region) = (Some(newest.service), Some(newest.region.to_string()));
    let before = ResultQuery {
        service,
        region,
        since: Some(first),
        ok: Some(!newest.ok()),
        newest_first: true,
        page_size: 1,
        ..ResultQuery::default()
    };
    let Some(last) = records.store.results.page(&before).await?.results.into_iter().next() else { return Ok(None) };
    let since = Some(Timestamp(last.result.started_at.0 + 1));
    let after = ResultQuery { since, ok: None, newest_first: false, page_size: in_a_row.max(1) as usize, ..before };
    Ok(records.store.results.page(&after).await?.results.last().map(|stored| stored.result.started_at))
}
