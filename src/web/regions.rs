//! The regions and their nodes: link, clock, outbox; and how a machine becomes one of them.

use std::collections::{BTreeMap, BTreeSet};

use askama::Template;
use rocket::http::Status;
use rocket::response::Redirect;
use rocket::{State, get, post};
use url::form_urlencoded::Serializer;

use crate::api::auth::Admin;
use crate::api::error::ApiError;
use crate::api::joining::revoke_node;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::hub::membership::NodeInfo;
use crate::mesh::identity::is_name;
use crate::mesh::token_issuer::{LIFETIME, TokenOrder, commands};
use crate::model::id::{NodeName, RegionName};
use crate::model::time::Timestamp;
use crate::store::users::Role;
use crate::web::alerts::channels::ConfirmPage;
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

/// Whether who was invited is there.
#[derive(Template)]
#[template(path = "parts/joined.html")]
struct Arrival {
    t: Text,
    region: String,
    nodes: Vec<String>,
}

/// What changes while one looks.
#[derive(Template)]
#[template(path = "parts/regions.html")]
struct Now {
    t: Text,
    is_admin: bool,
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
    /// The address of the part that tells who has come.
    arrival: String,
    arrived: Arrival,
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
    /// It joined, so it can be sent away.
    is_joined: bool,
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
    Html::of(&Now::new(&visit, state))
}

/// Who has joined a region since then.
#[get("/regions/joined")]
pub fn joined(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    query.allow(&["region", "since"])?;
    let since = query.number("since", "a number of microseconds")?.map_or(Timestamp::default(), Timestamp);
    let region = query.text("region").unwrap_or_default().to_owned();
    let nodes = state.nodes.list();
    let come = nodes
        .iter()
        .filter(|record| record.identity.region.0.as_ref() == region && record.joined_at >= since && record.revoked_at.is_none());
    let nodes = come.map(|record| record.identity.node.to_string()).filter(|name| is_connected(state, name)).collect();
    Html::of(&Arrival { t: Text(visit.look.lang), region, nodes })
}

fn is_connected(state: &ApiState, node: &str) -> bool {
    state.membership.nodes().iter().any(|(name, info)| name.0.as_ref() == node && info.connected)
}

#[get("/regions/nodes/<name>/revoke")]
pub fn ask_revoke(visit: Visit, state: &State<ApiState>, name: &str) -> Result<Html, ApiError> {
    visit.need(Role::Admin)?;
    let t = Text(visit.look.lang);
    let nodes = state.nodes.list();
    let record = nodes.iter().find(|record| record.identity.node.0.as_ref() == name && record.revoked_at.is_none());
    let record = record.ok_or_else(|| ApiError::not_found(format!("no node {name:?} has joined")))?;
    let others = state
        .membership
        .nodes()
        .into_iter()
        .filter(|(node, info)| info.region == record.identity.region.0.as_ref() && info.connected && node.0.as_ref() != name);
    let lost = if others.count() > 0 { "regions.revoke_shared" } else { "regions.revoke_alone" };
    Html::of(&ConfirmPage {
        frame: Frame::new(&visit, Section::Regions, t.with("regions.revoke_title", &[("name", name)])),
        text: t.s("regions.revoke_text").to_owned(),
        lost: vec![t.one(lost, &record.identity.region)],
        back: "/regions".to_owned(),
        action: format!("/regions/nodes/{name}/revoke"),
    })
}

/// Sends a node away; it can join again with a new token.
#[post("/regions/nodes/<name>/revoke", data = "<_form>")]
pub async fn revoke(visit: Visit, _form: OwnForm, state: &State<ApiState>, name: &str) -> Result<Redirect, ApiError> {
    visit.need(Role::Admin)?;
    revoke_node(Admin(visit.principal), state, name).await?;
    Ok(Redirect::to("/regions"))
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
    let since = state.clock.now().0.to_string();
    let address = Serializer::new(String::new()).append_pair("region", &region).append_pair("since", &since).finish();
    let joined = Invitation {
        arrived: Arrival { t, region: region.clone(), nodes: Vec::new() },
        region,
        commands: commands(&token),
        arrival: format!("/regions/joined?{address}"),
        expires: Moment::full(token.expires_at),
    };
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
        now: Now::new(visit, state),
        joining,
        wanted,
        wrong,
        joined,
    })
}

impl Now {
    fn new(visit: &Visit, state: &ApiState) -> Now {
        let t = Text(visit.look.lang);
        let silent = state.membership.silent();
        let mut by_region: BTreeMap<String, Vec<NodeView>> = BTreeMap::new();
        let records = state.nodes.list();
        let joined: BTreeSet<&NodeName> =
            records.iter().filter(|record| record.revoked_at.is_none()).map(|record| &record.identity.node).collect();
        for (name, info) in state.membership.nodes() {
            by_region.entry(info.region.clone()).or_default().push(NodeView::new(t, &name, info, joined.contains(&name)));
        }
        let region = |(name, nodes): (String, Vec<NodeView>)| {
            let (tone, word) = match silent.get(&name.as_str().into()) {
                Some(reason) => ("unknown", t.word("node_state", reason.name())),
                None => ("up", t.s("node_state.connected")),
            };
            RegionView { name, tone, word, nodes }
        };
        Now { t, is_admin: visit.principal.role == Role::Admin, regions: by_region.into_iter().map(region).collect() }
    }
}

impl NodeView {
    fn new(t: Text, name: &NodeName, info: NodeInfo, is_joined: bool) -> NodeView {
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
            is_joined,
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
