//! What the pages of digests show.

use std::time::Duration;

use askama::Template;

use crate::api::error::ApiError;
use crate::api::markdown::render;
use crate::api::query::Query;
use crate::api::state::ApiState;
use crate::model::digest::{Digest, Writer};
use crate::model::finding::Finding;
use crate::model::id::ServiceId;
use crate::store::digests::{DigestFilter, DigestScope};
use crate::store::findings::FindingQuery;
use crate::store::incidents::{IncidentFilter, StoredIncident};
use crate::web::digests::facts::{Table, tables, tiles};
use crate::web::frame::{Frame, Section};
use crate::web::moment::{Moment, span};
use crate::web::text::Text;
use crate::web::visit::Visit;

const PAGE: usize = 25;
/// Incidents and findings of a period that are named one by one.
const NAMED: usize = 20;
/// Periods that may be asked for, in hours.
const HOURS: [u32; 6] = [1, 6, 24, 72, 168, 720];

#[derive(Template)]
#[template(path = "digests.html")]
pub struct ListPage {
    frame: Frame,
    notice: Option<Notice>,
    rows: Vec<Row>,
    none_at_all: bool,
    services: Vec<(u32, String)>,
    wanted_service: String,
    wanted_writer: String,
    writers: Vec<(&'static str, &'static str)>,
    hours: Vec<(u32, String)>,
    usual_hours: u32,
    count: u64,
    previous: Option<String>,
    next: Option<String>,
}

/// What became of a digest that was asked for.
pub struct Notice {
    pub pending: bool,
    pub text: String,
}

pub struct Row {
    pub id: String,
    pub headline: String,
    /// Its first paragraph.
    pub preview: String,
    /// A service that is there has a number, too.
    pub scope: Option<(Option<u32>, String)>,
    pub since: Moment,
    pub until: Moment,
    pub length: String,
    pub written: Moment,
    pub writer: &'static str,
    pub model: Option<String>,
    pub anomalies: Option<String>,
}

#[derive(Template)]
#[template(path = "digest.html")]
pub struct DigestPage {
    frame: Frame,
    row: Row,
    /// As markup, made safe: writers mark names and commands.
    paragraphs: Vec<String>,
    suggestions: Vec<String>,
    reason: String,
    tokens: Option<String>,
    tiles: Vec<(&'static str, String)>,
    tables: Vec<Table>,
    incidents: Vec<IncidentLine>,
    /// All incidents of the period, and where they are.
    more_incidents: u64,
    findings: Vec<FindingLine>,
    more_findings: u64,
    /// The whole of it as it was given to whoever wrote.
    facts: String,
}

struct IncidentLine {
    id: String,
    tone: &'static str,
    name: String,
    first_line: String,
    opened: Moment,
    lasted: String,
    open: bool,
}

struct FindingLine {
    id: String,
    summary: String,
    since: Moment,
}

impl ListPage {
    pub async fn new(visit: &Visit, state: &ApiState, query: &Query, notice: Option<Notice>) -> Result<ListPage, ApiError> {
        let t = Text(visit.look.lang);
        let page = query.page()?;
        let writer = query.text("writer").and_then(Writer::from_name);
        let scope = match query.text("service") {
            Some("all") => Some(DigestScope::All),
            _ => query.number("service", "the number of a service, or all")?.map(|id| DigestScope::Of(ServiceId(id))),
        };
        let filter = DigestFilter { scope, writer, ..DigestFilter::default() };
        let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(PAGE);
        let (count, found) = state.digests.page(&filter, skip, PAGE).await?;
        let link = |page: u64| {
            let whole = query.with("page", &page.to_string());
            format!("/digests?{}", whole.split_once('?').map_or("", |(_, query)| query))
        };
        let hours = |hours: u32| match hours {
            ..=72 => (hours, format!("{hours} {}", t.s("unit.hour"))),
            _ => (hours, span(t, Duration::from_secs(u64::from(hours) * 3600))),
        };
        let mut periods = HOURS.to_vec();
        if !periods.contains(&state.digest_hours) {
            periods.push(state.digest_hours);
        }
        periods.sort_unstable();
        Ok(ListPage {
            frame: Frame::new(visit, Section::Digests, t.s("nav.digests")),
            notice,
            rows: found.iter().map(|digest| Row::new(t, state, digest)).collect(),
            none_at_all: count == 0 && scope.is_none() && writer.is_none(),
            services: state.services.list().iter().map(|service| (service.id.0, service.name().to_owned())).collect(),
            wanted_service: query.text("service").unwrap_or_default().to_owned(),
            wanted_writer: writer.map(|writer| writer.name().to_owned()).unwrap_or_default(),
            writers: Writer::ALL.iter().map(|writer| (writer.name(), t.word("writer", writer.name()))).collect(),
            hours: periods.into_iter().map(hours).collect(),
            usual_hours: state.digest_hours,
            count,
            previous: (page > 1).then(|| link(page - 1)),
            next: (page.saturating_mul(PAGE as u64) < count).then(|| link(page + 1)),
        })
    }

