//! The windows as everyone asks about them, in memory.
//!
//! **Invariants.** The board, those who listen and whoever asks here know of the same windows: all change in [`Windows::turn`].
//! What is excluded is whole minutes, so that rollups can be cut there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, broadcast};
use tracing::info;

use crate::aggregate::board::Board;
use crate::api::events::Event;
use crate::clock::Clock;
use crate::model::id::ServiceId;
use crate::model::span::{Span, clipped, holds, union};
use crate::model::time::Timestamp;
use crate::model::window::{Plan, Window, WindowId};
use crate::store::services::{Services, StoredService};
use crate::store::uptimes::Uptimes;
use crate::store::windows::WindowStore;

/// The spans of recurring windows are worked out so far back, and ahead; who asks for more waits for it.
const BACK: Duration = Duration::from_secs(400 * 86_400);
const AHEAD: Duration = Duration::from_secs(40 * 86_400);
/// After so long they are worked out again.
const GOOD_FOR: Duration = Duration::from_secs(86_400);

#[derive(Debug)]
pub struct Windows {
    pub store: Arc<WindowStore>,
    services: Arc<Services>,
    board: Arc<Board>,
    uptimes: Arc<Uptimes>,
    events: broadcast::Sender<Arc<Event>>,
    clock: Clock,
    known: RwLock<Arc<Index>>,
    /// The windows that were on at the last turn; `None` before the first.
    on: Mutex<Option<BTreeSet<WindowId>>>,
    /// Something changed: the next edge may be another.
    pub changed: Notify,
}

/// All that windows say, as of some moment.
#[derive(Debug, Default)]
struct Index {
    of: Option<Made>,
    windows: Vec<Known>,
    /// Recurring spans are complete within it.
    horizon: Span,
}

/// What an index was made from.
#[derive(Debug)]
struct Made {
    windows: Arc<Vec<Arc<Window>>>,
    services: Arc<Vec<Arc<StoredService>>>,
    at: Timestamp,
}

#[derive(Debug)]
struct Known {
    window: Arc<Window>,
    rules: Vec<KnownRule>,
}

#[derive(Debug)]
struct KnownRule {
    /// `None`: all.
    members: Option<BTreeSet<ServiceId>>,
    spans: Vec<Span>,
}

/// A window in a span, as reports tell it.
#[derive(Clone, Debug)]
pub struct Occurrence {
    pub window: Arc<Window>,
    pub span: Span,
}

impl Windows {
    pub fn new(
        store: Arc<WindowStore>,
        services: Arc<Services>,
        board: Arc<Board>,
        uptimes: Arc<Uptimes>,
        events: broadcast::Sender<Arc<Event>>,
        clock: Clock,
    ) -> Windows {
        let (known, on) = (RwLock::default(), Mutex::default());
        let windows = Windows { store, services, board, uptimes, events, clock, known, on, changed: Notify::new() };
        windows.turn();
        windows
    }

    /// The window a service was, is or will be in at an instant.
    pub fn covers(&self, service: ServiceId, at: Timestamp) -> Option<WindowId> {
        let index = self.index();
        let on = |known: &&Known| known.rules.iter().any(|rule| rule.means(service) && holds(&rule.spans, at));
        index.windows.iter().find(on).map(|known| known.window.id)
    }

    /// The span a service is in maintenance at an instant, of all windows together.
    pub fn span_at(&self, service: ServiceId, at: Timestamp) -> Option<Span> {
        let near = Span::new(at.minus(BACK), at.plus(AHEAD));
        self.spans(service, near).into_iter().find(|span| span.holds(at))
    }

    /// What maintenance takes out of a span for a service: whole minutes, in order, cut to the span.
    pub fn excluded(&self, service: ServiceId, whole: Span) -> Vec<Span> {
        let minutes = union(self.spans(service, whole.minutes()).into_iter().map(Span::minutes));
        clipped(&minutes, whole)
    }

    /// The windows of a service within a span, oldest first.
    pub fn occurrences(&self, service: ServiceId, whole: Span) -> Vec<Occurrence> {
        let index = self.index();
        let mut found = Vec::new();
        for known in &index.windows {
            for (rule, plan) in known.rules.iter().zip(known.window.rules()).filter(|(rule, _)| rule.means(service)) {
                let spans = rule.within(&plan.plan, whole, index.horizon);
                found.extend(spans.into_iter().map(|span| Occurrence { window: known.window.clone(), span }));
            }
        }
        found.sort_by_key(|occurrence| (occurrence.span, occurrence.window.id));
        found
    }

    /// The services a window means now; `None`: there is no such window.
    pub fn members(&self, id: WindowId) -> Option<BTreeSet<ServiceId>> {
        let window = self.store.get(id)?;
        let scope = &window.rule.scope;
        let meant = |service: &&Arc<StoredService>| scope.means(service.id, &service.document.tags, service.document.group.as_deref());
        Some(self.services.list().iter().filter(meant).map(|service| service.id).collect())
    }

