//! What the board is made of on a start: the newest results of the store and its counts of the last hours.

use tracing::info;

use crate::aggregate::board::{Board, HOUR, Hour};
use crate::clock::Clock;
use crate::store::Store;
use crate::store::query::ResultQuery;

/// Shows on the board what the store knows of the past.
pub async fn board(store: &Store, board: &Board, clock: &Clock) -> anyhow::Result<()> {
    let now = clock.now();
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
    }
    info!(series, "board restored from the store");
    Ok(())
}
