//! How what fails is started again: the policy, and the `Keeper` that applies it to a group of actors.
//!
//! The policy is pure: exponential backoff with full jitter, a budget of restarts within a window, quarantine beyond it, a
//! clean slate after health. Probers apply it one by one; a keeper applies it to actors that hold each other's addresses:
//! when one of them fails all of them are wired anew, so nobody keeps the address of the dead.
//!
//! What is lost when a member dies is what was in its mailbox. What must outlive it (files, counters, channels) is made
//! outside and handed in by the wiring.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use ractor_cluster::RactorMessage;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::sections::RestartSettings;
use crate::model::time::Timestamp;

/// The restarts of one actor.
#[derive(Debug)]
pub struct Restarts {
    settings: RestartSettings,
    /// Steady times of the failures within the window.
    failures: VecDeque<Duration>,
    started: Duration,
    attempt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start again after `delay`; `attempt` counts from 1 since the last health.
    Restart { attempt: u32, delay: Duration },
    /// The budget is spent: not again without a person.
    Quarantine { failures: u32 },
}

impl Restarts {
    pub fn new(settings: &RestartSettings) -> Restarts {
        Restarts { settings: settings.clone(), failures: VecDeque::new(), started: Duration::ZERO, attempt: 0 }
    }

    /// Notes a start at steady time `now`.
    pub fn started(&mut self, now: Duration) {
        self.started = now;
    }

    /// Notes a failure at steady time `now` and says what follows. `draw` is uniform in 0..1 and chooses the delay.
    pub fn failed(&mut self, now: Duration, draw: f64) -> Decision {
        if now.saturating_sub(self.started) >= self.settings.reset_after {
            self.failures.clear();
            self.attempt = 0;
        }
        self.failures.push_back(now);
        while self.failures.front().is_some_and(|first| now.saturating_sub(*first) > self.settings.window) {
            self.failures.pop_front();
        }
        let count = self.failures.len() as u32;
        if count > self.settings.budget {
            return Decision::Quarantine { failures: count };
        }
        self.attempt += 1;
        let ceiling = self.settings.initial.saturating_mul(1 << (self.attempt - 1).min(20)).min(self.settings.max);
        Decision::Restart { attempt: self.attempt, delay: ceiling.mul_f64(draw.clamp(0.0, 1.0)) }
    }
}

/// A task that ends with whoever holds this.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Task {
    pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(tokio::spawn(future))
    }

    /// For work that never ends by itself: `broken` hears that it did, or how it broke off.
    pub fn watched(work: impl Future<Output = ()> + Send + 'static, broken: impl FnOnce(String) + Send + 'static) -> Task {
        Task::spawn(async move {
            // In a task of its own, so that a panic is seen.
            let mut works = tokio::task::JoinSet::new();
            works.spawn(work);
            let ended = works.join_next().await;
            broken(ended.and_then(Result::err).map_or_else(|| "rounds ended".to_owned(), |panic| format!("a round broke off: {panic}")));
        })
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What one actor or group has been through, for `inspect`, the API and tests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    pub name: String,
    pub members: Vec<String>,
    pub restarts: u64,
    pub last_error: Option<String>,
    pub last_failure: Option<Timestamp>,
    pub next_start: Option<Timestamp>,
}

/// Spawns the members, linked to the keeper's cell, last stage first; returns their names.
pub type Wiring = Box<dyn Fn(ActorCell) -> Pin<Box<dyn Future<Output = anyhow::Result<Vec<(String, ActorCell)>>> + Send>> + Send + Sync>;

pub struct Keeper;

#[derive(Debug, RactorMessage)]
pub enum KeeperMsg {
    Wire,
}

pub struct KeeperArgs {
    pub name: &'static str,
    pub wiring: Wiring,
    pub restart: RestartSettings,
    pub clock: Clock,
    /// Where the keeper leaves its status.
    pub status: Arc<Mutex<GroupStatus>>,
}

pub struct KeeperState {
    args: KeeperArgs,
    restarts: Restarts,
    members: Vec<(String, ActorCell)>,
    timer: Option<Task>,
}

impl Actor for Keeper {
    type Msg = KeeperMsg;
    type State = KeeperState;
    type Arguments = KeeperArgs;

    async fn pre_start(&self, myself: ActorRef<KeeperMsg>, args: KeeperArgs) -> Result<KeeperState, ActorProcessingErr> {
        args.status.lock().expect("no holder panics").name = args.name.to_owned();
        let restarts = Restarts::new(&args.restart);
        myself.cast(KeeperMsg::Wire)?;
        Ok(KeeperState { args, restarts, members: Vec::new(), timer: None })
    }

