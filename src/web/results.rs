//! The record: every check that is kept, by the same filters as the API, and as CSV.

use askama::Template;
use rocket::http::{ContentType, Header};
use rocket::response::Responder;
use rocket::{State, get};

use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::results::{millis, read_query};
use crate::api::state::ApiState;
use crate::model::check::{CheckResult, Reason};
use crate::store::query::{Cursor, ResultQuery};
use crate::web::frame::{Frame, Section};
use crate::web::html::Html;
use crate::web::service::checks::CheckRow;
use crate::web::text::Text;
use crate::web::visit::Visit;

/// Rows of a download at most; who wants more asks for narrower spans.
const MOST: usize = 50_000;
const AT_ONCE: usize = 500;

#[derive(Template)]
#[template(path = "results.html")]
struct ResultsPage {
    frame: Frame,
    rows: Vec<(String, u32, CheckRow)>,
    services: Vec<(u32, String)>,
    regions: Vec<String>,
    reasons: Vec<(&'static str, &'static str)>,
    wanted: Wanted,
    csv: String,
    next: Option<String>,
    previous: Option<String>,
    /// A filter that does not fit.
    problem: Option<String>,
}

/// What is filtered for, as it was typed.
struct Wanted {
    service: String,
    region: String,
    ok: String,
    reason: String,
    status_code: String,
    min_latency_ms: String,
    ordering: String,
    since: String,
    until: String,
    search: String,
}

#[get("/results")]
pub async fn page(visit: Visit, query: Query, state: &State<ApiState>) -> Result<Html, ApiError> {
    let t = Text(visit.look.lang);
    let query = query.without_empty();
    let (read, problem) = match read_query(&query) {
        Ok(read) => (Some(read), None),
        Err(error) => (None, Some(error.detail().to_owned())),
    };
    let page = match &read {
        Some(read) => Some(state.store.results.page(read).await?),
        None => None,
    };
    let link = |cursor: &Cursor| relative(&query, "cursor", &cursor.to_string());
    let text = |name: &str| query.text(name).unwrap_or_default().to_owned();
    let services = state.services.list();
    let mut regions: Vec<String> = state.membership.nodes().into_iter().map(|(_, info)| info.region).collect();
    regions.sort();
    regions.dedup();
    let name = |result: &CheckResult| {
        state.services.get(result.service).map_or_else(|| format!("#{}", result.service), |kept| kept.name().to_owned())
    };
    let row = |result: &CheckResult| CheckRow::new(t, result, state.board.degraded_after(result.service));
    let rows = page.iter().flat_map(|page| &page.results);
    Html::of(&ResultsPage {
        frame: Frame::new(&visit, Section::Results, t.s("nav.results")),
        rows: rows.map(|stored| (name(&stored.result), stored.result.service.0, row(&stored.result))).collect(),
        services: services.iter().map(|service| (service.id.0, service.name().to_owned())).collect(),
        regions,
        reasons: Reason::ALL.iter().map(|reason| (reason.name(), t.word("reason", reason.name()))).collect(),
        csv: format!("/results.csv{}", relative(&query, "page_size", &AT_ONCE.to_string())),
        next: page.as_ref().and_then(|page| page.next.as_ref()).map(link),
        previous: page.as_ref().and_then(|page| page.previous.as_ref()).map(link),
        wanted: Wanted {
            service: text("service"),
            region: text("region"),
            ok: text("ok"),
            reason: text("reason"),
            status_code: text("status_code"),
            min_latency_ms: text("min_latency_ms"),
            ordering: text("ordering"),
            since: text("since"),
            until: text("until"),
            search: text("search"),
        },
        problem,
    })
}

fn relative(query: &Query, name: &str, value: &str) -> String {
    let whole = query.with(name, value);
    format!("?{}", whole.split_once('?').map_or("", |(_, query)| query))
}

/// A file of CSV (RFC 4180).
#[derive(Responder)]
pub struct Csv {
    text: String,
    kind: ContentType,
    name: Header<'static>,
}

impl Csv {
    pub fn new(text: String, name: &str) -> Csv {
        let kind = ContentType::new("text", "csv").with_params(("charset", "utf-8"));
        Csv { text, kind, name: Header::new("Content-Disposition", format!("attachment; filename=\"{name}\"")) }
    }
}

/// The results that fit, as RFC 4180 has it.
#[get("/results.csv")]
pub async fn csv(_visit: Visit, query: Query, state: &State<ApiState>) -> Result<Csv, ApiError> {
    let mut wanted = ResultQuery { page_size: AT_ONCE, ..read_query(&query.without_empty())? };
    let mut text = "checked_at,service_id,service,region,ok,status_code,latency_ms,attempts,reason,message\r\n".to_owned();
    let mut rows = 0;
    loop {
        let page = state.store.results.page(&wanted).await?;
        for stored in &page.results {
            let name = state.services.get(stored.result.service).map(|kept| kept.name().to_owned()).unwrap_or_default();
            text.push_str(&line(&stored.result, &name));
        }
        rows += page.results.len();
        match page.next {
            Some(next) if rows < MOST => wanted.cursor = Some(next),
            _ => break,
        }
    }
    Ok(Csv::new(text, "results.csv"))
}

fn line(result: &CheckResult, name: &str) -> String {
    let failure = result.failure.as_ref();
    let fields = [
        result.started_at.rfc3339(),
        result.service.to_string(),
        name.to_owned(),
        result.region.to_string(),
        result.ok().to_string(),
        result.status_code.map(|code| code.to_string()).unwrap_or_default(),
        millis(result.latency).to_string(),
        result.attempt_count.to_string(),
        failure.map(|failure| failure.reason.name().to_owned()).unwrap_or_default(),
        failure.map(|failure| failure.message.clone()).unwrap_or_default(),
    ];
    record(&fields)
}

/// A line of CSV.
pub fn record(fields: &[String]) -> String {
    fields.iter().map(|field| quoted(field)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A field of CSV. What a spreadsheet would take for a formula is made text.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    match field.contains([',', '"', '\r', '\n']) || formula {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_field_is_quoted_where_it_must_be_and_never_a_formula() {
        for (field, written) in
            [("plain", "plain"), ("a,b", "\"a,b\""), ("say \"hi\"", "\"say \"\"hi\"\"\""), ("=1+1", "\"'=1+1\""), ("", "")]
        {
            assert_eq!(quoted(field), written);
        }
    }
}
