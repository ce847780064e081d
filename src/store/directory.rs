//! The directory: for each hour, what the blocks that end in it hold. Reads over all series and statistics are answered
//! from it and touch only the blocks they cannot do without.
//!
//! An entry lists the few failures of its block with their times, so that a page of failures knows which blocks it needs and
//! in which order.
//!
//! A record takes the entries of several seal transactions before the next is begun, so that a day is read in hundreds of
//! records and not in tens of thousands.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use surrealdb::types::Value;

use crate::model::check::CheckResult;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::codec::Summary;
use crate::store::columns::{Damage, Reader, Writer};
use crate::store::connection::StoreError;
use crate::store::results::{HOUR_US, Inner, SeriesKey, Snapshot, hour_of};
use crate::store::values::{bytes, corrupt, int, object, record_of, rows, unsigned};

const VERSION: u8 = 2;
/// Its entries list no failures.
const FIRST_VERSION: u8 = 1;
/// Failures of one block that are listed; of one with more only their count is known.
const MOST_LISTED: usize = 16;
/// Entries of one record at most.
pub const RECORD_ENTRIES: usize = 200;

/// One block as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    pub service: ServiceId,
    pub region: RegionName,
    /// When its first and its last check began.
    pub start: i64,
    pub end: i64,
    pub serial: u64,
    pub summary: Summary,
    /// When each failing check began, and its reason's code; `None`: not known here.
    pub failures: Option<Vec<(i64, u8)>>,
}

/// The failures of a block as its entry lists them.
pub fn listed<'a>(results: impl Iterator<Item = &'a CheckResult>) -> Option<Vec<(i64, u8)>> {
    let failing = results.filter_map(|result| Some((result.started_at.0, result.failure.as_ref()?.reason.code())));
    let listed: Vec<(i64, u8)> = failing.take(MOST_LISTED + 1).collect();
    (listed.len() <= MOST_LISTED).then_some(listed)
}

impl DirectoryEntry {
    pub fn series(&self) -> SeriesKey {
        (self.service, self.region.clone())
    }
}

/// A record that still takes entries.
#[derive(Clone, Debug, Default)]
pub struct OpenDirectory {
    /// Of its first entry: the second part of its key.
    pub serial: u64,
    pub entries: Vec<DirectoryEntry>,
}

impl OpenDirectory {
    pub fn row(&self, hour: i64) -> Value {
        object([("id", directory_id(hour, self.serial)), ("data", bytes(encode(&self.entries)))])
    }
}

pub fn directory_id(hour: i64, serial: u64) -> Value {
    record_of("directory", vec![int(hour), unsigned(serial)])
}

/// One record as it was read.
pub(super) struct DirectoryRecord {
    pub serial: u64,
    pub data: Bytes,
}

impl Inner {
    pub async fn directory_records(&self, first: i64, last: i64) -> Result<Vec<DirectoryRecord>, StoreError> {
        let values = vec![("from", int(first)), ("to", int(last.saturating_add(1)))];
        let mut answer = self.database.query("SELECT * FROM directory:[$from]..[$to]", values).await?;
        let record = |row: crate::store::values::Row| {
            let key = row.key()?;
            Ok(DirectoryRecord { serial: key.int(1)? as u64, data: row.bytes("data")? })
        };
        rows(&mut answer, 0)?.into_iter().map(record).collect()
    }

    /// What a snapshot sees of the blocks that end in these hours, both included.
    pub async fn directory(&self, snapshot: &Snapshot, first: i64, last: i64) -> Result<Vec<DirectoryEntry>, StoreError> {
        let mut entries = Vec::new();
        for record in self.directory_records(first, last).await? {
            let found = decode(&record.data).map_err(|error| corrupt("directory", error))?;
            entries.extend(found.into_iter().filter(|entry| snapshot.shows(&entry.series(), entry.serial)));
        }
        Ok(entries)
    }

    /// On start: counts the detail rows that the last two hours' blocks stand for, so that the bound on them holds on.
    pub async fn count_known_details(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let snapshot = self.snapshot(None);
        let entries = self.directory(&snapshot, hour_of(now.0) - 1, hour_of(now.0)).await?;
        let mut writer = self.writer.lock().await;
        for entry in entries {
            let kept = entry.summary.failed().saturating_sub(entry.summary.omitted);
            if kept > 0 {
                writer.details.known(hour_of(entry.end), entry.series(), kept);
            }
        }
        Ok(())
    }
}

/// The first instant of an hour.
pub fn hour_start(hour: i64) -> Timestamp {
    Timestamp(hour.saturating_mul(HOUR_US))
}

pub fn encode(entries: &[DirectoryEntry]) -> Vec<u8> {
    let mut regions: Vec<&RegionName> = Vec::new();
    let mut body = Writer::default();
    let mut last_end = 0i64;
    for entry in entries {
        let region = regions.iter().position(|region| **region == entry.region).unwrap_or_else(|| {
            regions.push(&entry.region);
            regions.len() - 1
        });
        body.number(entry.service.0.into());
        body.number(region as u64);
        body.signed(entry.end.wrapping_sub(last_end));
        body.signed(entry.end.wrapping_sub(entry.start));
        body.number(entry.serial);
        entry.summary.write(&mut body);
        if entry.summary.failed() > 0 {
            write_listed(&mut body, entry);
        }
        last_end = entry.end;
    }
    let mut out = Writer::default();
    out.byte(VERSION);
    out.number(regions.len() as u64);
    for region in regions {
        out.text(&region.0);
    }
    out.number(entries.len() as u64);
    out.bytes.extend_from_slice(&body.bytes);
    out.bytes
}

