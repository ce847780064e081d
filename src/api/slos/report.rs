//! What an objective came to over a range: as JSON, as a table for a spreadsheet, and as a page to print.

use askama::Template;
use rocket::http::Status;
use serde::Serialize;
use utoipa::ToSchema;

use crate::aggregate::rollup::{MINUTE, floor};
use crate::api::error::ApiError;
use crate::api::slos::view::{Figures, PromiseView};
use crate::api::state::ApiState;
use crate::model::id::RegionName;
use crate::model::slo::Slo;
use crate::model::span::{Span, total, without};
use crate::model::time::Timestamp;
use crate::slo::budget::Account;
use crate::slo::desk::seconds;
use crate::slo::period;
use crate::store::incidents::{IncidentFilter, StoredIncident};

/// Longer ranges are told by the month.
const MOST_DAYS: usize = 62;
/// Of one report; the count tells of all.
const MOST_INCIDENTS: usize = 500;

#[derive(Serialize, ToSchema)]
pub struct SloReport {
    id: u32,
    name: String,
    #[serde(flatten)]
    promise: PromiseView,
    since: String,
    until: String,
    /// From where it is reckoned: nothing was promised before the service was made.
    reckoned_since: String,
    generated_at: String,
    generated_by: String,
    /// `met`, `missed`, or `unknown` where less than `least_coverage` was measured.
    state: &'static str,
    #[serde(flatten)]
    figures: Figures,
    regions: Vec<RegionRow>,
    /// By the day, or by the month where the range is longer than 62 days; oldest first.
    rows: Vec<PeriodRow>,
    incidents_count: u64,
    /// Those that were open within the range, newest first; 500 at most.
    incidents: Vec<IncidentRow>,
    /// Maintenance windows within the range, oldest first: left out of everything.
    maintenance: Vec<MaintenanceRow>,
    #[serde(skip)]
    #[schema(ignore)]
    zone: chrono_tz::Tz,
}

#[derive(Serialize, ToSchema)]
pub struct RegionRow {
    region: String,
    attained: Option<f64>,
    coverage: f64,
    down_s: f64,
    checks: f64,
    bad_checks: f64,
}

#[derive(Serialize, ToSchema)]
pub struct PeriodRow {
    from: String,
    until: String,
    #[serde(flatten)]
    figures: Figures,
    #[serde(skip)]
    #[schema(ignore)]
    span: Span,
}

#[derive(Serialize, ToSchema)]
pub struct IncidentRow {
    id: String,
    severity: &'static str,
    first_line: String,
    opened_at: String,
    closed_at: Option<String>,
    /// Until it closed, or until now.
    duration_s: f64,
    /// What of it lies within the range and outside maintenance.
    counted_s: f64,
    /// The maintenance window it opened in.
    maintenance: Option<u32>,
}

#[derive(Serialize, ToSchema)]
pub struct MaintenanceRow {
    window_id: u32,
    title: String,
    /// Why.
    reason: String,
    /// Who made the window.
    by: String,
    from: String,
    until: String,
}

