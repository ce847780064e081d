//! Store and board → inputs of the facts.
//!
//! Cheap for a thousand services: of each series a handful of records of hours or days, read one after the other and reduced to
//! figures before the next. It gives way between any two services, so that checking, storing and answering go first.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::aggregate::board::{Board, ServiceState};
use crate::aggregate::rollup::{DAY, HOUR, Rule, floor};
use crate::aggregate::verdict::Verdict;
use crate::clock::Clock;
use crate::config::Config;
use crate::digest::facts::measured::Measured;
use crate::digest::facts::{Inputs, Watched};
use crate::hub::records::Records;
use crate::model::digest::Period;
use crate::model::id::ServiceId;
use crate::model::incident::Incident;
use crate::model::service::Schedule;
use crate::model::time::Timestamp;
use crate::probe::redact::Secrets;
use crate::store::Store;
use crate::store::connection::StoreError;
use crate::store::findings::{FindingQuery, Findings};
use crate::store::incidents::{IncidentFilter, Incidents};
use crate::store::rollups::{Resolution, RollupQuery};
use crate::store::services::{Services, StoredService};

/// Longer periods are looked at by the day.
const HOURLY_UP_TO: u32 = 72;
const PAGE: usize = 500;

/// Where everything comes from.
#[derive(Clone)]
pub struct Sources {
    pub store: Arc<Store>,
    pub services: Arc<Services>,
    pub incidents: Arc<Incidents>,
    pub findings: Arc<Findings>,
    pub board: Arc<Board>,
    pub default_schedule: Schedule,
    pub clock: Clock,
}

/// The period of so many hours that ends at an instant, and the one it is held against. It begins with a full hour, or a full
/// day in UTC where it is long: rollups are not cut.
pub fn periods(hours: u32, until: Timestamp) -> (Period, Period) {
    let span = resolution(hours).span();
    let until = Timestamp(floor(until, 1_000_000));
    let since = floor(Timestamp(until.0 - i64::from(hours) * HOUR), span);
    let apart = (until.0 - since).div_euclid(DAY).max(1) * DAY;
    let apart = if apart < i64::from(hours) * HOUR { apart + DAY } else { apart };
    let before = Period { since: Timestamp(since - apart), until: Timestamp((until.0 - apart).min(since)) };
    (Period { since: Timestamp(since), until }, before)
}

fn resolution(hours: u32) -> Resolution {
    if hours <= HOURLY_UP_TO { Resolution::Hour } else { Resolution::Day }
}

impl Sources {
    pub fn of(records: &Records, board: Arc<Board>, config: &Config, clock: &Clock) -> Sources {
        Sources {
            store: records.store.clone(),
            services: records.services.clone(),
            incidents: records.incidents.clone(),
            findings: records.findings.clone(),
            board,
            default_schedule: config.hub.schedule.clone(),
            clock: clock.clone(),
        }
    }

    /// Of all services, or of one.
    pub async fn gather(&self, hours: u32, until: Timestamp, service: Option<ServiceId>) -> Result<Inputs, StoreError> {
        let (period, before) = periods(hours, until);
        let now = self.clock.now();
        let board: BTreeMap<ServiceId, ServiceState> = self.board.summary(now).into_iter().map(|state| (state.id, state)).collect();
        let mut services = Vec::new();
        for stored in self.services.list().iter().filter(|stored| service.is_none_or(|service| service == stored.id)) {
            services.push(self.watched(stored, board.get(&stored.id), hours, period, before).await?);
            tokio::task::yield_now().await;
        }
        let incidents = self.incidents(period, service).await?;
        let said = incidents.iter().filter_map(|incident| Some((incident.id.0.clone(), self.said(incident)?))).collect();
        let asked =
            FindingQuery { service, since: Some(period.since), until: Some(period.until), dismissed: None, ..FindingQuery::default() };
        let findings = self.findings.list(&asked).await?.findings;
        Ok(Inputs { period, before, services, incidents, findings, said })
    }

    async fn watched(
        &self,
        stored: &StoredService,
        state: Option<&ServiceState>,
        hours: u32,
        period: Period,
        before: Period,
    ) -> Result<Watched, StoreError> {
        let now = self.clock.now();
        let usual = || Rule { gap: self.default_schedule.gap(now), failure: 1, success: 1 };
        let rule = self.board.rule(stored.id, now).unwrap_or_else(usual);
        let mut regions = Vec::new();
        if stored.enabled() {
            for region in self.store.results.regions(stored.id) {
                let asked = RollupQuery {
                    service: stored.id,
                    region: Some(region.to_string()),
                    resolution: resolution(hours),
                    since: before.since,
                    until: period.until,
                    rule,
                };
                regions.push((region, self.store.results.rollups(&asked, now).await?));
            }
        }
        let ends = state.into_iter().flat_map(|state| &state.regions).filter_map(|region| {
            let shown = region.latest.certificate.as_ref().or(region.good_certificate.as_ref())?;
            Some(shown.not_after)
        });
        Ok(Watched {
            id: stored.id,
            name: stored.name().into(),
            enabled: stored.enabled(),
            verdict: state.map_or(Verdict::Unknown, |state| state.verdict),
            measured: Measured::of(&regions, period, before, stored.created_at.0, self.board.degraded_after(stored.id)),
            certificate_ends: ends.min(),
        })
    }

    async fn incidents(&self, period: Period, service: Option<ServiceId>) -> Result<Vec<Incident>, StoreError> {
        let filter = IncidentFilter { service, since: Some(period.since), until: Some(period.until), ..IncidentFilter::default() };
        let mut found = Vec::new();
        loop {
            let (count, page) = self.incidents.page(&filter, found.len(), PAGE).await?;
            let empty = page.is_empty();
            found.extend(page.into_iter().map(|stored| stored.incident));
            if empty || found.len() as u64 >= count {
                return Ok(found);
            }
        }
    }

    /// What a failing check of an incident said, without the secrets of its service.
    fn said(&self, incident: &Incident) -> Option<String> {
        let message = incident.regions.iter().filter(|seen| seen.status == "down").find_map(|seen| seen.failure.as_ref())?.message.clone();
        let Some(stored) = self.services.get(incident.service) else { return Some(message) };
        match stored.document.check(stored.id, &self.default_schedule) {
            Ok(service) => Some(Secrets::of(&service, None).hide(&message)),
            Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_with_a_full_hour_and_are_held_against_the_same_hours() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let told = |hours: u32| {
            let (period, before) = periods(hours, at("2026-11-22T07:03:10.5Z"));
            [period.since, period.until, before.since, before.until].map(|at| at.rfc3339()[..16].to_owned())
        };
        assert_eq!(told(24), ["2026-11-21T07:00", "2026-11-22T07:03", "2026-11-20T07:00", "2026-11-21T07:00"]);
        assert_eq!(told(1), ["2026-11-22T06:00", "2026-11-22T07:03", "2026-11-21T06:00", "2026-11-21T07:03"]);
        assert_eq!(told(168), ["2026-11-15T00:00", "2026-11-22T07:03", "2026-11-08T00:00", "2026-11-15T00:00"]);
        assert_eq!(told(30), ["2026-11-21T01:00", "2026-11-22T07:03", "2026-11-19T01:00", "2026-11-20T07:03"]);
    }
}
