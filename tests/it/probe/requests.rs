//! What a target is asked: method, headers, body, credentials, redirects, retries, proxies, versions of HTTP.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use probemesh::model::check::{HttpVersion, Reason};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::target::{Authority, Reply, Target, read_request};

#[tokio::test]
async fn method_headers_and_body_arrive_as_written() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let result = check(json!({
            "base_url": target.url("http", "web.test"), "health_path": "/v1/health?deep=1", "method": method,
            "headers": {"x-one": "1", "content-type": "text/plain"}, "body": "ping",
        }))
        .await;
        assert_eq!(result.failure, None, "{method}");
        let asked = target.asked().pop().expect("it was asked");
        assert_eq!((asked.method.as_str(), asked.path.as_str(), asked.body.as_str()), (method, "/v1/health?deep=1", "ping"));
        assert_eq!(asked.header("x-one"), Some("1"));
        assert_eq!(asked.header("content-type"), Some("text/plain"));
        assert_eq!(asked.header("user-agent"), Some("probemesh/test"));
        assert_eq!(asked.header("host"), Some(format!("web.test:{}", target.address.port()).as_str()));
        assert_eq!(result.body_bytes, if method == "HEAD" { 0 } else { 2 });
        assert_eq!(result.http_version, Some(HttpVersion::Http11));
    }
}

#[tokio::test]
async fn a_service_may_name_its_own_user_agent() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    check(json!({"base_url": target.url("http", "web.test"), "headers": {"User-Agent": "mine"}})).await;
    let asked = target.asked().pop().expect("it was asked");
    let agents: Vec<_> = asked.headers.iter().filter(|(name, _)| name == "user-agent").collect();
    assert_eq!(agents, [&("user-agent".to_owned(), "mine".to_owned())]);
}

#[tokio::test]
async fn the_header_of_the_check_counts_attempts_and_can_be_switched_off() {
    let target = Target::plain(|_| Reply::text(500, "no")).await;
    let service = service(json!({"base_url": target.url("http", "web.test"), "retries": 2, "backoff": {"initial_ms": 1}}));
    probes().check(&service, order()).await;
    let sent: Vec<_> = target.asked().iter().map(|asked| asked.header("x-probemesh-check").map(str::to_owned)).collect();
    assert_eq!(sent, [Some("node-1/3/42/1".to_owned()), Some("node-1/3/42/2".to_owned()), Some("node-1/3/42/3".to_owned())]);
    let silent = ProbeSettings { check_header: false, ..settings() };
    let hosts = Hosts::default().with("web.test", &["127.0.0.1"], Duration::ZERO);
    Probes::with_lookup(&silent, Clock::real(), Arc::new(hosts)).expect("sound settings").check(&service, order()).await;
    assert_eq!(target.asked().pop().expect("it was asked").header("x-probemesh-check"), None);
}

#[tokio::test]
async fn basic_and_bearer_credentials_are_sent() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let url = target.url("http", "web.test");
    check(json!({"base_url": url, "auth": {"type": "basic", "username": "ada", "password": "pass:word"}})).await;
    assert_eq!(target.asked().pop().expect("it was asked").header("authorization"), Some("Basic YWRhOnBhc3M6d29yZA=="));
    check(json!({"base_url": url, "auth": {"type": "bearer", "token": "abc"}})).await;
    assert_eq!(target.asked().pop().expect("it was asked").header("authorization"), Some("Bearer abc"));
}

