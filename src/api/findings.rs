//! Findings: what was odd, where, since when and how large, and what people say to it; and what the analyst knows of the habits
//! it holds things against.

use std::time::Duration;

use rocket::serde::json::Json;
use rocket::{State, get, post};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::analysis::watch::{RegionHabit, TimeHabit};
use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, Problem};
use crate::api::events::Event;
use crate::api::query::{Page, Query};
use crate::api::results::span;
use crate::api::state::ApiState;
use crate::model::finding::{Evidence, Feedback, Finding, FindingId, Learning, Shape, Signal};
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::findings::FindingQuery;

/// Characters of a note.
const LONGEST_NOTE: usize = 10_000;
/// A finding and an incident so near to each other belong together.
pub const NEAR: Duration = Duration::from_secs(600);

/// An anomaly: an episode of samples that were odd for one cause.
#[derive(Serialize, ToSchema)]
pub struct FindingView {
    /// Names it for ever.
    pub id: String,
    /// Null where many services are slow at once: they are named in the evidence.
    pub service_id: Option<u32>,
    /// As it was called when it was found; the regions, where it is about no single service.
    pub service_name: String,
    /// The only region it was seen in; null where it was seen in several.
    pub region: Option<String>,
    pub regions: Vec<String>,
    /// `latency`, `dns`, `connect`, `tls`, `first_byte`, `transfer`, `errors` or `pattern`
    pub signal: &'static str,
    /// `spike`, `dip`, `level_up`, `level_down`, `drift`, `flatline`, `volatility`, `rhythm`, `burst`, `odd_region` or `unusual`
    pub shape: &'static str,
    pub open: bool,
    pub since: String,
    /// The last odd sample.
    pub last: String,
    pub ended: Option<String>,
    /// Until it ended, or until now.
    pub duration_s: f64,
    /// The oddest sample, and what habit had led to expect.
    pub observed: f64,
    pub expected: Option<f64>,
    /// `ms` of times, `share` of errors, `score` of a pattern: of observed, expected and evidence.
    pub unit: &'static str,
    /// How many times as large as usual; null where that has no meaning.
    pub ratio: Option<f64>,
    /// 0 to 1
    pub score: f64,
    /// 0 to 1: the score, less where little is known yet.
    pub confidence: f64,
    /// Odd samples so far.
    pub samples: u32,
    pub learning: Option<LearningView>,
    /// All of it in one line.
    pub summary: String,
    pub evidence: Vec<EvidenceView>,
    pub feedback: Option<FeedbackView>,
    /// Incidents of the same service at about the same time.
    pub incidents: Vec<String>,
}

/// Too little is known for a firm word.
#[derive(Serialize, ToSchema)]
pub struct LearningView {
    /// Samples it has.
    pub have: u32,
    /// Samples it needs.
    pub need: u32,
}

#[derive(Serialize, ToSchema)]
pub struct EvidenceView {
    pub at: String,
    /// Such as `latency p50`, `failed of 60 checks`, or a region.
    pub what: String,
    pub observed: f64,
    pub expected: Option<f64>,
}

