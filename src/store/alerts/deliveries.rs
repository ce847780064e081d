//! Deliveries: each telling on its way to one channel, with what became of it.
//!
//! A few figures of each are in memory: queues are read and lists are filtered without a query, and only the rows of a page and
//! the message that is sent next are read.
//!
//! **Invariants.** An attempt is written before it is made. Of one cause at most one delivery to a channel is under way, and none
//! overtakes another.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use surrealdb::types::Value;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::model::alert::{Message, Receipt, Telling};
use crate::model::held::{Delivery, DeliveryState};
use crate::model::id::{ChannelId, ServiceId};
use crate::model::rule::RuleId;
use crate::model::time::Timestamp;
use crate::store::alerts::rows::{maybe, read_message, telling};
use crate::store::audit::{Audit, Change};
use crate::store::connection::{Database, StoreError};
use crate::store::services::Author;
use crate::store::values::{Row, array, corrupt, int, record_named, rows, text};
use crate::subscribers::names::is_public;

/// Which deliveries are wanted. All filters must hold.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub state: Option<DeliveryState>,
    pub channel: Option<ChannelId>,
    pub cause: Option<String>,
    pub service: Option<ServiceId>,
    pub rule: Option<RuleId>,
    pub drill: Option<bool>,
    /// Those to subscribers of the status page instead of those to channels.
    pub subscribers: bool,
}

/// What is known of a delivery without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    pub id: Arc<str>,
    pub seq: i64,
    pub rule: RuleId,
    pub cause: Arc<str>,
    pub service: Option<ServiceId>,
    pub channel: ChannelId,
    pub telling: Telling,
    pub state: DeliveryState,
    pub attempts: u32,
    pub planned_at: Timestamp,
    pub next_at: Option<Timestamp>,
    pub possible_duplicates: u32,
}

/// What a channel's queue has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    Send(Figures),
    /// A later telling of the same cause, whose name is given, says all this one would have said.
    Fold(Figures, Arc<str>),
    At(Timestamp),
    Nothing,
}

/// How the deliveries of a channel stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    pub open: u64,
    pub oldest: Option<Timestamp>,
    pub dead: u64,
}

#[derive(Debug)]
pub struct Deliveries {
    database: Arc<Database>,
    audit: Arc<Audit>,
    clock: Clock,
    known: RwLock<Known>,
    /// Rises with each that is made or to be sent again.
    changed: watch::Sender<u64>,
    /// The last number given to one.
    last: AtomicI64,
}

#[derive(Debug, Default)]
struct Known {
    all: BTreeMap<i64, Figures>,
    seq: HashMap<Arc<str>, i64>,
    open: BTreeMap<ChannelId, BTreeSet<i64>>,
}

/// What is written of an attempt.
struct Outcome<'a> {
    state: DeliveryState,
    next_at: Option<Timestamp>,
    done_at: Option<Timestamp>,
    error: Option<&'a str>,
    answer: Option<&'a str>,
}

impl Deliveries {
    pub async fn open(database: Arc<Database>, audit: Arc<Audit>, clock: Clock) -> Result<Deliveries, StoreError> {
        let select = "SELECT record::id(id) AS key, seq, rule, cause, service, channel, telling, state, attempts, planned_at, next_at,
            possible_duplicates FROM alert_delivery";
        let mut answer = database.query(select, Vec::new()).await?;
        let mut known = Known::default();
        for row in rows(&mut answer, 0)? {
            known.insert(figures(&row)?);
        }
        let (changed, _) = watch::channel(0);
        let last = AtomicI64::new(known.all.keys().next_back().copied().unwrap_or(0));
        Ok(Deliveries { database, audit, clock, known: RwLock::new(known), changed, last })
    }

