//! The figures there are in the facts, by what they count. Pure.

use std::collections::BTreeSet;

use crate::digest::check::figures::{Figure, read};
use crate::digest::facts::Facts;
use crate::model::finding::Signal;
use crate::model::time::Timestamp;

/// All figures a text may hold.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub counts: BTreeSet<u64>,
    /// Sizes of groups of which some may be named and the rest be counted.
    pub groups: BTreeSet<u64>,
    /// In per cent.
    pub shares: Vec<f64>,
    /// All of the time was measured, which says nothing of what was measured.
    pub all_measured: bool,
    /// In seconds: spans and latencies alike.
    pub seconds: Vec<f64>,
    pub factors: Vec<f64>,
    pub moments: Vec<Timestamp>,
}

impl Known {
    pub fn of(facts: &Facts) -> Known {
        let mut known = Known::default();
        let services = facts.services.len() as u64;
        known.group(services);
        known.group(facts.regions.len() as u64);
        known.group(facts.affected);
        known.group(facts.incidents);
        known.counts.extend([facts.disabled, facts.checks, facts.failed, facts.open, facts.dismissed]);
        known.counts.extend([services - facts.affected.min(services), facts.well()]);
        known.group(facts.quietly_degraded().len() as u64);
        known.moments.extend([facts.period.since, facts.period.until, facts.before.since, facts.before.until]);
        known.span(facts.length().as_secs_f64());
        known.all_measured = facts.coverage >= 1.0;
        if !known.all_measured {
            known.share(facts.coverage);
        }
        facts.uptime.iter().for_each(|uptime| known.share(*uptime));
        if facts.checks > 0 {
            known.share(facts.failed as f64 / facts.checks as f64);
        }
        if let Some((p50, p95)) = facts.latency {
            known.shares.extend([50.0, 95.0]);
            known.seconds.extend([p50 / 1e6, p95 / 1e6]);
        }
        for list in [&facts.below, &facts.partly, &facts.degraded] {
            known.group(list.len() as u64);
            list.iter().for_each(|(_, share)| known.share(*share));
        }
        known.group(facts.unmeasured.len() as u64);
        known.causes(facts);
        for flapping in &facts.flapping {
            known.counts.insert(flapping.incidents);
            known.span(flapping.down.as_secs_f64());
        }
        known.group(facts.flapping.len() as u64);
        known.findings(facts);
        known.group(facts.changes.len() as u64);
        known.group(facts.changes.iter().filter(|change| change.worse).count() as u64);
        known.group(facts.changes.iter().filter(|change| !change.worse).count() as u64);
        for change in &facts.changes {
            known.level(change.signal, change.before);
            known.level(change.signal, change.now);
            known.factors.extend(change.ratio);
        }
        known.group(facts.certificates.len() as u64);
        for expiring in &facts.certificates {
            known.moments.push(expiring.ends);
            known.counts.insert(expiring.days.unsigned_abs());
            known.span(expiring.days.unsigned_abs() as f64 * 86_400.0);
        }
        known
    }

    fn causes(&mut self, facts: &Facts) {
        self.group(facts.causes.len() as u64);
        for cause in &facts.causes {
            self.group(cause.services.len() as u64);
            self.group(cause.incidents);
            self.counts.insert(cause.open);
            self.moments.extend([cause.first, cause.last_opened, cause.longest.opened]);
            self.moments.extend(cause.ended.iter().chain(&cause.longest.closed));
            self.span(cause.down.as_secs_f64());
            self.span(cause.longest.lasted.as_secs_f64());
            self.span(cause.last_opened.since(cause.first).as_secs_f64());
            self.counts.extend(cause.kind.status.map(u64::from));
            // The line is ours, and so are its figures.
            for figure in read(&cause.line).unwrap_or_default() {
                match figure {
                    Figure::Count { value, .. } => self.counts.extend((value.fract() == 0.0).then_some(value as u64)),
                    Figure::Span { seconds, .. } => self.seconds.push(seconds),
                    Figure::Share { percent, .. } => self.shares.push(percent),
                    Figure::Factor { value, .. } => self.factors.push(value),
                    Figure::Date { .. } | Figure::Clock { .. } | Figure::More(_) => {}
                }
            }
        }
    }

    fn findings(&mut self, facts: &Facts) {
        self.group(facts.findings.len() as u64);
        let mut by_service = std::collections::BTreeMap::<&str, u64>::new();
        for finding in &facts.findings {
            *by_service.entry(&finding.name).or_default() += 1;
            self.moments.extend([finding.since, finding.last]);
            self.moments.extend(finding.ended);
            self.level(finding.signal, finding.observed);
            if let Some(expected) = finding.expected {
                self.level(finding.signal, expected);
                if expected > 0.0 {
                    self.factors.push(finding.observed / expected);
                }
            }
        }
        self.group(by_service.len() as u64);
        by_service.into_values().for_each(|count| self.group(count));
    }

    fn level(&mut self, signal: Signal, value: f64) {
        match signal {
            Signal::Errors => self.share(value),
            Signal::Pattern => {}
            _ => self.seconds.push(value / 1e6),
        }
    }

    fn share(&mut self, share: f64) {
        self.shares.push(share * 100.0);
    }

    fn span(&mut self, seconds: f64) {
        self.seconds.push(seconds);
    }

    fn group(&mut self, count: u64) {
        self.counts.insert(count);
        self.groups.insert(count);
    }
}
