//! Looks twice a minute how fast the budgets burn, and raises and clears the causes.
//!
//! When it dies nothing is lost: that an objective burns, and since when, is in the store, so its cause keeps its name; the
//! lanes are kept up by others and live on. A cause is raised again after a start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::model::alert::{Cause, CauseKind, CauseMove};
use crate::model::slo::{Slo, SloId};
use crate::model::time::Timestamp;
use crate::slo::burn::Rate;
use crate::slo::desk::{Burning, SloDesk};
use crate::store::connection::StoreError;
use crate::supervise::Task;

const EVERY: Duration = Duration::from_secs(30);

pub struct BurnWatch;

#[derive(Debug, RactorMessage)]
pub enum BurnWatchMsg {
    Tick,
    Looked(Result<(), StoreError>),
}

#[derive(Clone)]
pub struct BurnWatchArgs {
    pub desk: Arc<SloDesk>,
    pub causes: mpsc::UnboundedSender<CauseMove>,
    pub clock: Clock,
    pub status: Arc<Mutex<BurnWatchStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct BurnWatchStatus {
    pub objectives: usize,
    pub burning: usize,
    pub last_run: Option<Timestamp>,
    /// Time of the last look, by the clock of the process.
    pub took: Duration,
    pub last_error: Option<String>,
}

pub struct BurnWatchState {
    args: BurnWatchArgs,
    _task: Task,
}

impl Actor for BurnWatch {
    type Msg = BurnWatchMsg;
    type State = BurnWatchState;
    type Arguments = BurnWatchArgs;

    async fn pre_start(&self, myself: ActorRef<BurnWatchMsg>, args: BurnWatchArgs) -> Result<BurnWatchState, ActorProcessingErr> {
        let task = tick_after(&args.clock, myself);
        Ok(BurnWatchState { args, _task: task })
    }

    async fn handle(
        &self,
        myself: ActorRef<BurnWatchMsg>,
        message: BurnWatchMsg,
        state: &mut BurnWatchState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            BurnWatchMsg::Tick => state.look(myself),
            BurnWatchMsg::Looked(outcome) => state.looked(outcome, myself),
        }
        Ok(())
    }
}

impl BurnWatchState {
    fn look(&mut self, myself: ActorRef<BurnWatchMsg>) {
        let args = self.args.clone();
        self._task = Task::spawn(async move {
            let outcome = look(&args).await;
            let _ = myself.cast(BurnWatchMsg::Looked(outcome));
        });
    }

    fn looked(&mut self, outcome: Result<(), StoreError>, myself: ActorRef<BurnWatchMsg>) {
        let mut status = self.args.status.lock().expect("no holder panics");
        let cause = outcome.err().map(|err| format!("{:#}", anyhow::Error::from(err)));
        if let Some(cause) = cause.as_ref().filter(|cause| status.last_error.as_ref() != Some(*cause)) {
            warn!(cause, "burn rates cannot be worked out, it is tried again");
        }
        status.last_error = cause;
        drop(status);
        self._task = tick_after(&self.args.clock, myself);
    }
}

/// One look at all objectives.
async fn look(args: &BurnWatchArgs) -> Result<(), StoreError> {
    let BurnWatchArgs { desk, clock, .. } = args;
    let began = clock.steady();
    known_from_before(desk).await?;
    desk.see_windows();
    let list = desk.slos.list();
    for slo in list.iter().filter(|slo| desk.watched(slo.promise.service)) {
        desk.make(slo.id).await?;
        tokio::task::yield_now().await;
    }
    let rates = desk.rates();
    for slo in list.iter() {
        judge(args, slo, rates.get(&slo.id)).await?;
    }
    let gone: Vec<SloId> = {
        let burning = desk.burning.lock().expect("no holder panics");
        burning.keys().filter(|id| !list.iter().any(|slo| slo.id == **id)).copied().collect()
    };
    for id in gone {
        clear(args, id, "the objective was deleted").await?;
    }
    let mut status = args.status.lock().expect("no holder panics");
    status.objectives = list.len();
    status.burning = desk.burning.lock().expect("no holder panics").len();
    status.last_run = Some(clock.now());
    status.took = clock.steady().saturating_sub(began);
    Ok(())
}

/// What burned when the process ended goes on under its name.
async fn known_from_before(desk: &SloDesk) -> Result<(), StoreError> {
    if desk.knows_burning() {
        return Ok(());
    }
    let before: BTreeMap<SloId, Burning> =
        desk.slos.burning().await?.into_iter().map(|(id, since)| (id, Burning { since, by: None })).collect();
    desk.know_burning(before);
    Ok(())
}

