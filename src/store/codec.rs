//! The bytes of a block: the results of one service in one region, column by column.
//!
//! What a column can tell from others is taken out before packing: a latency is kept as what its phases do not explain, the
//! start as the lag behind the due time (which rises by the same step for hours), and a phase only for the rows that have
//! it. Texts, addresses and certificates lie in dictionaries at the end. The first byte is the version of this form; a
//! summary follows, so that most blocks a filter does not want are never unpacked.
//!
//! Failures are what people look for and are few: as long as they are, they lie before the columns, row by row, so that
//! they are read without unpacking anything else, and the columns of all other rows are the smoother for it.
//!
//! **Invariant.** All of a `CheckResult` but its attempts and evidence comes back exactly, in whole microseconds.

use std::time::Duration;

use crate::model::check::{CheckResult, Failure, HttpVersion, Phase, Phases, Reason, TlsVersion};
use crate::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::codec::dictionaries::{Dictionaries, Shared, intern};
use crate::store::columns::{Damage, MOST_ROWS, Reader, Shape, Writer, read_column};

mod apart;
mod dictionaries;

const VERSION: u8 = 2;
/// Its columns hold failures too and no clock offsets, and the first is of starts.
const FIRST_VERSION: u8 = 1;
/// Failures lie by themselves up to one in so many rows of a block.
const FEW: u64 = 4;

/// One result as it is packed.
#[derive(Clone, Debug)]
pub struct Packable {
    pub result: CheckResult,
    /// Its attempts and evidence were left out for want of room in its hour.
    pub omitted: bool,
}

/// What can be known of results without unpacking them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub checks: u64,
    /// Reason codes and how many failed for each, by code.
    pub failures: Vec<(u8, u64)>,
    pub least_latency: u64,
    pub most_latency: u64,
    pub omitted: u64,
}

impl Summary {
    pub fn add(&mut self, latency: u64, failure: Option<Reason>, omitted: bool) {
        self.least_latency = if self.checks == 0 { latency } else { self.least_latency.min(latency) };
        self.most_latency = self.most_latency.max(latency);
        self.checks += 1;
        self.omitted += u64::from(omitted);
        if let Some(reason) = failure {
            self.add_failures(reason.code(), 1);
        }
    }

    pub fn merge(&mut self, other: &Summary) {
        self.least_latency = if self.checks == 0 { other.least_latency } else { self.least_latency.min(other.least_latency) };
        self.most_latency = self.most_latency.max(other.most_latency);
        self.checks += other.checks;
        self.omitted += other.omitted;
        for (code, count) in &other.failures {
            self.add_failures(*code, *count);
        }
    }

    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|(_, count)| count).sum()
    }

    fn add_failures(&mut self, code: u8, count: u64) {
        match self.failures.binary_search_by_key(&code, |(known, _)| *known) {
            Ok(index) => self.failures[index].1 += count,
            Err(index) => self.failures.insert(index, (code, count)),
        }
    }

    pub fn write(&self, out: &mut Writer) {
        out.number(self.checks);
        out.number(self.omitted);
        out.number(self.least_latency);
        out.number(self.most_latency - self.least_latency);
        out.number(self.failures.len() as u64);
        for (code, count) in &self.failures {
            out.byte(*code);
            out.number(*count);
        }
    }

    pub fn read(from: &mut Reader) -> Result<Summary, Damage> {
        let (checks, omitted, least_latency) = (from.number()?, from.number()?, from.number()?);
        let most_latency = least_latency.saturating_add(from.number()?);
        let mut failures = Vec::new();
        for _ in 0..from.number()? {
            failures.push((from.byte()?, from.number()?));
        }
        Ok(Summary { checks, failures, least_latency, most_latency, omitted })
    }
}

/// Bits of the flags column.
pub mod flag {
    /// The five phases, in their order, take the lowest bits.
    pub const ADDRESS: i64 = 1 << 5;
    pub const CERTIFICATE: i64 = 1 << 6;
    pub const FAILURE: i64 = 1 << 7;
    pub const STATUS: i64 = 1 << 8;
    pub const HTTP_SHIFT: u32 = 9;
    pub const TLS_SHIFT: u32 = 11;
    pub const OMITTED: i64 = 1 << 13;
    /// The clock of its node was known to be wrong.
    pub const OFFSET: i64 = 1 << 14;
}

