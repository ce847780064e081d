//! Up-time and coverage of each service over the usual windows, as last worked out, so that a summary of all of them never
//! asks the store. A service's are worked out again when its rollups are new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use crate::aggregate::rollup::Rule;
use crate::model::id::ServiceId;
use crate::model::span::Span;
use crate::model::time::Timestamp;
use crate::store::connection::StoreError;
use crate::store::results::Results;
use crate::store::rollups::WindowUptime;

const DAY: Duration = Duration::from_secs(86_400);

/// The usual windows and what they are called.
pub const WINDOWS: [(&str, Duration); 4] = [
    ("24h", DAY),
    ("7d", Duration::from_secs(7 * 86_400)),
    ("30d", Duration::from_secs(30 * 86_400)),
    ("90d", Duration::from_secs(90 * 86_400)),
];

/// What the usual windows that end now lie within.
pub fn reach(now: Timestamp) -> Span {
    let longest = WINDOWS.iter().map(|(_, window)| *window).max().unwrap_or_default();
    Span::new(now.minus(longest + DAY), now)
}

#[derive(Debug, Default)]
pub struct Uptimes {
    known: Mutex<BTreeMap<ServiceId, Known>>,
    stale: Mutex<BTreeSet<ServiceId>>,
}

/// As of an instant, in the order of [`WINDOWS`].
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub at: Timestamp,
    pub windows: Vec<WindowUptime>,
}

impl Uptimes {
    /// These are out of date.
    pub fn nudge(&self, services: impl IntoIterator<Item = ServiceId>) {
        self.stale.lock().expect("no holder panics").extend(services);
    }

    /// One that is out of date, no longer counted as such.
    pub fn next(&self) -> Option<ServiceId> {
        self.stale.lock().expect("no holder panics").pop_first()
    }

    pub fn get(&self, service: ServiceId) -> Option<Known> {
        self.known.lock().expect("no holder panics").get(&service).cloned()
    }

    /// Works a service's out from its rollups; `excluded` is maintenance, within [`reach`].
    pub async fn refresh(
        &self,
        results: &Results,
        service: ServiceId,
        rule: Rule,
        excluded: &[Span],
        now: Timestamp,
    ) -> Result<Known, StoreError> {
        let windows = results.uptime(service, &WINDOWS.map(|(_, window)| window), rule, excluded, now).await?;
        let known = Known { at: now, windows };
        self.known.lock().expect("no holder panics").insert(service, known.clone());
        Ok(known)
    }
}
