//! Looks at what is public, writes down what there is to tell of it, and makes a delivery of that for every subscriber.
//!
//! The work is done round by round in a task beside it. When it dies nothing is lost: what was told is in the store, and what was not
//! passed on to everybody is passed on again, under names by which it is one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use ractor_cluster::RactorMessage;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::maintenance::windows::Windows;
use crate::model::alert::Telling;
use crate::model::held::Delivery;
use crate::model::id::ServiceId;
use crate::model::incident::IncidentId;
use crate::model::span::Span;
use crate::model::subscriber::{Matter, News, Subscriber, SubscriberState};
use crate::model::time::Timestamp;
use crate::model::window::{Plan, WindowId};
use crate::store::alerts::Alerts;
use crate::store::incidents::Incidents;
use crate::store::news::NewsStore;
use crate::subscribers::desk::{Desk, GOOD_FOR, message};
use crate::subscribers::names::{cause_of, channel_of, news_key};
use crate::subscribers::news::{OpenIncident, Patience, Present, WindowSeen, look};
use crate::subscribers::post::lane_name;
use crate::subscribers::words;
use crate::supervise::Task;
use crate::web::status::snapshot::reasons_of;
use crate::web::text::{Lang, Text};

const TICK: Duration = Duration::from_secs(1);
/// Between two looks at windows, which are more work and seldom change.
const WINDOWS_EVERY: Duration = Duration::from_secs(5);
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How far ahead windows are told, as on the page…
const AHEAD: Duration = Duration::from_secs(14 * 86_400);
/// …how far ahead one may end, and how far back one that is on may have begun.
const ENDS_WITHIN: Duration = Duration::from_secs(39 * 86_400);
const BACK: Duration = Duration::from_secs(30 * 86_400);
/// What was told is kept so long after the last message that carries it could have been given up.
const KEPT: Duration = Duration::from_secs(7 * 86_400);
/// When incidents closed is looked up so far back.
const CLOSED_WITHIN: Duration = Duration::from_secs(7 * 86_400);

pub struct Herald;

#[derive(Debug, RactorMessage)]
pub enum HeraldMsg {
    /// The rounds have ended, which they never do by themselves.
    Broken(String),
}

#[derive(Clone)]
pub struct HeraldArgs {
    pub desk: Arc<Desk>,
    pub news: Arc<NewsStore>,
    pub alerts: Arc<Alerts>,
    pub incidents: Arc<Incidents>,
    pub windows: Arc<Windows>,
    pub patience: Patience,
    /// After so long a message is given up.
    pub give_up: Duration,
    /// The name of the status page; `None`: the usual one.
    pub title: Option<String>,
    pub clock: Clock,
    pub status: Arc<Mutex<HeraldStatus>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeraldStatus {
    /// News and messages made since the start.
    pub news: u64,
    pub planned: u64,
    pub last_run: Option<Timestamp>,
    pub last_error: Option<String>,
}

pub struct HeraldState {
    _rounds: Task,
}

impl Actor for Herald {
    type Msg = HeraldMsg;
    type State = HeraldState;
    type Arguments = HeraldArgs;

    async fn pre_start(&self, myself: ActorRef<HeraldMsg>, args: HeraldArgs) -> Result<HeraldState, ActorProcessingErr> {
        let rounds = Task::watched(rounds_of(args), move |cause| drop(myself.cast(HeraldMsg::Broken(cause))));
        Ok(HeraldState { _rounds: rounds })
    }

    async fn handle(&self, _: ActorRef<HeraldMsg>, message: HeraldMsg, _: &mut HeraldState) -> Result<(), ActorProcessingErr> {
        match message {
            HeraldMsg::Broken(cause) => Err(cause.into()),
        }
    }
}

async fn rounds_of(args: HeraldArgs) {
    let (clock, status) = (args.clock.clone(), args.status.clone());
    let mut rounds = Rounds { args, last_windows: None, last_tidy: None };
    loop {
        let outcome = rounds.round().await;
        {
            let mut status = status.lock().expect("no holder panics");
            status.last_run = Some(clock.now());
            match outcome {
                Ok((news, planned)) => {
                    status.news += news as u64;
                    status.planned += planned as u64;
                    status.last_error = None;
                }
                Err(err) => {
                    let cause = format!("{err:#}");
                    if status.last_error.as_ref() != Some(&cause) {
                        warn!(cause, "subscribers cannot be told, it is tried again");
                    }
                    status.last_error = Some(cause);
                }
            }
        }
        clock.sleep(TICK).await;
    }
}

struct Rounds {
    args: HeraldArgs,
    last_windows: Option<Timestamp>,
    last_tidy: Option<Timestamp>,
}

impl Rounds {
    /// How many news there were, and how many messages were made.
    async fn round(&mut self) -> anyhow::Result<(usize, usize)> {
        let now = self.args.clock.now();
        if self.last_tidy.is_none_or(|last| now.since(last) >= TIDY_EVERY) {
            self.args.desk.subscribers.forget(now.minus(GOOD_FOR)).await?;
            self.args.news.forget(now.minus(KEPT + self.args.give_up)).await?;
            self.last_tidy = Some(now);
        }
        // With nobody to tell there is nothing to be told. Who has asked and not confirmed hears of what comes after that alone.
        if !self.args.desk.subscribers.any() {
            return Ok((0, 0));
        }
        let found = self.look(now);
        let count = found.len();
        if count > 0 {
            self.args.news.add(found).await?;
        }
        let mut planned = 0;
        for news in self.args.news.waiting() {
            planned += self.pass_on(&news).await?;
        }
        Ok((count, planned))
    }