const COLUMNS: usize = 21;

/// Columns in the order they are written.
mod column {
    /// When it was due; once unpacked, when it began.
    pub const STARTED: usize = 0;
    pub const LAG: usize = 1;
    pub const ORIGIN: usize = 2;
    pub const SEQ: usize = 3;
    pub const FLAGS: usize = 4;
    pub const STATUS: usize = 5;
    pub const LATENCY: usize = 6;
    pub const ELAPSED: usize = 7;
    /// And the four after it.
    pub const PHASES: usize = 8;
    pub const BODY: usize = 13;
    pub const REDIRECTS: usize = 14;
    pub const ATTEMPTS: usize = 15;
    pub const ADDRESS: usize = 16;
    pub const CERTIFICATE: usize = 17;
    pub const CODE: usize = 18;
    pub const MESSAGE: usize = 19;
    pub const OFFSET: usize = 20;
}

/// The flag that says whether a row has a value in a column; `None`: every row has.
fn presence(column: usize) -> Option<i64> {
    match column {
        column::STATUS => Some(flag::STATUS),
        column::PHASES..column::BODY => Some(1 << (column - column::PHASES)),
        column::ADDRESS => Some(flag::ADDRESS),
        column::CERTIFICATE => Some(flag::CERTIFICATE),
        column::CODE | column::MESSAGE => Some(flag::FAILURE),
        column::OFFSET => Some(flag::OFFSET),
        _ => None,
    }
}

/// The values of one row; zero in the columns it has none for.
type Row = [i64; COLUMNS];

fn holds(row: &Row, column: usize) -> bool {
    presence(column).is_none_or(|bit| row[column::FLAGS] & bit != 0)
}

fn row<'a>(shared: &mut Dictionaries<'a>, Packable { result, omitted }: &'a Packable) -> Row {
    let mut row = [0; COLUMNS];
    let (latency, phases) = (us(result.latency), phase_list(&result.phases));
    row[column::STARTED] = result.scheduled_at.0;
    row[column::LAG] = result.started_at.0.wrapping_sub(result.scheduled_at.0);
    row[column::ORIGIN] = intern(&mut shared.origins, (&result.id.node, result.id.boot));
    row[column::SEQ] = result.id.seq as i64;
    row[column::FLAGS] = flags(result, *omitted);
    row[column::LATENCY] = latency.wrapping_sub(explained(&phases));
    row[column::ELAPSED] = us(result.elapsed).wrapping_sub(latency);
    row[column::BODY] = result.body_bytes as i64;
    row[column::REDIRECTS] = result.redirects.into();
    row[column::ATTEMPTS] = result.attempt_count.into();
    row[column::OFFSET] = result.clock_offset;
    for (index, phase) in phases.iter().enumerate() {
        row[column::PHASES + index] = phase.map_or(0, us);
    }
    row[column::STATUS] = result.status_code.map_or(0, i64::from);
    row[column::ADDRESS] = result.address.map_or(0, |address| intern(&mut shared.addresses, address));
    row[column::CERTIFICATE] = result.certificate.as_deref().map_or(0, |certificate| intern(&mut shared.certificates, certificate));
    if let Some(failure) = &result.failure {
        row[column::CODE] = i64::from(failure.reason.code()) << 8 | i64::from(failure.phase.code());
        row[column::MESSAGE] = intern(&mut shared.messages, &failure.message);
    }
    row
}

/// Packs results of one series. They must not be empty, not more than `MOST_ROWS` and in the order of [`order`].
pub fn encode(results: &[Packable]) -> Vec<u8> {
    encode_where(results, |summary| summary.failed() * FEW <= summary.checks)
}

/// The failing ones of some results as a block of their own, read without unpacking a column; `None`: there are none, or so
/// many that the whole block is as soon read.
pub fn encode_failing(results: &[Packable]) -> Failing {
    let failing: Vec<Packable> = results.iter().filter(|row| row.result.failure.is_some()).cloned().collect();
    match failing.len() {
        0 => Failing::None,
        count if count * FEW as usize > results.len() => Failing::Many,
        _ => Failing::Few(encode_where(&failing, |_| true)),
    }
}

