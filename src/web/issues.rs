//! Issues: the board by workflow step, the list, one issue with what was said of it, and the forms that move it along.

pub mod form;
mod view;

use std::sync::Arc;

use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};
use serde_json::{Value, json};

use crate::api::auth::Operator;
use crate::api::body::JsonBody;
use crate::api::error::{ApiError, FieldError};
use crate::api::issues;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::issue::{Issue, IssueId, IssueStatus};
use crate::store::users::Role;
use crate::tracker::workflow::needs_assignee;
use crate::web::html::Html;
use crate::web::input::Document;
use crate::web::issues::form::{edit_page, new_page};
use crate::web::issues::view::{IssuePage, ListPage};
use crate::web::login::Refusal;
use crate::web::look::inside;
use crate::web::text::Text;
use crate::web::visit::{Fields, OwnForm, Visit};

type Answer = Result<Either<Refusal, Redirect>, ApiError>;

/// Stands in the history where someone moves an issue along and says nothing.
const NO_WORD: &str = "no word was given";

#[get("/issues")]
pub async fn list(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Refusal, ApiError> {
    let query = query.without_empty();
    let (status, found, problem) = match issues::list::fitting(&query, state).await {
        Ok(found) => (Status::Ok, found, None),
        Err(error) => (error.status(), Vec::new(), Some(error.detail().to_owned())),
    };
    Ok(Refusal(status, Html::of(&ListPage::new(&visit, state, &query, found, problem))?))
}

/// The form, filled with what the address says it is about.
#[get("/issues/new")]
pub async fn new(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let fields = form::begun(&query, state).await?;
    Html::of(&new_page(&visit, state, &fields, &[]))
}

#[post("/issues/new", data = "<form>")]
pub async fn create(visit: Visit, form: OwnForm, state: &State<ApiState>) -> Answer {
    visit.need(Role::Operator)?;
    let fields = form.0;
    let mut document = Document::of(&fields);
    document.text("title").text("description").text("issue_type").text("priority").text("assignee").texts("labels");
    document.number("service").text("incident").text("finding");
    let made = document.made;
    match issues::make(state, Value::Object(with_title(made)), &visit.principal.author()).await {
        Ok(issue) => Ok(Either::Right(Redirect::to(format!("/issues/{}", issue.id)))),
        Err(error) => again(error, |errors| Html::of(&new_page(&visit, state, &fields, errors))),
    }
}

#[get("/issues/<id>")]
pub async fn one(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    let issue = find(state, id)?;
    Html::of(&IssuePage::new(&visit, state, &issue, None, String::new()).await?)
}

#[get("/issues/<id>/edit")]
pub async fn edit(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let issue = find(state, id)?;
    let fields = form::kept(state, &issue).await?;
    Html::of(&edit_page(&visit, state, &issue, &fields, &[]))
}

#[post("/issues/<id>/edit", data = "<form>")]
pub async fn change(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Operator)?;
    let (issue, fields) = (find(state, id)?, form.0);
    let mut document = Document::of(&fields);
    document.text("title").text("issue_type").text("priority").texts("labels").number("revision");
    let mut made = with_title(document.made);
    let null = |name: &str| fields.text(name).map_or(Value::Null, Value::from);
    made.insert("description".to_owned(), fields.get("description").unwrap_or_default().into());
    made.insert("assignee".to_owned(), null("assignee"));
    made.insert("incident".to_owned(), null("incident"));
    made.insert("finding".to_owned(), null("finding"));
    made.insert("service".to_owned(), fields.text("service").map_or(Value::Null, crate::web::input::number));
    made.insert("reason".to_owned(), fields.text("reason").unwrap_or(NO_WORD).into());
    match issues::edit(Operator(visit.principal.clone()), state, id, JsonBody(Value::Object(made))).await {
        Ok(_) => Ok(Either::Right(Redirect::to(format!("/issues/{}", issue.id)))),
        Err(error) => again(error, |errors| Html::of(&edit_page(&visit, state, &issue, &fields, errors))),
    }
}

