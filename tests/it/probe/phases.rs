//! Each phase takes as long as the target takes over it.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use probemesh::model::check::{Phase, Phases, Reason};
use serde_json::json;

use super::*;
use crate::target::{Authority, Delays, Reply, Target};

const DNS: Duration = Duration::from_millis(30);
const DELAYS: Delays = Delays { tls: Duration::from_millis(40), head: Duration::from_millis(70), body: Duration::from_millis(25) };

fn median(mut spans: Vec<Duration>) -> Duration {
    spans.sort_unstable();
    spans[spans.len() / 2]
}

/// How late a timer of this machine rings just now: what it adds to all it measures.
async fn lateness() -> Duration {
    let mut late = Vec::new();
    for _ in 0..20 {
        let began = tokio::time::Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        late.push(began.elapsed().saturating_sub(Duration::from_millis(5)));
    }
    median(late)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_phase_is_measured_within_five_milliseconds() {
    let authority = Authority::new();
    let answer = Arc::new(|_: &crate::target::Asked| Reply::text(200, "abcd"));
    let localhost = "127.0.0.1".parse().expect("an address");
    let target = Target::start(localhost, Some(authority.server("web.test", 2090)), DELAYS, answer).await;
    let probes = probes_with(Hosts::default().with("web.test", &["127.0.0.1"], DNS));
    let service = service(json!({"base_url": target.url("https", "web.test"), "tls": {"ca": authority.pem}}));
    for _ in 0..3 {
        assert_eq!(probes.check(&service, order()).await.failure, None, "warming up");
    }
    // Other programs share the machine: one quiet series of thirty is enough. What no quiet machine adds is allowed on top.
    let mut seen = Vec::new();
    for _ in 0..30 {
        let before = lateness().await;
        let mut all: Vec<Phases> = Vec::new();
        for _ in 0..20 {
            let result = probes.check(&service, order()).await;
            assert_eq!(result.failure, None);
            all.push(result.phases);
        }
        let of = |phase: fn(&Phases) -> Option<Duration>| median(all.iter().map(|phases| phase(phases).expect("it happened")).collect());
        let medians = [of(|p| p.dns), of(|p| p.tls), of(|p| p.first_byte), of(|p| p.transfer), of(|p| p.connect)];
        let expected = [DNS, DELAYS.tls, DELAYS.head, DELAYS.body, Duration::ZERO];
        let late = before.max(lateness().await);
        let room = Duration::from_millis(5) + 4 * late.saturating_sub(Duration::from_millis(2));
        if medians.iter().zip(expected).all(|(measured, expected)| measured.abs_diff(expected) <= room) {
            println!("dns, tls, first byte, transfer, connect: {medians:?}; within {room:?}");
            return;
        }
        seen.push((medians, room));
    }
    panic!("no series was near enough: {seen:?}");
}

#[tokio::test]
async fn a_plain_check_has_no_tls_phase_and_a_literal_address_no_dns_phase() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let result = check(json!({"base_url": target.url("http", "127.0.0.1")})).await;
    assert_eq!(result.failure, None);
    assert_eq!((result.phases.dns, result.phases.tls), (None, None));
    assert!(result.phases.connect.is_some() && result.phases.first_byte.is_some() && result.phases.transfer.is_some());
    assert_eq!(result.address, Some("127.0.0.1".parse().expect("an address")));
}