    /// When the next window begins or ends.
    pub fn next_edge(&self, after: Timestamp) -> Option<Timestamp> {
        let index = self.index();
        let rules = index.windows.iter().flat_map(|known| &known.rules);
        let edges = rules.filter_map(|rule| {
            let next = rule.spans.partition_point(|span| span.until <= after);
            let span = rule.spans.get(next)?;
            Some(if span.from > after { span.from } else { span.until })
        });
        edges.min()
    }

    /// Takes in what changed since the last turn: windows, services, or the time. To be called after any change.
    pub fn turn(&self) {
        // Held to the end: what turned first is told first.
        let mut on = self.on.lock().expect("no holder panics");
        let now = self.clock.now();
        self.renew(now);
        let index = self.index();
        let running = |known: &&Known| known.rules.iter().any(|rule| holds(&rule.spans, now));
        let running: BTreeMap<WindowId, &Known> = index.windows.iter().filter(running).map(|known| (known.window.id, known)).collect();
        let list = self.services.list();
        let current = list.iter().filter_map(|service| Some((service.id, self.covers(service.id, now)?))).collect();
        let moved = self.board.set_maintenance(current, now);
        // A start finds windows as they are; that is no news.
        if let Some(before) = on.as_ref() {
            for (id, known) in running.iter().filter(|(id, _)| !before.contains(id)) {
                info!(window = id.0, title = known.window.title, "maintenance window begins");
                let _ = self.events.send(Arc::new(Event::window("begins", &known.window, now)));
            }
            for id in before.iter().filter(|id| !running.contains_key(id)) {
                let Some(window) = self.store.get(*id) else { continue };
                info!(window = id.0, title = window.title, "maintenance window has ended");
                let _ = self.events.send(Arc::new(Event::window("ends", &window, now)));
            }
            for change in &moved {
                let _ = self.events.send(Arc::new(Event::maintenance(change, now)));
            }
        }
        self.uptimes.nudge(moved.iter().map(|change| change.service));
        *on = Some(running.into_keys().collect());
        drop(on);
        self.changed.notify_one();
    }

    /// Makes the index anew where what it was made from is not what there is.
    fn renew(&self, now: Timestamp) {
        let (windows, services) = (self.store.list(), self.services.list());
        let old = self.index();
        let same = old.of.as_ref().is_some_and(|made| {
            Arc::ptr_eq(&made.windows, &windows) && Arc::ptr_eq(&made.services, &services) && now.since(made.at) < GOOD_FOR
        });
        if same {
            return;
        }
        let horizon = Span::new(now.minus(BACK), now.plus(AHEAD));
        let known = windows.iter().filter(|window| window.deleted.is_none());
        let known: Vec<Known> = known.map(|window| Known::new(window, &services, horizon)).collect();
        // History is counted anew for those whose windows are not what they were.
        let is_in = |window: &Arc<Window>, others: &[Known]| others.iter().any(|other| Arc::ptr_eq(&other.window, window));
        let gone = old.windows.iter().filter(|old| !is_in(&old.window, &known));
        let new = known.iter().filter(|new| !is_in(&new.window, &old.windows));
        let rules: Vec<&KnownRule> = gone.chain(new).flat_map(|known| &known.rules).collect();
        let recounted = services.iter().map(|service| service.id).filter(|id| rules.iter().any(|rule| rule.means(*id)));
        self.uptimes.nudge(recounted);
        let index = Index { of: Some(Made { windows, services: services.clone(), at: now }), windows: known, horizon };
        *self.known.write().expect("no holder panics") = Arc::new(index);
    }

    fn spans(&self, service: ServiceId, whole: Span) -> Vec<Span> {
        union(self.occurrences(service, whole).into_iter().map(|occurrence| occurrence.span))
    }

    fn index(&self) -> Arc<Index> {
        self.known.read().expect("no holder panics").clone()
    }
}

impl Known {
    fn new(window: &Arc<Window>, services: &[Arc<StoredService>], horizon: Span) -> Known {
        let rules = window.rules().map(|rule| {
            let scope = &rule.scope;
            let meant = |service: &&Arc<StoredService>| scope.means(service.id, &service.document.tags, service.document.group.as_deref());
            let members = (!scope.all).then(|| services.iter().filter(meant).map(|service| service.id).collect());
            // Of those that do not recur all is known.
            let within = match rule.plan {
                Plan::Recurring { .. } => horizon,
                Plan::Once(_) | Plan::Manual { .. } => Span::new(Timestamp(i64::MIN), Timestamp(i64::MAX)),
            };
            KnownRule { members, spans: union(rule.plan.spans(within)) }
        });
        Known { rules: rules.collect(), window: window.clone() }
    }
}

impl KnownRule {
    fn means(&self, service: ServiceId) -> bool {
        self.members.as_ref().is_none_or(|members| members.contains(&service))
    }

    fn within(&self, plan: &Plan, whole: Span, horizon: Span) -> Vec<Span> {
        let beyond = matches!(plan, Plan::Recurring { .. }) && (whole.from < horizon.from || whole.until > horizon.until);
        if beyond { union(plan.spans(whole)) } else { clipped(&self.spans, whole) }
    }
}
