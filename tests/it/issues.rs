//! The issue tracker at its edge: what people do over the API and in the terminal, and what the monitor opens by itself.

mod opener;
mod terminal;

use std::time::Duration;

use probemesh::model::issue::IssueStatus;
use probemesh::tracker::workflow::{needs_assignee, steps};
use rocket::http::Method;
use serde_json::{Value, json};

use crate::api_world::{Answer, World};

pub const ISSUES: &str = "/api/v1/maintenance/issues";

/// A world with the tokens of an operator, who makes issues, and an admin.
struct Desk {
    world: World,
    operator: String,
    admin: String,
}

impl Desk {
    async fn open() -> Desk {
        // Whoever is logged in stays so while days go by.
        let world = World::with(|settings| settings.access_lifetime = Duration::from_secs(30 * 86_400)).await;
        let (operator, admin) = (world.token("operator").await, world.token("admin").await);
        Desk { world, operator, admin }
    }

    async fn get(&self, path: &str) -> Value {
        self.world.get(&format!("{ISSUES}{path}"), Some(&self.operator)).await.expect(200)
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.world.post(&format!("{ISSUES}{path}"), Some(&self.operator), body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.world.send(Method::Patch, &format!("{ISSUES}{path}"), Some(&self.operator), Some(body)).await
    }

    async fn report(&self, title: &str) -> u64 {
        self.report_as(json!({"title": title, "issue_type": "bug"})).await
    }

    async fn report_as(&self, body: Value) -> u64 {
        self.post("", body).await.expect(201)["id"].as_u64().expect("it has a number")
    }

    async fn step(&self, id: u64, to: &str) -> Answer {
        self.patch(&format!("/{id}/status"), json!({"status": to, "reason": "the test says so"})).await
    }

    /// The numbers of those a query finds, in its order.
    async fn found(&self, query: &str) -> Vec<u64> {
        let page = self.get(&format!("?{query}")).await;
        page["results"].as_array().expect("a list").iter().map(|issue| issue["id"].as_u64().expect("a number")).collect()
    }

    fn told(&self) -> Vec<(String, String)> {
        let mut notes = self.world.notes.lock().expect("no holder panics");
        std::iter::from_fn(|| notes.try_recv().ok()).map(|note| (note.user, note.text)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_is_reported_changed_and_talked_about_and_its_history_says_who_and_why() {
    let desk = Desk::open().await;
    let service = desk.world.service(&desk.operator, json!({"name": "shop", "base_url": "https://shop.example"})).await;
    let id = desk
        .report_as(json!({
            "title": "  Basket empties ", "issue_type": "bug", "description": "When it is **full**", "labels": ["web", "basket", "web"],
            "service": service,
        }))
        .await;
    let issue = desk.get(&format!("/{id}/")).await;
    assert_eq!((&issue["title"], &issue["status"], &issue["priority"]), (&json!("Basket empties"), &json!("reported"), &json!("medium")));
    assert_eq!((&issue["reporter"], &issue["labels"]), (&json!("operator"), &json!(["basket", "web"])));
    assert_eq!((&issue["service"], &issue["service_name"]), (&json!(service), &json!("shop")));
    assert_eq!(issue["allowed"], json!(["triaged", "wont_do"]));
    assert_eq!(issue["description_html"], "<p>When it is <strong>full</strong></p>\n");

    desk.world.clock.advance(Duration::from_secs(60)).await;
    let edit = json!({"reason": "it costs orders", "priority": "high", "assignee": "admin", "labels": [], "service": null, "description": "Now *always*"});
    let edited = desk.patch(&format!("/{id}"), edit.clone()).await.expect(200);
    assert_eq!((&edited["assignee"], &edited["service"], &edited["revision"]), (&json!("admin"), &json!(null), &json!(2)));
    // The same again is no change.
    assert_eq!(desk.patch(&format!("/{id}"), edit).await.expect(200)["revision"], 2);
    desk.step(id, "triaged").await.expect(200);
    let history = desk.get(&format!("/{id}/history")).await;
    assert_eq!(history["count"], 3);
    let told = &history["results"][1];
    assert_eq!(
        (&told["who"], &told["why"], &told["at"]),
        (&json!("operator"), &json!("it costs orders"), &json!("2026-11-22T08:01:00.000Z"))
    );
    let mut changes: Vec<String> = told["changes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|change| format!("{}: {} → {}", change["field"], change["from"], change["to"]).replace('"', ""))
        .collect();
    changes.sort();
    assert_eq!(
        changes,
        [
            "assignee: null → admin",
            "description: When it is **full** → Now *always*",
            "labels: basket, web → null",
            "priority: medium → high",
            "service: 1 (shop) → null",
        ]
    );
    assert_eq!(history["results"][2]["changes"], json!([{"field": "status", "from": "reported", "to": "triaged"}]));

    desk.post(&format!("/{id}/comments"), json!({"body": "first"})).await.expect(201);
    desk.world.clock.advance(Duration::from_secs(60)).await;
    let said = desk.post(&format!("/{id}/comments"), json!({"body": "second"})).await.expect(201);
    assert_eq!((&said["id"], &said["author"]), (&json!(2), &json!("operator")));
    let edited = desk.patch(&format!("/{id}/comments/1"), json!({"body": "*better*"})).await.expect(200);
    assert_eq!(edited["body_html"], "<p><em>better</em></p>\n");
    assert_eq!(edited["edits"], json!([{"at": "2026-11-22T08:02:00.000Z", "who": "operator", "before": "first"}]));
    // Another's comment is edited by an admin alone.
    let path = format!("{ISSUES}/{id}/comments/1");
    let by_admin = desk.world.send(Method::Patch, &path, Some(&desk.admin), Some(json!({"body": "best"}))).await.expect(200);
    assert_eq!(by_admin["edits"].as_array().expect("a list").len(), 2);
    desk.world.post(&format!("{ISSUES}/{id}/comments"), Some(&desk.admin), json!({"body": "mine"})).await.expect(201);
    desk.patch(&format!("/{id}/comments/3"), json!({"body": "not mine"})).await.problem(403);
    desk.patch(&format!("/{id}/comments/9"), json!({"body": "nobody's"})).await.problem(404);
    let page = desk.get(&format!("/{id}/comments?page_size=2&page=2")).await;
    assert_eq!((&page["count"], &page["results"][0]["body"]), (&json!(3), &json!("mine")));
    assert_eq!(desk.get(&format!("/{id}/")).await["comments"], 3);

    let log = desk.world.get("/api/v1/audit?page_size=500", Some(&desk.admin)).await.expect(200);
    let actions: Vec<&str> = log["results"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|row| row["subject"] == format!("issue:{id}"))
        .map(|row| row["action"].as_str().expect("a text"))
        .collect();
    for (action, count) in [("issue.create", 1), ("issue.update", 1), ("issue.step", 1), ("issue.comment", 5)] {
        assert_eq!(actions.iter().filter(|other| **other == action).count(), count, "{action} of {actions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_that_is_not_allowed_is_refused_with_those_that_are() {
    let desk = Desk::open().await;
    for from in IssueStatus::ALL {
        for to in IssueStatus::ALL {
            let id = desk.report_as(json!({"title": "a step", "issue_type": "feature", "assignee": "viewer"})).await;
            for way in way_to(from) {
                desk.step(id, way).await.expect(200);
            }
            let answer = desk.step(id, to.name()).await;
            if steps(from).contains(&to) {
                assert_eq!(answer.expect(200)["status"], to.name());
                continue;
            }
            assert_eq!(answer.problem(409), ["status"], "{} to {}", from.name(), to.name());
            let allowed: Vec<&str> = steps(from).iter().map(|status| status.name()).collect();
            assert_eq!(answer.json()["allowed"], json!(allowed));
            assert_eq!(desk.get(&format!("/{id}")).await["status"], from.name(), "nothing was changed");
        }
    }
    // Who does it may be named in the step that takes one.
    let id = desk.report("nobody's yet").await;
    desk.step(id, "triaged").await.expect(200);
    assert_eq!(desk.step(id, "assigned").await.problem(422), ["assignee"]);
    let with = json!({"status": "assigned", "reason": "she knows it", "assignee": "viewer"});
    assert_eq!(desk.patch(&format!("/{id}/status"), with).await.expect(200)["assignee"], "viewer");
    assert!(needs_assignee(IssueStatus::Assigned));
    let taken = desk.patch(&format!("/{id}"), json!({"assignee": null, "reason": "she is away"})).await;
    assert_eq!(taken.problem(422), ["assignee"]);
}

/// From `reported` to a status.
fn way_to(status: IssueStatus) -> Vec<&'static str> {
    let straight = ["triaged", "assigned", "in_progress", "testing", "resolved", "verified", "closed"];
    match status {
        IssueStatus::Reported => Vec::new(),
        IssueStatus::WontDo => vec!["wont_do"],
        other => {
            let last = straight.iter().position(|name| *name == other.name()).expect("it is on the way");
            straight[..=last].to_vec()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_by_its_field_and_changes_nothing() {
    let desk = Desk::open().await;
    let good = json!({"title": "good", "issue_type": "bug"});
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let long = "x".repeat((64 << 10) + 1);
    for (field, value) in [
        ("title", json!(" ")),
        ("title", json!("x".repeat(201))),
        ("title", json!("two\nlines")),
        ("issue_type", json!("bugs")),
        ("priority", json!("urgent")),
        ("assignee", json!("nobody")),
        ("service", json!(4711)),
        ("incident", json!("none")),
        ("finding", json!("none")),
        ("description", json!(long)),
        ("description", json!("x".repeat(1_000_000))),
        ("colour", json!("red")),
        ("reporter", json!("")),
    ] {
        assert_eq!(desk.post("", with(field, value)).await.problem(422), [field]);
    }
    assert_eq!(desk.post("", with("labels", json!(["a", "b,c"]))).await.problem(422), ["labels[1]"]);
    assert_eq!(desk.post("", with("description", json!("x".repeat(2_000_000)))).await.problem(413), Vec::<String>::new());
    let several = json!({"title": "", "issue_type": "x", "priority": "y"});
    assert_eq!(desk.post("", several).await.problem(422), ["title", "issue_type", "priority"]);
    assert_eq!(desk.post("", json!({"title": "no type"})).await.problem(422), ["issue_type"]);
    assert_eq!(desk.get("").await["count"], 0);

    let id = desk.report("good").await;
    for body in [json!({"title": "no reason"}), json!({"title": "x", "reason": " "}), json!({"status": "triaged"})] {
        assert!(desk.patch(&format!("/{id}"), body).await.problem(422).iter().any(|field| ["reason", "status"].contains(&field.as_str())));
    }
    assert_eq!(desk.patch(&format!("/{id}/status"), json!({"status": "triaged"})).await.problem(422), ["reason"]);
    let unknown = desk.patch(&format!("/{id}/status"), json!({"status": "done", "reason": "x"})).await;
    assert_eq!(unknown.problem(422), ["status"]);
    assert_eq!(unknown.json()["allowed"].as_array().map(Vec::len), Some(9));
    assert_eq!(desk.patch(&format!("/{id}"), json!({"revision": 7, "title": "late", "reason": "x"})).await.status, 409);
    for body in [json!({"body": " "}), json!({"body": long}), json!({})] {
        assert_eq!(desk.post(&format!("/{id}/comments"), body).await.problem(422), ["body"]);
    }
    for (path, body) in [("/4711/comments", json!({"body": "x"})), ("/x/comments", json!({"body": "x"}))] {
        desk.post(path, body).await.problem(404);
    }
    let issue = desk.get(&format!("/{id}")).await;
    assert_eq!((&issue["title"], &issue["revision"], &issue["comments"]), (&json!("good"), &json!(1), &json!(0)));
    for query in
        ["status=done", "priority=low,urgent", "open=maybe", "ordering=colour", "created_since=monday", "service=x", "page=0", "colour=red"]
    {
        desk.world.get(&format!("{ISSUES}?{query}"), Some(&desk.operator)).await.problem(400);
    }
    desk.world.get(&format!("{ISSUES}/statistics?days=0"), Some(&desk.operator)).await.problem(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_written_runs_where_it_is_shown() {
    let desk = Desk::open().await;
    let text = "<script>alert(1)</script>\n\n[x](javascript:alert(1)) <img src=x onerror=alert(1)> ![y](data:image/png;base64,AAAA) [z](https://z.example)";
    let id = desk.report_as(json!({"title": "<b>x</b>", "issue_type": "bug", "description": text})).await;
    desk.post(&format!("/{id}/comments"), json!({"body": text})).await.expect(201);
    let issue = desk.get(&format!("/{id}")).await;
    assert_eq!((&issue["description"], &issue["title"]), (&json!(text), &json!("<b>x</b>")), "it is kept as it was written");
    let comment = desk.get(&format!("/{id}/comments")).await["results"][0]["body_html"].clone();
    assert_eq!(issue["description_html"], comment);
    let html = comment.as_str().expect("a text");
    for tag in ["<script", "<img", "href=\"javascript", "href=\"data", " onerror=alert(1)>"] {
        assert!(!html.contains(tag), "{html}");
    }
    assert!(html.contains("<a href=\"https://z.example\" rel=\"noopener nofollow\">z</a>"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn issues_are_found_by_filters_words_and_order() {
    let desk = Desk::open().await;
    let shop = desk.world.service(&desk.operator, json!({"name": "shop", "base_url": "https://shop.example"})).await;
    let one =
        desk.report_as(json!({"title": "Zebra", "issue_type": "bug", "priority": "low", "labels": ["a", "b"], "service": shop})).await;
    desk.world.clock.advance(Duration::from_secs(3_600)).await;
    let two = desk
        .report_as(json!({"title": "apple", "issue_type": "feature", "priority": "critical", "labels": ["a"], "assignee": "viewer"}))
        .await;
    desk.world.clock.advance(Duration::from_secs(3_600)).await;
    let three = desk
        .report_as(json!({"title": "Mango", "issue_type": "support", "reporter": "Jane of Acme", "description": "The ÜBERSICHT is empty"}))
        .await;
    desk.step(one, "wont_do").await.expect(200);
    desk.post(&format!("/{two}/comments"), json!({"body": "see the Overview"})).await.expect(201);

    for (query, expected) in [
        ("", vec![three, two, one]),
        ("ordering=title", vec![two, three, one]),
        ("ordering=-priority", vec![two, three, one]),
        ("ordering=created_at", vec![one, two, three]),
        ("ordering=updated_at", vec![one, two, three]),
        ("ordering=-status", vec![one, three, two]),
        ("status=reported", vec![three, two]),
        ("status=wont_do,closed", vec![one]),
        ("open=false", vec![one]),
        ("type=bug,support", vec![three, one]),
        ("issue_type=feature", vec![two]),
        ("priority=low,critical", vec![two, one]),
        ("assignee=viewer", vec![two]),
        ("assigned=false", vec![three, one]),
        ("reporter=Jane%20of%20Acme", vec![three]),
        ("label=a", vec![two, one]),
        ("label=a,b", vec![one]),
        ("service=1", vec![one]),
        ("created_since=2026-11-22T09:00:00Z&created_until=2026-11-22T10:00:00Z", vec![two]),
        ("updated_since=2026-11-22T10:00:00Z&open=false", vec![one]),
        ("search=ZEBRA", vec![one]),
        ("search=%C3%BCbersicht", vec![three]),
        ("search=overview", vec![two]),
        ("search=e&label=b", vec![one]),
        ("search=nowhere", vec![]),
        ("incident=x", vec![]),
    ] {
        assert_eq!(desk.found(query).await, expected, "{query}");
    }
    let page = desk.get("?page_size=2&search=e").await;
    assert_eq!((&page["count"], page["results"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    let next = crate::api::path(&page["next"]).expect("there is another page");
    let rest = desk.world.get(&next, Some(&desk.operator)).await.expect(200);
    assert_eq!(rest["results"].as_array().map(Vec::len), Some(1));
    assert!(page["results"][0].get("description").is_none(), "a list does not carry descriptions");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_assigned_or_mentioned_is_told_once_and_listeners_hear_of_every_change() {
    let desk = Desk::open().await;
    let mut events = desk.world.events.subscribe();
    let id = desk
        .report_as(
            json!({"title": "for you", "issue_type": "support", "assignee": "viewer", "description": "@admin `@viewer` @operator @nobody"}),
        )
        .await;
    assert_eq!(
        desk.told(),
        [
            ("viewer".to_owned(), format!("operator assigned issue {id} to you: for you")),
            ("admin".to_owned(), format!("operator mentioned you in issue {id}: for you")),
        ]
    );
    desk.patch(&format!("/{id}"), json!({"description": "@admin and @viewer", "reason": "more"})).await.expect(200);
    assert_eq!(desk.told(), [("viewer".to_owned(), format!("operator mentioned you in issue {id}: for you"))]);
    desk.post(&format!("/{id}/comments"), json!({"body": "what do you say, @admin?"})).await.expect(201);
    assert_eq!(desk.told(), [("admin".to_owned(), format!("operator mentioned you in comment 1 of issue {id}: for you"))]);
    desk.patch(&format!("/{id}/comments/1"), json!({"body": "what do you say then, @admin?"})).await.expect(200);
    desk.patch(&format!("/{id}"), json!({"assignee": "operator", "reason": "I do it"})).await.expect(200);
    assert!(desk.told().is_empty(), "nobody is told twice, or of what they did themselves");
    desk.step(id, "triaged").await.expect(200);
    let mut heard = Vec::new();
    while let Ok(event) = events.try_recv() {
        let event = serde_json::to_value(&*event).expect("events are JSON");
        heard.push(format!("{} {} {}", event["what"], event["status"], event["assignee"]).replace('"', ""));
    }
    assert_eq!(
        heard,
        [
            "created reported viewer",
            "changed reported viewer",
            "commented reported viewer",
            "commented reported viewer",
            "changed reported operator",
            "changed triaged operator",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_how_the_work_goes() {
    let desk = Desk::open().await;
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let mut ids = Vec::new();
    for (kind, priority) in [("bug", "high"), ("bug", "low"), ("incident", "critical"), ("feature", "low")] {
        ids.push(desk.report_as(json!({"title": kind, "issue_type": kind, "priority": priority, "assignee": "viewer"})).await);
    }
    // One is resolved after 10 h, one after 50 h, one is in progress, one is new.
    desk.world.clock.advance(hours(10)).await;
    for to in way_to(IssueStatus::Resolved) {
        desk.step(ids[0], to).await.expect(200);
    }
    desk.world.clock.advance(hours(40)).await;
    for to in way_to(IssueStatus::Closed) {
        desk.step(ids[1], to).await.expect(200);
    }
    for to in way_to(IssueStatus::InProgress) {
        desk.step(ids[2], to).await.expect(200);
    }
    desk.patch(&format!("/{}", ids[3]), json!({"assignee": null, "reason": "nobody's"})).await.expect(200);
    let figures = desk.get("/statistics/").await;
    assert_eq!(
        (&figures["total"], &figures["open"], &figures["in_progress"], &figures["resolved"]),
        (&json!(4), &json!(2), &json!(1), &json!(2)),
        "{figures}"
    );
    assert_eq!(figures["by_type"]["bug"], json!({"total": 2, "open": 0, "in_progress": 0, "resolved": 2, "wont_do": 0}));
    assert_eq!((&figures["by_type"]["support"]["total"], &figures["by_priority"]["low"]["open"]), (&json!(0), &json!(1)));
    assert_eq!(figures["by_status"]["closed"], 1);
    let whose: Vec<(&Value, &Value)> =
        figures["by_assignee"].as_array().expect("a list").iter().map(|one| (&one["assignee"], &one["open"])).collect();
    assert_eq!(whose, [(&json!(null), &json!(1)), (&json!("viewer"), &json!(1))]);
    let hour = 3_600.0;
    assert_eq!((&figures["age_of_open"]["count"], &figures["age_of_open"]["median_s"]), (&json!(2), &json!(50.0 * hour)));
    assert_eq!(figures["time_to_triage"], json!({"count": 3, "median_s": 50.0 * hour, "p95_s": 50.0 * hour, "longest_s": 50.0 * hour}));
    assert_eq!(figures["time_to_resolve"], json!({"count": 2, "median_s": 10.0 * hour, "p95_s": 50.0 * hour, "longest_s": 50.0 * hour}));
    assert_eq!((&figures["resolved_under_48h_share"], &figures["created_in_period"]), (&json!(0.5), &json!(4)));
    // A day later the one resolved two days ago is out of the period, and what is opened again is not resolved.
    desk.world.clock.advance(hours(23)).await;
    let day = desk.get("/statistics?days=1").await;
    assert_eq!((&day["time_to_resolve"]["count"], &day["resolved_under_48h_share"]), (&json!(1), &json!(0.0)));
    desk.step(ids[1], "reported").await.expect(200);
    let again = desk.get("/statistics?days=1").await;
    assert_eq!((&again["time_to_resolve"]["count"], &again["resolved_under_48h_share"]), (&json!(0), &json!(null)));
    assert_eq!(again["open"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_is_imported_as_it_was() {
    let here = Desk::open().await;
    let shop = here.world.service(&here.operator, json!({"name": "shop", "base_url": "https://shop.example"})).await;
    let one = here
        .report_as(
            json!({"title": "one", "issue_type": "bug", "description": "a\nb", "labels": ["x"], "service": shop, "assignee": "viewer"}),
        )
        .await;
    let two = here.report("two").await;
    here.post(&format!("/{one}/comments"), json!({"body": "said"})).await.expect(201);
    here.patch(&format!("/{one}/comments/1"), json!({"body": "said better"})).await.expect(200);
    for to in way_to(IssueStatus::Resolved) {
        here.step(one, to).await.expect(200);
    }
    let export = here.get("/export").await;
    assert_eq!((&export["format"], &export["version"]), (&json!("probemesh-issues"), &json!(1)));
    assert_eq!(export["issues"].as_array().map(Vec::len), Some(2));
    assert_eq!(here.get("/export?status=resolved").await["issues"].as_array().map(Vec::len), Some(1));

    let there = Desk::open().await;
    let import = async |body: &Value| there.world.post(&format!("{ISSUES}/import"), Some(&there.admin), body.clone()).await;
    // A service of the same name has another number there.
    there.world.service(&there.operator, json!({"name": "other", "base_url": "https://other.example"})).await;
    let other_shop = there.world.service(&there.operator, json!({"name": "shop", "base_url": "https://shop.example"})).await;
    let done = import(&export).await.expect(200);
    assert_eq!(done, json!({"created": 2, "unchanged": 0, "ids": {"1": one, "2": two}, "unlinked": []}));
    let mut expected = export["issues"].clone();
    expected[0]["service"] = json!(other_shop);
    assert_eq!(there.get("/export").await["issues"], expected, "texts, comments, edits, history and times are as they were");
    let history = there.get(&format!("/{one}/history")).await;
    assert_eq!(history["results"][1]["who"], "operator");
    assert_eq!(import(&export).await.expect(200)["unchanged"], 2);
    assert_eq!(there.get("").await["count"], 2);
    // Numbers go on behind those that came, and what comes with a number that is taken gets another.
    let three = there.report("three").await;
    assert!(three > two);
    let mut foreign = export.clone();
    foreign["issues"] = json!([{"id": three, "title": "foreign", "issue_type": "support", "priority": "low", "status": "reported",
        "reporter": "jane", "created_at": "2025-01-01T00:00:00Z", "service": 1, "service_name": "elsewhere"}]);
    let done = import(&foreign).await.expect(200);
    let moved = done["ids"][three.to_string()].as_u64().expect("it got a number");
    assert!(moved > three);
    assert_eq!(done["unlinked"], json!([moved]));
    assert_eq!(there.get(&format!("/{moved}")).await["title"], "foreign");
    // Life goes on there.
    there.step(one, "in_progress").await.expect(200);

    let count = there.get("").await["count"].clone();
    let mut bad = export.clone();
    for issue in bad["issues"].as_array_mut().expect("a list") {
        issue["uid"] = json!(format!("new{}", issue["id"]));
    }
    bad["issues"][1]["priority"] = json!("urgent");
    bad["issues"][1]["history"][0]["at"] = json!("monday");
    assert_eq!(import(&bad).await.problem(422), ["issues[1].priority", "issues[1].history[0].at"]);
    bad["issues"][1]["colour"] = json!("red");
    assert_eq!(import(&bad).await.problem(422), ["issues[1].colour"]);
    assert_eq!(import(&json!({"format": "other", "version": 1, "issues": []})).await.problem(422), ["format"]);
    assert_eq!(import(&json!([{"id": 1}])).await.problem(422), ["[0].title"]);
    let cut = export.to_string();
    let path = format!("{ISSUES}/import");
    let kind = rocket::http::ContentType::JSON;
    let cut = there.world.send_text(Method::Post, &path, Some(&there.admin), Some(cut[..cut.len() - 9].to_owned()), kind).await;
    assert_eq!(cut.status, 400);
    assert!(cut.text.contains("line 1, column"), "{}", cut.text);
    assert_eq!(there.get("").await["count"], count, "nothing of a bad file is stored");
    there.world.post(&path, Some(&there.operator), export).await.problem(403);
}
