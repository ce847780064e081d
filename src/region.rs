//! A region's process: schedule → prober → outbox → courier → hub.
//!
//! Wired last stage first, so each actor is born knowing the next; the one way back is the courier's word to the outbox
//! of what the hub has acknowledged. What outlives the actors (the outbox file, counters, the link's ends) is made here.

pub mod courier;
pub mod latest;
pub mod outbox;
pub mod outbox_file;
pub mod prober;
pub mod rhythm;
pub mod shared;
pub mod supervisor;
pub mod witness;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use ractor::{Actor, ActorCell, ActorRef};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::sections::RegionSettings;
use crate::probe::Probes;
use crate::region::courier::{Courier, CourierArgs, CourierMsg, CourierStatus};
use crate::region::outbox::{Outbox, OutboxArgs, OutboxMsg};
use crate::region::outbox_file::{Depth, OutboxFile};
use crate::region::shared::Shared;
use crate::region::supervisor::{Supervisor, SupervisorArgs, SupervisorMsg, SupervisorStatus};
use crate::region::witness::{Witness, WitnessArgs, WitnessStatus};
use crate::supervise::{GroupStatus, Keeper, KeeperArgs, KeeperMsg, Wiring};
use crate::wire::envelope::NodeStatus;
use crate::wire::link::{Assignments, CheckNow, Delivery, NodeEnd};

/// What checks in flight have of the time to stop, and what all steps of a stop have before the actors are ended.
const CHECKS_SHARE: f64 = 0.7;
const STEPS_SHARE: f64 = 0.95;

/// A running region.
pub struct Region {
    keeper: ActorRef<KeeperMsg>,
    members: Arc<Mutex<Option<Members>>>,
    view: RegionView,
}

/// What can be seen of a region while it runs; cheap to clone.
#[derive(Clone)]
pub struct RegionView {
    pub shared: Arc<Shared>,
    pub group: Arc<Mutex<GroupStatus>>,
    pub probers: Arc<Mutex<SupervisorStatus>>,
    pub courier: Arc<Mutex<CourierStatus>>,
    pub witness: Arc<Mutex<WitnessStatus>>,
}

/// What a stop left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Every check in flight ended, and its result is at least in the outbox; otherwise `given_up` were not made.
    pub probers: bool,
    /// The hub has all that was committed; otherwise `depth` says what waits for the next start.
    pub outbox: bool,
    pub depth: Depth,
    /// Checks begun or made whose results were not committed when the time was up: they are lost.
    pub given_up: usize,
}

#[derive(Clone)]
struct Members {
    supervisor: ActorRef<SupervisorMsg>,
    outbox: ActorRef<OutboxMsg>,
    courier: ActorRef<CourierMsg>,
}

/// The ends of the link that outlive the actors using them.
#[derive(Clone)]
struct Ends {
    deliveries: mpsc::Sender<Delivery>,
    assignments: watch::Receiver<Assignments>,
    requests: Arc<tokio::sync::Mutex<mpsc::Receiver<CheckNow>>>,
    wake: Arc<Notify>,
}

impl Region {
    /// Opens the outbox and starts the actors.
    pub async fn start(settings: RegionSettings, link: NodeEnd, clock: Clock) -> anyhow::Result<Region> {
        let probes = Probes::new(&settings.probe, clock.clone()).context("probes cannot be made")?;
        let folder = settings.data_dir.join("outbox");
        std::fs::create_dir_all(&folder).with_context(|| format!("folder {} cannot be made", folder.display()))?;
        // Not named by the node: a machine that is called otherwise today must still find what it made yesterday.
        let file = OutboxFile::open(&folder.join("outbox.redb"), clock.now())?;
        Region::start_on(file, probes, settings, link, clock).await
    }

    /// Starts the actors on an outbox that is open.
    pub async fn start_on(
        file: OutboxFile,
        probes: Probes,
        settings: RegionSettings,
        link: NodeEnd,
        clock: Clock,
    ) -> anyhow::Result<Region> {
        let (boot, waiting) = (file.boot(), file.depth().results);
        info!(region = %settings.name, node = %settings.node, boot = boot.0, waiting, "region starts");
        let restart = settings.restart.clone();
        let shared = Shared::new(settings, clock.clone(), probes, file);
        let view = RegionView { shared, group: Arc::default(), probers: Arc::default(), courier: Arc::default(), witness: Arc::default() };
        let members = Arc::new(Mutex::new(None));
        let requests = Arc::new(tokio::sync::Mutex::new(link.requests));
        let ends = Ends { deliveries: link.deliveries, assignments: link.assignments, requests, wake: link.wake };
        let args =
            KeeperArgs { name: "region", wiring: wiring(view.clone(), ends, members.clone()), restart, clock, status: view.group.clone() };
        let (keeper, _) = Actor::spawn(None, Keeper, args).await.context("region's keeper cannot be started")?;
        Ok(Region { keeper, members, view })
    }

    pub fn view(&self) -> RegionView {
        self.view.clone()
    }

