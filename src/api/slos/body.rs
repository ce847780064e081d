//! An objective as people write it. Every field is optional here, so that one that is wrong does not hide another.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::api::fields::{Fields, service};
use crate::api::state::ApiState;
use crate::config::mistake::Mistake;
use crate::model::id::ServiceId;
use crate::model::incident::Severity;
use crate::model::slo::{Aim, BurnPair, CalendarUnit, Period, Promise, Slo, USUAL_PAIRS};
use crate::slo::budget::limit_ms;

/// Characters.
const NAME: RangeInclusive<usize> = 1..=200;
/// Per cent.
const OBJECTIVE: RangeInclusive<f64> = 50.0..=99.9999;
const LATENCY_MS: RangeInclusive<f64> = 1.0..=300_000.0;
const DAYS: RangeInclusive<f64> = 1.0..=366.0;
const USUAL_DAYS: u32 = 30;
const USUAL_COVERAGE: f64 = 0.5;
const PAIRS: usize = 5;
const FACTOR: RangeInclusive<f64> = 1.0..=10_000.0;
/// Of a stretch: seconds.
const LONG: RangeInclusive<f64> = 300.0..=604_800.0;
const SHORT: RangeInclusive<f64> = 120.0..=604_800.0;

/// An objective as it is sent. Name, service and objective must be given.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SloDocument {
    /// 1 to 200 characters, of no other objective.
    #[schema(value_type = String)]
    name: Option<Value>,
    /// A service's number or name.
    #[schema(value_type = Object)]
    service: Option<Value>,
    /// `availability`: of the known time, that in which it was up. `latency`: of the checks, those that passed within
    /// `latency_ms`. Usually availability.
    #[schema(value_type = Option<String>)]
    kind: Option<Value>,
    /// Per cent that must be good: 50 to 99.9999.
    #[schema(value_type = f64)]
    objective: Option<Value>,
    /// For a latency objective.
    #[schema(value_type = Option<f64>)]
    latency_ms: Option<Value>,
    /// The regions that count; usually all.
    #[schema(value_type = Option<Vec<String>>)]
    regions: Option<Value>,
    /// `{"days": 30}`, or `{"calendar": "month", "timezone": "Europe/Berlin"}` with `week`, `month` or `quarter`; usually the
    /// last 30 days.
    #[schema(value_type = Option<Object>)]
    period: Option<Value>,
    /// Known time over all time, 0 to 1; with less it is `unknown`. Usually 0.5.
    #[schema(value_type = Option<f64>)]
    least_coverage: Option<Value>,
    /// When the budget burns too fast: `[{"factor": 14.4, "long_s": 3600, "short_s": 300, "severity": "critical"}]`; an empty
    /// list never tells. Usually 14.4 over 1 h and 5 min, 6 over 6 h and 30 min, 1 over 3 d and 6 h.
    #[schema(value_type = Option<Vec<Object>>)]
    burn: Option<Value>,
}

impl SloDocument {
    /// A promise as it would be sent.
    pub fn of(promise: &Promise) -> Map<String, Value> {
        let period = match promise.period {
            Period::Rolling(days) => json!({"days": days}),
            Period::Calendar { unit, zone } => json!({"calendar": unit.name(), "timezone": zone.name()}),
        };
        let document = SloDocument {
            name: Some(promise.name.clone().into()),
            service: Some(promise.service.0.into()),
            kind: Some(if promise.aim == Aim::Availability { "availability" } else { "latency" }.into()),
            objective: Some(promise.objective.into()),
            latency_ms: limit_ms(promise.aim).map(Value::from),
            regions: promise.regions.clone().map(Value::from),
            period: Some(period),
            least_coverage: Some(promise.least_coverage.into()),
            burn: Some(promise.burn.iter().map(pair_value).collect()),
        };
        match serde_json::to_value(document) {
            Ok(Value::Object(fields)) => fields,
            // It is a struct with text keys, so it always is an object.
            _ => Map::new(),
        }
    }

