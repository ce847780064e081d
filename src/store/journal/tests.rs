//! Calls whose outcome was not told: the transaction ran, or will run, and nobody heard.

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::config::sections::StoreSettings;
use crate::model::check::Phases;
use crate::model::id::{CheckId, ServiceId};
use crate::store::Store;
use crate::store::query::ResultQuery;

fn settings() -> StoreSettings {
    StoreSettings {
        url: Some("mem://".to_owned()),
        username: None,
        password: None,
        ca: None,
        data_dir: PathBuf::new(),
        memtable_bytes: 8 << 20,
        block_cache_bytes: 4 << 20,
        block_results: 4,
        block_span: Duration::from_secs(3600),
        journal_max_bytes: 1 << 20,
        retain_results: Duration::from_secs(86_400),
        retain_details: Duration::from_secs(86_400),
        retain_minutes: Duration::from_secs(30 * 86_400),
        details_per_hour: 10,
    }
}

fn batch_of(number: u64) -> Vec<u8> {
    let head = BatchHead::new(&"a".into(), &"eu".into(), Boot(1), number, 0);
    let result = |seq: u64| CheckResult {
        id: CheckId { node: "a".into(), boot: Boot(1), seq },
        service: ServiceId(1),
        region: "eu".into(),
        scheduled_at: Timestamp(seq as i64),
        started_at: Timestamp(seq as i64),
        latency: Duration::ZERO,
        elapsed: Duration::ZERO,
        status_code: Some(200),
        failure: None,
        phases: Phases::default(),
        address: None,
        http_version: None,
        tls_version: None,
        certificate: None,
        body_bytes: 0,
        redirects: 0,
        attempt_count: 1,
        attempts: Vec::new(),
        evidence: None,
        clock_offset: 0,
    };
    batch::encode(&head, &[result(number * 2), result(number * 2 + 1)])
}

/// A plan for one batch, and the transaction that would store it.
fn planned(inner: &Inner, writer: &mut JournalWriter, number: u64) -> (Plan, &'static str, Vec<(&'static str, Value)>) {
    let bytes = batch_of(number);
    let (head, results) = batch::decode(&bytes).unwrap();
    let plan = inner.plan(writer, &[Received { batch: bytes.into(), head, results: results.into(), offset: 0 }]);
    let (text, values) = statement(writer.position, &plan, &[]);
    writer.next = plan.end;
    (plan, text, values)
}

async fn checks(store: &Store) -> u64 {
    store.results.statistics(Timestamp(0), Timestamp::LAST).await.unwrap().checks
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_of_what_was_stored_unheard_is_answered_as_new_once() {
    let store = Store::open(&settings(), Clock::real()).await.unwrap();
    store.results.append(&batch_of(1)).await.unwrap();
    {
        let inner = &store.results.inner;
        let mut writer = inner.writer.lock().await;
        let (plan, text, values) = planned(inner, &mut writer, 2);
        inner.database.query(text, values).await.unwrap();
        writer.unresolved.push(plan);
    }
    assert_eq!(checks(&store).await, 2, "nobody was told yet");
    assert!(store.results.append(&batch_of(2)).await.unwrap().results.is_some());
    assert!(store.results.append(&batch_of(2)).await.unwrap().results.is_none());
    assert!(store.results.append(&batch_of(3)).await.unwrap().results.is_some());
    assert_eq!(checks(&store).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unheard_try_knew_of_the_clock_holds() {
    let store = Store::open(&settings(), Clock::real()).await.unwrap();
    {
        let inner = &store.results.inner;
        let mut writer = inner.writer.lock().await;
        let bytes = batch_of(1);
        let (head, results) = read_batch(&bytes, 5_000_000).unwrap();
        let received = Received { batch: bytes.into(), head, results: results.into(), offset: 5_000_000 };
        let plan = inner.plan(&mut writer, &[received]);
        let (text, values) = statement(writer.position, &plan, &[]);
        writer.next = plan.end;
        inner.database.query(text, values).await.unwrap();
        writer.unresolved.push(plan);
    }
    let results = store.results.append(&batch_of(1)).await.unwrap().results.unwrap();
    assert!(results.iter().all(|result| result.clock_offset == 5_000_000), "{results:?}");
    assert_eq!(results[0].started_at.0, results[0].id.seq as i64 - 5_000_000);
    let page = store.results.page(&ResultQuery { page_size: 9, ..ResultQuery::default() }).await.unwrap();
    assert_eq!(page.results.iter().map(|stored| stored.result.clone()).collect::<Vec<_>>(), results.to_vec());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_comes_late_is_found_out_and_kept() {
    let store = Store::open(&settings(), Clock::real()).await.unwrap();
    let inner = &store.results.inner;
    let mut writer = inner.writer.lock().await;
    let (late, text, values) = planned(inner, &mut writer, 1);
    writer.unresolved.push(late);
    // The head still says that nothing happened…
    assert!(matches!(inner.resolve_appends(&mut writer).await.unwrap(), Outcome::NotCommitted));
    // …and now it does, before the resend comes.
    inner.database.query(text, values).await.unwrap();
    drop(writer);
    assert!(store.results.append(&batch_of(1)).await.unwrap().results.is_some());
    assert_eq!(checks(&store).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_comes_too_late_stores_nothing() {
    let store = Store::open(&settings(), Clock::real()).await.unwrap();
    let inner = &store.results.inner;
    let (text, values) = {
        let mut writer = inner.writer.lock().await;
        let (late, text, values) = planned(inner, &mut writer, 1);
        writer.unresolved.push(late);
        (text, values)
    };
    assert!(store.results.append(&batch_of(1)).await.unwrap().results.is_some());
    assert!(inner.database.query(text, values).await.is_err());
    assert_eq!(checks(&store).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_stored_unheard_are_not_packed_again() {
    let store = Store::open(&settings(), Clock::real()).await.unwrap();
    for number in 1..=2 {
        store.results.append(&batch_of(number)).await.unwrap();
    }
    {
        let inner = &store.results.inner;
        let mut sealer = inner.sealer.lock().await;
        inner.seal_unheard(&mut sealer, Timestamp(10)).await;
    }
    assert_eq!(checks(&store).await, 4, "its blocks are not shown yet");
    store.results.append(&batch_of(3)).await.unwrap();
    assert_eq!(checks(&store).await, 6);
    store.results.seal(Timestamp(10)).await.unwrap();
    assert_eq!(store.results.status().blocks_sealed, 1);
    assert_eq!(store.results.status().tail_results, 2);
    assert_eq!(checks(&store).await, 6);
}
