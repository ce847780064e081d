//! Performance: how long answers take and where, against the period before; what costs most; and what to do about it.
//!
//! Every figure is the API's: the same report, in words and pictures.

mod view;

use rocket::{State, get};

use crate::analysis::performance::LONGEST;
use crate::api::error::ApiError;
use crate::api::performance::{Reports, USUAL_HOURS, bounded, question};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::web::html::Html;
use crate::web::performance::view::PerformancePage;
use crate::web::visit::Visit;

#[get("/performance")]
pub async fn page(visit: Visit, query: Query, state: &State<ApiState>, reports: &State<Reports>) -> Result<Html, ApiError> {
    let query = query.without_empty();
    let hours = bounded(&query, "hours", LONGEST)?.unwrap_or(USUAL_HOURS);
    let report = reports.report(state, question(&query, state, hours)?).await?;
    Html::of(&PerformancePage::new(&visit, state, &query, &report)?)
}
