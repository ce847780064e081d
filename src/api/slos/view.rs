//! An objective as the API shows it, with how it stands now.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::api::slos::body::pair_value;
use crate::api::state::ApiState;
use crate::model::slo::{Aim, Period, Promise, Slo};
use crate::slo::budget::{Account, Budget, limit_ms};
use crate::slo::burn::Rate;
use crate::slo::desk::{Status, seconds};

#[derive(Serialize, ToSchema)]
pub struct SloView {
    pub id: u32,
    pub name: String,
    #[serde(flatten)]
    pub promise: PromiseView,
    /// When the budget burns too fast: factor, `long_s`, `short_s`, severity.
    #[schema(value_type = Vec<Object>)]
    pub burn: Vec<Value>,
    pub status: StatusView,
    /// Rises with each change. Sent back with a change, it must still be the same.
    pub revision: u64,
    pub created_by: String,
    pub created_at: String,
    pub updated_by: String,
    pub updated_at: String,
}

#[derive(Serialize, ToSchema)]
pub struct PromiseView {
    pub service_id: u32,
    pub service_name: String,
    /// `availability` or `latency`
    pub kind: &'static str,
    /// Per cent that must be good.
    pub objective: f64,
    pub latency_ms: Option<f64>,
    /// Null: all.
    pub regions: Option<Vec<String>>,
    pub period: PeriodView,
    pub least_coverage: f64,
}

#[derive(Serialize, ToSchema)]
pub struct PeriodView {
    /// Of one that rolls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// `week`, `month` or `quarter`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timezone: Option<&'static str>,
}

/// The running period up to now.
#[derive(Serialize, ToSchema)]
pub struct StatusView {
    pub as_of: String,
    /// `met`, `missed`, or `unknown` where less than `least_coverage` was measured.
    pub state: &'static str,
    /// From where it is reckoned: the period's beginning, or the service's.
    pub since: String,
    /// When the period ends; one that rolls ends now.
    pub until: String,
    #[serde(flatten)]
    pub figures: Figures,
    /// Whether a pair of burn rates is above its factor, since when, and how severe that is.
    pub burning: bool,
    pub burning_since: Option<String>,
    pub severity: Option<&'static str>,
    /// By pair: how many times as fast as spends the budget just in its period. Empty until it is worked out.
    pub burn_rates: Vec<RateView>,
}

/// What a stretch of time came to. Times are those of one region on average.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Figures {
    /// Per cent that was good; null where nothing is known.
    pub attained: Option<f64>,
    /// Known time over all time, both without maintenance: 0 to 1.
    pub coverage: f64,
    pub elapsed_s: f64,
    /// Left out of everything.
    pub maintenance_s: f64,
    pub known_s: f64,
    /// Neither good nor bad.
    pub unknown_s: f64,
    pub down_s: f64,
    pub checks: f64,
    /// Checks that failed, or did not pass in time.
    pub bad_checks: f64,
    /// Reckoned by the share of an hour whose minutes are not kept any more.
    pub estimated_s: f64,
    pub budget: BudgetView,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BudgetView {
    pub total_minutes: f64,
    pub spent_minutes: f64,
    /// Less than nothing where it is overspent.
    pub left_minutes: f64,
    /// Of the total; null where there is none.
    pub left_percent: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub struct RateView {
    pub factor: f64,
    pub long_s: f64,
    pub short_s: f64,
    pub severity: &'static str,
    /// Null: too little is known of it.
    pub long: Option<f64>,
    pub short: Option<f64>,
}

impl SloView {
    pub fn new(slo: &Slo, status: &Status, rates: Option<&Vec<Rate>>, state: &ApiState) -> SloView {
        let burning = state.slos.burning.lock().expect("no holder panics").get(&slo.id).copied();
        SloView {
            id: slo.id.0,
            name: slo.promise.name.clone(),
            promise: PromiseView::new(&slo.promise, state.slos.service_name(slo.promise.service)),
            burn: slo.promise.burn.iter().map(pair_value).collect(),
            status: StatusView {
                as_of: status.at.rfc3339(),
                state: status.standing.name(),
                since: status.reckoned.from.rfc3339(),
                until: status.period.until.rfc3339(),
                figures: Figures::new(&status.account, status.budget, slo.promise.aim),
                burning: burning.is_some(),
                burning_since: burning.map(|burning| burning.since.rfc3339()),
                severity: burning.and_then(|burning| burning.by).map(|by| by.pair.severity.name()),
                burn_rates: rates.into_iter().flatten().map(RateView::from).collect(),
            },
            revision: slo.revision,
            created_by: slo.created_by.clone(),
            created_at: slo.created_at.rfc3339(),
            updated_by: slo.updated_by.clone(),
            updated_at: slo.updated_at.rfc3339(),
        }
    }
}

impl PromiseView {
    pub fn new(promise: &Promise, service_name: String) -> PromiseView {
        PromiseView {
            service_id: promise.service.0,
            service_name,
            kind: if promise.aim == Aim::Availability { "availability" } else { "latency" },
            objective: promise.objective,
            latency_ms: limit_ms(promise.aim),
            regions: promise.regions.clone(),
            period: match promise.period {
                Period::Rolling(days) => PeriodView { days: Some(days), calendar: None, timezone: None },
                Period::Calendar { unit, zone } => PeriodView { days: None, calendar: Some(unit.name()), timezone: Some(zone.name()) },
            },
            least_coverage: promise.least_coverage,
        }
    }
}

impl Figures {
    pub fn new(account: &Account, budget: Budget, aim: Aim) -> Figures {
        let of_one = |us: i64| seconds(us as f64 / account.regions.max(1) as f64);
        let round = |number: f64, places: i32| (number * 10f64.powi(places)).round() / 10f64.powi(places);
        let minutes = |us: f64| round(us / 60e6, 3);
        Figures {
            attained: account.attained(aim).map(|attained| round(attained, 6)),
            coverage: round(account.coverage(), 6),
            elapsed_s: seconds(account.elapsed as f64),
            maintenance_s: seconds(account.maintenance as f64),
            known_s: seconds(account.known()),
            unknown_s: seconds(account.unknown()),
            down_s: of_one(account.times.down),
            checks: round(account.checks, 1),
            bad_checks: round(account.checks - account.good, 1),
            estimated_s: of_one(account.shared),
            budget: BudgetView {
                total_minutes: minutes(budget.total),
                spent_minutes: minutes(budget.spent),
                left_minutes: minutes(budget.left),
                left_percent: budget.left_percent().map(|left| round(left, 2)),
            },
        }
    }
}

impl From<&Rate> for RateView {
    fn from(rate: &Rate) -> RateView {
        let round = |rate: f64| (rate * 100.0).round() / 100.0;
        RateView {
            factor: rate.pair.factor,
            long_s: rate.pair.long.as_secs_f64(),
            short_s: rate.pair.short.as_secs_f64(),
            severity: rate.pair.severity.name(),
            long: rate.long.map(round),
            short: rate.short.map(round),
        }
    }
}
