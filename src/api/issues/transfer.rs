//! Issues out of this hub and into it, as JSON.

use rocket::http::ContentType;
use rocket::response::stream::TextStream;
use rocket::serde::json::Json;
use rocket::{State, get, post};
use utoipa::ToSchema;

use crate::api::auth::{Admin, Viewer};
use crate::api::body::LongBody;
use crate::api::error::{ApiError, Problem};
use crate::api::issues::{FILTERS, fitting};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::tracker::copies::{FORMAT, Imported, IssueCopy, VERSION, slices};

/// What is exported, and what an import takes.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what is written piece by piece")]
pub struct Export {
    /// `probemesh-issues`
    format: String,
    /// 1
    version: u64,
    exported_at: String,
    issues: Vec<IssueCopy>,
}

/// Issues with their comments and history, to be kept or imported elsewhere; all, or those the filters of the list ask for.
#[utoipa::path(
    tag = "issues",
    responses(
        (status = 200, description = "The issues, by number", body = Export),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
    )
)]
#[get("/api/v1/maintenance/issues/export")]
pub async fn export<'a>(
    _viewer: Viewer,
    query: Query,
    state: &'a State<ApiState>,
) -> Result<(ContentType, TextStream![String + 'a]), ApiError> {
    query.allow(&[&["search"], FILTERS.as_slice()].concat())?;
    let wanted = slices(&fitting(&query, state).await?);
    let at = state.clock.now().rfc3339();
    let text = TextStream! {
        yield format!("{{\"format\": \"{FORMAT}\", \"version\": {VERSION}, \"exported_at\": \"{at}\", \"issues\": [");
        let mut parted = "\n";
        for slice in wanted {
            let whole = match state.tracker.issues.whole(&slice).await {
                Ok(whole) => whole,
                Err(error) => {
                    // What is cut short is no JSON, so nobody takes it for the whole.
                    tracing::warn!(error = %error, "export of issues broke off");
                    return;
                }
            };
            for one in &whole {
                let copy = serde_json::to_string(&IssueCopy::from(one)).expect("plain text always encodes");
                yield format!("{parted}{copy}");
                parted = ",\n";
            }
        }
        yield "\n]}\n".to_owned();
    };
    Ok((ContentType::JSON, text))
}

/// Takes issues in: an export, or a list of issues alone, of 32 MiB at most.
///
/// An issue that is here already, by its `uid`, stays as it is. A number that is taken becomes another one; `ids` tells which. Nothing is
/// written unless all of it is right.
#[utoipa::path(
    tag = "issues",
    request_body = Export,
    responses(
        (status = 200, description = "What was done", body = Imported),
        (status = 400, description = "The body is not JSON; the place is named", body = Problem),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 413, description = "The body is too large", body = Problem),
        (status = 422, description = "Issues have mistakes, each named with its place; nothing was stored", body = Problem),
    )
)]
#[post("/api/v1/maintenance/issues/import", data = "<body>")]
pub async fn import(admin: Admin, state: &State<ApiState>, body: LongBody) -> Result<Json<Imported>, ApiError> {
    Ok(Json(state.tracker.import(&body.0, &admin.0.author()).await?))
}
