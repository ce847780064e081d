//! The form of an objective, and the document it stands for.

use serde_json::{Map, Value, json};

use crate::api::error::FieldError;
use crate::api::query::Query;
use crate::api::slos::view::SloView;
use crate::api::state::ApiState;
use crate::model::slo::{CalendarUnit, USUAL_PAIRS};
use crate::web::frame::{Frame, Section};
use crate::web::input::{Document, Group, Sheet, number, parts, seconds, typed, typed_seconds};
use crate::web::issues::form::FormPage;
use crate::web::text::Text;
use crate::web::visit::{Fields, Visit};

/// What a new objective begins with.
pub fn begun(query: &Query) -> Fields {
    let mut fields = Fields::default();
    let pairs: Vec<String> =
        USUAL_PAIRS.iter().map(|pair| line(pair.factor, pair.long.as_secs_f64(), pair.short.as_secs_f64(), pair.severity.name())).collect();
    for (name, value) in [
        ("kind", "availability"),
        ("objective", "99.9"),
        ("period.days", "30"),
        ("least_coverage", "0.5"),
        ("burn", &pairs.join("\n")),
        ("service", query.text("service").unwrap_or_default()),
    ] {
        fields.set(name, value);
    }
    fields
}

/// An objective as the form shows it.
pub fn fields_of(view: &SloView) -> Fields {
    let promise = &view.promise;
    let burn = |pair: &Value| {
        let seconds = |name: &str| pair[name].as_f64().unwrap_or_default();
        line(seconds("factor"), seconds("long_s"), seconds("short_s"), pair["severity"].as_str().unwrap_or_default())
    };
    let pairs = [
        ("name", view.name.clone()),
        ("service", promise.service_id.to_string()),
        ("kind", promise.kind.to_owned()),
        ("objective", promise.objective.to_string()),
        ("latency_ms", promise.latency_ms.map(|ms| ms.to_string()).unwrap_or_default()),
        ("period.days", promise.period.days.map(|days| days.to_string()).unwrap_or_default()),
        ("period.calendar", promise.period.calendar.unwrap_or_default().to_owned()),
        ("period.timezone", promise.period.timezone.unwrap_or_default().to_owned()),
        ("least_coverage", promise.least_coverage.to_string()),
        ("burn", view.burn.iter().map(burn).collect::<Vec<_>>().join("\n")),
        ("revision", view.revision.to_string()),
    ];
    let mut fields: Vec<(String, String)> = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    fields.extend(promise.regions.iter().flatten().map(|region| ("regions".to_owned(), region.clone())));
    Fields(fields)
}

pub fn form(visit: &Visit, state: &ApiState, id: Option<&str>, fields: &Fields, errors: &[FieldError]) -> FormPage {
    let t = Text(visit.look.lang);
    let sheet = Sheet::new(t, fields, errors);
    let list = state.services.list();
    let mut services: Vec<(String, String)> = list.iter().map(|service| (service.id.to_string(), service.name().to_owned())).collect();
    services.insert(0, (String::new(), "–".to_owned()));
    let mut regions: Vec<String> = state.membership.nodes().into_iter().map(|(_, info)| info.region).collect();
    regions.extend(fields.all("regions").map(str::to_owned));
    regions.sort();
    regions.dedup();
    let kinds = ["availability", "latency"].map(|kind| (kind.to_owned(), t.word("slo_kind", kind).to_owned()));
    let mut units = vec![(String::new(), t.s("slo.rolling").to_owned())];
    units.extend(CalendarUnit::ALL.iter().map(|unit| (unit.name().to_owned(), t.word("slo_period", unit.name()).to_owned())));
    let what = vec![
        sheet.line("name", "edit.name").width("wide").required(),
        sheet.choice("service", "overview.service", services).width("half").required(),
        sheet.choice("kind", "slo.kind", kinds.to_vec()),
        sheet.code("objective", "slo.objective").placeholder("99.9").help(t.s("slo.objective_help")).required(),
        sheet.code("latency_ms", "slo.latency").placeholder("300").help(t.s("slo.latency_help")).when("kind=latency"),
        sheet
            .several("regions", "slo.regions", regions.into_iter().map(|name| (name.clone(), name)).collect())
            .help(t.s("slo.regions_help")),
    ];
    let over = vec![
        sheet.choice("period.calendar", "slo.period", units),
        sheet.code("period.days", "slo.period_days").placeholder("30").when("period.calendar="),
        sheet.code("period.timezone", "edit.timezone").placeholder("UTC").help(t.s("slo.timezone_help")),
        sheet.code("least_coverage", "slo.least_coverage").placeholder("0.5").help(t.s("slo.least_coverage_help")),
    ];
    let burn = vec![sheet.area("burn", "slo.burn", 4).placeholder("14.4, 1 h, 5 min, critical").help(t.s("slo.burn_help"))];
    let title = if id.is_some() { t.one("slo.edit", fields.get("name").unwrap_or_default()) } else { t.s("slo.new").to_owned() };
    FormPage {
        frame: Frame::new(visit, Section::Slos, title),
        back: ("/slos".to_owned(), t.s("nav.slos").to_owned()),
        action: id.map_or_else(|| "/slos/new".to_owned(), |id| format!("/slos/{id}")),
        save: t.s("edit.save"),
        intro: t.s("slo.intro").to_owned(),
        hidden: vec![("revision", fields.get("revision").unwrap_or_default().to_owned())],
        groups: vec![
            Group { legend: t.s("edit.what"), inputs: what },
            Group { legend: t.s("slo.over"), inputs: over },
            Group { legend: t.s("slo.tell"), inputs: burn },
        ],
        rest: sheet.rest(),
        any_wrong: !errors.is_empty(),
        also: Vec::new(),
        outcome: None,
    }
}

