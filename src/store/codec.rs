//! The bytes of a block: the results of one service in one region, column by column.
//!
//! What a column can tell from others is taken out before packing: a latency is kept as what its phases do not explain, a
//! due time as the lag behind it, and a phase only for the rows that have it. Texts, addresses and certificates lie in
//! dictionaries at the end. The first byte is the version of this form; a summary follows, so that most blocks a filter
//! does not want are never unpacked.
//!
//! **Invariant.** All of a `CheckResult` but its attempts and evidence comes back exactly, in whole microseconds.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::model::check::{Certificate, CheckResult, Failure, HttpVersion, Phase, Phases, Reason, TlsVersion};
use crate::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::columns::{Damage, MOST_ROWS, Reader, Shape, Writer, read_column};

const VERSION: u8 = 2;
/// Before clock offsets were known of: one column less.
const WITHOUT_OFFSETS: u8 = 1;

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

/// Packs results of one series. They must not be empty, not more than `MOST_ROWS` and in the order of [`order`].
pub fn encode(rows: &[Packable]) -> Vec<u8> {
    let mut columns: [Vec<i64>; COLUMNS] = Default::default();
    let mut origins: Vec<(&NodeName, Boot)> = Vec::new();
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut certificates: Vec<&Certificate> = Vec::new();
    let mut messages: Vec<&str> = Vec::new();
    let mut summary = Summary::default();
    for Packable { result, omitted } in rows {
        let latency = us(result.latency);
        summary.add(latency as u64, result.failure.as_ref().map(|failure| failure.reason), *omitted);
        let phases = phase_list(&result.phases);
        columns[column::STARTED].push(result.started_at.0);
        columns[column::LAG].push(result.started_at.0.wrapping_sub(result.scheduled_at.0));
        columns[column::ORIGIN].push(intern(&mut origins, (&result.id.node, result.id.boot)));
        columns[column::SEQ].push(result.id.seq as i64);
        columns[column::FLAGS].push(flags(result, *omitted));
        columns[column::LATENCY].push(latency.wrapping_sub(explained(&phases)));
        columns[column::ELAPSED].push(us(result.elapsed).wrapping_sub(latency));
        columns[column::BODY].push(result.body_bytes as i64);
        columns[column::REDIRECTS].push(result.redirects.into());
        columns[column::ATTEMPTS].push(result.attempt_count.into());
        for (index, phase) in phases.iter().enumerate() {
            columns[column::PHASES + index].extend(phase.map(us));
        }
        columns[column::STATUS].extend(result.status_code.map(i64::from));
        columns[column::ADDRESS].extend(result.address.map(|address| intern(&mut addresses, address)));
        columns[column::CERTIFICATE].extend(result.certificate.as_deref().map(|certificate| intern(&mut certificates, certificate)));
        columns[column::OFFSET].extend((result.clock_offset != 0).then_some(result.clock_offset));
        if let Some(failure) = &result.failure {
            columns[column::CODE].push(i64::from(failure.reason.code()) << 8 | i64::from(failure.phase.code()));
            columns[column::MESSAGE].push(intern(&mut messages, &failure.message));
        }
    }
    let mut out = Writer::default();
    out.byte(VERSION);
    summary.write(&mut out);
    for (index, values) in columns.iter().enumerate() {
        let shape = if matches!(index, column::STARTED | column::SEQ) { Shape::Rising } else { Shape::Noisy };
        out.column(values, shape);
    }
    out.number(origins.len() as u64);
    for (node, boot) in origins {
        out.text(&node.0);
        out.number(boot.0);
    }
    out.number(addresses.len() as u64);
    for address in addresses {
        write_address(&mut out, address);
    }
    out.number(certificates.len() as u64);
    for certificate in certificates {
        write_certificate(&mut out, certificate);
    }
    out.number(messages.len() as u64);
    for message in messages {
        out.text(message);
    }
    out.bytes
}

/// The order of results inside a series.
pub fn order(result: &CheckResult) -> (Timestamp, &NodeName, Boot, u64) {
    (result.started_at, &result.id.node, result.id.boot, result.id.seq)
}

/// A block whose columns are found but not unpacked.
pub struct Block<'a> {
    pub summary: Summary,
    rows: usize,
    columns: [&'a [u8]; COLUMNS],
    dictionaries: Reader<'a>,
}

