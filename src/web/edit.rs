//! Services made and changed by a form. What is wrong stands beside its field and nothing that was typed is lost; the same rules
//! hold as for the API, by the same code.

pub mod fields;
mod tried;
mod view;

use std::time::Duration;

use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::Value;

use crate::api::error::{ApiError, FieldError};
use crate::api::mask::masked;
use crate::api::query::Query;
use crate::api::services::{checked, find, plain, remove};
use crate::api::state::ApiState;
use crate::api::trying::{Places, try_out};
use crate::store::findings::FindingQuery;
use crate::store::incidents::IncidentFilter;
use crate::store::services::{ServicesError, StoredService};
use crate::store::users::Role;
use crate::web::curl;
use crate::web::edit::fields::{document_of, fields_of, filled_by, place_of};
use crate::web::edit::tried::TriedPart;
use crate::web::edit::view::{DeletePage, EditPage, Wrong};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, Visit};

/// How long a page waits for a service that is tried.
const TRY_LIMIT: Duration = Duration::from_secs(60);

type Answer = Result<Either<Refusal, Redirect>, ApiError>;

#[get("/services/new")]
pub fn new(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let mut fields = fields_of(&Value::Null);
    if let Some(address) = query.text("url") {
        fields.set("base_url", address);
        fields.set("name", &name_for(address));
    }
    Html::of(&page(&visit, state, None, fields, Outcome::default()))
}

#[get("/services/<id>/edit")]
pub fn edit(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let service = find(state, id)?;
    let mut fields = fields_of(&Value::Object(plain(&masked(&service.document))));
    fields.set("revision", &service.revision.to_string());
    Html::of(&page(&visit, state, Some(&service), fields, Outcome::default()))
}

#[post("/services/new", data = "<form>")]
pub async fn create(visit: Visit, form: OwnForm, state: &State<ApiState>) -> Answer {
    take(visit, form.0, state, None).await
}

#[post("/services/<id>/edit", data = "<form>")]
pub async fn change(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    let service = find(state, id)?;
    take(visit, form.0, state, Some(&service)).await
}

/// What came of sending the form, to be shown above and in it.
#[derive(Default)]
pub struct Outcome {
    wrong: Wrong,
    tried: Option<TriedPart>,
    notes: Vec<String>,
}

async fn take(visit: Visit, fields: Fields, state: &ApiState, kept: Option<&StoredService>) -> Answer {
    visit.need(Role::Operator)?;
    let t = Text(visit.look.lang);
    let again = |status, fields, outcome| {
        let page = Html::of(&page(&visit, state, kept, fields, outcome))?;
        Ok(Either::Left(Refusal(status, page)))
    };
    if fields.get("do") == Some("curl") {
        return match curl::parse(fields.get("curl").unwrap_or_default()) {
            Ok(request) => {
                let mut notes = vec![t.s("edit.curl_done").to_owned()];
                if !request.unknown.is_empty() {
                    notes.push(t.one("edit.curl_unknown", request.unknown.join(", ")));
                }
                let name = name_for(&request.url);
                let fields = filled_by(fields, request, &name);
                again(Status::Ok, fields, Outcome { notes, ..Outcome::default() })
            }
            Err(error) => {
                again(Status::UnprocessableEntity, fields, Outcome { wrong: Wrong::one("curl", &error.to_string()), ..Outcome::default() })
            }
        };
    }
    let base = kept.map(|kept| Value::Object(plain(&masked(&kept.document))));
    let body = document_of(&fields, base);
    let document = match checked(state, body, kept) {
        Ok(document) => document,
        Err(error) => return again(Status::UnprocessableEntity, fields, Outcome { wrong: wrong(error.errors()), ..Outcome::default() }),
    };
    if fields.get("do") == Some("try") {
        let places = fields.text("try_from").map_or(Places::Hub, |names| Places::named(state, names));
        let tried = TriedPart::new(t, &places, try_out(state, &document, &places, TRY_LIMIT).await?);
        return again(Status::Ok, fields, Outcome { tried: Some(tried), ..Outcome::default() });
    }
    let author = visit.principal.author();
    let stored = match kept {
        None => state.services.create(document, &author).await,
        Some(kept) => {
            let seen = fields.get("revision").and_then(|revision| revision.parse().ok());
            state.services.replace(kept.id, document, seen, &author).await
        }
    };
    match stored {
        Ok(service) => {
            (state.services_changed)();
            Ok(Either::Right(Redirect::to(format!("/services/{}", service.id))))
        }
        Err(ServicesError::NameTaken { .. }) => {
            let wrong = Wrong::one("name", t.s("edit.name_taken"));
            again(Status::UnprocessableEntity, fields, Outcome { wrong, ..Outcome::default() })
        }
        Err(ServicesError::Changed { .. }) => {
            let wrong = Wrong::one("", t.s("edit.changed"));
            again(Status::Conflict, fields, Outcome { wrong, ..Outcome::default() })
        }
        Err(other) => Err(other.into()),
    }
}

