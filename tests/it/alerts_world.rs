//! Alerts on a store in memory: causes go in at one end, and channels that the test plays take what comes out at the other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use probemesh::aggregate::board::Board;
use probemesh::alert::channel::RateLimit;
use probemesh::alert::desk::{Desk, DeskArgs};
use probemesh::alert::exit::{Exit, Exits};
use probemesh::alert::lane::{LaneArgs, work};
use probemesh::alert::sources::Sources;
use probemesh::api::metrics::Metrics;
use probemesh::clock::Clock;
use probemesh::config::rule::{Names, RuleDocument};
use probemesh::config::sections::AlertSettings;
use probemesh::config::service::ServiceDocument;
use probemesh::hub::membership::{Hooks, Membership};
use probemesh::model::alert::{Cause, CauseKind, CauseMove, DeliveryFailure, Message, Receipt};
use probemesh::model::check::CheckResult;
use probemesh::model::id::{ChannelId, ServiceId};
use probemesh::model::incident::{Incident, IncidentId, Severity};
use probemesh::model::rule::RuleId;
use probemesh::model::service::{Schedule, Service};
use probemesh::model::time::Timestamp;
use probemesh::store::Store;
use probemesh::store::alerts::Alerts;
use probemesh::store::alerts::deliveries::DeliveryFilter;
use probemesh::store::audit::Audit;
use probemesh::store::findings::Findings;
use probemesh::store::incidents::Incidents;
use probemesh::store::secrets::Secrets;
use probemesh::store::services::Services;
use probemesh::supervise::Task;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::api_world::{at, author, good, store_settings};

/// What a channel of the test does with what it is given.
#[derive(Clone, Debug, Default)]
pub enum Mood {
    #[default]
    Well,
    /// So many times, then well.
    Fails(u32, DeliveryFailure),
    /// Keeps who sends waiting, by the real clock.
    Hangs(Duration),
    Panics,
}

#[derive(Clone, Debug, Default)]
struct Played {
    enabled: bool,
    has_key: bool,
    rate: Option<RateLimit>,
    mood: Mood,
}

/// Channels that note what they are given, whether they take it or not.
#[derive(Default)]
pub struct Recorder {
    channels: Mutex<BTreeMap<(ChannelId, String), Played>>,
    tried: Mutex<Vec<(ChannelId, Message)>>,
    taken: Mutex<Vec<(ChannelId, Message)>>,
}

impl Recorder {
    pub fn new(names: &[&str]) -> Arc<Recorder> {
        let recorder = Recorder::default();
        for (index, name) in names.iter().enumerate() {
            let played = Played { enabled: true, has_key: true, ..Played::default() };
            recorder.channels.lock().unwrap().insert((ChannelId(index as u32 + 1), (*name).to_owned()), played);
        }
        Arc::new(recorder)
    }

    fn alter(&self, name: &str, alter: impl FnOnce(&mut Played)) {
        let mut channels = self.channels.lock().unwrap();
        alter(channels.iter_mut().find(|((_, other), _)| other == name).unwrap().1);
    }

    pub fn mood(&self, name: &str, mood: Mood) {
        self.alter(name, |played| played.mood = mood);
    }

    pub fn without_key(&self, name: &str) {
        self.alter(name, |played| played.has_key = false);
    }

    pub fn rate(&self, name: &str, messages: u32, per: Duration) {
        self.alter(name, |played| played.rate = Some(RateLimit { messages, per }));
    }

    fn id(&self, name: &str) -> ChannelId {
        self.channels.lock().unwrap().keys().find(|(_, other)| other == name).unwrap().0
    }

    /// What a channel has taken, in order.
    pub fn taken(&self, name: &str) -> Vec<Message> {
        let id = self.id(name);
        self.taken.lock().unwrap().iter().filter(|(channel, _)| *channel == id).map(|(_, message)| message.clone()).collect()
    }

