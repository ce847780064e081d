//! Results, verdicts, incidents, findings, nodes, deliveries and deleted services as they happen, as server-sent events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rocket::response::stream::{Event as SentEvent, EventStream};
use rocket::{Shutdown, State, get};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use utoipa::ToSchema;

use crate::aggregate::board::MaintenanceChange;
use crate::aggregate::change::VerdictChange;
use crate::aggregate::incident::Step;
use crate::aggregate::verdict::Verdict;
use crate::api::auth::Viewer;
use crate::api::error::{ApiError, Problem};
use crate::api::query::Query;
use crate::api::results::millis;
use crate::api::state::ApiState;
use crate::hub::membership::NodeChange;
use crate::model::check::CheckResult;
use crate::model::finding::Finding;
use crate::model::held::DeliveryState;
use crate::model::id::ServiceId;
use crate::model::incident::Incident;
use crate::model::issue::Issue;
use crate::model::time::Timestamp;
use crate::model::window::{Window, WindowId};
use crate::store::alerts::deliveries::Figures;

/// Streams open at once; each holds a connection.
const STREAMS: usize = 128;
/// Services with new results are told of together, this long after the first of them.
const TOGETHER: Duration = Duration::from_secs(1);
/// What is told to those who ask for nothing in particular, and `checked`, which is told to those who ask for it.
const KINDS: [&str; 10] = ["result", "verdict", "incident", "node", "finding", "delivery", "window", "issue", "service", "checked"];

/// How many more streams may be opened.
pub struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Streams {
        Streams(Arc::new(Semaphore::new(STREAMS)))
    }
}

/// What the hub tells those who listen.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Event {
    Result(ResultEvent),
    Verdict(VerdictEvent),
    Incident(IncidentEvent),
    Node(NodeEvent),
    Finding(FindingEvent),
    Delivery(DeliveryEvent),
    Window(WindowEvent),
    Issue(IssueEvent),
    Service(ServiceEvent),
    Checked(CheckedEvent),
}

/// Checks of these services were stored since the last such event: a second's results in one word, for those who show many services.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CheckedEvent {
    pub services: BTreeSet<u32>,
}

/// A check was stored.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ResultEvent {
    pub service_id: u32,
    pub region: String,
    pub checked_at: String,
    pub ok: bool,
    pub status_code: Option<u16>,
    pub latency_ms: f64,
    pub reason: Option<&'static str>,
    pub message: Option<String>,
}

/// A service's verdict changed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct VerdictEvent {
    pub service_id: u32,
    pub service_name: String,
    pub from: &'static str,
    pub to: &'static str,
    pub at: String,
}

/// An incident opened, changed or closed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IncidentEvent {
    pub id: String,
    /// `opened`, `updated` or `closed`
    pub what: &'static str,
    pub service_id: u32,
    pub service_name: String,
    /// `critical` or `warning`
    pub severity: &'static str,
    pub first_line: String,
    pub opened_at: String,
    pub closed_at: Option<String>,
    /// The maintenance window the service is in now: nobody is told.
    pub maintenance: Option<u32>,
}

/// A node came, was lost, turned blind or sees again. What that makes unknown of services is not told one by one.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NodeEvent {
    pub node: String,
    pub region: String,
    /// `joined`, `lost`, `blind` or `sees`
    pub what: &'static str,
    pub reason: Option<String>,
    pub at: String,
}

/// An anomaly was found, goes on, has ended, or a person had a word on it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FindingEvent {
    pub id: String,
    /// `opened`, `updated`, `ended` or `feedback`
    pub what: &'static str,
    /// Null where it is about many services at once; the name is that of the regions then.
    pub service_id: Option<u32>,
    pub service_name: String,
    /// Null where it was seen in several.
    pub region: Option<String>,
    pub signal: &'static str,
    pub shape: &'static str,
    pub score: f64,
    pub summary: String,
    pub since: String,
    pub ended: Option<String>,
}

/// An alert was delivered, given up, or folded into a later one of the same cause.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DeliveryEvent {
    pub id: String,
    /// `delivered`, `dead` or `folded`
    pub state: &'static str,
    pub cause: String,
    pub service_id: Option<u32>,
    pub channel: String,
    /// `raised`, `repeated`, `escalated`, `acknowledged` or `recovered`
    pub telling: &'static str,
    pub attempts: u32,
    pub error: Option<String>,
    pub at: String,
}

/// A maintenance window begins or ends.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct WindowEvent {
    pub id: u32,
    /// `begins` or `ends`
    pub what: &'static str,
    pub title: String,
    pub at: String,
}

/// An issue was made, changed or commented on.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IssueEvent {
    pub id: u64,
    /// `created`, `changed` or `commented`
    pub what: &'static str,
    pub title: String,
    pub status: &'static str,
    pub priority: &'static str,
    pub assignee: Option<String>,
    pub service_id: Option<u32>,
    pub at: String,
}

