//! The monitor's own health: real servers asked by their own protocols, what is told of those that fail, thresholds that raise and
//! clear, what is kept, and what a cron job sees of it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use probemesh::api::metrics::Metrics;
use probemesh::clock::Clock;
use probemesh::config::system::SystemSettings;
use probemesh::model::alert::{CauseKind, CauseMove};
use probemesh::model::incident::Severity;
use probemesh::model::system::Health;
use probemesh::store::Store;
use probemesh::store::audit::Audit;
use probemesh::store::nodes::Nodes;
use probemesh::store::secrets::Secrets;
use probemesh::system::desk::Desk;
use probemesh::system::look::{Cluster, Node};
use rocket::http::{Method, Status};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::api_world::{at, desk, store_settings, system_settings};
use crate::binary::{Binary, free_port, run};
use crate::smtp_server::SmtpServer;
use crate::system_servers::{mariadb, mongodb, postgresql, redis, silent, stranger};
use crate::target::{Reply, Target};
use crate::world::World;

const HEALTH: &str = "/api/v1/maintenance/health";
const COLLECT: &str = "/api/v1/maintenance/metrics/collect";
const SECRET: &str = "geheim-4711";

/// Dependencies as the environment would give them.
#[derive(Default)]
struct Declared(Vec<(String, String)>);

impl Declared {
    fn with(mut self, name: &str, settings: &[(&str, &str)]) -> Declared {
        for (key, value) in settings {
            let variable = format!("PROBEMESH_DEPENDENCIES__{}__{}", name.to_uppercase(), key.to_uppercase());
            self.0.push((variable, (*value).to_owned()));
        }
        self
    }

    async fn world(&self) -> World {
        let settings: Vec<(&str, &str)> = self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        World::with(&settings).await
    }
}

async fn collected(world: &World) -> Value {
    let (status, health) = world.ask(Method::Post, COLLECT, None).await;
    assert_eq!(status, Status::Ok, "{health}");
    health
}