async fn judge(args: &BurnWatchArgs, slo: &Slo, rates: Option<&Vec<Rate>>) -> Result<(), StoreError> {
    let desk = &args.desk;
    let before = desk.burning.lock().expect("no holder panics").get(&slo.id).copied();
    if !desk.watched(slo.promise.service) {
        return match before {
            Some(_) => clear(args, slo.id, "its service is not checked any more").await,
            None => Ok(()),
        };
    }
    let Some(rates) = rates else { return Ok(()) };
    let burned = |rate: &Rate| before.is_some_and(|before| before.by.is_none_or(|by| by.pair == rate.pair));
    // The worst first: pairs are in order of their factors.
    let worst = rates.iter().find(|rate| rate.burns(burned(rate))).copied();
    match (before, worst) {
        (None, None) => Ok(()),
        (Some(_), None) => clear(args, slo.id, "its budget burns slowly enough").await,
        (before, Some(rate)) => {
            let since = before.map_or_else(|| args.clock.now(), |before| before.since);
            if before.is_none() {
                desk.slos.set_burning(slo.id, Some(since)).await?;
            }
            desk.burning.lock().expect("no holder panics").insert(slo.id, Burning { since, by: Some(rate) });
            // Told again when it is worse or better than it was told.
            if before.and_then(|before| before.by).is_none_or(|by| by.pair != rate.pair) {
                raise(args, slo, since, &rate).await;
            }
            Ok(())
        }
    }
}

async fn raise(args: &BurnWatchArgs, slo: &Slo, since: Timestamp, rate: &Rate) {
    let status = args.desk.status(slo).await.ok();
    let left = status.and_then(|status| status.budget.left_percent());
    let headline = headline(&slo.promise.name, rate, left);
    warn!(slo = slo.id.0, service = slo.promise.service.0, headline, "error budget burns too fast");
    let next_step = format!("look at what failed, or was slow, over the last {}", span(rate.pair.long));
    let cause = Cause {
        key: key(slo.id, since),
        kind: CauseKind::Burn,
        severity: rate.pair.severity,
        drill: false,
        service: Some(slo.promise.service),
        region: None,
        node: None,
        headline,
        since,
        regions: Vec::new(),
        last_good: None,
        next_step: Some(next_step),
        path: Some(format!("/slos/{}", slo.id)),
    };
    // Who reads them outlives this; when not, the hub ends.
    let _ = args.causes.send(CauseMove::Raised(cause));
}

async fn clear(args: &BurnWatchArgs, id: SloId, why: &str) -> Result<(), StoreError> {
    let Some(burning) = args.desk.burning.lock().expect("no holder panics").get(&id).copied() else { return Ok(()) };
    args.desk.slos.set_burning(id, None).await?;
    args.desk.burning.lock().expect("no holder panics").remove(&id);
    info!(slo = id.0, why, "error budget no longer burns too fast");
    let _ = args.causes.send(CauseMove::Cleared { key: key(id, burning.since), at: args.clock.now() });
    Ok(())
}

fn key(id: SloId, since: Timestamp) -> String {
    format!("slo-{id}-{}", since.0 / 1000)
}

fn headline(name: &str, rate: &Rate, left: Option<f64>) -> String {
    let times = |rate: Option<f64>| rate.map_or_else(|| "?".to_owned(), |rate| format!("{rate:.1}"));
    let pair = &rate.pair;
    let mut text = format!(
        "{name}: error budget burns {} times as fast as would last over {} and {} times over {} (limit {})",
        times(rate.long),
        span(pair.long),
        times(rate.short),
        span(pair.short),
        pair.factor,
    );
    match left {
        Some(left) if left <= 0.0 => text.push_str("; none of it is left"),
        Some(left) => text.push_str(&format!("; {left:.0} % of it is left")),
        None => {}
    }
    text
}

/// Such as `5 min`, `6 h`, `3 d`.
pub fn span(span: Duration) -> String {
    let whole = span.as_secs();
    match whole {
        _ if whole.is_multiple_of(86_400) => format!("{} d", whole / 86_400),
        _ if whole.is_multiple_of(3600) => format!("{} h", whole / 3600),
        _ if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        _ => format!("{whole} s"),
    }
}

fn tick_after(clock: &Clock, watch: ActorRef<BurnWatchMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(EVERY).await;
        let _ = watch.cast(BurnWatchMsg::Tick);
    })
}
