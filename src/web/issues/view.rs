//! What the pages of issues show.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;

use crate::api::error::ApiError;
use crate::api::markdown::render;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::issue::{Comment, Issue, IssueChange, IssueStatus, IssueType, Priority};
use crate::store::issues::IssueFilter;
use crate::tracker::statistics::{SOON, Spans, statistics};
use crate::tracker::workflow::steps;
use crate::web::frame::{Frame, Section};
use crate::web::moment::{Moment, percent, span};
use crate::web::text::Text;
use crate::web::visit::Visit;

/// Issues of a page of the list, and of a column.
const PAGE: usize = 50;
const COLUMN: usize = 25;
/// The period of the statistics.
const PERIOD: Duration = Duration::from_secs(30 * 86_400);

/// The columns of the board.
const COLUMNS: [&[IssueStatus]; 9] = [
    &[IssueStatus::Reported],
    &[IssueStatus::Triaged],
    &[IssueStatus::Assigned],
    &[IssueStatus::InProgress],
    &[IssueStatus::Testing],
    &[IssueStatus::Resolved],
    &[IssueStatus::Verified],
    &[IssueStatus::Closed],
    &[IssueStatus::WontDo],
];

#[derive(Template)]
#[template(path = "issues.html")]
pub struct ListPage {
    frame: Frame,
    problem: Option<String>,
    tiles: Vec<(&'static str, String, String)>,
    /// `board` or `list`
    board: bool,
    board_link: String,
    list_link: String,
    columns: Vec<Column>,
    rows: Vec<Card>,
    count: usize,
    none_at_all: bool,
    selects: Vec<Select>,
    search: String,
    previous: Option<String>,
    next: Option<String>,
}

impl ListPage {
    fn count_text(&self) -> String {
        self.frame.t.count("issue.count_one", "issue.count", self.count as u64)
    }
}

struct Select {
    name: &'static str,
    label: &'static str,
    options: Vec<(String, String, bool)>,
}

struct Column {
    /// What it is for a script: the status of whatever is put into it.
    status: &'static str,
    name: &'static str,
    count: usize,
    cards: Vec<Card>,
    /// Those beyond the first.
    more: Option<(usize, String)>,
}

pub struct Card {
    pub id: u64,
    pub title: String,
    pub kind: &'static str,
    pub priority: &'static str,
    pub priority_word: &'static str,
    pub status: &'static str,
    pub assignee: Option<String>,
    pub labels: Vec<String>,
    pub service: Option<String>,
    pub updated: Moment,
    pub comments: Option<String>,
    pub revision: u64,
    /// The name of the status, for a form to send along.
    pub from: &'static str,
    /// Where it may go from here.
    pub steps: Vec<Step>,
}

impl Card {
    /// The names of the steps, for a script.
    fn step_names(&self) -> String {
        let names: Vec<String> = self.steps.iter().map(|step| format!("{}{}", step.status, if step.onwards { "" } else { "?" })).collect();
        names.join(" ")
    }
}

#[derive(Template)]
#[template(path = "issue.html")]
pub struct IssuePage {
    frame: Frame,
    card: Card,
    reporter: String,
    created: Moment,
    description: String,
    service: Option<(u32, String, bool)>,
    incident: Option<String>,
    finding: Option<String>,
    by_program: bool,
    people: Vec<String>,
    comments: Vec<Said>,
    history: Vec<Entry>,
    problem: Option<String>,
    /// What was typed when something was wrong with it.
    typed: String,
}

pub struct Step {
    pub status: &'static str,
    pub word: &'static str,
    /// Onwards, and not away: it needs no word.
    pub onwards: bool,
}

struct Said {
    number: u32,
    author: String,
    at: Moment,
    html: String,
    edited: Option<Moment>,
}

struct Entry {
    at: Moment,
    who: String,
    why: String,
    fields: Vec<(String, String, String)>,
}

impl ListPage {
    pub fn new(visit: &Visit, state: &ApiState, query: &Query, mut found: Vec<Arc<Issue>>, problem: Option<String>) -> ListPage {
        let t = Text(visit.look.lang);
        let wanted = |name: &str| query.text(name).unwrap_or_default().to_owned();
        let board = query.text("view") != Some("list");
        // The most urgent first, then what was touched last.
        found.sort_by_key(|issue| (std::cmp::Reverse(issue.priority), std::cmp::Reverse(issue.updated_at)));
        let page = query.page().unwrap_or(1);
        let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(PAGE);
        let relative = |name: &str, value: &str| {
            let whole = query.with(name, value);
            format!("/issues?{}", whole.split_once('?').map_or("", |(_, query)| query))
        };
        let columns = COLUMNS.iter().map(|statuses| {
            let own: Vec<&Arc<Issue>> = found.iter().filter(|issue| statuses.contains(&issue.status)).collect();
            let names = statuses.iter().map(|status| status.name()).collect::<Vec<_>>().join(",");
            let more = own.len().saturating_sub(COLUMN);
            Column {
                status: statuses[0].name(),
                name: t.word("issue_status", statuses[0].name()),
                count: own.len(),
                cards: own.iter().take(COLUMN).map(|issue| Card::new(t, issue)).collect(),
                more: (more > 0).then(|| (more, format!("/issues?view=list&status={names}"))),
            }
        });
        let columns: Vec<Column> = if board { columns.collect() } else { Vec::new() };
        let rows = if board { Vec::new() } else { found.iter().skip(skip).take(PAGE).map(|issue| Card::new(t, issue)).collect() };
        ListPage {
            frame: Frame::new(visit, Section::Issues, t.s("nav.issues")),
            problem,
            tiles: tiles(t, state),
            board,
            board_link: relative("view", "board"),
            list_link: relative("view", "list"),
            columns,
            rows,
            count: found.len(),
            none_at_all: state.tracker.issues.list(&IssueFilter::default()).is_empty(),
            selects: selects(t, state, query),
            search: wanted("search"),
            previous: (!board && page > 1).then(|| relative("page", &(page - 1).to_string())),
            next: (!board && skip.saturating_add(PAGE) < found.len()).then(|| relative("page", &(page + 1).to_string())),
        }
    }
}

fn tiles(t: Text, state: &ApiState) -> Vec<(&'static str, String, String)> {
    let now = state.clock.now();
    let found = statistics(&state.tracker.issues.list(&IssueFilter::default()), now.minus(PERIOD), now);
    let took = |took: Option<Duration>| took.map_or_else(|| "–".to_owned(), |took| span(t, took));
    let tail = |spans: &Spans| t.one("issue.tile_p95", took(spans.p95));
    let soon = found.soon.map_or_else(|| "–".to_owned(), percent);
    vec![
        ("issue.tile_open", found.all.open.to_string(), t.one("issue.tile_in_progress", found.all.in_progress)),
        ("issue.tile_age", took(found.age_of_open.median), t.one("issue.tile_oldest", took(found.age_of_open.longest))),
        ("issue.tile_new", found.created.to_string(), t.s("issue.tile_period").to_owned()),
        ("issue.tile_triage", took(found.to_triage.median), tail(&found.to_triage)),
        ("issue.tile_resolve", took(found.to_resolve.median), tail(&found.to_resolve)),
        ("issue.tile_soon", soon, t.one("issue.tile_under", span(t, SOON))),
    ]
    .into_iter()
    .map(|(key, value, small)| (t.s(key), value, small))
    .collect()
}

fn selects(t: Text, state: &ApiState, query: &Query) -> Vec<Select> {
    let select = |name: &'static str, any: &'static str, options: Vec<(String, String)>| {
        let wanted = query.text(name).unwrap_or_default();
        let mut all = vec![(String::new(), t.s(any).to_owned(), wanted.is_empty())];
        all.extend(options.into_iter().map(|(value, word)| (value.clone(), word, value == wanted)));
        Select { name, label: t.s(any), options: all }
    };
    let words = |group: &'static str, names: Vec<&'static str>| -> Vec<(String, String)> {
        names.into_iter().map(|name| (name.to_owned(), t.word(group, name).to_owned())).collect()
    };
    let all = state.tracker.issues.list(&IssueFilter::default());
    let mut labels: Vec<&String> = all.iter().flat_map(|issue| &issue.labels).collect();
    labels.sort_unstable();
    labels.dedup();
    let mut people: Vec<&String> = all.iter().filter_map(|issue| issue.assignee.as_ref()).collect();
    people.sort_unstable();
    people.dedup();
    let same = |names: Vec<&String>| names.into_iter().map(|name| (name.clone(), name.clone())).collect();
    vec![
        select(
            "open",
            "issue.any_state",
            vec![("true".to_owned(), t.s("issue.open").to_owned()), ("false".to_owned(), t.s("issue.done").to_owned())],
        ),
        select("status", "issue.any_status", words("issue_status", IssueStatus::ALL.map(IssueStatus::name).to_vec())),
        select("issue_type", "issue.any_type", words("issue_type", IssueType::ALL.map(IssueType::name).to_vec())),
        select("priority", "issue.any_priority", words("priority", Priority::ALL.map(Priority::name).to_vec())),
        select("assignee", "issue.anybody", same(people)),
        select("label", "issue.any_label", same(labels)),
    ]
}

impl Card {
    fn new(t: Text, issue: &Issue) -> Card {
        Card {
            id: issue.id.0,
            title: issue.title.clone(),
            kind: t.word("issue_type", issue.issue_type.name()),
            priority: issue.priority.name(),
            priority_word: t.word("priority", issue.priority.name()),
            status: t.word("issue_status", issue.status.name()),
            assignee: issue.assignee.clone(),
            labels: issue.labels.clone(),
            service: issue.service.as_ref().map(|service| service.name.clone()),
            updated: Moment::ago(issue.updated_at),
            revision: issue.revision,
            from: issue.status.name(),
            steps: steps(issue.status).iter().map(|status| Step::new(t, issue, *status)).collect(),
            comments: (issue.comments > 0).then(|| t.count("issue.comment_one", "issue.comment_many", issue.comments.into())),
        }
    }
}

impl IssuePage {
    pub async fn new(
        visit: &Visit,
        state: &ApiState,
        issue: &Issue,
        problem: Option<String>,
        typed: String,
    ) -> Result<IssuePage, ApiError> {
        let t = Text(visit.look.lang);
        let store = &state.tracker.issues;
        Ok(IssuePage {
            frame: Frame::new(visit, Section::Issues, format!("#{} {}", issue.id, issue.title)),
            card: Card::new(t, issue),
            reporter: issue.reporter.clone(),
            created: Moment::full(issue.created_at),
            description: render(&store.description(issue.id).await?),
            service: issue.service.as_ref().map(|of| (of.id.0, of.name.clone(), state.services.get(of.id).is_some())),
            incident: issue.incident.as_ref().map(ToString::to_string),
            finding: issue.finding.as_ref().map(ToString::to_string),
            by_program: issue.cause.is_some(),
            people: state.users.list().iter().map(|user| user.username.clone()).collect(),
            comments: store.comments(issue.id, 1, issue.comments).await?.iter().map(Said::from).collect(),
            history: store.changes(issue.id, 1, issue.changes).await?.into_iter().rev().map(|change| Entry::new(t, change)).collect(),
            problem,
            typed,
        })
    }
}

impl Step {
    fn new(t: Text, issue: &Issue, status: IssueStatus) -> Step {
        let onwards = status > issue.status && status != IssueStatus::WontDo;
        Step { status: status.name(), word: t.word("issue_status", status.name()), onwards }
    }
}

impl From<&Comment> for Said {
    fn from(comment: &Comment) -> Said {
        Said {
            number: comment.number,
            author: comment.author.clone(),
            at: Moment::full(comment.created_at),
            html: render(&comment.body),
            edited: comment.edits.last().map(|edit| Moment::full(edit.at)),
        }
    }
}

impl Entry {
    fn new(t: Text, change: IssueChange) -> Entry {
        let fields = change.fields.into_iter().map(|field| {
            let shown = |value: Option<String>| match (field.field.as_str(), value) {
                (_, None) => "–".to_owned(),
                ("status", Some(value)) => t.word("issue_status", &value).to_owned(),
                ("priority", Some(value)) => t.word("priority", &value).to_owned(),
                ("issue_type", Some(value)) => t.word("issue_type", &value).to_owned(),
                // A description is long, and what is new of it stands above.
                ("description", Some(_)) => "…".to_owned(),
                (_, Some(value)) => value,
            };
            (t.word("issue_field", &field.field).to_owned(), shown(field.from), shown(field.to))
        });
        Entry { at: Moment::full(change.at), who: change.who, fields: fields.collect(), why: change.why }
    }
}
