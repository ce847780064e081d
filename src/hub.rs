//! The central process: stores, decides, answers.
//!
//! Wired last stage first: store, board, ingest and sealer, then Rocket, then the region of this process, whose first
//! check of the hub itself must find it listening. On a stop the order is the other way round: the region drains into the
//! store before the store is closed.

pub mod aggregator;
pub mod alerts;
pub mod assign;
pub mod doorman;
pub mod endpoints;
pub mod heartbeat;
pub mod ingest;
pub mod member;
pub mod membership;
pub mod mesh;
pub mod records;
pub mod refresh;
pub mod replay;
pub mod restore;
pub mod sealer;
pub mod serve;
pub mod sight;
pub mod strips;
pub mod subscribers;
pub mod system;
pub mod tracker;
pub mod tree;
pub mod trying;
pub mod upkeep;
pub mod verdicts;
pub mod waiting;
pub mod wiring;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use ractor::{Actor, ActorRef};
use rocket::{Build, Rocket};
use tokio::sync::{broadcast, mpsc};
use tracing::info;
use url::Url;

use crate::aggregate::board::Board;
use crate::aggregate::strip::Strips;
use crate::analysis::analyzer::gatherer::Gatherer;
use crate::analysis::analyzer::{AnalyzerArgs, Habits};
use crate::analysis::batch_runner::BatchRunnerArgs;
use crate::api;
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::api::state::ApiState;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::sections::RegionSettings;
use crate::config::services_file::read_services;
use crate::digest::digester::{DigesterArgs, ORDERS};
use crate::digest::gather::Sources;
use crate::digest::writing::Desk;
use crate::hub::aggregator::AggregatorArgs;
use crate::hub::alerts::{AlertStatus, Alerting, Parts};
use crate::hub::assign::Assigner;
use crate::hub::heartbeat::HeartbeatArgs;
use crate::hub::ingest::{IngestStatus, Intake};
use crate::hub::membership::{Arrival, Membership, Seat};
use crate::hub::mesh::{Mesh, Papers, Stages};
use crate::hub::records::Records;
use crate::hub::tracker::Tracking;
use crate::hub::tree::Tree;
use crate::hub::upkeep::{Upkeep, UpkeepStatus};
use crate::hub::verdicts::Verdicts;
use crate::hub::wiring::{analyst_wiring, ask_others, digest_wiring, hooks, observer, wiring};
use crate::mesh::authority::Authority;
use crate::oidc::Oidc;
use crate::region::{Drained, Region};
use crate::store::Store;
use crate::store::endpoints::EndpointHours;
use crate::store::services::Services;
use crate::store::sessions::Sessions;
use crate::store::uptimes::Uptimes;
use crate::store::users::Users;
use crate::supervise::{Keeper, KeeperArgs, KeeperMsg, Task};
use crate::telemetry::health::HealthLog;
use crate::web;
use crate::wire::link::{Delivery, NodeEnd};

/// Events a listener may be behind before it is told that it missed some.
const EVENTS: usize = 4096;

/// Deliveries that may wait for the store, over all nodes; each node has two under way at most.
const DELIVERIES: usize = 64;

/// A running hub, short of listening.
pub struct Hub {
    pub store: Arc<Store>,
    pub services: Arc<Services>,
    pub users: Arc<Users>,
    pub board: Arc<Board>,
    pub events: broadcast::Sender<Arc<Event>>,
    /// The password made for `admin`, where this start made one.
    pub new_password: Option<String>,
    pub tree: Tree,
    rocket: Option<Rocket<Build>>,
    keeper: ActorRef<KeeperMsg>,
    analyst: Option<ActorRef<KeeperMsg>>,
    digests: ActorRef<KeeperMsg>,
    alerts: ActorRef<KeeperMsg>,
    upkeep: ActorRef<KeeperMsg>,
    tracking: Tracking,
    system: ActorRef<KeeperMsg>,
    pub membership: Arc<Membership>,
    deliveries: mpsc::Sender<Delivery>,
    pub mesh: Option<Mesh>,
    config: Config,
    clock: Clock,
    _refresh: Option<Task>,
    endpoints: Arc<EndpointHours>,
    _flushing: Task,
    _filling: Task,
    /// Of the region of this process.
    sight: Option<Task>,
}

