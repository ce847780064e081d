//! The results of one series that are in the journal and in no block yet, packed in memory one after another.
//!
//! A result takes some thirty bytes and a row of the index: a check every second for a thousand services waits here for
//! minutes, and memory is what a small machine has least of. Rows lie in the order their batches came.
//!
//! **Invariant.** Positions never fall from one row to the next, so what is packed into blocks is always a prefix.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::check::{Certificate, CheckResult, Failure, HttpVersion, Phase, Phases, Reason, TlsVersion};
use crate::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::codec::{Packable, flag, flags, phase_list, span, us};
use crate::store::columns::{Reader, Writer};

/// A dictionary is searched so far back; a text repeated after longer is kept twice.
const LOOK_BACK: usize = 32;

#[derive(Clone, Debug, Default)]
pub struct SeriesTail {
    rows: Vec<Row>,
    bytes: Vec<u8>,
    origins: Vec<(NodeName, Boot)>,
    messages: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
    certificates: Vec<Arc<Certificate>>,
    earliest: i64,
    latest: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub started: i64,
    /// Of the batch it came in.
    pub position: u64,
    offset: u32,
    pub failed: bool,
    pub omitted: bool,
}

impl SeriesTail {
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// When its earliest check began.
    pub fn earliest(&self) -> i64 {
        self.earliest
    }

    pub fn latest(&self) -> i64 {
        self.latest
    }

    /// Bytes it holds, the strings of its dictionaries roughly.
    pub fn size(&self) -> usize {
        let texts: usize = self.messages.iter().map(|message| message.len() + 16).sum();
        self.rows.capacity() * size_of::<Row>() + self.bytes.capacity() + texts + self.certificates.len() * 400
    }

    pub fn push(&mut self, position: u64, result: &CheckResult, omitted: bool) {
        let offset = u32::try_from(self.bytes.len()).expect("a tail is sealed long before four gigabytes");
        let started = result.started_at.0;
        (self.earliest, self.latest) = match self.rows.is_empty() {
            true => (started, started),
            false => (self.earliest.min(started), self.latest.max(started)),
        };
        grow(&mut self.rows, 1);
        self.rows.push(Row { started, position, offset, failed: result.failure.is_some(), omitted });
        let mut out = Writer::default();
        self.encode(&mut out, result, omitted);
        grow(&mut self.bytes, out.bytes.len());
        self.bytes.extend_from_slice(&out.bytes);
    }

    /// The result of a row, without attempts and evidence, as they are not kept here.
    pub fn result(&self, service: ServiceId, region: &RegionName, row: usize) -> Packable {
        let Row { started, offset, .. } = self.rows[row];
        self.decode(Reader::new(&self.bytes[offset as usize..]), service, region, started).expect("a tail reads what it has written itself")
    }

    /// What is left when all rows up to this position have been packed into blocks.
    pub fn after(&self, service: ServiceId, region: &RegionName, position: u64) -> SeriesTail {
        let mut rest = SeriesTail::default();
        let first = self.rows.partition_point(|row| row.position <= position);
        for row in first..self.rows.len() {
            let Packable { result, omitted } = self.result(service, region, row);
            rest.push(self.rows[row].position, &result, omitted);
        }
        rest
    }

    fn encode(&mut self, out: &mut Writer, result: &CheckResult, omitted: bool) {
        let latency = us(result.latency);
        out.number(flags(result, omitted) as u64);
        out.number(intern(
            &mut self.origins,
            |known| known.0 == result.id.node && known.1 == result.id.boot,
            || (result.id.node.clone(), result.id.boot),
        ));
        out.number(result.id.seq);
        out.signed(result.started_at.0.wrapping_sub(result.scheduled_at.0));
        out.number(latency as u64);
        out.signed(us(result.elapsed).wrapping_sub(latency));
        for phase in phase_list(&result.phases).into_iter().flatten() {
            out.number(us(phase) as u64);
        }
        if let Some(status) = result.status_code {
            out.number(status.into());
        }
        if let Some(address) = result.address {
            out.number(intern(&mut self.addresses, |known| *known == address, || address));
        }
        if let Some(certificate) = &result.certificate {
            out.number(intern(&mut self.certificates, |known| known == certificate, || certificate.clone()));
        }
        if let Some(failure) = &result.failure {
            out.byte(failure.reason.code());
            out.byte(failure.phase.code());
            out.number(intern(&mut self.messages, |known| **known == *failure.message, || failure.message.as_str().into()));
        }
        out.number(result.body_bytes);
        out.byte(result.redirects);
        out.byte(result.attempt_count);
        if result.clock_offset != 0 {
            out.signed(result.clock_offset);
        }
    }

    fn decode(&self, mut from: Reader, service: ServiceId, region: &RegionName, started: i64) -> Result<Packable, String> {
        let flags = from.number()? as i64;
        let has = |bit: i64| flags & bit != 0;
        let (node, boot) = self.origins[from.number()? as usize].clone();
        let seq = from.number()?;
        let lag = from.signed()?;
        let latency = from.number()? as i64;
        let elapsed = from.signed()?.wrapping_add(latency);
        let mut phases = [None; 5];
        for (index, phase) in phases.iter_mut().enumerate() {
            if has(1 << index) {
                *phase = Some(span(from.number()? as i64));
            }
        }
        let [dns, connect, tls, first_byte, transfer] = phases;
        let status_code = if has(flag::STATUS) { Some(from.number()? as u16) } else { None };
        let address = if has(flag::ADDRESS) { Some(self.addresses[from.number()? as usize]) } else { None };
        let certificate = if has(flag::CERTIFICATE) { Some(self.certificates[from.number()? as usize].clone()) } else { None };
        let failure = if has(flag::FAILURE) {
            let reason = Reason::from_code(from.byte()?).ok_or("unknown reason")?;
            let phase = Phase::from_code(from.byte()?).ok_or("unknown phase")?;
            Some(Failure { reason, phase, message: self.messages[from.number()? as usize].to_string() })
        } else {
            None
        };
        let result = CheckResult {
            id: CheckId { node, boot, seq },
            service,
            region: region.clone(),
            scheduled_at: Timestamp(started.wrapping_sub(lag)),
            started_at: Timestamp(started),
            latency: span(latency),
            elapsed: span(elapsed),
            status_code,
            failure,
            phases: Phases { dns, connect, tls, first_byte, transfer },
            address,
            http_version: HttpVersion::from_code((flags >> flag::HTTP_SHIFT & 3) as u8),
            tls_version: TlsVersion::from_code((flags >> flag::TLS_SHIFT & 3) as u8),
            certificate,
            body_bytes: from.number()?,
            redirects: from.byte()?,
            attempt_count: from.byte()?,
            attempts: Vec::new(),
            evidence: None,
            clock_offset: if has(flag::OFFSET) { from.signed()? } else { 0 },
        };
        Ok(Packable { result, omitted: has(flag::OMITTED) })
    }
}

/// The index of a known value, or of the new one made for it.
fn intern<T>(known: &mut Vec<T>, same: impl Fn(&T) -> bool, make: impl FnOnce() -> T) -> u64 {
    let from = known.len().saturating_sub(LOOK_BACK);
    let index = known[from..].iter().rposition(same).map(|index| from + index).unwrap_or_else(|| {
        known.push(make());
        known.len() - 1
    });
    index as u64
}

/// Room for `more`, a quarter ahead instead of the double: there is one of these for each series.
fn grow<T>(values: &mut Vec<T>, more: usize) {
    if values.capacity() - values.len() < more {
        values.reserve_exact(more.max(values.len() / 4).max(16));
    }
}
