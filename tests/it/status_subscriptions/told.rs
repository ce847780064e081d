//! A whole monitor whose target breaks, with a real mail server and real receivers of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use probemesh::alert::channel::webhook::signature;
use probemesh::api::state::ApiState;
use probemesh::model::subscriber::{Choice, SubscriberKind};
use probemesh::store::subscribers::{Request, Taken};
use rocket::http::{ContentType, Method, Status};
use serde_json::{Value, json};

use crate::channels::mail::{header, taken_apart};
use crate::smtp_server::SmtpServer;
use crate::target::{Asked, Reply, Target};
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// What the monitor knows and the public does not.
const PRIVATE: [&str; 6] = ["s3cret", "127.0.0.1", "503", "expected", "admin", "the cable was cut"];

/// Settings of a hub that sends mails, and may call this machine.
const SETTINGS: [(&str, &str); 4] = [
    ("PROBEMESH_API__PUBLIC_URL", "https://hub.example/"),
    ("PROBEMESH_STATUS__TITLE", "Acme"),
    ("PROBEMESH_STATUS__MAIL_CHANNEL", "mail"),
    ("PROBEMESH_STATUS__PRIVATE_WEBHOOKS", "true"),
];

/// What is watched, and what it answers.
struct Shop {
    target: Target,
    status: Arc<AtomicU16>,
}

impl Shop {
    async fn open() -> Shop {
        let status = Arc::new(AtomicU16::new(200));
        let answered = status.clone();
        let target = Target::plain(move |_| Reply::text(answered.load(Ordering::SeqCst), "s3cret body")).await;
        Shop { target, status }
    }

    fn breaks(&self) {
        self.status.store(503, Ordering::SeqCst);
    }

    fn is_mended(&self) {
        self.status.store(200, Ordering::SeqCst);
    }

    async fn watched_by(&self, world: &World, name: &str) -> u64 {
        let document = json!({
            "name": name, "base_url": self.target.url("http", "127.0.0.1"), "health_path": "/s3cret", "interval_s": 5, "public": true,
        });
        world.add(document).await
    }
}

async fn mail_channel(world: &World, server: &SmtpServer) {
    let config = json!({
        "host": "localhost", "port": server.port, "security": "none", "from": "Acme <status@example.com>", "to": ["oncall@example.com"],
    });
    let channel = json!({"name": "mail", "kind": "email", "config": config, "save_anyway": true});
    let (status, made) = world.ask(Method::Post, "/api/v1/alerts/channels", Some(channel)).await;
    assert_eq!(status, Status::Created, "{made}");
    // With the first channel comes a rule, whose mails are of no concern here.
    for rule in world.get("/api/v1/alerts/rules").await["results"].as_array().unwrap() {
        let path = format!("/api/v1/alerts/rules/{}", rule["id"]);
        assert_eq!(world.ask(Method::Delete, &path, None).await.0, Status::NoContent);
    }
}

/// A mail as people read it.
struct Read {
    to: Value,
    subject: String,
    headers: Vec<(String, String)>,
    /// Plain and HTML.
    parts: Vec<String>,
}

/// Links hold random letters, which may say anything.
fn without_links(text: &str) -> String {
    text.split([' ', '\n', '"', '<', '>']).filter(|word| !word.contains("/status/")).collect::<Vec<_>>().join(" ")
}

impl Read {
    fn new(mail: &Value) -> Read {
        let (headers, parts) = taken_apart(mail["mail"].as_str().unwrap());
        let read = Read { to: mail["to"].clone(), subject: header(&headers, "Subject"), headers, parts };
        for private in PRIVATE {
            let told = read.parts.iter().chain([&read.subject]).any(|part| without_links(part).contains(private));
            assert!(!told, "{private} is in {}\n{:?}", read.subject, read.parts);
        }
        read
    }

    /// The path of a link below this one.
    fn link(&self, below: &str) -> String {
        let whole = format!("https://hub.example{below}");
        let after = self.parts[0].split(&whole).nth(1).unwrap_or_else(|| panic!("no {below} in {}", self.parts[0]));
        format!("{below}{}", after.split_whitespace().next().unwrap())
    }
}

async fn next_mail(world: &World, server: &SmtpServer) -> Read {
    Read::new(&world.until(SECOND, "a mail", async |_| server.next()).await)
}

