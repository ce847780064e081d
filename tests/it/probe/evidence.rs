//! What a failing check shows of itself, and what it must not show.

use serde_json::json;

use super::*;
use crate::target::{Reply, Target};

#[tokio::test]
async fn a_failing_check_shows_what_came() {
    let target = Target::plain(|_| Reply::text(503, &format!("{{\"error\": \"db\"}}{}", "x".repeat(5000))).with("retry-after", "30")).await;
    let result = check(json!({"base_url": target.url("http", "web.test")})).await;
    assert_eq!(message(&result), "expected status 200-299, got 503");
    assert_eq!(result.attempts.len(), 1);
    let evidence = result.evidence.expect("it failed");
    assert_eq!(evidence.status_line, "HTTP/1.1 503 Service Unavailable");
    assert!(evidence.headers.contains(&("retry-after".to_owned(), "30".to_owned())));
    assert!(evidence.body.starts_with("{\"error\": \"db\"}xxx"));
    assert_eq!(evidence.body.len(), 1024);
    assert_eq!(evidence.addresses, ["127.0.0.1".parse::<IpAddr>().expect("an address")]);
}

#[tokio::test]
async fn no_secret_of_a_service_is_in_its_result() {
    // A server that sends back all it was told, and sets a cookie besides.
    let target = Target::plain(|asked| {
        let basic = asked.header("authorization").is_some_and(|value| value.starts_with("Basic "));
        let encoded = if basic { r#"{"seen": "basic \"zauberwort\""} basic+%22zauberwort%22"# } else { "" };
        Reply::text(500, &format!("{asked:?} {encoded}"))
            .with("set-cookie", "session=from-the-server")
            .with("x-request-token", "issued-by-the-server")
            .with("x-echo", asked.header("x-api-key").unwrap_or_default())
            .with("x-plain", "seen")
    })
    .await;
    let issuer = Target::plain(|_| Reply::text(200, r#"{"access_token": "fetched-token-value"}"#)).await;
    let url = target.url("http", "web.test");
    let headers = json!({"x-api-key": "key-in-a-header", "cookie": "c=cookie-in-a-header", "authorization": "Custom word-of-authority"});
    let oauth = json!({"type": "oauth2", "token_url": issuer.url("http", "web.test"), "client_id": "me", "client_secret": "oauth-secret"});
    let documents = [
        json!({"base_url": url, "health_path": "/?api_key=key-in-the-query", "headers": headers, "expect": {"body_contains": "key-in-a-header"}}),
        json!({"base_url": url, "auth": {"type": "basic", "username": "ada", "password": "basic \"zauberwort\""}}),
        json!({"base_url": url, "auth": {"type": "bearer", "token": "bearer-token"}}),
        json!({"base_url": url, "auth": oauth}),
        json!({"base_url": url, "headers": {"x-api-key": "key-in-a-header"},
               "expect": {"status": 500, "headers": [{"name": "x-echo", "equals": "nothing"}]}}),
        json!({"base_url": url, "headers": {"x-api-key": "key-in-a-header"}, "expect": {"status": 500, "body_regex": "^nothing$"}}),
    ];
    let secrets = [
        "key-in-a-header",
        "cookie-in-a-header",
        "word-of-authority",
        "key-in-the-query",
        "zauberwort",
        "YWRhOmJhc2ljICJ6YXViZXJ3b3J0Ig==",
        "bearer-token",
        "fetched-token-value",
        "oauth-secret",
        "from-the-server",
        "issued-by-the-server",
    ];
    for document in documents {
        let (result, verdicts) = probes().check_verbosely(&service(document), order()).await;
        let shown = format!("{result:?} {verdicts:?}");
        for secret in secrets {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
        let evidence = result.evidence.expect("it failed");
        assert!(evidence.headers.contains(&("x-plain".to_owned(), "seen".to_owned())));
        assert!(evidence.headers.contains(&("set-cookie".to_owned(), "[redacted]".to_owned())));
    }
}