/// How many of a block's results failed.
pub enum Failing {
    None,
    /// Packed by themselves.
    Few(Vec<u8>),
    Many,
}

/// Failing rows lie by themselves where that is wanted.
fn encode_where(results: &[Packable], apart: fn(&Summary) -> bool) -> Vec<u8> {
    let mut dictionaries = Dictionaries::default();
    let mut summary = Summary::default();
    for Packable { result, omitted } in results {
        summary.add(us(result.latency) as u64, result.failure.as_ref().map(|failure| failure.reason), *omitted);
    }
    let rows: Vec<Row> = results.iter().map(|result| row(&mut dictionaries, result)).collect();
    let apart = apart(&summary);
    let alone = |row: &Row| apart && row[column::FLAGS] & flag::FAILURE != 0;
    let mut out = Writer::default();
    out.byte(VERSION);
    summary.write(&mut out);
    out.slice(&self::apart::write(rows.iter().enumerate().filter(|(_, row)| alone(row))));
    let mut values = Vec::with_capacity(rows.len());
    for index in 0..COLUMNS {
        let shape = if matches!(index, column::STARTED | column::SEQ) { Shape::Rising } else { Shape::Noisy };
        values.clear();
        values.extend(rows.iter().filter(|row| !alone(row) && holds(row, index)).map(|row| row[index]));
        out.column(&values, shape);
    }
    dictionaries.write(&mut out);
    out.bytes
}

/// The order of results inside a series.
pub fn order(result: &CheckResult) -> (Timestamp, &NodeName, Boot, u64) {
    (result.started_at, &result.id.node, result.id.boot, result.id.seq)
}

/// A block whose columns are found but not unpacked.
pub struct Block<'a> {
    pub summary: Summary,
    version: u8,
    /// Rows that lie by themselves, each with its place.
    apart: Vec<(usize, Row)>,
    /// All other rows.
    rest: usize,
    columns: [&'a [u8]; COLUMNS],
    dictionaries: Reader<'a>,
}

