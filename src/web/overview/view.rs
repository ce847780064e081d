//! What the overview shows, made from what is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use askama::Template;

use crate::aggregate::board::{RegionState, ServiceState, UPTIME_WINDOW};
use crate::aggregate::rollup::MINUTE;
use crate::aggregate::strip::{CELL, Cell, MINUTES, first_minute, first_start};
use crate::aggregate::verdict::Verdict;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::id::ServiceId;
use crate::model::time::Timestamp;
use crate::store::findings::FindingQuery;
use crate::store::incidents::IncidentSpan;
use crate::web::frame::Frame;
use crate::web::moment::{Moment, latency_of, percent, since_made, since_made_of};
use crate::web::overview::Spans;
use crate::web::sentence::{Counts, Sentence, sentence};
use crate::web::svg::{State, sparkline, states, strip, strip_by};
use crate::web::text::Text;

/// The order within a group.
const WORST_FIRST: [&str; 6] = ["down", "degraded", "unknown", "maintenance", "up", "disabled"];
/// Open incidents named one by one.
const OPEN_SHOWN: usize = 5;
/// How long an uptime of a service in trouble is shown as it is.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// What is worked out of a service so soon after it came holds little.
const EARLY: Duration = Duration::from_secs(600);
/// Minutes of a cell where an hour is shown.
const SPANS: [usize; 7] = [1, 2, 3, 5, 6, 10, 15];
/// Coverage from which on it is not worth a word.
const COVERED: f64 = 0.99;

#[derive(Template)]
#[template(path = "overview.html")]
pub struct OverviewPage {
    pub frame: Frame,
    pub head: HeadPart,
    pub groups: Vec<Group>,
    /// The key of what the strips are of.
    pub hours: &'static str,
    /// Nothing is watched at all.
    pub empty: bool,
    pub tags: Vec<String>,
    pub group_names: Vec<String>,
    pub regions: Vec<String>,
    pub wanted: Wanted,
}

#[derive(Template)]
#[template(path = "parts/overview_head.html")]
pub struct HeadPart {
    t: Text,
    sentence: Sentence,
    chips: Vec<Chip>,
    regions: Vec<RegionLine>,
    incidents: Vec<OpenIncident>,
    more: usize,
    newest: Option<Moment>,
    watched: usize,
    /// Anomalies that go on.
    odd: u64,
}

#[derive(Template)]
#[template(path = "parts/rows.html")]
pub struct RowsPart {
    pub rows: Vec<Row>,
}

/// A count that filters.
pub struct Chip {
    verdict: &'static str,
    word: &'static str,
    count: usize,
}

pub struct RegionLine {
    name: String,
    word: &'static str,
}

pub struct OpenIncident {
    id: String,
    name: String,
    severity: &'static str,
    first_line: String,
    since: Moment,
    acknowledged_by: Option<String>,
}

pub struct Group {
    /// `None`: there are no groups at all.
    pub name: Option<String>,
    pub summary: String,
    pub rows: Vec<Row>,
}

/// One service.
pub struct Row {
    id: u32,
    name: String,
    url: String,
    verdict: &'static str,
    word: &'static str,
    group: String,
    tags: Vec<String>,
    /// What is wrong, where something is.
    why: Option<String>,
    strip: String,
    /// The strip is of the last hour.
    is_new: bool,
    spark: String,
    latency: String,
    uptime: String,
    coverage: Option<String>,
    regions: Vec<Dot>,
    /// The regions in words.
    places: String,
    pub shown: bool,
}

pub struct Dot {
    status: &'static str,
}

impl Row {
    fn tag_list(&self) -> String {
        self.tags.join(",")
    }

    fn region_list(&self) -> String {
        self.places.clone()
    }
}

/// What is filtered for.
#[derive(Debug, Default)]
pub struct Wanted {
    pub search: String,
    pub verdict: String,
    pub tag: String,
    pub group: String,
    pub region: String,
}

impl Wanted {
    pub fn of(query: &Query) -> Wanted {
        let text = |name: &str| query.text(name).unwrap_or_default().trim().to_owned();
        Wanted { search: text("q"), verdict: text("verdict"), tag: text("tag"), group: text("group"), region: text("region") }
    }

