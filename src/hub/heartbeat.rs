//! Calls a dead-man service for as long as this hub really works: its actors run, its store answers, and what nodes deliver is
//! stored. When it does not, it keeps silent, or says so where that is wanted; a hub that is gone altogether is silent anyway.
//!
//! The rhythm is kept outside, so that actors that are started again and again do not pass for one that works. When this
//! actor dies a call under way is lost, and the next comes in its turn.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tracing::{info, warn};
use url::Url;

use crate::caller::Caller;
use crate::clock::Clock;
use crate::config::Config;
use crate::hub::ingest::Intake;
use crate::hub::tree::Tree;
use crate::model::time::Timestamp;
use crate::supervise::{GroupStatus, Task};

/// The first call of a hub that starts.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// After one that was not made or not taken, unless the rhythm is quicker.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A store that takes longer to answer nothing does not work.
const STORE_WITHIN: Duration = Duration::from_secs(5);

pub struct Heartbeat;

#[derive(Debug, RactorMessage)]
pub enum HeartbeatMsg {
    Tick,
    Beaten(Beat),
}

/// How one beat went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    Taken,
    NotTaken(String),
    /// The hub does not work, for this reason; whether it was said, and that was taken.
    Unwell {
        reason: String,
        said: Option<Result<(), String>>,
    },
}

#[derive(Clone)]
pub struct HeartbeatArgs {
    pub url: Url,
    pub interval: Duration,
    pub fail: bool,
    pub caller: Caller,
    pub intake: Arc<Intake>,
    pub group: Arc<Mutex<GroupStatus>>,
    pub clock: Clock,
    pub status: Arc<Mutex<HeartbeatStatus>>,
}

impl HeartbeatArgs {
    /// `None`: nobody is to be told that this hub works.
    pub fn of(config: &Config, tree: &Tree) -> anyhow::Result<Option<HeartbeatArgs>> {
        let settings = &config.hub.heartbeat;
        let (Some(url), Some(status)) = (settings.url.clone(), tree.heartbeat.clone()) else { return Ok(None) };
        Ok(Some(HeartbeatArgs {
            url,
            interval: settings.interval,
            fail: settings.fail,
            caller: Caller::new()?,
            intake: tree.intake.clone(),
            group: tree.group.clone(),
            clock: tree.clock.clone(),
            status,
        }))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatStatus {
    /// Calls that were taken.
    pub beats: u64,
    /// Times it was said that the hub does not work.
    pub fails: u64,
    pub last_beat: Option<Timestamp>,
    /// Why the last call was not made or not taken.
    pub last_error: Option<String>,
    /// Steady time of the next.
    next: Option<Duration>,
    /// Steady time at which the failure was last said.
    said: Option<Duration>,
}

pub struct HeartbeatState {
    args: HeartbeatArgs,
    _task: Task,
}

impl Actor for Heartbeat {
    type Msg = HeartbeatMsg;
    type State = HeartbeatState;
    type Arguments = HeartbeatArgs;

    async fn pre_start(&self, myself: ActorRef<HeartbeatMsg>, args: HeartbeatArgs) -> Result<HeartbeatState, ActorProcessingErr> {
        let now = args.clock.steady();
        let next = *args.status.lock().expect("no holder panics").next.get_or_insert(now + FIRST_AFTER);
        let task = tick_after(&args.clock, next.saturating_sub(now), myself);
        Ok(HeartbeatState { args, _task: task })
    }

    async fn handle(
        &self,
        myself: ActorRef<HeartbeatMsg>,
        message: HeartbeatMsg,
        state: &mut HeartbeatState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            HeartbeatMsg::Tick => state.beat(&myself),
            HeartbeatMsg::Beaten(beat) => state.beaten(&myself, beat),
        }
        Ok(())
    }
}

impl HeartbeatState {
    fn beat(&mut self, myself: &ActorRef<HeartbeatMsg>) {
        let (args, myself) = (self.args.clone(), myself.clone());
        let now = args.clock.steady();
        {
            let mut status = args.status.lock().expect("no holder panics");
            status.next = Some(now + args.interval);
        }
        self._task = Task::spawn(async move {
            let beat = match unwell(&args).await {
                None => args.caller.get(&args.url).await.map_or_else(Beat::NotTaken, |()| Beat::Taken),
                Some(reason) => {
                    let said = args.status.lock().expect("no holder panics").said;
                    let due = args.fail && said.is_none_or(|said| now.saturating_sub(said) >= args.interval);
                    let said = if due { Some(args.caller.get(&below(&args.url)).await) } else { None };
                    Beat::Unwell { reason, said }
                }
            };
            let _ = myself.cast(HeartbeatMsg::Beaten(beat));
        });
    }

