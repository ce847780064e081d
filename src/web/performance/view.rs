//! What the page of performance shows.

use std::time::Duration;

use askama::Template;

use crate::aggregate::rollup::{DAY, HOUR};
use crate::analysis::performance::bottleneck::NONE_PASSED;
use crate::analysis::performance::course::Course;
use crate::api::error::ApiError;
use crate::api::performance::Report;
use crate::api::performance::advice::{BottleneckView, BottlenecksView, FactView, RecommendationView, RecommendationsView};
use crate::api::performance::view::{AnalysisView, EndpointView, FiguresView, StatsView, TrendView};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::web::chart::PHASES;
use crate::web::frame::{Frame, Section};
use crate::web::moment::{Moment, latency, latency_apart, percent, span};
use crate::web::svg;
use crate::web::text::Text;
use crate::web::visit::Visit;

/// Services of a page, and places that cost time.
const PAGE: usize = 50;
const PLACES: usize = 10;
const HOURS: [(u32, &str); 4] = [(1, "range.hour"), (24, "range.day"), (168, "range.week"), (720, "range.month")];
const SORTS: [(&str, &str); 5] = [
    ("slowest", "performance.by_p95"),
    ("worsening", "performance.by_trend"),
    ("failing", "performance.by_failures"),
    ("checks", "performance.by_checks"),
    ("name", "performance.by_name"),
];