#[derive(Serialize, ToSchema)]
pub struct FeedbackView {
    /// False: "not an anomaly".
    pub anomaly: bool,
    pub who: String,
    pub at: String,
    pub note: Option<String>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedbackBody {
    /// False: "not an anomaly". The like of it is then not told again for 30 days, unless it is 1.25 times as large.
    anomaly: bool,
    /// At most 10000 characters.
    note: Option<String>,
}

/// What is known of a service in a region.
#[derive(Serialize, ToSchema)]
pub struct HabitView {
    service_id: u32,
    region: String,
    /// Of the newest sample.
    at: String,
    checks: u32,
    failed: u32,
    /// The share of failures that is habit.
    usual_error_share: f64,
    /// Null once enough is known to tell when failures are odd.
    learning: Option<LearningView>,
    times: Vec<TimeHabitView>,
}

#[derive(Serialize, ToSchema)]
pub struct TimeHabitView {
    signal: &'static str,
    observed_ms: f64,
    expected_ms: Option<f64>,
    /// How odd it was, 0 to 1.
    score: f64,
    /// Null once enough is known.
    learning: Option<LearningView>,
}

#[derive(Serialize, ToSchema)]
pub struct Habits {
    count: usize,
    results: Vec<HabitView>,
}

/// Anomalies, newest first. Those a person has called none are left out unless they are asked for.
#[utoipa::path(
    tag = "findings",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("service" = Option<u32>, Query, description = "Those of this service"),
        ("region" = Option<String>, Query, description = "Those seen in this region, alone or with others"),
        ("signal" = Option<String>, Query, description = "Such as `latency`, `connect` or `errors`"),
        ("shape" = Option<String>, Query, description = "Such as `spike`, `level_up` or `burst`"),
        ("since" = Option<String>, Query, description = "Those that went on at this time or later"),
        ("until" = Option<String>, Query, description = "Those that had begun before this time"),
        ("open" = Option<bool>, Query, description = "Those that do, or do not, go on"),
        ("min_score" = Option<f64>, Query, description = "0 to 1"),
        ("dismissed" = Option<bool>, Query, description = "True: those that were called none, too"),
    ),
    responses(
        (status = 200, description = "A page of findings", body = Page<FindingView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/findings")]
pub async fn list(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Page<FindingView>>, ApiError> {
    query.allow(&["page", "page_size", "service", "region", "signal", "shape", "since", "until", "open", "min_score", "dismissed"])?;
    let (page, size) = (query.page()?, query.page_size()?);
    let (since, until) = span(&query)?;
    let signals = Signal::ALL.map(Signal::name).join(", ");
    let shapes = Shape::ALL.map(Shape::name).join(", ");
    let wanted = FindingQuery {
        service: query.number("service", "the number of a service")?.map(ServiceId),
        region: query.text("region").map(str::to_owned),
        signal: named(&query, "signal", Signal::from_name, &signals)?,
        shape: named(&query, "shape", Shape::from_name, &shapes)?,
        since,
        until,
        open: query.boolean("open")?,
        min_score: score(&query)?,
        dismissed: if query.boolean("dismissed")? == Some(true) { None } else { Some(false) },
        skip: usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size),
        size,
    };
    let found = state.findings.list(&wanted).await?;
    let views = found.findings.iter().map(|finding| FindingView::new(finding, state)).collect();
    Ok(Json(query.numbered(found.count, page, size, views)))
}

/// What the analyst knows: what it expects of each service in each region, and where it still learns.
#[utoipa::path(
    tag = "findings",
    params(("service" = Option<u32>, Query, description = "Of this service alone")),
    responses(
        (status = 200, description = "The habits", body = Habits),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/findings/habits")]
pub async fn habits(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Habits>, ApiError> {
    query.allow(&["service"])?;
    let only = query.number("service", "the number of a service")?.map(ServiceId);
    let known = state.habits.lock().expect("no holder panics");
    let of_services = known.iter().filter(|(service, _)| only.is_none_or(|only| only == **service));
    let of_regions = of_services.flat_map(|(service, regions)| regions.iter().map(|(region, habit)| (*service, region, habit)));
    let results: Vec<HabitView> = of_regions.map(|(service, region, habit)| HabitView::new(service, region, habit)).collect();
    Ok(Json(Habits { count: results.len(), results }))
}

/// One finding.
#[utoipa::path(
    tag = "findings",
    params(("id" = String, Path, description = "The finding's id")),
    responses(
        (status = 200, description = "The finding", body = FindingView),
        (status = 404, description = "There is none of this id", body = Problem),
    )
)]
#[get("/api/v1/findings/<id>")]
pub async fn read(_viewer: Viewer, state: &State<ApiState>, id: &str) -> Result<Json<FindingView>, ApiError> {
    let found = state.findings.one(&FindingId(id.into())).await?;
    let finding = found.ok_or_else(|| unknown(id))?;
    Ok(Json(FindingView::new(&finding, state)))
}

/// Says whether it is an anomaly. The latest word holds; "not an anomaly" ends a finding that goes on.
#[utoipa::path(
    tag = "findings",
    params(("id" = String, Path, description = "The finding's id")),
    request_body = FeedbackBody,
    responses(
        (status = 200, description = "The finding", body = FindingView),
        (status = 403, description = "Takes role operator", body = Problem),
        (status = 404, description = "There is none of this id", body = Problem),
        (status = 422, description = "A field is wrong", body = Problem),
    )
)]
#[post("/api/v1/findings/<id>/feedback", data = "<body>")]
pub async fn feedback(operator: Operator, state: &State<ApiState>, id: &str, body: JsonBody) -> Result<Json<FindingView>, ApiError> {
    let FeedbackBody { anomaly, note } = body.read()?;
    let note = note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
    if note.as_ref().is_some_and(|note| note.chars().count() > LONGEST_NOTE) {
        return Err(ApiError::invalid_field("note", format!("must have at most {LONGEST_NOTE} characters")));
    }
    let answered = state.findings.feedback(&FindingId(id.into()), anomaly, note, &operator.0.author()).await?;
    let finding = answered.ok_or_else(|| unknown(id))?;
    let _ = state.events.send(std::sync::Arc::new(Event::finding("feedback", &finding)));
    Ok(Json(FindingView::new(&finding, state)))
}

