//! What the overview shows, made from what is in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use askama::Template;

use crate::aggregate::board::{RegionState, ServiceState};
use crate::aggregate::strip::first_start;
use crate::aggregate::verdict::Verdict;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::time::Timestamp;
use crate::store::findings::FindingQuery;
use crate::web::frame::Frame;
use crate::web::moment::{Moment, latency_of, percent};
use crate::web::overview::Spans;
use crate::web::sentence::{Counts, Sentence, sentence};
use crate::web::svg::{State, sparkline, states, strip};
use crate::web::text::Text;

/// Open incidents named one by one.
const OPEN_SHOWN: usize = 5;
/// How long an uptime of a service in trouble is shown as it is.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// Coverage from which on it is not worth a word.
const COVERED: f64 = 0.99;

#[derive(Template)]
#[template(path = "overview.html")]
pub struct OverviewPage {
    pub frame: Frame,
    pub head: HeadPart,
    pub groups: Vec<Group>,
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
        let open = state.incidents.open_now();
        let count = open.len();
        let incidents: Vec<OpenIncident> = open
            .into_iter()
            .take(OPEN_SHOWN)
            .map(|stored| OpenIncident {
                id: stored.incident.id.to_string(),
                name: stored.incident.name.to_string(),
                severity: if stored.incident.severity.name() == "critical" { "down" } else { "degraded" },
                first_line: stored.incident.first_line,
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
            let cells = state.strips.of(service.id, now);
            let incidents = by_service.get(&service.id).map_or(&[][..], Vec::as_slice);
            let states = states(&cells, incidents, first);
            let label = strip_label(t, &states);
            let (ratio, coverage) = day_uptime(state, &service, now);
            // Two half hours to a point.
            let line: Vec<Option<f64>> = cells
                .chunks(2)
                .map(|pair| {
                    let means: Vec<f64> = pair.iter().filter_map(|cell| cell.mean_us()).collect();
                    (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
                })
                .collect();
            let stored = state.services.get(service.id);
            let document = stored.as_ref().map(|stored| &stored.document);
            let url = document.map(|document| {
                format!("{}{}", document.base_url.as_deref().unwrap_or_default(), document.health_path.as_deref().unwrap_or_default())
            });
            Row {
                id: service.id.0,
                strip: strip(&states, &label),
                spark: sparkline(&line),
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

/// Up-time over known time of the last 24 hours, and how much of them is known. What was worked out is worked out again,
/// behind the page, where it is old and the service is in trouble.
pub fn day_uptime(state: &ApiState, service: &ServiceState, now: Timestamp) -> (Option<f64>, f64) {
    match state.uptimes.get(service.id) {
        Some(known) => {
            if service.verdict != Verdict::Up && now.since(known.at) > GOOD_FOR {
                state.uptimes.nudge([service.id]);
            }
            let day = known.windows.first().filter(|day| day.ratio.is_some());
            day.map_or((service.uptime.ratio, service.uptime.coverage), |day| (day.ratio, day.coverage))
        }
        None => (service.uptime.ratio, service.uptime.coverage),
    }
}

/// The strip in words.
fn strip_label(t: Text, states: &[State]) -> String {
    let count = |wanted: &[State]| states.iter().filter(|state| wanted.contains(state)).count().to_string();
    t.with("overview.strip", &[("bad", &count(&[State::Partly, State::Down])), ("none", &count(&[State::Unknown]))])
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

/// Rows by group, in order of name; those without one come last.
pub fn groups(t: Text, rows: Vec<Row>, wanted: &Wanted) -> Vec<Group> {
    let grouped = rows.iter().any(|row| !row.group.is_empty());
    let mut by_group: BTreeMap<(bool, String), Vec<Row>> = BTreeMap::new();
    for mut row in rows {
        row.shown = wanted.shows(&row);
        by_group.entry((row.group.is_empty(), row.group.to_lowercase())).or_default().push(row);
    }
    let group = |mut rows: Vec<Row>| {
        rows.sort_by_cached_key(|row| row.name.to_lowercase());
        let up = rows.iter().filter(|row| row.verdict == "up").count();
        let watched = rows.iter().filter(|row| !matches!(row.verdict, "disabled" | "maintenance")).count();
        let name = rows.first().map(|row| row.group.clone()).filter(|name| !name.is_empty());
        Group {
            name: grouped.then(|| name.unwrap_or_else(|| t.s("overview.no_group").to_owned())),
            summary: t.with("overview.group_up", &[("up", &up.to_string()), ("count", &watched.to_string())]),
            rows,
        }
    };
    by_group.into_values().map(group).collect()
}