impl<'a> Block<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Block<'a>, Damage> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        let written = match version {
            VERSION => COLUMNS,
            FIRST_VERSION => column::OFFSET,
            found => return Err(format!("block has version {found}, this program reads {VERSION}")),
        };
        let summary = Summary::read(&mut reader)?;
        let rows = usize::try_from(summary.checks).ok().filter(|rows| *rows <= MOST_ROWS).ok_or("block claims too many rows")?;
        let apart = if version == FIRST_VERSION { Vec::new() } else { apart::read(reader.slice()?, rows)? };
        let mut columns = [&[][..]; COLUMNS];
        for column in &mut columns[..written] {
            *column = reader.slice()?;
        }
        Ok(Block { summary, version, rest: rows - apart.len(), apart, columns, dictionaries: reader })
    }

    /// Whether failures can be had without unpacking anything else.
    pub fn keeps_failures_apart(&self) -> bool {
        self.summary.failed() == self.apart.len() as u64
    }

    /// When each check began, rising.
    pub fn started(&self) -> Result<Vec<i64>, Damage> {
        let first = self.column(column::STARTED)?;
        if self.version == FIRST_VERSION {
            return Ok(first);
        }
        let lags = self.column(column::LAG)?;
        Ok(first.into_iter().zip(lags).map(|(due, lag)| due.wrapping_add(lag)).collect())
    }

    /// The little that counting needs of each row.
    pub fn tally(&self) -> Result<Vec<Tally>, Damage> {
        let flags = read_column(self.columns[column::FLAGS], self.rest)?;
        let codes = self.weave(spread(self.columns[column::CODE], &flags, flag::FAILURE)?, column::CODE);
        let rows = self.started()?.into_iter().zip(self.weave(flags, column::FLAGS).into_iter().zip(codes));
        let tally = |(started, (flags, code)): (i64, (i64, i64))| Tally {
            started,
            reason: Reason::from_code((code >> 8) as u8),
            omitted: flags & flag::OMITTED != 0,
        };
        Ok(rows.map(tally).collect())
    }

    pub fn unpack(self, service: ServiceId, region: RegionName) -> Result<Unpacked, Damage> {
        let flags = read_column(self.columns[column::FLAGS], self.rest)?;
        let mut columns: [Vec<i64>; COLUMNS] = Default::default();
        for (index, bytes) in self.columns.iter().enumerate() {
            let values = match presence(index) {
                None => read_column(bytes, self.rest)?,
                Some(bit) => spread(bytes, &flags, bit)?,
            };
            columns[index] = self.weave(values, index);
        }
        columns[column::STARTED] = self.started()?;
        self.with_dictionaries(service, region, columns)
    }

    /// The failing rows alone; a block that does not keep them apart gives all it has.
    pub fn unpack_failures(self, service: ServiceId, region: RegionName) -> Result<Unpacked, Damage> {
        if !self.keeps_failures_apart() {
            return self.unpack(service, region);
        }
        let mut columns: [Vec<i64>; COLUMNS] = Default::default();
        for (index, values) in columns.iter_mut().enumerate() {
            values.extend(self.apart.iter().map(|(_, row)| row[index]));
        }
        let [started, lags] = [column::STARTED, column::LAG];
        columns[started] = self.apart.iter().map(|(_, row)| row[started].wrapping_add(row[lags])).collect();
        self.with_dictionaries(service, region, columns)
    }

    /// A column every row has, as it was written.
    fn column(&self, index: usize) -> Result<Vec<i64>, Damage> {
        Ok(self.weave(read_column(self.columns[index], self.rest)?, index))
    }

    /// Puts the rows that lie by themselves back between the others.
    fn weave(&self, values: Vec<i64>, index: usize) -> Vec<i64> {
        if self.apart.is_empty() {
            return values;
        }
        let mut woven = Vec::with_capacity(values.len() + self.apart.len());
        let mut values = values.into_iter();
        for (place, row) in &self.apart {
            let before = place.saturating_sub(woven.len());
            woven.extend(values.by_ref().take(before));
            woven.push(row[index]);
        }
        woven.extend(values);
        woven
    }

    fn with_dictionaries(mut self, service: ServiceId, region: RegionName, columns: [Vec<i64>; COLUMNS]) -> Result<Unpacked, Damage> {
        Ok(Unpacked { service, region, columns, shared: Shared::read(&mut self.dictionaries)? })
    }
}

/// What counting needs of one row.
pub struct Tally {
    pub started: i64,
    pub reason: Option<Reason>,
    pub omitted: bool,
}

/// A block's columns, each with a value for every row.
pub struct Unpacked {
    service: ServiceId,
    region: RegionName,
    columns: [Vec<i64>; COLUMNS],
    shared: Shared,
}

impl Unpacked {
    pub fn rows(&self) -> usize {
        self.columns[column::STARTED].len()
    }

    pub fn started(&self, row: usize) -> i64 {
        self.columns[column::STARTED][row]
    }

    pub fn omitted(&self, row: usize) -> bool {
        self.columns[column::FLAGS][row] & flag::OMITTED != 0
    }

    pub fn reason(&self, row: usize) -> Option<Reason> {
        let failed = self.columns[column::FLAGS][row] & flag::FAILURE != 0;
        if failed { Reason::from_code((self.columns[column::CODE][row] >> 8) as u8) } else { None }
    }

    pub fn latency(&self, row: usize) -> u64 {
        self.latency_us(row) as u64
    }

