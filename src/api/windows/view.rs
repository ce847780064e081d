//! A maintenance window as the API shows it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::maintenance::windows::Windows;
use crate::model::id::ServiceId;
use crate::model::span::Span;
use crate::model::time::Timestamp;
use crate::model::window::{Plan, Window};

/// How far ahead the next time of a recurring window is looked for.
const AHEAD: i64 = 400 * 86_400_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    Active,
    Upcoming,
    Past,
    Deleted,
}

impl State {
    const ALL: [State; 4] = [State::Active, State::Upcoming, State::Past, State::Deleted];

    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Upcoming => "upcoming",
            State::Past => "past",
            State::Deleted => "deleted",
        }
    }

    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

#[derive(Serialize, ToSchema)]
pub struct WindowView {
    pub id: u32,
    pub title: String,
    pub reason: String,
    /// `once`, `recurring` or `manual`
    pub kind: &'static str,
    /// `active`, `upcoming`, `past` or `deleted`
    state: &'static str,
    #[serde(skip)]
    #[schema(ignore)]
    pub stage: State,
    pub all: bool,
    /// As they were named.
    services: Vec<u32>,
    tags: Vec<String>,
    groups: Vec<String>,
    /// The services it means now, by all of these.
    pub service_ids: Vec<u32>,
    /// Of one that recurs: from when to when it does.
    from: Option<String>,
    until: Option<String>,
    pub cron: Option<String>,
    pub timezone: Option<String>,
    duration_s: Option<f64>,
    longest_s: Option<f64>,
    /// The span it is active in.
    pub current: Option<SpanView>,
    /// The next one to come.
    pub next: Option<SpanView>,
    /// The last one that ended.
    pub last: Option<SpanView>,
    /// Rises with each change. Sent back with a change, it must still be the same.
    pub revision: u64,
    created_by: String,
    created_at: String,
    pub updated_by: String,
    updated_at: String,
    deleted_by: Option<String>,
    deleted_at: Option<String>,
    #[serde(skip)]
    #[schema(ignore)]
    edge: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct SpanView {
    #[schema(value_type = String)]
    #[serde(serialize_with = "text")]
    pub from: Timestamp,
    #[schema(value_type = String)]
    #[serde(serialize_with = "text")]
    pub until: Timestamp,
}

fn text<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.rfc3339())
}

impl WindowView {
    pub fn new(window: &Window, windows: &Windows, now: Timestamp) -> WindowView {
        let spans = window.spans(Span::new(Timestamp(now.0 - AHEAD), Timestamp(now.0 + AHEAD)));
        let view = |span: &Span| SpanView { from: span.from, until: span.until };
        let current = spans.iter().find(|span| span.holds(now)).map(view);
        let next = spans.iter().find(|span| span.from > now).map(view);
        let last = spans.iter().rev().find(|span| span.until <= now).map(view);
        // A manual one that was never begun is still to come; so is what lies too far ahead or behind to be looked at.
        let to_come = match &window.rule.plan {
            Plan::Once(span) => span.from > now,
            Plan::Recurring { since, until, .. } => {
                let first = window.rule.plan.begins(now.max(*since), true);
                next.is_some() || first.is_some_and(|first| until.is_none_or(|until| first < until))
            }
            Plan::Manual { sessions, .. } => sessions.is_empty(),
        };
        let stage = match (&window.deleted, current) {
            (Some(_), _) => State::Deleted,
            (None, Some(_)) => State::Active,
            (None, None) if to_come => State::Upcoming,
            (None, None) => State::Past,
        };
        let edge = match stage {
            State::Active => current.map(|span| span.until.0),
            State::Upcoming => next.map(|span| span.from.0),
            State::Past => last.map(|span| -span.until.0),
            State::Deleted => window.deleted.as_ref().map(|(_, at)| -at.0),
        };
        let scope = &window.rule.scope;
        let mut view = WindowView {
            id: window.id.0,
            title: window.title.clone(),
            reason: window.reason.clone(),
            kind: window.rule.plan.kind(),
            state: stage.name(),
            stage,
            all: scope.all,
            services: scope.services.iter().map(|service| service.0).collect(),
            tags: scope.tags.iter().cloned().collect(),
            groups: scope.groups.iter().cloned().collect(),
            service_ids: windows.members(window.id).into_iter().flatten().map(|service| service.0).collect(),
            from: None,
            until: None,
            cron: None,
            timezone: None,
            duration_s: None,
            longest_s: None,
            current,
            next,
            last,
            revision: window.revision,
            created_by: window.created_by.clone(),
            created_at: window.created_at.rfc3339(),
            updated_by: window.updated_by.clone(),
            updated_at: window.updated_at.rfc3339(),
            deleted_by: window.deleted.as_ref().map(|(by, _)| by.clone()),
            deleted_at: window.deleted.as_ref().map(|(_, at)| at.rfc3339()),
            edge: edge.unwrap_or(i64::MAX),
        };
        match &window.rule.plan {
            Plan::Once(span) => (view.from, view.until) = (Some(span.from.rfc3339()), Some(span.until.rfc3339())),
            Plan::Recurring { expression, zone, duration, since, until, .. } => {
                (view.from, view.until) = (Some(since.rfc3339()), until.map(Timestamp::rfc3339));
                view.cron = Some(expression.to_string());
                view.timezone = Some(zone.name().to_owned());
                view.duration_s = Some(duration.as_secs_f64());
            }
            Plan::Manual { longest, .. } => view.longest_s = Some(longest.as_secs_f64()),
        }
        view
    }

    pub fn means(&self, service: ServiceId) -> bool {
        self.service_ids.contains(&service.0)
    }

    /// Active, upcoming, past; within each, what is nearest to now first.
    pub fn order(&self) -> (State, i64, u32) {
        (self.stage, self.edge, self.id)
    }
}
