//! Nodes that are lost or blind. A region without any left makes it critical. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::change::SilenceReason;
use crate::alert::sources::{AllHeld, Seen, open_of};
use crate::hub::membership::NodeInfo;
use crate::model::alert::{Cause, CauseKind};
use crate::model::id::{NodeName, RegionName};
use crate::model::incident::Severity;
use crate::model::time::Timestamp;

/// A link that breaks and is back, or a hub that starts, is no news.
const PATIENCE: Duration = Duration::from_secs(15);

pub fn look(
    nodes: &[(NodeName, NodeInfo)],
    silent: &BTreeMap<RegionName, SilenceReason>,
    held: &AllHeld,
    started_at: Timestamp,
    now: Timestamp,
) -> Vec<Seen> {
    let mut seen = Vec::new();
    for (name, info) in nodes.iter().filter(|(_, info)| !info.local) {
        let blind = info.status.as_ref().and_then(|status| status.blind.clone()).filter(|_| info.connected);
        let lost = (!info.connected).then(|| info.lost_since.unwrap_or(started_at));
        for (turn, since, reason) in [
            ("lost", lost.filter(|since| now.since(*since) >= PATIENCE), info.lost_reason.clone()),
            ("blind", blind.is_some().then_some(now), blind.clone()),
        ] {
            let prefix = format!("node-{name}-{turn}-");
            let mine = open_of(held, CauseKind::Node).find(|held| held.cause.key.starts_with(&prefix));
            match (since, mine) {
                (Some(since), _) => {
                    let (key, since) = match mine {
                        Some(mine) => (mine.cause.key.clone(), mine.cause.since),
                        None => (format!("{prefix}{}", since.0), since),
                    };
                    let region = RegionName::from(info.region.as_str());
                    seen.push(Seen::holds(cause(key, name, &region, turn, reason, since, silent.contains_key(&region))));
                }
                // One that is lost may be blind as before: nobody knows.
                (None, Some(mine)) if info.connected => seen.push(Seen::Over { key: mine.cause.key.clone(), at: now }),
                (None, _) => {}
            }
        }
    }
    let gone = open_of(held, CauseKind::Node).filter(|held| {
        let named = |name: &NodeName| nodes.iter().any(|(other, _)| other == name);
        held.cause.node.as_ref().is_some_and(|name| !named(name))
    });
    seen.extend(gone.map(|held| Seen::Over { key: held.cause.key.clone(), at: now }));
    seen
}

fn cause(key: String, node: &NodeName, region: &RegionName, turn: &str, reason: Option<String>, since: Timestamp, alone: bool) -> Cause {
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let region_left = if alone { format!("; region {region} has none left that sees") } else { String::new() };
    let next_step = match turn {
        "lost" => "see whether the machine and its probemesh run, and whether it reaches the hub's mesh port",
        _ => "see to the node's own network: it reaches none of its witnesses",
    };
    Cause {
        key,
        kind: CauseKind::Node,
        severity: if alone { Severity::Critical } else { Severity::Warning },
        drill: false,
        service: None,
        region: Some(region.clone()),
        node: Some(node.clone()),
        headline: format!("node {node} is {turn}{reason}{region_left}"),
        since,
        regions: Vec::new(),
        last_good: None,
        next_step: Some(next_step.to_owned()),
        path: Some("/regions".to_owned()),
    }
}
