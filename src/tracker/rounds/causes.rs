//! Causes that are no incidents: nodes, probers in quarantine, findings that come time and again.

use std::collections::BTreeMap;

use crate::api::markdown::plain;
use crate::hub::membership::NodeInfo;
use crate::model::finding::{Finding, FindingId, Shape, Signal};
use crate::model::id::{NodeName, ServiceId};
use crate::model::issue::{IssueType, Priority};
use crate::model::time::Timestamp;
use crate::region::supervisor::{ProberLife, ProberStatus};
use crate::store::findings::FindingQuery;
use crate::store::issues::Guard;
use crate::tracker::desk::{Draft, TrackerError};
use crate::tracker::evidence::{self, message, since};
use crate::tracker::rounds::{Cause, Looked, PROGRAM, Rounds};

impl Rounds {
    pub(super) async fn nodes(&self, looked: &mut Looked) -> Result<(), TrackerError> {
        let now = self.clock.now();
        let nodes = self.membership.nodes();
        for (name, info) in &nodes {
            let topic = format!("node/{name}/lost");
            let lost = self.lasting(name, "lost", !info.connected, info.lost_since, now);
            let cause = lost.map(|at| lost_node(name, info, at, now, &topic));
            if cause.is_some() || info.connected {
                self.ongoing(cause, &topic, &format!("Node {} is connected again at {now}.", plain(&name.0)), looked).await?;
            }

            let topic = format!("node/{name}/blind");
            let reason = info.status.as_ref().and_then(|status| status.blind.as_ref());
            // One that is lost does not say whether it sees.
            if !info.connected {
                continue;
            }
            let blind = self.lasting(name, "blind", reason.is_some(), None, now);
            let cause = blind.zip(reason).map(|(at, reason)| blind_node(name, info, reason, at, now, &topic));
            if cause.is_some() || reason.is_none() {
                self.ongoing(cause, &topic, &format!("Node {} sees again at {now}.", plain(&name.0)), looked).await?;
            }
            self.remote_quarantine(name, info, looked).await?;
        }
        for (topic, _) in self.tracker.issues.latest_below("node/") {
            let gone = topic.strip_suffix("/lost").and_then(|topic| topic.strip_prefix("node/"));
            if let Some(name) = gone.filter(|gone| !nodes.iter().any(|(name, _)| *name.0 == **gone)) {
                self.ongoing(None, &topic, &format!("Node {} was revoked.", plain(name)), looked).await?;
            }
        }
        Ok(())
    }

    /// Since when something holds that has held for as long as the settings say; what does not say since when has been seen from
    /// its first look on.
    fn lasting(&self, node: &NodeName, what: &'static str, holds: bool, given: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let mut seen = self.seen.lock().expect("no holder panics");
        let key = (node.clone(), what);
        if !holds {
            seen.remove(&key);
            return None;
        }
        let first = *seen.entry(key).or_insert(now);
        let began = given.unwrap_or(first);
        (now.since(began) >= self.settings.node_after).then_some(began)
    }

    /// A node elsewhere tells only how many of its probers are in quarantine.
    async fn remote_quarantine(&self, name: &NodeName, info: &NodeInfo, looked: &mut Looked) -> Result<(), TrackerError> {
        let count = info.status.as_ref().map_or(0, |status| status.quarantined);
        let key = format!("quarantine/{name}/boot-{}-{count}", info.boot.unwrap_or(0));
        if info.local || count == 0 || self.tracker.issues.told(&key).is_some() {
            return Ok(());
        }
        let topic = format!("quarantine/{name}");
        let latest = self.tracker.issues.latest(&topic);
        let cause = Cause {
            key,
            topic,
            title: format!("{name}: a prober is in quarantine"),
            text: format!(
                "{count} of the probers of node {} of region {} failed too often since it started, and do not check until their services \
                 are edited. Its log names them; `probemesh inspect` counts them.\n",
                plain(&name.0),
                plain(&info.region)
            ),
            issue_type: IssueType::Bug,
            priority: Priority::High,
            service: None,
        };
        self.told_or_opened(cause, latest, looked).await
    }

    pub(super) async fn quarantines(&self, looked: &mut Looked) -> Result<(), TrackerError> {
        let Some(region) = self.region.lock().expect("no holder panics").clone() else { return Ok(()) };
        let node = &region.shared.settings.node;
        let probers = region.probers.lock().expect("no holder panics").probers.clone();
        for prober in probers.values() {
            if let ProberLife::Quarantined { since } = prober.state {
                let topic = format!("quarantine/{node}/{}", prober.service);
                let cause = self.quarantined(prober, node, since, &topic);
                self.ongoing(Some(cause), &topic, "", looked).await?;
            }
        }
        let held = |service: &str| {
            let prober = service.parse().ok().and_then(|id| probers.get(&ServiceId(id)));
            prober.is_some_and(|prober| matches!(prober.state, ProberLife::Quarantined { .. }))
        };
        let prefix = format!("quarantine/{node}/");
        for (topic, _) in self.tracker.issues.latest_below(&prefix) {
            if !held(&topic[prefix.len()..]) {
                self.ongoing(None, &topic, "It is not in quarantine any more: its service was edited or the node started anew.", looked)
                    .await?;
            }
        }
        Ok(())
    }