/// Takes a step; onwards it needs no word, back or away it does.
#[post("/issues/<id>/step", data = "<form>")]
pub async fn step(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Operator)?;
    let (issue, fields) = (find(state, id)?, form.0);
    let seen = fields.text("from").and_then(IssueStatus::from_name);
    if seen.is_some_and(|seen| seen != issue.status) {
        let error = ApiError::new(Status::Conflict, moved(Text(visit.look.lang), state, &issue).await?);
        return told(&visit, state, id, error, &fields).await;
    }
    let to = fields.get("status").unwrap_or_default();
    let target = IssueStatus::from_name(to);
    let onwards = target.is_some_and(|to| to > issue.status && to != IssueStatus::WontDo);
    let reason = fields.text("reason").unwrap_or(if onwards { NO_WORD } else { "" });
    let mut body = json!({"status": to, "reason": reason});
    if let Some(revision) = fields.text("revision") {
        body["revision"] = crate::web::input::number(revision);
    }
    // Whoever takes up an issue that is nobody's makes it their own.
    let own = target.is_some_and(needs_assignee) && issue.assignee.is_none();
    let assignee = fields.text("assignee").or(own.then_some(visit.principal.username.as_str()));
    if let Some(assignee) = assignee {
        body["assignee"] = assignee.into();
    }
    match issues::step(Operator(visit.principal.clone()), state, id, JsonBody(body)).await {
        // Back to the board, where it was taken there.
        Ok(_) => Ok(Either::Right(Redirect::to(match fields.text("back") {
            Some(back) => inside(Some(back)),
            None => format!("/issues/{}", issue.id),
        }))),
        Err(error) => told(&visit, state, id, error, &fields).await,
    }
}

/// Says who was faster.
async fn moved(t: Text, state: &ApiState, issue: &Issue) -> Result<String, ApiError> {
    let changes = state.tracker.issues.changes(issue.id, 1, issue.changes).await?;
    let last = changes.into_iter().rev().find(|change| change.fields.iter().any(|field| field.field == "status"));
    let who = last.map_or_else(String::new, |change| change.who);
    Ok(t.with("issue.moved", &[("who", &who), ("status", t.word("issue_status", issue.status.name()))]))
}

#[post("/issues/<id>/comments", data = "<form>")]
pub async fn comment(visit: Visit, form: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Operator)?;
    let (issue, fields) = (find(state, id)?, form.0);
    let body = json!({"body": fields.get("body").unwrap_or_default()});
    match issues::talk::comment(Operator(visit.principal.clone()), state, id, JsonBody(body)).await {
        Ok(_) => Ok(Either::Right(Redirect::to(format!("/issues/{}#comment-{}", issue.id, issue.comments + 1)))),
        Err(error) => told(&visit, state, id, error, &fields).await,
    }
}

/// An error about what was sent, on the page of the issue as it is now.
async fn told(visit: &Visit, state: &ApiState, id: &str, error: ApiError, fields: &Fields) -> Answer {
    if !is_about_input(&error) {
        return Err(error);
    }
    let issue = find(state, id)?;
    let typed = fields.get("body").or(fields.get("reason")).unwrap_or_default().to_owned();
    let page = IssuePage::new(visit, state, &issue, Some(error.detail().to_owned()), typed).await?;
    Ok(Either::Left(Refusal(error.status(), Html::of(&page)?)))
}

/// The form again with what is wrong in it; what is no mistake in it is told as an error.
fn again(error: ApiError, draw: impl FnOnce(&[FieldError]) -> Result<Html, ApiError>) -> Answer {
    if !is_about_input(&error) {
        return Err(error);
    }
    let whole = [FieldError { field: String::new(), message: error.detail().to_owned() }];
    let errors = if error.errors().is_empty() { whole.as_slice() } else { error.errors() };
    Ok(Either::Left(Refusal(error.status(), draw(errors)?)))
}

fn is_about_input(error: &ApiError) -> bool {
    matches!(error.status().code, 400 | 409 | 422)
}

/// An empty title is a mistake of its own, not a field that was forgotten.
fn with_title(mut document: serde_json::Map<String, Value>) -> serde_json::Map<String, Value> {
    document.entry("title").or_insert_with(|| "".into());
    document
}

fn find(state: &ApiState, id: &str) -> Result<Arc<Issue>, ApiError> {
    let found = id.parse().ok().and_then(|id| state.tracker.issues.get(IssueId(id)));
    found.ok_or_else(|| ApiError::not_found(format!("there is no issue {id}")))
}
