//! Objectives as people ask for them: what they came to over any time, and how fast their budgets burn.
//!
//! Accounts are read from rollups when they are asked for and good for a minute; burn rates come from the meter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::aggregate::board::Board;
use crate::aggregate::ledger::Ledger;
use crate::aggregate::rollup::Rule;
use crate::clock::Clock;
use crate::maintenance::windows::Windows;
use crate::model::id::{RegionName, ServiceId};
use crate::model::service::Schedule;
use crate::model::slo::{Promise, Slo, SloId};
use crate::model::span::{Span, clipped, total, without};
use crate::model::time::{Timestamp, micros};
use crate::slo::budget::{Account, Budget, Standing};
use crate::slo::burn::Rate;
use crate::slo::lane::{Lane, together};
use crate::slo::meter::Meter;
use crate::slo::period;
use crate::store::Store;
use crate::store::connection::StoreError;
use crate::store::services::Services;
use crate::store::slos::Slos;

const GOOD_FOR: Duration = Duration::from_secs(60);
/// Windows a lane must know ahead of now, so that it leaves out what comes.
const AHEAD: Duration = Duration::from_secs(7 * 86_400);
/// Stretches begin with a full hour.
const SLACK: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug)]
pub struct SloDesk {
    pub slos: Arc<Slos>,
    pub meter: Arc<Meter>,
    store: Arc<Store>,
    services: Arc<Services>,
    board: Arc<Board>,
    windows: Arc<Windows>,
    default_schedule: Schedule,
    clock: Clock,
    known: Mutex<BTreeMap<SloId, (Generation, Arc<Status>)>>,
    /// Objectives that burn too fast, since when, and by which pair.
    pub burning: Mutex<BTreeMap<SloId, Burning>>,
    /// Set once it is read which burned before the start.
    remembered: OnceLock<()>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burning {
    pub since: Timestamp,
    /// The worst of those that burn; `None`: not judged yet since the start.
    pub by: Option<Rate>,
}

/// What an objective came to in its running period.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub at: Timestamp,
    /// The whole of it, what is to come of it too.
    pub period: Span,
    /// What of it is reckoned with: from the service's beginning to now.
    pub reckoned: Span,
    pub account: Account,
    pub budget: Budget,
    pub standing: Standing,
}

/// The revision of an objective, and that of all windows together.
type Generation = (u64, u64);

/// Where everything comes from.
#[derive(Clone)]
pub struct Sources {
    pub slos: Arc<Slos>,
    pub store: Arc<Store>,
    pub services: Arc<Services>,
    pub board: Arc<Board>,
    pub windows: Arc<Windows>,
    pub default_schedule: Schedule,
    pub clock: Clock,
}

impl SloDesk {
    pub fn new(sources: Sources) -> SloDesk {
        let Sources { slos, store, services, board, windows, default_schedule, clock } = sources;
        let (meter, known, burning) = (Arc::default(), Mutex::default(), Mutex::default());
        let remembered = OnceLock::new();
        let desk = SloDesk { slos, meter, store, services, board, windows, default_schedule, clock, known, burning, remembered };
        desk.turn();
        desk
    }

    /// Takes in which objectives there are. To be called after any change of them.
    pub fn turn(&self) {
        let list = self.slos.list();
        self.meter.lock().replace(list.iter().map(|slo| (slo.id, slo.promise.clone())));
        self.known.lock().expect("no holder panics").retain(|id, _| list.iter().any(|slo| slo.id == *id));
    }

    /// Takes in which maintenance there is. Lanes that counted otherwise are to be made of the store again.
    pub fn see_windows(&self) {
        let now = self.clock.now();
        let mut gauges = self.meter.lock();
        for (_, gauge) in gauges.iter_mut() {
            let known = Span::new(now.minus(back(&gauge.promise) + SLACK), now.plus(AHEAD));
            let holes = self.windows.excluded(gauge.promise.service, known);
            let past = Span::new(known.from, now);
            gauge.stale |= clipped(&gauge.holes, past) != clipped(&holes, past);
            gauge.holes = holes;
        }
    }

    /// What an objective came to in its running period, at most a minute old.
    pub async fn status(&self, slo: &Slo) -> Result<Arc<Status>, StoreError> {
        let now = self.clock.now();
        let generation = (slo.revision, self.windows.store.generation());
        let known = self.known.lock().expect("no holder panics").get(&slo.id).cloned();
        let good = |(of, status): &(Generation, Arc<Status>)| *of == generation && status.at <= now && now.since(status.at) < GOOD_FOR;
        if let Some((_, status)) = known.filter(good) {
            return Ok(status);
        }
        let promise = &slo.promise;
        let whole = period::holding(promise.period, now);
        let reckoned = self.lived(promise.service, Span::new(whole.from, now));
        let account = self.account(promise, reckoned, now).await?;
        let ahead = Span::new(now, whole.until);
        let to_come = ahead.length() - total(&self.windows.excluded(promise.service, ahead));
        let status = Arc::new(Status {
            at: now,
            period: whole,
            reckoned,
            account,
            budget: account.budget(promise, to_come),
            standing: account.standing(promise, to_come),
        });
        self.known.lock().expect("no holder panics").insert(slo.id, (generation, status.clone()));
        Ok(status)
    }

    /// What a span came to, up to now.
    pub async fn account(&self, promise: &Promise, whole: Span, now: Timestamp) -> Result<Account, StoreError> {
        Ok(self.accounts(promise, &[whole], now).await?.pop().unwrap_or_default().0)
    }

