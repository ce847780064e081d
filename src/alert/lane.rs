//! One channel's queue, worked off: one message at a time, in order, as fast as the far side allows.
//!
//! **Invariants.** An attempt is written before it is made, and what came of it before the next one is looked for. Nothing here
//! waits for another channel.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::broadcast;
use tracing::{error, info, warn};

use crate::alert::exit::{Exit, Exits};
use crate::api::events::Event;
use crate::api::metrics::Metrics;
use crate::clock::Clock;
use crate::config::sections::AlertSettings;
use crate::model::alert::{DeliveryFailure, Receipt};
use crate::model::held::DeliveryState;
use crate::model::id::ChannelId;
use crate::model::time::Timestamp;
use crate::store::alerts::Alerts;
use crate::store::alerts::deliveries::{Figures, Next};
use crate::store::connection::StoreError;

const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);
/// A channel that is switched off, or whose wait is over by the wall clock's word, is looked at again after so long at most.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Characters kept of what the far side said.
const LONGEST_WORDS: usize = 500;

#[derive(Clone)]
pub struct LaneArgs {
    pub alerts: Arc<Alerts>,
    pub exits: Arc<dyn Exits>,
    pub settings: AlertSettings,
    pub events: broadcast::Sender<Arc<Event>>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub gate: Arc<Gate>,
}

/// Lets a hub that ends wait for what is being sent: else it would be sent again.
#[derive(Debug, Default)]
pub struct Gate {
    shut: AtomicBool,
    inside: AtomicUsize,
}

impl Gate {
    /// From here on nothing more is begun.
    pub fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// How many are being sent.
    pub fn inside(&self) -> usize {
        self.inside.load(Ordering::SeqCst)
    }

    /// `None`: it is shut.
    fn enter(&self) -> Option<Inside<'_>> {
        self.inside.fetch_add(1, Ordering::SeqCst);
        let inside = Inside(self);
        (!self.shut.load(Ordering::SeqCst)).then_some(inside)
    }
}

struct Inside<'a>(&'a Gate);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

pub struct Lane {
    args: LaneArgs,
    channel: ChannelId,
    /// When messages went out within the span of the channel's rate.
    sent: VecDeque<Duration>,
    /// The far side asked to be left alone until then.
    paused_until: Option<Timestamp>,
}

/// How one attempt ended.
enum Ended {
    Taken(Receipt),
    Failed(DeliveryFailure),
    /// It did not end in time: whether it got through is not known.
    Overdue,
}

/// Works until it is dropped.
pub async fn work(args: LaneArgs, channel: ChannelId) {
    let mut changes = args.alerts.deliveries.changes();
    let clock = args.clock.clone();
    let mut lane = Lane { args, channel, sent: VecDeque::new(), paused_until: None };
    lane.take_up().await;
    loop {
        changes.mark_unchanged();
        let wait = match lane.step().await {
            Ok(Some(at)) => at.since(clock.now()).clamp(Duration::from_millis(1), LONGEST_WAIT),
            Ok(None) => LONGEST_WAIT,
            Err(err) => {
                warn!(channel = channel.0, "deliveries cannot be read or written, it is tried again: {:#}", anyhow::Error::from(err));
                PAUSE_AFTER_FAILURE
            }
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = clock.sleep(wait) => {}
        }
    }
}

impl Lane {
    /// What was under way when the process died is to be sent again.
    async fn take_up(&self) {
        let Some(exit) = self.exit() else { return };
        loop {
            match self.args.alerts.deliveries.take_up(self.channel, exit.has_key).await {
                Ok(0) => return,
                Ok(count) => {
                    let duplicates = if exit.has_key { 0 } else { count };
                    warn!(channel = exit.name, count, "deliveries were under way when the hub died, they are sent again");
                    (0..duplicates).for_each(|_| self.args.metrics.possible_duplicate(&exit.name));
                    return;
                }
                Err(err) => {
                    warn!(channel = exit.name, "deliveries cannot be taken up, it is tried again: {:#}", anyhow::Error::from(err));
                    self.args.clock.sleep(PAUSE_AFTER_FAILURE).await;
                }
            }
        }
    }