#[derive(Template)]
#[template(path = "performance.html")]
pub struct PerformancePage {
    frame: Frame,
    since: Option<Moment>,
    until: Option<Moment>,
    before_since: Option<Moment>,
    before_until: Option<Moment>,
    hours: Vec<(&'static str, String, bool)>,
    wanted_hours: u32,
    wanted_service: String,
    wanted_region: String,
    wanted_sort: String,
    sorts: Vec<(&'static str, &'static str)>,
    service_names: Vec<(u32, String)>,
    region_names: Vec<String>,
    whole: Line,
    /// The lowest and the highest of the course of it all.
    extremes: Option<(String, String)>,
    phases: Vec<PhaseLine>,
    services: Vec<Line>,
    regions: Vec<Line>,
    endpoints: Vec<EndpointLine>,
    places: Vec<Place>,
    more_places: usize,
    missing: Option<String>,
    advice: Vec<Advice>,
    previous: Option<String>,
    next: Option<String>,
}

/// Figures of one thing.
struct Line {
    /// Of a service: its page.
    id: Option<u32>,
    name: String,
    p50: String,
    p95: String,
    p99: String,
    /// Why a percentile is missing.
    missing: Option<String>,
    trend: Change,
    tail: Change,
    errors: Change,
    course: String,
    bar: String,
    failed: String,
    is_failing: bool,
    checks: u64,
}

/// How trends are told: in which language, and what a block is called that is compared with another.
#[derive(Clone, Copy)]
struct Told {
    t: Text,
    /// Its length in microseconds.
    block: i64,
}

/// What a trend says.
struct Change {
    tone: &'static str,
    icon: &'static str,
    word: &'static str,
    /// By how much.
    ratio: Option<String>,
    /// How sure that is, where anything is said.
    sure: Option<String>,
    /// From what to what, and how sure that is; or why nothing is said.
    detail: String,
}

struct PhaseLine {
    class: &'static str,
    name: &'static str,
    share: Option<String>,
    p50: String,
    p95: String,
    trend: Option<Change>,
}

struct EndpointLine {
    name: String,
    requests: u64,
    p50: String,
    p95: String,
    failed: String,
    trend: Change,
}

struct Place {
    service: Option<(u32, String)>,
    endpoint: Option<String>,
    what: &'static str,
    region: Option<String>,
    mean: String,
    floor: String,
    floor_of: &'static str,
    cost: String,
    meter: String,
    share: Option<String>,
    trend: Option<Change>,
}

struct Advice {
    /// Others that the same is to be done about.
    also: Vec<Also>,
    what: String,
    advice: String,
    because: String,
    facts: Vec<(String, String)>,
    services: Vec<(u32, String)>,
    regions: String,
    sure: String,
    meter: String,
    gain: Option<String>,
}

struct Also {
    what: String,
    services: Vec<(u32, String)>,
    sure: String,
}

impl PerformancePage {
    pub fn new(visit: &Visit, state: &ApiState, query: &Query, report: &Report) -> Result<PerformancePage, ApiError> {
        let t = Text(visit.look.lang);
        let told = Told { t, block: report.analysis.periods.block };
        let view = AnalysisView::from(report);
        let (places, advice) = (BottlenecksView::from(report), RecommendationsView::from(report));
        let page = query.page()?;
        let link = |name: &str, value: &str| {
            let whole = query.with(name, value);
            format!("/performance?{}", whole.split_once('?').map_or("", |(_, query)| query))
        };
        let wanted_sort = SORTS.iter().map(|(name, _)| *name).find(|name| query.text("sort") == Some(name)).unwrap_or(SORTS[0].0);
        let mut services: Vec<_> = view.services.iter().collect();
        services.sort_by(|one, other| {
            let name = || one.service_name.to_lowercase().cmp(&other.service_name.to_lowercase());
            let key = |figures: &FiguresView| match wanted_sort {
                "slowest" => figures.latency.as_ref().map_or(-1.0, |latency| latency.p95_ms.unwrap_or(latency.median_ms)),
                // What is a change first, by how much; then what moved by less than that.
                "worsening" => f64::from(figures.trend.direction == "slower") * 1e6 + figures.trend.ratio.unwrap_or(0.0),
                "failing" => figures.error_rate.unwrap_or(-1.0),
                "checks" => figures.checks as f64,
                _ => 0.0,
            };
            key(&other.figures).total_cmp(&key(&one.figures)).then_with(name)
        });
        let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(PAGE);
        let nothing = Course::default();
        let line = |id: u32, name: &str, figures: &FiguresView| {
            let course = report.courses.get(&ServiceId(id)).unwrap_or(&nothing);
            Line { id: Some(id), ..Line::new(told, name, figures, course) }
        };
        let dearest = places.results.first().map_or(1.0, |place| place.cost_s_per_day).max(f64::MIN_POSITIVE);
        let mut region_names: Vec<String> = state.membership.nodes().into_iter().map(|(_, info)| info.region).collect();
        region_names.extend(view.regions.iter().map(|region| region.region.clone()));
        region_names.extend(report.question.region.clone());
        region_names.sort();
        region_names.dedup();
        let moment = |text: &str| Timestamp::parse(text).map(Moment::full);
        Ok(PerformancePage {
            frame: Frame::new(visit, Section::Performance, t.s("nav.performance")),
            since: moment(&view.period.since),
            until: moment(&view.period.until),
            before_since: moment(&view.period.before_since),
            before_until: moment(&view.period.before_until),
            hours: HOURS.iter().map(|(hours, key)| (t.s(key), link("hours", &hours.to_string()), *hours == view.hours)).collect(),
            wanted_hours: view.hours,
            wanted_service: query.text("service").unwrap_or_default().to_owned(),
            wanted_region: query.text("region").unwrap_or_default().to_owned(),
            wanted_sort: wanted_sort.to_owned(),
            sorts: SORTS.iter().map(|(name, key)| (*name, t.s(key))).collect(),
            service_names: state.services.list().iter().map(|service| (service.id.0, service.name().to_owned())).collect(),
            region_names,
            whole: Line { course: told_course(t, report), ..Line::new(told, t.s("performance.whole"), &view.whole, &nothing) }.compared(t),
            extremes: extremes(&report.course),
            phases: phases(told, &view.whole),
            next: (skip.saturating_add(PAGE) < services.len()).then(|| link("page", &(page + 1).to_string())),
            services: services.into_iter().skip(skip).take(PAGE).map(|of| line(of.service_id, &of.service_name, &of.figures)).collect(),
            regions: view.regions.iter().map(|of| Line::new(told, &of.region, &of.figures, &nothing)).collect(),
            endpoints: view.endpoints.iter().map(|of| EndpointLine::new(Told { block: told.block.max(HOUR), ..told }, of)).collect(),
            more_places: places.results.len().saturating_sub(PLACES),
            places: places.results.iter().take(PLACES).map(|place| Place::new(told, place, dearest)).collect(),
            missing: places.missing,
            advice: advices(t, &advice.results),
            previous: (page > 1).then(|| link("page", &(page - 1).to_string())),
        })
    }

