//! One pass over one service: its rollups are read a day at a time and kept as small summaries, so that weeks of minutes
//! are never in memory together; the forest runs on a thread where it holds nobody up; what is found is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::aggregate::rollup::{DAY, HOUR, Rollup, Rule, floor};
use crate::analysis::batch::{BatchFinding, BatchSettings, Outcome, Span, judge};
use crate::analysis::batch_runner::BatchRunnerArgs;
use crate::analysis::features::{MOST_BUCKETS, Observation, RegionSummary, bucket_length};
use crate::model::finding::{DISMISSED_FOR, Evidence, Finding, FindingId, Learning, Shape, Signal};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::findings::FindingQuery;
use crate::store::rollups::{Resolution, RollupQuery};

/// Results come in late by so much and are still counted.
const GRACE: Duration = Duration::from_secs(90);
/// A pass that does not know what was judged before looks at so much.
const FIRST: Duration = Duration::from_secs(86_400);
/// Buckets before those that are new, in which a run may have begun.
const OVERLAP: i64 = 8;
/// What has gone on for longer is how the service is now.
const COVERS: Duration = Duration::from_secs(86_400);
/// Features named in a line.
const NAMED: usize = 3;

#[derive(Debug)]
pub struct Pass {
    /// Those that were not known first, of which there are `new`, then those that have grown.
    pub findings: Vec<Finding>,
    pub new: usize,
    pub buckets: usize,
    pub learning: Option<Learning>,
    /// The end of what was judged.
    pub through: Timestamp,
    pub took: Duration,
}

struct History<'a> {
    args: &'a BatchRunnerArgs,
    service: ServiceId,
    regions: Vec<RegionName>,
    now: Timestamp,
    rule: Rule,
}

/// `None`: there is no such service. `through` is the end of what was judged before.
pub async fn pass(args: &BatchRunnerArgs, service: ServiceId, through: Option<Timestamp>) -> anyhow::Result<Option<Pass>> {
    let (now, began) = (args.clock.now(), args.clock.steady());
    let (Some(state), Some(rule)) = (args.board.service(service, now), args.board.rule(service, now)) else { return Ok(None) };
    let regions = state.regions.iter().map(|region| region.region.clone()).collect();
    let history = History { args, service, regions, now, rule };
    let length = bucket_length(rule.gap, history.known().await?);
    let until = Timestamp(floor(now.minus(GRACE), length));
    let since = Timestamp(until.0.saturating_sub(length.saturating_mul(MOST_BUCKETS as i64)));
    let observations = history.observations(since, until, length).await?;
    let from = through.map_or(now.minus(FIRST), |through| Timestamp(through.0.saturating_sub(OVERLAP * length)));
    let query = FindingQuery { service: Some(service), since: Some(since), dismissed: None, ..FindingQuery::default() };
    let known = args.findings.list(&query).await?.findings;
    let covered: Vec<Span> =
        known.iter().filter(|finding| finding.signal != Signal::Pattern && !finding.dismissed()).map(|of| span(of, now)).collect();
    let settings = BatchSettings {
        trees: args.settings.trees,
        sample_size: args.settings.sample_size,
        contamination: args.settings.contamination,
        seed: args.settings.seed.wrapping_add(u64::from(service.0)),
    };
    let judged = tokio::task::spawn_blocking(move || judge(&observations, length, from, &covered, &settings)).await??;
    let mut pass = Pass { findings: Vec::new(), new: 0, buckets: 0, learning: None, through: until, took: Duration::ZERO };
    match judged {
        Outcome::Learning(learning) => pass.learning = Some(learning),
        Outcome::Judged { buckets, findings } => {
            pass.buckets = buckets;
            let patterns: Vec<&Finding> = known.iter().filter(|finding| finding.signal == Signal::Pattern).collect();
            let mut grown = Vec::new();
            for found in findings {
                let finding = finding(service, &state.name, &history.regions, &found);
                match patterns.iter().find(|known| known.since < found.span.to && span(known, now).to >= found.span.from) {
                    // A person said that it is none.
                    Some(known) if known.dismissed() => {}
                    Some(known) => grown.extend(grow(known, finding)),
                    None if patterns.iter().any(|known| silences(known, &finding, now)) => {}
                    None => pass.findings.push(finding),
                }
            }
            pass.new = pass.findings.len();
            pass.findings.append(&mut grown);
        }
    }
    args.findings.save(&pass.findings).await?;
    pass.took = args.clock.steady().saturating_sub(began);
    Ok(Some(pass))
}

