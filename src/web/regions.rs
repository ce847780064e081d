//! The regions and their nodes: link, clock, outbox; and how a machine becomes one of them.

use std::collections::BTreeMap;

use askama::Template;
use rocket::http::Status;
use rocket::{State, get, post};

use crate::api::error::ApiError;
use crate::api::state::ApiState;
use crate::hub::membership::NodeInfo;
use crate::mesh::identity::is_name;
use crate::mesh::token_issuer::{LIFETIME, TokenOrder, commands};
use crate::model::id::{NodeName, RegionName};
use crate::store::users::Role;
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::login::Refusal;
use crate::web::moment::{Moment, bytes, latency};
use crate::web::text::Text;
use crate::web::visit::{OwnForm, Visit};

#[derive(Template)]
#[template(path = "regions.html")]
struct RegionsPage {
    frame: Frame,
    now: Now,
    /// Whether this hub takes nodes, and this user may let them in.
    joining: Joining,
    wanted: String,
    wrong: Option<&'static str>,
    /// What is to be typed on the machine that joins.
    joined: Option<Invitation>,
}

/// What changes while one looks.
#[derive(Template)]
#[template(path = "parts/regions.html")]
struct Now {
    t: Text,
    regions: Vec<RegionView>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Joining {
    Open,
    /// Only an admin may.
    NotYours,
    /// The hub listens for none.
    Off,
}

struct Invitation {
    region: String,
    commands: [String; 2],
    expires: Moment,
}

struct RegionView {
    name: String,
    tone: &'static str,
    word: &'static str,
    nodes: Vec<NodeView>,
}

struct NodeView {
    name: String,
    tone: &'static str,
    word: &'static str,
    /// Why it is lost or blind.
    why: Option<String>,
    address: String,
    version: String,
    services: u64,
    rate: String,
    round_trip: String,
    clock: String,
    lag: String,
    outbox: String,
    dropped: u64,
    restarts: String,
    heard: Option<Moment>,
}

#[get("/regions")]
pub fn page(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    draw(&visit, state, String::new(), None, None)
}

/// The regions alone, asked for again and again by an open page: who has joined is seen to.
#[get("/regions/now")]
pub fn now(visit: Visit, state: &State<ApiState>) -> Result<Html, ApiError> {
    Html::of(&Now::new(Text(visit.look.lang), state))
}

/// Makes a token with which a machine joins; its secret is shown this once.
#[post("/regions", data = "<form>")]
pub async fn invite(visit: Visit, form: OwnForm, state: &State<ApiState>) -> Result<Refusal, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let region = form.0.text("region").unwrap_or_default().to_owned();
    let Some(issuer) = &state.token_issuer else {
        return Err(ApiError::new(Status::Conflict, "this hub takes no nodes: set mesh.listen and start it again"));
    };
    if !is_name(&region) {
        let page = draw(&visit, state, region, Some(t.s("regions.wrong_name")), None)?;
        return Ok(Refusal(Status::UnprocessableEntity, page));
    }
    let order = TokenOrder { region: RegionName::from(region.as_str()), node: None, lifetime: LIFETIME, address: None };
    let token = issuer.issue(&order, &visit.principal.author()).await?;
    let joined = Invitation { region, commands: commands(&token), expires: Moment::full(token.expires_at) };
    Ok(Refusal(Status::Ok, draw(&visit, state, String::new(), None, Some(joined))?))
}

fn draw(
    visit: &Visit,
    state: &ApiState,
    wanted: String,
    wrong: Option<&'static str>,
    joined: Option<Invitation>,
) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let joining = match (&state.token_issuer, visit.principal.role) {
        (None, _) => Joining::Off,
        (Some(_), Role::Admin) => Joining::Open,
        (Some(_), _) => Joining::NotYours,
    };
    Html::of(&RegionsPage {
        frame: Frame::new(visit, Section::Regions, t.s("nav.regions")),
        now: Now::new(t, state),
        joining,
        wanted,
        wrong,
        joined,
    })
}

impl Now {
    fn new(t: Text, state: &ApiState) -> Now {
        let silent = state.membership.silent();
        let mut by_region: BTreeMap<String, Vec<NodeView>> = BTreeMap::new();
        for (name, info) in state.membership.nodes() {
            by_region.entry(info.region.clone()).or_default().push(NodeView::new(t, &name, info));
        }
        let region = |(name, nodes): (String, Vec<NodeView>)| {
            let (tone, word) = match silent.get(&name.as_str().into()) {
                Some(reason) => ("unknown", t.word("node_state", reason.name())),
                None => ("up", t.s("node_state.connected")),
            };
            RegionView { name, tone, word, nodes }
        };
        Now { t, regions: by_region.into_iter().map(region).collect() }
    }
}

impl NodeView {
    fn new(t: Text, name: &NodeName, info: NodeInfo) -> NodeView {
        let none = || "–".to_owned();
        let status = info.status.as_ref();
        let blind = status.and_then(|status| status.blind.clone());
        let (tone, word) = match (info.connected, &blind) {
            (false, _) => ("unknown", "node_state.lost"),
            (true, Some(_)) => ("unknown", "node_state.blind"),
            (true, None) if info.local => ("up", "node_state.local"),
            (true, None) => ("up", "node_state.connected"),
        };
        NodeView {
            name: name.to_string(),
            tone,
            word: t.s(word),
            why: if info.connected { blind } else { info.lost_reason },
            address: info.address.unwrap_or_default(),
            version: info.build.unwrap_or_default(),
            services: info.assigned_services,
            rate: info.checks_per_s.map_or_else(none, |rate| t.one("regions.a_second", format!("{rate:.1}"))),
            round_trip: info.round_trip_us.map_or_else(none, |us| latency(us as f64)),
            clock: info
                .clock_offset_us
                .map_or_else(none, |us| format!("{}{}", if us < 0 { "−" } else { "+" }, latency(us.unsigned_abs() as f64))),
            lag: status.and_then(|status| status.lag_p99_ms).filter(|lag| lag.is_finite()).map_or_else(none, |ms| latency(ms * 1e3)),
            outbox: status.map_or_else(none, |status| match status.outbox_results {
                0 => t.s("regions.empty").to_owned(),
                count => format!("{count} ({})", bytes(status.outbox_bytes)),
            }),
            dropped: status.map_or(0, |status| status.dropped),
            restarts: status.map_or_else(none, |status| status.restarts.to_string()),
            heard: info.last_heard.map(Moment::ago),
        }
    }
}
