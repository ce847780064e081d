//! Causes: what holds now and what held, whether or not anyone was told.

use rocket::http::Status;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use crate::alert::sources::incidents::id_of;
use crate::api::auth::{Operator, Viewer};
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::model::alert::{CauseKind, CauseMove};
use crate::model::held::{Acknowledged, Held};
use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::store::alerts::causes::CauseFilter;
use crate::store::audit::Change;

#[derive(Serialize, ToSchema)]
pub struct CauseView {
    /// Names this cause for ever.
    key: String,
    /// `incident`, `degraded`, `finding`, `certificate`, `burn`, `node` or `system`
    kind: &'static str,
    severity: &'static str,
    drill: bool,
    open: bool,
    service_id: Option<u32>,
    service_name: Option<String>,
    region: Option<String>,
    node: Option<String>,
    headline: String,
    since: String,
    cleared_at: Option<String>,
    acknowledged_by: Option<String>,
    acknowledged_at: Option<String>,
    /// The cause it follows from: it is not told alone.
    consequence_of: Option<String>,
    /// Services that fail, or failed, because of it.
    consequences: Vec<String>,
    /// What each rule has told of it.
    told: Vec<ToldView>,
}

#[derive(Serialize, ToSchema)]
pub struct ToldView {
    rule_id: u32,
    raised_at: Option<String>,
    last_told: Option<String>,
    repeats: u32,
    /// Steps of escalation taken.
    steps: u32,
    recovered: bool,
}

/// Causes, newest first.
#[utoipa::path(
    tag = "alerts",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("open" = Option<bool>, Query, description = "Those that do, or do not, hold"),
        ("kind" = Option<String>, Query, description = "Of this kind"),
        ("severity" = Option<String>, Query, description = "`critical` or `warning`"),
        ("service" = Option<u32>, Query, description = "Of this service"),
        ("drill" = Option<bool>, Query, description = "Those that are, or are not, drills"),
    ),
    responses(
        (status = 200, description = "A page of causes", body = Page<CauseView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/alerts/causes")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<CauseView>>, ApiError> {
    query.allow(&["page", "page_size", "open", "kind", "severity", "service", "drill"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let named = |name: &str, known: String| ApiError::bad_query(name, format!("must be one of {known}"));
    let kind = match query.text("kind") {
        None => None,
        Some(text) => Some(CauseKind::from_name(text).ok_or_else(|| named("kind", CauseKind::ALL.map(CauseKind::name).join(", ")))?),
    };
    let severity = match query.text("severity") {
        None => None,
        Some(text) => Some(Severity::from_name(text).ok_or_else(|| named("severity", Severity::ALL.map(Severity::name).join(", ")))?),
    };
    let service = query.number("service", "the number of a service")?.map(ServiceId);
    let filter = CauseFilter { service, kind, severity, open: query.boolean("open")?, drill: query.boolean("drill")? };
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let (count, found) = state.alerts.causes.page(&filter, skip, size).await?;
    Ok(Json(query.numbered(count, page, size, found.iter().map(|held| view(state, held)).collect())))
}

/// One cause.
#[utoipa::path(
    tag = "alerts",
    params(("key" = String, Path, description = "The cause's name")),
    responses((status = 200, description = "The cause", body = CauseView), (status = 404, description = "There is none of this name", body = Problem))
)]
#[get("/api/v1/alerts/causes/<key>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, key: &str) -> Result<Json<CauseView>, ApiError> {
    let found = state.alerts.causes.one(key).await?;
    found.map(|held| Json(view(state, &held))).ok_or_else(|| ApiError::not_found(format!("there is no cause {key}")))
}

/// Takes a cause on: it is not repeated any more, and nobody further is told. The first who does is named.
#[utoipa::path(
    tag = "alerts",
    params(("key" = String, Path, description = "The cause's name")),
    responses(
        (status = 200, description = "The cause", body = CauseView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this name", body = Problem),
        (status = 409, description = "It is over", body = Problem),
    )
)]
#[post("/api/v1/alerts/causes/<key>/acknowledge")]
pub async fn acknowledge(operator: Operator, state: &State<ApiState>, key: &str) -> Result<Json<CauseView>, ApiError> {
    let found = state.alerts.causes.one(key).await?;
    let mut held = found.ok_or_else(|| ApiError::not_found(format!("there is no cause {key}")))?;
    if !held.holds() {
        return Err(ApiError::new(Status::Conflict, format!("cause {key} is over")));
    }
    if held.acknowledged.is_none() {
        let (author, at) = (operator.0.author(), state.clock.now());
        match id_of(key) {
            Some(incident) => drop(state.incidents.acknowledge(&incident, &author).await?),
            None => {
                let (subject, action) = (format!("cause:{key}"), "alert_cause.acknowledge");
                let change = Change { who: author.who.clone(), address: author.address, action, subject, fields: Vec::new() };
                state.audit.record(&change).await?;
            }
        }
        state.inbox.say(CauseMove::Acknowledged { key: key.to_owned(), by: author.who.clone(), note: String::new(), at });
        held.acknowledged = Some(Acknowledged { by: author.who, note: String::new(), at });
    }
    Ok(Json(view(state, &held)))
}

fn view(state: &ApiState, held: &Held) -> CauseView {
    let name = |service: ServiceId| state.services.get(service).map(|stored| stored.name().to_owned());
    let cause = &held.cause;
    CauseView {
        key: cause.key.clone(),
        kind: cause.kind.name(),
        severity: cause.severity.name(),
        drill: cause.drill,
        open: held.holds(),
        service_id: cause.service.map(|service| service.0),
        service_name: cause.service.and_then(name),
        region: cause.region.as_ref().map(ToString::to_string),
        node: cause.node.as_ref().map(ToString::to_string),
        headline: cause.headline.clone(),
        since: cause.since.rfc3339(),
        cleared_at: held.cleared_at.map(|at| at.rfc3339()),
        acknowledged_by: held.acknowledged.as_ref().map(|by| by.by.clone()),
        acknowledged_at: held.acknowledged.as_ref().map(|by| by.at.rfc3339()),
        consequence_of: held.consequence_of.clone(),
        consequences: held.consequences.iter().filter_map(|service| name(*service)).collect(),
        told: held
            .progress
            .iter()
            .map(|(rule, progress)| ToldView {
                rule_id: rule.0,
                raised_at: progress.raised_at.map(|at| at.rfc3339()),
                last_told: progress.last_told.map(|at| at.rfc3339()),
                repeats: progress.repeats,
                steps: progress.steps,
                recovered: progress.recovered,
            })
            .collect(),
    }
}