/// A listener whose queue is full drops what else comes, until it is told to accept.
fn deaf_listener() -> (TcpListener, TcpStream, SocketAddr) {
    unsafe extern "C" {
        fn listen(socket: i32, backlog: i32) -> i32;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    // SAFETY: the descriptor is open and listens already; this only shortens its queue.
    assert_eq!(unsafe { listen(listener.as_raw_fd(), 0) }, 0);
    let filler = TcpStream::connect(address).expect("the first fits");
    (listener, filler, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_syn_is_seen_in_the_connect_phase() {
    let (listener, filler, address) = deaf_listener();
    let accepting = std::thread::spawn(move || {
        use std::io::{Read, Write};
        // The first SYN is dropped at once, its repetition after a second is let in.
        std::thread::sleep(Duration::from_millis(500));
        drop(filler);
        let _ = listener.accept();
        let (mut stream, _) = listener.accept().expect("the check comes");
        let mut bytes = [0; 2048];
        let _ = stream.read(&mut bytes);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let probes = probes_with(Hosts::default().with("slow.test", &["127.0.0.1"], DNS));
    let service = service(json!({"base_url": format!("http://slow.test:{}", address.port())}));
    let result = probes.check(&service, order()).await;
    accepting.join().expect("the server did its part");
    assert_eq!(result.failure, None);
    let connect = result.phases.connect.expect("it connected");
    // The system repeats a SYN after one second; the second is in this phase and in no other.
    assert!((Duration::from_millis(950)..Duration::from_secs(10)).contains(&connect), "{connect:?}");
    let others = result.phases.dns.expect("it resolved") + result.phases.first_byte.expect("it answered");
    assert!(others < Duration::from_millis(900), "{others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_names_the_phase_it_struck_in_and_keeps_what_was_measured() {
    let authority = Authority::new();
    let answer = Arc::new(|_: &crate::target::Asked| Reply::text(200, "abcd"));
    let localhost = "127.0.0.1".parse().expect("an address");
    let long = Duration::from_secs(30);
    let mut slow = Vec::new();
    for delays in
        [Delays { tls: long, ..Delays::default() }, Delays { head: long, ..Delays::default() }, Delays { body: long, ..Delays::default() }]
    {
        slow.push(Target::start(localhost, Some(authority.server("web.test", 2090)), delays, answer.clone()).await);
    }
    let (_listener, _filler, deaf) = deaf_listener();
    let hosts = Hosts::default().with("web.test", &["127.0.0.1"], Duration::ZERO).with("slowdns.test", &["127.0.0.1"], long);
    let probes = probes_with(hosts);
    let run = async |url: String| {
        let service = service(json!({"base_url": url, "timeout_s": 1.5, "tls": {"ca": authority.pem}}));
        probes.check(&service, order()).await
    };
    let cases = [
        ("https://slowdns.test".to_owned(), Phase::Dns, "resolving the name"),
        (format!("https://web.test:{}", deaf.port()), Phase::Connect, "connecting"),
        (slow[0].url("https", "web.test"), Phase::Tls, "in the TLS handshake"),
        (slow[1].url("https", "web.test"), Phase::FirstByte, "waiting for first byte"),
        (slow[2].url("https", "web.test"), Phase::Transfer, "reading the body"),
    ];
    for (url, phase, doing) in cases {
        let result = run(url).await;
        let failure = result.failure.clone().expect("it timed out");
        assert_eq!((failure.reason, failure.phase), (Reason::Timeout, phase), "{failure:?}");
        assert_eq!(failure.message, format!("no answer within 1.5 s ({doing})"));
        let Phases { dns, connect, tls, first_byte, transfer } = result.phases;
        let spans = [dns, connect, tls, first_byte, transfer];
        let reached = phase as usize;
        assert!(spans[reached - 1].expect("it was reached") > Duration::from_millis(200), "{spans:?}");
        assert!(spans[..reached].iter().all(Option::is_some) && spans[reached..].iter().all(Option::is_none), "{spans:?}");
        assert!(result.latency >= Duration::from_millis(1495), "{:?}", result.latency);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_at_the_same_time_do_not_mix_up_their_phases() {
    let target = Target::plain(|_| Reply::text(200, "ok")).await;
    let names: Vec<&'static str> = (0..100).map(|index| &*format!("n{index}.test").leak()).collect();
    // Every other name is slow, and by more than a busy machine makes the rest.
    let slow = Duration::from_secs(4);
    let delay = |index: usize| if index.is_multiple_of(2) { slow } else { Duration::ZERO };
    let mut hosts = Hosts::default();
    for (index, name) in names.iter().enumerate() {
        hosts = hosts.with(name, &["127.0.0.1"], delay(index));
    }
    let probes = Arc::new(probes_with(hosts));
    let mut running = tokio::task::JoinSet::new();
    for (index, name) in names.into_iter().enumerate() {
        let (probes, service) = (probes.clone(), service(json!({"base_url": target.url("http", name)})));
        running.spawn(async move { (index, probes.check(&service, order()).await) });
    }
    for (index, result) in running.join_all().await {
        assert_eq!(result.failure, None);
        let Phases { dns, connect, first_byte, .. } = result.phases;
        let others = connect.expect("it connected") + first_byte.expect("it answered");
        assert!((dns.expect("it resolved") >= slow) == (delay(index) == slow) && others < slow, "{index}: {dns:?} {others:?}");
    }
}
