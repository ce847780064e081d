//! Services tried before they are kept: checked once from the hub or from regions, each at the same time, and nothing stored.

use std::sync::Arc;
use std::time::Duration;

use rocket::futures::future::join_all;
use rocket::serde::json::Json;
use rocket::{State, post};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Operator;
use crate::api::body::JsonBody;
use crate::api::checks::limit;
use crate::api::error::{ApiError, Problem};
use crate::api::openapi::ServiceBody;
use crate::api::query::Query;
use crate::api::results::ResultView;
use crate::api::services::checked;
use crate::api::state::ApiState;
use crate::config::service::ServiceDocument;
use crate::hub::membership::trying::TriedAt;
use crate::model::id::{RegionName, ServiceId};
use crate::model::service::{Service, Target};
use crate::probe::classify::span;
use crate::probe::expect::Verdict;
use crate::probe::trial::Trial;

/// What a check says of where it was made, when it was no region.
const HUB: &str = "hub";
/// In place of names: every region there is.
const ALL: &str = "all";
/// Regions of one request.
const MOST: usize = 100;

/// Where from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// The hub's own process, for no region.
    Hub,
    Regions(Vec<String>),
}

/// What came of it in one place.
pub struct Tried {
    /// `hub`, or the region's name.
    pub place: String,
    /// Or why it could not be tried there.
    pub outcome: Result<Trial, String>,
}

/// What came of trying a service.
#[derive(Serialize, ToSchema)]
pub struct TryAnswer {
    service_name: Option<String>,
    /// Whether every place that answered saw it up; null where none answered.
    ok: Option<bool>,
    /// One for each place that answered.
    results: Vec<TrialView>,
    /// The regions that could not try it.
    unanswered: Vec<UnansweredView>,
}

#[derive(Serialize, ToSchema)]
pub struct TrialView {
    #[serde(flatten)]
    result: ResultView,
    /// Each expectation, in order; none where no answer came.
    expectations: Vec<ExpectationView>,
}

#[derive(Serialize, ToSchema)]
pub struct ExpectationView {
    /// Such as `status 200-299`.
    what: String,
    ok: bool,
    /// What came instead.
    message: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct UnansweredView {
    region: String,
    reason: String,
}

/// Tries a service that is not stored, once and without retries. Nothing is stored.
///
/// A service that names regions is tried from each of them, any other from the hub's own process; `regions` in the query says
/// otherwise.
#[utoipa::path(
    tag = "checks",
    params(
        ("regions" = Option<String>, Query, description = "Regions with commas between, or `all`"),
        ("timeout_s" = Option<f64>, Query, description = "How long to wait, usually 60, at most 600"),
    ),
    request_body = ServiceBody,
    responses(
        (status = 200, description = "What each place saw, and which could not try it and why", body = TryAnswer),
        (status = 400, description = "A parameter is wrong; errors names it", body = Problem),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 422, description = "Fields are wrong; errors names all of them", body = Problem),
    )
)]
#[post("/api/monitor/checks/try", data = "<body>")]
pub async fn try_one(_operator: Operator, query: Query, state: &State<ApiState>, body: JsonBody) -> Result<Json<TryAnswer>, ApiError> {
    query.allow(&["regions", "timeout_s"])?;
    let limit = limit(&query)?;
    let document = checked(state, body.0, None)?;
    let places = match query.text("regions") {
        Some(names) => Places::named(state, names),
        None => document.regions.clone().map_or(Places::Hub, Places::Regions),
    };
    if matches!(&places, Places::Regions(names) if names.is_empty() || names.len() > MOST) {
        return Err(ApiError::bad_query("regions", format!("must name 1 to {MOST} regions, or be all")));
    }
    let tried = try_out(state, &document, &places, limit).await?;
    let name = document.name.as_deref();
    let (mut results, mut unanswered) = (Vec::new(), Vec::new());
    for one in &tried {
        match &one.outcome {
            Ok(trial) => results.push(TrialView {
                result: ResultView::full(&trial.result, name, state.clock.now()),
                expectations: trial.verdicts.iter().map(ExpectationView::from).collect(),
            }),
            Err(reason) => unanswered.push(UnansweredView { region: one.place.clone(), reason: reason.clone() }),
        }
    }
    let mut answered = tried.iter().filter_map(|one| one.outcome.as_ref().ok()).peekable();
    let ok = answered.peek().is_some().then(|| answered.all(|trial| trial.result.ok()));
    Ok(Json(TryAnswer { service_name: document.name.clone(), ok, results, unanswered }))
}

impl Places {
    /// Names with commas between, each once; `all` stands for every region there is.
    pub fn named(state: &ApiState, names: &str) -> Places {
        let mut regions: Vec<String> = Vec::new();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                ALL => regions.extend(state.membership.regions()),
                name => regions.push(name.to_owned()),
            }
        }
        regions.sort();
        regions.dedup();
        Places::Regions(regions)
    }
}

impl From<&Verdict> for ExpectationView {
    fn from(verdict: &Verdict) -> ExpectationView {
        let message = verdict.failure.as_ref().map(|failure| failure.message.clone());
        ExpectationView { what: verdict.what.clone(), ok: verdict.failure.is_none(), message }
    }
}

/// One check of a service as it is written, from each place at the same time.
pub async fn try_out(state: &ApiState, document: &ServiceDocument, places: &Places, limit: Duration) -> Result<Vec<Tried>, ApiError> {
    let service = document.check(ServiceId(0), &state.default_schedule).map_err(ApiError::invalid)?;
    let Places::Regions(regions) = places else {
        let outcome = at_hub(state, service, HUB, limit).await;
        return Ok(vec![Tried { place: HUB.to_owned(), outcome }]);
    };
    let text: Arc<str> = serde_json::to_string(document).expect("a document always encodes").into();
    let (text, service) = (&text, &service);
    let tried = regions.iter().map(|region| async move {
        let outcome = in_region(state, service, text, region, limit).await;
        Tried { place: region.clone(), outcome }
    });
    Ok(join_all(tried).await)
}

async fn in_region(state: &ApiState, service: &Service, text: &Arc<str>, region: &str, limit: Duration) -> Result<Trial, String> {
    let of_hub = || state.membership.nodes().iter().any(|(_, info)| info.local && info.region == region);
    if matches!(service.target, Target::Hub { .. }) && !of_hub() {
        return Err("self is this hub's own address, which no other region can check".to_owned());
    }
    match state.membership.try_out(region, text) {
        TriedAt::Hub => at_hub(state, service.clone(), region, limit).await,
        TriedAt::Nowhere(reason) => Err(reason),
        TriedAt::Node { node, answer } => match tokio::time::timeout(limit, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(format!("node {node} of region {region} was lost while it tried the service")),
            Err(_) => Err(late(limit)),
        },
    }
}

async fn at_hub(state: &ApiState, service: Service, place: &str, limit: Duration) -> Result<Trial, String> {
    // In a task of its own: whatever becomes of it, the request is answered.
    let trying = tokio::spawn((state.try_check)(service, RegionName::from(place)));
    match tokio::time::timeout(limit, trying).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err("the check ended before its time".to_owned()),
        Err(_) => Err(late(limit)),
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {}", span(limit))
}
