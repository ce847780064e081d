//! One service: how it stands, how it was, what its last checks saw, and what can be done with it.

pub mod charts;
pub mod check_now;
pub mod checks;
pub mod facts;
mod view;
pub mod window;

use std::sync::Arc;
use std::time::Duration;

use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};

use crate::api::error::ApiError;
use crate::api::markdown::plain;
use crate::api::query::Query;
use crate::api::services::find;
use crate::api::state::ApiState;
use crate::model::time::Timestamp;
use crate::store::services::StoredService;
use crate::store::users::Role;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::service::charts::charts;
use crate::web::service::view::{ChartsPart, NowPart, ServicePage, last_checks, side};
use crate::web::service::window::{Mistake, Range, Window};
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// A service of which nothing was heard is new for so long.
const NEW: Duration = Duration::from_secs(3 * 3600);

#[get("/services/<id>")]
pub async fn page(visit: Visit, query: Query, state: &State<ApiState>, id: &str) -> Result<Either<Html, Refusal>, ApiError> {
    let service = find(state, id)?;
    let t = Text(visit.look.lang);
    let now = state.clock.now();
    // What was asked for wrongly is told beside what was typed; the rest of the page is as useful as ever.
    let (window, mistake) = match window(&query, usual(state, &service, now), now) {
        Ok(window) => (window, None),
        Err(mistake) => (Window::of(usual(state, &service, now), now), Some(mistake)),
    };
    // The charts come after the checks that are listed, so that none of these is missing in them.
    let checks = last_checks(t, state, &service).await?;
    let drawn = charts(t, state, service.id, &window, state.clock.now()).await?;
    let side = side(t, state, &service, &drawn, now).await?;
    let wrong = mistake.is_some();
    let page = ServicePage {
        frame: Frame::new(&visit, Section::Overview, service.name()),
        id: service.id.0,
        name: service.name().to_owned(),
        enabled: service.enabled(),
        badge: badge(&service, query.address()),
        now: NowPart::new(t, state, &service, now).await?,
        side,
        charts: ChartsPart { t, window, charts: drawn, id: service.id.0, now, usual: usual(state, &service, now), mistake },
        checks,
    };
    let page = Html::of(&page)?;
    Ok(if wrong { Either::Right(Refusal(Status::BadRequest, page)) } else { Either::Left(page) })
}

/// Of a public service, its badge as Markdown for a page elsewhere. `address` is that of the service's page.
fn badge(service: &StoredService, address: &str) -> Option<String> {
    let host = address.strip_suffix(&format!("/services/{}", service.id)).unwrap_or_default();
    let public = service.document.public == Some(true);
    public.then(|| format!("[![{}]({host}/badge/{}.svg)]({host}/status)", plain(service.name()), service.id))
}

fn window(query: &Query, usual: Range, now: Timestamp) -> Result<Window, Mistake> {
    Window::read(query.text("range"), query.text("from"), query.text("to"), usual, now)
}

/// What is shown where nobody asked for more or less: of a service that is new, the hour in which there is something to see.
fn usual(state: &ApiState, service: &StoredService, now: Timestamp) -> Range {
    let is_new = state.strips.is_new(service.id, now).unwrap_or_else(|| now.since(service.created_at) < NEW);
    if is_new { Range::Hour } else { Range::Day }
}

/// How it stands: what a script puts in the place of the old.
#[get("/services/<id>/now")]
pub async fn now(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    let service = find(state, id)?;
    Html::of(&NowPart::new(Text(visit.look.lang), state, &service, state.clock.now()).await?)
}

#[get("/services/<id>/checks")]
pub async fn checks_part(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    let service = find(state, id)?;
    Html::of(&last_checks(Text(visit.look.lang), state, &service).await?)
}

#[get("/services/<id>/charts")]
pub async fn charts_part(visit: Visit, query: Query, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    let service = find(state, id)?;
    let t = Text(visit.look.lang);
    let now = state.clock.now();
    let window = window(&query, usual(state, &service, now), now).map_err(|mistake| ApiError::bad_query(mistake.field, mistake.told(t)))?;
    let charts = charts(t, state, service.id, &window, now).await?;
    Html::of(&ChartsPart { t, window, charts, id: service.id.0, now, usual: usual(state, &service, now), mistake: None })
}

/// Pauses a service or has it checked again.
#[post("/services/<id>/enabled", data = "<form>")]
pub async fn set_enabled(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    let service: Arc<StoredService> = find(state, id)?;
    let mut document = service.document.clone();
    document.enabled = Some(form.0.get("enabled") == Some("true"));
    state.services.replace(service.id, document, Some(service.revision), &visit.principal.author()).await?;
    (state.services_changed)();
    Ok(Redirect::to(format!("/services/{}", service.id)))
}
