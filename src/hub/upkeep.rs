//! Wires maintenance windows and objectives, and makes the objectives of a first start.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use ractor::{Actor, ActorRef};
use serde_json::json;
use tokio::sync::{broadcast, mpsc};
use tracing::info;

use crate::aggregate::board::Board;
use crate::api::events::Event;
use crate::api::state::ActorView;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::records::Records;
use crate::hub::tree::figures;
use crate::maintenance::keeper::{WindowKeeper, WindowKeeperArgs, WindowKeeperStatus};
use crate::maintenance::windows::Windows;
use crate::model::alert::CauseMove;
use crate::model::slo::{Aim, Period, Promise, USUAL_PAIRS};
use crate::model::time::Timestamp;
use crate::slo::desk::{SloDesk, Sources};
use crate::slo::watch::{BurnWatch, BurnWatchArgs, BurnWatchStatus};
use crate::store::services::{Author, Services};
use crate::store::slos::Slos;
use crate::store::uptimes::Uptimes;
use crate::supervise::{GroupStatus, Keeper, KeeperArgs, KeeperMsg};

/// What others ask.
pub struct Upkeep {
    pub windows: Arc<Windows>,
    pub slos: Arc<SloDesk>,
}

/// How its actors fare; cheap to clone.
#[derive(Clone, Default)]
pub struct UpkeepStatus {
    pub group: Arc<Mutex<GroupStatus>>,
    pub window_keeper: Arc<Mutex<WindowKeeperStatus>>,
    pub burn_watch: Arc<Mutex<BurnWatchStatus>>,
}

impl Upkeep {
    pub fn new(
        records: &Records,
        config: &Config,
        board: Arc<Board>,
        uptimes: Arc<Uptimes>,
        events: broadcast::Sender<Arc<Event>>,
        clock: &Clock,
    ) -> Upkeep {
        let (store, services) = (records.windows.clone(), records.services.clone());
        let windows = Arc::new(Windows::new(store, services.clone(), board.clone(), uptimes, events, clock.clone()));
        let sources = Sources {
            slos: records.slos.clone(),
            store: records.store.clone(),
            services,
            board,
            windows: windows.clone(),
            default_schedule: config.hub.schedule.clone(),
            clock: clock.clone(),
        };
        Upkeep { windows, slos: Arc::new(SloDesk::new(sources)) }
    }
}

/// Starts the actors, in a group of their own: whatever becomes of them, results are taken in and verdicts fall.
pub async fn start(
    upkeep: &Upkeep,
    causes: mpsc::UnboundedSender<CauseMove>,
    config: &Config,
    clock: &Clock,
    status: &UpkeepStatus,
) -> anyhow::Result<ActorRef<KeeperMsg>> {
    let keeper = WindowKeeperArgs { windows: upkeep.windows.clone(), clock: clock.clone(), status: status.window_keeper.clone() };
    let watch = BurnWatchArgs { desk: upkeep.slos.clone(), causes, clock: clock.clone(), status: status.burn_watch.clone() };
    let args = KeeperArgs {
        name: "upkeep",
        wiring: Box::new(move |supervisor| {
            let (keeper, watch) = (keeper.clone(), watch.clone());
            Box::pin(async move {
                let (watch, _) = Actor::spawn_linked(None, BurnWatch, watch, supervisor.clone()).await?;
                let (keeper, _) = Actor::spawn_linked(None, WindowKeeper, keeper, supervisor).await?;
                Ok(vec![("burn_watch".to_owned(), watch.get_cell()), ("window_keeper".to_owned(), keeper.get_cell())])
            })
        }),
        restart: config.region.restart.clone(),
        clock: clock.clone(),
        status: status.group.clone(),
    };
    let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("keeper of windows and objectives cannot be started")?;
    Ok(keeper)
}

/// As long as no objective was ever made, a hub that watches itself promises for itself: 99.9 % up, and 95 % of checks in
/// under two seconds.
pub async fn seed(slos: &Slos, services: &Services) -> anyhow::Result<()> {
    let list = services.list();
    let Some(own) = list.iter().find(|stored| stored.document.base_url.as_deref() == Some("self")) else { return Ok(()) };
    if !slos.untouched().await? {
        return Ok(());
    }
    let author = Author { who: "seed".to_owned(), address: None };
    let promise = |what: &str, aim: Aim, objective: f64| Promise {
        name: format!("{} {what}", own.name()),
        service: own.id,
        aim,
        objective,
        regions: None,
        period: Period::Rolling(30),
        least_coverage: 0.5,
        burn: USUAL_PAIRS.to_vec(),
    };
    let limit = std::time::Duration::from_secs(2);
    for promise in [promise("is up", Aim::Availability, 99.9), promise("answers in time", Aim::Latency(limit), 95.0)] {
        let name = promise.name.clone();
        slos.create(promise, &author).await?;
        info!(name, "objective seeded");
    }
    Ok(())
}

impl UpkeepStatus {
    pub fn actors(&self) -> Vec<ActorView> {
        let watch = self.burn_watch.lock().expect("no holder panics").clone();
        let keeper = self.window_keeper.lock().expect("no holder panics").clone();
        let watch = ActorView {
            name: "burn_watch".to_owned(),
            state: if watch.last_error.is_some() { "failing" } else { "running" }.to_owned(),
            last_error: watch.last_error,
            figures: figures([
                ("objectives", json!(watch.objectives)),
                ("burning", json!(watch.burning)),
                ("last_run", json!(watch.last_run.map(Timestamp::rfc3339))),
                ("took_ms", json!(watch.took.as_secs_f64() * 1e3)),
            ]),
            ..ActorView::default()
        };
        let keeper = ActorView {
            name: "window_keeper".to_owned(),
            state: "running".to_owned(),
            figures: figures([
                ("windows", json!(keeper.windows)),
                ("last_run", json!(keeper.last_run.map(Timestamp::rfc3339))),
                ("next", json!(keeper.next.map(Timestamp::rfc3339))),
            ]),
            ..ActorView::default()
        };
        vec![watch, keeper]
    }
}
