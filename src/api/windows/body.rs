//! A maintenance window as people write it. Every field is optional here, so that one that is wrong does not hide another.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::body::JsonBody;
use crate::api::error::ApiError;
use crate::api::fields::{Fields, service};
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::config::service::parse_cron;
use crate::model::service::Schedule;
use crate::model::span::Span;
use crate::model::time::Timestamp;
use crate::model::window::{Plan, Rule, Scope, Window};
use crate::store::windows::Draft;

/// Characters.
const TITLE: RangeInclusive<usize> = 1..=200;
const LONGEST_REASON: usize = 2_000;
/// Of one span.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// Of each time of a recurring one, and of a manual one that nobody ends.
const RECURRING: RangeInclusive<f64> = 60.0..=604_800.0;
const MANUAL: RangeInclusive<f64> = 60.0..=2_592_000.0;
const USUAL_MANUAL: f64 = 86_400.0;
/// A recurring one begins not more often than this.
const CLOSEST: Duration = Duration::from_secs(15 * 60);
/// So many of its times are looked at.
const LOOKED_AT: usize = 60;
/// What begins longer ago counts history anew.
const JUST_NOW: Duration = Duration::from_secs(300);
const EARLIEST: &str = "2000-01-01T00:00:00Z";
const AHEAD: Duration = Duration::from_secs(10 * 366 * 86_400);

/// A window as it is sent. A title, services and a time must be given; what the time is, says `kind` or which of its fields
/// are there.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WindowDocument {
    /// 1 to 200 characters.
    #[schema(value_type = String)]
    pub title: Option<Value>,
    /// Why, for those who ask later. A window over a past span must have one.
    #[schema(value_type = Option<String>)]
    pub reason: Option<Value>,
    /// `once`, `recurring` or `manual`; cannot be changed.
    #[schema(value_type = Option<String>)]
    pub kind: Option<Value>,
    /// All services, also those to come.
    #[schema(value_type = Option<bool>)]
    pub all: Option<Value>,
    /// Services by number or name.
    #[schema(value_type = Option<Vec<Object>>)]
    pub services: Option<Value>,
    /// Services with any of these tags.
    #[schema(value_type = Option<Vec<String>>)]
    pub tags: Option<Value>,
    /// Services of any of these groups.
    #[schema(value_type = Option<Vec<String>>)]
    pub groups: Option<Value>,
    /// When it begins; of a recurring one: from when on it recurs, usually now.
    #[schema(value_type = Option<String>)]
    pub from: Option<Value>,
    /// When it ends; of a recurring one: when it stops to recur, usually never.
    #[schema(value_type = Option<String>)]
    pub until: Option<Value>,
    /// When a recurring one begins: five fields.
    #[schema(value_type = Option<String>)]
    pub cron: Option<Value>,
    /// Of the cron expression, such as `Europe/Berlin`; usually UTC.
    #[schema(value_type = Option<String>)]
    pub timezone: Option<Value>,
    /// How long a recurring one lasts each time: 60 to 604800.
    #[schema(value_type = Option<f64>)]
    pub duration_s: Option<Value>,
    /// A manual one that nobody ends is over after so long: 60 to 2592000, usually 86400.
    #[schema(value_type = Option<f64>)]
    pub longest_s: Option<Value>,
    /// Whether a manual one begins now; usually true.
    #[schema(value_type = Option<bool>)]
    pub start: Option<Value>,
}

/// What a document is checked against.
struct Checker<'a> {
    state: &'a ApiState,
    kept: Option<&'a Window>,
    now: Timestamp,
    fields: Fields,
}

impl WindowDocument {
    pub fn read(body: &Value) -> Result<WindowDocument, ApiError> {
        JsonBody(body.clone()).read()
    }

    /// A window as it would be sent.
    pub fn of(window: &Window) -> Map<String, Value> {
        let Scope { all, services, tags, groups } = &window.rule.scope;
        let text = |at: Timestamp| Some(Value::from(at.rfc3339()));
        let list = |names: &BTreeSet<String>| Some(names.iter().cloned().collect());
        let mut document = WindowDocument {
            title: Some(window.title.clone().into()),
            reason: Some(window.reason.clone().into()),
            kind: Some(window.rule.plan.kind().into()),
            all: Some((*all).into()),
            services: Some(services.iter().map(|service| service.0).collect()),
            tags: list(tags),
            groups: list(groups),
            ..WindowDocument::default()
        };
        match &window.rule.plan {
            Plan::Once(span) => (document.from, document.until) = (text(span.from), text(span.until)),
            Plan::Recurring { expression, zone, duration, since, until, .. } => {
                document.cron = Some(expression.to_string().into());
                document.timezone = Some(zone.name().into());
                document.duration_s = Some(duration.as_secs_f64().into());
                (document.from, document.until) = (text(*since), until.and_then(text));
            }
            Plan::Manual { longest, .. } => document.longest_s = Some(longest.as_secs_f64().into()),
        }
        match serde_json::to_value(document) {
            Ok(Value::Object(fields)) => fields,
            // It is a struct with text keys, so it always is an object.
            _ => Map::new(),
        }
    }