fn unknown(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no finding {id}"))
}

fn named<T>(query: &Query, name: &str, read: impl Fn(&str) -> Option<T>, known: &str) -> Result<Option<T>, ApiError> {
    let Some(text) = query.text(name) else { return Ok(None) };
    read(text).map(Some).ok_or_else(|| ApiError::bad_query(name, format!("must be one of {known}, not {text:?}")))
}

fn score(query: &Query) -> Result<Option<f64>, ApiError> {
    let least: Option<f64> = query.number("min_score", "a number from 0 to 1")?;
    match least {
        Some(least) if !(0.0..=1.0).contains(&least) => {
            Err(ApiError::bad_query("min_score", format!("must be a number from 0 to 1, not {least}")))
        }
        least => Ok(least),
    }
}

impl FindingView {
    pub fn new(finding: &Finding, state: &ApiState) -> FindingView {
        let until = finding.ended.map_or(Timestamp::LAST, |ended| ended.plus(NEAR));
        let overlapping = |service| state.incidents.overlapping(service, finding.since.minus(NEAR), until);
        let incidents = finding.service.map(overlapping).unwrap_or_default();
        let times = !matches!(finding.signal, Signal::Errors | Signal::Pattern);
        let unit = match finding.signal {
            Signal::Errors => "share",
            Signal::Pattern => "score",
            _ => "ms",
        };
        let shown = |value: f64| if times { value.round() / 1e3 } else { value };
        let ratio = finding.expected.filter(|expected| *expected > 0.0).map(|expected| finding.observed / expected);
        let regions: Vec<String> = finding.regions.iter().map(ToString::to_string).collect();
        FindingView {
            id: finding.id.to_string(),
            service_id: finding.service.map(|service| service.0),
            service_name: finding.name.to_string(),
            region: finding.region.as_ref().map(ToString::to_string),
            regions,
            signal: finding.signal.name(),
            shape: finding.shape.name(),
            open: finding.ended.is_none(),
            since: finding.since.rfc3339(),
            last: finding.last.rfc3339(),
            ended: finding.ended.map(Timestamp::rfc3339),
            duration_s: finding.ended.unwrap_or(state.clock.now()).since(finding.since).as_secs_f64(),
            observed: shown(finding.observed),
            expected: finding.expected.map(shown),
            unit,
            ratio,
            score: finding.score,
            confidence: finding.confidence,
            samples: finding.samples,
            learning: finding.learning.map(LearningView::from),
            summary: finding.summary.clone(),
            evidence: finding.evidence.iter().map(|evidence| EvidenceView::new(evidence, shown)).collect(),
            feedback: finding.feedback.as_ref().map(FeedbackView::from),
            incidents: incidents.iter().map(ToString::to_string).collect(),
        }
    }
}

impl EvidenceView {
    fn new(evidence: &Evidence, shown: impl Fn(f64) -> f64) -> EvidenceView {
        let (observed, expected) = (shown(evidence.observed), evidence.expected.map(shown));
        EvidenceView { at: evidence.at.rfc3339(), what: evidence.what.clone(), observed, expected }
    }
}

impl From<Learning> for LearningView {
    fn from(learning: Learning) -> LearningView {
        LearningView { have: learning.have, need: learning.need }
    }
}

impl From<&Feedback> for FeedbackView {
    fn from(feedback: &Feedback) -> FeedbackView {
        FeedbackView { anomaly: feedback.anomaly, who: feedback.who.clone(), at: feedback.at.rfc3339(), note: feedback.note.clone() }
    }
}

impl HabitView {
    fn new(service: ServiceId, region: &RegionName, habit: &RegionHabit) -> HabitView {
        HabitView {
            service_id: service.0,
            region: region.to_string(),
            at: habit.at.rfc3339(),
            checks: habit.checks,
            failed: habit.failed,
            usual_error_share: habit.error_share,
            learning: habit.errors_learning.map(LearningView::from),
            times: habit.times.iter().map(TimeHabitView::from).collect(),
        }
    }
}

impl From<&TimeHabit> for TimeHabitView {
    fn from(habit: &TimeHabit) -> TimeHabitView {
        TimeHabitView {
            signal: habit.signal.name(),
            observed_ms: habit.observed.round() / 1e3,
            expected_ms: habit.expected.map(|expected| expected.round() / 1e3),
            score: habit.score,
            learning: habit.learning.map(LearningView::from),
        }
    }
}
