//! A region alone: its hub is played by the test, its disk may be full, its clock is moved and set by hand.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sections::RegionSettings;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::check::{CheckResult, Phase};
use probemesh::model::id::{Boot, ServiceId};
use probemesh::model::time::Timestamp;
use probemesh::probe::Probes;
use probemesh::probe::progress::Step;
use probemesh::region::outbox::OutboxMsg;
use probemesh::region::outbox_file::{Commit, Opener, OutboxFile};
use probemesh::region::shared::Shared;
use probemesh::region::supervisor::{Supervisor, SupervisorArgs, SupervisorMsg, SupervisorStatus};
use probemesh::region::{Drained, Region};
use probemesh::wire::batch::{BatchHead, decode, decode_head, encode};
use probemesh::wire::link::{Answer, Assignment, Assignments, CheckNow, Delivery, HubEnd, in_process};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, StorageBackend};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use crate::target::{Delays, Reply, Target};

/// A disk that may be full: then nothing can be written or synced.
#[derive(Clone, Debug, Default)]
struct Disk {
    full: Arc<AtomicBool>,
    /// How often the outbox was opened on it.
    opened: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Storage {
    disk: Disk,
    file: FileBackend,
}

impl Disk {
    fn fill(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    fn space(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::Error::from(io::ErrorKind::StorageFull)),
            false => Ok(()),
        }
    }

    fn opener(&self, path: PathBuf) -> Opener {
        let disk = self.clone();
        Box::new(move || {
            disk.opened.fetch_add(1, Ordering::SeqCst);
            let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
            Database::builder().create_with_backend(Storage { disk: disk.clone(), file: FileBackend::new(file)? })
        })
    }
}

impl StorageBackend for Storage {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.space()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.space()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.space()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

/// A region with its hub's ends in the test's hands.
struct Edge {
    clock: Clock,
    disk: Disk,
    region: Region,
    services: Mutex<Vec<Assignment>>,
    assignments: watch::Sender<Assignments>,
    requests: mpsc::Sender<CheckNow>,
    received: Arc<Mutex<Vec<CheckResult>>>,
    /// While set, the hub takes nothing.
    away: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl Edge {
    async fn start(at: &str) -> Edge {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::parse(at).unwrap());
        let settings = settings(&folder);
        let disk = Disk::default();
        let file = OutboxFile::open_with(disk.opener(folder.path().join("outbox.redb")), clock.now()).unwrap();
        let probes = Probes::new(&settings.probe, clock.clone()).unwrap();
        let (node, mut hub) = in_process();
        let region = Region::start_on(file, probes, settings, node, clock.clone()).await.unwrap();
        let (received, away): (Arc<Mutex<Vec<CheckResult>>>, Arc<AtomicBool>) = Default::default();
        let (taken, gone) = (received.clone(), away.clone());
        tokio::spawn(async move {
            while let Some(delivery) = hub.deliveries.recv().await {
                if gone.load(Ordering::SeqCst) {
                    let _ = delivery.answer.send(Answer::Later { reason: "away".to_owned() });
                    continue;
                }
                let mut last = None;
                for batch in &delivery.batches {
                    let (head, results) = decode(batch).unwrap();
                    taken.lock().unwrap().extend(results);
                    last = Some(head);
                }
                let last = last.unwrap();
                let _ = delivery.answer.send(Answer::Stored { boot: last.boot(), through: last.number() });
            }
        });
        let (assignments, requests) = (hub.assignments, hub.requests);
        Edge { clock, disk, region, services: Mutex::default(), assignments, requests, received, away, _folder: folder }
    }

    /// Assigns a service, new or edited; `None` takes it away.
    fn assign(&self, id: u32, document: Option<Value>) {
        let mut services = self.services.lock().unwrap();
        let generation = self.assignments.borrow().generation + 1;
        services.retain(|service| service.id != ServiceId(id));
        services.extend(document.map(|document| Assignment {
            id: ServiceId(id),
            revision: generation,
            document: document.to_string().into(),
            checked_until: None,
        }));
        self.assignments.send(Assignments { generation, services: Arc::new(services.clone()) }).unwrap();
    }