    fn is_empty(&self) -> bool {
        self.whole.checks == 0
    }
}

impl Line {
    fn new(told: Told, name: &str, figures: &FiguresView, course: &Course) -> Line {
        let t = told.t;
        let stats = figures.latency.as_ref();
        let label = t.with("performance.course_label", &[("name", name)]);
        let part = |name: &&'static str| (*name, figures.phases.get(name).and_then(|phase| phase.share).unwrap_or(0.0));
        let parts: Vec<(&'static str, f64)> = PHASES.iter().map(part).collect();
        let words: Vec<String> = parts
            .iter()
            .filter(|(_, share)| *share > 0.0)
            .map(|(name, share)| format!("{} {}", t.word("phase", name), percent(*share)))
            .collect();
        Line {
            id: None,
            name: name.to_owned(),
            p50: of_stats(stats, |stats| Some(stats.median_ms)),
            p95: of_stats(stats, |stats| stats.p95_ms),
            p99: of_stats(stats, |stats| stats.p99_ms),
            missing: stats.and_then(|stats| stats.missing.clone()),
            trend: Change::of(told, &figures.trend, millis),
            tail: Change::of(told, &figures.p95_trend, millis),
            errors: Change::of(told, &figures.error_trend, failed_share),
            course: svg::course(&course.before, &course.now, &label),
            bar: svg::phase_bar(&parts, &words.join(", ")),
            failed: figures.error_rate.map_or_else(|| "–".to_owned(), failed_share),
            is_failing: figures.failures > 0,
            checks: figures.checks,
        }
    }
}

impl Line {
    /// Of many things together trends are of each against itself, so that their levels are other ones than the figures above:
    /// what is told of them is how sure the change is.
    fn compared(mut self, t: Text) -> Line {
        for change in [&mut self.trend, &mut self.tail].into_iter().filter(|change| change.sure.is_some()) {
            change.detail = t.one("performance.compared", change.sure.clone().unwrap_or_default());
        }
        self
    }
}

impl Told {
    /// Why nothing is said: how many there are, how many are needed, and of what.
    fn lacking(self, (have, need, of): (u64, u64, &str)) -> String {
        let (have, need) = (have.to_string(), need.to_string());
        if of == "checks" {
            return self.t.with("performance.too_few", &[("need", &need), ("have", &have)]);
        }
        let unit = match self.block {
            ..HOUR => "performance.minutes",
            HOUR => "performance.hours",
            DAY.. => "performance.days",
            _ => "performance.spans",
        };
        let unit = self.t.with(unit, &[("hours", &(self.block / HOUR).to_string())]);
        self.t.with("performance.too_new", &[("need", &need), ("unit", &unit), ("have", &have)])
    }
}

impl Change {
    fn of(told: Told, trend: &TrendView, show: fn(f64) -> String) -> Change {
        let t = told.t;
        let (tone, icon) = match trend.direction {
            "slower" | "worse" => ("degraded", "rising"),
            "faster" | "better" => ("up", "falling"),
            "steady" => ("muted", "steady"),
            _ => ("muted", "unknown"),
        };
        let detail = match (trend.lacking, trend.before, trend.now) {
            (Some(lacking), ..) => told.lacking(lacking),
            (None, Some(before), Some(now)) => {
                let sure = percent(trend.confidence);
                t.with("performance.from_to", &[("before", &show(before)), ("now", &show(now)), ("sure", &sure)])
            }
            _ => String::new(),
        };
        let is_change = !matches!(trend.direction, "steady" | "unknown");
        Change {
            tone,
            icon,
            word: t.word("direction", trend.direction),
            sure: trend.lacking.is_none().then(|| percent(trend.confidence)),
            ratio: trend.ratio.filter(|_| is_change).map(|ratio| format!("×{ratio:.2}")),
            detail,
        }
    }
}

fn phases(told: Told, whole: &FiguresView) -> Vec<PhaseLine> {
    let t = told.t;
    let line = |name: &&'static str| {
        let phase = whole.phases.get(name)?;
        Some(PhaseLine {
            class: name,
            name: t.word("phase", name),
            share: phase.share.map(percent),
            p50: millis(phase.stats.median_ms),
            p95: of_stats(Some(&phase.stats), |stats| stats.p95_ms),
            trend: phase.trend.as_ref().map(|trend| Change::of(told, trend, millis)),
        })
    };
    PHASES.iter().filter_map(line).collect()
}

impl EndpointLine {
    fn new(told: Told, of: &EndpointView) -> EndpointLine {
        EndpointLine {
            name: format!("{} {}", of.method, of.route),
            requests: of.requests,
            p50: millis(of.latency.median_ms),
            p95: of_stats(Some(&of.latency), |stats| stats.p95_ms),
            failed: failed_share(of.error_rate),
            trend: Change::of(told, &of.trend, millis),
        }
    }
}

impl Place {
    fn new(told: Told, place: &BottleneckView, dearest: f64) -> Place {
        let t = told.t;
        let what = match place.phase {
            Some(phase) => t.word("phase", phase),
            None => t.word("place", place.kind),
        };
        Place {
            service: place.service_id.zip(place.service_name.clone()),
            endpoint: place.endpoint.clone(),
            what,
            region: place.region.clone(),
            mean: millis(place.mean_ms),
            floor: if place.floor_of == NONE_PASSED { "–".to_owned() } else { millis(place.floor_ms) },
            floor_of: place.floor_of,
            cost: cost(t, place.cost_s_per_day),
            meter: svg::meter(place.cost_s_per_day / dearest, "cost"),
            share: place.share.map(percent),
            trend: place.trend.as_ref().map(|trend| Change::of(told, trend, millis)),
        }
    }
}

/// Each piece of advice once, with all it is about, in the order of the first.
fn advices(t: Text, all: &[RecommendationView]) -> Vec<Advice> {
    let mut advice: Vec<Advice> = Vec::new();
    for one in all {
        match advice.iter_mut().find(|other| other.advice == one.advice) {
            Some(other) => other.also.push(Also { what: one.what.clone(), services: named(one), sure: percent(one.sure) }),
            None => advice.push(Advice::new(t, one)),
        }
    }
    advice
}

fn named(one: &RecommendationView) -> Vec<(u32, String)> {
    one.services.iter().map(|service| (service.service_id, service.service_name.clone())).collect()
}

impl Advice {
    fn also_text(&self, t: &Text) -> String {
        t.count("performance.also_one", "performance.also", self.also.len() as u64)
    }

