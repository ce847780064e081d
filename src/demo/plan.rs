//! What the demo watches and what befalls it: ten and some services, seven of them with one trouble each, all drawn from one seed.
//! Pure: what a service does at an instant depends on the plan, the instant and the dice alone.
//!
//! Every service wavers by itself. Two that are well do more than that, for they must not be told of: one has heavy tails, as a
//! service behind a cache has, and one breathes slowly, as load does. Troubles are as large as people care about, and beyond what a
//! computer that is busy otherwise adds of its own.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::model::finding::Signal;

pub const REGIONS: [&str; 3] = ["eu-west", "us-east", "ap-south"];
/// How much farther away each region is, in milliseconds of first byte.
const DISTANCE_MS: [f64; 3] = [0.0, 8.0, 20.0];

/// Shares of the whole run: learning, troubles, and the rest is recovery.
const CALM: f64 = 0.45;
const TROUBLED: f64 = 0.38;
const BURST: Duration = Duration::from_secs(6);
const BURST_EVERY: Duration = Duration::from_secs(18);

#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub calm: Duration,
    pub troubled: Duration,
    pub recovery: Duration,
    pub services: Vec<LocalService>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LocalService {
    pub name: &'static str,
    pub tls: bool,
    /// Days its certificate is good for.
    pub certificate_days: u32,
    usual: Usual,
    manner: Manner,
    pub trouble: Option<Trouble>,
}

/// Milliseconds each phase usually takes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Usual {
    dns: f64,
    handshake: f64,
    first_byte: f64,
    transfer: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Even,
    /// One answer in twenty takes several times as long.
    HeavyTails,
    /// Up and down by a third, once in so long.
    Rhythm(Duration),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    pub kind: Kind,
    /// Since the run began.
    pub begins: Duration,
    pub ends: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    SlowDns { extra_ms: f64 },
    SlowHandshake { extra_ms: f64 },
    GrowingFirstByte { up_to_ms: f64 },
    SlowTransfer { extra_ms: f64 },
    SlowRegion { region: &'static str, extra_ms: f64 },
    FailingRegion { region: &'static str, share: f64 },
    ErrorBursts { share: f64 },
    CertificateEnds { days: u32 },
}

/// What a service answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub first_byte: Duration,
    /// Between the two halves of the body.
    pub transfer: Duration,
}

impl Plan {
    pub fn new(seed: u64, whole: Duration) -> Plan {
        let mut dice = StdRng::seed_from_u64(seed);
        let (calm, troubled) = (whole.mul_f64(CALM), whole.mul_f64(TROUBLED));
        let region = REGIONS.choose(&mut dice).copied().unwrap_or(REGIONS[0]);
        let bad_region = if dice.random_bool(0.5) {
            Kind::SlowRegion { region, extra_ms: dice.random_range(180.0..320.0) }
        } else {
            Kind::FailingRegion { region, share: dice.random_range(0.6..0.95) }
        };
        let days = dice.random_range(2..=6);
        let kinds = [
            ("search", false, Kind::SlowDns { extra_ms: dice.random_range(150.0..280.0) }),
            ("checkout", false, Kind::GrowingFirstByte { up_to_ms: dice.random_range(280.0..450.0) }),
            ("login", true, bad_region),
            ("payments", false, Kind::ErrorBursts { share: dice.random_range(0.7..0.95) }),
            ("images", false, Kind::SlowTransfer { extra_ms: dice.random_range(150.0..250.0) }),
            ("gateway", true, Kind::SlowHandshake { extra_ms: dice.random_range(150.0..250.0) }),
            ("mail", true, Kind::CertificateEnds { days }),
        ];
        let well = [
            ("catalogue", false, Manner::Even),
            ("docs", true, Manner::Even),
            ("reports", false, Manner::HeavyTails),
            ("feed", false, Manner::Rhythm(whole.mul_f64(0.3))),
        ];
        let mut services = Vec::new();
        for (name, tls, manner) in well {
            services.push(LocalService { name, tls, certificate_days: 400, usual: Usual::draw(&mut dice), manner, trouble: None });
        }
        for (name, tls, kind) in kinds {
            let begins = calm + troubled.mul_f64(dice.random_range(0.0..0.25));
            let ends = calm + troubled.mul_f64(dice.random_range(0.85..1.0));
            let (begins, ends, certificate_days) = match kind {
                Kind::CertificateEnds { days } => (Duration::ZERO, whole, days),
                _ => (begins, ends, 400),
            };
            let trouble = Some(Trouble { kind, begins, ends });
            services.push(LocalService { name, tls, certificate_days, usual: Usual::draw(&mut dice), manner: Manner::Even, trouble });
        }
        Plan { seed, calm, troubled, recovery: whole - calm - troubled, services }
    }

