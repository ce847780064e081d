//! Digests: a period in words. The list with its first lines, one in full with the facts it was written from, and one written
//! now.

mod facts;
mod view;

use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::{Map, Value};

use crate::api::auth::Operator;
use crate::api::body::JsonBody;
use crate::api::digests;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::digest::DigestId;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::users::Role;
use crate::web::digests::view::{DigestPage, ListPage, Notice};
use crate::web::html::Html;
use crate::web::input::number;
use crate::web::login::Refusal;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

/// After so many seconds a digest that was asked for is not to be waited for any longer.
const PATIENCE_S: i64 = 600;

/// The list. Of a digest that is being written, until it is there; then it leads to that one.
#[get("/digests")]
pub async fn list(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Either<Html, Redirect>, ApiError> {
    let t = Text(visit.look.lang);
    let query = query.without_empty();
    let mut notice = None;
    if let Some(asked) = query.number::<i64>("pending", "a time")?.map(Timestamp) {
        let service = query.number("of", "the number of a service")?.map(ServiceId);
        match state.digests.latest(service).filter(|digest| digest.written_at >= asked) {
            Some(digest) => return Ok(Either::Right(Redirect::to(format!("/digests/{}", digest.id)))),
            None if state.clock.now().0 - asked.0 < PATIENCE_S * 1_000_000 => {
                notice = Some(Notice { pending: true, text: t.s("digest.pending").to_owned() });
            }
            None => notice = Some(Notice { pending: false, text: t.s("digest.never_came").to_owned() }),
        }
    }
    Html::of(&ListPage::new(&visit, state, &query, notice).await?).map(Either::Left)
}

#[get("/digests/<id>")]
pub async fn one(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    let found = state.digests.one(&DigestId(id.into())).await?;
    let digest = found.ok_or_else(|| ApiError::not_found(format!("there is no digest {id}")))?;
    Html::of(&DigestPage::new(&visit, state, &digest).await?)
}

/// Writes one now. It leads to the digest, or to the list that waits for it where that takes long.
#[post("/digests/run", data = "<form>")]
pub async fn run(visit: Visit, form: OwnForm, query: Query, state: &State<ApiState>) -> Result<Either<Refusal, Redirect>, ApiError> {
    visit.need(Role::Operator)?;
    let asked = state.clock.now();
    let mut body = Map::new();
    body.extend(form.0.text("period_hours").map(|hours| ("period_hours".to_owned(), number(hours))));
    body.extend(form.0.text("service").map(|service| ("service".to_owned(), number(service))));
    match digests::run(Operator(visit.principal.clone()), state, JsonBody(Value::Object(body))).await {
        Ok(answer) if answer.0 == Status::Ok => {
            let id = answer.1["id"].as_str().unwrap_or_default();
            Ok(Either::Right(Redirect::to(format!("/digests/{id}"))))
        }
        Ok(_) => {
            let of = form.0.text("service").unwrap_or_default();
            Ok(Either::Right(Redirect::to(format!("/digests?pending={}&of={}", asked.0, encoded(of)))))
        }
        Err(error) => {
            let text = match error.errors() {
                [] => error.detail().to_owned(),
                errors => errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect::<Vec<_>>().join("; "),
            };
            let page = ListPage::new(&visit, state, &query, Some(Notice { pending: false, text })).await?;
            Ok(Either::Left(Refusal(error.status(), Html::of(&page)?)))
        }
    }
}

/// Whoever comes back to the address of the form, as by a choice of colours, finds the list.
#[get("/digests/run")]
pub fn after_run(_visit: Visit) -> Redirect {
    Redirect::to("/digests")
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
