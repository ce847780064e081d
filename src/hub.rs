//! The central process: stores, decides, answers.
//!
//! Wired last stage first: store, board, ingest and sealer, then Rocket, then the region of this process, whose first
//! check of the hub itself must find it listening. On a stop the order is the other way round: the region drains into the
//! store before the store is closed.

pub mod assign;
pub mod ingest;
pub mod refresh;
pub mod sealer;
pub mod tree;
pub mod waiting;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use ractor::{Actor, ActorCell, ActorRef};
use rocket::response::Redirect;
use rocket::{Build, Rocket};
use tokio::sync::{broadcast, mpsc};
use tracing::{info, warn};
use url::Url;

use crate::aggregate::board::{Board, HOUR, Hour};
use crate::api;
use crate::api::metrics::Metrics;
use crate::api::state::ApiState;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::services_file::read_services;
use crate::hub::assign::Assigner;
use crate::hub::ingest::{Ingest, IngestArgs, IngestStatus, Intake};
use crate::hub::sealer::{Sealer, SealerArgs};
use crate::hub::tree::Tree;
use crate::region::{Drained, Region};
use crate::store::Store;
use crate::store::audit::Audit;
use crate::store::query::ResultQuery;
use crate::store::secrets::Secrets;
use crate::store::services::Services;
use crate::store::sessions::Sessions;
use crate::store::users::Users;
use crate::supervise::{Keeper, KeeperArgs, KeeperMsg, Task, Wiring};
use crate::telemetry::health::HealthLog;
use crate::wire::link::{Delivery, NodeEnd, in_process};

/// Events a listener may be behind before it is told that it missed some.
const EVENTS: usize = 4096;

/// A running hub, short of listening.
pub struct Hub {
    pub store: Arc<Store>,
    pub services: Arc<Services>,
    pub users: Arc<Users>,
    pub board: Arc<Board>,
    /// The password made for `admin`, where this start made one.
    pub new_password: Option<String>,
    pub tree: Tree,
    rocket: Option<Rocket<Build>>,
    keeper: ActorRef<KeeperMsg>,
    node_end: Option<NodeEnd>,
    config: Config,
    clock: Clock,
    _refresh: Option<Task>,
}

/// What the store keeps besides results, opened together.
pub struct Records {
    pub store: Arc<Store>,
    pub secrets: Arc<Secrets>,
    pub audit: Arc<Audit>,
    pub users: Arc<Users>,
    pub services: Arc<Services>,
}

impl Records {
    pub async fn open(config: &Config, clock: &Clock) -> anyhow::Result<Records> {
        std::fs::create_dir_all(&config.hub.data_dir)
            .with_context(|| format!("data folder {} cannot be made", config.hub.data_dir.display()))?;
        let store = Arc::new(Store::open(&config.store, clock.clone()).await?);
        let secrets = Arc::new(Secrets::open(&config.hub.data_dir)?);
        let audit = Arc::new(Audit::new(store.database.clone(), clock.clone()));
        let users = Arc::new(Users::open(store.database.clone(), audit.clone(), clock.clone()).await?);
        let services = Arc::new(Services::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await?);
        Ok(Records { store, secrets, audit, users, services })
    }
}

impl Hub {
    pub async fn start(config: Config, clock: Clock, health: HealthLog) -> anyhow::Result<Hub> {
        let records = Records::open(&config, &clock).await?;
        records.store.results.claim().await?;
        seed(&config, &records.services).await?;

        let board = Arc::new(Board::default());
        let metrics = Arc::new(Metrics::new());
        let (events, _) = broadcast::channel(EVENTS);
        let (node_end, hub_end) = in_process();
        let assigner = Arc::new(Assigner {
            services: records.services.clone(),
            board: board.clone(),
            default_schedule: config.hub.schedule.clone(),
            hub_url: own_url(&config)?,
            assignments: hub_end.assignments,
            clock: clock.clone(),
            turn: Mutex::default(),
        });
        assigner.assign();
        restore(&records.store, &board, &clock).await?;

        let intake = Arc::new(Intake {
            store: records.store.clone(),
            board: board.clone(),
            health,
            events: events.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
            status: IngestStatus::default(),
        });
        let tree =
            Tree { clock: clock.clone(), group: Arc::default(), intake: intake.clone(), sealer: Arc::default(), region: Arc::default() };
        let ends = Arc::new(tokio::sync::Mutex::new(hub_end.deliveries));
        let wiring = wiring(intake, ends, tree.clone(), observer(tree.clone(), metrics.clone()));
        let args =
            KeeperArgs { name: "hub", wiring, restart: config.region.restart.clone(), clock: clock.clone(), status: tree.group.clone() };
        let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("hub's keeper cannot be started")?;

        // Last of all that may fail: a password that is made must be shown.
        let new_password = records.users.ensure_admin(config.hub.admin_password.as_deref()).await.inspect_err(|_| keeper.stop(None))?;
        let refresh = {
            let assigner = assigner.clone();
            refresh::start(&records.store.database, records.services.clone(), records.users.clone(), clock.clone(), move || {
                assigner.assign()
            })
        };
        let viewed = tree.clone();
        let state = ApiState {
            sessions: Arc::new(Sessions::new(records.store.database.clone(), clock.clone(), config.api.refresh_lifetime)),
            store: records.store.clone(),
            services: records.services.clone(),
            users: records.users.clone(),
            audit: records.audit,
            secrets: records.secrets,
            board: board.clone(),
            clock: clock.clone(),
            settings: config.api.clone(),
            default_schedule: config.hub.schedule.clone(),
            services_changed: Arc::new(move || assigner.assign()),
            checks: hub_end.requests,
            tree: Arc::new(move || {
                let view = viewed.view();
                Box::pin(async move { view })
            }),
            events,
            metrics,
        };
        let rocket = api::mount(rocket::custom(config.rocket.clone()), state).mount("/", rocket::routes![root]);
        Ok(Hub {
            store: records.store,
            services: records.services,
            users: records.users,
            board,
            new_password,
            tree,
            rocket: Some(rocket),
            keeper,
            node_end: Some(node_end),
            config,
            clock,
            _refresh: refresh,
        })
    }

