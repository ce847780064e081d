//! Receivers that fail, stall, lie, lead elsewhere, ask for patience or never end; and what is told of it, without secrets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use probemesh::alert::channel::RateLimit;
use probemesh::model::alert::{DeliveryFailure, Telling};
use serde_json::json;
use tokio::net::TcpListener;

use super::{SECRET, channel, http_kinds, message, sender, sender_with};
use crate::target::{Delays, Reply, Target, self_signed};

/// To the body of a request.
type Answer = fn(&str) -> Reply;

/// What each kind makes of an answer.
async fn failures(reply: Answer) -> Vec<(&'static str, DeliveryFailure)> {
    let target = Target::plain(move |asked| reply(&asked.body)).await;
    let mut found = Vec::new();
    for (kind, config, _) in http_kinds(&target.url("http", "127.0.0.1")) {
        let failure = sender().deliver(&channel(kind, config), &message(Telling::Raised)).await.expect_err(kind);
        found.push((kind, failure));
    }
    found
}

#[tokio::test]
async fn what_the_status_says_decides_whether_it_is_tried_again() {
    for (kind, failure) in failures(|_| Reply::text(404, "no_service")).await {
        assert_eq!((failure.permanent, failure.reason.as_str()), (true, "answered 404: no_service"), "{kind}");
    }
    for (kind, failure) in failures(|_| Reply::text(503, "we\nare  busy")).await {
        assert_eq!((failure.permanent, failure.reason.as_str()), (false, "answered 503: we are busy"), "{kind}");
    }
}

