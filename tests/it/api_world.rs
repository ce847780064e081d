//! The API over a store in memory, a clock moved by hand and nodes played by the test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use probemesh::aggregate::board::Board;
use probemesh::aggregate::strip::Strips;
use probemesh::alert::channel::sender::Sender;
use probemesh::alert::exit::{Exit, Exits, StoredExits};
use probemesh::alert::inbox::Inbox;
use probemesh::api;
use probemesh::api::events::Event;
use probemesh::api::metrics::Metrics;
use probemesh::api::state::{ActorView, ApiState, ClusterView, NodeView};
use probemesh::clock::Clock;
use probemesh::config::effective::{Origin, Setting};
use probemesh::config::oidc::OidcSettings;
use probemesh::config::sections::{ApiSettings, ChannelSettings, MeshSettings, StoreSettings};
use probemesh::config::status::{StatusSettings, SubscriptionSettings};
use probemesh::config::system::{SystemSettings, Thresholds};
use probemesh::digest::digester::{Order, Refused};
use probemesh::hub::membership::{Hooks, Membership};
use probemesh::maintenance::windows::Windows;
use probemesh::mesh::authority::Authority;
use probemesh::mesh::token_issuer::TokenIssuer;
use probemesh::model::alert::{CauseMove, DeliveryFailure, Message, Receipt};
use probemesh::model::check::{CheckResult, Failure, Phase, Phases, Reason};
use probemesh::model::digest::Digest;
use probemesh::model::id::{Boot, ChannelId, CheckId, NodeName, RegionName, ServiceId};
use probemesh::model::service::{Schedule, Service};
use probemesh::model::time::Timestamp;
use probemesh::oidc::Oidc;
use probemesh::probe::expect::Verdict;
use probemesh::probe::network::BlockedNetworks;
use probemesh::probe::trial::Trial;
use probemesh::slo::desk::{SloDesk, Sources};
use probemesh::store::Store;
use probemesh::store::alerts::Alerts;
use probemesh::store::api_keys::ApiKeys;
use probemesh::store::audit::Audit;
use probemesh::store::channels::Channels;
use probemesh::store::digests::Digests;
use probemesh::store::endpoints::EndpointHours;
use probemesh::store::findings::Findings;
use probemesh::store::incidents::Incidents;
use probemesh::store::issues::Issues;
use probemesh::store::nodes::Nodes;
use probemesh::store::second_factors::SecondFactors;
use probemesh::store::secrets::Secrets;
use probemesh::store::services::{Author, Services};
use probemesh::store::sessions::Sessions;
use probemesh::store::slos::Slos;
use probemesh::store::subscribers::Subscribers;
use probemesh::store::system::SystemRecords;
use probemesh::store::uptimes::Uptimes;
use probemesh::store::users::{Role, Users};
use probemesh::store::web_sessions::WebSessions;
use probemesh::store::windows::WindowStore;
use probemesh::subscribers::desk::{Desk as SubscriptionDesk, DeskArgs as SubscriptionArgs};
use probemesh::system::desk::Desk;
use probemesh::system::look::{Cluster, Folders, Sources as SystemSources};
use probemesh::tracker::desk::Tracker;
use probemesh::tracker::notify::Note;
use probemesh::web;
use probemesh::wire::batch::{BatchHead, encode};
use probemesh::wire::link::{Asked, CheckNow};
use rocket::http::{ContentType, Header, Method};
use rocket::local::asynchronous::{Client, LocalResponse};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::alerts_world::{Recorder, Recording};

pub const PASSWORD: &str = "correct horse";

/// The channels that are stored; as long as there is none, two that are played.
struct Ways {
    stored: StoredExits,
    played: Recording,
}

impl Exits for Ways {
    fn list(&self) -> Vec<Exit> {
        Some(self.stored.list()).filter(|stored| !stored.is_empty()).unwrap_or_else(|| self.played.list())
    }

    fn deliver(&self, channel: ChannelId, message: Message) -> BoxFuture<'static, Result<Receipt, DeliveryFailure>> {
        self.played.deliver(channel, message)
    }
}