/// The whole document a form stands for. What belongs to another kind or period is left out.
pub fn document(fields: &Fields) -> Value {
    let mut document = Document::of(fields);
    document.text("name").number("service").text("kind").number("objective").number("least_coverage");
    if fields.text("kind") == Some("latency") {
        document.number("latency_ms");
    }
    let mut made: Map<String, Value> = document.made;
    made.entry("name").or_insert_with(|| "".into());
    let regions: Vec<&str> = fields.all("regions").filter(|name| !name.is_empty()).collect();
    if !regions.is_empty() {
        made.insert("regions".to_owned(), json!(regions));
    }
    let mut period = Map::new();
    match fields.text("period.calendar") {
        Some(unit) => {
            period.insert("calendar".to_owned(), unit.into());
            period.extend(fields.text("period.timezone").map(|zone| ("timezone".to_owned(), zone.into())));
        }
        None => period.extend(fields.text("period.days").map(|days| ("days".to_owned(), number(days)))),
    }
    if !period.is_empty() {
        made.insert("period".to_owned(), period.into());
    }
    let lines = fields.get("burn").unwrap_or_default().lines().map(str::trim).filter(|line| !line.is_empty());
    made.insert("burn".to_owned(), lines.map(pair).collect());
    made.into()
}

/// A line of the field of pairs: `14.4, 1 h, 5 min, critical`. What is missing is told by whoever checks the document.
fn pair(line: &str) -> Value {
    let mut pieces = parts(line);
    let mut pair = Map::new();
    let mut put = |name: &str, value: Option<Value>| pair.extend(value.map(|value| (name.to_owned(), value)));
    put("factor", pieces.next().map(number));
    put("long_s", pieces.next().map(seconds));
    put("short_s", pieces.next().map(seconds));
    put("severity", pieces.next().map(Value::from));
    put("too_many", pieces.next().map(Value::from));
    pair.into()
}

fn line(factor: f64, long_s: f64, short_s: f64, severity: &str) -> String {
    format!("{}, {}, {}, {severity}", typed(&json!(factor)), typed_seconds(long_s), typed_seconds(short_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_they_are_written_and_mistakes_are_left_to_be_told() {
        let lines: Vec<String> = USUAL_PAIRS
            .iter()
            .map(|pair| line(pair.factor, pair.long.as_secs_f64(), pair.short.as_secs_f64(), pair.severity.name()))
            .collect();
        assert_eq!(lines, ["14.4, 1 h, 5 min, critical", "6, 6 h, 30 min, warning", "1, 3 d, 6 h, warning"]);
        assert_eq!(pair(&lines[2]), json!({"factor": 1, "long_s": 259_200.0, "short_s": 21_600.0, "severity": "warning"}));
        assert_eq!(pair("fast, soon"), json!({"factor": "fast", "long_s": "soon"}));
    }

    #[test]
    fn what_belongs_to_another_kind_or_period_is_not_sent() {
        let sent = b"name=x&service=3&kind=availability&latency_ms=300&objective=99&period.days=30&period.calendar=month&period.timezone=Asia%2FTehran&burn=";
        let made = document(&Fields::parse(sent));
        let expected = json!({"name": "x", "service": 3, "kind": "availability", "objective": 99,
            "period": {"calendar": "month", "timezone": "Asia/Tehran"}, "burn": []});
        assert_eq!(made, expected);
    }
}