impl SloReport {
    pub async fn make(state: &ApiState, slo: &Slo, whole: Span, who: &str) -> Result<SloReport, ApiError> {
        let (desk, promise, now) = (&state.slos, &slo.promise, state.clock.now());
        // Rollups are cut at whole minutes; only now may lie within one.
        let until = if whole.until < now { Timestamp(floor(whole.until, MINUTE)) } else { now };
        let reckoned = desk.lived(promise.service, Span::new(whole.minutes().from, until));
        let zone = period::zone(promise.period);
        let rows = period::rows(reckoned, zone, MOST_DAYS);
        let asked: Vec<Span> = std::iter::once(reckoned).chain(rows.iter().copied()).collect();
        let mut accounts = desk.accounts(promise, &asked, now).await?.into_iter();
        let (sum, regions) = accounts.next().unwrap_or_default();
        let budget = sum.budget(promise, 0);
        let rows = rows.into_iter().zip(accounts).map(|(span, (account, _))| PeriodRow {
            from: span.from.rfc3339(),
            until: span.until.rfc3339(),
            figures: Figures::new(&account, account.budget(promise, 0), promise.aim),
            span,
        });
        let filter = IncidentFilter {
            service: Some(promise.service),
            since: Some(whole.from),
            until: Some(whole.until),
            ..IncidentFilter::default()
        };
        let (incidents_count, incidents) = state.incidents.page(&filter, 0, MOST_INCIDENTS).await?;
        let excluded = state.windows.excluded(promise.service, whole);
        let incident = |stored: &StoredIncident| {
            let incident = &stored.incident;
            let span = Span::new(incident.opened_at, incident.closed_at.unwrap_or(now));
            let counted = span.within(whole).map_or(0, |span| total(&without(span, &excluded)));
            IncidentRow {
                id: incident.id.to_string(),
                severity: incident.severity.name(),
                first_line: incident.first_line.clone(),
                opened_at: incident.opened_at.rfc3339(),
                closed_at: incident.closed_at.map(Timestamp::rfc3339),
                duration_s: seconds(span.length() as f64),
                counted_s: seconds(counted as f64),
                maintenance: state.windows.covers(incident.service, incident.opened_at).map(|window| window.0),
            }
        };
        let maintenance = state.windows.occurrences(promise.service, whole).into_iter().map(|occurrence| MaintenanceRow {
            window_id: occurrence.window.id.0,
            title: occurrence.window.title.clone(),
            reason: occurrence.window.reason.clone(),
            by: occurrence.window.created_by.clone(),
            from: occurrence.span.from.rfc3339(),
            until: occurrence.span.until.rfc3339(),
        });
        let region = |(region, account): (&RegionName, &Account)| {
            let figures = Figures::new(account, account.budget(promise, 0), promise.aim);
            let Figures { attained, coverage, down_s, checks, bad_checks, .. } = figures;
            RegionRow { region: region.to_string(), attained, coverage, down_s, checks, bad_checks }
        };
        Ok(SloReport {
            id: slo.id.0,
            name: promise.name.clone(),
            promise: PromiseView::new(promise, desk.service_name(promise.service)),
            since: whole.from.rfc3339(),
            until: whole.until.rfc3339(),
            reckoned_since: reckoned.from.rfc3339(),
            generated_at: now.rfc3339(),
            generated_by: who.to_owned(),
            state: sum.standing(promise, 0).name(),
            figures: Figures::new(&sum, budget, promise.aim),
            regions: regions.iter().map(region).collect(),
            rows: rows.collect(),
            incidents_count,
            incidents: incidents.iter().map(incident).collect(),
            maintenance: maintenance.collect(),
            zone,
        })
    }

    fn by(&self) -> &'static str {
        if self.rows.iter().any(|row| row.span.length() > 25 * 3_600_000_000) { "month" } else { "day" }
    }
}

const COLUMNS: &str = "row,name,from,until,attained_percent,coverage_percent,elapsed_s,known_s,unknown_s,maintenance_s,down_s,checks,\
    bad_checks,budget_total_minutes,budget_spent_minutes,budget_left_minutes,duration_s,note";