    /// What a channel was given, whether or not it took it.
    pub fn tried(&self, name: &str) -> Vec<Message> {
        let id = self.id(name);
        self.tried.lock().unwrap().iter().filter(|(channel, _)| *channel == id).map(|(_, message)| message.clone()).collect()
    }

    /// As `telling headline`.
    pub fn told(&self, name: &str) -> Vec<String> {
        self.taken(name).iter().map(|message| format!("{} {}", message.telling.name(), message.headline)).collect()
    }
}

/// A handle that is handed over as the channels there are.
pub struct Recording(pub Arc<Recorder>);

impl Exits for Recording {
    fn list(&self) -> Vec<Exit> {
        let channels = self.0.channels.lock().unwrap();
        let exit = |((id, name), played): (&(ChannelId, String), &Played)| Exit {
            id: *id,
            name: name.clone(),
            enabled: played.enabled,
            has_key: played.has_key,
            rate: played.rate,
        };
        channels.iter().map(exit).collect()
    }

    fn deliver(&self, channel: ChannelId, message: Message) -> BoxFuture<'static, Result<Receipt, DeliveryFailure>> {
        let recorder = self.0.clone();
        Box::pin(async move {
            let mood = {
                let mut channels = recorder.channels.lock().unwrap();
                let played = channels.iter_mut().find(|((id, _), _)| *id == channel).unwrap().1;
                let mood = played.mood.clone();
                match &mut played.mood {
                    Mood::Fails(0, _) => played.mood = Mood::Well,
                    Mood::Fails(left, _) => *left -= 1,
                    _ => {}
                }
                mood
            };
            recorder.tried.lock().unwrap().push((channel, message.clone()));
            match mood {
                Mood::Fails(left, failure) if left > 0 => return Err(failure),
                Mood::Panics => panic!("the channel panics"),
                Mood::Hangs(span) => tokio::time::sleep(span).await,
                _ => {}
            }
            recorder.taken.lock().unwrap().push((channel, message));
            Ok(Receipt { answer: "ok".to_owned() })
        })
    }
}

pub struct World {
    pub clock: Clock,
    pub store: Arc<Store>,
    pub alerts: Arc<Alerts>,
    pub incidents: Arc<Incidents>,
    pub services: Arc<Services>,
    pub recorder: Arc<Recorder>,
    pub metrics: Arc<Metrics>,
    pub board: Arc<Board>,
    pub membership: Arc<Membership>,
    pub findings: Arc<Findings>,
    pub desk: Desk,
    pub asked: Arc<Mutex<Vec<ServiceId>>>,
    pub in_maintenance: Arc<Mutex<Vec<ServiceId>>>,
    args: DeskArgs,
    audit: Arc<Audit>,
    lanes: Vec<Task>,
}

pub fn settings() -> AlertSettings {
    AlertSettings {
        hold: Duration::from_secs(5),
        settle: Duration::from_secs(30),
        attempt_timeout: Duration::from_secs(30),
        retry_initial: Duration::from_secs(5),
        retry_max: Duration::from_secs(900),
        give_up: Duration::from_secs(3_600),
        retain: Duration::from_secs(90 * 86_400),
    }
}

impl World {
    /// With channels of these names.
    pub async fn new(channels: &[&str]) -> World {
        World::with(channels, settings()).await
    }