#[get("/services/<id>/delete")]
pub async fn ask_delete(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let service = find(state, id)?;
    let t = Text(visit.look.lang);
    let of_service = IncidentFilter { service: Some(service.id), ..IncidentFilter::default() };
    let (incidents, _) = state.incidents.page(&of_service, 0, 0).await?;
    let findings = state.findings.count(&FindingQuery { service: Some(service.id), ..FindingQuery::default() });
    let known = state.uptimes.get(service.id).and_then(|known| known.windows.last().copied());
    Html::of(&DeletePage {
        frame: Frame::new(&visit, Section::Overview, t.with("delete.title", &[("name", service.name())])),
        id: service.id.0,
        incidents,
        findings,
        regions: state.store.results.regions(service.id).iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        measured: known.filter(|known| known.coverage > 0.0).map(|known| known.window.mul_f64(known.coverage)),
        since: crate::web::moment::Moment::full(service.created_at),
    })
}

#[post("/services/<id>/delete", data = "<form>")]
pub async fn delete(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    let service = find(state, id)?;
    remove(state, &service, form.0.get("force") == Some("true"), form.0.get("purge") == Some("true"), &visit.principal.author()).await?;
    Ok(Redirect::to("/"))
}

fn page(visit: &Visit, state: &ApiState, kept: Option<&StoredService>, fields: Fields, outcome: Outcome) -> EditPage {
    let t = Text(visit.look.lang);
    let title = match kept {
        Some(kept) => t.with("edit.title", &[("name", kept.name())]),
        None => t.s("edit.new").to_owned(),
    };
    let nodes = state.membership.nodes();
    let mut places: Vec<String> = nodes.iter().filter(|(_, info)| !info.local).map(|(_, info)| info.region.clone()).collect();
    places.sort();
    places.dedup();
    let mut regions: Vec<String> = nodes.into_iter().map(|(_, info)| info.region).collect();
    regions.extend(fields.all("regions").map(str::to_owned));
    regions.sort();
    regions.dedup();
    let mut groups: Vec<String> = state.services.list().iter().filter_map(|service| service.document.group.clone()).collect();
    groups.sort();
    groups.dedup();
    let Outcome { wrong, tried, notes } = outcome;
    EditPage {
        frame: Frame::new(visit, Section::Overview, title),
        id: kept.map(|kept| kept.id.0),
        fields,
        wrong,
        tried,
        notes,
        regions,
        places,
        groups,
    }
}

fn wrong(errors: &[FieldError]) -> Wrong {
    let mut wrong = Wrong::default();
    errors.iter().for_each(|error| wrong.add(place_of(&error.field), &error.field, &error.message));
    wrong
}

/// A name an address suggests: its host.
fn name_for(address: &str) -> String {
    let host = url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_default()
}
