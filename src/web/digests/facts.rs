//! The facts of a digest, as they are kept with it, in tiles and tables.
//!
//! They are read by name from what was given to whoever wrote: one from an earlier version, which lacks some, shows fewer.

use serde_json::Value;

use crate::web::input::typed;
use crate::web::text::Text;

pub struct Table {
    pub title: &'static str,
    pub heads: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

/// A list among the facts: its name, its heading, and its columns with theirs.
type Shape = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const TILES: [(&str, &str); 8] = [
    ("/uptime", "service.uptime"),
    ("/measured_part_of_the_time", "digest.measured"),
    ("/services_watched", "regions.services"),
    ("/checks", "regions.rate"),
    ("/failed_checks", "digest.failed"),
    ("/incidents/count", "nav.incidents"),
    ("/anomalies_in_all", "nav.findings"),
    ("/answers/half_within", "digest.half_within"),
];

const TABLES: [Shape; 6] = [
    (
        "causes",
        "digest.causes",
        &[
            ("where_it_broke", "incident.where"),
            ("services", "regions.services"),
            ("incidents", "nav.incidents"),
            ("first_opened", "digest.first_opened"),
            ("down_in_all", "digest.down_in_all"),
            ("only_seen_from", "digest.only_from"),
        ],
    ),
    (
        "changes_against_the_period_before",
        "digest.changes",
        &[
            ("service", "overview.service"),
            ("what", "edit.what"),
            ("before", "digest.before"),
            ("now", "digest.now"),
            ("times", "digest.times"),
            ("mostly_in_phase", "digest.phase"),
            ("only_in", "digest.only_from"),
        ],
    ),
    ("services_below_full_uptime", "digest.below", &[("service", "overview.service"), ("share", "service.uptime")]),
    ("services_degraded_with_share_of_slow_checks", "digest.degraded", &[("service", "overview.service"), ("share", "digest.slow")]),
    (
        "flapping",
        "digest.flapping",
        &[("service", "overview.service"), ("incidents", "nav.incidents"), ("down_in_all", "digest.down_in_all")],
    ),
    (
        "certificates_running_out",
        "digest.certificates",
        &[("service", "overview.service"), ("ends", "certificate.until"), ("days_left", "digest.days_left")],
    ),
];

pub fn tiles(t: Text, facts: &Value) -> Vec<(&'static str, String)> {
    let shown = |(place, key): &(&str, &'static str)| Some((t.s(key), cell(facts.pointer(place)?)));
    TILES.iter().filter_map(shown).collect()
}

pub fn tables(t: Text, facts: &Value) -> Vec<Table> {
    TABLES.iter().filter_map(|shape| table(t, facts, shape)).collect()
}

fn table(t: Text, facts: &Value, (name, title, columns): &Shape) -> Option<Table> {
    let list = facts[*name].as_array().filter(|list| !list.is_empty())?;
    // A column nobody has anything in takes no room.
    let used: Vec<_> = columns.iter().filter(|(column, _)| list.iter().any(|row| !row[*column].is_null())).collect();
    Some(Table {
        title: t.s(title),
        heads: used.iter().map(|(_, key)| t.s(key)).collect(),
        rows: list.iter().map(|row| used.iter().map(|(column, _)| cell(&row[*column])).collect()).collect(),
    })
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Array(values) => values.iter().map(typed).collect::<Vec<_>>().join(", "),
        other => typed(other),
    }
}