    async fn check_now(&self, id: u32) -> oneshot::Receiver<CheckResult> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(CheckNow { service: ServiceId(id), answer, watcher: None }).await.unwrap();
        answered
    }

    /// The same, and its steps.
    async fn watch_now(&self, id: u32) -> (oneshot::Receiver<CheckResult>, watch::Receiver<Option<Step>>) {
        let ((answer, answered), (watcher, steps)) = (oneshot::channel(), watch::channel(None));
        self.requests.send(CheckNow { service: ServiceId(id), answer, watcher: Some(watcher) }).await.unwrap();
        (answered, steps)
    }

    /// The times the checks the hub knows of were due, as `HH:MM:SS`.
    fn times(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|result| result.scheduled_at.rfc3339()[11..19].to_owned()).collect()
    }

    fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }

    /// Moves time on in steps until `found` says so; what runs on sockets and disks is given real time.
    async fn until(&self, what: &str, mut found: impl FnMut() -> bool) {
        let began = Instant::now();
        while !found() {
            assert!(began.elapsed() < Duration::from_secs(60), "never came: {what}; {:?}", self.times());
            self.pass(Duration::from_millis(50), Duration::from_millis(50)).await;
        }
    }

    /// Lets `span` pass in such steps, with real time to work in after each.
    async fn pass(&self, span: Duration, step: Duration) {
        let mut left = span;
        while !left.is_zero() {
            let next = left.min(step);
            self.clock.advance(next).await;
            left -= next;
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }

    async fn stop(self, limit: Duration) -> Drained {
        let clock = self.clock.clone();
        let moving = tokio::spawn(async move {
            loop {
                clock.advance(Duration::from_millis(50)).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
        let drained = self.region.stop(limit).await;
        moving.abort();
        drained
    }

    async fn finish(self) {
        let drained = self.stop(Duration::from_secs(10)).await;
        assert!(drained.probers && drained.outbox, "{drained:?}");
        assert_eq!((drained.depth.results, drained.given_up), (0, 0), "{drained:?}");
    }
}

fn settings(folder: &tempfile::TempDir) -> RegionSettings {
    let environment = vec![("DATABASE_URL".to_owned(), "mem://".to_owned())];
    Config::load(&Sources { dir: folder.path().to_owned(), environment, role: Role::Hub }).unwrap().region
}

async fn target() -> Target {
    Target::plain(|_| Reply::text(200, "fine")).await
}

/// A target that takes its time.
async fn slow(delay: Duration) -> Target {
    let delays = Delays { head: delay, ..Delays::default() };
    Target::start("127.0.0.1".parse().unwrap(), None, delays, Arc::new(|_| Reply::text(200, "late"))).await
}

fn service(target: &Target, schedule: Value) -> Value {
    let mut document = json!({"name": "api", "base_url": target.url("http", "127.0.0.1"), "retries": 0});
    document.as_object_mut().unwrap().extend(schedule.as_object().unwrap().clone());
    document
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_watches_a_check_is_told_what_it_does_before_it_is_done_also_when_they_come_late() {
    let (edge, target) = (Edge::start("2026-11-22T10:00:00Z").await, slow(Duration::from_millis(400)).await);
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("the first check", || edge.count() == 1).await;
    let (mut answered, mut steps) = edge.watch_now(1).await;
    let waits = |step: &Option<Step>| step.is_some_and(|step| step.phase == Some(Phase::FirstByte));
    let reached = *tokio::time::timeout(Duration::from_secs(20), steps.wait_for(waits)).await.expect("it comes to that").unwrap();
    assert!(answered.try_recv().is_err(), "it is told while the check runs");
    assert!(reached.unwrap().phases.connect.is_some() && reached.unwrap().attempt == 1, "{reached:?}");
    // The check in flight serves a second one, who sees at once where it is.
    let (second, late) = edge.watch_now(1).await;
    edge.until("word for who came late", || late.borrow().is_some()).await;
    edge.until("the check", || edge.count() == 2).await;
    let (first, second) = (answered.await.unwrap(), second.await.unwrap());
    assert_eq!(first.id, second.id);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_delays_results_and_loses_none() {
    let (edge, target) = (Edge::start("2026-11-22T10:00:00Z").await, target().await);
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("the first check", || edge.count() == 1).await;
    edge.disk.fill(true);
    let mut asked = edge.check_now(1).await;
    edge.until("the check", || target.asked().len() == 2).await;
    edge.pass(Duration::from_secs(30), Duration::from_millis(250)).await;
    assert!(asked.try_recv().is_err(), "an answer before its result was committed");
    assert_eq!(edge.count(), 1);
    let tries = edge.disk.opened.load(Ordering::SeqCst);
    assert!((4..=10).contains(&tries), "half a minute at growing intervals, and {tries} tries");
    edge.disk.fill(false);
    edge.until("the delivery", || edge.count() == 2).await;
    asked.await.unwrap();
    // All goes on as before, with the same boot and nothing twice.
    let asked = edge.check_now(1).await;
    edge.until("one more", || edge.count() == 3).await;
    let last = asked.await.unwrap();
    let ids: Vec<(u64, u64)> = edge.received.lock().unwrap().iter().map(|result| (result.id.boot.0, result.id.seq)).collect();
    assert_eq!(ids, [(last.id.boot.0, 1), (last.id.boot.0, 2), (last.id.boot.0, 3)]);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_disk_held_up_at_the_stop_is_said_to_be_given_up() {
    let (edge, target) = (Edge::start("2026-11-22T10:00:00Z").await, target().await);
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("the first check", || edge.count() == 1).await;
    edge.disk.fill(true);
    let _asked = edge.check_now(1).await;
    edge.until("the check", || target.asked().len() == 2).await;
    let (began, limit) = (Instant::now(), Duration::from_secs(3));
    let drained = edge.stop(limit).await;
    assert!(began.elapsed() <= limit + Duration::from_secs(30), "took {:?}", began.elapsed());
    assert_eq!((drained.probers, drained.outbox, drained.given_up), (false, false, 1), "{drained:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_gives_a_slow_check_most_of_its_time() {
    let (edge, target) = (Edge::start("2026-11-22T10:00:00Z").await, slow(Duration::from_millis(1800)).await);
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("a check in flight", || target.connections() == 1).await;
    let received = edge.received.clone();
    let drained = edge.stop(Duration::from_secs(3)).await;
    assert!(drained.probers && drained.outbox, "{drained:?}");
    assert_eq!(received.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_holds_only_so_many_results() {
    let (edge, target) = (Edge::start("2026-11-22T10:00:00Z").await, target().await);
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("the first check", || edge.count() == 1).await;
    edge.disk.fill(true);
    let _asked = edge.check_now(1).await;
    edge.until("the check", || target.asked().len() == 2).await;
    let commits = edge.region.view().shared.counts.commits.load(Ordering::Relaxed);
    for id in 2..=620 {
        edge.assign(id, Some(service(&target, json!({"interval_s": 86_400}))));
    }
    edge.until("all checks", || target.asked().len() == 621).await;
    let tries = edge.disk.opened.load(Ordering::SeqCst);
    assert!(tries < 20, "results that come in are no reason to try again: {tries} tries");
    edge.disk.fill(false);
    edge.until("all results", || edge.count() == 621).await;
    let made = edge.region.view().shared.counts.commits.load(Ordering::Relaxed) - commits;
    assert!((2..=9).contains(&made), "620 results in {made} commits of 512 at most");
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daily_round_is_made_though_a_check_ran_shortly_before() {
    let (edge, target) = (Edge::start("2026-11-22T08:49:58Z").await, target().await);
    edge.assign(1, Some(service(&target, json!({"cron": "0 9 * * *", "spread_s": 0}))));
    edge.until("the first check", || edge.count() == 1).await;
    let _asked = edge.check_now(1).await;
    edge.until("one more", || edge.count() == 2).await;
    edge.pass(11 * MINUTE, Duration::from_secs(5)).await;
    edge.until("the round", || edge.count() == 3).await;
    assert_eq!(edge.times()[2], "09:00:00");
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_is_neither_late_nor_doubled_when_the_clock_is_set() {
    let (edge, target) = (Edge::start("2026-11-22T08:00:00Z").await, target().await);
    edge.assign(1, Some(service(&target, json!({"cron": "0 9,10,11 * * *", "spread_s": 0}))));
    edge.until("the first check", || edge.count() == 1).await;
    // Set on by half an hour (or the machine was suspended so long): the round comes half an hour earlier.
    edge.clock.step_wall(30 * 60_000_000);
    edge.pass(31 * MINUTE, Duration::from_secs(5)).await;
    edge.until("the round of nine", || edge.count() == 2).await;
    assert_eq!(edge.times()[1], "09:00:00");
    let lag = edge.region.view().probers.lock().unwrap().probers[&ServiceId(1)].tally.last_lag_us.load(Ordering::Relaxed);
    assert!(lag < 6_000_000, "a clock that was set is no lag: {lag} µs");
    // Set back by half an hour: nine comes again, its round does not; ten is not checked early.
    edge.clock.step_wall(-30 * 60_000_000);
    edge.pass(80 * MINUTE, Duration::from_secs(10)).await;
    assert_eq!(edge.count(), 2, "{:?}", edge.times());
    edge.pass(11 * MINUTE, Duration::from_secs(5)).await;
    edge.until("the round of ten", || edge.count() == 3).await;
    assert_eq!(edge.times()[2], "10:00:00");
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interval_goes_on_when_the_clock_goes_back_by_days() {
    let (edge, target) = (Edge::start("2026-11-22T08:00:00Z").await, target().await);
    edge.assign(1, Some(service(&target, json!({"interval_s": 60}))));
    edge.until("the first check", || edge.count() == 1).await;
    edge.pass(3 * MINUTE, Duration::from_secs(2)).await;
    let before = edge.count();
    assert!((3..=5).contains(&before), "{:?}", edge.times());
    edge.clock.step_wall(-5 * 86_400_000_000);
    edge.pass(5 * MINUTE, Duration::from_secs(2)).await;
    let since = edge.count() - before;
    assert!((4..=6).contains(&since), "{since} checks in five minutes: {:?}", edge.times());
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_on_by_weeks_drops_nothing_that_waits_for_the_hub() {
    let (edge, target) = (Edge::start("2026-11-22T08:00:00Z").await, target().await);
    edge.away.store(true, Ordering::SeqCst);
    edge.assign(1, Some(service(&target, json!({"interval_s": 10}))));
    edge.pass(MINUTE, Duration::from_secs(1)).await;
    edge.until("results that wait", || edge.region.view().shared.file.depth().results >= 6).await;
    edge.clock.step_wall(30 * 86_400_000_000);
    edge.pass(MINUTE, Duration::from_secs(1)).await;
    edge.away.store(false, Ordering::SeqCst);
    let made = target.asked().len();
    assert!(made >= 11, "{made}");
    edge.until("all of them", || edge.count() >= made).await;
    assert_eq!(edge.region.view().shared.counts.dropped.load(Ordering::Relaxed), 0);
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_comes_back_at_once_is_not_checked_twice_at_a_time() {
    let edge = Edge::start("2026-11-22T08:00:00Z").await;
    let target = slow(Duration::from_millis(600)).await;
    let document = service(&target, json!({"interval_s": 3600}));
    edge.assign(1, Some(document.clone()));
    edge.until("a check in flight", || target.asked().len() == 1).await;
    edge.assign(1, None);
    edge.until("no prober", || edge.region.view().probers.lock().unwrap().probers.is_empty()).await;
    edge.assign(1, Some(document));
    let shared = edge.region.view().shared;
    edge.until("both checks", || {
        let begun = target.asked().len() as u64;
        assert!(begun <= shared.counts.checks.load(Ordering::Relaxed) + 1, "two checks of one service at once");
        edge.count() == 2
    })
    .await;
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_check_is_answered_though_the_service_is_edited_or_another_asks() {
    let edge = Edge::start("2026-11-22T08:00:00Z").await;
    let target = target().await;
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("the first check", || edge.count() == 1).await;
    // No check may run: what is asked for waits.
    let shared = edge.region.view().shared;
    let held = shared.running.acquire_many(shared.running.available_permits() as u32).await.unwrap();
    let first = edge.check_now(1).await;
    edge.pass(Duration::from_millis(100), Duration::from_millis(50)).await;
    let second = edge.check_now(1).await;
    edge.pass(Duration::from_millis(100), Duration::from_millis(50)).await;
    let mut edited = service(&target, json!({"interval_s": 3600}));
    edited["health_path"] = json!("/edited");
    edge.assign(1, Some(edited));
    edge.pass(Duration::from_millis(200), Duration::from_millis(50)).await;
    drop(held);
    edge.until("the check as edited", || edge.count() == 2).await;
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.id, second.id);
    assert_eq!(target.asked().last().unwrap().path, "/edited");
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_added_together_are_spread_over_the_second_they_may_take() {
    let (edge, target) = (Edge::start("2026-11-22T08:00:00Z").await, target().await);
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("the first check", || edge.count() == 1).await;
    let before = edge.clock.now();
    for id in 2..=40 {
        edge.assign(id, Some(service(&target, json!({"interval_s": 3600}))));
    }
    edge.until("all checks", || edge.count() == 40).await;
    let waits: Vec<Duration> = edge.received.lock().unwrap()[1..].iter().map(|result| result.scheduled_at.since(before)).collect();
    // How soon they are told of is the machine's affair; that no tenth of a second has most of them is ours.
    let first = *waits.iter().min().unwrap();
    let mut tenths = BTreeMap::<u128, usize>::new();
    for wait in &waits {
        *tenths.entry((*wait - first).as_millis() / 100).or_default() += 1;
    }
    assert!(tenths.values().all(|count| *count < 12) && waits.iter().all(|wait| *wait < Duration::from_secs(30)), "{tenths:?}");
    edge.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_started_while_a_region_ends() {
    let (edge, target) = (Edge::start("2026-11-22T08:00:00Z").await, target().await);
    edge.away.store(true, Ordering::SeqCst);
    edge.assign(1, Some(service(&target, json!({"interval_s": 3600}))));
    edge.until("a result that waits for the hub", || edge.region.view().shared.file.depth().results == 1).await;
    // All checks have ended long before, but what they made cannot be sent.
    let (late, document) = (edge.assignments.clone(), service(&target, json!({"interval_s": 3600})).to_string());
    let assigning = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let services = Arc::new(vec![Assignment { id: ServiceId(2), revision: 50, document: document.into(), checked_until: None }]);
        late.send(Assignments { generation: 50, services }).unwrap();
    });
    let drained = edge.stop(Duration::from_secs(3)).await;
    assigning.await.unwrap();
    assert_eq!((drained.probers, drained.outbox, drained.depth.results, drained.given_up), (true, false, 1, 0), "{drained:?}");
    assert_eq!(target.asked().len(), 1, "a service was started");
}

/// A region that starts with so many batches in its outbox, made some time before, and its hub's end in the test's hands.
struct Backlog {
    clock: Clock,
    region: Region,
    hub: HubEnd,
    boot: Boot,
    _folder: tempfile::TempDir,
}

/// Bytes of each of these batches.
const BATCH: usize = 4 << 10;

impl Backlog {
    async fn start(batches: u64, waited: Duration, catch_up_bytes_per_s: u64) -> Backlog {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp::parse("2026-11-22T08:00:00Z").unwrap());
        let settings = RegionSettings { catch_up_bytes_per_s, ..settings(&folder) };
        let opener: Opener = Box::new(|| Database::builder().create_with_backend(InMemoryBackend::new()));
        let made_at = clock.now().minus(waited);
        let file = OutboxFile::open_with(opener, made_at).unwrap();
        let boot = file.boot();
        for number in 1..=batches {
            let mut data = encode(&BatchHead::new(&settings.node, &settings.name, boot, number, 0), &[]);
            data.resize(BATCH, 0);
            let commit = Commit {
                batch: Some((number, made_at, 1, data)),
                acknowledged: None,
                refused: None,
                max_bytes: 1 << 30,
                keep_since: Timestamp(0),
            };
            file.commit(commit).unwrap();
        }
        let probes = Probes::new(&settings.probe, clock.clone()).unwrap();
        let (node, hub) = in_process();
        let region = Region::start_on(file, probes, settings, node, clock.clone()).await.unwrap();
        Backlog { clock, region, hub, boot, _folder: folder }
    }

    /// The next delivery, as soon as time has come to it.
    async fn delivery(&mut self) -> Delivery {
        for _ in 0..20_000 {
            match self.hub.deliveries.try_recv() {
                Ok(delivery) => return delivery,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            self.clock.advance(Duration::from_millis(5)).await;
        }
        panic!("no delivery came");
    }

    async fn emptied(&self) -> bool {
        for _ in 0..2000 {
            if self.region.view().shared.file.depth().batches == 0 {
                return true;
            }
            self.clock.advance(Duration::from_millis(50)).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        false
    }

    fn store(&self, delivery: Delivery) -> Vec<u64> {
        let numbers = numbers(&delivery);
        let through = *numbers.last().unwrap();
        delivery.answer.send(Answer::Stored { boot: self.boot, through }).unwrap();
        numbers
    }
}

fn numbers(delivery: &Delivery) -> Vec<u64> {
    delivery.batches.iter().map(|batch| decode_head(batch).unwrap().number()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiting_batches_go_up_in_few_deliveries() {
    let mut backlog = Backlog::start(1000, Duration::ZERO, 1 << 30).await;
    let mut received: Vec<u64> = Vec::new();
    let mut deliveries = 0;
    while received.len() < 1000 {
        let delivery = backlog.delivery().await;
        assert!(delivery.batches.len() <= 64);
        assert!(delivery.batches.iter().map(|batch| batch.len()).sum::<usize>() <= 512 << 10);
        received.extend(backlog.store(delivery));
        deliveries += 1;
    }
    assert_eq!(received, (1..=1000).collect::<Vec<_>>());
    assert_eq!(deliveries, 16, "64 at once");
    assert!(backlog.emptied().await);
    assert_eq!(backlog.region.view().courier.lock().unwrap().acknowledged_batches, 1000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_refused_in_the_middle_is_set_aside_and_no_other() {
    let mut backlog = Backlog::start(100, Duration::ZERO, 1 << 30).await;
    let first = backlog.delivery().await;
    assert_eq!(numbers(&first), (1..=64).collect::<Vec<_>>());
    first.answer.send(Answer::Refused { place: 9, reason: "never".to_owned() }).unwrap();
    // The nine before it are stored, and all goes on behind it.
    let second = backlog.delivery().await;
    assert_eq!(numbers(&second), (11..=74).collect::<Vec<_>>());
    // Taken in part: what comes next is what was not.
    second.answer.send(Answer::Stored { boot: backlog.boot, through: 20 }).unwrap();
    let third = backlog.delivery().await;
    assert_eq!(numbers(&third), (21..=84).collect::<Vec<_>>());
    // A word that helps nobody is no reason to hurry, nor to lose anything.
    third.answer.send(Answer::Refused { place: 64, reason: "never".to_owned() }).unwrap();
    let fourth = backlog.delivery().await;
    assert_eq!(numbers(&fourth)[0], 21);
    fourth.answer.send(Answer::Stored { boot: backlog.boot, through: 20 }).unwrap();
    let fifth = backlog.delivery().await;
    assert_eq!(backlog.store(fifth), (21..=84).collect::<Vec<_>>());
    let last = backlog.delivery().await;
    assert_eq!(backlog.store(last), (85..=100).collect::<Vec<_>>());
    assert!(backlog.emptied().await);
    let counts = &backlog.region.view().shared.counts;
    assert_eq!((counts.refused.load(Ordering::Relaxed), counts.dropped.load(Ordering::Relaxed)), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn working_off_a_backlog_takes_its_share_of_the_link_and_no_more() {
    let rate = 64 << 10;
    let mut backlog = Backlog::start(200, Duration::from_secs(60), rate).await;
    let began = backlog.clock.steady();
    let (mut sent, mut most) = (0, 0);
    while sent < 200 * BATCH {
        let delivery = backlog.delivery().await;
        let bytes: usize = delivery.batches.iter().map(|batch| batch.len()).sum();
        let spent = (backlog.clock.steady() - began).as_secs_f64();
        assert!(sent as f64 <= rate as f64 * spent + 1.0, "{sent} bytes within {spent} s");
        sent += bytes;
        most = most.max(bytes);
        backlog.store(delivery);
    }
    let took = (backlog.clock.steady() - began).as_secs_f64();
    assert!(most <= rate as usize / 4, "{most} bytes at once");
    assert!(took < 4.0 * (200 * BATCH) as f64 / rate as f64, "the share was not used: {took} s");
    assert!(backlog.emptied().await);
}

/// An outbox that keeps what it is given in memory, or loses it as one that dies would.
struct Recorder {
    loses: Arc<AtomicBool>,
}

impl Actor for Recorder {
    type Msg = OutboxMsg;
    type State = Arc<Mutex<Vec<CheckResult>>>;
    type Arguments = Arc<Mutex<Vec<CheckResult>>>;

    async fn pre_start(&self, _: ActorRef<OutboxMsg>, kept: Self::Arguments) -> Result<Self::State, ActorProcessingErr> {
        Ok(kept)
    }

    async fn handle(&self, _: ActorRef<OutboxMsg>, message: OutboxMsg, kept: &mut Self::State) -> Result<(), ActorProcessingErr> {
        if let OutboxMsg::Record(result, made) = message {
            kept.lock().unwrap().push(*result);
            if !self.loses.load(Ordering::SeqCst) {
                made.made();
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probers_started_again_are_spread_and_answer_only_with_what_was_committed() {
    let (folder, target) = (tempfile::tempdir().unwrap(), target().await);
    let (settings, clock) = (settings(&folder), Clock::manual(Timestamp::parse("2026-11-22T08:00:00Z").unwrap()));
    let file = OutboxFile::open(&folder.path().join("outbox.redb"), clock.now()).unwrap();
    let probes = Probes::new(&settings.probe, clock.clone()).unwrap();
    let shared = Shared::new(settings, clock.clone(), probes, file);
    let (kept, loses): (Arc<Mutex<Vec<CheckResult>>>, Arc<AtomicBool>) = Default::default();
    let (outbox, _) = Actor::spawn(None, Recorder { loses: loses.clone() }, kept.clone()).await.unwrap();
    let (node, hub) = in_process();
    let document = service(&target, json!({"interval_s": 3600})).to_string();
    let services =
        (1..=30).map(|id| Assignment { id: ServiceId(id), revision: 1, document: document.clone().into(), checked_until: None }).collect();
    hub.assignments.send(Assignments { generation: 8, services: Arc::new(services) }).unwrap();
    // One that ran before had taken up this generation.
    let status = Arc::new(Mutex::new(SupervisorStatus { generation: 8, ..SupervisorStatus::default() }));
    let requests = Arc::new(tokio::sync::Mutex::new(node.requests));
    let args = SupervisorArgs { shared, outbox, assignments: node.assignments, requests, status: status.clone() };
    let (supervisor, ended) = Actor::spawn(None, Supervisor, args).await.unwrap();
    let began = (clock.now(), Instant::now());
    while kept.lock().unwrap().len() < 30 {
        assert!(began.1.elapsed() < Duration::from_secs(60), "checks were not made");
        tokio::time::sleep(Duration::from_millis(5)).await;
        clock.advance(Duration::from_millis(50)).await;
    }
    let early = kept.lock().unwrap().iter().filter(|result| result.scheduled_at.since(began.0) < Duration::from_secs(2)).count();
    assert!((3..=21).contains(&early), "{early} of 30 within two of five seconds");

    for (lost, answered) in [(false, true), (true, false)] {
        loses.store(lost, Ordering::SeqCst);
        let (answer, wanted) = oneshot::channel();
        supervisor.cast(SupervisorMsg::CheckNow(CheckNow { service: ServiceId(1), answer, watcher: None })).unwrap();
        let wanted = tokio::time::timeout(Duration::from_secs(10), wanted).await.expect("a word");
        assert_eq!(wanted.is_ok(), answered);
    }
    supervisor.stop(None);
    ended.await.unwrap();
}