    /// A draft fit to be stored, or every mistake in it. `kept` is the window it changes.
    pub fn check(&self, state: &ApiState, kept: Option<&Window>) -> Result<Draft, Vec<Mistake>> {
        let mut checker = Checker { state, kept, now: state.clock.now(), fields: Fields::default() };
        let title = checker.fields.text("title", &self.title).unwrap_or_default();
        if !TITLE.contains(&title.chars().count()) {
            checker.fields.wrong("title", format!("must have {} to {} characters", TITLE.start(), TITLE.end()));
        }
        let reason = checker.fields.text("reason", &self.reason).unwrap_or_default();
        if reason.chars().count() > LONGEST_REASON {
            checker.fields.wrong("reason", format!("must have at most {LONGEST_REASON} characters"));
        }
        let scope = self.scope(&mut checker);
        let plan = self.plan(&mut checker);
        let begins = |plan: &Plan| match plan {
            Plan::Once(span) => Some(span.from),
            Plan::Recurring { since, .. } => Some(*since),
            Plan::Manual { .. } => None,
        };
        let same = kept.is_some_and(|kept| plan.as_ref().is_some_and(|plan| begins(plan) == begins(&kept.rule.plan)));
        if plan.as_ref().and_then(begins).is_some_and(|from| from < checker.now.minus(JUST_NOW)) && !same && reason.is_empty() {
            checker.fields.wrong("reason", "is required where history is counted anew");
        }
        match plan {
            Some(plan) if checker.fields.wrong.is_empty() => Ok(Draft { title, reason, rule: Rule { scope, plan } }),
            _ => Err(checker.fields.wrong),
        }
    }

    fn scope(&self, checker: &mut Checker<'_>) -> Scope {
        let all = checker.fields.boolean("all", &self.all).unwrap_or(false);
        let before = checker.kept.map(|window| window.rule.scope.clone()).unwrap_or_default();
        let mut services = BTreeSet::new();
        for (index, value) in checker.fields.list("services", &self.services).iter().enumerate() {
            // One that was deleted since may stay.
            let kept = || value.as_u64().and_then(|id| before.services.iter().find(|before| u64::from(before.0) == id)).copied();
            match service(checker.state, value).or_else(kept) {
                Some(id) => drop(services.insert(id)),
                None => checker.fields.wrong(&format!("services[{index}]"), format!("there is no service {value}")),
            }
        }
        let list = checker.state.services.list();
        let tags =
            checker.names("tags", &self.tags, &before.tags, |name| list.iter().any(|of| of.document.tags.iter().any(|tag| tag == name)));
        let groups =
            checker.names("groups", &self.groups, &before.groups, |name| list.iter().any(|of| of.document.group.as_deref() == Some(name)));
        let scope = Scope { all, services, tags, groups };
        // What was given and is wrong is told already.
        let tried =
            |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value.as_array().is_none_or(|list| !list.is_empty());
        let given = [&self.all, &self.services, &self.tags, &self.groups].into_iter().flatten().any(tried);
        if scope == Scope::default() && !given {
            checker.fields.wrong("services", "name services, tags or groups, or set all to true");
        }
        scope
    }

    fn plan(&self, checker: &mut Checker<'_>) -> Option<Plan> {
        let kind = match checker.fields.text("kind", &self.kind) {
            Some(kind) if ["once", "recurring", "manual"].contains(&kind.as_str()) => kind,
            Some(kind) => {
                checker.fields.wrong("kind", format!("must be once, recurring or manual, not {kind:?}"));
                return None;
            }
            None if self.cron.is_some() => "recurring".to_owned(),
            None if self.from.is_some() || self.until.is_some() => "once".to_owned(),
            None => {
                checker.fields.wrong("kind", "is required: once with from and until, recurring with cron and duration_s, or manual");
                return None;
            }
        };
        if let Some(kept) = checker.kept
            && kept.rule.plan.kind() != kind
        {
            checker.fields.wrong("kind", format!("cannot be changed from {}", kept.rule.plan.kind()));
            return None;
        }
        let of_others: &[(&str, &Option<Value>)] = match kind.as_str() {
            "once" => &[
                ("cron", &self.cron),
                ("timezone", &self.timezone),
                ("duration_s", &self.duration_s),
                ("longest_s", &self.longest_s),
                ("start", &self.start),
            ],
            "recurring" => &[("longest_s", &self.longest_s), ("start", &self.start)],
            _ => &[
                ("cron", &self.cron),
                ("timezone", &self.timezone),
                ("duration_s", &self.duration_s),
                ("from", &self.from),
                ("until", &self.until),
            ],
        };
        for (field, _) in of_others.iter().filter(|(_, value)| value.as_ref().is_some_and(|value| !value.is_null())) {
            checker.fields.wrong(field, format!("is not for a window that is {kind}"));
        }
        match kind.as_str() {
            "once" => self.once(checker),
            "recurring" => self.recurring(checker),
            _ => self.manual(checker),
        }
    }