    pub async fn with(channels: &[&str], settings: AlertSettings) -> World {
        let clock = Clock::manual(at("2026-11-22T12:00:00Z"));
        let store = Arc::new(Store::open(&store_settings(), clock.clone()).await.unwrap());
        let database = store.database.clone();
        let audit = Arc::new(Audit::new(database.clone(), clock.clone()));
        let alerts = Arc::new(Alerts::open(database.clone(), audit.clone(), clock.clone()).await.unwrap());
        let incidents = Arc::new(Incidents::open(database.clone(), audit.clone(), clock.clone()).await.unwrap());
        let findings = Arc::new(Findings::open(database.clone(), audit.clone(), clock.clone()).await.unwrap());
        let secrets = Arc::new(Secrets::from_key(&[7; 32]));
        let services = Arc::new(Services::open(database, secrets, audit.clone(), clock.clone()).await.unwrap());
        let nobody = Hooks { silence: Box::new(|_, _| {}), node: Box::new(|_| {}), last_round: Box::new(|_, _| None) };
        let membership = Arc::new(Membership::new(clock.clone(), nobody));
        let recorder = Recorder::new(channels);
        let board = Arc::new(Board::default());
        let asked: Arc<Mutex<Vec<ServiceId>>> = Arc::default();
        let in_maintenance: Arc<Mutex<Vec<ServiceId>>> = Arc::default();
        let (noted, kept) = (asked.clone(), in_maintenance.clone());
        let args = DeskArgs {
            alerts: alerts.clone(),
            incidents: incidents.clone(),
            results: store.results.clone(),
            services: services.clone(),
            sources: Sources { board: board.clone(), membership: membership.clone(), findings: findings.clone(), started_at: clock.now() },
            exits: Arc::new(Recording(recorder.clone())),
            in_maintenance: Arc::new(move |service, _| kept.lock().unwrap().contains(&service)),
            check_now: Arc::new(move |service| noted.lock().unwrap().push(service)),
            settings,
            public_url: Some("https://hub.example/".to_owned()),
            clock: clock.clone(),
        };
        let desk = Desk::new(args.clone());
        let metrics = Arc::new(Metrics::new());
        World {
            clock,
            store,
            alerts,
            incidents,
            services,
            recorder,
            metrics,
            board,
            membership,
            findings,
            desk,
            asked,
            in_maintenance,
            args,
            audit,
            lanes: Vec::new(),
        }
    }

    /// Adds a service; its number.
    pub async fn service(&self, document: Value) -> ServiceId {
        let mut whole = json!({"base_url": "http://192.0.2.1"});
        whole.as_object_mut().unwrap().extend(document.as_object().unwrap().clone());
        let document = ServiceDocument::read(&whole).unwrap();
        self.services.create(document, &author()).await.unwrap().id
    }

    /// Lets the board know the services there are.
    pub fn show_services(&self) {
        let schedule = Schedule::Interval(Duration::from_secs(60));
        let list = self.services.list();
        let services: Vec<Service> = list.iter().map(|service| service.document.check(service.id, &schedule).unwrap()).collect();
        self.board.replace_services(&services, self.clock.now());
    }

    /// A check that was made just now.
    pub fn check(&self, service: ServiceId, seq: u64, alter: impl FnOnce(&mut CheckResult)) {
        let now = self.clock.now();
        let mut result = CheckResult { started_at: now, scheduled_at: now, ..good(service.0, seq, 0) };
        alter(&mut result);
        self.board.fold(&[result], now);
    }

    pub async fn rule(&self, document: Value) -> RuleId {
        let mut document = RuleDocument::read(&document).unwrap();
        let exits = Recording(self.recorder.clone()).list();
        let names = Names {
            service: &|value| value.as_u64().map(|id| ServiceId(id as u32)),
            channel: &|value| exits.iter().find(|exit| value == &json!(exit.name)).map(|exit| exit.id),
        };
        document.check(RuleId(0), Timestamp(0), &names).unwrap();
        self.alerts.rules.create(document, &author()).await.unwrap().rule.id
    }

    pub async fn round(&mut self, moves: Vec<CauseMove>) -> usize {
        self.desk.round(moves, false).await.unwrap().planned
    }

