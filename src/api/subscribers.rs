//! Who asked to be told what the status page tells: for admins, since addresses are personal data.

use rocket::response::status::NoContent;
use rocket::serde::json::Json;
use rocket::{State, delete, get, post};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Admin;
use crate::api::error::{ApiError, Problem};
use crate::api::query::{Page, Query};
use crate::api::state::ApiState;
use crate::model::subscriber::{Subscriber, SubscriberId, SubscriberKind, SubscriberState};
use crate::model::time::Timestamp;

/// A subscriber of the status page.
#[derive(Serialize, ToSchema)]
pub struct SubscriberView {
    id: u32,
    /// `email` or `webhook`
    kind: &'static str,
    /// The mail address or the URL.
    address: String,
    /// `pending`: not confirmed yet, `active`, or `suspended`: told nothing more, because nothing got through.
    state: &'static str,
    /// The services they want to hear of; null: all that are public.
    services: Option<Vec<u32>>,
    /// `en` or `fa`
    language: String,
    created_at: String,
    confirmed_at: Option<String>,
    suspended_at: Option<String>,
    /// Messages in a row that were refused for good, or given up.
    failures: u32,
    /// Why the last of these was.
    last_error: Option<String>,
}

/// What is filtered for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub kind: Option<SubscriberKind>,
    pub state: Option<SubscriberState>,
}

impl Wanted {
    pub fn read(query: &Query) -> Result<Wanted, ApiError> {
        let kind = query.text("kind").map(|name| {
            SubscriberKind::from_name(name).ok_or_else(|| ApiError::bad_query("kind", format!("must be email or webhook, not {name:?}")))
        });
        let state = query.text("state").map(|name| {
            let wrong = || ApiError::bad_query("state", format!("must be pending, active or suspended, not {name:?}"));
            SubscriberState::from_name(name).ok_or_else(wrong)
        });
        Ok(Wanted { kind: kind.transpose()?, state: state.transpose()? })
    }

    pub fn fits(&self, subscriber: &Subscriber) -> bool {
        self.kind.is_none_or(|kind| kind == subscriber.kind) && self.state.is_none_or(|state| state == subscriber.state())
    }
}

/// The subscribers of the status page, by number.
#[utoipa::path(
    tag = "status page",
    params(
        ("page" = Option<u64>, Query, description = "From 1"),
        ("page_size" = Option<u64>, Query, description = "1 to 500, usually 50"),
        ("kind" = Option<String>, Query, description = "`email` or `webhook`"),
        ("state" = Option<String>, Query, description = "`pending`, `active` or `suspended`"),
    ),
    responses(
        (status = 200, description = "A page of subscribers", body = Page<SubscriberView>),
        (status = 400, description = "A filter is wrong; errors names it", body = Problem),
        (status = 403, description = "Takes role admin", body = Problem),
    )
)]
#[get("/api/v1/status/subscribers")]
pub fn list(_admin: Admin, query: Query, state: &State<ApiState>) -> Result<Json<Page<SubscriberView>>, ApiError> {
    query.allow(&["page", "page_size", "kind", "state"])?;
    let (page, size, wanted) = (query.page()?, query.page_size()?, Wanted::read(&query)?);
    let all = state.subscriptions.subscribers.list();
    let fitting: Vec<_> = all.iter().filter(|one| wanted.fits(one)).collect();
    let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
    let views = fitting.iter().skip(skip).take(size).map(|one| SubscriberView::from(&***one)).collect();
    Ok(Json(query.numbered(fitting.len() as u64, page, size, views)))
}

/// One subscriber.
#[utoipa::path(
    tag = "status page",
    params(("id" = u32, Path, description = "The subscriber's number")),
    responses(
        (status = 200, description = "The subscriber", body = SubscriberView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[get("/api/v1/status/subscribers/<id>")]
pub fn read(_admin: Admin, state: &State<ApiState>, id: &str) -> Result<Json<SubscriberView>, ApiError> {
    let found = number(id).and_then(|id| state.subscriptions.subscribers.get(id)).ok_or_else(|| none(id))?;
    Ok(Json(SubscriberView::from(&*found)))
}

/// Forgets a subscriber: nothing more is sent, and the address is gone from the store.
#[utoipa::path(
    tag = "status page",
    params(("id" = u32, Path, description = "The subscriber's number")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
    )
)]
#[delete("/api/v1/status/subscribers/<id>")]
pub async fn remove(admin: Admin, query: Query, state: &State<ApiState>, id: &str) -> Result<NoContent, ApiError> {
    query.allow(&[])?;
    let found = number(id).ok_or_else(|| none(id))?;
    match state.subscriptions.subscribers.remove(found, Some(&admin.0.author())).await? {
        true => Ok(NoContent),
        false => Err(none(id)),
    }
}

/// Tells a suspended subscriber again, from now on.
#[utoipa::path(
    tag = "status page",
    params(("id" = u32, Path, description = "The subscriber's number")),
    responses(
        (status = 200, description = "The subscriber, active again", body = SubscriberView),
        (status = 403, description = "Takes role admin", body = Problem),
        (status = 404, description = "There is none of this number", body = Problem),
        (status = 409, description = "It is not suspended", body = Problem),
    )
)]
#[post("/api/v1/status/subscribers/<id>/resume")]
pub async fn resume(admin: Admin, query: Query, state: &State<ApiState>, id: &str) -> Result<Json<SubscriberView>, ApiError> {
    query.allow(&[])?;
    let subscribers = &state.subscriptions.subscribers;
    let found = number(id).and_then(|id| subscribers.get(id)).ok_or_else(|| none(id))?;
    match subscribers.resume(found.id, &admin.0.author()).await? {
        Some(resumed) => Ok(Json(SubscriberView::from(&*resumed))),
        None => {
            let detail = format!("subscriber {id} is {}, not suspended", found.state().name());
            Err(ApiError::new(rocket::http::Status::Conflict, detail))
        }
    }
}

fn number(id: &str) -> Option<SubscriberId> {
    id.parse().ok().map(SubscriberId)
}

fn none(id: &str) -> ApiError {
    ApiError::not_found(format!("there is no subscriber {id}"))
}

impl From<&Subscriber> for SubscriberView {
    fn from(subscriber: &Subscriber) -> SubscriberView {
        let services = subscriber.choice.services.as_ref();
        SubscriberView {
            id: subscriber.id.0,
            kind: subscriber.kind.name(),
            address: subscriber.reach.clone(),
            state: subscriber.state().name(),
            services: services.map(|services| services.iter().map(|service| service.0).collect()),
            language: subscriber.choice.lang.clone(),
            created_at: subscriber.created_at.rfc3339(),
            confirmed_at: subscriber.confirmed_at.map(Timestamp::rfc3339),
            suspended_at: subscriber.suspended_at.map(Timestamp::rfc3339),
            failures: subscriber.failures,
            last_error: subscriber.last_error.clone(),
        }
    }
}