#[tokio::test]
async fn a_far_side_that_asks_for_patience_gets_it() {
    let cases: [(Answer, Duration); 5] = [
        (|_| Reply::text(429, "slow down").with("retry-after", "7"), Duration::from_secs(7)),
        (|_| Reply::text(503, "").with("retry-after", "Sun, 22 Nov 2026 10:12:30 GMT"), Duration::from_secs(30)),
        (
            |_| Reply::text(429, r#"{"message": "You are being rate limited.", "retry_after": 0.65, "global": false}"#),
            Duration::from_millis(650),
        ),
        (|_| Reply::text(429, r#"{"ok": false, "error_code": 429, "parameters": {"retry_after": 12}}"#), Duration::from_secs(12)),
        (|_| Reply::text(429, r#"{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}"#), Duration::from_millis(2_500)),
    ];
    for (reply, wait) in cases {
        for (kind, failure) in failures(reply).await {
            assert_eq!((failure.permanent, failure.retry_after), (false, Some(wait)), "{kind}: {}", failure.reason);
        }
    }
}

#[tokio::test]
async fn a_service_that_says_yes_and_means_no_is_not_believed() {
    let lies: [Answer; 3] = [
        |_| Reply::text(200, r#"{"ok": false, "error": "channel_is_archived"}"#),
        |_| Reply::text(200, "<html>Log in to the hotel's network</html>"),
        |_| Reply::text(200, "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429"),
    ];
    for (index, lie) in lies.into_iter().enumerate() {
        let target = Target::plain(move |asked| lie(&asked.body)).await;
        for (kind, config, _) in http_kinds(&target.url("http", "127.0.0.1")) {
            let done = sender().deliver(&channel(kind, config), &message(Telling::Raised)).await;
            match (kind, index) {
                // An address of anyone's may answer what it likes; a workflow's yes has no form, its errors have.
                ("webhook", _) | ("teams", 1) => assert!(done.is_ok(), "{kind}: {done:?}"),
                _ => {
                    let failure = done.expect_err(kind);
                    assert!(!failure.permanent && failure.reason.contains("which is not"), "{kind}: {failure:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_led_elsewhere_with_what_is_signed() {
    let other = Target::plain(|_| Reply::text(200, "ok")).await;
    let elsewhere = other.url("http", "127.0.0.1");
    let leading = Target::plain(move |_| Reply::redirect(307, elsewhere.clone())).await;
    for (kind, config, _) in http_kinds(&leading.url("http", "127.0.0.1")) {
        let failure = sender().deliver(&channel(kind, config), &message(Telling::Raised)).await.expect_err(kind);
        assert_eq!(failure.reason, "answered 307: it leads elsewhere, which is not followed", "{kind}");
    }
    assert!(other.asked().is_empty());
}

#[tokio::test]
async fn an_answer_without_end_is_read_to_a_bound() {
    let target = Target::plain(|_| Reply::text(500, &"x".repeat(10 << 20))).await;
    let hook = target.url("http", "127.0.0.1");
    let failure = sender().deliver(&channel("webhook", json!({"url": hook})), &message(Telling::Raised)).await.expect_err("it fails");
    assert!(failure.reason.starts_with("answered 500: xxx") && failure.reason.ends_with("(cut)"), "{}", failure.reason);
    assert!(failure.reason.len() < 500);
}

#[tokio::test]
async fn one_who_stalls_is_given_up_in_time_and_what_has_come_counts() {
    let sender = sender_with(|settings| settings.send_timeout = Duration::from_millis(300));
    let slow = |delays| Target::start("127.0.0.1".parse().unwrap(), None, delays, Arc::new(|_| Reply::text(200, "okok")));
    let silent = slow(Delays { head: Duration::from_secs(60), ..Delays::default() }).await;
    for (kind, config, _) in http_kinds(&silent.url("http", "127.0.0.1")) {
        let began = Instant::now();
        let failure = sender.deliver(&channel(kind, config), &message(Telling::Raised)).await.expect_err(kind);
        assert_eq!((failure.permanent, failure.reason.as_str()), (false, "no answer within 0.3 s"), "{kind}");
        assert!(began.elapsed() < Duration::from_secs(30), "{kind}");
    }
    // The head says that it was taken; Slack's yes is in the body, of which half has come.
    let halting = slow(Delays { body: Duration::from_secs(60), ..Delays::default() }).await;
    for (kind, config, _) in http_kinds(&halting.url("http", "127.0.0.1")) {
        let done = sender.deliver(&channel(kind, config), &message(Telling::Raised)).await;
        assert_eq!(done.is_ok(), matches!(kind, "webhook" | "teams" | "slack"), "{kind}: {done:?}");
    }
}

#[tokio::test]
async fn no_secret_is_in_what_is_told_however_it_comes_back() {
    // The far side repeats all it was sent, in its head's place and in its body.
    let echo = Target::plain(|asked| {
        let all = format!("{} {:?} {}", asked.path, asked.headers, asked.body);
        Reply::text(400, &all)
    })
    .await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let untrusted = Target::tls(self_signed("localhost"), |_| Reply::text(200, "ok")).await;
    let garbled = Target::plain(|_| Reply::raw(b"220 mail.test ESMTP\r\n")).await;
    let places = [echo.url("http", "127.0.0.1"), closed, untrusted.url("https", "localhost"), garbled.url("http", "127.0.0.1")];
    for place in &places {
        for (kind, config, _) in http_kinds(place) {
            let channel = channel(kind, config);
            let failure = sender().deliver(&channel, &message(Telling::Raised)).await.expect_err(kind);
            assert!(!failure.reason.is_empty());
            let doubts = sender().doubts(&channel).await;
            for told in [failure.reason, format!("{doubts:?}"), format!("{channel:?}"), format!("{:?}", channel.masked())] {
                assert!(!told.contains("s3cret"), "{kind} at {place}: {told}");
            }
        }
    }
    assert!(echo.asked().iter().any(|asked| asked.path.contains(SECRET)), "the secrets were sent");
}

#[tokio::test]
async fn a_blocked_network_is_not_reached_by_number_nor_by_name() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let sender = sender_with(|settings| settings.blocked_networks = vec!["127.0.0.0/8".to_owned(), "::1".to_owned()]);
    for host in ["127.0.0.1", "localhost", "2130706433"] {
        let channel = channel("webhook", json!({"url": format!("{}/", target.url("http", host))}));
        let failure = sender.deliver(&channel, &message(Telling::Raised)).await.expect_err(host);
        assert!(failure.reason.contains("blocked by alerts.blocked_networks"), "{host}: {}", failure.reason);
        assert_eq!(sender.doubts(&channel).await.len(), 1, "{host}");
    }
    let mail =
        channel("email", json!({"host": "localhost", "port": 2525, "security": "none", "from": "a@example.com", "to": ["b@example.com"]}));
    let failure = sender.deliver(&mail, &message(Telling::Raised)).await.expect_err("it is blocked");
    assert!(failure.reason.contains("blocked"), "{}", failure.reason);
    assert_eq!(target.connections(), 0);
}

#[test]
fn each_service_has_the_limit_it_tells_of() {
    let limit = |kind: &str, config| channel(kind, config).rate_limit();
    let per = |messages, seconds| Some(RateLimit { messages, per: Duration::from_secs(seconds) });
    for (kind, config, _) in http_kinds("http://127.0.0.1:9") {
        let expected = match kind {
            "slack" => per(1, 1),
            "discord" => per(5, 2),
            "teams" => per(4, 1),
            "telegram" => per(20, 60),
            "pagerduty" => per(120, 60),
            "ntfy" => per(60, 300),
            "matrix" => per(10, 50),
            _ => None,
        };
        assert_eq!(limit(kind, config), expected, "{kind}");
    }
    assert_eq!(limit("telegram", json!({"token": "1:a", "chat": "42"})), per(1, 1));
}
