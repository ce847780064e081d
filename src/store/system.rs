//! What is kept of the monitor's own health: looks for some days, what they came to by the hour for long, alarms that hold.
//!
//! **Invariant.** An hour is written whole, from all its looks: writing it again changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use surrealdb::types::{SurrealValue, Value};

use crate::aggregate::rollup::HOUR;
use crate::clock::Clock;
use crate::model::incident::Severity;
use crate::model::system::{Alarm, Answered, Figure, Sample, Spread, Summary};
use crate::model::time::Timestamp;
use crate::store::audit::corrupt as unfit;
use crate::store::columns::{Damage, Reader, Writer};
use crate::store::connection::{Database, StoreError};
use crate::store::values::{Row, bytes, corrupt, int, record, record_named, record_of, rows, text};

const VERSION: u8 = 1;

#[derive(Clone, Debug)]
pub struct SystemRecords {
    database: Arc<Database>,
    clock: Clock,
}

/// How long the store took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    pub write: Duration,
    pub read: Duration,
}

#[derive(SurrealValue)]
struct AlarmRow {
    key: String,
    cause: String,
    severity: String,
    text: String,
    next_step: Option<String>,
    since: i64,
}

impl SystemRecords {
    pub fn new(database: Arc<Database>, clock: Clock) -> SystemRecords {
        SystemRecords { database, clock }
    }

    /// Writes a small row and reads it, and says how long each took.
    pub async fn touch(&self) -> Result<Touch, StoreError> {
        let (row, now) = (record("system_touch", 1), self.clock.now().0);
        let began = self.clock.steady();
        self.database.query("UPSERT $id SET at = $at RETURN NONE", vec![("id", row.clone()), ("at", int(now))]).await?;
        let written = self.clock.steady();
        let mut answer = self.database.query("SELECT * FROM ONLY $id", vec![("id", row)]).await?;
        let read = self.clock.steady();
        match rows(&mut answer, 0)?.first() {
            Some(found) if found.int("at")? == now => {}
            _ => return Err(corrupt("row", "what was just written is not there")),
        }
        Ok(Touch { write: written.saturating_sub(began), read: read.saturating_sub(written) })
    }

    /// Whether the store is in this process.
    pub fn place(&self) -> &str {
        self.database.place()
    }

    pub async fn save(&self, sample: &Sample) -> Result<(), StoreError> {
        let values = vec![("id", record_of("system_sample", vec![int(sample.at.0)])), ("data", bytes(encode_sample(sample)))];
        self.database.query("UPSERT $id SET data = $data RETURN NONE", values).await.map(drop)
    }

    /// Looks from `since` on and before `until`, in order.
    pub async fn samples(&self, since: Timestamp, until: Timestamp) -> Result<Vec<Sample>, StoreError> {
        let range = "SELECT * FROM system_sample:[$since]..[$until]";
        let mut answer = self.database.query(range, vec![("since", int(since.0)), ("until", int(until.0))]).await?;
        let read =
            |row: &Row| decode_sample(Timestamp(row.key()?.int(0)?), &row.bytes("data")?).map_err(|error| corrupt("system sample", error));
        rows(&mut answer, 0)?.iter().map(read).collect()
    }

    /// Writes what the looks of the hour that begins at `start` came to.
    pub async fn roll(&self, start: Timestamp) -> Result<Summary, StoreError> {
        let mut summary = Summary::default();
        for sample in self.samples(start, Timestamp(start.0 + HOUR)).await? {
            summary.add(&sample);
        }
        if !summary.figures.is_empty() {
            let values = vec![("id", record_of("system_hour", vec![int(start.0)])), ("data", bytes(encode_summary(&summary)))];
            self.database.query("UPSERT $id SET data = $data RETURN NONE", values).await?;
        }
        Ok(summary)
    }

    /// The hours that begin in a window.
    pub async fn hours(&self, since: Timestamp, until: Timestamp) -> Result<Vec<(Timestamp, Summary)>, StoreError> {
        let range = "SELECT * FROM system_hour:[$since]..[$until]";
        let mut answer = self.database.query(range, vec![("since", int(since.0)), ("until", int(until.0))]).await?;
        let read = |row: &Row| {
            let summary = decode_summary(&row.bytes("data")?).map_err(|error| corrupt("system hour", error))?;
            Ok((Timestamp(row.key()?.int(0)?), summary))
        };
        rows(&mut answer, 0)?.iter().map(read).collect()
    }

    /// Lets go of looks and hours that are older.
    pub async fn forget(&self, samples_before: Timestamp, hours_before: Timestamp) -> Result<(), StoreError> {
        for (table, before) in [("system_sample", samples_before), ("system_hour", hours_before)] {
            let range = format!("DELETE {table}:[$first]..[$before] RETURN NONE");
            self.database.query(&range, vec![("first", int(i64::MIN)), ("before", int(before.0))]).await?;
        }
        Ok(())
    }

    pub async fn alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        let mut answer = self.database.query("SELECT *, record::id(id) AS key OMIT id FROM system_alarm", Vec::new()).await?;
        let found: Vec<AlarmRow> = answer.take(0).map_err(|error| unfit("alarm", &error))?;
        found.into_iter().map(Alarm::try_from).collect()
    }

    pub async fn save_alarm(&self, alarm: &Alarm) -> Result<(), StoreError> {
        let values = vec![
            ("id", record_named("system_alarm", &alarm.watched)),
            ("cause", text(&alarm.cause)),
            ("severity", text(alarm.severity.name())),
            ("text", text(&alarm.text)),
            ("next_step", alarm.next_step.as_deref().map_or(Value::None, text)),
            ("since", int(alarm.since.0)),
        ];
        let set = "UPSERT $id SET cause = $cause, severity = $severity, text = $text, next_step = $next_step, since = $since RETURN NONE";
        self.database.query(set, values).await.map(drop)
    }

    pub async fn remove_alarm(&self, watched: &str) -> Result<(), StoreError> {
        self.database.query("DELETE $id RETURN NONE", vec![("id", record_named("system_alarm", watched))]).await.map(drop)
    }
}

