//! All services at a glance. Drawn from memory alone, so that a thousand of them wait for no store.

pub mod view;

use std::collections::HashMap;

use askama::Template;
use rocket::{State, get};

use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::id::ServiceId;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::overview::view::{HeadPart, OverviewPage, Row, RowsPart, Wanted, groups, rows_of};
use crate::web::text::Text;
use crate::web::visit::Visit;

/// Rows a script may ask for at once.
const ROWS_AT_ONCE: usize = 200;

#[get("/")]
pub fn page(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let wanted = Wanted::of(&query);
    let now = state.clock.now();
    let services = state.board.summary(now);
    let head = HeadPart::new(t, state, &services, now);
    let rows = rows_of(t, state, services, now);
    let page = OverviewPage {
        frame: Frame::new(&visit, Section::Overview, t.s("nav.overview")),
        empty: rows.is_empty(),
        tags: OverviewPage::tags(&rows),
        group_names: OverviewPage::group_names(&rows),
        regions: OverviewPage::regions(&rows),
        head,
        hours: OverviewPage::hours(&rows),
        groups: groups(t, rows, &wanted),
        wanted,
    };
    Html::of(&page)
}

#[derive(Template)]
#[template(path = "admin.html")]
struct AdminPage {
    frame: Frame,
    /// Path, heading, what is done there.
    ways: Vec<(&'static str, &'static str, &'static str)>,
}

/// What the classic admin did is done on these pages.
#[get("/admin")]
pub fn admin(visit: Visit) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let ways = [
        ("/", "regions.services", "admin.services"),
        ("/results", "nav.results", "admin.results"),
        ("/digests", "nav.digests", "admin.digests"),
    ];
    Html::of(&AdminPage {
        frame: Frame::new(&visit, Section::None, t.s("admin.title")),
        ways: ways.into_iter().map(|(path, name, about)| (path, t.s(name), t.s(about))).collect(),
    })
}

/// The sentence, the counts and what is open: what a script puts in the place of the old.
#[get("/overview/head")]
pub fn head(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    let now = state.clock.now();
    let services = state.board.summary(now);
    Html::of(&HeadPart::new(Text(visit.look.lang), state, &services, now))
}

/// Some rows anew.
#[get("/overview/rows?<ids>")]
pub fn rows(visit: Visit, state: &State<ApiState>, ids: &str) -> Result<Html, ApiError> {
    let now = state.clock.now();
    let ids = ids.split(',').filter_map(|id| id.parse().ok()).take(ROWS_AT_ONCE).map(ServiceId);
    let services = ids.filter_map(|id| state.board.service(id, now)).collect();
    let rows: Vec<Row> = rows_of(Text(visit.look.lang), state, services, now);
    Html::of(&RowsPart { rows })
}

/// Open incidents of each service, and those of the last 24 hours.
pub type Spans<'a> = HashMap<ServiceId, Vec<&'a crate::store::incidents::IncidentSpan>>;