    /// Rises whenever there may be something to send.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Has those who deliver look: a channel is not what it was.
    pub fn nudge(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// A number for one more delivery: higher than every one before, and about the time.
    pub fn number(&self, now: Timestamp) -> i64 {
        let next = |last: i64| now.0.max(last + 1);
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        next(before.expect("it always has a next"))
    }

    pub fn contains(&self, id: &str) -> bool {
        self.known.read().expect("no holder panics").seq.contains_key(id)
    }

    /// Channels with something to send.
    pub fn waiting_channels(&self) -> BTreeSet<ChannelId> {
        let known = self.known.read().expect("no holder panics");
        known.open.iter().filter(|(_, open)| !open.is_empty()).map(|(channel, _)| *channel).collect()
    }

    pub fn queue(&self, channel: ChannelId) -> Queue {
        let known = self.known.read().expect("no holder panics");
        let open = known.open.get(&channel);
        let oldest = open.and_then(|open| open.first()).and_then(|seq| known.all.get(seq)).map(|first| first.planned_at);
        let dead = known.all.values().filter(|of| of.channel == channel && of.state == DeliveryState::Dead).count() as u64;
        Queue { open: open.map_or(0, |open| open.len() as u64), oldest, dead }
    }

    /// What a channel has to do at an instant. The order is that of planning; one that waits holds up those of its own cause alone.
    pub fn next(&self, channel: ChannelId, now: Timestamp) -> Next {
        let known = self.known.read().expect("no holder panics");
        let open: Vec<&Figures> = known.open.get(&channel).into_iter().flatten().filter_map(|seq| known.all.get(seq)).collect();
        let mut held_up: HashSet<&str> = HashSet::new();
        let mut later: Option<Timestamp> = None;
        for (index, figures) in open.iter().enumerate() {
            if held_up.contains(&*figures.cause) {
                continue;
            }
            let rest = open[index + 1..].iter().filter(|other| other.cause == figures.cause && other.rule == figures.rule);
            if let Some(by) = rest.clone().find(|other| figures.is_said_by(other)) {
                return Next::Fold((*figures).clone(), by.id.clone());
            }
            match figures.next_at {
                Some(at) if at > now => later = Some(later.map_or(at, |soonest| soonest.min(at))),
                _ => return Next::Send((*figures).clone()),
            }
            held_up.insert(&figures.cause);
        }
        later.map_or(Next::Nothing, Next::At)
    }

    /// After a start: what was being sent when the process died is to be sent again. How many were; of a channel that cannot tell
    /// a message it has had, each is a possible duplicate.
    pub async fn take_up(&self, channel: ChannelId, has_key: bool) -> Result<u32, StoreError> {
        let broken: Vec<Figures> = {
            let known = self.known.read().expect("no holder panics");
            let open = known.open.get(&channel).into_iter().flatten().filter_map(|seq| known.all.get(seq));
            open.filter(|figures| figures.state == DeliveryState::Sending).cloned().collect()
        };
        for figures in &broken {
            self.again(figures, has_key, None, "it is not known whether the attempt before got through").await?;
        }
        Ok(broken.len() as u32)
    }

    /// The message of a delivery. `None`: there is none of this name.
    pub async fn message(&self, id: &str) -> Result<Option<Message>, StoreError> {
        let values = vec![("id", record_named("alert_delivery", id))];
        let mut answer = self.database.query("SELECT message FROM $id", values).await?;
        rows(&mut answer, 0)?.first().map(|row| read_message(row.text("message")?)).transpose()
    }

    /// Notes that an attempt is about to be made.
    pub async fn begin(&self, figures: &Figures) -> Result<Figures, StoreError> {
        let begun = Figures { state: DeliveryState::Sending, attempts: figures.attempts + 1, next_at: None, ..figures.clone() };
        let statement = "UPDATE $id SET state = $state, attempts = $attempts, next_at = NONE, last_attempt_at = $at,
            first_attempt_at = first_attempt_at ?? $at RETURN NONE";
        let values = vec![
            ("id", record_named("alert_delivery", &figures.id)),
            ("state", text(begun.state.name())),
            ("attempts", int(begun.attempts.into())),
            ("at", int(self.clock.now().0)),
        ];
        self.database.query(statement, values).await?;
        self.known.write().expect("no holder panics").insert(begun.clone());
        Ok(begun)
    }

    pub async fn delivered(&self, figures: &Figures, receipt: &Receipt) -> Result<(), StoreError> {
        let done_at = Some(self.clock.now());
        let answer = Some(receipt.answer.as_str());
        self.outcome(figures, Outcome { state: DeliveryState::Delivered, next_at: None, done_at, error: None, answer }).await
    }

    /// It is tried again at an instant.
    pub async fn failed(&self, figures: &Figures, reason: &str, next_at: Timestamp) -> Result<(), StoreError> {
        let outcome = Outcome { state: DeliveryState::Waiting, next_at: Some(next_at), done_at: None, error: Some(reason), answer: None };
        self.outcome(figures, outcome).await
    }

    /// It was tried, and nobody knows whether it got through; it is tried again at an instant.
    pub async fn again(&self, figures: &Figures, has_key: bool, next_at: Option<Timestamp>, reason: &str) -> Result<(), StoreError> {
        let figures = Figures { possible_duplicates: figures.possible_duplicates + u32::from(!has_key), ..figures.clone() };
        let state = if next_at.is_some() { DeliveryState::Waiting } else { DeliveryState::Pending };
        self.outcome(&figures, Outcome { state, next_at, done_at: None, error: Some(reason), answer: None }).await
    }

    pub async fn dead(&self, figures: &Figures, reason: &str) -> Result<(), StoreError> {
        let done_at = Some(self.clock.now());
        self.outcome(figures, Outcome { state: DeliveryState::Dead, next_at: None, done_at, error: Some(reason), answer: None }).await
    }

    pub async fn folded(&self, figures: &Figures, into: &str) -> Result<(), StoreError> {
        let (done_at, reason) = (Some(self.clock.now()), format!("said by {into}"));
        let outcome = Outcome { state: DeliveryState::Folded, next_at: None, done_at, error: Some(&reason), answer: None };
        self.outcome(figures, outcome).await
    }

    /// Has one that was given up sent again. `false`: it was not given up.
    pub async fn retry(&self, id: &str, author: &Author) -> Result<bool, StoreError> {
        let Some(dead) = self.figures(id).filter(|figures| figures.state == DeliveryState::Dead) else { return Ok(false) };
        let statements = "UPDATE $id SET state = $state, next_at = NONE, done_at = NONE RETURN NONE;";
        let values = vec![("id", record_named("alert_delivery", id)), ("state", text(DeliveryState::Pending.name()))];
        let change = Change {
            who: author.who.clone(),
            address: author.address,
            action: "alert.retry",
            subject: format!("delivery:{id}"),
            fields: vec!["state".to_owned()],
        };
        self.audit.commit(statements, values, &change).await?;
        self.known.write().expect("no holder panics").insert(Figures { state: DeliveryState::Pending, next_at: None, ..dead });
        self.nudge();
        Ok(true)
    }

    pub fn figures(&self, id: &str) -> Option<Figures> {
        let known = self.known.read().expect("no holder panics");
        known.all.get(known.seq.get(id)?).cloned()
    }

    /// Newest first, from below number `before`; and whether there are more.
    pub async fn page(&self, filter: &DeliveryFilter, before: Option<i64>, size: usize) -> Result<(Vec<Delivery>, bool), StoreError> {
        let fitting: Vec<Arc<str>> = {
            let known = self.known.read().expect("no holder panics");
            let upto = known.all.range(..before.unwrap_or(i64::MAX)).rev();
            upto.filter(|(_, figures)| filter.wants(figures)).map(|(_, figures)| figures.id.clone()).take(size + 1).collect()
        };
        let more = fitting.len() > size;
        Ok((self.read(&fitting[..fitting.len().min(size)]).await?, more))
    }

    /// How many fit.
    pub fn count(&self, filter: &DeliveryFilter) -> u64 {
        self.known.read().expect("no holder panics").all.values().filter(|figures| filter.wants(figures)).count() as u64
    }

    pub async fn one(&self, id: &str) -> Result<Option<Delivery>, StoreError> {
        Ok(self.read(&[id.into()]).await?.pop())
    }

    /// Lets go of those that were planned before an instant and are done with; of those to subscribers, who are many, before another.
    pub async fn forget(&self, before: Timestamp, before_public: Timestamp) -> Result<usize, StoreError> {
        let limit = |figures: &Figures| if is_public(figures.channel) { before_public.max(before) } else { before };
        let old: Vec<Figures> = {
            let known = self.known.read().expect("no holder panics");
            let done = known.all.values().filter(|figures| figures.planned_at < limit(figures) && !figures.state.is_open());
            done.take(500).cloned().collect()
        };
        if !old.is_empty() {
            let ids = array(old.iter().map(|figures| record_named("alert_delivery", &figures.id)));
            self.database.query("DELETE $ids RETURN NONE", vec![("ids", ids)]).await?;
            let mut known = self.known.write().expect("no holder panics");
            old.iter().for_each(|figures| known.remove(&figures.id));
        }
        Ok(old.len())
    }

    pub(super) fn made<'a>(&self, deliveries: impl Iterator<Item = &'a Delivery>) {
        let mut any = false;
        let mut known = self.known.write().expect("no holder panics");
        for delivery in deliveries {
            // One that was there before is as far as it is.
            if !known.seq.contains_key(&delivery.id) {
                known.insert(Figures::of(delivery));
                any = true;
            }
        }
        drop(known);
        if any {
            self.nudge();
        }
    }

