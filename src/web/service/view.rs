//! What the page of one service shows.

use std::time::Duration;

use askama::Template;

use crate::aggregate::board::{RegionState, ServiceState};
use crate::api::error::ApiError;
use crate::api::mask::masked;
use crate::api::services::fresh_uptimes;
use crate::api::slos::views;
use crate::api::state::ApiState;
use crate::model::check::Certificate;
use crate::model::time::Timestamp;
use crate::store::incidents::IncidentFilter;
use crate::store::query::ResultQuery;
use crate::store::services::StoredService;
use crate::store::uptimes::{Known, WINDOWS};
use crate::web::frame::Frame;
use crate::web::moment::{Moment, measured, percent, since_made_of, span};
use crate::web::sentence::{Sentence, sentence};
use crate::web::service::charts::Charts;
use crate::web::service::checks::CheckRow;
use crate::web::service::facts::facts;
use crate::web::service::window::{LEAST, MOST, Mistake, Range, Window};
use crate::web::slos::view::Card;
use crate::web::text::Text;

/// Checks shown, and those of them of which every detail is read.
const CHECKS: usize = 20;
const DETAILED: usize = 10;
const INCIDENTS: usize = 5;
/// How long what was worked out of uptimes is shown again.
const FRESH: Duration = Duration::from_secs(30);
/// Charts without a check are looked at again so soon.
const EMPTY_FOR: Duration = Duration::from_secs(3);
/// Days under which the end of a certificate is worth a colour.
const SOON: i64 = 21;

#[derive(Template)]
#[template(path = "service.html")]
pub struct ServicePage {
    pub frame: Frame,
    pub id: u32,
    pub name: String,
    pub enabled: bool,
    pub badge: Option<String>,
    pub now: NowPart,
    pub charts: ChartsPart,
    pub checks: ChecksPart,
    pub side: Side,
}

/// What changes with every check.
#[derive(Template)]
#[template(path = "parts/service_now.html")]
pub struct NowPart {
    t: Text,
    sentence: Sentence,
    url: String,
    method: String,
    group: Option<String>,
    tags: Vec<String>,
    windows: Vec<Uptime>,
    regions: Vec<RegionLine>,
    incidents: Vec<IncidentLine>,
}

#[derive(Template)]
#[template(path = "parts/service_checks.html")]
pub struct ChecksPart {
    t: Text,
    checks: Vec<CheckRow>,
    enabled: bool,
}

impl ChecksPart {
    fn none(&self) -> &'static str {
        if self.enabled { "service.no_checks" } else { "service.no_checks_paused" }
    }
}

#[derive(Template)]
#[template(path = "parts/service_charts.html")]
pub struct ChartsPart {
    pub t: Text,
    pub window: Window,
    pub charts: Charts,
    pub id: u32,
    pub now: Timestamp,
    /// What is shown where nothing was asked for.
    pub usual: Range,
    /// Why what was asked for is not what is shown.
    pub mistake: Option<Mistake>,
}

impl ChartsPart {
    fn way(&self, window: &Window) -> String {
        format!("/services/{}?{}#charts", self.id, window.query())
    }

    /// Where one can move from here: the name of the way, and its address.
    fn ways(&self) -> Vec<(String, String)> {
        let mut ways = vec![("span.earlier", self.way(&self.window.earlier()))];
        ways.extend(self.window.later(self.now).map(|later| ("span.later", self.way(&later))));
        ways.extend(self.window.wider(self.now).map(|wider| ("span.wider", self.way(&wider))));
        let mut ways: Vec<(String, String)> = ways.into_iter().map(|(key, way)| (self.t.s(key).to_owned(), way)).collect();
        if self.window.range.is_none() {
            let back = self.t.one("span.back", self.t.s(self.usual.key()));
            ways.push((back, self.way(&Window::of(self.usual, self.now))));
        }
        ways
    }

    fn chosen(&self) -> Option<(Moment, Moment, String)> {
        let Window { from, to, range } = self.window;
        range.is_none().then(|| (Moment::full(from), Moment::full(to), span(self.t, to.since(from))))
    }

    fn is_current(&self, range: &Range) -> bool {
        self.window.range == Some(*range)
    }

    fn field_from(&self) -> String {
        field(self.window.from)
    }

    fn field_to(&self) -> String {
        field(self.window.to)
    }

    fn now_ms(&self) -> i64 {
        self.now.0 / 1000
    }

    fn least_ms(&self) -> i64 {
        LEAST / 1000
    }

    fn most_ms(&self) -> i64 {
        MOST / 1000
    }

    fn wrong(&self, field: &str) -> Option<String> {
        self.mistake.as_ref().filter(|mistake| mistake.field == field).map(|mistake| mistake.told(self.t))
    }