    /// Sends what can be sent now; when there is more to do, as far as time decides.
    async fn step(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let now = self.args.clock.now();
            let next = self.args.alerts.deliveries.next(self.channel, now);
            let figures = match next {
                Next::Nothing => return Ok(None),
                Next::At(at) => return Ok(Some(at)),
                Next::Fold(figures, into) => {
                    self.args.alerts.deliveries.folded(&figures, &into).await?;
                    self.told(&figures, DeliveryState::Folded, None).await;
                    continue;
                }
                Next::Send(figures) => figures,
            };
            let Some(exit) = self.exit() else {
                self.dead(&figures, "the channel was deleted", "").await?;
                continue;
            };
            if !exit.enabled {
                let until = figures.planned_at.plus(self.args.settings.give_up);
                if until > now {
                    return Ok(Some(until));
                }
                self.dead(&figures, "the channel was switched off", &exit.name).await?;
                continue;
            }
            if let Some(until) = self.paused_until.filter(|until| *until > now).or_else(|| self.rate_allows(&exit)) {
                return Ok(Some(until));
            }
            let gate = self.args.gate.clone();
            let Some(_inside) = gate.enter() else { return Ok(None) };
            self.send(figures, &exit).await?;
        }
    }

    async fn send(&mut self, figures: Figures, exit: &Exit) -> Result<(), StoreError> {
        let deliveries = &self.args.alerts.deliveries;
        let Some(message) = deliveries.message(&figures.id).await? else {
            return self.dead(&figures, "its message is gone from the store", &exit.name).await;
        };
        let begun = deliveries.begin(&figures).await?;
        self.sent.push_back(self.args.clock.steady());
        let attempt = AssertUnwindSafe(self.args.exits.deliver(self.channel, message)).catch_unwind();
        let ended = match tokio::time::timeout(self.args.settings.attempt_timeout, attempt).await {
            Ok(Ok(Ok(receipt))) => Ended::Taken(receipt),
            Ok(Ok(Err(failure))) => Ended::Failed(failure),
            Ok(Err(_)) => {
                let reason = "sending it panicked; the log says where".to_owned();
                Ended::Failed(DeliveryFailure { permanent: false, retry_after: None, reason })
            }
            Err(_) => Ended::Overdue,
        };
        // It has happened: what came of it is written however long that takes, or it would be sent again for nothing.
        while let Err(err) = self.note(&begun, exit, &ended).await {
            warn!(delivery = &*begun.id, "outcome cannot be written, it is tried again: {:#}", anyhow::Error::from(err));
            self.args.clock.sleep(PAUSE_AFTER_FAILURE).await;
        }
        Ok(())
    }

    async fn note(&mut self, figures: &Figures, exit: &Exit, ended: &Ended) -> Result<(), StoreError> {
        let deliveries = &self.args.alerts.deliveries;
        let now = self.args.clock.now();
        let (reason, permanent, retry_after) = match ended {
            Ended::Taken(receipt) => {
                let receipt = Receipt { answer: cut(&receipt.answer) };
                deliveries.delivered(figures, &receipt).await?;
                let took_ms = now.since(figures.planned_at).as_millis() as u64;
                let (id, attempts) = (&*figures.id, figures.attempts);
                info!(delivery = id, channel = exit.name, telling = figures.telling.name(), attempts, took_ms, "alert delivered");
                self.told(figures, DeliveryState::Delivered, None).await;
                return Ok(());
            }
            Ended::Failed(failure) => (cut(&failure.reason), failure.permanent, failure.retry_after),
            Ended::Overdue => {
                let limit = self.args.settings.attempt_timeout.as_secs_f64();
                (format!("no answer within {limit} s; whether it got through is not known"), false, None)
            }
        };
        let given_up = now.since(figures.planned_at) >= self.args.settings.give_up;
        if given_up && !permanent {
            self.args.exits.gave_up(&figures.id, &reason).await;
        }
        if permanent || given_up {
            return self.dead(figures, &reason, &exit.name).await;
        }
        let wait = self.backoff(figures.attempts).max(retry_after.unwrap_or_default().min(self.args.settings.give_up));
        let next_at = now.plus(wait);
        match ended {
            Ended::Overdue => {
                deliveries.again(figures, exit.has_key, Some(next_at), &reason).await?;
                if !exit.has_key {
                    self.args.metrics.possible_duplicate(&exit.name);
                }
            }
            _ => deliveries.failed(figures, &reason, next_at).await?,
        }
        if retry_after.is_some() {
            self.paused_until = Some(next_at);
        }
        let (id, attempt, delay_ms) = (&*figures.id, figures.attempts, wait.as_millis() as u64);
        warn!(delivery = id, channel = exit.name, attempt, delay_ms, cause = reason, "alert was not delivered, it is tried again");
        self.args.metrics.alert_outcome(&exit.name, "failed");
        Ok(())
    }

    async fn dead(&self, figures: &Figures, reason: &str, channel: &str) -> Result<(), StoreError> {
        self.args.alerts.deliveries.dead(figures, reason).await?;
        error!(delivery = &*figures.id, channel, attempts = figures.attempts, cause = reason, "alert is given up");
        self.told(figures, DeliveryState::Dead, Some(reason)).await;
        Ok(())
    }

    /// Tells those who listen, and counts.
    async fn told(&self, figures: &Figures, state: DeliveryState, error: Option<&str>) {
        let channel = self.exit().map_or_else(|| format!("channel {}", self.channel.0), |exit| exit.name);
        self.args.metrics.alert_outcome(&channel, state.name());
        let event = Event::delivery(figures, &channel, state, error, self.args.clock.now());
        let _ = self.args.events.send(Arc::new(event));
    }

    fn exit(&self) -> Option<Exit> {
        self.args.exits.find(self.channel)
    }

    /// `Some`: no more may go out before.
    fn rate_allows(&mut self, exit: &Exit) -> Option<Timestamp> {
        let rate = exit.rate?;
        let now = self.args.clock.steady();
        while self.sent.front().is_some_and(|sent| now.saturating_sub(*sent) >= rate.per) {
            self.sent.pop_front();
        }
        let first = *self.sent.front().filter(|_| self.sent.len() >= rate.messages.max(1) as usize)?;
        Some(self.args.clock.now().plus((first + rate.per).saturating_sub(now)))
    }

    /// Before attempt n+1: from half of `initial × 2^(n−1)` to all of it, capped.
    fn backoff(&self, attempts: u32) -> Duration {
        let AlertSettings { retry_initial, retry_max, .. } = self.args.settings;
        let ceiling = retry_initial.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(retry_max);
        ceiling.mul_f64(0.5 + 0.5 * rand::random::<f64>())
    }
}

/// One line of what someone said, no longer than it need be.
fn cut(words: &str) -> String {
    words.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(LONGEST_WORDS).collect()
}
