//! An objective as pages show it.

use std::time::Duration;

use crate::api::slos::view::{PeriodView, RateView, SloView};
use crate::model::time::Timestamp;
use crate::web::moment::{Moment, measured, percent, span};
use crate::web::svg;
use crate::web::text::Text;

/// Of a budget: less than this is left, it is worth a colour.
const SCARCE: f64 = 25.0;

pub struct Card {
    pub id: u32,
    pub name: String,
    pub service: (u32, String),
    /// `up`, `degraded`, `down` or `unknown`, for shape and colour.
    pub tone: &'static str,
    pub state: &'static str,
    pub target: String,
    pub attained: String,
    pub period: String,
    pub regions: Option<String>,
    pub coverage: String,
    pub meter: String,
    pub left: String,
    pub minutes: String,
    pub burning: Option<Moment>,
    pub rates: Vec<RateLine>,
}

pub struct RateLine {
    pub pair: String,
    pub long: String,
    pub short: String,
    pub factor: String,
    /// Both stretches are at or above the factor.
    pub burns: bool,
    pub severity: &'static str,
}

impl Card {
    pub fn new(t: Text, view: &SloView) -> Card {
        let (promise, status) = (&view.promise, &view.status);
        let budget = &status.figures.budget;
        let left = budget.left_percent;
        let tone = match (status.state, left) {
            ("missed", _) => "down",
            ("unknown", _) => "unknown",
            _ if status.burning => "degraded",
            (_, Some(left)) if left < SCARCE => "degraded",
            _ => "up",
        };
        let minutes = |minutes: f64| span(t, Duration::from_secs_f64((minutes.abs() * 60.0).round()));
        let goal = trimmed(promise.objective);
        Card {
            id: view.id,
            name: view.name.clone(),
            service: (promise.service_id, promise.service_name.clone()),
            tone,
            state: t.word("slo_state", status.state),
            target: match promise.latency_ms {
                Some(ms) => t.with("slo.target_latency", &[("goal", &goal), ("ms", &trimmed(ms))]),
                None => t.one("slo.target_up", goal),
            },
            attained: status.figures.attained.map_or_else(|| "–".to_owned(), |attained| percent(attained / 100.0)),
            period: period(t, &promise.period),
            regions: promise.regions.as_ref().map(|regions| regions.join(", ")),
            coverage: measured(t, (status.figures.coverage, came(view))),
            meter: svg::meter(left.unwrap_or(0.0) / 100.0, tone),
            left: match left {
                None => "–".to_owned(),
                // By how much is told in time beside it: a share of nearly nothing says nothing.
                Some(..0.0) => t.s("slo.none_left").to_owned(),
                // Downwards, so that nothing is told better than it is.
                Some(left) => format!("{:.0} %", left.floor()),
            },
            minutes: if budget.left_minutes < 0.0 {
                t.with("slo.overspent", &[("over", &minutes(budget.left_minutes)), ("total", &minutes(budget.total_minutes))])
            } else {
                t.with("slo.left_of", &[("left", &minutes(budget.left_minutes)), ("total", &minutes(budget.total_minutes))])
            },
            burning: status.burning_since.as_deref().and_then(Timestamp::parse).map(Moment::full),
            rates: status.burn_rates.iter().map(|rate| RateLine::new(t, rate)).collect(),
        }
    }
}

/// When the service came, where that is within the period that rolls.
fn came(view: &SloView) -> Option<Timestamp> {
    let (since, at) = (Timestamp::parse(&view.status.since)?, Timestamp::parse(&view.status.as_of)?);
    // A period begins with a full hour or a little later.
    let whole = Duration::from_secs(u64::from(view.promise.period.days?) * 86_400 - 3_600);
    (at.since(since) < whole).then_some(since)
}

impl RateLine {
    fn new(t: Text, rate: &RateView) -> RateLine {
        let seconds = |seconds: f64| span(t, Duration::from_secs_f64(seconds.max(0.0)));
        let shown = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}"));
        RateLine {
            pair: t.with("slo.pair", &[("long", &seconds(rate.long_s)), ("short", &seconds(rate.short_s))]),
            long: shown(rate.long),
            short: shown(rate.short),
            factor: trimmed(rate.factor),
            burns: [rate.long, rate.short].iter().all(|burn| burn.is_some_and(|burn| burn >= rate.factor)),
            severity: t.word("severity", rate.severity),
        }
    }
}

fn period(t: Text, period: &PeriodView) -> String {
    match (period.days, period.calendar, period.timezone) {
        (Some(days), ..) => t.count("slo.day", "slo.days", u64::from(days)),
        (None, Some(unit), zone) => format!("{} ({})", t.word("slo_period", unit), zone.unwrap_or("UTC")),
        _ => String::new(),
    }
}

/// As short as it is exact.
fn trimmed(value: f64) -> String {
    format!("{value}")
}