    async fn outcome(&self, figures: &Figures, outcome: Outcome<'_>) -> Result<(), StoreError> {
        let statement = "UPDATE $id SET state = $state, next_at = $next_at, done_at = $done_at, error = $error, answer = $answer,
            possible_duplicates = $duplicates RETURN NONE";
        let values = vec![
            ("id", record_named("alert_delivery", &figures.id)),
            ("state", text(outcome.state.name())),
            ("next_at", maybe(outcome.next_at.map(|at| at.0))),
            ("done_at", maybe(outcome.done_at.map(|at| at.0))),
            ("error", outcome.error.map_or(Value::None, text)),
            ("answer", outcome.answer.map_or(Value::None, text)),
            ("duplicates", int(figures.possible_duplicates.into())),
        ];
        self.database.query(statement, values).await?;
        let now = Figures { state: outcome.state, next_at: outcome.next_at, ..figures.clone() };
        self.known.write().expect("no holder panics").insert(now);
        Ok(())
    }

    /// Reads deliveries by name, in the order given; those that are not there are left out.
    async fn read(&self, ids: &[Arc<str>]) -> Result<Vec<Delivery>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids_of = array(ids.iter().map(|id| record_named("alert_delivery", id)));
        let mut answer = self.database.query("SELECT *, record::id(id) AS key OMIT id FROM $ids", vec![("ids", ids_of)]).await?;
        let mut found: HashMap<Arc<str>, Delivery> = HashMap::new();
        for row in rows(&mut answer, 0)? {
            let delivery = delivery(&row)?;
            found.insert(delivery.id.clone(), delivery);
        }
        Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
    }
}

