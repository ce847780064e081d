//! Asking for results: filters, pages and the opaque names of results and of places between them.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::check::{CheckResult, Reason};
use crate::model::id::{Boot, CheckId, NodeName, RegionName, ServiceId};
use crate::model::time::Timestamp;
use crate::store::codec::{Block, Summary};
use crate::store::columns::{Damage, Reader, Writer};
use crate::store::connection::StoreError;
use crate::store::results::Results;
use crate::store::scan::{Bounds, Scan};
use crate::store::values::corrupt;

const CURSOR_VERSION: u8 = 1;
const ID_VERSION: u8 = 1;

/// Which results are wanted, and which page of them. All filters must hold.
#[derive(Clone, Debug, Default)]
pub struct ResultQuery {
    pub service: Option<ServiceId>,
    /// Any of these; beside `service`, both must hold.
    pub services: Option<Vec<ServiceId>>,
    /// Checks that began at this instant or later…
    pub since: Option<Timestamp>,
    /// …and before this one.
    pub until: Option<Timestamp>,
    pub ok: Option<bool>,
    pub region: Option<String>,
    pub reason: Option<Reason>,
    pub status_code: Option<u16>,
    pub min_latency: Option<Duration>,
    /// Found in message, address or region, whatever its case.
    pub search: Option<String>,
    pub newest_first: bool,
    pub cursor: Option<Cursor>,
    pub page_size: usize,
}

/// One page. `next` goes on in the order asked for, `previous` back; `next` may be there though no result is left.
#[derive(Clone, Debug, Default)]
pub struct ResultPage {
    pub results: Vec<StoredResult>,
    pub next: Option<Cursor>,
    pub previous: Option<Cursor>,
}

/// A result with its name; its attempts and evidence are asked for by that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    pub id: ResultId,
    pub result: CheckResult,
}

/// Where a result is in the order of all results: by start, then by what tells two of one instant apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub started: i64,
    pub service: u32,
    pub region: String,
    pub node: String,
    pub boot: u64,
    pub seq: u64,
}

/// The name of a stored result: opaque, safe in a URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResultId(Position);

/// A place between two results of a query: opaque, safe in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    position: Position,
    newest_first: bool,
    /// It leads against the order asked for.
    backwards: bool,
}

impl Position {
    pub fn of(result: &CheckResult) -> Position {
        Position {
            started: result.started_at.0,
            service: result.service.0,
            region: result.region.0.to_string(),
            node: result.id.node.0.to_string(),
            boot: result.id.boot.0,
            seq: result.id.seq,
        }
    }

    /// Before every result that began at this instant, and after every earlier one.
    pub fn edge(started: i64) -> Position {
        Position { started, service: 0, region: String::new(), node: String::new(), boot: 0, seq: 0 }
    }

    fn write(&self, out: &mut Writer) {
        out.signed(self.started);
        out.number(self.service.into());
        out.text(&self.region);
        out.text(&self.node);
        out.number(self.boot);
        out.number(self.seq);
    }

    fn read(from: &mut Reader) -> Result<Position, Damage> {
        let position = Position {
            started: from.signed()?,
            service: u32::try_from(from.number()?).map_err(|error| error.to_string())?,
            region: from.text()?.to_owned(),
            node: from.text()?.to_owned(),
            boot: from.number()?,
            seq: from.number()?,
        };
        if from.is_empty() { Ok(position) } else { Err("bytes are left over".to_owned()) }
    }
}

impl ResultId {
    pub fn of(result: &CheckResult) -> ResultId {
        ResultId(Position::of(result))
    }

    /// `None`: this is not the name of a result.
    pub fn parse(text: &str) -> Option<ResultId> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let mut from = Reader::new(&bytes);
        let version = from.byte().ok()?;
        (version == ID_VERSION).then(|| Position::read(&mut from).ok().map(ResultId))?
    }

    pub fn service(&self) -> ServiceId {
        ServiceId(self.0.service)
    }
}

impl std::fmt::Display for ResultId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Writer::default();
        bytes.byte(ID_VERSION);
        self.0.write(&mut bytes);
        out.write_str(&URL_SAFE_NO_PAD.encode(bytes.bytes))
    }
}

impl Cursor {
    pub fn parse(text: &str) -> Result<Cursor, StoreError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| StoreError::Cursor)?;
        let mut from = Reader::new(&bytes);
        let mut read = || {
            if from.byte()? != CURSOR_VERSION {
                return Err("unknown version".to_owned());
            }
            let flags = from.byte()?;
            if flags > 3 {
                return Err("unknown flags".to_owned());
            }
            Ok(Cursor { newest_first: flags & 1 != 0, backwards: flags & 2 != 0, position: Position::read(&mut from)? })
        };
        read().map_err(|_: Damage| StoreError::Cursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = Writer::default();
        bytes.byte(CURSOR_VERSION);
        bytes.byte(u8::from(self.newest_first) | u8::from(self.backwards) << 1);
        self.position.write(&mut bytes);
        out.write_str(&URL_SAFE_NO_PAD.encode(bytes.bytes))
    }
}

