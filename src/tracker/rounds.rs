//! One look at what the monitor saw, and the issues that follow from it.
//!
//! An incident over the set severity that lasts long enough, a prober in quarantine, a node lost or blind for long, and the same kind of
//! finding time and again each open one issue, with the evidence there is; what becomes of it is commented on. All that a look
//! needs to know of earlier ones is in the store, by the guards, so that it can be taken again at any time, from anywhere on.
//!
//! A cause of a topic whose issue is still open is told there: a service that goes down again within a day, the same node lost
//! again, the same prober, one more finding of the kind.

mod causes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::info;

use crate::api::findings::NEAR;
use crate::clock::Clock;
use crate::config::sections::TrackerSettings;
use crate::hub::membership::Membership;
use crate::model::id::{NodeName, ServiceId};
use crate::model::incident::{Incident, IncidentId, Severity, TimelineEntry};
use crate::model::issue::{IssueId, IssueType, LinkedService, Priority};
use crate::model::time::Timestamp;
use crate::region::RegionView;
use crate::store::findings::FindingQuery;
use crate::store::incidents::{BriefIncident, IncidentFilter};
use crate::store::issues::{Guard, Told};
use crate::store::services::Author;
use crate::tracker::desk::{Draft, Tracker, TrackerError};
use crate::tracker::evidence;

/// The program's own name where people's names stand.
pub const PROGRAM: &str = "probemesh";
/// Incidents that ended longer ago are left alone.
const MAKE_UP: Duration = Duration::from_secs(86_400);
/// A service that goes down again so soon has the same trouble.
const AGAIN: Duration = Duration::from_secs(86_400);
/// Comments on one cause, so that what flaps does not drown its issue.
const MOST_NEWS: usize = 50;
const MOST_FINDINGS: usize = 20;

/// What is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Everything, whether somebody spoke of it or not.
    pub all: bool,
    pub findings: bool,
    /// Those of which there is news.
    pub incidents: BTreeSet<IncidentId>,
}

impl Wanted {
    pub fn add(&mut self, other: Wanted) {
        self.all |= other.all;
        self.findings |= other.findings;
        self.incidents.extend(other.incidents);
    }
}

/// What a look led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    pub opened: u64,
    pub commented: u64,
}

pub struct Rounds {
    pub tracker: Arc<Tracker>,
    pub settings: TrackerSettings,
    pub membership: Arc<Membership>,
    /// Of the hub's own process, once it runs.
    pub region: Arc<Mutex<Option<RegionView>>>,
    /// Whether an incident needs no issue of its own now.
    pub explained: Explained,
    pub clock: Clock,
    /// Since when nodes are seen to be silent or blind that do not say since when.
    pub seen: Mutex<BTreeMap<(NodeName, &'static str), Timestamp>>,
}

/// Whether an incident follows from another, which has the issue, or is of a service in maintenance.
pub type Explained = Arc<dyn Fn(&IncidentId, ServiceId) -> bool + Send + Sync>;

/// Something that was seen and asks for an issue.
struct Cause {
    key: String,
    topic: String,
    title: String,
    text: String,
    issue_type: IssueType,
    priority: Priority,
    service: Option<LinkedService>,
}

impl Rounds {
    pub async fn look(&self, wanted: &Wanted) -> Result<Looked, TrackerError> {
        let mut looked = Looked::default();
        if !self.settings.open_issues {
            return Ok(looked);
        }
        self.incidents(wanted, &mut looked).await?;
        self.nodes(&mut looked).await?;
        self.quarantines(&mut looked).await?;
        if wanted.findings || wanted.all {
            self.findings(&mut looked).await?;
        }
        Ok(looked)
    }