    fn quarantined(&self, prober: &ProberStatus, node: &NodeName, at: Timestamp, topic: &str) -> Cause {
        let error = prober.last_error.as_deref().unwrap_or("no reason was given");
        Cause {
            key: format!("{topic}/{}", at.0),
            topic: topic.to_owned(),
            title: format!("{}: its prober on {node} is in quarantine", prober.name),
            text: format!(
                "The prober of service {} \\({}\\) on node {} failed too often and does not check since {at}, until the service is edited.\n\n\
                 - Restarts before that: {}\n- Last error: {}\n",
                message(&prober.name),
                prober.service,
                plain(&node.0),
                prober.restarts,
                message(error)
            ),
            issue_type: IssueType::Bug,
            priority: Priority::High,
            service: self.linked(prober.service),
        }
    }

    pub(super) async fn findings(&self, looked: &mut Looked) -> Result<(), TrackerError> {
        let least = self.settings.repeated_findings as usize;
        if least == 0 {
            return Ok(());
        }
        let from = self.clock.now().minus(self.settings.repeated_within);
        let recent = FindingQuery { since: Some(from), ..FindingQuery::default() };
        let mut kinds: BTreeMap<(ServiceId, Signal, Shape), Vec<FindingId>> = BTreeMap::new();
        for brief in self.tracker.findings.brief(&recent).into_iter().filter(|brief| brief.since >= from) {
            if self.tracker.issues.told(&guard_of(&brief.id)).is_none() {
                // What many services share is of none of them, and each time another.
                let Some(service) = brief.service else { continue };
                kinds.entry((service, brief.signal, kind(brief.shape))).or_default().push(brief.id);
            }
        }
        for ((service, signal, shape), untold) in kinds {
            let topic = format!("finding/{service}/{}/{}", signal.name(), shape.name());
            let latest = self.tracker.issues.latest(&topic).and_then(|told| self.tracker.issues.get(told.issue));
            let open = latest.filter(|issue| issue.status.is_open());
            if open.is_none() && untold.len() < least {
                continue;
            }
            let mut firm: Vec<Finding> = Vec::new();
            for id in untold {
                firm.extend(self.tracker.findings.one(&id).await?.filter(|finding| finding.is_firm() && !finding.dismissed()));
            }
            match open {
                Some(issue) => {
                    for finding in firm {
                        let guard = Guard { key: guard_of(&finding.id), topic: Some(topic.clone()) };
                        let text = evidence::findings(std::slice::from_ref(&finding));
                        self.comment(issue.id, &text, vec![guard], looked).await?;
                    }
                }
                None if firm.len() >= least => self.open_findings(&firm, topic, looked).await?,
                None => {}
            }
        }
        Ok(())
    }

    async fn open_findings(&self, findings: &[Finding], topic: String, looked: &mut Looked) -> Result<(), TrackerError> {
        let Some(last) = findings.last() else { return Ok(()) };
        let mut guards = vec![Guard { key: guard_of(&last.id), topic: Some(topic) }];
        let others = findings.iter().filter(|finding| finding.id != last.id);
        guards.extend(others.map(|finding| Guard { key: guard_of(&finding.id), topic: None }));
        let days = self.settings.repeated_within.as_secs_f64() / 86_400.0;
        let draft = Draft {
            title: evidence::title(&format!(
                "{}: {} {} found {} times within {days} days",
                last.name,
                last.signal.name(),
                last.shape.name(),
                findings.len()
            )),
            description: evidence::findings(findings),
            issue_type: IssueType::Bug,
            priority: Priority::Medium,
            assignee: None,
            reporter: PROGRAM.to_owned(),
            labels: vec!["automatic".to_owned()],
            service: last.service.and_then(|service| self.linked(service)),
            incident: None,
            finding: Some(last.id.clone()),
        };
        self.create(draft, "the same kind of finding came time and again", guards, looked).await
    }
}

fn lost_node(name: &NodeName, info: &NodeInfo, at: Timestamp, now: Timestamp, topic: &str) -> Cause {
    let reason = info.lost_reason.as_deref().unwrap_or("it is not connected");
    Cause {
        key: format!("{topic}/{}", at.0),
        topic: topic.to_owned(),
        title: format!("Node {name} of region {} is lost", info.region),
        text: format!(
            "Node {} of region {} is lost {}: {}\n\n- Last heard of: {}\n- Services it was given: {}\n\nIt checks on by itself and keeps what \
             it finds, as long as it runs.\n",
            plain(&name.0),
            plain(&info.region),
            since(at, now),
            message(reason),
            info.last_heard.map_or_else(|| "not since this hub started".to_owned(), Timestamp::rfc3339),
            info.assigned_services
        ),
        issue_type: IssueType::Incident,
        priority: Priority::High,
        service: None,
    }
}

fn blind_node(name: &NodeName, info: &NodeInfo, reason: &str, at: Timestamp, now: Timestamp, topic: &str) -> Cause {
    Cause {
        key: format!("{topic}/{}", at.0),
        topic: topic.to_owned(),
        title: format!("Node {name} of region {} is blind", info.region),
        text: format!(
            "Node {} of region {} sees none of its witnesses {}: {}\n\nWhat it sees of services does not count meanwhile.\n",
            plain(&name.0),
            plain(&info.region),
            since(at, now),
            message(reason)
        ),
        issue_type: IssueType::Incident,
        priority: Priority::High,
        service: None,
    }
}

/// Shapes that may tell of the same trouble count as one.
fn kind(shape: Shape) -> Shape {
    Shape::ALL.into_iter().find(|other| other.is_like(shape)).unwrap_or(shape)
}

fn guard_of(id: &FindingId) -> String {
    format!("found/{id}")
}