    /// Moves time on second by second, a round at each.
    pub async fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1)).await;
            self.round(Vec::new()).await;
        }
    }

    /// The dispatcher dies and is started again: all it knows is what the store has.
    pub fn restart_desk(&mut self) {
        self.desk = Desk::new(self.args.clone());
    }

    /// The whole process dies: alerts are opened anew from the store, and nothing delivers until `deliver`.
    pub async fn restart(&mut self) {
        self.lanes.clear();
        let alerts = Alerts::open(self.store.database.clone(), self.audit.clone(), self.clock.clone()).await.unwrap();
        self.alerts = Arc::new(alerts);
        self.args.alerts = self.alerts.clone();
        self.desk = Desk::new(self.args.clone());
    }

    /// From here on what is written is sent.
    pub fn deliver(&mut self) {
        let (events, _) = broadcast::channel(64);
        let args = LaneArgs {
            alerts: self.alerts.clone(),
            exits: Arc::new(Recording(self.recorder.clone())),
            settings: self.args.settings.clone(),
            events,
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            gate: Arc::default(),
        };
        let exits = Recording(self.recorder.clone()).list();
        self.lanes = exits.into_iter().map(|exit| Task::spawn(work(args.clone(), exit.id))).collect();
    }

    /// Waits until `found` says so, without moving the clock but for a breath at a time when it takes long: who looked at the clock just
    /// before a test moved it sleeps on for a moment that would else never pass.
    pub async fn until<T>(&self, what: &str, found: impl Fn(&World) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = found(self) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(90), "never came: {what}; tried: {:#?}", self.recorder.tried.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
            if began.elapsed() > Duration::from_secs(2) {
                self.clock.advance(Duration::from_millis(1)).await;
            }
        }
    }

    /// Until so many messages are with a channel; as `telling headline`.
    pub async fn told(&self, channel: &str, count: usize) -> Vec<String> {
        let enough = |world: &World| Some(world.recorder.told(channel)).filter(|told| told.len() >= count);
        self.until(&format!("{count} messages in {channel}"), enough).await
    }

    /// The states of all deliveries, the oldest first, as `id state attempts`.
    pub async fn deliveries(&self) -> Vec<String> {
        let (mut found, _) = self.alerts.deliveries.page(&DeliveryFilter::default(), None, 1_000).await.unwrap();
        found.reverse();
        found.iter().map(|delivery| format!("{} {} {}", delivery.id, delivery.state.name(), delivery.attempts)).collect()
    }

    pub fn metric(&self, line: &str) -> bool {
        self.metrics.encode(&[], &[], self.clock.now()).lines().any(|other| other == line)
    }

    pub fn raised(&self, key: &str, service: ServiceId) -> CauseMove {
        CauseMove::Raised(Cause { since: self.clock.now(), ..cause(key, service) })
    }

    pub fn cleared(&self, key: &str) -> CauseMove {
        CauseMove::Cleared { key: key.to_owned(), at: self.clock.now() }
    }

    pub fn incident(&self, id: &str, service: ServiceId) -> Incident {
        Incident {
            id: IncidentId(id.into()),
            service,
            name: format!("service {service}").into(),
            severity: Severity::Critical,
            opened_at: self.clock.now(),
            closed_at: None,
            unwatched: false,
            first_line: format!("{id} broke"),
            regions: Vec::new(),
        }
    }
}

pub fn cause(key: &str, service: ServiceId) -> Cause {
    Cause {
        key: key.to_owned(),
        kind: CauseKind::Incident,
        severity: Severity::Critical,
        drill: false,
        service: Some(service),
        region: None,
        node: None,
        headline: format!("{key} broke"),
        since: at("2026-11-22T12:00:00Z"),
        regions: Vec::new(),
        last_good: None,
        next_step: None,
        path: Some(format!("/incidents/{key}")),
    }
}

pub fn failure(permanent: bool, retry_after: Option<u64>) -> DeliveryFailure {
    let reason = if permanent { "401: no such token" } else { "503: too busy" };
    DeliveryFailure { permanent, retry_after: retry_after.map(Duration::from_secs), reason: reason.to_owned() }
}
