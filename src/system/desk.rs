//! Puts one look together, keeps it, and tells what of it is wrong: on the schedule and whenever someone asks.
//!
//! **Invariants.** One look at a time. What the store does not take is in the report all the same, and alarms it could not keep are
//! offered to it again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::aggregate::rollup::{HOUR, floor};
use crate::api::metrics::Metrics;
use crate::config::system::SystemSettings;
use crate::model::alert::CauseMove;
use crate::model::system::{Alarm, DependencyKind, Figure, Figures, Health, Sample, Summary};
use crate::model::time::{Timestamp, micros};
use crate::store::connection::StoreError;
use crate::system::dependency::{Dependency, Status};
use crate::system::growth::{HOURS, Hour, growth};
use crate::system::look::{Before, Look, Node, Sources};
use crate::system::threshold::{Alarms, Turn, judge, told};
use crate::system::trend::{Course, Of, courses, width};

/// Hours that are drawn from the looks themselves; longer periods from what they came to by the hour.
const DRAWN_FROM_LOOKS: u32 = 48;

pub struct Desk {
    pub settings: SystemSettings,
    pub dependencies: Vec<Arc<Dependency>>,
    sources: Sources,
    moves: mpsc::UnboundedSender<CauseMove>,
    metrics: Arc<Metrics>,
    /// Held while a look is taken.
    kept: tokio::sync::Mutex<Kept>,
    latest: RwLock<Option<Arc<Report>>>,
}

#[derive(Default)]
struct Kept {
    /// Whether what was kept before this process began has been read.
    resumed: bool,
    alarms: Alarms,
    unsaved: Vec<Turn>,
    before: Before,
    hours: VecDeque<Hour>,
    /// The start of the hour the last look fell into.
    hour: Option<i64>,
    failing: bool,
}

/// One look with all that was made of it.
#[derive(Clone, Debug)]
pub struct Report {
    pub at: Timestamp,
    pub health: Health,
    /// The worst first.
    pub alarms: Vec<Alarm>,
    pub figures: Figures,
    /// Where the store is: a folder, a URL, or memory.
    pub store_place: String,
    pub store_error: Option<String>,
    pub nodes: Vec<Node>,
    pub regions_silent: Vec<String>,
    pub certificates: Vec<(String, Timestamp)>,
    pub dependencies: Vec<DependencyReport>,
}

#[derive(Clone, Debug)]
pub struct DependencyReport {
    pub name: Arc<str>,
    pub kind: DependencyKind,
    /// Where it is asked; `None`: the store's own connection.
    pub url: Option<String>,
    pub state: &'static str,
    pub interval: Duration,
    pub critical: bool,
    pub status: Status,
}

impl Desk {
    pub fn new(
        settings: SystemSettings,
        dependencies: Vec<Arc<Dependency>>,
        sources: Sources,
        moves: mpsc::UnboundedSender<CauseMove>,
        metrics: Arc<Metrics>,
    ) -> Desk {
        Desk { settings, dependencies, sources, moves, metrics, kept: tokio::sync::Mutex::default(), latest: RwLock::default() }
    }

    pub fn latest(&self) -> Option<Arc<Report>> {
        self.latest.read().expect("no holder panics").clone()
    }

    /// Asks every dependency and looks, now.
    pub async fn collect_now(&self) -> Arc<Report> {
        join_all(self.dependencies.iter().map(|dependency| dependency.check())).await;
        self.collect().await
    }

    /// Looks now, with what the dependencies said last.
    pub async fn collect(&self) -> Arc<Report> {
        let mut kept = self.kept.lock().await;
        if !kept.resumed
            && let Err(error) = self.resume(&mut kept).await
        {
            debug!("what was kept of the monitor's own health cannot be read yet: {error}");
        }
        let mut look = self.sources.look(&mut kept.before).await;
        let free = look.figures.get(&Figure::DiskFreeBytes).copied();
        let growing = growth(kept.hours.make_contiguous(), free);
        look.figures.extend(growing.store_a_day.map(|bytes| (Figure::StoreGrowth, bytes)));
        look.figures.extend(growing.full_in_days.map(|days| (Figure::DiskFullDays, days)));

        let mut findings = judge(&self.settings.thresholds, &look.figures, &look.about, self.settings.hold);
        findings.extend(self.dependencies.iter().flat_map(|dependency| dependency.findings(self.settings.hold)));
        let turns = kept.alarms.take(findings, look.at, self.sources.clock.steady());
        for turn in &turns {
            self.tell(turn, look.at);
        }
        kept.unsaved.extend(turns);
        let report = Arc::new(self.report(&look, &kept.alarms));
        self.metrics.looked(report.clone());
        *self.latest.write().expect("no holder panics") = Some(report.clone());

        match self.keep(&mut kept, &look).await {
            Ok(()) if kept.failing => {
                kept.failing = false;
                info!("the monitor's own health is kept again");
            }
            Ok(()) => {}
            Err(error) if kept.failing => debug!("the monitor's own health cannot be kept yet: {error}"),
            Err(error) => {
                kept.failing = true;
                warn!("the monitor's own health cannot be kept, it is shown all the same: {error}");
            }
        }
        report
    }

    fn tell(&self, turn: &Turn, now: Timestamp) {
        match turn {
            Turn::Holds(alarm) => warn!(watched = alarm.watched, severity = alarm.severity.name(), "{}", alarm.text),
            Turn::Over(alarm) => info!(watched = alarm.watched, lasted_s = now.since(alarm.since).as_secs(), "over: {}", alarm.text),
        }
        // Whoever takes them ends with the hub.
        let _ = self.moves.send(told(turn, now));
    }