/// The dependencies by name.
fn dependencies(health: &Value) -> BTreeMap<String, Value> {
    let list = health["dependencies"].as_array().unwrap();
    list.iter().map(|one| (one["name"].as_str().unwrap().to_owned(), one.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn real_servers_are_asked_by_their_own_protocols_and_tell_their_versions() {
    let (cache, open) = (redis(Some(SECRET)), redis(None));
    let (orders, shop) = (postgresql(SECRET), mariadb(SECRET));
    let (documents, anybody) = (mongodb(Some(("watch", SECRET))).await, mongodb(None).await);
    let (mail, secured) = (SmtpServer::start("plain", None), SmtpServer::start("starttls", Some(&format!("watch:{SECRET}"))));
    let models = Target::plain(|asked| match (asked.path.as_str(), asked.header("authorization")) {
        ("/v1/models", Some(key)) if key == format!("Bearer {SECRET}") => {
            Reply::text(200, r#"{"object": "list", "data": [{"id": "m-1"}]}"#)
        }
        ("/v1/models", _) => Reply::text(401, r#"{"error": {"message": "Incorrect API key provided: wrong-"}}"#),
        _ => Reply::text(404, "{}"),
    })
    .await;
    let database = crate::server::Server::start("memory");
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, &secured.ca).unwrap();
    let authority = authority.display().to_string();

    let local = |scheme: &str, port: u16, rest: &str| format!("{scheme}://127.0.0.1:{port}{rest}");
    let (cache_url, open_url) = (local("redis", cache.port, "/2"), local("redis", open.port, ""));
    let (orders_url, shop_url) = (local("postgresql", orders.port, "/postgres"), local("mysql", shop.port, "/information_schema"));
    let (documents_url, anybody_url) = (local("mongodb", documents, ""), local("mongodb", anybody, ""));
    let (mail_url, secured_url) = (local("smtp", mail.port, ""), format!("smtp://localhost:{}", secured.port));
    let models_url = format!("{}/v1", models.url("http", "127.0.0.1"));
    let database_url = database.url();
    let mut declared = Declared::default()
        .with("cache", &[("kind", "redis"), ("url", &cache_url), ("password", SECRET)])
        .with("cache_wrong", &[("kind", "redis"), ("url", &cache_url), ("password", "guessed-1")])
        .with("cache_none", &[("kind", "redis"), ("url", &cache_url)])
        .with("open", &[("kind", "redis"), ("url", &open_url)])
        .with("open_wrong", &[("kind", "redis"), ("url", &open_url), ("password", "guessed-1")])
        .with("open_tls", &[("kind", "redis"), ("url", &open_url.replace("redis:", "rediss:"))])
        .with("orders", &[("kind", "postgresql"), ("url", &orders_url), ("user", "postgres"), ("password", SECRET)])
        .with("orders_wrong", &[("kind", "postgresql"), ("url", &orders_url), ("user", "postgres"), ("password", "guessed-1")])
        .with("orders_none", &[("kind", "postgresql"), ("url", &orders_url), ("user", "postgres")])
        .with(
            "orders_lost",
            &[("kind", "postgresql"), ("url", &orders_url.replace("/postgres", "/lost")), ("user", "postgres"), ("password", SECRET)],
        )
        .with(
            "orders_tls",
            &[("kind", "postgresql"), ("url", &format!("{orders_url}?sslmode=require")), ("user", "postgres"), ("password", SECRET)],
        )
        .with("shop", &[("kind", "mysql"), ("url", &shop_url), ("user", "watch"), ("password", SECRET)])
        .with("shop_wrong", &[("kind", "mysql"), ("url", &shop_url), ("user", "watch"), ("password", "guessed-1")])
        .with("documents", &[("kind", "mongodb"), ("url", &documents_url), ("user", "watch"), ("password", SECRET)])
        .with("documents_wrong", &[("kind", "mongodb"), ("url", &documents_url), ("user", "watch"), ("password", "guessed-1")])
        .with("documents_none", &[("kind", "mongodb"), ("url", &documents_url)])
        .with("anybody", &[("kind", "mongodb"), ("url", &anybody_url)])
        .with("mail", &[("kind", "smtp"), ("url", &mail_url)])
        .with("secured", &[("kind", "smtp"), ("url", &secured_url), ("user", "watch"), ("password", SECRET), ("ca", &authority)])
        .with("secured_wrong", &[("kind", "smtp"), ("url", &secured_url), ("user", "watch"), ("password", "guessed-1"), ("ca", &authority)])
        .with("secured_strange", &[("kind", "smtp"), ("url", &secured_url)])
        .with("models", &[("kind", "openai"), ("url", &models_url), ("password", SECRET)])
        .with("models_wrong", &[("kind", "openai"), ("url", &models_url), ("password", "guessed-1")])
        .with("models_lost", &[("kind", "openai"), ("url", models_url.trim_end_matches("/v1")), ("password", SECRET)])
        .with("own", &[("kind", "surrealdb")])
        .with(
            "database",
            &[("kind", "surrealdb"), ("url", &database_url), ("user", crate::server::USER), ("password", crate::server::PASSWORD)],
        )
        .with("database_wrong", &[("kind", "surrealdb"), ("url", &database_url), ("user", "root"), ("password", "guessed-1")]);
    declared.0.push(("PROBEMESH_LOG__LEVEL".to_owned(), "debug".to_owned()));
    let world = declared.world().await;
    let health = collected(&world).await;
    let found = dependencies(&health);

    let up = [
        ("cache", "7."),
        ("open", "7."),
        ("orders", "15."),
        ("shop", "10."),
        ("documents", "7.0.14-wire"),
        ("anybody", "7.0.14-wire"),
        ("mail", "Python SMTP"),
        ("secured", "Python SMTP"),
        ("models", ""),
        ("own", "3."),
        ("database", "3."),
    ];
    for (name, version) in up {
        let one = &found[name];
        assert_eq!((&one["state"], &one["error"]), (&json!("up"), &Value::Null), "{name}: {one:#}");
        // Servers of models tell no version.
        let told = one["version"].as_str().unwrap_or_default();
        assert!(told.contains(version) && told.is_empty() == version.is_empty(), "{name}: {one:#}");
    }
    let failing = [
        ("cache_wrong", "auth", "the server refuses the user name or password (WRONGPASS)"),
        ("cache_none", "auth", "the server asks for a password"),
        ("open_wrong", "auth", "the server has no password set, and refuses one"),
        ("open_tls", "timeout", "no answer within 5 s (in the TLS handshake)"),
        ("orders_wrong", "auth", "the server refuses the log-in: password authentication failed for user \"postgres\" (28P01)"),
        ("orders_none", "auth", "the server asks for a password"),
        ("orders_lost", "protocol", "the server answers: database \"lost\" does not exist (3D000)"),
        ("orders_tls", "tls", "the server offers no TLS"),
        ("shop_wrong", "auth", "the server refuses the user name, the password or the host it is used from (1045)"),
        ("documents_wrong", "auth", "the server refuses the user name or password"),
        ("documents_none", "auth", "the server asks for a log-in before ping"),
        ("secured_wrong", "auth", "the server refuses the user name or password (535)"),
        ("secured_strange", "tls", "unknown issuer: the certificate was issued by "),
        ("models_wrong", "auth", "the server refuses the key (401)"),
        ("models_lost", "protocol", "the server knows no /models there (404): see to the path of the URL"),
        ("database_wrong", "auth", "the server refuses the user name or password"),
    ];
    for (name, phase, message) in failing {
        let one = &found[name];
        // Redis answers what is no command of its own at the end of a line, which a greeting of TLS has or has not by chance.
        if name == "open_tls" && one["error"]["phase"] == "timeout" {
            continue;
        }
        assert_eq!(one["error"]["phase"], phase, "{name}: {one:#}");
        assert!(one["error"]["message"].as_str().unwrap().starts_with(message), "{name}: {one:#}");
        // The hub may have looked once by itself before.
        assert!(one["state"] == "failing" || one["state"] == "down", "{one:#}");
    }
    assert_eq!(found.len(), up.len() + failing.len());

    // Asked often enough, those that fail are down, and the whole is no longer well; nowhere is a secret.
    let health = collected(&world).await;
    assert_eq!(dependencies(&health)["cache_wrong"]["state"], "down");
    assert_eq!(health["status"], "degraded");
    let reasons = health["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), failing.len(), "{reasons:#?}");
    let cache = reasons.iter().find(|reason| reason["watched"] == "dependency-cache_none").unwrap();
    assert_eq!(cache["text"], "dependency cache_none (redis) is down: auth: the server asks for a password");
    assert_eq!(cache["next_step"], "see to dependencies.cache_none.user and password");
    let metrics = world.get("/metrics").await.as_str().unwrap().to_owned();
    for line in [
        "probemesh_dependency_up{dependency=\"cache\",kind=\"redis\"} 1",
        "probemesh_dependency_up{dependency=\"cache_wrong\",kind=\"redis\"} 0",
        "probemesh_system_health 1",
        "probemesh_system_alarm{watched=\"dependency-orders_tls\",severity=\"warning\"} 1",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    for text in [health.to_string(), world.get(HEALTH).await.to_string(), metrics, world.get("/api/v1/cluster").await.to_string()] {
        assert!(!text.contains(SECRET) && !text.contains("guessed-1") && !text.contains(crate::server::PASSWORD), "{text}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_a_silent_server_and_a_strange_one_are_told_apart() {
    let (dead, silent, stranger) = (free_port(), silent().await, stranger().await);
    let kinds = [
        ("redis", "redis"),
        ("mongodb", "mongodb"),
        ("postgresql", "postgresql"),
        ("mysql", "mysql"),
        ("smtp", "smtp"),
        ("openai", "http"),
        ("surrealdb", "ws"),
    ];
    let mut declared = Declared::default();
    for (kind, scheme) in kinds {
        for (what, port) in [("dead", dead), ("silent", silent), ("strange", stranger)] {
            let url = format!("{scheme}://127.0.0.1:{port}");
            declared = declared.with(&format!("{kind}_{what}"), &[("kind", kind), ("url", &url), ("timeout_s", "1"), ("down_after", "1")]);
        }
        declared = declared
            .with(&format!("{kind}_nowhere"), &[("kind", kind), ("url", &format!("{scheme}://nowhere.test:1")), ("timeout_s", "4")]);
    }
    // Nobody answers for names, and at once.
    declared.0.push(("PROBEMESH_PROBE__NAME_SERVERS".to_owned(), format!("127.0.0.1:{dead}")));
    let world = declared.world().await;
    let found = dependencies(&collected(&world).await);
    for (kind, _) in kinds {
        let told = |what: &str| {
            let error = &found[&format!("{kind}_{what}")]["error"];
            (error["phase"].as_str().unwrap_or_default().to_owned(), error["message"].as_str().unwrap_or_default().to_owned())
        };
        let (phase, message) = told("dead");
        assert_eq!(phase, "connect", "{kind}: {message}");
        assert!(message.starts_with("connection refused"), "{kind}: {message}");
        let (phase, message) = told("silent");
        assert_eq!(phase, "timeout", "{kind}: {message}");
        assert!(message.starts_with("no answer within 1 s ("), "{kind}: {message}");
        let (phase, message) = told("strange");
        assert_eq!(phase, "protocol", "{kind}: {message}");
        assert!(!message.is_empty(), "{kind}");
        let (phase, message) = told("nowhere");
        assert!(phase == "dns" || (phase == "timeout" && message.ends_with("(resolving the name)")), "{kind}: {phase}: {message}");
    }
    let strange = |name: &str| found[name]["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(strange("redis_strange"), "the server does not speak Redis: it answers \"HTTP/1.1 400 Bad Request\"");
    assert_eq!(strange("smtp_strange"), "the server does not speak SMTP: it says \"HTTP/1.1 400 Bad Request\"");
    assert_eq!(strange("mongodb_strange"), "the server does not speak MongoDB: it answers \"HTTP/1.1 400 Bad\"");
    world.finish().await;
}

/// A desk over a store in memory and a cluster the test plays.
struct Office {
    clock: Clock,
    store: Arc<Store>,
    nodes: Arc<Nodes>,
    cluster: Arc<Mutex<Cluster>>,
    metrics: Arc<Metrics>,
    settings: SystemSettings,
}

impl Office {
    async fn new() -> Office {
        let clock = Clock::manual(at("2026-11-22T08:00:00Z"));
        let store = Arc::new(Store::open(&store_settings(), clock.clone()).await.unwrap());
        let audit = Arc::new(Audit::new(store.database.clone(), clock.clone()));
        let secrets = Arc::new(Secrets::from_key(&[7; 32]));
        let nodes = Arc::new(Nodes::open(store.database.clone(), secrets, audit, clock.clone()).await.unwrap());
        let node = Node { name: "eu-1".to_owned(), region: "eu".to_owned(), connected: true, ..Node::default() };
        let cluster = Arc::new(Mutex::new(Cluster { nodes: vec![node], ..Cluster::default() }));
        Office { clock, store, nodes, cluster, metrics: Arc::default(), settings: system_settings() }
    }

    fn open(&self) -> (Arc<Desk>, mpsc::UnboundedReceiver<CauseMove>) {
        let (moves, told) = mpsc::unbounded_channel();
        let played = self.cluster.clone();
        let cluster = move || played.lock().unwrap().clone();
        (desk(&self.store, &self.nodes, self.settings.clone(), &self.clock, &self.metrics, cluster, moves), told)
    }

    fn node(&self, change: impl FnOnce(&mut Node)) {
        change(&mut self.cluster.lock().unwrap().nodes[0]);
    }

    async fn minute(&self, desk: &Desk) -> Health {
        self.clock.advance(Duration::from_secs(60)).await;
        desk.collect().await.health
    }
}

fn all(told: &mut mpsc::UnboundedReceiver<CauseMove>) -> Vec<CauseMove> {
    std::iter::from_fn(|| told.try_recv().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_threshold_is_told_of_when_it_holds_again_after_a_restart_and_when_it_is_over() {
    let office = Office::new().await;
    let (desk, mut told) = office.open();
    assert_eq!(desk.collect().await.health, Health::Healthy);
    // A lag of a minute is none.
    office.node(|node| node.lag_p99_ms = Some(5000.0));
    assert_eq!(office.minute(&desk).await, Health::Healthy);
    office.node(|node| node.lag_p99_ms = Some(2.0));
    assert_eq!(office.minute(&desk).await, Health::Healthy);
    assert_eq!(all(&mut told), []);
    // Results that wait for long are one alarm, worse after an hour.
    office.node(|node| node.outbox_oldest = Some(at("2026-11-22T07:55:00Z")));
    assert_eq!(office.minute(&desk).await, Health::Healthy);
    assert_eq!(office.minute(&desk).await, Health::Healthy);
    assert_eq!(office.minute(&desk).await, Health::Degraded);
    let moves = all(&mut told);
    let [CauseMove::Raised(cause)] = moves.as_slice() else { panic!("{moves:?}") };
    assert_eq!((cause.kind, cause.severity, cause.since), (CauseKind::System, Severity::Warning, at("2026-11-22T08:03:00Z")));
    assert_eq!(cause.headline, "probemesh itself: node eu-1 holds results that are 10 min old and not stored, more than 5 min");
    assert_eq!(cause.key, format!("system-outbox_age-{}", at("2026-11-22T08:03:00Z").0 / 1000));
    let key = cause.key.clone();
    assert_eq!(office.minute(&desk).await, Health::Degraded);
    assert_eq!(all(&mut told), [], "it is told once");

    // A restart: it still holds, under the same key, and at once.
    drop(desk);
    let (desk, mut told) = office.open();
    assert_eq!(desk.collect().await.health, Health::Degraded);
    assert!(matches!(all(&mut told).as_slice(), [CauseMove::Raised(cause)] if cause.key == key));
    for _ in 0..60 {
        office.minute(&desk).await;
    }
    assert_eq!(desk.latest().unwrap().health, Health::Critical);
    let worse = all(&mut told);
    assert!(
        matches!(worse.as_slice(), [CauseMove::Raised(cause)] if cause.key == key && cause.severity == Severity::Critical),
        "{worse:?}"
    );

    // Another restart, after which it is over: that is told too.
    drop(desk);
    office.node(|node| node.outbox_oldest = None);
    let (desk, mut told) = office.open();
    assert_eq!(desk.collect().await.health, Health::Critical, "not believed yet");
    office.minute(&desk).await;
    assert_eq!(office.minute(&desk).await, Health::Healthy);
    assert!(matches!(all(&mut told).as_slice(), [CauseMove::Cleared { key: over, .. }] if *over == key));
    drop(desk);
    let (desk, mut told) = office.open();
    assert_eq!((desk.collect().await.health, all(&mut told)), (Health::Healthy, vec![]), "it is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_critical_and_what_could_not_be_kept_is_kept_later() {
    let office = Office::new().await;
    let (desk, mut told) = office.open();
    desk.collect().await;
    office.cluster.lock().unwrap().quarantined = vec!["shop".to_owned()];
    office.node(|node| node.quarantined = 1);
    office.store.shutdown().await.unwrap();
    let report = desk.collect().await;
    // A quarantine is believed at once; that the store is away takes half a minute.
    assert_eq!(report.health, Health::Degraded);
    office.minute(&desk).await;
    let report = desk.latest().unwrap();
    assert_eq!((report.health, report.store_error.as_deref()), (Health::Critical, Some("store is closed")));
    let texts: Vec<String> = report.alarms.iter().map(|alarm| alarm.text.clone()).collect();
    assert_eq!(texts, ["the store does not answer: store is closed", "a probe is in quarantine and checks nothing: shop"]);
    let kinds: Vec<bool> = all(&mut told).iter().map(|told| matches!(told, CauseMove::Raised(_))).collect();
    assert_eq!(kinds, [true, true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_kept_and_drawn_with_where_they_are_heading() {
    let office = Office::new().await;
    let (desk, _told) = office.open();
    // Four days, a look every ten minutes; the outbox grows all the time.
    for look in 0..4 * 144 {
        office.node(|node| node.outbox_results = 1_000 + 10 * look);
        desk.collect().await;
        office.clock.advance(Duration::from_secs(600)).await;
    }
    let course = |courses: &BTreeMap<_, probemesh::system::trend::Course>| {
        let of = probemesh::system::trend::Of::Figure(probemesh::model::system::Figure::OutboxResults);
        courses[&of].clone()
    };
    let (width, day) = desk.trend(24).await.unwrap();
    let day = course(&day);
    assert_eq!((width, day.whole.count, day.points.len()), (30 * 60_000_000, 144, 48));
    assert_eq!((day.whole.min, day.whole.max, day.direction.name()), (1_000.0 + 10.0 * 432.0, 1_000.0 + 10.0 * 575.0, "rising"));
    // Longer than looks are drawn from: hours, and the same looks in them, none twice.
    let (width, all_of_it) = desk.trend(96).await.unwrap();
    let all_of_it = course(&all_of_it);
    assert_eq!((width, all_of_it.whole.count, all_of_it.whole.min), (2 * 3_600_000_000, 4 * 144, 1_000.0));

    // After a restart an hour that was not rolled yet is.
    drop(desk);
    office.clock.advance(Duration::from_secs(2 * 3600)).await;
    let (desk, _told) = office.open();
    desk.collect().await;
    let again = course(&desk.trend(98).await.unwrap().1);
    assert_eq!(again.whole.count, 4 * 144 + 1);

    // Looks are let go of after a week, hours are not.
    office.clock.advance(Duration::from_secs(8 * 86_400)).await;
    desk.collect().await;
    office.clock.advance(Duration::from_secs(3600)).await;
    desk.collect().await;
    let records = probemesh::store::system::SystemRecords::new(office.store.database.clone(), office.clock.clone());
    let (long_ago, now) = (at("2026-11-01T00:00:00Z"), office.clock.now().plus(Duration::from_secs(1)));
    assert_eq!(records.samples(long_ago, now).await.unwrap().len(), 2);
    let old = course(&desk.trend(24 * 14).await.unwrap().1);
    assert_eq!(old.whole.count, 4 * 144 + 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_shows_every_part_and_the_schedule_fills_the_trend() {
    let world = World::with(&[("PROBEMESH_API__ACCESS_LIFETIME_MINUTES", "1440")]).await;
    let health = world.get(HEALTH).await;
    assert_eq!((&health["status"], &health["reasons"]), (&json!("healthy"), &json!([])), "{health:#}");
    assert_eq!((&health["store"]["connected"], &health["store"]["place"]), (&json!(true), &json!("mem://")));
    for (part, names) in [
        ("store", &["write_ms", "read_ms", "journal_bytes"][..]),
        ("disk", &["free_bytes", "free_percent"]),
        ("cluster", &["nodes_connected", "nodes_lost", "outbox_results", "outbox_oldest_s"]),
        ("actors", &["restarts", "quarantined"]),
        ("process", &["rss_bytes", "descriptors", "descriptors_percent", "threads"]),
        ("monitor", &["collect_cpu_ms"]),
    ] {
        for name in names {
            assert!(health[part][name].is_number(), "{part}.{name} of {health:#}");
        }
    }
    assert_eq!(health["cluster"]["nodes"][0]["link"], "local");
    let began = world.clock.steady();
    let step = Duration::from_secs(15);
    world
        .until(step, "an hour of looks", async |world| {
            let looks = world.hub.tree.system_monitor.lock().unwrap().looks;
            (looks >= 60).then_some(())
        })
        .await;
    let took = world.clock.steady() - began;
    assert!(took >= Duration::from_secs(59 * 60), "60 looks in {took:?}");
    let health = world.get(&format!("{HEALTH}?hours=2")).await;
    let trend = health["trend"]["figures"].as_array().unwrap();
    let memory = trend.iter().find(|course| course["name"] == "process.rss_bytes").unwrap();
    assert!(memory["points"].as_array().unwrap().len() >= 20 && memory["unit"] == "bytes", "{memory}");
    assert!(memory["direction"].is_string() && memory["min"].as_f64().unwrap() > 1e6, "{memory}");
    let inspect = world.get("/api/v1/cluster").await.to_string();
    assert!(inspect.contains(r#""name":"system_monitor""#), "{inspect}");
    for (query, field) in [("hours=0", "hours"), ("hours=9000", "hours"), ("hours=x", "hours"), ("days=1", "days")] {
        let (status, problem) = world.ask(Method::Get, &format!("{HEALTH}?{query}"), None).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (Status::BadRequest, &json!(field)), "{problem}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_dependency_holds_up_neither_a_look_nor_the_others() {
    let silent = silent().await;
    let url = format!("redis://127.0.0.1:{silent}");
    let mut declared = Declared::default();
    for number in 0..20 {
        declared = declared.with(&format!("slow_{number}"), &[("kind", "redis"), ("url", &url), ("timeout_s", "5")]);
    }
    let world = declared.world().await;
    let began = Instant::now();
    let health = world.get(HEALTH).await;
    assert!(began.elapsed() < Duration::from_millis(2500), "a look waits for dependencies: {:?}", began.elapsed());
    assert_eq!(dependencies(&health)["slow_7"]["state"], "unknown", "{health:#}");
    let began = Instant::now();
    collected(&world).await;
    assert!(began.elapsed() < Duration::from_secs(40), "dependencies are asked one after the other: {:?}", began.elapsed());
    world.finish().await;
}

#[tokio::test]
async fn a_cron_job_reads_the_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("services.json"), "[]").unwrap();
    let (port, dead) = (free_port(), free_port());
    let output = run(folder.path(), port, &["monitor", "--once"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "probemesh: no hub runs here\n");

    let url = format!("redis://127.0.0.1:{dead}");
    let dependency = [
        ("PROBEMESH_DEPENDENCIES__CACHE__KIND", "redis"),
        ("PROBEMESH_DEPENDENCIES__CACHE__URL", &*url),
        ("PROBEMESH_DEPENDENCIES__CACHE__DOWN_AFTER", "1"),
    ];
    let critical = [&dependency[..], &[("PROBEMESH_DEPENDENCIES__CACHE__CRITICAL", "true")]].concat();
    for (settings, code, word) in [(&[][..], 0, "healthy"), (&dependency[..], 1, "degraded"), (&critical[..], 2, "critical")] {
        // What the machine the tests run on is short of is not what this is about.
        let quiet = [("PROBEMESH_SYSTEM__MIN_DISK_FREE_PERCENT", "0"), ("PROBEMESH_SYSTEM__MAX_STORE_WRITE_MS", "0")];
        let mut hub = Binary::launch(folder.path(), port, &[settings, &quiet].concat());
        hub.listening().await;
        let output = run(folder.path(), port, &["monitor", "--once"]);
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{page}{}", String::from_utf8_lossy(&output.stderr));
        assert!(page.starts_with(&format!("probemesh  {word}")) && !page.contains('\x1b'), "{page}");
        assert_eq!(
            page.contains(&format!("dependency cache (redis) is down: connect: connection refused by 127.0.0.1:{dead}")),
            code > 0,
            "{page}"
        );
        let output = run(folder.path(), port, &["monitor", "--once", "--json", "--hours", "2"]);
        let health: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &health["status"], &health["trend"]["hours"]), (Some(code), &json!(word), &json!(2)));
        assert!(health["store"]["bytes"].as_f64().unwrap() > 1_000.0 && health["store"]["write_ms"].as_f64().unwrap() > 0.0, "{health:#}");
        assert!(health["logs"]["bytes"].as_f64().unwrap() > 0.0, "{health:#}");
        assert!(hub.end().0.success());
    }
    assert_eq!(run(folder.path(), port, &["monitor"]).status.code(), Some(2), "it takes --once or --interval");
}

#[tokio::test]
async fn a_terminal_is_refreshed_in_place_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("services.json"), "[]").unwrap();
    let port = free_port();
    let hub = Binary::start(folder.path(), port).await;
    let program = env!("CARGO_BIN_EXE_probemesh");
    // `script` gives it a terminal, `timeout` presses Ctrl-C.
    let watch = |seconds: u32, settings: &str| {
        let line = format!("{settings} ROCKET_PORT={port} timeout -s INT {seconds} {program} monitor --interval 1");
        let output =
            Command::new("script").args(["-qec", &line, "/dev/null"]).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let seen = watch(4, "");
    assert!(seen.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{seen:?}");
    assert!(seen.ends_with("\x1b[?25h\x1b[?1049l"), "{seen:?}");
    assert!(seen.matches("\x1b[H").count() >= 2, "it is not refreshed: {seen:?}");
    assert!(seen.contains("\x1b[32mhealthy\x1b[0m") || seen.contains("\x1b[33mdegraded\x1b[0m"), "{seen:?}");
    let plain = watch(2, "NO_COLOR=1");
    assert!(plain.contains("probemesh  ") && !plain.contains("\x1b[32m") && !plain.contains("\x1b[2m"), "{plain:?}");
    assert!(hub.end().0.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_cheap_whatever_lies_in_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..5_000 {
        std::fs::write(folder.path().join(format!("{number}.vlog")), [0; 64]).unwrap();
    }
    let began = probemesh::system::process::thread_cpu();
    let size = probemesh::system::folder::size(folder.path()).unwrap();
    let spent = probemesh::system::process::thread_cpu() - began;
    println!("5000 files summed in {spent:?} of CPU");
    assert_eq!(size, 5_000 * 64);
    assert!(spent < Duration::from_secs(2), "{spent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_kind_tcp_redis_and_mongodb_are_checked_by_the_same_protocols() {
    let (cache, documents, dead, silent) = (redis(Some(SECRET)), mongodb(Some(("watch", SECRET))).await, free_port(), silent().await);
    let world = World::start().await;
    let redis_url = format!("redis://127.0.0.1:{}/1", cache.port);
    let mongo_url = format!("mongodb://127.0.0.1:{documents}");
    let login = |user: &str, password: &str| json!({"type": "basic", "username": user, "password": password});
    let services = [
        (json!({"kind": "tcp", "base_url": format!("tcp://127.0.0.1:{}", cache.port)}), None),
        (
            json!({"kind": "tcp", "base_url": format!("tcp://127.0.0.1:{dead}")}),
            Some(("connect", "connect", format!("connection refused by 127.0.0.1:{dead}"))),
        ),
        (json!({"kind": "redis", "base_url": redis_url, "auth": login("", SECRET)}), None),
        (json!({"kind": "redis", "base_url": redis_url}), Some(("protocol", "first_byte", "the server asks for a password".to_owned()))),
        (
            json!({"kind": "redis", "base_url": format!("redis://127.0.0.1:{silent}"), "timeout_s": 0.5}),
            Some(("timeout", "first_byte", "no answer within 500 ms (waiting for the server's word)".to_owned())),
        ),
        (json!({"kind": "mongodb", "base_url": mongo_url, "auth": login("watch", SECRET)}), None),
        (
            json!({"kind": "mongodb", "base_url": mongo_url, "auth": login("watch", "guessed-1")}),
            Some(("protocol", "first_byte", "the server refuses the user name or password".to_owned())),
        ),
    ];
    for (number, (mut service, expected)) in services.into_iter().enumerate() {
        service["name"] = json!(format!("service {number}"));
        service["retries"] = json!(0);
        let id = world.add(service.clone()).await;
        let found = world.until(Duration::from_millis(100), "a result", async |world| world.results(id).await.into_iter().next()).await;
        let shown = (found["ok"].as_bool(), found["reason"].as_str(), found["phase"].as_str(), found["message"].as_str());
        match &expected {
            None => assert_eq!(shown, (Some(true), None, None, None), "{service} {found:#}"),
            Some((reason, phase, message)) => {
                assert_eq!(shown, (Some(false), Some(*reason), Some(*phase), Some(message.as_str())), "{service} {found:#}");
            }
        }
        assert_eq!(found["status_code"], Value::Null);
        assert!(!world.get(&format!("/api/monitor/services/{id}/")).await.to_string().contains(SECRET));
    }
    let wrong = [
        (json!({"kind": "gopher", "base_url": "gopher://a"}), "kind"),
        (json!({"kind": "redis", "base_url": "http://a"}), "base_url"),
        (json!({"kind": "redis", "base_url": "redis://a/zero"}), "base_url"),
        (json!({"kind": "tcp", "base_url": "tcp://a"}), "base_url"),
        (json!({"kind": "mongodb", "base_url": "mongodb://a/?w=1"}), "base_url"),
        (json!({"kind": "redis", "base_url": "redis://a", "method": "GET"}), "method"),
        (json!({"kind": "redis", "base_url": "redis://a", "expect": {"status": 200}}), "expect.status"),
        (json!({"kind": "tcp", "base_url": "tcp://a:1", "auth": login("a", "b")}), "auth"),
        (json!({"kind": "redis", "base_url": "redis://a", "auth": {"type": "bearer", "token": "t"}}), "auth"),
    ];
    for (mut service, field) in wrong {
        service["name"] = json!("wrong");
        let (status, problem) = world.ask(Method::Post, "/api/monitor/services/", Some(service.clone())).await;
        assert_eq!((status, &problem["errors"][0]["field"]), (Status::UnprocessableEntity, &json!(field)), "{service} {problem}");
    }
    world.finish().await;
}