/// A service is gone: nothing more is told of it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ServiceEvent {
    pub service_id: u32,
    pub service_name: String,
    /// `deleted`
    pub what: &'static str,
    pub at: String,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Event::Result(_) => "result",
            Event::Verdict(_) => "verdict",
            Event::Incident(_) => "incident",
            Event::Node(_) => "node",
            Event::Finding(_) => "finding",
            Event::Delivery(_) => "delivery",
            Event::Window(_) => "window",
            Event::Issue(_) => "issue",
            Event::Service(_) => "service",
            Event::Checked(_) => "checked",
        }
    }

    /// `maintenance` is the window its service is in now.
    pub fn incident(what: &'static str, incident: &Incident, maintenance: Option<WindowId>) -> Event {
        Event::Incident(IncidentEvent {
            id: incident.id.to_string(),
            what,
            service_id: incident.service.0,
            service_name: incident.name.to_string(),
            severity: incident.severity.name(),
            first_line: incident.first_line.clone(),
            opened_at: incident.opened_at.rfc3339(),
            closed_at: incident.closed_at.map(|at| at.rfc3339()),
            maintenance: maintenance.map(|window| window.0),
        })
    }

    pub fn window(what: &'static str, window: &Window, at: Timestamp) -> Event {
        Event::Window(WindowEvent { id: window.id.0, what, title: window.title.clone(), at: at.rfc3339() })
    }

    pub fn deleted(id: ServiceId, name: &str, at: Timestamp) -> Event {
        Event::Service(ServiceEvent { service_id: id.0, service_name: name.to_owned(), what: "deleted", at: at.rfc3339() })
    }

    /// A service enters maintenance or leaves it.
    pub fn maintenance(change: &MaintenanceChange, at: Timestamp) -> Event {
        let (beneath, maintenance) = (change.beneath.name(), Verdict::Maintenance.name());
        let (from, to) = if change.begins { (beneath, maintenance) } else { (maintenance, beneath) };
        Event::Verdict(VerdictEvent { service_id: change.service.0, service_name: change.name.to_string(), from, to, at: at.rfc3339() })
    }

    pub fn finding(what: &'static str, finding: &Finding) -> Event {
        Event::Finding(FindingEvent {
            id: finding.id.to_string(),
            what,
            service_id: finding.service.map(|service| service.0),
            service_name: finding.name.to_string(),
            region: finding.region.as_ref().map(ToString::to_string),
            signal: finding.signal.name(),
            shape: finding.shape.name(),
            score: finding.score,
            summary: finding.summary.clone(),
            since: finding.since.rfc3339(),
            ended: finding.ended.map(|at| at.rfc3339()),
        })
    }

    pub fn delivery(figures: &Figures, channel: &str, state: DeliveryState, error: Option<&str>, at: Timestamp) -> Event {
        Event::Delivery(DeliveryEvent {
            id: figures.id.to_string(),
            state: state.name(),
            cause: figures.cause.to_string(),
            service_id: figures.service.map(|service| service.0),
            channel: channel.to_owned(),
            telling: figures.telling.name(),
            attempts: figures.attempts,
            error: error.map(str::to_owned),
            at: at.rfc3339(),
        })
    }

    pub fn issue(what: &'static str, issue: &Issue) -> Event {
        Event::Issue(IssueEvent {
            id: issue.id.0,
            what,
            title: issue.title.clone(),
            status: issue.status.name(),
            priority: issue.priority.name(),
            assignee: issue.assignee.clone(),
            service_id: issue.service.as_ref().map(|service| service.id.0),
            at: issue.updated_at.rfc3339(),
        })
    }

    /// `None`: it is about no service alone.
    fn service(&self) -> Option<ServiceId> {
        match self {
            Event::Result(event) => Some(ServiceId(event.service_id)),
            Event::Verdict(event) => Some(ServiceId(event.service_id)),
            Event::Incident(event) => Some(ServiceId(event.service_id)),
            Event::Finding(event) => event.service_id.map(ServiceId),
            Event::Delivery(event) => event.service_id.map(ServiceId),
            Event::Issue(event) => event.service_id.map(ServiceId),
            Event::Service(event) => Some(ServiceId(event.service_id)),
            Event::Node(_) | Event::Window(_) | Event::Checked(_) => None,
        }
    }
}

/// What one listener asked for.
struct Wanted {
    service: Option<ServiceId>,
    /// Of `KINDS`; `None`: all but `checked`.
    kinds: Option<Vec<&'static str>>,
}