    fn count_text(&self) -> String {
        self.frame.t.count("digest.count_one", "digest.count", self.count)
    }
}

impl Row {
    pub fn new(t: Text, state: &ApiState, digest: &Digest) -> Row {
        let known = digest.service.filter(|service| state.services.get(*service).is_some());
        let name = digest.name.as_ref().map(ToString::to_string);
        Row {
            id: digest.id.to_string(),
            headline: digest.text.headline.clone(),
            preview: digest.text.paragraphs.first().cloned().unwrap_or_default(),
            scope: digest.service.map(|service| (known.map(|known| known.0), name.unwrap_or_else(|| format!("#{service}")))),
            since: Moment::full(digest.period.since),
            until: Moment::full(digest.period.until),
            length: span(t, digest.period.until.since(digest.period.since)),
            written: Moment::ago(digest.written_at),
            writer: t.word("writer", digest.writer.name()),
            model: digest.model.clone().filter(|_| digest.writer == Writer::OpenAi),
            anomalies: (digest.anomaly_count > 0).then(|| t.count("digest.anomaly", "digest.anomalies", digest.anomaly_count)),
        }
    }
}

impl DigestPage {
    pub async fn new(visit: &Visit, state: &ApiState, digest: &Digest) -> Result<DigestPage, ApiError> {
        let t = Text(visit.look.lang);
        let (since, until) = (Some(digest.period.since), Some(digest.period.until));
        let filter = IncidentFilter { service: digest.service, since, until, ..IncidentFilter::default() };
        let (incident_count, incidents) = state.incidents.page(&filter, 0, NAMED).await?;
        let wanted = FindingQuery { service: digest.service, since, until, size: NAMED, ..FindingQuery::default() };
        let findings = state.findings.list(&wanted).await?;
        let facts = serde_json::from_str(&digest.facts).unwrap_or_default();
        let tokens = digest.tokens.total();
        Ok(DigestPage {
            frame: Frame::new(visit, Section::Digests, digest.text.headline.clone()),
            row: Row::new(t, state, digest),
            paragraphs: digest.text.paragraphs.iter().map(|text| render(text)).collect(),
            suggestions: digest.text.suggestions.iter().map(|text| render(text)).collect(),
            reason: digest.writer_reason.clone(),
            tokens: (tokens > 0).then(|| t.one("digest.tokens", tokens)),
            tiles: tiles(t, &facts),
            tables: tables(t, &facts),
            more_incidents: incident_count.saturating_sub(incidents.len() as u64),
            incidents: incidents.iter().map(|stored| IncidentLine::new(t, state, stored)).collect(),
            more_findings: findings.count.saturating_sub(findings.findings.len() as u64),
            findings: findings.findings.iter().map(FindingLine::from).collect(),
            facts: serde_json::to_string_pretty(&facts).unwrap_or_default(),
        })
    }
}

impl IncidentLine {
    fn new(t: Text, state: &ApiState, stored: &StoredIncident) -> IncidentLine {
        let incident = &stored.incident;
        IncidentLine {
            id: incident.id.to_string(),
            tone: if incident.severity.name() == "critical" { "down" } else { "degraded" },
            name: incident.name.to_string(),
            first_line: t.first_line(&incident.first_line),
            opened: Moment::full(incident.opened_at),
            lasted: span(t, incident.closed_at.unwrap_or(state.clock.now()).since(incident.opened_at)),
            open: incident.closed_at.is_none(),
        }
    }
}

impl From<&Finding> for FindingLine {
    fn from(finding: &Finding) -> FindingLine {
        FindingLine { id: finding.id.to_string(), summary: finding.summary.clone(), since: Moment::full(finding.since) }
    }
}
