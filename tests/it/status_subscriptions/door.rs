//! Who gets in, and how: the form and its answer, links, limits, and what operators see of it.

use std::time::Duration;

use probemesh::model::held::DeliveryState;
use probemesh::model::subscriber::{Choice, SubscriberKind};
use probemesh::store::alerts::deliveries::DeliveryFilter;
use probemesh::store::subscribers::{Request, Subscribers, SubscribersError, Taken};
use rocket::http::{ContentType, Method};
use serde_json::{Value, json};

use crate::api_world::{Answer, World};
use crate::web::browser::{Browser, token_of};

const DOOR: &str = "/status/subscriptions";

/// A hub with a public service, number 1, a private one, number 2, and a channel for mails.
async fn world() -> World {
    let world = World::new().await;
    let admin = world.token("admin").await;
    for (name, public) in [("Shop", true), ("Vault", false)] {
        world.service(&admin, json!({"name": name, "base_url": "https://hidden.example", "public": public})).await;
    }
    world.show_services();
    let config = json!({"host": "localhost", "port": 9, "security": "none", "from": "status@example.com", "to": ["a@example.com"]});
    let channel = json!({"name": "mail", "kind": "email", "config": config, "save_anyway": true});
    world.post("/api/v1/alerts/channels", Some(&admin), channel).await.expect(201);
    world
}

async fn ask(world: &World, wish: Value) -> Answer {
    world.post(DOOR, None, wish).await
}

/// What confirms the only request there is, as its message would hold it.
fn confirm_token(world: &World) -> String {
    let subscribers = &world.subscriptions.subscribers;
    subscribers.confirm_token(&subscribers.list()[0]).expect("a request waits")
}