pub fn decode(bytes: &[u8]) -> Result<Vec<DirectoryEntry>, Damage> {
    let mut from = Reader::new(bytes);
    let version = from.byte()?;
    if !(FIRST_VERSION..=VERSION).contains(&version) {
        return Err(format!("directory has version {version}, this program reads {VERSION}"));
    }
    let mut regions = Vec::new();
    for _ in 0..from.number()? {
        regions.push(RegionName::from(from.text()?));
    }
    let mut entries = Vec::new();
    let mut last_end = 0i64;
    for _ in 0..from.number()? {
        let service = u32::try_from(from.number()?).map(ServiceId).map_err(|error| error.to_string())?;
        let region = regions.get(from.number()? as usize).cloned().ok_or("directory names a region it does not hold")?;
        let end = last_end.wrapping_add(from.signed()?);
        let start = end.wrapping_sub(from.signed()?);
        let serial = from.number()?;
        let summary = Summary::read(&mut from)?;
        let failures = match (summary.failed(), version) {
            (0, _) => Some(Vec::new()),
            (_, FIRST_VERSION) => None,
            _ => read_listed(&mut from, start)?,
        };
        entries.push(DirectoryEntry { service, region, start, end, serial, summary, failures });
        last_end = end;
    }
    Ok(entries)
}

/// How many there are and one more, zero where they are not listed; then each with the step from the one before it.
fn write_listed(out: &mut Writer, entry: &DirectoryEntry) {
    let Some(failures) = &entry.failures else { return out.number(0) };
    out.number(failures.len() as u64 + 1);
    let mut last = entry.start;
    for (started, code) in failures {
        out.signed(started.wrapping_sub(last));
        out.byte(*code);
        last = *started;
    }
}

fn read_listed(from: &mut Reader, start: i64) -> Result<Option<Vec<(i64, u8)>>, Damage> {
    let Some(count) = from.number()?.checked_sub(1) else { return Ok(None) };
    let (mut failures, mut last) = (Vec::new(), start);
    for _ in 0..count {
        last = last.wrapping_add(from.signed()?);
        failures.push((last, from.byte()?));
    }
    Ok(Some(failures))
}

/// Adds entries to the open records of their hours and tells which records that changed.
pub(super) fn add_entries(open: &mut BTreeMap<i64, OpenDirectory>, entries: Vec<DirectoryEntry>) -> Vec<(i64, OpenDirectory)> {
    let mut changed: HashMap<(i64, u64), OpenDirectory> = HashMap::new();
    for entry in entries {
        let hour = hour_of(entry.end);
        let record = open.entry(hour).or_default();
        if record.entries.is_empty() || record.entries.len() >= RECORD_ENTRIES {
            *record = OpenDirectory { serial: entry.serial, entries: Vec::new() };
        }
        record.entries.push(entry);
        // A record that is full is taken now, before the next takes its place; the others once all is added.
        let kept = changed.entry((hour, record.serial)).or_default();
        if record.entries.len() >= RECORD_ENTRIES {
            *kept = record.clone();
        }
    }
    for ((hour, serial), record) in &mut changed {
        if record.entries.is_empty()
            && let Some(now) = open.get(hour).filter(|now| now.serial == *serial)
        {
            *record = now.clone();
        }
    }
    changed.into_iter().map(|((hour, _), record)| (hour, record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_in_one_record_however_many_come_at_once() {
        let entry = |serial: u64| DirectoryEntry {
            service: ServiceId(serial as u32 % 7),
            region: "eu".into(),
            start: serial as i64 - 9,
            end: serial as i64,
            serial,
            summary: Summary { checks: serial, failures: vec![(5, 2)], least_latency: 3, most_latency: 9, omitted: 1 },
            failures: (!serial.is_multiple_of(3)).then(|| vec![(serial as i64 - 5, 5), (serial as i64, 5)]),
        };
        let mut open = BTreeMap::new();
        // What the store would hold: a record is replaced by what is written under the same name.
        let mut stored: HashMap<(i64, u64), Vec<u8>> = HashMap::new();
        let all: Vec<DirectoryEntry> = (1..=900).map(entry).collect();
        for part in [&all[..150], &all[150..200], &all[200..850], &all[850..]] {
            for (hour, record) in add_entries(&mut open, part.to_vec()) {
                stored.insert((hour, record.serial), encode(&record.entries));
            }
        }
        let mut found: Vec<DirectoryEntry> = stored.values().flat_map(|data| decode(data).unwrap()).collect();
        found.sort_by_key(|entry| entry.serial);
        assert_eq!(found, all);
        assert_eq!(stored.len(), 5);
    }
}