    /// The web server, to be launched once, or driven by a test.
    pub fn take_rocket(&mut self) -> Option<Rocket<Build>> {
        self.rocket.take()
    }

    /// Starts the region of this process; once.
    pub async fn start_region(&mut self) -> anyhow::Result<Option<Region>> {
        let Some(link) = self.node_end.take() else { return Ok(None) };
        let region = Region::start(self.config.region.clone(), link, self.clock.clone()).await?;
        *self.tree.region.lock().expect("no holder panics") = Some(region.view());
        Ok(Some(region))
    }

    /// Closes the store, after `region` has drained into it; within `limit`, and says what it did.
    pub async fn stop(self, region: Option<Region>, limit: Duration) -> anyhow::Result<Option<Drained>> {
        let drained = match region {
            Some(region) => Some(region.stop(limit.mul_f64(0.85)).await),
            None => None,
        };
        let _ = self.keeper.stop_and_wait(None, Some(limit.mul_f64(0.1))).await;
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
    match read_services(path, &config.hub.schedule) {
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

/// Shows on the board what the store knows of the past.
async fn restore(store: &Store, board: &Board, clock: &Clock) -> anyhow::Result<()> {
    let now = clock.now();
    let known = store.results.newest().await?;
    let series = known.len();
    let few = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    for series in known {
        let hours: Vec<Hour> = series
            .hours
            .iter()
            .map(|of| Hour { hour: of.hour.0.div_euclid(HOUR), checks: few(of.checks), failures: few(of.failures) })
            .collect();
        let Some(newest) = series.newest else { continue };
        let recent = match board.memory(series.service) {
            0 => continue,
            1 => vec![newest],
            // A state that takes several results in a row is made of them again, with those that led up to it.
            memory => {
                let (service, region) = (Some(series.service), Some(series.region.to_string()));
                let query = ResultQuery { service, region, newest_first: true, page_size: 4 * memory as usize, ..ResultQuery::default() };
                let mut recent: Vec<_> = store.results.page(&query).await?.results.into_iter().map(|stored| stored.result).collect();
                recent.reverse();
                recent
            }
        };
        board.restore(&recent, &hours, now);
    }
    info!(series, "board restored from the store");
    Ok(())
}

fn wiring(
    intake: Arc<Intake>,
    deliveries: Arc<tokio::sync::Mutex<mpsc::Receiver<Delivery>>>,
    tree: Tree,
    observe: Arc<dyn Fn() + Send + Sync>,
) -> Wiring {
    Box::new(move |keeper| {
        let ingest = IngestArgs { intake: intake.clone(), deliveries: deliveries.clone() };
        let sealer =
            SealerArgs { store: intake.store.clone(), clock: intake.clock.clone(), status: tree.sealer.clone(), observe: observe.clone() };
        Box::pin(wire(ingest, sealer, keeper))
    })
}

async fn wire(ingest: IngestArgs, sealer: SealerArgs, keeper: ActorCell) -> anyhow::Result<Vec<(String, ActorCell)>> {
    let (sealer, _) = Actor::spawn_linked(None, Sealer, sealer, keeper.clone()).await?;
    let (ingest, _) = Actor::spawn_linked(None, Ingest, ingest, keeper).await?;
    Ok(vec![("ingest".to_owned(), ingest.get_cell()), ("sealer".to_owned(), sealer.get_cell())])
}

/// Copies what the actors count into the metrics.
fn observer(tree: Tree, metrics: Arc<Metrics>) -> Arc<dyn Fn() + Send + Sync> {
    use std::sync::atomic::Ordering::Relaxed;
    let seen = Mutex::new(0u64);
    Arc::new(move || {
        metrics.journal(tree.intake.store.results.status().journal_bytes);
        let Some(region) = tree.region.lock().expect("no holder panics").clone() else { return };
        let (depth, counts) = (region.shared.file.depth(), &region.shared.counts);
        metrics.outbox(&region.shared.settings.node.0, depth.batches, depth.bytes, counts.dropped.load(Relaxed));
        metrics.quarantined(counts.quarantined.load(Relaxed));
        let restarts = counts.restarts.load(Relaxed)
            + region.group.lock().expect("no holder panics").restarts
            + tree.group.lock().expect("no holder panics").restarts;
        let mut seen = seen.lock().expect("no holder panics");
        (*seen..restarts).for_each(|_| metrics.restart());
        *seen = restarts.max(*seen);
    })
}

/// Whoever opens the address in a browser lands where there is something to see.
#[rocket::get("/")]
fn root() -> Redirect {
    Redirect::temporary("/docs/")
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

/// Listens and works until told to end.
pub async fn serve(config: Config, health: HealthLog, with_region: bool) -> anyhow::Result<()> {
    let clock = Clock::real();
    let limit = Duration::from_secs(9);
    // Heard from the first moment on: a start that is ended early ends as cleanly as any.
    let mut ended = std::pin::pin!(end_signal()?);
    let Some(mut hub) = waiting::start(&config, &clock, &health, ended.as_mut()).await? else { return Ok(()) };
    let url = own_url(&hub.config)?;
    if let Some(password) = hub.new_password.take() {
        // Before anything else can go wrong: it is shown here and never again.
        println!("\n  first start: user admin, password {password}   (shown once; `probemesh user passwd admin` sets another)");
    }
    let (up, listening) = tokio::sync::oneshot::channel();
    let up = Mutex::new(Some(up));
    let rocket = hub.take_rocket().context("rocket is taken once")?.attach(rocket::fairing::AdHoc::on_liftoff("listening", move |_| {
        let up = up.lock().expect("no holder panics").take();
        Box::pin(async move {
            if let Some(up) = up {
                let _ = up.send(());
            }
        })
    }));
    let rocket = rocket.ignite().await.map_err(|err| anyhow::anyhow!("web server is not well configured: {}", err.kind()))?;
    let shutdown = rocket.shutdown();
    let mut server = tokio::spawn(rocket.launch());
    tokio::select! {
        launched = &mut server => {
            let _ = hub.stop(None, limit).await;
            return Err(launch_error(launched, &url));
        }
        // Dropped unsent, it says only that the server has ended, and that says why itself.
        Ok(()) = listening => {}
    }
    info!(address = url.as_str(), "hub listens");
    println!("\n  probemesh listens on {url}\n");
    let region = if with_region { hub.start_region().await? } else { None };
    // Without a region nobody answers requests for a check, and whoever asks is told so at once.
    hub.node_end = None;
    let early = tokio::select! {
        signal = &mut ended => { info!(signal, "ending: checks in flight are finished and stored"); None }
        launched = &mut server => Some(launch_error(launched, &url)),
    };
    let began = clock.steady();
    shutdown.notify();
    let drained = hub.stop(region, limit).await?;
    let took_ms = (clock.steady() - began).as_millis() as u64;
    match drained {
        Some(Drained { given_up: 0, depth, .. }) if depth.results == 0 => info!(took_ms, "ended: every check made is in the store"),
        Some(Drained { given_up, depth, .. }) => {
            warn!(
                took_ms,
                given_up,
                waiting = depth.results,
                "ended: checks given up were not made, results that wait are sent at the next start"
            );
        }
        None => info!(took_ms, "ended"),
    }
    match early {
        Some(err) => Err(err),
        None => {
            let _ = tokio::time::timeout(Duration::from_secs(1), server).await;
            Ok(())
        }
    }
}

fn launch_error(launched: Result<Result<Rocket<rocket::Ignite>, rocket::Error>, tokio::task::JoinError>, url: &Url) -> anyhow::Error {
    match launched {
        Ok(Ok(_)) => anyhow::anyhow!("web server ended by itself"),
        Ok(Err(err)) => match err.kind() {
            rocket::error::ErrorKind::Bind(cause) => anyhow::anyhow!("cannot listen on {url}: {cause} (set ROCKET_PORT or ROCKET_ADDRESS)"),
            kind => anyhow::anyhow!("web server failed: {kind}"),
        },
        Err(err) => anyhow::anyhow!("web server failed: {err}"),
    }
}

/// Hears SIGTERM and SIGINT from now on; the future ends with the first of them.
fn end_signal() -> anyhow::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be heard")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be heard")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
