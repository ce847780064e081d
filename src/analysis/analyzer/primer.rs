//! A service that comes under watch begins with what was known of it: its packed states, its findings, and what the rollups hold
//! since. Where nothing was kept it learns from the rollups of the last days.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::rollup::{MINUTE, Rollup, floor};
use crate::analysis::analyzer::AnalyzerArgs;
use crate::analysis::samples::{Sample, span_of};
use crate::analysis::series::Series;
use crate::analysis::watch::Watch;
use crate::model::finding::Finding;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::findings::FindingQuery;
use crate::store::rollups::{Resolution, RollupQuery};

/// A series of which nothing is known learns from so much of the past…
const LEARNS_FROM: Duration = Duration::from_secs(3 * 86_400);
/// …and one that was away for longer than this goes on with what is new.
const LOOK_BACK: Duration = Duration::from_secs(7 * 86_400);
/// Findings that ended so lately are looked at, so that none is told again.
const PAST: Duration = Duration::from_secs(2 * 86_400);

/// A watch with what it missed.
pub struct Primed {
    pub watch: Watch,
    /// By time.
    pub missed: Vec<Sample>,
    /// By region, the last instant of the newest sample that was missed: live ones that start up to there were missed, too.
    pub through: BTreeMap<RegionName, Timestamp>,
}

/// `None`: there is no such service, and nothing to end of it.
pub async fn prime(args: &AnalyzerArgs, service: ServiceId) -> Result<Option<Primed>, StoreError> {
    let now = args.clock.now();
    let late = FindingQuery { service: Some(service), since: Some(now.minus(PAST)), dismissed: None, ..FindingQuery::default() };
    let findings: Vec<Finding> = args.findings.list(&late).await?.findings;
    let state = args.board.service(service, now);
    let rule = args.board.rule(service, now);
    let (Some(state), Some(rule)) = (state, rule) else {
        let Some(name) = findings.iter().find(|finding| finding.ended.is_none()).map(|finding| finding.name.clone()) else {
            return Ok(None);
        };
        let watch = Watch::new(service, name, BTreeMap::new(), &findings);
        return Ok(Some(Primed { watch, missed: Vec::new(), through: BTreeMap::new() }));
    };
    let mut known: BTreeMap<RegionName, Option<Series>> = state.regions.iter().map(|region| (region.region.clone(), None)).collect();
    for (region, packed) in args.states.load(service).await? {
        known.insert(region, Series::unpack(&packed));
    }
    // The rollups know nothing shorter than a minute.
    let span = span_of(rule.gap, args.settings.span).max(MINUTE);
    let until = Timestamp(floor(now, span));
    let (mut missed, mut through) = (Vec::new(), BTreeMap::new());
    for (region, series) in &known {
        let newest = series.as_ref().and_then(Series::newest);
        let since = match newest {
            Some(newest) => Timestamp(newest.0.saturating_add(1)).max(now.minus(LOOK_BACK)),
            None => now.minus(LEARNS_FROM),
        };
        if since >= until {
            continue;
        }
        let query = RollupQuery { service, region: Some(region.to_string()), resolution: Resolution::Minute, since, until, rule };
        let mut spans: BTreeMap<i64, Rollup> = BTreeMap::new();
        for bucket in args.store.results.rollups(&query, now).await? {
            let start = floor(bucket.start, span);
            if start >= since.0 && start < until.0 && bucket.rollup.checks > 0 {
                spans.entry(start).or_default().merge(&bucket.rollup);
            }
        }
        if let Some((newest, _)) = spans.last_key_value() {
            through.insert(region.clone(), Timestamp(newest.saturating_add(span - 1)));
        }
        missed.extend(spans.iter().map(|(start, rollup)| Sample::of_rollup(service, region, Timestamp(*start), span, rollup)));
    }
    missed.sort_by_key(|sample| sample.start);
    let series = known.into_iter().filter_map(|(region, series)| Some((region, series?))).collect();
    Ok(Some(Primed { watch: Watch::new(service, state.name, series, &findings), missed, through }))
}

/// Whether a live sample was already taken from the rollups. Where the clock went back it was not.
pub fn was_missed(sample: &Sample, through: &BTreeMap<RegionName, Timestamp>, now: Timestamp) -> bool {
    through.get(&sample.region).is_some_and(|through| sample.start <= *through && *through <= now)
}