impl<'a> Block<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Block<'a>, Damage> {
        let mut reader = Reader::new(bytes);
        let written = match reader.byte()? {
            VERSION => COLUMNS,
            WITHOUT_OFFSETS => column::OFFSET,
            found => return Err(format!("block has version {found}, this program reads {VERSION}")),
        };
        let summary = Summary::read(&mut reader)?;
        let rows = usize::try_from(summary.checks).ok().filter(|rows| *rows <= MOST_ROWS).ok_or("block claims too many rows")?;
        let mut columns = [&[][..]; COLUMNS];
        for column in &mut columns[..written] {
            *column = reader.slice()?;
        }
        Ok(Block { summary, rows, columns, dictionaries: reader })
    }

    /// When each check began, rising.
    pub fn started(&self) -> Result<Vec<i64>, Damage> {
        read_column(self.columns[column::STARTED], self.rows)
    }

    /// The little that counting needs of each row.
    pub fn tally(&self) -> Result<Vec<Tally>, Damage> {
        let flags = read_column(self.columns[column::FLAGS], self.rows)?;
        let codes = spread(self.columns[column::CODE], &flags, flag::FAILURE)?;
        let rows = self.started()?.into_iter().zip(flags.into_iter().zip(codes));
        let tally = |(started, (flags, code)): (i64, (i64, i64))| Tally {
            started,
            reason: Reason::from_code((code >> 8) as u8),
            omitted: flags & flag::OMITTED != 0,
        };
        Ok(rows.map(tally).collect())
    }

    pub fn unpack(mut self, service: ServiceId, region: RegionName) -> Result<Unpacked, Damage> {
        let flags = read_column(self.columns[column::FLAGS], self.rows)?;
        let mut columns: [Vec<i64>; COLUMNS] = Default::default();
        for (index, bytes) in self.columns.iter().enumerate() {
            columns[index] = match presence(index) {
                None => read_column(bytes, self.rows)?,
                Some(bit) => spread(bytes, &flags, bit)?,
            };
        }
        let from = &mut self.dictionaries;
        let mut unpacked =
            Unpacked { service, region, columns, origins: vec![], addresses: vec![], certificates: vec![], messages: vec![] };
        for _ in 0..from.number()? {
            unpacked.origins.push((NodeName::from(from.text()?), Boot(from.number()?)));
        }
        for _ in 0..from.number()? {
            unpacked.addresses.push(read_address(from)?);
        }
        for _ in 0..from.number()? {
            unpacked.certificates.push(Arc::new(read_certificate(from)?));
        }
        for _ in 0..from.number()? {
            unpacked.messages.push(from.text()?.to_owned());
        }
        Ok(unpacked)
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
    origins: Vec<(NodeName, Boot)>,
    addresses: Vec<IpAddr>,
    certificates: Vec<Arc<Certificate>>,
    messages: Vec<String>,
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
        let (node, boot) = entry(&self.origins, value(column::ORIGIN))?;
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
                    Some(Failure { reason, phase, message: entry(&self.messages, value(column::MESSAGE))? })
                }
            },
            phases: Phases { dns: phase(0), connect: phase(1), tls: phase(2), first_byte: phase(3), transfer: phase(4) },
            address: has(flag::ADDRESS).then(|| entry(&self.addresses, value(column::ADDRESS))).transpose()?,
            http_version: HttpVersion::from_code((flags >> flag::HTTP_SHIFT & 3) as u8),
            tls_version: TlsVersion::from_code((flags >> flag::TLS_SHIFT & 3) as u8),
            certificate: has(flag::CERTIFICATE).then(|| entry(&self.certificates, value(column::CERTIFICATE))).transpose()?,
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

pub fn write_address(out: &mut Writer, address: IpAddr) {
    match address {
        IpAddr::V4(address) => out.slice(&address.octets()),
        IpAddr::V6(address) => out.slice(&address.octets()),
    }
}

pub fn read_address(from: &mut Reader) -> Result<IpAddr, Damage> {
    let octets = from.slice()?;
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).map(IpAddr::from).map_err(|_| format!("address has {} bytes", octets.len()))
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

fn intern<T: PartialEq>(known: &mut Vec<T>, value: T) -> i64 {
    let index = known.iter().position(|known| *known == value).unwrap_or_else(|| {
        known.push(value);
        known.len() - 1
    });
    index as i64
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

fn write_certificate(out: &mut Writer, certificate: &Certificate) {
    out.text(&certificate.subject);
    out.text(&certificate.issuer);
    out.signed(certificate.not_before.0);
    out.signed(certificate.not_after.0);
    // Half the size as bytes; anything that is not a digest stays text.
    match unhex(&certificate.fingerprint) {
        Some(digest) => {
            out.byte(1);
            out.slice(&digest);
        }
        None => {
            out.byte(0);
            out.text(&certificate.fingerprint);
        }
    }
}

fn read_certificate(from: &mut Reader) -> Result<Certificate, Damage> {
    Ok(Certificate {
        subject: from.text()?.to_owned(),
        issuer: from.text()?.to_owned(),
        not_before: Timestamp(from.signed()?),
        not_after: Timestamp(from.signed()?),
        fingerprint: match from.byte()? {
            1 => hex(from.slice()?),
            _ => from.text()?.to_owned(),
        },
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// Reads lower-case hexadecimal alone, so that writing it again gives the same text.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