impl History<'_> {
    /// How much there is of it, by the hours that hold checks.
    async fn known(&self) -> Result<Duration, StoreError> {
        let since = Timestamp(self.now.0.saturating_sub(HOUR.saturating_mul(MOST_BUCKETS as i64)));
        let mut hours: BTreeSet<i64> = BTreeSet::new();
        for region in &self.regions {
            let buckets = self.args.store.results.rollups(&self.query(region, Resolution::Hour, since, self.now), self.now).await?;
            hours.extend(buckets.iter().filter(|bucket| bucket.rollup.checks > 0).map(|bucket| bucket.start.0));
        }
        Ok(Duration::from_secs(3600 * hours.len() as u64))
    }

    async fn observations(&self, since: Timestamp, until: Timestamp, length: i64) -> Result<Vec<Observation>, StoreError> {
        let resolution = if length >= HOUR { Resolution::Hour } else { Resolution::Minute };
        let mut observations: BTreeMap<i64, Vec<RegionSummary>> = BTreeMap::new();
        for region in &self.regions {
            let mut from = since;
            while from < until {
                // Buckets divide days, so that none is cut in two.
                let to = Timestamp(floor(Timestamp(from.0.saturating_add(DAY)), DAY)).min(until);
                let mut buckets: BTreeMap<i64, Rollup> = BTreeMap::new();
                for bucket in self.args.store.results.rollups(&self.query(region, resolution, from, to), self.now).await? {
                    if bucket.rollup.checks > 0 && bucket.start < to {
                        buckets.entry(floor(bucket.start, length)).or_default().merge(&bucket.rollup);
                    }
                }
                for (start, rollup) in buckets {
                    observations.entry(start).or_default().push(RegionSummary::of(region.clone(), &rollup));
                }
                from = to;
            }
        }
        Ok(observations.into_iter().map(|(start, regions)| Observation { start: Timestamp(start), regions }).collect())
    }

    fn query(&self, region: &RegionName, resolution: Resolution, since: Timestamp, until: Timestamp) -> RollupQuery {
        RollupQuery { service: self.service, region: Some(region.to_string()), resolution, since, until, rule: self.rule }
    }
}

fn span(finding: &Finding, now: Timestamp) -> Span {
    let end = finding.ended.unwrap_or(now);
    // Patterns are all of the past; what they cover is what they are.
    let to = if finding.signal == Signal::Pattern { end } else { end.min(finding.since.plus(COVERS)) };
    Span { from: finding.since, to }
}

/// Whether a pattern that was dismissed was of the same leading feature.
fn silences(dismissed: &Finding, finding: &Finding, now: Timestamp) -> bool {
    let leading = |finding: &Finding| finding.evidence.first().map(|evidence| evidence.what.clone());
    let Some(feedback) = dismissed.feedback.as_ref().filter(|feedback| !feedback.anomaly) else { return false };
    now < feedback.at.plus(DISMISSED_FOR) && leading(dismissed) == leading(finding)
}

