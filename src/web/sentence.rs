//! The first line of the overview: how everything stands, in one sentence that claims no more than is known.

use crate::aggregate::board::{RegionState, ServiceState};
use crate::aggregate::verdict::{RegionStatus, Verdict};
use crate::model::time::Timestamp;
use crate::web::moment::Moment;
use crate::web::text::Text;

/// Names told one by one.
const NAMED: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The worst verdict there is; the shape and colour beside the sentence.
    pub tone: &'static str,
    pub text: String,
    /// Since when, where it is about one service.
    pub since: Option<Moment>,
}

/// How many services stand how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub up: usize,
    pub degraded: usize,
    pub down: usize,
    pub unknown: usize,
    pub maintenance: usize,
    pub disabled: usize,
}

impl Counts {
    pub fn of(services: &[ServiceState]) -> Counts {
        let mut counts = Counts::default();
        for service in services {
            *match service.verdict {
                Verdict::Up => &mut counts.up,
                Verdict::Degraded => &mut counts.degraded,
                Verdict::Down => &mut counts.down,
                Verdict::Unknown => &mut counts.unknown,
                Verdict::Maintenance => &mut counts.maintenance,
                Verdict::Disabled => &mut counts.disabled,
            } += 1;
        }
        counts
    }

    fn watched(&self) -> usize {
        self.up + self.degraded + self.down + self.unknown
    }
}

/// `regions` is how many regions have a vote; `opened` since when a service's open incident is.
pub fn sentence(t: Text, services: &[ServiceState], regions: usize, opened: impl Fn(&ServiceState) -> Option<Timestamp>) -> Sentence {
    let counts = Counts::of(services);
    let told = |tone, text| Sentence { tone, text, since: None };
    let with = |verdict| services.iter().filter(move |service| service.verdict == verdict).collect::<Vec<_>>();
    if services.is_empty() {
        return told("unknown", t.s("sentence.nothing").to_owned());
    }
    if let [only] = services {
        let named = |tone, key| Sentence { tone, text: t.with(key, &[("name", &only.name)]), since: None };
        match only.verdict {
            Verdict::Maintenance => return named("maintenance", "sentence.one_maintenance"),
            Verdict::Unknown => return named("unknown", "sentence.one_unknown"),
            _ => {}
        }
    }
    if counts.watched() == 0 && counts.maintenance > 0 {
        return told("maintenance", t.count("sentence.maintenance_one", "sentence.maintenance_all", counts.maintenance as u64));
    }
    if counts.watched() == 0 {
        return told("disabled", t.s("sentence.all_paused").to_owned());
    }
    if counts.down > 0 {
        return trouble(t, "down", &with(Verdict::Down), opened);
    }
    if counts.degraded > 0 {
        return trouble(t, "degraded", &with(Verdict::Degraded), opened);
    }
    let place = t.count("sentence.in_region", "sentence.in_regions", regions as u64);
    if counts.unknown > 0 {
        return match counts.up {
            0 => told("unknown", t.count("sentence.unknown_one", "sentence.unknown_all", counts.unknown as u64)),
            up => {
                let values = [("up", up.to_string()), ("count", counts.watched().to_string()), ("unknown", counts.unknown.to_string())];
                let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
                told("unknown", t.with("sentence.some_unknown", &values))
            }
        };
    }
    match services.iter().filter(|service| service.verdict == Verdict::Up).collect::<Vec<_>>().as_slice() {
        [only] => told("up", t.with("sentence.one_up", &[("name", &only.name), ("where", &place)])),
        up => told("up", t.with("sentence.all_up", &[("count", &up.len().to_string()), ("where", &place)])),
    }
}

fn trouble(t: Text, tone: &'static str, services: &[&ServiceState], opened: impl Fn(&ServiceState) -> Option<Timestamp>) -> Sentence {
    if let [service] = services {
        let text = one(t, tone, service);
        let since = opened(service).or_else(|| hit(service).map(|region| region.since).min());
        return Sentence { tone, text, since: since.map(Moment::short) };
    }
    let mut names = services.iter().take(NAMED).map(|service| &*service.name).collect::<Vec<_>>().join(t.s("sentence.comma"));
    if services.len() > NAMED {
        names = t.with("sentence.and_more", &[("names", &names), ("count", &(services.len() - NAMED).to_string())]);
    }
    let key = if tone == "down" { "sentence.many_down" } else { "sentence.many_degraded" };
    Sentence { tone, text: t.with(key, &[("count", &services.len().to_string()), ("names", &names)]), since: None }
}

fn one(t: Text, tone: &'static str, service: &ServiceState) -> String {
    let failing: Vec<&RegionState> = hit(service).collect();
    let voting = service.regions.iter().filter(|region| region.status != RegionStatus::Unknown).count();
    let place = match failing.as_slice() {
        [_] if voting <= 1 => String::new(),
        all if all.len() == voting && voting > 1 => t.with("sentence.in_all_regions", &[("count", &voting.to_string())]),
        some => t.one("sentence.in_named", some.iter().map(|region| &*region.region.0).collect::<Vec<_>>().join(t.s("sentence.comma"))),
    };
    let mut reasons: Vec<&str> = Vec::new();
    for region in &failing {
        let reason = match &region.latest.failure {
            Some(failure) => t.word("reason", failure.reason.name()),
            None => t.s("sentence.slow"),
        };
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let key = if tone == "down" { "sentence.one_down" } else { "sentence.one_degraded" };
    t.with(key, &[("name", &service.name), ("where", &place), ("why", &reasons.join(t.s("sentence.comma")))])
}

/// The regions that speak for the trouble.
fn hit(service: &ServiceState) -> impl Iterator<Item = &RegionState> {
    service.regions.iter().filter(|region| region.status == RegionStatus::Down || region.slow && region.status == RegionStatus::Up)
}

#[cfg(test)]
mod tests;