    fn new(t: Text, one: &RecommendationView) -> Advice {
        let fact = |fact: &FactView| {
            let value = match fact.unit {
                "ms" => millis(fact.value),
                "" => short(fact.value),
                unit => format!("{} {unit}", short(fact.value)),
            };
            (fact.what.clone(), value)
        };
        Advice {
            also: Vec::new(),
            what: one.what.clone(),
            advice: one.advice.clone(),
            because: one.because.clone(),
            facts: one.why.iter().map(fact).collect(),
            services: named(one),
            regions: one.regions.join(", "),
            sure: percent(one.sure),
            meter: svg::meter(one.sure, "sure"),
            gain: one.cost_s_per_day.map(|seconds| t.one("performance.gain", cost(t, seconds))),
        }
    }
}

/// The course of it all, to be read point by point.
fn told_course(t: Text, report: &Report) -> String {
    let (course, periods) = (&report.course, &report.analysis.periods);
    let label = t.with("performance.course_label", &[("name", t.s("performance.whole"))]);
    let from = Timestamp(periods.since.div_euclid(periods.block) * periods.block);
    let names = [t.s("performance.this_period"), t.s("performance.before_period")];
    let points = svg::Told { from, step: periods.block, names, none: t.s("chart.none") };
    svg::told_course(&course.before, &course.now, &label, &points)
}

fn extremes(course: &Course) -> Option<(String, String)> {
    let known = || course.now.iter().flatten().copied();
    let low = known().reduce(f64::min)?;
    known().reduce(f64::max).map(|high| (latency_apart(low, high - low), latency_apart(high, high - low)))
}

fn of_stats(stats: Option<&StatsView>, pick: impl Fn(&StatsView) -> Option<f64>) -> String {
    stats.and_then(pick).map_or_else(|| "–".to_owned(), millis)
}

fn millis(ms: f64) -> String {
    latency(ms * 1e3)
}

/// Seconds a day.
fn cost(t: Text, seconds: f64) -> String {
    t.one("performance.a_day", span(t, Duration::from_secs_f64(seconds.max(0.0).round())))
}

/// A share that is bad is not rounded down.
fn failed_share(share: f64) -> String {
    match share {
        0.0 => "0 %".to_owned(),
        ..0.0001 => "< 0.01 %".to_owned(),
        ..0.01 => format!("{:.2} %", share * 100.0),
        _ => format!("{:.1} %", share * 100.0),
    }
}

/// With two decimals where there are any.
fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    text.strip_suffix(".00").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::text::Lang;

    #[test]
    fn what_is_too_new_to_compare_is_told_in_hours_or_days() {
        let told = |block: i64, lacking| Told { t: Text(Lang::English), block }.lacking(lacking);
        for (block, words) in [(HOUR / 60, "8 minutes"), (HOUR, "8 hours"), (6 * HOUR, "8 spans of 6 hours"), (DAY, "8 days")] {
            let expected = format!("too new to compare: needs {words} in both periods, there are 3");
            assert_eq!(told(block, (3, 8, "pairs of blocks")), expected);
        }
        assert_eq!(told(HOUR, (20, 30, "checks")), "too few checks to compare: needs 30 in both periods, there are 20");
    }
}
