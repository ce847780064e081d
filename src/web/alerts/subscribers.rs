//! The subscribers of the status page: who is told, who is no longer, and how to take one out. For admins, since addresses are
//! personal data; others see how many there are.

use std::sync::Arc;

use askama::Template;
use rocket::response::Redirect;
use rocket::{State, get, post};

use crate::api::auth::Admin;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::api::subscribers::{self, Wanted};
use crate::model::id::ServiceId;
use crate::model::subscriber::{Subscriber, SubscriberId, SubscriberKind, SubscriberState};
use crate::model::time::Timestamp;
use crate::store::users::Role;
use crate::web::alerts::channels::ConfirmPage;
use crate::web::alerts::{Tab, tabs};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::moment::Moment;
use crate::web::results::{Csv, record};
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

const BASE: &str = "/alerts/subscribers";
const PAGE: usize = 100;

/// A choice of a filter: its name, what it says, whether it is chosen.
type Choice = (&'static str, &'static str, bool);

#[derive(Template)]
#[template(path = "subscribers.html")]
struct SubscribersPage {
    frame: Frame,
    tabs: Vec<Tab>,
    admin: bool,
    /// Why nobody can subscribe, or not by mail.
    gap: Option<&'static str>,
    /// By state, in words.
    counts: Vec<(&'static str, usize)>,
    any: bool,
    rows: Vec<Row>,
    kinds: Vec<Choice>,
    states: Vec<Choice>,
    filtered: bool,
    next: Option<String>,
}

struct Row {
    id: u32,
    address: String,
    kind: &'static str,
    state: &'static str,
    tone: &'static str,
    suspended: bool,
    services: String,
    since: Moment,
    failures: u32,
    error: Option<String>,
}

#[get("/alerts/subscribers")]
pub fn list(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let query = query.without_empty();
    query.allow(&["kind", "state", "after"])?;
    let (wanted, after) = (Wanted::read(&query)?, query.number::<u32>("after", "the number of a subscriber")?.unwrap_or(0));
    let admin = visit.principal.role >= Role::Admin;
    let desk = &state.subscriptions;
    let all = desk.subscribers.list();
    let counts =
        SubscriberState::ALL.map(|one| (t.known("subscriber_state", one.name()), all.iter().filter(|other| other.state() == one).count()));
    let fitting: Vec<&Arc<Subscriber>> = all.iter().filter(|one| admin && wanted.fits(one) && one.id.0 > after).collect();
    let shown = &fitting[..fitting.len().min(PAGE)];
    let next = shown.last().filter(|_| fitting.len() > PAGE).map(|last| query.with("after", &last.id.to_string()));
    let gap = match (desk.is_open(), desk.mail_channel()) {
        (false, _) if !desk.settings.enabled => Some("subscriber.off"),
        (false, _) => Some("subscriber.none_public"),
        (true, None) => Some("subscriber.no_mail"),
        (true, Some(_)) => None,
    };
    Html::of(&SubscribersPage {
        frame: Frame::new(&visit, Section::Alerts, t.s("subscriber.tab")),
        tabs: tabs(t, BASE),
        admin,
        gap: gap.map(|key| t.s(key)),
        counts: counts.to_vec(),
        any: !all.is_empty(),
        rows: shown.iter().map(|one| Row::new(t, state, one)).collect(),
        kinds: SubscriberKind::ALL.map(|one| (one.name(), t.known("subscriber_kind", one.name()), wanted.kind == Some(one))).to_vec(),
        states: SubscriberState::ALL.map(|one| (one.name(), t.known("subscriber_state", one.name()), wanted.state == Some(one))).to_vec(),
        filtered: wanted != Wanted::default(),
        next: next.map(|whole| format!("{BASE}?{}", whole.split_once('?').map_or("", |(_, query)| query))),
    })
}

/// All that fit, as a file.
#[get("/alerts/subscribers.csv")]
pub fn csv(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Csv, ApiError> {
    visit.need(Role::Admin)?;
    let query = query.without_empty();
    query.allow(&["kind", "state"])?;
    let wanted = Wanted::read(&query)?;
    let mut text = "id,kind,address,state,services,language,created_at,confirmed_at,suspended_at,failures,last_error\r\n".to_owned();
    let moment = |at: Option<Timestamp>| at.map(Timestamp::rfc3339).unwrap_or_default();
    for one in state.subscriptions.subscribers.list().iter().filter(|one| wanted.fits(one)) {
        let services = one.choice.services.iter().flatten().map(ToString::to_string).collect::<Vec<_>>();
        text.push_str(&record(&[
            one.id.to_string(),
            one.kind.name().to_owned(),
            one.reach.clone(),
            one.state().name().to_owned(),
            services.join(" "),
            one.choice.lang.clone(),
            one.created_at.rfc3339(),
            moment(one.confirmed_at),
            moment(one.suspended_at),
            one.failures.to_string(),
            one.last_error.clone().unwrap_or_default(),
        ]));
    }
    Ok(Csv::new(text, "subscribers.csv"))
}

#[get("/alerts/subscribers/<id>/remove")]
pub fn ask_remove(visit: Visit, state: &State<ApiState>, id: &str) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let found = id.parse().ok().and_then(|id| state.subscriptions.subscribers.get(SubscriberId(id)));
    let found = found.ok_or_else(|| ApiError::not_found(format!("there is no subscriber {id}")))?;
    Html::of(&ConfirmPage {
        frame: Frame::new(&visit, Section::Alerts, t.with("delete.title", &[("name", &found.reach)])),
        text: t.s("subscriber.remove_text").to_owned(),
        lost: Vec::new(),
        back: BASE.to_owned(),
        action: format!("{BASE}/{id}/remove"),
    })
}

/// Asked for after the page that says what is lost.
#[post("/alerts/subscribers/<id>/remove", data = "<_sent>")]
pub async fn remove(visit: Visit, _sent: OwnForm, query: Query, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Admin)?;
    subscribers::remove(Admin(visit.principal), query, state, id).await?;
    Ok(Redirect::to(BASE))
}

#[post("/alerts/subscribers/<id>/resume", data = "<_sent>")]
pub async fn resume(visit: Visit, _sent: OwnForm, query: Query, state: &State<ApiState>, id: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Admin)?;
    subscribers::resume(Admin(visit.principal), query, state, id).await?;
    Ok(Redirect::to(BASE))
}

impl Row {
    fn new(t: Text, state: &ApiState, subscriber: &Subscriber) -> Row {
        let name = |id: &ServiceId| state.services.get(*id).map_or_else(|| format!("#{id}"), |kept| kept.name().to_owned());
        let services = subscriber.choice.services.as_ref();
        let services = services.map(|all| all.iter().map(name).collect::<Vec<_>>().join(t.s("sentence.comma")));
        let state = subscriber.state();
        Row {
            id: subscriber.id.0,
            address: subscriber.reach.clone(),
            kind: t.known("subscriber_kind", subscriber.kind.name()),
            state: t.known("subscriber_state", state.name()),
            tone: match state {
                SubscriberState::Pending => "unknown",
                SubscriberState::Active => "up",
                SubscriberState::Suspended => "down",
            },
            suspended: state == SubscriberState::Suspended,
            services: services.unwrap_or_else(|| t.s("subscriber.all").to_owned()),
            since: Moment::short(subscriber.confirmed_at.unwrap_or(subscriber.created_at)),
            failures: subscriber.failures,
            error: subscriber.last_error.clone(),
        }
    }
}
