//! How the API itself fares, by endpoint and hour.
//!
//! Each request is counted in memory; about once a minute what was counted is put to its hour and the whole hour is written.
//! A crash loses the counts of a minute at most.
//!
//! **Invariant.** An hour is written whole, so that writing it again after an answer that was lost changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::aggregate::endpoint::{Endpoint, EndpointKind, EndpointRollup, Endpoints, merge_into};
use crate::aggregate::rollup::{HOUR, floor};
use crate::aggregate::sketch::Sketch;
use crate::clock::Clock;
use crate::model::time::Timestamp;
use crate::store::columns::{Damage, Reader, Writer};
use crate::store::connection::{Database, StoreError};
use crate::store::rollup_codec::{read_sketch, write_sketch};
use crate::store::values::{bytes, corrupt, int, record_of, rows};

const VERSION: u8 = 1;
/// How long hours are kept: the longest period that can be asked for, and a little.
const KEPT: Duration = Duration::from_secs(92 * 86_400);

#[derive(Debug)]
pub struct EndpointHours {
    database: Arc<Database>,
    clock: Clock,
    /// What was counted since the last flush, by the start of its hour.
    counted: Mutex<BTreeMap<i64, Endpoints>>,
    /// Hours that were written by this process and may still grow, whole. Held while they are read or written.
    open: tokio::sync::Mutex<BTreeMap<i64, OpenHour>>,
    recent: Mutex<(Duration, Recent)>,
}

/// All endpoints over the last while.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recent {
    /// `None`: since the start, whenever that was.
    pub span: Option<Duration>,
    pub requests: u64,
    pub failed: u64,
    /// Of the answers this program works out itself.
    pub latency: Sketch,
}

#[derive(Debug, Default)]
struct OpenHour {
    endpoints: Endpoints,
    written: bool,
}

impl EndpointHours {
    pub fn new(database: Arc<Database>, clock: Clock) -> EndpointHours {
        EndpointHours { database, clock, counted: Mutex::default(), open: tokio::sync::Mutex::default(), recent: Mutex::default() }
    }

    /// Counts an answered request.
    pub fn note(&self, endpoint: Endpoint, status: u16, took: Duration) {
        let hour = floor(self.clock.now(), HOUR);
        {
            let mut recent = self.recent.lock().expect("no holder panics");
            recent.1.requests += 1;
            recent.1.failed += u64::from(status >= 500);
            if endpoint.kind == EndpointKind::Answer {
                recent.1.latency.add(took);
            }
        }
        let mut counted = self.counted.lock().expect("no holder panics");
        counted.entry(hour).or_default().entry(endpoint).or_default().add(status, took);
    }

    /// What was counted since it was begun anew, which is now, if that is so long ago.
    pub fn recent(&self, least: Duration) -> Recent {
        let now = self.clock.steady();
        let mut recent = self.recent.lock().expect("no holder panics");
        let (since, counted) = &mut *recent;
        let span = now.saturating_sub(*since);
        let answer = Recent { span: counted.span.map(|_| span), ..counted.clone() };
        if counted.span.is_none() || span >= least {
            *recent = (now, Recent { span: Some(Duration::ZERO), ..Recent::default() });
        }
        answer
    }

    /// Writes what was counted, and forgets what is past its time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let mut open = self.open.lock().await;
        let counted = std::mem::take(&mut *self.counted.lock().expect("no holder panics"));
        if let Err(error) = self.open_hours(&mut open, counted.keys()).await {
            let mut again = self.counted.lock().expect("no holder panics");
            for (hour, endpoints) in &counted {
                merge_into(again.entry(*hour).or_default(), endpoints);
            }
            return Err(error);
        }
        for (hour, endpoints) in &counted {
            let whole = open.entry(*hour).or_default();
            merge_into(&mut whole.endpoints, endpoints);
            whole.written = false;
        }
        for (hour, whole) in open.iter_mut().filter(|(_, whole)| !whole.written) {
            let values = vec![("id", record_of("endpoint_hour", vec![int(*hour)])), ("data", bytes(encode(&whole.endpoints)))];
            self.database.query("UPSERT $id SET data = $data RETURN NONE", values).await?;
            whole.written = true;
        }
        let now = self.clock.now();
        open.retain(|hour, _| *hour >= floor(now, HOUR));
        let values = vec![("first", int(i64::MIN)), ("oldest", int(now.minus(KEPT).0))];
        self.database.query("DELETE endpoint_hour:[$first]..[$oldest] RETURN NONE", values).await.map(drop)
    }

    /// Reads those of these hours that were written before and are not in memory.
    async fn open_hours(&self, open: &mut BTreeMap<i64, OpenHour>, hours: impl Iterator<Item = &i64>) -> Result<(), StoreError> {
        for hour in hours {
            if open.contains_key(hour) {
                continue;
            }
            let endpoints = self.stored(*hour, hour + 1).await?.remove(hour).unwrap_or_default();
            open.insert(*hour, OpenHour { endpoints, written: true });
        }
        Ok(())
    }

    /// The hours that begin in a window, with what is not written yet.
    pub async fn read(&self, since: Timestamp, until: Timestamp) -> Result<BTreeMap<i64, Endpoints>, StoreError> {
        let open = self.open.lock().await;
        let mut hours = self.stored(since.0, until.0).await?;
        hours.extend(
            open.iter().filter(|(hour, _)| (since.0..until.0).contains(*hour)).map(|(hour, whole)| (*hour, whole.endpoints.clone())),
        );
        for (hour, endpoints) in
            self.counted.lock().expect("no holder panics").iter().filter(|(hour, _)| (since.0..until.0).contains(*hour))
        {
            merge_into(hours.entry(*hour).or_default(), endpoints);
        }
        Ok(hours)
    }

    async fn stored(&self, since: i64, until: i64) -> Result<BTreeMap<i64, Endpoints>, StoreError> {
        let range = "SELECT * FROM endpoint_hour:[$since]..[$until]";
        let mut answer = self.database.query(range, vec![("since", int(since)), ("until", int(until))]).await?;
        let mut hours = BTreeMap::new();
        for row in rows(&mut answer, 0)? {
            let endpoints = decode(&row.bytes("data")?).map_err(|error| corrupt("endpoint hour", error))?;
            hours.insert(row.key()?.int(0)?, endpoints);
        }
        Ok(hours)
    }
}

fn encode(endpoints: &Endpoints) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(VERSION);
    for (endpoint, rollup) in endpoints {
        out.text(&endpoint.method);
        out.text(&endpoint.route);
        out.byte(endpoint.kind.code());
        rollup.classes.iter().for_each(|count| out.number(*count));
        write_sketch(&mut out, &rollup.latency);
    }
    out.bytes
}

fn decode(bytes: &[u8]) -> Result<Endpoints, Damage> {
    let mut from = Reader::new(bytes);
    match from.byte()? {
        VERSION => {}
        found => return Err(format!("endpoints have version {found}, this program reads {VERSION}")),
    }
    let mut endpoints = Endpoints::new();
    while !from.is_empty() {
        let (method, route) = (from.text()?.to_owned(), from.text()?.to_owned());
        let code = from.byte()?;
        let kind = EndpointKind::from_code(code).ok_or_else(|| format!("no kind of endpoint has code {code}"))?;
        let mut classes = [0; 5];
        for count in &mut classes {
            *count = from.number()?;
        }
        let latency = read_sketch(&mut from)?;
        endpoints.insert(Endpoint { method, route, kind }, EndpointRollup { classes, latency });
    }
    Ok(endpoints)
}