impl Wanted {
    fn of(query: &Query) -> Result<Wanted, ApiError> {
        query.allow(&["service", "kinds"])?;
        let kind = |name: &str| {
            let known = KINDS.into_iter().find(|kind| *kind == name);
            known.ok_or_else(|| ApiError::bad_query("kinds", format!("must be some of {}, not {name:?}", KINDS.join(", "))))
        };
        Ok(Wanted {
            service: query.number("service", "the number of a service")?.map(ServiceId),
            kinds: query.text("kinds").map(|kinds| kinds.split(',').map(|name| kind(name.trim())).collect()).transpose()?,
        })
    }

    fn kind(&self, kind: &str) -> bool {
        self.kinds.as_ref().map_or(kind != "checked", |kinds| kinds.contains(&kind))
    }

    fn event(&self, event: &Event) -> bool {
        self.kind(event.name()) && self.about(event)
    }

    /// What is put together for this listener is of nothing else anyway.
    fn about(&self, event: &Event) -> bool {
        matches!(event, Event::Checked(_)) || self.service.is_none_or(|service| event.service() == Some(service))
    }
}

impl From<&CheckResult> for Event {
    fn from(result: &CheckResult) -> Event {
        Event::Result(ResultEvent {
            service_id: result.service.0,
            region: result.region.to_string(),
            checked_at: result.started_at.rfc3339(),
            ok: result.ok(),
            status_code: result.status_code,
            latency_ms: millis(result.latency),
            reason: result.failure.as_ref().map(|failure| failure.reason.name()),
            message: result.failure.as_ref().map(|failure| failure.message.clone()),
        })
    }
}

impl From<&Step> for Event {
    fn from(step: &Step) -> Event {
        Event::incident(step.kind.name(), &step.incident, step.maintenance)
    }
}

impl From<&NodeChange> for Event {
    fn from(change: &NodeChange) -> Event {
        Event::Node(NodeEvent {
            node: change.node.to_string(),
            region: change.region.to_string(),
            what: change.what.name(),
            reason: change.reason.clone(),
            at: change.at.rfc3339(),
        })
    }
}

impl From<&VerdictChange> for Event {
    fn from(change: &VerdictChange) -> Event {
        Event::Verdict(VerdictEvent {
            service_id: change.service.0,
            service_name: change.name.to_string(),
            from: change.from.name(),
            to: change.to.name(),
            at: change.at.rfc3339(),
        })
    }
}

/// Results, changes of verdict, incidents, findings, nodes, deliveries, maintenance windows, issues and deleted services as they happen.
///
/// Server-sent events named `result`, `verdict`, `incident`, `finding`, `node`, `delivery`, `window`, `issue` and `service`, or those of them that `kinds` names.
/// `checked`, if it is named there, tells once a second which services have new results. When a node is lost or blind, or is back, that one event stands for all services: what only turns unknown by it, or is up again, is told by no `verdict` of its own. `lagged`, with a
/// count, when this client was too slow to be told all. The stream ends when the token does.
#[utoipa::path(
    tag = "events",
    params(
        ("service" = Option<u32>, Query, description = "Events of this service alone"),
        ("kinds" = Option<String>, Query, description = "Events of these names alone, between commas"),
    ),
    responses(
        (status = 200, description = "The stream", content_type = "text/event-stream", body = Event),
        (status = 400, description = "A parameter is wrong", body = Problem),
        (status = 401, description = "No valid token", body = Problem),
    )
)]
#[get("/api/v1/events")]
pub async fn listen<'a>(
    viewer: Viewer,
    query: Query,
    state: &'a State<ApiState>,
    streams: &'a State<Streams>,
    mut end: Shutdown,
) -> Result<EventStream![SentEvent + 'a], ApiError> {
    let wanted = Wanted::of(&query)?;
    let ticket = streams.0.clone().try_acquire_owned().map_err(|_| ApiError::unavailable("too many listen already"))?;
    let mut events = state.events.subscribe();
    let left = viewer.0.expires_at.since(state.clock.now());
    Ok(EventStream! {
        let _ticket = ticket;
        let expired = state.clock.sleep(left);
        rocket::tokio::pin!(expired);
        let mut checked = BTreeSet::new();
        let mut due = Box::pin(state.clock.sleep(TOGETHER));
        loop {
            let event: Arc<Event> = tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => event,
                    Err(RecvError::Lagged(missed)) => {
                        yield SentEvent::data(missed.to_string()).event("lagged");
                        continue;
                    }
                    Err(RecvError::Closed) => break,
                },
                () = &mut due, if !checked.is_empty() => Arc::new(Event::Checked(CheckedEvent { services: std::mem::take(&mut checked) })),
                _ = &mut end => break,
                _ = &mut expired => break,
            };
            if let Event::Result(result) = event.as_ref() && wanted.kind("checked") && wanted.about(&event) {
                if checked.is_empty() {
                    due = Box::pin(state.clock.sleep(TOGETHER));
                }
                checked.insert(result.service_id);
            }
            if wanted.event(&event) {
                yield SentEvent::json(event.as_ref()).event(event.name());
            }
        }
    })
}