pub struct World {
    pub client: Client,
    pub clock: Clock,
    pub store: Arc<Store>,
    pub services: Arc<Services>,
    pub users: Arc<Users>,
    pub audit: Arc<Audit>,
    pub api_keys: Arc<ApiKeys>,
    pub second_factors: Arc<SecondFactors>,
    pub secrets: Arc<Secrets>,
    /// Where the pages look for logs.
    pub logs: tempfile::TempDir,
    pub board: Arc<Board>,
    pub strips: Arc<Strips>,
    pub incidents: Arc<Incidents>,
    pub metrics: Arc<Metrics>,
    pub events: broadcast::Sender<Arc<Event>>,
    pub nudges: Arc<AtomicUsize>,
    /// Requests for a check arrive here; who takes them is a node.
    pub requests: Option<mpsc::Receiver<CheckNow>>,
    pub nodes: Arc<Nodes>,
    pub findings: Arc<Findings>,
    pub digests: Arc<Digests>,
    /// What becomes of the next order for a digest.
    pub writer: Arc<Mutex<Writer>>,
    pub alerts: Arc<Alerts>,
    /// What was said of causes of alerts.
    pub said: Mutex<mpsc::UnboundedReceiver<CauseMove>>,
    pub channels: Arc<Channels>,
    pub authority: Authority,
    /// The nodes the API said were revoked.
    pub revoked: Arc<Mutex<Vec<String>>>,
    pub membership: Arc<Membership>,
    pub tracker: Arc<Tracker>,
    /// Where people subscribe to the status page.
    pub subscriptions: Arc<SubscriptionDesk>,
    /// What single people were to be told.
    pub notes: Mutex<mpsc::UnboundedReceiver<Note>>,
    batches: AtomicUsize,
}

/// Whoever writes digests, as the test plays it.
pub enum Writer {
    /// At work on another.
    Busy,
    /// At work on this one, and never done.
    Slow,
    Writes(Box<Digest>),
}

/// An answer, read to its end.
pub struct Answer {
    pub status: u16,
    pub kind: String,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body, after asking for the status.
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A problem of RFC 9457 with this status; the fields it names.
    pub fn problem(&self, status: u16) -> Vec<String> {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.kind, "application/problem+json", "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], "about:blank");
        for member in ["title", "detail", "instance"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {body}");
        }
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().expect("a field is named").to_owned()).collect()
    }
}

impl World {
    pub async fn new() -> World {
        World::with(|_| ()).await
    }

    pub async fn with(alter: impl FnOnce(&mut ApiSettings)) -> World {
        World::made(alter, None).await
    }