/// The certificate authority of a hub that takes nodes; the first start makes it.
pub fn authority(config: &Config, clock: &Clock) -> anyhow::Result<Option<Authority>> {
    match config.mesh.listen {
        Some(_) => Ok(Some(Authority::open(&config.hub.data_dir.join("mesh"), clock.now())?)),
        None => Ok(None),
    }
}

impl Hub {
    pub async fn start(config: Config, clock: Clock, health: HealthLog) -> anyhow::Result<Hub> {
        let records = Records::open(&config, &clock).await?;
        records.store.results.claim().await?;
        let oidc = Oidc::of(config.oidc.clone(), &records.secrets, &clock)?;
        let authority = authority(&config, &clock)?.map(Arc::new);
        let token_issuer = records.token_issuer(&config, authority.as_deref());
        seed(&config, &records.services).await?;
        upkeep::seed(&records.slos, &records.services).await?;

        let board = Arc::new(Board::default());
        let metrics = Arc::new(Metrics::new());
        let (events, _) = broadcast::channel(EVENTS);
        let (deliveries, delivered) = mpsc::channel(DELIVERIES);
        let mut alerting = Alerting::new(&config, &records, &clock)?;
        let (verdicts, changes) = Verdicts::new(board.clone(), events.clone(), clock.clone());
        let verdicts = Arc::new(verdicts);
        let membership = Arc::new(Membership::new(clock.clone(), hooks(verdicts.clone(), events.clone(), clock.clone())));
        let assigner = Arc::new(Assigner {
            services: records.services.clone(),
            board: board.clone(),
            default_schedule: config.hub.schedule.clone(),
            hub_url: own_url(&config)?,
            membership: membership.clone(),
            clock: clock.clone(),
            turn: Mutex::default(),
        });
        assigner.assign();
        restore::board(&records, &board, &clock).await?;

        let strips = Arc::new(Strips::default());
        let gatherer = config.analysis.enabled.then(|| Arc::new(Gatherer::new(board.clone(), clock.clone(), config.analysis.span)));
        let uptimes = Arc::new(Uptimes::default());
        uptimes.nudge(records.services.list().iter().map(|service| service.id));
        let upkeep = Upkeep::new(&records, &config, board.clone(), uptimes.clone(), events.clone(), &clock);
        let intake = Arc::new(Intake {
            store: records.store.clone(),
            board: board.clone(),
            health,
            events: events.clone(),
            metrics: metrics.clone(),
            verdicts: verdicts.clone(),
            gatherer: gatherer.clone(),
            meter: upkeep.slos.meter.clone(),
            strips: strips.clone(),
            status: IngestStatus::default(),
        });
        let tree = Tree {
            clock: clock.clone(),
            group: Arc::default(),
            mesh: Arc::default(),
            desk: Arc::default(),
            membership: membership.clone(),
            intake: intake.clone(),
            sealer: Arc::default(),
            aggregator: Arc::default(),
            analyst: Arc::default(),
            analyzer: Arc::default(),
            batch_runner: Arc::default(),
            heartbeat: config.hub.heartbeat.url.as_ref().map(|_| Arc::default()),
            digests: Arc::default(),
            digester: Arc::default(),
            alerts: AlertStatus::default(),
            upkeep: UpkeepStatus::default(),
            system: Arc::default(),
            system_monitor: Arc::default(),
            region: Arc::default(),
            tracker: Arc::default(),
            opener: Arc::default(),
        };
        let aggregator = AggregatorArgs {
            store: records.store.clone(),
            incidents: records.incidents.clone(),
            verdicts: verdicts.clone(),
            changes: Arc::new(tokio::sync::Mutex::new(changes)),
            uptimes: uptimes.clone(),
            windows: upkeep.windows.clone(),
            events: events.clone(),
            inbox: alerting.inbox.clone(),
            recheck: ask_others(membership.clone()),
            clock: clock.clone(),
            status: tree.aggregator.clone(),
        };
        let ends = Arc::new(tokio::sync::Mutex::new(delivered));
        let heartbeat = HeartbeatArgs::of(&config, &tree)?;
        let wiring = wiring(intake, ends, aggregator, heartbeat, uptimes.clone(), tree.clone(), observer(tree.clone(), metrics.clone()));
        let args =
            KeeperArgs { name: "hub", wiring, restart: config.region.restart.clone(), clock: clock.clone(), status: tree.group.clone() };
        let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("hub's keeper cannot be started")?;

        let habits = Arc::new(Habits::default());
        let analyst = match gatherer {
            Some(gatherer) => {
                let analyzer = AnalyzerArgs {
                    settings: config.analysis.clone(),
                    store: records.store.clone(),
                    findings: records.findings.clone(),
                    states: records.analyst_states.clone(),
                    board: board.clone(),
                    gatherer,
                    habits: habits.clone(),
                    events: events.clone(),
                    metrics: metrics.clone(),
                    clock: clock.clone(),
                    status: tree.analyzer.clone(),
                };
                let batch_runner = BatchRunnerArgs {
                    settings: config.analysis.forest.clone(),
                    store: records.store.clone(),
                    findings: records.findings.clone(),
                    board: board.clone(),
                    events: events.clone(),
                    metrics: metrics.clone(),
                    clock: clock.clone(),
                    status: tree.batch_runner.clone(),
                };
                let args = KeeperArgs {
                    name: "analyst",
                    wiring: analyst_wiring(analyzer, batch_runner),
                    restart: config.region.restart.clone(),
                    clock: clock.clone(),
                    status: tree.analyst.clone(),
                };
                Some(Actor::spawn(None, Keeper, args).await.context("analyst's keeper cannot be started")?.0)
            }
            None => None,
        };

        let upkeeper = upkeep::start(&upkeep, alerting.inbox.moves.clone(), &config, &clock, &tree.upkeep).await?;
        let Upkeep { windows, slos } = upkeep;
        let (digest_orders, orders) = mpsc::channel(ORDERS);
        let digester = DigesterArgs {
            desk: Arc::new(Desk::new(
                Sources::of(&records, board.clone(), &config, &clock),
                records.digests.clone(),
                config.digest.clone(),
            )?),
            orders: Arc::new(tokio::sync::Mutex::new(orders)),
            clock: clock.clone(),
            status: tree.digester.clone(),
        };
        let args = KeeperArgs {
            name: "digests",
            wiring: digest_wiring(digester),
            restart: config.region.restart.clone(),
            clock: clock.clone(),
            status: tree.digests.clone(),
        };
        let (digests, _) = Actor::spawn(None, Keeper, args).await.context("keeper of the digests cannot be started")?;

        let (subscriptions, herald) = subscribers::wire(&config, &records, &mut alerting, &windows, &tree, &clock)?;
        let covering = windows.clone();
        let parts = Parts {
            in_maintenance: Arc::new(move |service, at| covering.covers(service, at).is_some()),
            board: board.clone(),
            membership: membership.clone(),
            events: events.clone(),
            metrics: metrics.clone(),
            herald,
            status: tree.alerts.clone(),
        };
        let alerts = alerting.start(&config, &records, parts).await?;
        let endpoints = Arc::new(EndpointHours::new(records.store.database.clone(), clock.clone()));
        let desk = system::desk(&config, &records, &tree, (&endpoints, &metrics), authority.as_deref(), alerting.inbox.moves.clone())?;
        let system = system::start(&config, desk.clone(), &tree).await?;

        let mesh = match (config.mesh.listen, authority) {
            (Some(listen), Some(authority)) => {
                let papers = Papers { authority, nodes: records.nodes.clone(), join_secret: config.mesh.join_secret.clone() };
                let stages = Stages { membership: membership.clone(), deliveries: deliveries.clone(), verdicts: verdicts.clone() };
                Some(Mesh::open(&config, listen, papers, stages, &clock, tree.mesh.clone()).await?)
            }
            _ => None,
        };
        if let Some(mesh) = &mesh {
            let _ = tree.desk.set(mesh.desk.clone());
        }

        let tracking = tracker::start(&records, &config, &windows, &events, &tree, &alerting.inbox, &clock).await?;

        // Last of all that may fail: a password that is made must be shown.
        let new_password = records.users.ensure_admin(config.hub.admin_password.as_deref()).await.inspect_err(|_| {
            keeper.stop(None);
            digests.stop(None);
            alerts.stop(None);
            tracking.keeper.stop(None);
            system.stop(None);
            upkeeper.stop(None);
            analyst.iter().for_each(|analyst| analyst.stop(None));
        })?;
        let (assigning, turning, budgets) = (assigner.clone(), windows.clone(), slos.clone());
        let refresh = refresh::start(&records, &clock, move || {
            assigning.assign();
            turning.turn();
            budgets.turn();
        });
        let (viewed, asked, revoked, turned) = (tree.clone(), membership.clone(), membership.clone(), windows.clone());
        let state = ApiState {
            sessions: Arc::new(Sessions::new(records.store.database.clone(), clock.clone(), config.api.refresh_lifetime)),
            store: records.store.clone(),
            services: records.services.clone(),
            incidents: records.incidents,
            alerts: records.alerts,
            inbox: alerting.inbox,
            exits: alerting.exits,
            digests: records.digests,
            digest_orders,
            digest_hours: config.digest.hours,
            findings: records.findings,
            tracker: tracking.tracker.clone(),
            habits,
            uptimes,
            windows,
            slos,
            users: records.users.clone(),
            web_sessions: records.web_sessions,
            api_keys: records.api_keys,
            second_factors: records.second_factors,
            oidc,
            audit: records.audit,
            channels: records.channels,
            sender: alerting.sender,
            secrets: records.secrets,
            board: board.clone(),
            strips: strips.clone(),
            clock: clock.clone(),
            settings: config.api.clone(),
            effective: config.effective.clone(),
            log_dir: config.log.dir.clone(),
            status: config.status.clone(),
            subscriptions,
            default_schedule: config.hub.schedule.clone(),
            services_changed: Arc::new(move || {
                assigner.assign();
                turned.turn();
            }),
            membership: membership.clone(),
            check_now: Arc::new(move |service, watched| asked.check_now(service, None, watched)),
            try_check: trying::checker(&config, &clock)?,
            tree: Arc::new(move || {
                let view = viewed.view();
                Box::pin(async move { view })
            }),
            events: events.clone(),
            metrics,
            endpoints: endpoints.clone(),
            system: desk,
            nodes: records.nodes,
            token_issuer,
            node_revoked: Arc::new(move |node| revoked.remove(node, "the node was revoked")),
        };
        let rocket = web::mount(api::mount(rocket::custom(config.rocket.clone()), state));
        let filling = strips::fill(strips, records.store.clone(), records.services.clone(), board.clone(), clock.clone());
        Ok(Hub {
            store: records.store,
            services: records.services,
            users: records.users,
            board,
            events,
            new_password,
            tree,
            rocket: Some(rocket),
            keeper,
            analyst,
            digests,
            alerts,
            upkeep: upkeeper,
            tracking,
            system,
            membership,
            deliveries,
            mesh,
            config,
            clock: clock.clone(),
            _refresh: refresh,
            _flushing: endpoints::start(endpoints.clone(), clock),
            endpoints,
            _filling: filling,
            sight: None,
        })
    }