    pub fn whole(&self) -> Duration {
        self.calm + self.troubled + self.recovery
    }
}

impl Usual {
    fn draw(dice: &mut impl Rng) -> Usual {
        Usual { dns: 3.0, handshake: 8.0, first_byte: dice.random_range(22.0..45.0), transfer: dice.random_range(6.0..12.0) }
    }
}

impl LocalService {
    /// How long its name takes to be resolved.
    pub fn resolving(&self, at: Duration, dice: &mut impl Rng) -> Duration {
        let extra = match self.trouble_at(at) {
            Some((Kind::SlowDns { extra_ms }, _)) => extra_ms * waver(dice),
            _ => 0.0,
        };
        millis(self.usual.dns * waver(dice) + extra)
    }

    /// How long it lets a TLS handshake wait.
    pub fn handshake(&self, at: Duration, dice: &mut impl Rng) -> Duration {
        let extra = match self.trouble_at(at) {
            Some((Kind::SlowHandshake { extra_ms }, _)) => extra_ms * waver(dice),
            _ => 0.0,
        };
        millis(self.usual.handshake * waver(dice) + extra)
    }

    /// What it answers to a check from a region.
    pub fn answer(&self, at: Duration, region: Option<&str>, dice: &mut impl Rng) -> Answer {
        let distance = REGIONS.iter().zip(DISTANCE_MS).find(|(known, _)| Some(**known) == region).map_or(0.0, |(_, distance)| distance);
        let mut first_byte = self.usual.first_byte * waver(dice) * self.manner.factor(at, dice) + distance;
        let mut transfer = self.usual.transfer * waver(dice);
        let mut fails = 0.0;
        match self.trouble_at(at) {
            Some((Kind::GrowingFirstByte { up_to_ms }, progress)) => first_byte += up_to_ms * progress * waver(dice),
            Some((Kind::SlowTransfer { extra_ms }, _)) => transfer += extra_ms * waver(dice),
            Some((Kind::SlowRegion { region: bad, extra_ms }, _)) if region == Some(bad) => first_byte += extra_ms * waver(dice),
            Some((Kind::FailingRegion { region: bad, share }, _)) if region == Some(bad) => fails = share,
            Some((Kind::ErrorBursts { share }, _)) => fails = share,
            _ => {}
        }
        let status = if dice.random_bool(fails) { 503 } else { 200 };
        Answer { status, first_byte: millis(first_byte), transfer: millis(transfer) }
    }

    /// The trouble that is there at an instant, and how far it has come, from 0 to 1.
    fn trouble_at(&self, at: Duration) -> Option<(Kind, f64)> {
        let trouble = self.trouble.as_ref().filter(|trouble| (trouble.begins..trouble.ends).contains(&at))?;
        let since = at - trouble.begins;
        if matches!(trouble.kind, Kind::ErrorBursts { .. }) && since.as_secs_f64() % BURST_EVERY.as_secs_f64() >= BURST.as_secs_f64() {
            return None;
        }
        Some((trouble.kind, since.as_secs_f64() / (trouble.ends - trouble.begins).as_secs_f64()))
    }
}

impl Manner {
    fn factor(self, at: Duration, dice: &mut impl Rng) -> f64 {
        match self {
            Manner::Even => 1.0,
            // A Pareto tail, cut where nobody would wait any longer.
            Manner::HeavyTails if dice.random_bool(0.05) => (2.0 * dice.random_range(0.001..1.0f64).powf(-1.0 / 1.5)).min(12.0),
            Manner::HeavyTails => 1.0,
            Manner::Rhythm(period) => 1.0 + 0.3 * (std::f64::consts::TAU * at.as_secs_f64() / period.as_secs_f64()).sin(),
        }
    }
}

