//! Wires alerts: the inbox causes are said into, the dispatcher and the deliverer, a group of their own: whatever becomes of them,
//! results are taken in and incidents kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use ractor::{Actor, ActorRef};
use serde_json::json;
use tokio::sync::{Mutex as AsyncMutex, broadcast, mpsc};

use crate::aggregate::board::Board;
use crate::alert::channel::sender::Sender;
use crate::alert::deliverer::{Deliverer, DelivererArgs, LaneStatus};
use crate::alert::desk::{DeskArgs, InMaintenance};
use crate::alert::dispatcher::{Dispatcher, DispatcherArgs, DispatcherStatus};
use crate::alert::exit::{Exits, StoredExits};
use crate::alert::inbox::Inbox;
use crate::alert::lane::{Gate, LaneArgs};
use crate::alert::sources::Sources;
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::api::state::ActorView;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::membership::Membership;
use crate::hub::records::Records;
use crate::hub::tree::figures;
use crate::model::alert::CauseMove;
use crate::model::id::ChannelId;
use crate::model::time::Timestamp;
use crate::subscribers::herald::{Herald, HeraldArgs, HeraldStatus};
use crate::supervise::{GroupStatus, Keeper, KeeperArgs, KeeperMsg, Wiring};

/// How they fare, for those who look.
#[derive(Clone, Debug, Default)]
pub struct AlertStatus {
    pub group: Arc<Mutex<GroupStatus>>,
    pub dispatcher: Arc<Mutex<DispatcherStatus>>,
    pub lanes: Arc<Mutex<BTreeMap<ChannelId, LaneStatus>>>,
    pub gate: Arc<Gate>,
    pub herald: Arc<Mutex<HeraldStatus>>,
}

/// What of alerts is there before the group runs: where causes are said, and the channels.
pub struct Alerting {
    pub inbox: Inbox,
    pub sender: Arc<Sender>,
    pub exits: Arc<dyn Exits>,
    moves: Arc<AsyncMutex<mpsc::UnboundedReceiver<CauseMove>>>,
    clock: Clock,
}

/// What the group works with beside the records.
pub struct Parts {
    pub in_maintenance: InMaintenance,
    pub board: Arc<Board>,
    pub membership: Arc<Membership>,
    pub events: broadcast::Sender<Arc<Event>>,
    pub metrics: Arc<Metrics>,
    pub herald: HeraldArgs,
    pub status: AlertStatus,
}

impl Alerting {
    pub fn new(config: &Config, records: &Records, clock: &Clock) -> anyhow::Result<Alerting> {
        let (inbox, moves) = Inbox::new();
        let sender = Arc::new(Sender::new(&config.channels, config.api.public_url.as_deref(), clock.clone())?);
        let exits = Arc::new(StoredExits { channels: records.channels.clone(), sender: sender.clone() });
        Ok(Alerting { inbox, sender, exits, moves: Arc::new(AsyncMutex::new(moves)), clock: clock.clone() })
    }

    /// Starts the group; it ends with its keeper.
    pub async fn start(&self, config: &Config, records: &Records, parts: Parts) -> anyhow::Result<ActorRef<KeeperMsg>> {
        let Parts { in_maintenance, board, membership, events, metrics, herald, status } = parts;
        let (clock, exits) = (self.clock.clone(), self.exits.clone());
        let asked = membership.clone();
        let desk = DeskArgs {
            alerts: records.alerts.clone(),
            incidents: records.incidents.clone(),
            results: records.store.results.clone(),
            services: records.services.clone(),
            sources: Sources { board, membership, findings: records.findings.clone(), started_at: clock.now() },
            exits: exits.clone(),
            in_maintenance,
            // The results come like any other.
            check_now: Arc::new(move |service| drop(asked.check_now(service, None, false))),
            settings: config.alerts.clone(),
            public_url: config.api.public_url.clone(),
            clock: clock.clone(),
        };
        let dispatcher =
            DispatcherArgs { desk, moves: self.moves.clone(), nudge: self.inbox.nudge.clone(), status: status.dispatcher.clone() };
        let lane = LaneArgs {
            alerts: records.alerts.clone(),
            exits,
            settings: config.alerts.clone(),
            events,
            metrics,
            clock: clock.clone(),
            gate: status.gate,
        };
        let deliverer = DelivererArgs { lane, restart: config.region.restart.clone(), status: status.lanes.clone() };
        let args = KeeperArgs {
            name: "alerts",
            wiring: wiring(dispatcher, deliverer, herald),
            restart: config.region.restart.clone(),
            clock,
            status: status.group,
        };
        let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("keeper of the alerts cannot be started")?;
        Ok(keeper)
    }
}

fn wiring(dispatcher: DispatcherArgs, deliverer: DelivererArgs, herald: HeraldArgs) -> Wiring {
    Box::new(move |keeper| {
        let (dispatcher, deliverer, herald) = (dispatcher.clone(), deliverer.clone(), herald.clone());
        Box::pin(async move {
            let (deliverer, _) = Actor::spawn_linked(None, Deliverer, deliverer, keeper.clone()).await?;
            let (herald, _) = Actor::spawn_linked(None, Herald, herald, keeper.clone()).await?;
            let (dispatcher, _) = Actor::spawn_linked(None, Dispatcher, dispatcher, keeper).await?;
            Ok(vec![
                ("deliverer".to_owned(), deliverer.get_cell()),
                ("herald".to_owned(), herald.get_cell()),
                ("dispatcher".to_owned(), dispatcher.get_cell()),
            ])
        })
    })
}

impl AlertStatus {
    /// Has nothing more sent, and waits for what is on its way, within `limit`.
    pub async fn close(&self, limit: Duration) {
        self.gate.shut();
        let clock = Clock::real();
        let until = clock.steady() + limit;
        while self.gate.inside() > 0 && clock.steady() < until {
            clock.sleep(Duration::from_millis(5)).await;
        }
    }

    /// All of them as `inspect` shows them.
    pub fn actors(&self) -> Vec<ActorView> {
        let dispatcher = self.dispatcher.lock().expect("no holder panics").clone();
        let lanes = self.lanes.lock().expect("no holder panics").clone();
        let herald = self.herald.lock().expect("no holder panics").clone();
        let state = |failing: bool| if failing { "failing" } else { "running" }.to_owned();
        vec![
            ActorView {
                name: "dispatcher".to_owned(),
                state: state(dispatcher.last_error.is_some()),
                last_error: dispatcher.last_error,
                figures: figures([
                    ("causes", json!(dispatcher.held)),
                    ("planned", json!(dispatcher.planned)),
                    ("rounds", json!(dispatcher.rounds)),
                    ("last_run", json!(dispatcher.last_run.map(Timestamp::rfc3339))),
                ]),
                ..ActorView::default()
            },
            ActorView {
                name: "deliverer".to_owned(),
                state: state(false),
                restarts: lanes.values().map(|lane| lane.restarts).sum(),
                last_error: lanes.into_values().filter_map(|lane| lane.last_error).next_back(),
                ..ActorView::default()
            },
            ActorView {
                name: "herald".to_owned(),
                state: state(herald.last_error.is_some()),
                last_error: herald.last_error,
                figures: figures([
                    ("news", json!(herald.news)),
                    ("planned", json!(herald.planned)),
                    ("last_run", json!(herald.last_run.map(Timestamp::rfc3339))),
                ]),
                ..ActorView::default()
            },
        ]
    }
}