#[tokio::test]
async fn an_oauth2_token_is_fetched_once_and_again_when_the_target_refuses_it() {
    let issued = Arc::new(AtomicUsize::new(0));
    let issuing = issued.clone();
    let issuer = Target::plain(move |_| {
        let number = issuing.fetch_add(1, Ordering::Relaxed) + 1;
        Reply::text(200, &format!(r#"{{"access_token": "token-{number}", "token_type": "Bearer", "expires_in": 3600}}"#))
    })
    .await;
    let target = Target::plain(|asked| match asked.header("authorization") {
        Some("Bearer token-1") if asked.path != "/strict" => Reply::text(200, "ok"),
        Some("Bearer token-2") => Reply::text(200, "ok"),
        _ => Reply::text(401, "no"),
    })
    .await;
    let auth = json!({
        "type": "oauth2", "token_url": issuer.url("http", "web.test") + "/token", "client_id": "me", "client_secret": "s3 cret", "scope": "read",
    });
    let probes = probes();
    let easy = service(json!({"base_url": target.url("http", "web.test"), "auth": auth}));
    for _ in 0..3 {
        assert_eq!(probes.check(&easy, order()).await.failure, None);
    }
    assert_eq!(issued.load(Ordering::Relaxed), 1);
    let asked = issuer.asked().pop().expect("it was asked");
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/token"));
    assert_eq!(asked.body, "grant_type=client_credentials&scope=read");
    assert_eq!(asked.header("authorization"), Some("Basic bWU6czMrY3JldA=="));
    let strict = service(json!({
        "base_url": target.url("http", "web.test"), "health_path": "/strict", "auth": auth, "retries": 1, "backoff": {"initial_ms": 1},
    }));
    let result = probes.check(&strict, order()).await;
    assert_eq!((result.failure, result.attempt_count), (None, 2));
    assert_eq!(issued.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_refused_oauth2_token_is_a_failure_that_says_so_and_tells_no_secret() {
    let issuer = Target::plain(|asked| Reply::text(401, &format!(r#"{{"error": "invalid_client", "seen": {:?}}}"#, asked.body))).await;
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let auth =
        json!({"type": "oauth2", "token_url": issuer.url("http", "web.test") + "/t?k=v", "client_id": "me", "client_secret": "hush-hush"});
    let result = check(json!({"base_url": target.url("http", "web.test"), "auth": auth})).await;
    assert_eq!(reason(&result), Some(Reason::Status));
    let place = format!("{}/t", issuer.url("http", "web.test"));
    assert_eq!(message(&result), format!("no OAuth2 token from {place}: it answered 401 (invalid_client)"));
    assert!(!format!("{result:?}").contains("hush-hush"));
    assert_eq!(target.connections(), 0);
    assert_eq!(issuer.asked().len(), 2, "the credentials were tried in the body too");
    assert!(issuer.asked()[1].body.contains("client_secret=hush-hush"));
}

#[tokio::test]
async fn redirects_are_followed_and_counted() {
    let target = Target::plain(|asked| match asked.path.as_str() {
        "/a" => Reply::redirect(302, "/b"),
        "/b" => Reply::redirect(307, "c?x=1"),
        "/loop" => Reply::redirect(301, "/loop"),
        "/odd" => Reply::redirect(302, "ftp://web.test/file"),
        _ => Reply::text(200, "end"),
    })
    .await;
    let url = target.url("http", "web.test");
    let result = check(json!({"base_url": url, "health_path": "/a", "method": "POST", "body": "once"})).await;
    assert_eq!((result.failure.clone(), result.status_code, result.redirects), (None, Some(200), 2));
    let asked: Vec<_> = target.asked().iter().map(|asked| format!("{} {} {:?}", asked.method, asked.path, asked.body)).collect();
    assert_eq!(asked, ["POST /a \"once\"", "GET /b \"\"", "GET /c?x=1 \"\""]);

    let unfollowed = check(json!({"base_url": url, "health_path": "/a", "redirects": 0, "expect": {"status": 302}})).await;
    assert_eq!((unfollowed.failure, unfollowed.status_code, unfollowed.redirects), (None, Some(302), 0));

    let endless = check(json!({"base_url": url, "health_path": "/loop", "redirects": 3})).await;
    assert_eq!((reason(&endless), endless.redirects), (Some(Reason::Redirect), 3));
    assert_eq!(message(&endless), format!("more than 3 redirects, the last to {url}/loop"));

    let odd = check(json!({"base_url": url, "health_path": "/odd"})).await;
    assert_eq!((reason(&odd), message(&odd)), (Some(Reason::Redirect), "redirected to ftp:, which cannot be followed"));
}

#[tokio::test]
async fn a_redirect_into_nothing_says_where_it_led() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it is bound");
    let target = Target::plain(move |_| Reply::redirect(302, format!("http://{nobody}/login?token=abc"))).await;
    let result = check(json!({"base_url": target.url("http", "web.test")})).await;
    assert_eq!(reason(&result), Some(Reason::Connect));
    assert_eq!(message(&result), format!("redirected to http://{nobody}/login: connection refused"));
    assert_eq!((result.status_code, result.http_version, result.redirects), (None, None, 1));
    assert_eq!(result.address, Some(nobody.ip()));
}

#[tokio::test]
async fn credentials_stay_behind_when_a_redirect_leads_elsewhere() {
    let elsewhere = Target::plain(|_| Reply::text(200, "ok")).await;
    let there = elsewhere.url("http", "web.test");
    let target = Target::plain(move |_| Reply::redirect(302, there.clone())).await;
    let result = check(json!({
        "base_url": target.url("http", "web.test"), "auth": {"type": "bearer", "token": "abc"},
        "headers": {"x-api-key": "k", "cookie": "c=1", "x-plain": "p"},
    }))
    .await;
    assert_eq!(result.failure, None);
    let first = target.asked().pop().expect("it was asked");
    assert!(first.header("authorization").is_some() && first.header("x-api-key").is_some() && first.header("cookie").is_some());
    let second = elsewhere.asked().pop().expect("it was asked");
    assert_eq!((second.header("authorization"), second.header("x-api-key"), second.header("cookie")), (None, None, None));
    assert_eq!(second.header("x-plain"), Some("p"));
}

#[tokio::test]
async fn a_failing_check_is_tried_again_and_each_attempt_is_kept() {
    let count = Arc::new(AtomicUsize::new(0));
    let counting = count.clone();
    let target = Target::plain(move |_| match counting.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Reply::text(503, "not yet"),
        _ => Reply::text(200, "ok"),
    })
    .await;
    let document = json!({"base_url": target.url("http", "web.test"), "retries": 3, "backoff": {"initial_ms": 20, "max_ms": 30}});
    let result = check(document.clone()).await;
    assert_eq!((result.failure.clone(), result.attempt_count, result.status_code), (None, 3, Some(200)));
    let outcomes: Vec<_> =
        result.attempts.iter().map(|attempt| (attempt.status_code, attempt.failure.as_ref().map(|f| f.reason))).collect();
    assert_eq!(outcomes, [(Some(503), Some(Reason::Status)), (Some(503), Some(Reason::Status)), (Some(200), None)]);
    assert!(result.attempts.is_sorted_by_key(|attempt| attempt.offset) && result.attempts[0].offset < result.attempts[1].offset);
    assert!(result.elapsed >= result.attempts[2].offset + result.latency);
    assert_eq!(result.evidence.expect("it needed retries").status_line, "HTTP/1.1 503 Service Unavailable");

    let smooth = check(document).await;
    assert_eq!((smooth.failure, smooth.attempt_count), (None, 1));
    assert!(smooth.attempts.is_empty() && smooth.evidence.is_none());
}

#[tokio::test]
async fn waits_between_attempts_grow_and_stay_below_their_bound() {
    let clock = Clock::manual(Timestamp(0));
    let hosts = Hosts::default().with("web.test", &["127.0.0.1"], Duration::ZERO);
    let probes = Arc::new(Probes::with_lookup(&settings(), clock.clone(), Arc::new(hosts)).expect("sound settings"));
    let target = Target::plain(|_| Reply::text(500, "")).await;
    let service = service(json!({
        "base_url": target.url("http", "web.test"), "retries": 6, "backoff": {"initial_ms": 1000, "max_ms": 8000},
    }));
    let mut running = tokio::spawn(async move { probes.check(&service, order()).await });
    let result = loop {
        tokio::select! {
            result = &mut running => break result.expect("it does not panic"),
            () = tokio::time::sleep(Duration::from_micros(200)) => clock.advance(Duration::from_millis(10)).await,
        }
    };
    assert_eq!(result.attempt_count, 7);
    let starts: Vec<Duration> = result.attempts.iter().map(|attempt| attempt.offset).collect();
    let bounds = [1, 2, 4, 8, 8, 8].map(Duration::from_secs);
    for (pair, bound) in starts.windows(2).zip(bounds) {
        // The test moves its clock on while a request is out, so there is some slack.
        assert!(pair[1] - pair[0] <= bound + Duration::from_millis(500), "{starts:?}");
    }
    assert!(starts[6] > Duration::from_secs(1), "{starts:?}");
}

#[tokio::test]
async fn connections_are_new_unless_the_service_wants_them_kept() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let url = target.url("http", "web.test");
    let probes = probes();
    let fresh = service(json!({"base_url": url}));
    for _ in 0..3 {
        assert!(probes.check(&fresh, order()).await.phases.connect.is_some());
    }
    assert_eq!(target.connections(), 3);
    let kept = service(json!({"base_url": url, "reuse_connection": true}));
    let mut phases = Vec::new();
    for _ in 0..3 {
        phases.push(probes.check(&kept, order()).await.phases);
        // The connection goes back to the pool in a task of its own.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(target.connections(), 4);
    assert!(phases[0].connect.is_some());
    assert_eq!((phases[2].dns, phases[2].connect), (None, None));
    assert!(phases[2].first_byte.is_some());
}

#[tokio::test]
async fn http2_is_spoken_by_choice_and_by_offer() {
    let plain = Target::http2(|_| Reply::text(200, "ok")).await;
    let result = check(json!({"base_url": plain.url("http", "web.test"), "http_version": "2"})).await;
    assert_eq!((result.failure, result.http_version), (None, Some(HttpVersion::Http2)));

    let authority = Authority::new();
    let offering = |protocols: &[&[u8]]| {
        let mut tls = authority.server("web.test", 2090);
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        tls
    };
    let both = Target::tls(offering(&[b"h2", b"http/1.1"]), |_| Reply::text(200, "ok")).await;
    for (choice, spoken) in [("any", HttpVersion::Http2), ("2", HttpVersion::Http2), ("1", HttpVersion::Http11)] {
        let document = json!({"base_url": both.url("https", "web.test"), "http_version": choice, "tls": {"ca": authority.pem}});
        let result = check(document).await;
        assert_eq!((result.failure, result.http_version), (None, Some(spoken)), "{choice}");
    }
    let old = Target::tls(offering(&[b"http/1.1"]), |_| Reply::text(200, "ok")).await;
    let refused = check(json!({"base_url": old.url("https", "web.test"), "http_version": "2", "tls": {"ca": authority.pem}})).await;
    assert_eq!(reason(&refused), Some(Reason::Tls));
    assert_eq!(message(&refused), "the server does not speak the HTTP version asked for (no common ALPN protocol)");
}

#[tokio::test]
async fn the_address_family_can_be_chosen() {
    let answer: crate::target::Answers = Arc::new(|_| Reply::text(200, "ok"));
    let four = Target::start("127.0.0.1".parse().expect("an address"), None, Default::default(), answer.clone()).await;
    let hosts = || Hosts::default().with("both.test", &["::1", "127.0.0.1"], Duration::ZERO);
    let result = probes_with(hosts()).check(&service(json!({"base_url": four.url("http", "both.test"), "ip_family": "4"})), order()).await;
    assert_eq!((result.failure, result.address), (None, Some("127.0.0.1".parse().expect("an address"))));
    let six = Target::start("::1".parse().expect("an address"), None, Default::default(), answer).await;
    let result = probes_with(hosts()).check(&service(json!({"base_url": six.url("http", "both.test"), "ip_family": "6"})), order()).await;
    assert_eq!((result.failure, result.address), (None, Some("::1".parse().expect("an address"))));
    let literal = check(json!({"base_url": six.url("http", "[::1]"), "ip_family": "6"})).await;
    assert_eq!(literal.failure, None);
}

/// A proxy that takes CONNECT and absolute addresses, and remembers the first line of each request.
async fn http_proxy() -> (std::net::SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let seen: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let log = seen.clone();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let log = log.clone();
            tokio::spawn(async move {
                let Some(asked) = read_request(&mut client).await else { return };
                let credentials = asked.header("proxy-authorization").unwrap_or("-");
                log.lock().expect("no holder panics").push(format!("{} {} {credentials}", asked.method, asked.path));
                let authority = asked.path.trim_start_matches("http://").split('/').next().unwrap_or_default();
                let port = authority.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.expect("the target listens");
                if asked.method == "CONNECT" {
                    let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                } else {
                    let head = format!("{} / HTTP/1.1\r\nhost: {authority}\r\nx-forwarded: yes\r\n\r\n", asked.method);
                    let _ = server.write_all(head.as_bytes()).await;
                }
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_proxy_forwards_http_and_tunnels_https() {
    let (proxy, seen) = http_proxy().await;
    let proxy = format!("http://ada:hunter2@127.0.0.1:{}", proxy.port());
    let plain = Target::plain(|_| Reply::text(200, "ok")).await;
    let result = check(json!({"base_url": plain.url("http", "far.test"), "proxy": proxy})).await;
    assert_eq!(result.failure, None, "the proxy resolves the name");
    assert_eq!(plain.asked().pop().expect("it was asked").header("x-forwarded"), Some("yes"));
    let authority = Authority::new();
    let secure = Target::tls(authority.server("far.test", 2090), |_| Reply::text(200, "ok")).await;
    let result = check(json!({"base_url": secure.url("https", "far.test"), "proxy": proxy, "tls": {"ca": authority.pem}})).await;
    assert_eq!(result.failure, None);
    assert!(result.phases.tls.is_some() && result.certificate.is_some());
    let credentials = "Basic YWRhOmh1bnRlcjI=";
    let expected = [
        format!("GET {}/ {credentials}", plain.url("http", "far.test")),
        format!("CONNECT far.test:{} {credentials}", secure.address.port()),
    ];
    assert_eq!(*seen.lock().expect("no holder panics"), expected);
}

#[tokio::test]
async fn a_socks_proxy_carries_the_connection() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let carrying = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("the check comes");
        let mut greeting = [0; 3];
        client.read_exact(&mut greeting).await.expect("version and methods");
        client.write_all(&[5, 0]).await.expect("no password");
        let mut request = [0; 10];
        client.read_exact(&mut request).await.expect("a connect by IPv4 address");
        assert_eq!(request[..8], [5, 1, 0, 1, 127, 0, 0, 1]);
        let mut server = TcpStream::connect(("127.0.0.1", u16::from_be_bytes([request[8], request[9]]))).await.expect("the target listens");
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.expect("it stands");
        let _ = copy_bidirectional(&mut client, &mut server).await;
    });
    let result = check(json!({"base_url": target.url("http", "web.test"), "proxy": format!("socks5://127.0.0.1:{port}")})).await;
    assert_eq!(result.failure, None);
    assert_eq!(target.asked().len(), 1);
    carrying.await.expect("the proxy did its part");
}

#[tokio::test]
#[should_panic(expected = "panics at every check")]
async fn the_fire_drill_panics() {
    check(json!({"base_url": "http://web.test", "kind": "panic"})).await;
}

#[tokio::test]
async fn the_result_carries_what_was_ordered() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let result = check(json!({"base_url": target.url("http", "web.test")})).await;
    let order = order();
    assert_eq!((result.id, result.region, result.scheduled_at), (order.id, order.region, order.scheduled_at));
    assert_eq!(result.service, ServiceId(7));
    assert!(result.started_at > Timestamp(1_700_000_000_000_000));
    assert!(result.elapsed >= result.latency);
}

#[tokio::test]
async fn the_systems_own_resolver_knows_localhost() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let probes = Probes::new(&settings(), Clock::real()).expect("sound settings");
    let result = probes.check(&service(json!({"base_url": target.url("http", "localhost"), "ip_family": "4"})), order()).await;
    assert_eq!(result.failure, None);
    assert!(result.phases.dns.is_some());
}
