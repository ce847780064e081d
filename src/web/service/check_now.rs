//! A service checked while someone looks on: each region's steps as it takes them, and what it saw as soon as it has.

use std::time::Duration;

use rocket::http::Status;
use rocket::response::Redirect;
use rocket::response::stream::{Event, EventStream};
use rocket::{Shutdown, State, post};
use serde::Serialize;

use crate::api::checks::{Told, ask, follow};
use crate::api::error::ApiError;
use crate::api::services::find;
use crate::api::state::ApiState;
use crate::store::services::StoredService;
use crate::store::users::Role;
use crate::web::chart::PHASES;
use crate::web::service::checks::{CheckRow, micros};
use crate::web::service::view::CheckedPart;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// How long a page waits for a check that was asked for.
const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// A step, with the words and lengths a script draws.
#[derive(Serialize)]
struct StepView<'a> {
    region: &'a str,
    /// From 1.
    attempt: u8,
    phase: Option<&'static str>,
    /// The phase for people.
    word: String,
    /// Since the region was asked.
    elapsed_ms: f64,
    /// The phases so far, with their names and milliseconds; the one under way goes on.
    phases: Vec<(&'static str, f64)>,
}

#[derive(Serialize)]
struct RegionView<'a> {
    region: &'a str,
    /// Markup.
    shown: String,
}

/// Without a script: back to the page, where the check is among the last ones.
#[post("/services/<id>/check", data = "<_form>")]
pub async fn check(visit: Visit, _form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    let service = checkable(&visit, state, id)?;
    ask(state, &service, CHECK_LIMIT).await;
    Ok(Redirect::to(format!("/services/{}#checks", service.id)))
}

/// For a script: server-sent events, `asked` with the regions, then `step`, `result` and `unanswered` of each, and `done`.
#[post("/services/<id>/check/live", data = "<_form>")]
pub async fn watch(
    visit: Visit,
    _form: OwnForm,
    state: &State<ApiState>,
    id: &str,
    mut end: Shutdown,
) -> Result<EventStream![Event], ApiError> {
    let service = checkable(&visit, state, id)?;
    let t = Text(visit.look.lang);
    let limit = state.board.degraded_after(service.id);
    let mut told = follow(state, service.id, CHECK_LIMIT);
    Ok(EventStream! {
        loop {
            let next = tokio::select! {
                next = told.recv() => next,
                _ = &mut end => None,
            };
            match next {
                Some(told) => yield event(t, &told, limit),
                None => break,
            }
        }
        yield Event::data("").event("done");
    })
}

fn checkable(visit: &Visit, state: &ApiState, id: &str) -> Result<std::sync::Arc<StoredService>, ApiError> {
    visit.need(Role::Operator)?;
    let service = find(state, id)?;
    match service.enabled() {
        true => Ok(service),
        false => Err(ApiError::new(Status::Conflict, Text(visit.look.lang).s("service.paused_unchecked"))),
    }
}

/// `limit`: what takes longer is slow.
fn event(t: Text, told: &Told, limit: Option<Duration>) -> Event {
    match told {
        Told::Asked(regions) => {
            let regions: Vec<&str> = regions.iter().map(|region| &*region.0).collect();
            Event::json(&regions).event("asked")
        }
        Told::Step { region, step, elapsed } => {
            let phases = PHASES.iter().zip(micros(&step.phases)).filter_map(|(name, us)| Some((*name, us? / 1e3)));
            let word = step.phase.map_or_else(|| t.s("service.waits"), |phase| t.word("phase", phase.name()));
            let word = if step.attempt > 1 {
                t.with("service.attempt", &[("n", &step.attempt.to_string()), ("phase", word)])
            } else {
                word.to_owned()
            };
            Event::json(&StepView {
                region: &region.0,
                attempt: step.attempt,
                phase: step.phase.map(|phase| phase.name()),
                word,
                elapsed_ms: elapsed.as_secs_f64() * 1e3,
                phases: phases.collect(),
            })
            .event("step")
        }
        Told::Result(result) => {
            let part = CheckedPart { check: CheckRow::new(t, result, limit) };
            let shown = askama::Template::render(&part).unwrap_or_default();
            Event::json(&RegionView { region: &result.region.0, shown }).event("result")
        }
        Told::Unanswered(region) => {
            let mut shown = String::new();
            crate::web::svg::escape(t.s("service.unanswered_region"), &mut shown);
            Event::json(&RegionView { region: &region.0, shown }).event("unanswered")
        }
    }
}
