//! The bytes of rollups: parts by their start, and the counts of all series in one hour. The first byte is the version.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aggregate::rollup::{Held, Part, Rollup, Rule};
use crate::aggregate::sketch::Sketch;
use crate::aggregate::verdict::{RegionStatus, Turn};
use crate::model::check::Reason;
use crate::model::id::{RegionName, ServiceId};
use crate::model::time::micros;
use crate::store::columns::{Damage, Reader, Writer};
use crate::store::results::SeriesKey;

const VERSION: u8 = 1;

/// Parts by their start in microseconds.
pub type Parts = BTreeMap<i64, Part>;

/// Checks of one series in one hour, and its failures by reason.
pub type HourCounts = BTreeMap<SeriesKey, SeriesCount>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesCount {
    pub checks: u64,
    pub failures: BTreeMap<Reason, u64>,
    pub omitted: u64,
}

pub fn encode<'a>(parts: impl IntoIterator<Item = (&'a i64, &'a Part)>) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(VERSION);
    for (start, part) in parts {
        out.signed(*start);
        write_rollup(&mut out, &part.rollup);
        write_held(&mut out, &part.held, *start);
    }
    out.bytes
}

pub fn decode(bytes: &[u8]) -> Result<Parts, Damage> {
    let mut from = Reader::new(bytes);
    check_version(&mut from)?;
    let mut parts = Parts::new();
    while !from.is_empty() {
        let start = from.signed()?;
        let rollup = read_rollup(&mut from)?;
        parts.insert(start, Part { rollup, held: read_held(&mut from, start)? });
    }
    Ok(parts)
}

pub fn encode_counts(counts: &HourCounts) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(VERSION);
    for ((service, region), count) in counts {
        out.number(service.0.into());
        out.text(&region.0);
        out.number(count.checks);
        out.number(count.omitted);
        write_failures(&mut out, &count.failures);
    }
    out.bytes
}

pub fn decode_counts(bytes: &[u8]) -> Result<HourCounts, Damage> {
    let mut from = Reader::new(bytes);
    check_version(&mut from)?;
    let mut counts = HourCounts::new();
    while !from.is_empty() {
        let service = ServiceId(u32::try_from(from.number()?).map_err(|error| error.to_string())?);
        let region = RegionName::from(from.text()?);
        let (checks, omitted) = (from.number()?, from.number()?);
        counts.insert((service, region), SeriesCount { checks, omitted, failures: read_failures(&mut from)? });
    }
    Ok(counts)
}

fn check_version(from: &mut Reader) -> Result<(), Damage> {
    match from.byte()? {
        VERSION => Ok(()),
        found => Err(format!("rollup has version {found}, this program reads {VERSION}")),
    }
}

fn write_rollup(out: &mut Writer, rollup: &Rollup) {
    out.number(rollup.checks);
    out.number(rollup.attempts);
    write_failures(out, &rollup.failures);
    for sketch in std::iter::once(&rollup.latency).chain(&rollup.phases) {
        write_sketch(out, sketch);
    }
}

pub(super) fn write_sketch(out: &mut Writer, sketch: &Sketch) {
    out.number(sketch.bins().len() as u64);
    let mut next = 0u64;
    for (bucket, count) in sketch.bins() {
        out.number(u64::from(*bucket) - next);
        out.number(*count);
        next = u64::from(*bucket) + 1;
    }
    out.number(sketch.sum_us());
}

pub(super) fn read_sketch(from: &mut Reader) -> Result<Sketch, Damage> {
    let mut bins = Vec::new();
    let mut next = 0u64;
    for _ in 0..from.number()? {
        let bucket = next.saturating_add(from.number()?);
        bins.push((u16::try_from(bucket).map_err(|error| error.to_string())?, from.number()?));
        next = bucket.saturating_add(1);
    }
    Sketch::from_bins(bins, from.number()?).ok_or_else(|| "buckets count too much".to_owned())
}

fn read_rollup(from: &mut Reader) -> Result<Rollup, Damage> {
    let (checks, attempts) = (from.number()?, from.number()?);
    let failures = read_failures(from)?;
    let mut sketch = || read_sketch(from);
    let latency = sketch()?;
    let phases = [sketch()?, sketch()?, sketch()?, sketch()?, sketch()?];
    Ok(Rollup { checks, attempts, failures, latency, phases })
}

fn write_failures(out: &mut Writer, failures: &BTreeMap<Reason, u64>) {
    out.number(failures.len() as u64);
    for (reason, count) in failures {
        out.byte(reason.code());
        out.number(*count);
    }
}

fn read_failures(from: &mut Reader) -> Result<BTreeMap<Reason, u64>, Damage> {
    let mut failures = BTreeMap::new();
    for _ in 0..from.number()? {
        let code = from.byte()?;
        let reason = Reason::from_code(code).ok_or_else(|| format!("no reason has code {code}"))?;
        failures.insert(reason, from.number()?);
    }
    Ok(failures)
}

fn write_held(out: &mut Writer, held: &Held, start: i64) {
    out.signed(held.first.wrapping_sub(start));
    out.signed(held.last.wrapping_sub(held.first));
    out.signed(held.up);
    out.signed(held.down);
    out.byte(match held.turn.status {
        RegionStatus::Unknown => 0,
        RegionStatus::Up => 1,
        RegionStatus::Down => 2,
    });
    out.number(held.turn.against.into());
    out.signed(micros(held.rule.gap));
    out.number(held.rule.failure.into());
    out.number(held.rule.success.into());
}

fn read_held(from: &mut Reader, start: i64) -> Result<Held, Damage> {
    let first = start.wrapping_add(from.signed()?);
    let last = first.wrapping_add(from.signed()?);
    let (up, down) = (from.signed()?, from.signed()?);
    let status = match from.byte()? {
        0 => RegionStatus::Unknown,
        1 => RegionStatus::Up,
        2 => RegionStatus::Down,
        found => return Err(format!("no status has code {found}")),
    };
    let mut small = || from.number().map(|number| number.min(u32::MAX.into()) as u32);
    let turn = Turn { status, against: small()? };
    let gap = Duration::from_micros(u64::try_from(from.signed()?).unwrap_or(0));
    let mut small = || from.number().map(|number| number.min(u32::MAX.into()) as u32);
    Ok(Held { first, last, up, down, turn, rule: Rule { gap, failure: small()?, success: small()? } })
}