    /// Ends the checks in flight, commits what they made and waits until the hub has it; within `limit`, of which most is
    /// the checks'. Says how far it came.
    pub async fn stop(self, limit: Duration) -> Drained {
        let members = self.members.lock().expect("no holder panics").clone();
        let (mut probers, mut outbox) = (false, false);
        if let Some(members) = members {
            let steps = async {
                let ended = members.supervisor.call(SupervisorMsg::Drain, Some(limit.mul_f64(CHECKS_SHARE))).await;
                probers = matches!(ended, Ok(answer) if answer.is_success());
                let flushed = matches!(members.outbox.call(OutboxMsg::Flush, None).await, Ok(answer) if answer.is_success());
                let sent = matches!(members.courier.call(CourierMsg::AwaitEmpty, None).await, Ok(answer) if answer.is_success());
                // Forgets what was acknowledged, so that the next start has nothing to send again.
                let forgotten = matches!(members.outbox.call(OutboxMsg::Flush, None).await, Ok(answer) if answer.is_success());
                outbox = flushed && sent && forgotten;
            };
            let _ = tokio::time::timeout(limit.mul_f64(STEPS_SHARE), steps).await;
        }
        let given_up = self.view.shared.uncommitted();
        if given_up > 0 {
            warn!(checks = given_up, "checks still in flight or not committed are given up");
        }
        let _ = self.keeper.stop_and_wait(None, Some(limit.mul_f64(1.0 - STEPS_SHARE))).await;
        Drained { probers: probers && given_up == 0, outbox, depth: self.view.shared.file.depth(), given_up }
    }
}

impl RegionView {
    /// How this node is doing, as its hub hears it.
    pub fn node_status(&self) -> NodeStatus {
        let (shared, counts) = (&self.shared, &self.shared.counts);
        let depth = shared.file.depth();
        let probers = self.probers.lock().expect("no holder panics");
        let group = self.group.lock().expect("no holder panics").restarts;
        NodeStatus {
            generation: probers.generation,
            services: probers.probers.len() as u32,
            checks: counts.checks.load(Relaxed),
            failures: counts.failures.load(Relaxed),
            missed: counts.missed.load(Relaxed),
            restarts: counts.restarts.load(Relaxed) + group,
            quarantined: counts.quarantined.load(Relaxed),
            outbox_batches: depth.batches,
            outbox_results: depth.results,
            outbox_bytes: depth.bytes,
            outbox_oldest_us: depth.oldest.map(|oldest| oldest.0),
            dropped: counts.dropped.load(Relaxed),
            refused: counts.refused.load(Relaxed),
            lag_p99_ms: counts.lag.lately(shared.clock.steady()).1,
            outbox_error: counts.outbox_error.lock().expect("no holder panics").clone(),
            blind: shared.sight.borrow().clone(),
            rss_bytes: rss_bytes(),
        }
    }
}

/// Memory of this process; 0 where the kernel does not tell.
fn rss_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn wiring(view: RegionView, ends: Ends, members: Arc<Mutex<Option<Members>>>) -> Wiring {
    Box::new(move |keeper| {
        let (view, ends, members) = (view.clone(), ends.clone(), members.clone());
        Box::pin(async move { wire(view, ends, keeper, &members).await })
    })
}

async fn wire(
    view: RegionView,
    ends: Ends,
    keeper: ActorCell,
    members: &Mutex<Option<Members>>,
) -> anyhow::Result<Vec<(String, ActorCell)>> {
    let courier_args = CourierArgs { shared: view.shared.clone(), deliveries: ends.deliveries, wake: ends.wake, status: view.courier };
    let (courier, _) = Actor::spawn_linked(None, Courier, courier_args, keeper.clone()).await?;
    let outbox_args = OutboxArgs { shared: view.shared.clone(), courier: courier.clone() };
    let (outbox, _) = Actor::spawn_linked(None, Outbox, outbox_args, keeper.clone()).await?;
    courier.cast(CourierMsg::Report(outbox.clone()))?;
    let witness = match view.shared.settings.witness.places.is_empty() {
        true => None,
        false => {
            let args = WitnessArgs { shared: view.shared.clone(), status: view.witness };
            Some(Actor::spawn_linked(None, Witness, args, keeper.clone()).await?.0)
        }
    };
    let supervisor_args = SupervisorArgs {
        shared: view.shared,
        outbox: outbox.clone(),
        assignments: ends.assignments,
        requests: ends.requests,
        status: view.probers,
    };
    let (supervisor, _) = Actor::spawn_linked(None, Supervisor, supervisor_args, keeper).await?;
    let mut cells = vec![("courier", courier.get_cell()), ("outbox", outbox.get_cell()), ("supervisor", supervisor.get_cell())];
    cells.extend(witness.map(|witness| ("witness", witness.get_cell())));
    *members.lock().expect("no holder panics") = Some(Members { supervisor, outbox, courier });
    Ok(cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect())
}
