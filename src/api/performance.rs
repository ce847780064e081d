//! Performance: figures, where the time goes, and what to do, of what is watched and of this API itself.
//!
//! All three are read off the same rollups. What was worked out is kept for some seconds, so that a page that asks for all three
//! costs one pass; and one pass is made at a time, so that many who ask do not slow the checks down.

pub mod advice;
pub mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get};
use tokio::sync::Mutex;

use crate::analysis::performance::bottleneck::{Bottleneck, bottlenecks};
use crate::analysis::performance::course::{Course, courses};
use crate::analysis::performance::figures::{Analysis, Collector};
use crate::analysis::performance::recommend::{Recommendation, recommend};
use crate::analysis::performance::{Grain, LONGEST, Periods, Setting, Settings};
use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::performance::advice::{BottlenecksView, RecommendationsView};
use crate::api::performance::view::AnalysisView;
use crate::api::query::Query;
use crate::api::rollups::rule;
use crate::api::state::ApiState;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::hours::SeriesQuery;
use crate::store::rollups::Resolution;

/// How long what was worked out is answered again.
const FRESH: Duration = Duration::from_secs(15);
/// Questions whose answers are kept.
const KEPT: usize = 8;
pub const USUAL_HOURS: u32 = 24;
const USUAL_DAYS: u32 = 7;
const MOST_DAYS: u32 = 90;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub hours: u32,
    pub service: Option<ServiceId>,
    pub region: Option<String>,
}

/// Everything about a period.
pub struct Report {
    pub question: Question,
    pub at: Timestamp,
    /// Without its series, which only the rules and the courses want.
    pub analysis: Analysis,
    /// How the latency went: of everything, and by service.
    pub course: Course,
    pub courses: BTreeMap<ServiceId, Course>,
    pub settings: Settings,
    pub bottlenecks: Vec<Bottleneck>,
    pub recommendations: Vec<Recommendation>,
}

/// Reports made lately, by when; the newest last.
#[derive(Default)]
pub struct Reports(Mutex<Vec<(Duration, Arc<Report>)>>);

