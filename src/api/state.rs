//! What the handlers work on: the running hub as the API sees it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rocket::futures::future::BoxFuture;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{broadcast, mpsc};
use utoipa::ToSchema;

use crate::aggregate::board::Board;
use crate::aggregate::strip::Strips;
use crate::alert::channel::sender::Sender;
use crate::alert::exit::Exits;
use crate::alert::inbox::Inbox;
use crate::analysis::analyzer::Habits;
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::clock::Clock;
use crate::config::effective::Setting;
use crate::config::sections::ApiSettings;
use crate::config::status::StatusSettings;
use crate::digest::digester::Order;
use crate::hub::membership::Membership;
use crate::maintenance::windows::Windows;
use crate::mesh::token_issuer::TokenIssuer;
use crate::model::id::{NodeName, RegionName, ServiceId};
use crate::model::service::{Schedule, Service};
use crate::oidc::Oidc;
use crate::probe::trial::Trial;
use crate::slo::desk::SloDesk;
use crate::store::Store;
use crate::store::alerts::Alerts;
use crate::store::api_keys::ApiKeys;
use crate::store::audit::Audit;
use crate::store::channels::Channels;
use crate::store::digests::Digests;
use crate::store::endpoints::EndpointHours;
use crate::store::findings::Findings;
use crate::store::incidents::Incidents;
use crate::store::nodes::Nodes;
use crate::store::second_factors::SecondFactors;
use crate::store::secrets::Secrets;
use crate::store::services::Services;
use crate::store::sessions::Sessions;
use crate::store::uptimes::Uptimes;
use crate::store::users::Users;
use crate::store::web_sessions::WebSessions;
use crate::subscribers::desk::Desk as SubscriptionDesk;
use crate::system::desk::Desk;
use crate::tracker::desk::Tracker;
use crate::wire::link::Asked;

pub type TryCheck = Arc<dyn Fn(Service, RegionName) -> BoxFuture<'static, Result<Trial, String>> + Send + Sync>;

/// Made once by whoever wires the hub, managed by Rocket.
pub struct ApiState {
    pub store: Arc<Store>,
    pub services: Arc<Services>,
    pub incidents: Arc<Incidents>,
    pub alerts: Arc<Alerts>,
    /// Where causes of alerts are said.
    pub inbox: Inbox,
    /// The channels alerts go through.
    pub exits: Arc<dyn Exits>,
    pub digests: Arc<Digests>,
    /// Takes orders for digests.
    pub digest_orders: mpsc::Sender<Order>,
    /// The period of a digest for which none is named.
    pub digest_hours: u32,
    pub findings: Arc<Findings>,
    /// What the analyst knows of each service in each region.
    pub habits: Arc<Habits>,
    pub tracker: Arc<Tracker>,
    pub uptimes: Arc<Uptimes>,
    pub windows: Arc<Windows>,
    pub slos: Arc<SloDesk>,
    pub users: Arc<Users>,
    pub sessions: Arc<Sessions>,
    /// Who is logged in to the pages.
    pub web_sessions: Arc<WebSessions>,
    pub api_keys: Arc<ApiKeys>,
    pub second_factors: Arc<SecondFactors>,
    /// `None`: nobody logs in by an identity provider.
    pub oidc: Option<Arc<Oidc>>,
    pub audit: Arc<Audit>,
    pub channels: Arc<Channels>,
    /// Sends through them.
    pub sender: Arc<Sender>,
    pub secrets: Arc<Secrets>,
    pub board: Arc<Board>,
    /// The last 24 hours of every service.
    pub strips: Arc<Strips>,
    pub clock: Clock,
    pub settings: ApiSettings,
    /// Everything this process runs by, as people are shown it.
    pub effective: Arc<[Setting]>,
    /// Where the logs lie.
    pub log_dir: PathBuf,
    /// How the public status page looks.
    pub status: StatusSettings,
    /// Where people subscribe to it.
    pub subscriptions: Arc<SubscriptionDesk>,
    /// For services that name neither interval nor cron.
    pub default_schedule: Schedule,
    /// Nudges whoever makes the assignments: a service was created, changed or deleted.
    pub services_changed: Arc<dyn Fn() + Send + Sync>,
    /// The nodes of the cluster.
    pub membership: Arc<Membership>,
    /// Asks the node of each region that checks a service for a check now, and to be told how far it has come where it is watched.
    pub check_now: Arc<dyn Fn(ServiceId, bool) -> Vec<Asked> + Send + Sync>,
    /// Checks a service that is not stored, from this process as for a region, and stores nothing.
    pub try_check: TryCheck,
    pub tree: Arc<dyn Fn() -> BoxFuture<'static, ClusterView> + Send + Sync>,
    pub events: broadcast::Sender<Arc<Event>>,
    pub metrics: Arc<Metrics>,
    /// How this API itself fares.
    pub endpoints: Arc<EndpointHours>,
    /// The monitor's own health.
    pub system: Arc<Desk>,
    pub nodes: Arc<Nodes>,
    /// `None`: this hub takes no nodes.
    pub token_issuer: Option<TokenIssuer>,
    /// Told of a node that was revoked: whoever holds its link cuts it.
    pub node_revoked: Arc<dyn Fn(&NodeName) + Send + Sync>,
}

/// The cluster as one tree: nodes, their actors, and those they supervise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ClusterView {
    pub generated_at: String,
    pub nodes: Vec<NodeView>,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct NodeView {
    pub name: String,
    /// Null for the hub itself.
    pub region: Option<String>,
    pub connected: bool,
    /// The generation of assignments it runs.
    pub generation: Option<u64>,
    pub actors: Vec<ActorView>,
}

/// One actor with those it supervises.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ActorView {
    pub name: String,
    /// Such as `running`, `waiting`, `quarantined`.
    pub state: String,
    pub restarts: u64,
    /// How long until it is started again, while it waits for that.
    pub backoff_ms: Option<f64>,
    pub last_error: Option<String>,
    /// What else it tells: queue depths, counts, times.
    pub figures: BTreeMap<String, Value>,
    #[schema(no_recursion)]
    pub children: Vec<ActorView>,
}