impl Kind {
    /// What a finding of it must name; `None`: it is no anomaly of what is measured, and the digest's to tell.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Kind::SlowDns { .. } => Some(Signal::Dns),
            Kind::SlowHandshake { .. } => Some(Signal::Tls),
            Kind::GrowingFirstByte { .. } | Kind::SlowRegion { .. } => Some(Signal::FirstByte),
            Kind::SlowTransfer { .. } => Some(Signal::Transfer),
            Kind::FailingRegion { .. } | Kind::ErrorBursts { .. } => Some(Signal::Errors),
            Kind::CertificateEnds { .. } => None,
        }
    }

    /// The only region it is in.
    pub fn region(self) -> Option<&'static str> {
        match self {
            Kind::SlowRegion { region, .. } | Kind::FailingRegion { region, .. } => Some(region),
            _ => None,
        }
    }

    /// For people.
    pub fn what(self) -> String {
        match self {
            Kind::SlowDns { extra_ms } => format!("DNS answers {extra_ms:.0} ms late"),
            Kind::SlowHandshake { extra_ms } => format!("TLS handshakes take {extra_ms:.0} ms longer"),
            Kind::GrowingFirstByte { up_to_ms } => format!("first byte grows by up to {up_to_ms:.0} ms"),
            Kind::SlowTransfer { extra_ms } => format!("transfer takes {extra_ms:.0} ms longer"),
            Kind::SlowRegion { region, extra_ms } => format!("first byte {extra_ms:.0} ms later in {region} alone"),
            Kind::FailingRegion { region, share } => format!("{:.0} % answer 503 in {region} alone", share * 100.0),
            Kind::ErrorBursts { share } => {
                format!("{:.0} % answer 503 for {} s, each {} s", share * 100.0, BURST.as_secs(), BURST_EVERY.as_secs())
            }
            Kind::CertificateEnds { days } => format!("certificate ends in {days} days"),
        }
    }
}

/// About 1, give or take an eighth: three dice make a bell.
fn waver(dice: &mut impl Rng) -> f64 {
    let bell: f64 = (0..3).map(|_| dice.random_range(-1.0..1.0)).sum();
    (0.12 * bell).exp()
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: Duration = Duration::from_secs(240);

    #[test]
    fn the_same_seed_gives_the_same_plan_and_another_one_another() {
        assert_eq!(Plan::new(7, WHOLE), Plan::new(7, WHOLE));
        assert_ne!(Plan::new(7, WHOLE).services, Plan::new(8, WHOLE).services);
    }

    #[test]
    fn every_plan_learns_first_ends_well_and_leaves_four_alone() {
        for seed in 0..50 {
            let plan = Plan::new(seed, WHOLE);
            assert_eq!(plan.whole(), WHOLE);
            assert_eq!(plan.services.iter().filter(|service| service.trouble.is_none()).count(), 4);
            for trouble in plan.services.iter().filter_map(|service| service.trouble.as_ref()) {
                if trouble.kind.signal().is_some() {
                    assert!(trouble.begins >= plan.calm && trouble.ends <= plan.calm + plan.troubled, "{trouble:?}");
                    assert!(trouble.ends - trouble.begins >= plan.troubled.mul_f64(0.59), "{trouble:?}");
                }
            }
        }
    }

    /// The mean of what a service does at an instant, in milliseconds: DNS, handshake, first byte, transfer; and its failures.
    fn mean(service: &LocalService, at: Duration, region: &str) -> [f64; 5] {
        let mut dice = StdRng::seed_from_u64(1);
        let mut sums = [0.0; 5];
        for _ in 0..400 {
            let answer = service.answer(at, Some(region), &mut dice);
            let times = [service.resolving(at, &mut dice), service.handshake(at, &mut dice), answer.first_byte, answer.transfer];
            sums.iter_mut().zip(times).for_each(|(sum, time)| *sum += time.as_secs_f64() * 1e3 / 400.0);
            sums[4] += f64::from(u8::from(answer.status == 503)) / 400.0;
        }
        sums
    }

    #[test]
    fn a_trouble_is_in_its_phase_its_region_and_its_time_and_nowhere_else() {
        for seed in 0..6 {
            for service in &Plan::new(seed, WHOLE).services {
                let Some(trouble) = service.trouble.as_ref().filter(|trouble| trouble.kind.signal().is_some()) else { continue };
                let figure = match trouble.kind.signal() {
                    Some(Signal::Dns) => 0,
                    Some(Signal::Tls) => 1,
                    Some(Signal::FirstByte) => 2,
                    Some(Signal::Transfer) => 3,
                    _ => 4,
                };
                // A burst that is on, and near enough to the end for what grows.
                let within = trouble.begins + BURST_EVERY * 2 + BURST / 2;
                for region in REGIONS {
                    let (usual, during) = (mean(service, Duration::ZERO, region), mean(service, within, region));
                    let after = mean(service, trouble.ends, region);
                    for (index, ((usual, during), after)) in usual.into_iter().zip(during).zip(after).enumerate() {
                        let hit = index == figure && trouble.kind.region().is_none_or(|bad| bad == region);
                        let least = if index == 4 { 0.5 } else { 40.0 };
                        assert_eq!(during - usual >= least, hit, "{} {region} {index}: {usual} → {during}", service.name);
                        assert!((after - usual).abs() < 3.0, "{} {region} {index}: {usual} → {after}", service.name);
                    }
                }
            }
        }
    }
}
