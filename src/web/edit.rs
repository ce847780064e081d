//! Services made and changed by a form. What is wrong stands beside its field and nothing that was typed is lost; the same rules
//! hold as for the API, by the same code.

pub mod fields;
mod lines;
mod places;
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
use crate::web::edit::fields::{different, document_of, fields_of, filled_by, is_switch, mistaken_headers, typed_wrong};
use crate::web::edit::places::{Within, told_in};
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
    let mut unread = Wrong::default();
    for (number, key, name) in mistaken_headers(fields.get("headers").unwrap_or_default()) {
        unread.add("headers", t.with("edit.line", &[("n", &number.to_string()), ("text", &t.one(key, name))]));
    }
    let document = match checked(state, body, kept) {
        Ok(document) if unread.count() == 0 => document,
        outcome => {
            let mut wrong = outcome.err().map(|error| wrong(t, &fields, error.errors())).unwrap_or_default();
            wrong.take(unread);
            return again(Status::UnprocessableEntity, fields, Outcome { wrong, ..Outcome::default() });
        }
    };
    if fields.get("do") == Some("try") {
        let places = fields.text("try_from").map_or(Places::Hub, |names| Places::named(state, names));
        let limit = document.degraded_after_ms.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1e3));
        let tried = TriedPart::new(t, &places, try_out(state, &document, &places, TRY_LIMIT).await?, limit);
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
        Err(ServicesError::Changed { id, found }) => {
            let stored = state.services.get(id).map(|now| fields_of(&Value::Object(plain(&masked(&now.document)))));
            let mut wrong = Wrong::one("", t.s("edit.changed"));
            for (field, kept) in stored.iter().flat_map(|stored| different(&fields, stored)) {
                let kept = match (is_switch(field), kept.as_str()) {
                    (true, "true") => t.s("fact.yes"),
                    (true, _) => t.s("fact.no"),
                    (false, "") => t.s("edit.nothing"),
                    (false, kept) => kept,
                };
                wrong.add(field, t.one("edit.stored", kept));
            }
            let mut fields = fields;
            fields.set("revision", &found.to_string());
            again(Status::Conflict, fields, Outcome { wrong, ..Outcome::default() })
        }
        Err(other) => Err(other.into()),
    }
}

#[get("/services/<id>/delete")]
pub async fn ask_delete(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let service = find(state, id)?;
    asked_delete(&visit, state, &service, false).await
}

/// What would be lost. `unsaid`: others depend on it, and nothing was said of them.
async fn asked_delete(visit: &Visit, state: &ApiState, service: &StoredService, unsaid: bool) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let of_service = IncidentFilter { service: Some(service.id), ..IncidentFilter::default() };
    let (incidents, _) = state.incidents.page(&of_service, 0, 0).await?;
    let findings = state.findings.count(&FindingQuery { service: Some(service.id), ..FindingQuery::default() });
    let known = state.uptimes.get(service.id).and_then(|known| known.windows.last().copied());
    Html::of(&DeletePage {
        frame: Frame::new(visit, Section::Overview, t.with("delete.title", &[("name", service.name())])),
        id: service.id.0,
        dependents: state.services.depending_on(service.name()).iter().map(|other| (other.id.0, other.name().to_owned())).collect(),
        unsaid,
        incidents,
        findings,
        regions: state.store.results.regions(service.id).iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        measured: known.filter(|known| known.coverage > 0.0).map(|known| known.window.mul_f64(known.coverage)),
        since: crate::web::moment::Moment::full(service.created_at),
    })
}

#[post("/services/<id>/delete", data = "<form>")]
pub async fn delete(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Operator)?;
    let service = find(state, id)?;
    let force = form.0.get("force") == Some("true");
    if !force && !state.services.depending_on(service.name()).is_empty() {
        return Ok(Either::Left(Refusal(Status::Conflict, asked_delete(&visit, state, &service, true).await?)));
    }
    remove(state, &service, force, form.0.get("purge") == Some("true"), &visit.principal.author()).await?;
    Ok(Either::Right(Redirect::to("/")))
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

/// Every mistake beside its field, in words of the form.
fn wrong(t: Text, fields: &Fields, errors: &[FieldError]) -> Wrong {
    let mut wrong = Wrong::default();
    for error in errors {
        match told_in(fields, &error.field) {
            // What the document would say of a text is not for those who typed a number.
            Some((field, _)) if typed_wrong(fields, field) => {
                wrong.add(field, t.one("edit.no_number", fields.get(field).unwrap_or_default().trim()));
            }
            Some((field, within)) => wrong.add(
                field,
                match within {
                    Within::Whole => error.message.clone(),
                    Within::Line(number) => t.with("edit.line", &[("n", &number.to_string()), ("text", &error.message)]),
                    Within::Part(part) => format!("{part}: {}", error.message),
                },
            ),
            None if error.field.is_empty() => wrong.add("", error.message.clone()),
            None => wrong.add("", format!("{}: {}", error.field, error.message)),
        }
    }
    wrong
}

/// A name an address suggests: its host.
fn name_for(address: &str) -> String {
    let host = url::Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned));
    host.unwrap_or_default()
}
