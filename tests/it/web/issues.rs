//! Issues on pages: made, moved along, talked about, and what is refused.

use super::browser::Browser;
use crate::api_world::World;

async fn made(browser: &mut Browser<'_>, fields: &[(&str, &str)]) -> String {
    let all = [&[("issue_type", "bug"), ("priority", "high")], fields].concat();
    let answer = browser.send_form("/issues/new", &all).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    answer.header("Location").expect("it leads to the issue").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_goes_from_the_form_over_the_board_to_its_end() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let empty = browser.page("/issues").await;
    assert!(empty.contains("No issue yet") && empty.contains("href=\"/issues/new\""), "{empty}");
    let place = made(
        &mut browser,
        &[("title", "Cart loses items"), ("labels", "web, cart"), ("description", "See **this**: <script>alert(1)</script>")],
    )
    .await;
    assert_eq!(place, "/issues/1");
    let page = browser.page(&place).await;
    assert!(page.contains("<strong>this</strong>") && !page.contains("<script>alert"), "{page}");
    for part in ["Cart loses items", "Reported", "High", ">web<", "value=\"triaged\"", "value=\"wont_do\"", "nobody yet"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("value=\"resolved\""), "only steps that may be taken are offered");
    let board = browser.page("/issues").await;
    assert!(board.contains("class=\"board\"") && board.contains("href=\"/issues/1\""), "{board}");

    // Each card carries its steps, those that take a word marked; a step from the board leads back to it.
    assert!(board.contains("data-steps=\"triaged wont_do?\"") && board.contains("data-status=\"in_progress\""), "{board}");
    let moved = browser.send_form("/issues/1/step", &[("status", "triaged"), ("revision", "1"), ("back", "/issues?priority=high")]).await;
    assert_eq!((moved.status, moved.header("Location")), (303, Some("/issues?priority=high")), "{}", moved.text);
    let outside = [("status", "reported"), ("reason", "too early"), ("back", "https://evil.example/")];
    assert_eq!(browser.send_form("/issues/1/step", &outside).await.header("Location"), Some("/"));

    // Whoever takes it up without naming anybody has it.
    for status in ["triaged", "assigned", "in_progress", "testing", "resolved", "verified", "closed"] {
        let answer = browser.send_form("/issues/1/step", &[("status", status)]).await;
        assert_eq!(answer.status, 303, "{status}: {}", answer.text);
    }
    let issue = world.tracker.issues.get(probemesh::model::issue::IssueId(1)).expect("it is there");
    assert_eq!((issue.status.name(), issue.assignee.as_deref()), ("closed", Some("operator")));
    let page = browser.page("/issues/1").await;
    assert!(page.contains("no word was given") && page.contains("Verified"), "the history tells the steps: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_may_not_be_taken_is_refused_with_what_may() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    made(&mut browser, &[("title", "one")]).await;
    let refused = browser.send_form("/issues/1/step", &[("status", "closed")]).await;
    assert_eq!(refused.status, 409);
    assert!(refused.text.contains("closed is not a step from reported; allowed: triaged, wont_do"), "{}", refused.text);
    // Not to do it takes a reason, and what was typed is not asked for again.
    let silent = browser.send_form("/issues/1/step", &[("status", "wont_do")]).await;
    assert_eq!(silent.status, 422);
    assert!(silent.text.contains("must say why"), "{}", silent.text);
    assert_eq!(browser.send_form("/issues/1/step", &[("status", "wont_do"), ("reason", "works as meant")]).await.status, 303);
    assert!(browser.page("/issues/1").await.contains("works as meant"));
    let late = browser.send_form("/issues/1/step", &[("status", "reported"), ("reason", "again"), ("revision", "1")]).await;
    assert_eq!(late.status, 409);
    assert!(late.text.contains("was changed meanwhile"), "{}", late.text);
    assert_eq!(browser.get("/issues/4711").await.status, 404);
    // A step that is not there is told before a reason is asked for, and who was faster in words.
    let again = browser.send_form("/issues/1/step", &[("status", "wont_do")]).await;
    assert!(again.status == 409 && again.text.contains("wont_do is not a step from wont_do"), "{}", again.text);
    let stale = browser.send_form("/issues/1/step", &[("status", "triaged"), ("revision", "1"), ("from", "reported")]).await;
    assert_eq!(stale.status, 409);
    assert!(stale.text.contains("operator moved it to ") && stale.text.contains("data-here=\"/issues/1\""), "{}", stale.text);
    assert!(!stale.text.contains("must say why"), "{}", stale.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_stand_beside_their_fields_and_nothing_typed_is_lost() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    let long = "x".repeat(201);
    let refused = browser
        .send_form(
            "/issues/new",
            &[
                ("title", &long),
                ("issue_type", "bug"),
                ("priority", "high"),
                ("description", "kept words"),
                ("incident", "gone-1"),
                ("labels", "a"),
            ],
        )
        .await;
    assert_eq!(refused.status, 422);
    for (name, says) in [("title", "1 to 200 characters"), ("incident", "there is no incident gone-1")] {
        let field = refused.text.split(&format!("name=\"{name}\"")).nth(1).expect("the field is there");
        let field = field.split("</label>").next().expect("it ends");
        assert!(field.contains("aria-invalid=\"true\"") && field.contains(says), "{name}: {field}");
    }
    assert!(refused.text.contains("kept words") && refused.text.contains(&long), "{}", refused.text);
    let empty = browser.send_form("/issues/new", &[("issue_type", "bug"), ("priority", "low")]).await;
    assert_eq!(empty.status, 422);
    assert!(world.tracker.issues.get(probemesh::model::issue::IssueId(1)).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issue_is_edited_talked_about_and_found() {
    let world = World::new().await;
    let mut browser = Browser::of(&world, "operator").await;
    made(&mut browser, &[("title", "Cart loses items"), ("description", "words"), ("labels", "web")]).await;
    made(&mut browser, &[("title", "Mail is slow"), ("priority", "low")]).await;
    let form = browser.page("/issues/1/edit").await;
    assert!(form.contains("value=\"Cart loses items\"") && form.contains(">words</textarea>"), "{form}");
    let fields = [
        ("title", "Cart keeps items"),
        ("issue_type", "feature"),
        ("priority", "critical"),
        ("assignee", "admin"),
        ("labels", "web, money"),
        ("description", "words"),
        ("revision", "1"),
        ("reason", "it is a wish"),
    ];
    assert_eq!(browser.send_form("/issues/1/edit", &fields).await.status, 303);
    let page = browser.page("/issues/1").await;
    for part in ["Cart keeps items", "Feature", "Critical", ">money<", "it is a wish", ">admin<"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert_eq!(browser.send_form("/issues/1/edit", &fields).await.status, 409, "someone was faster");
    let said = browser.send_form("/issues/1/comments", &[("body", "@viewer *look* at <b>this</b>")]).await;
    assert_eq!((said.status, said.header("Location")), (303, Some("/issues/1#comment-1")));
    let note = world.notes.lock().expect("no holder panics").try_recv();
    assert!(note.is_ok(), "whoever is named is told");
    let page = browser.page("/issues/1").await;
    assert!(page.contains("<em>look</em>") && page.contains("&lt;b&gt;this"), "{page}");
    let empty = browser.send_form("/issues/1/comments", &[("body", "  ")]).await;
    assert_eq!(empty.status, 422);
    assert!(empty.text.contains("must not be empty"), "{}", empty.text);

    let shown = |page: &str| -> Vec<bool> { ["/issues/1\"", "/issues/2\""].iter().map(|place| page.contains(place)).collect() };
    for (query, expected) in [
        ("view=list", [true, true]),
        ("view=list&search=SLOW&status=", [false, true]),
        ("view=list&priority=critical", [true, false]),
        ("view=list&assignee=admin", [true, false]),
        ("view=list&label=money", [true, false]),
        ("view=board&issue_type=bug", [false, true]),
        ("view=list&open=false", [false, false]),
    ] {
        assert_eq!(shown(&browser.page(&format!("/issues?{query}")).await), expected, "{query}");
    }
    let wrong = browser.get("/issues?status=nonsense").await;
    assert_eq!((wrong.status, wrong.text.contains("must be of reported")), (400, true), "{}", wrong.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_reads_and_changes_nothing() {
    let world = World::new().await;
    made(&mut Browser::of(&world, "operator").await, &[("title", "one")]).await;
    let mut viewer = Browser::of(&world, "viewer").await;
    let page = viewer.page("/issues/1").await;
    assert!(!page.contains("/issues/1/step") && !page.contains("/issues/1/comments"), "{page}");
    let board = viewer.page("/issues").await;
    assert!(!board.contains("href=\"/issues/new\"") && !board.contains("/issues/1/step") && !board.contains("board-"), "{board}");
    assert_eq!(viewer.get("/issues/new").await.status, 403);
    for (path, fields) in [
        ("/issues/new", vec![("title", "x"), ("issue_type", "bug")]),
        ("/issues/1/step", vec![("status", "triaged")]),
        ("/issues/1/edit", vec![("title", "x")]),
        ("/issues/1/comments", vec![("body", "x")]),
    ] {
        assert_eq!(viewer.send_form(path, &fields).await.status, 403, "{path}");
    }
    let issue = world.tracker.issues.get(probemesh::model::issue::IssueId(1)).expect("it is there");
    assert_eq!((issue.revision, issue.comments), (1, 0));
    // Without the token of the session nobody changes anything.
    let mut operator = Browser::of(&world, "operator").await;
    assert_eq!(operator.send_raw("/issues/1/step", &[("status", "triaged")]).await.status, 403);
}
