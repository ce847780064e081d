//! Which actors the hub runs, who is told of what, and in which order they are spawned: last stage first.

use std::sync::{Arc, Mutex};

use ractor::{Actor, ActorCell};
use tokio::sync::{broadcast, mpsc};

use crate::aggregate::change::Silence;
use crate::analysis::analyzer::{Analyzer, AnalyzerArgs};
use crate::analysis::batch_runner::{BatchRunner, BatchRunnerArgs};
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::clock::Clock;
use crate::digest::digester::{Digester, DigesterArgs};
use crate::hub::aggregator::{Aggregator, AggregatorArgs, Recheck};
use crate::hub::heartbeat::{Heartbeat, HeartbeatArgs};
use crate::hub::ingest::{Ingest, IngestArgs, Intake};
use crate::hub::membership::{Hooks, Membership};
use crate::hub::sealer::{Sealer, SealerArgs};
use crate::hub::tree::Tree;
use crate::hub::verdicts::Verdicts;
use crate::store::uptimes::Uptimes;
use crate::supervise::Wiring;
use crate::wire::link::Delivery;

pub fn wiring(
    intake: Arc<Intake>,
    deliveries: Arc<tokio::sync::Mutex<mpsc::Receiver<Delivery>>>,
    aggregator: AggregatorArgs,
    heartbeat: Option<HeartbeatArgs>,
    uptimes: Arc<Uptimes>,
    tree: Tree,
    observe: Arc<dyn Fn() + Send + Sync>,
) -> Wiring {
    Box::new(move |keeper| {
        let ingest = IngestArgs { intake: intake.clone(), deliveries: deliveries.clone() };
        let (board, fresh) = (intake.board.clone(), uptimes.clone());
        let sealer = SealerArgs {
            store: intake.store.clone(),
            clock: tree.clock.clone(),
            status: tree.sealer.clone(),
            rules: Arc::new(move |service, at| board.rule(service, at)),
            rolled: Arc::new(move |services| fresh.nudge(services.iter().copied())),
            observe: observe.clone(),
        };
        Box::pin(wire(ingest, sealer, aggregator.clone(), heartbeat.clone(), keeper))
    })
}

async fn wire(
    ingest: IngestArgs,
    sealer: SealerArgs,
    aggregator: AggregatorArgs,
    heartbeat: Option<HeartbeatArgs>,
    keeper: ActorCell,
) -> anyhow::Result<Vec<(String, ActorCell)>> {
    let (aggregator, _) = Actor::spawn_linked(None, Aggregator, aggregator, keeper.clone()).await?;
    let (sealer, _) = Actor::spawn_linked(None, Sealer, sealer, keeper.clone()).await?;
    let (ingest, _) = Actor::spawn_linked(None, Ingest, ingest, keeper.clone()).await?;
    let mut members = vec![
        ("ingest".to_owned(), ingest.get_cell()),
        ("sealer".to_owned(), sealer.get_cell()),
        ("aggregator".to_owned(), aggregator.get_cell()),
    ];
    if let Some(heartbeat) = heartbeat {
        let (heartbeat, _) = Actor::spawn_linked(None, Heartbeat, heartbeat, keeper).await?;
        members.push(("heartbeat".to_owned(), heartbeat.get_cell()));
    }
    Ok(members)
}

/// The analyst is a group of its own: whatever becomes of it, results are taken in and verdicts fall.
pub fn analyst_wiring(analyzer: AnalyzerArgs, batch_runner: BatchRunnerArgs) -> Wiring {
    Box::new(move |keeper| {
        let (analyzer, batch_runner) = (analyzer.clone(), batch_runner.clone());
        Box::pin(async move {
            let (analyzer, _) = Actor::spawn_linked(None, Analyzer, analyzer, keeper.clone()).await?;
            let (batch_runner, _) = Actor::spawn_linked(None, BatchRunner, batch_runner, keeper).await?;
            Ok(vec![("analyzer".to_owned(), analyzer.get_cell()), ("batch_runner".to_owned(), batch_runner.get_cell())])
        })
    })
}

/// So is whoever writes digests.
pub fn digest_wiring(digester: DigesterArgs) -> Wiring {
    Box::new(move |keeper| {
        let digester = digester.clone();
        Box::pin(async move {
            let (digester, _) = Actor::spawn_linked(None, Digester, digester, keeper).await?;
            Ok(vec![("digester".to_owned(), digester.get_cell())])
        })
    })
}

/// Asks every region of a service but the one that saw it fail.
pub fn ask_others(membership: Arc<Membership>) -> Recheck {
    Arc::new(move |service, except| {
        // The results come like any other.
        drop(membership.check_now(service, Some(except), false));
    })
}

/// Copies what the actors count into the metrics.
pub fn observer(tree: Tree, metrics: Arc<Metrics>) -> Arc<dyn Fn() + Send + Sync> {
    use std::sync::atomic::Ordering::Relaxed;
    let seen = Mutex::new(0u64);
    Arc::new(move || {
        metrics.journal(tree.intake.store.results.status().journal_bytes);
        let Some(region) = tree.region.lock().expect("no holder panics").clone() else { return };
        let (depth, counts) = (region.shared.file.depth(), &region.shared.counts);
        metrics.outbox(&region.shared.settings.node.0, depth.batches, depth.bytes, counts.dropped.load(Relaxed));
        metrics.quarantined(counts.quarantined.load(Relaxed));
        let node = &region.shared.settings.node;
        if let Some(session) = tree.membership.session_of(node) {
            tree.membership.heard_status(node, session, region.node_status());
        }
        let restarts = counts.restarts.load(Relaxed)
            + region.group.lock().expect("no holder panics").restarts
            + tree.group.lock().expect("no holder panics").restarts
            + tree.analyst.lock().expect("no holder panics").restarts;
        let mut seen = seen.lock().expect("no holder panics");
        (*seen..restarts).for_each(|_| metrics.restart());
        *seen = restarts.max(*seen);
    })
}

/// What a change of membership means to the board.
pub fn hooks(verdicts: Arc<Verdicts>, events: broadcast::Sender<Arc<Event>>, clock: Clock) -> Hooks {
    let board = verdicts.board.clone();
    Hooks {
        silence: Box::new(move |region, reason| verdicts.set_silent(region, reason.map(|reason| Silence { reason, since: clock.now() }))),
        node: Box::new(move |change| {
            let _ = events.send(Arc::new(Event::from(&change)));
        }),
        last_round: Box::new(move |service, region| board.last_round(service, region)),
    }
}