    async fn incidents(&self, wanted: &Wanted, looked: &mut Looked) -> Result<(), TrackerError> {
        let Some(least) = self.settings.open_for_severity else { return Ok(()) };
        let now = self.clock.now();
        let recent = IncidentFilter { since: Some(now.minus(MAKE_UP)), ..IncidentFilter::default() };
        for brief in self.tracker.incidents.brief(&recent).into_iter().filter(|brief| brief.severity >= least) {
            let key = format!("incident/{}", brief.id);
            match self.tracker.issues.told(&key) {
                None if (self.explained)(&brief.id, brief.service) => {}
                None if brief.closed_at.unwrap_or(now).since(brief.opened_at) >= self.settings.open_after => {
                    self.open_incident(&brief, &key, looked).await?;
                }
                Some(issue) if wanted.all || wanted.incidents.contains(&brief.id) => {
                    self.follow(&brief.id, &key, issue, looked).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn open_incident(&self, brief: &BriefIncident, key: &str, looked: &mut Looked) -> Result<(), TrackerError> {
        let Some((stored, timeline)) = self.tracker.incidents.one(&brief.id).await? else { return Ok(()) };
        let incident = stored.incident;
        let topic = format!("service/{}", incident.service);
        let mut guards = vec![Guard { key: key.to_owned(), topic: Some(topic.clone()) }];
        guards.extend(news(key, &incident, &timeline).into_iter().map(|(key, _)| Guard { key, topic: None }));
        if let Some(issue) = self.same_trouble(&topic, &incident) {
            return self.comment(issue, &evidence::down_again(&incident), guards, looked).await;
        }
        let near = FindingQuery {
            service: Some(incident.service),
            since: Some(incident.opened_at.minus(NEAR)),
            until: incident.closed_at.map(|closed| closed.plus(NEAR)),
            size: MOST_FINDINGS,
            ..FindingQuery::default()
        };
        let findings = self.tracker.findings.list(&near).await?.findings;
        let draft = Draft {
            title: evidence::incident_title(&incident),
            description: evidence::incident(&incident, &timeline, &findings),
            issue_type: IssueType::Incident,
            priority: if incident.severity == Severity::Critical { Priority::Critical } else { Priority::High },
            assignee: None,
            reporter: PROGRAM.to_owned(),
            labels: vec!["automatic".to_owned()],
            service: Some(LinkedService { id: incident.service, name: incident.name.to_string() }),
            incident: Some(incident.id.clone()),
            finding: findings.first().map(|finding| finding.id.clone()),
        };
        let why = format!("an incident of severity {} lasted {}", incident.severity.name(), evidence::lasted(self.settings.open_after));
        self.create(draft, &why, guards, looked).await
    }

    /// The open issue of the service's last incident, where that is not long past.
    fn same_trouble(&self, topic: &str, incident: &Incident) -> Option<IssueId> {
        let Told { issue, cause, .. } = self.tracker.issues.latest(topic)?;
        self.tracker.issues.get(issue).filter(|issue| issue.status.is_open())?;
        let before = IncidentFilter { service: Some(incident.service), ..IncidentFilter::default() };
        let before = self.tracker.incidents.brief(&before).into_iter().find(|brief| cause == format!("incident/{}", brief.id))?;
        let soon = before.closed_at.is_none_or(|closed| incident.opened_at.since(closed) <= AGAIN);
        soon.then_some(issue)
    }

    /// Comments on what happened to an incident since.
    async fn follow(&self, id: &IncidentId, key: &str, issue: IssueId, looked: &mut Looked) -> Result<(), TrackerError> {
        let Some((stored, timeline)) = self.tracker.incidents.one(id).await? else { return Ok(()) };
        for (key_of, text) in news(key, &stored.incident, &timeline) {
            let full = self.tracker.issues.told_below(&format!("{key}/")) >= MOST_NEWS;
            if self.tracker.issues.told(&key_of).is_some() || full && !key_of.contains("/closed-") {
                continue;
            }
            self.comment(issue, &text, vec![Guard { key: key_of, topic: None }], looked).await?;
        }
        Ok(())
    }

    /// Something holds, since an instant: once it has held for so long it opens an issue, or is told in the one that is open for
    /// its topic; when it holds no more that is told too.
    async fn ongoing(&self, cause: Option<Cause>, topic: &str, over: &str, looked: &mut Looked) -> Result<(), TrackerError> {
        let latest = self.tracker.issues.latest(topic);
        let going_on = latest.as_ref().filter(|told| self.tracker.issues.told(&format!("{}/over", told.cause)).is_none());
        match (cause, going_on) {
            (Some(cause), None) => self.told_or_opened(cause, latest, looked).await,
            (None, Some(told)) => {
                let guard = Guard { key: format!("{}/over", told.cause), topic: None };
                self.comment(told.issue, over, vec![guard], looked).await
            }
            // It goes on, or there was none.
            _ => Ok(()),
        }
    }

    async fn told_or_opened(&self, cause: Cause, latest: Option<Told>, looked: &mut Looked) -> Result<(), TrackerError> {
        let Cause { key, topic, title, text, issue_type, priority, service } = cause;
        let guards = vec![Guard { key, topic: Some(topic) }];
        let open = latest.map(|told| told.issue).and_then(|issue| self.tracker.issues.get(issue)).filter(|issue| issue.status.is_open());
        if let Some(issue) = open {
            return self.comment(issue.id, &format!("Again: {text}"), guards, looked).await;
        }
        let draft = Draft {
            title: evidence::title(&title),
            description: text,
            issue_type,
            priority,
            assignee: None,
            reporter: PROGRAM.to_owned(),
            labels: vec!["automatic".to_owned()],
            service,
            incident: None,
            finding: None,
        };
        self.create(draft, "the monitor saw it", guards, looked).await
    }

    async fn create(&self, draft: Draft, why: &str, guards: Vec<Guard>, looked: &mut Looked) -> Result<(), TrackerError> {
        match self.tracker.create(draft, why, guards, &author()).await {
            Ok(issue) => {
                looked.opened += 1;
                info!(issue = issue.id.0, cause = issue.cause, title = issue.title, "issue opened");
                Ok(())
            }
            // By a look of before that was thought to have failed.
            Err(TrackerError::Told) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn comment(&self, issue: IssueId, text: &str, guards: Vec<Guard>, looked: &mut Looked) -> Result<(), TrackerError> {
        match self.tracker.comment(issue, text, guards, &author()).await {
            Ok(_) => {
                looked.commented += 1;
                Ok(())
            }
            Err(TrackerError::Told | TrackerError::Unknown { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn linked(&self, id: ServiceId) -> Option<LinkedService> {
        self.tracker.services.get(id).map(|service| LinkedService { id, name: service.name().to_owned() })
    }
}

fn author() -> Author {
    Author { who: PROGRAM.to_owned(), address: None }
}

/// What a timeline has to tell, each with its guard; two of one kind and instant are two.
fn news(key: &str, incident: &Incident, timeline: &[TimelineEntry]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for entry in timeline {
        let Some(text) = evidence::news(incident, entry) else { continue };
        let name = format!("{key}/{}-{}", entry.kind.name(), entry.at.0);
        let before = found.iter().filter(|(other, _)| other.starts_with(&name)).count();
        found.push((if before == 0 { name } else { format!("{name}-{before}") }, text));
    }
    found
}