    fn report(&self, look: &Look, alarms: &Alarms) -> Report {
        let mut alarms: Vec<Alarm> = alarms.raised().cloned().collect();
        alarms.sort_by_key(|alarm| (std::cmp::Reverse(alarm.severity), alarm.since));
        let dependency = |dependency: &Arc<Dependency>| DependencyReport {
            name: dependency.settings.name.clone(),
            kind: dependency.settings.kind,
            url: dependency.settings.place.as_ref().map(|place| place.url.to_string()),
            state: dependency.state(),
            interval: dependency.settings.interval,
            critical: dependency.settings.critical,
            status: dependency.status(),
        };
        Report {
            at: look.at,
            health: Health::of(alarms.iter().map(|alarm| alarm.severity).max()),
            alarms,
            figures: look.figures.clone(),
            store_place: self.sources.records.place().to_owned(),
            store_error: look.about.store_error.clone(),
            nodes: look.nodes.clone(),
            regions_silent: look.regions_silent.iter().map(ToString::to_string).collect(),
            certificates: look.certificates.clone(),
            dependencies: self.dependencies.iter().map(dependency).collect(),
        }
    }

    async fn keep(&self, kept: &mut Kept, look: &Look) -> Result<(), StoreError> {
        let records = &self.sources.records;
        let answered = self.dependencies.iter().filter_map(|one| Some((one.settings.name.clone(), one.answered()?)));
        let sample = Sample { at: look.at, figures: look.figures.clone(), dependencies: answered.collect() };
        records.save(&sample).await?;
        while let Some(turn) = kept.unsaved.first() {
            match turn {
                Turn::Holds(alarm) => records.save_alarm(alarm).await?,
                Turn::Over(alarm) => records.remove_alarm(&alarm.watched).await?,
            }
            kept.unsaved.remove(0);
        }
        let hour = floor(look.at, HOUR);
        if let Some(last) = kept.hour.filter(|last| *last < hour) {
            let summary = records.roll(Timestamp(last)).await?;
            kept.note(last, &summary);
            records.forget(look.at.minus(self.settings.retain_samples), look.at.minus(self.settings.retain_hours)).await?;
        }
        if kept.resumed {
            kept.hour = Some(hour);
        }
        Ok(())
    }

    /// Reads what was kept before this process began, and rolls the hours it did not come to roll.
    async fn resume(&self, kept: &mut Kept) -> Result<(), StoreError> {
        let records = &self.sources.records;
        let now = self.sources.clock.now();
        let first = Timestamp(floor(now, HOUR) - HOURS as i64 * HOUR);
        let alarms = records.alarms().await?;
        let hours: BTreeMap<Timestamp, Summary> = records.hours(first, now).await?.into_iter().collect();
        let this_hour = floor(now, HOUR);
        let since = hours.keys().next_back().map_or(first, |last| Timestamp(last.0 + HOUR));
        let mut left: Vec<i64> = Vec::new();
        for sample in records.samples(since, Timestamp(this_hour)).await? {
            let hour = floor(sample.at, HOUR);
            if left.last() != Some(&hour) {
                left.push(hour);
            }
        }
        let mut rolled = Vec::with_capacity(left.len());
        for hour in left {
            rolled.push((hour, records.roll(Timestamp(hour)).await?));
        }
        hours.iter().for_each(|(start, summary)| kept.note(start.0, summary));
        rolled.iter().for_each(|(start, summary)| kept.note(*start, summary));
        kept.alarms.resume(alarms);
        kept.hour = Some(this_hour);
        kept.resumed = true;
        Ok(())
    }

    /// What the figures were over the hours that end now.
    pub async fn trend(&self, hours: u32) -> Result<(i64, BTreeMap<Of, Course>), StoreError> {
        let records = &self.sources.records;
        let now = self.sources.clock.now();
        let since = now.minus(Duration::from_secs(u64::from(hours) * 3_600));
        let until = Timestamp(now.0 + 1);
        let kept_long = Duration::from_secs(u64::from(hours) * 3_600) > self.settings.retain_samples;
        let alone = |sample: Sample| {
            let mut summary = Summary::default();
            summary.add(&sample);
            (sample.at, summary)
        };
        let width = width(hours, self.settings.interval);
        if hours <= DRAWN_FROM_LOOKS && !kept_long {
            let samples = records.samples(since, until).await?;
            return Ok((width, courses(samples.into_iter().map(alone), width)));
        }
        let width = width.max(HOUR);
        let mut kept = records.hours(since, until).await?;
        let from = kept.last().map_or(since, |(start, _)| Timestamp(start.0 + HOUR)).max(now.minus(Duration::from_micros(2 * HOUR as u64)));
        kept.extend(records.samples(from, until).await?.into_iter().map(alone));
        Ok((width, courses(kept, width)))
    }

    /// How old a report is now.
    pub fn age(&self, report: &Report) -> Duration {
        Duration::from_micros(micros(self.sources.clock.now().since(report.at)) as u64)
    }
}

impl Kept {
    fn note(&mut self, start: i64, summary: &Summary) {
        let mean = |figure| summary.figures.get(&figure).map(|spread| spread.mean());
        self.hours.push_back(Hour { hour: start / HOUR, store: mean(Figure::StoreBytes), free: mean(Figure::DiskFreeBytes) });
        while self.hours.len() > HOURS {
            self.hours.pop_front();
        }
    }
}