    /// A promise fit to be stored, or every mistake in it. `kept` is the objective it changes.
    pub fn check(&self, state: &ApiState, kept: Option<&Slo>) -> Result<Promise, Vec<Mistake>> {
        let mut fields = Fields::default();
        let name = fields.text("name", &self.name).unwrap_or_default();
        if !NAME.contains(&name.chars().count()) {
            fields.wrong("name", format!("must have {} to {} characters", NAME.start(), NAME.end()));
        }
        let taken = state.slos.slos.list().iter().any(|slo| slo.promise.name == name && kept.is_none_or(|kept| kept.id != slo.id));
        if taken {
            fields.wrong("name", format!("{name:?} is taken by another objective"));
        }
        let service = self.service(state, kept, &mut fields);
        let aim = self.aim(&mut fields);
        fields.required("objective", &self.objective);
        let objective = fields.number("objective", &self.objective, OBJECTIVE).unwrap_or(99.9);
        let regions = self.regions(state, service, kept, &mut fields);
        let period = period(&self.period, &mut fields);
        let least_coverage = fields.number("least_coverage", &self.least_coverage, 0.0..=1.0).unwrap_or(USUAL_COVERAGE);
        let burn = self.burn(&mut fields);
        match service {
            Some(service) if fields.wrong.is_empty() => {
                Ok(Promise { name, service, aim, objective, regions, period, least_coverage, burn })
            }
            _ => Err(fields.wrong),
        }
    }

    fn service(&self, state: &ApiState, kept: Option<&Slo>, fields: &mut Fields) -> Option<ServiceId> {
        fields.required("service", &self.service);
        let value = self.service.as_ref().filter(|value| !value.is_null())?;
        // One that was deleted since may stay.
        let before = kept.map(|kept| kept.promise.service).filter(|before| value.as_u64() == Some(before.0.into()));
        let found = service(state, value).or(before);
        if found.is_none() {
            fields.wrong("service", format!("there is no service {value}"));
        }
        found
    }

    fn aim(&self, fields: &mut Fields) -> Aim {
        let kind = fields.text("kind", &self.kind);
        match kind.as_deref() {
            Some("latency") => {
                fields.required("latency_ms", &self.latency_ms);
                let ms = fields.number("latency_ms", &self.latency_ms, LATENCY_MS).unwrap_or(*LATENCY_MS.start());
                Aim::Latency(Duration::from_secs_f64(ms / 1e3))
            }
            None | Some("availability") => {
                if self.latency_ms.as_ref().is_some_and(|value| !value.is_null()) {
                    fields.wrong("latency_ms", "is for an objective of kind latency");
                }
                Aim::Availability
            }
            Some(other) => {
                fields.wrong("kind", format!("must be availability or latency, not {other:?}"));
                Aim::Availability
            }
        }
    }

