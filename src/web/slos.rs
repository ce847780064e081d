//! Objectives: how each stands, what is left of its error budget and how fast that burns; and the form of one.

mod form;
pub mod view;

use askama::Template;
use rocket::response::Redirect;
use rocket::{Either, State, get, post};

use crate::api::auth::{Operator, Viewer};
use crate::api::body::JsonBody;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::slos;
use crate::api::state::ApiState;
use crate::store::users::Role;
use crate::web::alerts::channels::ConfirmPage;
use crate::web::alerts::{Answer, again};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::slos::form::{begun, document, fields_of, form};
use crate::web::slos::view::Card;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

#[derive(Template)]
#[template(path = "slos.html")]
struct ListPage {
    frame: Frame,
    cards: Vec<Card>,
    count: u64,
    filtered: bool,
    services: Vec<(u32, String)>,
    wanted_service: String,
    burning: bool,
    previous: Option<String>,
    next: Option<String>,
}

impl ListPage {
    fn count_text(&self) -> String {
        self.frame.t.count("slo.count_one", "slo.count", self.count)
    }
}

#[get("/slos")]
pub async fn list(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let query = query.without_empty();
    let number = query.page()?;
    let page = slos::list(Viewer(visit.principal.clone()), query.clone(), state).await?.into_inner();
    let relative = |page: u64| {
        let whole = query.with("page", &page.to_string());
        format!("/slos?{}", whole.split_once('?').map_or("", |(_, query)| query))
    };
    Html::of(&ListPage {
        frame: Frame::new(&visit, Section::Slos, t.s("nav.slos")),
        cards: page.results.iter().map(|view| Card::new(t, view)).collect(),
        count: page.count.unwrap_or(0),
        filtered: query.text("service").is_some() || query.text("burning").is_some(),
        services: state.services.list().iter().map(|service| (service.id.0, service.name().to_owned())).collect(),
        wanted_service: query.text("service").unwrap_or_default().to_owned(),
        burning: query.boolean("burning")? == Some(true),
        previous: (number > 1).then(|| relative(number - 1)),
        next: page.next.is_some().then(|| relative(number + 1)),
    })
}

/// The form; of a service, where the address names one.
#[get("/slos/new")]
pub fn new(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    Html::of(&form(&visit, state, None, &begun(&query), &[]))
}

#[get("/slos/<id>")]
pub async fn edit(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let view = slos::read(Viewer(visit.principal.clone()), state, id).await?.into_inner();
    Html::of(&form(&visit, state, Some(id), &fields_of(&view), &[]))
}

#[post("/slos/new", data = "<sent>")]
pub async fn create(visit: Visit, sent: OwnForm, state: &State<ApiState>) -> Answer {
    visit.need(Role::Operator)?;
    match slos::create(Operator(visit.principal.clone()), state, JsonBody(document(&sent.0))).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/slos"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, None, &sent.0, errors))),
    }
}

#[post("/slos/<id>", data = "<sent>")]
pub async fn change(visit: Visit, sent: OwnForm, state: &State<ApiState>, id: &str) -> Answer {
    visit.need(Role::Operator)?;
    let mut body = document(&sent.0);
    if let Some(revision) = sent.0.text("revision") {
        body["revision"] = crate::web::input::number(revision);
    }
    match slos::replace(Operator(visit.principal.clone()), state, id, JsonBody(body)).await {
        Ok(_) => Ok(Either::Right(Redirect::to("/slos"))),
        Err(error) => again(error, |errors| Html::of(&form(&visit, state, Some(id), &sent.0, errors))),
    }
}

#[get("/slos/<id>/delete")]
pub async fn ask_delete(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Operator)?;
    let t = Text(visit.look.lang);
    let view = slos::read(Viewer(visit.principal.clone()), state, id).await?.into_inner();
    let lost = [t.s("slo.loses_budget"), t.s("slo.loses_alerts"), t.s("slo.keeps")];
    Html::of(&ConfirmPage {
        frame: Frame::new(&visit, Section::Slos, t.with("delete.title", &[("name", &view.name)])),
        text: t.s("slo.delete_text").to_owned(),
        lost: lost.map(str::to_owned).to_vec(),
        back: "/slos".to_owned(),
        action: format!("/slos/{id}/delete"),
    })
}

#[post("/slos/<id>/delete", data = "<_sent>")]
pub async fn delete(visit: Visit, _sent: OwnForm, query: Query, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    slos::delete(Operator(visit.principal), query, state, id).await?;
    Ok(Redirect::to("/slos"))
}
