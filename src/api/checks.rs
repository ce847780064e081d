//! Checks made now, beside the schedule: one service or all of them, and what each region saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rocket::futures::StreamExt;
use rocket::futures::future::join_all;
use rocket::futures::stream;
use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, post};
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::api::auth::Operator;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::results::ResultView;
use crate::api::services::find;
use crate::api::state::ApiState;
use crate::clock::Clock;
use crate::model::check::CheckResult;
use crate::model::id::{RegionName, ServiceId};
use crate::probe::progress::{Step, next_step};
use crate::store::services::StoredService;
use crate::wire::link::Asked;

/// A node takes over a new or changed service within two seconds; until then a request for it comes back unanswered.
const NOT_YET: Duration = Duration::from_secs(3);
const TRY_AGAIN: Duration = Duration::from_millis(100);
const USUAL_LIMIT: Duration = Duration::from_secs(60);
const LONGEST_LIMIT: Duration = Duration::from_secs(600);
/// Requests under way at once when all services are checked; the node has a bound of its own.
const AT_ONCE: usize = 256;
/// Words to someone who watches a check that may wait to be heard.
const TOLD_AT_ONCE: usize = 64;

/// What came of one service's check.
#[derive(Serialize, ToSchema)]
pub struct CheckAnswer {
    service_id: u32,
    service_name: String,
    /// Whether every region that answered saw it up; null where none answered.
    ok: Option<bool>,
    /// One for each region that answered.
    results: Vec<ResultView>,
    /// Why there is none.
    unanswered: Option<&'static str>,
}

/// What came of checking all.
#[derive(Serialize, ToSchema)]
pub struct RunAnswer {
    checked: usize,
    ok: usize,
    failed: usize,
    unanswered: usize,
    results: Vec<CheckAnswer>,
}

/// Checks a service now.
///
/// The answer comes when the check is done or the time is over. Each result is stored like any other.
#[utoipa::path(
    tag = "checks",
    params(
        ("id" = u32, Path, description = "The service's number"),
        ("timeout_s" = Option<f64>, Query, description = "How long to wait, usually 60, at most 600"),
    ),
    responses(
        (status = 200, description = "What each region saw", body = CheckAnswer),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "The service is disabled", body = Problem),
    )
)]
#[post("/api/monitor/services/<id>/check")]
pub async fn check_one(_operator: Operator, query: Query, state: &State<ApiState>, id: &str) -> Result<Json<CheckAnswer>, ApiError> {
    query.allow(&["timeout_s"])?;
    let limit = limit(&query)?;
    let service = find(state, id)?;
    if !service.enabled() {
        return Err(ApiError::new(Status::Conflict, format!("service {} is disabled, so no region checks it", service.id)));
    }
    Ok(Json(check(state, &service, limit).await))
}

