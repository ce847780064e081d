//! The regions and nodes of the cluster, and how each is doing.

use std::collections::BTreeMap;

use rocket::serde::json::Json;
use rocket::{State, get};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::hub::membership::NodeInfo;
use crate::model::id::NodeName;
use crate::model::time::Timestamp;

#[derive(Serialize, ToSchema)]
pub struct Regions {
    count: usize,
    results: Vec<RegionView>,
}

#[derive(Serialize, ToSchema)]
pub struct RegionView {
    name: String,
    /// `connected`, `lost` (none of its nodes is) or `blind` (they see none of their witnesses). Only of a connected one
    /// votes count.
    state: &'static str,
    nodes: Vec<String>,
    nodes_connected: usize,
    /// Services its nodes check now.
    services: u64,
    checks_per_s: f64,
    last_heard: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub struct Nodes {
    count: usize,
    results: Vec<NodeStateView>,
}

/// One node, as the hub knows it.
#[derive(Serialize, ToSchema)]
pub struct NodeStateView {
    name: String,
    region: String,
    /// `connected`, `lost`, or `local` for the hub's own process.
    link: &'static str,
    address: Option<String>,
    version: Option<String>,
    connected_since: Option<String>,
    lost_since: Option<String>,
    lost_reason: Option<String>,
    last_heard: Option<String>,
    /// Links it has had since the hub started.
    sessions: u64,
    round_trip_ms: Option<f64>,
    /// The node's clock minus the hub's.
    clock_offset_ms: Option<f64>,
    /// The generation of assignments it was sent, and the one it runs.
    generation_assigned: u64,
    generation_running: Option<u64>,
    services: u64,
    checks: Option<u64>,
    failures: Option<u64>,
    /// Rounds left out because the check before them was still running.
    missed: Option<u64>,
    checks_per_s: Option<f64>,
    restarts: Option<u64>,
    quarantined: Option<u64>,
    lag_p99_ms: Option<f64>,
    outbox: Option<OutboxView>,
    /// Why it does not trust what it sees.
    blind: Option<String>,
    rss_bytes: Option<u64>,
}

/// Results a node has made and the hub has not.
#[derive(Serialize, ToSchema)]
pub struct OutboxView {
    batches: u64,
    results: u64,
    bytes: u64,
    oldest: Option<String>,
    dropped: u64,
    refused: u64,
    error: Option<String>,
}

/// The regions checks are made from.
#[utoipa::path(
    tag = "cluster",
    responses(
        (status = 200, description = "Every region that has or had a node", body = Regions),
        (status = 401, description = "No valid token", body = Problem),
    )
)]
#[get("/api/v1/regions")]
pub fn regions(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Regions>, ApiError> {
    query.allow(&[])?;
    let silent = state.membership.silent();
    let mut by_region: BTreeMap<String, Vec<(NodeName, NodeInfo)>> = BTreeMap::new();
    for (name, info) in state.membership.nodes() {
        by_region.entry(info.region.clone()).or_default().push((name, info));
    }
    let results: Vec<RegionView> = by_region
        .into_iter()
        .map(|(name, nodes)| RegionView {
            state: silent.get(&name.as_str().into()).map_or("connected", |reason| reason.name()),
            nodes: nodes.iter().map(|(name, _)| name.to_string()).collect(),
            nodes_connected: nodes.iter().filter(|(_, info)| info.connected).count(),
            services: nodes.iter().filter(|(_, info)| info.connected).map(|(_, info)| info.assigned_services).sum(),
            checks_per_s: nodes.iter().filter(|(_, info)| info.connected).filter_map(|(_, info)| info.checks_per_s).sum(),
            last_heard: nodes.iter().filter_map(|(_, info)| info.last_heard).max().map(Timestamp::rfc3339),
            name,
        })
        .collect();
    Ok(Json(Regions { count: results.len(), results }))
}

/// The nodes of all regions: link, clock, outbox, what they run.
#[utoipa::path(
    tag = "cluster",
    responses(
        (status = 200, description = "Every node that has joined, and the hub's own", body = Nodes),
        (status = 401, description = "No valid token", body = Problem),
    )
)]
#[get("/api/v1/nodes")]
pub fn nodes(_viewer: Viewer, query: Query, state: &State<ApiState>) -> Result<Json<Nodes>, ApiError> {
    query.allow(&[])?;
    let results: Vec<NodeStateView> = state.membership.nodes().into_iter().map(|(name, info)| view(name, info)).collect();
    Ok(Json(Nodes { count: results.len(), results }))
}

fn view(name: NodeName, info: NodeInfo) -> NodeStateView {
    let ms = |us: i64| us as f64 / 1e3;
    let status = info.status;
    NodeStateView {
        name: name.to_string(),
        region: info.region,
        link: match (info.connected, info.local) {
            (true, true) => "local",
            (true, false) => "connected",
            (false, _) => "lost",
        },
        address: info.address,
        version: info.build,
        connected_since: info.connected_since.map(Timestamp::rfc3339),
        lost_since: info.lost_since.map(Timestamp::rfc3339),
        lost_reason: info.lost_reason,
        last_heard: info.last_heard.map(Timestamp::rfc3339),
        sessions: info.sessions,
        round_trip_ms: info.round_trip_us.map(ms),
        clock_offset_ms: info.clock_offset_us.map(ms),
        generation_assigned: info.assigned_generation,
        generation_running: status.as_ref().map(|status| status.generation),
        services: info.assigned_services,
        checks: status.as_ref().map(|status| status.checks),
        failures: status.as_ref().map(|status| status.failures),
        missed: status.as_ref().map(|status| status.missed),
        checks_per_s: info.checks_per_s,
        restarts: status.as_ref().map(|status| status.restarts),
        quarantined: status.as_ref().map(|status| status.quarantined),
        lag_p99_ms: status.as_ref().and_then(|status| status.lag_p99_ms.filter(|lag| lag.is_finite())),
        blind: status.as_ref().and_then(|status| status.blind.clone()),
        rss_bytes: status.as_ref().map(|status| status.rss_bytes),
        outbox: status.map(|status| OutboxView {
            batches: status.outbox_batches,
            results: status.outbox_results,
            bytes: status.outbox_bytes,
            oldest: status.outbox_oldest_us.map(|oldest| Timestamp(oldest).rfc3339()),
            dropped: status.dropped,
            refused: status.refused,
            error: status.outbox_error,
        }),
    }
}