impl Known {
    fn insert(&mut self, figures: Figures) {
        let open = self.open.entry(figures.channel).or_default();
        match figures.state.is_open() {
            true => drop(open.insert(figures.seq)),
            false => drop(open.remove(&figures.seq)),
        }
        self.seq.insert(figures.id.clone(), figures.seq);
        self.all.insert(figures.seq, figures);
    }

    fn remove(&mut self, id: &str) {
        if let Some(seq) = self.seq.remove(id) {
            self.all.remove(&seq);
        }
    }
}

impl Figures {
    fn of(delivery: &Delivery) -> Figures {
        Figures {
            id: delivery.id.clone(),
            seq: delivery.seq,
            rule: delivery.rule,
            cause: delivery.message.cause.as_str().into(),
            service: delivery.service,
            channel: delivery.channel,
            telling: delivery.message.telling,
            state: delivery.state,
            attempts: delivery.attempts,
            planned_at: delivery.planned_at,
            next_at: delivery.next_at,
            possible_duplicates: delivery.possible_duplicates,
        }
    }

    /// Whether a later telling of the same cause says all this one would. That it still held is out of date as soon as there is more
    /// to say. The beginning is not told after the end is known where it was tried in vain: the end tells both. One that was not tried
    /// yet is: its channel is as good as any.
    fn is_said_by(&self, later: &Figures) -> bool {
        match (self.telling, later.telling) {
            (Telling::Repeated, Telling::Repeated | Telling::Recovered) => true,
            (Telling::Raised | Telling::Escalated | Telling::Acknowledged, Telling::Recovered) => self.attempts > 0,
            _ => false,
        }
    }
}

impl DeliveryFilter {
    fn wants(&self, figures: &Figures) -> bool {
        self.state.is_none_or(|state| state == figures.state)
            && self.channel.is_none_or(|channel| channel == figures.channel)
            && self.cause.as_deref().is_none_or(|cause| *cause == *figures.cause)
            && self.service.is_none_or(|service| figures.service == Some(service))
            && self.rule.is_none_or(|rule| rule == figures.rule)
            && self.drill.is_none_or(|drill| drill == figures.cause.starts_with("drill-"))
            && self.subscribers == is_public(figures.channel)
    }
}

fn figures(row: &Row) -> Result<Figures, StoreError> {
    Ok(Figures {
        id: row.text("key")?.into(),
        seq: row.int("seq")?,
        rule: RuleId(row.int("rule")? as u32),
        cause: row.text("cause")?.into(),
        service: row.optional_int("service")?.map(|service| ServiceId(service as u32)),
        channel: ChannelId(row.int("channel")? as u32),
        telling: telling(row.text("telling")?)?,
        state: state(row.text("state")?)?,
        attempts: row.int("attempts")? as u32,
        planned_at: Timestamp(row.int("planned_at")?),
        next_at: row.optional_int("next_at")?.map(Timestamp),
        possible_duplicates: row.int("possible_duplicates")? as u32,
    })
}

fn delivery(row: &Row) -> Result<Delivery, StoreError> {
    let time = |field: &str| row.optional_int(field).map(|at| at.map(Timestamp));
    let Figures { id, seq, rule, service, channel, state, attempts, planned_at, next_at, possible_duplicates, .. } = figures(row)?;
    Ok(Delivery {
        id,
        seq,
        rule,
        service,
        channel,
        channel_name: row.text("channel_name")?.to_owned(),
        state,
        attempts,
        planned_at,
        next_at,
        first_attempt_at: time("first_attempt_at")?,
        last_attempt_at: time("last_attempt_at")?,
        done_at: time("done_at")?,
        error: row.text("error").ok().map(str::to_owned),
        answer: row.text("answer").ok().map(str::to_owned),
        possible_duplicates,
        message: read_message(row.text("message")?)?,
    })
}

fn state(name: &str) -> Result<DeliveryState, StoreError> {
    DeliveryState::from_name(name).ok_or_else(|| corrupt("alert delivery", format!("its state is {name:?}")))
}
