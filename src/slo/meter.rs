//! Where results are handed to the objectives as soon as they are stored: each adds to the lane of its region, well within a
//! microsecond, and results of services without an objective cost one look.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard};

use crate::model::check::CheckResult;
use crate::model::id::{RegionName, ServiceId};
use crate::model::slo::{Promise, SloId};
use crate::model::span::Span;
use crate::slo::lane::{Heard, Lane};

#[derive(Debug, Default)]
pub struct Meter(Mutex<Gauges>);

#[derive(Debug, Default)]
pub struct Gauges {
    of: HashMap<ServiceId, BTreeSet<SloId>>,
    gauges: BTreeMap<SloId, Gauge>,
}

/// The lanes of one objective.
#[derive(Debug)]
pub struct Gauge {
    pub promise: Promise,
    pub lanes: BTreeMap<RegionName, Lane>,
    /// Maintenance, as far back as the lanes go and ahead.
    pub holes: Vec<Span>,
    /// Results that came while the lanes are made of the store.
    pub waiting: Option<Vec<(RegionName, Heard)>>,
    /// The lanes are to be made of the store, again.
    pub stale: bool,
}

impl Meter {
    /// Takes results the store has just stored.
    pub fn add(&self, results: &[CheckResult]) {
        let mut gauges = self.lock();
        if gauges.of.is_empty() {
            return;
        }
        let Gauges { of, gauges } = &mut *gauges;
        for result in results {
            let Some(mine) = of.get(&result.service) else { continue };
            for id in mine {
                if let Some(gauge) = gauges.get_mut(id) {
                    gauge.hear(&result.region, Heard::from(result));
                }
            }
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Gauges> {
        self.0.lock().expect("no holder panics")
    }
}

impl Gauges {
    /// Takes over the promises as they now are: what is new or says something else is stale.
    pub fn replace(&mut self, promises: impl IntoIterator<Item = (SloId, Promise)>) {
        let mut old = std::mem::take(&mut self.gauges);
        self.of.clear();
        for (id, promise) in promises {
            self.of.entry(promise.service).or_default().insert(id);
            let same = |gauge: &Gauge| {
                gauge.promise.aim == promise.aim && gauge.promise.regions == promise.regions && gauge.promise.burn == promise.burn
            };
            let gauge = match old.remove(&id).filter(same) {
                Some(gauge) => Gauge { promise, ..gauge },
                None => Gauge { promise, lanes: BTreeMap::new(), holes: Vec::new(), waiting: None, stale: true },
            };
            self.gauges.insert(id, gauge);
        }
    }

    pub fn get_mut(&mut self, id: SloId) -> Option<&mut Gauge> {
        self.gauges.get_mut(&id)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (SloId, &mut Gauge)> {
        self.gauges.iter_mut().map(|(id, gauge)| (*id, gauge))
    }
}

impl Gauge {
    fn hear(&mut self, region: &RegionName, heard: Heard) {
        let wanted = |wanted: &Vec<String>| wanted.iter().any(|name| **name == *region.0);
        if self.promise.regions.as_ref().is_some_and(|regions| !wanted(regions)) {
            return;
        }
        if let Some(waiting) = &mut self.waiting {
            waiting.push((region.clone(), heard));
        } else if !self.stale {
            match self.lanes.get_mut(region) {
                Some(lane) => self.stale = !lane.hear(heard, &self.holes),
                // A region that was not heard of before.
                None => self.stale = true,
            }
        }
    }

    /// Takes lanes made of the store, and what came meanwhile.
    pub fn made(&mut self, lanes: BTreeMap<RegionName, Lane>, holes: Vec<Span>) {
        (self.lanes, self.holes, self.stale) = (lanes, holes, false);
        for (region, heard) in self.waiting.take().unwrap_or_default() {
            // What is not newer was in the store when it was read.
            if self.lanes.get(&region).is_none_or(|lane| heard.at > lane.last().0) {
                self.hear(&region, heard);
            }
        }
    }
}