/// One table: the whole first, then its days or months, regions, incidents and maintenance, told apart by the first column.
pub fn csv(report: &SloReport) -> String {
    let mut text = format!("{COLUMNS}\r\n");
    let number = |number: f64| number.to_string();
    let some = |number: Option<f64>| number.map_or_else(String::new, |number| number.to_string());
    let mut line = |cells: [String; 18]| {
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    };
    let none = String::new;
    let figures = |row: &str, name: &str, from: &str, until: &str, of: &Figures, note: &str| -> [String; 18] {
        [
            row.to_owned(),
            quoted(name),
            from.to_owned(),
            until.to_owned(),
            some(of.attained),
            number(of.coverage * 100.0),
            number(of.elapsed_s),
            number(of.known_s),
            number(of.unknown_s),
            number(of.maintenance_s),
            number(of.down_s),
            number(of.checks),
            number(of.bad_checks),
            number(of.budget.total_minutes),
            number(of.budget.spent_minutes),
            number(of.budget.left_minutes),
            none(),
            quoted(note),
        ]
    };
    let objective = format!("{} % {}, {}", report.promise.objective, report.promise.kind, report.state);
    line(figures("total", &report.name, &report.since, &report.until, &report.figures, &objective));
    for row in &report.rows {
        line(figures(report.by(), "", &row.from, &row.until, &row.figures, ""));
    }
    let plain = |row: &str, name: &str, from: &str, until: &str, duration: String, note: &str| -> [String; 18] {
        let mut cells: [String; 18] = std::array::from_fn(|_| String::new());
        (cells[0], cells[1], cells[2], cells[3]) = (row.to_owned(), quoted(name), from.to_owned(), until.to_owned());
        (cells[16], cells[17]) = (duration, quoted(note));
        cells
    };
    for region in &report.regions {
        let mut cells = plain("region", &region.region, &report.since, &report.until, none(), "");
        (cells[4], cells[5], cells[10]) = (some(region.attained), number(region.coverage * 100.0), number(region.down_s));
        (cells[11], cells[12]) = (number(region.checks), number(region.bad_checks));
        line(cells);
    }
    for incident in &report.incidents {
        let until = incident.closed_at.clone().unwrap_or_default();
        line(plain("incident", &incident.id, &incident.opened_at, &until, number(incident.duration_s), &incident.first_line));
    }
    for window in &report.maintenance {
        let note = format!("{} (by {})", window.reason, window.by);
        line(plain("maintenance", &window.title, &window.from, &window.until, none(), &note));
    }
    text
}

/// A cell that no spreadsheet takes for a formula.
fn quoted(text: &str) -> String {
    let text = text.replace(['\r', '\n'], " ");
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t']) { format!("'{text}") } else { text };
    if guarded.is_empty() { guarded } else { format!("\"{}\"", guarded.replace('"', "\"\"")) }
}

/// A page to print.
pub fn html(report: &SloReport) -> Result<String, ApiError> {
    Page { report, zone: report.zone }
        .render()
        .map_err(|error| ApiError::new(Status::InternalServerError, format!("the page cannot be made: {error}")))
}

#[derive(Template)]
#[template(path = "slo_report.html")]
struct Page<'a> {
    report: &'a SloReport,
    zone: chrono_tz::Tz,
}

impl Page<'_> {
    fn at(&self, text: &str) -> String {
        Timestamp::parse(text).map_or_else(String::new, |at| at.datetime().with_timezone(&self.zone).format("%Y-%m-%d %H:%M").to_string())
    }

    fn row(&self, row: &PeriodRow) -> String {
        let form = if self.report.by() == "month" { "%B %Y" } else { "%a %Y-%m-%d" };
        row.span.from.datetime().with_timezone(&self.zone).format(form).to_string()
    }

    fn promised(&self) -> String {
        let PromiseView { kind, objective, latency_ms, .. } = &self.report.promise;
        match latency_ms {
            Some(ms) => format!("{objective} % of checks pass within {ms} ms"),
            None => format!("{objective} % {kind}"),
        }
    }

    /// Per cent to as many places as tell three nines from four.
    fn percent(&self, value: &Option<f64>) -> String {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3} %"))
    }

    fn share(&self, value: &f64) -> String {
        format!("{:.1} %", value * 100.0)
    }

    /// Such as `1 d 02:03:04`, `02:03:04`, `–` for none.
    fn span(&self, seconds: &f64) -> String {
        let whole = seconds.round() as u64;
        let (days, hours, minutes, rest) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
        match (whole, days) {
            (0, _) => "–".to_owned(),
            (_, 0) => format!("{hours:02}:{minutes:02}:{rest:02}"),
            _ => format!("{days} d {hours:02}:{minutes:02}:{rest:02}"),
        }
    }

    fn minutes(&self, minutes: &f64) -> String {
        format!("{minutes:.1}")
    }

    fn count(&self, count: &f64) -> String {
        format!("{count:.0}")
    }

    fn latency(&self) -> bool {
        self.report.promise.kind != "availability"
    }

    fn in_words(&self) -> &'static str {
        match self.report.state {
            "met" => "Met",
            "missed" => "Missed",
            _ => "Unknown: too little was measured to say",
        }
    }
}