    async fn handle(&self, myself: ActorRef<KeeperMsg>, message: KeeperMsg, state: &mut KeeperState) -> Result<(), ActorProcessingErr> {
        match message {
            KeeperMsg::Wire => state.wire(&myself).await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<KeeperMsg>,
        event: SupervisionEvent,
        state: &mut KeeperState,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, err) => state.member_lost(&myself, &cell, format!("{err:#}")).await,
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state.member_lost(&myself, &cell, reason.unwrap_or_else(|| "stopped".to_owned())).await;
            }
            _ => {}
        }
        Ok(())
    }
}

impl KeeperState {
    async fn wire(&mut self, myself: &ActorRef<KeeperMsg>) {
        self.timer = None;
        match (self.args.wiring)(myself.get_cell()).await {
            Ok(members) => {
                self.members = members;
                self.restarts.started(self.args.clock.steady());
                let names: Vec<String> = self.members.iter().map(|(name, _)| name.clone()).collect();
                info!(group = self.args.name, members = names.join(", "), "actors started");
                let mut status = self.args.status.lock().expect("no holder panics");
                status.members = names;
                status.next_start = None;
            }
            Err(err) => {
                myself.stop_children_and_wait(None, Some(Duration::from_secs(5))).await;
                self.again(myself, "start", format!("{err:#}"));
            }
        }
    }

    /// A member that went by itself takes the others with it; those the keeper stopped are no longer members.
    async fn member_lost(&mut self, myself: &ActorRef<KeeperMsg>, cell: &ActorCell, cause: String) {
        let Some(index) = self.members.iter().position(|(_, member)| member.get_id() == cell.get_id()) else { return };
        let name = self.members[index].0.clone();
        self.members.clear();
        myself.stop_children_and_wait(None, Some(Duration::from_secs(5))).await;
        self.again(myself, &name, cause);
    }

    fn again(&mut self, myself: &ActorRef<KeeperMsg>, member: &str, cause: String) {
        let now = self.args.clock.steady();
        // A group the process cannot do without is never given up: beyond the budget it is tried at the longest delay.
        let (attempt, delay) = match self.restarts.failed(now, rand::random()) {
            Decision::Restart { attempt, delay } => (attempt, delay),
            Decision::Quarantine { failures } => {
                error!(group = self.args.name, failures, "actor group keeps failing; trying on at the longest delay");
                (failures, self.args.restart.max)
            }
        };
        let delay_ms = delay.as_millis() as u64;
        warn!(group = self.args.name, actor = member, attempt, delay_ms, cause, "actor failed, its group starts again");
        let mut status = self.args.status.lock().expect("no holder panics");
        status.restarts += 1;
        status.last_error = Some(format!("{member}: {cause}"));
        status.last_failure = Some(self.args.clock.now());
        status.next_start = Some(self.args.clock.now().plus(delay));
        let (clock, myself) = (self.args.clock.clone(), myself.clone());
        self.timer = Some(Task::spawn(async move {
            clock.sleep(delay).await;
            let _ = myself.cast(KeeperMsg::Wire);
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> RestartSettings {
        RestartSettings {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(4),
            budget: 5,
            window: Duration::from_secs(600),
            reset_after: Duration::from_secs(300),
        }
    }

    #[test]
    fn delays_double_up_to_their_bound_and_then_comes_quarantine() {
        let mut restarts = Restarts::new(&settings());
        restarts.started(Duration::ZERO);
        let decisions: Vec<Decision> = (0..6).map(|second| restarts.failed(Duration::from_secs(second), 1.0)).collect();
        let delays = [500, 1000, 2000, 4000, 4000].map(Duration::from_millis);
        for (index, delay) in delays.into_iter().enumerate() {
            assert_eq!(decisions[index], Decision::Restart { attempt: index as u32 + 1, delay });
        }
        assert_eq!(decisions[5], Decision::Quarantine { failures: 6 });
    }

    #[test]
    fn the_draw_spreads_a_delay_from_zero() {
        let mut restarts = Restarts::new(&settings());
        assert_eq!(restarts.failed(Duration::from_secs(1), 0.0), Decision::Restart { attempt: 1, delay: Duration::ZERO });
        assert_eq!(restarts.failed(Duration::from_secs(2), 0.5), Decision::Restart { attempt: 2, delay: Duration::from_millis(500) });
    }

    #[test]
    fn health_wipes_the_slate() {
        let mut restarts = Restarts::new(&settings());
        for second in 0..5 {
            restarts.failed(Duration::from_secs(second), 1.0);
        }
        restarts.started(Duration::from_secs(10));
        let decision = restarts.failed(Duration::from_secs(310), 1.0);
        assert_eq!(decision, Decision::Restart { attempt: 1, delay: Duration::from_millis(500) });
    }

    #[test]
    fn failures_older_than_the_window_are_forgotten() {
        let mut restarts = Restarts::new(&settings());
        let mut now = Duration::ZERO;
        for _ in 0..50 {
            restarts.started(now);
            now += Duration::from_secs(290);
            assert!(matches!(restarts.failed(now, 1.0), Decision::Restart { .. }));
        }
    }
}
