//! Causes and deliveries as rows. What is asked for alone is a field; the rest is JSON.

use serde::{Deserialize, Serialize};
use surrealdb::types::Value;

use crate::model::alert::{Cause, CauseKind, Message, RegionLine, Telling};
use crate::model::held::{Acknowledged, Delivery, Held, Progress};
use crate::model::id::{ChannelId, NodeName, RegionName, ServiceId};
use crate::model::incident::Severity;
use crate::model::rule::RuleId;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::values::{corrupt, int, object, record_named, text};

#[derive(Serialize, Deserialize)]
struct RegionRow {
    region: String,
    status: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
struct CauseData {
    key: String,
    kind: String,
    severity: String,
    drill: bool,
    service: Option<u32>,
    region: Option<String>,
    node: Option<String>,
    headline: String,
    since: i64,
    regions: Vec<RegionRow>,
    last_good: Option<i64>,
    next_step: Option<String>,
    path: Option<String>,
    heard_at: i64,
    not_after: Option<i64>,
    size: Option<f64>,
    acknowledged: Option<AcknowledgedRow>,
    cleared_at: Option<i64>,
    #[serde(default)]
    unwatched: bool,
    consequence_of: Option<String>,
    released_at: Option<i64>,
    consequences: Vec<u32>,
    progress: Vec<ProgressRow>,
}

#[derive(Serialize, Deserialize)]
struct AcknowledgedRow {
    by: String,
    note: String,
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct ProgressRow {
    rule: u32,
    raised_at: Option<i64>,
    last_told: Option<i64>,
    severity: Option<String>,
    repeats: u32,
    steps: u32,
    acknowledged: bool,
    recovered: bool,
    days: Option<u32>,
    channels: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
struct MessageRow {
    key: String,
    cause: String,
    telling: String,
    severity: String,
    drill: bool,
    service: Option<String>,
    headline: String,
    since: i64,
    recovered_at: Option<i64>,
    regions: Vec<RegionRow>,
    last_good: Option<i64>,
    consequences: Vec<String>,
    link: Option<String>,
    next_step: Option<String>,
    acknowledged_by: Option<String>,
    rule: String,
}

pub fn cause_row(held: &Held, settled: bool) -> Result<Value, StoreError> {
    let cause = &held.cause;
    let data = serde_json::to_string(&CauseData::from(held)).map_err(|error| corrupt("alert cause", error))?;
    Ok(object([
        ("id", record_named("alert_cause", &cause.key)),
        ("kind", text(cause.kind.name())),
        ("severity", text(cause.severity.name())),
        ("drill", Value::Bool(cause.drill)),
        ("service", maybe(cause.service.map(|service| service.0.into()))),
        ("since", int(cause.since.0)),
        ("acknowledged_at", maybe(held.acknowledged.as_ref().map(|by| by.at.0))),
        ("cleared_at", maybe(held.cleared_at.map(|at| at.0))),
        ("consequence_of", held.consequence_of.as_deref().map_or(Value::None, text)),
        ("settled", Value::Bool(settled)),
        ("data", text(&data)),
    ]))
}

pub fn read_cause(data: &str) -> Result<Held, StoreError> {
    let data: CauseData = serde_json::from_str(data).map_err(|error| corrupt("alert cause", error))?;
    Held::try_from(data)
}

pub fn delivery_row(delivery: &Delivery) -> Result<Value, StoreError> {
    let message = serde_json::to_string(&MessageRow::from(&delivery.message)).map_err(|error| corrupt("alert delivery", error))?;
    Ok(object([
        ("id", record_named("alert_delivery", &delivery.id)),
        ("seq", int(delivery.seq)),
        ("rule", int(delivery.rule.0.into())),
        ("cause", text(&delivery.message.cause)),
        ("service", maybe(delivery.service.map(|service| service.0.into()))),
        ("channel", int(delivery.channel.0.into())),
        ("channel_name", text(&delivery.channel_name)),
        ("telling", text(delivery.message.telling.name())),
        ("state", text(delivery.state.name())),
        ("attempts", int(delivery.attempts.into())),
        ("planned_at", int(delivery.planned_at.0)),
        ("possible_duplicates", int(delivery.possible_duplicates.into())),
        ("message", text(&message)),
    ]))
}

pub fn read_message(row: &str) -> Result<Message, StoreError> {
    let row: MessageRow = serde_json::from_str(row).map_err(|error| corrupt("alert delivery", error))?;
    Message::try_from(row)
}

pub fn severity(name: &str) -> Result<Severity, StoreError> {
    Severity::from_name(name).ok_or_else(|| corrupt("alert", format!("its severity is {name:?}")))
}

pub fn kind(name: &str) -> Result<CauseKind, StoreError> {
    CauseKind::from_name(name).ok_or_else(|| corrupt("alert", format!("its kind is {name:?}")))
}

pub fn telling(name: &str) -> Result<Telling, StoreError> {
    Telling::from_name(name).ok_or_else(|| corrupt("alert", format!("its telling is {name:?}")))
}

pub fn maybe(value: Option<i64>) -> Value {
    value.map_or(Value::None, int)
}

impl From<&Held> for CauseData {
    fn from(held: &Held) -> CauseData {
        let cause = &held.cause;
        CauseData {
            key: cause.key.clone(),
            kind: cause.kind.name().to_owned(),
            severity: cause.severity.name().to_owned(),
            drill: cause.drill,
            service: cause.service.map(|service| service.0),
            region: cause.region.as_ref().map(ToString::to_string),
            node: cause.node.as_ref().map(ToString::to_string),
            headline: cause.headline.clone(),
            since: cause.since.0,
            regions: cause.regions.iter().map(RegionRow::from).collect(),
            last_good: cause.last_good.map(|at| at.0),
            next_step: cause.next_step.clone(),
            path: cause.path.clone(),
            heard_at: held.heard_at.0,
            not_after: held.not_after.map(|at| at.0),
            size: held.size,
            acknowledged: held.acknowledged.as_ref().map(|acknowledged| AcknowledgedRow {
                by: acknowledged.by.clone(),
                note: acknowledged.note.clone(),
                at: acknowledged.at.0,
            }),
            cleared_at: held.cleared_at.map(|at| at.0),
            unwatched: held.unwatched,
            consequence_of: held.consequence_of.clone(),
            released_at: held.released_at.map(|at| at.0),
            consequences: held.consequences.iter().map(|service| service.0).collect(),
            progress: held.progress.iter().map(|(rule, progress)| ProgressRow::new(*rule, progress)).collect(),
        }
    }
}

impl TryFrom<CauseData> for Held {
    type Error = StoreError;

    fn try_from(data: CauseData) -> Result<Held, StoreError> {
        let cause = Cause {
            key: data.key,
            kind: kind(&data.kind)?,
            severity: severity(&data.severity)?,
            drill: data.drill,
            service: data.service.map(ServiceId),
            region: data.region.as_deref().map(RegionName::from),
            node: data.node.as_deref().map(NodeName::from),
            headline: data.headline,
            since: Timestamp(data.since),
            regions: data.regions.into_iter().map(RegionLine::from).collect(),
            last_good: data.last_good.map(Timestamp),
            next_step: data.next_step,
            path: data.path,
        };
        let acknowledged = data.acknowledged.map(|row| Acknowledged { by: row.by, note: row.note, at: Timestamp(row.at) });
        Ok(Held {
            cause,
            heard_at: Timestamp(data.heard_at),
            not_after: data.not_after.map(Timestamp),
            size: data.size,
            acknowledged,
            cleared_at: data.cleared_at.map(Timestamp),
            unwatched: data.unwatched,
            consequence_of: data.consequence_of,
            released_at: data.released_at.map(Timestamp),
            consequences: data.consequences.into_iter().map(ServiceId).collect(),
            progress: data.progress.into_iter().map(ProgressRow::read).collect::<Result<_, _>>()?,
        })
    }
}

impl ProgressRow {
    fn new(rule: RuleId, progress: &Progress) -> ProgressRow {
        ProgressRow {
            rule: rule.0,
            raised_at: progress.raised_at.map(|at| at.0),
            last_told: progress.last_told.map(|at| at.0),
            severity: progress.severity.map(|severity| severity.name().to_owned()),
            repeats: progress.repeats,
            steps: progress.steps,
            acknowledged: progress.acknowledged,
            recovered: progress.recovered,
            days: progress.days,
            channels: progress.channels.iter().map(|channel| channel.0).collect(),
        }
    }

    fn read(self) -> Result<(RuleId, Progress), StoreError> {
        let progress = Progress {
            raised_at: self.raised_at.map(Timestamp),
            last_told: self.last_told.map(Timestamp),
            severity: self.severity.as_deref().map(severity).transpose()?,
            repeats: self.repeats,
            steps: self.steps,
            acknowledged: self.acknowledged,
            recovered: self.recovered,
            days: self.days,
            channels: self.channels.into_iter().map(ChannelId).collect(),
        };
        Ok((RuleId(self.rule), progress))
    }
}

impl From<&RegionLine> for RegionRow {
    fn from(line: &RegionLine) -> RegionRow {
        RegionRow { region: line.region.clone(), status: line.status.clone(), text: line.text.clone() }
    }
}

impl From<RegionRow> for RegionLine {
    fn from(row: RegionRow) -> RegionLine {
        RegionLine { region: row.region, status: row.status, text: row.text }
    }
}

impl From<&Message> for MessageRow {
    fn from(message: &Message) -> MessageRow {
        MessageRow {
            key: message.key.clone(),
            cause: message.cause.clone(),
            telling: message.telling.name().to_owned(),
            severity: message.severity.name().to_owned(),
            drill: message.drill,
            service: message.service.clone(),
            headline: message.headline.clone(),
            since: message.since.0,
            recovered_at: message.recovered_at.map(|at| at.0),
            regions: message.regions.iter().map(RegionRow::from).collect(),
            last_good: message.last_good.map(|at| at.0),
            consequences: message.consequences.clone(),
            link: message.link.clone(),
            next_step: message.next_step.clone(),
            acknowledged_by: message.acknowledged_by.clone(),
            rule: message.rule.clone(),
        }
    }
}

impl TryFrom<MessageRow> for Message {
    type Error = StoreError;

    fn try_from(row: MessageRow) -> Result<Message, StoreError> {
        Ok(Message {
            key: row.key,
            cause: row.cause,
            telling: telling(&row.telling)?,
            severity: severity(&row.severity)?,
            drill: row.drill,
            service: row.service,
            headline: row.headline,
            since: Timestamp(row.since),
            recovered_at: row.recovered_at.map(Timestamp),
            regions: row.regions.into_iter().map(RegionLine::from).collect(),
            last_good: row.last_good.map(Timestamp),
            consequences: row.consequences,
            link: row.link,
            next_step: row.next_step,
            acknowledged_by: row.acknowledged_by,
            rule: row.rule,
        })
    }
}