/// The known finding with what is new of it; `None`: nothing is.
fn grow(known: &Finding, found: Finding) -> Option<Finding> {
    let (since, ended) = (known.since, known.ended.max(found.ended));
    if known.ended == ended {
        return None;
    }
    let worse = found.score > known.score;
    let (evidence, summary) = if worse { (found.evidence, found.summary) } else { (known.evidence.clone(), known.summary.clone()) };
    Some(Finding {
        id: known.id.clone(),
        since,
        last: known.last.max(found.last),
        ended,
        observed: known.observed.max(found.observed),
        score: known.score.max(found.score),
        confidence: known.confidence.max(found.confidence),
        samples: known.samples.max(found.samples),
        evidence,
        summary,
        ..known.clone()
    })
}

fn finding(service: ServiceId, name: &Arc<str>, regions: &[RegionName], found: &BatchFinding) -> Finding {
    let evidence = found.features.iter().map(|of| Evidence {
        at: of.at,
        what: of.feature.title(),
        observed: of.observed,
        expected: Some(of.expected),
    });
    Finding {
        id: FindingId(format!("{service}-{}-{:x}", Signal::Pattern.name(), found.span.from.0 / 1_000_000).into()),
        service: Some(service),
        name: name.clone(),
        region: if let [region] = regions { Some(region.clone()) } else { None },
        regions: regions.to_vec(),
        signal: Signal::Pattern,
        shape: Shape::Unusual,
        since: found.span.from,
        last: found.features.first().map_or(found.span.from, |of| of.at).max(found.span.from),
        ended: Some(found.span.to),
        observed: found.score,
        expected: None,
        score: found.score,
        confidence: found.confidence,
        samples: found.buckets,
        learning: None,
        summary: summary(found),
        evidence: evidence.collect(),
        feedback: None,
    }
}

fn summary(found: &BatchFinding) -> String {
    let figures = found.features.iter().take(NAMED).map(|of| {
        let (observed, expected) = (of.feature.written(of.observed), of.feature.written(of.expected));
        format!("{} {observed} instead of {expected}", of.feature.name())
    });
    let minutes = found.span.to.since(found.span.from).as_secs() / 60;
    let lasted = if minutes < 120 { format!("{minutes} minutes") } else { format!("{} hours", minutes / 60) };
    let since = found.span.from.datetime().format("%H:%M UTC");
    format!("unusual together: {}, since {since} for {lasted}", figures.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::batch::FeatureFigure;
    use crate::analysis::features::Feature;

    fn found(from: &str, minutes: i64) -> BatchFinding {
        let from = Timestamp::parse(from).unwrap();
        let feature = |feature, observed, expected| FeatureFigure { feature, at: from, observed, expected, share: 0.4 };
        BatchFinding {
            span: Span { from, to: Timestamp(from.0 + minutes * 60_000_000) },
            buckets: 3,
            score: 0.71,
            confidence: 0.97,
            features: vec![feature(Feature::ConnectShare, 0.45, 0.2), feature(Feature::P95, 412.3, 180.0)],
        }
    }

    #[test]
    fn a_pattern_is_told_in_one_line() {
        let expected = "unusual together: connecting's share of the time 45.0 % instead of 20.0 %, latency p95 412 ms instead of 180 ms, \
            since 14:30 UTC for 45 minutes";
        assert_eq!(summary(&found("2026-11-20T14:30:00Z", 45)), expected);
        assert!(summary(&found("2026-11-20T14:30:00Z", 200)).ends_with("for 3 hours"));
    }

    #[test]
    fn a_pattern_that_goes_on_grows_and_the_same_again_changes_nothing() {
        let of = |from, minutes| finding(ServiceId(3), &"api".into(), &["eu".into(), "us".into()], &found(from, minutes));
        let known = of("2026-11-20T14:30:00Z", 45);
        assert_eq!(known.id.to_string(), "3-pattern-6b005968");
        assert_eq!(grow(&known, of("2026-11-20T14:45:00Z", 30)), None);
        let grown = grow(&known, of("2026-11-20T14:45:00Z", 90)).unwrap();
        assert_eq!((grown.id.clone(), grown.since, grown.ended), (known.id, known.since, Timestamp::parse("2026-11-20T16:15:00Z")));
    }
}