    fn empty_text(&self) -> &'static str {
        if self.window.range.is_some() { "chart.empty_yet" } else { "chart.empty" }
    }

    /// Seconds after which it is worth drawing anew; none of what does not change any more.
    fn refresh_s(&self) -> u64 {
        match self.window.fresh_for() {
            // The first checks of all are drawn as soon as they are there.
            Some(_) if self.charts.all.is_empty() => EMPTY_FOR.as_secs(),
            fresh => fresh.map_or(0, |span| span.as_secs()),
        }
    }
}

/// As a field of a form takes an instant.
fn field(at: Timestamp) -> String {
    at.datetime().format("%Y-%m-%dT%H:%M:%S").to_string()
}

/// What a check asked for by hand found in one region.
#[derive(Template)]
#[template(path = "parts/checked.html")]
pub struct CheckedPart {
    pub check: CheckRow,
}

/// What changes seldom.
pub struct Side {
    pub facts: Vec<(&'static str, String)>,
    pub certificates: Vec<CertificateLine>,
    pub digest: Option<DigestLine>,
    pub slos: Vec<Card>,
    pub findings: Vec<FindingLine>,
}

struct Uptime {
    name: &'static str,
    uptime: String,
    coverage: Option<String>,
}

struct RegionLine {
    name: String,
    status: &'static str,
    word: String,
    since: Moment,
    latency: String,
}

struct IncidentLine {
    id: String,
    tone: &'static str,
    first_line: String,
    opened: Moment,
    lasted: String,
    open: bool,
}

pub struct CertificateLine {
    pub regions: String,
    pub subject: String,
    pub issuer: String,
    pub until: Moment,
    pub days: String,
    pub tone: &'static str,
    pub fingerprint: String,
}

pub struct DigestLine {
    pub id: String,
    pub written: Moment,
    pub writer: &'static str,
    pub headline: String,
    pub paragraphs: Vec<String>,
    pub suggestions: Vec<String>,
    pub since: Moment,
    pub until: Moment,
}

pub struct FindingLine {
    pub id: String,
    pub summary: String,
    pub since: Moment,
    pub open: bool,
    pub score: String,
    pub learning: bool,
}

impl NowPart {
    pub async fn new(t: Text, state: &ApiState, service: &StoredService, now: Timestamp) -> Result<NowPart, ApiError> {
        let stands = state.board.service(service.id, now);
        let regions = stands.as_ref().map_or(&[][..], |stands| stands.regions.as_slice());
        let filter = IncidentFilter { service: Some(service.id), ..IncidentFilter::default() };
        let (_, incidents) = state.incidents.page(&filter, 0, INCIDENTS).await?;
        let opened = incidents.iter().find(|stored| stored.incident.closed_at.is_none()).map(|stored| stored.incident.opened_at);
        let voting = regions.iter().filter(|region| region.status.name() != "unknown").count();
        let document = &service.document;
        Ok(NowPart {
            t,
            sentence: stands_now(t, service, stands.as_ref(), voting, opened),
            url: format!("{}{}", document.base_url.as_deref().unwrap_or_default(), document.health_path.as_deref().unwrap_or_default()),
            method: document.method.clone().unwrap_or_else(|| "GET".to_owned()),
            group: document.group.clone(),
            tags: document.tags.clone(),
            windows: windows(t, &uptimes(state, service).await?, service.created_at),
            regions: regions.iter().map(|region| RegionLine::new(t, region)).collect(),
            incidents: incidents
                .iter()
                .map(|stored| IncidentLine {
                    id: stored.incident.id.to_string(),
                    tone: if stored.incident.severity.name() == "critical" { "down" } else { "degraded" },
                    first_line: t.first_line(&stored.incident.first_line),
                    opened: Moment::full(stored.incident.opened_at),
                    lasted: span(t, stored.incident.closed_at.unwrap_or(now).since(stored.incident.opened_at)),
                    open: stored.incident.closed_at.is_none(),
                })
                .collect(),
        })
    }
}

fn stands_now(t: Text, service: &StoredService, stands: Option<&ServiceState>, voting: usize, opened: Option<Timestamp>) -> Sentence {
    match stands {
        Some(stands) if stands.enabled => sentence(t, std::slice::from_ref(stands), voting, |_| opened),
        _ => Sentence { tone: "disabled", text: t.with("sentence.paused", &[("name", service.name())]), since: None },
    }
}

async fn uptimes(state: &ApiState, service: &StoredService) -> Result<Known, ApiError> {
    let known = state.uptimes.get(service.id);
    if let Some(fresh) = known.as_ref().filter(|known| state.clock.now().since(known.at) < FRESH) {
        return Ok(fresh.clone());
    }
    match (fresh_uptimes(state, service.id).await, known) {
        (Ok(fresh), _) => Ok(fresh),
        // A store that is away takes nothing from what is known without it.
        (Err(_), Some(old)) => Ok(old),
        (Err(error), None) => Err(error.into()),
    }
}

fn windows(t: Text, known: &Known, made: Timestamp) -> Vec<Uptime> {
    let keys = ["range.day", "range.week", "range.month", "range.quarter"];
    let window = |(key, uptime): (&'static str, &crate::store::rollups::WindowUptime)| Uptime {
        name: t.s(key),
        uptime: uptime.ratio.map_or_else(|| "–".to_owned(), percent),
        coverage: uptime.ratio.is_some().then(|| measured(t, since_made_of(uptime, known.at, made))),
    };
    debug_assert_eq!(WINDOWS.len(), keys.len(), "each window has a name");
    keys.into_iter().zip(&known.windows).map(window).collect()
}

pub async fn last_checks(t: Text, state: &ApiState, service: &StoredService) -> Result<ChecksPart, ApiError> {
    let query = ResultQuery { service: Some(service.id), newest_first: true, page_size: CHECKS, ..ResultQuery::default() };
    let limit = state.board.degraded_after(service.id);
    let mut rows = Vec::new();
    let mut detailed = 0;
    for stored in state.store.results.page(&query).await?.results {
        // Attempts and evidence are kept apart, of those checks that had any.
        let has_more = !stored.result.ok() || stored.result.attempt_count > 1;
        let whole = match has_more && detailed < DETAILED {
            true => {
                detailed += 1;
                state.store.results.one(&stored.id).await?
            }
            false => None,
        };
        rows.push(CheckRow::new(t, whole.as_ref().unwrap_or(&stored.result), limit));
    }
    Ok(ChecksPart { t, checks: rows, enabled: service.enabled() })
}

impl RegionLine {
    fn new(t: Text, region: &RegionState) -> RegionLine {
        let slow = region.slow && region.status.name() == "up";
        let word = match (&region.silence, slow) {
            (Some(silence), _) => t.word("node_state", silence.reason.name()).to_owned(),
            (None, true) => t.s("sentence.slow").to_owned(),
            (None, false) => t.word("region_status", region.status.name()).to_owned(),
        };
        RegionLine {
            name: region.region.to_string(),
            status: if slow { "degraded" } else { region.status.name() },
            word,
            since: Moment::short(region.since),
            latency: crate::web::moment::latency_of(region.latest.latency),
        }
    }
}

pub async fn side(t: Text, state: &ApiState, service: &StoredService, charts: &Charts, now: Timestamp) -> Result<Side, ApiError> {
    let regions = state.board.service(service.id, now).map(|stands| stands.regions).unwrap_or_default();
    let digest = state.digests.latest(Some(service.id)).map(|digest| DigestLine {
        id: digest.id.to_string(),
        written: Moment::ago(digest.written_at),
        writer: t.word("writer", digest.writer.name()),
        headline: digest.text.headline.clone(),
        paragraphs: digest.text.paragraphs.clone(),
        suggestions: digest.text.suggestions.clone(),
        since: Moment::full(digest.period.since),
        until: Moment::full(digest.period.until),
    });
    let findings = charts.findings.iter().take(10).map(|finding| FindingLine {
        id: finding.id.to_string(),
        summary: finding.summary.clone(),
        since: Moment::full(finding.since),
        open: finding.ended.is_none(),
        score: format!("{:.2}", finding.score),
        learning: !finding.is_firm(),
    });
    let all = state.slos.slos.list();
    let slos = views(state, all.iter().filter(|slo| slo.promise.service == service.id)).await?;
    Ok(Side {
        facts: facts(t, &masked(&service.document)),
        certificates: certificates(t, &regions, now),
        digest,
        slos: slos.iter().map(|view| Card::new(t, view)).collect(),
        findings: findings.collect(),
    })
}

/// One line for each certificate that is shown somewhere, with the regions that are shown it.
fn certificates(t: Text, regions: &[RegionState], now: Timestamp) -> Vec<CertificateLine> {
    let mut found: Vec<(&Certificate, Vec<String>)> = Vec::new();
    for region in regions {
        let shown = region.latest.certificate.as_deref().or(region.good_certificate.as_deref());
        let Some(certificate) = shown else { continue };
        match found.iter_mut().find(|(known, _)| known.fingerprint == certificate.fingerprint) {
            Some((_, names)) => names.push(region.region.to_string()),
            None => found.push((certificate, vec![region.region.to_string()])),
        }
    }
    let line = |(certificate, names): (&Certificate, Vec<String>)| {
        let days = certificate.days_left(now);
        CertificateLine {
            regions: names.join(", "),
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            until: Moment::full(certificate.not_after),
            days: if days < 0 { t.s("certificate.over").to_owned() } else { t.count("certificate.day", "certificate.days", days as u64) },
            tone: match days {
                ..0 => "down",
                0..SOON => "degraded",
                _ => "up",
            },
            fingerprint: certificate.fingerprint.clone(),
        }
    };
    found.into_iter().map(line).collect()
}
