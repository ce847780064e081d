use crate::api_world::World;
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn perf_ten_thousand() {
    let world = World::with(|settings| settings.access_lifetime = Duration::from_secs(86_400)).await;
    let admin = world.token("admin").await;
    let issues: Vec<_> = (1..=10_000u64).map(|id| json!({"id": id, "title": format!("issue number {id}"), "description": "some text ".repeat(100), "issue_type": "bug", "priority": "low", "status": if id % 3 == 0 {"closed"} else {"reported"}, "reporter": "x", "assignee": format!("user{}", id % 20), "labels": ["a", "b"], "created_at": "2026-11-01T00:00:00Z", "triaged_at": "2026-11-02T00:00:00Z", "resolved_at": if id % 3 == 0 {json!("2026-11-03T00:00:00Z")} else {json!(null)},
        "comments": [{"author": "x", "body": "a comment ".repeat(20), "created_at": "2026-11-02T00:00:00Z"}],
        "history": [{"at": "2026-11-02T00:00:00Z", "who": "x", "why": "y", "fields": []}]})).collect();
    let began = Instant::now();
    world.post("/api/v1/maintenance/issues/import", Some(&admin), json!(issues)).await.expect(200);
    println!("PERF import {:?}", began.elapsed());
    for path in ["/statistics", "?page_size=50&ordering=-priority", "?status=closed&label=a", "?search=number%209999", "/5000", "/export"] {
        let began = Instant::now();
        let answer = world.get(&format!("/api/v1/maintenance/issues{path}"), Some(&admin)).await;
        println!("PERF {path} {:?} {} bytes", began.elapsed(), answer.text.len());
        assert_eq!(answer.status, 200);
    }
}
