//! What the store has in the end, held against what the target was asked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use probemesh::clock::Clock;
use probemesh::config::Config;
use probemesh::config::sources::{Role, Sources};
use probemesh::model::check::CheckResult;
use probemesh::store::Store;
use probemesh::store::query::ResultQuery;

use crate::target::Asked;

type Check = (String, u64, u64);

/// Every result in the store of a hub that has ended.
pub async fn stored(hub_folder: &Path) -> Vec<CheckResult> {
    let sources = Sources { dir: hub_folder.to_owned(), environment: Vec::new(), role: Role::Hub };
    let store = Store::open(&Config::load(&sources).unwrap().store, Clock::real()).await.unwrap();
    let mut results = Vec::new();
    let mut query = ResultQuery { page_size: 500, newest_first: true, ..ResultQuery::default() };
    loop {
        let page = store.results.page(&query).await.unwrap();
        results.extend(page.results.into_iter().map(|found| found.result));
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    store.shutdown().await.unwrap();
    results
}

/// Each check is stored at most once, and was asked for; what is asked for and not stored was in flight when its process
/// was killed: it is the end of a killed boot. Returns how many those are.
///
/// `killed` names the nodes that were, `services` how many each checks at once: so many checks may overtake one that is lost.
pub fn hold_against(results: &[CheckResult], asked: &Asked, killed: &[&str], services: usize) -> usize {
    let name = |result: &CheckResult| (result.id.node.to_string(), result.id.boot.0, result.id.seq);
    let mut stored: HashMap<Check, u32> = HashMap::new();
    for result in results {
        *stored.entry(name(result)).or_default() += 1;
    }
    let twice: Vec<&Check> = stored.iter().filter(|(_, times)| **times > 1).map(|(check, _)| check).collect();
    assert!(twice.is_empty(), "{} results are stored twice, such as {:?}", twice.len(), twice[0]);
    let strange: Vec<&Check> = stored.keys().filter(|check| !asked.contains_key(*check)).collect();
    assert!(strange.is_empty(), "{} results nobody asked for, such as {:?}", strange.len(), strange[0]);
    let missing: Vec<&Check> = asked.keys().filter(|check| !stored.contains_key(*check)).collect();
    for (node, boot, seq) in &missing {
        assert!(
            killed.contains(&node.as_str()),
            "check {seq} of boot {boot} of {node}, which was not killed, is not stored; {} miss",
            missing.len()
        );
    }
    let boots: HashSet<(&str, u64)> = missing.iter().map(|(node, boot, _)| (node.as_str(), *boot)).collect();
    for (node, boot) in boots {
        let of = |check: &Check| check.0 == node && check.1 == boot;
        let newest = asked.keys().filter(|check| check.0 == node).map(|check| check.1).max();
        assert_ne!(newest, Some(boot), "the last boot of {node} was ended, not killed, and misses checks");
        let first = missing.iter().filter(|check| of(check)).map(|check| check.2).min().unwrap();
        let behind = stored.keys().filter(|check| of(check) && check.2 > first).count();
        assert!(behind <= services, "boot {boot} of {node} misses check {first}, yet {behind} behind it are stored");
    }
    missing.len()
}

/// Rounds in which a service was checked more than once in one region.
pub fn rounds_checked_twice(results: &[CheckResult]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut twice = Vec::new();
    for result in results {
        if !seen.insert((result.service.0, result.region.to_string(), result.scheduled_at.0)) {
            twice.push(format!("service {} in {} at {} by {}", result.service.0, result.region, result.scheduled_at, result.id.node));
        }
    }
    twice
}