impl TryFrom<AlarmRow> for Alarm {
    type Error = StoreError;

    fn try_from(row: AlarmRow) -> Result<Alarm, StoreError> {
        let severity = Severity::from_name(&row.severity).ok_or_else(|| corrupt("alarm", format!("its severity is {:?}", row.severity)))?;
        Ok(Alarm { watched: row.key, cause: row.cause, severity, text: row.text, next_step: row.next_step, since: Timestamp(row.since) })
    }
}

fn encode_sample(sample: &Sample) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(VERSION);
    out.number(sample.figures.len() as u64);
    for (figure, value) in &sample.figures {
        out.byte(figure.code());
        float(&mut out, *value);
    }
    for (name, answered) in &sample.dependencies {
        out.text(name);
        out.byte(u8::from(answered.up));
        float(&mut out, answered.latency_ms);
    }
    out.bytes
}

fn decode_sample(at: Timestamp, bytes: &[u8]) -> Result<Sample, Damage> {
    let mut from = Reader::new(bytes);
    version(&mut from)?;
    let mut sample = Sample { at, ..Sample::default() };
    for _ in 0..from.number()? {
        let (code, value) = (from.byte()?, read_float(&mut from)?);
        // A figure this program no longer has is not missed.
        if let Some(figure) = Figure::from_code(code) {
            sample.figures.insert(figure, value);
        }
    }
    while !from.is_empty() {
        let name = Arc::from(from.text()?);
        let answered = Answered { up: from.byte()? != 0, latency_ms: read_float(&mut from)? };
        sample.dependencies.insert(name, answered);
    }
    Ok(sample)
}

fn encode_summary(summary: &Summary) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(VERSION);
    out.number(summary.figures.len() as u64);
    for (figure, spread) in &summary.figures {
        out.byte(figure.code());
        write_spread(&mut out, spread);
    }
    for (name, (spread, up)) in &summary.dependencies {
        out.text(name);
        write_spread(&mut out, spread);
        out.number(*up);
    }
    out.bytes
}

fn decode_summary(bytes: &[u8]) -> Result<Summary, Damage> {
    let mut from = Reader::new(bytes);
    version(&mut from)?;
    let mut summary = Summary { figures: BTreeMap::new(), dependencies: BTreeMap::new() };
    for _ in 0..from.number()? {
        let (code, spread) = (from.byte()?, read_spread(&mut from)?);
        if let Some(figure) = Figure::from_code(code) {
            summary.figures.insert(figure, spread);
        }
    }
    while !from.is_empty() {
        let name = Arc::from(from.text()?);
        let spread = read_spread(&mut from)?;
        summary.dependencies.insert(name, (spread, from.number()?));
    }
    Ok(summary)
}

fn version(from: &mut Reader<'_>) -> Result<(), Damage> {
    match from.byte()? {
        VERSION => Ok(()),
        found => Err(format!("it has version {found}, this program reads {VERSION}")),
    }
}

fn write_spread(out: &mut Writer, spread: &Spread) {
    out.number(spread.count);
    [spread.sum, spread.min, spread.max].into_iter().for_each(|value| float(out, value));
}

fn read_spread(from: &mut Reader<'_>) -> Result<Spread, Damage> {
    Ok(Spread { count: from.number()?, sum: read_float(from)?, min: read_float(from)?, max: read_float(from)? })
}

/// Whole numbers, as counts and bytes are, are kept exactly; others to seven digits.
fn float(out: &mut Writer, value: f64) {
    let whole = value as i64;
    let exact = whole as f64 == value;
    out.byte(u8::from(exact));
    match exact {
        true => out.signed(whole),
        false => out.bytes.extend_from_slice(&(value as f32).to_le_bytes()),
    }
}

fn read_float(from: &mut Reader<'_>) -> Result<f64, Damage> {
    if from.byte()? == 1 {
        return Ok(from.signed()? as f64);
    }
    let mut bytes = [0; 4];
    for byte in &mut bytes {
        *byte = from.byte()?;
    }
    Ok(f32::from_le_bytes(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_read_back_as_it_was_and_damage_is_told() {
        let figures = [(Figure::StoreWriteMs, 0.125), (Figure::RssBytes, 81_788_928.0), (Figure::StoreGrowth, -12.5)];
        let dependencies = BTreeMap::from([(Arc::from("cache"), Answered { up: false, latency_ms: 5000.25 })]);
        let sample = Sample { at: Timestamp(7), figures: figures.into_iter().collect(), dependencies };
        let bytes = encode_sample(&sample);
        assert_eq!(decode_sample(Timestamp(7), &bytes).unwrap(), sample);
        let mut summary = Summary::default();
        summary.add(&sample);
        assert_eq!(decode_summary(&encode_summary(&summary)).unwrap(), summary);
        assert!(decode_sample(Timestamp(7), &bytes[..bytes.len() - 3]).is_err());
        assert!(decode_sample(Timestamp(7), &[9]).is_err());
    }
}