    /// The web server, to be launched once, or driven by a test.
    pub fn take_rocket(&mut self) -> Option<Rocket<Build>> {
        self.rocket.take()
    }

    /// Seats the region of this process among the nodes, for the region itself or whoever plays it in its stead.
    pub fn seat_region(&self) -> NodeEnd {
        let RegionSettings { name, node, .. } = &self.config.region;
        let build = Some(env!("CARGO_PKG_VERSION").to_owned());
        let arrival =
            Arrival { node: node.clone(), region: name.clone(), local: true, address: None, build, boot: None, clock_offset_us: None };
        let Seat { assignments, requests, .. } = self.membership.join(arrival);
        NodeEnd { deliveries: self.deliveries.clone(), assignments, requests, wake: Arc::default() }
    }

    /// Starts the region of this process; once.
    pub async fn start_region(&mut self) -> anyhow::Result<Region> {
        let link = self.seat_region();
        let region = Region::start(self.config.region.clone(), link, self.clock.clone()).await?;
        *self.tree.region.lock().expect("no holder panics") = Some(region.view());
        self.sight = Some(sight::watch(region.view(), self.membership.clone()));
        Ok(region)
    }

    /// Closes the store, after `region` has drained into it; within `limit`, and says what it did.
    pub async fn stop(self, region: Option<Region>, limit: Duration) -> anyhow::Result<Option<Drained>> {
        let drained = match region {
            Some(region) => Some(region.stop(limit.mul_f64(0.8)).await),
            None => None,
        };
        if let Some(mesh) = self.mesh {
            mesh.stop(limit.mul_f64(0.05)).await;
        }
        self.tree.alerts.close(limit.mul_f64(0.1)).await;
        let _ = self.alerts.stop_and_wait(None, Some(limit.mul_f64(0.05))).await;
        let _ = self.digests.stop_and_wait(None, Some(limit.mul_f64(0.05))).await;
        let _ = self.upkeep.stop_and_wait(None, Some(limit.mul_f64(0.05))).await;
        let _ = self.tracking.keeper.stop_and_wait(None, Some(limit.mul_f64(0.05))).await;
        let _ = self.system.stop_and_wait(None, Some(limit.mul_f64(0.02))).await;
        if let Some(analyst) = self.analyst {
            let _ = analyst.stop_and_wait(None, Some(limit.mul_f64(0.05))).await;
        }
        let _ = self.keeper.stop_and_wait(None, Some(limit.mul_f64(0.1))).await;
        endpoints::last(&self.endpoints).await;
        self.store.shutdown().await.context("store was not closed cleanly")?;
        Ok(drained)
    }
}

/// As long as no service was ever made, the services file is read. One that is broken is told and changes nothing.
async fn seed(config: &Config, services: &Services) -> anyhow::Result<()> {
    if !services.untouched().await? {
        return Ok(());
    }
    let path = &config.hub.services_json;
    if !path.exists() {
        info!(file = %path.display(), "no services file, starting without services");
        return Ok(());
    }
    match read_services(path, &config.hub.schedule, true) {
        Ok(documents) => {
            let seeded = services.seed(documents, false).await?;
            info!(file = %path.display(), created = seeded.created.len(), "services seeded");
        }
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!(%mistake, "services file has a mistake, nothing is seeded");
            }
        }
    }
    Ok(())
}

/// The address this process reaches itself by.
pub fn own_url(config: &Config) -> anyhow::Result<Url> {
    let rocket = rocket::Config::from(&config.rocket);
    let address = match rocket.address {
        IpAddr::V4(address) if address.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V6(address) if address.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let scheme = if rocket.tls_enabled() { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{address}:{}", rocket.port)).context("own address cannot be made a URL")
}