    fn look(&mut self, now: Timestamp) -> Vec<News> {
        let told = self.args.news.latest();
        let public = self.args.desk.watched();
        let open: Vec<OpenIncident> = self
            .args
            .incidents
            .open_now()
            .into_iter()
            .map(|stored| OpenIncident {
                reasons: reasons_of(&stored.incident),
                id: stored.incident.id,
                service: stored.incident.service,
                severity: stored.incident.severity,
                opened_at: stored.incident.opened_at,
                worked_on_at: stored.acknowledged.map(|by| by.at),
            })
            .collect();
        let covered = open.iter().map(|incident| incident.service).filter(|service| self.args.windows.covers(*service, now).is_some());
        let covered: BTreeSet<ServiceId> = covered.collect();
        let closed = self.closed(&told, &open, now);
        let due = self.last_windows.is_none_or(|last| now.since(last) >= WINDOWS_EVERY);
        let windows = due.then(|| self.windows(&public, now));
        if due {
            self.last_windows = Some(now);
        }
        let subscribers = &self.args.desk.subscribers;
        let name = |incident: &IncidentId| subscribers.public_name(incident);
        let present = Present { now, name: &name, public: &public, open, closed, covered, windows };
        look(&told, &present, self.args.patience)
    }

    /// When incidents closed that were told of and are no longer open.
    fn closed(&self, told: &[Arc<News>], open: &[OpenIncident], now: Timestamp) -> BTreeMap<IncidentId, Timestamp> {
        let open: BTreeSet<&IncidentId> = open.iter().map(|incident| &incident.id).collect();
        let over = |news: &Arc<News>| match &news.matter {
            Matter::Outage(hurts) => hurts.iter().any(|hurt| hurt.closed_at.is_none() && !open.contains(&hurt.incident)),
            Matter::Maintenance(_) => false,
        };
        if !told.iter().any(over) {
            return BTreeMap::new();
        }
        let since = self.args.incidents.since(now.minus(CLOSED_WITHIN));
        since.into_iter().filter_map(|(id, closed_at)| Some((id, closed_at?))).collect()
    }

    fn windows(&self, public: &BTreeMap<ServiceId, String>, now: Timestamp) -> Vec<WindowSeen> {
        let around = Span::new(now.minus(BACK), now.plus(ENDS_WITHIN));
        let mut found: BTreeMap<(Timestamp, WindowId), WindowSeen> = BTreeMap::new();
        for service in public.keys() {
            for occurrence in self.args.windows.occurrences(*service, around) {
                let (window, span) = (&occurrence.window, occurrence.span);
                if span.until <= now || span.from > now.plus(AHEAD) {
                    continue;
                }
                let seen = found.entry((span.from, window.id)).or_insert_with(|| WindowSeen {
                    window: window.id,
                    title: window.title.clone(),
                    from: span.from,
                    until: span.until,
                    recurring: matches!(window.rule.plan, Plan::Recurring { .. }),
                    services: Vec::new(),
                });
                seen.services.push(*service);
            }
        }
        found.into_values().collect()
    }

    async fn pass_on(&self, news: &News) -> anyhow::Result<usize> {
        // Who came later than the news hears of the next.
        let there = |one: &Arc<Subscriber>| {
            one.state() == SubscriberState::Active && one.confirmed_at.is_some_and(|confirmed_at| confirmed_at <= news.at)
        };
        let told: Vec<Arc<Subscriber>> = self.args.desk.subscribers.list().iter().filter(|one| there(one)).cloned().collect();
        let deliveries: Vec<Delivery> = told.iter().filter_map(|subscriber| self.delivery(subscriber, news)).collect();
        self.args.alerts.add(&deliveries).await?;
        self.args.news.passed_on(news).await?;
        info!(news = news.id(), subscribers = deliveries.len(), "news of the status page are passed on");
        Ok(deliveries.len())
    }

    /// `None`: nothing in it is of those a subscriber asked for.
    fn delivery(&self, subscriber: &Subscriber, news: &News) -> Option<Delivery> {
        let mine = news.for_one(&subscriber.choice)?;
        let telling = match (news.number, mine.is_last()) {
            (_, true) => Telling::Recovered,
            (0, false) => Telling::Raised,
            (_, false) => Telling::Repeated,
        };
        let t = Text(Lang::English);
        let title = self.args.title.as_deref().unwrap_or(t.s("status.title"));
        let headline = words::of_news(t, title, &mine).title;
        let now = self.args.clock.now();
        let message = message(news_key(subscriber.id, &news.id()), cause_of(subscriber.id, &news.subject), telling, headline, news.at);
        let (number, lane) = (self.args.alerts.deliveries.number(now), lane_name(subscriber.kind).to_owned());
        Some(Delivery::planned(number, channel_of(subscriber), lane, now, message))
    }
}