    pub fn result(&self, row: usize) -> Result<CheckResult, Damage> {
        let value = |column: usize| self.columns[column][row];
        let flags = value(column::FLAGS);
        let has = |bit: i64| flags & bit != 0;
        let phase = |index: usize| has(1 << index).then(|| span(value(column::PHASES + index)));
        let latency = self.latency_us(row);
        let (node, boot) = entry(&self.shared.origins, value(column::ORIGIN))?;
        Ok(CheckResult {
            id: CheckId { node, boot, seq: value(column::SEQ) as u64 },
            service: self.service,
            region: self.region.clone(),
            scheduled_at: Timestamp(value(column::STARTED).wrapping_sub(value(column::LAG))),
            started_at: Timestamp(value(column::STARTED)),
            latency: span(latency),
            elapsed: span(value(column::ELAPSED).wrapping_add(latency)),
            status_code: has(flag::STATUS).then(|| value(column::STATUS) as u16),
            failure: match has(flag::FAILURE) {
                false => None,
                true => {
                    let code = value(column::CODE);
                    let reason = Reason::from_code((code >> 8) as u8).ok_or_else(|| format!("no reason has code {}", code >> 8))?;
                    let phase = Phase::from_code(code as u8).ok_or_else(|| format!("no phase has code {}", code as u8))?;
                    Some(Failure { reason, phase, message: entry(&self.shared.messages, value(column::MESSAGE))? })
                }
            },
            phases: Phases { dns: phase(0), connect: phase(1), tls: phase(2), first_byte: phase(3), transfer: phase(4) },
            address: has(flag::ADDRESS).then(|| entry(&self.shared.addresses, value(column::ADDRESS))).transpose()?,
            http_version: HttpVersion::from_code((flags >> flag::HTTP_SHIFT & 3) as u8),
            tls_version: TlsVersion::from_code((flags >> flag::TLS_SHIFT & 3) as u8),
            certificate: has(flag::CERTIFICATE).then(|| entry(&self.shared.certificates, value(column::CERTIFICATE))).transpose()?,
            body_bytes: value(column::BODY) as u64,
            redirects: value(column::REDIRECTS) as u8,
            attempt_count: value(column::ATTEMPTS) as u8,
            attempts: Vec::new(),
            evidence: None,
            clock_offset: value(column::OFFSET),
        })
    }

    fn latency_us(&self, row: usize) -> i64 {
        let mut latency = self.columns[column::LATENCY][row];
        for index in 0..5 {
            // Where the phase is missing its spread column holds zero.
            latency = latency.wrapping_add(self.columns[column::PHASES + index][row]);
        }
        latency
    }
}

pub fn phase_list(phases: &Phases) -> [Option<Duration>; 5] {
    [phases.dns, phases.connect, phases.tls, phases.first_byte, phases.transfer]
}

/// Everything of a result that is a yes, a no or one of a few.
pub fn flags(result: &CheckResult, omitted: bool) -> i64 {
    let mut flags = 0;
    for (index, phase) in phase_list(&result.phases).iter().enumerate() {
        flags |= i64::from(phase.is_some()) << index;
    }
    for (bit, set) in [
        (flag::ADDRESS, result.address.is_some()),
        (flag::CERTIFICATE, result.certificate.is_some()),
        (flag::FAILURE, result.failure.is_some()),
        (flag::STATUS, result.status_code.is_some()),
        (flag::OMITTED, omitted),
        (flag::OFFSET, result.clock_offset != 0),
    ] {
        flags |= if set { bit } else { 0 };
    }
    flags |= result.http_version.map_or(0, |version| version as i64) << flag::HTTP_SHIFT;
    flags | result.tls_version.map_or(0, |version| version as i64) << flag::TLS_SHIFT
}

/// The whole microseconds of a span as the bits of an `i64`.
pub fn us(span: Duration) -> i64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX) as i64
}

pub fn span(us: i64) -> Duration {
    Duration::from_micros(us as u64)
}

fn explained(phases: &[Option<Duration>; 5]) -> i64 {
    phases.iter().flatten().fold(0, |sum: i64, phase| sum.wrapping_add(us(*phase)))
}

fn entry<T: Clone>(known: &[T], index: i64) -> Result<T, Damage> {
    usize::try_from(index).ok().and_then(|index| known.get(index)).cloned().ok_or_else(|| format!("dictionary has no entry {index}"))
}

/// A column that only some rows have, as one that all have.
fn spread(bytes: &[u8], flags: &[i64], bit: i64) -> Result<Vec<i64>, Damage> {
    let present = flags.iter().filter(|flags| **flags & bit != 0).count();
    let mut values = read_column(bytes, present)?.into_iter();
    Ok(flags.iter().map(|flags| if flags & bit != 0 { values.next().unwrap_or(0) } else { 0 }).collect())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}