/// Mean, median, p95, p99 and error rate by service, region and phase, and of this API by endpoint, with trends.
///
/// A trend holds the period against an earlier one of the same length a whole number of days before it (weeks, if it is a week or
/// more). It is called a change only when it is both large enough to matter and beyond chance; where there is too little for
/// that, `missing` says how much there is and how much is needed.
#[utoipa::path(
    tag = "performance",
    params(
        ("hours" = Option<u32>, Query, description = "The period that ends now: 1 to 2160 hours, usually 24"),
        ("service" = Option<u32>, Query, description = "One service alone"),
        ("region" = Option<String>, Query, description = "One region alone"),
    ),
    responses(
        (status = 200, description = "The figures", body = AnalysisView),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/maintenance/performance/analysis")]
pub async fn analysis(
    _viewer: Viewer,
    query: Query,
    state: &State<ApiState>,
    reports: &State<Reports>,
) -> Result<Json<AnalysisView>, ApiError> {
    query.allow(&["hours", "service", "region"])?;
    let hours = bounded(&query, "hours", LONGEST)?.unwrap_or(USUAL_HOURS);
    let report = reports.report(state, question(&query, state, hours)?).await?;
    Ok(Json(AnalysisView::from(&*report)))
}

/// Where the time goes: phases, timeouts, retries and endpoints, ranked by the seconds a day they cost.
///
/// A place costs what its mean lies above what is known to be possible there, times its checks a day.
#[utoipa::path(
    tag = "performance",
    params(
        ("days" = Option<u32>, Query, description = "The period that ends now: 1 to 90 days, usually 7"),
        ("hours" = Option<u32>, Query, description = "Instead of days: 1 to 2160"),
        ("service" = Option<u32>, Query, description = "One service alone"),
        ("region" = Option<String>, Query, description = "One region alone"),
    ),
    responses(
        (status = 200, description = "The places, the dearest first", body = BottlenecksView),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/maintenance/performance/bottlenecks")]
pub async fn bottlenecks_of(
    _viewer: Viewer,
    query: Query,
    state: &State<ApiState>,
    reports: &State<Reports>,
) -> Result<Json<BottlenecksView>, ApiError> {
    let report = reports.report(state, period(&query, state)?).await?;
    Ok(Json(BottlenecksView::from(&*report)))
}

/// What to do, each piece of advice with the figures it follows from and how sure it is.
#[utoipa::path(
    tag = "performance",
    params(
        ("days" = Option<u32>, Query, description = "The period that ends now: 1 to 90 days, usually 7"),
        ("hours" = Option<u32>, Query, description = "Instead of days: 1 to 2160"),
        ("service" = Option<u32>, Query, description = "One service alone"),
        ("region" = Option<String>, Query, description = "One region alone; rules that compare regions are silent then"),
    ),
    responses(
        (status = 200, description = "The recommendations, the weightiest first", body = RecommendationsView),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/maintenance/performance/recommendations")]
pub async fn recommendations(
    _viewer: Viewer,
    query: Query,
    state: &State<ApiState>,
    reports: &State<Reports>,
) -> Result<Json<RecommendationsView>, ApiError> {
    let report = reports.report(state, period(&query, state)?).await?;
    Ok(Json(RecommendationsView::from(&*report)))
}

impl Reports {
    /// A report that was made some seconds ago, or a new one.
    pub async fn report(&self, state: &ApiState, question: Question) -> Result<Arc<Report>, ApiError> {
        let mut kept = self.0.lock().await;
        let now = state.clock.steady();
        kept.retain(|(made, _)| now.saturating_sub(*made) < FRESH);
        if let Some((_, report)) = kept.iter().find(|(_, report)| report.question == question) {
            return Ok(report.clone());
        }
        let report = Arc::new(make(state, question).await?);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((state.clock.steady(), report.clone()));
        Ok(report)
    }
}

async fn make(state: &ApiState, question: Question) -> Result<Report, ApiError> {
    let now = state.clock.now();
    let periods = Periods::new(now, question.hours);
    let resolution = match periods.grain {
        Grain::Minute => Resolution::Minute,
        Grain::Hour => Resolution::Hour,
        Grain::Day => Resolution::Day,
    };
    let wanted = SeriesQuery {
        service: question.service,
        region: question.region.clone(),
        resolution,
        windows: vec![periods.before(), (periods.since, periods.until)],
    };
    let mut collector = Collector::new(periods);
    let services = state.services.list();
    let is_known = |id: ServiceId| services.binary_search_by_key(&id, |service| service.id).is_ok();
    let take = |service, region: &_, start, rollup: &_| {
        // Results of a service that was deleted may still be on their way out.
        if is_known(service) {
            collector.take(service, region, start, rollup);
        }
    };
    state.store.results.each_rollup(&wanted, |service| rule(state, service), take).await?;
    // The API is no service and in no region.
    let endpoints = match question.service.is_none() && question.region.is_none() {
        true => state.endpoints.read(Timestamp(periods.before().0 - periods.block), Timestamp(periods.until)).await?,
        false => Default::default(),
    };
    let settings: Settings = services
        .iter()
        .filter(|service| question.service.is_none_or(|wanted| wanted == service.id))
        .filter_map(|service| Some((service.id, service.document.check(service.id, &state.default_schedule).ok()?)))
        .map(|(id, service)| (id, Setting::of(&service, now)))
        .collect();
    let made = tokio::task::spawn_blocking(move || {
        let mut analysis = collector.analyse(&endpoints);
        let (bottlenecks, recommendations) = (bottlenecks(&analysis, &settings), recommend(&analysis, &settings));
        let (course, courses) = courses(&analysis);
        analysis.series.clear();
        Report { question, at: now, analysis, course, courses, settings, bottlenecks, recommendations }
    });
    made.await.map_err(|_| ApiError::unavailable("the analysis was broken off"))
}

/// `days`, or `hours` instead.
fn period(query: &Query, state: &ApiState) -> Result<Question, ApiError> {
    query.allow(&["days", "hours", "service", "region"])?;
    let hours = match (bounded(query, "days", MOST_DAYS)?, bounded(query, "hours", LONGEST)?) {
        (Some(_), Some(_)) => return Err(ApiError::bad_query("hours", "cannot be given beside days")),
        (None, Some(hours)) => hours,
        (days, None) => days.unwrap_or(USUAL_DAYS) * 24,
    };
    question(query, state, hours)
}

pub fn question(query: &Query, state: &ApiState, hours: u32) -> Result<Question, ApiError> {
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    if let Some(unknown) = service.filter(|service| state.services.get(*service).is_none()) {
        return Err(ApiError::bad_query("service", format!("names no service: there is none with the number {unknown}")));
    }
    Ok(Question { hours, service, region: query.text("region").map(str::to_owned) })
}

pub fn bounded(query: &Query, name: &str, most: u32) -> Result<Option<u32>, ApiError> {
    let what = format!("a whole number from 1 to {most}");
    match query.number::<u32>(name, &what)? {
        Some(number) if !(1..=most).contains(&number) => Err(ApiError::bad_query(name, format!("must be {what}, not {number}"))),
        number => Ok(number),
    }
}
