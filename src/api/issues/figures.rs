//! How the work on issues goes, in figures.

use std::collections::BTreeMap;
use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::store::issues::IssueFilter;
use crate::tracker::statistics::{Spans, Tally, statistics};

const USUAL_DAYS: u32 = 30;
const MOST_DAYS: u32 = 3_650;

/// Counts by status are as of now, over all issues; times are of what was triaged or resolved within the period.
#[derive(Serialize, ToSchema)]
pub struct IssueFigures {
    days: u32,
    since: String,
    until: String,
    #[serde(flatten)]
    all: TallyView,
    by_status: BTreeMap<&'static str, u64>,
    by_type: BTreeMap<&'static str, TallyView>,
    by_priority: BTreeMap<&'static str, TallyView>,
    by_assignee: Vec<AssigneeFigures>,
    /// Since they were reported, of those that are open now.
    age_of_open: SpansView,
    /// Issues reported within the period.
    created_in_period: u64,
    time_to_triage: SpansView,
    time_to_resolve: SpansView,
    /// Of those resolved within the period, the share that took less than 48 h; null where none was.
    resolved_under_48h_share: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub struct TallyView {
    total: u64,
    /// With something still to do.
    open: u64,
    /// Of the open ones, those somebody is at.
    in_progress: u64,
    resolved: u64,
    wont_do: u64,
}

#[derive(Serialize, ToSchema)]
pub struct AssigneeFigures {
    /// Null: nobody.
    assignee: Option<String>,
    #[serde(flatten)]
    tally: TallyView,
}

#[derive(Serialize, ToSchema)]
pub struct SpansView {
    count: u64,
    median_s: Option<f64>,
    p95_s: Option<f64>,
    longest_s: Option<f64>,
}

impl From<Tally> for TallyView {
    fn from(tally: Tally) -> TallyView {
        let Tally { total, open, in_progress, resolved, wont_do } = tally;
        TallyView { total, open, in_progress, resolved, wont_do }
    }
}

impl From<Spans> for SpansView {
    fn from(spans: Spans) -> SpansView {
        let seconds = |span: Option<Duration>| span.map(|span| span.as_secs_f64());
        SpansView { count: spans.count, median_s: seconds(spans.median), p95_s: seconds(spans.p95), longest_s: seconds(spans.longest) }
    }
}

/// How many issues are open, in progress and resolved, whose they are, how old, and how soon they were triaged and resolved.
#[utoipa::path(
    tag = "issues",
    params(("days" = Option<u32>, Query, description = "The period until now: 1 to 3650, usually 30")),
    responses(
        (status = 200, description = "The figures", body = IssueFigures),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/maintenance/issues/statistics")]
pub fn read(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<IssueFigures>, ApiError> {
    query.allow(&["days"])?;
    let what = format!("a number from 1 to {MOST_DAYS}");
    let days: u32 = query.number("days", &what)?.unwrap_or(USUAL_DAYS);
    if !(1..=MOST_DAYS).contains(&days) {
        return Err(ApiError::bad_query("days", format!("must be {what}, not {days}")));
    }
    let now = state.clock.now();
    let since = now.minus(Duration::from_secs(u64::from(days) * 86_400));
    let found = statistics(&state.tracker.issues.list(&IssueFilter::default()), since, now);
    Ok(Json(IssueFigures {
        days,
        since: since.rfc3339(),
        until: now.rfc3339(),
        all: found.all.into(),
        by_status: found.by_status.into_iter().map(|(status, count)| (status.name(), count)).collect(),
        by_type: found.by_type.into_iter().map(|(kind, tally)| (kind.name(), tally.into())).collect(),
        by_priority: found.by_priority.into_iter().map(|(priority, tally)| (priority.name(), tally.into())).collect(),
        by_assignee: found.by_assignee.into_iter().map(|(assignee, tally)| AssigneeFigures { assignee, tally: tally.into() }).collect(),
        age_of_open: found.age_of_open.into(),
        created_in_period: found.created,
        time_to_triage: found.to_triage.into(),
        time_to_resolve: found.to_resolve.into(),
        resolved_under_48h_share: found.soon,
    }))
}