    /// With an identity provider.
    pub async fn made(alter: impl FnOnce(&mut ApiSettings), oidc: Option<OidcSettings>) -> World {
        let clock = Clock::manual(at("2026-11-22T08:00:00Z"));
        let store = Arc::new(Store::open(&store_settings(), clock.clone()).await.expect("a store in memory opens"));
        let database = store.database.clone();
        let secrets = Arc::new(Secrets::from_key(&[7; 32]));
        let audit = Arc::new(Audit::new(database.clone(), clock.clone()));
        let services = Services::open(database.clone(), secrets.clone(), audit.clone(), clock.clone()).await;
        let services = Arc::new(services.expect("services open"));
        let channels = Channels::open(database.clone(), secrets.clone(), audit.clone(), clock.clone()).await;
        let channels = Arc::new(channels.expect("channels open"));
        let sending = ChannelSettings { send_timeout: Duration::from_secs(10), allow_commands: false, blocked_networks: Vec::new() };
        let sender = Arc::new(Sender::new(&sending, None, clock.clone()).expect("a sender is made"));
        let users = Arc::new(Users::open(database.clone(), audit.clone(), clock.clone()).await.expect("users open"));
        let api_keys = ApiKeys::open(database.clone(), audit.clone(), clock.clone()).await.expect("keys open");
        let api_keys = Arc::new(api_keys);
        let second_factors = SecondFactors::open(database.clone(), secrets.clone(), audit.clone(), clock.clone()).await;
        let second_factors = Arc::new(second_factors.expect("second factors open"));
        let logs = tempfile::tempdir().expect("a temporary folder");
        let nodes = Nodes::open(database.clone(), secrets.clone(), audit.clone(), clock.clone()).await;
        let nodes = Arc::new(nodes.expect("nodes open"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::open(folder.path(), clock.now()).expect("an authority is made");
        let revoked = Arc::new(Mutex::new(Vec::new()));
        let noted = revoked.clone();
        let incidents = Incidents::open(database.clone(), audit.clone(), clock.clone()).await;
        let incidents = Arc::new(incidents.expect("incidents open"));
        let findings = Arc::new(Findings::open(database.clone(), audit.clone(), clock.clone()).await.expect("findings open"));
        let alerts = Arc::new(Alerts::open(database.clone(), audit.clone(), clock.clone()).await.expect("alerts open"));
        let (inbox, said) = Inbox::new();
        let mut settings = ApiSettings {
            access_lifetime: Duration::from_secs(900),
            refresh_lifetime: Duration::from_secs(86_400),
            requests_per_minute: 100_000,
            logins_per_minute: 1_000,
            max_body_bytes: 1 << 20,
            allow_plain_http: false,
            proxy_header: None,
            public_url: Some("https://hub.example".to_owned()),
        };
        alter(&mut settings);
        let endpoints = Arc::new(EndpointHours::new(database.clone(), clock.clone()));
        let web_sessions = WebSessions::open(database.clone(), clock.clone(), settings.refresh_lifetime).await.expect("sessions open");
        let strips = Arc::new(Strips::default());
        let sessions = Arc::new(Sessions::new(database, clock.clone(), settings.refresh_lifetime));
        let board = Arc::new(Board::default());
        let metrics = Arc::new(Metrics::new());
        let (events, _) = broadcast::channel(64);
        let (checks, requests) = mpsc::channel(64);
        let nudges = Arc::new(AtomicUsize::new(0));
        let nudged = nudges.clone();
        let nobody = Hooks { silence: Box::new(|_, _| {}), node: Box::new(|_| {}), last_round: Box::new(|_, _| None) };
        let membership = Arc::new(Membership::new(clock.clone(), nobody));
        let (notes, told) = mpsc::unbounded_channel();
        let issues = Arc::new(Issues::open(store.database.clone(), audit.clone()).await.expect("issues open"));
        let tracker = Arc::new(Tracker {
            issues,
            users: users.clone(),
            services: services.clone(),
            incidents: incidents.clone(),
            findings: findings.clone(),
            events: events.clone(),
            notes,
            clock: clock.clone(),
        });
        let (moves, _) = mpsc::unbounded_channel();
        let system = desk(&store, &nodes, system_settings(), &clock, &metrics, Cluster::default, moves);
        let window_store = WindowStore::open(store.database.clone(), audit.clone(), clock.clone()).await.expect("windows open");
        let slos = Arc::new(Slos::open(store.database.clone(), audit.clone(), clock.clone()).await.expect("objectives open"));
        let uptimes: Arc<Uptimes> = Arc::default();
        let windows = Windows::new(Arc::new(window_store), services.clone(), board.clone(), uptimes.clone(), events.clone(), clock.clone());
        let windows = Arc::new(windows);
        let default_schedule = Schedule::Interval(Duration::from_secs(60));
        let slo_desk = SloDesk::new(Sources {
            slos,
            store: store.clone(),
            services: services.clone(),
            board: board.clone(),
            windows: windows.clone(),
            default_schedule: default_schedule.clone(),
            clock: clock.clone(),
        });
        let digests = Arc::new(Digests::open(store.database.clone()).await.expect("digests open"));
        let writer = Arc::new(Mutex::new(Writer::Busy));
        let subscribers = Subscribers::open(store.database.clone(), secrets.clone(), audit.clone(), clock.clone()).await;
        let subscriptions =
            SubscriptionSettings { mail_channel: Some("mail".to_owned()), per_hour: 100, ..SubscriptionSettings::default() };
        let desk = SubscriptionDesk::new(SubscriptionArgs {
            subscribers: Arc::new(subscribers.expect("subscribers open")),
            settings: subscriptions.clone(),
            alerts: alerts.clone(),
            channels: channels.clone(),
            services: services.clone(),
            public_url: settings.public_url.clone(),
            blocked: BlockedNetworks::default(),
            clock: clock.clone(),
        });
        let desk = Arc::new(desk);
        let state = ApiState {
            subscriptions: desk.clone(),
            tracker: tracker.clone(),
            store: store.clone(),
            services: services.clone(),
            alerts: alerts.clone(),
            inbox,
            exits: Arc::new(Ways {
                stored: StoredExits { channels: channels.clone(), sender: sender.clone() },
                played: Recording(Recorder::new(&["mail", "chat"])),
            }),
            incidents: incidents.clone(),
            digests: digests.clone(),
            digest_orders: played_digester(digests.clone(), writer.clone()),
            digest_hours: 24,
            findings: findings.clone(),
            habits: Arc::default(),
            uptimes,
            windows,
            slos: Arc::new(slo_desk),
            users: users.clone(),
            sessions,
            web_sessions: Arc::new(web_sessions),
            api_keys: api_keys.clone(),
            second_factors: second_factors.clone(),
            oidc: Oidc::of(oidc, &secrets, &clock).expect("a client is made"),
            audit: audit.clone(),
            channels: channels.clone(),
            sender,
            secrets: secrets.clone(),
            board: board.clone(),
            strips: strips.clone(),
            clock: clock.clone(),
            settings,
            effective: effective(),
            log_dir: logs.path().to_owned(),
            default_schedule,
            status: StatusSettings {
                title: Some("Example status".to_owned()),
                accent: Some("#0b6e63".to_owned()),
                subscriptions,
                ..StatusSettings::default()
            },
            services_changed: Arc::new(move || {
                nudged.fetch_add(1, Ordering::Relaxed);
            }),
            membership: membership.clone(),
            check_now: Arc::new(move |service, watched| {
                let (answer, result) = oneshot::channel();
                let (watcher, progress) = watched.then(|| tokio::sync::watch::channel(None)).unzip();
                let sent = checks.try_send(CheckNow { service, answer, watcher });
                let asked = Asked { region: "local".into(), node: "local-test".into(), result, progress };
                if sent.is_ok() { vec![asked] } else { Vec::new() }
            }),
            try_check: Arc::new(|_, region| Box::pin(async move { Ok(tried(region)) })),
            tree: Arc::new(|| Box::pin(async { tree() })),
            events: events.clone(),
            metrics: metrics.clone(),
            endpoints,
            system,
            nodes: nodes.clone(),
            token_issuer: TokenIssuer::new(&mesh(), &authority, nodes.clone()),
            node_revoked: Arc::new(move |node| noted.lock().expect("no holder panics").push(node.to_string())),
        };
        users.ensure_admin(Some(PASSWORD)).await.expect("the first admin is made");
        for role in [Role::Viewer, Role::Operator] {
            users.create(role.name(), PASSWORD, role, &author()).await.expect("a user is made");
        }
        let figment = rocket::Config::figment().merge(("log_level", "off")).merge(("ip_header", false));
        let client = Client::untracked(web::mount(api::mount(rocket::custom(figment), state))).await.expect("the routes do not collide");
        let batches = AtomicUsize::new(0);
        World {
            client,
            clock,
            store,
            services,
            users,
            audit,
            api_keys,
            second_factors,
            secrets,
            logs,
            board,
            strips,
            incidents,
            metrics,
            events,
            nudges,
            requests: Some(requests),
            nodes,
            findings,
            digests,
            writer,
            alerts,
            said: Mutex::new(said),
            channels,
            authority,
            revoked,
            membership,
            tracker,
            subscriptions: desk,
            notes: Mutex::new(told),
            batches,
        }
    }

    /// Logs in and gives the access token.
    pub async fn token(&self, username: &str) -> String {
        let answer = self.post("/api/token/", None, json!({"username": username, "password": PASSWORD})).await.expect(200);
        answer["access"].as_str().expect("there is a token").to_owned()
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send(Method::Get, path, token, None).await
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.send(Method::Post, path, token, Some(body)).await
    }

    pub async fn send(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        self.send_text(method, path, token, body.map(|body| body.to_string()), ContentType::JSON).await
    }

    pub async fn send_text(&self, method: Method, path: &str, token: Option<&str>, body: Option<String>, kind: ContentType) -> Answer {
        let mut request = self.client.req(method, path.to_owned()).remote("198.51.100.7:4711".parse().expect("an address"));
        if let Some(token) = token {
            request.add_header(Header::new("Authorization", format!("Bearer {token}")));
        }
        if let Some(body) = body {
            request.add_header(kind);
            request.set_body(body);
        }
        answer(request.dispatch().await).await
    }

    /// Stores results as a node's batch would be stored.
    pub async fn append(&self, results: &[CheckResult]) {
        let number = self.batches.fetch_add(1, Ordering::Relaxed) as u64 + 1;
        let head = BatchHead::new(&NodeName::from("node"), &RegionName::from("local"), Boot(1), number, 0);
        self.store.results.append(&encode(&head, results)).await.expect("a batch is stored");
    }

    /// Lets the board know the services there are.
    pub fn show_services(&self) {
        let list = self.services.list();
        let schedule = Schedule::Interval(Duration::from_secs(60));
        let services: Vec<Service> =
            list.iter().map(|service| service.document.check(service.id, &schedule).expect("it was checked")).collect();
        self.board.replace_services(&services, self.clock.now());
    }

    /// A service is created through the API; its number.
    pub async fn service(&self, token: &str, document: Value) -> u32 {
        let answer = self.post("/api/monitor/services/", Some(token), document).await.expect(201);
        answer["id"].as_u64().expect("it has a number") as u32
    }
}

pub async fn answer(response: LocalResponse<'_>) -> Answer {
    let status = response.status().code;
    let kind = response.content_type().map(|kind| format!("{}/{}", kind.top(), kind.sub())).unwrap_or_default();
    let headers = response.headers().iter().map(|header| (header.name().to_string(), header.value().to_owned())).collect();
    let text = response.into_string().await.unwrap_or_default();
    Answer { status, kind, headers, text }
}

fn effective() -> Arc<[Setting]> {
    let setting = |path: &str, value: &str, origin| {
        Setting::new(path, value, origin, format!("PROBEMESH_{}", path.to_uppercase().replace('.', "__")))
    };
    Arc::new([
        setting("log.level", "info", Origin::Default),
        setting("store.password", "hunter2", Origin::Variable("DATABASE_PASSWORD".to_owned())),
        setting("status.title", "Example status", Origin::File("Rocket.toml".into())),
    ])
}

fn played_digester(digests: Arc<Digests>, writer: Arc<Mutex<Writer>>) -> mpsc::Sender<Order> {
    let (orders, mut taken) = mpsc::channel::<Order>(4);
    tokio::spawn(async move {
        let mut waiting = Vec::new();
        while let Some(order) = taken.recv().await {
            let becomes = std::mem::replace(&mut *writer.lock().expect("no holder panics"), Writer::Busy);
            match becomes {
                Writer::Busy => drop(order.answer.send(Err(Refused::Busy))),
                Writer::Slow => waiting.push(order.answer),
                Writer::Writes(digest) => {
                    digests.save(&digest).await.expect("it is stored");
                    let _ = order.answer.send(Ok(Arc::new(*digest)));
                }
            }
        }
    });
    orders
}

pub fn author() -> Author {
    Author { who: "test".to_owned(), address: None }
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("it is a time")
}

fn tree() -> ClusterView {
    let actor = ActorView { name: "supervisor".to_owned(), state: "running".to_owned(), ..ActorView::default() };
    let region = Some("local".to_owned());
    let node = NodeView { name: "node".to_owned(), region, connected: true, generation: Some(3), actors: vec![actor] };
    ClusterView { generated_at: "2026-11-22T08:00:00.000Z".to_owned(), nodes: vec![node] }
}

/// A good result of a service, `seconds` after eight o'clock.
pub fn good(service: u32, seq: u64, seconds: u64) -> CheckResult {
    let started_at = at("2026-11-22T08:00:00Z").plus(Duration::from_secs(seconds));
    CheckResult {
        id: CheckId { node: NodeName::from("node"), boot: Boot(1), seq },
        service: ServiceId(service),
        region: RegionName::from("local"),
        scheduled_at: started_at,
        started_at,
        latency: Duration::from_micros(12_345),
        elapsed: Duration::from_micros(12_345),
        status_code: Some(200),
        failure: None,
        phases: Phases { connect: Some(Duration::from_micros(900)), ..Phases::default() },
        address: Some("127.0.0.1".parse().expect("an address")),
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 2,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
        clock_offset: 0,
    }
}

/// The same, failed by its status.
pub fn bad(service: u32, seq: u64, seconds: u64) -> CheckResult {
    let failure = Failure { reason: Reason::Status, phase: Phase::Expect, message: "expected 200-299, got 503".to_owned() };
    CheckResult { status_code: Some(503), failure: Some(failure), ..good(service, seq, seconds) }
}

/// What a process sees of a service that is tried: all is well.
pub fn tried(region: RegionName) -> Trial {
    let verdicts = vec![Verdict { what: "status 200-299".to_owned(), failure: None }];
    Trial { result: CheckResult { region, ..good(0, 1, 0) }, verdicts }
}

/// Looks at a cluster the test plays.
pub fn desk(
    store: &Arc<Store>,
    nodes: &Arc<Nodes>,
    settings: SystemSettings,
    clock: &Clock,
    metrics: &Arc<Metrics>,
    cluster: impl Fn() -> Cluster + Send + Sync + 'static,
    moves: mpsc::UnboundedSender<CauseMove>,
) -> Arc<Desk> {
    let sources = SystemSources {
        records: SystemRecords::new(store.database.clone(), clock.clone()),
        store: store.clone(),
        endpoints: Arc::new(EndpointHours::new(store.database.clone(), clock.clone())),
        nodes: nodes.clone(),
        cluster: Arc::new(cluster),
        own_certificates: Vec::new(),
        folders: Folders { data: "/".into(), store: None, logs: "/there/is/no/such/folder".into() },
        clock: clock.clone(),
    };
    Arc::new(Desk::new(settings, Vec::new(), sources, moves, metrics.clone()))
}

/// Thresholds nothing crosses by itself.
pub fn system_settings() -> SystemSettings {
    SystemSettings {
        interval: Duration::from_secs(60),
        hold: Duration::from_secs(120),
        retain_samples: Duration::from_secs(7 * 86_400),
        retain_hours: Duration::from_secs(730 * 86_400),
        thresholds: Thresholds {
            disk_days: 0.0,
            disk_free_percent: 0.0,
            lag_p99: Duration::from_secs(1),
            outbox_age: Duration::from_secs(300),
            store_write: Duration::ZERO,
            descriptors_percent: 0.0,
            quarantined: true,
            node_certificate_days: 7.0,
            authority_days: 60.0,
            api_p95: Duration::ZERO,
        },
        dependencies: Vec::new(),
    }
}

fn mesh() -> MeshSettings {
    MeshSettings {
        listen: Some("127.0.0.1:4697".parse().expect("an address")),
        address: Some("hub.example:4697".to_owned()),
        hub: None,
        join_secret: None,
        heartbeat: Duration::from_secs(2),
        deadline: Duration::from_secs(8),
        catch_up_bytes_per_s: 4 << 20,
    }
}

pub fn store_settings() -> StoreSettings {
    StoreSettings {
        url: Some("mem://".to_owned()),
        username: None,
        password: None,
        ca: None,
        data_dir: "unused".into(),
        memtable_bytes: 8 << 20,
        block_cache_bytes: 4 << 20,
        block_results: 500,
        block_span: Duration::from_secs(3600),
        journal_max_bytes: 8 << 20,
        retain_results: Duration::from_secs(30 * 86_400),
        retain_details: Duration::from_secs(90 * 86_400),
        retain_minutes: Duration::from_secs(30 * 86_400),
        details_per_hour: 100,
    }
}
