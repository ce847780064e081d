//! Deliveries: what was told to whom, what waits, what was given up, and one more try for that.

use askama::Template;
use rocket::response::Redirect;
use rocket::{State, get, post};

use crate::api::alerts::deliveries;
use crate::api::auth::Operator;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::alert::Telling;
use crate::model::held::{Delivery, DeliveryState};
use crate::model::id::ChannelId;
use crate::model::incident::Severity;
use crate::store::alerts::deliveries::DeliveryFilter;
use crate::store::users::Role;
use crate::web::alerts::{Tab, tabs};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::moment::Moment;
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "alert_deliveries.html")]
struct DeliveriesPage {
    frame: Frame,
    tabs: Vec<Tab>,
    rows: Vec<Row>,
    count: u64,
    states: Vec<(&'static str, &'static str, bool)>,
    channels: Vec<(u32, String, bool)>,
    filtered: bool,
    next: Option<String>,
}

impl DeliveriesPage {
    fn count_text(&self) -> String {
        self.frame.t.count("alert.delivery_one", "alert.delivery_many", self.count)
    }
}

struct Row {
    id: String,
    tone: &'static str,
    /// What it is about: the service's name where the headline does not say it, and its page where there is one.
    service: Option<String>,
    path: Option<String>,
    headline: String,
    telling: &'static str,
    channel: String,
    rule: String,
    state: &'static str,
    word: &'static str,
    dead: bool,
    attempts: u32,
    planned: Moment,
    next: Option<Moment>,
    done: Option<Moment>,
    error: Option<String>,
    answer: Option<String>,
    drill: bool,
}

#[get("/alerts/deliveries")]
pub async fn list(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let before: Option<i64> = query.number("cursor", "one this page gave out")?;
    let wanted = query.text("state").and_then(DeliveryState::from_name);
    let channel = query.number("channel", "the number of a channel")?.map(ChannelId);
    let cause = query.text("cause").map(str::to_owned);
    let filter = DeliveryFilter { state: wanted, channel, cause, ..DeliveryFilter::default() };
    let (found, more) = state.alerts.deliveries.page(&filter, before, PAGE).await?;
    let next = found.last().filter(|_| more).map(|last| query.with("cursor", &last.seq.to_string()));
    Html::of(&DeliveriesPage {
        frame: Frame::new(&visit, Section::Alerts, t.s("alert.tab_deliveries")),
        tabs: tabs(t, "/alerts/deliveries"),
        count: state.alerts.deliveries.count(&filter),
        states: DeliveryState::ALL.map(|one| (one.name(), t.word("delivery", one.name()), Some(one) == wanted)).to_vec(),
        channels: state.exits.list().into_iter().map(|exit| (exit.id.0, exit.name, Some(exit.id) == channel)).collect(),
        filtered: filter.state.is_some() || filter.channel.is_some() || filter.cause.is_some(),
        rows: found.iter().map(|delivery| Row::new(t, state, delivery)).collect(),
        next: next.map(|whole| format!("/alerts/deliveries?{}", whole.split_once('?').map_or("", |(_, query)| query))),
    })
}

/// Sends one that was given up again.
#[post("/alerts/deliveries/<id>/retry", data = "<_form>")]
pub async fn retry(visit: Visit, _form: OwnForm, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Operator)?;
    deliveries::retry(Operator(visit.principal), state, id).await?;
    Ok(Redirect::to("/alerts/deliveries"))
}

impl Row {
    fn new(t: Text, state: &ApiState, delivery: &Delivery) -> Row {
        let message = &delivery.message;
        let unwatched = message.telling == Telling::Recovered && message.recovered_at.is_none();
        let service = message.service.clone().filter(|name| !message.headline.contains(name.as_str()));
        Row {
            id: delivery.id.to_string(),
            tone: match (message.telling, message.severity) {
                (Telling::Recovered, _) if unwatched => "unknown",
                (Telling::Recovered, _) => "up",
                (_, Severity::Critical) => "down",
                (_, Severity::Warning) => "degraded",
            },
            service,
            path: delivery.service.filter(|id| state.services.get(*id).is_some()).map(|id| format!("/services/{id}")),
            headline: t.first_line(&message.headline),
            telling: if unwatched { t.s("telling.unwatched") } else { t.word("telling", message.telling.name()) },
            channel: delivery.channel_name.clone(),
            rule: message.rule.clone(),
            state: delivery.state.name(),
            word: t.word("delivery", delivery.state.name()),
            dead: delivery.state == DeliveryState::Dead,
            attempts: delivery.attempts,
            planned: Moment::full(delivery.planned_at),
            next: delivery.next_at.map(Moment::short),
            done: delivery.done_at.map(Moment::short),
            error: delivery.error.clone(),
            answer: delivery.answer.clone().filter(|answer| !answer.is_empty()),
            drill: message.drill,
        }
    }
}
