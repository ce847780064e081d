//! Tells a person's address that this node has lost its hub, and that it is back: nobody else may be left to say so.
//!
//! An outage is told once it has lasted for the time set, and then always by two messages: lost, and back; each is posted until
//! it is taken, in that order, however late. Outages are kept in a file, so that a node that is started again goes on where
//! it was. Whoever took a message whose answer was lost on the way is told again, by the same `id`.
//!
//! When this actor dies nothing is lost but a post under way, which is made again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{info, warn};
use url::Url;

use crate::caller::Caller;
use crate::clock::Clock;
use crate::mesh::dialer::DialerStatus;
use crate::mesh::private_file::write_private;
use crate::model::time::Timestamp;
use crate::supervise::Task;

const TICK: Duration = Duration::from_secs(1);
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_AT_MOST: Duration = Duration::from_secs(60);
/// An outage this long is kept in the file; and so long a node that has just started tries itself before it tells of one.
const NOTE_AFTER: Duration = Duration::from_secs(10);
/// Outages that wait for their messages to be taken; beyond them the oldest go.
const OUTAGES: usize = 100;

pub struct HubLost;

#[derive(Debug, RactorMessage)]
pub enum HubLostMsg {
    Tick,
    Posted(Result<(), String>),
}

#[derive(Clone)]
pub struct HubLostArgs {
    pub url: Url,
    pub after: Duration,
    /// Where outages are kept.
    pub file: PathBuf,
    pub who: Who,
    pub link: Arc<Mutex<DialerStatus>>,
    /// Results that wait for the hub.
    pub waiting: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub caller: Caller,
    pub clock: Clock,
    pub status: Arc<Mutex<HubLostStatus>>,
}

/// As messages name it.
#[derive(Clone, Debug)]
pub struct Who {
    pub node: String,
    pub region: String,
    pub hub: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HubLostStatus {
    /// Messages that were taken.
    pub told: u64,
    /// Messages that wait to be.
    pub waiting: usize,
    pub last_error: Option<String>,
}

/// The hub away for a while.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    since_us: i64,
    back_us: Option<i64>,
    last_error: Option<String>,
    /// It lasted long enough to be told.
    told: bool,
    /// The first message was taken.
    lost_taken: bool,
}

pub struct HubLostState {
    args: HubLostArgs,
    /// In order; only the last may still go on.
    outages: Vec<Outage>,
    posting: Option<Task>,
    failures: u32,
    /// Steady time before which no post is tried.
    not_before: Duration,
    unwritten: bool,
    _tick: Task,
}

impl Actor for HubLost {
    type Msg = HubLostMsg;
    type State = HubLostState;
    type Arguments = HubLostArgs;

    async fn pre_start(&self, myself: ActorRef<HubLostMsg>, args: HubLostArgs) -> Result<HubLostState, ActorProcessingErr> {
        let tick = tick_after(&args.clock, myself);
        let outages = read(&args.file);
        Ok(HubLostState { args, outages, posting: None, failures: 0, not_before: Duration::ZERO, unwritten: false, _tick: tick })
    }

    async fn handle(&self, myself: ActorRef<HubLostMsg>, message: HubLostMsg, state: &mut HubLostState) -> Result<(), ActorProcessingErr> {
        match message {
            HubLostMsg::Tick => state.tick(&myself),
            HubLostMsg::Posted(outcome) => state.posted(&myself, outcome),
        }
        Ok(())
    }
}

impl HubLostState {
    fn tick(&mut self, myself: &ActorRef<HubLostMsg>) {
        let link = self.args.link.lock().expect("no holder panics").clone();
        if observe(&mut self.outages, &link, self.args.after, self.args.clock.now()) || self.unwritten {
            self.write();
        }
        self.post(myself);
        self._tick = tick_after(&self.args.clock, myself.clone());
    }

    fn post(&mut self, myself: &ActorRef<HubLostMsg>) {
        self.args.status.lock().expect("no holder panics").waiting = self.outages.iter().map(Outage::messages).sum();
        if self.posting.is_some() || self.args.clock.steady() < self.not_before {
            return;
        }
        let Some(outage) = self.outages.first().filter(|outage| outage.messages() > 0) else { return };
        let body = message(outage, &self.args.who, (self.args.waiting)());
        let (caller, url, myself) = (self.args.caller.clone(), self.args.url.clone(), myself.clone());
        self.posting = Some(Task::spawn(async move {
            let _ = myself.cast(HubLostMsg::Posted(caller.post(&url, body).await));
        }));
    }