/// Messages to subscribers so far.
fn messages(world: &World) -> u64 {
    world.alerts.deliveries.count(&DeliveryFilter { subscribers: true, ..DeliveryFilter::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_subscribes_and_its_answer_does_not_tell_who_is_known() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    let page = stranger.page("/status").await;
    assert!(page.contains("href=\"/status/subscribe\"") && !page.contains("form_token"), "{page}");
    let form = stranger.page("/status/subscribe").await;
    assert!(form.contains("Shop") && !form.contains("Vault"), "{form}");
    let set = stranger.set.join("; ");
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict") && set.contains("Path=/status/subscribe"), "{set}");
    let token = token_of(&form);
    let fields = |email: &'static str| vec![("kind", "email"), ("email", email), ("services", "1")];
    let mut send = async |email: &'static str| {
        let mut fields = fields(email);
        fields.push(("form_token", token.as_str()));
        stranger.send_raw("/status/subscribe", &fields).await
    };
    let first = send("ada@example.com").await;
    assert_eq!((first.status, messages(&world)), (200, 1), "{}", first.text);
    assert!(first.text.contains("Look into your mail") && first.header("Cache-Control") == Some("no-store"), "{}", first.text);
    // Asked again at once, and again when it is known: the same page, and no second mail.
    assert_eq!(send("ADA@example.com").await.text, first.text);
    assert_eq!(messages(&world), 1);
    assert!(world.subscriptions.confirm(&confirm_token(&world)).await.expect("it is stored"));
    world.clock.advance(Duration::from_secs(1)).await;
    assert_eq!(send("ada@example.com").await.text, first.text);
    let kept = world.subscriptions.subscribers.list();
    assert_eq!((kept.len(), kept[0].choice.services.as_ref().map(|chosen| chosen.len())), (1, Some(1)));
    // Of a choice that changes, its owner is asked.
    assert_eq!(messages(&world), 2);
    assert!(world.subscriptions.confirm(&confirm_token(&world)).await.expect("it is stored"));
    assert_eq!(world.subscriptions.subscribers.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_site_can_have_a_browser_subscribe_anyone() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    let form = [("kind", "email"), ("email", "ada@example.com")];
    let foreign = token_of(&Browser::new(&world).page("/status/subscribe").await);
    for token in ["", foreign.as_str()] {
        let answer = stranger.send_raw("/status/subscribe", &[&[("form_token", token)], form.as_slice()].concat()).await;
        assert_eq!(answer.status, 403, "{}", answer.text);
        assert!(answer.text.contains("ada@example.com"), "what was typed is not lost: {}", answer.text);
    }
    // Only what another site's page cannot send without being asked is JSON.
    let wish = json!({"email": "ada@example.com"}).to_string();
    for kind in [ContentType::Plain, ContentType::Form, ContentType::Any] {
        let answer = world.send_text(Method::Post, DOOR, None, Some(wish.clone()), kind.clone()).await;
        assert_eq!(answer.status, 415, "{kind}: {}", answer.text);
    }
    let bare = world.client.post(DOOR).body(&wish).dispatch().await;
    assert_eq!(bare.status().code, 415);
    let large = format!("{{\"email\": \"{}\"}}", "a".repeat(2 << 20));
    assert_eq!(world.send_text(Method::Post, DOOR, None, Some(large), ContentType::JSON).await.status, 413);
    assert_eq!((world.subscriptions.subscribers.list().len(), messages(&world)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_a_name_within_the_walls_says_no_more_than_one_that_is_nowhere() {
    let world = world().await;
    let url = |url: &str| json!({"url": url});
    let table = [
        (json!({}), "email"),
        (json!({"email": "ada"}), "email"),
        (json!({"email": "Ada <ada@example.com>"}), "email"),
        (json!({"email": "ada@example.com\r\nBcc: bob@example.com"}), "email"),
        (json!({"email": 5}), "email"),
        (json!({"email": "\"ada lovelace\"@example.com"}), "email"),
        (json!({"email": "ada@localhost"}), "email"),
        (json!({"email": "ada@[127.0.0.1]"}), "email"),
        (json!({"email": "ada@example.com", "url": "https://example.com"}), "url"),
        (json!({"email": "ada@example.com", "colour": "red"}), "colour"),
        (json!({"email": "ada@example.com", "services": [2]}), "services"),
        (json!({"email": "ada@example.com", "services": [4711]}), "services"),
        (json!({"email": "ada@example.com", "services": []}), "services"),
        (json!({"email": "ada@example.com", "language": "xx"}), "language"),
        (url("example.com"), "url"),
        (url("ftp://example.com/"), "url"),
        (url("https://user:word@example.com/"), "url"),
        (url("http://127.0.0.1:8000/"), "url"),
        (url("http://localhost:8000/"), "url"),
        (url("http://[::1]/"), "url"),
        (url("http://[::ffff:10.0.0.1]/"), "url"),
        (url("http://169.254.169.254/latest"), "url"),
        (url("http://192.168.1.1/"), "url"),
        (url("http://2130706433/"), "url"),
        (url("http://0x7f.1/"), "url"),
    ];
    for (wish, field) in table {
        let named = ask(&world, wish.clone()).await.problem(422);
        // Where neither is given, both are at fault.
        assert!(named.contains(&field.to_owned()), "{wish}: {named:?}");
    }
    let detail = async |url: &str| ask(&world, json!({"url": url})).await.json()["detail"].clone();
    assert_eq!(detail("http://localhost/").await, detail("http://no-such-host.invalid/").await);
    assert_eq!(detail("http://localhost/").await, detail("http://10.0.0.1/").await);
    assert_eq!((world.subscriptions.subscribers.list().len(), messages(&world)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_good_once_for_a_day_and_for_what_it_was_made_for() {
    let world = world().await;
    ask(&world, json!({"email": "ada@example.com"})).await.expect(202);
    let subscriber = world.subscriptions.subscribers.list()[0].clone();
    let (confirm, leave) = (confirm_token(&world), world.subscriptions.subscribers.leave_token(&subscriber));
    let mut stranger = Browser::new(&world);
    let mut follow =
        async |method, what: &str, token: &str| stranger.ask(method, &format!("/status/{what}/{token}"), Some(String::new())).await;
    let foreign = ["", "x", leave.as_str(), &confirm[1..]];
    for token in foreign {
        assert_eq!(follow(Method::Post, "confirm", token).await.status, 404, "{token:?}");
    }
    assert_eq!(follow(Method::Post, "unsubscribe", &confirm).await.status, 404);
    for (what, token) in [("confirm", &confirm), ("unsubscribe", &leave)] {
        let page = follow(Method::Get, what, token).await;
        assert!(page.status == 200 && page.text.contains(&format!("action=\"/status/{what}/{token}\"")), "{}", page.text);
        assert_eq!(page.header("Referrer-Policy"), Some("same-origin"), "the link goes to no other site");
    }
    assert_eq!(world.subscriptions.subscribers.list()[0], subscriber, "looking does nothing");
    world.clock.advance(Duration::from_secs(86_400)).await;
    assert_eq!(follow(Method::Get, "confirm", &confirm).await.status, 404);
    assert_eq!(follow(Method::Post, "confirm", &confirm).await.status, 404, "a day is over");
    // A newer request takes the place of one that is over.
    ask(&world, json!({"email": "ada@example.com"})).await.expect(202);
    let newer = confirm_token(&world);
    assert_ne!(newer, confirm);
    assert_eq!(follow(Method::Post, "confirm", &confirm).await.status, 404);
    assert_eq!(follow(Method::Post, "confirm", &newer).await.status, 200);
    assert_eq!(follow(Method::Post, "confirm", &newer).await.status, 404);
    assert_eq!(follow(Method::Post, "unsubscribe", &leave).await.status, 200);
    assert_eq!(follow(Method::Post, "unsubscribe", &leave).await.status, 404);
    assert_eq!(world.subscriptions.subscribers.list().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_slowed_down_by_address_and_by_who_asks() {
    let world = world().await;
    // One message at first, then after waits that double.
    for (minutes, sent) in [(0, 1), (9, 1), (1, 2), (19, 2), (1, 3), (39, 3), (1, 4)] {
        world.clock.advance(Duration::from_secs(60 * minutes)).await;
        ask(&world, json!({"email": "ada@example.com"})).await.expect(202);
        assert_eq!(messages(&world), sent, "after {minutes} minutes more");
    }
    // Another address is asked all the same, until one source asks too often: a hundred an hour here.
    ask(&world, json!({"email": "bob@example.com"})).await.expect(202);
    assert_eq!(messages(&world), 5);
    let mut refused = 0;
    for number in 0..120 {
        let answer = ask(&world, json!({"email": format!("nobody{number}")})).await;
        refused += usize::from(answer.status == 429);
        assert!(answer.status == 422 || answer.header("Retry-After").is_some(), "{}", answer.text);
    }
    assert!(refused > 0, "nobody is slowed down");
    let other = world.client.post(DOOR).remote("203.0.113.9:4711".parse().expect("an address"));
    let other = other.header(ContentType::JSON).body(json!({"email": "carl@example.com"}).to_string()).dispatch().await;
    assert_eq!(other.status().code, 202, "another source is not");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_lies_sealed_and_leaves_nothing_behind() {
    let world = world().await;
    ask(&world, json!({"email": "ada.lovelace@example.com"})).await.expect(202);
    assert!(world.subscriptions.confirm(&confirm_token(&world)).await.expect("it is stored"));
    let secrets = ["lovelace".to_owned(), world.subscriptions.subscribers.leave_token(&world.subscriptions.subscribers.list()[0])];
    let stored = async || {
        let text = "SELECT * FROM status_subscriber; SELECT * FROM alert_delivery; SELECT * FROM audit; SELECT * FROM status_news";
        let mut answer = world.store.database.query(text, Vec::new()).await.expect("it answers");
        let mut told = String::new();
        for statement in 0..4 {
            let value: surrealdb::types::Value = answer.take(statement).expect("rows");
            told.push_str(&format!("{value:?}"));
        }
        told
    };
    let told = stored().await;
    assert!(told.contains("leave_print") && told.contains("subscriber.confirm"), "{told}");
    for secret in &secrets {
        let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
        assert!(!told.contains(secret.as_str()) && !told.contains(&bytes.join(", ")), "{secret} lies open in {told}");
    }
    // What a restart would read is the same.
    let database = world.store.database.clone();
    let again =
        Subscribers::open(database.clone(), world.secrets.clone(), world.audit.clone(), world.clock.clone()).await.expect("it opens");
    assert_eq!(again.list(), world.subscriptions.subscribers.list());
    assert_eq!(again.list()[0].reach, "ada.lovelace@example.com");
    assert!(world.subscriptions.leave(&secrets[1]).await.expect("it is stored"));
    assert!(!stored().await.contains("leave_print"), "the row is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_many_and_admins_who_and_take_one_out() {
    let world = world().await;
    for name in ["ada", "=bob"] {
        ask(&world, json!({"email": format!("{name}@example.com")})).await.expect(202);
    }
    assert!(world.subscriptions.confirm(&confirm_token(&world)).await.expect("it is stored"));
    let mut viewer = Browser::of(&world, "viewer").await;
    let page = viewer.page("/alerts/subscribers").await;
    assert!(page.contains("active: <b>1</b>") && page.contains("not confirmed: <b>1</b>") && !page.contains("ada@"), "{page}");
    assert_eq!(viewer.get("/alerts/subscribers.csv").await.status, 403);
    let mut admin = Browser::of(&world, "admin").await;
    let page = admin.page("/alerts/subscribers?state=active").await;
    assert!(page.contains("ada@example.com") && !page.contains("bob@example.com"), "{page}");
    let csv = admin.get("/alerts/subscribers.csv").await;
    assert_eq!(csv.kind, "text/csv");
    assert!(
        csv.text.contains("1,email,ada@example.com,active,") && csv.text.contains("2,email,\"'=bob@example.com\",pending,"),
        "{}",
        csv.text
    );

    let token = world.token("admin").await;
    let path = "/api/v1/status/subscribers";
    let listed = world.get(&format!("{path}?state=pending&kind=email"), Some(&token)).await.expect(200);
    assert_eq!((&listed["count"], &listed["results"][0]["address"]), (&json!(1), &json!("=bob@example.com")));
    assert_eq!(world.get(&format!("{path}?state=gone"), Some(&token)).await.problem(400), ["state"]);
    world.post(&format!("{path}/1/resume"), Some(&token), json!({})).await.problem(409);

    let sure = admin.page("/alerts/subscribers/1/remove").await;
    assert!(sure.contains("ada@example.com") && sure.contains("nothing more"), "{sure}");
    assert_eq!(world.subscriptions.subscribers.list().len(), 2, "asking does nothing");
    assert_eq!(admin.send_form("/alerts/subscribers/1/remove", &[]).await.status, 303);
    world.send(Method::Delete, &format!("{path}/2"), Some(&token), None).await.expect(204);
    world.send(Method::Delete, &format!("{path}/2"), Some(&token), None).await.problem(404);
    let log = world.get("/api/v1/audit?action=subscriber.", Some(&token)).await.expect(200);
    let told: Vec<String> =
        log["results"].as_array().expect("rows").iter().map(|row| format!("{} {}", row["action"], row["subject"])).collect();
    assert_eq!(
        told,
        ["\"subscriber.remove\" \"subscriber:2\"", "\"subscriber.remove\" \"subscriber:1\"", "\"subscriber.confirm\" \"subscriber:1\""]
    );
    assert!(!log.to_string().contains("example.com"), "{log}");
    assert!(admin.page("/alerts/subscribers").await.contains("No subscriber"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_offered_is_not_taken_and_the_page_says_so() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    let admin = world.token("admin").await;
    world
        .send(Method::Patch, "/api/v1/alerts/channels/1", Some(&admin), Some(json!({"enabled": false, "save_anyway": true})))
        .await
        .expect(200);
    let page = stranger.page("/status").await;
    assert!(page.contains("Be told by webhook or in a feed reader") && !page.contains("e-mail"), "{page}");
    let form = stranger.page("/status/subscribe").await;
    assert!(!form.contains("name=\"email\"") && form.contains("A webhook or a feed reader hears of the news"), "{form}");
    assert_eq!(ask(&world, json!({"email": "ada@example.com"})).await.problem(422), ["email"]);
    world.send(Method::Patch, "/api/monitor/services/1", Some(&admin), Some(json!({"public": false}))).await.expect(200);
    assert_eq!(stranger.get("/status/subscribe").await.status, 404);
    ask(&world, json!({"url": "https://example.com/"})).await.problem(404);
    assert!(!stranger.page("/status").await.contains("/status/subscribe"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_is_in_both_languages_and_what_is_sent_in_the_one_it_was_asked_in() {
    let world = world().await;
    let mut stranger = Browser::new(&world);
    stranger.cookies.insert("probemesh_lang".to_owned(), "fa".to_owned());
    let form = stranger.page("/status/subscribe").await;
    assert!(form.contains("dir=\"rtl\"") && form.contains("نشانی ایمیل"), "{form}");
    let token = token_of(&form);
    let wrong = stranger.send_raw("/status/subscribe", &[("form_token", token.as_str()), ("kind", "email"), ("email", "ada")]).await;
    assert!(wrong.status == 422 && wrong.text.contains("aria-invalid") && wrong.text.contains("value=\"ada\""), "{}", wrong.text);
    let sent =
        stranger.send_raw("/status/subscribe", &[("form_token", token.as_str()), ("kind", "email"), ("email", "ada@example.com")]).await;
    assert!(sent.status == 200 && sent.text.contains("ایمیل خود را ببینید"), "{}", sent.text);
    assert_eq!(world.subscriptions.subscribers.list()[0].choice.lang, "fa");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_confirmed_is_forgotten_and_room_is_bounded() {
    let world = world().await;
    let subscribers = &world.subscriptions.subscribers;
    ask(&world, json!({"email": "ada@example.com"})).await.expect(202);
    assert!(world.subscriptions.confirm(&confirm_token(&world)).await.expect("it is stored"));
    world.clock.advance(Duration::from_secs(60)).await;
    for wish in [json!({"email": "bob@example.com"}), json!({"email": "ada@example.com", "services": [1]})] {
        ask(&world, wish).await.expect(202);
    }
    assert_eq!(subscribers.forget(world.clock.now().minus(Duration::from_secs(1))).await.expect("it is stored"), 0);
    assert_eq!(subscribers.forget(world.clock.now()).await.expect("it is stored"), 2);
    let kept = subscribers.list();
    assert_eq!((kept.len(), kept[0].reach.as_str(), kept[0].pending.is_none()), (1, "ada@example.com", true));
    assert_eq!(kept[0].choice.services, None, "what was not confirmed changes nothing");
    let open = DeliveryFilter { subscribers: true, state: Some(DeliveryState::Pending), ..DeliveryFilter::default() };
    assert_eq!(world.alerts.deliveries.count(&open), 3, "they are told when they are sent that they are over");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_is_not_asked_again_for_a_day_whoever_wishes_it() {
    let world = world().await;
    let subscribers = &world.subscriptions.subscribers;
    // Once from a subscription, once from a request that was never confirmed.
    for (count, confirms) in [(1, true), (2, false)] {
        ask(&world, json!({"email": "Ada@example.com"})).await.expect(202);
        assert_eq!(messages(&world), count);
        if confirms {
            assert!(world.subscriptions.confirm(&confirm_token(&world)).await.expect("it is stored"));
        }
        assert!(world.subscriptions.leave(&subscribers.leave_token(&subscribers.list()[0])).await.expect("it is stored"));
        world.clock.advance(Duration::from_secs(86_399)).await;
        let told = ask(&world, json!({"email": "ada@example.com"})).await.expect(202);
        assert_eq!(told, json!({"state": "pending", "kind": "email"}));
        assert_eq!((messages(&world), subscribers.list().len()), (count, 0), "nothing is sent");
        // A restart knows it, too.
        let (database, secrets) = (world.store.database.clone(), world.secrets.clone());
        let again = Subscribers::open(database, secrets, world.audit.clone(), world.clock.clone()).await.expect("it opens");
        let choice = Choice { services: None, lang: "en".to_owned() };
        let request = Request { kind: SubscriberKind::Mail, reach: "ada@example.com".to_owned(), secret: None, choice };
        assert_eq!(again.ask(request, 10, |_| Duration::from_secs(1)).await.expect("it is stored"), Taken::Silent);
        world.clock.advance(Duration::from_secs(1)).await;
        subscribers.forget(world.clock.now()).await.expect("it is stored");
        let mut answer = world.store.database.query("SELECT * FROM status_left", Vec::new()).await.expect("it answers");
        let rows: surrealdb::types::Value = answer.take(0).expect("rows");
        assert!(!format!("{rows:?}").contains("status_left"), "nothing is left of them: {rows:?}");
    }
    ask(&world, json!({"email": "ada@example.com"})).await.expect(202);
    assert_eq!(subscribers.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_room_those_who_never_confirmed_make_way_and_who_is_known_is_served() {
    let world = world().await;
    let subscribers = &world.subscriptions.subscribers;
    let mail = async |name: &str| {
        world.clock.advance(Duration::from_secs(1)).await;
        let choice = Choice { services: None, lang: "en".to_owned() };
        let request = Request { kind: SubscriberKind::Mail, reach: format!("{name}@example.com"), secret: None, choice };
        subscribers.ask(request, 3, |_| Duration::ZERO).await
    };
    let names = || {
        let list = subscribers.list();
        let mut names: Vec<String> = list.iter().map(|one| one.reach.split('@').next().expect("a name").to_owned()).collect();
        names.sort();
        names
    };
    mail("ada").await.expect("there is room");
    assert!(world.subscriptions.confirm(&confirm_token(&world)).await.expect("it is stored"));
    for name in ["bob", "carl"] {
        mail(name).await.expect("there is room");
    }
    // Known ones may change their choice, and do not make others go.
    for name in ["ada", "bob"] {
        assert!(matches!(mail(name).await, Ok(Taken::Ask(_))), "{name}");
    }
    assert_eq!(names(), ["ada", "bob", "carl"]);
    assert!(matches!(mail("dora").await, Ok(Taken::Ask(_))));
    assert_eq!(names(), ["ada", "bob", "dora"], "carl was asked longest ago");
    for one in subscribers.list().iter() {
        let token = subscribers.confirm_token(one).expect("each waits for something");
        assert!(world.subscriptions.confirm(&token).await.expect("it is stored"));
    }
    assert!(matches!(mail("emil").await, Err(SubscribersError::Full { most: 3 })), "who has confirmed stays");
    assert_eq!(names(), ["ada", "bob", "dora"]);
}