    fn beaten(&mut self, myself: &ActorRef<HeartbeatMsg>, beat: Beat) {
        let (now, steady) = (self.args.clock.now(), self.args.clock.steady());
        let mut status = self.args.status.lock().expect("no holder panics");
        let error = match beat {
            Beat::Taken => {
                status.beats += 1;
                status.last_beat = Some(now);
                status.said = None;
                None
            }
            Beat::NotTaken(reason) => Some(format!("heartbeat is not taken: {reason}")),
            Beat::Unwell { reason, said } => {
                if let Some(Ok(())) = said {
                    status.fails += 1;
                    status.said = Some(steady);
                }
                let word = match said {
                    Some(Err(err)) => format!("; that it does not work is not taken: {err}"),
                    _ => String::new(),
                };
                Some(format!("hub does not work: {reason}{word}"))
            }
        };
        match (&error, &status.last_error) {
            (Some(new), Some(old)) if new == old => {}
            (Some(new), _) => warn!(reason = new, "heartbeat fails"),
            (None, Some(_)) => info!("heartbeat is taken again"),
            (None, None) => {}
        }
        let well = error.is_none();
        status.last_error = error;
        let next = status.next.unwrap_or(steady).max(steady);
        let next = if well { next } else { next.min(steady + AGAIN_AFTER) };
        status.next = Some(next);
        drop(status);
        self._task = tick_after(&self.args.clock, next.saturating_sub(steady), myself.clone());
    }
}

/// Why this hub does not work, where it does not.
async fn unwell(args: &HeartbeatArgs) -> Option<String> {
    {
        let group = args.group.lock().expect("no holder panics");
        if group.next_start.is_some() || !group.members.iter().any(|member| member == "ingest") {
            let cause = group.last_error.clone().unwrap_or_else(|| "they have not started yet".to_owned());
            return Some(format!("its actors do not run: {cause}"));
        }
    }
    if let Some(err) = args.intake.status.store_error.lock().expect("no holder panics").clone() {
        return Some(format!("results are not stored: {err}"));
    }
    match tokio::time::timeout(STORE_WITHIN, args.intake.store.ping()).await {
        Ok(Ok(())) => None,
        Ok(Err(err)) => Some(format!("{:#}", anyhow::Error::from(err))),
        Err(_) => Some(format!("store does not answer within {} s", STORE_WITHIN.as_secs())),
    }
}

/// The address with `/fail` behind its path, as dead-man services take it.
fn below(url: &Url) -> Url {
    let mut url = url.clone();
    let path = format!("{}/fail", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

fn tick_after(clock: &Clock, pause: Duration, heartbeat: ActorRef<HeartbeatMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(pause).await;
        let _ = heartbeat.cast(HeartbeatMsg::Tick);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_below_the_address() {
        let said = |url: &str| below(&Url::parse(url).unwrap()).to_string();
        assert_eq!(said("https://hc.example/ping/1234"), "https://hc.example/ping/1234/fail");
        assert_eq!(said("https://hc.example/1234/?a=b"), "https://hc.example/1234/fail?a=b");
        assert_eq!(said("https://hc.example"), "https://hc.example/fail");
    }
}