    fn once(&self, checker: &mut Checker<'_>) -> Option<Plan> {
        checker.fields.required("from", &self.from);
        checker.fields.required("until", &self.until);
        let from = checker.time("from", &self.from);
        let until = checker.time("until", &self.until);
        let span = Span::new(from?, until?);
        if span.until <= span.from {
            checker.fields.wrong("until", "must be after from");
        } else if span.until.since(span.from) < SHORTEST {
            checker.fields.wrong("until", format!("must be at least {} s after from", SHORTEST.as_secs()));
        } else if span.until.since(span.from) > LONGEST {
            checker.fields.wrong("until", format!("must be at most {} days after from", LONGEST.as_secs() / 86_400));
        }
        Some(Plan::Once(span))
    }

    fn recurring(&self, checker: &mut Checker<'_>) -> Option<Plan> {
        let cron = checker.fields.text("cron", &self.cron);
        if cron.is_none() {
            checker.fields.wrong("cron", "is required");
        }
        let timezone = checker.fields.text("timezone", &self.timezone);
        let duration = checker.fields.number("duration_s", &self.duration_s, RECURRING);
        if duration.is_none() && self.duration_s.is_none() {
            checker.fields.wrong("duration_s", "is required");
        }
        let since = checker.time("from", &self.from).unwrap_or(checker.now);
        let until = checker.time("until", &self.until);
        if until.is_some_and(|until| until <= since) {
            checker.fields.wrong("until", "must be after from");
        }
        let parsed = match parse_cron(&cron?, timezone.as_deref(), None) {
            Ok(parsed) => parsed,
            Err(mistakes) => {
                checker.fields.wrong.extend(mistakes);
                return None;
            }
        };
        let Schedule::Cron { expression, pattern, zone, .. } = parsed else { return None };
        let duration = Duration::from_secs_f64(duration?);
        let plan = Plan::Recurring { expression: expression.clone(), pattern, zone, duration, since, until };
        let mut begins = plan.begins(checker.now, true);
        if begins.is_none() {
            checker.fields.wrong("cron", format!("{expression:?} names a time that never comes"));
        }
        let first = plan.begins(since, true);
        if let (None, Some(first), Some(until)) = (checker.kept, first, until)
            && first >= until
        {
            checker.fields.wrong("until", format!("is before the first time of {expression:?}, {}: it would never begin", first.rfc3339()));
        }
        for _ in 0..LOOKED_AT {
            let Some(at) = begins else { break };
            begins = plan.begins(at, false);
            let Some(gap) = begins.map(|next| next.since(at)) else { break };
            if gap < CLOSEST {
                checker
                    .fields
                    .wrong("cron", format!("begins every {} s; it may every {} minutes at most", gap.as_secs(), CLOSEST.as_secs() / 60));
                break;
            }
            if gap <= duration {
                checker
                    .fields
                    .wrong("duration_s", format!("is not less than the {} s to its next time: it would never end", gap.as_secs()));
                break;
            }
        }
        Some(plan)
    }

    fn manual(&self, checker: &mut Checker<'_>) -> Option<Plan> {
        let longest = checker.fields.number("longest_s", &self.longest_s, MANUAL).unwrap_or(USUAL_MANUAL);
        let longest = Duration::from_secs_f64(longest);
        let start = checker.fields.boolean("start", &self.start);
        let sessions = match checker.kept.map(|window| &window.rule.plan) {
            Some(Plan::Manual { sessions, .. }) => {
                if start.is_some() {
                    checker.fields.wrong("start", "a window that is there is started by POST …/start/ and ended by POST …/end/");
                }
                sessions.clone()
            }
            _ if start.unwrap_or(true) => vec![Span::new(checker.now, checker.now.plus(longest))],
            _ => Vec::new(),
        };
        Some(Plan::Manual { sessions, longest })
    }
}

impl Checker<'_> {
    /// A time that makes sense for a window.
    fn time(&mut self, field: &str, value: &Option<Value>) -> Option<Timestamp> {
        let at = self.fields.time(field, value)?;
        let earliest = Timestamp::parse(EARLIEST).unwrap_or_default();
        let sensible = earliest <= at && at <= self.now.plus(AHEAD);
        if !sensible {
            self.fields.wrong(field, "must be within the years from 2000 to ten years from now");
        }
        sensible.then_some(at)
    }

    /// Names that some service has, or that the window had before.
    fn names(&mut self, field: &str, value: &Option<Value>, before: &BTreeSet<String>, known: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (index, value) in self.fields.list(field, value).into_iter().enumerate() {
            match value {
                Value::String(name) if before.contains(&name) || known(&name) => drop(names.insert(name)),
                other => self.fields.wrong(&format!("{field}[{index}]"), format!("no service has {other}")),
            }
        }
        names
    }
}