    fn regions(&self, state: &ApiState, service: Option<ServiceId>, kept: Option<&Slo>, fields: &mut Fields) -> Option<Vec<String>> {
        self.regions.as_ref().filter(|value| !value.is_null())?;
        let mut known: BTreeSet<String> = state.membership.nodes().into_iter().map(|(_, info)| info.region).collect();
        known.extend(service.map(|service| state.store.results.regions(service)).into_iter().flatten().map(|region| region.to_string()));
        let before = kept.and_then(|kept| kept.promise.regions.clone()).unwrap_or_default();
        let mut regions = Vec::new();
        let list = fields.list("regions", &self.regions);
        for (index, value) in list.iter().enumerate() {
            match value.as_str().filter(|name| known.iter().chain(&before).any(|known| known == name)) {
                Some(name) if regions.iter().any(|other| other == name) => fields.wrong(&format!("regions[{index}]"), "is named twice"),
                Some(name) => regions.push(name.to_owned()),
                None => fields.wrong(
                    &format!("regions[{index}]"),
                    format!("there is no region {value}; known: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
                ),
            }
        }
        if list.is_empty() {
            fields.wrong("regions", "name at least one region, or leave the field out for all");
        }
        Some(regions)
    }

    fn burn(&self, fields: &mut Fields) -> Vec<BurnPair> {
        if self.burn.as_ref().is_none_or(Value::is_null) {
            return USUAL_PAIRS.to_vec();
        }
        let list = fields.list("burn", &self.burn);
        if list.len() > PAIRS {
            fields.wrong("burn", format!("must have at most {PAIRS} pairs"));
        }
        let mut pairs: Vec<BurnPair> = list.iter().enumerate().filter_map(|(index, value)| pair(index, value, fields)).collect();
        pairs.sort_by(|one, other| other.factor.total_cmp(&one.factor));
        pairs
    }
}

fn period(value: &Option<Value>, fields: &mut Fields) -> Period {
    let usual = Period::Rolling(USUAL_DAYS);
    let Some(value) = value.as_ref().filter(|value| !value.is_null()) else { return usual };
    let Value::Object(given) = value else {
        fields.wrong("period", "must be an object with days, or with calendar and timezone");
        return usual;
    };
    let of = |name: &str| given.get(name).cloned();
    for name in given.keys().filter(|name| !["days", "calendar", "timezone"].contains(&name.as_str())) {
        fields.wrong(&format!("period.{name}"), "is not known here; known: days, calendar, timezone");
    }
    let given = |name: &str| of(name).is_some_and(|value| !value.is_null());
    match (given("days"), given("calendar")) {
        (true, true) => {
            fields.wrong("period", "give either days or calendar, not both");
            usual
        }
        (true, false) => {
            let days = fields.number("period.days", &of("days"), DAYS).unwrap_or_else(|| USUAL_DAYS.into());
            if days.fract() != 0.0 {
                fields.wrong("period.days", format!("must be whole, not {days}"));
            }
            if given("timezone") {
                fields.wrong("period.timezone", "is for a period of the calendar");
            }
            Period::Rolling(days as u32)
        }
        (false, true) => {
            let unit = fields.text("period.calendar", &of("calendar")).unwrap_or_default();
            let Some(unit) = CalendarUnit::from_name(&unit) else {
                fields.wrong("period.calendar", format!("must be week, month or quarter, not {unit:?}"));
                return usual;
            };
            let zone = fields.text("period.timezone", &of("timezone")).unwrap_or_else(|| "UTC".to_owned());
            match zone.parse() {
                Ok(zone) => Period::Calendar { unit, zone },
                Err(_) => {
                    fields.wrong("period.timezone", format!("{zone:?} is not a time zone of the IANA database"));
                    usual
                }
            }
        }
        (false, false) => {
            fields.wrong("period", "must have days or calendar");
            usual
        }
    }
}

fn pair(index: usize, value: &Value, fields: &mut Fields) -> Option<BurnPair> {
    let at = |name: &str| format!("burn[{index}].{name}");
    let Value::Object(given) = value else {
        fields.wrong(&format!("burn[{index}]"), "must be an object with factor, long_s, short_s and severity");
        return None;
    };
    for name in given.keys().filter(|name| !["factor", "long_s", "short_s", "severity"].contains(&name.as_str())) {
        fields.wrong(&at(name), "is not known here; known: factor, long_s, short_s, severity");
    }
    let of = |name: &str| given.get(name).cloned();
    for name in ["factor", "long_s", "short_s"] {
        fields.required(&at(name), &of(name));
    }
    let factor = fields.number(&at("factor"), &of("factor"), FACTOR);
    let long = fields.number(&at("long_s"), &of("long_s"), LONG);
    let short = fields.number(&at("short_s"), &of("short_s"), SHORT);
    let severity = match fields.text(&at("severity"), &of("severity")) {
        None => Some(Severity::Warning),
        Some(name) => Severity::from_name(&name).or_else(|| {
            fields.wrong(&at("severity"), format!("must be critical or warning, not {name:?}"));
            None
        }),
    };
    let (factor, long, short) = (factor?, long?, short?);
    if short >= long {
        fields.wrong(&at("short_s"), "must be less than long_s");
    }
    Some(BurnPair { factor, long: Duration::from_secs_f64(long), short: Duration::from_secs_f64(short), severity: severity? })
}

pub fn pair_value(pair: &BurnPair) -> Value {
    json!({
        "factor": pair.factor, "long_s": pair.long.as_secs_f64(), "short_s": pair.short.as_secs_f64(), "severity": pair.severity.name(),
    })
}