/// Checks all enabled services now.
#[utoipa::path(
    tag = "checks",
    params(("timeout_s" = Option<f64>, Query, description = "How long to wait for all, usually 60, at most 600")),
    responses(
        (status = 200, description = "What each region saw of each service", body = RunAnswer),
        (status = 403, description = "Takes role operator", body = Problem),
    )
)]
#[post("/api/monitor/checks/run")]
pub async fn check_all(_operator: Operator, query: Query, state: &State<ApiState>) -> Result<Json<RunAnswer>, ApiError> {
    query.allow(&["timeout_s"])?;
    let limit = limit(&query)?;
    let began = state.clock.steady();
    let services: Vec<Arc<StoredService>> = state.services.list().iter().filter(|service| service.enabled()).cloned().collect();
    let mut answers: BTreeMap<u32, CheckAnswer> = stream::iter(services)
        .map(|service| async move {
            let left = limit.saturating_sub(state.clock.steady().saturating_sub(began));
            (service.id.0, check(state, &service, left).await)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let results: Vec<CheckAnswer> = std::mem::take(&mut answers).into_values().collect();
    let count = |ok| results.iter().filter(|answer| answer.ok == ok).count();
    Ok(Json(RunAnswer { checked: results.len(), ok: count(Some(true)), failed: count(Some(false)), unanswered: count(None), results }))
}

async fn check(state: &ApiState, service: &StoredService, limit: Duration) -> CheckAnswer {
    let outcome = ask(state, service, limit).await;
    let (results, unanswered) = match outcome {
        Some(results) if results.is_empty() => (results, Some("no answer in time")),
        Some(results) => (results, None),
        None => (Vec::new(), Some("no region checks this service")),
    };
    CheckAnswer {
        service_id: service.id.0,
        service_name: service.name().to_owned(),
        ok: (!results.is_empty()).then(|| results.iter().all(CheckResult::ok)),
        results: results.iter().map(|result| ResultView::full(result, Some(service.name()), state.clock.now())).collect(),
        unanswered,
    }
}

/// Asks the regions of a service, and again those that have not taken it over yet, for so long as that may take; `None`:
/// none of them checks it.
pub async fn ask(state: &ApiState, service: &StoredService, limit: Duration) -> Option<Vec<CheckResult>> {
    let began = state.clock.steady();
    loop {
        let asked = (state.check_now)(service.id, false);
        if asked.is_empty() {
            return None;
        }
        let left = limit.saturating_sub(state.clock.steady().saturating_sub(began));
        let answers = asked.into_iter().map(|asked| async move {
            // `None`: it does not check this service; an empty answer: not in time.
            match tokio::time::timeout(left, asked.result).await {
                Ok(Ok(result)) => Some(Some(result)),
                Ok(Err(_)) => None,
                Err(_) => Some(None),
            }
        });
        let answers: Vec<Option<CheckResult>> = join_all(answers).await.into_iter().flatten().collect();
        if !answers.is_empty() {
            return Some(answers.into_iter().flatten().collect());
        }
        if state.clock.steady().saturating_sub(began) >= NOT_YET.min(limit) {
            return None;
        }
        state.clock.sleep(TRY_AGAIN).await;
    }
}

/// What whoever watches a check is told, in order.
#[derive(Debug)]
pub enum Told {
    /// These regions check it.
    Asked(Vec<RegionName>),
    /// A region has come so far, this long after it was asked.
    Step {
        region: RegionName,
        step: Step,
        elapsed: Duration,
    },
    Result(Box<CheckResult>),
    /// A region has not answered in time, or was lost.
    Unanswered(RegionName),
}

/// As `ask`, telling everything as it comes; the end of it is the end of the check. It ends, too, when nobody listens any more.
pub fn follow(state: &ApiState, service: ServiceId, limit: Duration) -> mpsc::Receiver<Told> {
    let (tell, told) = mpsc::channel(TOLD_AT_ONCE);
    let (clock, check_now) = (state.clock.clone(), state.check_now.clone());
    tokio::spawn(async move {
        let began = clock.steady();
        loop {
            let asked = check_now(service, true);
            if tell.send(Told::Asked(asked.iter().map(|asked| asked.region.clone()).collect())).await.is_err() {
                return;
            }
            let left = limit.saturating_sub(clock.steady().saturating_sub(began));
            let answers = join_all(asked.into_iter().map(|asked| follow_one(asked, left, &clock, &tell))).await;
            let gone: Vec<RegionName> = answers.iter().filter_map(|answer| answer.clone().err()).collect();
            // Those that have not taken the service over yet send every request back.
            let early = clock.steady().saturating_sub(began) < NOT_YET.min(limit);
            if early && !gone.is_empty() && gone.len() == answers.len() {
                clock.sleep(TRY_AGAIN).await;
                continue;
            }
            for region in gone {
                let _ = tell.send(Told::Unanswered(region)).await;
            }
            return;
        }
    });
    told
}

/// `Err`: the region sent the request back, which may mean that it does not know the service yet.
async fn follow_one(mut asked: Asked, limit: Duration, clock: &Clock, tell: &mpsc::Sender<Told>) -> Result<(), RegionName> {
    let began = clock.steady();
    let mut late = Box::pin(clock.sleep(limit));
    loop {
        let told = tokio::select! {
            biased;
            result = &mut asked.result => match result {
                Ok(result) => Told::Result(Box::new(result)),
                Err(_) => return Err(asked.region),
            },
            step = next_step(&mut asked.progress) => {
                Told::Step { region: asked.region.clone(), step, elapsed: clock.steady().saturating_sub(began) }
            }
            () = &mut late => Told::Unanswered(asked.region.clone()),
        };
        let last = !matches!(told, Told::Step { .. });
        if tell.send(told).await.is_err() || last {
            return Ok(());
        }
    }
}

/// How long a caller wants to wait.
pub fn limit(query: &Query) -> Result<Duration, ApiError> {
    let what = "seconds, from 0.1 to 600";
    match query.number::<f64>("timeout_s", what)? {
        None => Ok(USUAL_LIMIT),
        Some(seconds) if (0.1..=LONGEST_LIMIT.as_secs_f64()).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Some(seconds) => Err(ApiError::bad_query("timeout_s", format!("must be {what}, not {seconds}"))),
    }
}