/// Lets time pass in which something might be sent.
async fn pass(world: &World, seconds: u64) {
    for _ in 0..seconds {
        world.clock.advance(SECOND).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As anyone may who has no log-in.
async fn anyone(world: &World, method: Method, path: &str, body: Option<(ContentType, String)>) -> (Status, String) {
    let mut request = world.client.req(method, path.to_owned()).remote("198.51.100.7:4711".parse().unwrap());
    if let Some((kind, body)) = body {
        request = request.header(kind).body(body);
    }
    let answer = request.dispatch().await;
    (answer.status(), answer.into_string().await.unwrap_or_default())
}

async fn subscribe(world: &World, wish: Value) -> Value {
    let (status, told) = anyone(world, Method::Post, "/status/subscriptions", Some((ContentType::JSON, wish.to_string()))).await;
    assert_eq!(status, Status::Accepted, "{told}");
    serde_json::from_str(&told).unwrap()
}

async fn subscribers(world: &World) -> Vec<Value> {
    world.get("/api/v1/status/subscribers").await["results"].as_array().unwrap().clone()
}

/// One who has confirmed, without anyone having been asked.
async fn confirmed(world: &World, kind: SubscriberKind, reach: String) {
    let desk = world.client.rocket().state::<ApiState>().unwrap().subscriptions.clone();
    let choice = Choice { services: None, lang: "en".to_owned() };
    let secret = (kind == SubscriberKind::Webhook).then(|| "shared".to_owned());
    let taken = desk.subscribers.ask(Request { kind, reach, secret, choice }, 10_000, |_| SECOND).await.unwrap();
    let Taken::Ask(subscriber) = taken else { panic!("it is asked") };
    assert!(desk.confirm(&desk.subscribers.confirm_token(&subscriber).unwrap()).await.unwrap());
}

async fn open_incident(world: &World) -> Option<String> {
    let found = world.get("/api/v1/incidents?open=true").await;
    found["results"].as_array().unwrap().first().map(|incident| incident["id"].as_str().unwrap().to_owned())
}

/// A window that is announced at once.
async fn announce(world: &World, title: &str, in_hours: u64) {
    let from = world.clock.now().plus(Duration::from_secs(3_600 * in_hours));
    let window = json!({
        "title": title, "kind": "once", "from": from.rfc3339(), "until": from.plus(SECOND * 600).rfc3339(), "services": ["Shop"],
    });
    let (status, made) = world.ask(Method::Post, "/api/v1/maintenance-windows", Some(window)).await;
    assert_eq!(status, Status::Created, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_confirms_is_told_of_an_outage_to_its_end_and_leaves() {
    let (world, server, shop) = (World::with(&SETTINGS).await, SmtpServer::start("plain", None), Shop::open().await);
    shop.watched_by(&world, "Shop").await;
    mail_channel(&world, &server).await;
    assert_eq!(subscribe(&world, json!({"email": "Ada@Example.com"})).await, json!({"state": "pending", "kind": "email"}));
    let asked = next_mail(&world, &server).await;
    assert_eq!((&asked.to, asked.subject.as_str()), (&json!(["Ada@example.com"]), "[Acme] Confirm your subscription"));
    let confirm = asked.link("/status/confirm/");
    assert!(!asked.parts.concat().contains("because you subscribed"), "who is only asked has not subscribed: {:?}", asked.parts);

    // Programs that look through mail follow every link, and change nothing.
    for method in [Method::Get, Method::Head, Method::Get] {
        assert_eq!(anyone(&world, method, &confirm, None).await.0, Status::Ok);
    }
    assert_eq!(subscribers(&world).await[0]["state"], "pending");
    // Who has not confirmed is told nothing.
    shop.breaks();
    world.until(SECOND, "an incident", async |world| open_incident(world).await).await;
    shop.is_mended();
    world.until(SECOND, "its end", async |world| open_incident(world).await.is_none().then_some(())).await;
    pass(&world, 20).await;
    assert!(server.has_no_mail());

    let (status, page) = anyone(&world, Method::Post, &confirm, None).await;
    assert!(status == Status::Ok && page.contains("You are subscribed"), "{page}");
    assert_eq!(anyone(&world, Method::Post, &confirm, None).await.0, Status::NotFound, "a link is good once");
    assert_eq!(subscribers(&world).await[0]["state"], "active");

    shop.breaks();
    let told = next_mail(&world, &server).await;
    assert_eq!((&told.to, told.subject.as_str()), (&json!(["Ada@example.com"]), "[Acme] Shop: Down: status code"));
    assert!(
        told.parts[0].contains("Opened: 2026-11-22 10:0") && told.parts[0].contains("https://hub.example/status\n"),
        "{}",
        told.parts[0]
    );
    assert!(told.parts[1].contains("<h1") && told.parts[1].contains("Shop: Down: status code"), "{}", told.parts[1]);
    let leave = told.link("/status/unsubscribe/");
    assert_eq!(header(&told.headers, "List-Unsubscribe"), format!("<https://hub.example{leave}>"));
    assert_eq!(header(&told.headers, "List-Unsubscribe-Post"), "List-Unsubscribe=One-Click");
    assert_eq!(header(&told.headers, "Auto-Submitted"), "auto-generated");

    let incident = open_incident(&world).await.expect("it is open");
    let note = json!({"text": "the cable was cut"});
    assert_eq!(world.ask(Method::Post, &format!("/api/v1/incidents/{incident}/notes"), Some(note)).await.0, Status::Ok);
    assert_eq!(world.ask(Method::Post, &format!("/api/v1/incidents/{incident}/acknowledge"), Some(json!({}))).await.0, Status::Ok);
    let worked_on = next_mail(&world, &server).await;
    assert_eq!(worked_on.subject, "[Acme] Shop: Being worked on");
    shop.is_mended();
    let over = next_mail(&world, &server).await;
    assert_eq!(over.subject, "[Acme] Shop: Resolved");
    assert!(
        over.parts[0].contains("Opened: ") && over.parts[0].contains("Being worked on: ") && over.parts[0].contains("Resolved: "),
        "{}",
        over.parts[0]
    );
    let thread = |mail: &Read| header(&mail.headers, "References");
    assert!(thread(&told) == thread(&over) && thread(&told) != thread(&asked), "one outage is one thread");

    // As a mail client does it, by one click.
    assert_eq!(anyone(&world, Method::Get, &leave, None).await.0, Status::Ok);
    assert_eq!(subscribers(&world).await.len(), 1);
    let click = Some((ContentType::Form, "List-Unsubscribe=One-Click".to_owned()));
    assert_eq!(anyone(&world, Method::Post, &leave, click).await.0, Status::Ok);
    assert_eq!(subscribers(&world).await.len(), 0);
    shop.breaks();
    world.until(SECOND, "an incident", async |world| open_incident(world).await).await;
    pass(&world, 20).await;
    assert!(server.has_no_mail(), "who has left is told nothing");
    world.finish().await;
}

/// A receiver that answers a challenge and everything else as it is told to.
async fn receiver(status: Arc<AtomicU16>) -> Target {
    Target::plain(move |asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        match body["type"] == "verification" {
            true => Reply::text(200, &json!({"challenge": body["challenge"]}).to_string()),
            false => Reply::text(status.load(Ordering::SeqCst), "s3cret answer"),
        }
    })
    .await
}

fn body(asked: &Asked) -> Value {
    serde_json::from_str(&asked.body).unwrap()
}

async fn requests(world: &World, target: &Target, count: usize) -> Vec<Asked> {
    world.until(SECOND, &format!("{count} requests"), async |_| Some(target.asked()).filter(|asked| asked.len() >= count)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_answers_its_challenge_is_told_what_it_asked_for_and_suspended_when_it_refuses() {
    let (world, shop) = (World::with(&SETTINGS).await, Shop::open().await);
    let (id, _other) = (shop.watched_by(&world, "Shop").await, shop.watched_by(&world, "Cart").await);
    let status = Arc::new(AtomicU16::new(204));
    let hook = receiver(status.clone()).await;
    let url = format!("{}/hook?key=hidden-key", hook.url("http", "127.0.0.1"));
    let told = subscribe(&world, json!({"url": url, "services": [id]})).await;
    let secret = told["secret"].as_str().expect("it is shown once").to_owned();

    let asked = requests(&world, &hook, 1).await;
    assert_eq!((&body(&asked[0])["version"], &body(&asked[0])["type"]), (&json!(1), &json!("verification")));
    let state = |wanted: &'static str| async move |world: &World| subscribers(world).await.into_iter().find(|one| one["state"] == wanted);
    world.until(SECOND, "it is active", state("active")).await;

    shop.breaks();
    let asked = requests(&world, &hook, 2).await;
    let news = body(&asked[1]);
    assert_eq!(
        (&news["type"], &news["state"], &news["title"]),
        (&json!("outage"), &json!("opened"), &json!("[Acme] Shop: Down: status code"))
    );
    assert_eq!(news["services"].as_array().unwrap().len(), 1, "Cart fails too, and was not asked for: {news}");
    assert_eq!((&news["services"][0]["name"], &news["services"][0]["reasons"]), (&json!("Shop"), &json!(["status"])));
    for private in PRIVATE {
        assert!(!asked[1].body.contains(private), "{private} is in {}", asked[1].body);
    }
    for one in &asked {
        let signed = signature(&secret, one.header("x-probemesh-timestamp").unwrap(), &one.body);
        assert_eq!(one.header("x-probemesh-signature"), Some(signed.as_str()));
        assert!(one.header("idempotency-key").is_some_and(|key| key.starts_with("status-")));
    }

    // It refuses for good, again and again; the operator sees it, and nothing secret.
    status.store(410, Ordering::SeqCst);
    for number in 0..5 {
        announce(&world, &format!("work {number}"), 2 + number).await;
    }
    let suspended = world.until(SECOND, "it is suspended", state("suspended")).await;
    assert_eq!((&suspended["failures"], &suspended["kind"]), (&json!(5), &json!("webhook")));
    let dead = async |world: &World| {
        Some(world.get("/api/v1/alerts/deliveries?subscribers=true&state=dead").await).filter(|found| found["count"] == 5)
    };
    let deliveries = world.until(SECOND, "all of them are given up", dead).await;
    for text in [suspended["last_error"].to_string(), deliveries.to_string()] {
        assert!(text.contains("410") && !text.contains("hidden-key") && !text.contains(&secret), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("127.0.0.1"), "neither what it said nor where it is: {text}");
    }
    assert_eq!(world.get("/api/v1/alerts/deliveries").await["count"], 0, "channels were told nothing");
    status.store(204, Ordering::SeqCst);
    let count = hook.asked().len();
    shop.is_mended();
    world.until(SECOND, "the end", async |world| open_incident(world).await.is_none().then_some(())).await;
    pass(&world, 20).await;
    assert_eq!(hook.asked().len(), count, "who is suspended is told nothing");

    let path = format!("/api/v1/status/subscribers/{}/resume", suspended["id"]);
    assert_eq!(world.ask(Method::Post, &path, Some(json!({}))).await.0, Status::Ok);
    announce(&world, "last work", 20).await;
    let asked = requests(&world, &hook, count + 1).await;
    assert_eq!(body(&asked[count])["title"], "[Acme] Planned maintenance: last work", "and what was missed is not told late");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_longer_public_is_not_told_from_what_waits_and_no_name_tells_of_machines() {
    // Held for so long, the two are one outage.
    let settings = [SETTINGS.as_slice(), &[("PROBEMESH_ALERTS__HOLD_S", "20")]].concat();
    let (world, shop) = (World::with(&settings).await, Shop::open().await);
    let ids = [shop.watched_by(&world, "Shop").await, shop.watched_by(&world, "Cart").await];
    let status = Arc::new(AtomicU16::new(503));
    let hook = receiver(status.clone()).await;
    confirmed(&world, SubscriberKind::Webhook, hook.url("http", "127.0.0.1")).await;
    shop.breaks();
    let first = body(&requests(&world, &hook, 1).await[0]);
    assert_eq!(first["services"].as_array().unwrap().len(), 2, "{first}");
    let incident = open_incident(&world).await.expect("it is open");
    assert!(!first.to_string().contains(&incident), "{first}");
    let public = |name: &Value| name.as_str().is_some_and(|name| name.len() == 20 && name.bytes().all(|letter| letter.is_ascii_hexdigit()));
    assert!(public(&first["services"][0]["incident"]), "{first}");
    let page: Value = serde_json::from_str(&anyone(&world, Method::Get, "/status.json", None).await.1).unwrap();
    assert!(page["incidents"].as_array().unwrap().iter().any(|one| one["id"] == first["services"][0]["incident"]), "{page}");
    let feed = anyone(&world, Method::Get, "/status/feed.atom", None).await.1;
    assert!(!page.to_string().contains(&incident) && !feed.contains(&incident), "{feed}");

    // It is tried again, with what is public then.
    let hide = async |id: u64| {
        let (status, told) = world.ask(Method::Patch, &format!("/api/monitor/services/{id}/"), Some(json!({"public": false}))).await;
        assert_eq!(status, Status::Ok, "{told}");
    };
    hide(ids[0]).await;
    let count = hook.asked().len();
    let later = body(&requests(&world, &hook, count + 1).await[count]);
    let left: Vec<&str> = later["services"].as_array().unwrap().iter().map(|service| service["name"].as_str().unwrap()).collect();
    assert_eq!((&later["id"], left), (&first["id"], vec!["Cart"]), "{later}");
    hide(ids[1]).await;
    let count = hook.asked().len();
    let done = async |world: &World| {
        let found = world.get("/api/v1/alerts/deliveries?subscribers=true&state=pending").await;
        (found["count"] == 0).then_some(())
    };
    world.until(SECOND, "nothing waits", done).await;
    assert_eq!(hook.asked().len(), count, "with nothing left nothing is sent");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_paused_while_it_fails_is_told_to_be_resolved_by_nobody() {
    let (world, shop) = (World::with(&SETTINGS).await, Shop::open().await);
    let id = shop.watched_by(&world, "Shop").await;
    let hook = receiver(Arc::new(AtomicU16::new(200))).await;
    confirmed(&world, SubscriberKind::Webhook, hook.url("http", "127.0.0.1")).await;
    shop.breaks();
    let count = requests(&world, &hook, 1).await.len();
    let (status, told) = world.ask(Method::Patch, &format!("/api/monitor/services/{id}/"), Some(json!({"enabled": false}))).await;
    assert_eq!(status, Status::Ok, "{told}");
    world.until(SECOND, "it is closed", async |world: &World| open_incident(world).await.is_none().then_some(())).await;
    pass(&world, 60).await;
    assert_eq!(hook.asked().len(), count, "nothing is told of it any more");
    let page: Value = serde_json::from_str(&anyone(&world, Method::Get, "/status.json", None).await.1).unwrap();
    assert_eq!(page["incidents"][0]["unwatched"], true, "{page}");
    let (feed, page) =
        (anyone(&world, Method::Get, "/status/feed.atom", None).await.1, anyone(&world, Method::Get, "/status", None).await.1);
    assert!(feed.contains("No longer checked") && !feed.contains("Resolved"), "{feed}");
    assert!(page.contains("No longer checked") && !page.contains("<b>Resolved</b>"), "{page}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_the_challenge_gets_nothing_else_until_a_person_uses_the_link() {
    let (world, shop) = (World::with(&SETTINGS).await, Shop::open().await);
    shop.watched_by(&world, "Shop").await;
    let deaf = Target::plain(|_| Reply::text(200, "ok")).await;
    // What repeats all it gets has shown nothing either.
    let parrot = Target::plain(|asked| Reply::text(200, &asked.body)).await;
    let elsewhere = Target::plain(|_| Reply::text(200, "ok")).await;
    let lead = format!("{}/inner", elsewhere.url("http", "127.0.0.1"));
    let leading = Target::plain(move |_| Reply::redirect(307, lead.clone())).await;
    for target in [&deaf, &parrot, &leading] {
        subscribe(&world, json!({"url": target.url("http", "127.0.0.1")})).await;
    }
    for target in [&deaf, &parrot, &leading] {
        requests(&world, target, 1).await;
    }
    shop.breaks();
    world.until(SECOND, "an incident", async |world| open_incident(world).await).await;
    pass(&world, 3).await;
    assert!(subscribers(&world).await.iter().all(|one| one["state"] == "pending"));
    assert_eq!((deaf.asked().len(), parrot.asked().len()), (1, 1));
    assert_eq!(elsewhere.asked().len(), 0, "nothing is led on");

    let link = body(&deaf.asked()[0])["confirm"].as_str().unwrap().replace("https://hub.example", "");
    assert_eq!(anyone(&world, Method::Post, &link, None).await.0, Status::Ok);
    announce(&world, "work", 2).await;
    let asked = requests(&world, &deaf, 2).await;
    assert_eq!(body(&asked[1])["state"], "announced");
    assert_eq!(parrot.asked().len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_told_from_its_announcement_to_its_end() {
    let (world, server, shop) = (World::with(&SETTINGS).await, SmtpServer::start("plain", None), Shop::open().await);
    shop.watched_by(&world, "Shop").await;
    mail_channel(&world, &server).await;
    confirmed(&world, SubscriberKind::Mail, "ada@example.com".to_owned()).await;
    let from = world.clock.now().plus(SECOND * 30);
    let window = json!({
        "title": "Database moves", "reason": "the cable was cut", "kind": "once", "from": from.rfc3339(),
        "until": from.plus(SECOND * 60).rfc3339(), "services": ["Shop"],
    });
    assert_eq!(world.ask(Method::Post, "/api/v1/maintenance-windows", Some(window)).await.0, Status::Created);
    for subject in ["Planned maintenance: Database moves", "Maintenance begins: Database moves"] {
        let mail = next_mail(&world, &server).await;
        assert_eq!(mail.subject, format!("[Acme] {subject}"));
        assert!(mail.parts[0].contains("Shop") && mail.parts[0].contains("2026-11-22 10:00:"), "{}", mail.parts[0]);
    }
    // What fails in it is told by the window alone.
    shop.breaks();
    pass(&world, 15).await;
    let shop_state = world.get("/api/monitor/health/summary/").await["services"][0].clone();
    assert_eq!((&shop_state["verdict"], &shop_state["latest_check"]["ok"]), (&json!("maintenance"), &json!(false)));
    shop.is_mended();
    let mail = next_mail(&world, &server).await;
    assert_eq!(mail.subject, "[Acme] Maintenance has ended: Database moves");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_bounces_is_suspended_and_holds_up_nobody() {
    let (world, server, shop) = (World::with(&SETTINGS).await, SmtpServer::start("plain", None), Shop::open().await);
    shop.watched_by(&world, "Shop").await;
    mail_channel(&world, &server).await;
    // Numbers that are the same modulo four go by one lane.
    for name in ["unknown", "busy", "ada", "bob", "carl", "dora", "emil", "fay"] {
        confirmed(&world, SubscriberKind::Mail, format!("{name}@example.com")).await;
    }
    for number in 0..5 {
        announce(&world, &format!("work {number}"), 2 + number).await;
    }
    let mut got = Vec::new();
    while got.len() < 6 * 5 {
        got.push(next_mail(&world, &server).await.to[0].as_str().unwrap().to_owned());
    }
    assert!(server.has_no_mail());
    let suspended = world
        .until(SECOND, "it is suspended", async |world| subscribers(world).await.into_iter().find(|one| one["state"] == "suspended"))
        .await;
    assert_eq!((&suspended["address"], &suspended["failures"]), (&json!("unknown@example.com"), &json!(5)));
    assert!(!suspended["last_error"].as_str().unwrap().contains("unknown@example.com"), "{suspended}");
    let busy = subscribers(&world).await.into_iter().find(|one| one["address"] == "busy@example.com").unwrap();
    assert_eq!((&busy["state"], &busy["failures"]), (&json!("active"), &json!(0)), "for now is not for good");
    for name in ["ada", "bob", "carl", "dora", "emil", "fay"] {
        assert_eq!(got.iter().filter(|to| **to == format!("{name}@example.com")).count(), 5, "{name}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_no_request_and_tells_nothing_twice() {
    let (server, shop) = (SmtpServer::start("plain", None), Shop::open().await);
    let world = World::kept(&SETTINGS).await;
    shop.watched_by(&world, "Shop").await;
    mail_channel(&world, &server).await;
    subscribe(&world, json!({"email": "ada@example.com"})).await;
    let confirm = next_mail(&world, &server).await.link("/status/confirm/");
    let world = world.again(&SETTINGS).await;
    assert_eq!(anyone(&world, Method::Post, &confirm, None).await.0, Status::Ok);
    shop.breaks();
    assert_eq!(next_mail(&world, &server).await.subject, "[Acme] Shop: Down: status code");
    let world = world.again(&SETTINGS).await;
    pass(&world, 20).await;
    assert!(server.has_no_mail(), "what was told is told once");
    shop.is_mended();
    let over = next_mail(&world, &server).await;
    assert_eq!(over.subject, "[Acme] Shop: Resolved");
    let world = world.again(&SETTINGS).await;
    assert_eq!(anyone(&world, Method::Post, &over.link("/status/unsubscribe/"), None).await.0, Status::Ok);
    assert_eq!(subscribers(&world).await.len(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_goes_to_this_machine_where_that_is_not_allowed_however_it_is_named() {
    let shop = Shop::open().await;
    let world = World::kept(&SETTINGS).await;
    shop.watched_by(&world, "Shop").await;
    let hook = receiver(Arc::new(AtomicU16::new(204))).await;
    for host in ["127.0.0.1", "localhost"] {
        confirmed(&world, SubscriberKind::Webhook, hook.url("http", host)).await;
    }
    announce(&world, "first", 2).await;
    requests(&world, &hook, 2).await;
    // The name that could be called before leads to the same place, and is looked up anew at each connection.
    let closed: Vec<(&str, &str)> = SETTINGS.into_iter().filter(|(name, _)| !name.contains("PRIVATE")).collect();
    let world = world.again(&closed).await;
    let connections = hook.connections();
    announce(&world, "second", 3).await;
    let waiting = async |world: &World| {
        let found = world.get("/api/v1/alerts/deliveries?subscribers=true").await;
        let tried = found["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["error"].as_str().is_some_and(|error| error.contains("status.private_webhooks")));
        (tried.count() == 2).then_some(())
    };
    world.until(SECOND, "both are refused", waiting).await;
    assert_eq!(hook.connections(), connections, "it was not even connected to");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_subscribers_hold_up_no_alert() {
    let (world, server, shop) = (World::with(&SETTINGS).await, SmtpServer::start("plain", None), Shop::open().await);
    shop.watched_by(&world, "Shop").await;
    mail_channel(&world, &server).await;
    let rule = json!({"name": "on call", "channels": ["mail"], "kinds": ["incident"]});
    let (status, made) = world.ask(Method::Post, "/api/v1/alerts/rules", Some(rule)).await;
    assert_eq!(status, Status::Created, "{made}");
    // Their mails are not answered before another was taken: were the alert behind any of them, neither would ever come.
    for number in 0..2_000 {
        confirmed(&world, SubscriberKind::Mail, format!("after{number}@example.com")).await;
    }
    shop.breaks();
    let first = world.until(SECOND, "a mail", async |_| server.next()).await;
    assert_eq!(first["to"], json!(["oncall@example.com"]));
    assert!(first["mail"].as_str().unwrap().contains("Shop"), "{first}");
    let planned = async |world: &World| {
        let found = world.get("/api/v1/alerts/deliveries?subscribers=true&page_size=1").await;
        (found["count"] == 2_000).then_some(())
    };
    world.until(SECOND, "a message for each", planned).await;
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let mail = world.until(SECOND, "a mail", async |_| server.next()).await;
        assert!(told.insert(mail["to"][0].as_str().unwrap().to_owned()), "nobody is told twice: {}", mail["to"]);
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_no_mail_can_be_written_to_is_given_up_at_once() {
    let (world, server, shop) = (World::with(&SETTINGS).await, SmtpServer::start("plain", None), Shop::open().await);
    shop.watched_by(&world, "Shop").await;
    mail_channel(&world, &server).await;
    confirmed(&world, SubscriberKind::Mail, "\"ada lovelace\"@example.com".to_owned()).await;
    announce(&world, "work", 2).await;
    let dead = async |world: &World| {
        Some(world.get("/api/v1/alerts/deliveries?subscribers=true&state=dead").await).filter(|found| found["count"] == 1)
    };
    let found = world.until(SECOND, "it is given up", dead).await;
    assert!(!found.to_string().contains("lovelace"), "{found}");
    world.finish().await;
}