    /// What each of some spans came to, in all regions together and in each.
    pub async fn accounts(
        &self,
        promise: &Promise,
        spans: &[Span],
        now: Timestamp,
    ) -> Result<Vec<(Account, BTreeMap<RegionName, Account>)>, StoreError> {
        let past = |span: &Span| Span::new(span.from, span.until.min(now).max(span.from));
        let spans: Vec<Span> = spans.iter().map(past).collect();
        let holes: Vec<Vec<Span>> = spans.iter().map(|span| self.windows.excluded(promise.service, *span)).collect();
        let kept: Vec<Vec<Span>> = spans.iter().zip(&holes).map(|(span, holes)| without(*span, holes)).collect();
        let asked: Vec<Span> = kept.iter().flatten().copied().collect();
        let rule = self.rule(promise.service, now);
        let ledgers = self.store.results.ledgers(promise.service, promise.regions.as_deref(), &asked, rule, now).await?;
        let account = |regions: usize, index: usize| Account {
            regions,
            elapsed: spans[index].length(),
            maintenance: total(&holes[index]),
            ..Account::default()
        };
        let mut accounts = Vec::new();
        for (index, kept) in kept.iter().enumerate() {
            let mut whole = account(ledgers.len(), index);
            let mut regions = BTreeMap::new();
            for (region, ledger) in &ledgers {
                let mut mine = account(1, index);
                for piece in kept.iter().flat_map(|span| ledger.pieces(*span, now)) {
                    whole.add(&piece, promise.aim);
                    mine.add(&piece, promise.aim);
                }
                regions.insert(region.clone(), mine);
            }
            accounts.push((whole, regions));
        }
        Ok(accounts)
    }

    /// What of a span a service has lived through: nothing is unknown of the time before it was made.
    pub fn lived(&self, service: ServiceId, span: Span) -> Span {
        let from = span.from.max(Span::new(self.born(service), span.until).minutes().from.min(span.until));
        Span { from, ..span }
    }

    /// How fast the budget of each objective burns, by its pairs; of those whose lanes are made.
    pub fn rates(&self) -> BTreeMap<SloId, Vec<Rate>> {
        let now = self.clock.now();
        let mut gauges = self.meter.lock();
        let mut rates = BTreeMap::new();
        for (id, gauge) in gauges.iter_mut().filter(|(_, gauge)| !gauge.stale && gauge.waiting.is_none()) {
            let (promise, born) = (&gauge.promise, self.born(gauge.promise.service));
            let rule = self.rule(promise.service, now);
            for lane in gauge.lanes.values_mut() {
                lane.set_rule(rule);
                lane.forget(back(promise), &gauge.holes, now);
            }
            let lanes = &gauge.lanes;
            let stretch = |length| together(promise.aim, lanes.values().map(|lane| lane.stretch(length, born, &gauge.holes, now)));
            rates.insert(id, promise.burn.iter().map(|pair| Rate::of(*pair, promise.allowed(), stretch)).collect());
        }
        rates
    }

    /// Makes the lanes of an objective of the store, if they are to be made. Results that come meanwhile are not lost.
    pub async fn make(&self, id: SloId) -> Result<(), StoreError> {
        let promise = {
            let mut gauges = self.meter.lock();
            let Some(gauge) = gauges.get_mut(id).filter(|gauge| gauge.stale) else { return Ok(()) };
            gauge.waiting = Some(Vec::new());
            gauge.promise.clone()
        };
        let now = self.clock.now();
        let rule = self.rule(promise.service, now);
        let back = back(&promise);
        let holes = self.windows.excluded(promise.service, Span::new(now.minus(back + SLACK), now.plus(AHEAD)));
        let spans = Lane::needs(back, &holes, now);
        let ledgers = self.store.results.ledgers(promise.service, promise.regions.as_deref(), &spans, rule, now).await;
        let mut gauges = self.meter.lock();
        let Some(gauge) = gauges.get_mut(id).filter(|gauge| gauge.promise == promise) else { return Ok(()) };
        let ledgers: BTreeMap<RegionName, Ledger> = ledgers.inspect_err(|_| gauge.waiting = None)?;
        let lane = |ledger: &Ledger| Lane::of(promise.aim, rule, ledger, back, &holes, now);
        let lanes = ledgers.iter().map(|(region, ledger)| (region.clone(), lane(ledger))).collect();
        gauge.made(lanes, holes);
        Ok(())
    }

    /// Whether it was read which objectives burned before the start.
    pub fn knows_burning(&self) -> bool {
        self.remembered.get().is_some()
    }

    pub fn know_burning(&self, before: BTreeMap<SloId, Burning>) {
        if self.remembered.set(()).is_ok() {
            *self.burning.lock().expect("no holder panics") = before;
        }
    }

    /// Whether a service is there and checked.
    pub fn watched(&self, service: ServiceId) -> bool {
        self.services.get(service).is_some_and(|stored| stored.enabled())
    }

    /// What a service is called, also one that is gone.
    pub fn service_name(&self, service: ServiceId) -> String {
        self.services.get(service).map_or_else(|| format!("service {service}"), |stored| stored.name().to_owned())
    }

    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    fn born(&self, service: ServiceId) -> Timestamp {
        self.services.get(service).map_or(Timestamp(i64::MIN / 2), |stored| stored.created_at)
    }

    fn rule(&self, service: ServiceId, now: Timestamp) -> Rule {
        let usual = || Rule { gap: self.default_schedule.gap(now), failure: 1, success: 1 };
        self.board.rule(service, now).unwrap_or_else(usual)
    }
}

/// How far back the lanes of an objective must know.
fn back(promise: &Promise) -> Duration {
    promise.burn.iter().map(|pair| pair.long.max(pair.short)).max().unwrap_or_default()
}

/// Seconds of microseconds, for people.
pub fn seconds(us: f64) -> f64 {
    (us / 1e3).round() / 1e3
}

/// Microseconds of a span as seconds.
pub fn length_s(length: Duration) -> f64 {
    seconds(micros(length) as f64)
}