    fn posted(&mut self, myself: &ActorRef<HubLostMsg>, outcome: Result<(), String>) {
        self.posting = None;
        match outcome {
            Ok(()) => self.taken(),
            Err(reason) => self.not_taken(reason),
        }
        self.post(myself);
    }

    fn taken(&mut self) {
        let Some(first) = self.outages.first_mut() else { return };
        let event = first.event();
        if first.lost_taken {
            self.outages.remove(0);
        } else {
            first.lost_taken = true;
        }
        self.failures = 0;
        {
            let mut status = self.args.status.lock().expect("no holder panics");
            status.told += 1;
            status.last_error = None;
        }
        info!(event, "this node's own alert is taken");
        self.write();
    }

    fn not_taken(&mut self, reason: String) {
        let ceiling = BACKOFF_FIRST.saturating_mul(1 << self.failures.min(8)).min(BACKOFF_AT_MOST);
        let delay = ceiling.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        self.failures += 1;
        self.not_before = self.args.clock.steady() + delay;
        let mut status = self.args.status.lock().expect("no holder panics");
        if status.last_error.as_ref() != Some(&reason) || self.failures.is_power_of_two() {
            warn!(
                attempt = self.failures,
                delay_ms = delay.as_millis() as u64,
                reason,
                "this node's own alert is not taken, it is tried again"
            );
        }
        status.last_error = Some(reason);
    }

    fn write(&mut self) {
        let bytes = serde_json::to_vec(&self.outages).expect("plain data always encodes");
        let outcome = write_private(&self.args.file, &bytes);
        if let (Err(err), false) = (&outcome, self.unwritten) {
            warn!("outages of the hub cannot be kept for the next start: {err}");
        }
        self.unwritten = outcome.is_err();
    }
}

/// Takes in how the link is now, and says whether that is to be kept.
fn observe(outages: &mut Vec<Outage>, link: &DialerStatus, after: Duration, now: Timestamp) -> bool {
    let note_after = NOTE_AFTER.min(after);
    let open = outages.last_mut().filter(|outage| outage.back_us.is_none());
    match (open, link.connected_since, link.away_since) {
        (None, None, Some(away)) if now.since(away) >= note_after => {
            let told = now.since(away) >= after;
            outages.push(Outage { since_us: away.0, last_error: link.last_error.clone(), told, ..Outage::default() });
            if outages.len() > OUTAGES {
                warn!("too many outages of the hub wait to be told, the oldest is forgotten");
                outages.remove(0);
            }
            true
        }
        (Some(open), Some(back), _) => {
            if open.told {
                open.back_us = Some(back.0);
            } else {
                outages.pop();
            }
            true
        }
        (Some(open), None, Some(away)) if !open.told => {
            open.last_error = link.last_error.clone().or_else(|| open.last_error.take());
            open.told = now.since(Timestamp(open.since_us)) >= after && now.since(away) >= note_after;
            open.told
        }
        _ => false,
    }
}

impl Outage {
    /// Those that wait to be taken.
    fn messages(&self) -> usize {
        usize::from(self.told && !self.lost_taken) + usize::from(self.told && self.back_us.is_some())
    }

    fn event(&self) -> &'static str {
        if self.lost_taken { "hub_back" } else { "hub_lost" }
    }
}

/// The next message of an outage, as JSON.
fn message(outage: &Outage, who: &Who, waiting: u64) -> String {
    let Who { node, region, hub } = who;
    let (event, since) = (outage.event(), Timestamp(outage.since_us));
    let mut message = json!({
        "event": event,
        "id": format!("{event}/{node}/{}", outage.since_us),
        "node": node,
        "region": region,
        "hub": hub,
        "since": since.rfc3339(),
        "last_error": outage.last_error,
        "waiting_results": waiting,
    });
    if let (true, Some(back)) = (outage.lost_taken, outage.back_us.map(Timestamp)) {
        message["until"] = json!(back.rfc3339());
        message["duration_s"] = json!(back.since(since).as_secs_f64());
    }
    message.to_string()
}

fn read(file: &Path) -> Vec<Outage> {
    let Ok(bytes) = std::fs::read(file) else { return Vec::new() };
    serde_json::from_slice(&bytes).unwrap_or_else(|err| {
        warn!("outages of the hub from before this start cannot be read: {err}");
        Vec::new()
    })
}

fn tick_after(clock: &Clock, watch: ActorRef<HubLostMsg>) -> Task {
    let clock = clock.clone();
    Task::spawn(async move {
        clock.sleep(TICK).await;
        let _ = watch.cast(HubLostMsg::Tick);
    })
}