impl ResultQuery {
    /// Whether a result is one of those asked for; the times are looked at elsewhere.
    pub(super) fn wants(&self, result: &CheckResult) -> bool {
        self.wants_series(result.service, &result.region)
            && self.ok.is_none_or(|ok| ok == result.ok())
            && self.reason.is_none_or(|reason| result.failure.as_ref().is_some_and(|failure| failure.reason == reason))
            && self.status_code.is_none_or(|status| result.status_code == Some(status))
            && self.min_latency.is_none_or(|least| result.latency >= least)
            && self.search.as_ref().is_none_or(|needle| found(needle, result))
    }

    pub(super) fn wants_series(&self, service: ServiceId, region: &RegionName) -> bool {
        self.service.is_none_or(|wanted| wanted == service)
            && self.services.as_ref().is_none_or(|wanted| wanted.contains(&service))
            && self.region.as_ref().is_none_or(|wanted| **wanted == *region.0)
    }

    /// Whether only failing checks can be meant.
    pub(super) fn wants_failures(&self) -> bool {
        self.ok == Some(false) || self.reason.is_some()
    }

    /// Whether any of what a summary stands for may be asked for.
    pub(super) fn may_want(&self, summary: &Summary) -> bool {
        let failed = summary.failed();
        let ok = self.ok.is_none_or(|ok| if ok { failed < summary.checks } else { failed > 0 });
        let reason = self.reason.is_none_or(|reason| summary.failures.iter().any(|(code, _)| *code == reason.code()));
        let slow = self.min_latency.is_none_or(|least| Duration::from_micros(summary.most_latency) >= least);
        ok && reason && slow
    }
}

fn found(needle: &str, result: &CheckResult) -> bool {
    let needle = needle.to_lowercase();
    let holds = |text: &str| text.to_lowercase().contains(&needle);
    result.failure.as_ref().is_some_and(|failure| holds(&failure.message))
        || result.address.is_some_and(|address| holds(&address.to_string()))
        || holds(&result.region.0)
}

impl Results {
    /// One page of results. It reads a bounded amount: where filters find little, a page may be short, even empty, and yet
    /// have a `next`.
    pub async fn page(&self, query: &ResultQuery) -> Result<ResultPage, StoreError> {
        if query.cursor.as_ref().is_some_and(|cursor| cursor.newest_first != query.newest_first) {
            return Err(StoreError::Cursor);
        }
        let backwards = query.cursor.as_ref().is_some_and(|cursor| cursor.backwards);
        let descending = query.newest_first != backwards;
        let page_size = query.page_size.max(1);
        let bounds = Bounds::new(query.since, query.until, query.cursor.as_ref().map(|cursor| &cursor.position), descending);
        // One more than the page tells whether there is another.
        let scan = Scan::new(&self.inner, query, bounds, descending, page_size + 1);
        let (mut results, stopped) = scan.run().await?;
        let cursor = |position: Position, backwards: bool| Cursor { position, newest_first: query.newest_first, backwards };
        let onward = if results.len() > page_size {
            results.truncate(page_size);
            results.last().map(|last| cursor(Position::of(last), backwards))
        } else {
            stopped.map(|started| cursor(Position::edge(started), backwards))
        };
        let back = query.cursor.as_ref().map(|given| {
            let position = results.first().map_or_else(|| given.position.clone(), |first| Position::of(first));
            cursor(position, !backwards)
        });
        if backwards {
            results.reverse();
        }
        let (next, previous) = if backwards { (back, onward) } else { (onward, back) };
        let results = results.into_iter().map(|result| StoredResult { id: ResultId::of(&result), result: *result }).collect();
        Ok(ResultPage { results, next, previous })
    }

    /// One result with its attempts and evidence, where they were kept; `None`: there is none of this name (any more).
    pub async fn one(&self, id: &ResultId) -> Result<Option<CheckResult>, StoreError> {
        let Some(mut result) = self.find(&id.0).await? else { return Ok(None) };
        self.inner.add_details(&mut result).await?;
        Ok(Some(result))
    }

    async fn find(&self, position: &Position) -> Result<Option<CheckResult>, StoreError> {
        let name = (ServiceId(position.service), RegionName::from(position.region.as_str()));
        let id = CheckId { node: NodeName::from(position.node.as_str()), boot: Boot(position.boot), seq: position.seq };
        let snapshot = self.inner.snapshot(Some(name.0));
        let Some((_, series)) = snapshot.tails.iter().find(|(key, _)| *key == name) else { return Ok(None) };
        for (row, _) in series.tail.rows().iter().enumerate().filter(|(_, row)| row.started == position.started) {
            let result = series.tail.result(name.0, &name.1, row).result;
            if result.id == id {
                return Ok(Some(result));
            }
        }
        let latest = position.started.saturating_add(self.inner.limits.longest_span);
        let blocks = self.inner.blocks_of(&name, position.started, latest).await?;
        for block in blocks {
            let Some(data) = block.data.filter(|_| block.start <= position.started && snapshot.shows(&name, block.serial)) else {
                continue;
            };
            let damaged = |damage: Damage| corrupt("block", damage);
            let block = Block::parse(&data).map_err(damaged)?.unpack(name.0, name.1.clone()).map_err(damaged)?;
            for row in (0..block.rows()).filter(|row| block.started(*row) == position.started) {
                let result = block.result(row).map_err(damaged)?;
                if result.id == id {
                    return Ok(Some(result));
                }
            }
        }
        Ok(None)
    }
}