    fn shows(&self, row: &Row) -> bool {
        let search = self.search.to_lowercase();
        let texts = [&row.name, &row.url, &row.group];
        let found = search.is_empty() || texts.into_iter().chain(&row.tags).any(|text| text.to_lowercase().contains(&search));
        found
            && (self.verdict.is_empty() || row.verdict == self.verdict)
            && (self.tag.is_empty() || row.tags.contains(&self.tag))
            && (self.group.is_empty() || row.group == self.group)
            && (self.region.is_empty() || row.places.split(", ").any(|place| place.split(' ').next() == Some(&self.region)))
    }
}

impl OverviewPage {
    pub fn hours(rows: &[Row]) -> &'static str {
        match rows.iter().filter(|row| row.is_new).count() {
            0 => "overview.hours",
            new if new == rows.len() => "overview.hour",
            _ => "overview.hours_or_hour",
        }
    }

    pub fn tags(rows: &[Row]) -> Vec<String> {
        rows.iter().flat_map(|row| row.tags.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub fn group_names(rows: &[Row]) -> Vec<String> {
        rows.iter().map(|row| row.group.clone()).filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub fn regions(rows: &[Row]) -> Vec<String> {
        let places = rows.iter().flat_map(|row| row.places.split(", ").filter_map(|place| place.split(' ').next()));
        places.filter(|name| !name.is_empty()).map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl HeadPart {
    fn odd_text(&self) -> String {
        self.t.count("overview.odd_one", "overview.odd_many", self.odd)
    }

    fn more_text(&self) -> String {
        self.t.count("overview.more_incident", "overview.more_incidents", self.more as u64)
    }

    pub fn new(t: Text, state: &ApiState, services: &[ServiceState], now: Timestamp) -> HeadPart {
        let spans = state.incidents.spans(now);
        let opened = |service: &ServiceState| {
            spans.iter().filter(|span| span.service == service.id && span.closed_at.is_none()).map(|span| span.opened_at).min()
        };
        let silent = state.membership.silent();
        let heard: BTreeSet<&str> = services.iter().flat_map(|service| service.regions.iter().map(|region| &*region.region.0)).collect();
        let voting = heard.iter().filter(|name| !silent.contains_key(&(**name).into())).count();
        let counts = Counts::of(services);
        let chip = |verdict: Verdict, count| Chip { verdict: verdict.name(), word: t.word("verdict", verdict.name()), count };
        let chips = [
            chip(Verdict::Down, counts.down),
            chip(Verdict::Degraded, counts.degraded),
            chip(Verdict::Unknown, counts.unknown),
            chip(Verdict::Up, counts.up),
            chip(Verdict::Maintenance, counts.maintenance),
            chip(Verdict::Disabled, counts.disabled),
        ];
        // What is being worked on as planned is no cause to come running.
        let maintained: BTreeSet<ServiceId> =
            services.iter().filter(|service| service.verdict == Verdict::Maintenance).map(|service| service.id).collect();
        let mut open = state.incidents.open_now();
        open.retain(|stored| !maintained.contains(&stored.incident.service));
        let count = open.len();
        let incidents: Vec<OpenIncident> = open
            .into_iter()
            .take(OPEN_SHOWN)
            .map(|stored| OpenIncident {
                id: stored.incident.id.to_string(),
                name: stored.incident.name.to_string(),
                severity: if stored.incident.severity.name() == "critical" { "down" } else { "degraded" },
                first_line: t.first_line(&stored.incident.first_line),
                since: Moment::short(stored.incident.opened_at),
                acknowledged_by: stored.acknowledged.map(|by| by.by),
            })
            .collect();
        let regions = silent.iter().filter(|(name, _)| heard.contains(&*name.0));
        HeadPart {
            t,
            sentence: sentence(t, services, voting, opened),
            chips: chips.into_iter().filter(|chip| chip.count > 0).collect(),
            regions: regions
                .map(|(name, reason)| RegionLine { name: name.to_string(), word: t.word("node_state", reason.name()) })
                .collect(),
            more: count - incidents.len(),
            incidents,
            newest: services.iter().filter_map(|service| service.latest.as_ref()).map(|latest| latest.started_at).max().map(Moment::ago),
            odd: state.findings.count(&FindingQuery { open: Some(true), ..FindingQuery::default() }),
            watched: services.len(),
        }
    }
}

/// Rows of services, in the order of the services.
pub fn rows_of(t: Text, state: &ApiState, services: Vec<ServiceState>, now: Timestamp) -> Vec<Row> {
    let first = first_start(now);
    let spans = state.incidents.spans(first);
    let mut by_service = Spans::new();
    spans.iter().for_each(|span| by_service.entry(span.service).or_default().push(span));
    services
        .into_iter()
        .map(|service| {
            let incidents = by_service.get(&service.id).map_or(&[][..], Vec::as_slice);
            let hour = state.strips.first_hour(service.id, now).and_then(|minutes| {
                let gap = state.board.rule(service.id, now)?.gap;
                of_hour(t, &minutes, gap, incidents, now)
            });
            let is_new = hour.is_some();
            let (strip, spark) = hour.unwrap_or_else(|| of_day(t, &state.strips.of(service.id, now), incidents, first));
            let stored = state.services.get(service.id);
            let made = stored.as_ref().map_or(Timestamp(i64::MIN / 2), |stored| stored.created_at);
            let (ratio, coverage) = day_uptime(state, &service, made, now);
            let document = stored.as_ref().map(|stored| &stored.document);
            let url = document.map(|document| {
                format!("{}{}", document.base_url.as_deref().unwrap_or_default(), document.health_path.as_deref().unwrap_or_default())
            });
            Row {
                id: service.id.0,
                strip,
                is_new,
                spark,
                latency: service.latest.as_ref().map_or_else(|| "–".to_owned(), |latest| latency_of(latest.latency)),
                uptime: ratio.map_or_else(|| "–".to_owned(), percent),
                coverage: ratio.filter(|_| coverage < COVERED).map(|_| t.one("overview.coverage", percent(coverage))),
                word: t.word("verdict", service.verdict.name()),
                verdict: service.verdict.name(),
                why: why(t, &service),
                places: service
                    .regions
                    .iter()
                    .map(|region| format!("{} {}", region.region, t.word("region_status", region.status.name())))
                    .collect::<Vec<_>>()
                    .join(", "),
                regions: service.regions.iter().map(|region| Dot { status: dot(region) }).collect(),
                url: url.unwrap_or_default(),
                name: service.name.to_string(),
                group: service.group.unwrap_or_default(),
                tags: service.tags,
                shown: true,
            }
        })
        .collect()
}

/// Up-time over known time of the last 24 hours, and how much of them is known, of a service that came within them since it did. What was worked out is worked out again,
/// behind the page, where it is old and the service is in trouble or had only just come; until then the board knows more of such a one.
fn day_uptime(state: &ApiState, service: &ServiceState, made: Timestamp, now: Timestamp) -> (Option<f64>, f64) {
    let by_hours = || (service.uptime.ratio, since_made(service.uptime.coverage, UPTIME_WINDOW, made, now).0);
    match state.uptimes.get(service.id) {
        Some(known) => {
            let day = known.windows.first().filter(|day| day.ratio.is_some());
            let day = day.map(|day| (day.ratio, since_made_of(day, known.at, made).0));
            let on_board = by_hours();
            let is_behind = known.at.since(made) < EARLY && day.is_none_or(|day| day.1 + 0.01 < on_board.1);
            if (service.verdict != Verdict::Up || is_behind) && now.since(known.at) > GOOD_FOR {
                state.uptimes.nudge([service.id]);
            }
            day.filter(|_| !is_behind).unwrap_or(on_board)
        }
        None => by_hours(),
    }
}

/// Strip and line of the last 24 hours.
fn of_day(t: Text, cells: &[Cell], incidents: &[&IncidentSpan], first: Timestamp) -> (String, String) {
    let states = states(cells, incidents, first, CELL);
    let (bad, none) = counted(&states);
    let label = t.with("overview.strip", &[("bad", &bad), ("none", &none)]);
    // Two half hours to a point.
    let line: Vec<Option<f64>> = cells
        .chunks(2)
        .map(|pair| {
            let means: Vec<f64> = pair.iter().filter_map(Cell::mean_us).collect();
            (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
        })
        .collect();
    (strip(&states, &label), sparkline(&line))
}

/// Strip and line of the last hour, by so many minutes that each holds a check. `None`: it is checked too seldom for that.
fn of_hour(t: Text, minutes: &[Cell; MINUTES], gap: Duration, incidents: &[&IncidentSpan], now: Timestamp) -> Option<(String, String)> {
    let each = SPANS.into_iter().find(|minutes| gap <= Duration::from_secs(*minutes as u64 * 60))?;
    let (step, count) = (each as i64 * MINUTE, MINUTES / each);
    let first = Timestamp((now.0.div_euclid(step) + 1 - count as i64) * step);
    // Spans begin with a full one of their length, so that the first minutes may be of one that is no longer shown.
    let before = ((first.0 - first_minute(now).0) / MINUTE) as usize;
    let cells: Vec<Cell> = minutes[before..]
        .chunks(each)
        .map(|minutes| {
            minutes.iter().fold(Cell::default(), |mut sum, cell| {
                sum.add(cell);
                sum
            })
        })
        .collect();
    let states = states(&cells, incidents, first, step);
    let (bad, none) = counted(&states);
    let words = [("bad", bad.as_str()), ("none", &none), ("count", &count.to_string()), ("minutes", &each.to_string())];
    let line: Vec<Option<f64>> = cells.iter().map(Cell::mean_us).collect();
    Some((strip_by(&states, &t.with("overview.strip_hour", &words), step, t.s("overview.hour")), sparkline(&line)))
}

/// How many cells had trouble, and how many were not measured.
fn counted(states: &[State]) -> (String, String) {
    let count = |wanted: &[State]| states.iter().filter(|state| wanted.contains(state)).count().to_string();
    (count(&[State::Partly, State::Down]), count(&[State::Unknown]))
}

/// What is wrong with a service that is not simply up.
fn why(t: Text, service: &ServiceState) -> Option<String> {
    if !matches!(service.verdict, Verdict::Down | Verdict::Degraded) {
        return None;
    }
    let failing = service.regions.iter().find(|region| region.latest.failure.is_some()).and_then(|region| region.latest.failure.as_ref());
    match failing {
        Some(failure) => Some(format!("{}: {}", t.word("reason", failure.reason.name()), failure.message)),
        None => Some(t.s("sentence.slow").to_owned()),
    }
}

fn dot(region: &RegionState) -> &'static str {
    match region.slow && region.status.name() == "up" {
        true => "slow",
        false => region.status.name(),
    }
}

/// Rows by group, those without one last; within a group what needs a look comes first.
pub fn groups(t: Text, rows: Vec<Row>, wanted: &Wanted) -> Vec<Group> {
    let grouped = rows.iter().any(|row| !row.group.is_empty());
    let mut by_group: BTreeMap<(bool, String), Vec<Row>> = BTreeMap::new();
    for mut row in rows {
        row.shown = wanted.shows(&row);
        by_group.entry((row.group.is_empty(), row.group.to_lowercase())).or_default().push(row);
    }
    let group = |mut rows: Vec<Row>| {
        rows.sort_by_cached_key(|row| (WORST_FIRST.iter().position(|verdict| *verdict == row.verdict), row.name.to_lowercase()));
        let up = rows.iter().filter(|row| row.verdict == "up").count();
        let watched = rows.iter().filter(|row| !matches!(row.verdict, "disabled" | "maintenance")).count();
        let name = rows.first().map(|row| row.group.clone()).filter(|name| !name.is_empty());
        Group {
            name: grouped.then(|| name.unwrap_or_else(|| t.s("overview.no_group").to_owned())),
            summary: match watched {
                0 => t.s("overview.group_idle").to_owned(),
                _ => t.with("overview.group_up", &[("up", &up.to_string()), ("count", &watched.to_string())]),
            },
            rows,
        }
    };
    let mut groups: Vec<Group> = by_group.into_values().map(group).collect();
    // Those with something down before the others, each part by name.
    groups.sort_by_key(|group| !group.rows.iter().any(|row| row.verdict == "down"));
    groups
}
